//! The inbound queue: durable, bounded, at least once, each batch with one engine at a time.
//!
//! ```text
//!   Batch ─► Writing ──on disk, acknowledged──► Waiting ──offered──► WithEngine ──done──► gone
//!               │                                  ▲                    │  │
//!               └──disk failed: refused            └──deferred, link ───┘  └──poison──► aside
//!                                                     down, lease over
//! ```
//! The disk is behind the door; this is the order of its rows. Doing a batch twice is harmless, so
//! a batch that was offered again counts as done by whoever says so first.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use tier_protocol::{GateWord, SiteWord, Superseded, batch};
use vocab::{EngineId, Instant, PartitionId, SiteId, ViewNumber};

use crate::gate::confirm::{Held, To};
use crate::gate::{Gate, GateConfig, GateOutput, QueuedBatch};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Writing,
    Waiting { from: Instant },
    WithEngine { engine: EngineId, until: Instant },
}

#[derive(Debug)]
struct Item {
    from: SiteId,
    partition: PartitionId,
    id: u64,
    came_at: Instant,
    waited: Duration,
    bytes: Bytes,
    stage: Stage,
}

/// The rows of the queue and where each stands.
#[derive(Debug)]
pub(super) struct Inbox {
    items: BTreeMap<u64, Item>,
    /// What is here already: a repetition is acknowledged, not written again.
    known: BTreeMap<(SiteId, PartitionId, u64), u64>,
    waiting: BTreeSet<(Instant, u64)>,
    with_engines: BTreeMap<EngineId, u64>,
    leases: BTreeSet<(Instant, u64)>,
    by_sender: BTreeMap<SiteId, usize>,
    /// Highest view of each sending partition.
    views: BTreeMap<(SiteId, PartitionId), ViewNumber>,
    bytes: usize,
    next_row: u64,
}

impl Inbox {
    pub(super) fn new(config: &GateConfig) -> Self {
        Self {
            items: BTreeMap::new(),
            known: BTreeMap::new(),
            waiting: BTreeSet::new(),
            with_engines: BTreeMap::new(),
            leases: BTreeSet::new(),
            by_sender: BTreeMap::new(),
            views: BTreeMap::new(),
            bytes: 0,
            // Above every row of an earlier start.
            next_row: config.start << 32,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn waiting_len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn offered_len(&self) -> usize {
        self.leases.len()
    }

    pub(super) fn oldest(&self, now: Instant) -> Duration {
        let first = self.items.values().next();
        first.map_or(Duration::ZERO, |item| item.waited + now.since(item.came_at))
    }

    /// The sites whose batches are not applied yet.
    pub(super) fn senders(&self) -> Vec<SiteId> {
        self.by_sender.keys().copied().collect()
    }

    /// Batches of each site that are not applied yet.
    pub(super) fn waiting_by_sender(&self) -> impl Iterator<Item = (SiteId, u64)> {
        self.by_sender.iter().map(|(site, batches)| (*site, *batches as u64))
    }

    pub(super) fn has_from(&self, site: SiteId) -> bool {
        self.by_sender.contains_key(&site)
    }

    pub(super) fn load(&mut self, now: Instant, batches: Vec<QueuedBatch>) {
        for batch in batches {
            self.next_row = self.next_row.max(batch.row + 1);
            let row = batch.row;
            self.note_view(&batch);
            self.add(now, batch);
            self.set_stage(row, Stage::Waiting { from: now });
        }
    }

    /// False when the sender was deposed: its partition has spoken in a higher view.
    fn note_view(&mut self, batch: &QueuedBatch) -> bool {
        let highest = self.views.entry((batch.from, batch.partition)).or_default();
        *highest = batch.view.max(*highest);
        batch.view == *highest
    }

    fn add(&mut self, now: Instant, batch: QueuedBatch) {
        let QueuedBatch { row, from, partition, id, view: _, waited, bytes } = batch;
        self.bytes += bytes.len();
        *self.by_sender.entry(from).or_default() += 1;
        self.known.insert((from, partition, id), row);
        let stage = Stage::Writing;
        self.items.insert(row, Item { from, partition, id, came_at: now, waited, bytes, stage });
    }

    fn remove(&mut self, row: u64) -> Option<Item> {
        self.set_stage(row, Stage::Writing);
        let item = self.items.remove(&row)?;
        self.bytes -= item.bytes.len();
        self.known.remove(&(item.from, item.partition, item.id));
        if let Some(count) = self.by_sender.get_mut(&item.from) {
            *count -= 1;
            if *count == 0 {
                self.by_sender.remove(&item.from);
            }
        }
        Some(item)
    }

    fn set_stage(&mut self, row: u64, stage: Stage) {
        let Some(item) = self.items.get_mut(&row) else {
            return;
        };
        match std::mem::replace(&mut item.stage, stage) {
            Stage::Writing => {}
            Stage::Waiting { from } => {
                self.waiting.remove(&(from, row));
            }
            Stage::WithEngine { engine, until } => {
                self.leases.remove(&(until, row));
                if self.with_engines.get(&engine) == Some(&row) {
                    self.with_engines.remove(&engine);
                }
            }
        }
        match stage {
            Stage::Writing => {}
            Stage::Waiting { from } => {
                self.waiting.insert((from, row));
            }
            Stage::WithEngine { engine, until } => {
                self.leases.insert((until, row));
                self.with_engines.insert(engine, row);
            }
        }
    }

    /// The engine's link broke: what it had waits again. How many batches that were.
    pub(super) fn take_back(&mut self, engine: EngineId) -> u64 {
        let Some(row) = self.with_engines.get(&engine).copied() else {
            return 0;
        };
        self.set_stage(row, Stage::Waiting { from: Instant(0) });
        1
    }

    /// The engine cannot apply it yet. False when the batch is not with that engine.
    pub(super) fn put_off(&mut self, row: u64, engine: EngineId, until: Instant) -> bool {
        let is_his = self.with_engines.get(&engine) == Some(&row);
        if is_his {
            self.set_stage(row, Stage::Waiting { from: until });
        }
        is_his
    }

    fn is_free(&self, engine: EngineId) -> bool {
        !self.with_engines.contains_key(&engine)
    }

    /// The dictionary that the row was written with.
    fn dictionary(&self, row: u64) -> u16 {
        self.items.get(&row).map_or(0, |item| batch::dictionary_of(&item.bytes))
    }

    pub(super) fn last_row(&self) -> Option<u64> {
        self.items.last_key_value().map(|(row, _)| *row)
    }

    /// Whether any row up to `row` is still here.
    pub(super) fn has_up_to(&self, row: u64) -> bool {
        self.items.first_key_value().is_some_and(|(first, _)| *first <= row)
    }

    pub(super) fn wake_at(&self, now: Instant) -> Option<Instant> {
        // What may be offered already waits for an engine, not for time.
        let offer = self.waiting.first().map(|(at, _)| *at).filter(|at| *at > now);
        [offer, self.leases.first().map(|(at, _)| *at)].into_iter().flatten().min()
    }
}

impl Gate {
    /// A batch from another site: it is answered when it is on disk, or refused.
    pub(super) fn batch(&mut self, mut batch: QueuedBatch) {
        let (site, partition, id) = (batch.from, batch.partition, batch.id);
        if let Some(row) = self.inbox.known.get(&(site, partition, id)) {
            let stage = self.inbox.items.get(row).map(|item| item.stage);
            if stage.is_some_and(|stage| stage != Stage::Writing) {
                self.say_as_keeper(To::Site(site), Held::Stored { id, partition });
            }
            return;
        }
        let has_room = self.inbox.len() < self.config.inbox_batches_max
            && self.inbox.bytes + batch.bytes.len() <= self.config.inbox_bytes_max;
        if !self.is_loaded || !has_room || !self.inbox.note_view(&batch) {
            self.count_refused(site);
            return self.tell_site(site, SiteWord::BatchRefused { id, partition });
        }
        batch.row = self.inbox.next_row;
        self.inbox.next_row += 1;
        self.inbox.add(self.now, batch.clone());
        self.out.push_back(GateOutput::QueueAppend { batch });
    }

    pub(super) fn appended(&mut self, now: Instant, row: u64) {
        let Some(item) = self.inbox.items.get(&row).filter(|item| item.stage == Stage::Writing)
        else {
            return;
        };
        let (site, id, partition) = (item.from, item.id, item.partition);
        self.stats.batches_stored += 1;
        self.stats.senders.entry(site).or_default().stored += 1;
        self.inbox.set_stage(row, Stage::Waiting { from: now });
        if self.peers.is_linked(site) {
            self.say_as_keeper(To::Site(site), Held::Stored { id, partition });
        }
    }

    pub(super) fn append_failed(&mut self, row: u64) {
        let is_writing =
            self.inbox.items.get(&row).is_some_and(|item| item.stage == Stage::Writing);
        let Some(item) = is_writing.then(|| self.inbox.remove(row)).flatten() else {
            return;
        };
        self.count_refused(item.from);
        if self.peers.is_linked(item.from) {
            let (id, partition) = (item.id, item.partition);
            self.tell_site(item.from, SiteWord::BatchRefused { id, partition });
        }
    }

    fn count_refused(&mut self, from: SiteId) {
        self.stats.batches_refused += 1;
        self.stats.senders.entry(from).or_default().refused += 1;
    }

    pub(super) fn offer_batches(&mut self, now: Instant) {
        while let Some((at, row)) = self.inbox.leases.first().copied() {
            if at > now {
                break;
            }
            self.stats.batches_again += 1;
            self.inbox.set_stage(row, Stage::Waiting { from: now });
        }
        while self.inbox.leases.len() < self.config.offered_max {
            let Some((at, row)) = self.inbox.waiting.first().copied() else {
                break;
            };
            let Some(engine) = (at <= now)
                .then(|| {
                    let dictionary = self.inbox.dictionary(row);
                    self.engines.next(dictionary, |engine| self.inbox.is_free(engine))
                })
                .flatten()
            else {
                break;
            };
            let until = now + self.config.batch_lease;
            self.inbox.set_stage(row, Stage::WithEngine { engine, until });
            let Some(item) = self.inbox.items.get(&row) else {
                break;
            };
            let waited = item.waited + now.since(item.came_at);
            let waited_ms = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX);
            let (from, bytes) = (item.from, item.bytes.clone());
            self.tell_engine(engine, GateWord::Batch { id: row, from, bytes, waited_ms });
        }
    }

    pub(super) fn batch_done(&mut self, row: u64, superseded: Vec<Superseded>) {
        let Some(item) = self.inbox.remove(row) else {
            return;
        };
        self.stats.batches_done += 1;
        self.out.push_back(GateOutput::QueueRemove { row });
        self.tell_superseded(item.from, superseded);
    }

    fn tell_superseded(&mut self, from: SiteId, superseded: Vec<Superseded>) {
        if !superseded.is_empty() && self.peers.is_linked(from) {
            self.tell_site(from, SiteWord::Superseded(superseded));
        }
    }

    pub(super) fn batch_poison(&mut self, row: u64, superseded: Vec<Superseded>) {
        if let Some(item) = self.inbox.remove(row) {
            self.stats.batches_poison += 1;
            self.stats.senders.entry(item.from).or_default().set_aside += 1;
            self.out.push_back(GateOutput::QueueSetAside { row });
            self.tell_superseded(item.from, superseded);
        }
    }
}
