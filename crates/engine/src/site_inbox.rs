//! Batches of other sites: each entry is stored dormant, then the batch may leave the queue.
//!
//! A batch is done when every entry was answered; one without room defers it as a whole, and the
//! queue offers it again. So is one that meets an engine with half of its room for SIP taken:
//! calls come before copies of calls. Repetition is harmless: stamps decide. No record is decoded
//! here. An entry that makes no sense costs no other: its call is told, and the batch is set aside
//! when the rest of it is stored.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use tier_protocol::batch::BadEntry;
use tier_protocol::{Command, DormantOutcome, EngineWord, Entry, StrikeKind, Superseded, batch};
use vocab::{CallKey, LockToken, PartitionId, ReplicaId, ViewNumber};

use crate::door::Output;
use crate::engine::Engine;

/// Batches that are being applied.
#[derive(Debug, Default)]
pub(crate) struct SiteInbox {
    batches: BTreeMap<u64, Batch>,
    /// Commands without an answer, all batches together.
    in_flight: usize,
}

#[derive(Debug, Default)]
struct Batch {
    waiting: VecDeque<Entry>,
    /// Entries that not everybody has answered, by call: at most one of a call at a time.
    in_flight: BTreeMap<CallKey, InFlight>,
    superseded: Vec<Superseded>,
    deferred: bool,
    /// Some of its entries could not be read: it is set aside in the end.
    poison: bool,
}

#[derive(Debug)]
struct InFlight {
    entry: Entry,
    answered: BTreeSet<ReplicaId>,
    /// What the primary said.
    outcome: Option<DormantOutcome>,
}

impl Batch {
    fn defer(&mut self) {
        self.deferred = true;
        self.waiting.clear();
    }

    fn is_over(&self) -> bool {
        self.waiting.is_empty() && self.in_flight.is_empty()
    }
}

impl Engine {
    /// Takes a batch off the queue.
    pub(crate) fn on_batch(&mut self, id: u64, bytes: &Bytes, waited: Duration) {
        if self.inbox.batches.contains_key(&id) {
            return;
        }
        let pressed = self.is_pressed();
        self.stats.batches_yielded += u64::from(pressed);
        let limits = &self.config.limits;
        if pressed || self.inbox.batches.len() >= limits.inbox_batches_max {
            self.stats.batches_deferred += 1;
            return self.push(Output::Gate(EngineWord::BatchDeferred { id }));
        }
        let (entries, bad) = match batch::decode_each(bytes, limits.inbox_batch_bytes_max) {
            Ok(read) => read,
            Err(_) => {
                self.stats.batches_poison += 1;
                let superseded = Vec::new();
                return self.push(Output::Gate(EngineWord::BatchPoison { id, superseded }));
            }
        };
        let poison = !bad.is_empty();
        for entry in bad {
            self.set_entry_aside(&entry);
        }
        let waiting = entries.into_iter().map(|entry| aged(entry, waited)).collect();
        self.inbox.batches.insert(id, Batch { waiting, poison, ..Batch::default() });
        self.go_on_with_batches();
    }

    /// Tells everybody of the entry's view that it makes no sense, as far as its call can be told.
    fn set_entry_aside(&mut self, entry: &BadEntry) {
        self.stats.entries_poison += 1;
        let Some(key) = entry.key else { return };
        let token = LockToken::default();
        let strike = self.strike(StrikeKind::Unreadable, token, &place(entry), &entry.bytes);
        self.tell_everybody(key, |view| Command::Poisoned { view, key, strike: strike.clone() });
    }

    /// A replica's answer to one entry. The primary's counts, when all have answered.
    pub(crate) fn on_dormant(
        &mut self,
        from: ReplicaId,
        is_primary: bool,
        key: CallKey,
        id: u64,
        said: DormantOutcome,
    ) {
        let everybody = self.map.everybody(key);
        let Some(batch) = self.inbox.batches.get_mut(&id) else { return };
        let Some(entry) = batch.in_flight.get_mut(&key) else { return };
        entry.answered.insert(from);
        if is_primary || said == DormantOutcome::Full {
            entry.outcome = Some(said);
        }
        let Some(outcome) = entry.outcome.filter(|_| everybody.is_subset(&entry.answered)) else {
            return;
        };
        batch.in_flight.remove(&key);
        self.inbox.in_flight -= 1;
        match outcome {
            DormantOutcome::Stored => self.stats.entries_stored += 1,
            DormantOutcome::Stale => self.stats.entries_stale += 1,
            DormantOutcome::Superseded { held } => {
                self.stats.entries_superseded += 1;
                batch.superseded.push(Superseded { key, epoch: held });
            }
            DormantOutcome::Full => batch.defer(),
        }
        self.go_on_with_batches();
    }

    /// The link to a partition broke: its answers do not come.
    pub(crate) fn defer_batches(&mut self, partition: PartitionId) {
        let map = &self.map;
        let inbox = &mut self.inbox;
        for batch in inbox.batches.values_mut() {
            let before = batch.in_flight.len();
            batch.in_flight.retain(|key, _| map.find(*key).0 != partition);
            inbox.in_flight -= before - batch.in_flight.len();
            let waits = batch.waiting.iter().any(|entry| map.find(entry.key()).0 == partition);
            if waits || batch.in_flight.len() < before {
                batch.defer();
            }
        }
        self.go_on_with_batches();
    }

    /// The member that was asked to store this call serves an older view.
    pub(crate) fn defer_batches_with(&mut self, key: CallKey) {
        let inbox = &mut self.inbox;
        for batch in inbox.batches.values_mut() {
            if batch.in_flight.remove(&key).is_some() {
                inbox.in_flight -= 1;
                batch.defer();
            }
        }
        self.go_on_with_batches();
    }

    /// Says what the partition has not answered again, in its new view.
    pub(crate) fn repeat_batches(&mut self, partition: PartitionId) {
        let mut commands = Vec::new();
        for (id, batch) in &self.inbox.batches {
            for (key, entry) in &batch.in_flight {
                if self.map.find(*key).0 == partition {
                    commands.push((*key, *id, entry.entry.clone()));
                }
            }
        }
        for (key, id, entry) in commands {
            self.tell_everybody(key, |view| command(&entry, id, view));
        }
    }

    /// Sends as many entries as may be in flight, and ends the batches that are over.
    fn go_on_with_batches(&mut self) {
        let ids: Vec<u64> = self.inbox.batches.keys().copied().collect();
        for id in ids {
            while let Some(entry) = self.next_entry(id) {
                self.tell_everybody(entry.key(), |view| command(&entry, id, view));
            }
            let over = self.inbox.batches.get(&id).is_some_and(Batch::is_over);
            if let Some(batch) = over.then(|| self.inbox.batches.remove(&id)).flatten() {
                self.end_batch(id, batch);
            }
        }
    }

    fn next_entry(&mut self, id: u64) -> Option<Entry> {
        let pressed = self.is_pressed();
        let batch = self.inbox.batches.get_mut(&id)?;
        let key = batch.waiting.front()?.key();
        if pressed || !self.map.is_within_reach(key) {
            self.stats.batches_yielded += u64::from(pressed);
            batch.defer();
            return None;
        }
        let full = self.inbox.in_flight >= self.config.limits.inbox_commands_max;
        if full || batch.in_flight.contains_key(&key) {
            return None;
        }
        let entry = batch.waiting.pop_front()?;
        let (answered, outcome) = (BTreeSet::new(), None);
        batch.in_flight.insert(key, InFlight { entry: entry.clone(), answered, outcome });
        self.inbox.in_flight += 1;
        Some(entry)
    }

    fn end_batch(&mut self, id: u64, batch: Batch) {
        let word = if batch.deferred {
            self.stats.batches_deferred += 1;
            EngineWord::BatchDeferred { id }
        } else if batch.poison {
            self.stats.batches_poison += 1;
            EngineWord::BatchPoison { id, superseded: batch.superseded }
        } else {
            self.stats.batches_done += 1;
            EngineWord::BatchDone { id, superseded: batch.superseded }
        };
        self.push(Output::Gate(word));
    }
}

/// Where an entry stands that makes no sense, and why.
fn place(entry: &BadEntry) -> String {
    format!("entry {} of a batch: {}", entry.index, entry.why)
}

/// The entry with its wait on the queue added to its age.
fn aged(mut entry: Entry, waited: Duration) -> Entry {
    match &mut entry {
        Entry::Record(record) => record.header.age = record.header.age.saturating_add(waited),
        Entry::Tombstone(_) => {}
    }
    entry
}

fn command(entry: &Entry, batch: u64, view: ViewNumber) -> Command {
    match entry {
        Entry::Record(record) => Command::StoreDormant { view, batch, record: record.clone() },
        Entry::Tombstone(tombstone) => {
            Command::StoreTombstone { view, batch, tombstone: *tombstone }
        }
    }
}
