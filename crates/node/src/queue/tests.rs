//! One suite that every queue passes, and what only a server of its own can show.

mod away;
mod conformance;
mod damage;
mod desk;
mod disk;

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use rusqlite::Connection;
use vocab::{PartitionId, ViewNumber};

use self::conformance::Ground;
use super::nats::{Login, Server};
use super::*;
use crate::scratch::{Scratch, of_parent};
use crate::servers::nats::Nats;

/// Of the settings, in the environment of a child.
const CHILD: &str = "REHOME_TEST_QUEUE_CHILD";

struct SqliteGround(Scratch);

impl Ground for SqliteGround {
    fn settings(&self, site: u16) -> Settings {
        let place = Place::Sqlite(self.0.path().join(format!("queue-{site}.sqlite")));
        Settings { place, ..bounds(site) }
    }

    fn aside(&self, site: u16) -> Vec<Bytes> {
        let Place::Sqlite(file) = self.settings(site).place else { unreachable!("it is a file") };
        let connection = Connection::open(file).unwrap();
        // The owner may be about to close it.
        connection.busy_timeout(desk::SOON).unwrap();
        let mut select = connection.prepare("SELECT bytes FROM set_aside ORDER BY row").unwrap();
        let rows = select.query_map([], |row| row.get::<_, Vec<u8>>(0)).unwrap();
        rows.map(|row| row.unwrap().into()).collect()
    }
}

/// Bounds that no test is particular about.
fn bounds(site: u16) -> Settings {
    let place = Place::Sqlite(PathBuf::new());
    Settings { site: SiteId(site), place, bytes_max: 64 << 20, batches_max: 10_000 }
}

fn server(nats: &[&Nats]) -> Server {
    Server {
        urls: nats.iter().map(|nats| format!("nats://{}", nats.address())).collect(),
        login: Login::Nobody,
        ca_file: None,
        replicas: 1,
        timeout: Duration::from_secs(2),
    }
}

struct NatsGround {
    server: Server,
    _nats: Vec<Nats>,
    _scratch: Scratch,
}

impl NatsGround {
    fn start(name: &str, size: usize) -> Self {
        let scratch = Scratch::new(name);
        let nats = Nats::cluster(scratch.path(), size);
        let all: Vec<&Nats> = nats.iter().collect();
        // Servers that have just met take their time to agree on a leader, for each stream, too.
        let timeout = Duration::from_secs(10);
        let server = Server { replicas: size, timeout, ..server(&all) };
        let ground = Self { server, _nats: nats, _scratch: scratch };
        let mut first = desk::Desk::open(&ground.settings(99));
        while first.next() != Answer::Loaded(Vec::new()) {}
        ground
    }
}

impl Ground for NatsGround {
    fn settings(&self, site: u16) -> Settings {
        Settings { place: Place::Nats(Box::new(self.server.clone())), ..bounds(site) }
    }

    fn aside(&self, site: u16) -> Vec<Bytes> {
        away::messages(&self.server, &format!("REHOME_ASIDE_{site}"))
    }
}

/// A child has its settings in its folder.
fn settings_of_child() -> Option<Settings> {
    let folder = of_parent(CHILD)?;
    let place = match std::fs::read_to_string(folder.join("url")) {
        Ok(url) => Place::Nats(Box::new(Server { urls: vec![url], ..server(&[]) })),
        Err(_) => Place::Sqlite(folder.join("queue.sqlite")),
    };
    Some(Settings { place, bytes_max: 1 << 30, batches_max: 200_000, ..bounds(1) })
}

/// The child of the suite's case of `kill -9`: it appends without end and says what is held.
#[test]
fn child_appends_until_it_is_killed() {
    let Some(settings) = settings_of_child() else { return };
    let desk = desk::Desk::open(&settings);
    desk.append_without_end();
}

#[test]
fn sqlite_passes_the_suite() {
    conformance::run(&SqliteGround(Scratch::new("queue_sqlite")));
    conformance::killed(Scratch::new("queue_killed_sqlite"));
}

#[test]
fn nats_passes_the_suite() {
    conformance::run(&NatsGround::start("queue_nats", 1));
    let scratch = Scratch::new("queue_killed_nats");
    let nats = Nats::start(scratch.path());
    std::fs::write(scratch.path().join("url"), format!("nats://{}", nats.address())).unwrap();
    conformance::killed(scratch);
}

#[test]
fn a_cluster_of_three_passes_the_suite() {
    conformance::run(&NatsGround::start("queue_cluster", 3));
}

#[test]
fn the_settings_are_those_of_the_configuration() {
    let scratch = Scratch::new("queue_settings");
    let password = scratch.path().join("password");
    std::fs::write(&password, "p w\n").unwrap();
    let file = |section: &str| {
        let text = format!(
            "role = \"state\"\n[site]\nid = 3\ndata_dir = \"/data\"\nsecret = \"{}\"\n\
             [tier]\nlisten = \"127.0.0.1:1\"\n[crossing]\nqueue_bytes_max = 77\n\
             queue_batches_max = 7\n{section}",
            "0".repeat(64)
        );
        crate::config::parse("site.toml", &text, None).unwrap().0
    };
    let settings = Settings::of(&file("")).unwrap();
    assert_eq!((settings.site, settings.bytes_max, settings.batches_max), (SiteId(3), 77, 7));
    let Place::Sqlite(path) = settings.place else { panic!("{:?}", settings.place) };
    assert_eq!(path, Path::new("/data/queue.sqlite"));
    let section = format!(
        "[queue]\nurl = [\"tls://n1:4222\", \"tls://n2:4222\"]\nuser = \"rehome\"\n\
         password_file = \"{}\"\nreplicas = 3\ntimeout_ms = 700\nca_file = \"{0}\"\n",
        password.display()
    );
    let config = file(&section);
    assert!(!format!("{config:?}").contains("p w"));
    let Place::Nats(server) = Settings::of(&config).unwrap().place else { panic!("{config:?}") };
    assert_eq!(server.urls, ["tls://n1:4222", "tls://n2:4222"]);
    assert_eq!((server.replicas, server.timeout), (3, Duration::from_millis(700)));
    assert_eq!(server.ca_file, Some(password));
    let Login::User(user, password) = server.login else { panic!("{:?}", server.login) };
    assert_eq!((user.as_str(), password.0.as_str()), ("rehome", "p w"));
}
