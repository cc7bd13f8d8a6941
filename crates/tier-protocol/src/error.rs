//! What is wrong with bytes that were to be one of our words.
//!
//! Versions and kinds that this build does not know are refused by name, never guessed.

use std::fmt;

/// The bytes of a word do not make sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// Not the encoding at all: a wrong wire type, a length beyond the end, or the like.
    Malformed {
        /// What the decoder said.
        why: String,
    },
    /// A field that the word cannot do without is absent.
    Missing {
        /// The field.
        what: &'static str,
    },
    /// A number does not fit the field it is for.
    OutOfRange {
        /// The field.
        what: &'static str,
        /// The number.
        value: u64,
    },
    /// A choice that this version does not have.
    Unknown {
        /// The field.
        what: &'static str,
        /// The choice.
        value: u32,
    },
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed { why } => write!(f, "the peer sent malformed bytes: {why}"),
            Self::Missing { what } => write!(f, "the peer left out the {what}"),
            Self::OutOfRange { what, value } => {
                write!(f, "the peer sent {value} as {what}, which is out of range")
            }
            Self::Unknown { what, value } => {
                write!(f, "the peer sent {value} as {what}, which this version does not know")
            }
        }
    }
}

impl std::error::Error for DecodeError {}

impl From<prost::DecodeError> for DecodeError {
    fn from(error: prost::DecodeError) -> Self {
        Self::Malformed { why: error.to_string() }
    }
}
