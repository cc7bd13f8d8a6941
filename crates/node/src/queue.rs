//! The durable queue of batches from other sites: one SQLite file, one thread.
//!
//! A batch is acknowledged to its sender once it is committed here with `synchronous = FULL`, so it
//! survives a `kill -9` and a power cut. Orders that wait together are committed together. Which
//! batch goes where, and when it leaves, is the gate's decision.

use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use replica::gate::QueuedBatch;
use rusqlite::{Connection, params};
use vocab::{PartitionId, SiteId, ViewNumber};

use crate::clock::wall_time;

/// Orders in one commit.
const GROUP_MAX: usize = 256;

const SCHEMA: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    CREATE TABLE IF NOT EXISTS batch (
        row INTEGER PRIMARY KEY, from_site INTEGER NOT NULL, partition INTEGER NOT NULL,
        id INTEGER NOT NULL, view INTEGER NOT NULL, written_ms INTEGER NOT NULL,
        bytes BLOB NOT NULL);
    CREATE TABLE IF NOT EXISTS set_aside (
        row INTEGER PRIMARY KEY, from_site INTEGER NOT NULL, partition INTEGER NOT NULL,
        id INTEGER NOT NULL, view INTEGER NOT NULL, written_ms INTEGER NOT NULL,
        bytes BLOB NOT NULL);
";

/// What the gate wants of the disk.
#[derive(Debug)]
pub(crate) enum Order {
    Append(QueuedBatch),
    Remove(u64),
    SetAside(u64),
}

/// What the disk says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Appended(u64),
    Refused(u64),
}

/// The way to the queue's thread.
#[derive(Debug)]
pub(crate) struct Queue {
    /// Its bound is the gate's: one append and one end for each batch of the inbox. The owner must
    /// never wait here, as the thread may be waiting for the owner.
    orders: mpsc::Sender<Order>,
}

impl Queue {
    /// Opens the file, reads what it holds, and starts the thread. `answer` is called on it.
    pub(crate) fn open(
        data_dir: &Path,
        answer: impl Fn(Answer) + Send + 'static,
    ) -> rusqlite::Result<(Self, Vec<QueuedBatch>)> {
        let mut connection = Connection::open(data_dir.join("queue.sqlite"))?;
        connection.busy_timeout(Duration::from_secs(5))?;
        connection.execute_batch(SCHEMA)?;
        let held = load(&connection)?;
        let (orders, inbox) = mpsc::channel();
        let work = move || {
            while let Ok(first) = inbox.recv() {
                let mut group = vec![first];
                group.extend(inbox.try_iter().take(GROUP_MAX - 1));
                commit(&mut connection, group).into_iter().for_each(&answer);
            }
        };
        thread::Builder::new()
            .name("queue".into())
            .spawn(work)
            .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
        Ok((Self { orders }, held))
    }

    pub(crate) fn order(&self, order: Order) {
        if self.orders.send(order).is_err() {
            tracing::error!("the queue's thread is gone; batches of other sites are not taken");
        }
    }
}

fn load(connection: &Connection) -> rusqlite::Result<Vec<QueuedBatch>> {
    let now = wall_time().0;
    let mut select = connection.prepare(
        "SELECT row, from_site, partition, id, view, written_ms, bytes FROM batch ORDER BY row",
    )?;
    let rows = select.query_map([], |row| {
        let written = row.get::<_, i64>(5)?.cast_unsigned();
        Ok(QueuedBatch {
            row: row.get::<_, i64>(0)?.cast_unsigned(),
            from: SiteId(row.get(1)?),
            partition: PartitionId(row.get(2)?),
            id: row.get::<_, i64>(3)?.cast_unsigned(),
            view: ViewNumber(row.get::<_, i64>(4)?.cast_unsigned()),
            waited: Duration::from_millis(now.saturating_sub(written)),
            bytes: Bytes::from(row.get::<_, Vec<u8>>(6)?),
        })
    })?;
    rows.collect()
}

/// One transaction for all; a disk that fails refuses every batch of the group.
fn commit(connection: &mut Connection, group: Vec<Order>) -> Vec<Answer> {
    let appended: Vec<u64> = group
        .iter()
        .filter_map(|order| match order {
            Order::Append(batch) => Some(batch.row),
            Order::Remove(_) | Order::SetAside(_) => None,
        })
        .collect();
    match write(connection, &group) {
        Ok(()) => appended.into_iter().map(Answer::Appended).collect(),
        Err(error) => {
            tracing::error!(%error, "the queue cannot be written");
            appended.into_iter().map(Answer::Refused).collect()
        }
    }
}

fn write(connection: &mut Connection, group: &[Order]) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    for order in group {
        match order {
            Order::Append(batch) => {
                transaction
                    .prepare_cached("INSERT OR REPLACE INTO batch VALUES (?, ?, ?, ?, ?, ?, ?)")?
                    .execute(params![
                        batch.row.cast_signed(),
                        batch.from.0,
                        batch.partition.0,
                        batch.id.cast_signed(),
                        batch.view.0.cast_signed(),
                        wall_time().0.cast_signed(),
                        &batch.bytes[..],
                    ])?;
            }
            Order::Remove(row) => {
                transaction
                    .prepare_cached("DELETE FROM batch WHERE row = ?")?
                    .execute([row.cast_signed()])?;
            }
            Order::SetAside(row) => {
                transaction
                    .prepare_cached(
                        "INSERT OR REPLACE INTO set_aside SELECT * FROM batch WHERE row = ?",
                    )?
                    .execute([row.cast_signed()])?;
                transaction
                    .prepare_cached("DELETE FROM batch WHERE row = ?")?
                    .execute([row.cast_signed()])?;
            }
        }
    }
    transaction.commit()
}

#[cfg(test)]
mod tests;
