//! SQLite: one file of this process alone, one thread.
//!
//! A batch is committed with `synchronous = FULL` before it is answered. Orders that wait together
//! are committed together.

use std::io;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use replica::gate::QueuedBatch;
use rusqlite::{Connection, params};
use vocab::{PartitionId, SiteId, ViewNumber};

use super::{Answer, Answers, Order, Told};
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

pub(super) fn open<E>(file: &Path, answers: Answers<E>) -> io::Result<mpsc::Sender<Order>>
where
    E: From<Told> + Send + 'static,
{
    let (mut connection, held) = prepare(file).map_err(io::Error::other)?;
    let (orders, inbox) = mpsc::channel::<Order>();
    let work = move || {
        // The owner is gone only when the process ends.
        let tell = |answer: Answer| drop(answers.owner.blocking_send(answers.told(answer)));
        tell(Answer::Loaded(held));
        while let Ok(first) = inbox.recv() {
            let mut group = vec![first];
            group.extend(inbox.try_iter().take(GROUP_MAX - 1));
            commit(&mut connection, group).into_iter().for_each(tell);
        }
    };
    thread::Builder::new().name("queue".into()).spawn(work)?;
    Ok(orders)
}

fn prepare(file: &Path) -> rusqlite::Result<(Connection, Vec<QueuedBatch>)> {
    let connection = Connection::open(file)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.execute_batch(SCHEMA)?;
    let held = load(&connection)?;
    Ok((connection, held))
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
