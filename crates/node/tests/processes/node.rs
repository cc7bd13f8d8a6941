//! Starts the program with a configuration and watches it.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use admin_api::StatusReply;

/// A program that does not serve, or a number that does not come, within this is a failure.
const WITHIN: Duration = Duration::from_secs(20);

/// Free addresses and a directory of its own.
pub(crate) struct Ports {
    pub(crate) sip: SocketAddr,
    pub(crate) edge: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) tier: SocketAddr,
    pub(crate) sites: SocketAddr,
    pub(crate) dir: PathBuf,
}

impl Ports {
    pub(crate) fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("rehome-e2e-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let [sip, edge, admin, tier, sites] = [(); 5].map(|()| free_address());
        Self { sip, edge, admin, tier, sites, dir }
    }
}

/// An address that is free for UDP and TCP, below the ports that the kernel gives to connections,
/// which could be in use again before the program binds it.
fn free_address() -> SocketAddr {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    loop {
        let given = GIVEN.fetch_add(1, Ordering::Relaxed);
        let port = 10_000 + (std::process::id() * 101 + given) % 20_000;
        let address = SocketAddr::from(([127, 0, 0, 1], u16::try_from(port).unwrap()));
        if UdpSocket::bind(address).is_ok() && TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

impl Drop for Ports {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.dir));
    }
}

/// A running program. It is killed when the test ends.
pub(crate) struct Node {
    child: Child,
    admin: SocketAddr,
    name: String,
}

impl Node {
    /// Starts it and waits until it says `ready`.
    pub(crate) fn start(name: &str, ports: &Ports, config: &str) -> Self {
        let path = ports.dir.join(format!("{name}.toml"));
        std::fs::write(&path, config).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_rehome"))
            .args(["serve", "--config"])
            .arg(&path)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let (ready, is_ready) = mpsc::channel();
        let prefix = name.to_owned();
        std::thread::spawn(move || {
            for line in log.lines().map_while(Result::ok) {
                eprintln!("{prefix}: {line}");
                if line.contains("ready") {
                    // Nobody waits for a second one.
                    let _ = ready.send(());
                }
            }
        });
        let said = is_ready.recv_timeout(WITHIN);
        let node = Self { child, admin: ports.admin, name: name.into() };
        assert!(said.is_ok(), "{name} does not serve");
        node
    }

    pub(crate) fn client(&self) -> cli::Client {
        cli::Client::new(&self.admin.to_string(), None).unwrap()
    }

    pub(crate) fn status(&self) -> StatusReply {
        self.client().get("/v1/status").unwrap_or_else(|error| panic!("{}: {error}", self.name))
    }

    /// As a power cut would.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn terminate(mut self) -> ExitStatus {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        self.child.wait().unwrap()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may be dead already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Asks until `holds`.
pub(crate) fn status_until(node: &Node, holds: impl Fn(&StatusReply) -> bool) -> StatusReply {
    let began = Instant::now();
    loop {
        let status = node.status();
        if holds(&status) {
            return status;
        }
        assert!(began.elapsed() < WITHIN, "{} never got there: {status:#?}", node.name);
        std::thread::yield_now();
    }
}
