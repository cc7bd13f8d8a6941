//! One connection to a PostgreSQL server, and what is said over it.
//!
//! A statement whose connection was given up may still be at work at the server. Before new
//! connections of this process are used, the server ends the old ones, so that no store of the past
//! comes after a removal of the present.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_postgres::config::SslMode;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error, NoTls, Statement};
use vocab::{CallKey, Slot, Stamp};

use super::super::row::{self, Columns, Corrupt};
use super::super::{
    Found, OpenError, PAGE_BYTES_MAX, Page, Row, SCHEMA_VERSION, Scan, Settings, Wanted, Why,
    migrations,
};
use crate::clock::wall_time;

/// Each brings the tables to the next schema version.
const MIGRATIONS: [&str; SCHEMA_VERSION as usize] = ["
    CREATE TABLE record (
        slot int2 NOT NULL, key bytea NOT NULL CHECK (octet_length(key) = 16),
        stamp bytea NOT NULL, put_at int8 NOT NULL, deadline int8, checksum int8 NOT NULL,
        body bytea NOT NULL, PRIMARY KEY (slot, key));
    CREATE TABLE set_aside (
        set_aside_at int8 NOT NULL, slot int2 NOT NULL, key bytea NOT NULL, stamp bytea NOT NULL,
        put_at int8 NOT NULL, deadline int8, checksum int8 NOT NULL, body bytea NOT NULL);
"];

const STORE: &str = "
    INSERT INTO record AS held (slot, key, stamp, put_at, deadline, checksum, body)
    SELECT * FROM unnest($1::int2[], $2::bytea[], $3::bytea[], $4::int8[], $5::int8[], $6::int8[],
                         $7::bytea[])
    ON CONFLICT (slot, key) DO UPDATE SET
        stamp = excluded.stamp, put_at = excluded.put_at, deadline = excluded.deadline,
        checksum = excluded.checksum, body = excluded.body
    WHERE held.stamp < excluded.stamp
";
/// The rows are locked in the order that every writer keeps, then deleted.
const REMOVE: &str = "
    DELETE FROM record WHERE (slot, key) IN (
        SELECT held.slot, held.key FROM record AS held
        JOIN unnest($1::int2[], $2::bytea[], $3::bytea[]) AS due (slot, key, stamp)
            ON held.slot = due.slot AND held.key = due.key AND held.stamp <= due.stamp
        ORDER BY held.slot, held.key FOR UPDATE OF held)
";
const FETCH: &str = "
    SELECT slot, key, stamp, put_at, deadline, checksum, body FROM record
    JOIN unnest($1::int2[], $2::bytea[]) AS asked (slot, key) USING (slot, key)
";
/// `ahead` is what the page holds before a row.
const SCAN_ROWS: &str = "
    SELECT slot, key, stamp, put_at, deadline, checksum, body FROM (
        SELECT *, sum(octet_length(body)) OVER (ORDER BY slot, key ROWS UNBOUNDED PRECEDING)
                - octet_length(body) AS ahead
        FROM record WHERE (slot, key) > ($1::int2, $2::bytea) AND slot <= $3::int2
        ORDER BY slot, key LIMIT $4::int8) AS page
    WHERE ahead < $5::int8 ORDER BY slot, key
";
const SCAN_NAMES: &str = "
    SELECT key, stamp FROM record WHERE (slot, key) > ($1::int2, $2::bytea) AND slot <= $3::int2
    ORDER BY slot, key LIMIT $4::int8
";
const SET_ASIDE: &str = "
    WITH gone AS (
        DELETE FROM record WHERE slot = $2::int2 AND key = $3::bytea AND checksum = $4::int8
        RETURNING *)
    INSERT INTO set_aside
    SELECT $1::int8, slot, key, stamp, put_at, deadline, checksum, body FROM gone
";
const END_OTHERS: &str = "
    SELECT coalesce(bool_and(pg_terminate_backend(pid, $2::int8)), true) FROM pg_stat_activity
    WHERE application_name = $1::text AND pid <> pg_backend_pid()
";

/// Why there are no connections.
#[derive(Debug)]
pub(super) enum Trouble {
    /// It is to be tried again.
    Away(String),
    /// Somebody has to mend it.
    Refused(OpenError),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        let is_refused = error.code().is_some_and(|code| {
            // Authorization, rights, and a database that does not exist.
            code.code().starts_with("28")
                || *code == SqlState::INSUFFICIENT_PRIVILEGE
                || *code == SqlState::INVALID_CATALOG_NAME
        });
        let told = told(&error);
        if is_refused { Self::Refused(OpenError::Refused(told)) } else { Self::Away(told) }
    }
}

/// An error and its causes: the driver's own words are only "db error".
pub(super) fn told(error: &Error) -> String {
    let mut told = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        told.push_str(": ");
        told.push_str(&error.to_string());
        cause = error.source();
    }
    told
}

/// Whether an error is of the order or of the connection.
pub(super) fn why(error: &Error) -> Why {
    let Some(code) = error.code() else { return Why::Away };
    // `statement_timeout` has a code of the class that otherwise ends connections.
    let is_away = code.code().starts_with("08") || code.code().starts_with("57");
    if is_away && *code != SqlState::QUERY_CANCELED { Why::Away } else { Why::Failed }
}

/// How the server is reached.
pub(super) struct Server {
    config: tokio_postgres::Config,
    /// Of this site, so that sites that share a server by mistake share no table.
    schema: String,
    /// Of this process, so that the server can tell its old connections.
    name: String,
    pool: usize,
    timeout: Duration,
}

impl Server {
    pub(super) fn new(config: &tokio_postgres::Config, settings: &Settings) -> Self {
        let nonce = RandomState::new().build_hasher().finish();
        let name = format!("rehome site {} {nonce:016x}", settings.site);
        let mut config = config.clone();
        config.application_name(&name).ssl_mode(SslMode::Disable).connect_timeout(settings.timeout);
        Self {
            config,
            schema: format!("rehome_site{}", settings.site),
            name,
            pool: settings.pool.max(2),
            timeout: settings.timeout,
        }
    }

    /// All connections, the writer's first, within the bound.
    pub(super) async fn connect(&self) -> Result<Vec<Session>, Trouble> {
        match tokio::time::timeout(self.timeout, self.connect_all()).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Trouble::Away("no answer in time".into())),
        }
    }

    async fn connect_all(&self) -> Result<Vec<Session>, Trouble> {
        let (mut client, driver) = self.connect_one().await?;
        let patience = i64::try_from(self.timeout.as_millis()).unwrap_or(i64::MAX) / 2;
        let ended = client.query_one(END_OTHERS, &[&self.name, &patience]).await?;
        if !ended.try_get::<_, bool>(0)? {
            return Err(Trouble::Away("earlier connections do not end".into()));
        }
        self.migrate(&mut client).await?;
        let mut sessions = vec![Session::prepare(client, driver).await?];
        while sessions.len() < self.pool {
            let (client, driver) = self.connect_one().await?;
            sessions.push(Session::prepare(client, driver).await?);
        }
        Ok(sessions)
    }

    async fn connect_one(&self) -> Result<(Client, Driver), Error> {
        let (client, connection) = self.config.connect(NoTls).await?;
        let driver = Driver(tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(error = told(&error), "a connection to the database ended");
            }
        }));
        // The server gives a statement up before this side does, and keeps the connection.
        let patience = self.timeout.as_millis() * 3 / 4;
        let schema = &self.schema;
        client
            .batch_execute(&format!(
                "SET client_min_messages = warning; SET search_path = {schema};
                 SET statement_timeout = {patience}; SET synchronous_commit = on;
                 SET default_transaction_isolation = 'read committed'"
            ))
            .await?;
        Ok((client, driver))
    }

    /// Makes or migrates the tables; replicas that start together do it one after the other.
    async fn migrate(&self, client: &mut Client) -> Result<(), Trouble> {
        let schema = &self.schema;
        let transaction = client.transaction().await?;
        transaction.execute("SELECT pg_advisory_xact_lock(hashtext($1))", &[schema]).await?;
        let table = format!("{schema}.schema_version");
        let there = transaction
            .query_one(
                "SELECT to_regnamespace($1) IS NOT NULL, to_regclass($2) IS NOT NULL",
                &[schema, &table],
            )
            .await?;
        if !there.try_get::<_, bool>(0)? {
            transaction.batch_execute(&format!("CREATE SCHEMA {schema}")).await?;
        }
        if !there.try_get::<_, bool>(1)? {
            let make = "CREATE TABLE schema_version (version int4 NOT NULL);
                        INSERT INTO schema_version VALUES (0)";
            transaction.batch_execute(make).await?;
        }
        let found = transaction.query_one("SELECT version FROM schema_version", &[]).await?;
        let steps = migrations(found.try_get(0)?, &MIGRATIONS).map_err(Trouble::Refused)?;
        if !steps.is_empty() {
            for step in steps {
                transaction.batch_execute(step).await?;
            }
            let say = "UPDATE schema_version SET version = $1";
            transaction.execute(say, &[&SCHEMA_VERSION]).await?;
        }
        transaction.commit().await?;
        Ok(())
    }
}

/// The task that moves the bytes of a connection; it ends when this is dropped.
struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// One connection, with its statements.
pub(super) struct Session {
    client: Client,
    driver: Driver,
    store: Statement,
    remove: Statement,
    fetch: Statement,
    scan_rows: Statement,
    scan_names: Statement,
}

/// What a fetch found, by key.
pub(super) struct Fetched {
    pub(super) rows: BTreeMap<CallKey, Row>,
    pub(super) corrupt: BTreeMap<CallKey, Corrupt>,
}

impl Session {
    async fn prepare(client: Client, driver: Driver) -> Result<Self, Error> {
        let (store, remove, fetch, scan_rows, scan_names) = tokio::try_join!(
            client.prepare(STORE),
            client.prepare(REMOVE),
            client.prepare(FETCH),
            client.prepare(SCAN_ROWS),
            client.prepare(SCAN_NAMES),
        )?;
        Ok(Self { client, driver, store, remove, fetch, scan_rows, scan_names })
    }

    /// Waits for the connection's end; not to be asked again afterwards.
    pub(super) async fn ended(&mut self) {
        // Its outcome was logged by the task itself.
        drop((&mut self.driver.0).await);
    }

    pub(super) async fn store(&self, rows: &BTreeMap<(Slot, CallKey), Row>) -> Result<u64, Error> {
        let slots: Vec<i16> = rows.values().map(|row| row::slot_column(&row.key)).collect();
        let keys: Vec<&[u8]> = rows.values().map(|row| &row.key.0[..]).collect();
        let stamps: Vec<_> = rows.values().map(|row| row::stamp_bytes(&row.stamp)).collect();
        let stamps: Vec<&[u8]> = stamps.iter().map(|stamp| &stamp[..]).collect();
        let put_at: Vec<i64> = rows.values().map(|row| row::moment(row.put_at)).collect();
        let deadlines: Vec<Option<i64>> =
            rows.values().map(|row| row.deadline.map(row::moment)).collect();
        let checksums: Vec<i64> = rows.values().map(row::checksum_of).collect();
        let bodies: Vec<&[u8]> = rows.values().map(|row| &row.body[..]).collect();
        self.client
            .execute(
                &self.store,
                &[&slots, &keys, &stamps, &put_at, &deadlines, &checksums, &bodies],
            )
            .await
    }

    pub(super) async fn remove(
        &self,
        due: &BTreeMap<(Slot, CallKey), Stamp>,
    ) -> Result<u64, Error> {
        let slots: Vec<i16> = due.keys().map(|(_, key)| row::slot_column(key)).collect();
        let keys: Vec<&[u8]> = due.keys().map(|(_, key)| &key.0[..]).collect();
        let stamps: Vec<_> = due.values().map(row::stamp_bytes).collect();
        let stamps: Vec<&[u8]> = stamps.iter().map(|stamp| &stamp[..]).collect();
        self.client.execute(&self.remove, &[&slots, &keys, &stamps]).await
    }

    pub(super) async fn fetch(&self, keys: &[CallKey]) -> Result<Fetched, Error> {
        let slots: Vec<i16> = keys.iter().map(row::slot_column).collect();
        let asked: Vec<&[u8]> = keys.iter().map(|key| &key.0[..]).collect();
        let found = self.client.query(&self.fetch, &[&slots, &asked]).await?;
        let mut fetched = Fetched { rows: BTreeMap::new(), corrupt: BTreeMap::new() };
        for row in &found {
            match columns(row)?.read() {
                Ok(row) => drop(fetched.rows.insert(row.key, row)),
                Err(row) => drop(fetched.corrupt.insert(row.key, row)),
            }
        }
        Ok(fetched)
    }

    /// A page, and the rows that it lacks as they are corrupt.
    pub(super) async fn scan(&self, scan: &Scan) -> Result<(Page, Vec<Corrupt>), Error> {
        let limit = usize::from(scan.rows_max());
        let limit_column = i64::from(scan.rows_max());
        let (slot, key) = scan.begins_after();
        let last = scan.last_slot();
        let ask = scan.ask;
        if scan.what == Wanted::Names {
            let found =
                self.client.query(&self.scan_names, &[&slot, &key, &last, &limit_column]).await?;
            let mut names = Vec::with_capacity(found.len());
            for row in &found {
                names.push((row::key_of(row.try_get(0)?), row::stamp_or_lowest(row.try_get(1)?)));
            }
            let next = names.last().filter(|_| names.len() == limit).map(|(key, _)| *key);
            return Ok((Page { ask, found: Found::Names(names), next }, Vec::new()));
        }
        let bytes_max = i64::try_from(PAGE_BYTES_MAX).unwrap_or(i64::MAX);
        let found = self
            .client
            .query(&self.scan_rows, &[&slot, &key, &last, &limit_column, &bytes_max])
            .await?;
        let (mut rows, mut corrupt, mut bytes) = (Vec::new(), Vec::new(), 0);
        for row in &found {
            let columns = columns(row)?;
            bytes += columns.body.len();
            match columns.read() {
                Ok(row) => rows.push(row),
                Err(row) => corrupt.push(row),
            }
        }
        let is_last = found.len() < limit && bytes < PAGE_BYTES_MAX;
        let next = rows.last().filter(|_| !is_last).map(|row| row.key);
        Ok((Page { ask, found: Found::Rows(rows), next }, corrupt))
    }

    pub(super) async fn set_aside(&self, corrupt: &Corrupt) -> Result<u64, Error> {
        let Corrupt { slot, key, checksum } = corrupt;
        tracing::error!(%key, "a row of the database of calls is corrupt: set aside");
        let at = row::moment(wall_time());
        self.client.execute(SET_ASIDE, &[&at, slot, &&key.0[..], checksum]).await
    }
}

fn columns(row: &tokio_postgres::Row) -> Result<Columns<'_>, Error> {
    Ok(Columns {
        slot: row.try_get(0)?,
        key: row.try_get(1)?,
        stamp: row.try_get(2)?,
        put_at: row.try_get(3)?,
        deadline: row.try_get(4)?,
        checksum: row.try_get(5)?,
        body: row.try_get(6)?,
    })
}
