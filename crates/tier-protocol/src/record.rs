//! A call's encoded state behind a header that every room may read.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use prost::Message;
use vocab::{CallKey, Epoch, SiteId, Stamp};

use crate::error::DecodeError;
use crate::wire;

/// What an application last said of a call; advice, never a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hint {
    /// Nothing is expected soon.
    Steady,
    /// More is about to happen.
    Busy,
}

/// What replicas, engines and sites may know of a call without decoding it.
///
/// Times are relative to the put that made the record; `age` is how long ago that was, and each
/// holder adds its own wait before it hands the record on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordHeader {
    /// The call.
    pub key: CallKey,
    /// Unique per put. `stamp.epoch.site` is the call's home.
    pub stamp: Stamp,
    /// The site that owned the call first.
    pub origin: SiteId,
    /// The site that keeps the dormant copy, if any.
    pub backup: Option<SiteId>,
    /// The lowest version of the encoding of both sections that can read them; a reader of a lower
    /// one refuses them, and never guesses.
    pub schema: u32,
    /// Time since the put.
    pub age: Duration,
    /// From the put to the earliest deadline in either section.
    pub deadline: Option<Duration>,
    /// From the put to the earliest deadline in the crossing section alone.
    pub crossing_deadline: Option<Duration>,
    /// The last hint of each application of the call, by its number in the deployment.
    pub hints: Vec<(u16, Hint)>,
    /// The newest stamp that each remote site has acknowledged; at most one entry a site.
    pub crossed: Vec<(SiteId, Stamp)>,
    /// Fields that this build does not know, as a newer one wrote them: they go with the record,
    /// and with what replaces it. Empty, or valid protocol buffers.
    pub newer: Newer,
}

/// Fields of a newer build: nearly always none, and then of the size of a pointer, as records are
/// kept by the million.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Newer(Option<Box<Bytes>>);

impl Newer {
    /// The fields as they were written.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_ref().map_or(&[], |fields| fields)
    }
}

impl From<Bytes> for Newer {
    fn from(fields: Bytes) -> Self {
        Self((!fields.is_empty()).then(|| Box::new(fields)))
    }
}

impl RecordHeader {
    /// The site that owns the call.
    #[must_use]
    pub fn home(&self) -> SiteId {
        self.stamp.epoch.site
    }

    /// The newest stamp of the present home that the site has acknowledged. Puts of which that site
    /// need not hear leave it as it is.
    #[must_use]
    pub fn crossed_to(&self, site: SiteId) -> Option<Stamp> {
        let crossed = self.crossed.iter().find(|(known, _)| *known == site);
        crossed.map(|(_, stamp)| *stamp).filter(|stamp| stamp.epoch == self.stamp.epoch)
    }

    /// Whether every application of the call says that it is steady, and at least one does.
    #[must_use]
    pub fn is_steady(&self) -> bool {
        !self.hints.is_empty() && self.hints.iter().all(|(_, hint)| *hint == Hint::Steady)
    }
}

/// A call record: the header and two opaque sections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// What everybody may read.
    pub header: RecordHeader,
    /// What a site needs to resume the call: dialogs, sessions, long timers.
    pub crossing: Bytes,
    /// What it does not need: transactions, and the effects that the last put explains.
    pub local: Bytes,
}

impl Record {
    /// The record as it crosses to another site: without the local section.
    #[must_use]
    pub fn trimmed(&self) -> Self {
        let mut header = self.header.clone();
        header.deadline = header.crossing_deadline;
        header.crossed.clear();
        Self { header, crossing: self.crossing.clone(), local: Bytes::new() }
    }

    /// Bytes that both sections hold.
    #[must_use]
    pub fn body_bytes(&self) -> usize {
        self.crossing.len() + self.local.len()
    }

    /// Appends the record's bytes, by which a batch and a link carry it.
    pub fn encode(&self, out: &mut BytesMut) {
        wire::record::Record::from(self).encode(out).expect("BytesMut grows as needed");
    }

    /// Reads what `encode` wrote. The sections share the memory of `bytes`.
    ///
    /// # Errors
    /// When the bytes are not a record.
    pub fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        wire::record::Record::decode(bytes)?.try_into()
    }
}

/// What is left of a call that ended: it crosses like a record and forbids every older one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tombstone {
    /// The call.
    pub key: CallKey,
    /// The stamp of the removal.
    pub stamp: Stamp,
}

impl Tombstone {
    /// The home that ended the call, and since when it was home.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.stamp.epoch
    }
}
