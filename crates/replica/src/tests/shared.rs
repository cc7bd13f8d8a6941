//! A replica that shares its partition: what it makes of maps, of others, and of a store that does
//! not answer.

use tier_protocol::{CopiedRun, PeerWord, SiteMap};

use super::*;
use crate::{PeerNews, Shared, Spill, SpillAfter, StoreAsk, StoreWord};

pub(super) const ME: ReplicaId = ReplicaId(9);

pub(super) struct Seated {
    pub(super) replica: Replica,
    pub(super) now: Instant,
    /// When it wants to be woken.
    wake: Instant,
    pub(super) said: Vec<Output>,
}

fn seated(name: &str, replica: ReplicaId) -> Config {
    let shared = Shared {
        name: name.to_owned(),
        address: format!("{name}:7100"),
        partitions: 1,
        replicas: 2,
        join_after: Duration::ZERO,
        sender: crate::Sender::Primary,
    };
    Config {
        here: HERE,
        partition: PartitionId(0),
        replica,
        view: crate::outside(PartitionId(0)),
        shared: Some(shared),
        backup_to: None,
        spill: None,
        limits: Limits::default(),
        pace: Pace::default(),
    }
}

impl Seated {
    pub(super) fn new(name: &str, replica: ReplicaId) -> Self {
        Self::with(seated(name, replica))
    }

    fn with(config: Config) -> Self {
        let now = Instant(1_000_000_000);
        let replica = Replica::new(now, config);
        let mut bench = Self { replica, now, wake: now, said: Vec::new() };
        bench.input(Input::Wake);
        bench
    }

    pub(super) fn input(&mut self, input: Input) -> &[Output] {
        self.replica.handle_input(self.now, input);
        self.said.clear();
        loop {
            match self.replica.poll_output() {
                Output::WakeAt(at, _) => {
                    self.wake = at;
                    return &self.said;
                }
                other => self.said.push(other),
            }
        }
    }

    pub(super) fn map(&mut self, is_answer: bool, revision: u64, map: &SiteMap) -> &[Output] {
        let map = map.clone();
        let word = StoreWord::Map { is_answer, revision, store_revision: revision, map };
        self.input(Input::Store(word))
    }

    pub(super) fn peer(&mut self, replica: u64, news: PeerNews) -> &[Output] {
        self.input(Input::Peer { replica: ReplicaId(replica), news })
    }

    pub(super) fn asked(&self) -> Option<&StoreAsk> {
        self.said.iter().find_map(|output| match output {
            Output::Store(ask) => Some(ask),
            _ => None,
        })
    }

    /// Reads the map, and goes on until it asks for the next one.
    pub(super) fn proposed(&mut self, revision: u64, map: &SiteMap) -> Option<SiteMap> {
        for _ in 0..20 {
            match self.asked() {
                Some(StoreAsk::CompareAndSet { map, .. }) => return Some(map.clone()),
                Some(StoreAsk::Read) => self.map(true, revision, map),
                None => {
                    self.now = self.now + ms(100);
                    self.input(Input::Wake)
                }
            };
        }
        None
    }
}

/// A map in which the replicas serve, the first as primary; each in a process of its own name.
pub(super) fn map_of(number: u64, members: &[u64]) -> SiteMap {
    let view = PartitionView {
        members: members.iter().copied().map(ReplicaId).collect(),
        ..PartitionView::alone(PartitionId(0), ViewNumber(number), ReplicaId(0))
    };
    let seats = members.iter().map(|member| tier_protocol::Seat {
        replica: ReplicaId(*member),
        partition: PartitionId(0),
        name: format!("t{member}"),
        address: format!("t{member}:7100"),
        partitions: 1,
        replicas: 2,
    });
    SiteMap {
        last: ViewNumber(number),
        partitions: vec![view],
        seats: seats.collect(),
        moves: Vec::new(),
        settled: 0,
    }
}

#[test]
fn a_process_knows_of_its_own_earlier_life_that_it_is_gone() {
    let map = map_of(5, &[1, 2]);
    let mut bench = Seated::new("t1", ME);
    bench.peer(2, PeerNews::Gone { is_replaced: true });
    bench.map(true, 5, &map);
    let next = bench.proposed(5, &map).expect("every member is lost");
    assert_eq!(next.partitions[0].members, [ME]);
    // Of a member that may still be there it does not know that.
    let mut bench = Seated::new("t3", ME);
    bench.peer(2, PeerNews::Gone { is_replaced: true });
    bench.map(true, 5, &map);
    let next = bench.proposed(5, &map).expect("it takes a seat");
    assert_eq!(next.partitions, map.partitions);
}

#[test]
fn news_of_a_view_come_from_others_too() {
    let mut one = Seated::new("t1", ReplicaId(1));
    one.map(true, 5, &map_of(5, &[1, 2]));
    one.peer(2, PeerNews::Up);
    // The store told this one of a view of which the other does not hear.
    let map = map_of(6, &[1, 2]);
    let said = one.map(false, 6, &map).to_vec();
    let news = said.iter().find_map(|output| match output {
        Output::Peer { replica: ReplicaId(2), word } => Some(word.clone()),
        _ => None,
    });
    let news = news.expect("the other is told");
    assert_eq!(news, PeerWord::News { revision: 6, store_revision: 6, map: map.clone() });
    let mut other = Seated::new("t2", ReplicaId(2));
    other.map(true, 5, &map_of(5, &[1, 2]));
    other.peer(1, PeerNews::Said(news.clone()));
    assert_eq!(other.replica.view().number, ViewNumber(6));
    assert!(other.said.contains(&Output::Map(map)), "its engines are told");
    other.peer(1, PeerNews::Said(news));
    assert!(other.said.is_empty(), "news only once");
}

/// The joiner's half of a copy: its primary is replica 1, and nothing was copied yet.
fn joiner() -> Seated {
    let mut map = map_of(5, &[1]);
    map.partitions[0].joining = vec![ReplicaId(2)];
    let mut bench = Seated::new("t2", ReplicaId(2));
    bench.map(true, 5, &map);
    bench.peer(1, PeerNews::Up);
    bench.input(Input::EngineUp { engine: A });
    bench
}

fn token(counter: u64) -> LockToken {
    LockToken { view: ViewNumber(5), counter }
}

fn put_under(bench: &mut Seated, number: u8, counter: u64) -> Reply {
    let stamp =
        Stamp { epoch: Epoch::of_start(HERE, 1), token: token(counter), version: Version(4) };
    let command = Command::Put {
        view: bench.replica.view().number,
        record: record(key(number), stamp, HERE),
        base: None,
        flags: BUSY,
    };
    match bench.input(Input::Command { engine: A, command }) {
        [Output::Reply { reply, .. }] => reply.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_put_of_a_call_that_went_before_the_copy_does_not_bring_it_back() {
    let mut bench = joiner();
    // Said under a lock that ended long ago, of calls that were removed since.
    assert!(matches!(put_under(&mut bench, 1, 3), Reply::Stored { .. }), "nobody can tell yet");
    let view = ViewNumber(5);
    let (after, run, next, total, floor) = (None, CopiedRun::default(), None, 0, token(9));
    let page = PeerWord::CopyPage { view, after, run, next, total, floor };
    bench.peer(1, PeerNews::Said(page));
    assert!(bench.replica.calls(None, 9).is_empty(), "the primary has no such call");
    for number in [1, 2] {
        assert!(matches!(
            put_under(&mut bench, number, 3),
            Reply::Refused { why: Refusal::OldToken, .. }
        ));
    }
    assert!(matches!(put_under(&mut bench, 3, 9), Reply::Stored { .. }), "that lock may live");
    // What it knows of the copy it knows as a member too.
    bench.map(false, 6, &map_of(6, &[1, 2]));
    assert!(matches!(put_under(&mut bench, 2, 3), Reply::Refused { .. }));
}

#[test]
fn whoever_does_not_hear_what_became_of_its_change_goes_on_in_the_view_it_knows() {
    let mut bench = joiner();
    let view = ViewNumber(5);
    let (after, run, next, total, floor) = (None, CopiedRun::default(), None, 0, token(1));
    let page = PeerWord::CopyPage { view, after, run, next, total, floor };
    bench.peer(1, PeerNews::Said(page));
    let mut map = map_of(5, &[1]);
    map.partitions[0].joining = vec![ReplicaId(2)];
    let next = bench.proposed(5, &map).expect("it has the copy");
    assert_eq!(next.partitions[0].members, [ReplicaId(1), ReplicaId(2)]);
    let stamp = Stamp { epoch: Epoch::of_start(HERE, 1), token: token(3), version: Version(1) };
    let record = record(key(1), stamp, HERE);
    let command = Command::Put { view, record, base: None, flags: BUSY };
    assert!(bench.input(Input::Command { engine: A, command }).is_empty(), "it is being decided");
    let said = bench.input(Input::Store(StoreWord::Away { may_have_happened: true }));
    let stored = Reply::Stored { key: key(1), stamp };
    assert!(said.contains(&Output::Reply { engine: A, view, reply: stored }), "{said:?}");
}

#[test]
fn a_call_that_has_rested_wakes_nobody_while_a_view_is_being_decided() {
    let spill = Spill { after: SpillAfter::Steady(ms(1_000)), ..Spill::default() };
    let config = Config { spill: Some(spill), ..seated("t2", ReplicaId(2)) };
    let mut bench = Seated::with(config);
    let map = map_of(5, &[1, 2]);
    bench.map(true, 5, &map);
    bench.peer(1, PeerNews::Up);
    bench.input(Input::EngineUp { engine: A });
    let (view, token) = (ViewNumber(5), token(3));
    let stamp = Stamp { epoch: Epoch::of_start(HERE, 1), token, version: Version(1) };
    let record = record(key(1), stamp, HERE);
    let command = Command::Put { view, record, base: None, flags: BOUNDARY };
    bench.input(Input::Command { engine: A, command });
    bench
        .input(Input::Command { engine: A, command: Command::Unlock { view, key: key(1), token } });
    bench.peer(1, PeerNews::Gone { is_replaced: true });
    bench.proposed(5, &map).expect("the primary is lost");
    // It waits for the coordination store, which hangs. Without a pause it would spin.
    bench.now = bench.now + ms(60_000);
    for _ in 0..5 {
        bench.input(Input::Wake);
    }
    assert!(bench.wake > bench.now, "woken at {:?}, at {:?}", bench.wake, bench.now);
}

/// A copy of the other site's call, put there under a lock with a number far above any of here.
fn copy_of(number: u8, version: u64) -> Record {
    let token = LockToken { view: ViewNumber(1_000_000), counter: version };
    let stamp = Stamp { epoch: Epoch::of_start(THERE, 1), token, version: Version(version) };
    record(key(number), stamp, THERE)
}

fn bring(bench: &mut Seated, record: Record) {
    let view = bench.replica.view().number;
    let command = Command::StoreDormant { view, batch: 1, record };
    let said = bench.input(Input::Command { engine: A, command });
    assert!(matches!(said, [Output::Reply { reply: Reply::Dormant { .. }, .. }]), "{said:?}");
}

fn held(bench: &Seated, number: u8) -> Option<Version> {
    let stamp = bench.replica.get(bench.now, key(number))?.summary.stamp;
    stamp.map(|stamp| stamp.version)
}

/// A member whose primary is replica 1.
fn member() -> Seated {
    let mut bench = Seated::new("t2", ReplicaId(2));
    bench.map(true, 5, &map_of(5, &[1, 2]));
    bench.peer(1, PeerNews::Up);
    bench.input(Input::EngineUp { engine: A });
    bench
}

/// The primary's answer to a question after calls 1 and 2: an older copy of one, and no other.
fn answer_of_primary() -> PeerNews {
    let mut primary = Bench::new();
    primary.store_dormant(copy_of(1, 2));
    let older = primary.replica.copied(primary.now, key(1)).expect("it sleeps there");
    PeerNews::Said(PeerWord::Repaired {
        view: ViewNumber(5),
        calls: vec![older],
        spilled: Vec::new(),
        gone: vec![key(2)],
        floor: token(7),
    })
}

/// The copies were acknowledged to their home all the same: one was replaced by an older one, one
/// was gone.
#[test]
fn a_copy_that_has_yet_to_reach_the_primary_is_not_mended_away() {
    let mut bench = member();
    bring(&mut bench, copy_of(1, 4));
    bring(&mut bench, copy_of(2, 4));
    bench.peer(1, answer_of_primary());
    assert_eq!((held(&bench, 1), held(&bench, 2)), (Some(Version(4)), Some(Version(4))));
}

/// It was never mended where the other site's locks have the higher numbers.
#[test]
fn a_copy_that_the_primary_does_not_have_is_mended_away_in_the_end() {
    let mut bench = member();
    bring(&mut bench, copy_of(1, 4));
    bring(&mut bench, copy_of(2, 4));
    bench.now = bench.now + ms(10_000);
    bench.peer(1, answer_of_primary());
    assert_eq!((held(&bench, 1), held(&bench, 2)), (Some(Version(2)), None));
}

#[test]
fn a_copy_that_came_before_its_page_is_kept_by_a_joiner() {
    let mut bench = joiner();
    let mut record = copy_of(1, 4);
    record.header.stamp.token = token(3);
    bring(&mut bench, record);
    let view = ViewNumber(5);
    let (after, run, next, total, floor) = (None, CopiedRun::default(), None, 0, token(9));
    let page = PeerWord::CopyPage { view, after, run, next, total, floor };
    bench.peer(1, PeerNews::Said(page));
    assert_eq!(held(&bench, 1), Some(Version(4)));
}

#[test]
fn a_copy_that_came_before_its_page_and_is_over_goes() {
    let mut bench = joiner();
    bring(&mut bench, copy_of(1, 4));
    bring(&mut bench, copy_of(2, 4));
    let view = ViewNumber(5);
    let removed = |number, version| (key(number), copy_of(number, version).header.stamp);
    // Of the second call the removal is older than what came.
    let removed = vec![removed(1, 5), removed(2, 3)];
    let run = CopiedRun { removed, ..CopiedRun::default() };
    let (after, next, total, floor) = (None, None, 0, token(9));
    let page = PeerWord::CopyPage { view, after, run, next, total, floor };
    bench.peer(1, PeerNews::Said(page));
    assert_eq!((held(&bench, 1), held(&bench, 2)), (None, Some(Version(4))));
}
