//! How orders become transactions.

use bytes::Bytes;
use vocab::{Epoch, LockToken, SiteId, Version, WallTime};

const VIEW: ViewNumber = ViewNumber(5);

use super::*;

fn stamp(version: u64) -> Stamp {
    let epoch = Epoch { n: 1, site: SiteId(1) };
    Stamp { epoch, token: LockToken::default(), version: Version(version) }
}

fn key(number: u8) -> CallKey {
    CallKey([number; 16])
}

fn row(number: u8, version: u64, bytes: usize) -> Row {
    let body = Bytes::from(vec![0; bytes]);
    let (view, put_at) = (VIEW, WallTime(0));
    Row { key: key(number), stamp: stamp(version), view, body, put_at, deadline: None }
}

fn backlog(room: &Room, writes: Vec<Write>) -> Backlog {
    let mut backlog = Backlog::default();
    for write in writes {
        backlog.push(write, room.take(10).unwrap());
    }
    backlog
}

fn next_batch(backlog: &mut Backlog) -> Batch {
    match backlog.next_job() {
        Some(Job::Batch(batch)) => batch,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_newest_of_a_key_goes_and_all_are_answered() {
    let room = Room::new(1_000);
    let store = |version| Write::Store(vec![row(1, version, 5)]);
    let mut backlog = backlog(&room, vec![store(2), store(3), store(1)]);
    let batch = next_batch(&mut backlog);
    assert!(backlog.is_empty());
    let kept: Vec<Stamp> = batch.stores.values().map(|row| row.stamp).collect();
    assert_eq!(kept, [stamp(3)]);
    assert_eq!(batch.stored, [2, 3, 1].map(|version| (key(1), stamp(version))));
    assert_eq!(room.bytes_taken(), 30);
    drop(batch);
    assert_eq!(room.bytes_taken(), 0);
}

#[test]
fn the_highest_view_of_a_key_stays_with_it() {
    let room = Room::new(1_000);
    let of = |version, view| Row { view: ViewNumber(view), ..row(1, version, 5) };
    let rows = vec![of(3, 7), of(2, 9), of(4, 8)];
    let batch = next_batch(&mut backlog(&room, vec![Write::Store(rows)]));
    let kept: Vec<_> = batch.stores.values().map(|row| (row.stamp, row.view.0)).collect();
    assert_eq!(kept, [(stamp(4), 9)]);
}

#[test]
fn what_follows_a_removal_of_its_key_waits_for_the_next() {
    let room = Room::new(1_000);
    let writes = vec![
        Write::Remove(VIEW, vec![(key(1), stamp(4)), (key(4), stamp(3))]),
        Write::Store(vec![row(2, 1, 5), row(1, 2, 5), row(3, 1, 5)]),
        Write::Remove(VIEW, vec![(key(2), stamp(1)), (key(2), stamp(2))]),
    ];
    let mut backlog = backlog(&room, writes);
    let batch = next_batch(&mut backlog);
    assert_eq!(batch.removals.values().collect::<Vec<_>>(), [&(stamp(3), VIEW), &(stamp(4), VIEW)]);
    assert_eq!(batch.stored, [(key(2), stamp(1))]);
    assert_eq!(batch.removed, [(key(1), stamp(4)), (key(4), stamp(3))]);
    let batch = next_batch(&mut backlog);
    assert_eq!(batch.stored, [(key(1), stamp(2)), (key(3), stamp(1))]);
    assert_eq!(batch.removed, [(key(2), stamp(1))]);
    let refused: Vec<Refusal> = batch.refused(Why::Away).collect();
    assert_eq!(refused.len(), 2);
    assert_eq!(next_batch(&mut backlog).removed, [(key(2), stamp(2))]);
    assert!(backlog.is_empty());
}

#[test]
fn whole_slots_are_removed_between_transactions() {
    let room = Room::new(1_000);
    let store = |version| Write::Store(vec![row(1, version, 5)]);
    let writes = vec![store(1), Write::Clear(Box::new(SlotSet::ALL), VIEW), store(2)];
    let mut backlog = backlog(&room, writes);
    assert_eq!(next_batch(&mut backlog).stored, [(key(1), stamp(1))]);
    for _ in 0..2 {
        let Some(Job::Clear(clearing)) = backlog.next_job() else { panic!("{backlog:?}") };
        assert_eq!(runs(&clearing.slots), [(0, 1_023)]);
        backlog.put_back(clearing);
    }
    assert_eq!(backlog.next_job().unwrap().refused(Why::Away).len(), 1);
    assert_eq!(next_batch(&mut backlog).stored, [(key(1), stamp(2))]);
    assert_eq!(backlog.next_job().map(|_| ()), None);
    assert_eq!(room.bytes_taken(), 0);
}

#[test]
fn a_transaction_has_a_bound() {
    let room = Room::new(1_000);
    let half = BATCH_BYTES_MAX / 2;
    let rows = (0..5).map(|number| row(number, 1, half)).collect();
    let mut large = backlog(&room, vec![Write::Store(rows)]);
    let lengths = [(); 3].map(|()| next_batch(&mut large).stored.len());
    assert_eq!(lengths, [2, 2, 1]);
    let rows = vec![row(1, 1, 5); BATCH_ROWS_MAX + 1];
    let mut many = backlog(&room, vec![Write::Store(rows)]);
    assert!(many.is_plenty());
    assert_eq!(next_batch(&mut many).stored.len(), BATCH_ROWS_MAX);
    assert_eq!(next_batch(&mut many).stored.len(), 1);
}

#[test]
fn room_is_taken_and_given_back() {
    let room = Room::new(10);
    let first = room.take(6).unwrap();
    assert!(room.take(5).is_none());
    let second = room.take(4).unwrap();
    drop(first);
    assert!(room.take(6).is_some());
    drop(second);
    assert!(room.take(usize::MAX).is_none());
}
