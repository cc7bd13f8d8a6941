//! A replica that shares its partition: what it makes of maps, of others, and of a store that does
//! not answer.

use tier_protocol::{PeerWord, SiteMap};

use super::*;
use crate::{PeerNews, Shared, StoreAsk, StoreWord};

const ME: ReplicaId = ReplicaId(9);

struct Seated {
    replica: Replica,
    now: Instant,
    said: Vec<Output>,
}

fn seated(name: &str, replica: ReplicaId) -> Config {
    let shared = Shared {
        name: name.to_owned(),
        address: format!("{name}:7100"),
        partitions: 1,
        replicas: 2,
        join_after: Duration::ZERO,
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
    fn new(name: &str, replica: ReplicaId) -> Self {
        let now = Instant(1_000_000_000);
        let mut bench =
            Self { replica: Replica::new(now, seated(name, replica)), now, said: Vec::new() };
        bench.input(Input::Wake);
        bench
    }

    fn input(&mut self, input: Input) -> &[Output] {
        self.replica.handle_input(self.now, input);
        self.said.clear();
        loop {
            match self.replica.poll_output() {
                Output::WakeAt(..) => return &self.said,
                other => self.said.push(other),
            }
        }
    }

    fn map(&mut self, is_answer: bool, revision: u64, map: &SiteMap) -> &[Output] {
        let map = map.clone();
        let word = StoreWord::Map { is_answer, revision, store_revision: revision, map };
        self.input(Input::Store(word))
    }

    fn peer(&mut self, replica: u64, news: PeerNews) -> &[Output] {
        self.input(Input::Peer { replica: ReplicaId(replica), news })
    }

    fn asked(&self) -> Option<&StoreAsk> {
        self.said.iter().find_map(|output| match output {
            Output::Store(ask) => Some(ask),
            _ => None,
        })
    }

    /// Reads the map, and goes on until it asks for the next one.
    fn proposed(&mut self, revision: u64, map: &SiteMap) -> Option<SiteMap> {
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
fn map_of(number: u64, members: &[u64]) -> SiteMap {
    let view = PartitionView {
        members: members.iter().copied().map(ReplicaId).collect(),
        ..PartitionView::alone(PartitionId(0), ViewNumber(number), ReplicaId(0))
    };
    let seats = members.iter().map(|member| tier_protocol::Seat {
        replica: ReplicaId(*member),
        partition: PartitionId(0),
        name: format!("t{member}"),
        address: format!("t{member}:7100"),
    });
    SiteMap {
        last: ViewNumber(number),
        partitions: vec![view],
        seats: seats.collect(),
        moves: Vec::new(),
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
