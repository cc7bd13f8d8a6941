//! What crosses between sites, in numbers: one process's part of it.

use std::collections::BTreeMap;

use admin_api::{Inbound, Outbound, StatisticsReply};
use replica::Stats;
use replica::gate::GateStats;
use replica::stats::OutboundStats;
use vocab::{Instant, SiteId};

use super::ms;
use crate::config::Config;
use crate::site::TierSeat;

/// The numbers of a state process. What a partition holds is told by its primary alone, as the
/// other members hold the same.
pub(crate) fn of(config: &Config, seat: &TierSeat, now: Instant) -> StatisticsReply {
    let stats = seat.replica.stats(now);
    let gate = seat.gate.stats(now);
    let own = seat.replica.view().partition.0;
    let map = seat.replica.map();
    let with_calls = map.partitions.iter().filter(|view| !view.members.is_empty());
    let mut partitions: Vec<u16> = with_calls.map(|view| view.partition.0).collect();
    if partitions.is_empty() && stats.view.leads {
        // One that is alone has no map.
        partitions.push(own);
    }
    let outbound = stats.outbound.iter();
    StatisticsReply {
        here: config.site.id,
        backup_to: seat.backup_to(config, now),
        partitions,
        counted: if stats.view.leads { vec![own] } else { Vec::new() },
        gate_counted: gate.is_open,
        outbound: outbound
            .map(|(site, out)| (site.0, self::outbound(&stats, *site, out)))
            .collect(),
        inbound: inbound(&stats, &gate),
    }
}

fn outbound(stats: &Stats, site: SiteId, out: &OutboundStats) -> Outbound {
    let swept = stats.sweeps.get(&site).copied().unwrap_or_default();
    let sent = Outbound {
        sweeps: swept.done,
        sweep_found: swept.found,
        sweep_repaired: swept.repaired,
        batches: out.batches,
        calls: out.entries,
        bytes: out.bytes,
        raw_bytes: out.raw_bytes,
        acknowledged: out.stored,
        refused: out.refused,
        ..Outbound::default()
    };
    if !stats.view.leads {
        return sent;
    }
    Outbound {
        stopped: out.is_stopped,
        at_risk: out.at_risk,
        to_refill: out.behind,
        oldest_ms: ms(out.oldest),
        in_set_up: out.in_set_up,
        removals: out.removals,
        queued: out.ready,
        in_flight: out.in_flight,
        ..sent
    }
}

fn inbound(stats: &Stats, gate: &GateStats) -> BTreeMap<u16, Inbound> {
    let mut all: BTreeMap<u16, Inbound> = BTreeMap::new();
    if stats.view.leads {
        for (site, dormant) in &stats.dormant {
            all.entry(site.0).or_default().dormant = *dormant;
        }
        for (site, came) in &stats.inbound {
            let inbound = all.entry(site.0).or_default();
            (inbound.stored, inbound.stale) = (came.stored, came.stale);
            (inbound.superseded, inbound.no_room) = (came.superseded, came.no_room);
        }
    }
    for (site, batches) in &gate.senders {
        let inbound = all.entry(site.0).or_default();
        (inbound.batches, inbound.batches_waiting) = (batches.stored, batches.waiting);
        inbound.batches_refused = batches.refused;
        inbound.batches_set_aside = batches.set_aside;
    }
    all
}
