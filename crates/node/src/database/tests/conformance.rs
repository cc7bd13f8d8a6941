//! What is asked of every database. Each case has the tables of a site of its own.

use std::collections::BTreeMap;
use std::sync::Barrier;
use std::thread;
use std::time::Instant;

use super::desk::{Desk, all_slots, key, put, row, stamp};
use super::*;

/// A database that a test can also reach behind the program's back.
pub(super) trait Ground {
    fn settings(&self, site: u16) -> Settings;
    fn run(&self, site: u16, sql: &str);
    fn number(&self, site: u16, sql: &str) -> i64;
    /// Keeps the transaction of `sql` open during `meanwhile`.
    fn hold(&self, site: u16, sql: &str, meanwhile: &mut dyn FnMut());
}

type Case = fn(&dyn Ground, u16);

pub(super) fn run(ground: &dyn Ground) {
    let cases: &[(&str, Case)] = &[
        ("a row is read back", read_back),
        ("only a newer stamp replaces", only_newer_replaces),
        ("the same row again changes nothing", again),
        ("a removal takes what is not newer", removals),
        ("orders of a key keep their order", order_of_a_key),
        ("pages follow slots and keys", paging),
        ("a page has a bound in bytes", pages_of_large_rows),
        ("ten thousand rows", many_rows),
        ("two writers race", race),
        ("a corrupt row is set aside", corrupt_rows),
        ("schema versions", schema),
        ("too much is refused at once", full),
        ("a lock of somebody else", locked),
        ("what was ordered is answered", close_answers_all),
    ];
    for (site, (name, case)) in (1..).zip(cases) {
        let started = Instant::now();
        println!("case: {name}");
        case(ground, site);
        println!("  {} ms", started.elapsed().as_millis());
    }
}

fn read_back(ground: &dyn Ground, site: u16) {
    let mut desk = Desk::open(&ground.settings(site));
    assert_eq!(desk.fetch(key(1)), None);
    let rows = [
        row(1, put(1)),
        row(2, stamp(u64::MAX, u16::MAX, u64::MAX, u64::MAX, u64::MAX)),
        row(3, stamp(0, 0, 0, 0, 0)),
        Row { body: Bytes::new(), deadline: Some(WallTime(0)), ..row(4, put(1)) },
        Row { body: Bytes::from(vec![0; 3 << 20]), deadline: None, ..row(5, put(1)) },
    ];
    desk.store(rows.to_vec());
    for row in &rows {
        assert_eq!(desk.fetch(row.key).as_ref(), Some(row));
    }
    let far = Row { put_at: WallTime(u64::MAX), ..row(6, put(1)) };
    desk.store(vec![far.clone()]);
    let at = WallTime(i64::MAX.cast_unsigned());
    assert_eq!(desk.fetch(far.key), Some(Row { put_at: at, ..far }));
    for ask in 0..3 {
        desk.order(Order::Fetch { key: key(1), ask });
    }
    for ask in 0..3 {
        let row = Some(rows[0].clone());
        let wanted = Answer::Fetched { key: key(1), ask, row };
        desk.wait_for(|answer| *answer == wanted);
    }
    drop(desk.close());
    let mut desk = Desk::open(&ground.settings(site));
    assert_eq!(desk.fetch(key(1)).as_ref(), Some(&rows[0]), "after the program started again");
}

/// Each stamp is newer than the one before it.
fn rising() -> Vec<Stamp> {
    const BIG: u64 = 1 << 63;
    vec![
        stamp(0, 2, 0, 0, 0),
        stamp(0, 1, 0, 0, 0),
        stamp(1, 256, 0, 0, 0),
        stamp(1, 255, 0, 0, 0),
        stamp(1, 255, 0, 0, 255),
        stamp(1, 255, 0, 0, 256),
        stamp(1, 255, 0, 1, 0),
        stamp(1, 255, 1, 0, 0),
        stamp(BIG - 1, 9, 0, 0, u64::MAX),
        stamp(BIG, 9, 0, 0, BIG - 1),
        stamp(BIG, 9, 0, 0, BIG),
        stamp(BIG, 9, 0, BIG, 0),
        stamp(BIG, 9, BIG, 0, 0),
        stamp(u64::MAX, 9, 0, 0, 0),
    ]
}

fn only_newer_replaces(ground: &dyn Ground, site: u16) {
    let mut desk = Desk::open(&ground.settings(site));
    let stamps = rising();
    assert!(stamps.is_sorted());
    for (index, newer) in stamps.iter().enumerate() {
        desk.store(vec![row(1, *newer)]);
        assert_eq!(desk.fetch(key(1)), Some(row(1, *newer)));
        for older in &stamps[..index] {
            desk.store(vec![row(1, *older)]);
        }
        assert_eq!(desk.fetch(key(1)), Some(row(1, *newer)), "older ones change nothing");
    }
    let mut rows: Vec<Row> = stamps.iter().map(|stamp| row(2, *stamp)).collect();
    rows.rotate_left(5);
    desk.store(rows);
    assert_eq!(desk.fetch(key(2)), Some(row(2, stamps[13])), "all in one order");
}

fn again(ground: &dyn Ground, site: u16) {
    let mut desk = Desk::open(&ground.settings(site));
    let first = row(1, put(7));
    desk.store(vec![first.clone(), first.clone()]);
    desk.store(vec![first.clone()]);
    let other = Row { body: Bytes::from_static(b"another"), ..first.clone() };
    desk.store(vec![other]);
    assert_eq!(desk.fetch(key(1)), Some(first));
    assert_eq!(ground.number(site, "SELECT count(*) FROM record"), 1);
}

fn removals(ground: &dyn Ground, site: u16) {
    let mut desk = Desk::open(&ground.settings(site));
    let stamps = rising();
    for pair in stamps.windows(2) {
        desk.store(vec![row(1, pair[1])]);
        desk.remove(key(1), pair[0]);
        assert_eq!(desk.fetch(key(1)), Some(row(1, pair[1])), "it is newer");
        desk.remove(key(1), pair[1]);
        assert_eq!(desk.fetch(key(1)), None);
        desk.store(vec![row(1, pair[0])]);
        desk.remove(key(1), pair[1]);
        assert_eq!(desk.fetch(key(1)), None);
    }
    desk.remove(key(9), put(1));
    desk.store((0..50).map(|number| row(number, put(5))).collect());
    for number in 0..50 {
        desk.order(Order::Remove { key: key(number), stamp: put(4 + number % 2) });
    }
    let mut left = 50;
    while left > 0 {
        let Answer::Removed(names) = desk.next() else { panic!("they are removed") };
        left -= names.len();
    }
    assert_eq!(ground.number(site, "SELECT count(*) FROM record"), 25);
}

fn order_of_a_key(ground: &dyn Ground, site: u16) {
    let mut desk = Desk::open(&ground.settings(site));
    for round in 0..40 {
        desk.order(Order::Store { rows: vec![row(1, put(10 * round)), row(2, put(round))] });
        desk.order(Order::Remove { key: key(1), stamp: put(10 * round + 5) });
        desk.order(Order::Store { rows: vec![row(1, put(10 * round + 3))] });
        desk.order(Order::Remove { key: key(2), stamp: put(round) });
    }
    let (mut stored, mut removed) = (0, 0);
    while stored + removed < 40 * 5 {
        match desk.next() {
            Answer::Stored(names) => stored += names.len(),
            Answer::Removed(names) => removed += names.len(),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((stored, removed), (120, 80));
    assert_eq!(desk.fetch(key(1)), Some(row(1, put(393))));
    assert_eq!(desk.fetch(key(2)), None);
}

fn paging(ground: &dyn Ground, site: u16) {
    let mut desk = Desk::open(&ground.settings(site));
    assert_eq!(desk.pages(all_slots(), 10), [Vec::new()]);
    let mut rows: Vec<Row> = (0..300).map(|number| row(number, put(number))).collect();
    // Several keys of one slot, and the ends of the range.
    for number in 1..21_u8 {
        for first in [[0, 7], [4, 7], [0, 0], [3, 255]] {
            let mut key = [number; 16];
            key[..2].copy_from_slice(&first);
            rows.push(Row { key: CallKey(key), ..row(1, put(2)) });
        }
    }
    desk.store(rows.clone());
    rows.sort_by_key(|row| (row.key.slot(), row.key));
    for limit in [1, 7, 1_000] {
        let pages = desk.pages(all_slots(), limit);
        assert!(pages.iter().all(|page| page.len() <= limit));
        assert_eq!(pages.concat(), rows, "limit {limit}");
    }
    for slots in [Slot(7)..=Slot(7), Slot(0)..=Slot(0), Slot(100)..=Slot(767)] {
        let within = rows.iter().filter(|row| slots.contains(&row.key.slot()));
        let within: Vec<Row> = within.cloned().collect();
        assert_eq!(desk.pages(slots.clone(), 5).concat(), within, "{slots:?}");
    }
    // A key before the range begins at the range.
    let what = Wanted::Names;
    let after = Some(CallKey([0; 16]));
    let page = desk.page(Scan { ask: 1, slots: Slot(7)..=Slot(7), after, limit: 3, what });
    let names: Vec<_> = rows.iter().filter(|row| row.key.slot() == Slot(7)).collect();
    let names: Vec<_> = names[..3].iter().map(|row| (row.key, row.stamp)).collect();
    assert_eq!((page.next, &page.found), (Some(names[2].0), &Found::Names(names.clone())));
    let page = desk.page(Scan { ask: 2, slots: all_slots(), after: None, limit: 999, what });
    let names: Vec<_> = rows.iter().map(|row| (row.key, row.stamp)).collect();
    assert_eq!(page, Page { ask: 2, found: Found::Names(names), next: None });
}

fn pages_of_large_rows(ground: &dyn Ground, site: u16) {
    let mut desk = Desk::open(&ground.settings(site));
    let body = Bytes::from(vec![7; 1 << 20]);
    let rows: Vec<Row> = (0..10).map(|n| Row { body: body.clone(), ..row(n, put(1)) }).collect();
    desk.store(rows.clone());
    let pages = desk.pages(all_slots(), 100);
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [4, 4, 2]);
}

fn many_rows(ground: &dyn Ground, site: u16) {
    let mut desk = Desk::open(&ground.settings(site));
    let rows: Vec<Row> = (0..10_000).map(|number| row(number, put(1))).collect();
    desk.store(rows.clone());
    assert_eq!(ground.number(site, "SELECT count(*) FROM record"), 10_000);
    let mut found: BTreeMap<CallKey, Row> = BTreeMap::new();
    for row in desk.pages(all_slots(), 1_000).concat() {
        found.insert(row.key, row);
    }
    assert_eq!(found.len(), rows.len());
    assert!(rows.iter().all(|row| found[&row.key] == *row));
    for row in &rows {
        desk.order(Order::Remove { key: row.key, stamp: row.stamp });
    }
    let mut left = rows.len();
    while left > 0 {
        let Answer::Removed(names) = desk.next() else { panic!("they are removed") };
        left -= names.len();
    }
    assert_eq!(ground.number(site, "SELECT count(*) FROM record"), 0);
}

/// Both write the same keys, in opposite orders, and remove what is old; neither waits for the
/// other for ever, and the newest of each key is what stays.
fn race(ground: &dyn Ground, site: u16) {
    const KEYS: u64 = 60;
    const ROUNDS: u64 = 30;
    let together = Barrier::new(2);
    thread::scope(|scope| {
        for writer in 0..2_u64 {
            let (together, settings) = (&together, ground.settings(site));
            scope.spawn(move || {
                let mut desk = Desk::open(&settings);
                together.wait();
                for round in 0..ROUNDS {
                    let version = 10 + 2 * round + writer;
                    let mut numbers: Vec<u64> = (0..KEYS).collect();
                    if writer == 1 {
                        numbers.reverse();
                    }
                    let rows = numbers.iter().map(|number| row(*number, put(version))).collect();
                    desk.order(Order::Store { rows });
                    for number in numbers {
                        desk.order(Order::Remove { key: key(number), stamp: put(version - 3) });
                    }
                }
                let mut left = usize::try_from(2 * KEYS * ROUNDS).unwrap();
                while left > 0 {
                    match desk.next() {
                        Answer::Stored(names) | Answer::Removed(names) => left -= names.len(),
                        other => panic!("{other:?}"),
                    }
                }
            });
        }
    });
    let mut desk = Desk::open(&ground.settings(site));
    for number in 0..KEYS {
        let newest = put(10 + 2 * (ROUNDS - 1) + 1);
        assert_eq!(desk.fetch(key(number)), Some(row(number, newest)));
    }
}

fn corrupt_rows(ground: &dyn Ground, site: u16) {
    let mut desk = Desk::open(&ground.settings(site));
    let spoil = "UPDATE record SET checksum = checksum + 1";
    desk.store(vec![row(1, put(1))]);
    ground.run(site, spoil);
    desk.order(Order::Fetch { key: key(1), ask: 4 });
    assert_eq!(desk.next(), Answer::Corrupt { key: key(1), ask: Some(4) });
    assert_eq!(desk.fetch(key(1)), None);
    assert_eq!(ground.number(site, "SELECT count(*) FROM set_aside"), 1);

    desk.store((2..6).map(|number| row(number, put(1))).collect());
    ground.run(site, spoil);
    desk.store((5..9).map(|number| row(number, put(2))).collect());
    let what = Wanted::Rows;
    desk.order(Order::Scan(Scan { ask: 6, slots: all_slots(), after: None, limit: 3, what }));
    let mut told = Vec::new();
    let page = loop {
        match desk.next() {
            Answer::Corrupt { key, ask: None } => told.push(key),
            Answer::Page(page) => break page,
            other => panic!("{other:?}"),
        }
    };
    let mut good: Vec<Row> = (5..9).map(|number| row(number, put(2))).collect();
    good.sort_by_key(|row| (row.key.slot(), row.key));
    assert_eq!(page.found, Found::Rows(good[..3].to_vec()), "a whole page of good rows");
    assert!(told.iter().all(|told| [2, 3, 4].map(key).contains(told)), "{told:?}");
    let after = page.next;
    desk.order(Order::Scan(Scan { ask: 7, slots: all_slots(), after, limit: 3, what }));
    let page = loop {
        match desk.next() {
            Answer::Corrupt { ask: None, .. } => {}
            Answer::Page(page) => break page,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(page.found, Found::Rows(good[3..].to_vec()));
    assert_eq!(ground.number(site, "SELECT count(*) FROM set_aside"), 4);
    assert_eq!(ground.number(site, "SELECT count(*) FROM record"), 4);

    ground.run(site, "UPDATE record SET put_at = put_at + 1");
    desk.order(Order::Fetch { key: key(5), ask: 8 });
    assert_eq!(desk.next(), Answer::Corrupt { key: key(5), ask: Some(8) });
    desk.store(vec![row(5, put(1))]);
    assert_eq!(desk.fetch(key(5)), Some(row(5, put(1))), "it can be stored anew");
}

fn schema(ground: &dyn Ground, site: u16) {
    // Several programs that start together make the tables once.
    thread::scope(|scope| {
        for number in 0..4 {
            let settings = ground.settings(site);
            scope.spawn(move || Desk::open(&settings).store(vec![row(number, put(1))]));
        }
    });
    assert_eq!(ground.number(site, "SELECT count(*) FROM schema_version"), 1);
    assert_eq!(ground.number(site, "SELECT count(*) FROM record"), 4);
    ground.run(site, "UPDATE schema_version SET version = 99");
    let error = Desk::try_open(&ground.settings(site)).map(|_| ()).unwrap_err();
    assert!(matches!(error, OpenError::Newer { found: 99 }), "{error:?}");
    let told = error.to_string();
    assert!(told.contains("99") && told.contains("run the newer program"), "{told}");
    assert_eq!(ground.number(site, "SELECT count(*) FROM record"), 4, "nothing was touched");
}

fn full(ground: &dyn Ground, site: u16) {
    let mut desk = Desk::open(&ground.settings(site));
    let body = Bytes::from(vec![1; 1 << 20]);
    let large = |number| Row { body: body.clone(), ..row(number, put(1)) };
    let rows: Vec<Row> = (0..64).map(large).collect();
    let refused = Refusal { what: Refused::Store(work::names(&rows)), why: Why::Full };
    assert_eq!(desk.try_order(Order::Store { rows }), Err(refused));
    desk.store(vec![large(1)]);
    let mut left = 0;
    // While the first transaction waits for somebody else's lock the rest has to wait as well.
    ground.hold(site, "UPDATE record SET put_at = put_at", &mut || {
        let refused = (1..100).find_map(|number| {
            let newer = Row { stamp: put(2), ..large(number) };
            let outcome = desk.try_order(Order::Store { rows: vec![newer] });
            left += usize::from(outcome.is_ok());
            outcome.err()
        });
        assert_eq!(refused.map(|refusal| refusal.why), Some(Why::Full));
        assert_eq!(left, 63, "as many as fit");
    });
    while left > 0 {
        match desk.next() {
            Answer::Stored(names) => left -= names.len(),
            Answer::Refused(Refusal { what: Refused::Store(names), why: Why::Failed }) => {
                left -= names.len();
            }
            other => panic!("{other:?}"),
        }
    }
    desk.store(vec![Row { stamp: put(3), ..large(1) }]);
    assert_eq!(desk.close(), []);
}

fn locked(ground: &dyn Ground, site: u16) {
    let mut desk = Desk::open(&ground.settings(site));
    desk.store(vec![row(1, put(1))]);
    ground.hold(site, "UPDATE record SET put_at = put_at", &mut || {
        desk.order(Order::Store { rows: vec![row(1, put(2))] });
        desk.order(Order::Fetch { key: key(1), ask: 3 });
        let found = Answer::Fetched { key: key(1), ask: 3, row: Some(row(1, put(1))) };
        desk.wait_for(|answer| *answer == found);
        let what = Refused::Store(vec![(key(1), put(2))]);
        assert_eq!(desk.next(), Answer::Refused(Refusal { what, why: Why::Failed }));
    });
    desk.store(vec![row(1, put(2))]);
    assert_eq!(desk.fetch(key(1)), Some(row(1, put(2))));
}

fn close_answers_all(ground: &dyn Ground, site: u16) {
    let desk = Desk::open(&ground.settings(site));
    let rows: Vec<Row> = (0..3_000).map(|number| row(number, put(1))).collect();
    desk.order(Order::Store { rows });
    desk.order(Order::Fetch { key: key(9_999), ask: 1 });
    desk.order(Order::Remove { key: key(1), stamp: put(1) });
    let (mut stored, mut removed, mut fetched) = (0, 0, 0);
    for answer in desk.close() {
        match answer {
            Answer::Stored(names) => stored += names.len(),
            Answer::Removed(names) => removed += names.len(),
            Answer::Fetched { row: None, .. } => fetched += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((stored, removed, fetched), (3_000, 1, 1));
    assert_eq!(ground.number(site, "SELECT count(*) FROM record"), 2_999);
}
