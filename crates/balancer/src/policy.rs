//! The routing policy: which site serves the calls of which home, and where new calls go.

use std::collections::BTreeMap;

use vocab::SiteId;

/// A routing policy. It changes while traffic flows; only a higher version replaces a lower one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Grows with each change.
    pub version: u64,
    /// Home to the site that serves its calls. A home that is missing here is served by itself.
    pub serves: BTreeMap<SiteId, SiteId>,
    /// Share of the requests without a token that each site gets. Zero: none.
    pub weights: BTreeMap<SiteId, u32>,
}

impl Policy {
    /// The policy where every site serves its own calls and takes an equal share of new ones.
    #[must_use]
    pub fn own_calls(sites: impl IntoIterator<Item = SiteId>) -> Self {
        let weights: BTreeMap<_, _> = sites.into_iter().map(|site| (site, 1)).collect();
        let serves = weights.keys().map(|&site| (site, site)).collect();
        Self { version: 1, serves, weights }
    }

    /// The site that serves the calls of `home`.
    #[must_use]
    pub fn serves(&self, home: SiteId) -> SiteId {
        self.serves.get(&home).copied().unwrap_or(home)
    }
}
