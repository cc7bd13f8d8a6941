//! Random engines and sites against one replica; what must hold after every input.
//!
//! The engines remember what they were told. At most one believes that it holds a call's newest
//! token; what was stored is held until something newer is; when all quiets down nothing is
//! locked, nobody waits, no effect is unreleased, and the other site has what is held here.

use std::collections::{BTreeMap, BTreeSet};

use super::rng::Rng;
use super::*;

#[derive(Clone)]
struct Hold {
    engine: EngineId,
    token: LockToken,
    record: Option<Record>,
}

struct World {
    bench: Bench,
    rng: Rng,
    up: BTreeSet<EngineId>,
    next_engine: u64,
    /// What each engine that is up believes to hold.
    holds: BTreeMap<CallKey, Hold>,
    newest: BTreeMap<CallKey, Stamp>,
    /// Calls that were handed to be ended.
    sentenced: BTreeSet<CallKey>,
    /// What the other site has on disk.
    there: BTreeMap<CallKey, Stamp>,
    flying: Vec<(u64, Vec<(CallKey, Stamp)>)>,
    is_alive: bool,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut bench = Bench::new();
        bench.alive(&[THERE]);
        Self {
            bench,
            rng: Rng(seed),
            up: BTreeSet::from([A]),
            next_engine: 2,
            holds: BTreeMap::new(),
            newest: BTreeMap::new(),
            sentenced: BTreeSet::new(),
            there: BTreeMap::new(),
            flying: Vec::new(),
            is_alive: true,
        }
    }

    fn hear(&mut self, said: &[Output]) {
        for (engine, key, token, cause, record, _) in grants(said) {
            assert!(self.up.contains(&engine), "a grant to a dead engine");
            if cause == Cause::Quarantined {
                // Whatever its engine does, it may go without another word.
                self.newest.remove(&key);
                self.sentenced.insert(key);
            }
            if let Some(hold) = self.holds.get(&key) {
                assert!(hold.token < token, "tokens grow");
            }
            let held = record.as_ref().map(|record| record.header.stamp);
            assert!(held >= self.newest.get(&key).copied().filter(|_| held.is_some()));
            self.holds.insert(key, Hold { engine, token, record });
        }
        for (_, id, entries) in batches(said) {
            let stamps = entries.iter().map(|entry| (entry.key(), entry.stamp())).collect();
            self.flying.push((id, stamps));
        }
    }

    fn engine(&mut self) -> Option<EngineId> {
        let count = self.up.len() as u64;
        let at = self.rng.below(count.max(1));
        self.up.iter().nth(usize::try_from(at).expect("small")).copied()
    }

    fn step(&mut self) {
        self.bench.said.clear();
        let key = key(u8::try_from(self.rng.below(6)).expect("small"));
        match self.rng.below(12) {
            0 | 1 => {
                let Some(engine) = self.engine() else { return };
                let begins = self.rng.below(3) > 0;
                self.bench.ask(engine, key, begins);
            }
            2..=4 => self.put(key),
            5 | 6 => self.release(key),
            7 => {
                let (engine, is_new) = match self.engine() {
                    Some(engine) if self.rng.below(8) == 0 => (engine, false),
                    _ if self.up.len() < 3 => (EngineId(self.next_engine), true),
                    _ => return,
                };
                if is_new {
                    self.next_engine += 1;
                    self.up.insert(engine);
                    self.bench.input(Input::EngineUp { engine });
                } else {
                    self.up.remove(&engine);
                    self.holds.retain(|_, hold| hold.engine != engine);
                    self.bench.input(Input::EngineDown { engine });
                }
            }
            8 => self.acknowledge(),
            9 => {
                self.is_alive = !self.is_alive;
                if self.is_alive {
                    self.bench.alive(&[THERE]);
                } else {
                    self.flying.clear();
                    self.bench
                        .site(SiteInput::LinkDown { view: ViewNumber::default(), site: THERE });
                    self.bench.alive(&[]);
                }
            }
            _ => {
                let time = ms(self.rng.below(3_000));
                let said = self.bench.pass(time);
                self.hear(&said);
                return;
            }
        }
        let said = self.bench.said.clone();
        self.hear(&said);
    }

    fn put(&mut self, key: CallKey) {
        let Some(hold) = self.holds.get(&key).cloned() else { return };
        let Hold { engine, token, record: old, .. } = hold;
        let base = old.as_ref().map(|record| record.header.stamp);
        let epoch = base.map_or(Epoch::of_start(HERE, 1), |base| base.epoch);
        let version = Version(base.map_or(1, |base| base.version.0 + 1));
        let stamp = Stamp { epoch, token, version };
        let mut next = record(key, stamp, HERE);
        next.header.deadline = (self.rng.below(2) == 0).then(|| ms(500 + self.rng.below(9_000)));
        let boundary = self.rng.below(2) == 0;
        let unreleased = self.rng.below(2) == 0;
        let ended = self.rng.below(4) == 0;
        let flags = PutFlags { boundary, unreleased, ended, ..PutFlags::default() };
        let command = Command::Put { view: VIEW, record: next.clone(), base, flags };
        match self.bench.command(engine, command).as_slice() {
            [Reply::Stored { .. }] => {
                self.newest.insert(key, stamp);
                let hold = self.holds.get_mut(&key).expect("held");
                hold.record = Some(next);
            }
            // The lease was over.
            [Reply::Refused { why: Refusal::OldToken, .. }] => {
                self.holds.remove(&key);
            }
            other => panic!("{other:?}"),
        }
    }

    fn release(&mut self, key: CallKey) {
        let Some(hold) = self.holds.remove(&key) else { return };
        let Hold { engine, token, record, .. } = hold;
        match record {
            Some(record) if self.rng.below(6) == 0 => {
                let base = record.header.stamp;
                let stamp = Stamp { token, version: Version(base.version.0 + 1), ..base };
                let tombstone = Tombstone { key, stamp };
                let command = Command::Delete { view: VIEW, tombstone, base };
                if matches!(self.bench.command(engine, command)[0], Reply::Stored { .. }) {
                    self.newest.remove(&key);
                }
            }
            _ => {
                self.bench.unlock(engine, key, token);
            }
        }
    }

    fn acknowledge(&mut self) {
        if self.flying.is_empty() || !self.is_alive {
            self.bench.input(Input::Wake);
            return;
        }
        let at = self.rng.below(self.flying.len() as u64);
        let (id, entries) = self.flying.remove(usize::try_from(at).expect("small"));
        for (key, stamp) in entries {
            let there = self.there.entry(key).or_insert(stamp);
            *there = stamp.max(*there);
        }
        self.bench.site(SiteInput::BatchStored { site: THERE, id });
    }

    fn check(&mut self) {
        let gone = |key: &CallKey| self.sentenced.contains(key) && self.bench.held(*key).is_none();
        let gone: Vec<CallKey> = self.newest.keys().copied().filter(gone).collect();
        for key in gone {
            self.newest.remove(&key);
            self.sentenced.remove(&key);
        }
        for (key, stamp) in &self.newest {
            assert_eq!(self.bench.held(*key), Some(*stamp), "what was stored is held");
        }
        let stats = self.bench.replica.stats(self.bench.now);
        assert!(stats.locks <= 6);
        let outbound = &stats.outbound.get(&THERE).cloned().unwrap_or_default();
        assert!(outbound.at_risk <= 6 && outbound.in_flight <= 4);
    }

    /// Everybody behaves: every call comes to a boundary and is unlocked.
    fn settle(&mut self) {
        if self.up.is_empty() {
            self.up.insert(EngineId(100));
            self.bench.input(Input::EngineUp { engine: EngineId(100) });
            let said = self.bench.said.clone();
            self.hear(&said);
        }
        self.is_alive = true;
        self.bench.alive(&[THERE]);
        let said = self.bench.said.clone();
        self.hear(&said);
        for _ in 0..200 {
            let held: Vec<CallKey> = self.holds.keys().copied().collect();
            for key in held {
                let Some(Hold { engine, token, record: old, .. }) = self.holds.remove(&key) else {
                    continue;
                };
                if let Some(old) = old {
                    let version = Version(old.header.stamp.version.0 + 1);
                    let stamp = Stamp { token, version, ..old.header.stamp };
                    let next = record(key, stamp, HERE);
                    let base = Some(old.header.stamp);
                    let command = Command::Put { view: VIEW, record: next, base, flags: BOUNDARY };
                    let replies = self.bench.command(engine, command);
                    if matches!(replies[0], Reply::Stored { .. }) {
                        self.newest.insert(key, stamp);
                    }
                }
                self.bench.unlock(engine, key, token);
                let said = self.bench.said.clone();
                self.hear(&said);
            }
            while !self.flying.is_empty() {
                self.acknowledge();
                let said = self.bench.said.clone();
                self.hear(&said);
            }
            let said = self.bench.pass(ms(1_000));
            self.hear(&said);
        }
    }

    fn check_quiet(&self) {
        let stats = self.bench.replica.stats(self.bench.now);
        assert_eq!((stats.locks, stats.waiters, stats.handed), (0, 0, 0));
        for (key, stamp) in &self.newest {
            let story = self.bench.replica.get(self.bench.now, *key).expect("held");
            assert!(!story.unreleased, "{key}");
            if story.is_set_aside {
                continue;
            }
            if story.has_ended {
                assert_eq!(story.marks, [], "whoever knew it was told");
            } else if story.at_boundary {
                assert_eq!(self.there.get(key), Some(stamp), "{story:?}");
            }
        }
        assert_eq!(stats.active as usize, self.newest.len());
        assert_eq!(stats.outbound.get(&THERE).map_or(0, |site| site.removals), 0);
    }
}

#[test]
fn nothing_stored_is_lost_and_everything_quiets_down() {
    for seed in 1..=60_u64 {
        let mut world = World::new(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed));
        for _ in 0..600 {
            world.step();
            world.check();
        }
        world.settle();
        world.check_quiet();
    }
}

#[test]
fn the_same_inputs_give_the_same_outputs() {
    let run = |seed: u64| {
        let mut world = World::new(seed);
        let mut all = String::new();
        for _ in 0..300 {
            world.step();
            all.push_str(&format!("{:?}{:?}", world.bench.said, world.bench.wake));
        }
        all
    };
    assert_eq!(run(12_345), run(12_345));
}
