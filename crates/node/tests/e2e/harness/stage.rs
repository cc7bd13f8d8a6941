//! A test's folder and ports, and its turn on the machine.

use std::fs;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Instant;

use super::netns::Host;
use super::process::PROGRAM;
use super::wall_clock::WallClock;

/// Tests that have their turn now.
static TURNS: Mutex<usize> = Mutex::new(0);
static TURN_ENDED: Condvar = Condvar::new();
static NEXT_PORT: AtomicU16 = AtomicU16::new(0);

/// Below the ports that Linux gives to outgoing connections, so that a port stays free while the
/// process that had it is dead.
const PORTS: std::ops::Range<u16> = 11_000..31_000;

/// Lines of each log that a failed test shows.
const LOG_LINES: usize = 15;

/// One of the places on the machine: one, or `REHOME_TEST_TURNS` at most.
struct Turn;

impl Turn {
    fn wait() -> Self {
        let places = std::env::var("REHOME_TEST_TURNS").map_or(1, |text| {
            let places: usize = text.parse().expect("REHOME_TEST_TURNS is a number");
            places.max(1)
        });
        // A test that failed before says nothing about this one.
        let taken = TURNS.lock().unwrap_or_else(PoisonError::into_inner);
        let free = TURN_ENDED.wait_while(taken, |taken| *taken >= places);
        *free.unwrap_or_else(PoisonError::into_inner) += 1;
        Self
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *TURNS.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        TURN_ENDED.notify_one();
    }
}

/// Made first and dropped last in each test.
pub(crate) struct Stage {
    folder: PathBuf,
    name: &'static str,
    began: Instant,
    host: Option<Host>,
    /// What is started as a process whose name begins so; else the program under test.
    programs: Vec<(&'static str, PathBuf)>,
    /// What is added to the configuration of processes whose names begin so.
    more: Vec<(&'static str, String)>,
    /// Processes whose names begin so have a wall clock of the test's making.
    clocks: Vec<&'static str>,
    keeps_messages: bool,
    _turn: Turn,
}

impl Stage {
    /// Waits for the test's turn and makes its folder.
    pub(crate) fn new(name: &'static str) -> Self {
        let turn = Turn::wait();
        let folder = std::env::temp_dir().join(format!("rehome-{name}-{}", std::process::id()));
        let _absent = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).expect("the temporary directory is writable");
        let (host, began) = (None, Instant::now());
        let (programs, more, clocks) = (Vec::new(), Vec::new(), Vec::new());
        let keeps_messages = false;
        Self { folder, name, began, host, programs, more, clocks, keeps_messages, _turn: turn }
    }

    /// From here on SIPp runs on this host of a network.
    pub(crate) fn move_to(&mut self, host: Host) {
        self.host = Some(host);
    }

    /// From here on processes whose names begin with `names` are started of this program.
    pub(crate) fn run_as(&mut self, names: &'static str, program: &Path) {
        self.programs.push((names, program.to_owned()));
    }

    /// From here on this is added to the configuration of processes whose names begin with `names`.
    pub(crate) fn configure(&mut self, names: &'static str, more: String) {
        self.more.push((names, more));
    }

    /// From here on processes whose names begin with one of `names` have a wall clock that can be
    /// set; a disk of the test's making goes before it.
    pub(crate) fn give_clocks(&mut self, names: &[&'static str]) {
        self.clocks.extend(names);
    }

    /// The wall clock of the process of this name.
    pub(crate) fn clock(&self, name: &str) -> Option<WallClock> {
        let is_given = self.clocks.iter().any(|names| name.starts_with(names));
        is_given.then(|| WallClock::new(&self.path(&format!("clock-{name}"))))
    }

    /// What is added to the configuration of the process of this name.
    pub(crate) fn more(&self, name: &str) -> String {
        let told = self.more.iter().filter(|(names, _)| name.starts_with(names));
        told.map(|(_, more)| more.as_str()).collect()
    }

    /// What is started as the process of this name.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        let told = self.programs.iter().find(|(names, _)| name.starts_with(names));
        told.map_or_else(|| PROGRAM.into(), |(_, program)| program.clone())
    }

    /// From here on SIPp writes a line about each message.
    pub(crate) fn keep_messages(&mut self) {
        self.keeps_messages = true;
    }

    pub(crate) fn keeps_messages(&self) -> bool {
        self.keeps_messages
    }

    /// The host on which SIPp runs.
    pub(crate) fn host(&self) -> Option<&Host> {
        self.host.as_ref()
    }

    /// A path in the test's folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The test's folder.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes a file into the test's folder.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).expect("the temporary directory is writable");
        path
    }

    /// An address of loopback whose port nobody uses, for UDP and for TCP.
    pub(crate) fn address(&self) -> SocketAddr {
        let span = PORTS.end - PORTS.start;
        let start = (std::process::id() as u16).wrapping_mul(251) % span;
        for _ in 0..span {
            let step = NEXT_PORT.fetch_add(1, Ordering::Relaxed);
            let port = PORTS.start + (start + step % span) % span;
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            if UdpSocket::bind(address).is_ok() && TcpListener::bind(address).is_ok() {
                return address;
            }
        }
        panic!("loopback has no free port");
    }

    /// One line about what the test found.
    pub(crate) fn say(&self, figures: &str) {
        let line =
            format!("{} [{:.1} s]: {figures}", self.name, self.began.elapsed().as_secs_f32());
        println!("{line}");
        if let Some(report) = std::env::var_os("REHOME_TEST_REPORT") {
            let file = fs::OpenOptions::new().create(true).append(true).open(report);
            let written = file.and_then(|mut file| writeln!(file, "{line}"));
            written.expect("the report can be written");
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let keep = std::env::var_os("REHOME_TEST_KEEP").is_some();
        if !std::thread::panicking() && !keep {
            let _gone = fs::remove_dir_all(&self.folder);
            return;
        }
        println!("{}: logs are kept in {}", self.name, self.folder.display());
        if !std::thread::panicking() {
            return;
        }
        let mut logs: Vec<PathBuf> = fs::read_dir(&self.folder)
            .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
            .unwrap_or_default();
        logs.retain(|path| path.extension().is_some_and(|end| end == "log"));
        logs.sort();
        for log in logs {
            println!("--- {}\n{}", log.display(), tail(&log, LOG_LINES));
        }
    }
}

/// The last lines of a file.
pub(crate) fn tail(path: &Path, lines: usize) -> String {
    let text = fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let text = text.unwrap_or_default();
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
