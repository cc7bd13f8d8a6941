//! A real PostgreSQL: a database of its own, fresh from `initdb`, with `trust` on loopback.
//!
//! It does not run as root: where the test does, the folder and the processes are `postgres`'s, the
//! user that Debian's package makes.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{Process, TRIES, User, free_port};

/// Debian keeps each version's programs here, and not on the PATH.
const VERSIONS: &str = "/usr/lib/postgresql";

/// A server with its data, ended when this is dropped.
#[derive(Debug)]
pub(crate) struct Postgres {
    folder: PathBuf,
    port: u16,
    user: User,
    /// `None` while it is dead.
    process: Option<Process>,
}

impl Postgres {
    /// Makes a database in a folder below `folder` and starts its server. Returns once it answers.
    pub(crate) fn start(folder: &Path) -> Self {
        let folder = folder.join("postgres");
        std::fs::create_dir_all(&folder).expect("the test's folder is writable");
        let user = if is_root() { User::Postgres } else { User::Ours };
        if user == User::Postgres {
            let mut chown = Command::new("chown");
            finish(chown.arg("postgres:").arg(&folder));
        }
        let mut postgres = Self { folder, port: 0, user, process: None };
        postgres.make();
        for _ in 0..TRIES {
            postgres.port = free_port();
            postgres.launch();
            if postgres.comes_up() {
                return postgres;
            }
            postgres.process = None;
        }
        panic!("PostgreSQL ended by itself; its log is in {}", postgres.folder.display());
    }

    /// What a client connects with, over the Unix socket.
    pub(crate) fn parameters(&self) -> String {
        let folder = self.folder.display();
        format!("host={folder} port={} user=postgres dbname=postgres", self.port)
    }

    /// The same over TCP.
    pub(crate) fn parameters_tcp(&self) -> String {
        format!("host=127.0.0.1 port={} user=postgres dbname=postgres", self.port)
    }

    /// The same as a URL.
    pub(crate) fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// Runs one statement with PostgreSQL's own client; `None` when the server is away.
    pub(crate) fn query(&self, statement: &str) -> Option<String> {
        let mut psql = Command::new(program("psql"));
        psql.arg(self.parameters()).args(["-XAtqc", statement]).stderr(Stdio::null());
        let output = psql.output().expect("PostgreSQL's client is installed with it");
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// SIGKILL to the postmaster, as in a crash; its children end by themselves.
    pub(crate) fn kill(&mut self) {
        self.process.take().expect("it is killed while it runs").kill();
    }

    /// Starts it after a kill, with the same port and data. Returns once it answers.
    pub(crate) fn start_again(&mut self) {
        // Children of the postmaster that was killed may hold its memory for a moment yet, and it
        // ends by itself then.
        super::wait_for("PostgreSQL to come back", super::START, || {
            self.launch();
            let is_up = self.comes_up();
            if !is_up {
                self.process = None;
            }
            is_up
        });
    }

    fn make(&self) {
        let mut initdb = Command::new("setpriv");
        if self.user == User::Postgres {
            initdb.args(["--reuid", "postgres", "--regid", "postgres", "--clear-groups"]);
        }
        initdb.arg(program("initdb")).arg("-D").arg(self.folder.join("data"));
        initdb.args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]);
        finish(initdb.current_dir(&self.folder).stdout(Stdio::null()));
    }

    fn launch(&mut self) {
        assert!(self.process.is_none(), "it runs already");
        let words = [
            "-D".to_owned(),
            self.folder.join("data").display().to_string(),
            "-p".to_owned(),
            self.port.to_string(),
            "-clisten_addresses=127.0.0.1".to_owned(),
            format!("-cunix_socket_directories={}", self.folder.display()),
        ];
        let log = self.folder.join("postgres.log");
        self.process = Some(Process::start(&program("postgres"), &words, self.user, &log));
    }

    fn comes_up(&mut self) -> bool {
        let mut process = self.process.take().expect("it was launched");
        let is_up = process.wait_until_up("PostgreSQL", || self.query("SELECT 1").is_some());
        self.process = Some(process);
        is_up
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let Some(process) = &mut self.process else { return };
        // Unlike a kill, an immediate shutdown takes the children along.
        if !process.has_ended() {
            process.signal("-QUIT");
            let _ended = process.child.wait();
        }
    }
}

/// A program of the newest version that is installed, or that of the PATH.
fn program(name: &str) -> PathBuf {
    let entries = std::fs::read_dir(VERSIONS).into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    folders.sort();
    let found = folders.iter().rev().map(|folder| folder.join("bin").join(name));
    found.into_iter().find(|path| path.is_file()).unwrap_or_else(|| name.into())
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().expect("a system has id");
    id.stdout.starts_with(b"0")
}

fn finish(command: &mut Command) {
    let status = command.status();
    let status = status.unwrap_or_else(|error| panic!("{command:?} did not start: {error}"));
    assert!(status.success(), "{command:?}: {status}");
}
