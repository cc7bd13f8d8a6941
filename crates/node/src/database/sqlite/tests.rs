//! A file whose program dies, and one that cannot be written for a while.

use bytes::Bytes;
use rusqlite::ffi;
use vocab::{Epoch, LockToken, SiteId, Stamp, Version, ViewNumber, WallTime};

use super::super::Row;
use super::super::work::{Room, Write};
use super::*;
use crate::scratch::{Scratch, killed_at, of_parent};

const CHILD: &str = "REHOME_TEST_DATABASE_CHILD";

fn stamp() -> Stamp {
    let epoch = Epoch { n: 1, site: SiteId(1) };
    Stamp { epoch, token: LockToken::default(), version: Version(1) }
}

fn row(number: u64) -> Row {
    let mut key = [0; 16];
    key[8..].copy_from_slice(&number.to_be_bytes());
    Row {
        key: CallKey(key),
        stamp: stamp(),
        view: ViewNumber(1),
        body: Bytes::from(vec![u8::try_from(number % 251).unwrap(); 300]),
        put_at: WallTime(number),
        deadline: None,
    }
}

/// The child of the test below: it stores without end and says what is on disk.
#[test]
fn child_stores_until_it_is_killed() {
    let Some(dir) = of_parent(CHILD) else { return };
    let (answers, mut told) = owner::channel(1);
    let file = dir.join("calls.sqlite");
    let orders = open::<Answer>(&file, Duration::from_secs(5), answers).unwrap();
    let room = Room::new(usize::MAX);
    for number in 0..100_000 {
        let taken = room.take(1).unwrap();
        orders.send((Load::Write(Write::Store(vec![row(number)])), taken)).unwrap();
    }
    let mut stored = 0;
    while let Some(Answer::Stored(names)) = told.blocking_recv() {
        stored += names.len();
        println!("on disk {stored}");
    }
}

#[test]
fn what_was_acknowledged_survives_kill_9() {
    let scratch = Scratch::new("database_sqlite_kill");
    let child = "database::sqlite::tests::child_stores_until_it_is_killed";
    let acknowledged = killed_at(child, CHILD, &scratch, 5_000);
    let connection = Connection::open(scratch.path().join("calls.sqlite")).unwrap();
    for number in 0..acknowledged {
        let wanted = row(number);
        let found = connection
            .prepare_cached(FETCH)
            .unwrap()
            .query_row(params![row::slot_column(&wanted.key), &wanted.key.0[..]], |row| {
                Ok(columns(row)?.read())
            })
            .unwrap();
        assert_eq!(found, Ok(wanted), "{number}");
    }
}

#[test]
fn a_read_does_not_wait_for_a_backlog() {
    let scratch = Scratch::new("database_sqlite_backlog");
    let mut connection = Connection::open(scratch.path().join("calls.sqlite")).unwrap();
    migrate(&mut connection).unwrap().unwrap();
    let full = 2;
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    assert_eq!(pragma("synchronous"), Ok(full), "each transaction is synced");
    let (orders, inbox) = mpsc::channel();
    let (answers, mut told) = owner::channel::<Answer>(100);
    let backlog = Backlog::default();
    let mut worker = Worker { connection, inbox, answers, backlog, probe_at: None };
    let room = Room::new(usize::MAX);
    for number in 0..5_000 {
        let store = Load::Write(Write::Store(vec![row(number)]));
        orders.send((store, room.take(1).unwrap())).unwrap();
    }
    let key = row(9_999).key;
    orders.send((Load::Read(key, stamp()), room.take(1).unwrap())).unwrap();
    drop(orders);
    while worker.turn().is_continue() {}
    assert_eq!(told.try_recv().unwrap(), Answer::Fetched { key, asked: stamp(), row: None });
    let mut stored = 0;
    while let Ok(Answer::Stored(names)) = told.try_recv() {
        stored += names.len();
    }
    assert_eq!(stored, 5_000);
}

/// No disk fails on demand, so the worker is told that it did.
#[test]
fn a_disk_that_fails_is_away_until_it_can_be_written() {
    let scratch = Scratch::new("database_sqlite_away");
    let mut connection = Connection::open(scratch.path().join("calls.sqlite")).unwrap();
    migrate(&mut connection).unwrap().unwrap();
    let (orders, inbox) = mpsc::channel();
    let (answers, mut told) = owner::channel::<Answer>(100);
    let backlog = Backlog::default();
    let mut worker = Worker { connection, inbox, answers, backlog, probe_at: None };
    let failure = |code| rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
    assert_eq!(worker.failed(&failure(ffi::SQLITE_FULL)), Why::Failed);
    assert_eq!(worker.failed(&failure(ffi::SQLITE_IOERR)), Why::Away);
    assert_eq!(worker.failed(&failure(ffi::SQLITE_IOERR)), Why::Away);
    assert!(matches!(told.try_recv(), Ok(Answer::Away { .. })));
    assert!(told.try_recv().is_err(), "it is told once");

    let room = Room::new(usize::MAX);
    let store = |number| (Load::Write(Write::Store(vec![row(number)])), room.take(1).unwrap());
    let key = row(2).key;
    orders.send(store(1)).unwrap();
    orders.send((Load::Read(key, stamp()), room.take(1).unwrap())).unwrap();
    assert!(worker.turn().is_continue());
    let refused = |what| Answer::Refused(Refusal { what, why: Why::Away });
    let names = vec![(row(1).key, stamp())];
    assert_eq!(told.try_recv().unwrap(), refused(Refused::Store(names.clone())));
    assert_eq!(told.try_recv().unwrap(), refused(Refused::Fetch { key }));

    // Orders that come all the time do not keep it from being tried.
    let mut refusals = 0;
    let back = loop {
        orders.send((Load::Read(key, stamp()), room.take(1).unwrap())).unwrap();
        assert!(worker.turn().is_continue());
        match told.try_recv().unwrap() {
            Answer::Refused(_) => refusals += 1,
            answer => break answer,
        }
    };
    assert_eq!(back, Answer::Back);
    assert!(refusals > 0);
    assert!(matches!(told.try_recv(), Ok(Answer::Fetched { row: None, .. })));
    orders.send(store(1)).unwrap();
    assert!(worker.turn().is_continue());
    assert_eq!(told.try_recv().unwrap(), Answer::Stored(names));
    assert_eq!(room.bytes_taken(), 0);
    drop(orders);
    assert!(worker.turn().is_break());
}

#[test]
fn a_file_that_is_no_database_is_refused() {
    let scratch = Scratch::new("database_sqlite_none");
    let file = scratch.path().join("calls.sqlite");
    std::fs::write(
        &file,
        "a letter to a friend, long enough to be no header of anything".repeat(9),
    )
    .unwrap();
    let error = open::<Answer>(&file, Duration::from_secs(1), owner::channel(1).0).unwrap_err();
    assert!(error.to_string().contains("calls.sqlite cannot be used"), "{error}");
}
