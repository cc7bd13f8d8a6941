//! What makes one version of a call comparable with another: home epoch, lock token, version.

use std::cmp::Ordering;
use std::fmt;

use crate::SiteId;

/// Number of a partition's view. Numbers of all partitions of a site come from one sequence that
/// only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ViewNumber(pub u64);

/// Proof of a lock: grows with each grant, across primaries too, as the view number leads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LockToken {
    /// View in which the lock was granted.
    pub view: ViewNumber,
    /// Counter of the primary that granted it.
    pub counter: u64,
}

/// Count of puts of one call. It never goes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u64);

/// Which home owns a call, and since which change of home: the home epoch.
///
/// `site` **is** the home. The greater epoch wins when two copies meet: the higher `n`, then the
/// **lower** site id.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Epoch {
    /// Grows with each change of home, and jumps with each start of a site.
    pub n: u64,
    /// The home.
    pub site: SiteId,
}

impl Epoch {
    /// Epochs that a site start reserves: records created after start `s` begin at `s * PER_START`.
    pub const PER_START: u64 = 65_536;

    /// First epoch of the calls that `site` creates after its `start`-th start (from 1).
    #[must_use]
    pub fn of_start(site: SiteId, start: u64) -> Self {
        Self { n: start * Self::PER_START, site }
    }

    /// The epoch of a call of this one that wakes at `site`: the next even `n`.
    ///
    /// Waking and giving never share an `n`: behind a cut one site may give a call away while the
    /// other wakes its copy, and the two must compare.
    #[must_use]
    pub fn woken_at(self, site: SiteId) -> Self {
        Self { n: (self.n / 2 + 1) * 2, site }
    }

    /// The epoch of a call of this one that its home gives to `site`: the next odd `n`.
    #[must_use]
    pub fn given_to(self, site: SiteId) -> Self {
        Self { n: (self.n + 1) | 1, site }
    }

    /// Whether its home was given the call by the home before it.
    #[must_use]
    pub fn is_given(self) -> bool {
        self.n % 2 == 1
    }

    /// The highest epoch below this one, which no call ever has: what is older than this one is
    /// at or below it.
    #[must_use]
    pub fn below(self) -> Self {
        Self { n: self.n, site: SiteId(u16::MAX) }
    }
}

impl Ord for Epoch {
    fn cmp(&self, other: &Self) -> Ordering {
        self.n.cmp(&other.n).then_with(|| other.site.cmp(&self.site))
    }
}

impl PartialOrd for Epoch {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{:?}", self.n, self.site)
    }
}

/// Unique per put and ordered: epoch first, then the lock token, then the version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp {
    /// Home epoch; versions are compared only within one.
    pub epoch: Epoch,
    /// Token of the lock under which the put was made.
    pub token: LockToken,
    /// Count of puts.
    pub version: Version,
}
