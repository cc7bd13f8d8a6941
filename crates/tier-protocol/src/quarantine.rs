//! What is kept of a call, or of a record of another site, that breaks whoever works it.
//!
//! Sections and messages are bytes here as everywhere in the tier: they are set aside so that
//! somebody may look at them, and are decoded by nobody else.

use std::time::Duration;

use bytes::Bytes;
use vocab::{CallKey, EngineId, LockToken};

use crate::record::Record;

/// Bytes of a strike's text, and of its message, that are kept.
pub const WHAT_BYTES_MAX: usize = 256;
/// Bytes of the offending message that are kept.
pub const MESSAGE_BYTES_MAX: usize = 2_048;

/// What happened to a turn over a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StrikeKind {
    /// It panicked, and its engine caught that.
    Panicked,
    /// The record's sections could not be decoded.
    Undecodable,
    /// Its engine's link broke before it had put anything: an abort, or no memory left.
    Broken,
    /// An entry of another site's batch could not be read.
    Unreadable,
}

impl StrikeKind {
    /// Every kind, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::Panicked, Self::Undecodable, Self::Broken, Self::Unreadable];
}

/// One turn that a call broke.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Strike {
    /// What happened.
    pub kind: StrikeKind,
    /// The engine whose turn it was.
    pub engine: EngineId,
    /// The lock under which it happened: one lock counts once.
    pub token: LockToken,
    /// Time since.
    pub age: Duration,
    /// What the panic said, or what could not be read; at most [`WHAT_BYTES_MAX`].
    pub what: String,
    /// The beginning of the offending message, if it was one; at most [`MESSAGE_BYTES_MAX`].
    pub message: Bytes,
}

/// A call in quarantine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAside {
    /// The call.
    pub key: CallKey,
    /// Its record as it was, both sections; `None` for an entry of a batch that could not be read.
    pub record: Option<Record>,
    /// It slept here for another site, which may send a better version.
    pub dormant: bool,
    /// Time since it was set aside.
    pub age: Duration,
    /// What led to it, oldest first.
    pub strikes: Vec<Strike>,
}

impl SetAside {
    /// The kind of the last strike: the cause it is counted under.
    #[must_use]
    pub fn kind(&self) -> StrikeKind {
        self.strikes.last().map_or(StrikeKind::Panicked, |strike| strike.kind)
    }

    /// Bytes that it takes, about.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let strikes = self.strikes.iter().map(|strike| strike.what.len() + strike.message.len());
        self.record.as_ref().map_or(0, Record::body_bytes) + strikes.sum::<usize>()
    }
}

/// The beginning of `text`, cut between two characters.
#[must_use]
pub fn shortened(text: &str) -> String {
    let mut end = text.len().min(WHAT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

/// The beginning of a message, in memory of its own.
#[must_use]
pub fn beginning(message: &[u8]) -> Bytes {
    Bytes::copy_from_slice(&message[..message.len().min(MESSAGE_BYTES_MAX)])
}

#[cfg(test)]
mod tests;
