//! `rehome serve` as a child process: started, killed by its id, started again.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use admin_api::StatusReply;

use super::admin::Admin;
use super::disk::Disk;
use super::netns::{self, Host};
use super::stage::{Stage, tail};
use super::wall_clock::WallClock;
use super::{try_wait_for, wait_for};

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_rehome");

/// A process that does not serve within this time never will.
const START: Duration = Duration::from_secs(20);

/// One process with its configuration. It is killed when this is dropped.
pub(crate) struct Node {
    name: String,
    program: PathBuf,
    config: PathBuf,
    log: PathBuf,
    admin: SocketAddr,
    host: Option<Host>,
    disk: Option<Disk>,
    clock: Option<WallClock>,
    child: Option<Child>,
}

impl Node {
    /// Writes the configuration `text` and starts the process. `admin` is its admin address.
    pub(crate) fn start(stage: &Stage, name: &str, text: &str, admin: SocketAddr) -> Self {
        Self::start_on(None, stage, name, text, admin)
    }

    /// The same with a disk of the test's making.
    pub(crate) fn start_with(
        disk: Disk,
        stage: &Stage,
        name: &str,
        text: &str,
        admin: SocketAddr,
    ) -> Self {
        let mut node = Self::new(None, stage, name, text, admin);
        node.disk = Some(disk);
        node.start_again();
        node
    }

    /// The disk that it was started with.
    pub(crate) fn disk(&self) -> &Disk {
        self.disk.as_ref().expect("it was started with a disk")
    }

    /// The wall clock that [`Stage::give_clocks`] gave it.
    pub(crate) fn clock(&self) -> &WallClock {
        self.clock.as_ref().expect("it was started with a clock")
    }

    /// The same on a host of a network.
    pub(crate) fn start_on(
        host: Option<&Host>,
        stage: &Stage,
        name: &str,
        text: &str,
        admin: SocketAddr,
    ) -> Self {
        let mut node = Self::new(host, stage, name, text, admin);
        node.start_again();
        node
    }

    fn new(host: Option<&Host>, stage: &Stage, name: &str, text: &str, admin: SocketAddr) -> Self {
        let text = text.to_owned() + &stage.more(name);
        let config = stage.write(&format!("{name}.toml"), &text);
        let log = stage.path(&format!("{name}.log"));
        let host = host.cloned();
        let program = stage.program(name);
        let clock = stage.clock(name);
        let (name, disk, child) = (name.into(), None, None);
        Self { name, program, config, log, admin, host, disk, clock, child }
    }

    /// Starts the process after a kill, with the same configuration and the same data.
    pub(crate) fn start_again(&mut self) {
        assert!(self.child.is_none(), "{} runs already", self.name);
        let log = File::options().create(true).append(true).open(&self.log);
        let log = log.expect("the test's folder is writable");
        let mut command = Command::new(&self.program);
        command
            .args(["serve", "--config"])
            .arg(&self.config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        // One library is loaded before the C library, not two.
        match (&self.disk, &self.clock) {
            (Some(disk), _) => disk.give(&mut command),
            (None, Some(clock)) => clock.give(&mut command),
            (None, None) => {}
        }
        let child = netns::on(self.host.as_ref(), || command.spawn());
        let child = child.expect("cargo built the program");
        self.child = Some(child);
    }

    /// SIGKILL: nothing is drained, nothing is said, nothing is written.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().expect("it is killed while it runs");
        child.kill().expect("it is our child");
        child.wait().expect("it is our child");
    }

    /// Ends it by `signal`, as an operator does, and starts another program with its configuration.
    pub(crate) fn replace(&mut self, program: &Path, signal: &str) {
        self.signal(signal);
        let mut child = self.child.take().expect("it was told while it ran");
        let ended =
            wait_for("the end of a process", START, || child.try_wait().expect("it is our child"));
        assert!(ended.success() || signal == "-KILL", "{} ended badly: {ended}", self.name);
        self.program = program.to_owned();
        self.start_again();
    }

    /// Whether the process runs this program.
    pub(crate) fn runs(&self, program: &Path) -> bool {
        let id = self.child.as_ref().map_or(0, Child::id);
        let running = std::fs::read_link(format!("/proc/{id}/exe"));
        running.is_ok_and(|running| Some(running) == program.canonicalize().ok())
    }

    /// SIGSTOP, or SIGCONT: it stands still, with its sockets open.
    pub(crate) fn signal(&self, signal: &str) {
        let child = self.child.as_ref().expect("it is told while it runs");
        let sent = Command::new("kill").args([signal, &child.id().to_string()]).status();
        assert!(sent.expect("a system has kill").success(), "{signal} to {}", self.name);
    }

    /// CPU time of its threads so far, in nanoseconds.
    #[allow(dead_code, reason = "`bench crossing` reads it")]
    pub(crate) fn cpu_ns(&self) -> u64 {
        let child = self.child.as_ref().expect("it runs");
        let threads = std::fs::read_dir(format!("/proc/{}/task", child.id()));
        let on_cpu = |thread: std::fs::DirEntry| {
            let text = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
            text.split(' ').next()?.parse::<u64>().ok()
        };
        threads.expect("it is our child").flatten().filter_map(on_cpu).sum()
    }

    /// Its admin API.
    pub(crate) fn admin(&self) -> Admin {
        Admin { address: self.admin, host: self.host.clone() }
    }

    /// What it says of itself; fails when the process ended by itself.
    pub(crate) fn try_status(&mut self) -> Option<StatusReply> {
        if let Some(child) = &mut self.child
            && let Ok(Some(status)) = child.try_wait()
        {
            panic!("{} ended by itself, {status}:\n{}", self.name, tail(&self.log, 10));
        }
        self.admin().status().ok()
    }

    /// Its status, once it answers and `wanted` holds.
    pub(crate) fn wait_until(
        &mut self,
        what: &str,
        patience: Duration,
        wanted: impl Fn(&StatusReply) -> bool,
    ) -> StatusReply {
        let mut last = "it never answered".to_owned();
        let found = try_wait_for(patience, || {
            let status = self.try_status()?;
            last = brief(&status);
            Some(status).filter(|status| wanted(status))
        });
        found.unwrap_or_else(|| {
            panic!("{}: waited {patience:?} in vain: {what}; last status: {last}", self.name);
        })
    }

    /// Waits until the process takes calls.
    pub(crate) fn wait_serving(&mut self) -> StatusReply {
        self.wait_until("serves", START, |status| status.state == "serving")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // One that has ended already is what is wanted.
            let _ended = child.kill();
            let _ended = child.wait();
        }
    }
}

/// A status without what is zero or empty.
pub(crate) fn brief(status: &StatusReply) -> String {
    let value = serde_json::to_value(status).expect("plain data");
    let fields = value.as_object().expect("a struct").iter();
    let told = fields.filter(|(name, value)| {
        *name != "counters"
            && !value.is_null()
            && **value != 0
            && **value != ""
            && value.as_object().is_none_or(|map| !map.is_empty())
    });
    told.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
}
