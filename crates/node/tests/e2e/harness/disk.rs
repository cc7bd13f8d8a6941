//! A disk that is slow, full, fails, or loses its power, for one process of a test.
//!
//! `disk/shim.c` stands between the process and the C library. Nothing here depends on the
//! end-to-end tests, so that unit tests can include it by its path.

#![allow(dead_code, reason = "each crate that includes this uses its own part of it")]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Places in the control file, as the shim has them.
const SYNC_DELAY_MS: u64 = 0;
const SYNC_FAIL_IN: u64 = 1;
const ROOM: u64 = 2;
const READ_FAIL: u64 = 3;
const SYNCS: u64 = 4;
const PLACES: u64 = 9;

const FOLDER: &str = "REHOME_DISK_FOLDER";
const CONTROL: &str = "REHOME_DISK_CONTROL";
const SYNCED: &str = "REHOME_DISK_SYNCED";

/// What is lost of a file that was not synced is lost in pieces of this size.
const BLOCK: usize = 4_096;

/// What the process did, and what befell it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counts {
    pub(crate) syncs: u64,
    pub(crate) writes: u64,
    pub(crate) syncs_failed: u64,
    pub(crate) writes_refused: u64,
    pub(crate) reads_failed: u64,
}

/// The disk that a folder of a process is on.
#[derive(Debug)]
pub(crate) struct Disk {
    folder: PathBuf,
    control: PathBuf,
    shim: PathBuf,
    /// Where what was synced is kept; absent for a disk that does not lose its power.
    synced: Option<PathBuf>,
}

impl Disk {
    /// A sound disk for `folder`. What belongs to it is kept in `beside`, another folder.
    pub(crate) fn new(folder: &Path, beside: &Path) -> Self {
        fs::create_dir_all(folder).expect("the test's folder is writable");
        fs::create_dir_all(beside).expect("the test's folder is writable");
        let folder = folder.canonicalize().expect("it was just made");
        let beside = beside.canonicalize().expect("it was just made");
        let shim = beside.join("shim.so");
        compile_shim("disk/shim.c", &shim);
        let disk = Self { folder, control: beside.join("control"), shim, synced: None };
        fs::write(&disk.control, vec![0; 8 * PLACES as usize]).expect("the folder is writable");
        disk.leave_room(None);
        disk
    }

    /// The same, and [`Self::lose_power`] can be used.
    pub(crate) fn with_power(folder: &Path, beside: &Path) -> Self {
        let mut disk = Self::new(folder, beside);
        let synced = disk.control.with_file_name("synced");
        disk.synced = Some(synced);
        disk.note_synced();
        disk
    }

    /// The disk that this process was given by the one that started it.
    pub(crate) fn of_parent() -> Self {
        let path = |name| std::env::var_os(name).map(PathBuf::from);
        let given = "a child is given a disk";
        Self {
            folder: path(FOLDER).expect(given),
            control: path(CONTROL).expect(given),
            shim: path("LD_PRELOAD").expect(given),
            synced: path(SYNCED),
        }
    }

    /// The process of this command has the disk.
    pub(crate) fn give(&self, command: &mut Command) {
        command.env("LD_PRELOAD", &self.shim).env(FOLDER, &self.folder).env(CONTROL, &self.control);
        if let Some(synced) = &self.synced {
            command.env(SYNCED, synced);
        }
    }

    /// What is on it.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    fn put(&self, place: u64, value: u64) {
        let control = File::options().write(true).open(&self.control).expect("it is there");
        control.write_all_at(&value.to_ne_bytes(), 8 * place).expect("it is writable");
    }

    /// Each sync takes so long from now on.
    pub(crate) fn slow_down(&self, delay: Duration) {
        self.put(SYNC_DELAY_MS, u64::try_from(delay.as_millis()).expect("short"));
    }

    /// The `number`th sync from now on fails, and none after it. 0: none does.
    pub(crate) fn fail_sync_in(&self, number: u64) {
        self.put(SYNC_FAIL_IN, number);
    }

    /// Files may grow by so many bytes; without a bound for `None`.
    pub(crate) fn leave_room(&self, bytes: Option<u64>) {
        self.put(ROOM, bytes.unwrap_or(u64::MAX));
    }

    /// Whether every read fails.
    pub(crate) fn fail_reads(&self, fail: bool) {
        self.put(READ_FAIL, fail.into());
    }

    /// Every read of this file fails.
    pub(crate) fn fail_reads_of(&self, file: &Path) {
        self.put(READ_FAIL, fs::metadata(file).expect("it is there").ino());
    }

    pub(crate) fn counts(&self) -> Counts {
        let bytes = fs::read(&self.control).expect("it is there");
        let at = |place: u64| {
            let from = 8 * (SYNCS + place) as usize;
            u64::from_ne_bytes(bytes[from..from + 8].try_into().expect("eight bytes"))
        };
        Counts {
            syncs: at(0),
            writes: at(1),
            syncs_failed: at(2),
            writes_refused: at(3),
            reads_failed: at(4),
        }
    }

    /// Every process of the disk is dead. What was not synced is gone, but for what `keeps` says
    /// of each piece of it: a disk may have written that already.
    pub(crate) fn lose_power(&self, mut keeps: impl FnMut() -> bool) {
        let synced = self.synced.as_ref().expect("a disk that can lose its power");
        let mut now: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
        for (path, inode) in files(&self.folder) {
            now.insert(inode, fs::read(&path).expect("a file of the test"));
            fs::remove_file(path).expect("a file of the test");
        }
        let names = fs::read_to_string(synced.join("names")).expect("the shim writes them");
        for line in names.lines() {
            let (inode, name) = line.split_once(' ').expect("a number and a name");
            let mut bytes = fs::read(synced.join(inode)).unwrap_or_default();
            if let Some(newest) = now.get(&inode.parse().expect("a number")) {
                keep_some(&mut bytes, newest, &mut keeps);
            }
            fs::write(self.folder.join(name), bytes).expect("the folder is writable");
        }
        self.note_synced();
    }

    /// All that is on it is synced.
    fn note_synced(&self) {
        let synced = self.synced.as_ref().expect("a disk that can lose its power");
        // Of a disk that is new there is none.
        let _absent = fs::remove_dir_all(synced);
        fs::create_dir_all(synced).expect("the folder is writable");
        let mut names = String::new();
        for (path, inode) in files(&self.folder) {
            fs::copy(&path, synced.join(inode.to_string())).expect("the folder is writable");
            let name = path.file_name().and_then(|name| name.to_str()).expect("plain names");
            names += &format!("{inode} {name}\n");
        }
        fs::write(synced.join("names"), names).expect("the folder is writable");
    }
}

/// Compiles a file of the harness to what `LD_PRELOAD` loads.
pub(crate) fn compile_shim(source: &str, shim: &Path) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/harness").join(source);
    let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
    let built = Command::new(compiler)
        .args(["-O2", "-Wall", "-Werror", "-shared", "-fPIC", "-o"])
        .args([shim, &source])
        .arg("-ldl")
        .status();
    assert!(built.expect("the build needs a C compiler too").success(), "the shim is not built");
}

fn files(folder: &Path) -> Vec<(PathBuf, u64)> {
    let all = fs::read_dir(folder).expect("a folder of the test");
    let entries = all.map(|entry| entry.expect("a folder of the test"));
    let files = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()));
    files.map(|entry| (entry.path(), entry.metadata().expect("it is there").ino())).collect()
}

fn keep_some(bytes: &mut Vec<u8>, newest: &[u8], keeps: &mut impl FnMut() -> bool) {
    if keeps() {
        bytes.resize(newest.len(), 0);
    }
    for (piece, newest) in bytes.chunks_mut(BLOCK).zip(newest.chunks(BLOCK)) {
        let length = piece.len().min(newest.len());
        if keeps() {
            piece[..length].copy_from_slice(&newest[..length]);
        }
    }
}
