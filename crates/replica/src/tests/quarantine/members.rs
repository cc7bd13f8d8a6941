//! Three replicas of one view, whose words to each other arrive at once.

use std::collections::BTreeMap;

use tier_protocol::{PartitionView, PeerWord, SiteMap};

use super::*;
use crate::{PeerNews, StoreWord};

const IDS: [ReplicaId; 3] = [ReplicaId(1), ReplicaId(2), ReplicaId(3)];

struct Group {
    now: Instant,
    replicas: BTreeMap<ReplicaId, Replica>,
    replies: Vec<(ReplicaId, Reply)>,
    view: PartitionView,
    turn: u64,
    /// Words between replicas are lost.
    is_cut: bool,
}

fn view(number: u64, members: &[ReplicaId]) -> PartitionView {
    let alone = PartitionView::alone(PartitionId(0), ViewNumber(number), members[0]);
    PartitionView { members: members.to_vec(), ..alone }
}

impl Group {
    fn new() -> Self {
        let now = Instant(1_000_000_000);
        let view = view(7, &IDS);
        let replica = |id: ReplicaId| {
            let config = Config {
                here: HERE,
                partition: PartitionId(0),
                replica: id,
                view: view.clone(),
                shared: None,
                backup_to: Some(THERE),
                spill: None,
                limits: Limits::default(),
                pace: Pace { lock_lease: ms(10_000), ..Pace::default() },
            };
            (id, Replica::new(now, config))
        };
        let replicas = IDS.into_iter().map(replica).collect();
        let mut group = Self { now, replicas, replies: Vec::new(), view, turn: 0, is_cut: false };
        for engine in [A, B] {
            group.everybody(&Input::EngineUp { engine });
        }
        group
    }

    fn everybody(&mut self, input: &Input) {
        for id in self.view.everybody().collect::<Vec<_>>() {
            self.input(id, input.clone());
        }
    }

    fn input(&mut self, to: ReplicaId, input: Input) {
        let mut inputs = vec![(to, input)];
        while let Some((to, input)) = inputs.pop() {
            let Some(replica) = self.replicas.get_mut(&to) else { continue };
            replica.handle_input(self.now, input);
            loop {
                match replica.poll_output() {
                    Output::Reply { reply, .. } => self.replies.push((to, reply)),
                    Output::Peer { replica, word } if !self.is_cut => {
                        let news = PeerNews::Said(word);
                        inputs.insert(0, (replica, Input::Peer { replica: to, news }));
                    }
                    Output::Peer { .. }
                    | Output::Database(_)
                    | Output::Gate(_)
                    | Output::Map(_)
                    | Output::Dropped { .. }
                    | Output::Store(_) => {}
                    Output::Expelled => panic!("{to:?} is expelled"),
                    Output::WakeAt(..) => break,
                }
            }
        }
    }

    fn tell(&mut self, engine: EngineId, command: &Command) {
        self.everybody(&Input::Command { engine, command: command.clone() });
    }

    /// Asks the primary for a lock; the grant's cause, token and record.
    fn lock(&mut self, engine: EngineId, key: CallKey) -> (Cause, LockToken, Option<Record>) {
        self.turn += 1;
        let (view, turn) = (self.view.number, self.turn);
        let command = Command::LockAndGet { view, key, turn, begins: true, cached: None };
        self.replies.clear();
        let primary = self.view.primary().expect("a primary");
        self.input(primary, Input::Command { engine, command });
        self.granted()
    }

    fn granted(&self) -> (Cause, LockToken, Option<Record>) {
        let mut grants = self.replies.iter().filter_map(|(_, reply)| match reply {
            Reply::Granted { cause, token, record, .. } => Some((*cause, *token, record.clone())),
            _ => None,
        });
        grants.next().expect("a grant")
    }

    fn put(&mut self, key: CallKey, token: LockToken, old: Option<Record>, flags: PutFlags) {
        let base = old.as_ref().map(|record| record.header.stamp);
        let epoch = Epoch::of_start(HERE, 1);
        let version = Version(base.map_or(1, |base| base.version.0 + 1));
        let record = record(key, Stamp { epoch, token, version }, HERE);
        self.tell(A, &Command::Put { view: self.view.number, record, base, flags });
        self.tell(A, &Command::Unlock { view: self.view.number, key, token });
    }

    fn begin(&mut self, key: CallKey) {
        let (_, token, _) = self.lock(A, key);
        self.put(key, token, None, BOUNDARY);
    }

    fn panic(&mut self, engine: EngineId, key: CallKey) {
        let (cause, token, _) = self.lock(engine, key);
        assert!(matches!(cause, Cause::Asked { .. }), "{cause:?}");
        let view = self.view.number;
        self.tell(engine, &Command::Poisoned { view, key, strike: strike(token) });
        self.replies.clear();
        let primary = self.view.primary().expect("a primary");
        self.input(
            primary,
            Input::Command { engine, command: Command::Unlock { view, key, token } },
        );
    }

    /// The primary is gone; the others go on without it.
    fn lose_primary(&mut self) {
        let gone = self.view.members[0];
        self.replicas.remove(&gone);
        self.view = view(self.view.number.0 + 1, &self.view.members[1..]);
        self.adopt();
    }

    fn adopt(&mut self) {
        let map = SiteMap { partitions: vec![self.view.clone()], ..SiteMap::default() };
        let revision = self.view.number.0;
        let word = StoreWord::Map { is_answer: false, revision, store_revision: revision, map };
        self.replies.clear();
        self.everybody(&Input::Store(word));
    }

    fn asides(&self) -> Vec<usize> {
        self.replicas.values().map(|replica| replica.quarantined(self.now).len()).collect()
    }

    fn held(&self, key: CallKey) -> Vec<bool> {
        self.replicas.values().map(|replica| replica.get(self.now, key).is_some()).collect()
    }
}

#[test]
fn two_engines_and_three_members_agree_on_a_quarantine() {
    let mut group = Group::new();
    group.begin(key(1));
    group.panic(A, key(1));
    group.panic(B, key(1));
    assert_eq!(group.asides(), [1, 1, 1]);
    let (cause, token, record) = group.granted();
    assert_eq!(cause, Cause::Quarantined);
    group.put(key(1), token, record, ENDED);
    assert_eq!(group.held(key(1)), [true, true, true]);
    for replica in group.replicas.values() {
        assert!(replica.get(group.now, key(1)).expect("held").is_set_aside);
        let marks = replica.get(group.now, key(1)).expect("held").marks;
        assert!(marks.iter().all(|mark| !mark.is_at_risk), "{marks:?}");
    }
    let digests: Vec<u64> = group.replicas.values().map(Replica::digest).collect();
    assert!(digests.iter().all(|digest| *digest == digests[0]));
}

#[test]
fn a_strike_outlives_the_primary_that_saw_it() {
    let mut group = Group::new();
    group.begin(key(1));
    group.panic(A, key(1));
    group.lose_primary();
    group.panic(B, key(1));
    assert_eq!(group.asides(), [1, 1]);
}

#[test]
fn a_broken_lock_that_one_primary_saw_counts_with_the_next() {
    let mut group = Group::new();
    group.begin(key(1));
    group.lock(B, key(1));
    group.everybody(&Input::EngineDown { engine: B });
    group.lose_primary();
    group.now = group.now + ms(1_000);
    group.panic(A, key(1));
    assert_eq!(group.asides(), [1, 1]);
    let strikes = group.replicas[&IDS[1]].quarantined(group.now).remove(0).strikes;
    let kinds: Vec<StrikeKind> = strikes.iter().map(|strike| strike.kind).collect();
    assert_eq!(kinds, [StrikeKind::Broken, StrikeKind::Panicked]);
}

#[test]
fn a_healthy_put_ends_the_suspicion_with_every_member() {
    let mut group = Group::new();
    group.begin(key(1));
    group.panic(A, key(1));
    let (_, token, record) = group.lock(A, key(1));
    group.put(key(1), token, record, BOUNDARY);
    group.lose_primary();
    group.panic(A, key(1));
    assert_eq!(group.asides(), [0, 0]);
}

#[test]
fn a_new_primary_judges_what_the_old_one_had_no_time_for() {
    let mut group = Group::new();
    group.begin(key(1));
    group.panic(A, key(1));
    let (_, token, _) = group.lock(B, key(1));
    let view = group.view.number;
    group.tell(B, &Command::Poisoned { view, key: key(1), strike: strike(token) });
    group.lose_primary();
    assert_eq!(group.asides(), [1, 1]);
    assert_eq!(group.granted().0, Cause::Quarantined);
}

#[test]
fn a_call_that_no_engine_could_end_is_gone_from_every_member() {
    let mut group = Group::new();
    group.begin(key(1));
    group.panic(A, key(1));
    group.panic(A, key(1));
    assert_eq!(group.granted().0, Cause::Quarantined);
    group.everybody(&Input::EngineDown { engine: A });
    group.everybody(&Input::EngineDown { engine: B });
    assert_eq!(group.held(key(1)), [false, false, false]);
    assert_eq!(group.asides(), [1, 1, 1]);
}

#[test]
fn a_quarantine_is_not_lost_with_the_primary_and_is_dropped_everywhere() {
    let mut group = Group::new();
    group.begin(key(1));
    group.panic(A, key(1));
    group.panic(A, key(1));
    group.lose_primary();
    assert_eq!(group.asides(), [1, 1]);
    group.input(IDS[2], Input::Order(Order::DropQuarantined(None)));
    assert_eq!(group.asides(), [0, 0], "said to one, done by both");
}

#[test]
fn a_put_that_overtakes_the_quarantine_is_what_lingers() {
    let mut group = Group::new();
    group.begin(key(1));
    group.panic(A, key(1));
    group.is_cut = true;
    group.panic(A, key(1));
    let (_, token, record) = group.granted();
    group.put(key(1), token, record, ENDED);
    assert_eq!(group.asides(), [1, 0, 0], "the words between replicas are slower");
    group.is_cut = false;
    let aside = group.replicas[&IDS[0]].quarantined(group.now).remove(0);
    let word = PeerWord::Quarantined { view: group.view.number, aside };
    let news = PeerNews::Said(word);
    group.input(IDS[1], Input::Peer { replica: IDS[0], news });
    assert!(group.replicas[&IDS[1]].get(group.now, key(1)).expect("held").is_set_aside);
    group.lose_primary();
    assert!(group.replies.is_empty(), "it is not ended twice: {:?}", group.replies);
}

#[test]
fn a_joiner_hears_of_what_is_set_aside_and_of_suspects() {
    let mut group = Group::new();
    group.begin(key(1));
    group.begin(key(2));
    group.panic(A, key(1));
    group.panic(A, key(1));
    group.panic(A, key(2));
    let joiner = ReplicaId(9);
    let config = Config {
        here: HERE,
        partition: PartitionId(0),
        replica: joiner,
        view: crate::outside(PartitionId(0)),
        shared: None,
        backup_to: Some(THERE),
        spill: None,
        limits: Limits::default(),
        pace: Pace::default(),
    };
    group.replicas.insert(joiner, Replica::new(group.now, config));
    group.view = view(8, &IDS);
    group.view.joining = vec![joiner];
    group.adopt();
    group.input(joiner, Input::Wake);
    let joined = &group.replicas[&joiner];
    assert_eq!(joined.quarantined(group.now).len(), 1);
    assert!(joined.get(group.now, key(1)).expect("copied").is_set_aside);
    assert_eq!(joined.get(group.now, key(2)).expect("copied").strikes, 1);
}
