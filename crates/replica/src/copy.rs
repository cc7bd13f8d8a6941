//! Copies: a joiner asks the primary for page after page while puts go on.
//!
//! A put reaches a joiner as it does a member, so what was copied before and what is put meanwhile
//! meet: the newer stamp wins. Removals of calls whose page is still to come are remembered until
//! it came, or an old copy would bring them back. The joiner decides the pace; a page that does not
//! come is asked for again, of whoever leads by then.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tier_protocol::{CopiedCall, CopiedRun, CopiedState, KeyRange, PeerWord, Tombstone};
use vocab::{CallKey, Instant, LockToken, ReplicaId, SiteId, Stamp};

use crate::Replica;
use crate::planted::Planted;
use crate::put::REMOVAL_BYTES;
use crate::store::{Call, Life, Sentence, merged};

/// A page that did not come for this long is asked for again.
const PAGE_WAIT: Duration = Duration::from_secs(1);

/// Removals that take the room of one call on a page.
const REMOVALS_A_CALL: usize = 8;

/// How far the copy of a joiner is.
#[derive(Debug, Default)]
pub(crate) struct Copying {
    cursor: Option<CallKey>,
    asked_at: Option<Instant>,
    next_at: Instant,
    is_done: bool,
    copied: u64,
    total: u64,
    /// Removals of calls after the cursor.
    removed: BTreeMap<CallKey, Stamp>,
    /// Locks, with older tokens, of calls that no page had are over.
    floor: Option<LockToken>,
}

/// A joiner's progress, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyStats {
    /// Calls that came.
    pub copied: u64,
    /// Calls that the primary held when it sent the last page.
    pub total: u64,
}

impl Replica {
    pub(crate) fn begin_copy(&mut self) {
        let copying = self.copying.get_or_insert_with(Copying::default);
        // Whoever leads in the new view is asked.
        copying.asked_at = None;
    }

    pub(crate) fn end_copy(&mut self) {
        if let Some(copying) = self.copying.take() {
            self.copied_floor = copying.floor.unwrap_or_default();
        }
    }

    /// Whether a lock of a call that is not held here ended before the copy, which did not have the
    /// call: it was removed, and its removal is not known here.
    pub(crate) fn ended_before_copy(&self, key: CallKey, token: LockToken) -> bool {
        let floor = match &self.copying {
            None => self.copied_floor,
            Some(copying) if copying.is_done || copying.cursor.is_some_and(|to| key <= to) => {
                copying.floor.unwrap_or_default()
            }
            Some(_) => return false,
        };
        token < floor
    }

    pub(crate) fn is_copied(&self) -> bool {
        let counts_early = self.planted == Some(Planted::JoinerCountedEarly);
        self.copying.as_ref().is_some_and(|copying| copying.is_done || counts_early)
    }

    pub(crate) fn copy_stats(&self) -> Option<CopyStats> {
        let copying = self.copying.as_ref()?;
        Some(CopyStats { copied: copying.copied, total: copying.total })
    }

    pub(crate) fn removed_while_joining(&self, key: CallKey) -> Option<Stamp> {
        self.copying.as_ref()?.removed.get(&key).copied()
    }

    pub(crate) fn note_removed_while_joining(&mut self, tombstone: Tombstone) {
        let Some(copying) = &mut self.copying else { return };
        let Tombstone { key, stamp } = tombstone;
        if copying.is_done || copying.cursor.is_some_and(|cursor| key <= cursor) {
            return;
        }
        copying.removed.insert(key, stamp);
        if copying.removed.len() > self.config.limits.calls_max {
            // More calls ended than a partition may hold: the copy begins anew, with a memory that
            // is empty because nothing before it counts.
            self.counts.copies_restarted += 1;
            self.copying = Some(Copying::default());
        }
    }

    /// Asks for the next page.
    pub(crate) fn run_copy(&mut self, now: Instant) {
        let is_due = self.copy_at().is_some_and(|at| at <= now);
        let Some(primary) = self.config.view.primary().filter(|_| is_due) else { return };
        let view = self.config.view.number;
        let calls_max = u32::try_from(self.config.limits.copy_page_max).unwrap_or(u32::MAX);
        let Some(copying) = &mut self.copying else { return };
        copying.asked_at = Some(now);
        let after = copying.cursor;
        self.tell_peer(primary, PeerWord::CopyAsk { view, after, calls_max });
    }

    pub(crate) fn copy_at(&self) -> Option<Instant> {
        let copying = self.copying.as_ref().filter(|copying| !copying.is_done)?;
        Some(copying.asked_at.map_or(copying.next_at, |asked_at| asked_at + PAGE_WAIT))
    }

    /// A joiner asks for a page.
    pub(crate) fn copy_asked(
        &mut self,
        now: Instant,
        replica: ReplicaId,
        after: Option<CallKey>,
        calls_max: u32,
    ) {
        if !self.leads() || !self.config.view.joining.contains(&replica) {
            return;
        }
        let calls_max = usize::try_from(calls_max).unwrap_or(usize::MAX);
        let calls_max = calls_max.clamp(1, self.config.limits.copy_page_max);
        if after.is_none() {
            self.tell_joiner(now, replica);
        }
        let (run, next) = self.run_after(now, after, calls_max);
        self.counts.copied_out += (run.calls.len() + run.spilled.len()) as u64;
        let total = (self.store.len() + self.store.spilled.len()) as u64;
        let (view, floor) = (self.config.view.number, self.beginning_floor());
        let page = PeerWord::CopyPage { view, after, run, next, total, floor };
        self.tell_peer(replica, page);
    }

    /// What is held after a key, as much as goes on a page, and where the next one starts.
    fn run_after(
        &self,
        now: Instant,
        after: Option<CallKey>,
        calls_max: usize,
    ) -> (CopiedRun, Option<CallKey>) {
        let (mut run, mut bytes, mut last) = (CopiedRun::default(), 0, after);
        let keys = merged(self.store.keys_after(after), self.tombs.keys_after(after));
        for key in keys {
            let count = run.calls.len() + run.spilled.len() + run.removed.len() / REMOVALS_A_CALL;
            if count >= calls_max || bytes >= self.config.limits.copy_bytes_max {
                return (run, last);
            }
            last = Some(key);
            run.spilled.extend(self.copied_spilled(now, key));
            if let Some(call) = self.copied(now, key) {
                bytes += call.record.body_bytes();
                run.calls.push(call);
            }
            // What lingers of a call that is over brings its tombstone along.
            let is_held = self.store.stamp(key).is_some();
            if let Some(stamp) = self.tombs.stamp(key).filter(|_| !is_held) {
                run.removed.push((key, stamp));
                let untold = self.outbound.iter().filter(|(_, site)| site.is_removal(key));
                run.untold.extend(untold.map(|(site, _)| (key, *site)));
            }
        }
        (run, None)
    }

    /// Every lock of a call that has no record has this token, or a newer one.
    fn beginning_floor(&self) -> LockToken {
        let calls = self.leases.iter().filter_map(|(_, key)| self.store.get(*key));
        let begins = calls.filter(|call| call.record.is_none());
        let oldest = begins.filter_map(|call| call.lock.map(|lock| lock.token)).min();
        let next = self.next_token();
        oldest.map_or(next, |oldest| oldest.min(next))
    }

    /// A call as another replica needs it; `None` while it has no record.
    pub(crate) fn copied(&self, now: Instant, key: CallKey) -> Option<CopiedCall> {
        let call = self.store.get(key)?;
        let record = call.aged(now)?;
        let marks = self.outbound.iter().filter(|(_, outbound)| outbound.mark(key).is_some());
        let lock = call.lock.filter(|lock| lock.has_put).map(|lock| (lock.engine, lock.token));
        Some(CopiedCall {
            record,
            state: state_of(call),
            lock,
            floor: call.lock.map_or_else(|| self.next_token(), |lock| lock.token),
            activated_from: call.activated_from,
            marks: marks.map(|(site, _)| *site).collect(),
        })
    }

    /// Every lock of a call that is not locked has a token below this one.
    pub(crate) fn next_token(&self) -> LockToken {
        LockToken { view: self.config.view.number, counter: self.tokens + 1 }
    }

    /// A page has come.
    pub(crate) fn copy_page(
        &mut self,
        now: Instant,
        after: Option<CallKey>,
        run: CopiedRun,
        next: Option<CallKey>,
        (total, floor): (u64, LockToken),
    ) {
        let Some(copying) = self.copying.as_ref().filter(|copying| copying.cursor == after) else {
            return;
        };
        if copying.is_done {
            return;
        }
        let CopiedRun { calls, spilled, removed, untold } = run;
        let count = u32::try_from(calls.len() + spilled.len()).unwrap_or(u32::MAX);
        let copied = calls.iter().map(|call| call.record.header.key);
        let keys = copied.chain(spilled.iter().map(|call| call.key)).collect();
        self.drop_late_puts(KeyRange { after, to: next }, &keys, floor);
        self.install_removed(now, removed, untold);
        for call in calls {
            if self.lacks(call.record.header.key, call.record.header.stamp) {
                self.install(now, call);
            }
        }
        for call in spilled {
            if self.lacks(call.key, call.stamp) {
                self.install_spilled(now, call);
            }
        }
        let pause = Duration::from_secs(1) * count / self.config.pace.copy_per_s.max(1);
        let Some(copying) = &mut self.copying else { return };
        copying.copied += u64::from(count);
        copying.total = total;
        copying.floor = Some(copying.floor.map_or(floor, |before| before.min(floor)));
        copying.asked_at = None;
        copying.next_at = now + pause;
        match next {
            Some(cursor) => {
                copying.cursor = Some(cursor);
                // What is behind the cursor cannot come back.
                copying.removed = copying.removed.split_off(&cursor);
            }
            None => {
                copying.is_done = true;
                copying.removed.clear();
            }
        }
    }

    /// Calls that were over before the copy: what comes late of them is refused here, too, and the
    /// sites that have yet to hear of it hear it from whoever leads next.
    fn install_removed(
        &mut self,
        now: Instant,
        removed: Vec<(CallKey, Stamp)>,
        untold: Vec<(CallKey, SiteId)>,
    ) {
        for (key, stamp) in removed {
            let held = self.store.stamp(key);
            if held.is_some_and(|held| held > stamp) {
                continue;
            }
            if held.is_some() {
                self.forget(key);
            }
            self.keep_tombstone(Tombstone { key, stamp });
        }
        for (key, site) in untold {
            let is_held = self.store.stamp(key).is_some();
            if let Some(stamp) = self.tombs.stamp(key).filter(|_| !is_held) {
                let tombstone = Tombstone { key, stamp };
                self.outbound_mut(site).note_removal(now, tombstone, REMOVAL_BYTES);
            }
        }
    }

    /// What came before its page, under locks that had ended before, of calls that had gone before:
    /// the primary refuses it, and never held it.
    fn drop_late_puts(&mut self, range: KeyRange, page: &BTreeSet<CallKey>, floor: LockToken) {
        // A copy's token is of another site's locks. It came from an engine that tells the primary,
        // too.
        let is_late = |key: &CallKey, stamp: Stamp| stamp.token < floor && !page.contains(key);
        let is_copy = |key: &CallKey| self.store.get(*key).is_some_and(Call::is_copy);
        let held = self.store.keys_after(range.after);
        let held = held.take_while(|key| range.to.is_none_or(|to| *key <= to));
        let late: Vec<CallKey> = held
            .filter(|key| self.store.stamp(*key).is_some_and(|stamp| is_late(key, stamp)))
            .filter(|key| !is_copy(key))
            .collect();
        for key in late {
            self.forget(key);
        }
        let removed = self.copying.iter().flat_map(|copying| &copying.removed);
        let removed = removed.filter(|(key, _)| range.to.is_none_or(|to| **key <= to));
        for (key, _) in removed.filter(|(key, stamp)| is_late(key, **stamp)) {
            self.repeats.remove(*key);
        }
    }

    /// Whether a copied call is taken: nothing as new is held, nor was it removed since.
    fn lacks(&self, key: CallKey, stamp: Stamp) -> bool {
        let is_held = self.store.stamp(key).is_some_and(|held| held >= stamp);
        let is_removed = self.removed_at(key).is_some_and(|removed| removed >= stamp);
        !is_held && !is_removed
    }

    /// Puts a copied call in the place of whatever is held of it.
    pub(crate) fn install(&mut self, now: Instant, copied: CopiedCall) {
        let CopiedCall { record, state, lock, floor: _, activated_from, marks } = copied;
        let (key, stamp) = (record.header.key, record.header.stamp);
        self.forget(key);
        let call = self.store.insert(key);
        call.record = Some(record);
        call.put_at = now;
        call.touched_at = now;
        call.activated_from = activated_from;
        set_state(call, state);
        self.store.reindex(key);
        self.counts.copied_in += 1;
        if state.has_ended && !marks.is_empty() {
            self.keep_tombstone(Tombstone { key, stamp });
        }
        for site in marks {
            let outbound = self.outbound_mut(site);
            if outbound.is_removal(key) {
                continue;
            }
            if state.has_ended {
                // What the site misses of a call that is over is its end.
                outbound.note_removal(now, Tombstone { key, stamp }, REMOVAL_BYTES);
            } else {
                // When it was first at a boundary is not copied.
                let may_go = state.at_boundary || state.was_at_boundary;
                outbound.note_record(now, key, may_go, state.was_at_boundary);
            }
        }
        match lock {
            Some((engine, token)) => self.shadow(now, key, engine, token),
            None => self.rearm(now, key),
        }
    }
}

pub(crate) fn set_state(call: &mut Call, state: CopiedState) {
    call.is_dormant = state.is_dormant;
    call.is_stub = state.is_stub;
    call.is_given = state.is_given;
    call.unreleased = state.unreleased;
    call.at_boundary = state.at_boundary;
    call.was_at_boundary = state.was_at_boundary;
    call.veto = state.veto;
    call.known_elsewhere = state.known_elsewhere;
    call.ends_when_free = state.ends_when_free;
    call.life = match (state.has_ended, state.end_told) {
        (false, _) => Life::Lives,
        (true, false) => Life::Ended,
        (true, true) => Life::EndTold,
    };
    call.sentence = match (state.is_condemned, state.is_torn_down) {
        (true, _) => Sentence::ToEnd,
        (false, true) => Sentence::Lingers,
        (false, false) => Sentence::None,
    };
}

pub(crate) fn state_of(call: &Call) -> CopiedState {
    CopiedState {
        is_dormant: call.is_dormant,
        is_stub: call.is_stub,
        is_given: call.is_given,
        unreleased: call.unreleased,
        at_boundary: call.at_boundary,
        was_at_boundary: call.was_at_boundary,
        known_elsewhere: call.known_elsewhere,
        ends_when_free: call.ends_when_free,
        has_ended: call.has_ended(),
        end_told: call.life == Life::EndTold,
        is_condemned: call.sentence == Sentence::ToEnd,
        is_torn_down: call.sentence == Sentence::Lingers,
        veto: call.veto,
    }
}
