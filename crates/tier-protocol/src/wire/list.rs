//! Lists of small entries of one size, side by side in a bytes field, big-endian.
//!
//! A repeated message takes dozens of bytes in memory for two on the wire. Entries of a fixed size
//! keep what a hostile frame can make us allocate close to the frame's own size.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use vocab::{CallKey, Epoch, LockToken, SiteId, Stamp, Version, ViewNumber};

use crate::error::DecodeError;
use crate::partition::Sweep;
use crate::site::{KeysetEntry, KeysetKind, Superseded};

/// An entry of a list.
pub(crate) trait Element: Sized {
    /// Bytes of one entry.
    const BYTES: usize;
    fn put(&self, out: &mut BytesMut);
    fn get(from: &mut &[u8]) -> Result<Self, DecodeError>;
}

pub(crate) fn pack<E: Element>(list: &[E]) -> Bytes {
    let mut out = BytesMut::with_capacity(list.len() * E::BYTES);
    list.iter().for_each(|element| element.put(&mut out));
    out.freeze()
}

pub(crate) fn unpack<E: Element>(bytes: &[u8]) -> Result<Vec<E>, DecodeError> {
    if !bytes.len().is_multiple_of(E::BYTES) {
        let value = bytes.len() as u64;
        return Err(DecodeError::OutOfRange { what: "length of a list", value });
    }
    bytes.chunks_exact(E::BYTES).map(|mut element| E::get(&mut element)).collect()
}

pub(super) fn get_key(from: &mut &[u8]) -> CallKey {
    CallKey(from.get_u128().to_be_bytes())
}

fn put_epoch(epoch: Epoch, out: &mut BytesMut) {
    out.put_u64(epoch.n);
    out.put_u16(epoch.site.0);
}

fn get_epoch(from: &mut &[u8]) -> Epoch {
    Epoch { n: from.get_u64(), site: SiteId(from.get_u16()) }
}

pub(super) const STAMP_BYTES: usize = 10 + 16 + 8;

pub(super) fn put_stamp(stamp: &Stamp, out: &mut BytesMut) {
    put_epoch(stamp.epoch, out);
    out.put_u64(stamp.token.view.0);
    out.put_u64(stamp.token.counter);
    out.put_u64(stamp.version.0);
}

pub(super) fn get_stamp(from: &mut &[u8]) -> Stamp {
    let epoch = get_epoch(from);
    let token = LockToken { view: ViewNumber(from.get_u64()), counter: from.get_u64() };
    Stamp { epoch, token, version: Version(from.get_u64()) }
}

impl Element for (SiteId, Stamp) {
    const BYTES: usize = 2 + STAMP_BYTES;

    fn put(&self, out: &mut BytesMut) {
        let (site, stamp) = self;
        out.put_u16(site.0);
        put_stamp(stamp, out);
    }

    fn get(from: &mut &[u8]) -> Result<Self, DecodeError> {
        Ok((SiteId(from.get_u16()), get_stamp(from)))
    }
}

impl Element for SiteId {
    const BYTES: usize = 2;

    fn put(&self, out: &mut BytesMut) {
        out.put_u16(self.0);
    }

    fn get(from: &mut &[u8]) -> Result<Self, DecodeError> {
        Ok(Self(from.get_u16()))
    }
}

/// A site and how many calls.
impl Element for (SiteId, u64) {
    const BYTES: usize = 2 + 8;

    fn put(&self, out: &mut BytesMut) {
        let (site, calls) = self;
        out.put_u16(site.0);
        out.put_u64(*calls);
    }

    fn get(from: &mut &[u8]) -> Result<Self, DecodeError> {
        Ok((SiteId(from.get_u16()), from.get_u64()))
    }
}

impl Element for (SiteId, Sweep) {
    const BYTES: usize = 2 + 4 + 5 * 8;

    fn put(&self, out: &mut BytesMut) {
        let (site, sweep) = self;
        let Sweep { slots_left, done, found, repaired, unanswered, ended_ms } = *sweep;
        out.put_u16(site.0);
        out.put_u32(slots_left);
        for number in [done, found, repaired, unanswered, ended_ms] {
            out.put_u64(number);
        }
    }

    fn get(from: &mut &[u8]) -> Result<Self, DecodeError> {
        let site = SiteId(from.get_u16());
        let slots_left = from.get_u32();
        let mut number = || from.get_u64();
        let (done, found, repaired) = (number(), number(), number());
        let (unanswered, ended_ms) = (number(), number());
        Ok((site, Sweep { slots_left, done, found, repaired, unanswered, ended_ms }))
    }
}

impl Element for Superseded {
    const BYTES: usize = 16 + 10;

    fn put(&self, out: &mut BytesMut) {
        out.put_slice(&self.key.0);
        put_epoch(self.epoch, out);
    }

    fn get(from: &mut &[u8]) -> Result<Self, DecodeError> {
        Ok(Self { key: get_key(from), epoch: get_epoch(from) })
    }
}

const MOVED: u8 = 1;
const DORMANT: u8 = 2;

impl Element for KeysetEntry {
    const BYTES: usize = 16 + 10 + 1;

    fn put(&self, out: &mut BytesMut) {
        out.put_slice(&self.key.0);
        put_epoch(self.epoch, out);
        out.put_u8(match self.kind {
            KeysetKind::Moved => MOVED,
            KeysetKind::Dormant => DORMANT,
        });
    }

    fn get(from: &mut &[u8]) -> Result<Self, DecodeError> {
        let (key, epoch) = (get_key(from), get_epoch(from));
        let kind = match from.get_u8() {
            MOVED => KeysetKind::Moved,
            DORMANT => KeysetKind::Dormant,
            value => {
                let value = u32::from(value);
                return Err(DecodeError::Unknown { what: "keyset kind", value });
            }
        };
        Ok(Self { key, epoch, kind })
    }
}
