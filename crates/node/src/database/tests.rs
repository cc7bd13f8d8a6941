//! One suite that every database passes, and what only a server of its own can show.

mod away;
mod conformance;
mod desk;
mod figures;
mod server;

use std::path::PathBuf;

use rusqlite::Connection;

use self::conformance::Ground;
use self::desk::{SOON, timeout};
use self::server::PostgresServer;
use super::*;
use crate::scratch::Scratch;

struct SqliteGround(Scratch);

impl SqliteGround {
    fn file(&self, site: u16) -> PathBuf {
        self.0.path().join(format!("calls-{site}.sqlite"))
    }

    fn connect(&self, site: u16) -> Connection {
        let connection = Connection::open(self.file(site)).unwrap();
        connection.busy_timeout(SOON).unwrap();
        connection
    }
}

impl Ground for SqliteGround {
    fn settings(&self, site: u16) -> Settings {
        let place = Place::Sqlite(self.file(site));
        Settings { site: SiteId(site), place, pool: 4, timeout: timeout() }
    }

    fn run(&self, site: u16, sql: &str) {
        self.connect(site).execute_batch(sql).unwrap();
    }

    fn number(&self, site: u16, sql: &str) -> i64 {
        self.connect(site).query_row(sql, [], |row| row.get(0)).unwrap()
    }

    fn hold(&self, site: u16, sql: &str, meanwhile: &mut dyn FnMut()) {
        let connection = self.connect(site);
        connection.execute_batch(&format!("BEGIN IMMEDIATE; {sql}")).unwrap();
        meanwhile();
        connection.execute_batch("ROLLBACK").unwrap();
    }
}

#[test]
fn sqlite_passes_the_suite() {
    conformance::run(&SqliteGround(Scratch::new("database_sqlite")));
}

impl Ground for PostgresServer {
    fn settings(&self, site: u16) -> Settings {
        let place = Place::Postgres(Box::new(self.config()));
        Settings { site: SiteId(site), place, pool: 4, timeout: timeout() }
    }

    fn run(&self, site: u16, sql: &str) {
        self.say(site, sql);
    }

    fn number(&self, site: u16, sql: &str) -> i64 {
        self.ask(site, sql)
    }

    fn hold(&self, site: u16, sql: &str, meanwhile: &mut dyn FnMut()) {
        self.hold_open(site, sql, meanwhile);
    }
}

#[test]
fn postgres_passes_the_suite() {
    conformance::run(&PostgresServer::start("database_postgres"));
}

#[test]
fn figures_of_both() {
    figures::print("sqlite", &SqliteGround(Scratch::new("database_figures_sqlite")));
    figures::print("postgres", &PostgresServer::start("database_figures_postgres"));
}

#[test]
fn the_settings_are_those_of_the_configuration() {
    let file = |database: &str| {
        let text = format!(
            "role = \"state\"\n[site]\nid = 3\ndata_dir = \"/data\"\nsecret = \"{}\"\n\
             [tier]\nlisten = \"127.0.0.1:1\"\n{database}",
            "0".repeat(64)
        );
        crate::config::parse("site.toml", &text, None).unwrap().0
    };
    assert!(Settings::of(&file("")).is_none());
    let settings = Settings::of(&file("[database]\n")).unwrap();
    assert_eq!((settings.site, settings.pool), (SiteId(3), 4));
    assert_eq!(settings.timeout, Duration::from_secs(2));
    let Place::Sqlite(path) = settings.place else { panic!("{:?}", settings.place) };
    assert_eq!(path, PathBuf::from("/data/calls.sqlite"));

    let scratch = Scratch::new("database_settings");
    let password = scratch.path().join("password");
    std::fs::write(&password, "p w\n").unwrap();
    let section = format!(
        "[database]\nurl = \"postgres://rehome@db.example.com:5433/calls\"\n\
         password_file = \"{}\"\npool = 9\ntimeout_ms = 700\n",
        password.display()
    );
    let settings = Settings::of(&file(&section)).unwrap();
    assert_eq!((settings.pool, settings.timeout), (9, Duration::from_millis(700)));
    let Place::Postgres(server) = settings.place else { panic!("{:?}", settings.place) };
    assert_eq!(server.get_password(), Some(&b"p w"[..]));
    assert_eq!((server.get_user(), server.get_dbname()), (Some("rehome"), Some("calls")));
    assert_eq!(server.get_ports(), [5433]);
    assert!(!format!("{:?}", file(&section)).contains("p w"));
}
