//! What was seen at the links of the site: evidence for the invariants.
//!
//! A put is acknowledged when everybody of one view said `Stored` in it. The puts of a call form a
//! tree by the records that they were made from; those that were acknowledged must lie on one
//! branch, or one of them was lost.

use std::collections::{BTreeMap, BTreeSet};

use sip_message::Bytes;
use tier_protocol::{Command, GateWord, Reply, SiteState, SlotSet};
use vocab::{CallKey, EngineId, Instant, ReplicaId, SiteId, Stamp, ViewNumber};

use super::views::Views;
use crate::holders::Holders;
use crate::watch::key_of;

/// A put of an engine, and who has said in which view that it is stored.
#[derive(Debug)]
struct Putting {
    site: SiteId,
    stamp: Stamp,
    since: Instant,
    by: BTreeMap<ViewNumber, BTreeSet<ReplicaId>>,
    /// Everybody of one view had it: it explains what leaves, though the engine says it again.
    is_stored: bool,
}

/// A put or a removal as its engine sent it.
#[derive(Clone, Copy, Debug)]
struct Made {
    base: Option<Stamp>,
    is_removal: bool,
}

/// All that was put of one call.
#[derive(Debug, Default)]
struct Story {
    made: BTreeMap<Stamp, Made>,
    stored: BTreeMap<(Stamp, ViewNumber), BTreeSet<ReplicaId>>,
    acknowledged: BTreeSet<Stamp>,
}

/// Evidence.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// An engine sent a message of a call while its put was not stored.
    pub(crate) sent_early: Vec<(Instant, EngineId, CallKey)>,
    /// Locks, and those that two engines had.
    pub(crate) holders: Holders<ReplicaId>,
    /// An acknowledged put that a later one was not made from.
    pub(crate) passed_over: Vec<(Instant, CallKey, Stamp, Stamp)>,
    /// A primary stored a stamp that is not above the one before.
    pub(crate) went_back: Vec<(Instant, ReplicaId, CallKey, Stamp, Stamp)>,
    /// Puts that were acknowledged.
    pub(crate) acknowledged: u64,
    /// Locks granted, and of those, with effects to be resumed.
    pub(crate) grants: [u64; 2],
    stories: BTreeMap<(SiteId, CallKey), Story>,
    /// Calls of which a site was told that the home of before had ended them: it removes what woke
    /// there meanwhile, without an engine.
    ended: BTreeSet<(SiteId, CallKey)>,
    putting: BTreeMap<(EngineId, CallKey), Putting>,
    stored: BTreeMap<(ReplicaId, CallKey), Stamp>,
    serving: BTreeSet<EngineId>,
}

impl Story {
    /// The first of the puts that `stamp` was made from, itself included, that is not above `down`.
    fn ancestor(&self, stamp: Stamp, down: Stamp) -> Option<Stamp> {
        let mut at = stamp;
        while at > down {
            at = self.made.get(&at)?.base?;
        }
        Some(at)
    }

    /// Whether what `new` was made from had `old`, or a removal of what had it.
    fn follows(&self, new: Stamp, old: Stamp) -> bool {
        if self.ancestor(new, old) == Some(old) {
            return true;
        }
        let mut root = new;
        while let Some(base) = self.made.get(&root).and_then(|made| made.base) {
            root = base;
        }
        if root <= old {
            return false;
        }
        let removals = self.made.range(old..root).filter(|(_, made)| made.is_removal);
        let mut removals = removals.map(|(stamp, _)| *stamp);
        removals.any(|removal| self.ancestor(removal, old) == Some(old))
    }
}

impl Watch {
    /// An engine sends a datagram.
    pub(crate) fn transmitted(&mut self, now: Instant, engine: EngineId, bytes: &Bytes) {
        if self.putting.is_empty() {
            return;
        }
        let Some(key) = key_of(bytes) else { return };
        if self.putting.get(&(engine, key)).is_some_and(|putting| !putting.is_stored) {
            self.sent_early.push((now, engine, key));
        }
    }

    /// An engine gives a command to its links.
    pub(crate) fn commanded(
        &mut self,
        now: Instant,
        (site, engine): (SiteId, EngineId),
        command: &Command,
    ) {
        let (key, stamp, made) = match command {
            Command::Put { record, base, .. } => {
                let made = Made { base: *base, is_removal: false };
                (record.header.key, record.header.stamp, made)
            }
            Command::Delete { tombstone, base, .. } => {
                let made = Made { base: Some(*base), is_removal: true };
                (tombstone.key, tombstone.stamp, made)
            }
            Command::LockAndGet { key, .. } => {
                // Asking again gives the put before up, with all that it explained.
                self.putting.remove(&(engine, *key));
                return;
            }
            Command::Get { .. }
            | Command::Confirm { .. }
            | Command::Unlock { .. }
            | Command::Renew { .. }
            | Command::StoreDormant { .. }
            | Command::StoreTombstone { .. }
            | Command::Poisoned { .. } => return,
        };
        self.stories.entry((site, key)).or_default().made.insert(stamp, made);
        let putting = self.putting.entry((engine, key));
        let new = || Putting { site, stamp, since: now, by: BTreeMap::new(), is_stored: false };
        let putting = putting.or_insert_with(new);
        if putting.stamp != stamp {
            *putting = new();
        }
    }

    /// The engine whose put waits for longest, for which call, and since when.
    pub(crate) fn oldest_put(&self) -> Option<(EngineId, CallKey, Instant)> {
        let waiting = self.putting.iter().filter(|(_, of)| !of.is_stored);
        let puts = waiting.map(|((engine, key), of)| (*engine, *key, of.since));
        puts.min_by_key(|(_, _, since)| *since)
    }

    /// A command reaches a replica.
    pub(crate) fn delivered(
        &mut self,
        now: Instant,
        (site, replica): (SiteId, ReplicaId),
        command: &Command,
    ) {
        let slot = (replica, command.key());
        match command {
            Command::Unlock { token, .. } => self.holders.let_go(slot, *token),
            Command::Delete { tombstone, .. } => self.holders.let_go(slot, tombstone.stamp.token),
            Command::Renew { token, .. } => self.holders.prolong(now, slot, *token),
            // A higher epoch ends the lock of the copy that it replaces.
            Command::StoreDormant { .. } => {
                self.holders.remove(slot);
                self.forget(site, slot.1);
            }
            Command::StoreTombstone { .. } => {
                self.holders.remove(slot);
                self.forget(site, slot.1);
                self.ended.insert((site, slot.1));
            }
            Command::Put { .. }
            | Command::LockAndGet { .. }
            | Command::Get { .. }
            | Command::Confirm { .. }
            | Command::Poisoned { .. } => {}
        }
    }

    /// Another site's word is about the call: what was put here before may give way to it.
    pub(crate) fn forget(&mut self, site: SiteId, key: CallKey) {
        self.stories.remove(&(site, key));
    }

    /// A replica says something.
    pub(crate) fn replied(
        &mut self,
        now: Instant,
        views: &Views,
        (site, replica, leads): (SiteId, ReplicaId, bool),
        (engine, view): (EngineId, ViewNumber),
        reply: &Reply,
    ) {
        match reply {
            Reply::Granted { key, token, resume, .. } => {
                self.holders.granted(now, (replica, *key), engine, *token);
                self.grants[0] += 1;
                self.grants[1] += u64::from(*resume);
            }
            Reply::Unchanged { key, token, .. } => {
                self.holders.granted(now, (replica, *key), engine, *token);
                self.grants[0] += 1;
            }
            Reply::Stored { key, stamp } => {
                self.holders.prolong(now, (replica, *key), stamp.token);
                if leads {
                    self.stored_by_primary(now, (site, replica), *key, *stamp);
                }
                self.stored(now, views, (site, replica), (*key, *stamp, view));
            }
            Reply::Refused { .. }
            | Reply::Queued { .. }
            | Reply::Busy { .. }
            | Reply::NotHere { .. }
            | Reply::StaleView { .. }
            | Reply::Got { .. }
            | Reply::Confirmed { .. }
            | Reply::Dormant { .. }
            | Reply::Quarantined { .. } => {}
        }
    }

    fn stored_by_primary(
        &mut self,
        now: Instant,
        (site, replica): (SiteId, ReplicaId),
        key: CallKey,
        stamp: Stamp,
    ) {
        let before = self.stored.get(&(replica, key)).copied();
        let is_known = self.stories.get(&(site, key)).is_some_and(|story| {
            let mut said =
                story.stored.range((stamp, ViewNumber(0))..=(stamp, ViewNumber(u64::MAX)));
            said.any(|(_, by)| by.contains(&replica))
        });
        if is_known {
            return;
        }
        if let Some(before) = before.filter(|before| *before > stamp) {
            self.went_back.push((now, replica, key, before, stamp));
        }
        self.stored.insert((replica, key), stamp);
    }

    fn stored(
        &mut self,
        now: Instant,
        views: &Views,
        (site, replica): (SiteId, ReplicaId),
        (key, stamp, number): (CallKey, Stamp, ViewNumber),
    ) {
        let story = self.stories.entry((site, key)).or_default();
        let by = story.stored.entry((stamp, number)).or_default();
        by.insert(replica);
        if story.made.get(&stamp).is_some_and(|made| made.is_removal) {
            // A removal counts from its `Unlock` on; before, the call goes on if its engine dies.
            return;
        }
        let is_stored =
            views.get(number).is_some_and(|view| view.everybody().all(|r| by.contains(&r)));
        if !is_stored || !story.acknowledged.insert(stamp) {
            return;
        }
        self.acknowledged += 1;
        let before = story.acknowledged.range(..stamp).next_back().copied();
        let after = story.acknowledged.range(stamp..).nth(1).copied();
        for (old, new) in [(before, Some(stamp)), (Some(stamp), after)] {
            // Of one that was made before another site's word of the call came, nothing is known.
            if let (Some(old), Some(new)) = (old, new)
                && (old.epoch == new.epoch && story.made.contains_key(&new))
                && !story.follows(new, old)
            {
                self.passed_over.push((now, key, old, new));
            }
        }
    }

    /// The newest acknowledged put of each call that nobody tried to remove since.
    pub(crate) fn held(&self) -> impl Iterator<Item = (SiteId, CallKey, Stamp)> {
        let lives = self.stories.iter().filter(|(call, _)| !self.ended.contains(call));
        lives.filter_map(|((site, key), story)| {
            // What lives elsewhere gives way to what comes from there.
            let newest = story.acknowledged.last().filter(|of| of.epoch.site == *site).copied()?;
            let mut since = story.made.range(newest..);
            since.all(|(_, made)| !made.is_removal).then_some((*site, *key, newest))
        })
    }

    /// A reply reaches an engine.
    pub(crate) fn heard(
        &mut self,
        views: &Views,
        engine: EngineId,
        from: ReplicaId,
        number: ViewNumber,
        reply: &Reply,
    ) {
        match reply {
            Reply::Stored { key, stamp } => {
                let Some(putting) = self.putting.get_mut(&(engine, *key)) else { return };
                if putting.stamp != *stamp {
                    return;
                }
                let by = putting.by.entry(number).or_default();
                by.insert(from);
                if views.get(number).is_some_and(|view| view.everybody().all(|r| by.contains(&r))) {
                    putting.is_stored = true;
                }
            }
            Reply::Refused { key, stamp, .. } => {
                if self.putting.get(&(engine, *key)).is_some_and(|one| one.stamp == *stamp) {
                    self.putting.remove(&(engine, *key));
                }
            }
            Reply::Granted { key, token, .. } | Reply::Unchanged { key, token, .. } => {
                // A newer lock: the put under the older one is given up.
                let slot = (engine, *key);
                if self.putting.get(&slot).is_some_and(|putting| putting.stamp.token < *token) {
                    self.putting.remove(&slot);
                }
            }
            Reply::Queued { .. }
            | Reply::Busy { .. }
            | Reply::NotHere { .. }
            | Reply::StaleView { .. }
            | Reply::Got { .. }
            | Reply::Confirmed { .. }
            | Reply::Dormant { .. }
            | Reply::Quarantined { .. } => {}
        }
    }

    /// The gate's word reaches an engine.
    pub(crate) fn told(&mut self, engine: EngineId, word: &GateWord) {
        match word {
            GateWord::Sites { here: SiteState::Serving, .. } => self.serving.insert(engine),
            GateWord::Sites { .. } => self.serving.remove(&engine),
            GateWord::Pulled { .. } | GateWord::Forwarded { .. } | GateWord::Batch { .. } => false,
        };
    }

    /// The engine reaches no replica.
    pub(crate) fn no_tier(&mut self, engine: EngineId) {
        self.serving.remove(&engine);
    }

    /// Whether the engine was told that its site serves: it answers the edge's pings so.
    pub(crate) fn is_serving(&self, engine: EngineId) -> bool {
        self.serving.contains(&engine)
    }

    /// A replica notices that an engine is gone.
    pub(crate) fn engine_gone(&mut self, replica: ReplicaId, engine: EngineId) {
        self.holders.engine_gone(replica, engine);
    }

    /// An engine process died.
    pub(crate) fn engine_died(&mut self, engine: EngineId) {
        self.putting.retain(|(one, _), _| *one != engine);
        self.serving.remove(&engine);
    }

    /// A replica is no more, and nothing that it holds.
    pub(crate) fn replica_died(&mut self, replica: ReplicaId) {
        self.holders.place_gone(replica);
        self.stored.retain(|(at, _), _| *at != replica);
    }

    /// Every complete member of a view was lost: nothing is known of these calls any more.
    pub(crate) fn lost(&mut self, site: SiteId, slots: &SlotSet) {
        self.stories.retain(|(at, key), _| *at != site || !slots.contains(key.slot()));
        self.putting.retain(|(_, key), of| of.site != site || !slots.contains(key.slot()));
    }
}
