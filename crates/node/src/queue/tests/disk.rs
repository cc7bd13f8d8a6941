//! The file of the queue on a disk that is full, fails, or loses its power (D16 to D18).
//!
//! The queue runs in a process of its own, behind `tests/e2e/harness/disk/shim.c`.

use std::io::Write as _;

use super::desk::{Desk, are, batch};
use super::*;
use crate::disk::Disk;
use crate::scratch::{killed_on, runs_on};

/// The folder of a child, in its environment.
const ON_DISK: &str = "REHOME_TEST_QUEUE_ON_DISK";

fn of(folder: &Path) -> Settings {
    Settings { place: Place::Sqlite(folder.join("queue.sqlite")), ..bounds(1) }
}

/// What a child has: its disk, and the settings of a queue on it.
fn given() -> Option<(Disk, Settings)> {
    let folder = of_parent(ON_DISK)?;
    Some((Disk::of_parent(), of(&folder)))
}

fn run(name: &str, child: &str) {
    let scratch = Scratch::new(name);
    let disk = Disk::new(&scratch.path().join("data"), &scratch.path().join("beside"));
    runs_on(&disk, &format!("queue::tests::disk::{child}"), ON_DISK);
}

/// A batch that fills more than a log may hold before a checkpoint, five times.
fn large(row: u64) -> QueuedBatch {
    QueuedBatch { bytes: vec![7; 900_000].into(), ..batch(row) }
}

/// What is told of `rows`, in any order with what else is told meanwhile.
struct Heard {
    appended: Vec<u64>,
    refused: Vec<u64>,
    others: Vec<Answer>,
}

impl Desk {
    fn hear_of(&mut self, rows: usize) -> Heard {
        let mut heard = Heard { appended: Vec::new(), refused: Vec::new(), others: Vec::new() };
        while heard.appended.len() + heard.refused.len() < rows {
            match self.next() {
                Answer::Appended(row) => heard.appended.push(row),
                Answer::Refused(row) => heard.refused.push(row),
                other => heard.others.push(other),
            }
        }
        heard
    }
}

#[test]
fn d16_a_full_disk_refuses_what_comes_keeps_what_is_held_and_drains_when_there_is_room() {
    run("queue_disk_full", "child_of_a_full_disk");
}

#[test]
fn child_of_a_full_disk() {
    let Some((disk, settings)) = given() else { return };
    let (mut desk, _) = Desk::load(&settings);
    desk.append(1..=20);
    disk.leave_room(Some(0));
    (21..=60).for_each(|row| desk.order(Order::Append(batch(row))));
    let heard = desk.hear_of(40);
    assert_eq!(heard.refused, (21..=60).collect::<Vec<_>>());
    let why = match &heard.others[..] {
        [Answer::Away { why }] => why.clone(),
        [] => desk.is_away(),
        other => panic!("{other:?}"),
    };
    assert!(why.contains("queue.sqlite") && why.contains("full"), "{why}");
    // It is refused at once, and what was applied meanwhile leaves the file later.
    let began = std::time::Instant::now();
    desk.is_refused(61);
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    desk.order(Order::Remove(1));
    desk.order(Order::SetAside(2));
    assert!(disk.counts().writes_refused > 0, "{:?}", disk.counts());
    disk.leave_room(None);
    assert_eq!(desk.next(), Answer::Back);
    desk.append(62..=64);
    assert_eq!(desk.close(), []);
    let (mut desk, found) = Desk::load(&settings);
    are(&found, (3..=20).chain(62..=64));

    // A little room: for a part of a commit, of a checkpoint, of a file.
    let mut held: Vec<u64> = (3..=20).chain(62..=64).collect();
    let (mut row, mut refused) = (100, 0);
    for room in (0..60_000).step_by(8_300).chain([4 << 20, 5 << 20]) {
        disk.leave_room(Some(room));
        for _ in 0..6 {
            let batch = if room > 1 << 20 { large(row) } else { batch(row) };
            desk.order(Order::Append(batch));
            row += 1;
        }
        let heard = desk.hear_of(6);
        refused += heard.refused.len();
        disk.leave_room(None);
        let mut is_away = !heard.refused.is_empty() || !heard.others.is_empty();
        let mut told = heard.others.into_iter();
        while is_away {
            match told.next().unwrap_or_else(|| desk.next()) {
                Answer::Back => is_away = false,
                Answer::Away { .. } | Answer::Damaged(_) => {}
                other => panic!("{other:?}"),
            }
        }
        if room > 1 << 20 {
            heard.appended.iter().for_each(|row| desk.order(Order::Remove(*row)));
        } else {
            held.extend(heard.appended);
        }
    }
    assert!(refused > 8, "{refused}");
    assert_eq!(desk.close(), []);
    let (_, found) = Desk::load(&settings);
    are(&found, held);
}

#[test]
fn d16_a_start_on_a_full_disk_reads_what_is_held() {
    run("queue_start_full", "child_that_starts_on_a_full_disk");
}

#[test]
fn child_that_starts_on_a_full_disk() {
    let Some((disk, settings)) = given() else { return };
    let (mut desk, _) = Desk::load(&settings);
    desk.append(1..=5);
    assert_eq!(desk.close(), []);
    disk.leave_room(Some(0));
    let (mut desk, found) = Desk::load(&settings);
    are(&found, 1..=5);
    let why = desk.is_away();
    assert!(why.contains("full"), "{why}");
    desk.is_refused(6);
    desk.order(Order::Remove(3));
    disk.leave_room(None);
    assert_eq!(desk.next(), Answer::Back);
    desk.append(7..=7);
    assert_eq!(desk.close(), []);
    let (_, found) = Desk::load(&settings);
    are(&found, [1, 2, 4, 5, 7]);
}

#[test]
fn d17_a_sync_that_fails_refuses_its_batches_and_the_file_is_written_anew() {
    run("queue_sync_fails", "child_whose_syncs_fail");
}

#[test]
fn child_whose_syncs_fail() {
    let Some((disk, settings)) = given() else { return };
    let (mut desk, _) = Desk::load(&settings);
    let (mut held, mut row, mut damaged) = (Vec::new(), 1, 0);
    for round in 0..24 {
        let before = disk.counts().syncs_failed;
        disk.fail_sync_in(round / 2 + 1);
        let mut refused = Vec::new();
        let first = row;
        while row < first + 6 {
            // Every other round is long enough for a checkpoint.
            let batch = if round % 2 == 0 { batch(row) } else { large(row) };
            desk.order(Order::Append(batch));
            row += 1;
            let heard = desk.hear_of(1);
            held.extend(heard.appended);
            refused.extend(heard.refused);
            damaged += note_damage(&heard.others);
        }
        disk.fail_sync_in(0);
        assert!(refused.len() <= 1, "{refused:?}");
        // What is told of a checkpoint comes after its batch.
        let failed = disk.counts().syncs_failed - before;
        desk.order(Order::Append(batch(row)));
        row += 1;
        let heard = desk.hear_of(1);
        assert!(heard.refused.is_empty(), "{:?}", heard.others);
        damaged += note_damage(&heard.others);
        held.extend(heard.appended);
        if round % 2 == 1 {
            held.drain(..).for_each(|row| desk.order(Order::Remove(row)));
        }
        assert!(failed <= 1, "{failed}");
    }
    assert_eq!(desk.close(), []);
    let failed = disk.counts().syncs_failed;
    println!("{failed} syncs failed, {damaged} times the file was written anew");
    assert!(failed >= 12 && failed == damaged, "{failed} {damaged}");
    let (desk, found) = Desk::load(&settings);
    are(&found, held);
    assert_eq!(desk.close(), []);
    let kept = std::fs::read_dir(disk.folder()).unwrap();
    let kept = kept.filter(|file| file.as_ref().unwrap().path().extension().unwrap() == "sqlite");
    assert_eq!(kept.count(), 3, "the one in use, and two that were put aside");
}

fn note_damage(others: &[Answer]) -> u64 {
    let is_damage = |answer: &&Answer| match answer {
        Answer::Damaged(damage) => {
            assert_eq!(damage.lost, Some(0), "{damage:?}");
            assert!(damage.why.contains("disk I/O error"), "{damage:?}");
            true
        }
        other => panic!("{other:?}"),
    };
    others.iter().filter(is_damage).count() as u64
}

/// What a disk keeps of what was not synced when the power fails: nothing, all, or anything.
fn drawn(seed: u64) -> impl FnMut() -> bool {
    let mut state = seed;
    move || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        match seed {
            0 => false,
            1 => true,
            _ => state >> 63 == 1,
        }
    }
}

fn powered(name: &str) -> (Scratch, Disk) {
    let scratch = Scratch::new(name);
    let disk = Disk::with_power(&scratch.path().join("data"), &scratch.path().join("beside"));
    (scratch, disk)
}

#[test]
fn d18_what_was_acknowledged_outlives_a_power_failure() {
    for seed in 0..6 {
        let (_scratch, disk) = powered("queue_power");
        // One that is killed early has made its file only just before.
        let enough = if seed % 2 == 0 { 1 } else { 700 };
        let child = "queue::tests::disk::child_that_loses_power";
        let mut held = killed_on(Some(&disk), child, ON_DISK, disk.folder(), enough);
        disk.lose_power(drawn(seed));
        // And once more, after what was found.
        let again = held + 300;
        held = killed_on(Some(&disk), child, ON_DISK, disk.folder(), again);
        disk.lose_power(drawn(seed));
        assert!(disk.counts().syncs > 4, "the shim is not there: {:?}", disk.counts());
        let (mut desk, found) = Desk::load(&of(disk.folder()));
        println!("seed {seed}: {held} acknowledged, {} found, {:?}", found.len(), disk.counts());
        assert!(found.len() as u64 >= held, "{} < {held}", found.len());
        are(&found, 1..=found.len() as u64);
        desk.append([1 << 20]);
        assert_eq!(desk.close(), [], "nothing was damaged");
    }
}

/// Appends what follows what it finds, without end.
#[test]
fn child_that_loses_power() {
    let Some((_, settings)) = given() else { return };
    let (mut desk, found) = Desk::load(&settings);
    let mut row = found.len() as u64;
    are(&found, 1..=row);
    println!("on disk {row}");
    loop {
        // In groups of several sizes.
        let group = row % 13 + 1;
        desk.append(row + 1..=row + group);
        row += group;
        println!("on disk {row}");
    }
}

/// The disk of these tests does lose what the queue is careful to sync.
#[test]
fn d18_a_log_that_is_not_synced_loses_what_was_committed() {
    let (_scratch, disk) = powered("queue_power_unsynced");
    let child = "queue::tests::disk::child_that_does_not_sync";
    let held = killed_on(Some(&disk), child, ON_DISK, disk.folder(), 200);
    disk.lose_power(drawn(0));
    let connection = Connection::open(disk.folder().join("other.sqlite")).unwrap();
    let found = connection.query_row("SELECT count(*) FROM t", [], |row| row.get::<_, i64>(0));
    assert!(found.unwrap_or(0).cast_unsigned() < held, "what was not synced is there");
}

#[test]
fn child_that_does_not_sync() {
    let Some(folder) = of_parent(ON_DISK) else { return };
    let connection = Connection::open(folder.join("other.sqlite")).unwrap();
    connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL").unwrap();
    connection.execute_batch("CREATE TABLE t (row INTEGER PRIMARY KEY)").unwrap();
    for row in 1.. {
        connection.execute("INSERT INTO t VALUES (?)", [row]).unwrap();
        println!("on disk {row}");
        std::io::stdout().flush().unwrap();
    }
}

#[test]
fn d20_a_file_that_cannot_be_read_for_a_while_is_waited_for() {
    run("queue_unreadable", "child_that_cannot_read");
}

#[test]
fn child_that_cannot_read() {
    let Some((disk, settings)) = given() else { return };
    let (mut desk, _) = Desk::load(&settings);
    desk.append(1..=5);
    assert_eq!(desk.close(), []);
    disk.fail_reads(true);
    let mut desk = Desk::open(&settings);
    let why = desk.is_away();
    assert!(disk.counts().reads_failed > 0);
    desk.is_refused(6);
    disk.fail_reads(false);
    match desk.next() {
        Answer::Loaded(found) => are(&found, 1..=5),
        other => panic!("{why}, and then {other:?}"),
    }
    assert_eq!(desk.next(), Answer::Back);
    // While nothing can be read, nothing is begun anew. A file that alone stays so is replaced.
    assert_eq!(desk.close(), []);
    disk.fail_reads_of(&disk.folder().join("queue.sqlite"));
    let mut desk = Desk::open(&settings);
    desk.is_away();
    assert_eq!(desk.next(), Answer::Loaded(Vec::new()));
    match desk.next() {
        Answer::Damaged(Damage { lost: None, kept: Some(kept), .. }) => assert!(kept.exists()),
        other => panic!("{other:?}"),
    }
    assert_eq!(desk.next(), Answer::Back);
    desk.append(7..=7);
}
