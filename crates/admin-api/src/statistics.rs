//! What crosses between sites, in numbers: `/v1/statistics`.
//!
//! A site of several state processes has its numbers in all of them: each answers for its own
//! partition, and who keeps the site's gate for the batches that come in. [`StatisticsReply::add`]
//! makes one answer of several.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Answer to `GET /v1/statistics`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StatisticsReply {
    /// This site.
    pub here: u16,
    /// The site that keeps this site's dormant copies.
    pub backup_to: Option<u16>,
    /// The site's partitions.
    pub partitions: Vec<u16>,
    /// Of these, the ones whose primary answered: what is held of a partition is counted there.
    pub counted: Vec<u16>,
    /// Whether the process that keeps the site's gate answered: batches that come in are counted
    /// there.
    pub gate_counted: bool,
    /// What is sent, by receiving site.
    pub outbound: BTreeMap<u16, Outbound>,
    /// What is received and kept, by the site that it is of.
    pub inbound: BTreeMap<u16, Inbound>,
}

/// What has yet to reach one site, and what did. Counters are since the processes started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Outbound {
    /// An operator stopped the sending.
    pub stopped: bool,
    /// Answered calls whose newest state is not there yet: they would be lost, or set back, now.
    pub at_risk: u64,
    /// For how long the oldest of them is one.
    pub oldest_ms: u64,
    /// Of those, calls that the site has lost, as it began anew, and that wait for their turn.
    pub to_refill: u64,
    /// Calls that are being set up: no other site could resume them.
    pub in_set_up: u64,
    /// Removals that are not there yet.
    pub removals: u64,
    /// Calls and removals that wait for a batch.
    pub queued: u64,
    /// Batches that are not acknowledged yet.
    pub in_flight: u64,
    /// Batches sent.
    pub batches: u64,
    /// Call states and removals in them.
    pub calls: u64,
    /// Bytes of them, compressed.
    pub bytes: u64,
    /// The same before compression.
    pub raw_bytes: u64,
    /// Batches that the other site has on its queue.
    pub acknowledged: u64,
    /// Batches refused, lost with a link, or not acknowledged in time; their calls are sent again.
    pub refused: u64,
    /// Sweeps of the copies there that came to their end, of each partition.
    pub sweeps: u64,
    /// Calls that a sweep found older there, or absent.
    pub sweep_found: u64,
    /// Of those, calls that have crossed since, or ended.
    pub sweep_repaired: u64,
}

/// What came from one site, or is kept for it. Counters are since the processes started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Inbound {
    /// Dormant calls of that home.
    pub dormant: u64,
    /// Call states and removals that were stored, or were held already.
    pub stored: u64,
    /// Call states and removals that were older than what is held.
    pub stale: u64,
    /// Call states and removals of a lower epoch than what is held: that site gives the calls up.
    pub superseded: u64,
    /// Call states for which there was no room; they come again.
    pub no_room: u64,
    /// Batches received.
    pub batches: u64,
    /// Batches that wait on this site's queue.
    pub batches_waiting: u64,
    /// Batches refused.
    pub batches_refused: u64,
    /// Batches that could not be read, set aside to be looked at.
    pub batches_set_aside: u64,
}

impl StatisticsReply {
    /// Takes in what another process of the same site answered.
    pub fn add(&mut self, other: &Self) {
        for (all, more) in
            [(&mut self.partitions, &other.partitions), (&mut self.counted, &other.counted)]
        {
            all.extend(more);
            all.sort_unstable();
            all.dedup();
        }
        self.gate_counted |= other.gate_counted;
        for (site, more) in &other.outbound {
            self.outbound.entry(*site).or_default().add(more);
        }
        for (site, more) in &other.inbound {
            self.inbound.entry(*site).or_default().add(more);
        }
    }

    /// The partitions that nobody answered for.
    #[must_use]
    pub fn missing(&self) -> Vec<u16> {
        let missing = self.partitions.iter().filter(|one| !self.counted.contains(one));
        missing.copied().collect()
    }
}

impl Outbound {
    fn add(&mut self, other: &Self) {
        self.stopped |= other.stopped;
        self.oldest_ms = self.oldest_ms.max(other.oldest_ms);
        self.at_risk += other.at_risk;
        self.to_refill += other.to_refill;
        self.in_set_up += other.in_set_up;
        self.removals += other.removals;
        self.queued += other.queued;
        self.in_flight += other.in_flight;
        self.batches += other.batches;
        self.calls += other.calls;
        self.bytes += other.bytes;
        self.raw_bytes += other.raw_bytes;
        self.acknowledged += other.acknowledged;
        self.refused += other.refused;
        self.sweeps += other.sweeps;
        self.sweep_found += other.sweep_found;
        self.sweep_repaired += other.sweep_repaired;
    }
}

impl Inbound {
    fn add(&mut self, other: &Self) {
        self.dormant += other.dormant;
        self.stored += other.stored;
        self.stale += other.stale;
        self.superseded += other.superseded;
        self.no_room += other.no_room;
        self.batches += other.batches;
        self.batches_waiting += other.batches_waiting;
        self.batches_refused += other.batches_refused;
        self.batches_set_aside += other.batches_set_aside;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(partition: u16, at_risk: u64, oldest_ms: u64) -> StatisticsReply {
        let outbound = Outbound { at_risk, oldest_ms, ..Outbound::default() };
        StatisticsReply {
            here: 1,
            partitions: vec![0, 1, 2],
            counted: vec![partition],
            outbound: [(2, outbound)].into(),
            inbound: [(2, Inbound { dormant: 10, ..Inbound::default() })].into(),
            ..StatisticsReply::default()
        }
    }

    #[test]
    fn answers_of_several_processes_make_one() {
        let mut all = of(1, 3, 20);
        all.add(&of(0, 4, 7));
        assert_eq!((all.outbound[&2].at_risk, all.outbound[&2].oldest_ms), (7, 20));
        assert_eq!(all.inbound[&2].dormant, 20);
        assert_eq!((all.counted.clone(), all.missing()), (vec![0, 1], vec![2]));
        assert!(!all.gate_counted);
    }
}
