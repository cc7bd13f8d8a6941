//! Network namespaces: a network of `xtask wan`, and doing things inside one of its hosts.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;

use nix::sched::{CloneFlags, setns};
use serde_json::Value;

/// A host of the network; loopback of this machine when a process has none.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    netns: String,
    /// Its address on the network.
    pub(crate) ip: IpAddr,
}

/// Does something on a host: what it binds, connects and starts is there. On this very thread, as
/// children are to end with it.
pub(crate) fn on<T>(host: Option<&Host>, act: impl FnOnce() -> T) -> T {
    let Some(host) = host else { return act() };
    let open = |path: &Path| File::open(path).expect("the namespace is there");
    let before = open(Path::new("/proc/thread-self/ns/net"));
    let there = open(&Path::new("/run/netns").join(&host.netns));
    setns(there, CloneFlags::CLONE_NEWNET).expect("the tests run as root");
    let outcome = act();
    setns(before, CloneFlags::CLONE_NEWNET).expect("it came from there");
    outcome
}

/// A network between hosts, gone when this is dropped.
pub(crate) struct Wan {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    ready: Value,
}

impl Wan {
    /// Makes a network of these hosts.
    pub(crate) fn start(hosts: &[&str]) -> Self {
        let mut child = Command::new(program())
            .args(["wan", "--hosts", &hosts.join(","), "--seed", "1"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("xtask was built");
        let stdin = child.stdin.take();
        let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut line = String::new();
        stdout.read_line(&mut line).expect("a pipe can be read");
        let Ok(ready) = serde_json::from_str(&line) else {
            let mut said = String::new();
            let read = child.stderr.take().expect("it is piped").read_to_string(&mut said);
            panic!("`xtask wan` made no network ({read:?}): {said}");
        };
        Self { child, stdin, stdout, ready }
    }

    /// A host by its name.
    pub(crate) fn host(&self, name: &str) -> Host {
        let hosts = self.ready["hosts"].as_array().expect("a list");
        let found = hosts.iter().find(|one| one["name"] == name).expect("it was asked for");
        let text = |key: &str| found[key].as_str().expect("a text").to_owned();
        Host { netns: text("netns"), ip: text("address").parse().expect("an address") }
    }

    /// Changes the weather.
    pub(crate) fn say(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("it is open until the end");
        writeln!(stdin, "{line}").expect("`xtask wan` listens");
        let mut answer = String::new();
        self.stdout.read_line(&mut answer).expect("a pipe can be read");
        assert_eq!(answer.trim_end(), "ok", "{line}");
    }
}

impl Drop for Wan {
    fn drop(&mut self) {
        self.stdin = None;
        // It takes its namespaces away before it ends.
        let _ended = self.child.wait();
    }
}

/// An address of the host, or of loopback, with the port of `address`.
pub(crate) fn at(host: Option<&Host>, address: SocketAddr) -> SocketAddr {
    host.map_or(address, |host| SocketAddr::new(host.ip, address.port()))
}

/// The `xtask` program, built once: `REHOME_XTASK` when whoever runs the tests has it already.
pub(crate) fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        if let Some(given) = std::env::var_os("REHOME_XTASK") {
            return given.into();
        }
        let rehome = Path::new(env!("CARGO_BIN_EXE_rehome"));
        let target = rehome.ancestors().nth(2).expect("target/release/rehome");
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let built = Command::new(cargo)
            .args(["build", "--quiet", "--locked", "-p", "xtask", "--target-dir"])
            .arg(target)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status();
        assert!(built.is_ok_and(|status| status.success()), "cargo build -p xtask failed");
        target.join("debug/xtask")
    })
}
