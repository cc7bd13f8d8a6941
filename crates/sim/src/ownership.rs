//! Which site owns a call, as its puts tell: evidence for the invariants of two sites.

use std::collections::{BTreeMap, BTreeSet};

use vocab::{CallKey, Epoch, Instant, SiteId, Stamp};

/// Evidence.
#[derive(Clone, Debug, Default)]
pub struct Ownership {
    /// When a call's home changed: at one site, or from another that may be dead.
    pub moved_at: BTreeMap<CallKey, Vec<Instant>>,
    /// Calls that two living sites stored as their own at a time.
    pub split: BTreeSet<CallKey>,
    /// Calls that began at two sites: to the callee they are two calls.
    pub begun_twice: BTreeSet<CallKey>,
    epochs: BTreeMap<CallKey, Epoch>,
    owners: BTreeMap<CallKey, BTreeSet<SiteId>>,
}

impl Ownership {
    /// The site at which a call was last put, if any was.
    pub(crate) fn home(&self, key: CallKey) -> Option<SiteId> {
        self.epochs.get(&key).map(|epoch| epoch.site)
    }

    /// A put is stored at a site.
    pub(crate) fn stored(&mut self, now: Instant, site: SiteId, key: CallKey, stamp: Stamp) {
        let elsewhere = self.epochs.get(&key).is_some_and(|epoch| epoch.site != site);
        if stamp.version.0 == 1 && elsewhere {
            self.begun_twice.insert(key);
        }
        let owners = self.owners.entry(key).or_default();
        if stamp.epoch.site == site {
            owners.insert(site);
        } else {
            owners.remove(&site);
        }
        if owners.len() > 1 {
            self.split.insert(key);
        }
        if self.epochs.insert(key, stamp.epoch).is_some_and(|before| before != stamp.epoch) {
            self.moved_at.entry(key).or_default().push(now);
        }
    }

    /// The call is another site's, or over, at this one.
    pub(crate) fn given_up(&mut self, site: SiteId, key: CallKey) {
        if let Some(owners) = self.owners.get_mut(&key) {
            owners.remove(&site);
        }
    }

    /// The call is over.
    pub(crate) fn ended(&mut self, key: CallKey) {
        self.owners.remove(&key);
    }

    /// A site, or a partition of it, is lost with all that it held.
    pub(crate) fn lost(&mut self, site: SiteId) {
        self.owners.values_mut().for_each(|owners| {
            owners.remove(&site);
        });
    }
}
