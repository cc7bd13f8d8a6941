//! The words of a sweep between sites.

use bytes::Bytes;
use vocab::{CallKey, SLOTS, Slot, Stamp};

use super::list;
use crate::error::DecodeError;
use crate::sweep;

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct SweepWord {
    #[prost(uint32, tag = "1")]
    kind: u32,
    #[prost(uint32, tag = "2")]
    slot: u32,
    #[prost(uint64, tag = "3")]
    calls: u64,
    #[prost(fixed64, tag = "4")]
    digest: u64,
    /// Keys, alone or with stamps.
    #[prost(bytes = "bytes", tag = "5")]
    keys: Bytes,
}

const DIGEST: u32 = 1;
const SAME: u32 = 2;
const DIFFERS: u32 = 3;
const CALLS: u32 = 4;
const LACKS: u32 = 5;
const WANTED: u32 = 6;

impl From<&sweep::SweepWord> for SweepWord {
    fn from(word: &sweep::SweepWord) -> Self {
        use sweep::SweepWord as Word;
        let of = |kind, slot: &Slot| Self { kind, slot: u32::from(slot.0), ..Self::default() };
        match word {
            Word::Digest { slot, calls, digest } => {
                Self { calls: *calls, digest: *digest, ..of(DIGEST, slot) }
            }
            Word::Same { slot } => of(SAME, slot),
            Word::Differs { slot } => of(DIFFERS, slot),
            Word::Calls { slot, calls } => Self { keys: list::pack(calls), ..of(CALLS, slot) },
            Word::Lacks { slot, keys } => Self { keys: list::pack(keys), ..of(LACKS, slot) },
            Word::Wanted => Self { kind: WANTED, ..Self::default() },
        }
    }
}

impl TryFrom<SweepWord> for sweep::SweepWord {
    type Error = DecodeError;

    fn try_from(wire: SweepWord) -> Result<Self, DecodeError> {
        let slot = u16::try_from(wire.slot).ok().filter(|slot| *slot < SLOTS).map(Slot);
        let value = u64::from(wire.slot);
        let slot = slot.ok_or(DecodeError::OutOfRange { what: "slot", value })?;
        Ok(match wire.kind {
            DIGEST => Self::Digest { slot, calls: wire.calls, digest: wire.digest },
            SAME => Self::Same { slot },
            DIFFERS => Self::Differs { slot },
            CALLS => Self::Calls { slot, calls: list::unpack::<(CallKey, Stamp)>(&wire.keys)? },
            LACKS => Self::Lacks { slot, keys: list::unpack(&wire.keys)? },
            WANTED => Self::Wanted,
            value => return Err(DecodeError::Unknown { what: "word of a sweep", value }),
        })
    }
}
