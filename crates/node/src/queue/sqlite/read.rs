//! Reads the queue's file at the start, and finds out whether it holds what was written.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use replica::gate::QueuedBatch;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode, Row};
use vocab::{PartitionId, SiteId, ViewNumber};

use super::file::{self, Held, QueueFile, Tally};
use super::is_to_be_tried_again;
use super::mark::Mark;
use crate::clock::wall_time;
use crate::queue::Damage;

/// What was found.
pub(super) struct Opened {
    /// What is known to be as it was written.
    pub(super) held: BTreeMap<u64, Held>,
    pub(super) file: Found,
}

pub(super) enum Found {
    InUse(QueueFile),
    /// It cannot be written now, and why.
    Away(QueueFile, String),
    /// Another one has to take its place.
    Damaged(Damage),
    /// The same, and nothing of it could be read.
    Unread(Damage),
}

/// What a file's table gave.
#[derive(Default)]
struct Rows {
    good: BTreeMap<u64, Held>,
    /// Rows that are not what was written.
    bad: u64,
}

/// Opens the file that counts. The error says why that cannot be done now; nothing was read then.
/// With `is_last_try` a file that the disk does not give is a damaged one.
pub(super) fn open(first: &Path, is_last_try: bool) -> Result<Opened, String> {
    let (mark, marked) = Mark::open(&file::mark_path(first));
    let path = file::newest(first).map_or_else(|| first.into(), |(_, path)| path);
    let damaged = |why, lost| Found::Damaged(Damage { why, lost, kept: Some(path.clone()) });
    let connection = match file::connect(&path).and_then(begin) {
        Ok(connection) => connection,
        Err(error) if is_to_be_tried_again(&error) => return Err(error.to_string()),
        Err(error) => {
            let is_unread = error.sqlite_error_code() == Some(ErrorCode::SystemIoFailure);
            if is_unread && !is_last_try {
                return Err(error.to_string());
            }
            let damage = Damage { why: error.to_string(), lost: None, kept: Some(path) };
            let file = if is_unread { Found::Unread(damage) } else { Found::Damaged(damage) };
            return Ok(Opened { held: BTreeMap::new(), file });
        }
    };
    let mut rows = Rows::default();
    let found = examine(&connection, &mut rows, marked);
    let held = rows.good;
    let file = match found {
        Ok(commits) => {
            let mut file = QueueFile::new(connection, mark, commits, &held);
            // Whether it can be written is better known now than with the first batch.
            let written = file.commit(&[]);
            match written {
                Ok(()) => match file::sync_folder(first) {
                    Ok(()) => Found::InUse(file),
                    Err(error) => Found::Away(file, error.to_string()),
                },
                Err(error) if is_to_be_tried_again(&error) => Found::Away(file, error.to_string()),
                Err(error) => {
                    file.abandon();
                    damaged(error.to_string(), Some(0))
                }
            }
        }
        Err((why, lost)) => {
            file::abandon(connection);
            damaged(why, lost)
        }
    };
    Ok(Opened { held, file })
}

/// Makes the tables of a new file, and brings those of an older version up to this one.
fn begin(mut connection: Connection) -> rusqlite::Result<Connection> {
    let has = |table: &str| -> rusqlite::Result<bool> {
        let found = "SELECT count(*) FROM sqlite_schema WHERE name = ?";
        connection.query_row(found, [table], |row| row.get::<_, i64>(0)).map(|count| count > 0)
    };
    let is_new = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| {
        row.get::<_, i64>(0).map(|tables| tables == 0)
    })?;
    if is_new {
        file::make_tables(&connection)?;
    } else if has("batch")? && !has("queued")? {
        // Its rows have no checksums: they are taken as they are, once.
        let mut rows = Rows::default();
        let all = "SELECT row, from_site, partition, id, view, written_ms, bytes FROM batch";
        read(&connection, all, &mut rows, false)?;
        let transaction = connection.transaction()?;
        file::make_tables(&transaction)?;
        file::fill(&transaction, &rows.good, 0)?;
        transaction.execute_batch("DROP TABLE batch")?;
        transaction.commit()?;
    }
    Ok(connection)
}

/// Reads all rows. The number of commits, or what is wrong and how many batches that cost.
fn examine(
    connection: &Connection,
    rows: &mut Rows,
    marked: u64,
) -> Result<u64, (String, Option<u64>)> {
    let tally = tally(connection);
    let complete = read_all(connection, rows);
    let mut tally_found = Tally::default();
    rows.good.values().for_each(|held| tally_found.add(held.checksum()));
    let missing = |tally: &Tally| tally.rows.checked_sub(tally_found.rows);
    if let Err(error) = complete {
        let lost = tally.ok().flatten().as_ref().and_then(missing);
        return Err((error.to_string(), lost));
    }
    if rows.bad > 0 {
        let why = format!("{} rows are not what was written", rows.bad);
        return Err((why, Some(rows.bad)));
    }
    let tally = tally.map_err(|error| (format!("its tally cannot be read: {error}"), None))?;
    let tally = tally.ok_or_else(|| ("its tally is not what was written".to_owned(), None))?;
    if (tally.rows, tally.sum) != (tally_found.rows, tally_found.sum) {
        let why = format!("{} rows were written, {} are there", tally.rows, tally_found.rows);
        return Err((why, missing(&tally)));
    }
    if tally.commits < marked {
        let cut = marked - tally.commits;
        return Err((format!("its last {cut} commits are missing"), None));
    }
    let check = "PRAGMA quick_check(1)";
    match connection.query_row(check, [], |row| row.get::<_, String>(0)) {
        Ok(word) if word == "ok" => Ok(tally.commits),
        Ok(word) => Err((word, Some(0))),
        Err(error) => Err((error.to_string(), Some(0))),
    }
}

/// The tally; that of nothing in a file that is new. `None` for one that is not what was written.
fn tally(connection: &Connection) -> rusqlite::Result<Option<Tally>> {
    let select = "SELECT commits, rows, sum, checksum FROM tally WHERE one = 1";
    let found = connection.query_row(select, [], |row| {
        let number = |column| row.get::<_, i64>(column).map(i64::cast_unsigned);
        let tally = Tally { commits: number(0)?, rows: number(1)?, sum: number(2)? };
        let is_sound = number(3)? == tally.checksum();
        Ok(is_sound.then_some(tally))
    });
    match found {
        Err(rusqlite::Error::QueryReturnedNoRows) => Ok(Some(Tally::default())),
        Err(rusqlite::Error::InvalidColumnType(..)) => Ok(None),
        found => found,
    }
}

/// From both ends: a page that cannot be read costs what is on it and not what follows it.
fn read_all(connection: &Connection, rows: &mut Rows) -> rusqlite::Result<()> {
    let of = |order: &str| {
        format!(
            "SELECT row, from_site, partition, id, view, written_ms, bytes, checksum \
             FROM queued ORDER BY row {order}"
        )
    };
    read(connection, &of("ASC"), rows, true).inspect_err(|_| {
        // Its error says no more than the first one.
        drop(read(connection, &of("DESC"), rows, true));
    })
}

fn read(
    connection: &Connection,
    select: &str,
    rows: &mut Rows,
    is_checked: bool,
) -> rusqlite::Result<()> {
    let now = wall_time().0;
    let mut select = connection.prepare(select)?;
    let mut found = select.query([])?;
    while let Some(row) = found.next()? {
        match held(row, now, is_checked)? {
            Some(held) => drop(rows.good.insert(held.batch.row, held)),
            None => rows.bad += 1,
        }
    }
    Ok(())
}

/// `None` for a row that is not what was written. A value may be of any type then.
fn held(row: &Row<'_>, now: u64, is_checked: bool) -> rusqlite::Result<Option<Held>> {
    let number = |column| match row.get_ref(column)? {
        ValueRef::Integer(number) => Ok(Some(number)),
        ValueRef::Null | ValueRef::Real(_) | ValueRef::Text(_) | ValueRef::Blob(_) => Ok(None),
    };
    let numbers: rusqlite::Result<Vec<Option<i64>>> = (0..6).map(number).collect();
    let numbers: Option<Vec<i64>> = numbers?.into_iter().collect();
    let (Some(numbers), ValueRef::Blob(bytes)) = (numbers, row.get_ref(6)?) else {
        return Ok(None);
    };
    let (Ok(from), Ok(partition)) = (u16::try_from(numbers[1]), u16::try_from(numbers[2])) else {
        return Ok(None);
    };
    let written_ms = numbers[5].cast_unsigned();
    let batch = QueuedBatch {
        row: numbers[0].cast_unsigned(),
        from: SiteId(from),
        partition: PartitionId(partition),
        id: numbers[3].cast_unsigned(),
        view: ViewNumber(numbers[4].cast_unsigned()),
        waited: Duration::from_millis(now.saturating_sub(written_ms)),
        bytes: Bytes::copy_from_slice(bytes),
    };
    let held = Held { batch, written_ms };
    let is_good = !is_checked
        || match row.get_ref(7)? {
            ValueRef::Integer(checksum) => checksum.cast_unsigned() == held.checksum(),
            ValueRef::Null | ValueRef::Real(_) | ValueRef::Text(_) | ValueRef::Blob(_) => false,
        };
    Ok(is_good.then_some(held))
}
