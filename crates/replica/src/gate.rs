//! The gate: one site's door to other sites.
//!
//! It keeps the order of the durable inbound queue, knows which sites answer, asks other sites for
//! calls, and passes forwarded messages on. It never decodes a record, and it holds no call.
//!
//! ```text
//!   start 1, no peers ───────────────────────────────► Serving
//!   start 2.. ──► Returning ──keyset of every peer fetched, or waited for long enough──► Serving
//! ```
//! A site of several processes has one gate at a time: its map says whose. In the others it is
//! closed, and it opens with nothing: what has to outlive it is on the queue, in the replicas and
//! on the map.

mod confirm;
mod door;
mod forward;
mod inbox;
mod keeper;
mod keyset;
mod orders;
mod peers;
mod pulls;
mod roster;
mod steer;
mod sweep;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use tier_protocol::{EngineWord, GateWord, Progress, SiteState, SiteWord, SlotSet, Steering};
use vocab::{CallKey, EngineId, Instant, PartitionId, ReplicaId, SiteId, Slot, ViewNumber};

use crate::Planted;
use crate::door::{GateBound, Reason, SiteInput, SiteStatus};
use crate::keeper::Heard;
use crate::steering::wants_calls;

pub use door::{
    ActivationMode, GateConfig, GateInput, GateOutput, GateStats, QueuedBatch, SenderStats, Steer,
};

use confirm::Confirming;
use inbox::Inbox;
use keyset::Keyset;
use orders::Finished;
use peers::{Greeting, Peers};
use pulls::Pulls;
use roster::Roster;

/// What was last said of the other sites, so that only changes are told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Told {
    here: Option<SiteState>,
    alive: Vec<SiteStatus>,
    waiting: Vec<SiteId>,
    has_inbox: bool,
    steering: Steering,
}

/// One site's gate.
#[derive(Debug)]
pub struct Gate {
    config: GateConfig,
    /// The instant of the newest input.
    now: Instant,
    state: SiteState,
    /// It is this process's to keep.
    is_open: bool,
    /// The site's partitions, and the slots of each.
    partitions: Vec<(PartitionId, SlotSet)>,
    /// Of a site of several processes: the life up to which the map says that it is settled.
    settled: u64,
    /// Of a site of several processes: the newest view of its map.
    view: ViewNumber,
    /// The keeper of which this closed gate was told.
    heard: Heard,
    /// Of a site of several processes: this one's replica, the primaries, and who is linked.
    me: Option<ReplicaId>,
    primaries: Vec<ReplicaId>,
    reachable: BTreeSet<ReplicaId>,
    /// The disk was read: before that nothing is said of the inbox.
    is_loaded: bool,
    engines: Roster,
    peers: Peers,
    inbox: Inbox,
    pulls: Pulls,
    keyset: Keyset,
    confirming: Confirming,
    steering: Steering,
    /// Standing orders that were carried out.
    finished: Finished,
    /// How much is left of what is steered.
    progress: BTreeMap<PartitionId, Progress>,
    /// The backup site that was ordered has every call.
    is_backed_up: bool,
    /// Sites that may have sent what is lost, and have yet to be asked to sweep.
    sweeps_wanted: BTreeSet<SiteId>,
    told: Told,
    planted: Option<Planted>,
    out: VecDeque<GateOutput>,
    stats: GateStats,
}

impl Gate {
    /// A gate that has heard nobody. `QueueLoaded` comes early, or late when the queue is away;
    /// a `Wake` before it says when the next one is due.
    #[must_use]
    pub fn new(now: Instant, config: GateConfig) -> Self {
        // A site that never ran before has nothing to come home to.
        let knows = config.start <= 1;
        let returns = !knows && config.with_keyset && !config.peers.is_empty();
        let state = if returns { SiteState::Returning } else { SiteState::Serving };
        Self {
            now,
            state,
            is_open: !config.is_shared,
            partitions: dealt(&config.partitions),
            settled: 0,
            view: ViewNumber::default(),
            heard: Heard::default(),
            me: None,
            primaries: Vec::new(),
            reachable: BTreeSet::new(),
            is_loaded: false,
            engines: Roster::default(),
            peers: Peers::new(now, &config),
            inbox: Inbox::new(&config),
            pulls: Pulls::default(),
            keyset: Keyset::new(now, &config, knows),
            confirming: Confirming::default(),
            steering: Steering::default(),
            finished: Finished::default(),
            progress: BTreeMap::new(),
            is_backed_up: false,
            sweeps_wanted: BTreeSet::new(),
            told: Told::default(),
            planted: None,
            out: VecDeque::new(),
            stats: GateStats::default(),
            config,
        }
    }

    /// Puts a bug back, for the simulator's proof of itself.
    #[doc(hidden)]
    pub fn plant(&mut self, planted: Planted) {
        self.planted = Some(planted);
    }

    /// Whether this process keeps the site's gate.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.is_open
    }

    /// Takes one input; drain [`Self::poll_output`] after it.
    pub fn handle_input(&mut self, now: Instant, input: GateInput) {
        self.now = now;
        if !self.is_open && !self.hear_closed(now, &input) {
            return;
        }
        self.hear(now, input);
        if !self.is_open {
            return;
        }
        self.greet(now);
        self.end_pulls(now);
        self.end_asked_pages(now);
        self.end_confirming(now);
        self.return_home(now);
        self.tell_settled();
        self.end_void_orders();
        self.tell_changes();
        self.offer_batches(now);
    }

    fn hear(&mut self, now: Instant, input: GateInput) {
        match input {
            GateInput::Map { replica, map } => self.map(now, replica, &map),
            GateInput::ReplicaUp { replica } => {
                self.reachable.insert(replica);
                self.told = Told::default();
            }
            GateInput::ReplicaDown { replica } => self.replica_down(now, replica),
            GateInput::Order(order) => self.order(now, order),
            GateInput::Steer(steer) => self.steer(now, steer),
            // Its own words.
            GateInput::Steered { .. } => {}
            GateInput::LinkUp { site } => self.link_up(now, site),
            GateInput::LinkDown { site } => self.link_down(now, site),
            GateInput::FromSite { site, word } => self.hear_site(now, site, word),
            GateInput::EngineUp { engine, dictionary } => {
                self.engines.add(engine, dictionary);
                self.note_dictionary();
                self.told_engine(engine);
            }
            GateInput::EngineDown { engine } => {
                self.engines.remove(engine);
                self.note_dictionary();
                self.stats.batches_again += self.inbox.take_back(engine);
                self.pulls.forget_engine(engine);
            }
            GateInput::FromEngine { engine, word } => self.hear_engine(now, engine, word),
            GateInput::FromReplica { partition, output } => {
                self.hear_replica(now, partition, output);
            }
            GateInput::QueueLoaded(batches) => {
                self.is_loaded = true;
                self.inbox.load(now, batches);
            }
            GateInput::QueueMayHaveLost => self.want_sweeps(),
            GateInput::QueueAppended { row } => self.appended(now, row),
            GateInput::QueueRefused { row } => self.append_failed(row),
            GateInput::Wake => {}
        }
    }

    /// The next output; `WakeAt` ends the drain.
    pub fn poll_output(&mut self) -> GateOutput {
        self.out.pop_front().unwrap_or_else(|| {
            let (at, reason) = self.next_wake();
            GateOutput::WakeAt(at.max(self.now), reason)
        })
    }

    /// The gate's numbers.
    #[must_use]
    pub fn stats(&self, now: Instant) -> GateStats {
        let alive = self.peers.alive(now, self.config.silent_after);
        let mut senders = self.stats.senders.clone();
        for (site, waiting) in self.inbox.waiting_by_sender() {
            senders.entry(site).or_default().waiting = waiting;
        }
        let wanting = alive.iter().filter(|status| wants_calls(status));
        let evacuating = alive.iter().filter(|status| status.course.evacuates);
        GateStats {
            inbox_waiting: self.inbox.waiting_len() as u64,
            inbox_offered: self.inbox.offered_len() as u64,
            inbox_bytes: self.inbox.bytes() as u64,
            inbox_oldest: self.inbox.oldest(now),
            is_open: self.is_open,
            is_serving: self.state == SiteState::Serving,
            keyset_awaited: self.keyset.awaited(),
            wanting: wanting.map(|status| status.site).collect(),
            evacuating: evacuating.map(|status| status.site).collect(),
            steering: self.steering.clone(),
            activated: self.finished.activated.clone(),
            deleted: self.finished.deleted.clone(),
            progress: self.progress.clone(),
            primaries: self.primaries.clone(),
            partitions: self.partitions.len() as u64,
            is_backed_up: self.is_backed_up,
            alive: alive.iter().map(|status| (status.site, status.start)).collect(),
            senders,
            ..self.stats.clone()
        }
    }

    fn hear_site(&mut self, now: Instant, site: SiteId, word: SiteWord) {
        if !self.config.peers.contains(&site) {
            self.stats.words_dropped += 1;
            return;
        }
        self.peers.hear(now, site);
        match word {
            SiteWord::Hello { site: speaker, start, state, dictionary, course }
                if speaker == site =>
            {
                if self.peers.greeted(site, Greeting { start, state, dictionary, course }) {
                    self.keyset.forget(now, site);
                }
                self.ask_sweeps();
            }
            SiteWord::Hello { .. } => self.stats.words_dropped += 1,
            SiteWord::Batch { id, partition, view, bytes } => {
                let waited = Duration::ZERO;
                let batch = QueuedBatch { row: 0, from: site, partition, id, view, waited, bytes };
                self.batch(batch);
            }
            SiteWord::BatchStored { id, partition } => {
                self.tell_replica(partition, SiteInput::BatchStored { site, id });
            }
            SiteWord::BatchRefused { id, partition } => {
                self.tell_replica(partition, SiteInput::BatchRefused { site, id });
            }
            SiteWord::Superseded(calls) => {
                for call in calls {
                    let partition = self.partition_of(call.key);
                    self.tell_replica(partition, SiteInput::Superseded(vec![call]));
                }
            }
            SiteWord::KeysetAsk { cursor } => self.keyset_asked(now, site, cursor),
            SiteWord::KeysetPage { entries, next, ask_later } => {
                self.keyset_page(now, site, &entries, next, ask_later);
            }
            SiteWord::Pull { key, ask } => {
                let partition = self.partition_of(key);
                self.tell_replica(partition, SiteInput::Pull { site, key, ask });
            }
            SiteWord::Pulled { key, ask, answer } => self.pulled(site, key, ask, answer),
            SiteWord::Forward(message) => self.forwarded(site, message),
            SiteWord::Sweep { ask, word } => self.swept(now, site, ask, word),
        }
    }

    fn hear_engine(&mut self, now: Instant, engine: EngineId, word: EngineWord) {
        match word {
            EngineWord::ForwardTo { site, message } => self.forward(now, site, message),
            EngineWord::Pull { key, turn } => {
                self.ask_sites(now, pulls::Asker::Engine { engine, turn }, key);
            }
            EngineWord::BatchDone { id, superseded } => self.batch_done(id, superseded),
            EngineWord::BatchDeferred { id } => {
                let at = now + self.config.retry_after;
                self.stats.batches_again += u64::from(self.inbox.put_off(id, engine, at));
            }
            EngineWord::BatchPoison { id, superseded } => self.batch_poison(id, superseded),
        }
    }

    fn hear_replica(&mut self, now: Instant, partition: PartitionId, output: GateBound) {
        match output {
            GateBound::Publish { site, id, view, bytes } => {
                if self.peers.is_linked(site) {
                    self.tell_site(site, SiteWord::Batch { id, partition, view, bytes });
                } else {
                    self.tell_replica(partition, SiteInput::BatchRefused { site, id });
                }
            }
            GateBound::KeysetPage { site: _, ask, entries, next } => {
                self.partition_page(ask, partition, entries, next);
            }
            GateBound::PullAnswer { site, ask, key, answer } => {
                self.answer_site(site, ask, key, answer);
            }
            GateBound::Pull { key } => {
                self.ask_sites(now, pulls::Asker::Partition(partition), key);
            }
            GateBound::Progress(progress) => self.progressed(partition, progress),
            GateBound::Sweep { site, ask, word } => self.sweep(site, ask, word),
            GateBound::Keeper { ask, is_confirmed } => self.keeper_told(now, ask, is_confirmed),
        }
    }

    fn tell_site(&mut self, site: SiteId, word: SiteWord) {
        self.out.push_back(GateOutput::ToSite { site, word });
    }

    fn tell_engine(&mut self, engine: EngineId, word: GateWord) {
        self.out.push_back(GateOutput::ToEngine { engine, word });
    }

    fn tell_replica(&mut self, partition: PartitionId, input: SiteInput) {
        self.out.push_back(GateOutput::ToReplica { partition, input });
    }

    fn tell_primaries(&mut self, input: &SiteInput) {
        for partition in self.partition_ids() {
            self.tell_replica(partition, input.clone());
        }
    }

    fn partition_ids(&self) -> Vec<PartitionId> {
        self.partitions.iter().map(|(partition, _)| *partition).collect()
    }

    /// The partition that holds `key`.
    fn partition_of(&self, key: CallKey) -> PartitionId {
        self.partition_of_slot(key.slot())
    }

    fn partition_of_slot(&self, slot: Slot) -> PartitionId {
        let holds = |(_, slots): &&(PartitionId, SlotSet)| slots.contains(slot);
        self.partitions.iter().find(holds).map_or(PartitionId(0), |(partition, _)| *partition)
    }

    /// Tells partitions and engines what they may have to know, when it changed.
    fn tell_changes(&mut self) {
        let alive = self.peers.alive(self.now, self.config.silent_after);
        let told = Told {
            here: Some(self.state),
            alive,
            waiting: self.inbox.senders(),
            has_inbox: self.has_inbox(),
            steering: self.steering.clone(),
        };
        if told == self.told {
            return;
        }
        if (Told { has_inbox: self.told.has_inbox, ..told.clone() }) != self.told {
            let (here, steering) = (self.state, self.steering.clone());
            let (alive, waiting) = (told.alive.clone(), told.waiting.clone());
            let view = self.view;
            let status = SiteInput::Status { view, here, alive, waiting, steering };
            self.out.push_back(GateOutput::ToReplicas(status));
        }
        self.told = told;
        for engine in self.engines.all() {
            self.told_engine(engine);
        }
    }

    fn told_engine(&mut self, engine: EngineId) {
        let alive = self.peers.alive(self.now, self.config.silent_after);
        let activation = &self.config.activation;
        let wakes = self.config.peers.iter().filter(|site| {
            let mode = activation.get(site).copied().unwrap_or(ActivationMode::OnMessage);
            mode == ActivationMode::OnMessage
        });
        let word = GateWord::Sites {
            here: self.state,
            start: self.config.start,
            alive: alive.iter().map(|status| (status.site, status.state)).collect(),
            wakes_on_message: wakes.copied().collect(),
            inbox: if self.is_loaded { self.inbox.len() as u64 } else { 1 },
            waiting: self.inbox.senders(),
        };
        self.tell_engine(engine, word);
    }

    /// Whether batches of other sites wait, or may wait on a disk that was not read yet.
    fn has_inbox(&self) -> bool {
        !self.is_loaded || self.inbox.len() > 0
    }

    fn next_wake(&self) -> (Instant, Reason) {
        let mut next = (Instant::NEVER, Reason::Idle);
        if !self.is_open {
            return next;
        }
        let mut note = |at: Option<Instant>, reason| {
            if let Some(at) = at.filter(|at| *at < next.0) {
                next = (at, reason);
            }
        };
        note(self.greet_at(), Reason::Heartbeat);
        note(self.peers.silent_at(self.now, self.config.silent_after), Reason::Heartbeat);
        note(self.pulls.first_end(), Reason::Wait);
        note(self.confirming.wake_at(), Reason::Wait);
        note(self.inbox.wake_at(self.now), Reason::Wait);
        note(self.keyset.wake_at(self.now, self.state, self.returns()), Reason::Wait);
        next
    }
}

/// The slots, dealt to the partitions in turn.
fn dealt(partitions: &[PartitionId]) -> Vec<(PartitionId, SlotSet)> {
    let mut dealt: Vec<_> = partitions.iter().map(|id| (*id, SlotSet::NONE)).collect();
    for (slot, index) in SlotSet::ALL.iter().zip((0..partitions.len()).cycle()) {
        dealt[index].1.insert(slot);
    }
    dealt
}

#[cfg(test)]
mod tests;
