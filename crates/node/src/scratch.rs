//! A directory of its own for a test, removed afterwards, and a child that is killed in it.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("rehome-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("the temporary directory can be written");
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
    let this = std::env::current_exe().expect("a test has a program");
    let mut process = Command::new(this)
        .args([child, "--exact", "--nocapture"])
        .env(variable, scratch.path())
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
