//! The `[database]` section: what its URL says, and what of it cannot work.
//!
//! Nothing is connected here; the password's file is read by `resolve`.

use std::path::PathBuf;

use serde::Deserialize;
use tokio_postgres::config::SslMode;

use super::check::Findings;
use super::file::{Config, Secret};

const POOL_MAX: usize = 64;
const TIMEOUT_MS_MIN: u64 = 100;
const TIMEOUT_MS_MAX: u64 = 60_000;

/// `[database]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Database {
    /// `sqlite`, or `postgres://user@host:port/database`.
    pub url: String,
    /// A file that holds the password of the URL's user and nothing else.
    pub password_file: Option<PathBuf>,
    /// What is in it.
    #[serde(skip)]
    pub password: Option<Secret>,
    /// Connections of this process to a server: one writes, the others read.
    pub pool: usize,
    /// A statement without an answer is given up after this.
    pub timeout_ms: u64,
}

impl Default for Database {
    fn default() -> Self {
        Self {
            url: "sqlite".into(),
            password_file: None,
            password: None,
            pool: 4,
            timeout_ms: 2_000,
        }
    }
}

/// What a URL names.
#[derive(Clone, Debug)]
pub(crate) enum DatabaseUrl {
    /// A file in `site.data_dir`.
    Sqlite,
    /// A server.
    Postgres(Box<tokio_postgres::Config>),
}

impl Database {
    /// Reads the URL; the error says what is wrong with it.
    pub(crate) fn url(&self) -> Result<DatabaseUrl, String> {
        let url = self.url.as_str();
        if url == "sqlite" {
            return Ok(DatabaseUrl::Sqlite);
        }
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err("it is neither `sqlite` nor a `postgres://` URL".into());
        }
        let server: tokio_postgres::Config = url.parse().map_err(|error| {
            let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
            format!("{error}{}", cause.unwrap_or_default())
        })?;
        if server.get_password().is_some() {
            return Err("it holds a password, which would be printed with it".into());
        }
        if server.get_user().is_none() || server.get_dbname().is_none() {
            return Err("it names no user or no database".into());
        }
        if server.get_hosts().is_empty() {
            return Err("it names no host".into());
        }
        // The driver may learn further modes; those of today that work without TLS are these.
        if !matches!(server.get_ssl_mode(), SslMode::Disable | SslMode::Prefer) {
            return Err("it wants TLS, which this program does not speak to a database".into());
        }
        Ok(DatabaseUrl::Postgres(Box::new(server)))
    }
}

pub(super) fn check(config: &Config, findings: &mut Findings<'_>) {
    let Some(database) = config.database.as_ref().filter(|_| config.role.has_tier()) else {
        return;
    };
    match database.url() {
        Err(what) => findings.mistake(
            &["database", "url"],
            format!("the URL of the database cannot be used: {what}"),
            "write \"sqlite\" or \"postgres://user@host:port/database\", and the password into \
             the file that `password_file` names",
        ),
        Ok(DatabaseUrl::Sqlite) if database.password_file.is_some() => findings.mistake(
            &["database", "password_file"],
            "SQLite has no password".into(),
            "remove `password_file`, or give a `postgres://` URL",
        ),
        Ok(DatabaseUrl::Sqlite) if config.coordination.is_some() => findings.mistake(
            &["database", "url"],
            "the state processes of a site share one database, and SQLite is a file of one".into(),
            "give the URL of a PostgreSQL server, or remove [database]",
        ),
        Ok(DatabaseUrl::Sqlite | DatabaseUrl::Postgres(_)) => {}
    }
    if !(2..=POOL_MAX).contains(&database.pool) {
        findings.mistake(
            &["database", "pool"],
            format!("pool = {} is no number of connections that works", database.pool),
            "write 2 to 64: one connection writes, the others read; 4 is the default",
        );
    }
    if !(TIMEOUT_MS_MIN..=TIMEOUT_MS_MAX).contains(&database.timeout_ms) {
        findings.mistake(
            &["database", "timeout_ms"],
            format!("timeout_ms = {} is too short or too long", database.timeout_ms),
            "write 100 to 60000; 2000 is the default",
        );
    }
}
