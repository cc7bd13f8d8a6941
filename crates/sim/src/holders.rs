//! Who holds which lock, as replicas granted them: evidence that two never hold one.
//!
//! A place is what grants locks of its own: a site with one replica, or a replica among several.

use std::collections::BTreeMap;
use std::time::Duration;

use vocab::{CallKey, EngineId, Instant, LockToken};

/// A lock's lease, as long as the replica's default.
pub(crate) const LEASE: Duration = Duration::from_secs(3);

/// A grant as the replica gave it.
#[derive(Clone, Copy, Debug)]
struct Holder {
    engine: EngineId,
    token: LockToken,
    since: Instant,
}

/// The locks of all places.
#[derive(Debug)]
pub struct Holders<P> {
    /// For how long a lock holds whose holder says nothing.
    pub(crate) lease: Duration,
    holders: BTreeMap<(P, CallKey), Holder>,
    /// A lock was granted while another engine had it: the one before, and the new one.
    pub two: Vec<(Instant, P, CallKey, EngineId, EngineId)>,
}

impl<P> Default for Holders<P> {
    fn default() -> Self {
        Self { lease: LEASE, holders: BTreeMap::new(), two: Vec::new() }
    }
}

impl<P: Copy + Ord> Holders<P> {
    pub(crate) fn granted(
        &mut self,
        now: Instant,
        slot: (P, CallKey),
        engine: EngineId,
        token: LockToken,
    ) {
        if let Some(holder) = self.holders.get(&slot)
            && holder.token != token
            && holder.since + self.lease > now
        {
            self.two.push((now, slot.0, slot.1, holder.engine, engine));
        }
        self.holders.insert(slot, Holder { engine, token, since: now });
    }

    /// A word under the lock starts its lease anew, unless the lease was over already.
    pub(crate) fn prolong(&mut self, now: Instant, slot: (P, CallKey), token: LockToken) {
        if let Some(holder) = self.holders.get_mut(&slot)
            && holder.token == token
            && holder.since + self.lease > now
        {
            holder.since = now;
        }
    }

    pub(crate) fn let_go(&mut self, slot: (P, CallKey), token: LockToken) {
        if self.holders.get(&slot).is_some_and(|holder| holder.token == token) {
            self.holders.remove(&slot);
        }
    }

    /// Whatever lock there was is over.
    pub(crate) fn remove(&mut self, slot: (P, CallKey)) {
        self.holders.remove(&slot);
    }

    /// A place notices that an engine is gone.
    pub(crate) fn engine_gone(&mut self, place: P, engine: EngineId) {
        self.holders.retain(|(at, _), holder| *at != place || holder.engine != engine);
    }

    /// A place is no more, and nothing that it granted.
    pub(crate) fn place_gone(&mut self, place: P) {
        self.holders.retain(|(at, _), _| *at != place);
    }
}
