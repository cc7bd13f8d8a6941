//! Real state processes for a bench, alone or several that agree through an etcd of their own, and
//! real calls in them.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use tier_protocol::Record;
use vocab::{CallKey, Token, TokenSecret};

use super::load::{self, Callee, Holder};
use super::process::Server;
use crate::load::{self as clones, Load, list, read};
use crate::tier::Client;

/// Guards loopback for the length of a bench, nothing else.
const SECRET: &str = "5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a";
/// Patience with what takes a few seconds at most.
const SOON: Duration = Duration::from_secs(60);
/// T1 of the engine that sets calls up: what lingers of a set-up is gone after 64 of it.
const T1_MS: u64 = 20;

/// The secret of every site of a bench.
pub(crate) fn secret() -> Result<TokenSecret, String> {
    clones::secret(SECRET).ok_or_else(|| "the secret of a bench has 64 digits".to_owned())
}

/// Where a bench keeps its files; removed with this.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Result<Self, String> {
        let path = std::env::temp_dir().join(format!("rehome-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self(path))
    }

    pub(crate) fn below(&self, name: &str) -> Result<PathBuf, String> {
        let path = self.0.join(name);
        std::fs::create_dir_all(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What stays is in the folder for temporary files.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// One member of etcd, with its data in the bench's folder.
pub(crate) struct Etcd {
    _server: Server,
    endpoint: String,
}

impl Etcd {
    pub(crate) fn start(folder: &Folder) -> Result<Self, String> {
        let [client, peer] = [port()?, port()?].map(|port| format!("http://127.0.0.1:{port}"));
        let data = folder.below("etcd")?;
        let mut command = Command::new("etcd");
        command.arg("--data-dir").arg(&data).args(["--name", "bench"]);
        command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
        command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
        command.args(["--initial-cluster", &format!("bench={peer}")]);
        let mut server = Server::start("etcd", command)?;
        let address = client.trim_start_matches("http://");
        let address = address.parse().map_err(|error| format!("{address}: {error}"))?;
        wait_until_taken(&mut server, address)?;
        Ok(Self { _server: server, endpoint: client })
    }
}

/// The state processes of one site with one partition.
pub(crate) struct Site {
    states: Vec<Server>,
    tiers: Vec<SocketAddr>,
    admin: SocketAddr,
    folder: PathBuf,
    root: PathBuf,
    /// Complete replicas that it has.
    pub(crate) replicas: usize,
}

impl Site {
    /// Starts `replicas` processes, which take at most `calls_max` calls; `more` is added to the
    /// configuration of each.
    pub(crate) fn start(
        root: &Path,
        folder: &Folder,
        replicas: usize,
        etcd: Option<&Etcd>,
        calls_max: u64,
        more: &str,
    ) -> Result<Self, String> {
        let name = format!("site-of-{replicas}{}", if more.is_empty() { "" } else { "-more" });
        let folder = folder.below(&name)?;
        let (mut states, mut tiers) = (Vec::new(), Vec::new());
        let mut admins = Vec::new();
        for replica in 0..replicas {
            let (tier, admin) = (address()?, address()?);
            let data = folder.join(format!("data-{replica}"));
            std::fs::create_dir_all(&data)
                .map_err(|error| format!("{}: {error}", data.display()))?;
            let shared = etcd.map(|etcd| {
                format!(
                    "name = \"s{replica}\"\nreplicas = {replicas}\n[coordination]\n\
                     endpoints = [\"{}\"]\nprefix = \"/{name}\"\n",
                    etcd.endpoint
                )
            });
            let text = format!(
                "role = \"state\"\n[site]\nid = 1\ndata_dir = {data:?}\nsecret = \"{SECRET}\"\n\
                 [admin]\nlisten = \"{admin}\"\n[limits]\ncalls_max = {calls_max}\n\
                 [tier]\nlisten = \"{tier}\"\n{}{more}",
                shared.unwrap_or_default()
            );
            let file = write(&folder, &format!("state-{replica}.toml"), &text)?;
            states.push(serve(root, "rehome", &file)?);
            tiers.push(tier);
            admins.push(admin);
        }
        let admin = admins.first().copied().ok_or("a site has at least one state process")?;
        for (state, tier) in states.iter_mut().zip(&tiers) {
            wait_until_taken(state, *tier)?;
        }
        Ok(Self { states, tiers, admin, folder, root: root.to_owned(), replicas })
    }

    /// A client of it, once all its replicas are complete.
    pub(crate) fn client(&self) -> Result<Client, String> {
        let mut client = Client::new(secret()?, &self.tiers, "bench");
        client.wait_whole(self.replicas, SOON).map_err(|error| self.with_log(error))?;
        Ok(client)
    }

    /// Has SIPp set up `count` calls through an engine, and reads their records once nothing of
    /// the set-up lingers. Then the peers and the engine are gone; the calls stay.
    pub(crate) fn originals(&self, client: &mut Client, count: usize) -> Result<Originals, String> {
        self.held(client, &Held { caller: None, callee: None, count })
    }

    /// As [`Self::originals`], with peers of one's own.
    pub(crate) fn held(&self, client: &mut Client, held: &Held) -> Result<Originals, String> {
        let count = held.count;
        let (sip, caller, callee) = (udp()?, udp()?, udp()?);
        let engine = self.engine(sip, callee)?;
        let of_callee = held.callee.as_ref();
        let _callee = match of_callee {
            Some(peer) => Callee::start_with(&self.folder, callee, peer)?,
            None => Callee::start(&self.root, &self.folder, callee, "uas.xml")?,
        };
        let of_caller = held.caller.as_ref();
        let holder = Holder::start(&self.root, &self.folder, (sip, caller), count, of_caller)?;
        let deadline = Instant::now() + SOON;
        let (keys, dialogs) = loop {
            let (keys, dialogs) = (self.list()?, holder.dialogs());
            if keys.len() >= count && dialogs.len() >= count {
                break (keys, dialogs);
            }
            if Instant::now() >= deadline {
                let problem = format!("SIPp set up {} of {count} calls", dialogs.len());
                return Err(self.with_log(problem));
            }
            std::thread::sleep(Duration::from_millis(50));
        };
        let records = read(client, &keys, SOON).map_err(|error| self.with_log(error))?;
        drop(engine);
        Ok(Originals { records, dialogs, sip, callee })
    }

    /// Has SIPp end the clones of these keys, through an engine again: says how many BYEs were
    /// answered, and how many reached the callee.
    pub(crate) fn hang_up(
        &self,
        originals: &Originals,
        keys: &[CallKey],
    ) -> Result<(u64, u64), String> {
        let Originals { records, dialogs, sip, callee } = originals;
        let _engine = self.engine(*sip, *callee)?;
        let there = Callee::start(&self.root, &self.folder, *callee, "uas_bye.xml")?;
        let secret = secret()?;
        let mut ours = Vec::new();
        for (place, record) in records.iter().enumerate() {
            let of_record = dialogs.iter().find_map(|dialog| {
                let token = secret.read(dialog.to_tag.as_bytes())?;
                (token.key == record.header.key).then_some((dialog, token))
            });
            let (dialog, token) = of_record.ok_or("a call to clone has no dialog of SIPp's")?;
            let clones = keys.iter().filter(|key| Load::original(**key, records.len()) == place);
            let clones = clones.map(|key| {
                let to_tag = secret.mint(&Token { key: *key, ..token });
                load::Dialog { to_tag, ..dialog.clone() }
            });
            let clones: Vec<load::Dialog> = clones.collect();
            if !clones.is_empty() {
                ours.push(load::hang_up(&self.root, &self.folder, *sip, &clones)?);
            }
        }
        let mut answered = 0;
        for caller in ours {
            answered += caller.finish()?;
        }
        Ok((answered, there.wait_for(&self.folder, keys.len() as u64)?))
    }

    /// An engine of the site, once it is linked.
    fn engine(&self, sip: u16, callee: u16) -> Result<Server, String> {
        let admin = address()?;
        let tiers: Vec<String> = self.tiers.iter().map(|tier| format!("\"{tier}\"")).collect();
        let text = format!(
            "role = \"engine\"\n[site]\nid = 1\nsecret = \"{SECRET}\"\n[admin]\n\
             listen = \"{admin}\"\n[sip]\nlisten = \"127.0.0.1:{sip}\"\n\
             advertise = \"127.0.0.1:{sip}\"\n[timers]\nt1_ms = {T1_MS}\nt2_ms = {}\nt4_ms = {}\n\
             [b2bua]\nnext_hop = \"127.0.0.1:{callee}\"\n[tier]\nname = \"e1\"\nconnect = [{}]\n",
            T1_MS * 8,
            T1_MS * 10,
            tiers.join(", ")
        );
        let file = write(&self.folder, "engine.toml", &text)?;
        let mut engine = serve(&self.root, "rehome (engine)", &file)?;
        wait_until_taken(&mut engine, admin)?;
        let deadline = Instant::now() + SOON;
        while clones::ask(admin, "/v1/status")?["state"] != "serving" {
            if Instant::now() >= deadline {
                return Err(self.with_log("the engine does not serve".to_owned()));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(engine)
    }

    /// What the first of its processes says of itself.
    pub(crate) fn status(&self) -> Result<serde_json::Value, String> {
        clones::ask(self.admin, "/v1/status")
    }

    /// Any member lists what the partition holds.
    fn list(&self) -> Result<Vec<CallKey>, String> {
        list(self.admin)
    }

    /// CPU time of all its processes so far.
    pub(crate) fn cpu_ns(&self) -> Result<u64, String> {
        self.states.iter().map(Server::cpu_ns).sum()
    }

    /// Memory of each of its processes.
    pub(crate) fn rss_bytes(&self) -> Result<Vec<u64>, String> {
        self.states.iter().map(Server::rss_bytes).collect()
    }

    pub(crate) fn with_log(&self, problem: String) -> String {
        let mut told = problem;
        for name in ["state-0", "engine"] {
            let log = std::fs::read_to_string(self.folder.join(format!("{name}.log")));
            let log = log.unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let last = lines[lines.len().saturating_sub(5)..].join("\n");
            told.push_str(&format!("\n{name}:\n{last}"));
        }
        told
    }
}

/// Calls to be set up and held, and the scenarios of their peers, each with its file of fields;
/// `None` for the ordinary ones.
pub(crate) struct Held {
    pub(crate) caller: Option<(PathBuf, PathBuf)>,
    pub(crate) callee: Option<(PathBuf, PathBuf)>,
    pub(crate) count: usize,
}

/// Real calls, as who cloned them and as who placed them knows them.
pub(crate) struct Originals {
    pub(crate) records: Vec<Record>,
    dialogs: Vec<load::Dialog>,
    /// Ports of the engine and of the callee.
    sip: u16,
    callee: u16,
}

fn serve(root: &Path, name: &'static str, config: &Path) -> Result<Server, String> {
    let mut command = Command::new(root.join("target/release/rehome"));
    command.arg("serve").arg("--config").arg(config);
    Server::start_logged(name, command, &config.with_extension("log"))
}

fn write(folder: &Path, name: &str, text: &str) -> Result<PathBuf, String> {
    let file = folder.join(name);
    std::fs::write(&file, text).map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(file)
}

/// Waits until a TCP address takes connections.
pub(crate) fn wait_until_taken(server: &mut Server, address: SocketAddr) -> Result<(), String> {
    let deadline = Instant::now() + SOON;
    while Instant::now() < deadline {
        if !server.is_alive() {
            return Err(format!("{} ended before it served", server.name));
        }
        if TcpStream::connect_timeout(&address, Duration::from_millis(200)).is_ok() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Err(format!("{} does not take connections at {address}", server.name))
}

/// A TCP port that was free a moment ago.
pub(crate) fn port() -> Result<u16, String> {
    address().map(|address| address.port())
}

fn address() -> Result<SocketAddr, String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    listener.and_then(|listener| listener.local_addr()).map_err(|error| format!("a port: {error}"))
}

fn udp() -> Result<u16, String> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0));
    let address = socket.and_then(|socket| socket.local_addr());
    address.map(|address| address.port()).map_err(|error| format!("a port: {error}"))
}
