//! The gate's one door: what goes in, what comes out.
//!
//! The same drain rule as the replica's door: after each `handle_input`, `poll_output` until
//! [`GateOutput::WakeAt`].

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use tier_protocol::{EngineWord, GateWord, Progress, Return, SiteMap, SiteWord, Steering};
use vocab::{EngineId, Instant, PartitionId, ReplicaId, SiteId, ViewNumber};

use crate::door::{GateBound, Reason, SiteInput, SiteOrder};

/// When calls held dormant for a site wake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ActivationMode {
    /// When a message comes for one and its home does not answer, or by order.
    OnMessage,
    /// By an operator's order alone.
    Operator,
    /// Never, except to end: the node refuses the order, too.
    Refuse,
}

/// What the gate is told at its start.
#[derive(Clone, Debug)]
pub struct GateConfig {
    /// The site it serves.
    pub here: SiteId,
    /// The site's start count, from its disk; from 1.
    pub start: u64,
    /// The site's partitions. The slots are dealt to them in turn, in this order.
    pub partitions: Vec<PartitionId>,
    /// The other sites.
    pub peers: Vec<SiteId>,
    /// When calls of each other site wake here; a site that is not named: `OnMessage`.
    pub activation: BTreeMap<SiteId, ActivationMode>,
    /// Pause between two greetings.
    pub heartbeat_every: Duration,
    /// A site that says nothing for this long does not answer.
    pub silent_after: Duration,
    /// A returning site waits this long for a peer that it has not heard.
    pub return_wait: Duration,
    /// A batch that an engine keeps for longer is offered to another.
    pub batch_lease: Duration,
    /// A deferred batch, a page that was put off: tried again after this.
    pub retry_after: Duration,
    /// A question to another site counts as answered "no" after this.
    pub pull_wait: Duration,
    /// Bytes on the queue, waiting and with engines.
    pub inbox_bytes_max: usize,
    /// Batches on the queue, waiting and with engines.
    pub inbox_batches_max: usize,
    /// Batches with engines at a time, one an engine.
    pub offered_max: usize,
    /// Questions to other sites open at a time.
    pub pulls_open_max: usize,
    /// Entries of a keyset page.
    pub keyset_page_max: usize,
    /// Whether a start after the first begins by fetching the keyset.
    pub with_keyset: bool,
    /// Several processes share the site: this gate is closed until the site's map says that it is
    /// this process's to keep. `start` and `partitions` are the map's, too.
    pub is_shared: bool,
}

impl GateConfig {
    /// A gate of `here` with the defaults of the manual.
    #[must_use]
    pub fn new(here: SiteId, start: u64, partitions: Vec<PartitionId>, peers: Vec<SiteId>) -> Self {
        Self {
            here,
            start,
            partitions,
            peers,
            activation: BTreeMap::new(),
            heartbeat_every: Duration::from_millis(500),
            silent_after: Duration::from_secs(2),
            return_wait: Duration::from_secs(30),
            batch_lease: Duration::from_secs(5),
            retry_after: Duration::from_secs(1),
            pull_wait: Duration::from_secs(2),
            inbox_bytes_max: 1 << 30,
            inbox_batches_max: 100_000,
            offered_max: 8,
            pulls_open_max: 4_096,
            keyset_page_max: 500,
            with_keyset: true,
            is_shared: false,
        }
    }
}

/// An operator's word about the calls of a site. Each may be repeated without harm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Steer {
    /// Calls that live here go to this site at their boundaries; `None` ends that.
    Evacuate(Option<SiteId>),
    /// Whether calls go home.
    Return(Return),
    /// A returning site serves from here on, whatever it knows; what it does not know it fetches
    /// beside that.
    ServeWithoutKeyset,
    /// This site keeps the copies of the calls that live here, in place of the configured one.
    BackUpTo(SiteId),
}

/// One batch on the durable queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueuedBatch {
    /// The queue's own number; rises with time, over restarts too.
    pub row: u64,
    /// The sending site.
    pub from: SiteId,
    /// The sender's partition.
    pub partition: PartitionId,
    /// The sender's number.
    pub id: u64,
    /// The sender's view.
    pub view: ViewNumber,
    /// How long it had waited when it was handed to the gate: zero, or the time since it was
    /// written when it is loaded from disk.
    pub waited: Duration,
    /// The encoded batch.
    pub bytes: Bytes,
}

/// What happens to a gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GateInput {
    /// The link to a site is up, in either direction of dialling.
    LinkUp {
        /// The other end.
        site: SiteId,
    },
    /// The link to a site broke.
    LinkDown {
        /// The other end.
        site: SiteId,
    },
    /// A site's words.
    FromSite {
        /// The speaker.
        site: SiteId,
        /// The words.
        word: SiteWord,
    },
    /// An engine's link is up.
    EngineUp {
        /// The engine.
        engine: EngineId,
        /// The newest dictionary of batches that it reads; 0 for none.
        dictionary: u16,
    },
    /// An engine's link broke.
    EngineDown {
        /// The engine.
        engine: EngineId,
    },
    /// An engine's words.
    FromEngine {
        /// The speaker.
        engine: EngineId,
        /// The words.
        word: EngineWord,
    },
    /// A partition's words.
    FromReplica {
        /// The partition.
        partition: PartitionId,
        /// The words.
        output: GateBound,
    },
    /// The site's map, as this process's replica knows it.
    Map {
        /// The replica of this process.
        replica: ReplicaId,
        /// The map.
        map: SiteMap,
    },
    /// The link to another process of the site is up: its replica may have missed what was told.
    ReplicaUp {
        /// The replica.
        replica: ReplicaId,
    },
    /// That link broke, or the process is gone.
    ReplicaDown {
        /// The replica.
        replica: ReplicaId,
    },
    /// An operator's order, for all partitions.
    Order(SiteOrder),
    /// An operator steers the site's calls.
    Steer(Steer),
    /// What the keeper of the site's gate told this process's replica of it: what a closed gate
    /// opens with.
    Steered {
        /// The newest view that the keeper knew of.
        view: ViewNumber,
        /// What operators ordered.
        steering: Steering,
    },
    /// What the queue held, even when that is nothing. Until it comes, batches are refused and
    /// nobody is told that a call does not exist. Also the answer to [`GateOutput::Open`]; and
    /// later what a gate that was replaced put there still, in rows that no other batch has.
    QueueLoaded(Vec<QueuedBatch>),
    /// The queue began anew in a way that may have cost what it had acknowledged: the other sites
    /// are asked to sweep.
    QueueMayHaveLost,
    /// The batch of this row is on disk, synced.
    QueueAppended {
        /// The row.
        row: u64,
    },
    /// The batch of this row could not be written.
    QueueRefused {
        /// The row.
        row: u64,
    },
    /// The instant of the last [`GateOutput::WakeAt`] has come.
    Wake,
}

/// What a gate wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GateOutput {
    /// Words to another site.
    ToSite {
        /// The site.
        site: SiteId,
        /// The words.
        word: SiteWord,
    },
    /// Words to an engine of this site.
    ToEngine {
        /// The engine.
        engine: EngineId,
        /// The words.
        word: GateWord,
    },
    /// Words to the primary of a partition of this site.
    ToReplica {
        /// The partition.
        partition: PartitionId,
        /// The words.
        input: SiteInput,
    },
    /// Words to every replica of this site.
    ToReplicas(SiteInput),
    /// This process keeps the site's gate from here on: read the queue, and dial the other sites.
    Open,
    /// It does not any more: leave the queue and the other sites alone.
    Close,
    /// Write the batch to disk and sync; `QueueAppended` or `QueueRefused` follows.
    QueueAppend {
        /// The batch.
        batch: QueuedBatch,
    },
    /// The batch is applied: it leaves the disk.
    QueueRemove {
        /// Its row.
        row: u64,
    },
    /// The batch cannot be read: it leaves the queue but stays on disk for inspection.
    QueueSetAside {
        /// Its row.
        row: u64,
    },
    /// Nothing more to say before this instant.
    WakeAt(Instant, Reason),
}

/// A gate's numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GateStats {
    /// Batches that wait on the queue.
    pub inbox_waiting: u64,
    /// Batches with engines.
    pub inbox_offered: u64,
    /// Bytes of both.
    pub inbox_bytes: u64,
    /// Time since the oldest batch came.
    pub inbox_oldest: Duration,
    /// Batches taken from other sites.
    pub batches_stored: u64,
    /// Batches refused: no room, an old view, damaged, or a disk that failed.
    pub batches_refused: u64,
    /// Of those, what came was not what was written.
    pub batches_damaged: u64,
    /// Batches applied.
    pub batches_done: u64,
    /// Batches offered again after a break, a lease or a deferral.
    pub batches_again: u64,
    /// Batches set aside.
    pub batches_poison: u64,
    /// Messages forwarded to other sites.
    pub forwarded_out: u64,
    /// Messages that other sites forwarded here.
    pub forwarded_in: u64,
    /// Messages dropped: the site does not answer, or no engine is there.
    pub forwards_dropped: u64,
    /// Questions asked for engines and partitions.
    pub pulls: u64,
    /// Of those, answered by time alone for at least one site.
    pub pulls_timed_out: u64,
    /// Questions put off or not asked: the inbox is not drained, or too many are open.
    pub pulls_put_off: u64,
    /// Keyset entries fetched from other sites.
    pub keyset_fetched: u64,
    /// Other sites whose keyset is not fetched to its end.
    pub keyset_awaited: Vec<SiteId>,
    /// Keyset pages given to other sites.
    pub keyset_pages_given: u64,
    /// Sweeps that other sites were asked for, as the queue may have lost batches.
    pub sweeps_wanted: u64,
    /// Words of sweeps dropped: the queue is not drained, or the site does not know them.
    pub sweep_words_dropped: u64,
    /// Words to other sites taken back, as it was not certain that this process still keeps the
    /// gate.
    pub unconfirmed: u64,
    /// Words from sites that are not peers, or that are never due; dropped.
    pub words_dropped: u64,
    /// Whether this process keeps the site's gate.
    pub is_open: bool,
    /// Whether this site serves.
    pub is_serving: bool,
    /// Other sites that answer, with their start counts.
    pub alive: BTreeMap<SiteId, u64>,
    /// Batches by the site that sent them.
    pub senders: BTreeMap<SiteId, SenderStats>,
    /// Of those, sites that take calls.
    pub wanting: Vec<SiteId>,
    /// Of those that answer, sites that give their calls away.
    pub evacuating: Vec<SiteId>,
    /// What operators ordered.
    pub steering: Steering,
    /// Sites whose calls this gate was told to have woken, and all are.
    pub activated: BTreeSet<SiteId>,
    /// Sites whose copies this gate was told to have forgotten, and all are.
    pub deleted: BTreeSet<SiteId>,
    /// How much is left of it, by partition, as of the newest answer. Of a site of one process it
    /// is asked only when the gate needs it; [`crate::Replica::progress`] is always current.
    pub progress: BTreeMap<PartitionId, Progress>,
    /// Of a site of several processes: the replicas that lead its partitions.
    pub primaries: Vec<ReplicaId>,
    /// Partitions of the site.
    pub partitions: u64,
    /// The backup site that was ordered has every call that lived here then.
    pub is_backed_up: bool,
}

/// Batches that one other site sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SenderStats {
    /// Batches that wait on the queue, or are with engines.
    pub waiting: u64,
    /// Batches taken.
    pub stored: u64,
    /// Batches refused: no room, an old view, or a queue that failed.
    pub refused: u64,
    /// Batches set aside, as they could not be read.
    pub set_aside: u64,
}
