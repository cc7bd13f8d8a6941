//! Shares of slots, and maps that are read back.

use super::*;

#[test]
fn shares_of_any_count_are_disjoint_and_cover_all() {
    for count in 1..=17 {
        let mut seen = SlotSet::NONE;
        for index in 0..count {
            let share = SlotSet::share(index, count);
            assert!(share.iter().all(|slot| !seen.contains(slot)), "{count}: {share} overlaps");
            share.iter().for_each(|slot| seen.insert(slot));
        }
        assert_eq!(seen, SlotSet::ALL, "{count}");
    }
}

#[test]
fn slots_are_printed_as_runs() {
    assert_eq!(SlotSet::ALL.to_string(), "0-1023");
    assert_eq!(SlotSet::NONE.to_string(), "none");
    let mut set = SlotSet::share(0, 4);
    set.insert(Slot(700));
    assert_eq!(set.to_string(), "0-255,700-700");
    assert_eq!(SlotSet::ALL.upper_half().to_string(), "512-1023");
    assert_eq!(SlotSet::ALL.without(&SlotSet::ALL.upper_half()).to_string(), "0-511");
}

#[test]
fn a_map_is_read_back_as_written() {
    let view = PartitionView {
        members: vec![ReplicaId(3), ReplicaId(4)],
        joining: vec![ReplicaId(9)],
        led_since: ViewNumber(5),
        slots: SlotSet::share(1, 2),
        life: 3,
        ..PartitionView::alone(PartitionId(1), ViewNumber(7), ReplicaId(3))
    };
    let empty = PartitionView {
        members: Vec::new(),
        ..PartitionView::alone(PartitionId(2), ViewNumber(0), ReplicaId(0))
    };
    let map = SiteMap {
        last: ViewNumber(7),
        partitions: vec![view, empty],
        seats: vec![Seat {
            replica: ReplicaId(3),
            partition: PartitionId(1),
            name: "state-a".into(),
            address: "192.0.2.1:9000".into(),
            partitions: 4,
            replicas: 3,
        }],
        moves: vec![SlotMove {
            from: PartitionId(1),
            to: PartitionId(3),
            slots: SlotSet::share(3, 4),
            replicas: 3,
        }],
        settled: 2,
    };
    assert_eq!(SiteMap::decode(map.encode()), Ok(map.clone()));
    assert_eq!((map.gatekeeper(), map.life()), (Some(ReplicaId(3)), 3));
    assert_eq!(SiteMap::decode(SiteMap::default().encode()), Ok(SiteMap::default()));
}

#[test]
fn a_map_of_a_later_build_is_refused() {
    let mut bytes = BytesMut::new();
    let later = wire::view::SiteMap::new(&SiteMap::default(), 2);
    later.encode(&mut bytes).expect("BytesMut grows as needed");
    let refused = DecodeError::Unknown { what: "version of the site's map", value: 2 };
    assert_eq!(SiteMap::decode(bytes.freeze()), Err(refused));
}
