//! What an operator reads of partitions, word for word.

use super::*;

fn replica(number: u64, name: &str, partition: u16) -> Replica {
    let address = format!("10.0.0.{number}:9000");
    Replica { replica: number, name: name.into(), address, partition, heard: Some(true) }
}

/// Two partitions, the first of them on its way to be divided.
fn site() -> PartitionsReply {
    let first = Partition {
        partition: 0,
        view: 31,
        slots: "0-511".into(),
        slot_count: 512,
        members: vec![replica(1, "s00", 0), replica(2, "s01", 0), replica(7, "s20", 2)],
        joining: vec![replica(8, "s21", 2)],
    };
    let second = Partition {
        partition: 1,
        view: 9,
        slots: "512-1023".into(),
        slot_count: 512,
        members: vec![replica(4, "s10", 1)],
        joining: Vec::new(),
    };
    PartitionsReply {
        here: 1,
        partitions: vec![first, second],
        waiting: vec![replica(9, "s22", 2)],
        moves: vec![Move { from: 0, to: 2, slots: "256-511".into(), replicas: 3, ready: 1 }],
        store_away: false,
    }
}

#[test]
fn a_site_of_several_partitions_is_a_table() {
    let expected = "\
partition  view  slots     primary  members   joining
0          31    0-511     s00      s01, s20  s21
1          9     512-1023  s10      -         -
s22 waits          for partition 2, at 10.0.0.9:9000
slots 256-511      from partition 0 to 2: 1 of 3 replicas ready
";
    assert_eq!(partitions(&site()), expected);
}

#[test]
fn what_is_wrong_is_told_in_capitals() {
    let mut reply = site();
    reply.store_away = true;
    reply.partitions[1].members.clear();
    reply.partitions[0].members[1].heard = Some(false);
    // Of another partition: nobody knows.
    reply.partitions[0].members[2].heard = None;
    let text = partitions(&reply);
    assert!(text.contains("512-1023  NOBODY"), "{text}");
    assert!(text.contains("s01 (SILENT), s20 "), "{text}");
    let away = "coordination       AWAY: views cannot change; calls go on\n";
    assert!(text.ends_with(away), "{text}");
}

#[test]
fn a_replica_of_its_own_has_no_name() {
    let members = vec![Replica { replica: 65_537, ..Replica::default() }];
    let alone = Partition { view: 1, slots: "0-1023".into(), members, ..Partition::default() };
    let reply = PartitionsReply { partitions: vec![alone], ..PartitionsReply::default() };
    assert!(partitions(&reply).contains("0-1023  #65537   -        -\n"), "{}", partitions(&reply));
    let nothing = "no partition: nobody has founded the site yet\n";
    assert_eq!(partitions(&PartitionsReply::default()), nothing);
}

#[test]
fn what_a_new_beginning_loses_is_told_before_it_is_done() {
    let text = refounding(0, &site());
    for word in ["nothing was done", "slots 0-511", "s00, s01, s20", "--yes", "481"] {
        assert!(text.contains(word), "{word:?} is not in\n{text}");
    }
    assert!(refounding(5, &site()).contains("nothing to begin anew"));
}

/// The lines that a status has of a view.
fn check(seen: &ViewStatus, expected: &str) {
    let mut lines = Lines(String::new());
    view(&mut lines, seen);
    assert_eq!(lines.0, expected);
}

#[test]
fn a_state_process_tells_how_it_stands_in_its_view() {
    let primary = ViewStatus {
        partition: 1,
        number: 31,
        role: "primary".into(),
        members: 2,
        joining: 1,
        short_for_ms: 4_200,
        ..ViewStatus::default()
    };
    let expected = "\
view               31, primary of partition 1, 2 members, 1 joining
redundancy         SHORT for 4.2 s
";
    check(&primary, expected);
    let joining = ViewStatus {
        role: "joining".into(),
        copied: 1_200,
        to_copy: 40_000,
        short_for_ms: 0,
        ..primary.clone()
    };
    check(&joining, "view               31, joins partition 1: 1200 of 40000 calls copied\n");
    let waiting = ViewStatus { role: "waiting".into(), number: 0, ..primary.clone() };
    check(&waiting, "view               none: waits for partition 1\n");
    let whole = ViewStatus {
        role: "member".into(),
        members: 1,
        joining: 0,
        short_for_ms: 0,
        healed_after_ms: 3_100,
        store_away: true,
        conflicts: vec!["two of one name".into()],
        order: "`refound`".into(),
        order_dropped: "`refound`: s1 answers".into(),
        ..primary
    };
    let expected = "\
view               31, member of partition 1, 1 member
redundancy         full, again after 3.1 s
coordination       AWAY: views cannot change; calls go on
configuration      WRONG: two of one name
order              waits: `refound`
order              DROPPED: `refound`: s1 answers
";
    check(&whole, expected);
}
