//! A row's columns: how a stamp sorts as bytes, and the checksum over all of a row but
//! its view.
//!
//! A stamp is 34 bytes, all numbers big-endian, so that bytes compare as stamps do:
//!
//! ```text
//! epoch.n (8) | 65535 - epoch.site (2) | token.view (8) | token.counter (8) | version (8)
//! ```
//!
//! The lower site wins among equal `n`, hence the difference. Databases have no unsigned 64-bit
//! numbers, but all of them compare bytes; "newer" is `<` on this column.

use std::hash::Hasher;

use bytes::Bytes;
use siphasher::sip::SipHasher24;
use vocab::{CallKey, Epoch, LockToken, SiteId, Stamp, Version, ViewNumber, WallTime};

use super::Row;

pub(super) const STAMP_BYTES: usize = 34;

/// The stamp's column.
pub(super) fn stamp_bytes(stamp: &Stamp) -> [u8; STAMP_BYTES] {
    let mut bytes = [0; STAMP_BYTES];
    bytes[..8].copy_from_slice(&stamp.epoch.n.to_be_bytes());
    bytes[8..10].copy_from_slice(&(u16::MAX - stamp.epoch.site.0).to_be_bytes());
    bytes[10..18].copy_from_slice(&stamp.token.view.0.to_be_bytes());
    bytes[18..26].copy_from_slice(&stamp.token.counter.to_be_bytes());
    bytes[26..].copy_from_slice(&stamp.version.0.to_be_bytes());
    bytes
}

/// Reads what [`stamp_bytes`] wrote.
pub(super) fn stamp_of(bytes: &[u8]) -> Option<Stamp> {
    let bytes: &[u8; STAMP_BYTES] = bytes.try_into().ok()?;
    let number = |from: usize| {
        let mut word = [0; 8];
        word.copy_from_slice(&bytes[from..from + 8]);
        u64::from_be_bytes(word)
    };
    let site = SiteId(u16::MAX - u16::from_be_bytes([bytes[8], bytes[9]]));
    Some(Stamp {
        epoch: Epoch { n: number(0), site },
        token: LockToken { view: ViewNumber(number(10)), counter: number(18) },
        version: Version(number(26)),
    })
}

/// The slot's column. `SLOTS` is far below the largest `i16`.
pub(super) fn slot_column(key: &CallKey) -> i16 {
    i16::try_from(key.slot().0).unwrap_or(i16::MAX)
}

/// The column of a view's number.
pub(super) fn view_column(view: ViewNumber) -> i64 {
    i64::try_from(view.0).unwrap_or(i64::MAX)
}

/// A moment's column.
pub(super) fn moment(at: WallTime) -> i64 {
    i64::try_from(at.0).unwrap_or(i64::MAX)
}

/// The columns of a row, as they are read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Columns<'a> {
    pub(super) slot: i16,
    pub(super) key: &'a [u8],
    pub(super) stamp: &'a [u8],
    /// Not under the checksum: a later writer raises it and leaves the rest.
    pub(super) view: i64,
    pub(super) put_at: i64,
    pub(super) deadline: Option<i64>,
    pub(super) checksum: i64,
    pub(super) body: &'a [u8],
}

/// A row that is not what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Corrupt {
    pub(super) slot: i16,
    /// As it is written there.
    pub(super) key: CallKey,
    pub(super) checksum: i64,
}

impl Columns<'_> {
    /// The row, if it is what was written. The tables hold no key of another length.
    pub(super) fn read(&self) -> Result<Row, Corrupt> {
        let key = key_of(self.key);
        let corrupt = Corrupt { slot: self.slot, key, checksum: self.checksum };
        let stamp = stamp_of(self.stamp).ok_or(corrupt.clone())?;
        if checksum(self) != self.checksum || slot_column(&key) != self.slot {
            return Err(corrupt);
        }
        let moment = |at: i64| WallTime(u64::try_from(at).unwrap_or(0));
        Ok(Row {
            key,
            stamp,
            view: ViewNumber(u64::try_from(self.view).unwrap_or(0)),
            body: Bytes::copy_from_slice(self.body),
            put_at: moment(self.put_at),
            deadline: self.deadline.map(moment),
        })
    }
}

pub(super) fn key_of(bytes: &[u8]) -> CallKey {
    let mut key = [0; 16];
    for (byte, read) in key.iter_mut().zip(bytes) {
        *byte = *read;
    }
    CallKey(key)
}

/// The checksum's column for a row that is written.
pub(super) fn checksum_of(row: &Row) -> i64 {
    checksum(&Columns {
        slot: slot_column(&row.key),
        key: &row.key.0,
        stamp: &stamp_bytes(&row.stamp),
        view: view_column(row.view),
        put_at: moment(row.put_at),
        deadline: row.deadline.map(moment),
        checksum: 0,
        body: &row.body,
    })
}

/// SipHash-2-4 with a key of zeros: it finds accidents, not forgers, who could write here anyway.
fn checksum(columns: &Columns<'_>) -> i64 {
    let mut hasher = SipHasher24::new();
    hasher.write(columns.key);
    hasher.write(columns.stamp);
    hasher.write(&columns.put_at.to_be_bytes());
    hasher.write(&[u8::from(columns.deadline.is_some())]);
    hasher.write(&columns.deadline.unwrap_or(0).to_be_bytes());
    hasher.write(columns.body);
    hasher.finish().cast_signed()
}

#[cfg(test)]
mod tests;
