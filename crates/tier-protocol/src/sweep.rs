//! The words of a sweep: a site compares, hash slot by hash slot, what another one keeps of its
//! calls, and has cross again what is missing there.
//!
//! ```text
//!   home                                              the site that keeps copies
//!    │  Digest: so many calls, and a digest of them ──────►  │
//!    │  ◄────────────────────────────────── Same, or Differs │
//!    │  Calls: the calls of the slot, run by run ─────────►  │
//!    │  ◄──────────── Lacks: those that it has older, or not │
//! ```
//! Slots are the same at all sites, whatever partitions they are mapped to. What the other site
//! has beyond is not spoken of: absence never deletes anything.

use std::hash::Hasher;

use siphasher::sip::SipHasher24;
use vocab::{CallKey, Slot, Stamp};

/// One word of a sweep. Those of the home have a number, which comes back with the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SweepWord {
    /// From the home: what it has in a slot.
    Digest {
        /// The slot.
        slot: Slot,
        /// How many calls.
        calls: u64,
        /// The sum of their digests, see [`digest_of`].
        digest: u64,
    },
    /// The copies of the slot are the same.
    Same {
        /// The slot.
        slot: Slot,
    },
    /// They are not.
    Differs {
        /// The slot.
        slot: Slot,
    },
    /// From the home: some of the slot's calls, by rising key.
    Calls {
        /// The slot.
        slot: Slot,
        /// The calls, and the stamps that they should have.
        calls: Vec<(CallKey, Stamp)>,
    },
    /// Those that the other site has older, or not at all.
    Lacks {
        /// The slot.
        slot: Slot,
        /// The calls.
        keys: Vec<CallKey>,
    },
    /// The site may have lost copies: it asks for a sweep at once.
    Wanted,
}

impl SweepWord {
    /// The slot that it is about; `None` when it is about all.
    #[must_use]
    pub fn slot(&self) -> Option<Slot> {
        match self {
            Self::Digest { slot, .. }
            | Self::Same { slot }
            | Self::Differs { slot }
            | Self::Calls { slot, .. }
            | Self::Lacks { slot, .. } => Some(*slot),
            Self::Wanted => None,
        }
    }
}

/// What one call adds to the digest of its slot.
#[must_use]
pub fn digest_of(key: CallKey, stamp: Stamp) -> u64 {
    let mut hasher = SipHasher24::new();
    hasher.write(&key.0);
    hasher.write(&stamp.epoch.n.to_be_bytes());
    hasher.write(&stamp.epoch.site.0.to_be_bytes());
    hasher.write(&stamp.token.view.0.to_be_bytes());
    hasher.write(&stamp.token.counter.to_be_bytes());
    hasher.write(&stamp.version.0.to_be_bytes());
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use vocab::{Epoch, LockToken, SiteId, Version, ViewNumber};

    #[test]
    fn the_digest_of_a_call_is_the_same_at_every_site_and_in_every_release() {
        let token = LockToken { view: ViewNumber(3), counter: 4 };
        let stamp = Stamp { epoch: Epoch { n: 2, site: SiteId(1) }, token, version: Version(5) };
        assert_eq!(digest_of(CallKey([7; 16]), stamp), DIGEST);
        let later = Stamp { version: Version(6), ..stamp };
        assert_ne!(digest_of(CallKey([7; 16]), later), DIGEST);
    }

    /// Never changed: sites of two releases compare.
    const DIGEST: u64 = 0x9b33_c537_b846_1a53;
}
