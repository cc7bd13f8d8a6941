//! One file of the queue: its rows with a checksum each, their tally, and a file in its place.
//!
//! SQLite has no checksum over its pages. So each row has one over all its columns, and a tally has
//! their number and sum, written in each commit: a row that was changed, or that vanished, is
//! noticed.
//!
//! Files have numbers: `queue.sqlite` is the first, `queue.1.sqlite` takes its place. The highest
//! one counts. It gets its name when it is complete and synced.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::hash::Hasher;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use replica::gate::QueuedBatch;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, Transaction, params};
use siphasher::sip::SipHasher13;

use super::mark::Mark;

/// Bytes of commits after which the write-ahead log is copied into the file, and begins anew.
const CHECKPOINT_BYTES: usize = 4 << 20;
/// What a commit takes beside its payload, roughly: a page of the tally, one of the table.
const COMMIT_BYTES: usize = 2 * 4_096;
/// Files that were put aside and are kept.
const KEPT_MAX: usize = 2;
/// Batches that were set aside and are kept, and bytes of them; the oldest make room.
const ASIDE_BATCHES_MAX: i64 = 10_000;
const ASIDE_BYTES_MAX: i64 = 256 << 20;

const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS queued (
        row INTEGER PRIMARY KEY, from_site INTEGER NOT NULL, partition INTEGER NOT NULL,
        id INTEGER NOT NULL, view INTEGER NOT NULL, written_ms INTEGER NOT NULL,
        bytes BLOB NOT NULL, checksum INTEGER NOT NULL);
    CREATE TABLE IF NOT EXISTS set_aside (
        row INTEGER PRIMARY KEY, from_site INTEGER NOT NULL, partition INTEGER NOT NULL,
        id INTEGER NOT NULL, view INTEGER NOT NULL, written_ms INTEGER NOT NULL,
        bytes BLOB NOT NULL);
    CREATE TABLE IF NOT EXISTS tally (
        one INTEGER PRIMARY KEY, commits INTEGER NOT NULL, rows INTEGER NOT NULL,
        sum INTEGER NOT NULL, checksum INTEGER NOT NULL);
";

/// A batch that the file holds, or is to hold.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) batch: QueuedBatch,
    pub(super) written_ms: u64,
}

impl Held {
    /// Over all that a row says.
    pub(super) fn checksum(&self) -> u64 {
        let QueuedBatch { row, from, partition, id, view, waited: _, bytes } = &self.batch;
        let mut hasher = SipHasher13::new();
        for number in [*row, from.0.into(), partition.0.into(), *id, view.0, self.written_ms] {
            hasher.write_u64(number);
        }
        hasher.write_u64(bytes.len() as u64);
        hasher.write(bytes);
        hasher.finish()
    }
}

/// What a commit does.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Put(Held),
    Remove(u64),
    Aside(Held),
}

impl Change {
    pub(super) fn appended(&self) -> Option<u64> {
        match self {
            Self::Put(held) => Some(held.batch.row),
            Self::Remove(_) | Self::Aside(_) => None,
        }
    }
}

/// What all rows together are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) commits: u64,
    pub(super) rows: u64,
    pub(super) sum: u64,
}

impl Tally {
    pub(super) fn add(&mut self, checksum: u64) {
        self.rows += 1;
        self.sum = self.sum.wrapping_add(checksum);
    }

    pub(super) fn checksum(&self) -> u64 {
        let mut hasher = SipHasher13::new();
        hasher.write(b"tally");
        [self.commits, self.rows, self.sum].into_iter().for_each(|one| hasher.write_u64(one));
        hasher.finish()
    }

    fn take(&mut self, checksum: u64) {
        self.rows -= 1;
        self.sum = self.sum.wrapping_sub(checksum);
    }
}

/// A file that is in use.
#[derive(Debug)]
pub(super) struct QueueFile {
    connection: Connection,
    mark: Mark,
    tally: Tally,
    /// The checksum of each row.
    checksums: BTreeMap<u64, u64>,
    /// Written since the last checkpoint, roughly.
    fresh_bytes: usize,
}

impl QueueFile {
    /// A file whose rows are known to be these.
    pub(super) fn new(
        connection: Connection,
        mark: Mark,
        commits: u64,
        held: &BTreeMap<u64, Held>,
    ) -> Self {
        let checksums: BTreeMap<u64, u64> =
            held.iter().map(|(row, held)| (*row, held.checksum())).collect();
        let mut tally = Tally { commits, ..Tally::default() };
        checksums.values().for_each(|checksum| tally.add(*checksum));
        Self { connection, mark, tally, checksums, fresh_bytes: 0 }
    }

    /// Carries all of them out and syncs them, or none.
    pub(super) fn commit(&mut self, changes: &[Change]) -> rusqlite::Result<()> {
        let mut tally = self.tally;
        let mut known = BTreeMap::new();
        let transaction = self.connection.transaction()?;
        for change in changes {
            let (row, checksum) = match change {
                Change::Put(held) => (held.batch.row, Some(held.checksum())),
                Change::Remove(row) => (*row, None),
                Change::Aside(held) => (held.batch.row, None),
            };
            write(&transaction, change)?;
            let before = known.get(&row).copied().unwrap_or(self.checksums.get(&row).copied());
            before.into_iter().for_each(|before| tally.take(before));
            checksum.into_iter().for_each(|checksum| tally.add(checksum));
            known.insert(row, checksum);
        }
        tally.commits += 1;
        put_tally(&transaction, tally)?;
        transaction.commit()?;
        self.tally = tally;
        self.mark.put(tally.commits);
        for (row, checksum) in known {
            self.checksums.remove(&row);
            self.checksums.extend(checksum.map(|checksum| (row, checksum)));
        }
        self.fresh_bytes += COMMIT_BYTES + changes.iter().map(bytes_of).sum::<usize>();
        Ok(())
    }

    /// Copies the log into the file when it is long. SQLite would do that within a commit, and
    /// keep to itself that it failed.
    pub(super) fn checkpoint(&mut self) -> rusqlite::Result<()> {
        if self.fresh_bytes < CHECKPOINT_BYTES {
            return Ok(());
        }
        self.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?;
        self.fresh_bytes = 0;
        Ok(())
    }

    /// Closes the file as it is: it is not trusted any more, and nothing is written to it.
    pub(super) fn abandon(self) {
        let Self { connection, mark: _, tally: _, checksums: _, fresh_bytes: _ } = self;
        abandon(connection);
    }
}

pub(super) fn abandon(connection: Connection) {
    // Where that is refused, a checkpoint does no harm: the file is read no more.
    drop(connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true));
    drop(connection.close());
}

fn bytes_of(change: &Change) -> usize {
    match change {
        Change::Put(held) | Change::Aside(held) => held.batch.bytes.len(),
        Change::Remove(_) => 0,
    }
}

/// Opens a file for use: durable with each commit.
pub(super) fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    // With a write-ahead log a commit is one sync, of the log; `FULL` is that each one is synced.
    // Nobody else uses the file, so the index of the log needs no room on the disk.
    connection.execute_batch(
        "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
         PRAGMA wal_autocheckpoint = 0;",
    )?;
    Ok(connection)
}

pub(super) fn make_tables(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(TABLES)
}

/// Where the mark of this queue is.
pub(super) fn mark_path(first: &Path) -> PathBuf {
    first.with_extension("mark")
}

fn numbered(first: &Path, number: u64) -> PathBuf {
    match number {
        0 => first.into(),
        _ => first.with_extension(format!("{number}.sqlite")),
    }
}

/// The files of the queue, by their numbers.
fn all(first: &Path) -> io::Result<BTreeMap<u64, PathBuf>> {
    let stem = first.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let mut found = BTreeMap::new();
    if first.try_exists()? {
        found.insert(0, first.into());
    }
    for entry in fs::read_dir(first.parent().unwrap_or(Path::new(".")))? {
        let name = entry?.file_name();
        let number = name
            .to_str()
            .and_then(|name| name.strip_prefix(stem)?.strip_prefix('.')?.strip_suffix(".sqlite"))
            .and_then(|number| number.parse().ok());
        found.extend(number.map(|number| (number, numbered(first, number))));
    }
    Ok(found)
}

/// The file that counts, and its number.
pub(super) fn newest(first: &Path) -> Option<(u64, PathBuf)> {
    all(first).ok()?.pop_last()
}

/// Makes the file that is to be used from here on: with what is held, and what is to be set aside.
pub(super) fn begin_again(
    first: &Path,
    held: &BTreeMap<u64, Held>,
    late: &[Change],
) -> Result<QueueFile, String> {
    let number = all(first).map_err(|error| error.to_string())?;
    let number = number.last_key_value().map_or(0, |(number, _)| number + 1);
    let (path, fresh) = (numbered(first, number), first.with_extension("fresh"));
    let (mut mark, marked) = Mark::open(&mark_path(first));
    let commits = marked + 1;
    write_fresh(&fresh, held, late, commits)?;
    let name = || -> io::Result<()> {
        fs::rename(&fresh, &path)?;
        sync_folder(first)
    };
    name().map_err(|error| error.to_string())?;
    forget_old(first, number);
    let connection = connect(&path).map_err(|error| error.to_string())?;
    mark.put(commits);
    Ok(QueueFile::new(connection, mark, commits, held))
}

/// Writes a whole file under a name that does not count yet.
fn write_fresh(
    fresh: &Path,
    held: &BTreeMap<u64, Held>,
    late: &[Change],
    commits: u64,
) -> Result<(), String> {
    for end in ["", "-journal", "-wal", "-shm"] {
        let mut left = fresh.as_os_str().to_owned();
        left.push(end);
        match fs::remove_file(&left) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.to_string()),
            Ok(()) | Err(_) => {}
        }
    }
    let write = || -> rusqlite::Result<Connection> {
        let mut connection = Connection::open(fresh)?;
        connection.execute_batch("PRAGMA journal_mode = DELETE; PRAGMA synchronous = FULL;")?;
        let transaction = connection.transaction()?;
        make_tables(&transaction)?;
        late.iter().try_for_each(|change| write(&transaction, change))?;
        fill(&transaction, held, commits)?;
        transaction.commit()?;
        Ok(connection)
    };
    let connection = write().map_err(|error| error.to_string())?;
    connection.close().map_err(|(_, error)| error.to_string())?;
    File::open(fresh).and_then(|file| file.sync_all()).map_err(|error| error.to_string())
}

/// Names that were given or taken are durable only once the folder is.
pub(super) fn sync_folder(first: &Path) -> io::Result<()> {
    File::open(first.parent().unwrap_or(Path::new(".")))?.sync_all()
}

/// Of the files that were put aside the newest are kept.
fn forget_old(first: &Path, number: u64) {
    let Ok(mut files) = all(first) else { return };
    files.remove(&number);
    while files.len() > KEPT_MAX {
        let Some((_, path)) = files.pop_first() else { return };
        for end in ["", "-wal", "-shm"] {
            let mut old = path.as_os_str().to_owned();
            old.push(end);
            // One that stays takes room, and is tried again next time.
            drop(fs::remove_file(old));
        }
    }
}

/// All rows of a table that is empty.
pub(super) fn fill(
    transaction: &Transaction<'_>,
    held: &BTreeMap<u64, Held>,
    commits: u64,
) -> rusqlite::Result<()> {
    let mut tally = Tally { commits, ..Tally::default() };
    for held in held.values() {
        put(transaction, held)?;
        tally.add(held.checksum());
    }
    put_tally(transaction, tally)
}

fn put_tally(transaction: &Transaction<'_>, tally: Tally) -> rusqlite::Result<()> {
    let Tally { commits, rows, sum } = tally;
    let numbers = [1, commits, rows, sum, tally.checksum()].map(u64::cast_signed);
    transaction
        .prepare_cached("INSERT OR REPLACE INTO tally VALUES (?, ?, ?, ?, ?)")?
        .execute(numbers)
        .map(drop)
}

fn write(transaction: &Transaction<'_>, change: &Change) -> rusqlite::Result<()> {
    match change {
        Change::Put(held) => put(transaction, held),
        Change::Remove(row) => remove(transaction, *row),
        Change::Aside(held) => {
            set_aside(transaction, held)?;
            remove(transaction, held.batch.row)
        }
    }
}

fn put(transaction: &Transaction<'_>, held: &Held) -> rusqlite::Result<()> {
    let batch = &held.batch;
    transaction
        .prepare_cached("INSERT OR REPLACE INTO queued VALUES (?, ?, ?, ?, ?, ?, ?, ?)")?
        .execute(params![
            batch.row.cast_signed(),
            batch.from.0,
            batch.partition.0,
            batch.id.cast_signed(),
            batch.view.0.cast_signed(),
            held.written_ms.cast_signed(),
            &batch.bytes[..],
            held.checksum().cast_signed(),
        ])
        .map(drop)
}

fn remove(transaction: &Transaction<'_>, row: u64) -> rusqlite::Result<()> {
    let mut delete = transaction.prepare_cached("DELETE FROM queued WHERE row = ?")?;
    delete.execute([row.cast_signed()]).map(drop)
}

fn set_aside(transaction: &Transaction<'_>, held: &Held) -> rusqlite::Result<()> {
    let batch = &held.batch;
    transaction
        .prepare_cached("INSERT OR REPLACE INTO set_aside VALUES (?, ?, ?, ?, ?, ?, ?)")?
        .execute(params![
            batch.row.cast_signed(),
            batch.from.0,
            batch.partition.0,
            batch.id.cast_signed(),
            batch.view.0.cast_signed(),
            held.written_ms.cast_signed(),
            &batch.bytes[..],
        ])?;
    // The running sum, from the newest on, of what is kept.
    transaction
        .prepare_cached(
            "DELETE FROM set_aside WHERE row IN (SELECT row FROM (
                 SELECT row, row_number() OVER newest AS place,
                     sum(length(bytes)) OVER newest AS total
                 FROM set_aside WINDOW newest AS (ORDER BY row DESC))
             WHERE place > ? OR (total > ? AND place > 1))",
        )?
        .execute([ASIDE_BATCHES_MAX, ASIDE_BYTES_MAX])
        .map(drop)
}
