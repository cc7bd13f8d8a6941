//! Starts `xtask wan` as any test would, talks to it, and makes sockets inside its namespaces.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};
use serde_json::Value;

/// How long a test waits for what must come.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

/// A network that lives as long as this value.
pub(crate) struct Wan {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    ready: Value,
}

impl Wan {
    /// Starts it, with arguments behind `xtask wan`, and waits until it is there.
    pub(crate) fn start(arguments: &str) -> Self {
        let mut child = command(arguments).spawn().expect("the binary was built with this test");
        let stdin = child.stdin.take();
        let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let Ok(ready) = serde_json::from_str(&line) else {
            let mut said = String::new();
            child.stderr.take().expect("it is piped").read_to_string(&mut said).unwrap();
            child.wait().unwrap();
            panic!("`xtask wan {arguments}` made no network: {said}");
        };
        Self { child, stdin, stdout, ready }
    }

    /// Says a command and returns the answer.
    pub(crate) fn ask(&mut self, line: &str) -> String {
        let stdin = self.stdin.as_mut().expect("it is open until the end");
        writeln!(stdin, "{line}").unwrap();
        let mut answer = String::new();
        self.stdout.read_line(&mut answer).unwrap();
        answer.trim_end().to_owned()
    }

    /// Says a command that must succeed.
    pub(crate) fn say(&mut self, line: &str) {
        assert_eq!(self.ask(line), "ok", "{line}");
    }

    /// A counter of one way, as `a>b`.
    pub(crate) fn count(&mut self, way: &str, counter: &str) -> u64 {
        let stats: Value = serde_json::from_str(&self.ask("stats")).unwrap();
        stats[way][counter].as_u64().unwrap_or_else(|| panic!("no {counter} of {way}: {stats}"))
    }

    /// An address of a host, with this port.
    pub(crate) fn address(&self, host: &str, port: u16) -> SocketAddr {
        format!("{}:{port}", self.text(host, "address")).parse().unwrap()
    }

    /// Does something in a thread inside a host's namespace; sockets made there stay there.
    pub(crate) fn inside<T: Send>(&self, host: &str, make: impl FnOnce() -> T + Send) -> T {
        let netns = File::open(name_file(self.text(host, "netns"))).unwrap();
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                setns(netns, CloneFlags::CLONE_NEWNET).unwrap();
                make()
            });
            thread.join().unwrap()
        })
    }

    /// A UDP socket of a host, which waits for what must come.
    pub(crate) fn udp(&self, host: &str, port: u16) -> UdpSocket {
        let address = self.address(host, port);
        let socket = self.inside(host, move || UdpSocket::bind(address).unwrap());
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        socket
    }

    /// A socket of a host that sends and receives ICMP; what it receives begins with the IP header.
    pub(crate) fn icmp(&self, host: &str) -> UdpSocket {
        let make = || {
            let (family, kind) = (AddressFamily::Inet, SockType::Raw);
            socket(family, kind, SockFlag::SOCK_CLOEXEC, Some(SockProtocol::Icmp)).unwrap()
        };
        let fd: OwnedFd = self.inside(host, make);
        let socket = UdpSocket::from(fd);
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        socket
    }

    /// The files that stand for the namespaces.
    pub(crate) fn name_files(&self) -> Vec<PathBuf> {
        let hosts = self.ready["hosts"].as_array().unwrap();
        hosts.iter().map(|host| name_file(host["netns"].as_str().unwrap())).collect()
    }

    /// The process.
    pub(crate) fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Closes stdin, as a test that ends does.
    pub(crate) fn end(&mut self) -> ExitStatus {
        self.stdin = None;
        self.child.wait().unwrap()
    }

    fn text(&self, host: &str, key: &str) -> &str {
        let hosts = self.ready["hosts"].as_array().unwrap();
        let found = hosts.iter().find(|one| one["name"] == host).unwrap();
        found[key].as_str().unwrap()
    }
}

impl Drop for Wan {
    fn drop(&mut self) {
        self.end();
    }
}

/// `xtask wan`, not yet started, with pipes.
pub(crate) fn command(arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command
        .arg("wan")
        .args(arguments.split(' '))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn name_file(netns: &str) -> PathBuf {
    Path::new("/run/netns").join(netns)
}
