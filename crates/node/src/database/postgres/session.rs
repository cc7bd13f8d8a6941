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
use vocab::{CallKey, Slot, Stamp, ViewNumber};

use super::super::row::{self, Columns, Corrupt};
use super::super::work::{self, Clearing};
use super::super::{CLEAR_ROWS, OpenError, Row, SCHEMA_VERSION, Settings, Why, migrations};
use crate::clock::wall_time;

/// Each brings the tables to the next schema version.
const MIGRATIONS: [&str; SCHEMA_VERSION as usize] = ["
    CREATE TABLE record (
        slot int2 NOT NULL, key bytea NOT NULL CHECK (octet_length(key) = 16),
        stamp bytea NOT NULL, view int8 NOT NULL, put_at int8 NOT NULL, deadline int8,
        checksum int8 NOT NULL, body bytea NOT NULL, PRIMARY KEY (slot, key));
    CREATE TABLE set_aside (
        set_aside_at int8 NOT NULL, slot int2 NOT NULL, key bytea NOT NULL, stamp bytea NOT NULL,
        view int8 NOT NULL, put_at int8 NOT NULL, deadline int8, checksum int8 NOT NULL,
        body bytea NOT NULL);
"];

const STORE: &str = "
    INSERT INTO record AS held (slot, key, stamp, view, put_at, deadline, checksum, body)
    SELECT * FROM unnest($1::int2[], $2::bytea[], $3::bytea[], $4::int8[], $5::int8[], $6::int8[],
                         $7::int8[], $8::bytea[])
    ON CONFLICT (slot, key) DO UPDATE SET
        view = greatest(held.view, excluded.view),
        stamp = greatest(held.stamp, excluded.stamp),
        put_at = CASE WHEN held.stamp < excluded.stamp THEN excluded.put_at
                      ELSE held.put_at END,
        deadline = CASE WHEN held.stamp < excluded.stamp THEN excluded.deadline
                        ELSE held.deadline END,
        checksum = CASE WHEN held.stamp < excluded.stamp THEN excluded.checksum
                        ELSE held.checksum END,
        body = CASE WHEN held.stamp < excluded.stamp THEN excluded.body ELSE held.body END
    WHERE held.stamp < excluded.stamp OR held.view < excluded.view
";
/// The rows are locked in the order that every writer keeps, then deleted.
const REMOVE: &str = "
    DELETE FROM record WHERE (slot, key) IN (
        SELECT held.slot, held.key FROM record AS held
        JOIN unnest($1::int2[], $2::bytea[], $3::bytea[], $4::int8[])
                AS due (slot, key, stamp, view)
            ON held.slot = due.slot AND held.key = due.key AND held.stamp <= due.stamp
                AND held.view <= due.view
        ORDER BY held.slot, held.key FOR UPDATE OF held)
";
const CLEAR: &str = "
    DELETE FROM record WHERE ctid = ANY (ARRAY(
        SELECT held.ctid FROM record AS held
        JOIN unnest($1::int2[], $2::int2[]) AS run (first, last)
            ON held.slot BETWEEN run.first AND run.last
        WHERE held.view < $3::int8
        ORDER BY held.slot, held.key LIMIT $4::int8 FOR UPDATE OF held))
";
const FETCH: &str = "
    SELECT slot, key, stamp, view, put_at, deadline, checksum, body FROM record
    JOIN unnest($1::int2[], $2::bytea[]) AS asked (slot, key) USING (slot, key)
";
const SET_ASIDE: &str = "
    WITH gone AS (
        DELETE FROM record WHERE slot = $2::int2 AND key = $3::bytea AND checksum = $4::int8
        RETURNING *)
    INSERT INTO set_aside
    SELECT $1::int8, slot, key, stamp, view, put_at, deadline, checksum, body FROM gone
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
    clear: Statement,
    fetch: Statement,
}

/// What a fetch found, by key.
pub(super) struct Fetched {
    pub(super) rows: BTreeMap<CallKey, Row>,
    pub(super) corrupt: BTreeMap<CallKey, Corrupt>,
}

impl Session {
    async fn prepare(client: Client, driver: Driver) -> Result<Self, Error> {
        let (store, remove, clear, fetch) = tokio::try_join!(
            client.prepare(STORE),
            client.prepare(REMOVE),
            client.prepare(CLEAR),
            client.prepare(FETCH),
        )?;
        Ok(Self { client, driver, store, remove, clear, fetch })
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
        let views: Vec<i64> = rows.values().map(|row| row::view_column(row.view)).collect();
        let put_at: Vec<i64> = rows.values().map(|row| row::moment(row.put_at)).collect();
        let deadlines: Vec<Option<i64>> =
            rows.values().map(|row| row.deadline.map(row::moment)).collect();
        let checksums: Vec<i64> = rows.values().map(row::checksum_of).collect();
        let bodies: Vec<&[u8]> = rows.values().map(|row| &row.body[..]).collect();
        self.client
            .execute(
                &self.store,
                &[&slots, &keys, &stamps, &views, &put_at, &deadlines, &checksums, &bodies],
            )
            .await
    }

    pub(super) async fn remove(
        &self,
        due: &BTreeMap<(Slot, CallKey), (Stamp, ViewNumber)>,
    ) -> Result<u64, Error> {
        let slots: Vec<i16> = due.keys().map(|(_, key)| row::slot_column(key)).collect();
        let keys: Vec<&[u8]> = due.keys().map(|(_, key)| &key.0[..]).collect();
        let stamps: Vec<_> = due.values().map(|(stamp, _)| row::stamp_bytes(stamp)).collect();
        let stamps: Vec<&[u8]> = stamps.iter().map(|stamp| &stamp[..]).collect();
        let views: Vec<i64> = due.values().map(|(_, view)| row::view_column(*view)).collect();
        self.client.execute(&self.remove, &[&slots, &keys, &stamps, &views]).await
    }

    /// Whether there may be more to remove.
    pub(super) async fn clear(&self, clearing: &Clearing) -> Result<bool, Error> {
        let (first, last): (Vec<i16>, Vec<i16>) = work::runs(&clearing.slots).into_iter().unzip();
        let view = row::view_column(clearing.view);
        let removed =
            self.client.execute(&self.clear, &[&first, &last, &view, &CLEAR_ROWS]).await?;
        Ok(removed >= CLEAR_ROWS.cast_unsigned())
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
        view: row.try_get(3)?,
        put_at: row.try_get(4)?,
        deadline: row.try_get(5)?,
        checksum: row.try_get(6)?,
        body: row.try_get(7)?,
    })
}
