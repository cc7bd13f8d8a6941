//! The file of the queue with a bit flipped, or cut, at every offset (D20, D22).
//!
//! The short run takes every byte of the headers and a sample of the others; with
//! `REHOME_TEST_SIZE=full` it is every byte.

use std::collections::BTreeMap;
use std::fs;

use super::desk::{Desk, are, batch, same};
use super::*;

/// A queue as its folder is, with rows in the file and rows in the log.
struct Original {
    name: String,
    files: BTreeMap<&'static str, Vec<u8>>,
    rows: u64,
}

const FILE: &str = "queue.sqlite";
const LOG: &str = "queue.sqlite-wal";
const MARK: &str = "queue.mark";

fn settings(folder: &Path) -> Settings {
    Settings { place: Place::Sqlite(folder.join(FILE)), ..bounds(1) }
}

/// A file system in memory is enough: nothing here loses its power.
fn scratch(name: &str) -> Scratch {
    Scratch::in_memory(name)
}

impl Original {
    fn new(name: &str) -> Self {
        let scratch = scratch(&format!("queue_original_{name}"));
        let settings = settings(scratch.path());
        let (mut desk, _) = Desk::load(&settings);
        desk.append(1..=14);
        // With the end of a queue its log goes into the file.
        assert_eq!(desk.close(), []);
        let (mut desk, _) = Desk::load(&settings);
        desk.order(Order::Remove(3));
        desk.append(15..=20);
        let files = [FILE, LOG, MARK].map(|name| {
            let bytes = fs::read(scratch.path().join(name)).unwrap();
            (name, bytes)
        });
        Self { name: name.into(), files: files.into(), rows: 19 }
    }

    /// Starts on what is left of it, and goes on. Whether damage was told, and the rows found.
    fn start(&self, name: &str, damaged: &[u8]) -> (Option<Damage>, usize) {
        let scratch = scratch(&format!("queue_damaged_{}", self.name));
        for (file, bytes) in &self.files {
            let bytes = if *file == name { damaged } else { bytes };
            fs::write(scratch.path().join(file), bytes).unwrap();
        }
        let settings = settings(scratch.path());
        let (mut desk, found) = Desk::load(&settings);
        for batch in &found {
            let row = batch.id - (1 << 40);
            // The third may be back from before its removal, and be applied again.
            assert!(row <= 20, "{batch:?}");
            assert_eq!(same(batch), same(&super::desk::batch(row)), "served, and not as written");
            assert_eq!(batch.row, row);
        }
        desk.order(Order::Append(batch(1_000)));
        let mut damage = None;
        loop {
            match desk.next() {
                Answer::Appended(1_000) => break,
                Answer::Damaged(told) => damage = Some(told),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(desk.close(), []);
        let good = found.iter().filter(|batch| batch.row != 3).count();
        assert!(good as u64 == self.rows || damage.is_some(), "lost without a word");
        if let Some(damage) = &damage {
            let missing = self.rows - good as u64;
            assert!(damage.lost.is_none_or(|lost| lost == missing), "{damage:?} of {missing}");
            assert!(damage.kept.as_ref().unwrap().exists(), "{damage:?}");
        }
        let (mut desk, again) = Desk::load(&settings);
        let mut rows: Vec<u64> = found.iter().map(|batch| batch.row).collect();
        rows.push(1_000);
        are(&again, rows);
        desk.append(1_001..=1_001);
        assert_eq!(desk.close(), [], "what was mended is sound");
        (damage, good)
    }
}

/// Which offsets are tried: every one of a header, and of the rest each `step`th.
fn offsets(name: &str, length: usize, step: usize) -> Vec<usize> {
    let step =
        if std::env::var("REHOME_TEST_SIZE").is_ok_and(|size| size == "full") { 1 } else { step };
    let is_header = |at: usize| match name {
        FILE => at < 100 || at % 4_096 < 12,
        // Of the log, and of its first frames.
        LOG => at < 32 + 24 || (at - 32) % (4_096 + 24) < 24 && at < 20_000,
        _ => true,
    };
    (0..length).filter(|at| is_header(*at) || at % step == 0).collect()
}

#[test]
fn d20_a_flipped_bit_is_found_told_and_never_served() {
    let original = Original::new("flipped");
    for (name, bytes) in &original.files {
        let offsets = offsets(name, bytes.len(), 97);
        let (mut told, mut lost) = (0, 0);
        for at in &offsets {
            let mut bytes = bytes.clone();
            bytes[*at] ^= 1 << (at % 8);
            let (damage, found) = original.start(name, &bytes);
            told += usize::from(damage.is_some());
            lost += original.rows as usize - found;
        }
        println!(
            "{name}: {} of {} bytes with a bit flipped, {told} told, {lost} batches of {} lost",
            offsets.len(),
            bytes.len(),
            original.rows as usize * offsets.len(),
        );
        assert!(told > 0 || *name == MARK, "{name}");
    }
}

#[test]
fn d22_a_file_that_is_cut_is_cut_at_the_last_good_one_and_goes_on() {
    let original = Original::new("cut");
    for (name, bytes) in &original.files {
        let mut told = 0;
        let lengths: Vec<usize> = (0..bytes.len()).step_by(509).chain([bytes.len() - 1]).collect();
        for length in &lengths {
            let (damage, _) = original.start(name, &bytes[..*length]);
            told += usize::from(damage.is_some());
        }
        println!("{name}: cut at {} lengths, {told} told", lengths.len());
        // The last commit that the log has is there, or its loss is told.
        assert!(*name == MARK || told > 0, "{name}");
    }
    let (damage, _) = original.start("none", &[]);
    assert_eq!(damage, None);
}

/// The server checks what it stored by itself; this is that it does, and that we take it as it is.
#[test]
fn d20_a_flipped_bit_on_a_server_s_disk_is_never_served() {
    let scratch = Scratch::new("queue_flipped_server");
    let mut nats = Nats::start(scratch.path());
    let settings = Settings { place: Place::Nats(Box::new(super::server(&[&nats]))), ..bounds(1) };
    let (mut desk, _) = Desk::load(&settings);
    desk.append(1..=20);
    assert_eq!(desk.close(), []);
    nats.kill();
    let sound = scratch.path().join("sound");
    nats.copy_disk(&sound);
    let (mut served, mut lost) = (0, 0);
    for share in 1..=4 {
        nats.put_disk_back(&sound);
        let at = nats.flip_a_bit("msgs", share * 1_933);
        nats.start_again();
        let mut desk = Desk::open(&settings);
        let found = loop {
            match desk.next() {
                Answer::Loaded(found) => break found,
                Answer::Away { .. } => {}
                other => panic!("{other:?}"),
            }
        };
        for found in &found {
            let row = found.id - (1 << 40);
            assert_eq!(same(found), same(&batch(row)), "bit {at} is flipped, and it was served");
        }
        served += found.len();
        lost += 20 - found.len();
        desk.append(1_000..=1_000);
        drop(desk);
        nats.kill();
    }
    println!("{served} batches served, {lost} lost with one bit each time");
}
