//! A site's inbound path under a storm of deliveries: each batch again and again, out of order,
//! and long after it was overtaken.
//!
//! The cores of production stand in a row, as in a process: the gate's queue, an engine that takes
//! batches off it, and a replica that stores them. Links break and engines die on the way. Whatever
//! came how often and when, the replica must hold in the end what one delivery of each batch in
//! order gives: the newest version of each call, and nothing of those that ended.

use std::collections::BTreeMap;
use std::time::Duration;

use engine::Engine;
use replica::Replica;
use replica::gate::{Gate, GateConfig, GateInput, GateOutput};
use sip_message::Bytes;
use tier_protocol::{
    EngineWord, Entry, GateWord, Hint, PartitionView, Record, RecordHeader, SiteState, SiteWord,
    Tombstone, batch, dictionary,
};
use vocab::{
    CallKey, EngineId, Epoch, Instant, LockToken, PartitionId, ReplicaId, SiteId, Stamp, Version,
    ViewNumber,
};

use crate::rng::Rng;
use crate::site::{SESSION, setting};

const HERE: SiteId = SiteId(2);
const PARTITION: PartitionId = PartitionId(0);
const REPLICA: ReplicaId = ReplicaId(1);
/// How far a delivery may be from its place.
const WINDOW: u64 = 1_000;
/// Entries of a batch.
const ENTRIES_MAX: u64 = 8;

/// What a storm came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Storm {
    /// Entries of batches that were delivered, repetitions among them.
    pub deliveries: u64,
    /// Of those, entries that were older than what was held, or of a call that had ended.
    pub stale: u64,
    /// Times that the link between the sites broke, and that an engine died.
    pub breaks: [u64; 2],
    /// Calls, and of those, calls that ended.
    pub calls: [u64; 2],
    /// Calls that two sites wrote, with the same version numbers and other content.
    pub written_twice: u64,
}

/// What one site sent: its batches in order, and how many entries each has.
struct Sent {
    site: SiteId,
    batches: Vec<(Bytes, u64)>,
}

/// What is held of each call, without its age.
type Held = BTreeMap<CallKey, (Stamp, bool, Bytes)>;

/// Delivers about so many entries in a storm, and compares with one delivery of each in order.
///
/// # Errors
/// What differs.
pub fn run(seed: u64, deliveries: u64) -> Result<Storm, String> {
    let mut rng = Rng::new(seed);
    let mut storm = Storm::default();
    // Each batch comes ten times or so, as itself or as a repetition.
    let calls = (deliveries / 200).max(20);
    let sent = [SiteId(1), SiteId(3)].map(|site| write(&mut rng.fork(), site, calls, &mut storm));
    let mut calm = Inbound::new();
    for of in &sent {
        for index in 0..of.batches.len() {
            calm.deliver(of, index);
        }
    }
    calm.drain_queue();
    let wanted = calm.held();
    let mut site = Inbound::new();
    for (of, index) in weather(&mut rng, &sent, deliveries) {
        storm.deliveries += sent[of].batches[index].1;
        site.deliver(&sent[of], index);
        match rng.below(2_000) {
            0 => site.break_link(&mut storm, sent[of].site),
            1 | 2 => site.kill_engine(&mut storm),
            _ => {}
        }
    }
    site.drain_queue();
    storm.stale = site.replica.stats(site.now).counts.in_stale;
    let held = site.held();
    if held == wanted {
        return Ok(storm);
    }
    let differs = wanted.keys().chain(held.keys()).find(|key| wanted.get(key) != held.get(key));
    Err(match differs {
        Some(key) => format!("{key}: {:?}, not {:?}", held.get(key), wanted.get(key)),
        None => "nothing differs".to_owned(),
    })
}

/// The order of deliveries: each at least once, near its place, and old ones at any time.
fn weather(rng: &mut Rng, sent: &[Sent; 2], deliveries: u64) -> Vec<(usize, usize)> {
    let all = sent.iter().enumerate();
    let all: Vec<(usize, usize)> =
        all.flat_map(|(of, sent)| (0..sent.batches.len()).map(move |index| (of, index))).collect();
    let mut placed = Vec::new();
    let mut entries = 0;
    for (of, index) in &all {
        for _ in 0..1 + rng.below(5) {
            let place = *index as u64 * 2 + rng.below(WINDOW);
            placed.push((place, rng.next(), *of, *index));
            entries += sent[*of].batches[*index].1;
        }
    }
    let last = all.len() as u64 + WINDOW;
    while entries < deliveries {
        let (of, index) = all[usize::try_from(rng.below(all.len() as u64)).unwrap_or(0)];
        // Stale: anywhere behind its place, after the call's end too.
        let place = index as u64 * 2 + rng.below(last * 2);
        placed.push((place, rng.next(), of, index));
        entries += sent[of].batches[index].1;
    }
    placed.sort_unstable();
    placed.into_iter().map(|(_, _, of, index)| (of, index)).collect()
}

fn key(number: u64) -> CallKey {
    let mut key = [0; 16];
    // Any bytes will do, as long as no two calls have the same.
    key[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    key[8..].copy_from_slice(&number.to_be_bytes());
    CallKey(key)
}

/// What a site writes of its calls: versions that rise, a few homes, and an end. Every eighth call
/// is one that site 3 writes too, in epochs of the same numbers, as behind a cut.
fn write(rng: &mut Rng, site: SiteId, calls: u64, storm: &mut Storm) -> Sent {
    let mut entries = Vec::new();
    for call in 0..calls {
        let is_shared = call.is_multiple_of(8);
        if site == SiteId(3) && !is_shared {
            continue;
        }
        let ends = rng.chance(500) && !is_shared;
        if site == SiteId(1) {
            storm.calls[0] += 1;
            storm.calls[1] += u64::from(ends);
        } else {
            storm.written_twice += 1;
        }
        let (mut n, versions) = (65_536, 4 + rng.below(30));
        let begins = rng.below(calls * 16);
        for version in 1..=versions {
            if rng.chance(60) {
                n += 2;
            }
            let epoch = Epoch { n: if is_shared { 65_536 } else { n }, site };
            let token = LockToken { view: ViewNumber(1), counter: version };
            let stamp = Stamp { epoch, token, version: Version(version) };
            let at = begins + version * (1 + rng.below(40));
            entries.push((at, call, version, Entry::Record(record(key(call), stamp))));
            if ends && version == versions {
                let stamp = Stamp { version: Version(version + 1), ..stamp };
                let tombstone = Tombstone { key: key(call), stamp };
                entries.push((at, call, version + 1, Entry::Tombstone(tombstone)));
            }
        }
    }
    entries.sort_by_key(|(at, call, version, _)| (*at, *call, *version));
    let mut batches = Vec::new();
    let mut entries = entries.into_iter().map(|(_, _, _, entry)| entry).peekable();
    while entries.peek().is_some() {
        let size = usize::try_from(1 + rng.below(ENTRIES_MAX)).unwrap_or(1);
        // Versions of one call within a batch are in order.
        let taken: Vec<Entry> = entries.by_ref().take(size).collect();
        batches.push((batch::encode_for(&taken, dictionary::NEWEST).bytes, taken.len() as u64));
    }
    Sent { site, batches }
}

fn record(key: CallKey, stamp: Stamp) -> Record {
    let text = format!("{key} at {stamp:?}");
    let header = RecordHeader {
        key,
        stamp,
        origin: SiteId(1),
        backup: Some(HERE),
        schema: 1,
        age: Duration::ZERO,
        deadline: None,
        crossing_deadline: Some(Duration::from_secs(3_600)),
        hints: vec![(0, Hint::Steady)],
        crossed: Vec::new(),
    };
    Record { header, crossing: Bytes::from(text), local: Bytes::new() }
}

/// The inbound path of a site.
struct Inbound {
    now: Instant,
    gate: Gate,
    replica: Replica,
    engine: Engine,
    id: EngineId,
    batches: u64,
    offered: u64,
}

impl Inbound {
    fn new() -> Self {
        let now = Instant(1_000_000_000);
        let view = PartitionView::alone(PARTITION, ViewNumber(1), REPLICA);
        let config = replica::Config {
            here: HERE,
            partition: PARTITION,
            replica: REPLICA,
            view,
            shared: None,
            backup_to: None,
            limits: replica::Limits::default(),
            pace: replica::Pace::default(),
            spill: None,
        };
        let gate = GateConfig::new(HERE, 1, vec![PARTITION], vec![SiteId(1), SiteId(3)]);
        let id = EngineId(1);
        let mut site = Self {
            now,
            gate: Gate::new(now, gate),
            replica: Replica::new(now, config),
            engine: engine(now, id),
            id,
            batches: 0,
            offered: 0,
        };
        site.gate(GateInput::QueueLoaded(Vec::new()));
        site.admit_engine();
        for other in [SiteId(1), SiteId(3)] {
            site.link(other);
        }
        site
    }

    fn link(&mut self, site: SiteId) {
        self.gate(GateInput::LinkUp { site });
        let word = SiteWord::Hello {
            site,
            start: 1,
            state: SiteState::Serving,
            dictionary: dictionary::NEWEST,
            course: tier_protocol::Course::default(),
        };
        self.gate(GateInput::FromSite { site, word });
    }

    fn admit_engine(&mut self) {
        let engine = self.id;
        self.replica(replica::Input::EngineUp { engine });
        self.gate(GateInput::EngineUp { engine, dictionary: dictionary::NEWEST });
    }

    /// A batch comes; under a number of its own, as its sender has given up the one before.
    fn deliver(&mut self, sent: &Sent, index: usize) {
        self.now = self.now + Duration::from_micros(10);
        self.batches += 1;
        let (id, bytes) = (self.batches, sent.batches[index].0.clone());
        let word = SiteWord::Batch { id, partition: PARTITION, view: ViewNumber(1), bytes };
        self.gate(GateInput::FromSite { site: sent.site, word });
    }

    fn break_link(&mut self, storm: &mut Storm, site: SiteId) {
        storm.breaks[0] += 1;
        self.gate(GateInput::LinkDown { site });
        self.link(site);
    }

    /// What it had is offered again, to the next one.
    fn kill_engine(&mut self, storm: &mut Storm) {
        storm.breaks[1] += 1;
        let engine = self.id;
        self.id = EngineId(self.id.0 + 1);
        self.engine = self::engine(self.now, self.id);
        self.replica(replica::Input::EngineDown { engine });
        self.gate(GateInput::EngineDown { engine });
        self.admit_engine();
    }

    /// Lets leases and deferrals pass until nothing waits.
    fn drain_queue(&mut self) {
        for _ in 0..100 {
            let stats = self.gate.stats(self.now);
            if stats.inbox_waiting + stats.inbox_offered == 0 {
                return;
            }
            self.now = self.now + Duration::from_secs(1);
            self.gate(GateInput::Wake);
        }
    }

    fn held(&self) -> Held {
        let records = self.replica.copy(self.now, None, usize::MAX);
        let held = records.into_iter().map(|record| {
            let lines = self.replica.get(self.now, record.header.key);
            let sleeps = lines.is_some_and(|story| story.summary.is_dormant);
            (record.header.key, (record.header.stamp, sleeps, record.crossing))
        });
        held.collect()
    }

    fn gate(&mut self, input: GateInput) {
        self.gate.handle_input(self.now, input);
        loop {
            match self.gate.poll_output() {
                GateOutput::ToEngine { engine, word } if engine == self.id => {
                    self.offered += u64::from(matches!(word, GateWord::Batch { .. }));
                    self.engine(engine::Input::Gate(word));
                }
                GateOutput::ToReplica { input, .. } | GateOutput::ToReplicas(input) => {
                    self.replica(replica::Input::Site(input));
                }
                GateOutput::QueueAppend { batch } => {
                    let row = batch.row;
                    self.gate.handle_input(self.now, GateInput::QueueAppended { row });
                }
                GateOutput::ToEngine { .. }
                | GateOutput::ToSite { .. }
                | GateOutput::QueueRemove { .. }
                | GateOutput::QueueSetAside { .. }
                | GateOutput::Open
                | GateOutput::Close => {}
                GateOutput::WakeAt(..) => return,
            }
        }
    }

    fn engine(&mut self, input: engine::Input) {
        self.engine.handle_input(self.now, input);
        let mut words: Vec<EngineWord> = Vec::new();
        loop {
            match self.engine.poll_output() {
                engine::Output::Command { command, .. } => {
                    let engine = self.id;
                    self.replica(replica::Input::Command { engine, command });
                }
                engine::Output::Gate(word) => words.push(word),
                engine::Output::Transmit { .. } | engine::Output::Bounce { .. } => {}
                engine::Output::WakeAt(..) => break,
            }
        }
        for word in words {
            self.gate.handle_input(self.now, GateInput::FromEngine { engine: self.id, word });
        }
    }

    fn replica(&mut self, input: replica::Input) {
        self.replica.handle_input(self.now, input);
        let mut replies = Vec::new();
        loop {
            match self.replica.poll_output() {
                replica::Output::Reply { view, reply, .. } => replies.push((view, reply)),
                replica::Output::WakeAt(..) => break,
                replica::Output::Gate(_)
                | replica::Output::Peer { .. }
                | replica::Output::Store(_)
                | replica::Output::Database(_)
                | replica::Output::Map(_)
                | replica::Output::Dropped { .. }
                | replica::Output::Expelled => {}
            }
        }
        for (view, reply) in replies {
            self.engine.handle_input(self.now, engine::Input::Reply { from: REPLICA, view, reply });
        }
    }
}

fn engine(now: Instant, id: EngineId) -> Engine {
    let config = engine::Config {
        here: HERE,
        engine: id,
        start: 1,
        backup: None,
        views: vec![PartitionView::alone(PARTITION, ViewNumber(1), REPLICA)],
        setting: setting(HERE, SESSION),
        limits: engine::Limits::default(),
    };
    Engine::new(now, config)
}

#[cfg(test)]
mod tests {
    use super::run;

    #[test]
    fn d23_d24_d25_a_storm_of_deliveries_changes_no_result() {
        for seed in 0..3 {
            let storm = run(seed, 30_000).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
            assert!(storm.deliveries >= 30_000, "{storm:?}");
            // Most of them say what is known, and some what has ended.
            assert!(storm.stale > storm.deliveries / 4, "{storm:?}");
            assert!(storm.breaks[0] > 0 && storm.breaks[1] > 0, "{storm:?}");
            assert!(storm.calls[1] > 0 && storm.written_twice > 0, "{storm:?}");
        }
    }
}
