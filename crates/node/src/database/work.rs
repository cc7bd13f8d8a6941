//! Orders on their way: the room that they take, and the transactions that are made of them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use vocab::{CallKey, Slot, Stamp};

use super::{PAGE_ROWS_MAX, Refusal, Refused, Row, Scan, Why};

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
    Read(Read),
}

#[derive(Debug)]
pub(super) enum Write {
    Store(Vec<Row>),
    Remove(CallKey, Stamp),
}

#[derive(Clone, Debug)]
pub(super) enum Read {
    Fetch { key: CallKey, ask: u64 },
    Scan(Scan),
}

impl Load {
    pub(super) fn refused(&self, why: Why) -> Refusal {
        match self {
            Self::Write(write) => write.refused(why),
            Self::Read(read) => read.refused(why),
        }
    }
}

impl Write {
    pub(super) fn refused(&self, why: Why) -> Refusal {
        let what = match self {
            Self::Store(rows) => Refused::Store(names(rows)),
            Self::Remove(key, stamp) => Refused::Remove(vec![(*key, *stamp)]),
        };
        Refusal { what, why }
    }
}

impl Read {
    pub(super) fn refused(&self, why: Why) -> Refusal {
        let what = match self {
            Self::Fetch { key, ask } => Refused::Fetch { key: *key, ask: *ask },
            Self::Scan(scan) => Refused::Scan { ask: scan.ask },
        };
        Refusal { what, why }
    }
}

impl Scan {
    /// The slot and key behind which its page begins; an empty key is before every other.
    pub(super) fn begins_after(&self) -> (i16, Vec<u8>) {
        let first = (*self.slots.start(), Vec::new());
        let after = self.after.map(|key| (key.slot(), key.0.to_vec()));
        let (slot, key) = after.map_or(first.clone(), |after| after.max(first));
        (column(slot), key)
    }

    pub(super) fn last_slot(&self) -> i16 {
        column(*self.slots.end())
    }

    pub(super) fn rows_max(&self) -> u16 {
        u16::try_from(self.limit).unwrap_or(u16::MAX).clamp(1, PAGE_ROWS_MAX)
    }
}

fn column(slot: Slot) -> i16 {
    i16::try_from(slot.0).unwrap_or(i16::MAX)
}

/// Writes that wait for the transaction before them, one row each.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    writes: VecDeque<(One, Arc<Taken>)>,
}

#[derive(Debug)]
enum One {
    Store(Row),
    Remove(CallKey, Stamp),
}

impl Backlog {
    pub(super) fn push(&mut self, write: Write, taken: Taken) {
        let taken = Arc::new(taken);
        match write {
            Write::Store(rows) => {
                let ones = rows.into_iter().map(|row| (One::Store(row), Arc::clone(&taken)));
                self.writes.extend(ones);
            }
            Write::Remove(key, stamp) => self.writes.push_back((One::Remove(key, stamp), taken)),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// Enough for a transaction that is as large as it may be.
    pub(super) fn is_plenty(&self) -> bool {
        self.writes.len() >= BATCH_ROWS_MAX
    }

    /// The next transaction. It ends before a row that is stored after the removal of its key.
    pub(super) fn next_batch(&mut self) -> Batch {
        let mut batch = Batch::default();
        let mut bytes = 0;
        while batch.stored.len() + batch.removed.len() < BATCH_ROWS_MAX && bytes < BATCH_BYTES_MAX {
            let Some((one, taken)) = self.writes.pop_front() else { break };
            match one {
                One::Store(row) => {
                    let place = (row.key.slot(), row.key);
                    if batch.removals.contains_key(&place) {
                        self.writes.push_front((One::Store(row), taken));
                        break;
                    }
                    bytes += row_bytes(&row);
                    batch.stored.push((row.key, row.stamp));
                    batch.room_of_stored.push(taken);
                    let kept = batch.stores.get(&place);
                    if kept.is_none_or(|kept| kept.stamp < row.stamp) {
                        batch.stores.insert(place, row);
                    }
                }
                One::Remove(key, stamp) => {
                    batch.removed.push((key, stamp));
                    batch.room_of_removed.push(taken);
                    let due = batch.removals.entry((key.slot(), key)).or_insert(stamp);
                    *due = stamp.max(*due);
                }
            }
        }
        batch
    }
}

/// One transaction: the stores, then the removals. Every writer takes rows in the order of slots
/// and keys, so that no two wait for each other in a circle.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// The newest row of each key.
    pub(super) stores: BTreeMap<(Slot, CallKey), Row>,
    pub(super) removals: BTreeMap<(Slot, CallKey), Stamp>,
    /// All that was asked, for the answer.
    stored: Vec<(CallKey, Stamp)>,
    removed: Vec<(CallKey, Stamp)>,
    /// The room of both, which is free before they are answered.
    room_of_stored: Vec<Arc<Taken>>,
    room_of_removed: Vec<Arc<Taken>>,
}

impl Batch {
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
