//! The dictionaries that batches are compressed with.
//!
//! Each is a file under `dictionary/`, shipped in the program and named by its number, from 1. A
//! file that is there is never changed: batches that were written with it lie on disks and cross
//! between versions. A later one gets the next number; who reads a dictionary reads all before it.

use std::io;
use std::sync::LazyLock;

use zstd::bulk::{Compressor, Decompressor};
use zstd::dict::{DecoderDictionary, EncoderDictionary};
use zstd::zstd_safe::CParameter;

use crate::batch::ZSTD_LEVEL;

/// The newest dictionary that this build has, and that it writes with.
pub const NEWEST: u16 = FILES.len() as u16;

const FILES: [&[u8]; 1] = [include_bytes!("../dictionary/1.zdict")];

struct Prepared {
    encoder: EncoderDictionary<'static>,
    decoder: DecoderDictionary<'static>,
}

/// zstd's tables of each file, made once: they cost more than a small batch.
static PREPARED: LazyLock<Vec<Prepared>> = LazyLock::new(|| {
    let prepared = |file: &&[u8]| Prepared {
        encoder: EncoderDictionary::copy(file, ZSTD_LEVEL),
        decoder: DecoderDictionary::copy(file),
    };
    FILES.iter().map(prepared).collect()
});

fn prepared(number: u16) -> Option<&'static Prepared> {
    PREPARED.get(usize::from(number.checked_sub(1)?))
}

/// `None` without such a dictionary, and for lack of memory.
pub(crate) fn compress(number: u16, raw: &[u8]) -> Option<Vec<u8>> {
    let mut compressor = Compressor::with_prepared_dictionary(&prepared(number)?.encoder).ok()?;
    // The batch has the number, and the length too.
    compressor.set_parameter(CParameter::DictIdFlag(false)).ok()?;
    compressor.set_parameter(CParameter::ContentSizeFlag(false)).ok()?;
    compressor.compress(raw).ok()
}

/// At most `capacity` bytes; `None` without such a dictionary.
pub(crate) fn decompress(
    number: u16,
    small: &[u8],
    capacity: usize,
) -> Option<io::Result<Vec<u8>>> {
    let decoder = &prepared(number)?.decoder;
    let raw = Decompressor::with_prepared_dictionary(decoder);
    Some(raw.and_then(|mut decompressor| decompressor.decompress(small, capacity)))
}
