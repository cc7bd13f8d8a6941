//! Random turns, a database that fails at any point, words that are lost, primaries that are lost:
//! the newest acknowledged put of a call is in memory, or in the row that would be asked for.
//!
//! Looked at after every step, and of every replica of the view. What an engine is granted is never
//! older than what any engine was told is stored.

use std::collections::{BTreeMap, BTreeSet};

use super::rng::Rng;
use super::spill::refused;
use super::spill_pair::Tier;
use super::*;
use crate::{DatabaseWord, PeerNews, Spill, SpillAfter};

impl Rng {
    fn once_in(&mut self, bound: u64) -> bool {
        self.below(bound) == 0
    }
}

struct World {
    tier: Tier,
    rng: Rng,
    holds: BTreeMap<CallKey, (LockToken, Option<Record>)>,
    /// What engines were told is stored.
    newest: BTreeMap<CallKey, Stamp>,
    /// Calls whose removal not everybody has heard of: they may be there or not.
    unsure: BTreeSet<CallKey>,
    is_away: bool,
    next_replica: u64,
    spilled: u64,
    promoted: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let after = SpillAfter::Steady(ms(4_000));
        let tier = Tier::with(Spill { after, answer_wait: ms(3_000), ..Spill::default() });
        Self {
            tier,
            rng: Rng(seed),
            holds: BTreeMap::new(),
            newest: BTreeMap::new(),
            unsure: BTreeSet::new(),
            is_away: false,
            next_replica: 3,
            spilled: 0,
            promoted: 0,
        }
    }

    /// Takes note of what engines were granted.
    fn hear(&mut self) {
        for (from, reply) in std::mem::take(&mut self.tier.replies) {
            let Reply::Granted { key, token, record, .. } = reply else { continue };
            if from != self.tier.primary() {
                continue;
            }
            let held = record.as_ref().map(|record| record.header.stamp);
            if !self.unsure.contains(&key) {
                let newest = self.newest.get(&key).copied();
                assert!(held >= newest, "{key}: granted {held:?}, stored {newest:?}");
            }
            self.holds.insert(key, (token, record));
        }
    }

    fn step(&mut self) {
        let key = key(u8::try_from(self.rng.below(5)).expect("small"));
        match self.rng.below(16) {
            0..=2 => {
                if !self.holds.contains_key(&key)
                    && let Some(_granted) = self.tier.lock(key)
                {}
            }
            3..=5 => self.put(key),
            6 => self.delete(key),
            7..=9 => self.database(),
            10 | 11 => self.word(),
            12 if self.rng.once_in(6) => self.lose_primary(),
            12 => {
                self.is_away = !self.is_away;
                let word = if self.is_away { DatabaseWord::Away } else { DatabaseWord::Back };
                for member in self.tier.all() {
                    self.tier.input(member, Input::Database(word.clone()));
                }
            }
            _ => {
                let time = ms(self.rng.below(6_000));
                let arrives = !self.is_away && self.rng.once_in(3);
                self.tier.pass(time, arrives);
            }
        }
        self.hear();
    }

    fn put(&mut self, key: CallKey) {
        let Some((token, old)) = self.holds.remove(&key) else { return };
        let some = self.tier.all()[usize::from(self.rng.once_in(2))];
        let is_cut = self.rng.once_in(5);
        let (record, is_stored) = self.tier.put(key, token, old, |to| !is_cut || to == some);
        self.hear();
        if is_stored {
            self.newest.insert(key, record.header.stamp);
            self.unsure.remove(&key);
            if !self.rng.once_in(8) {
                self.tier.unlock(key, token);
            }
        }
    }

    fn delete(&mut self, key: CallKey) {
        let Some((token, Some(record))) = self.holds.remove(&key) else { return };
        let all = self.tier.all();
        let some = all[usize::from(self.rng.once_in(2))];
        let is_cut = self.rng.once_in(3);
        self.tier.delete(key, token, record.header.stamp, |to| !is_cut || to == some);
        let stored = self.tier.replies.iter();
        let stored = stored.filter(|(_, reply)| matches!(reply, Reply::Stored { .. })).count();
        if stored == all.len() {
            self.newest.remove(&key);
            self.unsure.remove(&key);
            if self.rng.once_in(6) {
                // Its engine is lost before it says so.
                self.unsure.insert(key);
            } else {
                self.tier.unlock(key, token);
            }
        } else if stored > 0 {
            self.unsure.insert(key);
        }
    }

    /// The database does one thing of what it was asked, or fails before or after it.
    fn database(&mut self) {
        let Some((of, ask)) = self.tier.asks.pop_front() else { return };
        let refusal = refused(&ask);
        let answer = match self.rng.below(if self.is_away { 2 } else { 8 }) {
            0 => Some(refusal),
            1 => self.tier.disk.carry_out(self.tier.now, ask).map(|_| refusal),
            2 => {
                self.tier.disk.carry_out(self.tier.now, ask);
                None
            }
            _ => self.tier.disk.carry_out(self.tier.now, ask),
        };
        if let Some(word) = answer {
            self.tier.input(of, Input::Database(word));
        }
    }

    /// A word between replicas arrives, or is lost.
    fn word(&mut self) {
        let Some((from, to, word)) = self.tier.words.pop_front() else { return };
        if !self.rng.once_in(6) {
            self.tier.input(to, Input::Peer { replica: from, news: PeerNews::Said(word) });
        }
    }

    fn lose_primary(&mut self) {
        self.holds.clear();
        self.promoted += 1;
        self.tier.lose_primary();
        self.hear();
        if self.is_away {
            self.tell_back();
        }
        self.tier.join(ReplicaId(self.next_replica));
        self.next_replica += 1;
    }

    fn tell_back(&mut self) {
        self.is_away = false;
        for member in self.tier.all() {
            self.tier.input(member, Input::Database(DatabaseWord::Back));
        }
    }

    fn check(&mut self) {
        let primary = self.tier.primary();
        self.spilled = self.spilled.max(self.tier.spilled(primary));
        for (of, replica) in &self.tier.replicas {
            for number in 0..5 {
                let key = key(number);
                let held = replica.store.stamp(key);
                if replica.store.is_spilled(key) {
                    let row = self.tier.disk.rows.get(&key).map(|row| row.stamp);
                    assert!(row >= held, "{of} would look for {key} in vain");
                }
                if !self.unsure.contains(&key) {
                    let newest = self.newest.get(&key).copied();
                    assert!(held >= newest, "{of} has {held:?} of {key}, not {newest:?}");
                }
            }
        }
        assert_eq!(self.tier.lost(), 0);
    }

    /// Nothing fails any more.
    fn heal(&mut self) {
        self.tell_back();
        for _ in 0..40 {
            self.tier.pass(ms(3_000), true);
            self.hear();
            // A member that heard of an end takes no repair below it: the next put settles it.
            for key in self.unsure.iter().copied().collect::<Vec<_>>() {
                self.tier.lock(key);
                self.hear();
            }
            for key in self.holds.keys().copied().collect::<Vec<_>>() {
                let Some((token, old)) = self.holds.remove(&key) else { continue };
                if old.is_none() && !self.newest.contains_key(&key) {
                    self.tier.unlock(key, token);
                    continue;
                }
                let (record, is_stored) = self.tier.put(key, token, old, |_| true);
                self.hear();
                if is_stored {
                    self.unsure.remove(&key);
                    self.newest.insert(key, record.header.stamp);
                    self.tier.unlock(key, token);
                }
            }
            self.check();
        }
        let digests: BTreeSet<u64> = self.tier.replicas.values().map(Replica::digest).collect();
        assert_eq!(digests.len(), 1, "replicas are alike");
        for replica in self.tier.replicas.values() {
            let stats = replica.stats(self.tier.now);
            assert_eq!((stats.active, stats.spill.calls), (stats.active, stats.active));
            assert_eq!((stats.waiters, stats.locks, stats.bytes), (0, 0, 0));
        }
    }
}

#[test]
fn the_newest_put_is_in_memory_or_in_the_row_that_is_asked_for() {
    let (mut spilled, mut promoted) = (0, 0);
    for seed in 1..=120_u64 {
        let mut world = World::new(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed));
        for _ in 0..500 {
            world.step();
            world.check();
        }
        world.heal();
        spilled += world.spilled;
        promoted += world.promoted;
    }
    assert!(spilled > 200 && promoted > 200, "too little happened: {spilled}, {promoted}");
}
