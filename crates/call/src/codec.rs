//! The call as bytes: a versioned encoding of its two sections.
//!
//! Protocol buffers: hand-annotated structs read them, `writer` writes them; golden bytes of every
//! schema are kept in `golden/`. What a newer version added within the schema is kept as it came,
//! and written again (`newer-fields`). Instants are written as signed nanoseconds from the moment
//! of encoding: an instant of one process means nothing in another.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use newer_fields::Kept;
use prost::Message;
use vocab::{CallKey, Instant};

use crate::{Call, Effect};

mod crossing;
mod local;
mod outbox;
#[cfg(test)]
mod tests;
mod writer;

/// What [`Call::encode`] writes, and the highest that [`Call::decode`] reads. A record's schema is
/// the lowest version that can read it: fields that an older version may pass over do not raise it.
pub const SCHEMA: u32 = 1;

/// An encoded call. Durations count from the moment of encoding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// The lowest version that can read both sections.
    pub schema: u32,
    /// What another site needs.
    pub crossing: Bytes,
    /// What it does not.
    pub local: Bytes,
    /// Time to the next deadline of the call.
    pub deadline: Option<Duration>,
    /// Time to the next deadline that another site would have to keep.
    pub crossing_deadline: Option<Duration>,
}

/// Why bytes are no call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// A newer version wrote them in a form that this one cannot read: refused, never guessed.
    UnknownSchema(u32),
    /// They break the encoding; the text names what.
    Malformed(&'static str),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownSchema(schema) => {
                write!(f, "the call has schema {schema}, this version reads up to {SCHEMA}")
            }
            Self::Malformed(what) => write!(f, "malformed call: {what}"),
        }
    }
}

impl std::error::Error for DecodeError {}

/// Writes instants relative to the moment of encoding, and reads them back `age` later.
#[derive(Clone, Copy)]
struct Clock {
    now: Instant,
    age: Duration,
}

impl Clock {
    fn encode(self, at: Instant) -> i64 {
        let (at, now) = (i128::from(at.0), i128::from(self.now.0));
        i64::try_from(at - now).unwrap_or(i64::MAX)
    }

    fn decode(self, offset: i64) -> Instant {
        let age = i64::try_from(self.age.as_nanos()).unwrap_or(i64::MAX);
        Instant(self.now.0.saturating_add_signed(offset.saturating_sub(age)))
    }
}

impl Call {
    /// The call as bytes, with the effects that were decided and not yet released.
    #[must_use]
    pub fn encode(&self, now: Instant, unreleased: &[Effect]) -> Encoded {
        let clock = Clock { now, age: Duration::ZERO };
        Encoded {
            schema: SCHEMA,
            crossing: crossing::encode(self, clock),
            local: local::encode(&self.local, unreleased, clock),
            deadline: self.next_deadline().map(|at| at.since(now)),
            crossing_deadline: self.crossing_deadline().map(|at| at.since(now)),
        }
    }

    /// Reads a call that was encoded `age` before `now`, and its unreleased effects. An empty local
    /// section is that of a call that crossed.
    ///
    /// # Errors
    ///
    /// When they need a newer version, or are damaged.
    pub fn decode(
        key: CallKey,
        schema: u32,
        crossing: &Bytes,
        local: &Bytes,
        age: Duration,
        now: Instant,
    ) -> Result<(Self, Vec<Effect>), DecodeError> {
        if !(1..=SCHEMA).contains(&schema) {
            return Err(DecodeError::UnknownSchema(schema));
        }
        let clock = Clock { now, age };
        let is_trimmed = local.is_empty();
        let crossing = Kept::<crossing::Call>::decode(crossing.clone())
            .map_err(|_| DecodeError::Malformed("crossing section"))?;
        let local = Kept::<local::Local>::decode(local.clone())
            .map_err(|_| DecodeError::Malformed("local section"))?;
        let mut crossing = crossing;
        let early = crossing.known.early.take().filter(|_| is_trimmed);
        let crossing = crossing::decode(crossing, clock)?;
        let (local, effects) = local::decode(early.unwrap_or(local), clock)?;
        Ok((Self { key, crossing, local }, effects))
    }
}

fn narrow(number: u32, what: &'static str) -> Result<u16, DecodeError> {
    u16::try_from(number).map_err(|_| DecodeError::Malformed(what))
}
