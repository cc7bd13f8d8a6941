//! Real servers for tests: etcd, PostgreSQL and NATS, each with its own folder and ports on
//! loopback.
//!
//! Nothing here depends on the end-to-end tests, so that unit tests can include it by its path. A
//! server is ended by its process id when it is dropped, and by the kernel when the thread that
//! started it ends without that: **start it on the test's own thread**.

#![allow(dead_code, reason = "each crate that includes this uses its own part of it")]

#[path = "servers/etcd.rs"]
pub(crate) mod etcd;
#[path = "servers/nats.rs"]
pub(crate) mod nats;
#[path = "servers/postgres.rs"]
pub(crate) mod postgres;

#[cfg(test)]
#[path = "servers/tests.rs"]
mod tests;

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

static NEXT_PORT: AtomicU16 = AtomicU16::new(0);

/// Above the ports of the other tests, below those that Linux gives to outgoing connections: so a
/// port stays free while the server that had it is dead.
const PORTS: std::ops::Range<u16> = 31_000..32_700;

/// A server that does not answer within this never will.
const START: Duration = Duration::from_secs(30);
/// Time between two looks at something that is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Other test processes may take a port between the look at it and its use.
const TRIES: usize = 3;

/// A port of loopback that nobody uses.
pub(crate) fn free_port() -> u16 {
    let span = PORTS.end - PORTS.start;
    let start = (std::process::id() % u32::from(span)) as u16;
    for _ in 0..span {
        let step = NEXT_PORT.fetch_add(1, Ordering::Relaxed) % span;
        let port = PORTS.start + (start.wrapping_mul(37) % span + step) % span;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("loopback has no free port");
}

/// Asks `look` until it says yes; fails with what was waited for after `patience`.
pub(crate) fn wait_for(what: &str, patience: Duration, mut look: impl FnMut() -> bool) {
    let began = Instant::now();
    while !look() {
        assert!(began.elapsed() < patience, "waited {patience:?} in vain for {what}");
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Who a server runs as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum User {
    Ours,
    /// PostgreSQL does not run as root.
    Postgres,
}

/// A child process: killed when this is dropped, or when its thread ends.
#[derive(Debug)]
struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    fn start(program: &Path, arguments: &[String], user: User, log: &Path) -> Self {
        let file = File::options().create(true).append(true).open(log);
        let file = file.expect("the test's folder is writable");
        let errors = file.try_clone().expect("a file can be opened twice");
        // `setpriv` becomes the server: it keeps the process id.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]);
        if user == User::Postgres {
            command.args(["--reuid", "postgres", "--regid", "postgres", "--clear-groups"]);
        }
        let child = command
            .arg(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(errors)
            .spawn()
            .expect("setpriv is a part of Debian's util-linux");
        Self { child, log: log.into() }
    }

    fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("it is our child").is_some()
    }

    /// Waits until `is_up`; `false` when the process ends first.
    fn wait_until_up(&mut self, what: &str, is_up: impl Fn() -> bool) -> bool {
        let mut ended = false;
        wait_for(what, START, || {
            ended = self.has_ended();
            ended || is_up()
        });
        !ended
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args([signal, &pid]).status();
        assert!(sent.expect("a system has kill").success(), "{signal} to {pid}");
    }

    fn kill(&mut self) {
        // One that has ended already is what is wanted.
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }

    fn last_words(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
