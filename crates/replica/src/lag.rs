//! How long states took to cross: counts by range of time, so that any number of crossings takes
//! the same few bytes.

use std::time::Duration;

/// Upper bounds of the ranges, milliseconds, rising. What took longer has a range of its own.
pub const LAG_BOUNDS_MS: [u64; 18] = [
    10, 20, 50, 100, 150, 200, 250, 300, 400, 500, 750, 1_000, 2_000, 5_000, 10_000, 30_000,
    60_000, 600_000,
];

/// Crossings to one site, from the put at a boundary to the site's acknowledgement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lags {
    /// By range: those that took no longer than the bound of that index, and longer than the bound
    /// before. The last are those above all bounds.
    pub counts: [u64; LAG_BOUNDS_MS.len() + 1],
    /// What all of them took together.
    pub sum: Duration,
}

impl Lags {
    pub(crate) fn add(&mut self, lag: Duration) {
        let is_below = |bound: &u64| Duration::from_millis(*bound) < lag;
        let range = LAG_BOUNDS_MS.iter().take_while(|bound| is_below(bound)).count();
        self.counts[range] += 1;
        self.sum += lag;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_the_range_below_it() {
        let mut lags = Lags::default();
        for ms in [0, 10, 11, 20, 600_000, 600_001] {
            lags.add(Duration::from_millis(ms));
        }
        assert_eq!(lags.counts[..2], [2, 2]);
        assert_eq!(lags.counts[LAG_BOUNDS_MS.len() - 1..], [1, 1]);
        assert_eq!(lags.counts.iter().sum::<u64>(), 6);
        assert_eq!(lags.sum, Duration::from_millis(1_200_042));
    }

    #[test]
    fn bounds_rise() {
        assert!(LAG_BOUNDS_MS.is_sorted_by(|one, other| one < other));
    }
}
