//! Sweeps between sites: what the backup site keeps of the calls that live here is compared by
//! digest, and what it has older, or not at all, crosses again.
//!
//! ```text
//!   Idle ──interval over, ordered, wanted──► going through the slots ──► Idle
//!
//!   a slot:  Digest ──Same───────────────────────────────► done
//!              └──Differs──► Calls, run by run ──Lacks──► marked, and done after the last
//! ```
//! Marks say what has yet to cross as long as nothing goes wrong; this finds what went wrong: a
//! copy that was lost with a queue, or that was never made. Only calls without a mark are compared.
//! Nothing is removed for being absent here: only a tombstone removes anything.
//!
//! It is slow by default, stops while the site does not answer and goes on where it was. An answer
//! that does not come costs its slot until the next sweep.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tier_protocol::SlotSet;
use tier_protocol::partition::Sweep;
use tier_protocol::sweep::{SweepWord, digest_of};
use vocab::{CallKey, Instant, SLOTS, SiteId, Slot, Stamp};

use crate::Replica;
use crate::door::GateBound;
use crate::planted::Planted;
use crate::store::Call;

/// Slots that are being compared at a time.
const OPEN_MAX: usize = 16;
/// Calls of one word.
const RUN_MAX: usize = 512;
/// An answer that takes longer is asked for again, so often in all.
const ANSWER_WAIT: Duration = Duration::from_secs(5);
const TRIES_MAX: u32 = 3;
/// Of fewer calls it is looked at first which slots have any.
const COUNTED_MAX: usize = 32_768;
/// A call that was put since may still be on the queue there: it is not spoken of one by one.
const YOUNG: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug)]
enum Stage {
    Digest,
    Calls { after: Option<CallKey> },
}

/// A slot of which the site has yet to say something.
#[derive(Clone, Copy, Debug)]
struct Open {
    slot: Slot,
    sent_at: Instant,
    tries: u32,
    stage: Stage,
    /// The last call that was said.
    said_to: Option<CallKey>,
}

/// The sweeps of what one site keeps.
#[derive(Debug)]
struct Sweeper {
    /// The next slot to be compared; `None` while no sweep goes on.
    next: Option<u16>,
    /// Those that had calls when it began.
    slots: SlotSet,
    /// By the number of the ask.
    open: BTreeMap<u64, Open>,
    /// The next slot may go.
    next_at: Instant,
    /// The next sweep begins.
    due_at: Instant,
    ended_at: Option<Instant>,
    /// Calls found that have yet to cross.
    mending: BTreeSet<CallKey>,
    told: Sweep,
}

/// The sweeps of each site that keeps, or kept, copies of calls that live here.
#[derive(Debug, Default)]
pub(crate) struct Sweeping {
    sweepers: BTreeMap<SiteId, Sweeper>,
    asks: u64,
}

impl Sweeper {
    fn new(due_at: Instant) -> Self {
        Self {
            next: None,
            slots: SlotSet::NONE,
            open: BTreeMap::new(),
            next_at: Instant(0),
            due_at,
            ended_at: None,
            mending: BTreeSet::new(),
            told: Sweep::default(),
        }
    }

    fn begin(&mut self, slots: SlotSet) {
        self.next = Some(0);
        self.slots = slots;
        self.open.clear();
    }

    fn end(&mut self, now: Instant, every: Duration) {
        self.next = None;
        self.ended_at = Some(now);
        self.due_at = now + every;
        self.told.done += 1;
    }
}

impl Replica {
    /// Begins a sweep of what the site keeps, or begins it anew.
    pub(crate) fn begin_sweep(&mut self, site: SiteId) {
        if self.config.backup_to == Some(site) {
            let slots = self.occupied_slots();
            self.sweeper(site).begin(slots);
        }
    }

    /// The slots of this partition that may have calls. Of many calls they all do, about.
    fn occupied_slots(&self) -> SlotSet {
        if self.store.len() + self.store.spilled.len() > COUNTED_MAX {
            return self.config.view.slots;
        }
        let mut slots = SlotSet::NONE;
        self.store.keys_after(None).for_each(|key| slots.insert(key.slot()));
        slots
    }

    fn sweeper(&mut self, site: SiteId) -> &mut Sweeper {
        let due_at = self.began_at + self.config.pace.sweep_every;
        self.sweeping.sweepers.entry(site).or_insert_with(|| Sweeper::new(due_at))
    }

    /// The site that keeps copies, while it can be swept.
    fn swept_site(&self) -> Option<SiteId> {
        let site = self.config.backup_to?;
        let outbound = self.outbound.get(&site);
        let is_stopped = outbound.is_some_and(|outbound| outbound.is_stopped);
        let answers = self.sites.get(&site).is_some_and(|status| status.course.sweeps);
        (answers && !is_stopped).then_some(site)
    }

    pub(crate) fn run_sweep(&mut self, now: Instant) {
        let Some(site) = self.swept_site() else {
            return;
        };
        let every = self.config.pace.sweep_every;
        let sweeper = self.sweeper(site);
        if sweeper.next.is_none() && !every.is_zero() && sweeper.due_at <= now {
            self.begin_sweep(site);
        }
        if self.sweeper(site).next.is_none() {
            return;
        }
        self.repeat_asks(now, site);
        while let Some(slot) = self.next_slot(now, site) {
            self.compare_slot(now, site, slot);
        }
        let sweeper = self.sweeper(site);
        if sweeper.next == Some(SLOTS) && sweeper.open.is_empty() {
            sweeper.end(now, every);
        }
    }

    /// Asks again where the answer takes too long, and gives the slot up in the end.
    fn repeat_asks(&mut self, now: Instant, site: SiteId) {
        let sweeper = self.sweeper(site);
        let late = |open: &Open| open.sent_at + ANSWER_WAIT <= now;
        let late: Vec<u64> =
            sweeper.open.iter().filter(|(_, open)| late(open)).map(|(ask, _)| *ask).collect();
        for ask in late {
            let sweeper = self.sweeper(site);
            let Some(open) = sweeper.open.get_mut(&ask) else { continue };
            open.tries += 1;
            if open.tries >= TRIES_MAX {
                sweeper.open.remove(&ask);
                sweeper.told.unanswered += 1;
            } else {
                self.say(now, site, ask);
            }
        }
    }

    /// The next slot of this partition that may be compared.
    fn next_slot(&mut self, now: Instant, site: SiteId) -> Option<Slot> {
        let owned = self.config.view.slots;
        let sweeper = self.sweeper(site);
        if sweeper.open.len() >= OPEN_MAX || sweeper.next_at > now {
            return None;
        }
        let first = sweeper.next?;
        let is_to_compare = |slot: &Slot| owned.contains(*slot) && sweeper.slots.contains(*slot);
        let found = (first..SLOTS).map(Slot).find(is_to_compare);
        sweeper.next = Some(found.map_or(SLOTS, |slot| slot.0 + 1));
        found
    }

    fn compare_slot(&mut self, now: Instant, site: SiteId, slot: Slot) {
        let calls = self.swept_in(site, slot, None).count();
        let per_s = self.config.pace.sweep_per_s.max(1);
        let pause = Duration::from_secs(1) * u32::try_from(calls).unwrap_or(u32::MAX) / per_s;
        self.sweeper(site).next_at = now + pause;
        // Where nothing is, nothing can be lost.
        if calls > 0 {
            self.sweeping.asks += 1;
            let ask = self.sweeping.asks;
            let (sent_at, tries, stage, said_to) = (now, 0, Stage::Digest, None);
            let open = Open { slot, sent_at, tries, stage, said_to };
            self.sweeper(site).open.insert(ask, open);
            self.say(now, site, ask);
        }
    }

    /// Says what the slot's stage is about.
    fn say(&mut self, now: Instant, site: SiteId, ask: u64) {
        let Some(open) = self.sweeper(site).open.get_mut(&ask) else { return };
        open.sent_at = now;
        let Open { slot, stage, .. } = *open;
        let word = match stage {
            Stage::Digest => {
                let (calls, digest) = total(self.swept_in(site, slot, None));
                SweepWord::Digest { slot, calls, digest }
            }
            Stage::Calls { after } => {
                let settled = |key: &CallKey| self.is_settled(now, site, *key);
                let calls = self.swept_in(site, slot, after).filter(|(key, _)| settled(key));
                let calls: Vec<_> = calls.take(RUN_MAX).collect();
                if let Some(open) = self.sweeper(site).open.get_mut(&ask) {
                    open.said_to = calls.last().map(|(key, _)| *key);
                }
                SweepWord::Calls { slot, calls }
            }
        };
        self.tell_gate(GateBound::Sweep { site, ask, word });
    }

    /// The calls of the slot that the site should have as they are here.
    fn swept_in(
        &self,
        site: SiteId,
        slot: Slot,
        after: Option<CallKey>,
    ) -> impl Iterator<Item = (CallKey, Stamp)> {
        let keys = self.store.keys_of(slot, after);
        keys.filter_map(move |key| Some((key, self.swept_stamp(site, key)?)))
    }

    /// The stamp that the site should have: the one that crossed, which is older than the one held
    /// after puts that another site need not hear of. Where it is not known (of a record in the
    /// database, or by a replica that was not told yet) it is the one held, and the call may cross
    /// once more.
    fn swept_stamp(&self, site: SiteId, key: CallKey) -> Option<Stamp> {
        let call = self.store.brief(key)?;
        // One that came home and sleeps is being woken at this moment.
        let is_ours = !call.is_dormant && !call.is_stub;
        let is_marked = || self.outbound.get(&site).is_some_and(|it| it.mark(key).is_some());
        let is_aside = || self.store.get(key).is_some_and(Call::is_set_aside);
        if !is_ours || call.has_ended || is_marked() || is_aside() {
            return None;
        }
        let record = self.store.get(key).and_then(|call| call.record.as_ref());
        let crossed = record.and_then(|record| record.header.crossed_to(site));
        Some(crossed.unwrap_or(call.stamp))
    }

    /// What crossed of it is applied there by now, as far as can be told. What was put after it, of
    /// which the site need not hear, may go on for ever, and says nothing of that.
    fn is_settled(&self, now: Instant, site: SiteId, key: CallKey) -> bool {
        self.store.get(key).is_none_or(|call| {
            let crossed = call.record.as_ref().and_then(|record| record.header.crossed_to(site));
            let is_put_since = crossed.is_some_and(|crossed| call.stamp() != Some(crossed));
            is_put_since || call.put_at + YOUNG <= now
        })
    }

    /// Another site's word of a sweep: of ours, or of its own.
    pub(crate) fn hear_sweep(&mut self, now: Instant, site: SiteId, ask: u64, word: SweepWord) {
        if !self.leads() {
            return;
        }
        match word {
            SweepWord::Digest { slot, calls, digest } => {
                if self.config.view.slots.contains(slot) {
                    let ours = total(self.copies_in(site, slot));
                    let word = match ours == (calls, digest) {
                        true => SweepWord::Same { slot },
                        false => SweepWord::Differs { slot },
                    };
                    self.tell_gate(GateBound::Sweep { site, ask, word });
                }
            }
            SweepWord::Calls { slot, calls } => {
                if self.config.view.slots.contains(slot) {
                    let of_slot = calls.into_iter().filter(|(key, _)| key.slot() == slot);
                    let lacks = of_slot.filter(|(key, stamp)| self.lacks_version(*key, *stamp));
                    let keys = lacks.map(|(key, _)| key).collect();
                    let word = SweepWord::Lacks { slot, keys };
                    self.tell_gate(GateBound::Sweep { site, ask, word });
                }
            }
            SweepWord::Same { slot } => {
                if self.is_asked(site, ask, slot) {
                    self.sweeper(site).open.remove(&ask);
                }
            }
            SweepWord::Differs { slot } => {
                if self.is_asked(site, ask, slot) {
                    self.say_calls(now, site, ask, None);
                }
            }
            SweepWord::Lacks { slot, keys } => {
                if self.is_asked(site, ask, slot) {
                    self.mend(now, site, slot, &keys);
                    let said_to = self.sweeper(site).open.get(&ask).and_then(|it| it.said_to);
                    self.say_calls(now, site, ask, said_to);
                }
            }
            SweepWord::Wanted => self.begin_sweep(site),
        }
    }

    fn is_asked(&self, site: SiteId, ask: u64, slot: Slot) -> bool {
        let open = self.sweeping.sweepers.get(&site).and_then(|it| it.open.get(&ask));
        open.is_some_and(|open| open.slot == slot)
    }

    /// Says the next run of the slot's calls, if there is one.
    fn say_calls(&mut self, now: Instant, site: SiteId, ask: u64, after: Option<CallKey>) {
        let Some(slot) = self.sweeper(site).open.get(&ask).map(|open| open.slot) else { return };
        let is_over = {
            let mut left = self.swept_in(site, slot, after);
            !left.any(|(key, _)| self.is_settled(now, site, key))
        };
        let sweeper = self.sweeper(site);
        if is_over {
            sweeper.open.remove(&ask);
        } else if let Some(open) = sweeper.open.get_mut(&ask) {
            open.stage = Stage::Calls { after };
            open.tries = 0;
            self.say(now, site, ask);
        }
    }

    /// The site lacks these: they cross again, in the ordinary way.
    fn mend(&mut self, now: Instant, site: SiteId, slot: Slot, keys: &[CallKey]) {
        self.forget_mended(site);
        for key in keys.iter().take(RUN_MAX) {
            if key.slot() != slot || self.swept_stamp(site, *key).is_none() {
                continue;
            }
            self.mark_lacked(now, site, *key);
            let sweeper = self.sweeper(site);
            sweeper.told.found += 1;
            sweeper.mending.insert(*key);
        }
    }

    fn mark_lacked(&mut self, now: Instant, site: SiteId, key: CallKey) {
        if self.store.is_spilled(key) {
            let outbound = self.outbound_mut(site);
            outbound.note_record(now, key, true, true);
            return outbound.note_away(key);
        }
        let Some(call) = self.store.get_mut(key) else { return };
        if let Some(record) = &mut call.record {
            record.header.crossed.retain(|(known, _)| *known != site);
        }
        let (at_boundary, was_at_boundary) = (call.at_boundary, call.was_at_boundary);
        let outbound = self.outbound_mut(site);
        // A call that crossed before has been at a boundary, whatever it is doing.
        outbound.note_record(now, key, at_boundary || was_at_boundary, was_at_boundary);
        self.evaluate_busy(now, key);
    }

    fn forget_mended(&mut self, site: SiteId) {
        let outbound = self.outbound.get(&site);
        if let Some(sweeper) = self.sweeping.sweepers.get_mut(&site) {
            sweeper.mending.retain(|key| outbound.is_some_and(|it| it.mark(*key).is_some()));
        }
    }

    /// What is kept here of the site's calls of a slot.
    fn copies_in(&self, site: SiteId, slot: Slot) -> impl Iterator<Item = (CallKey, Stamp)> {
        let keys = self.store.keys_of(slot, None);
        keys.filter_map(move |key| {
            let call = self.store.brief(key)?;
            let is_copy = call.is_dormant && !call.is_stub && call.stamp.epoch.site == site;
            is_copy.then_some((key, call.stamp))
        })
    }

    /// Whether the home's version is missing here. A call that lives elsewhere by now is wanted,
    /// too: when it comes its home is told.
    fn lacks_version(&self, key: CallKey, stamp: Stamp) -> bool {
        let is_removed = self.tombs.stamp(key).is_some_and(|removed| removed >= stamp);
        if is_removed || self.quarantine.has_as_new(key, stamp) {
            return false;
        }
        match self.store.brief(key) {
            None => self.planted != Some(Planted::SweepSkipsAbsent),
            Some(held) if held.is_stub => held.stamp.epoch <= stamp.epoch,
            Some(held) => held.stamp.epoch != stamp.epoch || held.stamp < stamp,
        }
    }

    /// What was asked is lost with the link: it is asked again when the site answers.
    pub(crate) fn forget_asks(&mut self, site: SiteId) {
        if let Some(sweeper) = self.sweeping.sweepers.get_mut(&site) {
            for open in sweeper.open.values_mut() {
                open.sent_at = Instant(0);
            }
        }
    }

    pub(crate) fn sweep_at(&self) -> Option<Instant> {
        let site = self.swept_site()?;
        let every = self.config.pace.sweep_every;
        let Some(sweeper) = self.sweeping.sweepers.get(&site) else {
            return (!every.is_zero()).then_some(self.began_at + every);
        };
        let Some(next) = sweeper.next else {
            return (!every.is_zero()).then_some(sweeper.due_at);
        };
        let late = sweeper.open.values().map(|open| open.sent_at + ANSWER_WAIT).min();
        let may_go = next < SLOTS && sweeper.open.len() < OPEN_MAX;
        late.into_iter().chain(may_go.then_some(sweeper.next_at)).min()
    }

    /// How the sweeps are going, by site.
    pub(crate) fn sweeps(&self) -> Vec<(SiteId, Sweep)> {
        let owned = self.config.view.slots;
        let all = self.sweeping.sweepers.iter().map(|(site, sweeper)| {
            let outbound = self.outbound.get(site);
            let is_marked = |key: &&CallKey| outbound.is_some_and(|it| it.mark(**key).is_some());
            let mending = sweeper.mending.iter().filter(is_marked).count() as u64;
            let left = sweeper.next.map_or(0, |next| {
                let is_left = |slot: &Slot| owned.contains(*slot) && sweeper.slots.contains(*slot);
                (next..SLOTS).map(Slot).filter(is_left).count() + sweeper.open.len()
            });
            let ended = sweeper.ended_at.map_or(Duration::ZERO, |at| self.now.since(at));
            let told = Sweep {
                slots_left: u32::try_from(left).unwrap_or(u32::MAX),
                repaired: sweeper.told.found - mending,
                ended_ms: u64::try_from(ended.as_millis()).unwrap_or(u64::MAX),
                ..sweeper.told
            };
            (*site, told)
        });
        all.collect()
    }
}

/// How many calls, and the sum of their digests: of whatever order.
fn total(calls: impl Iterator<Item = (CallKey, Stamp)>) -> (u64, u64) {
    calls.fold((0, 0), |(count, sum): (u64, u64), (key, stamp)| {
        (count + 1, sum.wrapping_add(digest_of(key, stamp)))
    })
}
