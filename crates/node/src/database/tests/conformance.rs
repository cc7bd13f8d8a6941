//! What is asked of every database. Each case has the tables of a site of its own.

use std::collections::BTreeMap;
use std::sync::Barrier;
use std::thread;
use std::time::Instant;

use super::desk::{Desk, VIEW, key, put, row, stamp};
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
        ("rows of later views stay", views),
        ("slots are cleared", clears),
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
    for _ in 0..3 {
        desk.order(Order::Fetch { key: key(1), stamp: put(1) });
    }
    for _ in 0..3 {
        assert_eq!(
            desk.next(),
            Answer::Fetched { key: key(1), asked: put(1), row: Some(rows[0].clone()) }
        );
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
        let rows = vec![(key(number), put(4 + number % 2))];
        desk.order(Order::Remove { view: VIEW, rows });
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
        let rows = vec![(key(1), put(10 * round + 5))];
        desk.order(Order::Remove { view: VIEW, rows });
        desk.order(Order::Store { rows: vec![row(1, put(10 * round + 3))] });
        let rows = vec![(key(2), put(round))];
        desk.order(Order::Remove { view: VIEW, rows });
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

/// What a replica ordered before it was voted out may come late.
fn views(ground: &dyn Ground, site: u16) {
    let mut desk = Desk::open(&ground.settings(site));
    let of = |view, version| Row { view: ViewNumber(view), ..row(1, put(version)) };
    let remove = |desk: &mut Desk, view, version| {
        let rows = vec![(key(1), put(version))];
        desk.order(Order::Remove { view: ViewNumber(view), rows: rows.clone() });
        assert_eq!(desk.next(), Answer::Removed(rows));
    };
    desk.store(vec![of(7, 3)]);
    remove(&mut desk, 6, 3);
    assert_eq!(desk.fetch(key(1)), Some(of(7, 3)), "a later view wrote it");
    desk.store(vec![of(9, 2)]);
    assert_eq!(desk.fetch(key(1)), Some(of(9, 3)), "the newer stamp and the later view");
    remove(&mut desk, 8, 3);
    assert_eq!(desk.fetch(key(1)), Some(of(9, 3)));
    desk.store(vec![of(4, 5)]);
    assert_eq!(desk.fetch(key(1)), Some(of(9, 5)), "views do not go back");
    remove(&mut desk, 9, 5);
    assert_eq!(desk.fetch(key(1)), None);
    desk.store(vec![of(3, 1), of(2, 4), of(6, 2)]);
    assert_eq!(desk.fetch(key(1)), Some(of(6, 4)), "all in one order");
}

fn clears(ground: &dyn Ground, site: u16) {
    const ROWS: u64 = 12_000;
    let mut desk = Desk::open(&ground.settings(site));
    let of = |number, view| Row { view: ViewNumber(view), ..row(number, put(1)) };
    desk.clear(SlotSet::ALL, VIEW);
    let view = |number: u64| if number.is_multiple_of(6) { 8 } else { 7 };
    desk.store((0..ROWS).map(|number| of(number, view(number))).collect());
    let half = SlotSet::share(0, 2);
    let in_half = |number: &u64| half.contains(key(*number).slot());
    // A store that is ordered behind it stays.
    desk.order(Order::Clear { slots: half, view: ViewNumber(8) });
    let first = (0..ROWS).filter(in_half).find(|number| view(*number) == 7).unwrap();
    desk.order(Order::Store { rows: vec![of(first, 8)] });
    assert_eq!(desk.next(), Answer::Cleared { view: ViewNumber(8) });
    assert_eq!(desk.next(), Answer::Stored(vec![(key(first), put(1))]));
    let stays = |number: &u64| !in_half(number) || view(*number) == 8 || *number == first;
    let left = i64::try_from((0..ROWS).filter(stays).count()).unwrap();
    assert!(left > 6_000 && left < 8_000, "{left}");
    assert_eq!(ground.number(site, "SELECT count(*) FROM record"), left);
    for number in (0..ROWS).step_by(97) {
        assert_eq!(desk.fetch(key(number)).is_some(), stays(&number), "{number}");
    }
    let mut some = SlotSet::NONE;
    (0..vocab::SLOTS).step_by(3).for_each(|slot| some.insert(vocab::Slot(slot)));
    desk.clear(some, ViewNumber(9));
    let stays = |number: &u64| stays(number) && !some.contains(key(*number).slot());
    let left = i64::try_from((0..ROWS).filter(stays).count()).unwrap();
    assert_eq!(ground.number(site, "SELECT count(*) FROM record"), left, "runs of one slot");
}

fn many_rows(ground: &dyn Ground, site: u16) {
    let mut desk = Desk::open(&ground.settings(site));
    let rows: Vec<Row> = (0..10_000).map(|number| row(number, put(1))).collect();
    desk.store(rows.clone());
    assert_eq!(ground.number(site, "SELECT count(*) FROM record"), 10_000);
    for row in &rows {
        desk.order(Order::Fetch { key: row.key, stamp: row.stamp });
    }
    let mut left: BTreeMap<CallKey, &Row> = rows.iter().map(|row| (row.key, row)).collect();
    while !left.is_empty() {
        let Answer::Fetched { key, row: Some(found), .. } = desk.next() else {
            panic!("all are there")
        };
        assert_eq!(left.remove(&key), Some(&found));
    }
    desk.order(Order::Remove { view: VIEW, rows: work::names(&rows) });
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
                    let old = numbers.iter().map(|number| (key(*number), put(version - 3)));
                    desk.order(Order::Remove { view: VIEW, rows: old.collect() });
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
    desk.order(Order::Fetch { key: key(1), stamp: put(1) });
    assert_eq!(desk.next(), Answer::Corrupt { key: key(1), asked: put(1) });
    assert_eq!(desk.fetch(key(1)), None);
    assert_eq!(ground.number(site, "SELECT count(*) FROM set_aside"), 1);

    desk.store((2..6).map(|number| row(number, put(1))).collect());
    ground.run(site, "UPDATE record SET put_at = put_at + 1");
    desk.store((5..9).map(|number| row(number, put(2))).collect());
    for number in 2..5 {
        desk.order(Order::Fetch { key: key(number), stamp: put(1) });
        assert_eq!(desk.next(), Answer::Corrupt { key: key(number), asked: put(1) });
    }
    for number in 5..9 {
        assert_eq!(desk.fetch(key(number)), Some(row(number, put(2))), "a newer one replaced it");
    }
    assert_eq!(ground.number(site, "SELECT count(*) FROM set_aside"), 4);
    assert_eq!(ground.number(site, "SELECT count(*) FROM record"), 4);
    desk.store(vec![row(2, put(1))]);
    assert_eq!(desk.fetch(key(2)), Some(row(2, put(1))), "it can be stored anew");
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
        desk.order(Order::Fetch { key: key(1), stamp: put(1) });
        let found = Answer::Fetched { key: key(1), asked: put(1), row: Some(row(1, put(1))) };
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
    desk.order(Order::Fetch { key: key(9_999), stamp: put(1) });
    desk.order(Order::Remove { view: VIEW, rows: vec![(key(1), put(1))] });
    desk.order(Order::Clear { slots: SlotSet::NONE, view: VIEW });
    let (mut stored, mut removed, mut fetched, mut cleared) = (0, 0, 0, 0);
    for answer in desk.close() {
        match answer {
            Answer::Stored(names) => stored += names.len(),
            Answer::Removed(names) => removed += names.len(),
            Answer::Fetched { row: None, .. } => fetched += 1,
            Answer::Cleared { view: VIEW } => cleared += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((stored, removed, fetched, cleared), (3_000, 1, 1, 1));
    assert_eq!(ground.number(site, "SELECT count(*) FROM record"), 2_999);
}
