//! Which silent sites are given up, so that their calls may wake here by their own deadlines.
//!
//! A site that is silent may be dead, or cut off while it goes on serving. Its calls' deadlines
//! pass in both cases, and in the second it keeps them itself: woken here, each call would live
//! twice. What tells the cases apart is where the messages go. A dead site's are routed here and
//! wake its calls, as does an operator's order; of one that is only cut off, no more than strays
//! come.
//!
//! ```text
//!              silent                    one in ten woken here
//!   answers ───────────► silent: sleeps ───────────────────────► given up: its deadlines count
//!      ▲                       │                                       │
//!      └──────── answers ──────┴───────────────────────────────────────┘
//! ```

use std::collections::BTreeMap;

use vocab::{SiteId, Stamp};

use crate::Replica;

/// A silent site is given up once one in so many of its calls woke here.
const ONE_IN: u64 = 10;

/// Calls woken since their home fell silent; as many entries as there are sites.
#[derive(Debug, Default)]
pub(crate) struct WokenSince(BTreeMap<SiteId, u64>);

impl WokenSince {
    /// A call that slept here, put there as `base` says, lives here now.
    pub(crate) fn note(&mut self, base: Option<Stamp>, here: SiteId) {
        let home = base.map(|base| base.epoch.site);
        if let Some(home) = home.filter(|home| *home != here) {
            *self.0.entry(home).or_default() += 1;
        }
    }

    /// The site answers, or did until now.
    pub(crate) fn forget(&mut self, home: SiteId) {
        self.0.remove(&home);
    }

    fn of(&self, home: SiteId) -> u64 {
        self.0.get(&home).copied().unwrap_or(0)
    }
}

impl Replica {
    /// Whether calls that sleep here for the site wake when their last deadline has passed.
    pub(crate) fn is_given_up(&self, home: SiteId) -> bool {
        if self.sites.contains_key(&home) {
            return false;
        }
        let woken = self.woken_since.of(home);
        let asleep = self.store.dormant_len(home) as u64;
        woken > 0 && woken.saturating_mul(ONE_IN) >= woken + asleep
    }
}
