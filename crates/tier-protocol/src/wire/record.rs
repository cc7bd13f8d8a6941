//! Records, their headers, and tombstones.

use std::time::Duration;

use bytes::Bytes;
use newer_fields::{Fields, Kept};

use super::list;
use super::word::{self, Key, Stamp, nanos, need};
use crate::error::DecodeError;
use crate::record::{self, Hint, RecordHeader};

/// A record, with what a newer build added.
pub(crate) type Record = Kept<Known>;

impl Fields for Known {
    const LAST: u32 = 12;
}

/// Header and sections in one flat message, so that a small record stays small.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Known {
    #[prost(message, optional, tag = "1")]
    key: Option<Key>,
    #[prost(message, optional, tag = "2")]
    stamp: Option<Stamp>,
    #[prost(uint32, tag = "3")]
    origin: u32,
    #[prost(uint32, optional, tag = "4")]
    backup: Option<u32>,
    #[prost(uint32, tag = "5")]
    schema: u32,
    #[prost(uint64, tag = "6")]
    age: u64,
    #[prost(uint64, optional, tag = "7")]
    deadline: Option<u64>,
    #[prost(uint64, optional, tag = "8")]
    crossing_deadline: Option<u64>,
    /// Number of the application in the high bits, its hint in the low four.
    #[prost(uint32, repeated, tag = "9")]
    hints: Vec<u32>,
    /// Pairs of site and stamp.
    #[prost(bytes = "bytes", tag = "10")]
    crossed: Bytes,
    #[prost(bytes = "bytes", tag = "11")]
    crossing: Bytes,
    #[prost(bytes = "bytes", tag = "12")]
    local: Bytes,
}

const HINT_BITS: u32 = 4;
const STEADY: u32 = 1;
const BUSY: u32 = 2;

fn hint_to_wire(&(application, hint): &(u16, Hint)) -> u32 {
    let hint = match hint {
        Hint::Steady => STEADY,
        Hint::Busy => BUSY,
    };
    u32::from(application) << HINT_BITS | hint
}

fn hint_from_wire(value: u32) -> Result<(u16, Hint), DecodeError> {
    let application = word::small(value >> HINT_BITS, "application")?;
    match value & ((1 << HINT_BITS) - 1) {
        STEADY => Ok((application, Hint::Steady)),
        BUSY => Ok((application, Hint::Busy)),
        value => Err(DecodeError::Unknown { what: "hint", value }),
    }
}

impl From<&record::Record> for Record {
    fn from(record: &record::Record) -> Self {
        let header = &record.header;
        let known = Known {
            key: Some(header.key.into()),
            stamp: Some(header.stamp.into()),
            origin: u32::from(header.origin.0),
            backup: header.backup.map(|site| u32::from(site.0)),
            schema: header.schema,
            age: nanos(header.age),
            deadline: header.deadline.map(nanos),
            crossing_deadline: header.crossing_deadline.map(nanos),
            hints: header.hints.iter().map(hint_to_wire).collect(),
            crossed: list::pack(&header.crossed),
            crossing: record.crossing.clone(),
            local: record.local.clone(),
        };
        let newer = header.newer.as_ref().map(|newer| newer.to_vec());
        Self { known, newer: newer.unwrap_or_default() }
    }
}

impl TryFrom<Record> for record::Record {
    type Error = DecodeError;

    fn try_from(wire: Record) -> Result<Self, DecodeError> {
        let (wire, newer) = wire.into_parts();
        let header = RecordHeader {
            key: word::key(wire.key)?,
            stamp: word::stamp(wire.stamp)?,
            origin: word::site(wire.origin)?,
            backup: wire.backup.map(word::site).transpose()?,
            schema: wire.schema,
            age: Duration::from_nanos(wire.age),
            deadline: wire.deadline.map(Duration::from_nanos),
            crossing_deadline: wire.crossing_deadline.map(Duration::from_nanos),
            hints: wire.hints.into_iter().map(hint_from_wire).collect::<Result<_, _>>()?,
            crossed: list::unpack(&wire.crossed)?,
            newer: (!newer.is_empty()).then(|| Box::new(newer)),
        };
        Ok(Self { header, crossing: wire.crossing, local: wire.local })
    }
}

/// The record that a word cannot do without.
pub(crate) fn record(record: Option<Record>) -> Result<record::Record, DecodeError> {
    need(record, "record")?.try_into()
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(crate) struct Tombstone {
    #[prost(message, optional, tag = "1")]
    key: Option<Key>,
    #[prost(message, optional, tag = "2")]
    stamp: Option<Stamp>,
}

impl From<record::Tombstone> for Tombstone {
    fn from(tombstone: record::Tombstone) -> Self {
        Self { key: Some(tombstone.key.into()), stamp: Some(tombstone.stamp.into()) }
    }
}

impl TryFrom<Tombstone> for record::Tombstone {
    type Error = DecodeError;

    fn try_from(wire: Tombstone) -> Result<Self, DecodeError> {
        Ok(Self { key: word::key(wire.key)?, stamp: word::stamp(wire.stamp)? })
    }
}

/// The tombstone that a word cannot do without.
pub(crate) fn tombstone(wire: Option<Tombstone>) -> Result<record::Tombstone, DecodeError> {
    need(wire, "tombstone")?.try_into()
}
