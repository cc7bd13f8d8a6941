//! The call as bytes: a versioned encoding of its two sections.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use vocab::{CallKey, Instant};

use crate::{Call, Effect};

/// The version of the encoding that [`Call::encode`] writes.
pub const SCHEMA: u32 = 1;

/// An encoded call. Durations count from the moment of encoding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// Version of both sections.
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
    /// Another release wrote them: refused, never guessed.
    UnknownSchema(u32),
    /// They break the encoding; the text names what.
    Malformed(&'static str),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownSchema(schema) => write!(f, "unknown schema {schema} of a call"),
            Self::Malformed(what) => write!(f, "malformed call: {what}"),
        }
    }
}

impl std::error::Error for DecodeError {}

impl Call {
    /// The call as bytes, with the effects that were decided and not yet released.
    #[must_use]
    pub fn encode(&self, now: Instant, unreleased: &[Effect]) -> Encoded {
        let _ = unreleased;
        Encoded {
            schema: SCHEMA,
            crossing: Bytes::new(),
            local: Bytes::new(),
            deadline: self.next_deadline().map(|at| at.since(now)),
            crossing_deadline: self.crossing.next_deadline().map(|at| at.since(now)),
        }
    }

    /// Reads a call that was encoded `age` before `now`, and its unreleased effects.
    ///
    /// # Errors
    ///
    /// When another release wrote the bytes, or they are damaged.
    pub fn decode(
        key: CallKey,
        schema: u32,
        crossing: &Bytes,
        local: &Bytes,
        age: Duration,
        now: Instant,
    ) -> Result<(Self, Vec<Effect>), DecodeError> {
        let _ = (key, crossing, local, age, now);
        Err(DecodeError::UnknownSchema(schema))
    }
}
