//! Orders about the map that wait, and what ends them.

use super::shared::{ME, Seated, map_of};
use super::*;
use crate::{Lapse, PeerNews, StoreAsk, StoreWord};
use tier_protocol::{PeerWord, SlotMove, SlotSet};

const PONG: PeerNews = PeerNews::Said(PeerWord::Pong { number: 1 });
const AWAY: Input = Input::Store(StoreWord::Away { may_have_happened: false });

/// A replica that waits for the partition of two others, and was told to begin it anew while the
/// coordination store is away.
fn ordered() -> Seated {
    let mut bench = Seated::new("t3", ME);
    bench.map(true, 5, &with_me(5));
    bench.input(Input::Order(Order::Refound));
    assert_eq!(bench.asked(), Some(&StoreAsk::Read), "the newest map first");
    assert!(bench.input(AWAY).is_empty());
    assert_eq!(bench.replica.stats(bench.now).view.ordered, Some(Order::Refound), "it waits");
    bench
}

fn with_me(number: u64) -> tier_protocol::SiteMap {
    let mut map = map_of(number, &[1, 2]);
    map.seats.extend(map_of(number, &[ME.0]).seats);
    map
}

fn dropped(bench: &Seated) -> Option<Lapse> {
    bench.said.iter().find_map(|output| match output {
        Output::Dropped { order: Order::Refound, why } => Some(*why),
        _ => None,
    })
}

/// The store is back: what the replica proposes within some seconds.
fn proposed_later(bench: &mut Seated, number: u64) -> Option<Vec<ReplicaId>> {
    bench.now = bench.now + ms(1_000);
    bench.input(Input::Wake);
    bench.proposed(number, &with_me(number)).map(|map| map.partitions[0].members.clone())
}

#[test]
fn a_partition_is_begun_anew_when_the_store_is_back() {
    let mut bench = ordered();
    assert_eq!(proposed_later(&mut bench, 5), Some(vec![ME]));
    bench.input(Input::Store(StoreWord::Written { revision: 6 }));
    assert_eq!((dropped(&bench), bench.replica.leads()), (None, true));
}

#[test]
fn the_first_sign_of_life_of_a_member_ends_the_order_to_begin_anew() {
    for news in [PeerNews::Up, PONG] {
        let mut bench = ordered();
        bench.peer(2, news);
        assert_eq!(dropped(&bench), Some(Lapse::Heard(ReplicaId(2))));
        // It is silent again before the store is back.
        bench.peer(2, PeerNews::Down);
        assert_eq!(proposed_later(&mut bench, 5), None, "it would lose the calls of the other");
    }
    let mut bench = ordered();
    bench.peer(4, PONG);
    assert_eq!(dropped(&bench), None, "it is no member, and has no calls");
}

#[test]
fn an_order_to_begin_anew_is_not_taken_while_a_member_answers() {
    let mut bench = Seated::new("t3", ME);
    bench.map(true, 5, &with_me(5));
    bench.peer(1, PeerNews::Up);
    bench.peer(1, PONG);
    bench.input(Input::Order(Order::Refound));
    assert_eq!(dropped(&bench), Some(Lapse::Heard(ReplicaId(1))));
}

#[test]
fn an_order_to_begin_anew_ends_with_the_view_that_it_was_given_for() {
    let mut bench = ordered();
    bench.now = bench.now + ms(1_000);
    bench.input(Input::Wake);
    assert_eq!(bench.asked(), Some(&StoreAsk::Read));
    bench.map(true, 6, &with_me(6));
    assert_eq!(dropped(&bench), Some(Lapse::Overtaken), "somebody changed it, and serves");
    assert_eq!(proposed_later(&mut bench, 6), None);
}

#[test]
fn a_write_that_may_have_happened_is_not_said_again_once_a_member_is_heard() {
    let mut bench = ordered();
    assert_eq!(proposed_later(&mut bench, 5), Some(vec![ME]));
    bench.input(Input::Store(StoreWord::Away { may_have_happened: true }));
    bench.peer(1, PONG);
    assert_eq!(dropped(&bench), Some(Lapse::Heard(ReplicaId(1))));
    let members = proposed_later(&mut bench, 5).expect("only another write brings certainty");
    assert_eq!(members, [ReplicaId(1), ReplicaId(2)], "the map stays what it was");
}

#[test]
fn a_move_is_taken_back_before_it_was_begun_and_after() {
    let (from, to) = (PartitionId(0), PartitionId(2));
    let of = SlotMove { from, to, slots: SlotSet::ALL.upper_half(), replicas: 1 };
    let cancel = Input::Order(Order::CancelMove { from, to });
    let mut bench = Seated::new("t1", ReplicaId(1));
    let mut map = map_of(5, &[1]);
    bench.map(true, 5, &map);
    bench.input(Input::Order(Order::MoveSlots(of)));
    bench.input(AWAY);
    bench.input(cancel.clone());
    bench.now = bench.now + ms(1_000);
    bench.input(Input::Wake);
    assert_eq!(bench.proposed(5, &map), None, "nothing was planned yet");
    assert_eq!(bench.replica.stats(bench.now).view.ordered, None);
    map.moves.push(of);
    bench.map(false, 6, &map);
    bench.input(cancel);
    let next = bench.proposed(6, &map).expect("it was planned");
    assert!(next.moves.is_empty());
}
