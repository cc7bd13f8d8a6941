//! Who waits for a partition, as those see it who serve.

use super::shared::{Seated, map_of};
use super::*;
use crate::{PeerNews, StoreAsk, StoreWord};
use tier_protocol::{PeerWord, Seat, SiteMap};

const WAITING: u64 = 7;

/// One member serves; a process waits for a partition that is not made.
fn site() -> (Seated, SiteMap) {
    let mut map = map_of(5, &[1]);
    map.seats.push(Seat { partition: PartitionId(2), ..map_of(5, &[WAITING]).seats.remove(0) });
    let mut bench = Seated::new("t1", ReplicaId(1));
    bench.map(true, 5, &map);
    bench.peer(WAITING, PeerNews::Up);
    (bench, map)
}

/// Lets time pass; what the member asks of the store meanwhile. The other answers if it `lives`.
fn asked_within(bench: &mut Seated, seconds: u64, lives: bool) -> Option<StoreAsk> {
    for _ in 0..seconds * 10 {
        bench.now = bench.now + ms(100);
        bench.input(Input::Wake);
        if let Some(ask) = bench.asked() {
            return Some(ask.clone());
        }
        let pinged = bench.said.iter().any(|said| {
            matches!(said, Output::Peer { replica, word: PeerWord::Ping { .. } }
                if *replica == ReplicaId(WAITING))
        });
        if lives && pinged {
            bench.peer(WAITING, PeerNews::Said(PeerWord::Pong { number: 1 }));
        }
    }
    None
}

#[test]
fn a_waiting_process_that_is_silent_for_long_gives_its_seat_up() {
    let (mut bench, map) = site();
    assert_eq!(asked_within(&mut bench, 60, true), None, "it lives");
    assert_eq!(asked_within(&mut bench, 25, false), None, "it may start again");
    assert_eq!(asked_within(&mut bench, 10, false), Some(StoreAsk::Read));
    let next = bench.proposed(5, &map).expect("it is dead");
    assert_eq!((next.partitions, next.seats.len()), (map.partitions, 1));
}

#[test]
fn a_waiting_process_without_its_seat_takes_it_again() {
    let map = map_of(5, &[1]);
    let mut bench = Seated::new("t7", ReplicaId(WAITING));
    bench.map(true, 5, &map);
    let next = bench.proposed(5, &map).expect("it sits");
    assert!(next.seat(ReplicaId(WAITING)).is_some());
    bench.input(Input::Store(StoreWord::Written { revision: 6 }));
    let without = map_of(7, &[1]);
    bench.map(false, 7, &without);
    let next = bench.proposed(7, &without).expect("it sits again");
    assert!(next.seat(ReplicaId(WAITING)).is_some());
}

#[test]
fn who_serves_nowhere_is_not_short_of_redundancy() {
    let mut bench = Seated::new("t7", ReplicaId(WAITING));
    bench.map(true, 5, &map_of(5, &[1]));
    bench.now = bench.now + ms(5_000);
    assert_eq!(bench.replica.stats(bench.now).view.short_for, None, "it waits");
    let (mut member, _) = site();
    member.now = member.now + ms(5_000);
    assert_eq!(member.replica.stats(member.now).view.short_for, Some(ms(5_000)));
}
