//! The database of long-lived call state: records that are steady for long leave the RAM for it.
//!
//! It takes no decision: it carries the orders of the state tier's owner and answers each, into the
//! owner's own channel of events. The owner never waits here. An order that finds no room is
//! refused at once, by [`Database::order`] itself; one that finds the database away is refused as
//! soon as that is known, and for PostgreSQL a statement that gets no answer is given up after
//! `database.timeout_ms`.
//!
//! ```text
//! order ─► writes ─► one writer: what waits together is one transaction ─► Stored, Removed
//!      │                                                                   Cleared
//!      └─► reads ──► readers ────────────────────────────────────────────► Fetched
//! ```
//!
//! - **Only a newer stamp replaces a row**, and that is SQL, so that any number of replicas may
//!   write the same rows in any order and as often as they like. Columns are in `row`.
//! - Writes about one key are carried out as they were ordered. A read does not wait for writes
//!   that were not answered when it was ordered, and sees all that were.
//! - A row keeps the highest view of its writers, and removals leave rows of later views alone:
//!   what a replica ordered before it was voted out may come late.
//! - After a refusal it is not known whether the order was carried out. To give it again is
//!   harmless.
//! - A removal leaves nothing behind that forbids older rows: that is the tombstones' business, in
//!   the replica.

mod postgres;
mod row;
mod sqlite;
mod work;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use tier_protocol::SlotSet;
use tokio::sync::mpsc;
use vocab::{CallKey, SiteId, Stamp, ViewNumber, WallTime};

use crate::config::Config;
use crate::config::database::DatabaseUrl;
use work::{Load, Room, Write};

/// Bytes that may wait for the database in orders. An order that would exceed it is refused.
pub(crate) const WAITING_BYTES_MAX: usize = 64 << 20;
/// Rows that one transaction of a `Clear` removes.
const CLEAR_ROWS: i64 = 2_000;
/// What the tables look like; written into them.
const SCHEMA_VERSION: i32 = 1;

/// One record, as it lies in the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) key: CallKey,
    pub(crate) stamp: Stamp,
    /// Of its writer, the highest if there were several. Numbers above 2^63 - 1 are taken as that.
    pub(crate) view: ViewNumber,
    /// The encoded record; opaque.
    pub(crate) body: Bytes,
    /// When the record was put. Later moments than 2^63 - 1 ms are taken as that.
    pub(crate) put_at: WallTime,
    /// The record's earliest deadline.
    pub(crate) deadline: Option<WallTime>,
}

/// What the owner wants of the database.
#[derive(Clone, Debug)]
pub(crate) enum Order {
    Store {
        rows: Vec<Row>,
    },
    /// The stamp comes back with the answer, and means nothing here.
    Fetch {
        key: CallKey,
        stamp: Stamp,
    },
    /// Removes the rows that are neither newer than these stamps nor of a later view.
    Remove {
        view: ViewNumber,
        rows: Vec<(CallKey, Stamp)>,
    },
    /// Removes the rows of these slots that are of an earlier view.
    Clear {
        slots: SlotSet,
        view: ViewNumber,
    },
}

/// What the database says. Each key of an order is answered once: here or with a refusal. The
/// room that the order took is free by then.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Each of these rows, or a newer one of its key, is on disk.
    Stored(Vec<(CallKey, Stamp)>),
    /// `None`: there is no row.
    Fetched {
        key: CallKey,
        asked: Stamp,
        row: Option<Row>,
    },
    /// No row that these were about is left.
    Removed(Vec<(CallKey, Stamp)>),
    Cleared {
        view: ViewNumber,
    },
    /// A row's checksum is wrong: it is set aside and never served. It answers a fetch.
    Corrupt {
        key: CallKey,
        asked: Stamp,
    },
    Refused(Refusal),
    /// The database cannot be used since then; told once, until it is `Back`.
    Away {
        since: WallTime,
    },
    Back,
}

/// An order, or a part of one, that was not carried out as far as is known.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) what: Refused,
    pub(crate) why: Why,
}

/// What was refused.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    Store(Vec<(CallKey, Stamp)>),
    Fetch { key: CallKey },
    Remove(Vec<(CallKey, Stamp)>),
    Clear,
}

/// Why it was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// Too much waits already.
    Full,
    /// The database cannot be reached, or did not answer in time.
    Away,
    /// The database answered, and did not do it; the log says why.
    Failed,
}

/// Which database, and how to use it.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) site: SiteId,
    pub(crate) place: Place,
    /// Connections of this process.
    pub(crate) pool: usize,
    /// For one statement.
    pub(crate) timeout: Duration,
}

/// Where the tables are.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// A file of this process alone.
    Sqlite(PathBuf),
    /// A server that all replicas of the site share.
    Postgres(Box<tokio_postgres::Config>),
}

impl Settings {
    /// What the configuration says; `None` without a `[database]` section.
    pub(crate) fn of(config: &Config) -> Option<Self> {
        let database = config.database.as_ref()?;
        let place = match database.url().ok()? {
            DatabaseUrl::Sqlite => {
                let data_dir = config.site.data_dir.as_ref()?;
                Place::Sqlite(data_dir.join("calls.sqlite"))
            }
            DatabaseUrl::Postgres(mut server) => {
                if let Some(password) = &database.password {
                    server.password(&password.0);
                }
                Place::Postgres(server)
            }
        };
        Some(Self {
            site: SiteId(config.site.id),
            place,
            pool: database.pool,
            timeout: Duration::from_millis(database.timeout_ms),
        })
    }
}

/// Why a database is not used at all. One that is merely away is no such reason.
#[derive(Debug)]
pub(crate) enum OpenError {
    /// A newer program wrote the tables.
    Newer { found: i32 },
    /// The file, the server or its rights do not allow it.
    Refused(String),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Newer { found } => write!(
                f,
                "the database has schema version {found}, and this program knows up to \
                 {SCHEMA_VERSION}; run the newer program, or give this one a database of its own"
            ),
            Self::Refused(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for OpenError {}

/// Steps from the schema version that was found to the one that is known.
fn migrations<'a>(found: i32, all: &[&'a str]) -> Result<Vec<&'a str>, OpenError> {
    let done = usize::try_from(found).unwrap_or(usize::MAX);
    all.get(done..).map(<[&str]>::to_vec).ok_or(OpenError::Newer { found })
}

/// The way to the database.
#[derive(Debug)]
pub(crate) struct Database {
    way: Way,
    room: Room,
}

#[derive(Debug)]
enum Way {
    Sqlite(sqlite::Orders),
    Postgres(postgres::Orders),
}

impl Database {
    /// Opens the database, makes or migrates its tables, and starts the thread that uses it.
    /// Blocks for `settings.timeout` at most when a server does not answer; it is `Away` then, and
    /// is tried again until it is there.
    ///
    /// The thread ends when this is dropped and what was ordered is answered.
    pub(crate) fn open<E>(settings: &Settings, answers: mpsc::Sender<E>) -> Result<Self, OpenError>
    where
        E: From<Answer> + Send + 'static,
    {
        let way = match &settings.place {
            Place::Sqlite(file) => Way::Sqlite(sqlite::open(file, settings.timeout, answers)?),
            Place::Postgres(server) => Way::Postgres(postgres::open(server, settings, answers)?),
        };
        Ok(Self { way, room: Room::new(WAITING_BYTES_MAX) })
    }

    /// Takes an order, or refuses it at once; it never waits. An order alone that is larger than
    /// [`WAITING_BYTES_MAX`] is always refused.
    pub(crate) fn order(&self, order: Order) -> Result<(), Refusal> {
        let Some(taken) = self.room.take(order.bytes()) else {
            return Err(order.refused(Why::Full));
        };
        let load = match order {
            Order::Store { rows } => Load::Write(Write::Store(rows)),
            Order::Remove { view, rows } => Load::Write(Write::Remove(view, rows)),
            Order::Clear { slots, view } => Load::Write(Write::Clear(Box::new(slots), view)),
            Order::Fetch { key, stamp } => Load::Read(key, stamp),
        };
        let back = match &self.way {
            Way::Sqlite(orders) => orders.send((load, taken)),
            Way::Postgres(orders) => orders.send((load, taken)),
        };
        // The thread is gone only if it panicked.
        back.map_err(|load| load.refused(Why::Away))
    }
}

impl Order {
    fn bytes(&self) -> usize {
        match self {
            Self::Store { rows } => rows.iter().map(work::row_bytes).sum(),
            Self::Remove { rows, .. } => work::ORDER_BYTES * rows.len(),
            Self::Fetch { .. } | Self::Clear { .. } => work::ORDER_BYTES,
        }
    }

    fn refused(self, why: Why) -> Refusal {
        let what = match self {
            Self::Store { rows } => Refused::Store(work::names(&rows)),
            Self::Fetch { key, .. } => Refused::Fetch { key },
            Self::Remove { view: _, rows } => Refused::Remove(rows),
            Self::Clear { .. } => Refused::Clear,
        };
        Refusal { what, why }
    }
}

#[cfg(test)]
mod tests;
