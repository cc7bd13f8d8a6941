//! The entries of a batch.

use super::record::{Record, Tombstone};
use crate::batch;
use crate::error::DecodeError;

/// Exactly one of the two is there.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Entry {
    #[prost(message, optional, tag = "1")]
    record: Option<Record>,
    #[prost(message, optional, tag = "2")]
    tombstone: Option<Tombstone>,
}

impl From<&batch::Entry> for Entry {
    fn from(entry: &batch::Entry) -> Self {
        match entry {
            batch::Entry::Record(record) => Self { record: Some(record.into()), tombstone: None },
            batch::Entry::Tombstone(tombstone) => {
                Self { record: None, tombstone: Some((*tombstone).into()) }
            }
        }
    }
}

impl TryFrom<Entry> for batch::Entry {
    type Error = DecodeError;

    fn try_from(wire: Entry) -> Result<Self, DecodeError> {
        match (wire.record, wire.tombstone) {
            (Some(record), None) => Ok(Self::Record(record.try_into()?)),
            (None, Some(tombstone)) => Ok(Self::Tombstone(tombstone.try_into()?)),
            (Some(_), Some(_)) => Err(DecodeError::Unknown { what: "entry", value: 3 }),
            (None, None) => Err(DecodeError::Missing { what: "record or tombstone" }),
        }
    }
}
