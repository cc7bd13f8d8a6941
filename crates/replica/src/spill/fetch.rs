//! Fetches: spilled calls come back for a turn, a deadline, bulk work or a crossing.
//!
//! Turns wait with the fetch, in order, each for a bounded time; then they are answered `Busy`,
//! and the row is still awaited if it was asked for. Whatever is not asked for by an engine begins
//! only while no turn waits for room, so that a sweep does not stand before a message.
//!
//! A row that is newer than the stamp that is known here was written by a primary whose put was
//! complete and whose lock had ended: it counts. One that is older, unreadable or not there is a
//! call lost: it is counted, and the call ends as if it had never been here.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use tier_protocol::{Record, Reply};
use vocab::{CallKey, EngineId, Instant, Stamp};

use crate::Replica;
use crate::agenda::Kind;
use crate::compare::digest_of;
use crate::database::{DatabaseAsk, FoundRow};
use crate::spill::rest::InFlight;
use crate::spill::table::Spilled;
use crate::store::Waiter;

/// Marks of calls that are fetched ahead of their batch.
const RECALLED_AHEAD: usize = 256;

/// Why a call is fetched, beside turns that wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// Something is about to happen to it.
    Needed,
    /// It is to be woken.
    Activate,
    /// It has yet to cross, and goes again when it has.
    Cross,
}

/// A call that is to be fetched.
#[derive(Debug, Default)]
struct Wanted {
    /// Its place among those not asked for yet.
    place: Option<u64>,
    /// What was asked for.
    asked: Option<Stamp>,
    /// Turns, and until when each waits.
    waiters: VecDeque<(Instant, Waiter)>,
    /// Readers without a lock.
    readers: Vec<(EngineId, u64)>,
    is_needed: bool,
    activates: bool,
    crosses: bool,
}

/// Calls that are to be fetched.
#[derive(Debug, Default)]
pub(crate) struct Fetches {
    wanted: BTreeMap<CallKey, Wanted>,
    queue: BTreeMap<u64, CallKey>,
    last_place: u64,
    pub(crate) in_flight: InFlight,
    /// When the first waiter of a call has waited for long enough.
    waits: BTreeSet<(Instant, CallKey)>,
    pub(crate) waiters: usize,
}

impl Fetches {
    pub(crate) fn len(&self) -> usize {
        self.wanted.len()
    }

    pub(crate) fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Whether a call is fetched that is to be woken by order.
    pub(crate) fn is_any_to_wake(&self) -> bool {
        self.wanted.values().any(|wanted| wanted.activates)
    }

    pub(crate) fn first_wait(&self) -> Option<Instant> {
        self.waits.first().map(|(at, _)| *at)
    }

    fn want(&mut self, key: CallKey) -> &mut Wanted {
        let wanted = self.wanted.entry(key).or_default();
        if wanted.place.is_none() && wanted.asked.is_none() {
            self.last_place += 1;
            wanted.place = Some(self.last_place);
            self.queue.insert(self.last_place, key);
        }
        wanted
    }

    /// It was asked for in vain: it goes to the end of the queue.
    fn want_again(&mut self, key: CallKey) {
        self.in_flight.remove(key);
        if let Some(wanted) = self.wanted.get_mut(&key) {
            wanted.asked = None;
            self.want(key);
            self.drop_if_idle(key);
        }
    }

    fn take(&mut self, key: CallKey) -> Option<Wanted> {
        self.in_flight.remove(key);
        let wanted = self.wanted.remove(&key)?;
        if let Some(place) = wanted.place {
            self.queue.remove(&place);
        }
        if let Some((until, _)) = wanted.waiters.front() {
            self.waits.remove(&(*until, key));
        }
        self.waiters -= wanted.waiters.len();
        Some(wanted)
    }

    fn add_waiter(&mut self, key: CallKey, until: Instant, waiter: Waiter) {
        let wanted = self.want(key);
        if wanted.waiters.is_empty() {
            self.waits.insert((until, key));
        }
        if let Some(wanted) = self.wanted.get_mut(&key) {
            wanted.waiters.push_back((until, waiter));
            self.waiters += 1;
        }
    }

    /// Keeps those waiters of a call of which `keep` says so.
    fn keep_waiters(&mut self, key: CallKey, keep: impl Fn(&(Instant, Waiter)) -> bool) {
        let Some(wanted) = self.wanted.get_mut(&key) else {
            return;
        };
        let (first, before) =
            (wanted.waiters.front().map(|(until, _)| *until), wanted.waiters.len());
        wanted.waiters.retain(keep);
        self.waiters -= before - wanted.waiters.len();
        if let Some(first) = first {
            self.waits.remove(&(first, key));
        }
        if let Some((until, _)) = wanted.waiters.front() {
            self.waits.insert((*until, key));
        }
        self.drop_if_idle(key);
    }

    /// Nobody waits for it any more, and it was not asked for yet.
    fn drop_if_idle(&mut self, key: CallKey) {
        let is_idle = self.wanted.get(&key).is_some_and(|wanted| {
            let is_wanted = wanted.is_needed || wanted.activates || wanted.crosses;
            let is_awaited = !wanted.waiters.is_empty() || !wanted.readers.is_empty();
            !is_wanted && !is_awaited && wanted.asked.is_none()
        });
        if is_idle {
            self.take(key);
        }
    }
}

impl Replica {
    /// A turn asks for a spilled call: it waits for the row.
    pub(crate) fn wait_for_row(&mut self, now: Instant, key: CallKey, waiter: Waiter) {
        let Waiter { engine, turn, .. } = waiter;
        let (waiters_max, settings) =
            (self.config.limits.waiters_per_call_max, &self.spilling.settings);
        let fetches = &mut self.spilling.fetches;
        let (has_room, is_waiting) = match fetches.wanted.get(&key) {
            Some(wanted) => (
                wanted.waiters.len() < waiters_max,
                wanted.waiters.iter().any(|(_, w)| w.engine == engine && w.turn == turn),
            ),
            None => (fetches.wanted.len() < settings.fetches_waiting_max, false),
        };
        if !is_waiting && !has_room {
            self.counts.busy += 1;
            self.counts.fetch_busy += 1;
            return self.reply(engine, Reply::Busy { key, turn });
        }
        if !is_waiting {
            fetches.add_waiter(key, now + settings.wait_max, waiter);
        }
        self.reply(engine, Reply::Queued { key, turn });
        self.ask_rows(now);
    }

    /// Somebody wants to read a spilled call.
    pub(crate) fn read_row(&mut self, now: Instant, key: CallKey, engine: EngineId, turn: u64) {
        let settings = &self.spilling.settings;
        let fetches = &mut self.spilling.fetches;
        let has_room = fetches.wanted.len() < settings.fetches_waiting_max;
        let is_room_left = match fetches.wanted.get(&key) {
            Some(wanted) => wanted.readers.len() < self.config.limits.waiters_per_call_max,
            None => has_room,
        };
        if !is_room_left || !self.spilling.may_ask() {
            return self.reply(engine, Reply::Got { key, turn, record: None, dormant: false });
        }
        self.spilling.fetches.want(key).readers.push((engine, turn));
        self.ask_rows(now);
    }

    /// Fetches a spilled call that no engine asks for. Callers look at [`Self::may_want`] first.
    pub(crate) fn want_row(&mut self, now: Instant, key: CallKey, why: Why) {
        let wanted = self.spilling.fetches.want(key);
        match why {
            Why::Needed => wanted.is_needed = true,
            Why::Activate => wanted.activates = true,
            Why::Cross => wanted.crosses = true,
        }
        self.ask_rows(now);
    }

    /// Whether there is room for fetches that no engine asks for.
    pub(crate) fn may_want(&self) -> bool {
        let (spilling, fetches) = (&self.spilling, &self.spilling.fetches);
        let is_idle = fetches.queue.is_empty();
        let has_room = fetches.in_flight.len() < spilling.settings.fetches_in_flight_max;
        spilling.may_ask() && spilling.fetch_not_before <= self.now && is_idle && has_room
    }

    /// Asks for what is wanted, as far as there is room.
    pub(crate) fn ask_rows(&mut self, now: Instant) {
        let flights_max = self.spilling.settings.fetches_in_flight_max;
        while self.spilling.may_ask()
            && self.spilling.fetch_not_before <= now
            && self.spilling.fetches.in_flight.len() < flights_max
        {
            let fetches = &mut self.spilling.fetches;
            let Some((_, key)) = fetches.queue.pop_first() else {
                break;
            };
            let Some(wanted) = fetches.wanted.get_mut(&key) else {
                continue;
            };
            wanted.place = None;
            let Some(stamp) = self.store.spilled.get(key).map(Spilled::stamp) else {
                // Something else has taken its place meanwhile.
                self.serve_wanted(now, key);
                continue;
            };
            wanted.asked = Some(stamp);
            fetches.in_flight.insert(now, key);
            self.ask_database(|_| DatabaseAsk::Fetch { key, stamp });
        }
    }

    /// A row has come, or the word that there is none.
    pub(crate) fn row_fetched(
        &mut self,
        now: Instant,
        key: CallKey,
        asked: Stamp,
        row: Option<FoundRow>,
    ) {
        let fetches = &mut self.spilling.fetches;
        if fetches.wanted.get(&key).and_then(|wanted| wanted.asked) != Some(asked) {
            // Given up before. If it was asked for again, as a newer record, that answer counts:
            // this one may be of before the newer row.
            return;
        }
        let Some(spilled) = self.store.spilled.get(key).copied() else {
            return self.serve_wanted(now, key);
        };
        if spilled.stamp() != asked {
            // It came back by another way, and left again.
            return fetches.want_again(key);
        }
        match row.and_then(|row| found(now, key, &spilled, row)) {
            Some(record) => self.take_back(now, key, &spilled, record),
            None => {
                self.counts.rows_lost += 1;
                self.spilling.lost_last = Some(key);
                self.forget(key);
            }
        }
        self.serve_wanted(now, key);
    }

    fn take_back(&mut self, now: Instant, key: CallKey, spilled: &Spilled, record: Record) {
        self.unpack(key);
        let is_home = record.header.home() == self.config.here;
        let is_same = record.header.stamp == spilled.stamp();
        let wanted = self.spilling.fetches.wanted.get(&key);
        let crosses = wanted.is_some_and(|wanted| {
            let is_awaited = !wanted.waiters.is_empty() || !wanted.readers.is_empty();
            wanted.crosses && !wanted.is_needed && !wanted.activates && !is_awaited
        });
        let activates = wanted.is_some_and(|wanted| wanted.activates);
        let Some(call) = self.store.get_mut(key) else {
            return;
        };
        if !is_same {
            call.is_dormant = !is_home;
            call.is_given = false;
        }
        call.record = Some(record);
        call.put_at = now;
        // What only crosses has rested for long enough.
        call.touched_at = if crosses { Instant(0) } else { now };
        self.store.reindex(key);
        self.counts.fetched += 1;
        if activates && let Some(call) = self.store.get_mut(key).filter(|call| call.is_dormant) {
            self.agenda.set(&mut call.armed, Kind::Activate, key, now);
        }
        let waiters = self.spilling.fetches.take(key);
        let Some(wanted) = waiters else {
            return self.free(now, key);
        };
        self.answer_readers(now, key, &wanted);
        if let Some(call) = self.store.get_mut(key) {
            self.waiters += wanted.waiters.len();
            call.waiters = wanted.waiters.into_iter().map(|(_, waiter)| waiter).collect();
        }
        self.free(now, key);
    }

    fn answer_readers(&mut self, now: Instant, key: CallKey, wanted: &Wanted) {
        let call = self.store.get(key);
        let (record, dormant) =
            (call.and_then(|call| call.aged(now)), call.is_some_and(|call| call.is_dormant));
        for (engine, turn) in wanted.readers.clone() {
            let (record, dormant) = (record.clone(), dormant);
            self.reply(engine, Reply::Got { key, turn, record, dormant });
        }
    }

    /// The call is not spilled any more: whoever waited asks as if it never had been.
    fn serve_wanted(&mut self, now: Instant, key: CallKey) {
        let Some(wanted) = self.spilling.fetches.take(key) else {
            return;
        };
        self.answer_readers(now, key, &wanted);
        for (_, waiter) in wanted.waiters {
            self.lock_and_get(now, key, waiter);
        }
    }

    pub(crate) fn row_not_fetched(&mut self, key: CallKey) {
        if self.spilling.fetches.in_flight.contains(key) {
            self.spilling.fetches.want_again(key);
        }
    }

    /// Answers turns that have waited for long enough, and gives up asks without an answer.
    pub(crate) fn end_waits(&mut self, now: Instant) {
        while let Some((_, key)) =
            self.spilling.fetches.waits.first().copied().filter(|(at, _)| *at <= now)
        {
            let wanted = self.spilling.fetches.wanted.get(&key);
            let late: Vec<Waiter> = wanted
                .into_iter()
                .flat_map(|wanted| &wanted.waiters)
                .filter(|(until, _)| *until <= now)
                .map(|(_, waiter)| *waiter)
                .collect();
            self.spilling.fetches.keep_waiters(key, |(until, _)| *until > now);
            for Waiter { engine, turn, .. } in late {
                self.counts.busy += 1;
                self.counts.fetch_busy += 1;
                self.reply(engine, Reply::Busy { key, turn });
            }
        }
        let wait = self.spilling.settings.answer_wait;
        while let Some((_, key)) =
            self.spilling.fetches.in_flight.first().filter(|(at, _)| *at + wait <= now)
        {
            self.counts.rows_refused += 1;
            self.row_not_fetched(key);
        }
    }

    /// An engine is gone, and with it its turns.
    pub(crate) fn forget_row_waiters(&mut self, engine: EngineId) {
        let keys: Vec<CallKey> = self.spilling.fetches.wanted.keys().copied().collect();
        for key in keys {
            if let Some(wanted) = self.spilling.fetches.wanted.get_mut(&key) {
                wanted.readers.retain(|(reader, _)| *reader != engine);
            }
            self.spilling.fetches.keep_waiters(key, |(_, waiter)| waiter.engine != engine);
        }
    }

    /// Slots have gone: whoever waited for one of their calls asks there.
    pub(crate) fn forget_fetches_of_others(&mut self) {
        let slots = self.config.view.slots;
        let fetches = &mut self.spilling.fetches;
        let gone = fetches.wanted.keys().filter(|key| !slots.contains(key.slot()));
        for key in gone.copied().collect::<Vec<_>>() {
            fetches.take(key);
        }
    }

    /// Fetches calls whose deadlines have passed.
    pub(crate) fn fetch_due(&mut self, now: Instant) {
        while self.may_hand()
            && self.may_want()
            && let Some((at, key)) = self.store.spilled.first_due().filter(|(at, _)| *at <= now)
        {
            let Some(spilled) = self.store.spilled.get(key) else {
                break;
            };
            let home = spilled.stamp().epoch.site;
            if spilled.state().is_dormant && !self.is_given_up(home) {
                // It is the home's to end.
                self.store.spilled.set_due(key, now + self.config.pace.dead_home_after);
                continue;
            }
            self.store.spilled.take_due(at, key);
            self.want_row(now, key, Why::Needed);
        }
    }

    /// Fetches calls that have yet to cross, a few ahead of their batch.
    pub(crate) fn fetch_marked(&mut self, now: Instant) {
        let mut last = None;
        while let Some(site) = self.next_outbound(last) {
            last = Some(site);
            while self.may_want()
                && let Some(key) = self.recalled(now, site)
            {
                self.outbound_mut(site).set_stage(key, crate::outbound::Stage::Busy);
                self.want_row(now, key, Why::Cross);
            }
        }
    }

    fn recalled(&self, now: Instant, site: vocab::SiteId) -> Option<CallKey> {
        let outbound = self.outbound.get(&site)?;
        let fetched = self.spilling.fetches.len();
        let key = outbound.first_away(RECALLED_AHEAD.saturating_sub(fetched))?;
        (outbound.not_before <= now).then_some(key)
    }

    /// When time alone lets a fetch begin, or ends a wait.
    pub(crate) fn fetch_at(&self) -> Option<Instant> {
        let (spilling, fetches) = (&self.spilling, &self.spilling.fetches);
        let due = self.store.spilled.first_due().filter(|_| self.leads() && self.may_hand());
        let wants = due.map(|(at, _)| at).into_iter().chain(self.recall_at());
        let has_room = fetches.in_flight.len() < spilling.settings.fetches_in_flight_max;
        let is_queued = !fetches.queue.is_empty();
        let next = if is_queued { Some(Instant(0)) } else { wants.min() };
        let next = next.filter(|_| spilling.may_ask() && has_room);
        let asks = next.map(|at| at.max(spilling.fetch_not_before));
        let ends = fetches.in_flight.first().map(|(at, _)| at + spilling.settings.answer_wait);
        // Bulk work goes on then.
        let pause = spilling.fetch_not_before;
        let pause = (spilling.may_ask() && pause > self.now).then_some(pause);
        [asks, ends, pause, fetches.first_wait()].into_iter().flatten().min()
    }

    fn recall_at(&self) -> Option<Instant> {
        let fetched = self.spilling.fetches.len();
        let ahead = RECALLED_AHEAD.saturating_sub(fetched);
        let sites = self.outbound.values().filter(|_| self.leads());
        sites.filter_map(|site| site.first_away(ahead).map(|_| site.not_before)).min()
    }
}

/// The record of a row, if it is one and not older than what is known.
fn found(now: Instant, key: CallKey, spilled: &Spilled, row: FoundRow) -> Option<Record> {
    let FoundRow { stamp, record, age } = row;
    let mut record = Record::decode(record).ok()?;
    let header = &record.header;
    if header.key != key || header.stamp != stamp || stamp < spilled.stamp() {
        return None;
    }
    let state = spilled.state();
    let is_dormant = state.is_dormant;
    if stamp == spilled.stamp() && digest_of(&record, is_dormant) != spilled.digest {
        return None;
    }
    // The database's time is by the wall clock, which may have been set anew. What stayed in memory
    // knows better where it is the same deadline.
    let is_same = stamp == spilled.stamp() && !is_dormant && !state.is_condemned;
    let known = record.header.deadline.zip(spilled.due_at()).filter(|_| is_same);
    let age = known.map_or(age, |(deadline, due_at)| (now + deadline).since(due_at));
    record.header.age = age.max(record.header.age);
    Some(record)
}
