//! Orders on their way: the room that they take, and the transactions that are made of them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tier_protocol::SlotSet;
use vocab::{CallKey, Slot, Stamp, ViewNumber};

use super::{Refusal, Refused, Row, Why};

/// What an order, or a row of one, takes beside its body.
pub(super) const ORDER_BYTES: usize = 256;
/// Rows of one transaction.
const BATCH_ROWS_MAX: usize = 1_000;
/// A transaction takes no further row after this.
const BATCH_BYTES_MAX: usize = 4 << 20;

pub(super) fn row_bytes(row: &Row) -> usize {
    ORDER_BYTES + row.body.len()
}

pub(super) fn names(rows: &[Row]) -> Vec<(CallKey, Stamp)> {
    rows.iter().map(|row| (row.key, row.stamp)).collect()
}

/// The bytes that wait for the database, with their bound.
#[derive(Debug)]
pub(super) struct Room {
    taken: Arc<AtomicUsize>,
    bytes_max: usize,
}

impl Room {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { taken: Arc::default(), bytes_max }
    }

    /// Takes room until what is returned is dropped. Only the owner takes, so that what it sees
    /// can only have become less.
    pub(super) fn take(&self, bytes: usize) -> Option<Taken> {
        if self.taken.load(Ordering::Relaxed).saturating_add(bytes) > self.bytes_max {
            return None;
        }
        self.taken.fetch_add(bytes, Ordering::Relaxed);
        Some(Taken { taken: Arc::clone(&self.taken), bytes })
    }

    #[cfg(test)]
    pub(super) fn bytes_taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }
}

/// The room that one order takes.
#[derive(Debug)]
pub(super) struct Taken {
    taken: Arc<AtomicUsize>,
    bytes: usize,
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.taken.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// An order of either sort.
#[derive(Debug)]
pub(super) enum Load {
    Write(Write),
    /// A call whose row is wanted.
    Read(CallKey, Stamp),
}

#[derive(Debug)]
pub(super) enum Write {
    Store(Vec<Row>),
    Remove(ViewNumber, Vec<(CallKey, Stamp)>),
    Clear(Box<SlotSet>, ViewNumber),
}

impl Load {
    pub(super) fn refused(&self, why: Why) -> Refusal {
        match self {
            Self::Write(write) => write.refused(why),
            Self::Read(key, _) => Refusal { what: Refused::Fetch { key: *key }, why },
        }
    }
}

impl Write {
    pub(super) fn refused(&self, why: Why) -> Refusal {
        let what = match self {
            Self::Store(rows) => Refused::Store(names(rows)),
            Self::Remove(_, rows) => Refused::Remove(rows.clone()),
            Self::Clear(..) => Refused::Clear,
        };
        Refusal { what, why }
    }
}

/// The runs of slots of a set, as columns: first and last of each.
pub(super) fn runs(slots: &SlotSet) -> Vec<(i16, i16)> {
    let mut runs: Vec<(i16, i16)> = Vec::new();
    for slot in slots.iter() {
        let column = i16::try_from(slot.0).unwrap_or(i16::MAX);
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == column => *last = column,
            _ => runs.push((column, column)),
        }
    }
    runs
}

/// Writes that wait for the transaction before them, one row each.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    writes: VecDeque<(One, Arc<Taken>)>,
}

#[derive(Debug)]
enum One {
    Store(Row),
    Remove(ViewNumber, CallKey, Stamp),
    Clear(Box<SlotSet>, ViewNumber),
}

impl Backlog {
    pub(super) fn push(&mut self, write: Write, taken: Taken) {
        let taken = Arc::new(taken);
        let with = |one| (one, Arc::clone(&taken));
        match write {
            Write::Store(rows) => self.writes.extend(rows.into_iter().map(One::Store).map(with)),
            Write::Remove(view, rows) => {
                let ones = rows.into_iter().map(|(key, stamp)| One::Remove(view, key, stamp));
                self.writes.extend(ones.map(with));
            }
            Write::Clear(slots, view) => self.writes.push_back((One::Clear(slots, view), taken)),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// Enough for a transaction that is as large as it may be.
    pub(super) fn is_plenty(&self) -> bool {
        self.writes.len() >= BATCH_ROWS_MAX
    }

    /// The next transaction, or the next removal of whole slots. A transaction ends before a row
    /// whose key it has a removal of.
    pub(super) fn next_job(&mut self) -> Option<Job> {
        if let Some((One::Clear(slots, view), taken)) =
            self.writes.pop_front_if(|(one, _)| matches!(one, One::Clear(..)))
        {
            return Some(Job::Clear(Clearing { slots, view, taken }));
        }
        let mut batch = Batch::default();
        let mut bytes = 0;
        while batch.stored.len() + batch.removed.len() < BATCH_ROWS_MAX && bytes < BATCH_BYTES_MAX {
            let Some((one, taken)) = self.writes.pop_front_if(|(one, _)| batch.takes(one)) else {
                break;
            };
            match one {
                One::Store(row) => {
                    bytes += row_bytes(&row);
                    batch.store(row, taken);
                }
                One::Remove(view, key, stamp) => {
                    batch.removed.push((key, stamp));
                    batch.room_of_removed.push(taken);
                    batch.removals.insert((key.slot(), key), (stamp, view));
                }
                One::Clear(..) => debug_assert!(false, "no transaction takes it"),
            }
        }
        (!batch.is_empty()).then_some(Job::Batch(batch))
    }

    /// A removal of whole slots goes on.
    pub(super) fn put_back(&mut self, Clearing { slots, view, taken }: Clearing) {
        self.writes.push_front((One::Clear(slots, view), taken));
    }
}

/// What is done at a time.
#[derive(Debug)]
pub(super) enum Job {
    Batch(Batch),
    Clear(Clearing),
}

impl Job {
    pub(super) fn refused(self, why: Why) -> Vec<Refusal> {
        match self {
            Self::Batch(batch) => batch.refused(why).collect(),
            Self::Clear(_) => vec![Refusal { what: Refused::Clear, why }],
        }
    }
}

/// A removal of whole slots, done in several transactions.
#[derive(Debug)]
pub(super) struct Clearing {
    pub(super) slots: Box<SlotSet>,
    pub(super) view: ViewNumber,
    taken: Arc<Taken>,
}

/// One transaction: the stores, then the removals. Every writer takes rows in the order of slots
/// and keys, so that no two wait for each other in a circle.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// The newest row of each key.
    pub(super) stores: BTreeMap<(Slot, CallKey), Row>,
    pub(super) removals: BTreeMap<(Slot, CallKey), (Stamp, ViewNumber)>,
    /// All that was asked, for the answer.
    stored: Vec<(CallKey, Stamp)>,
    removed: Vec<(CallKey, Stamp)>,
    /// The room of both, which is free before they are answered.
    room_of_stored: Vec<Arc<Taken>>,
    room_of_removed: Vec<Arc<Taken>>,
}

impl Batch {
    fn is_empty(&self) -> bool {
        self.stored.is_empty() && self.removed.is_empty()
    }

    /// Of one key it does the stores before a removal, and one removal.
    fn takes(&self, one: &One) -> bool {
        match one {
            One::Store(Row { key, .. }) | One::Remove(_, key, _) => {
                !self.removals.contains_key(&(key.slot(), *key))
            }
            One::Clear(..) => false,
        }
    }

    fn store(&mut self, mut row: Row, taken: Arc<Taken>) {
        self.stored.push((row.key, row.stamp));
        self.room_of_stored.push(taken);
        let place = (row.key.slot(), row.key);
        if let Some(kept) = self.stores.get_mut(&place) {
            let view = kept.view.max(row.view);
            if kept.stamp >= row.stamp {
                kept.view = view;
                return;
            }
            row.view = view;
        }
        self.stores.insert(place, row);
    }

    /// What is answered now that the stores are done.
    pub(super) fn take_stored(&mut self) -> Vec<(CallKey, Stamp)> {
        self.room_of_stored.clear();
        std::mem::take(&mut self.stored)
    }

    /// What is answered now that the removals are done.
    pub(super) fn take_removed(&mut self) -> Vec<(CallKey, Stamp)> {
        self.room_of_removed.clear();
        std::mem::take(&mut self.removed)
    }

    /// What is left of it, refused.
    pub(super) fn refused(self, why: Why) -> impl Iterator<Item = Refusal> {
        let stored = (!self.stored.is_empty()).then_some(Refused::Store(self.stored));
        let removed = (!self.removed.is_empty()).then_some(Refused::Remove(self.removed));
        stored.into_iter().chain(removed).map(move |what| Refusal { what, why })
    }
}

#[cfg(test)]
mod tests;
