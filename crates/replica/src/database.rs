//! The words between a replica and the database of long-lived call state.
//!
//! What the other side promises:
//!
//! - A key has one row. `Store` leaves the newer of the row that is there and the one that is
//!   brought, by stamp, and `Stored` says that one of the two is durable.
//! - Writes about one key are carried out in the order in which they were said. A read sees every
//!   write that was answered before it was asked for.
//! - Each row of a `Store` and each other ask is answered once, by a word or by [`Refused`]; a
//!   `Remove` that was carried out needs no answer. After a refusal nobody knows whether the ask
//!   was carried out. Each may be repeated.
//! - `Fetched` without a row means that there is none, or none that can be read. "I cannot say
//!   now" is a refusal.
//! - A row keeps the view of the replica that wrote it, the highest if several did. `Remove` and
//!   `Clear` leave rows of later views alone: what an earlier life asked may come late.
//!
//! Wall-clock times are the other side's business: here are durations only.

use std::time::Duration;

use bytes::Bytes;
use tier_protocol::SlotSet;
use vocab::{CallKey, Stamp, ViewNumber};

/// A record on its way to its row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpillRow {
    /// The call.
    pub key: CallKey,
    /// The record's stamp.
    pub stamp: Stamp,
    /// The encoded record.
    pub record: Bytes,
    /// Time since the put, as of the ask.
    pub age: Duration,
    /// From the put to the record's earliest deadline, for people and for statistics.
    pub deadline: Option<Duration>,
}

/// A row as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundRow {
    /// The record's stamp.
    pub stamp: Stamp,
    /// The encoded record.
    pub record: Bytes,
    /// Time since the put.
    pub age: Duration,
}

/// What a replica asks of the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatabaseAsk {
    /// Writes rows.
    Store {
        /// The view of the writer.
        view: ViewNumber,
        /// The rows.
        rows: Vec<SpillRow>,
    },
    /// Reads a row.
    Fetch {
        /// The call.
        key: CallKey,
        /// The stamp that is awaited; an older row is as good as none.
        stamp: Stamp,
    },
    /// Removes rows that are not newer than these stamps, nor of a later view.
    Remove {
        /// The view of the asker.
        view: ViewNumber,
        /// The calls.
        rows: Vec<(CallKey, Stamp)>,
    },
    /// Removes the rows of these slots that were written before this view: the partition begins
    /// anew, and nobody knows their calls.
    Clear {
        /// The slots.
        slots: SlotSet,
        /// The first view of the partition's new life.
        view: ViewNumber,
    },
}

/// What the database says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatabaseWord {
    /// Each of these records, or a newer one of its key, is durable.
    Stored {
        /// The calls, as they were asked for.
        rows: Vec<(CallKey, Stamp)>,
    },
    /// Answer to `Fetch`.
    Fetched {
        /// The call.
        key: CallKey,
        /// The stamp that the ask had: an ask that was given up may be answered late.
        asked: Stamp,
        /// The row, if there is one.
        row: Option<FoundRow>,
    },
    /// Answer to `Clear`.
    Cleared {
        /// The view that the ask had.
        view: ViewNumber,
    },
    /// An ask was not carried out, as far as is known.
    Refused(Refused),
    /// The database cannot be used: nothing is asked until it is `Back`.
    Away,
    /// It can be used again.
    Back,
}

/// What was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Rows of a `Store`.
    Store {
        /// Their calls.
        keys: Vec<CallKey>,
    },
    /// A `Fetch`.
    Fetch {
        /// Its call.
        key: CallKey,
    },
    /// A `Remove`, or a part of one: the rows stay until their partition begins anew.
    Remove,
    /// A `Clear`.
    Clear,
}
