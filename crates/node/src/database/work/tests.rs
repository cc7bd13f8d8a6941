//! How orders become transactions.

use bytes::Bytes;
use vocab::{Epoch, LockToken, SiteId, Version, WallTime};

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
    Row { key: key(number), stamp: stamp(version), body, put_at: WallTime(0), deadline: None }
}

fn backlog(room: &Room, writes: Vec<Write>) -> Backlog {
    let mut backlog = Backlog::default();
    for write in writes {
        backlog.push(write, room.take(10).unwrap());
    }
    backlog
}

#[test]
fn the_newest_of_a_key_goes_and_all_are_answered() {
    let room = Room::new(1_000);
    let store = |version| Write::Store(vec![row(1, version, 5)]);
    let mut backlog = backlog(&room, vec![store(2), store(3), store(1)]);
    let batch = backlog.next_batch();
    assert!(backlog.is_empty());
    let kept: Vec<Stamp> = batch.stores.values().map(|row| row.stamp).collect();
    assert_eq!(kept, [stamp(3)]);
    assert_eq!(batch.stored, [2, 3, 1].map(|version| (key(1), stamp(version))));
    assert_eq!(room.bytes_taken(), 30);
    drop(batch);
    assert_eq!(room.bytes_taken(), 0);
}

#[test]
fn a_row_that_follows_its_removal_waits_for_the_next() {
    let room = Room::new(1_000);
    let writes = vec![
        Write::Remove(key(1), stamp(4)),
        Write::Remove(key(1), stamp(3)),
        Write::Store(vec![row(2, 1, 5), row(1, 2, 5), row(3, 1, 5)]),
        Write::Remove(key(2), stamp(1)),
    ];
    let mut backlog = backlog(&room, writes);
    let batch = backlog.next_batch();
    assert_eq!(batch.removals.values().collect::<Vec<_>>(), [&stamp(4)]);
    assert_eq!(batch.stored, [(key(2), stamp(1))]);
    assert_eq!(batch.removed, [(key(1), stamp(4)), (key(1), stamp(3))]);
    let batch = backlog.next_batch();
    assert_eq!(batch.stored, [(key(1), stamp(2)), (key(3), stamp(1))]);
    assert_eq!(batch.removed, [(key(2), stamp(1))]);
    let refused: Vec<Refusal> = batch.refused(Why::Away).collect();
    assert_eq!(refused.len(), 2);
    assert!(backlog.is_empty());
}

#[test]
fn a_transaction_has_a_bound() {
    let room = Room::new(1_000);
    let half = BATCH_BYTES_MAX / 2;
    let rows = (0..5).map(|number| row(number, 1, half)).collect();
    let mut large = backlog(&room, vec![Write::Store(rows)]);
    let lengths = [(); 3].map(|()| large.next_batch().stored.len());
    assert_eq!(lengths, [2, 2, 1]);
    let rows = vec![row(1, 1, 5); BATCH_ROWS_MAX + 1];
    let mut many = backlog(&room, vec![Write::Store(rows)]);
    assert!(many.is_plenty());
    assert_eq!(many.next_batch().stored.len(), BATCH_ROWS_MAX);
    assert_eq!(many.next_batch().stored.len(), 1);
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
