//! The simulator's only source of chance: a small generator that one seed determines.
//!
//! SplitMix64 by Steele, Lea and Flood, written from its published definition; statistical quality
//! is all that is asked of it.

use std::time::Duration;

/// A stream of numbers out of one seed.
#[derive(Clone, Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    /// The stream of `seed`.
    #[must_use]
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in `0..below`; `below` is at least 1.
    pub(crate) fn below(&mut self, below: u64) -> u64 {
        self.next() % below.max(1)
    }

    /// True in `per_mille` of 1,000 cases.
    pub(crate) fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1_000) < per_mille
    }

    /// A duration in `low_us..=high_us` microseconds.
    pub(crate) fn between_us(&mut self, low_us: u64, high_us: u64) -> Duration {
        Duration::from_micros(low_us + self.below(high_us - low_us + 1))
    }

    /// A stream of its own, so that one part's draws do not move another's.
    #[must_use]
    pub(crate) fn fork(&mut self) -> Self {
        Self(self.next())
    }
}
