//! A PostgreSQL server of a test's own: made, started, killed and stopped by its process id.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use tokio_postgres::{Client, NoTls};

use super::*;

const PASSWORD: &str = "of this test alone";
const INSTALL: &str = "install it: apt-get update && apt-get install -y postgresql";

/// The user that a server runs as: it refuses to be root.
#[derive(Clone, Copy)]
struct User {
    uid: u32,
    gid: u32,
}

pub(super) struct PostgresServer {
    programs: PathBuf,
    user: Option<User>,
    port: u16,
    child: Child,
    log: Receiver<String>,
    scratch: Scratch,
}

impl PostgresServer {
    pub(super) fn start(name: &str) -> Self {
        let scratch = Scratch::new(name);
        let programs = programs();
        let user = user();
        if let Some(user) = user {
            chown(scratch.path(), Some(user.uid), Some(user.gid)).unwrap();
        }
        let password = scratch.path().join("password");
        std::fs::write(&password, PASSWORD).unwrap();
        let made = command(&programs, "initdb", user, scratch.path())
            .args(["--username=rehome", "--auth=scram-sha-256", "--locale=C", "--encoding=UTF8"])
            .args(["--no-sync", "--pgdata=data", "--pwfile=password"])
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        loop {
            let port = free_port();
            if let Some((child, log)) = launch(&programs, user, port, scratch.path()) {
                return Self { programs, user, port, child, log, scratch };
            }
        }
    }

    pub(super) fn config(&self) -> tokio_postgres::Config {
        let mut config = tokio_postgres::Config::new();
        config.host("127.0.0.1").port(self.port).user("rehome").dbname("postgres");
        config.password(PASSWORD);
        config
    }

    /// `kill -9`, and the end of all that it started.
    pub(super) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        // Whatever holds the log open is a process of the server.
        while self.log.recv().is_ok() {}
    }

    pub(super) fn start_again(&mut self) {
        let launched = launch(&self.programs, self.user, self.port, self.scratch.path());
        let (child, log) = launched.expect("the server starts where it ran before");
        (self.child, self.log) = (child, log);
    }

    /// Stops or continues the processes of the server, so that it takes connections and orders
    /// and answers none.
    pub(super) fn signal_all(&self, signal: &str) {
        let first = self.child.id();
        send(signal, first);
        // It starts no further ones now. Of these, some may be about to end.
        for child in children(first) {
            drop(Command::new("kill").args([signal, &child]).stderr(Stdio::null()).status());
        }
    }

    /// The processes of the connections that the program under test has.
    pub(super) fn sessions(&self) -> Vec<i32> {
        let sql = "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'rehome site %'";
        let found = self.on(1, async |client| client.query(sql, &[]).await.unwrap());
        found.iter().map(|row| row.get(0)).collect()
    }

    /// Runs `work` on a connection that sees the tables of `site`.
    fn on<T>(&self, site: u16, work: impl AsyncFnOnce(&mut Client) -> T) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (mut client, connection) = self.config().connect(NoTls).await.unwrap();
            let driver = tokio::spawn(connection);
            client.batch_execute(&format!("SET search_path = rehome_site{site}")).await.unwrap();
            let outcome = work(&mut client).await;
            drop(client);
            driver.await.unwrap().unwrap();
            outcome
        })
    }

    pub(super) fn say(&self, site: u16, sql: &str) {
        self.on(site, async |client| client.batch_execute(sql).await.unwrap());
    }

    pub(super) fn ask(&self, site: u16, sql: &str) -> i64 {
        self.on(site, async |client| client.query_one(sql, &[]).await.unwrap().get(0))
    }

    pub(super) fn hold_open(&self, site: u16, sql: &str, meanwhile: &mut dyn FnMut()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (client, connection) = runtime.block_on(self.config().connect(NoTls)).unwrap();
        let driver = runtime.spawn(connection);
        let begin = format!("SET search_path = rehome_site{site}; BEGIN; {sql}");
        runtime.block_on(client.batch_execute(&begin)).unwrap();
        meanwhile();
        runtime.block_on(client.batch_execute("ROLLBACK")).unwrap();
        drop(client);
        runtime.block_on(driver).unwrap().unwrap();
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_some()) {
            return;
        }
        self.signal_all("-CONT");
        // Of all ends that a server knows the one that waits for nobody.
        let pid = self.child.id().to_string();
        drop(Command::new("kill").args(["-QUIT", &pid]).status());
        drop(self.child.wait());
    }
}

fn programs() -> PathBuf {
    let mut places = Vec::new();
    if let Ok(told) = Command::new("pg_config").arg("--bindir").output() {
        places.push(PathBuf::from(String::from_utf8_lossy(&told.stdout).trim()));
    }
    let debian = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    places.extend(debian.map(|version| version.path().join("bin")));
    let found = places.into_iter().find(|place| place.join("initdb").is_file());
    found.unwrap_or_else(|| panic!("PostgreSQL is not here; {INSTALL}"))
}

fn user() -> Option<User> {
    let number = |arguments: &[&str]| {
        let told = Command::new("id").args(arguments).output().ok()?;
        String::from_utf8_lossy(&told.stdout).trim().parse::<u32>().ok()
    };
    if number(&["-u"]) != Some(0) {
        return None;
    }
    let of = |name: &str| Some(User { uid: number(&["-u", name])?, gid: number(&["-g", name])? });
    Some(of("postgres").or_else(|| of("nobody")).expect("there is a user that is not root"))
}

fn command(programs: &Path, name: &str, user: Option<User>, folder: &Path) -> Command {
    let mut command = Command::new(programs.join(name));
    command.current_dir(folder).env("LC_ALL", "C").stdin(Stdio::null());
    if let Some(user) = user {
        command.uid(user.uid).gid(user.gid);
    }
    command
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A server that takes connections, with its log; `None` when it ended, as when somebody else
/// took its port.
fn launch(
    programs: &Path,
    user: Option<User>,
    port: u16,
    folder: &Path,
) -> Option<(Child, Receiver<String>)> {
    let mut child = command(programs, "postgres", user, folder)
        .args(["-D", "data", "-p", &port.to_string()])
        .args(["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="])
        .args(["-c", "shared_buffers=16MB", "-c", "max_connections=40"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let (told, log) = channel();
    thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            // The test may have ended; the pipe is read on, so that the server can.
            drop(told.send(line));
        }
    });
    let is_ready = log.iter().any(|line| line.contains("ready to accept connections"));
    if is_ready {
        return Some((child, log));
    }
    child.wait().unwrap();
    None
}

/// Sends a signal to a process that is there.
pub(super) fn send(signal: &str, pid: impl fmt::Display) {
    let done = Command::new("kill").args([signal, &pid.to_string()]).status().unwrap();
    assert!(done.success(), "kill {signal} {pid}");
}

fn children(pid: u32) -> Vec<String> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let children = std::fs::read_to_string(path).unwrap_or_default();
    children.split_whitespace().map(str::to_owned).collect()
}
