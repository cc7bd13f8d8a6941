//! Calls and their homes: which sites answer, a returning site's questions, and our own.

use tier_protocol::{DormantOutcome, KeysetEntry, KeysetKind, PullAnswer, Return, SiteState};
use vocab::{CallKey, Epoch, Instant, SiteId};

use crate::Replica;
use crate::door::{GateBound, SiteStatus};
use crate::put::REMOVAL_BYTES;
use crate::spill::fetch::Why;
use crate::stats::BulkKind;
use crate::steering::wants_calls;

/// Removals told again to a backup site that came back empty; those before were long applied.
const REPEATED_REMOVALS: usize = 10_000;

impl Replica {
    /// A record may lie on the site's queue whose removal was applied, and forgotten, before.
    fn repeat_removals(&mut self, site: SiteId) {
        let (now, here) = (self.now, self.config.here);
        for tombstone in self.tombs.newest(REPEATED_REMOVALS) {
            let is_ours = tombstone.epoch().site == here;
            let is_over = self.store.brief(tombstone.key).is_none_or(|call| call.has_ended);
            if is_ours && is_over {
                self.outbound_mut(site).note_removal(now, tombstone, REMOVAL_BYTES);
            }
        }
    }

    pub(crate) fn status(&mut self, now: Instant, alive: &[SiteStatus], waiting: &[SiteId]) {
        let before = std::mem::take(&mut self.sites);
        for site in before.keys().copied().chain(alive.iter().map(|status| status.site)) {
            self.woken_since.forget(site);
        }
        self.sites = alive.iter().map(|status| (status.site, *status)).collect();
        self.waiting = waiting.iter().copied().collect();
        for (site, outbound) in &mut self.outbound {
            outbound.is_alive = self.sites.contains_key(site);
        }
        for status in alive {
            let site = status.site;
            let known = self.starts.insert(site, status.start);
            if known.is_some_and(|start| start != status.start)
                && self.config.backup_to == Some(site)
            {
                // It came back empty: whatever it acknowledged before is gone.
                self.begin_bulk(BulkKind::Sweep, site);
                self.repeat_removals(site);
            }
            if known.is_some_and(|start| start != status.start) {
                self.forced.remove(&site);
            }
            let was_serving =
                before.get(&site).is_some_and(|before| before.state == SiteState::Serving);
            if status.state == SiteState::Serving && !was_serving {
                self.doubt_stubs(now, *status);
            }
            let did_want = before.get(&site).is_some_and(wants_calls);
            if wants_calls(status) && !did_want {
                self.offer_calls(site);
            }
            let had_moved = before.get(&site).is_some_and(|before| self.is_void_here(before));
            if self.is_void_here(status) && !had_moved && self.store.dormant_len(site) > 0 {
                self.begin_bulk(BulkKind::Drop, site);
            }
        }
    }

    /// A site that came back empty may have lost the calls that are known here by their place
    /// alone: it is asked for each, and a stub that it denies goes.
    fn doubt_stubs(&mut self, now: Instant, status: SiteStatus) {
        let SiteStatus { site, start, state: _, dictionary: _, course: _ } = status;
        let first = Epoch::of_start(site, start);
        let older = |key: &CallKey| {
            let stamp = self.store.get(*key).and_then(|call| call.stamp());
            stamp.is_some_and(|stamp| stamp.epoch < first)
        };
        let doubted: Vec<CallKey> = self.store.stubs_of(site).filter(older).collect();
        for key in doubted {
            self.refill.add(now, key);
        }
    }

    /// One page of the calls that a returning site may miss: those that sleep here for it, and
    /// those that live here and are its own, or were taken over from it.
    pub(crate) fn keyset_ask(
        &mut self,
        now: Instant,
        site: SiteId,
        cursor: Option<CallKey>,
        ask: u64,
    ) {
        if !self.leads() {
            // The gate asks the primary when it has the map; the site asks again.
            return;
        }
        let page_max = self.config.limits.keyset_page_max;
        let mut asleep = self.store.dormant_after(site, cursor).peekable();
        let mut moved = self.store.moved_after(site, cursor).peekable();
        let mut entries = Vec::new();
        while entries.len() < page_max {
            let (key, kind) = match (asleep.peek(), moved.peek()) {
                (Some(a), Some(m)) if m < a => (*m, KeysetKind::Moved),
                (None, Some(m)) => (*m, KeysetKind::Moved),
                (Some(a), Some(_) | None) => (*a, KeysetKind::Dormant),
                (None, None) => break,
            };
            match kind {
                KeysetKind::Moved => moved.next(),
                KeysetKind::Dormant => asleep.next(),
            };
            let is_aside = self.store.get(key).is_some_and(|call| call.is_set_aside());
            let call = self.store.brief(key).filter(|call| !call.has_ended && !is_aside);
            if let Some(call) = call {
                entries.push(KeysetEntry { key, epoch: call.stamp.epoch, kind });
            }
        }
        let is_last = asleep.peek().is_none() && moved.peek().is_none();
        drop((asleep, moved));
        let next = if is_last { None } else { entries.last().map(|entry| entry.key) };
        self.tell_gate_confirmed(now, GateBound::KeysetPage { site, ask, entries, next });
    }

    pub(crate) fn pull(&mut self, now: Instant, site: SiteId, key: CallKey, ask: u64) {
        let answer = match self.store.get(key) {
            _ if !self.leads() => PullAnswer::AskLater,
            None => self.pull_spilled(now, site, key),
            Some(call) if call.is_set_aside() => PullAnswer::NoSuch,
            Some(call) => match (call.stamp(), call.aged(now)) {
                (Some(_), Some(_)) if call.lock.is_some() && call.is_dormant => {
                    // Somebody here may be waking it at this moment.
                    PullAnswer::AskLater
                }
                (Some(stamp), Some(aged))
                    if stamp.epoch.site == site && call.is_dormant && !call.is_stub =>
                {
                    PullAnswer::Yours(aged.trimmed())
                }
                (Some(stamp), Some(_)) if stamp.epoch.site != site => {
                    PullAnswer::Lives(stamp.epoch)
                }
                (_, _) => PullAnswer::NoSuch,
            },
        };
        if matches!(answer, PullAnswer::Lives(_)) {
            self.on_spilled(key, |replica| replica.note_known(now, key));
        }
        // The one says of itself that it may be wrong, the other is found out on the way.
        let is_safe = matches!(answer, PullAnswer::AskLater | PullAnswer::Lives(_));
        let words = GateBound::PullAnswer { site, ask, key, answer };
        match is_safe {
            true => self.tell_gate(words),
            false => self.tell_gate_confirmed(now, words),
        }
    }

    /// A record in the database is fetched, so that it is here when the site asks again.
    fn pull_spilled(&mut self, now: Instant, site: SiteId, key: CallKey) -> PullAnswer {
        let Some(call) = self.store.brief(key) else {
            return PullAnswer::NoSuch;
        };
        match (call.stamp.epoch.site == site, call.is_dormant) {
            (false, _) => PullAnswer::Lives(call.stamp.epoch),
            (true, false) => PullAnswer::NoSuch,
            (true, true) => {
                if self.may_want() {
                    self.want_row(now, key, Why::Needed);
                }
                PullAnswer::AskLater
            }
        }
    }

    /// We are returning: where our calls are.
    pub(crate) fn keyset_page(&mut self, now: Instant, entries: &[KeysetEntry]) {
        let mut moved = Vec::new();
        for entry in entries {
            let KeysetEntry { key, epoch, kind } = *entry;
            let held = self.store.brief(key).filter(|call| !call.is_stub);
            let is_held = held.is_some_and(|held| held.stamp.epoch >= epoch);
            let is_gone = self.tombs.stamp(key).is_some_and(|removed| removed.epoch >= epoch);
            if is_held || is_gone {
                continue;
            }
            match kind {
                KeysetKind::Moved => {
                    self.note_away(now, key, epoch);
                    moved.push(key);
                }
                KeysetKind::Dormant => {
                    self.counts.in_full += u64::from(!self.refill.add(now, key));
                }
            }
        }
        self.share(now, &moved);
    }

    pub(crate) fn ask_refills(&mut self, now: Instant) {
        if self.steering.returning != Return::Runs {
            return;
        }
        while let Some(key) = self.refill.lost(now) {
            self.refill_again(now, key);
        }
        while let Some(key) = self.refill.next(now) {
            // Its engine may have pulled it meanwhile.
            if self.store.brief(key).is_some_and(|call| !call.is_stub) {
                self.refill.done(key);
                continue;
            }
            self.counts.pulls += 1;
            self.tell_gate(GateBound::Pull { key });
        }
    }

    pub(crate) fn pulled(
        &mut self,
        now: Instant,
        from: Option<SiteId>,
        key: CallKey,
        answer: PullAnswer,
    ) {
        match answer {
            PullAnswer::Yours(record) if record.header.key == key => {
                let stamp = record.header.stamp;
                let outcome = self.store_dormant(now, record);
                self.note_outcome(stamp, outcome);
                let is_full = match outcome {
                    DormantOutcome::Full => true,
                    DormantOutcome::Stored
                    | DormantOutcome::Stale
                    | DormantOutcome::Superseded { .. } => false,
                };
                if is_full {
                    return self.refill_again(now, key);
                }
                self.counts.refilled += u64::from(self.refill.done(key));
                self.share(now, &[key]);
            }
            PullAnswer::Lives(epoch) => {
                self.refill.done(key);
                self.note_away(now, key, epoch);
                self.share(now, &[key]);
            }
            PullAnswer::NoSuch if from.is_some() => {
                self.counts.refill_missed += u64::from(self.refill.done(key));
                if self.store.get(key).is_some_and(|call| call.is_stub && call.lock.is_none()) {
                    self.drop_record(key);
                    self.free(now, key);
                }
            }
            // Whoever listed it does not answer at the moment.
            PullAnswer::Yours(_) | PullAnswer::NoSuch | PullAnswer::AskLater => {
                self.refill_again(now, key);
            }
        }
    }

    fn refill_again(&mut self, now: Instant, key: CallKey) {
        if !self.refill.again(now, key) {
            self.counts.refill_missed += 1;
        }
    }
}
