//! The count goes up, whatever befalls the disk; else there is no start.

use super::*;
use crate::disk::Disk;
use crate::scratch::{Scratch, killed_on, of_parent, runs_on};

/// The folder of a child, in its environment.
const ON_DISK: &str = "REHOME_TEST_START_ON_DISK";

#[test]
fn each_start_counts_one() {
    let scratch = Scratch::new("start_count");
    for start in 1..4 {
        assert_eq!(count(scratch.path()).unwrap(), start);
    }
}

#[test]
fn one_process_at_a_time() {
    let scratch = Scratch::new("start_lock");
    let held = lock(scratch.path()).unwrap();
    assert!(lock(scratch.path()).is_err());
    drop(held);
    assert!(lock(scratch.path()).is_ok());
}

#[test]
fn a_spoilt_count_is_not_taken_for_a_first_start() {
    let scratch = Scratch::new("start_count_spoilt");
    fs::write(scratch.path().join("start"), "seven\n").unwrap();
    let told = count(scratch.path()).unwrap_err().to_string();
    assert!(told.contains("write a number into") && told.contains("/start"), "{told}");
    // What the words say helps.
    fs::write(scratch.path().join("start"), "40\n").unwrap();
    assert_eq!(count(scratch.path()).unwrap(), 41);
    assert_eq!(count(scratch.path()).unwrap(), 42);
}

#[test]
fn the_count_of_an_older_version_is_taken_when_it_is_whole() {
    let scratch = Scratch::new("start_count_old");
    let file = scratch.path().join("start");
    fs::write(&file, "1").unwrap();
    assert!(count(scratch.path()).is_err(), "it may have been 17");
    fs::write(&file, "17\n").unwrap();
    assert_eq!(count(scratch.path()).unwrap(), 18);
    // An older version went on in between, and knows of one file.
    fs::write(&file, "19\n").unwrap();
    assert_eq!(count(scratch.path()).unwrap(), 20);
}

#[test]
fn a_folder_that_has_seen_a_start_and_lost_its_count_is_none_to_begin_in() {
    let scratch = Scratch::new("start_count_gone");
    assert_eq!(count(scratch.path()).unwrap(), 1);
    fs::write(scratch.path().join(SIGN_OF_A_START), "").unwrap();
    FILES.iter().for_each(|name| fs::remove_file(scratch.path().join(name)).unwrap());
    let told = count(scratch.path()).unwrap_err().to_string();
    assert!(told.contains("is gone"), "{told}");
}

/// A count of 41, and what becomes of it when some files are changed.
fn after(change: impl Fn(&mut Vec<u8>), names: &[&str]) -> io::Result<u64> {
    let scratch = Scratch::in_memory("start_count_damaged");
    for name in FILES {
        let mut bytes = text_of(name, 41).into_bytes();
        if names.contains(&name) {
            change(&mut bytes);
        }
        fs::write(scratch.path().join(name), bytes).unwrap();
    }
    count(scratch.path())
}

#[test]
fn d20_d22_a_flipped_bit_or_a_cut_never_counts_lower() {
    let lengths = FILES.map(|name| text_of(name, 41).len());
    let shorter = lengths[0].min(lengths[1]);
    for (name, length) in FILES.into_iter().zip(lengths) {
        for at in 0..length {
            for bit in 0..8 {
                let flip = |bytes: &mut Vec<u8>| bytes[at] ^= 1 << bit;
                assert_eq!(after(flip, &[name]).unwrap(), 42, "{name}, byte {at}, bit {bit}");
                let is_told = at >= shorter || after(flip, &FILES).is_err();
                assert!(is_told, "byte {at}, bit {bit}");
            }
            let cut = |bytes: &mut Vec<u8>| bytes.truncate(at);
            assert_eq!(after(cut, &[name]).unwrap(), 42, "{name} cut at {at}");
            assert!(at >= shorter || after(cut, &FILES).is_err(), "cut at {at}");
        }
    }
}

/// D43: a version from before the second file reads one number, and refuses all else.
#[test]
fn d43_an_older_version_reads_the_count() {
    let scratch = Scratch::new("start_count_back");
    assert_eq!(count(scratch.path()).unwrap(), 1);
    let file = scratch.path().join("start");
    assert_eq!(fs::read_to_string(&file).unwrap().trim().parse(), Ok(1));
    // It counts one, and knows of this file alone.
    fs::write(&file, "2\n").unwrap();
    assert_eq!(count(scratch.path()).unwrap(), 3);
}

#[test]
fn d16_d17_a_disk_that_fails_refuses_the_start_and_the_next_one_counts_higher() {
    let scratch = Scratch::new("start_disk");
    let disk = Disk::new(&scratch.path().join("data"), &scratch.path().join("beside"));
    runs_on(&disk, "start_count::tests::child_whose_disk_fails", ON_DISK);
}

#[test]
fn child_whose_disk_fails() {
    let Some(folder) = of_parent(ON_DISK) else { return };
    let disk = Disk::of_parent();
    let mut last = count(&folder).unwrap();
    let mut rises = |what: &str| {
        let next = count(&folder).unwrap();
        assert!(next > last, "{next} after {last}: {what}");
        last = next;
    };
    for sync in 1..=FILES.len() as u64 + 1 {
        disk.fail_sync_in(sync);
        let told = count(&folder).unwrap_err().to_string();
        assert!(told.contains("os error 5"), "{told}");
        rises("a sync failed");
    }
    disk.leave_room(Some(0));
    let told = count(&folder).unwrap_err().to_string();
    assert!(told.contains("No space left"), "{told}");
    disk.leave_room(None);
    rises("there was no room");
    disk.fail_reads(true);
    let told = count(&folder).unwrap_err().to_string();
    assert!(told.contains("cannot be read"), "{told}");
    disk.fail_reads(false);
    rises("it could not be read");
    let counts = disk.counts();
    assert!(counts.syncs_failed == 3 && counts.writes_refused == 1, "{counts:?}");
}

#[test]
fn d18_a_start_that_was_counted_outlives_a_power_failure() {
    for keeps in [false, true] {
        let scratch = Scratch::new("start_power");
        let disk = Disk::with_power(&scratch.path().join("data"), &scratch.path().join("beside"));
        let child = "start_count::tests::child_that_starts_again_and_again";
        for enough in [1, 30] {
            let counted = killed_on(Some(&disk), child, ON_DISK, disk.folder(), enough);
            disk.lose_power(|| keeps);
            let next = count(disk.folder()).unwrap();
            assert!(next > counted, "{next} after {counted}");
        }
    }
}

#[test]
fn child_that_starts_again_and_again() {
    let Some(folder) = of_parent(ON_DISK) else { return };
    loop {
        println!("on disk {}", count(&folder).unwrap());
    }
}
