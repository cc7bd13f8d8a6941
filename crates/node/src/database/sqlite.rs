//! SQLite: one file of this process alone, one thread.
//!
//! A transaction is synced before it is answered (`synchronous = FULL`). All orders are taken
//! between two transactions and their reads are answered first, so that a message for a call waits
//! for one transaction and not for a backlog.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::{
    Connection, ErrorCode, OptionalExtension, Transaction, TransactionBehavior, params,
};
use tokio::sync::mpsc as owner;
use vocab::{CallKey, Stamp};

use super::row::{self, Columns, Corrupt};
use super::work::{self, Backlog, Batch, Clearing, Job, Load, Taken};
use super::{Answer, CLEAR_ROWS, OpenError, Refusal, Refused, SCHEMA_VERSION, Why, migrations};
use crate::clock::wall_time;

/// An `Away` file is tried again after this.
const PROBE_AFTER: Duration = Duration::from_secs(1);
/// Reads that are answered before what is to be written gets its turn.
const READS_PER_TURN: usize = 256;

const PRAGMAS: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL);
";

/// Each brings the tables to the next schema version.
const MIGRATIONS: [&str; SCHEMA_VERSION as usize] = ["
    CREATE TABLE record (
        slot INTEGER NOT NULL, key BLOB NOT NULL CHECK (length(key) = 16), stamp BLOB NOT NULL,
        view INTEGER NOT NULL, put_at INTEGER NOT NULL, deadline INTEGER, checksum INTEGER NOT NULL,
        body BLOB NOT NULL, PRIMARY KEY (slot, key));
    CREATE TABLE set_aside (
        set_aside_at INTEGER NOT NULL, slot INTEGER NOT NULL, key BLOB NOT NULL,
        stamp BLOB NOT NULL, view INTEGER NOT NULL, put_at INTEGER NOT NULL, deadline INTEGER,
        checksum INTEGER NOT NULL, body BLOB NOT NULL);
"];

const STORE: &str = "
    INSERT INTO record (slot, key, stamp, view, put_at, deadline, checksum, body)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (slot, key) DO UPDATE SET
        view = max(record.view, excluded.view),
        stamp = max(record.stamp, excluded.stamp),
        put_at = iif(record.stamp < excluded.stamp, excluded.put_at, record.put_at),
        deadline = iif(record.stamp < excluded.stamp, excluded.deadline, record.deadline),
        checksum = iif(record.stamp < excluded.stamp, excluded.checksum, record.checksum),
        body = iif(record.stamp < excluded.stamp, excluded.body, record.body)
    WHERE record.stamp < excluded.stamp OR record.view < excluded.view
";
const REMOVE: &str = "DELETE FROM record WHERE slot = ? AND key = ? AND stamp <= ? AND view <= ?";
const CLEAR: &str = "
    DELETE FROM record WHERE (slot, key) IN (
        SELECT slot, key FROM record WHERE slot BETWEEN ? AND ? AND view < ? LIMIT ?)
";
const FETCH: &str = "
    SELECT slot, key, stamp, view, put_at, deadline, checksum, body FROM record
    WHERE slot = ? AND key = ?
";
const SET_ASIDE: &str = "
    INSERT INTO set_aside
    SELECT ?, slot, key, stamp, view, put_at, deadline, checksum, body FROM record
    WHERE slot = ? AND key = ? AND checksum = ?
";
const LEAVE: &str = "DELETE FROM record WHERE slot = ? AND key = ? AND checksum = ?";
const PROBE: &str = "UPDATE schema_version SET version = version";

/// The way to the file's thread. Its bound is the room of [`super::Database`].
#[derive(Debug)]
pub(super) struct Orders(mpsc::Sender<(Load, Taken)>);

impl Orders {
    pub(super) fn send(&self, order: (Load, Taken)) -> Result<(), Load> {
        self.0.send(order).map_err(|back| back.0.0)
    }
}

pub(super) fn open<E>(
    file: &Path,
    timeout: Duration,
    answers: owner::Sender<E>,
) -> Result<Orders, OpenError>
where
    E: From<Answer> + Send + 'static,
{
    let refused = |error: &dyn std::error::Error| {
        OpenError::Refused(format!("{} cannot be used: {error}", file.display()))
    };
    let mut connection = Connection::open(file).map_err(|error| refused(&error))?;
    connection.busy_timeout(timeout).map_err(|error| refused(&error))?;
    match migrate(&mut connection) {
        Ok(outcome) => outcome?,
        Err(error) => return Err(refused(&error)),
    }
    let (orders, inbox) = mpsc::channel();
    let backlog = Backlog::default();
    let worker = Worker { connection, inbox, answers, backlog, probe_at: None };
    thread::Builder::new()
        .name("database".into())
        .spawn(move || worker.run())
        .map_err(|error| refused(&error))?;
    Ok(Orders(orders))
}

fn migrate(connection: &mut Connection) -> rusqlite::Result<Result<(), OpenError>> {
    connection.execute_batch(PRAGMAS)?;
    let transaction = begin(connection)?;
    let found: Option<i32> = transaction
        .query_row("SELECT version FROM schema_version", [], |row| row.get(0))
        .optional()?;
    let steps = match migrations(found.unwrap_or(0), &MIGRATIONS) {
        Ok(steps) => steps,
        Err(error) => return Ok(Err(error)),
    };
    for step in steps {
        transaction.execute_batch(step)?;
    }
    let say = match found {
        Some(_) => "UPDATE schema_version SET version = ?",
        None => "INSERT INTO schema_version VALUES (?)",
    };
    transaction.execute(say, [SCHEMA_VERSION])?;
    transaction.commit()?;
    Ok(Ok(()))
}

/// Takes the write lock at once: SQLite does not wait for it later in a transaction.
fn begin(connection: &mut Connection) -> rusqlite::Result<Transaction<'_>> {
    connection.transaction_with_behavior(TransactionBehavior::Immediate)
}

struct Worker<E> {
    connection: Connection,
    inbox: mpsc::Receiver<(Load, Taken)>,
    answers: owner::Sender<E>,
    backlog: Backlog,
    /// When a file that is away is tried again.
    probe_at: Option<Instant>,
}

impl<E: From<Answer>> Worker<E> {
    fn run(mut self) {
        while self.turn().is_continue() {}
    }

    /// Waits for orders, answers the reads that wait and makes one transaction.
    fn turn(&mut self) -> ControlFlow<()> {
        let Ok(mut next) = self.first() else { return ControlFlow::Break(()) };
        if self.probe_at.is_some_and(|at| at <= Instant::now()) {
            self.probe();
        }
        let mut reads = 0;
        while let Some((load, taken)) = next {
            match load {
                _ if self.is_away() => {
                    drop(taken);
                    self.tell(Answer::Refused(load.refused(Why::Away)));
                }
                Load::Write(write) => self.backlog.push(write, taken),
                Load::Read(key, stamp) => {
                    drop(taken);
                    self.read(key, stamp);
                    reads += 1;
                }
            }
            next = if reads < READS_PER_TURN { self.inbox.try_recv().ok() } else { None };
        }
        if !self.backlog.is_empty() {
            self.write();
        }
        ControlFlow::Continue(())
    }

    /// The next order: none when there is a backlog to go on with, or a file to be tried again.
    fn first(&self) -> Result<Option<(Load, Taken)>, mpsc::RecvError> {
        if !self.backlog.is_empty() {
            return Ok(self.inbox.try_recv().ok());
        }
        let Some(at) = self.probe_at else { return self.inbox.recv().map(Some) };
        match self.inbox.recv_timeout(at.saturating_duration_since(Instant::now())) {
            Ok(order) => Ok(Some(order)),
            Err(mpsc::RecvTimeoutError::Timeout) => Ok(None),
            Err(mpsc::RecvTimeoutError::Disconnected) => Err(mpsc::RecvError),
        }
    }

    fn is_away(&self) -> bool {
        self.probe_at.is_some()
    }

    /// The owner is gone only when the process ends.
    fn tell(&self, answer: Answer) {
        drop(self.answers.blocking_send(answer.into()));
    }

    fn write(&mut self) {
        let Some(job) = self.backlog.next_job() else { return };
        let why = match job {
            Job::Batch(mut batch) => match write(&mut self.connection, &batch) {
                Ok(()) => {
                    let (stored, removed) = (batch.take_stored(), batch.take_removed());
                    if !stored.is_empty() {
                        self.tell(Answer::Stored(stored));
                    }
                    if !removed.is_empty() {
                        self.tell(Answer::Removed(removed));
                    }
                    return;
                }
                Err(error) => {
                    let why = self.failed(&error);
                    self.refuse(Job::Batch(batch), why);
                    why
                }
            },
            Job::Clear(clearing) => match clear(&mut self.connection, &clearing) {
                // What is left waits for the reads that came meanwhile.
                Ok(CLEAR_ROWS..) => return self.backlog.put_back(clearing),
                Ok(_) => {
                    let view = clearing.view;
                    drop(clearing);
                    return self.tell(Answer::Cleared { view });
                }
                Err(error) => {
                    let why = self.failed(&error);
                    self.refuse(Job::Clear(clearing), why);
                    why
                }
            },
        };
        while self.is_away()
            && let Some(job) = self.backlog.next_job()
        {
            self.refuse(job, why);
        }
    }

    fn refuse(&self, job: Job, why: Why) {
        job.refused(why).into_iter().for_each(|refusal| self.tell(Answer::Refused(refusal)));
    }

    fn read(&mut self, key: CallKey, asked: Stamp) {
        match self.fetch(key, asked) {
            Ok(answer) => self.tell(answer),
            Err(error) => {
                let why = self.failed(&error);
                self.tell(Answer::Refused(Refusal { what: Refused::Fetch { key }, why }));
            }
        }
    }

    fn fetch(&mut self, key: CallKey, asked: Stamp) -> rusqlite::Result<Answer> {
        let found = self
            .connection
            .prepare_cached(FETCH)?
            .query_row(params![row::slot_column(&key), &key.0[..]], |row| Ok(columns(row)?.read()))
            .optional()?;
        Ok(match found.transpose() {
            Ok(row) => Answer::Fetched { key, asked, row },
            Err(corrupt) => {
                if let Err(error) = set_aside(&mut self.connection, &corrupt) {
                    tracing::error!(%error, %key, "a corrupt row cannot be set aside");
                }
                Answer::Corrupt { key, asked }
            }
        })
    }

    /// Says why orders are refused by this error, and that the file is away if it is.
    fn failed(&mut self, error: &rusqlite::Error) -> Why {
        tracing::error!(%error, "the database of calls cannot be used");
        let is_away = matches!(
            error.sqlite_error_code(),
            Some(ErrorCode::SystemIoFailure | ErrorCode::CannotOpen | ErrorCode::NotADatabase)
        );
        if !is_away {
            return Why::Failed;
        }
        if !self.is_away() {
            self.tell(Answer::Away { since: wall_time() });
        }
        self.probe_at = Some(Instant::now() + PROBE_AFTER);
        Why::Away
    }

    fn probe(&mut self) {
        match self.connection.execute(PROBE, []) {
            Ok(_) => {
                self.probe_at = None;
                tracing::info!("the database of calls is back");
                self.tell(Answer::Back);
            }
            Err(error) => {
                self.probe_at = Some(Instant::now() + PROBE_AFTER);
                tracing::debug!(%error, "the database of calls is still away");
            }
        }
    }
}

fn write(connection: &mut Connection, batch: &Batch) -> rusqlite::Result<()> {
    let transaction = begin(connection)?;
    {
        let mut store = transaction.prepare_cached(STORE)?;
        for ((slot, key), row) in &batch.stores {
            store.execute(params![
                slot.0,
                &key.0[..],
                &row::stamp_bytes(&row.stamp)[..],
                row::view_column(row.view),
                row::moment(row.put_at),
                row.deadline.map(row::moment),
                row::checksum_of(row),
                &row.body[..],
            ])?;
        }
        let mut remove = transaction.prepare_cached(REMOVE)?;
        for ((slot, key), (stamp, view)) in &batch.removals {
            let view = row::view_column(*view);
            remove.execute(params![slot.0, &key.0[..], &row::stamp_bytes(stamp)[..], view])?;
        }
    }
    transaction.commit()
}

/// Says how many rows it removed; there are none left when these are fewer than [`CLEAR_ROWS`].
fn clear(connection: &mut Connection, clearing: &Clearing) -> rusqlite::Result<i64> {
    let transaction = begin(connection)?;
    let mut gone = 0;
    {
        let mut clear = transaction.prepare_cached(CLEAR)?;
        for (first, last) in work::runs(&clearing.slots) {
            let left = CLEAR_ROWS - gone;
            let view = row::view_column(clearing.view);
            let removed = clear.execute(params![first, last, view, left])?;
            gone += i64::try_from(removed).unwrap_or(i64::MAX);
            if gone >= CLEAR_ROWS {
                break;
            }
        }
    }
    transaction.commit()?;
    Ok(gone)
}

fn columns<'a>(row: &'a rusqlite::Row<'_>) -> rusqlite::Result<Columns<'a>> {
    Ok(Columns {
        slot: row.get(0)?,
        key: row.get_ref(1)?.as_blob()?,
        stamp: row.get_ref(2)?.as_blob()?,
        view: row.get(3)?,
        put_at: row.get(4)?,
        deadline: row.get(5)?,
        checksum: row.get(6)?,
        body: row.get_ref(7)?.as_blob()?,
    })
}

fn set_aside(connection: &mut Connection, corrupt: &Corrupt) -> rusqlite::Result<()> {
    tracing::error!(key = %corrupt.key, "a row of the database of calls is corrupt: set aside");
    let transaction = begin(connection)?;
    let at = row::moment(wall_time());
    let Corrupt { slot, key, checksum } = corrupt;
    transaction.execute(SET_ASIDE, params![at, slot, &key.0[..], checksum])?;
    transaction.execute(LEAVE, params![slot, &key.0[..], checksum])?;
    transaction.commit()
}

#[cfg(test)]
mod tests;
