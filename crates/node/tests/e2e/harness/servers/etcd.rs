//! A real etcd: alone, or a cluster of several members.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Process, START, TRIES, User, free_port, wait_for};

/// One member with its data, killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Etcd {
    arguments: Vec<String>,
    log: PathBuf,
    client: SocketAddr,
    /// `None` while it is dead.
    process: Option<Process>,
}

impl Etcd {
    /// A store of its own, in a folder below `folder`. Returns once it answers.
    pub(crate) fn start(folder: &Path) -> Self {
        let mut members = Self::cluster(folder, 1);
        members.pop().expect("a cluster of one has one")
    }

    /// Members of one cluster. Returns once all answer.
    pub(crate) fn cluster(folder: &Path, size: usize) -> Vec<Self> {
        Self::cluster_at(folder, size, Ipv4Addr::LOCALHOST.into())
    }

    /// The same, reached by others at this address of the machine.
    pub(crate) fn cluster_at(folder: &Path, size: usize, ip: IpAddr) -> Vec<Self> {
        for attempt in 0..TRIES {
            let mut members = Self::spawn(folder, size, attempt, ip);
            if members.iter_mut().all(Self::comes_up) {
                return members;
            }
            let words = members.iter().filter_map(|member| member.process.as_ref());
            let words: Vec<String> = words.map(Process::last_words).collect();
            assert!(attempt + 1 < TRIES, "etcd ended by itself:\n{}", words.join("\n"));
        }
        unreachable!("the last attempt returns or fails");
    }

    fn spawn(folder: &Path, size: usize, attempt: usize, ip: IpAddr) -> Vec<Self> {
        let peers: Vec<String> =
            (0..size).map(|_| format!("http://127.0.0.1:{}", free_port())).collect();
        let named = peers.iter().enumerate().map(|(index, peer)| format!("m{index}={peer}"));
        let cluster = named.collect::<Vec<_>>().join(",");
        let member = |(index, peer): (usize, &String)| {
            let (name, at) = (format!("m{index}"), SocketAddr::new(ip, free_port()));
            let data = folder.join(format!("etcd-{attempt}-{name}"));
            let client = format!("http://{at}");
            let arguments = [
                ("--name", name.as_str()),
                ("--data-dir", &data.display().to_string()),
                ("--listen-client-urls", &client),
                ("--advertise-client-urls", &client),
                ("--listen-peer-urls", peer),
                ("--initial-advertise-peer-urls", peer),
                ("--initial-cluster", &cluster),
                ("--initial-cluster-state", "new"),
            ];
            let arguments = arguments.iter().flat_map(|(key, value)| [*key, *value]);
            let arguments = arguments.map(str::to_owned).collect();
            let log = folder.join(format!("etcd-{attempt}-{name}.log"));
            let mut member = Self { arguments, log, client: at, process: None };
            member.launch();
            member
        };
        peers.iter().enumerate().map(member).collect()
    }

    fn launch(&mut self) {
        assert!(self.process.is_none(), "it runs already");
        let program = Path::new("etcd");
        self.process = Some(Process::start(program, &self.arguments, User::Ours, &self.log));
    }

    fn comes_up(&mut self) -> bool {
        let client = self.client;
        let process = self.process.as_mut().expect("it was launched");
        process.wait_until_up("etcd", || is_healthy(client))
    }

    /// Where clients connect.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.client)
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.process.take().expect("it is killed while it runs").kill();
    }

    /// Starts it after a kill, with the same ports and data. Returns once it answers.
    pub(crate) fn start_again(&mut self) {
        self.launch();
        assert!(self.comes_up(), "etcd does not come back:\n{}", self.last_words());
    }

    /// The same with nothing that it knew, as if its disk were new.
    pub(crate) fn start_empty(&mut self) {
        let data = self.arguments.iter().position(|word| word == "--data-dir");
        let data = &self.arguments[data.expect("it is one of the arguments") + 1];
        std::fs::remove_dir_all(data).expect("it is our folder");
        self.start_again();
    }

    /// SIGSTOP: connections are taken by the kernel, and nothing is ever answered.
    pub(crate) fn pause(&self) {
        self.process.as_ref().expect("it runs").signal("-STOP");
    }

    /// SIGCONT.
    pub(crate) fn resume(&self) {
        self.process.as_ref().expect("it runs").signal("-CONT");
        wait_for("etcd", START, || is_healthy(self.client));
    }

    /// Asks the JSON gateway, without the client under test.
    pub(crate) fn ask(&self, path: &str, body: &str) -> String {
        exchange(self.client, path, body).expect("etcd answers")
    }

    fn last_words(&self) -> String {
        self.process.as_ref().map(Process::last_words).unwrap_or_default()
    }
}

fn is_healthy(client: SocketAddr) -> bool {
    exchange(client, "/health", "").is_ok_and(|answer| answer.contains("\"health\":\"true\""))
}

/// HTTP/1.0: the answer ends with the connection.
fn exchange(client: SocketAddr, path: &str, body: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(client)?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    let method = if body.is_empty() { "GET" } else { "POST" };
    let length = body.len();
    let head = format!("{method} {path} HTTP/1.0\r\nContent-Length: {length}\r\n\r\n{body}");
    stream.write_all(head.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
