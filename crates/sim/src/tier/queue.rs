//! The durable queue of a site as `node` uses it: messages with numbers of their own, which outlive
//! every process, and a way to them for whoever keeps the gate.
//!
//! What a process ordered before it died, or kept the gate no more, may be carried out later. What
//! it appended then is found by the one that keeps the gate now, as its number is unaccounted for.
//! An append without an answer counts as refused, and is removed when it is found.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use replica::gate::{GateInput, QueuedBatch};
use vocab::Instant;

use super::event::{Event, Node};
use super::world::World;
use crate::rng::Rng;

/// Way of an order, or of an answer, microseconds.
const WAY: (u64, u64) = (200, 8_000);
/// The same while it is slow.
const SLOW_WAY: (u64, u64) = (50_000, 4_000_000);
/// How often its newest number is asked for.
const ASK_EVERY: Duration = Duration::from_secs(1);
const TIMEOUT: Duration = Duration::from_secs(2);
/// Orders of a dead process that are carried out, of 1,000.
const LATE_AND_DONE: u64 = 600;
/// Appends without an answer that are stored all the same, of 1,000.
const REFUSED_AND_STORED: u64 = 500;
/// Messages that may come again, long after they left.
const HISTORY: usize = 200;

/// Which append a message is of: the opening, and the row there.
type Key = (u64, u64);

#[derive(Clone, Debug)]
struct Message {
    key: Key,
    batch: QueuedBatch,
    written_at: Instant,
}

/// A site's queue.
#[derive(Debug)]
pub(crate) struct Queue {
    messages: BTreeMap<u64, Message>,
    newest: u64,
    /// Batches that it takes.
    batches_max: usize,
    pub(crate) away_until: Instant,
    pub(crate) slow_until: Instant,
    /// What it had lately.
    history: Vec<Message>,
    rng: Rng,
}

/// A process's way to the queue: what it knows of the numbers.
#[derive(Debug)]
pub(crate) struct Client {
    opening: u64,
    is_loaded: bool,
    /// Where each row is.
    held: BTreeMap<u64, (u64, Key)>,
    last_row: u64,
    /// Accounted for up to this number, and our own above it.
    up_to: u64,
    ours: BTreeSet<u64>,
    /// The newest number when it was last asked for.
    asked: u64,
    /// Appends that were refused and may be there all the same.
    doubts: BTreeSet<Key>,
}

/// What a process wants of the queue.
#[derive(Clone, Debug)]
pub(crate) enum QueueWork {
    Load,
    Append(QueuedBatch),
    Remove(u64),
    /// A removal by number, of what its process looked up before.
    RemoveAt(u64),
    /// What is there that is not ours?
    Ask,
}

/// What the queue answers.
#[derive(Clone, Debug)]
pub(crate) enum QueueTold {
    Loaded(Vec<(u64, Key, QueuedBatch)>, u64),
    Appended {
        row: u64,
        number: u64,
    },
    Refused {
        row: u64,
        in_doubt: bool,
    },
    /// All that lies there, and the newest number.
    Lies(Vec<(u64, Key, QueuedBatch)>, u64),
}

impl Queue {
    pub(crate) fn new(batches_max: usize, rng: Rng) -> Self {
        Self {
            messages: BTreeMap::new(),
            newest: 0,
            batches_max,
            away_until: Instant(0),
            slow_until: Instant(0),
            history: Vec::new(),
            rng,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.messages.len()
    }

    /// The encoded batches that lie there.
    pub(crate) fn batches(&self) -> impl Iterator<Item = &QueuedBatch> {
        self.messages.values().map(|message| &message.batch)
    }

    fn way(&mut self, now: Instant) -> Duration {
        let (low, high) = if self.slow_until > now { SLOW_WAY } else { WAY };
        self.rng.between_us(low, high)
    }

    fn store(&mut self, now: Instant, key: Key, batch: QueuedBatch) -> u64 {
        self.newest += 1;
        let message = Message { key, batch, written_at: now };
        if self.history.len() >= HISTORY {
            self.history.remove(0);
        }
        self.history.push(message.clone());
        self.messages.insert(self.newest, message);
        self.newest
    }

    /// Old messages come again, as from a process that nobody hears of any more.
    pub(crate) fn come_again(&mut self, now: Instant, copies: u64) {
        for copy in 0..copies {
            let index = self.rng.below(self.history.len() as u64);
            let index = usize::try_from(index).unwrap_or(0);
            if let Some(message) = self.history.get(index).cloned() {
                self.newest += 1;
                let key = (u64::MAX - copy, self.newest);
                let message = Message { key, written_at: now, ..message };
                self.messages.insert(self.newest, message);
            }
        }
    }

    fn lies(&self, now: Instant) -> Vec<(u64, Key, QueuedBatch)> {
        let all = self.messages.iter().map(|(number, message)| {
            let waited = now.since(message.written_at);
            (*number, message.key, QueuedBatch { waited, ..message.batch.clone() })
        });
        all.collect()
    }
}

impl Client {
    fn new(opening: u64) -> Self {
        Self {
            opening,
            is_loaded: false,
            held: BTreeMap::new(),
            last_row: 0,
            up_to: 0,
            ours: BTreeSet::new(),
            asked: 0,
            doubts: BTreeSet::new(),
        }
    }

    /// Gives rows to what was found.
    fn load(&mut self, found: Vec<(u64, Key, QueuedBatch)>) -> Vec<QueuedBatch> {
        let rows = found.into_iter().map(|(number, key, batch)| {
            self.last_row += 1;
            self.held.insert(self.last_row, (number, key));
            QueuedBatch { row: self.last_row, ..batch }
        });
        rows.collect()
    }

    fn note_ours(&mut self, number: u64) {
        if number > self.up_to {
            self.ours.insert(number);
        }
        while self.ours.first() == Some(&(self.up_to + 1)) {
            self.ours.pop_first();
            self.up_to += 1;
        }
    }

    /// What others appended, once it was unaccounted for at two askings.
    fn others(
        &mut self,
        lies: Vec<(u64, Key, QueuedBatch)>,
        newest: u64,
    ) -> Vec<(u64, Key, QueuedBatch)> {
        let before = std::mem::replace(&mut self.asked, newest);
        if self.up_to >= before.min(newest) {
            return Vec::new();
        }
        let known: BTreeSet<Key> = self.held.values().map(|(_, key)| *key).collect();
        let is_new = |(number, key, _): &(u64, Key, QueuedBatch)| {
            *number > self.up_to && key.0 != self.opening && !known.contains(key)
        };
        let others = lies.into_iter().filter(is_new).collect();
        self.up_to = newest;
        self.ours = self.ours.split_off(&(newest + 1));
        others
    }
}

impl World {
    pub(crate) fn open_queue(&mut self, place: usize) {
        self.lives += 1;
        let opening = self.lives;
        if let Some(process) = self.places[place].process.as_mut() {
            process.queue = Some(Client::new(opening));
        }
        let site = self.places[place].site;
        let name = &self.places[place].name;
        self.trace.note(self.now, format_args!("{name} keeps the gate of site {site}"));
        self.order_queue(place, QueueWork::Load);
        self.order_queue(place, QueueWork::Ask);
    }

    pub(crate) fn close_queue(&mut self, place: usize) {
        if let Some(process) = self.places[place].process.as_mut()
            && process.queue.take().is_some()
        {
            let name = &self.places[place].name;
            self.trace.note(self.now, format_args!("{name} keeps the gate no more"));
        }
    }

    pub(crate) fn order_queue(&mut self, place: usize, work: QueueWork) {
        let site = self.places[place].site;
        let Some(process) = &self.places[place].process else { return };
        let (Some(client), life) = (&process.queue, process.process) else { return };
        let opening = client.opening;
        let work = match work {
            QueueWork::Remove(row) => match client.held.get(&row) {
                Some((number, _)) => QueueWork::RemoveAt(*number),
                None => return,
            },
            work => work,
        };
        let after = match (&work, self.queues.get_mut(&site)) {
            (QueueWork::Ask, _) => ASK_EVERY,
            (_, Some(queue)) => queue.way(self.now),
            (_, None) => return,
        };
        self.agenda.add(self.now + after, Event::Queue { place, process: life, opening, work });
    }

    /// What a process ordered arrives.
    pub(crate) fn queue_hears(
        &mut self,
        place: usize,
        process: u64,
        opening: u64,
        work: QueueWork,
    ) {
        let (now, site) = (self.now, self.places[place].site);
        let is_alive = self.has_process(place, process);
        let Some(queue) = self.queues.get_mut(&site) else { return };
        let is_away = queue.away_until > now;
        if !is_alive && !queue.rng.chance(LATE_AND_DONE) {
            return;
        }
        let told = match work {
            QueueWork::Load | QueueWork::RemoveAt(_) | QueueWork::Remove(_) if is_away => {
                let at = now + Duration::from_millis(300);
                return self.agenda.add(at, Event::Queue { place, process, opening, work });
            }
            QueueWork::Load => QueueTold::Loaded(queue.lies(now), queue.newest),
            QueueWork::Append(batch) => {
                let (row, key) = (batch.row, (opening, batch.row));
                let is_full = queue.len() >= queue.batches_max;
                if is_away {
                    let stored = queue.rng.chance(REFUSED_AND_STORED);
                    if stored {
                        queue.store(now, key, batch);
                    }
                    QueueTold::Refused { row, in_doubt: true }
                } else if is_full {
                    QueueTold::Refused { row, in_doubt: false }
                } else {
                    QueueTold::Appended { row, number: queue.store(now, key, batch) }
                }
            }
            QueueWork::RemoveAt(number) => {
                queue.messages.remove(&number);
                return;
            }
            QueueWork::Remove(_) => return,
            QueueWork::Ask if is_away => QueueTold::Lies(Vec::new(), 0),
            QueueWork::Ask => QueueTold::Lies(queue.lies(now), queue.newest),
        };
        let in_doubt = matches!(told, QueueTold::Refused { in_doubt: true, .. });
        let after = if in_doubt { TIMEOUT } else { queue.way(now) };
        if is_alive {
            let event = Event::QueueTold { place, process, opening, told };
            self.agenda.add(now + after, event);
        }
    }

    /// The queue's answer arrives at its process.
    pub(crate) fn queue_told(&mut self, place: usize, process: u64, opening: u64, told: QueueTold) {
        if !self.has_process(place, process) {
            return;
        }
        if let Some(at) = self.paused_until(Node::State(place)) {
            return self.agenda.add(at, Event::QueueTold { place, process, opening, told });
        }
        let state = self.places[place].process.as_mut();
        let client = state.and_then(|state| state.queue.as_mut());
        let Some(client) = client.filter(|client| client.opening == opening) else { return };
        let (mut doubted, is_ask) = (Vec::new(), matches!(told, QueueTold::Lies(..)));
        let input = match told {
            QueueTold::Loaded(found, newest) => {
                client.is_loaded = true;
                (client.up_to, client.asked) = (newest, newest);
                Some(GateInput::QueueLoaded(client.load(found)))
            }
            QueueTold::Appended { row, number } => {
                client.held.insert(row, (number, (opening, row)));
                client.note_ours(number);
                Some(GateInput::QueueAppended { row })
            }
            QueueTold::Refused { row, in_doubt } => {
                if in_doubt {
                    client.doubts.insert((opening, row));
                }
                Some(GateInput::QueueRefused { row })
            }
            QueueTold::Lies(lies, newest) => {
                let is_doubted = |(number, key, _): &(u64, Key, QueuedBatch)| {
                    client.doubts.contains(key).then_some(*number)
                };
                doubted = lies.iter().filter_map(is_doubted).collect();
                let found = if client.is_loaded && newest > 0 {
                    client.others(lies, newest)
                } else {
                    Vec::new()
                };
                let batches = client.load(found);
                (!batches.is_empty()).then_some(GateInput::QueueLoaded(batches))
            }
        };
        if is_ask {
            self.order_queue(place, QueueWork::Ask);
        }
        for number in doubted {
            self.order_queue(place, QueueWork::RemoveAt(number));
        }
        if let Some(input) = input {
            self.gate(place, input);
        }
    }
}
