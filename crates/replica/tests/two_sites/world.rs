//! Two sites, each a replica, a gate, a disk and one scripted engine, joined by a link.
//!
//! The engine does what an engine does with a call it is given, without looking into it. Time
//! moves from wake to wake; the link delivers in order, or loses what was on its way.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use replica::gate::{Gate, GateConfig, GateInput, GateOutput, QueuedBatch};
use replica::{Config, Input, Limits, Order, Output, Pace, Replica};
use tier_protocol::batch::{self, Entry};
use tier_protocol::{
    Cause, Command, DormantOutcome, EngineWord, GateWord, Hint, PartitionView, PullAnswer,
    PutFlags, Record, RecordHeader, Reply, SiteState, SiteWord, Superseded, Tombstone, dictionary,
};
use vocab::{
    CallKey, EngineId, Epoch, Instant, LockToken, PartitionId, ReplicaId, SiteId, Stamp, Version,
    ViewNumber,
};

const ONLY: PartitionId = PartitionId(0);

/// What an engine meant to do when it asked for a call.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Intent {
    Begin,
    Change,
    /// Its dialogs are over; the record lingers for `LINGER`.
    Linger,
    End,
}

/// How long what merely lingers is kept.
const LINGER: Duration = Duration::from_secs(32);
/// The local section of a call of which only transactions linger.
const LINGERS: &[u8] = b"lingers";

/// What came of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It was handled here.
    Done,
    /// It is to go to that site.
    Forward(SiteId),
    /// Nobody has such a call.
    NoSuch,
    /// To be asked again.
    Later,
}

struct Applying {
    left: usize,
    superseded: Vec<Superseded>,
    is_full: bool,
}

pub(crate) struct Site {
    id: SiteId,
    start: u64,
    engine: EngineId,
    pub(crate) replica: Replica,
    gate: Gate,
    disk: BTreeMap<u64, QueuedBatch>,
    wake: Instant,
    turns: u64,
    intents: BTreeMap<u64, (Intent, CallKey)>,
    /// What the last grant said of an earlier call of its key.
    floor: Option<Epoch>,
    /// Locks kept while another site is asked.
    pulling: BTreeMap<u64, (LockToken, CallKey, Intent)>,
    pub(crate) fates: VecDeque<(CallKey, Fate)>,
    applying: BTreeMap<u64, Applying>,
    alive: BTreeSet<SiteId>,
    pub(crate) state: SiteState,
    outbox: VecDeque<SiteWord>,
}

impl Site {
    fn new(now: Instant, id: SiteId, start: u64, disk: BTreeMap<u64, QueuedBatch>) -> Self {
        let peer = SiteId(3 - id.0);
        let view = PartitionView::alone(ONLY, ViewNumber(start), ReplicaId(start));
        let config = Config {
            here: id,
            partition: ONLY,
            replica: ReplicaId(start),
            view,
            shared: None,
            backup_to: Some(peer),
            limits: Limits { keyset_page_max: 7, ..Limits::default() },
            pace: Pace::default(),
            spill: None,
        };
        let gate = GateConfig::new(id, start, vec![ONLY], vec![peer]);
        let mut site = Self {
            id,
            start,
            engine: EngineId(start),
            replica: Replica::new(now, config),
            gate: Gate::new(now, gate),
            disk: BTreeMap::new(),
            wake: now,
            turns: 0,
            intents: BTreeMap::new(),
            floor: None,
            pulling: BTreeMap::new(),
            fates: VecDeque::new(),
            applying: BTreeMap::new(),
            alive: BTreeSet::new(),
            state: SiteState::Returning,
            outbox: VecDeque::new(),
        };
        let loaded = disk.values().cloned().collect();
        site.disk = disk;
        site.gate(now, GateInput::QueueLoaded(loaded));
        let engine = site.engine;
        site.replica(now, Input::EngineUp { engine });
        site.gate(now, GateInput::EngineUp { engine, dictionary: dictionary::NEWEST });
        site
    }

    fn replica(&mut self, now: Instant, input: Input) {
        self.replica.handle_input(now, input);
        let mut said = Vec::new();
        loop {
            match self.replica.poll_output() {
                Output::WakeAt(at, _) => {
                    self.wake = self.wake.min(at);
                    break;
                }
                other => said.push(other),
            }
        }
        for output in said {
            match output {
                other @ (Output::Peer { .. }
                | Output::Store(_)
                | Output::Database(_)
                | Output::Map(_)
                | Output::Dropped { .. }
                | Output::Expelled) => panic!("a replica of its own said {other:?}"),
                Output::Reply { reply, .. } => self.reply(now, reply),
                Output::Gate(output) => {
                    self.gate(now, GateInput::FromReplica { partition: ONLY, output });
                }
                Output::WakeAt(..) => {}
            }
        }
    }

    fn gate(&mut self, now: Instant, input: GateInput) {
        self.gate.handle_input(now, input);
        let mut said = Vec::new();
        loop {
            match self.gate.poll_output() {
                GateOutput::WakeAt(at, _) => {
                    self.wake = self.wake.min(at);
                    break;
                }
                other => said.push(other),
            }
        }
        for output in said {
            match output {
                GateOutput::ToSite { word, .. } => self.outbox.push_back(word),
                GateOutput::ToEngine { word, .. } => self.word(now, word),
                GateOutput::ToReplica { input, .. } | GateOutput::ToReplicas(input) => {
                    self.replica(now, Input::Site(input));
                }
                GateOutput::QueueAppend { batch } => {
                    let row = batch.row;
                    self.disk.insert(row, QueuedBatch { waited: Duration::ZERO, ..batch });
                    self.gate(now, GateInput::QueueAppended { row });
                }
                GateOutput::QueueRemove { row } => {
                    self.disk.remove(&row);
                }
                GateOutput::QueueSetAside { row } => panic!("row {row} cannot be read"),
                GateOutput::Open | GateOutput::Close => panic!("the site has one process"),
                GateOutput::WakeAt(..) => {}
            }
        }
    }

    fn command(&mut self, now: Instant, command: Command) {
        let engine = self.engine;
        self.replica(now, Input::Command { engine, command });
    }

    /// Above the epoch before, and above all that this site gave before its last start.
    fn waking(&self, epoch: Epoch) -> Epoch {
        epoch.woken_at(self.id).max(Epoch::of_start(self.id, self.start))
    }

    fn view(&self) -> ViewNumber {
        ViewNumber(self.start)
    }

    fn ask(&mut self, now: Instant, key: CallKey, intent: Intent) {
        self.turns += 1;
        let turn = self.turns;
        self.intents.insert(turn, (intent, key));
        // Any input may have to pull: it takes the lock of a call that is not here, too.
        let (view, begins, cached) = (self.view(), true, None);
        self.command(now, Command::LockAndGet { view, key, turn, begins, cached });
    }

    fn reply(&mut self, now: Instant, reply: Reply) {
        match reply {
            Reply::Granted { key, token, cause, record, dormant, floor, .. } => {
                self.floor = floor;
                self.granted(now, key, token, cause, record, dormant);
            }
            Reply::Dormant { key, batch, outcome } => self.applied(now, key, batch, outcome),
            Reply::Queued { .. } | Reply::Stored { .. } => {}
            // The call moved under the lock; whoever it was for asks again.
            Reply::Refused { .. } => {}
            other => panic!("{other:?}"),
        }
    }

    fn granted(
        &mut self,
        now: Instant,
        key: CallKey,
        token: LockToken,
        cause: Cause,
        record: Option<Record>,
        dormant: bool,
    ) {
        match cause {
            Cause::Asked { turn } => {
                let (intent, _) = self.intents.remove(&turn).expect("asked");
                return self.asked(now, key, token, intent, record, dormant);
            }
            Cause::Due => {
                if let Some(old) = record.filter(|old| old.local == LINGERS) {
                    return self.delete(now, key, token, old.header.stamp);
                }
            }
            Cause::Resume | Cause::Quarantined => {}
            Cause::Activate => {
                if let Some(old) = record.filter(|_| dormant) {
                    let epoch = self.waking(old.header.stamp.epoch);
                    self.put(now, token, Some(old.header.stamp), epoch, old.clone());
                }
            }
            Cause::HandBack { to } => {
                if let Some(old) = record {
                    let epoch = old.header.stamp.epoch.given_to(to);
                    self.put(now, token, Some(old.header.stamp), epoch, old.clone());
                }
            }
        }
        self.unlock(now, key, token);
    }

    fn asked(
        &mut self,
        now: Instant,
        key: CallKey,
        token: LockToken,
        intent: Intent,
        record: Option<Record>,
        dormant: bool,
    ) {
        match record {
            Some(old) if !dormant => self.act(now, key, token, intent, &old),
            Some(old)
                if old.header.home() != self.id
                    && (old.crossing.is_empty() || self.alive.contains(&old.header.home())) =>
            {
                self.fates.push_back((key, Fate::Forward(old.header.home())));
                self.unlock(now, key, token);
            }
            Some(old) => {
                let epoch = self.waking(old.header.stamp.epoch);
                let woken = self.put(now, token, Some(old.header.stamp), epoch, old);
                self.act(now, key, token, intent, &woken);
            }
            None if intent == Intent::Begin => {
                let first = Epoch::of_start(self.id, self.start);
                let epoch = match self.floor.filter(|floor| *floor > first) {
                    Some(floor) if floor.site != self.id => floor.woken_at(self.id),
                    floor => floor.unwrap_or(first),
                };
                let fresh = fresh(key, self.id);
                self.put(now, token, None, epoch, fresh);
                self.unlock(now, key, token);
            }
            None => {
                self.turns += 1;
                let turn = self.turns;
                self.pulling.insert(turn, (token, key, intent));
                let (engine, word) = (self.engine, EngineWord::Pull { key, turn });
                self.gate(now, GateInput::FromEngine { engine, word });
            }
        }
    }

    fn act(&mut self, now: Instant, key: CallKey, token: LockToken, intent: Intent, old: &Record) {
        self.fates.push_back((key, Fate::Done));
        let base = old.header.stamp;
        let mut next = old.clone();
        match intent {
            // A message that comes late is absorbed by what lingers.
            Intent::Change => {}
            Intent::Begin => {
                next.local = Bytes::new();
                next.header.deadline = None;
            }
            Intent::Linger => {
                next.local = Bytes::from_static(LINGERS);
                next.header.deadline = Some(LINGER);
            }
            Intent::End => return self.delete(now, key, token, base),
        }
        self.put(now, token, Some(base), base.epoch, next);
        self.unlock(now, key, token);
    }

    fn delete(&mut self, now: Instant, key: CallKey, token: LockToken, base: Stamp) {
        let stamp = Stamp { token, version: Version(base.version.0 + 1), ..base };
        let tombstone = Tombstone { key, stamp };
        self.command(now, Command::Delete { view: self.view(), tombstone, base });
    }

    fn put(
        &mut self,
        now: Instant,
        token: LockToken,
        base: Option<Stamp>,
        epoch: Epoch,
        mut next: Record,
    ) -> Record {
        let version = Version(next.header.stamp.version.0 + 1);
        next.header.stamp = Stamp { epoch, token, version };
        next.header.age = Duration::ZERO;
        let ended = next.local == LINGERS;
        let flags = PutFlags { boundary: true, ended, ..PutFlags::default() };
        let (view, record) = (self.view(), next.clone());
        self.command(now, Command::Put { view, record, base, flags });
        next
    }

    fn unlock(&mut self, now: Instant, key: CallKey, token: LockToken) {
        self.command(now, Command::Unlock { view: self.view(), key, token });
    }

    fn word(&mut self, now: Instant, word: GateWord) {
        match word {
            GateWord::Sites { here, alive, .. } => {
                self.state = here;
                self.alive = alive.into_iter().map(|(site, _)| site).collect();
            }
            GateWord::Pulled { key, turn, answer } => {
                let Some((token, _, intent)) = self.pulling.remove(&turn) else { return };
                let fate = match answer {
                    PullAnswer::Yours(record) => {
                        let epoch = self.waking(record.header.stamp.epoch);
                        let woken = self.put(now, token, None, epoch, record);
                        return self.act(now, key, token, intent, &woken);
                    }
                    PullAnswer::Lives(epoch) => Fate::Forward(epoch.site),
                    PullAnswer::NoSuch => Fate::NoSuch,
                    PullAnswer::AskLater => Fate::Later,
                };
                self.fates.push_back((key, fate));
                self.unlock(now, key, token);
            }
            GateWord::Batch { id, bytes, waited_ms, .. } => {
                let entries = batch::decode(&bytes, 1 << 20).expect("a batch");
                let left = entries.len();
                let applying = Applying { left, superseded: Vec::new(), is_full: false };
                self.applying.insert(id, applying);
                for entry in entries {
                    let view = self.view();
                    self.command(
                        now,
                        match entry {
                            Entry::Record(mut record) => {
                                record.header.age += Duration::from_millis(waited_ms);
                                Command::StoreDormant { view, batch: id, record }
                            }
                            Entry::Tombstone(tombstone) => {
                                Command::StoreTombstone { view, batch: id, tombstone }
                            }
                        },
                    );
                }
            }
            GateWord::Forwarded { .. } => {}
        }
    }

    fn applied(&mut self, now: Instant, key: CallKey, id: u64, outcome: DormantOutcome) {
        let Some(applying) = self.applying.get_mut(&id) else { return };
        applying.left -= 1;
        match outcome {
            DormantOutcome::Stored | DormantOutcome::Stale => {}
            DormantOutcome::Superseded { held } => {
                applying.superseded.push(Superseded { key, epoch: held });
            }
            DormantOutcome::Full => applying.is_full = true,
        }
        if applying.left > 0 {
            return;
        }
        let applying = self.applying.remove(&id).expect("found above");
        let word = if applying.is_full {
            EngineWord::BatchDeferred { id }
        } else {
            EngineWord::BatchDone { id, superseded: applying.superseded }
        };
        self.gate(now, GateInput::FromEngine { engine: self.engine, word });
    }
}

fn fresh(key: CallKey, site: SiteId) -> Record {
    let epoch = Epoch { n: 0, site };
    let stamp = Stamp { epoch, token: LockToken::default(), version: Version(0) };
    let header = RecordHeader {
        key,
        stamp,
        origin: site,
        backup: None,
        schema: 1,
        age: Duration::ZERO,
        deadline: None,
        crossing_deadline: None,
        hints: vec![(1, Hint::Steady)],
        crossed: Vec::new(),
        newer: None,
    };
    Record { header, crossing: Bytes::from_static(b"dialog"), local: Bytes::new() }
}

/// Two sites and what joins them.
pub(crate) struct World {
    pub(crate) now: Instant,
    pub(crate) sites: BTreeMap<SiteId, Site>,
    down: BTreeMap<SiteId, (u64, BTreeMap<u64, QueuedBatch>)>,
    is_linked: bool,
}

pub(crate) const LEFT: SiteId = SiteId(1);
pub(crate) const RIGHT: SiteId = SiteId(2);

impl World {
    pub(crate) fn new() -> Self {
        let now = Instant(1);
        let sites = [LEFT, RIGHT].map(|id| (id, Site::new(now, id, 1, BTreeMap::new())));
        let sites = BTreeMap::from(sites);
        let mut world = Self { now, sites, down: BTreeMap::new(), is_linked: false };
        world.link();
        world
    }

    pub(crate) fn link(&mut self) {
        if self.is_linked || self.sites.len() < 2 {
            return;
        }
        self.is_linked = true;
        let now = self.now;
        for (id, site) in &mut self.sites {
            site.outbox.clear();
            site.gate(now, GateInput::LinkUp { site: SiteId(3 - id.0) });
        }
        self.deliver();
    }

    pub(crate) fn cut(&mut self) {
        if !std::mem::take(&mut self.is_linked) {
            return;
        }
        let now = self.now;
        for (id, site) in &mut self.sites {
            site.outbox.clear();
            site.gate(now, GateInput::LinkDown { site: SiteId(3 - id.0) });
            site.outbox.clear();
        }
    }

    /// The site loses everything but its disk.
    pub(crate) fn crash(&mut self, id: SiteId) {
        if let Some(site) = self.sites.remove(&id) {
            self.down.insert(id, (site.start, site.disk));
            self.cut();
        }
    }

    pub(crate) fn restart(&mut self, id: SiteId) {
        if let Some((start, disk)) = self.down.remove(&id) {
            self.sites.insert(id, Site::new(self.now, id, start + 1, disk));
            self.link();
        }
    }

    pub(crate) fn order(&mut self, id: SiteId, order: Order) {
        let now = self.now;
        if let Some(site) = self.sites.get_mut(&id) {
            site.replica(now, Input::Order(order));
        }
        self.deliver();
    }

    /// An input for a call comes to a site; what came of it.
    pub(crate) fn begin(&mut self, id: SiteId, key: CallKey) {
        self.ask(id, key, Intent::Begin);
    }

    /// A message within a call comes to a site and follows the call where it lives.
    pub(crate) fn message(&mut self, id: SiteId, key: CallKey, ends: bool) -> Fate {
        self.send(id, key, if ends { Intent::End } else { Intent::Change })
    }

    /// The message that ends a call's dialogs; its record lingers.
    pub(crate) fn hang_up(&mut self, id: SiteId, key: CallKey) -> Fate {
        self.send(id, key, Intent::Linger)
    }

    fn send(&mut self, id: SiteId, key: CallKey, intent: Intent) -> Fate {
        let mut at = id;
        for _ in 0..20 {
            match self.ask(at, key, intent) {
                Some(Fate::Forward(to)) if self.sites.contains_key(&to) && self.is_linked => {
                    at = to;
                }
                Some(Fate::Later | Fate::Forward(_)) | None => self.pass(Duration::from_secs(1)),
                Some(fate @ (Fate::Done | Fate::NoSuch)) => return fate,
            }
        }
        Fate::Later
    }

    fn ask(&mut self, id: SiteId, key: CallKey, intent: Intent) -> Option<Fate> {
        let now = self.now;
        let site = self.sites.get_mut(&id)?;
        site.fates.clear();
        site.ask(now, key, intent);
        self.deliver();
        for _ in 0..50 {
            let site = self.sites.get_mut(&id)?;
            if let Some((_, fate)) = site.fates.iter().find(|(of, _)| *of == key) {
                return Some(*fate);
            }
            if intent == Intent::Begin {
                return None;
            }
            self.pass(Duration::from_millis(100));
        }
        None
    }

    fn deliver(&mut self) {
        loop {
            let mut moved = false;
            for id in [LEFT, RIGHT] {
                let Some(site) = self.sites.get_mut(&id) else { continue };
                let Some(word) = site.outbox.pop_front() else { continue };
                moved = true;
                if !self.is_linked {
                    continue;
                }
                let (now, to) = (self.now, SiteId(3 - id.0));
                if let Some(site) = self.sites.get_mut(&to) {
                    site.gate(now, GateInput::FromSite { site: id, word });
                }
            }
            if !moved {
                return;
            }
        }
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        loop {
            let next = self.sites.values().map(|site| site.wake).min();
            let Some(at) = next.filter(|at| *at <= until) else { break };
            self.now = self.now.max(at);
            let now = self.now;
            for site in self.sites.values_mut().filter(|site| site.wake <= now) {
                site.wake = Instant::NEVER;
                site.replica(now, Input::Wake);
                site.gate(now, GateInput::Wake);
            }
            self.deliver();
        }
        self.now = until;
    }

    /// Where a call is active, and where it sleeps with its content.
    pub(crate) fn places(&self, key: CallKey) -> (Vec<SiteId>, Vec<SiteId>) {
        let (mut active, mut asleep) = (Vec::new(), Vec::new());
        for (id, site) in &self.sites {
            let Some(story) = site.replica.get(self.now, key) else { continue };
            if story.summary.is_stub || story.summary.stamp.is_none() {
                continue;
            }
            if story.summary.is_dormant { asleep.push(*id) } else { active.push(*id) }
        }
        (active, asleep)
    }

    pub(crate) fn stamp(&self, id: SiteId, key: CallKey) -> Option<Stamp> {
        self.sites.get(&id)?.replica.get(self.now, key)?.summary.stamp
    }

    pub(crate) fn at_risk(&self) -> u64 {
        let sites = self.sites.values().map(|site| site.replica.stats(self.now));
        sites
            .flat_map(|stats| stats.outbound.into_values())
            .map(|outbound| outbound.at_risk + outbound.removals)
            .sum()
    }
}
