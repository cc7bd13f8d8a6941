//! The calls held, and the orders in which they are gone through.
//!
//! Looking a call up is one hash; the ordered sets beside the table exist for paging and are
//! touched only when a call comes, goes or changes its place, not on every turn.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::time::Duration;

use hashbrown::HashMap;
use tier_protocol::{Cause, Record};
use vocab::{CallKey, EngineId, Epoch, Instant, LockToken, SiteId, Stamp};

use crate::agenda::Armed;

/// An engine's hold on a call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lock {
    pub(crate) engine: EngineId,
    pub(crate) cause: Cause,
    pub(crate) token: LockToken,
    /// When the lease really ends.
    pub(crate) expires_at: Instant,
    /// Where the lock stands in the queue of leases: at or before `expires_at`, so that a renewal
    /// costs nothing.
    pub(crate) listed_at: Instant,
    pub(crate) has_put: bool,
    /// Its holder was told that the effects of the newest record may not have left.
    pub(crate) resumes: bool,
    /// It was not granted here: a put came under it.
    pub(crate) is_shadow: bool,
}

/// A turn that waits for a lock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waiter {
    pub(crate) engine: EngineId,
    pub(crate) turn: u64,
    pub(crate) begins: bool,
    pub(crate) cached: Option<Stamp>,
}

/// Where a call lives, as the indexes have it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Place {
    /// No record: a lock for a call that begins.
    #[default]
    Beginning,
    /// Here. It belongs to `origin` and was taken over from `from`, when those are other sites.
    Active { origin: Option<SiteId>, from: Option<SiteId> },
    /// Its timers sleep here.
    Dormant { home: SiteId },
    /// Elsewhere, and only that is known.
    Stub { home: SiteId },
}

/// How far a call is, as other sites are concerned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Life {
    /// There is something that another site could resume.
    #[default]
    Lives,
    /// Only transactions linger, and the effects of its end may not have left.
    Ended,
    /// The same; every site that may know it is told, or being told.
    EndTold,
}

/// What becomes of a call that breaks its turns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Sentence {
    /// Nothing is held against it that would be more than a suspicion.
    #[default]
    None,
    /// It is set aside; an engine is to end it, once.
    ToEnd,
    /// An engine has ended it; what lingers is over for other sites.
    Lingers,
}

/// One call.
#[derive(Debug, Default)]
pub(crate) struct Call {
    /// `None` only while locked: the call begins, or was removed under its holder.
    pub(crate) record: Option<Record>,
    /// When this replica got the record. The put was `record.header.age` before.
    pub(crate) put_at: Instant,
    /// When its lock was last granted or ended.
    pub(crate) touched_at: Instant,
    pub(crate) lock: Option<Lock>,
    /// Empty unless locked.
    pub(crate) waiters: VecDeque<Waiter>,
    pub(crate) armed: Armed,
    /// The epoch under which it slept here before it was woken here.
    pub(crate) activated_from: Option<Epoch>,
    /// Locks in a row that broke without a put.
    pub(crate) broken_locks: u32,
    /// Nothing is handed before this instant, after a fruitless or broken lock.
    pub(crate) not_before: Instant,
    /// The newest put's effects may not have left. While unlocked: nobody is at it.
    pub(crate) unreleased: bool,
    /// The newest put was at a boundary, and every application was steady.
    pub(crate) at_boundary: bool,
    /// It was at a boundary before: its parties talk, and its loss is a call lost.
    pub(crate) was_at_boundary: bool,
    pub(crate) life: Life,
    pub(crate) sentence: Sentence,
    pub(crate) is_dormant: bool,
    pub(crate) is_stub: bool,
    /// This version was put here, with another site as its home: a hand-back.
    pub(crate) is_given: bool,
    /// Another site may know of it: its removal has to cross.
    pub(crate) known_elsewhere: bool,
    /// Its old home had ended it: it goes as soon as it is not locked.
    pub(crate) ends_when_free: bool,
    /// What the indexes say.
    pub(crate) place: Place,
    pub(crate) counted_bytes: usize,
}

impl Call {
    pub(crate) fn stamp(&self) -> Option<Stamp> {
        self.record.as_ref().map(|record| record.header.stamp)
    }

    /// Time since the put.
    pub(crate) fn age(&self, now: Instant) -> Duration {
        let before = self.record.as_ref().map_or(Duration::ZERO, |record| record.header.age);
        before.saturating_add(now.since(self.put_at))
    }

    /// The record as a reader gets it, with its age as of `now`.
    pub(crate) fn aged(&self, now: Instant) -> Option<Record> {
        let mut record = self.record.clone()?;
        record.header.age = self.age(now);
        Some(record)
    }

    /// The instant that lies `after` the put.
    pub(crate) fn after_put(&self, after: Duration) -> Instant {
        let before = self.record.as_ref().map_or(Duration::ZERO, |record| record.header.age);
        (self.put_at + after) - before
    }

    /// Nobody has it, and nobody is to send its effects again.
    pub(crate) fn is_released(&self) -> bool {
        self.lock.is_none() && !self.unreleased
    }

    pub(crate) fn is_active(&self) -> bool {
        self.record.is_some() && !self.is_dormant
    }

    /// Nothing is left that another site could resume.
    pub(crate) fn has_ended(&self) -> bool {
        match self.life {
            Life::Lives => false,
            Life::Ended | Life::EndTold => true,
        }
    }

    /// It is in quarantine, or what is left of it: it crosses no more, and goes home to nobody.
    pub(crate) fn is_set_aside(&self) -> bool {
        match self.sentence {
            Sentence::None => false,
            Sentence::ToEnd | Sentence::Lingers => true,
        }
    }

    fn place_now(&self, here: SiteId) -> Place {
        let Some(record) = &self.record else {
            return Place::Beginning;
        };
        if self.is_stub {
            Place::Stub { home: record.header.home() }
        } else if self.is_dormant {
            Place::Dormant { home: record.header.home() }
        } else {
            let elsewhere = |site: SiteId| (site != here).then_some(site);
            Place::Active {
                origin: elsewhere(record.header.origin),
                from: self.activated_from.and_then(|epoch| elsewhere(epoch.site)),
            }
        }
    }
}

/// All calls of the partition.
#[derive(Debug)]
pub(crate) struct Store {
    here: SiteId,
    calls: HashMap<CallKey, Box<Call>>,
    keys: BTreeSet<CallKey>,
    dormant: BTreeMap<SiteId, BTreeSet<CallKey>>,
    stubs_of: BTreeMap<SiteId, BTreeSet<CallKey>>,
    /// Active here; belongs to, or was taken over from, another site.
    moved: BTreeMap<SiteId, BTreeSet<CallKey>>,
    pub(crate) active: usize,
    pub(crate) stubs: usize,
    pub(crate) bytes: usize,
}

impl Store {
    pub(crate) fn new(here: SiteId) -> Self {
        Self {
            here,
            calls: HashMap::new(),
            keys: BTreeSet::new(),
            dormant: BTreeMap::new(),
            stubs_of: BTreeMap::new(),
            moved: BTreeMap::new(),
            active: 0,
            stubs: 0,
            bytes: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.calls.len()
    }

    pub(crate) fn get(&self, key: CallKey) -> Option<&Call> {
        self.calls.get(&key).map(Box::as_ref)
    }

    pub(crate) fn get_mut(&mut self, key: CallKey) -> Option<&mut Call> {
        self.calls.get_mut(&key).map(Box::as_mut)
    }

    /// Adds a call without a record.
    pub(crate) fn insert(&mut self, key: CallKey) -> &mut Call {
        self.keys.insert(key);
        self.calls.entry(key).or_default()
    }

    /// Removes a call; its agenda must be clear.
    pub(crate) fn remove(&mut self, key: CallKey) {
        if let Some(call) = self.get_mut(key) {
            call.record = None;
            self.reindex(key);
            self.calls.remove(&key);
            self.keys.remove(&key);
        }
    }

    /// Brings the indexes up to date with the call, after its record or its place changed.
    pub(crate) fn reindex(&mut self, key: CallKey) {
        let Some(call) = self.calls.get_mut(&key) else {
            return;
        };
        let bytes = call.record.as_ref().map_or(0, Record::body_bytes);
        self.bytes = self.bytes - call.counted_bytes + bytes;
        call.counted_bytes = bytes;
        let (before, after) = (call.place, call.place_now(self.here));
        if before != after {
            call.place = after;
            self.unlist(key, before);
            self.list(key, after);
        }
    }

    fn list(&mut self, key: CallKey, place: Place) {
        match place {
            Place::Beginning => {}
            Place::Active { origin, from } => {
                self.active += 1;
                for site in [origin, from].into_iter().flatten() {
                    self.moved.entry(site).or_default().insert(key);
                }
            }
            Place::Dormant { home } => {
                self.dormant.entry(home).or_default().insert(key);
            }
            Place::Stub { home } => {
                self.stubs += 1;
                self.stubs_of.entry(home).or_default().insert(key);
            }
        }
    }

    fn unlist(&mut self, key: CallKey, place: Place) {
        match place {
            Place::Beginning => {}
            Place::Active { origin, from } => {
                self.active -= 1;
                for site in [origin, from].into_iter().flatten() {
                    take_from(&mut self.moved, site, key);
                }
            }
            Place::Dormant { home } => take_from(&mut self.dormant, home, key),
            Place::Stub { home } => {
                self.stubs -= 1;
                take_from(&mut self.stubs_of, home, key);
            }
        }
    }

    /// All keys after `cursor`.
    pub(crate) fn keys_after(&self, cursor: Option<CallKey>) -> impl Iterator<Item = CallKey> {
        after(&self.keys, cursor)
    }

    /// Keys of calls that sleep here for `home`, after `cursor`.
    pub(crate) fn dormant_after(
        &self,
        home: SiteId,
        cursor: Option<CallKey>,
    ) -> impl Iterator<Item = CallKey> {
        self.dormant.get(&home).into_iter().flat_map(move |keys| after(keys, cursor))
    }

    /// Keys of calls that live here and belong to, or were taken over from, `site`.
    pub(crate) fn moved_after(
        &self,
        site: SiteId,
        cursor: Option<CallKey>,
    ) -> impl Iterator<Item = CallKey> {
        self.moved.get(&site).into_iter().flat_map(move |keys| after(keys, cursor))
    }

    /// Keys of the stubs whose calls live at `home`.
    pub(crate) fn stubs_of(&self, home: SiteId) -> impl Iterator<Item = CallKey> {
        self.stubs_of.get(&home).into_iter().flatten().copied()
    }

    pub(crate) fn dormant_len(&self, home: SiteId) -> usize {
        self.dormant.get(&home).map_or(0, BTreeSet::len)
    }

    pub(crate) fn moved_len(&self, site: SiteId) -> usize {
        self.moved.get(&site).map_or(0, BTreeSet::len)
    }

    pub(crate) fn dormant_by_home(&self) -> impl Iterator<Item = (SiteId, usize)> {
        self.dormant.iter().map(|(site, keys)| (*site, keys.len()))
    }
}

fn after(keys: &BTreeSet<CallKey>, cursor: Option<CallKey>) -> impl Iterator<Item = CallKey> {
    let from = cursor.map_or(Bound::Unbounded, Bound::Excluded);
    keys.range((from, Bound::Unbounded)).copied()
}

fn take_from(sets: &mut BTreeMap<SiteId, BTreeSet<CallKey>>, site: SiteId, key: CallKey) {
    if let Some(keys) = sets.get_mut(&site) {
        keys.remove(&key);
        if keys.is_empty() {
            sets.remove(&site);
        }
    }
}
