//! Several replicas of one partition, wired by hand: a store that carries out what it is asked, and
//! words that arrive when a test says so.

use std::collections::{BTreeMap, VecDeque};

use tier_protocol::{PeerWord, SiteMap, Steering};

use super::*;
use crate::{PeerNews, Sender, Shared, StoreAsk, StoreWord, outside};

mod orders;

const E: EngineId = A;
const F: EngineId = B;

/// A site's replicas and its store.
pub(super) struct Site {
    pub(super) now: Instant,
    pub(super) replicas: BTreeMap<u64, Replica>,
    /// What engines were told: by whom, in which view, what.
    told: Vec<(u64, EngineId, ViewNumber, Reply)>,
    asks: VecDeque<(u64, StoreAsk)>,
    pub(super) words: VecDeque<(u64, u64, PeerWord)>,
    expelled: Vec<u64>,
    /// What gates were told, and by whom.
    pub(super) gates: Vec<(u64, GateBound)>,
    map: SiteMap,
    revision: u64,
    turn: u64,
    /// Who sends to site 2; `None` is the default.
    sender: Option<Sender>,
}

impl Site {
    /// Replicas with these numbers, all complete members but for those in `joining`.
    fn of(members: &[u64]) -> Self {
        Self::of_sender(members, None)
    }

    pub(super) fn of_sender(members: &[u64], sender: Option<Sender>) -> Self {
        let mut site = Self {
            now: Instant(1_000_000_000),
            replicas: BTreeMap::new(),
            told: Vec::new(),
            asks: VecDeque::new(),
            words: VecDeque::new(),
            expelled: Vec::new(),
            gates: Vec::new(),
            map: SiteMap::default(),
            revision: 0,
            turn: 0,
            sender,
        };
        for number in members {
            site.start(*number);
            site.settle();
        }
        site
    }

    fn start(&mut self, number: u64) {
        let config = Config {
            here: HERE,
            partition: PartitionId(0),
            replica: ReplicaId(number),
            view: outside(PartitionId(0)),
            shared: Some(Shared {
                name: format!("state-{number}"),
                address: format!("192.0.2.{number}:9000"),
                partitions: 1,
                replicas: 3,
                join_after: Duration::ZERO,
                sender: self.sender.unwrap_or_default(),
            }),
            backup_to: Some(THERE),
            spill: None,
            limits: Limits { copy_page_max: 2, ..Limits::default() },
            pace: Pace { lock_lease: ms(10_000), ..Pace::default() },
        };
        self.replicas.insert(number, Replica::new(self.now, config));
        let others: Vec<u64> = self.replicas.keys().copied().filter(|n| *n != number).collect();
        for engine in [E, F] {
            self.input(number, Input::EngineUp { engine });
        }
        for other in others {
            self.input(number, Input::Peer { replica: ReplicaId(other), news: PeerNews::Up });
            self.input(other, Input::Peer { replica: ReplicaId(number), news: PeerNews::Up });
        }
    }

    pub(super) fn input(&mut self, number: u64, input: Input) {
        let Some(replica) = self.replicas.get_mut(&number) else { return };
        replica.handle_input(self.now, input);
        loop {
            match replica.poll_output() {
                Output::Reply { engine, view, reply } => {
                    self.told.push((number, engine, view, reply));
                }
                Output::Store(ask) => self.asks.push_back((number, ask)),
                Output::Peer { replica, word } => self.words.push_back((number, replica.0, word)),
                Output::Expelled => self.expelled.push(number),
                Output::Gate(words) => self.gates.push((number, words)),
                Output::Map(_) | Output::Database(_) | Output::Dropped { .. } => {}
                Output::WakeAt(at, _) => {
                    assert!(at >= self.now, "a wake in the past");
                    return;
                }
            }
        }
    }

    /// The store answers everything that it was asked.
    fn answer_store(&mut self) {
        while let Some((number, ask)) = self.asks.pop_front() {
            match ask {
                StoreAsk::Read => self.tell_map(number, true),
                StoreAsk::CompareAndSet { expected, map } if expected == self.revision => {
                    self.revision += 1;
                    self.map = map;
                    let revision = self.revision;
                    self.input(number, Input::Store(StoreWord::Written { revision }));
                    let others: Vec<u64> = self.replicas.keys().copied().collect();
                    for other in others.into_iter().filter(|other| *other != number) {
                        self.tell_map(other, false);
                    }
                }
                StoreAsk::CompareAndSet { .. } => {
                    self.input(number, Input::Store(StoreWord::Lost));
                }
            }
        }
    }

    fn tell_map(&mut self, number: u64, is_answer: bool) {
        let (revision, map) = (self.revision, self.map.clone());
        let store_revision = revision;
        let word = StoreWord::Map { is_answer, revision, store_revision, map };
        self.input(number, Input::Store(word));
    }

    pub(super) fn carry_words(&mut self) {
        while let Some((from, to, word)) = self.words.pop_front() {
            let (replica, news) = (ReplicaId(from), PeerNews::Said(word));
            self.input(to, Input::Peer { replica, news });
        }
    }

    /// Lets time pass and everything that follows from it, until nothing more does.
    fn settle(&mut self) {
        for _ in 0..60 {
            self.now = self.now + ms(100);
            let all: Vec<u64> = self.replicas.keys().copied().collect();
            for number in all {
                self.input(number, Input::Wake);
            }
            self.answer_store();
            self.carry_words();
        }
    }

    fn view(&self, number: u64) -> &PartitionView {
        self.replicas[&number].view()
    }

    fn members(&self, number: u64) -> Vec<u64> {
        self.view(number).members.iter().map(|member| member.0).collect()
    }

    fn command(&mut self, number: u64, engine: EngineId, command: Command) -> Vec<Reply> {
        self.told.clear();
        self.input(number, Input::Command { engine, command });
        let told = std::mem::take(&mut self.told);
        told.into_iter().filter(|(from, ..)| *from == number).map(|(.., reply)| reply).collect()
    }

    /// Asks the primary for a lock.
    fn ask(&mut self, engine: EngineId, key: CallKey) -> Vec<Reply> {
        self.turn += 1;
        let primary = self.map.partitions[0].members[0].0;
        let (view, turn) = (self.view(primary).number, self.turn);
        let ask = Command::LockAndGet { view, key, turn, begins: true, cached: None };
        self.command(primary, engine, ask)
    }

    pub(super) fn lock(
        &mut self,
        engine: EngineId,
        key: CallKey,
    ) -> (LockToken, Option<Record>, bool) {
        match self.ask(engine, key).as_slice() {
            [Reply::Granted { token, record, resume, .. }] => (*token, record.clone(), *resume),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn put(
        &mut self,
        to: u64,
        engine: EngineId,
        record: &Record,
        base: Option<Stamp>,
    ) -> Reply {
        self.put_so(to, engine, record, (base, BOUNDARY))
    }

    fn put_so(
        &mut self,
        to: u64,
        engine: EngineId,
        record: &Record,
        (base, flags): (Option<Stamp>, PutFlags),
    ) -> Reply {
        let (view, record) = (self.view(to).number, record.clone());
        let replies = self.command(to, engine, Command::Put { view, record, base, flags });
        replies.into_iter().next().expect("a put is answered")
    }

    /// A whole turn: lock, put to all, unlock at all.
    pub(super) fn turn(&mut self, engine: EngineId, key: CallKey) -> Stamp {
        self.turn_so(engine, key, BOUNDARY)
    }

    fn turn_so(&mut self, engine: EngineId, key: CallKey, flags: PutFlags) -> Stamp {
        let (token, before, _) = self.lock(engine, key);
        let record = next(key, token, before.as_ref());
        let base = before.map(|before| before.header.stamp);
        let (view, everybody) = (self.map.partitions[0].number, self.everybody());
        for to in &everybody {
            let answer = self.put_so(*to, engine, &record, (base, flags));
            assert!(matches!(answer, Reply::Stored { .. }), "{to}: {answer:?}");
        }
        for to in everybody {
            self.command(to, engine, Command::Unlock { view, key, token });
        }
        record.header.stamp
    }

    fn everybody(&self) -> Vec<u64> {
        self.map.partitions[0].everybody().map(|replica| replica.0).collect()
    }

    pub(super) fn held(&self, number: u64, key: CallKey) -> Option<Stamp> {
        self.replicas[&number].get(self.now, key).and_then(|story| story.summary.stamp)
    }

    /// The gate says that the other site answers.
    fn hear_of_there(&mut self) {
        let status = SiteStatus {
            site: THERE,
            state: SiteState::Serving,
            start: 1,
            dictionary: 1,
            course: Course::default(),
        };
        for number in self.everybody() {
            let (here, steering) = (SiteState::Serving, Steering::default());
            let (alive, waiting) = (vec![status], Vec::new());
            let input =
                SiteInput::Status { view: ViewNumber::default(), here, alive, waiting, steering };
            self.input(number, Input::Site(input));
        }
    }

    /// What was sent to the other site since, acknowledged at once.
    fn crossed(&mut self) -> Vec<Entry> {
        let mut crossed = Vec::new();
        for (number, words) in std::mem::take(&mut self.gates) {
            if let GateBound::Publish { site, id, bytes, .. } = words {
                self.input(number, Input::Site(SiteInput::BatchStored { site, id }));
                crossed.extend(batch::decode(&bytes, BYTES_MAX).expect("our own batch"));
            }
        }
        self.carry_words();
        crossed
    }

    fn gone(&mut self, number: u64) {
        self.replicas.remove(&number);
        let others: Vec<u64> = self.replicas.keys().copied().collect();
        for other in others {
            let news = PeerNews::Gone { is_replaced: false };
            self.input(other, Input::Peer { replica: ReplicaId(number), news });
        }
    }
}

pub(super) fn next(key: CallKey, token: LockToken, before: Option<&Record>) -> Record {
    let version = before.map_or(1, |before| before.header.stamp.version.0 + 1);
    let stamp = Stamp { token, ..stamp(65_536, HERE, version) };
    record(key, stamp, HERE)
}

#[test]
fn the_first_founds_and_the_others_join_with_every_call() {
    let mut site = Site::of(&[1]);
    let stamps: Vec<Stamp> = (1..=7).map(|number| site.turn(E, key(number))).collect();
    site.start(2);
    site.settle();
    site.start(3);
    site.settle();
    assert_eq!(site.members(1), [1, 2, 3]);
    for (index, stamp) in stamps.iter().enumerate() {
        let number = key(u8::try_from(index + 1).expect("few"));
        assert_eq!(site.held(3, number), Some(*stamp), "call {index}");
    }
    assert_eq!(site.replicas[&1].digest(), site.replicas[&3].digest());
}

#[test]
fn a_new_primary_voids_the_locks_of_the_one_before() {
    let mut site = Site::of(&[1, 2, 3]);
    let first = site.turn(E, key(1));
    let (token, before, _) = site.lock(E, key(1));
    site.gone(1);
    site.settle();
    assert_eq!(site.members(2), [2, 3]);
    let late = next(key(1), token, before.as_ref());
    for to in [2, 3] {
        let answer = site.put(to, E, &late, Some(first));
        assert!(matches!(answer, Reply::Refused { why: Refusal::OldToken, .. }), "{answer:?}");
    }
    // A put that one of them had before is known to it all the same.
    let (_, record, resume) = site.lock(F, key(1));
    assert_eq!((record.map(|record| record.header.stamp), resume), (Some(first), false));
}

#[test]
fn a_put_that_only_a_follower_took_comes_back_to_be_put_again() {
    let mut site = Site::of(&[1, 2]);
    let first = site.turn(E, key(1));
    let (token, before, _) = site.lock(E, key(1));
    let half = next(key(1), token, before.as_ref());
    assert!(matches!(site.put(2, E, &half, Some(first)), Reply::Stored { .. }));
    site.gone(1);
    site.settle();
    // Its engine asks again: the turn that put is over.
    let (_, record, resume) = site.lock(E, key(1));
    assert_eq!(record.map(|record| record.header.stamp), Some(half.header.stamp));
    assert!(resume, "its effects may not leave before everybody has it under a lock of this view");
}

#[test]
fn a_put_that_the_primary_refused_is_mended_at_the_follower() {
    let mut site = Site::of(&[1, 2]);
    let first = site.turn(E, key(1));
    let (token, before, _) = site.lock(E, key(1));
    // Its link to the primary breaks; its words to the follower were under way.
    site.input(1, Input::EngineDown { engine: E });
    let late = next(key(1), token, before.as_ref());
    assert!(matches!(site.put(2, E, &late, Some(first)), Reply::Stored { .. }));
    assert_eq!(site.held(2, key(1)), Some(late.header.stamp));
    site.now = site.now + ms(31_000);
    site.settle();
    assert_eq!(site.held(2, key(1)), Some(first), "the primary's copy counts");
    assert_eq!(site.replicas[&1].digest(), site.replicas[&2].digest());
}

#[test]
fn a_removal_counts_from_its_unlock_on() {
    let mut site = Site::of(&[1, 2]);
    let first = site.turn(E, key(1));
    let (token, ..) = site.lock(E, key(1));
    let view = site.view(1).number;
    let stamp = Stamp { token, version: Version(2), ..first };
    let tombstone = Tombstone { key: key(1), stamp };
    for to in [1, 2] {
        let delete = Command::Delete { view, tombstone, base: first };
        assert_eq!(site.command(to, E, delete), [Reply::Stored { key: key(1), stamp }]);
        assert_eq!(site.held(to, key(1)), Some(first), "others may not have the removal");
    }
    site.command(1, E, Command::Unlock { view, key: key(1), token });
    assert_eq!(site.held(1, key(1)), None);
    // The follower did not hear the unlock, and leads from here on.
    site.gone(1);
    site.settle();
    let (_, record, resume) = site.lock(E, key(1));
    assert_eq!((record.map(|record| record.header.stamp), resume), (Some(first), true));
}

#[test]
fn a_late_put_does_not_bring_a_removed_call_back() {
    let mut site = Site::of(&[1, 2]);
    let first = site.turn(E, key(1));
    let (old, before, _) = site.lock(E, key(1));
    site.input(1, Input::EngineDown { engine: E });
    let (token, ..) = site.lock(F, key(1));
    let view = site.view(1).number;
    let stamp = Stamp { token, version: Version(2), ..first };
    let tombstone = Tombstone { key: key(1), stamp };
    for to in [1, 2] {
        site.command(to, F, Command::Delete { view, tombstone, base: first });
    }
    for to in [1, 2] {
        site.command(to, F, Command::Unlock { view, key: key(1), token });
    }
    let late = next(key(1), old, before.as_ref());
    let answer = site.put(2, E, &late, Some(first));
    assert!(matches!(answer, Reply::Refused { why: Refusal::OldToken, .. }), "{answer:?}");
    assert_eq!(site.held(2, key(1)), None);
}

/// An old batch that the queue delivered once more woke what was over.
#[test]
fn a_joiner_learns_what_was_removed_before() {
    let mut site = Site::of(&[1]);
    // More than go on a page.
    let numbers = 1..=40;
    let their = |version| stamp(65_536, THERE, version);
    for number in numbers.clone() {
        let (view, stamp) = (site.view(1).number, their(2));
        let tombstone = Tombstone { key: key(number), stamp };
        let bury = Command::StoreTombstone { view, batch: 1, tombstone };
        site.command(1, E, bury);
    }
    site.start(2);
    site.settle();
    assert_eq!(site.members(2), [1, 2]);
    site.gone(1);
    site.settle();
    for number in numbers {
        let (view, record) = (site.view(2).number, record(key(number), their(1), THERE));
        let late = Command::StoreDormant { view, batch: 2, record };
        let said = site.command(2, E, late);
        let [Reply::Dormant { outcome, .. }] = said.as_slice() else { panic!("{said:?}") };
        assert_eq!(*outcome, DormantOutcome::Stale, "call {number}");
        assert_eq!(site.held(2, key(number)), None);
    }
}

/// The other site kept the copies until it swept.
#[test]
fn a_joiner_that_leads_later_tells_of_removals_that_had_yet_to_cross() {
    let mut site = Site::of(&[1]);
    site.hear_of_there();
    let first: Vec<Stamp> = (1..=5).map(|number| site.turn(E, key(number))).collect();
    site.settle();
    assert_eq!(site.crossed().len(), 5);
    let mut removals = Vec::new();
    for (number, first) in (1..=5).zip(first) {
        let key = key(number);
        let (token, before, _) = site.lock(E, key);
        let stamp = next(key, token, before.as_ref()).header.stamp;
        let (view, tombstone) = (site.view(1).number, Tombstone { key, stamp });
        site.command(1, E, Command::Delete { view, tombstone, base: first });
        site.command(1, E, Command::Unlock { view, key, token });
        removals.push(Entry::Tombstone(tombstone));
    }
    // Its batch is never acknowledged.
    site.settle();
    site.gates.clear();
    site.start(2);
    site.settle();
    site.gone(1);
    site.settle();
    site.gates.clear();
    site.hear_of_there();
    site.settle();
    let mut crossed = site.crossed();
    crossed.sort_by_key(Entry::key);
    assert_eq!(crossed, removals);
}

#[test]
fn a_joiner_confirms_as_members_do() {
    let mut site = Site::of(&[1]);
    site.start(2);
    while !site.map.partitions[0].names(ReplicaId(2)) {
        site.now = site.now + ms(100);
        [1, 2].into_iter().for_each(|number| site.input(number, Input::Wake));
        site.answer_store();
        site.carry_words();
    }
    let view = site.view(2).number;
    let confirm = Command::Confirm { view, key: key(1), turn: 5 };
    assert_eq!(site.command(2, E, confirm), [Reply::Confirmed { key: key(1), turn: 5 }]);
}

#[test]
fn a_replica_that_proposes_is_mute_while_it_is_decided() {
    let mut site = Site::of(&[1, 2]);
    site.turn(E, key(1));
    site.gone(1);
    while !matches!(site.asks.front(), Some((2, StoreAsk::CompareAndSet { .. }))) {
        site.now = site.now + ms(50);
        site.input(2, Input::Wake);
        if let Some((number, StoreAsk::Read)) = site.asks.front().cloned() {
            site.asks.pop_front();
            site.tell_map(number, true);
        }
    }
    let view = site.view(2).number;
    let get = Command::Confirm { view, key: key(1), turn: 5 };
    assert_eq!(site.command(2, E, get), [], "the view may be over");
    site.settle();
    assert_eq!(site.members(2), [2]);
    let answered = site.told.iter().any(|(.., reply)| matches!(reply, Reply::StaleView { .. }));
    assert!(answered, "what waited is answered in the new view: {:?}", site.told);
}

#[test]
fn a_store_that_is_away_mutes_nobody() {
    let mut site = Site::of(&[1, 2]);
    let now = site.now;
    site.gone(1);
    site.now = now + ms(200);
    site.input(2, Input::Wake);
    assert!(matches!(site.asks.pop_front(), Some((2, StoreAsk::Read))));
    site.input(2, Input::Store(StoreWord::Away { may_have_happened: false }));
    let view = site.view(2).number;
    let confirm = Command::Confirm { view, key: key(1), turn: 5 };
    assert_eq!(site.command(2, E, confirm), [Reply::Confirmed { key: key(1), turn: 5 }]);
    assert!(site.replicas[&2].stats(site.now).view.is_store_away);
}

#[test]
fn a_replica_that_was_left_out_goes_on_as_another_one() {
    let mut site = Site::of(&[1, 2]);
    site.turn(E, key(1));
    // It stands still: the other hears nothing, and goes on.
    let still = site.replicas.remove(&1).expect("it runs");
    site.settle();
    assert_eq!(site.members(2), [2]);
    site.replicas.insert(1, still);
    site.tell_map(1, false);
    assert_eq!(site.expelled, [1]);
    let again = site.replicas[&1].reborn(site.now, ReplicaId(11));
    assert_eq!((again.id(), again.view().members.len()), (ReplicaId(11), 0));
    assert_eq!(again.stats(site.now).active, 0, "it comes empty");
}

#[test]
fn a_new_primary_tells_of_the_end_of_what_the_one_before_had_sent() {
    let mut site = Site::of(&[1, 2]);
    site.hear_of_there();
    let stamp = site.turn(E, key(1));
    site.settle();
    let sent: Vec<Stamp> = site.crossed().iter().map(Entry::stamp).collect();
    assert_eq!(sent, [stamp]);
    site.gone(1);
    site.settle();
    assert_eq!(site.members(2), [2]);
    let end = site.turn_so(F, key(1), ENDED);
    site.settle();
    assert_eq!(site.crossed(), [Entry::Tombstone(Tombstone { key: key(1), stamp: end })]);
    // A call that was refused is still nobody's business.
    site.turn_so(F, key(2), ENDED);
    site.settle();
    assert_eq!(site.crossed(), []);
}

#[test]
fn two_runs_of_keys_are_one_and_have_each_key_once() {
    let run = |numbers: &[u8]| numbers.iter().copied().map(key).collect::<Vec<_>>();
    let merged = crate::store::merged(run(&[1, 3, 4]).into_iter(), run(&[2, 3, 5]).into_iter());
    assert_eq!(merged.collect::<Vec<_>>(), run(&[1, 2, 3, 4, 5]));
}
