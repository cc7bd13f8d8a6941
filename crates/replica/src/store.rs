//! The calls held, and the orders in which they are gone through.
//!
//! Looking a call up is one hash; the ordered sets beside the table exist for paging and are
//! touched only when a call comes, goes or changes its place, not on every turn.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::time::Duration;

use hashbrown::HashMap;
use tier_protocol::{Cause, Record, Tombstone, Veto};
use vocab::{CallKey, EngineId, Epoch, Instant, LockToken, SLOTS, SiteId, Slot, Stamp};

use crate::agenda::Armed;
use crate::hint::Decision;
use crate::spill::table::{Spilled, Table};

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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
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

/// What the database has of a call that is in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Row {
    /// Nothing, as far as is known.
    #[default]
    None,
    /// An older record, or the one that is held if a store was carried out.
    MayBe,
    /// The record that is held.
    Holds,
}

/// What is known of a call without its record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Brief {
    pub(crate) stamp: Stamp,
    pub(crate) is_dormant: bool,
    pub(crate) is_stub: bool,
    pub(crate) has_ended: bool,
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
    /// The holder's removal, which counts from its `Unlock` on: until then others may not have it.
    pub(crate) removal: Option<Tombstone>,
    /// The epoch under which it slept here before it was woken here.
    pub(crate) activated_from: Option<Epoch>,
    /// Locks in a row that broke without a put.
    pub(crate) broken_locks: u16,
    /// Nothing is handed before this instant, after a fruitless or broken lock.
    pub(crate) not_before: Instant,
    /// The newest put's effects may not have left. While unlocked: nobody is at it.
    pub(crate) unreleased: bool,
    /// The newest put was at a boundary, and every application was steady.
    pub(crate) at_boundary: bool,
    /// It was at a boundary before: its parties talk, and its loss is a call lost.
    pub(crate) was_at_boundary: bool,
    /// What spoke against crossing when it was put, if its engine said so.
    pub(crate) veto: Option<Veto>,
    /// What was last decided about the hint on a put.
    pub(crate) decided: Decision,
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
    /// Where it stands among those that rest, at or before the end of its rest.
    pub(crate) rest_at: Option<Instant>,
    pub(crate) row: Row,
    /// What the indexes say.
    pub(crate) place: Place,
    pub(crate) counted_bytes: usize,
}

impl Call {
    /// Takes a record that was put just now. A row, if there is one, is not of this record.
    pub(crate) fn hold(&mut self, now: Instant, record: Record) {
        self.record = Some(record);
        self.put_at = now;
        self.row = match self.row {
            Row::None => Row::None,
            Row::MayBe | Row::Holds => Row::MayBe,
        };
    }

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

    /// It sleeps here for the site that it lives at, and came from there.
    pub(crate) fn is_copy(&self) -> bool {
        self.record.is_some() && self.is_dormant && !self.is_given && !self.is_stub
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
    /// Calls whose records are in the database. They are not among those above.
    pub(crate) spilled: Table,
    active: usize,
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
            spilled: Table::default(),
            active: 0,
            stubs: 0,
            bytes: 0,
        }
    }

    /// Calls in memory.
    pub(crate) fn len(&self) -> usize {
        self.calls.len()
    }

    /// Calls that live here, wherever their records are.
    pub(crate) fn active_len(&self) -> usize {
        self.active + self.spilled.active_len()
    }

    /// What is known of a call, in memory or not; `None` while it has no record.
    pub(crate) fn brief(&self, key: CallKey) -> Option<Brief> {
        if let Some(call) = self.get(key) {
            let (is_dormant, is_stub) = (call.is_dormant, call.is_stub);
            let has_ended = call.has_ended();
            return call.stamp().map(|stamp| Brief { stamp, is_dormant, is_stub, has_ended });
        }
        let spilled = self.spilled.get(key)?;
        let (stamp, state) = (spilled.stamp(), spilled.state());
        let (is_dormant, has_ended) = (state.is_dormant, state.has_ended);
        Some(Brief { stamp, is_dormant, is_stub: false, has_ended })
    }

    pub(crate) fn stamp(&self, key: CallKey) -> Option<Stamp> {
        self.get(key).map_or_else(|| self.spilled.get(key).map(Spilled::stamp), Call::stamp)
    }

    pub(crate) fn is_spilled(&self, key: CallKey) -> bool {
        self.spilled.get(key).is_some()
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
        merged(after(&self.keys, cursor), self.spilled.keys_after(cursor))
    }

    /// Keys of a hash slot, after `cursor`, by rising key. The first two bytes of a key make its
    /// slot.
    pub(crate) fn keys_of(
        &self,
        slot: Slot,
        cursor: Option<CallKey>,
    ) -> impl Iterator<Item = CallKey> {
        let starts = (slot.0..=u16::MAX).step_by(usize::from(SLOTS));
        starts.flat_map(move |start| {
            let [high, low] = start.to_be_bytes();
            let before = (u128::from(start) << 112).checked_sub(1);
            let before = before.map(|key| CallKey(key.to_be_bytes()));
            let is_of_run = move |key: &CallKey| key.0[..2] == [high, low];
            self.keys_after(before.max(cursor)).take_while(is_of_run)
        })
    }

    /// Keys of calls that sleep here for `home`, after `cursor`.
    pub(crate) fn dormant_after(
        &self,
        home: SiteId,
        cursor: Option<CallKey>,
    ) -> impl Iterator<Item = CallKey> {
        let here = self.dormant.get(&home).into_iter().flat_map(move |keys| after(keys, cursor));
        merged(here, self.spilled.dormant_after(home, cursor))
    }

    /// Keys of calls that live here and belong to, or were taken over from, `site`.
    pub(crate) fn moved_after(
        &self,
        site: SiteId,
        cursor: Option<CallKey>,
    ) -> impl Iterator<Item = CallKey> {
        let here = self.moved.get(&site).into_iter().flat_map(move |keys| after(keys, cursor));
        merged(here, self.spilled.moved_after(site, cursor))
    }

    /// Keys of the stubs whose calls live at `home`.
    pub(crate) fn stubs_of(&self, home: SiteId) -> impl Iterator<Item = CallKey> {
        self.stubs_of.get(&home).into_iter().flatten().copied()
    }

    pub(crate) fn dormant_len(&self, home: SiteId) -> usize {
        self.dormant.get(&home).map_or(0, BTreeSet::len) + self.spilled.dormant_len(home)
    }

    pub(crate) fn moved_len(&self, site: SiteId) -> usize {
        self.moved.get(&site).map_or(0, BTreeSet::len) + self.spilled.moved_len(site)
    }

    pub(crate) fn dormant_by_home(&self) -> BTreeMap<SiteId, usize> {
        let mut counts: BTreeMap<_, _> = self.spilled.dormant_by_home().collect();
        for (site, keys) in &self.dormant {
            *counts.entry(*site).or_default() += keys.len();
        }
        counts
    }
}

fn after(keys: &BTreeSet<CallKey>, cursor: Option<CallKey>) -> impl Iterator<Item = CallKey> {
    let from = cursor.map_or(Bound::Unbounded, Bound::Excluded);
    keys.range((from, Bound::Unbounded)).copied()
}

/// Two runs of keys, each rising, as one. A key that is in both comes once.
pub(crate) fn merged(
    one: impl Iterator<Item = CallKey>,
    other: impl Iterator<Item = CallKey>,
) -> impl Iterator<Item = CallKey> {
    let (mut one, mut other) = (one.peekable(), other.peekable());
    std::iter::from_fn(move || match (one.peek(), other.peek()) {
        (Some(a), Some(b)) if b < a => other.next(),
        (Some(a), Some(b)) if b == a => {
            other.next();
            one.next()
        }
        (Some(_), Some(_) | None) => one.next(),
        (None, _) => other.next(),
    })
}

fn take_from(sets: &mut BTreeMap<SiteId, BTreeSet<CallKey>>, site: SiteId, key: CallKey) {
    if let Some(keys) = sets.get_mut(&site) {
        keys.remove(&key);
        if keys.is_empty() {
            sets.remove(&site);
        }
    }
}
