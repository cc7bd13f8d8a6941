//! A real nats-server with JetStream, alone or a cluster, that syncs each message.

use std::fmt::Write;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Process, START, TRIES, User, free_port, wait_for};

/// Where `cargo xtask test` puts it, below the workspace.
const TOOL: &str = "target/tools/nats-server-2.15.1/nats-server";
const INSTALL: &str = "nats-server is not here; install it: cargo xtask test --only install";

/// One server with its data, killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Nats {
    config: PathBuf,
    data: PathBuf,
    log: PathBuf,
    client: SocketAddr,
    /// `None` while it is dead.
    process: Option<Process>,
}

impl Nats {
    /// A server of its own, in a folder below `folder`. Returns once it answers.
    pub(crate) fn start(folder: &Path) -> Self {
        Self::start_with(folder, "")
    }

    /// The same with further words of its configuration.
    pub(crate) fn start_with(folder: &Path, more: &str) -> Self {
        let mut servers = Self::cluster_with(folder, 1, more);
        servers.pop().expect("a cluster of one has one")
    }

    /// Servers of one cluster. Returns once all answer.
    pub(crate) fn cluster(folder: &Path, size: usize) -> Vec<Self> {
        Self::cluster_with(folder, size, "")
    }

    fn cluster_with(folder: &Path, size: usize, more: &str) -> Vec<Self> {
        for attempt in 0..TRIES {
            let mut servers = Self::spawn(folder, size, attempt, more);
            if servers.iter_mut().all(Self::comes_up) {
                return servers;
            }
            let words: Vec<String> = servers.iter().map(Self::last_words).collect();
            assert!(attempt + 1 < TRIES, "nats-server ended by itself:\n{}", words.join("\n"));
        }
        unreachable!("the last attempt returns or fails");
    }

    fn spawn(folder: &Path, size: usize, attempt: usize, more: &str) -> Vec<Self> {
        let routes: Vec<u16> = (0..size).map(|_| free_port()).collect();
        let one = |index: usize| {
            let client = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
            let data = folder.join(format!("nats-{attempt}-{index}"));
            std::fs::create_dir_all(&data).expect("the test's folder is writable");
            let mut text = format!(
                "server_name: n{index}\nlisten: \"{client}\"\n{more}\n\
                 jetstream {{ store_dir: \"{}\", sync_interval: always, max_file_store: 4GB }}\n",
                data.display()
            );
            if size > 1 {
                let route = |port: &u16| format!("\"nats://127.0.0.1:{port}\"");
                let all: Vec<String> = routes.iter().map(route).collect();
                let listen = routes[index];
                writeln!(
                    text,
                    "cluster {{ name: test, listen: \"127.0.0.1:{listen}\", routes: [{}] }}",
                    all.join(", ")
                )
                .expect("a String can be written to");
            }
            let config = folder.join(format!("nats-{attempt}-{index}.conf"));
            std::fs::write(&config, text).expect("the test's folder is writable");
            let log = folder.join(format!("nats-{attempt}-{index}.log"));
            let mut server = Self { config, data, log, client, process: None };
            server.launch();
            server
        };
        (0..size).map(one).collect()
    }

    fn launch(&mut self) {
        assert!(self.process.is_none(), "it runs already");
        let arguments = ["-c".to_owned(), self.config.display().to_string()];
        self.process = Some(Process::start(&program(), &arguments, User::Ours, &self.log));
    }

    fn comes_up(&mut self) -> bool {
        let client = self.client;
        let process = self.process.as_mut().expect("it was launched");
        process.wait_until_up("nats-server", || is_up(client))
    }

    /// `host:port` where clients connect.
    pub(crate) fn address(&self) -> String {
        self.client.to_string()
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.process.take().expect("it is killed while it runs").kill();
    }

    /// Starts it after a kill, with the same ports and data. Returns once it answers.
    pub(crate) fn start_again(&mut self) {
        self.launch();
        assert!(self.comes_up(), "nats-server does not come back:\n{}", self.last_words());
    }

    /// While it is dead: a copy of what its disk has, for [`Self::put_disk_back`].
    pub(crate) fn copy_disk(&self, to: &Path) {
        copy(&self.data, to);
    }

    /// While it is dead: its disk has what it had when it was copied.
    pub(crate) fn put_disk_back(&self, from: &Path) {
        std::fs::remove_dir_all(&self.data).expect("it is our folder");
        copy(from, &self.data);
    }

    /// While it is dead: one bit of the first file of messages in a folder of this name is another
    /// one. Which byte it is in.
    pub(crate) fn flip_a_bit(&self, folder: &str, offset: usize) -> usize {
        let mut waiting = vec![self.data.clone()];
        while let Some(next) = waiting.pop() {
            let entries = std::fs::read_dir(&next).expect("it is our folder");
            for entry in entries {
                let path = entry.expect("it is our folder").path();
                let is_wanted = next.ends_with(folder)
                    && next.components().any(|part| part.as_os_str() == "REHOME_INBOX_1")
                    && path.extension().is_some_and(|end| end == "blk");
                if path.is_dir() {
                    waiting.push(path);
                } else if is_wanted {
                    let mut bytes = std::fs::read(&path).expect("it is our file");
                    let at = offset % bytes.len();
                    bytes[at] ^= 1 << (offset % 8);
                    std::fs::write(&path, bytes).expect("it is our file");
                    return at;
                }
            }
        }
        panic!("{} holds no messages", self.data.display());
    }

    /// SIGSTOP: connections are taken by the kernel, and nothing is ever answered.
    pub(crate) fn pause(&self) {
        self.process.as_ref().expect("it runs").signal("-STOP");
    }

    /// SIGCONT.
    pub(crate) fn resume(&self) {
        self.process.as_ref().expect("it runs").signal("-CONT");
        wait_for("nats-server", START, || is_up(self.client));
    }

    fn last_words(&self) -> String {
        self.process.as_ref().map(Process::last_words).unwrap_or_default()
    }
}

fn copy(from: &Path, to: &Path) {
    let mut command = std::process::Command::new("cp");
    let done = command.arg("-a").arg(from).arg(to).status().expect("a system has cp");
    assert!(done.success(), "cp {} {}", from.display(), to.display());
}

fn program() -> PathBuf {
    if let Some(told) = std::env::var_os("REHOME_NATS_SERVER") {
        return told.into();
    }
    let tool = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(TOOL);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|folder| folder.join("nats-server"));
    let found = std::iter::once(tool).chain(on_path).find(|file| file.is_file());
    found.unwrap_or_else(|| panic!("{INSTALL}"))
}

/// A server greets whoever connects, once it takes clients.
fn is_up(client: SocketAddr) -> bool {
    let greeting = || {
        let stream = TcpStream::connect(client)?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line)?;
        std::io::Result::Ok(line.starts_with("INFO") && line.contains("\"jetstream\":true"))
    };
    greeting().unwrap_or(false)
}
