//! Several replicas and one database: who lets go of what, and who can have it back.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::spill::Disk;
use super::*;
use crate::{PeerNews, Spill, StoreWord, outside};
use tier_protocol::{PeerWord, SiteMap, SlotSet, Strike, StrikeKind};

pub(super) const FIRST: ReplicaId = ReplicaId(1);
pub(super) const SECOND: ReplicaId = ReplicaId(2);
const THIRD_ONE: ReplicaId = ReplicaId(3);

/// Replicas of one partition, wired by hand.
pub(super) struct Tier {
    pub(super) now: Instant,
    pub(super) replicas: BTreeMap<ReplicaId, Replica>,
    wakes: BTreeMap<ReplicaId, Instant>,
    view: PartitionView,
    /// Words between replicas that have not arrived.
    pub(super) words: VecDeque<(ReplicaId, ReplicaId, PeerWord)>,
    /// What the database has yet to do.
    pub(super) asks: VecDeque<(ReplicaId, DatabaseAsk)>,
    pub(super) disk: Disk,
    pub(super) replies: Vec<(ReplicaId, Reply)>,
    revision: u64,
    turn: u64,
    spill: Spill,
}

impl Tier {
    pub(super) fn new() -> Self {
        Self::with(Spill::default())
    }

    pub(super) fn with(spill: Spill) -> Self {
        let members = vec![FIRST, SECOND];
        let alone = PartitionView::alone(PartitionId(0), VIEW, FIRST);
        let view = PartitionView { members: members.clone(), ..alone };
        let now = Instant(1_000_000_000);
        let mut tier = Self {
            now,
            replicas: BTreeMap::new(),
            wakes: BTreeMap::new(),
            view: view.clone(),
            words: VecDeque::new(),
            asks: VecDeque::new(),
            disk: Disk::default(),
            replies: Vec::new(),
            revision: 0,
            turn: 0,
            spill,
        };
        for member in members {
            let replica = Replica::new(now, tier.config(member, view.clone()));
            tier.replicas.insert(member, replica);
            tier.input(member, Input::EngineUp { engine: A });
        }
        tier
    }

    fn config(&self, replica: ReplicaId, view: PartitionView) -> Config {
        Config {
            here: HERE,
            partition: PartitionId(0),
            replica,
            view,
            shared: None,
            backup_to: None,
            limits: Limits::default(),
            pace: Pace { lock_lease: ms(10_000), ..Pace::default() },
            spill: Some(self.spill.clone()),
        }
    }

    pub(super) fn input(&mut self, to: ReplicaId, input: Input) {
        let Some(replica) = self.replicas.get_mut(&to) else { return };
        replica.handle_input(self.now, input);
        loop {
            match replica.poll_output() {
                Output::WakeAt(at, _) => {
                    assert!(at >= self.now, "a wake in the past");
                    self.wakes.insert(to, at);
                    break;
                }
                Output::Reply { reply, .. } => self.replies.push((to, reply)),
                Output::Peer { replica: other, word } => self.words.push_back((to, other, word)),
                Output::Database(ask) => self.asks.push_back((to, ask)),
                Output::Map(_) => {}
                other @ (Output::Gate(_)
                | Output::Store(_)
                | Output::Dropped { .. }
                | Output::Expelled) => {
                    panic!("{other:?}")
                }
            }
        }
    }

    /// Everything that is on its way arrives.
    pub(super) fn run(&mut self) {
        loop {
            if let Some((from, to, word)) = self.words.pop_front() {
                self.input(to, Input::Peer { replica: from, news: PeerNews::Said(word) });
            } else if let Some((of, ask)) = self.asks.pop_front() {
                if let Some(word) = self.disk.carry_out(self.now, ask) {
                    self.input(of, Input::Database(word));
                }
            } else {
                return;
            }
        }
    }

    /// Time passes; whatever is said on the way arrives at once if `arrives`.
    pub(super) fn pass(&mut self, time: Duration, arrives: bool) {
        let until = self.now + time;
        let mut steps = 0;
        loop {
            if arrives {
                self.run();
            }
            let next = self.wakes.iter().map(|(of, at)| (*at, *of)).min();
            let Some((at, of)) = next.filter(|(at, _)| *at <= until) else { break };
            steps = if at > self.now { 0 } else { steps + 1 };
            assert!(steps < 200, "{of} spins");
            self.now = at;
            self.input(of, Input::Wake);
        }
        self.now = until;
    }

    pub(super) fn all(&self) -> Vec<ReplicaId> {
        self.replicas.keys().copied().collect()
    }

    pub(super) fn primary(&self) -> ReplicaId {
        self.view.primary().expect("somebody leads")
    }

    fn command(&mut self, to: ReplicaId, command: Command) {
        self.input(to, Input::Command { engine: A, command });
    }

    /// Asks the primary for the lock; the grant, if it came.
    pub(super) fn lock(&mut self, key: CallKey) -> Option<(LockToken, Option<Record>)> {
        self.turn += 1;
        let (view, turn, begins, cached) = (self.view.number, self.turn, true, None);
        self.replies.clear();
        self.command(self.primary(), Command::LockAndGet { view, key, turn, begins, cached });
        self.granted(key)
    }

    pub(super) fn granted(&self, key: CallKey) -> Option<(LockToken, Option<Record>)> {
        self.replies.iter().find_map(|(_, reply)| match reply {
            Reply::Granted { key: of, token, record, .. } if *of == key => {
                Some((*token, record.clone()))
            }
            _ => None,
        })
    }

    /// A put to those of the view that `reaches` names. Its stamp, and whether all have it.
    pub(super) fn put(
        &mut self,
        key: CallKey,
        token: LockToken,
        old: Option<Record>,
        reaches: impl Fn(ReplicaId) -> bool,
    ) -> (Record, bool) {
        let base = old.as_ref().map(|record| record.header.stamp);
        let epoch = base.map_or(Epoch::of_start(HERE, 1), |base| base.epoch);
        let version = Version(base.map_or(1, |base| base.version.0 + 1));
        let record = record(key, Stamp { epoch, token, version }, HERE);
        let (view, flags) = (self.view.number, BOUNDARY);
        let everybody: BTreeSet<ReplicaId> = self.view.everybody().collect();
        self.replies.clear();
        for member in everybody.iter().filter(|member| reaches(**member)) {
            let record = record.clone();
            self.command(*member, Command::Put { view, record, base, flags });
        }
        let stored = self.replies.iter().filter(|(_, reply)| matches!(reply, Reply::Stored { .. }));
        let stored: BTreeSet<ReplicaId> = stored.map(|(of, _)| *of).collect();
        (record, stored == everybody)
    }

    pub(super) fn unlock(&mut self, key: CallKey, token: LockToken) {
        for member in self.all() {
            let view = self.view.number;
            self.command(member, Command::Unlock { view, key, token });
        }
    }

    fn turn(&mut self, key: CallKey) -> Stamp {
        let (token, old) = match self.lock(key) {
            Some(granted) => granted,
            None => {
                self.run();
                self.granted(key).expect("granted by now")
            }
        };
        let (record, is_stored) = self.put(key, token, old, |_| true);
        assert!(is_stored);
        self.unlock(key, token);
        record.header.stamp
    }

    pub(super) fn delete(
        &mut self,
        key: CallKey,
        token: LockToken,
        base: Stamp,
        reaches: impl Fn(ReplicaId) -> bool,
    ) {
        let stamp = Stamp { token, version: Version(base.version.0 + 1), ..base };
        let (view, tombstone) = (self.view.number, Tombstone { key, stamp });
        for member in self.all().into_iter().filter(|member| reaches(*member)) {
            self.command(member, Command::Delete { view, tombstone, base });
        }
    }

    /// Everybody hears that slots went to another partition.
    fn keep_slots(&mut self, slots: SlotSet) {
        self.view.slots = slots;
        self.change_view(self.view.members.clone(), Vec::new());
    }

    /// Everybody hears of the next view.
    fn change_view(&mut self, members: Vec<ReplicaId>, joining: Vec<ReplicaId>) {
        let number = ViewNumber(self.view.number.0 + 1);
        let is_led = members.first() == self.view.members.first();
        let led_since = if is_led { self.view.led_since } else { number };
        self.view = PartitionView { number, led_since, members, joining, ..self.view.clone() };
        self.revision += 1;
        for member in self.all() {
            let map = SiteMap { partitions: vec![self.view.clone()], ..SiteMap::default() };
            let (revision, is_answer) = (self.revision, false);
            let word = StoreWord::Map { is_answer, revision, store_revision: revision, map };
            self.input(member, Input::Store(word));
        }
    }

    /// The primary is gone with all that it knew; what it asked of the database is still done.
    pub(super) fn lose_primary(&mut self) {
        let gone = self.primary();
        self.replicas.remove(&gone);
        self.wakes.remove(&gone);
        self.words.retain(|(from, to, _)| *from != gone && *to != gone);
        let members = self.view.members.iter().copied().filter(|other| *other != gone).collect();
        self.change_view(members, Vec::new());
    }

    /// A replica that has nothing is copied to.
    pub(super) fn join(&mut self, replica: ReplicaId) {
        let new = Replica::new(self.now, self.config(replica, outside(PartitionId(0))));
        self.replicas.insert(replica, new);
        self.input(replica, Input::EngineUp { engine: A });
        let members = self.view.members.clone();
        self.change_view(members.clone(), vec![replica]);
        self.pass(ms(1_000), true);
        assert!(self.replicas[&replica].is_copied());
        self.change_view([members, vec![replica]].concat(), Vec::new());
    }

    pub(super) fn spilled(&self, of: ReplicaId) -> u64 {
        self.replicas[&of].stats(self.now).spill.calls
    }

    fn digests(&self) -> BTreeSet<u64> {
        self.replicas.values().map(Replica::digest).collect()
    }

    pub(super) fn lost(&self) -> u64 {
        self.replicas.values().map(|replica| replica.stats(self.now).counts.rows_lost).sum()
    }
}

/// Both have let go of the call.
fn settled() -> (Tier, Stamp) {
    let mut tier = Tier::new();
    let stamp = tier.turn(key(1));
    tier.pass(ms(60_000), true);
    assert_eq!((tier.spilled(FIRST), tier.spilled(SECOND)), (1, 1));
    (tier, stamp)
}

#[test]
fn both_let_go_when_the_primary_s_row_is_durable() {
    let mut tier = Tier::new();
    tier.run();
    tier.turn(key(1));
    let before = tier.digests();
    tier.pass(ms(60_000), false);
    assert!(matches!(tier.asks.front(), Some((FIRST, DatabaseAsk::Store { .. }))));
    assert_eq!((tier.asks.len(), tier.spilled(SECOND)), (1, 0), "the primary alone writes");
    tier.run();
    assert_eq!((tier.spilled(FIRST), tier.spilled(SECOND)), (1, 1));
    assert_eq!((tier.digests(), before.len()), (before, 1));
}

#[test]
fn a_follower_that_missed_the_word_asks_for_it() {
    let mut tier = Tier::new();
    tier.run();
    tier.turn(key(1));
    tier.pass(ms(60_000), false);
    let (of, ask) = tier.asks.pop_front().expect("a store");
    let word = tier.disk.carry_out(tier.now, ask).expect("stored");
    tier.input(of, Input::Database(word));
    tier.words.clear();
    tier.pass(ms(29_000), true);
    assert_eq!((tier.spilled(FIRST), tier.spilled(SECOND)), (1, 0));
    tier.pass(ms(2_000), true);
    assert_eq!(tier.spilled(SECOND), 1);
    assert_eq!(tier.digests().len(), 1);
}

#[test]
fn a_word_of_an_older_record_lets_go_of_nothing() {
    let mut tier = Tier::new();
    tier.run();
    let old = tier.turn(key(1));
    tier.turn(key(1));
    let (view, calls) = (VIEW, vec![(key(1), old)]);
    let word = PeerWord::Spilled { view, calls };
    tier.input(SECOND, Input::Peer { replica: FIRST, news: PeerNews::Said(word) });
    assert_eq!(tier.spilled(SECOND), 0);
}

#[test]
fn a_new_primary_fetches_by_itself() {
    let (mut tier, stamp) = settled();
    tier.lose_primary();
    assert_eq!(tier.lock(key(1)), None);
    tier.run();
    let (_, record) = tier.granted(key(1)).expect("granted");
    assert_eq!(record.expect("read").header.stamp, stamp);
}

#[test]
fn a_new_primary_hands_what_is_due_once() {
    let mut tier = Tier::new();
    let (token, _) = tier.lock(key(1)).expect("free");
    let (view, flags, base) = (VIEW, BOUNDARY, None);
    let stamp = Stamp { epoch: Epoch::of_start(HERE, 1), token, version: Version(1) };
    let mut record = record(key(1), stamp, HERE);
    record.header.deadline = Some(ms(300_000));
    for member in [FIRST, SECOND] {
        tier.command(member, Command::Put { view, record: record.clone(), base, flags });
    }
    tier.unlock(key(1), token);
    tier.pass(ms(120_000), true);
    assert_eq!((tier.spilled(FIRST), tier.spilled(SECOND)), (1, 1));
    tier.lose_primary();
    tier.replies.clear();
    tier.pass(ms(179_999), true);
    assert_eq!(tier.replies, []);
    tier.pass(ms(5_000), true);
    assert_eq!(tier.replies.len(), 1);
    let (_, record) = tier.granted(key(1)).expect("due");
    assert_eq!(record.expect("read").header.stamp, stamp);
}

#[test]
fn a_put_replaces_what_the_follower_has_spilled_without_a_read() {
    let (mut tier, _) = settled();
    let stamp = tier.turn(key(1));
    assert_eq!((tier.spilled(FIRST), tier.spilled(SECOND)), (0, 0));
    assert_eq!(tier.replicas[&SECOND].stats(tier.now).counts.fetched, 0);
    assert_eq!(tier.digests().len(), 1);
    tier.lose_primary();
    let (_, record) = tier.lock(key(1)).expect("in memory");
    assert_eq!(record.expect("held").header.stamp, stamp);
}

#[test]
fn a_put_that_a_follower_lacks_leaves_it_its_row() {
    let (mut tier, stamp) = settled();
    assert_eq!(tier.lock(key(1)), None);
    tier.run();
    let (token, old) = tier.granted(key(1)).expect("granted");
    tier.put(key(1), token, old, |member| member == FIRST);
    tier.unlock(key(1), token);
    // Whatever the first primary does about its put, for as long as it is one.
    tier.words.clear();
    tier.pass(ms(60_000), false);
    while let Some((_, ask)) = tier.asks.pop_front() {
        tier.disk.carry_out(tier.now, ask);
    }
    tier.lose_primary();
    assert_eq!(tier.lock(key(1)), None);
    tier.run();
    let (_, record) = tier.granted(key(1)).expect("granted");
    assert!(record.expect("read").header.stamp >= stamp);
    assert_eq!(tier.lost(), 0);
}

#[test]
fn a_row_goes_when_everybody_has_heard_of_the_end() {
    let (mut tier, stamp) = settled();
    assert_eq!(tier.lock(key(1)), None);
    tier.run();
    let (token, _) = tier.granted(key(1)).expect("granted");
    tier.delete(key(1), token, stamp, |member| member == FIRST);
    tier.pass(ms(2_000), true);
    assert_eq!(tier.disk.rows.len(), 1, "the follower has not heard of it");
    tier.delete(key(1), token, stamp, |member| member == SECOND);
    tier.unlock(key(1), token);
    assert_eq!((tier.spilled(FIRST), tier.spilled(SECOND)), (0, 0));
    tier.pass(ms(20_000), true);
    assert_eq!(tier.disk.rows.len(), 0);
}

#[test]
fn an_end_that_only_the_lost_primary_heard_of_is_none() {
    let (mut tier, stamp) = settled();
    assert_eq!(tier.lock(key(1)), None);
    tier.run();
    let (token, _) = tier.granted(key(1)).expect("granted");
    tier.delete(key(1), token, stamp, |member| member == FIRST);
    tier.pass(ms(20_000), true);
    tier.lose_primary();
    assert_eq!(tier.lock(key(1)), None);
    tier.run();
    let (_, record) = tier.granted(key(1)).expect("granted");
    assert_eq!(record.expect("still there").header.stamp, stamp);
}

#[test]
fn a_joiner_is_told_what_is_spilled_and_can_have_it_back() {
    let (mut tier, stamp) = settled();
    let other = tier.turn(key(2));
    tier.join(THIRD_ONE);
    assert_eq!(tier.spilled(THIRD_ONE), 1);
    assert_eq!(tier.digests().len(), 1);
    let stats = tier.replicas[&THIRD_ONE].stats(tier.now);
    assert_eq!((stats.active, stats.counts.copied_in, stats.counts.fetched), (2, 2, 0));
    tier.lose_primary();
    tier.lose_primary();
    assert_eq!(tier.primary(), THIRD_ONE);
    assert_eq!(tier.lock(key(1)), None);
    tier.run();
    let (_, record) = tier.granted(key(1)).expect("granted");
    assert_eq!(record.expect("read").header.stamp, stamp);
    let (_, record) = tier.lock(key(2)).expect("in memory");
    assert_eq!(record.expect("held").header.stamp, other);
}

#[test]
fn a_comparison_mends_spilled_calls() {
    let (mut tier, _) = settled();
    // The follower lost one and has one too many.
    let follower = tier.replicas.get_mut(&SECOND).expect("it is there");
    follower.forget(key(1));
    tier.turn(key(2));
    tier.pass(ms(60_000), true);
    tier.replicas.get_mut(&FIRST).expect("it is there").forget(key(2));
    tier.pass(ms(61_000), true);
    assert_eq!((tier.spilled(FIRST), tier.spilled(SECOND)), (1, 1));
    assert_eq!(tier.digests().len(), 1);
    // In memory at one and spilled at the other is no difference.
    assert_eq!(tier.lock(key(1)), None);
    tier.run();
    let repaired = tier.replicas[&SECOND].stats(tier.now).counts.repaired;
    tier.pass(ms(61_000), true);
    assert_eq!(tier.replicas[&SECOND].stats(tier.now).counts.repaired, repaired);
}

#[test]
fn a_replica_without_a_database_keeps_what_it_has() {
    let mut tier = Tier::new();
    let view = tier.view.clone();
    let without = Config { spill: None, ..tier.config(SECOND, view) };
    tier.replicas.insert(SECOND, Replica::new(tier.now, without));
    tier.input(SECOND, Input::EngineUp { engine: A });
    let stamp = tier.turn(key(1));
    tier.pass(ms(600_000), true);
    assert_eq!((tier.spilled(FIRST), tier.spilled(SECOND)), (1, 0));
    tier.lose_primary();
    let (_, record) = tier.lock(key(1)).expect("in memory");
    assert_eq!(record.expect("held").header.stamp, stamp);
}

#[test]
fn slots_that_go_take_their_rows_with_them() {
    let (mut tier, stamp) = settled();
    let slots = SlotSet::share(0, 2);
    let stays = wide_key(0);
    assert!(slots.contains(stays.slot()) && !slots.contains(wide_key(0x0300_0000).slot()));
    let goes = wide_key(0x0300_0000);
    tier.turn(stays);
    let moved = tier.turn(goes);
    tier.pass(ms(60_000), true);
    assert_eq!(tier.lock(goes), None);
    let waited = tier.replies.len();
    tier.keep_slots(slots);
    tier.run();
    assert_eq!(tier.replies.len(), waited, "whoever owns it now answers");
    assert_eq!(tier.spilled(FIRST), tier.spilled(SECOND));
    tier.pass(ms(60_000), true);
    assert_eq!(tier.disk.rows[&goes].stamp, moved);
    assert!(tier.replicas[&FIRST].store.stamp(stays).is_some());
    assert!(tier.replicas[&FIRST].store.stamp(goes).is_none());
    assert_eq!((tier.lost(), stamp.version), (0, Version(1)));
}

#[test]
fn a_removal_of_a_spilled_call_counts_from_its_unlock_on() {
    let (mut tier, stamp) = settled();
    assert_eq!(tier.lock(key(1)), None);
    tier.run();
    let (token, _) = tier.granted(key(1)).expect("granted");
    tier.delete(key(1), token, stamp, |_| true);
    let held = |tier: &Tier| tier.replicas[&SECOND].store.stamp(key(1));
    assert_eq!((tier.spilled(SECOND), held(&tier)), (1, Some(stamp)));
    tier.unlock(key(1), token);
    assert_eq!((tier.spilled(SECOND), held(&tier)), (0, None));
    assert_eq!(tier.replicas[&SECOND].store.len(), 0);
    assert_eq!(tier.digests().len(), 1);
}

#[test]
fn a_removal_whose_engine_is_lost_never_was() {
    let (mut tier, stamp) = settled();
    assert_eq!(tier.lock(key(1)), None);
    tier.run();
    let (token, _) = tier.granted(key(1)).expect("granted");
    tier.delete(key(1), token, stamp, |_| true);
    for member in [FIRST, SECOND] {
        tier.input(member, Input::EngineDown { engine: A });
        tier.input(member, Input::EngineUp { engine: A });
    }
    tier.unlock(key(1), token);
    let held = |of: ReplicaId| tier.replicas[&of].store.stamp(key(1));
    assert_eq!((held(FIRST), held(SECOND)), (Some(stamp), Some(stamp)));
}

#[test]
fn a_call_that_is_set_aside_is_so_where_it_is_spilled() {
    let (mut tier, stamp) = settled();
    for _ in 0..2 {
        let granted = tier.lock(key(1)).or_else(|| {
            tier.run();
            tier.granted(key(1))
        });
        let (token, _) = granted.expect("granted");
        let (kind, engine, age, message) = (StrikeKind::Panicked, A, Duration::ZERO, Bytes::new());
        let strike = Strike { kind, engine, token, age, what: "a panic".into(), message };
        for member in [FIRST, SECOND] {
            let strike = strike.clone();
            tier.command(member, Command::Poisoned { view: VIEW, key: key(1), strike });
        }
        tier.unlock(key(1), token);
    }
    tier.run();
    let spilled = tier.replicas[&SECOND].store.spilled.get(key(1)).expect("not read");
    assert!(spilled.state().is_condemned);
    tier.replies.clear();
    tier.lose_primary();
    tier.pass(ms(5_000), true);
    let ends = tier.replies.iter().find_map(|(_, reply)| match reply {
        Reply::Granted { cause: Cause::Quarantined, record, .. } => record.clone(),
        _ => None,
    });
    assert_eq!(ends.expect("handed to be ended").header.stamp, stamp);
}
