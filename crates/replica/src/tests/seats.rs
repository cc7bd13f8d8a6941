//! Who waits for a partition, as those see it who serve.

use super::shared::{Seated, map_of};
use super::*;
use crate::{Conflict, PeerNews, StoreAsk, StoreWord};
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

/// A process that starts under the name of the one that serves alone, at another address.
fn namesake() -> (Seated, SiteMap) {
    let mut map = map_of(5, &[1]);
    map.seats[0].name = "t7".into();
    let mut bench = Seated::new("t7", ReplicaId(WAITING));
    bench.map(true, 5, &map);
    (bench, map)
}

#[test]
fn a_second_process_of_one_name_does_no_harm_to_the_one_that_serves() {
    let (mut bench, map) = namesake();
    assert!(bench.replica.conflicts().is_empty(), "it may be an earlier life");
    bench.peer(1, PeerNews::Up);
    assert_eq!(bench.replica.conflicts(), [Conflict::Name { other: ReplicaId(1) }]);
    // It is not seated and hears nothing, but the link stands.
    assert_eq!(bench.proposed(5, &map), None, "it would have put the other out of the map");
    bench.now = bench.now + ms(60_000);
    assert_eq!(bench.proposed(5, &map), None);
    // The one that serves does not mind.
    let mut serving = Seated::new("t7", ReplicaId(1));
    let mut both = map.clone();
    both.seats.extend(map_of(5, &[WAITING]).seats);
    both.partitions[0].joining = vec![ReplicaId(3)];
    serving.map(true, 5, &both);
    serving.peer(3, PeerNews::Gone { is_replaced: true });
    let next = serving.proposed(5, &both).expect("it goes on with its view");
    assert!(next.partitions[0].joining.is_empty());
}

#[test]
fn an_earlier_life_at_another_address_is_known_by_its_silence() {
    let (mut bench, map) = namesake();
    bench.now = bench.now + ms(500);
    bench.input(Input::Wake);
    assert_eq!(bench.asked(), None, "it has not been silent for long");
    let next = bench.proposed(5, &map).expect("nobody answers there");
    assert_eq!(next.partitions[0].members, [ReplicaId(WAITING)], "its calls went with it");
}

#[test]
fn numbers_that_differ_are_told_on_both_sides() {
    let mut map = map_of(5, &[1, 2]);
    map.seats[1].partitions = 4;
    map.seats[1].replicas = 3;
    let mut bench = Seated::new("t1", ReplicaId(1));
    bench.map(true, 5, &map);
    let other = ReplicaId(2);
    let told = [
        Conflict::Partitions { other, here: 1, there: 4 },
        Conflict::Replicas { other, here: 2, there: 3 },
    ];
    assert_eq!(bench.replica.conflicts(), told);
    // An earlier build does not say.
    (map.seats[1].partitions, map.seats[1].replicas) = (0, 0);
    bench.map(false, 6, &SiteMap { last: ViewNumber(6), ..map });
    assert!(bench.replica.conflicts().is_empty());
}

#[test]
fn a_map_tells_who_is_heard() {
    let mut map = map_of(5, &[1, 2]);
    map.partitions.push(PartitionView::alone(PartitionId(1), ViewNumber(3), ReplicaId(4)));
    let mut bench = Seated::new("t1", ReplicaId(1));
    bench.map(true, 5, &map);
    let heard = |bench: &Seated, id: u64| bench.replica.heard(bench.now, ReplicaId(id));
    assert_eq!(
        (heard(&bench, 1), heard(&bench, 2), heard(&bench, 4)),
        (Some(true), Some(false), Some(false))
    );
    [2, 4].into_iter().for_each(|id| drop(bench.peer(id, PeerNews::Up).to_vec()));
    bench.peer(2, PeerNews::Said(PeerWord::Pong { number: 1 }));
    assert_eq!((heard(&bench, 2), heard(&bench, 4)), (Some(true), None), "nobody pings it here");
    bench.now = bench.now + ms(1_500);
    assert_eq!(heard(&bench, 2), Some(false));
}

#[test]
fn a_store_that_takes_no_write_is_as_good_as_away() {
    let (mut bench, map) = site();
    let mut lost = map.clone();
    lost.partitions[0].members.push(ReplicaId(2));
    bench.map(false, 6, &lost);
    bench.peer(2, PeerNews::Gone { is_replaced: true });
    for _ in 0..3 {
        assert!(bench.proposed(6, &lost).is_some(), "it is asked again and again");
        bench.input(Input::Store(StoreWord::Away { may_have_happened: false }));
        assert!(bench.replica.is_store_unwritable());
        // It answers the next read.
        bench.now = bench.now + ms(300);
        bench.input(Input::Wake);
        assert_eq!(bench.asked(), Some(&StoreAsk::Read));
        assert!(bench.replica.is_store_unwritable());
    }
    assert!(bench.proposed(6, &lost).is_some());
    assert!(bench.replica.is_store_unwritable(), "a read proves nothing");
    bench.input(Input::Store(StoreWord::Written { revision: 7 }));
    assert!(!bench.replica.is_store_unwritable());
}
