//! Paced work over many calls: waking a site's calls, forgetting them, sweeping, giving away.
//!
//! The state of each is a cursor over an ordered set, so it may be stopped and begun again at any
//! time, and an order that is repeated while it runs changes nothing. Calls that come behind the
//! cursor are taken up by the events that bring them.

use tier_protocol::Return;
use vocab::{CallKey, Instant, SiteId};

use crate::Replica;
use crate::agenda::Kind;
use crate::outbound::Stage;
use crate::spill::fetch::Why;
use crate::stats::{BulkKind, BulkStats};
use crate::store::Call;

/// Calls that bulk work puts on the agenda ahead of their turn.
const AHEAD: usize = 256;
/// Calls that one step of bulk work goes through.
const STEP: usize = 512;

/// One piece of bulk work.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bulk {
    cursor: Option<CallKey>,
    total: u64,
    done: u64,
    pub(crate) is_running: bool,
}

impl Bulk {
    pub(crate) fn left(&self) -> u64 {
        self.total.saturating_sub(self.done)
    }
}

impl Replica {
    pub(crate) fn begin_bulk(&mut self, kind: BulkKind, site: SiteId) {
        let total = match kind {
            BulkKind::Activate | BulkKind::Drop => self.store.dormant_len(site),
            BulkKind::Sweep => self.store.active_len(),
            BulkKind::HandBack => self.store.moved_len(site),
            BulkKind::Evacuate => self.store.len() + self.store.spilled.len(),
        };
        let fresh = Bulk { cursor: None, total: total as u64, done: 0, is_running: true };
        let bulk = self.bulks.entry((kind, site)).or_insert(fresh);
        // A sweep that is ordered anew has lost what it did: the site came back empty. Of calls
        // that are to be given away those are left that were passed while nobody wanted them.
        let begins_anew = match kind {
            BulkKind::Sweep | BulkKind::Evacuate => true,
            BulkKind::Activate | BulkKind::Drop | BulkKind::HandBack => !bulk.is_running,
        };
        if begins_anew {
            *bulk = fresh;
        }
    }

    pub(crate) fn run_bulks(&mut self, now: Instant) {
        self.run_behind(now);
        let running = self.bulks.iter().filter(|(_, bulk)| bulk.is_running);
        let mut last = None;
        if running.count() == 0 {
            return;
        }
        while let Some((kind, site)) = self.next_bulk(last) {
            last = Some((kind, site));
            if kind == BulkKind::Activate && self.owns_its_calls(site) {
                // The home answers again: what it owns is not taken over.
                self.end_bulk(kind, site);
                continue;
            }
            for _ in 0..STEP {
                if !self.may_step(kind, site) || !self.step_may_pass(now, kind) {
                    break;
                }
                let Some(key) = self.next_of(kind, site) else {
                    self.end_bulk(kind, site);
                    break;
                };
                self.step_bulk(now, kind, site, key);
            }
        }
    }

    fn next_bulk(&self, last: Option<(BulkKind, SiteId)>) -> Option<(BulkKind, SiteId)> {
        let running = self.bulks.iter().filter(|(_, bulk)| bulk.is_running);
        running.map(|(which, _)| *which).find(|which| last.is_none_or(|last| *which > last))
    }

    /// Whether there is room for another step; time aside.
    fn may_step(&self, kind: BulkKind, site: SiteId) -> bool {
        let is_near = match kind {
            // What the site said last may still lie on the queue.
            BulkKind::Activate => {
                !self.waiting.contains(&site) && self.agenda.len(Kind::Activate) < AHEAD
            }
            BulkKind::HandBack => {
                self.steering.returning == Return::Runs && self.agenda.len(Kind::HandBack) < AHEAD
            }
            BulkKind::Evacuate => self.wants_calls(site) && self.agenda.len(Kind::HandBack) < AHEAD,
            BulkKind::Drop | BulkKind::Sweep => return true,
        };
        // A spilled call has to be fetched first.
        is_near
            && (self.may_want()
                || self.next_of(kind, site).is_none_or(|key| !self.store.is_spilled(key)))
    }

    fn step_may_pass(&mut self, now: Instant, kind: BulkKind) -> bool {
        match kind {
            // Marks cost nothing, and say what is at risk; what is marked then crosses in turn.
            BulkKind::Activate | BulkKind::HandBack | BulkKind::Evacuate | BulkKind::Sweep => true,
            BulkKind::Drop => self.bulk_pacer.take(now),
        }
    }

    fn next_of(&self, kind: BulkKind, site: SiteId) -> Option<CallKey> {
        let cursor = self.bulks.get(&(kind, site))?.cursor;
        match kind {
            BulkKind::Activate | BulkKind::Drop => self.store.dormant_after(site, cursor).next(),
            BulkKind::Sweep | BulkKind::Evacuate => self.store.keys_after(cursor).next(),
            BulkKind::HandBack => self.store.moved_after(site, cursor).next(),
        }
    }

    fn step_bulk(&mut self, now: Instant, kind: BulkKind, site: SiteId, key: CallKey) {
        if let Some(bulk) = self.bulks.get_mut(&(kind, site)) {
            bulk.cursor = Some(key);
            bulk.done += 1;
        }
        match kind {
            BulkKind::Activate if self.store.is_spilled(key) => {
                self.want_row(now, key, Why::Activate);
            }
            BulkKind::HandBack if self.store.is_spilled(key) => {
                self.want_row(now, key, Why::Needed);
            }
            BulkKind::Evacuate if self.store.is_spilled(key) => {
                if self.store.brief(key).is_some_and(|call| !call.is_dormant) {
                    self.want_row(now, key, Why::Needed);
                }
            }
            BulkKind::Activate => {
                let call = self.store.get_mut(key).filter(|call| call.lock.is_none());
                if let Some(call) = call {
                    self.agenda.set(&mut call.armed, Kind::Activate, key, now);
                }
            }
            BulkKind::Drop => self.on_spilled(key, |replica| {
                // A copy that has yet to reach its home is the only one.
                let outbound = replica.outbound.get(&site);
                let is_awaited = outbound.is_some_and(|o| o.mark(key).is_some());
                let is_free = replica.store.get(key).is_some_and(|call| call.lock.is_none());
                if is_free && !is_awaited {
                    replica.drop_record(key);
                    replica.free(now, key);
                }
            }),
            BulkKind::Sweep => self.mark_again(now, site, key),
            BulkKind::HandBack | BulkKind::Evacuate => {
                if self.store.get(key).is_some_and(|call| call.lock.is_none()) {
                    self.rearm(now, key);
                }
            }
        }
    }

    pub(crate) fn end_bulk(&mut self, kind: BulkKind, site: SiteId) {
        if kind == BulkKind::Sweep {
            self.swept = Some((site, self.now));
        }
        if let Some(bulk) = self.bulks.get_mut(&(kind, site)) {
            bulk.is_running = false;
            bulk.cursor = None;
        }
    }

    /// Marks an active call as if the site had never had it.
    fn mark_again(&mut self, now: Instant, site: SiteId, key: CallKey) {
        if self.config.backup_to != Some(site) {
            return;
        }
        if self.store.is_spilled(key) {
            return self.mark_spilled(now, site, key);
        }
        let lives =
            |call: &&mut Call| call.is_active() && !call.has_ended() && !call.is_set_aside();
        let Some(call) = self.store.get_mut(key).filter(lives) else {
            return;
        };
        if let Some(record) = &mut call.record {
            record.header.crossed.retain(|(known, _)| *known != site);
        }
        let was_at_boundary = call.was_at_boundary;
        let outbound = self.outbound_mut(site);
        let is_on_its_way = outbound.mark(key).is_some_and(|mark| match mark.stage {
            Stage::Busy
            | Stage::Settling { .. }
            | Stage::Ready { .. }
            | Stage::Away
            | Stage::Behind => true,
            Stage::InFlight { .. } => false,
        });
        if !is_on_its_way {
            outbound.note_record(now, key, false, was_at_boundary);
            outbound.set_stage(key, Stage::Behind);
        }
    }

    /// Looks at calls that a site has lost, so many a second.
    fn run_behind(&mut self, now: Instant) {
        let sites: Vec<SiteId> = self.outbound.keys().copied().collect();
        for site in sites {
            while let Some(key) = self.outbound_mut(site).first_behind() {
                if !self.bulk_pacer.take(now) {
                    return;
                }
                let call = self.store.get(key);
                let outbound = self.outbound.get_mut(&site);
                if let Some(outbound) = outbound {
                    outbound.set_stage(key, Stage::Busy);
                    // A call that crossed before has been at a boundary, whatever it is doing. Its
                    // way begins here: how long it waited for its turn is no lag.
                    if call.is_some_and(|call| call.at_boundary || call.was_at_boundary) {
                        outbound.note_boundary(now, key);
                    }
                }
                self.evaluate_busy(now, key);
            }
        }
    }

    /// The same, of a call whose record is in the database: it is fetched when its turn comes.
    fn mark_spilled(&mut self, now: Instant, site: SiteId, key: CallKey) {
        let is_active = self.store.brief(key).is_some_and(|call| !call.is_dormant);
        let outbound = self.outbound_mut(site);
        if is_active && !outbound.is_record(key) {
            outbound.note_record(now, key, true, true);
            outbound.note_away(key);
        }
    }

    pub(crate) fn bulk_at(&self) -> Option<Instant> {
        let running = self.bulks.iter().filter(|(_, bulk)| bulk.is_running);
        let times = running.filter_map(|((kind, site), _)| match kind {
            BulkKind::Activate | BulkKind::HandBack | BulkKind::Evacuate => {
                let is_fed_by_time = self.may_step(*kind, *site);
                is_fed_by_time.then_some(Instant(0))
            }
            BulkKind::Sweep => Some(Instant(0)),
            BulkKind::Drop => Some(self.bulk_pacer.wake_at(Instant(0))),
        });
        let is_behind = self.outbound.values().any(|outbound| outbound.first_behind().is_some());
        let behind_at = is_behind.then(|| self.bulk_pacer.wake_at(Instant(0)));
        times.chain(behind_at).min()
    }

    pub(crate) fn bulk_stats(&self) -> Vec<BulkStats> {
        let all = self.bulks.iter().map(|((kind, site), bulk)| BulkStats {
            kind: *kind,
            site: *site,
            total: bulk.total,
            done: bulk.done,
            is_running: bulk.is_running,
        });
        all.collect()
    }
}
