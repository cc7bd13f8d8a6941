//! Batches: what crosses to another site, compressed in one piece.
//!
//! Layout: `RHB`, the version (1 byte), the method (1), a checksum of the method and of all that
//! follows it (8), the length before compression (8), then the content: entries one after the
//! other, each behind its length. The content of the method with a dictionary begins with the
//! dictionary's number (2 bytes).
//!
//! Similar records lie side by side in one zstd frame; the dictionary has what they have in common
//! with those of other batches, which is most of a small batch. A batch is written with a
//! dictionary that its receiver said it reads, and without one when nothing was said.
//!
//! The checksum finds damage on a disk or a link; it does not authenticate anybody.

use std::fmt;
use std::hash::Hasher;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::Message;
use siphasher::sip::SipHasher13;
use vocab::{CallKey, Stamp};

use crate::dictionary;
use crate::error::DecodeError;
use crate::record::{Record, Tombstone};
use crate::wire;

/// Version of the layout of a batch; kept apart from the links', as batches lie on disks.
pub const BATCH_VERSION: u8 = 1;

const MAGIC: &[u8; 3] = b"RHB";
/// Magic, version, method, checksum, length.
const HEADER: usize = 3 + 1 + 1 + 8 + 8;
const METHOD_AS_IS: u8 = 0;
const METHOD_ZSTD: u8 = 1;
const METHOD_ZSTD_DICTIONARY: u8 = 2;
/// Of the number of the dictionary.
const NUMBER_BYTES: usize = 2;
/// The fastest of zstd's regular levels: the sender is also a replica that has locks to grant.
pub(crate) const ZSTD_LEVEL: i32 = 1;

/// Entries of one batch that make no sense and are passed over; with more it is not a batch.
pub const BAD_ENTRIES_MAX: usize = 64;

/// One call in a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// Its newest steady version, trimmed.
    Record(Record),
    /// It ended.
    Tombstone(Tombstone),
}

impl Entry {
    /// The call.
    #[must_use]
    pub fn key(&self) -> CallKey {
        match self {
            Self::Record(record) => record.header.key,
            Self::Tombstone(tombstone) => tombstone.key,
        }
    }

    /// The stamp of the record or of the removal.
    #[must_use]
    pub fn stamp(&self) -> Stamp {
        match self {
            Self::Record(record) => record.header.stamp,
            Self::Tombstone(tombstone) => tombstone.stamp,
        }
    }
}

/// An entry that makes no sense, in a batch that does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadEntry {
    /// Its place in the batch, from 0.
    pub index: usize,
    /// Its call, as far as that can be told.
    pub key: Option<CallKey>,
    /// What is wrong with it.
    pub why: DecodeError,
    /// The entry.
    pub bytes: Bytes,
}

/// Why bytes are not a batch that can be applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BatchError {
    /// It does not begin like a batch.
    NotABatch,
    /// Written by a version that this build does not know.
    UnknownVersion {
        /// The version.
        version: u8,
    },
    /// Compressed in a way that this build does not know.
    UnknownMethod {
        /// The method.
        method: u8,
    },
    /// Compressed with a dictionary that this build does not have.
    UnknownDictionary {
        /// The dictionary's number.
        number: u16,
    },
    /// The content is not what was written.
    Damaged,
    /// It would inflate beyond the bound. Nothing was inflated.
    TooLarge {
        /// What it claims to hold.
        bytes: u64,
        /// The bound.
        bytes_max: usize,
    },
    /// It does not inflate to what it claims.
    Inflate,
    /// An entry cannot be read.
    Entry {
        /// Its place in the batch, from 0.
        index: usize,
        /// What is wrong with it.
        why: DecodeError,
    },
}

impl fmt::Display for BatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotABatch => f.write_str("these bytes are not a batch"),
            Self::UnknownVersion { version } => {
                write!(f, "the sender wrote batch version {version}, not {BATCH_VERSION}")
            }
            Self::UnknownMethod { method } => {
                write!(f, "the sender compressed the batch by the unknown method {method}")
            }
            Self::UnknownDictionary { number } => write!(
                f,
                "the sender compressed the batch with dictionary {number}, the newest here is {}",
                dictionary::NEWEST
            ),
            Self::Damaged => f.write_str("the batch was damaged after it was written"),
            Self::TooLarge { bytes, bytes_max } => {
                write!(f, "the batch holds {bytes} bytes, the bound is {bytes_max}")
            }
            Self::Inflate => f.write_str("the batch does not inflate to what it claims"),
            Self::Entry { index, why } => write!(f, "entry {index} of the batch: {why}"),
        }
    }
}

impl std::error::Error for BatchError {}

/// One entry as a batch has it.
#[doc(hidden)]
#[must_use]
pub fn entry_bytes(entry: &Entry) -> Bytes {
    wire::batch::Entry::from(entry).encode_to_vec().into()
}

/// Writes entries that need make no sense: for tests of damage.
#[doc(hidden)]
#[must_use]
pub fn encode_raw(entries: &[Bytes]) -> Bytes {
    let mut raw = BytesMut::new();
    for entry in entries {
        prost::encode_length_delimiter(entry.len(), &mut raw).expect("BytesMut grows as needed");
        raw.extend_from_slice(entry);
    }
    seal(METHOD_AS_IS, raw.len() as u64, &raw)
}

/// A batch as it crosses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// The batch.
    pub bytes: Bytes,
    /// Its entries before compression.
    pub raw_bytes: u64,
}

/// Writes `entries`, in their order, without a dictionary: every receiver reads it.
#[must_use]
pub fn encode(entries: &[Entry]) -> Bytes {
    encode_for(entries, 0).bytes
}

/// Writes `entries`, in their order, for a receiver that reads the dictionaries up to `reads`.
#[must_use]
pub fn encode_for(entries: &[Entry], reads: u16) -> Encoded {
    let mut raw = BytesMut::new();
    for entry in entries {
        wire::batch::Entry::from(entry)
            .encode_length_delimited(&mut raw)
            .expect("BytesMut grows as needed");
    }
    // Compression fails for lack of memory alone; the batch then crosses as it is.
    let number = reads.min(dictionary::NEWEST);
    let small = match dictionary::compress(number, &raw) {
        Some(small) => Some((METHOD_ZSTD_DICTIONARY, small)),
        None => zstd::bulk::compress(&raw, ZSTD_LEVEL).ok().map(|small| (METHOD_ZSTD, small)),
    };
    let raw_bytes = raw.len() as u64;
    let bytes = match small.filter(|(_, small)| small.len() < raw.len()) {
        Some((METHOD_ZSTD_DICTIONARY, small)) => seal_with(number, raw_bytes, &small),
        Some((method, small)) => seal(method, raw_bytes, &small),
        None => seal(METHOD_AS_IS, raw_bytes, &raw),
    };
    Encoded { bytes, raw_bytes }
}

fn seal_with(dictionary: u16, raw_bytes: u64, small: &[u8]) -> Bytes {
    let mut content = BytesMut::with_capacity(NUMBER_BYTES + small.len());
    content.put_u16(dictionary);
    content.put_slice(small);
    seal(METHOD_ZSTD_DICTIONARY, raw_bytes, &content)
}

/// The dictionary that a reader of these bytes needs; 0 for none, or when they are no batch.
#[must_use]
pub fn dictionary_of(bytes: &[u8]) -> u16 {
    let at = MAGIC.len() + 1;
    match (bytes.get(at), bytes.get(HEADER..HEADER + NUMBER_BYTES)) {
        (Some(&METHOD_ZSTD_DICTIONARY), Some(mut number)) => number.get_u16(),
        (_, _) => 0,
    }
}

/// Whether these bytes begin like a batch of this version and are not what was written. Of others
/// it cannot be told.
#[must_use]
pub fn is_damaged(bytes: &[u8]) -> bool {
    let Some((mut header, content)) = bytes.split_at_checked(HEADER) else {
        return bytes.starts_with(MAGIC);
    };
    if !header.starts_with(MAGIC) {
        return false;
    }
    header.advance(MAGIC.len());
    let (version, method) = (header.get_u8(), header.get_u8());
    let (check, raw_bytes) = (header.get_u64(), header.get_u64());
    version == BATCH_VERSION && checksum(method, raw_bytes, content) != check
}

fn seal(method: u8, raw_bytes: u64, content: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(HEADER + content.len());
    out.put_slice(MAGIC);
    out.put_u8(BATCH_VERSION);
    out.put_u8(method);
    out.put_u64(checksum(method, raw_bytes, content));
    out.put_u64(raw_bytes);
    out.put_slice(content);
    out.freeze()
}

/// Reads a batch whose content is at most `bytes_max` long before compression.
///
/// # Errors
/// The bound is checked before anything is inflated; every other damage is named too.
pub fn decode(bytes: &Bytes, bytes_max: usize) -> Result<Vec<Entry>, BatchError> {
    let mut raw = inflate(bytes, bytes_max)?;
    let mut entries = Vec::new();
    // Entry by entry, and the first that makes no sense ends it: hostile content cannot make the
    // list much larger than itself.
    while raw.has_remaining() {
        let entry = wire::batch::Entry::decode_length_delimited(&mut raw)
            .map_err(DecodeError::from)
            .and_then(Entry::try_from)
            .map_err(|why| BatchError::Entry { index: entries.len(), why })?;
        entries.push(entry);
    }
    Ok(entries)
}

/// As [`decode`], but passes over entries that make no sense: one of them must not cost the others.
///
/// # Errors
/// As `decode`, but [`BatchError::Entry`] only when what follows cannot be told apart, or when more
/// than [`BAD_ENTRIES_MAX`] make no sense.
pub fn decode_each(
    bytes: &Bytes,
    bytes_max: usize,
) -> Result<(Vec<Entry>, Vec<BadEntry>), BatchError> {
    let mut raw = inflate(bytes, bytes_max)?;
    let (mut entries, mut bad) = (Vec::new(), Vec::new());
    while raw.has_remaining() {
        let index = entries.len() + bad.len();
        let length = prost::decode_length_delimiter(&mut raw).map_err(DecodeError::from);
        let length = length.map_err(|why| BatchError::Entry { index, why })?;
        if length > raw.remaining() || bad.len() >= BAD_ENTRIES_MAX {
            let why = DecodeError::Missing { what: "rest of the entry" };
            return Err(BatchError::Entry { index, why });
        }
        let bytes = raw.split_to(length);
        let entry = wire::batch::Entry::decode(bytes.clone())
            .map_err(DecodeError::from)
            .and_then(Entry::try_from);
        match entry {
            Ok(entry) => entries.push(entry),
            Err(why) => {
                bad.push(BadEntry { index, key: wire::batch::key_of(bytes.clone()), why, bytes });
            }
        }
    }
    Ok((entries, bad))
}

fn inflate(bytes: &Bytes, bytes_max: usize) -> Result<Bytes, BatchError> {
    let mut header = bytes.get(..HEADER).ok_or(BatchError::NotABatch)?;
    if !header.starts_with(MAGIC) {
        return Err(BatchError::NotABatch);
    }
    header.advance(MAGIC.len());
    let (version, method) = (header.get_u8(), header.get_u8());
    if version != BATCH_VERSION {
        return Err(BatchError::UnknownVersion { version });
    }
    let (check, raw_bytes) = (header.get_u64(), header.get_u64());
    let content = bytes.slice(HEADER..);
    if checksum(method, raw_bytes, &content) != check {
        return Err(BatchError::Damaged);
    }
    let capacity = usize::try_from(raw_bytes)
        .ok()
        .filter(|&bytes| bytes <= bytes_max)
        .ok_or(BatchError::TooLarge { bytes: raw_bytes, bytes_max })?;
    let raw = match method {
        METHOD_AS_IS => content,
        // Inflates into a buffer of `capacity` and stops with an error at its end.
        METHOD_ZSTD => zstd::bulk::decompress(&content, capacity)
            .map(Bytes::from)
            .map_err(|_| BatchError::Inflate)?,
        METHOD_ZSTD_DICTIONARY => Bytes::from(inflate_with(content, capacity)?),
        method => return Err(BatchError::UnknownMethod { method }),
    };
    if raw.len() == capacity { Ok(raw) } else { Err(BatchError::Inflate) }
}

/// Inflates into a buffer of `capacity`, as without a dictionary.
fn inflate_with(mut content: Bytes, capacity: usize) -> Result<Vec<u8>, BatchError> {
    let number = content.try_get_u16().map_err(|_| BatchError::Inflate)?;
    dictionary::decompress(number, &content, capacity)
        .ok_or(BatchError::UnknownDictionary { number })?
        .map_err(|_| BatchError::Inflate)
}

fn checksum(method: u8, raw_bytes: u64, content: &[u8]) -> u64 {
    let mut hasher = SipHasher13::new();
    hasher.write_u8(method);
    hasher.write_u64(raw_bytes);
    hasher.write(content);
    hasher.finish()
}

#[cfg(test)]
mod tests;
