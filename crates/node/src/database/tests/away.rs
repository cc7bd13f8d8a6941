//! A PostgreSQL server that dies, hangs, is not there yet, or lets nobody in.

use std::collections::BTreeSet;

use super::desk::{Desk, VIEW, key, put, row};
use super::*;

fn settings(server: &PostgresServer) -> Settings {
    server.settings(1)
}

fn is_away(answer: &Answer) -> bool {
    matches!(answer, Answer::Away { .. })
}

fn names(numbers: impl Iterator<Item = u64>) -> Vec<(CallKey, Stamp)> {
    numbers.map(|number| (key(number), put(1))).collect()
}

#[test]
fn what_a_killed_server_acknowledged_is_there_when_it_is_back() {
    const ORDERS: u64 = 60;
    const ROWS: u64 = 100;
    let mut server = PostgresServer::start("database_killed");
    let mut desk = Desk::open(&settings(&server));
    for order in 0..ORDERS {
        let rows = (order * ROWS..(order + 1) * ROWS).map(|number| row(number, put(1)));
        desk.order(Order::Store { rows: rows.collect() });
    }
    let (mut stored, mut refused) = (BTreeSet::new(), BTreeSet::new());
    let mut transitions = Vec::new();
    while stored.len() + refused.len() < usize::try_from(ORDERS * ROWS).unwrap() {
        match desk.next() {
            Answer::Stored(names) => {
                stored.extend(names);
                if stored.len() >= 1_000 && refused.is_empty() && transitions.is_empty() {
                    server.kill();
                }
            }
            Answer::Refused(Refusal { what: Refused::Store(names), why: Why::Away }) => {
                refused.extend(names);
            }
            answer @ Answer::Away { .. } => transitions.push(answer),
            other => panic!("{other:?}"),
        }
    }
    if transitions.is_empty() {
        desk.wait_for(is_away);
    }
    desk.order(Order::Fetch { key: key(0), stamp: put(1) });
    let what = Refused::Fetch { key: key(0) };
    assert_eq!(desk.next(), Answer::Refused(Refusal { what, why: Why::Away }));

    server.start_again();
    assert_eq!(desk.next(), Answer::Back);
    assert!(stored.len() >= 1_000);
    for (key, stamp) in &stored {
        assert_eq!(desk.fetch(*key).map(|row| row.stamp), Some(*stamp), "it was acknowledged");
    }
    desk.store((0..ORDERS * ROWS).map(|number| row(number, put(1))).collect());
    assert_eq!(server.ask(1, "SELECT count(*) FROM record"), i64::try_from(ORDERS * ROWS).unwrap());
}

#[test]
fn a_server_that_hangs_refuses_in_time() {
    let server = PostgresServer::start("database_hangs");
    let mut desk = Desk::open(&settings(&server));
    desk.store((0..50).map(|number| row(number, put(1))).collect());
    server.signal_all("-STOP");
    let since = std::time::Instant::now();
    desk.order(Order::Store { rows: (100..110).map(|number| row(number, put(1))).collect() });
    desk.order(Order::Fetch { key: key(1), stamp: put(1) });
    let mut refused = Vec::new();
    for _ in 0..2 {
        let Answer::Refused(refusal) = desk.wait_for(|told| matches!(told, Answer::Refused(_)))
        else {
            unreachable!("it was waited for")
        };
        assert_eq!(refusal.why, Why::Away);
        refused.push(refusal.what);
    }
    println!("refused after {} ms", since.elapsed().as_millis());
    assert!(refused.contains(&Refused::Store(names(100..110))), "{refused:?}");
    assert!(refused.contains(&Refused::Fetch { key: key(1) }), "{refused:?}");
    desk.wait_for(is_away);
    let at_once = std::time::Instant::now();
    desk.order(Order::Remove { view: VIEW, rows: names(2..2 + 1) });
    let what = Refused::Remove(names(2..3));
    assert_eq!(desk.next(), Answer::Refused(Refusal { what, why: Why::Away }));
    println!("refused after {} ms while away", at_once.elapsed().as_millis());

    server.signal_all("-CONT");
    assert_eq!(desk.next(), Answer::Back);
    for number in 100..110 {
        desk.remove(key(number), put(1));
    }
    for number in 100..110 {
        assert_eq!(desk.fetch(key(number)), None);
    }
    desk.store(vec![row(100, put(1))]);
    assert_eq!(desk.fetch(key(1)), Some(row(1, put(1))));
}

/// The server goes on, and the processes of our connections do not: what they were told to do is
/// done late, or never.
#[test]
fn a_store_that_was_given_up_does_not_come_after_the_removal() {
    let server = PostgresServer::start("database_late");
    let mut desk = Desk::open(&settings(&server));
    let old = server.sessions();
    assert_eq!(old.len(), 4);
    old.iter().for_each(|pid| server::send("-STOP", pid));
    desk.order(Order::Store { rows: vec![row(1, put(1))] });
    let what = Refused::Store(names(1..2));
    desk.wait_for(|told| matches!(told, Answer::Refused(refusal) if refusal.what == what));
    desk.wait_for(is_away);
    // A new connection is given up again, as the old ones do not end.
    let (mut tried, since) = (BTreeSet::new(), std::time::Instant::now());
    while tried.is_subset(&server.sessions().into_iter().collect()) {
        tried.extend(server.sessions().into_iter().filter(|pid| !old.contains(pid)));
        assert!(since.elapsed() < SOON, "it uses its new connections");
    }
    // The removal cannot be ordered before the store is known to be over.
    desk.order(Order::Remove { view: VIEW, rows: names(1..1 + 1) });
    let what = Refused::Remove(names(1..2));
    assert_eq!(desk.next(), Answer::Refused(Refusal { what, why: Why::Away }));

    old.iter().for_each(|pid| server::send("-CONT", pid));
    assert_eq!(desk.next(), Answer::Back);
    let new = server.sessions();
    assert!(new.len() == 4 && new.iter().all(|pid| !old.contains(pid)), "{old:?}, {new:?}");
    desk.remove(key(1), put(1));
    assert_eq!(desk.fetch(key(1)), None);
}

#[test]
fn a_server_that_is_not_there_yet_is_away_and_one_that_lets_nobody_in_is_refused() {
    let mut server = PostgresServer::start("database_start");
    let wrong = |change: fn(&mut tokio_postgres::Config)| {
        let mut config = server.config();
        change(&mut config);
        let place = Place::Postgres(Box::new(config));
        match Database::open(&Settings { place, ..settings(&server) }, mpsc::channel::<Answer>(9).0)
        {
            Err(OpenError::Refused(why)) => why,
            other => panic!("{other:?}"),
        }
    };
    let why = wrong(|config| {
        config.password("guessed");
    });
    assert!(why.contains("password authentication failed"), "{why}");
    let why = wrong(|config| {
        config.dbname("nowhere");
    });
    assert!(why.contains("\"nowhere\" does not exist"), "{why}");

    server.kill();
    let mut desk = Desk::open(&settings(&server));
    assert!(is_away(&desk.next()));
    desk.order(Order::Store { rows: vec![row(1, put(1))] });
    let what = Refused::Store(names(1..2));
    assert_eq!(desk.next(), Answer::Refused(Refusal { what, why: Why::Away }));
    server.start_again();
    assert_eq!(desk.next(), Answer::Back);
    desk.store(vec![row(1, put(1))]);

    // A newer program migrated the tables meanwhile: this one stays away from them.
    server.say(1, "UPDATE schema_version SET version = 2");
    server.kill();
    assert!(is_away(&desk.next()));
    server.start_again();
    desk.order(Order::Fetch { key: key(1), stamp: put(1) });
    let what = Refused::Fetch { key: key(1) };
    assert_eq!(desk.next(), Answer::Refused(Refusal { what, why: Why::Away }));
    assert_eq!(desk.close(), [], "an end while the server is away");
}
