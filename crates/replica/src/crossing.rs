//! Crossing: when a marked call has settled, what a batch holds, what an acknowledgement means.
//!
//! A call crosses when its newest put was at a boundary, nothing vetoed it, and nobody took its
//! lock for the settle time. One that was at a boundary once and keeps being busy crosses all the
//! same when the bound is reached. One whose requests come close upon each other is left alone for
//! longer, up to a bound of its own. One that never was at a boundary does not cross: a site could
//! not resume it. Only unlocked records cross, and not while their effects have yet to leave: the
//! other site would take them for sent.

use tier_protocol::batch::{self, Entry};
use tier_protocol::{Record, Veto};
use vocab::{CallKey, Instant, SiteId, Stamp};

use crate::Replica;
use crate::door::GateBound;
use crate::hint::Decision;
use crate::outbound::{Flight, Shipping, Stage, What};
use crate::ship::{SHIPPED_WITHIN, SHIPPER_PAUSE};
use crate::stats::BulkKind;
use crate::store::Call;

/// What an entry takes in a batch beside its body, about.
const ENTRY_BYTES: usize = 128;

/// A call whose requests come close upon each other is left alone for so many settle times, and
/// crosses at the latest after twice as many.
const CLOSE_SETTLES: u32 = 8;

/// What becomes of a mark whose call is looked at.
enum Verdict {
    /// Somebody has it checked out.
    CheckedOut,
    /// An engine is to send its effects again.
    InDoubt,
    /// It goes.
    Settled,
    /// It goes, busy or not.
    Forced,
    /// Somebody had it within the settle time.
    Settling(Instant),
    /// Something speaks against it; it is looked at again at the bound, if it has one: a call that
    /// never was at a boundary has none.
    Vetoed(Option<Instant>),
}

impl Verdict {
    fn decision(&self) -> Decision {
        match self {
            Self::CheckedOut => Decision::CheckedOut,
            Self::InDoubt => Decision::InDoubt,
            Self::Settled => Decision::Followed,
            Self::Forced => Decision::Forced,
            Self::Settling(_) => Decision::Settling,
            Self::Vetoed(_) => Decision::Vetoed,
        }
    }
}

impl Replica {
    /// The site that is to have the call's newest state.
    pub(crate) fn target(&self, call: &Call) -> Option<SiteId> {
        if call.is_set_aside() {
            return None;
        }
        let home = call.record.as_ref()?.header.home();
        if home == self.config.here { self.config.backup_to } else { Some(home) }
    }

    /// Looks at a call whose lock has ended.
    pub(crate) fn evaluate_busy(&mut self, now: Instant, key: CallKey) {
        if !self.leads() {
            // Its mark waits for a primary.
            return;
        }
        if self.store.is_spilled(key) {
            self.outbound.values_mut().for_each(|outbound| outbound.note_away(key));
            return;
        }
        let Some(call) = self.store.get(key) else {
            return;
        };
        let Some(site) = self.target(call) else {
            return;
        };
        let settled_at = call.touched_at + self.config.pace.settle_for;
        let at_boundary = call.at_boundary && call.veto.is_none();
        let mark = self.outbound.get(&site).and_then(|outbound| outbound.mark(key));
        let is_to_look_at = match mark.map(|mark| mark.stage) {
            Some(Stage::Busy) => true,
            // Its place is that of the bound, from before it came to a boundary.
            Some(Stage::Settling { at }) => at_boundary && at > settled_at,
            Some(Stage::Ready { .. } | Stage::InFlight { .. } | Stage::Away | Stage::Behind)
            | None => false,
        };
        if is_to_look_at {
            let verdict = self.verdict(now, site, key);
            self.apply_verdict(now, site, key, &verdict);
        }
    }

    /// Looks at every mark: this replica is the one that sends from here on.
    pub(crate) fn evaluate_all_busy(&mut self, now: Instant) {
        let marked: Vec<CallKey> = self.outbound.values().flat_map(|site| site.records()).collect();
        for key in marked {
            self.evaluate_busy(now, key);
        }
    }

    fn verdict(&self, now: Instant, site: SiteId, key: CallKey) -> Verdict {
        let pace = &self.config.pace;
        let (Some(call), Some(mark)) =
            (self.store.get(key), self.outbound.get(&site).and_then(|site| site.mark(key)))
        else {
            return Verdict::Vetoed(None);
        };
        if call.lock.is_some() {
            return Verdict::CheckedOut;
        }
        if call.unreleased {
            return Verdict::InDoubt;
        }
        if call.is_dormant {
            return Verdict::Settled;
        }
        let is_close = call.at_boundary && call.veto == Some(Veto::CloseRequests);
        let settles = if is_close { CLOSE_SETTLES } else { 1 };
        let settled_at = call.touched_at + pace.settle_for * settles;
        let close_max = pace.settle_for * (2 * CLOSE_SETTLES);
        let bound =
            if is_close { close_max.min(pace.disregarded_max) } else { pace.disregarded_max };
        let forced_at = mark.boundary_since.map(|since| since + bound);
        let may_settle = call.at_boundary && (call.veto.is_none() || is_close);
        let next_at = forced_at.map_or(settled_at, |at| at.min(settled_at));
        if may_settle && settled_at <= now {
            Verdict::Settled
        } else if forced_at.is_some_and(|at| at <= now) {
            Verdict::Forced
        } else if is_close {
            Verdict::Vetoed(Some(next_at))
        } else if may_settle {
            Verdict::Settling(next_at)
        } else {
            Verdict::Vetoed(forced_at)
        }
    }

    fn apply_verdict(&mut self, now: Instant, site: SiteId, key: CallKey, verdict: &Verdict) {
        let body = self.store.get(key).and_then(|call| call.record.as_ref());
        let bytes = body.map_or(0, |record| record.crossing.len()) + ENTRY_BYTES;
        let stage = match *verdict {
            Verdict::CheckedOut | Verdict::InDoubt | Verdict::Vetoed(None) => Stage::Busy,
            Verdict::Settled | Verdict::Forced => Stage::Ready { at: now, bytes },
            Verdict::Settling(at) | Verdict::Vetoed(Some(at)) => Stage::Settling { at },
        };
        self.outbound_mut(site).set_stage(key, stage);
        self.decide(key, verdict.decision());
    }

    /// Looks at the marks whose time has come.
    pub(crate) fn settle(&mut self, now: Instant) {
        let mut last = None;
        while let Some(site) = self.next_outbound(last) {
            last = Some(site);
            while let Some(key) = self.first_settled(now, site) {
                let verdict = self.verdict(now, site, key);
                self.apply_verdict(now, site, key, &verdict);
            }
        }
    }

    fn first_settled(&self, now: Instant, site: SiteId) -> Option<CallKey> {
        let (at, key) = self.outbound.get(&site)?.first_settling()?;
        (at <= now).then_some(key)
    }

    pub(crate) fn send_batches(&mut self, now: Instant) {
        let (limits, pace) = (self.config.limits, self.config.pace);
        let mut last = None;
        while let Some(site) = self.next_outbound(last) {
            last = Some(site);
            let mut again = 0;
            let outbound = self.outbound_mut(site);
            let mut is_shipper_silent = false;
            while let Some((id, is_shipping)) = outbound.first_overdue(now) {
                again += outbound.fail_flight(now, id);
                outbound.not_before = now + pace.retry_after;
                is_shipper_silent |= is_shipping;
            }
            self.counts.hints.sent_again += again;
            if is_shipper_silent {
                self.ships_again_at = now + SHIPPER_PAUSE;
            }
            while self.outbound.get(&site).is_some_and(|outbound| {
                let (bytes, flights) = (limits.batch_bytes_max, limits.batches_in_flight_max);
                outbound.batch_at(pace.batch_after, bytes, flights).is_some_and(|at| at <= now)
            }) {
                self.send_batch(now, site);
            }
        }
    }

    /// Sends one batch, or finds that nothing of what was ready may go after all.
    fn send_batch(&mut self, now: Instant, site: SiteId) {
        let id = self.config.view.number.0 << 32 | (self.batches + 1);
        let (mut entries, mut sent, mut boundaries) = (Vec::new(), Vec::new(), Vec::new());
        let mut raw = 0;
        while let Some(key) = self.first_ready(site) {
            let Some(entry) = self.entry(now, site, key) else {
                continue;
            };
            let bytes = match &entry {
                Entry::Record(record) => record.crossing.len() + ENTRY_BYTES,
                Entry::Tombstone(_) => ENTRY_BYTES,
            };
            if raw > 0 && raw + bytes > self.config.limits.batch_bytes_max {
                break;
            }
            raw += bytes;
            sent.push((key, entry.stamp()));
            entries.push(entry);
            let outbound = self.outbound_mut(site);
            boundaries.extend(outbound.mark(key).and_then(|mark| mark.boundary_since));
            outbound.set_stage(key, Stage::InFlight { batch: id });
            if let Some(call) = self.store.get_mut(key) {
                call.known_elsewhere = true;
            }
        }
        if entries.is_empty() {
            return;
        }
        self.batches += 1;
        let outbound = self.outbound_mut(site);
        outbound.stats.batches += 1;
        outbound.stats.entries += entries.len() as u64;
        let mut flight = Flight {
            due_at: now + self.config.pace.batch_ack_wait,
            sent_at: now,
            entries: sent,
            boundaries,
            shipping: None,
        };
        if let Some(shipper) = self.shipper(now) {
            flight.due_at = now + SHIPPED_WITHIN;
            flight.shipping = Some(Shipping { shipper, is_stored: false });
            self.ship(shipper, site, id, &entries);
        } else {
            let (bytes, raw_bytes) = self.publish(site, id, &entries);
            self.outbound_mut(site).note_bytes(bytes, raw_bytes);
        }
        self.outbound_mut(site).flights.insert(id, flight);
    }

    /// Encodes a batch and gives it to the gate. Its bytes, and before compression.
    pub(crate) fn publish(&mut self, site: SiteId, id: u64, entries: &[Entry]) -> (u64, u64) {
        // A site that has not greeted is not sent anything; one that says nothing reads none.
        let reads = self.sites.get(&site).map_or(0, |status| status.dictionary);
        let batch::Encoded { bytes, raw_bytes } = batch::encode_for(entries, reads);
        let (view, length) = (self.config.view.number, bytes.len() as u64);
        self.tell_gate(GateBound::Publish { site, id, view, bytes });
        (length, raw_bytes)
    }

    fn first_ready(&self, site: SiteId) -> Option<CallKey> {
        self.outbound.get(&site)?.first_ready().map(|(_, key)| key)
    }

    /// The newest version of a ready call. `None` when it may not cross: its mark then waits for
    /// the lock's end, or is gone.
    fn entry(&mut self, now: Instant, site: SiteId, key: CallKey) -> Option<Entry> {
        let outbound = self.outbound.get_mut(&site)?;
        match outbound.mark(key)?.what {
            What::Removal(tombstone) => return Some(Entry::Tombstone(tombstone)),
            What::Record => {}
        }
        if self.store.is_spilled(key) {
            outbound.note_away(key);
            return None;
        }
        let call = self.store.get(key);
        if call.is_some_and(|call| !call.is_released()) {
            outbound.set_stage(key, Stage::Busy);
            self.decide(key, Decision::CheckedOut);
            return None;
        }
        let ours = call.filter(|call| !call.is_stub && !call.is_set_aside()).and_then(|call| {
            let record = call.record.as_ref()?;
            let is_his = record.header.home() == site;
            (call.is_active() || is_his).then(|| self.outgoing(record, call, now))
        });
        if ours.is_none() {
            self.outbound_mut(site).remove(key);
        }
        ours.map(Entry::Record)
    }

    pub(crate) fn batch_stored(&mut self, now: Instant, site: SiteId, id: u64) {
        let Some(outbound) = self.outbound.get_mut(&site) else {
            return;
        };
        // A repeated acknowledgement, or one of a batch that was given up meanwhile.
        let Some(flight) = outbound.flights.get_mut(&id) else {
            return;
        };
        // What is in the batch is known when its sender has said so: that word may come later.
        if let Some(shipping) = &mut flight.shipping {
            shipping.is_stored = true;
            return;
        }
        let Some(flight) = outbound.flights.remove(&id) else {
            return;
        };
        outbound.stats.stored += 1;
        for boundary in flight.boundaries {
            outbound.stats.lags.add(now.since(boundary));
        }
        for member in self.config.view.everybody().skip(1).collect::<Vec<_>>() {
            let calls = flight.entries.clone();
            self.tell_peer(member, tier_protocol::PeerWord::Crossed { site, calls });
        }
        for (key, stamp) in flight.entries {
            let outbound = self.outbound_mut(site);
            if outbound.is_in_flight(key, id) {
                match outbound.remove(key).map(|mark| mark.what) {
                    Some(What::Record) => {
                        self.counts.hints.crossed += 1;
                        self.note_crossed(key, site, stamp);
                        self.void_old_copy(key, site);
                    }
                    Some(What::Removal(_)) | None => {}
                }
            } else {
                let put_at = self.store.get(key).map(|call| call.put_at);
                if let Some(put_at) = put_at {
                    self.outbound_mut(site).set_since(key, put_at);
                }
                self.counts.hints.crossed += 1;
                self.note_crossed(key, site, stamp);
            }
        }
    }

    /// Notes in the header that the site has `stamp`.
    pub(crate) fn note_crossed(&mut self, key: CallKey, site: SiteId, stamp: Stamp) {
        let Some(record) = self.store.get_mut(key).and_then(|call| call.record.as_mut()) else {
            return;
        };
        if stamp.epoch != record.header.stamp.epoch {
            return;
        }
        match record.header.crossed.iter_mut().find(|(known, _)| *known == site) {
            Some((_, crossed)) => *crossed = stamp.max(*crossed),
            None => record.header.crossed.push((site, stamp)),
        }
    }

    pub(crate) fn batch_refused(&mut self, now: Instant, site: SiteId, id: u64) {
        let not_before = now + self.config.pace.retry_after;
        if let Some(outbound) = self.outbound.get_mut(&site) {
            self.counts.hints.sent_again += outbound.fail_flight(now, id);
            outbound.not_before = not_before;
        }
    }

    pub(crate) fn link_down(&mut self, now: Instant, site: SiteId) {
        self.sites.remove(&site);
        self.forget_asks(site);
        if let Some(outbound) = self.outbound.get_mut(&site) {
            outbound.is_alive = false;
            let flights: Vec<u64> = outbound.flights.keys().copied().collect();
            let again: u64 = flights.into_iter().map(|id| outbound.fail_flight(now, id)).sum();
            self.counts.hints.sent_again += again;
        }
    }

    /// Turns the backup over to another site, or off. What is on its way home, and removals, stay.
    pub(crate) fn back_up_to(&mut self, site: Option<SiteId>) {
        if self.config.backup_to == site {
            return;
        }
        if let Some(outbound) = self.config.backup_to.and_then(|old| self.outbound.get_mut(&old)) {
            let marked: Vec<CallKey> = outbound.records().collect();
            for key in marked {
                let call = self.store.brief(key);
                if call.is_some_and(|call| !call.is_dormant && !call.is_stub) {
                    outbound.remove(key);
                }
            }
        }
        self.config.backup_to = site;
        self.swept = None;
        if let Some(site) = site {
            self.begin_bulk(BulkKind::Sweep, site);
        }
    }

    /// A record as it crosses. Its engine named the configured site as the one that keeps the
    /// copies; who gets the call, as it is given away, voids those of the site that really does.
    pub(crate) fn outgoing(&self, record: &Record, call: &Call, now: Instant) -> Record {
        let mut outgoing = record.trimmed();
        outgoing.header.age = call.age(now);
        outgoing.header.backup = self.config.backup_to;
        outgoing
    }
}
