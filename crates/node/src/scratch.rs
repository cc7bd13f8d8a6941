//! A directory of its own for a test, removed afterwards, and a child that is killed in it.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::disk::Disk;

pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("rehome-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("the temporary directory can be written");
        Self(path)
    }

    /// One in memory where there is such a file system: nothing is ever synced there.
    pub(crate) fn in_memory(name: &str) -> Self {
        let memory = Path::new("/dev/shm");
        if !memory.is_dir() {
            return Self::new(name);
        }
        let path = memory.join(format!("rehome-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("the file system in memory can be written");
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left behind is in the temporary directory: nothing to report.
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// The directory of a child of [`killed_at`]; `None` for a test that runs by itself.
pub(crate) fn of_parent(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).map(PathBuf::from)
}

/// Runs the test `child` in a process of its own, which writes into `scratch` and prints
/// `on disk N` as N rows are acknowledged; kills it with SIGKILL once `enough` are. Says how many
/// were.
pub(crate) fn killed_at(child: &str, variable: &str, scratch: &Scratch, enough: u64) -> u64 {
    killed_on(None, child, variable, scratch.path(), enough)
}

/// The same with a folder that is on a disk of the test's making.
pub(crate) fn killed_on(
    disk: Option<&Disk>,
    child: &str,
    variable: &str,
    folder: &Path,
    enough: u64,
) -> u64 {
    let mut process = command(disk, child, variable, folder)
        .stdout(Stdio::piped())
        .spawn()
        .expect("a test can run again");
    let mut acknowledged = 0;
    let said = process.stdout.take().expect("it is piped");
    for line in BufReader::new(said).lines() {
        let line = line.expect("a child prints text");
        if let Some((_, rows)) = line.split_once("on disk ") {
            acknowledged = rows.parse().expect("a number");
        }
        if acknowledged >= enough {
            break;
        }
    }
    process.kill().expect("it is our child");
    process.wait().expect("it is our child");
    assert!(acknowledged >= enough, "the child died early, at {acknowledged}");
    acknowledged
}

/// Runs the test `child` in a process of its own whose folder is on `disk`; it fails as that does.
pub(crate) fn runs_on(disk: &Disk, child: &str, variable: &str) {
    let status = command(Some(disk), child, variable, disk.folder()).status();
    assert!(status.expect("a test can run again").success(), "{child} failed");
}

fn command(disk: Option<&Disk>, child: &str, variable: &str, folder: &Path) -> Command {
    let this = std::env::current_exe().expect("a test has a program");
    let mut command = Command::new(this);
    command.args([child, "--exact", "--nocapture"]).env(variable, folder);
    disk.into_iter().for_each(|disk| disk.give(&mut command));
    command
}
