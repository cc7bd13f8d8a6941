//! What is asked of every queue. Each case has the queue of a site of its own.

use std::time::Instant;

use super::desk::{Desk, are, batch};
use super::*;
use crate::scratch::killed_at;

/// A queue that a test can also reach behind the program's back.
pub(super) trait Ground {
    fn settings(&self, site: u16) -> Settings;
    /// The payloads of what was set aside.
    fn aside(&self, site: u16) -> Vec<Bytes>;
}

type Case = fn(&dyn Ground, u16);

pub(super) fn run(ground: &dyn Ground) {
    let cases: &[(&str, Case)] = &[
        ("what was appended is held, in order", held),
        ("what was removed is not", removed),
        ("what was set aside is kept aside", set_aside),
        ("rows of one life and of the next", two_lives),
        ("large and empty batches", sizes),
        ("every append is answered at the end", answered_at_the_end),
        ("thousands at once", many),
    ];
    for (site, (name, case)) in (1..).zip(cases) {
        let started = Instant::now();
        println!("case: {name}");
        case(ground, site);
        println!("  {} ms", started.elapsed().as_millis());
    }
}

/// The gate's rows of a life begin far above those of the life before.
const LIFE: u64 = 1 << 32;

fn held(ground: &dyn Ground, site: u16) {
    let settings = ground.settings(site);
    let (mut desk, found) = Desk::load(&settings);
    assert_eq!(found, []);
    desk.append(1..=20);
    assert_eq!(desk.close(), []);
    for _ in 0..2 {
        let (desk, found) = Desk::load(&settings);
        are(&found, 1..=20);
        assert!(found.iter().all(|batch| batch.waited < Duration::from_secs(60)), "{found:?}");
        assert_eq!(desk.close(), []);
    }
}

fn removed(ground: &dyn Ground, site: u16) {
    let settings = ground.settings(site);
    let (mut desk, _) = Desk::load(&settings);
    desk.append(1..=6);
    desk.order(Order::Remove(2));
    desk.order(Order::Remove(6));
    // Removals are not answered; one that is repeated, or of nothing, is no trouble.
    desk.order(Order::Remove(6));
    desk.order(Order::Remove(77));
    desk.append(7..=7);
    assert_eq!(desk.close(), []);
    let (_, found) = Desk::load(&settings);
    are(&found, [1, 3, 4, 5, 7]);
}

fn set_aside(ground: &dyn Ground, site: u16) {
    let settings = ground.settings(site);
    let (mut desk, _) = Desk::load(&settings);
    desk.append(1..=4);
    desk.order(Order::SetAside(3));
    assert_eq!(desk.close(), []);
    assert_eq!(ground.aside(site), [batch(3).bytes]);
    let (desk, found) = Desk::load(&settings);
    are(&found, [1, 2, 4]);
    // One that an earlier life appended.
    desk.order(Order::SetAside(found[0].row));
    assert_eq!(desk.close(), []);
    let (_, found) = Desk::load(&settings);
    are(&found, [2, 4]);
    let mut aside = ground.aside(site);
    aside.sort();
    assert_eq!(aside, [batch(1).bytes, batch(3).bytes]);
}

fn two_lives(ground: &dyn Ground, site: u16) {
    let settings = ground.settings(site);
    let (mut desk, _) = Desk::load(&settings);
    desk.append((1..=3).map(|row| LIFE + row));
    assert_eq!(desk.close(), []);
    let (mut desk, found) = Desk::load(&settings);
    assert!(found.iter().all(|batch| batch.row < 2 * LIFE), "{found:?}");
    desk.order(Order::Remove(found[1].row));
    desk.append((1..=2).map(|row| 2 * LIFE + row));
    desk.order(Order::Remove(2 * LIFE + 1));
    assert_eq!(desk.close(), []);
    let (desk, found) = Desk::load(&settings);
    are(&found, [LIFE + 1, LIFE + 3, 2 * LIFE + 2]);
    found.iter().for_each(|batch| desk.order(Order::Remove(batch.row)));
    assert_eq!(desk.close(), []);
    let (_, found) = Desk::load(&settings);
    assert_eq!(found, []);
}

fn sizes(ground: &dyn Ground, site: u16) {
    let settings = ground.settings(site);
    let (mut desk, _) = Desk::load(&settings);
    let sizes = [0, 1, 65_536, 900_000];
    for (row, size) in (1..).zip(sizes) {
        desk.order(Order::Append(QueuedBatch { bytes: vec![7; size].into(), ..batch(row) }));
        assert_eq!(desk.next(), Answer::Appended(row));
    }
    assert_eq!(desk.close(), []);
    let (_, found) = Desk::load(&settings);
    assert_eq!(found.iter().map(|batch| batch.bytes.len()).collect::<Vec<_>>(), sizes);
}

fn answered_at_the_end(ground: &dyn Ground, site: u16) {
    let settings = ground.settings(site);
    let (desk, _) = Desk::load(&settings);
    (1..=300).for_each(|row| desk.order(Order::Append(batch(row))));
    desk.order(Order::Remove(1));
    assert_eq!(desk.close(), (1..=300).map(Answer::Appended).collect::<Vec<_>>());
}

fn many(ground: &dyn Ground, site: u16) {
    const ROWS: u64 = 3_000;
    let settings = ground.settings(site);
    let (mut desk, _) = Desk::load(&settings);
    let began = Instant::now();
    desk.append(1..=ROWS);
    println!("  {ROWS} appended in {} ms", began.elapsed().as_millis());
    let began = Instant::now();
    (1..=ROWS).filter(|row| row % 3 != 0).for_each(|row| desk.order(Order::Remove(row)));
    assert_eq!(desk.close(), []);
    println!("  {} removed in {} ms", ROWS / 3 * 2, began.elapsed().as_millis());
    let began = Instant::now();
    let (_, found) = Desk::load(&settings);
    println!("  {} loaded in {} ms", found.len(), began.elapsed().as_millis());
    are(&found, (3..=ROWS).step_by(3));
}

/// What a process that is killed was told to be held, the next one finds.
pub(super) fn killed(scratch: Scratch) {
    let child = "queue::tests::child_appends_until_it_is_killed";
    let acknowledged = killed_at(child, CHILD, &scratch, 700);
    let place = match std::fs::read_to_string(scratch.path().join("url")) {
        Ok(url) => Place::Nats(Box::new(Server { urls: vec![url], ..server(&[]) })),
        Err(_) => Place::Sqlite(scratch.path().join("queue.sqlite")),
    };
    let settings = Settings { place, bytes_max: 1 << 30, batches_max: 200_000, ..bounds(1) };
    let (_, found) = Desk::load(&settings);
    assert!(found.len() as u64 >= acknowledged, "{} < {acknowledged}", found.len());
    are(&found, 1..=found.len() as u64);
}
