//! What a replica tells of itself: numbers, lists, one call's story, a digest.

use std::collections::BTreeSet;

use tier_protocol::{Record, SiteState};
use vocab::{CallKey, Instant};

use crate::Replica;
use crate::agenda::Kind;
use crate::hint::Decision;
use crate::outbound::Outbound;
use crate::spill::hollow::hollow;
use crate::stats::{CallStory, CallSummary, HintStory, LockStory, MarkStory, Stats, ViewStats};
use crate::store::Call;

impl Replica {
    /// The numbers.
    #[must_use]
    pub fn stats(&self, now: Instant) -> Stats {
        let dormant = self.store.dormant_by_home().into_iter();
        let dormant = dormant.map(|(site, count)| (site, count as u64));
        let outbound = self.outbound.iter().map(|(site, outbound)| (*site, outbound.stats(now)));
        Stats {
            up_for: now.since(self.began_at),
            active: self.store.active_len() as u64,
            dormant: dormant.collect(),
            stubs: self.store.stubs as u64,
            bytes: self.store.bytes as u64,
            locks: self.leases.len() as u64,
            handed: self.handed as u64,
            waiters: (self.waiters + self.spilling.waiters()) as u64,
            engines: self.engines.len() as u64,
            tombstones: self.tombs.len() as u64,
            quarantined: self.quarantine.len() as u64,
            quarantined_bytes: self.quarantine.bytes() as u64,
            refills_left: self.refill.len() as u64,
            outbound: outbound.collect(),
            inbound: self.inbound.clone(),
            sweeps: self.sweeps().into_iter().collect(),
            bulk: self.bulk_stats(),
            view: self.view_stats(now),
            spill: self.spill_stats(now),
            counts: self.counts,
        }
    }

    /// Whether the site takes traffic, as the keeper of its gate says.
    #[must_use]
    pub fn is_site_serving(&self) -> bool {
        self.here == Some(SiteState::Serving)
    }

    fn view_stats(&self, now: Instant) -> ViewStats {
        let view = &self.config.view;
        ViewStats {
            number: view.number,
            leads: self.leads(),
            members: view.members.len() as u64,
            joining: view.joining.len() as u64,
            copy: self.copy_stats(),
            is_store_away: self.membership.is_away,
            ordered: self.membership.ordered.map(|ordered| ordered.order),
            short_for: self.short_for(now),
            healed_after: self.membership.healed_after,
        }
    }

    /// A page of the calls held, by rising key, after `cursor`.
    #[must_use]
    pub fn calls(&self, cursor: Option<CallKey>, limit: usize) -> Vec<CallSummary> {
        let page = self.store.keys_after(cursor).take(limit);
        page.filter_map(|key| self.summary(key)).collect()
    }

    /// A page of the calls whose newest state has yet to cross to some site, by rising key, after
    /// `cursor`: those at risk and those in set-up. Calls that are over are not among them.
    #[must_use]
    pub fn marked(&self, cursor: Option<CallKey>, limit: usize) -> Vec<CallKey> {
        let of_site = |outbound| Outbound::records_after(outbound, cursor).take(limit);
        let keys: BTreeSet<CallKey> = self.outbound.values().flat_map(of_site).collect();
        keys.into_iter().take(limit).collect()
    }

    fn summary(&self, key: CallKey) -> Option<CallSummary> {
        if let Some(call) = self.store.get(key) {
            return Some(of_call(key, call));
        }
        let spilled = self.store.spilled.get(key)?;
        Some(CallSummary {
            key,
            stamp: Some(spilled.stamp()),
            origin: Some(spilled.parts().origin),
            is_dormant: spilled.state().is_dormant,
            is_stub: false,
            is_spilled: true,
            locked_by: None,
            bytes: 0,
        })
    }

    /// All that is known of one call.
    #[must_use]
    pub fn get(&self, now: Instant, key: CallKey) -> Option<CallStory> {
        let spilled = self.store.spilled.get(key);
        let hollow = spilled.map(|spilled| hollow(key, spilled, now));
        let call = self.store.get(key).or(hollow.as_ref())?;
        let due_at = spilled.map_or(call.armed.at(Kind::Due), |spilled| spilled.due_at());
        let until = |at: Instant| at.since(now);
        let marks = self.outbound.iter().filter_map(|(site, outbound)| {
            let mark = outbound.mark(key)?;
            let (age, stage) = (now.since(mark.since), mark.stage.told());
            let (is_at_risk, is_in_set_up) = (mark.is_at_risk(), mark.in_set_up);
            Some(MarkStory { site: *site, age, is_at_risk, is_in_set_up, stage })
        });
        Some(CallStory {
            summary: self.summary(key)?,
            header: call.aged(now).filter(|_| spilled.is_none()).map(|record| record.header),
            lock: call.lock.map(|lock| LockStory {
                engine: lock.engine,
                token: lock.token,
                cause: lock.cause,
                lease_left: until(lock.expires_at),
            }),
            waiters: call.waiters.iter().map(|waiter| (waiter.engine, waiter.turn)).collect(),
            unreleased: call.unreleased,
            at_boundary: call.at_boundary,
            has_ended: call.has_ended(),
            broken_locks: call.broken_locks.into(),
            strikes: u32::try_from(self.suspects.count(key)).unwrap_or(u32::MAX),
            is_set_aside: call.is_set_aside(),
            due_in: due_at.map(until),
            activated_from: call.activated_from,
            marks: marks.collect(),
            hints: self.hint_stories(now, key, call),
        })
    }

    fn hint_stories(&self, now: Instant, key: CallKey, call: &Call) -> Vec<HintStory> {
        let sites = self.outbound.keys().filter_map(|site| {
            let (reason, again_at) = self.hint_reason(now, *site, call, key)?;
            let again_in = again_at.map(|at| at.since(now));
            let is_forced = call.decided == Decision::Forced;
            Some(HintStory { site: *site, reason, again_in, is_forced })
        });
        sites.collect()
    }

    /// A page of whole records by rising key, after `cursor`, their ages current. Stubs are among
    /// them; locks, waits and records that are in the database are not.
    #[must_use]
    pub fn copy(&self, now: Instant, cursor: Option<CallKey>, limit: usize) -> Vec<Record> {
        let calls = self.store.keys_after(cursor).filter_map(|key| self.store.get(key));
        calls.filter_map(|call| call.aged(now)).take(limit).collect()
    }
}

fn of_call(key: CallKey, call: &Call) -> CallSummary {
    CallSummary {
        key,
        stamp: call.stamp(),
        origin: call.record.as_ref().map(|record| record.header.origin),
        is_dormant: call.is_dormant,
        is_stub: call.is_stub,
        is_spilled: false,
        locked_by: call.lock.map(|lock| lock.engine),
        bytes: call.counted_bytes as u64,
    }
}
