//! The entries of a batch.

use bytes::Bytes;
use prost::Message as _;
use vocab::CallKey;

use super::record::{Record, Tombstone};
use super::word::Key;
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

/// What both kinds of entry begin with: all that is read of one that makes no sense.
#[derive(Clone, PartialEq, prost::Message)]
struct Keyed {
    #[prost(message, optional, tag = "1")]
    key: Option<Key>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct KeyedEntry {
    #[prost(message, optional, tag = "1")]
    record: Option<Keyed>,
    #[prost(message, optional, tag = "2")]
    tombstone: Option<Keyed>,
}

/// The call of an entry that need make no sense otherwise.
pub(crate) fn key_of(bytes: Bytes) -> Option<CallKey> {
    let entry = KeyedEntry::decode(bytes).ok()?;
    entry.record.or(entry.tombstone)?.key.map(CallKey::from)
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
