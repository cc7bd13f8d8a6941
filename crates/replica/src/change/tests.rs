//! Lives of a map, change by change.

use super::*;

const HOME: PartitionId = PartitionId(0);

fn seat(number: u64, partition: u16) -> Seat {
    Seat {
        replica: ReplicaId(number),
        partition: PartitionId(partition),
        name: format!("state-{}", number % 10),
        address: format!("192.0.2.{number}:9000"),
        partitions: 2,
        replicas: 3,
    }
}

fn after(map: &SiteMap, change: Change, number: u64) -> Option<SiteMap> {
    apply(change, map, 0, &seat(number, 0), HOME, 2)
}

fn must(map: &SiteMap, change: Change, number: u64) -> SiteMap {
    let next = after(map, change, number).expect("the change makes sense");
    assert!(next.last > map.last || change == Change::Sit, "{change:?} gives no new number");
    next
}

fn members(map: &SiteMap) -> Vec<u64> {
    map.view(HOME).expect("founded").members.iter().map(|member| member.0).collect()
}

fn three() -> SiteMap {
    let mut map = must(&SiteMap::default(), Change::Found, 1);
    for number in [2, 3] {
        map = must(&must(&map, Change::Join, number), Change::Complete, number);
    }
    map
}

#[test]
fn the_first_founder_deals_all_slots_and_serves_its_own() {
    let map = must(&SiteMap::default(), Change::Found, 1);
    assert_eq!(members(&map), [1]);
    let other = map.view(PartitionId(1)).expect("dealt");
    assert!(other.members.is_empty());
    assert_eq!(other.slots, SlotSet::share(1, 2));
    assert_eq!(after(&map, Change::Found, 2), None, "it has a member");
}

#[test]
fn joining_is_not_being_a_member() {
    let map = must(&SiteMap::default(), Change::Found, 1);
    let joining = must(&map, Change::Join, 2);
    assert_eq!(members(&joining), [1]);
    let view = joining.view(HOME).expect("founded");
    assert_eq!(view.joining, [ReplicaId(2)]);
    assert_eq!(view.led_since, map.view(HOME).expect("founded").led_since);
    assert_eq!(members(&must(&joining, Change::Complete, 2)), [1, 2]);
    assert_eq!(after(&map, Change::Complete, 2), None, "it never joined");
}

#[test]
fn a_removed_primary_ends_an_era_and_a_removed_follower_does_not() {
    let map = three();
    let led_since = |map: &SiteMap| map.view(HOME).expect("founded").led_since;
    let without_two = must(&map, Change::Remove(ReplicaId(2)), 1);
    assert_eq!((members(&without_two), led_since(&without_two)), (vec![1, 3], led_since(&map)));
    let without_one = must(&map, Change::Remove(ReplicaId(1)), 2);
    assert_eq!(members(&without_one), [2, 3]);
    assert_eq!(led_since(&without_one), without_one.view(HOME).expect("founded").number);
}

#[test]
fn the_last_complete_member_stays() {
    let map = must(&SiteMap::default(), Change::Found, 1);
    let joining = must(&map, Change::Join, 2);
    assert_eq!(after(&joining, Change::Remove(ReplicaId(1)), 2), None);
}

#[test]
fn who_is_not_in_the_view_removes_nobody() {
    assert_eq!(after(&three(), Change::Remove(ReplicaId(1)), 7), None);
}

#[test]
fn a_process_that_starts_again_pushes_out_its_earlier_life() {
    let again = must(&three(), Change::Join, 12);
    assert_eq!(members(&again), [1, 3]);
    assert_eq!(again.view(HOME).expect("founded").joining, [ReplicaId(12)]);
    assert!(again.seat(ReplicaId(2)).is_none());
}

#[test]
fn an_earlier_life_that_was_the_last_member_stays_until_it_is_refounded() {
    let map = must(&SiteMap::default(), Change::Found, 1);
    let joined = must(&map, Change::Join, 11);
    assert_eq!(members(&joined), [1], "nobody else has the calls");
    let anew = must(&map, Change::Refound, 11);
    assert_eq!(members(&anew), [11]);
}

#[test]
fn numbers_go_on_above_a_store_that_lost_its_map() {
    let map = apply(Change::Found, &SiteMap::default(), 500, &seat(1, 0), HOME, 1);
    assert!(map.expect("founded").last > ViewNumber(500));
}

#[test]
fn slots_move_when_enough_takers_are_complete() {
    let slots = SlotSet::share(0, 2).upper_half();
    let to = PartitionId(2);
    let of = SlotMove { from: HOME, to, slots, replicas: 1 };
    let planned = must_sit(&three(), Change::Plan(of));
    assert_eq!(after(&planned, Change::Plan(of), 1), None, "one move of a partition at a time");
    assert_eq!(after(&planned, Change::Divide, 1), None, "nobody has a copy");
    let taker = seat(8, 2);
    let joined = apply(Change::Join, &planned, 0, &taker, HOME, 2).expect("joins");
    assert_eq!(after(&joined, Change::Divide, 1), None, "its copy is not complete");
    let complete = apply(Change::Complete, &joined, 0, &taker, HOME, 2).expect("complete");
    let divided = must(&complete, Change::Divide, 1);
    assert_eq!(members(&divided), [1, 2, 3]);
    let new = divided.view(to).expect("divided off");
    assert_eq!((new.members.as_slice(), new.slots), ([ReplicaId(8)].as_slice(), slots));
    assert_eq!(new.led_since, new.number);
    let old = divided.view(HOME).expect("founded");
    assert_eq!(old.slots, SlotSet::share(0, 2).without(&slots));
    assert_eq!(old.led_since, complete.view(HOME).expect("founded").led_since);
    assert!(divided.moves.is_empty());
}

/// A move of one partition for which replica 8 has a copy.
fn moving(map: &SiteMap) -> SiteMap {
    let slots = SlotSet::share(0, 2).upper_half();
    let of = SlotMove { from: HOME, to: PartitionId(2), slots, replicas: 2 };
    let planned = must_sit(map, Change::Plan(of));
    let joined = apply(Change::Join, &planned, 0, &seat(8, 2), HOME, 2).expect("joins");
    let joined = apply(Change::Join, &joined, 0, &seat(9, 2), HOME, 2).expect("joins");
    apply(Change::Complete, &joined, 0, &seat(8, 2), HOME, 2).expect("complete")
}

#[test]
fn a_move_that_is_taken_back_leaves_the_view_as_it_was() {
    let moving = moving(&three());
    let cancel = Change::Cancel { from: HOME, to: PartitionId(2) };
    let other = Change::Cancel { from: HOME, to: PartitionId(3) };
    assert_eq!(after(&moving, other, 1), None, "no such move");
    let back = must(&moving, cancel, 1);
    assert_eq!((members(&back), back.moves.len()), (vec![1, 2, 3], 0));
    assert!(back.view(HOME).expect("founded").joining.is_empty());
    assert!(!back.seats.iter().any(|seat| seat.partition == PartitionId(2)), "they begin again");
    assert_eq!(after(&back, cancel, 1), None, "it was taken back");
    let slots = back.view(HOME).expect("founded").slots;
    assert_eq!(slots, SlotSet::share(0, 2));
}

#[test]
fn a_move_is_not_taken_back_when_only_its_takers_have_the_calls() {
    let mut map = moving(&three());
    for number in [1, 2, 3] {
        let remove = Change::Remove(ReplicaId(number));
        map = apply(remove, &map, 0, &seat(8, 2), HOME, 2).expect("dead");
    }
    assert_eq!(members(&map), [8]);
    let cancel = Change::Cancel { from: HOME, to: PartitionId(2) };
    assert_eq!(apply(cancel, &map, 0, &seat(8, 2), HOME, 2), None, "the calls would be lost");
    // It led: once another has the calls too, an era ends with it.
    let joined = must(&must(&map, Change::Join, 4), Change::Complete, 4);
    let back = must(&joined, cancel, 4);
    let view = back.view(HOME).expect("founded");
    assert_eq!(members(&back), [4]);
    assert!(view.led_since > joined.view(HOME).expect("founded").number, "its locks are over");
}

#[test]
fn only_who_waits_is_unseated() {
    let map = after(&three(), Change::Sit, 7).expect("it has no seat yet");
    let unseat = |replica: u64| Change::Unseat(ReplicaId(replica));
    assert_eq!(after(&map, unseat(3), 1), None, "it is a member");
    let without = must_sit(&map, unseat(7));
    assert_eq!(without.seats, three().seats);
    assert_eq!(after(&without, unseat(7), 1), None, "somebody else was first");
}

fn must_sit(map: &SiteMap, change: Change) -> SiteMap {
    after(map, change, 1).expect("the change makes sense")
}

#[test]
fn whoever_begins_anew_forgets_the_seats_of_those_that_are_lost() {
    let map = three();
    // The second life of the process whose first life was replica 1.
    let anew = must(&map, Change::Refound, 11);
    assert_eq!(members(&anew), [11]);
    let seats: Vec<u64> = anew.seats.iter().map(|seat| seat.replica.0).collect();
    assert_eq!(seats, [11], "nobody dials the dead");
}
