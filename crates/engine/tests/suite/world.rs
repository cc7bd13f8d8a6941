//! One site: engines and one replica joined by function calls, on a clock that is set by hand.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use applications::b2bua::{self, B2bua};
use bytes::Bytes;
use call::{Account, Destination, Edge, Setting};
use engine::{Config, Engine, Input, Limits, Output, Stats};
use replica::Replica;
use servlet::{Application, NextHop};
use sip_message::{Host, Message, parse_datagram};
use tier_protocol::{
    Command, EngineWord, GateWord, PartitionView, PutFlags, Record, Reply, SetAside, SiteState,
    Tombstone,
};
use vocab::{
    CallKey, EngineId, Epoch, Instant, PartitionId, ReplicaId, SiteId, TokenSecret, ViewNumber,
};

pub(crate) const ALICE: SocketAddr = addr(1);
pub(crate) const BOB: SocketAddr = addr(2);
pub(crate) const PARTITION: PartitionId = PartitionId(1);

/// Rounds of one drain: far more than any script needs, so a livelock fails its test.
const ROUNDS_MAX: usize = 10_000;

const fn addr(last: u8) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, last)), 5060)
}

/// What is done to a command before the replica sees it: `Some` answers in its stead.
pub(crate) type Intercept = Box<dyn FnMut(&Command) -> Option<Reply>>;

pub(crate) struct World {
    pub(crate) here: SiteId,
    pub(crate) now: Instant,
    pub(crate) engines: BTreeMap<EngineId, Engine>,
    config: Config,
    replica: Replica,
    replica_wake: Instant,
    engine_wakes: BTreeMap<EngineId, Instant>,
    /// Everything sent, in order.
    pub(crate) sent: Vec<(SocketAddr, Message)>,
    pub(crate) words: Vec<EngineWord>,
    pub(crate) bounced: Vec<(SiteId, Bytes)>,
    /// What was written down of calls that ended.
    pub(crate) accounts: Vec<(Account, Epoch)>,
    /// Every record that was put.
    pub(crate) puts: Vec<Record>,
    /// What the last put said of itself.
    pub(crate) flags: PutFlags,
    pub(crate) deletes: Vec<Tombstone>,
    /// This engine dies as soon as the replica has its next put.
    pub(crate) dies_after_put: Option<EngineId>,
    pub(crate) intercept: Option<Intercept>,
    /// This engine does not hear that its puts are stored.
    pub(crate) deaf: Option<EngineId>,
    /// This engine dies of the next record that it is given.
    pub(crate) dies_of_grant: Option<EngineId>,
    /// The record of this call makes no sense to whoever gets it.
    pub(crate) garbles: Option<CallKey>,
}

impl World {
    /// Site 1 with two engines and the B2BUA that calls Bob.
    pub(crate) fn new() -> Self {
        // Nothing is kept between turns, so that every turn goes through the encoding.
        let limits = Limits { cache_calls_max: 0, ..Limits::default() };
        Self::of_site(SiteId(1), limits, vec![b2bua()])
    }

    /// The same at any site, and calls cross while they ring.
    pub(crate) fn early(here: SiteId) -> Self {
        let limits = Limits { cache_calls_max: 0, ..Limits::default() };
        let early = [0].into();
        Self::of_setting(limits, Setting { early, ..setting(here, vec![b2bua()]) })
    }

    pub(crate) fn of_site(
        here: SiteId,
        limits: Limits,
        applications: Vec<Arc<dyn Application>>,
    ) -> Self {
        Self::of_setting(limits, setting(here, applications))
    }

    fn of_setting(limits: Limits, setting: Setting) -> Self {
        let here = setting.here;
        let number = ViewNumber(u64::from(here.0));
        let view = PartitionView::alone(PARTITION, number, ReplicaId(1));
        let now = Instant(1_000_000_000);
        let config = Config {
            here,
            engine: EngineId(0),
            start: 1,
            backup: None,
            views: vec![view.clone()],
            setting,
            limits,
        };
        let mut world = Self {
            here,
            now,
            engines: BTreeMap::new(),
            replica: Replica::new(now, replica_config(here, view)),
            replica_wake: Instant::NEVER,
            engine_wakes: BTreeMap::new(),
            sent: Vec::new(),
            words: Vec::new(),
            bounced: Vec::new(),
            accounts: Vec::new(),
            puts: Vec::new(),
            flags: PutFlags::default(),
            deletes: Vec::new(),
            dies_after_put: None,
            config,
            intercept: None,
            deaf: None,
            dies_of_grant: None,
            garbles: None,
        };
        world.add_engine(1);
        world.add_engine(2);
        world
    }

    /// Starts one more engine.
    pub(crate) fn add_engine(&mut self, number: u64) {
        let engine = EngineId(number);
        let config = Config { engine, ..self.config.clone() };
        self.engines.insert(engine, Engine::new(self.now, config));
        self.tell_replica(replica::Input::EngineUp { engine });
    }

    /// What the replica keeps in quarantine.
    pub(crate) fn quarantined(&self) -> Vec<SetAside> {
        self.replica.quarantined(self.now)
    }

    /// Calls that the replica holds.
    pub(crate) fn calls(&self) -> usize {
        self.replica.calls(None, 10_000).len()
    }

    /// A datagram from outside reaches an engine.
    pub(crate) fn deliver(&mut self, engine: u64, source: SocketAddr, bytes: Bytes) {
        self.offer(engine, source, bytes, None);
    }

    pub(crate) fn offer(
        &mut self,
        engine: u64,
        source: SocketAddr,
        bytes: Bytes,
        offered_by: Option<SiteId>,
    ) {
        self.input(engine, Input::Datagram { source, bytes, offered_by });
    }

    pub(crate) fn gate(&mut self, engine: u64, word: GateWord) {
        self.input(engine, Input::Gate(word));
    }

    /// Tells both engines which other sites answer and wake on a message.
    pub(crate) fn sites(&mut self, alive: &[u16], wakes: &[u16], inbox: u64) {
        for engine in [1, 2] {
            self.gate(engine, sites(SiteState::Serving, alive, wakes, inbox));
        }
    }

    pub(crate) fn input(&mut self, engine: u64, input: Input) {
        let now = self.now;
        if let Some(engine) = self.engines.get_mut(&EngineId(engine)) {
            engine.handle_input(now, input);
        }
        self.settle();
    }

    /// Words to the replica from outside its engines.
    pub(crate) fn tell_replica(&mut self, input: replica::Input) {
        self.replica.handle_input(self.now, input);
        self.settle();
    }

    /// The engine dies: the replica notices its broken link.
    pub(crate) fn kill(&mut self, engine: u64) {
        let engine = EngineId(engine);
        self.engines.remove(&engine);
        self.engine_wakes.remove(&engine);
        self.tell_replica(replica::Input::EngineDown { engine });
    }

    /// Lets time pass, stopping at every instant that somebody asked to be woken at.
    pub(crate) fn advance(&mut self, by: Duration) {
        let until = self.now + by;
        loop {
            let engines = self.engine_wakes.values().copied().min().unwrap_or(Instant::NEVER);
            let next = engines.min(self.replica_wake);
            if next > until {
                self.now = until;
                return;
            }
            assert!(next >= self.now, "nobody wakes in the past");
            self.now = next;
            if self.replica_wake <= next {
                self.replica.handle_input(next, replica::Input::Wake);
            }
            for (id, at) in &self.engine_wakes {
                if let (true, Some(engine)) = (*at <= next, self.engines.get_mut(id)) {
                    engine.handle_input(next, Input::Wake);
                }
            }
            self.settle();
        }
    }

    /// Takes what was sent to `addr` since the last time.
    pub(crate) fn take(&mut self, addr: SocketAddr) -> Vec<Message> {
        let (taken, rest) = std::mem::take(&mut self.sent).into_iter().partition(|s| s.0 == addr);
        self.sent = rest;
        let taken: Vec<(SocketAddr, Message)> = taken;
        taken.into_iter().map(|(_, message)| message).collect()
    }

    /// The sum of a counter over the engines.
    pub(crate) fn count(&self, of: fn(&Stats) -> u64) -> u64 {
        self.engines.values().map(|engine| of(&engine.stats())).sum()
    }

    pub(crate) fn holds(&self, key: CallKey) -> bool {
        self.replica.get(self.now, key).is_some()
    }

    /// The newest record that was put.
    pub(crate) fn last_put(&self) -> &Record {
        self.puts.last().expect("something was put")
    }

    /// Carries outputs to where they belong until nobody has any.
    fn settle(&mut self) {
        for _ in 0..ROUNDS_MAX {
            let moved = self.drain_engines();
            if !(self.drain_replica() || moved) {
                return;
            }
        }
        panic!("the engines and the replica never come to rest");
    }

    fn drain_engines(&mut self) -> bool {
        let mut moved = false;
        let ids: Vec<EngineId> = self.engines.keys().copied().collect();
        for id in ids {
            while let Some(engine) = self.engines.get_mut(&id) {
                match engine.poll_output() {
                    Output::WakeAt(at, _) => {
                        self.engine_wakes.insert(id, at);
                        break;
                    }
                    Output::Transmit { to, bytes } => self.note_sent(to, &bytes),
                    Output::Command { command, .. } => self.command(id, command),
                    Output::Gate(word) => self.words.push(word),
                    Output::Bounce { bytes, to, .. } => self.bounced.push((to, bytes)),
                    Output::Account { account, epoch } => self.accounts.push((*account, epoch)),
                }
                moved = true;
            }
        }
        moved
    }

    fn drain_replica(&mut self) -> bool {
        let mut moved = false;
        loop {
            match self.replica.poll_output() {
                replica::Output::WakeAt(at, _) => {
                    self.replica_wake = at;
                    return moved;
                }
                replica::Output::Reply { engine, reply: Reply::Stored { .. }, .. }
                    if self.deaf == Some(engine) => {}
                replica::Output::Reply {
                    engine,
                    reply: Reply::Granted { .. } | Reply::Unchanged { .. },
                    ..
                } if self.dies_of_grant == Some(engine) => {
                    self.dies_of_grant = None;
                    self.engines.remove(&engine);
                    self.engine_wakes.remove(&engine);
                    self.replica.handle_input(self.now, replica::Input::EngineDown { engine });
                }
                replica::Output::Reply { engine, view, mut reply } => {
                    self.garble(&mut reply);
                    let input = Input::Reply { from: ReplicaId(1), view, reply };
                    if let Some(engine) = self.engines.get_mut(&engine) {
                        engine.handle_input(self.now, input);
                    }
                }
                // The scripts play the gate themselves.
                replica::Output::Gate(_) => {}
                other @ (replica::Output::Peer { .. }
                | replica::Output::Store(_)
                | replica::Output::Database(_)
                | replica::Output::Map(_)
                | replica::Output::Dropped { .. }
                | replica::Output::Expelled) => panic!("a replica of its own said {other:?}"),
            }
            moved = true;
        }
    }

    fn garble(&self, reply: &mut Reply) {
        if let Reply::Granted { key, record: Some(record), .. } = reply
            && self.garbles == Some(*key)
        {
            record.crossing = Bytes::from_static(b"\xff\xff\xff");
        }
    }

    /// An engine that no replica hears.
    pub(crate) fn lone_engine(&self, number: u64) -> Engine {
        let engine = EngineId(number);
        let mut lone = Engine::new(self.now, Config { engine, ..self.config.clone() });
        assert!(self.commands(&mut lone).0.is_empty());
        lone
    }

    /// What a lone engine says to replicas; what it sends counts as sent.
    pub(crate) fn commands_of(&mut self, engine: &mut Engine) -> Vec<Command> {
        let (commands, sent) = self.commands(engine);
        for (to, bytes) in sent {
            self.note_sent(to, &bytes);
        }
        commands
    }

    fn commands(&self, engine: &mut Engine) -> (Vec<Command>, Vec<(Destination, Bytes)>) {
        let (mut commands, mut sent) = (Vec::new(), Vec::new());
        loop {
            match engine.poll_output() {
                Output::WakeAt(..) => return (commands, sent),
                Output::Transmit { to, bytes } => sent.push((to, bytes)),
                Output::Command { command, .. } => commands.push(command),
                Output::Account { .. } | Output::Gate(_) | Output::Bounce { .. } => {}
            }
        }
    }

    fn command(&mut self, engine: EngineId, command: Command) {
        if let Some(reply) = self.intercept.as_mut().and_then(|intercept| intercept(&command)) {
            let view = ViewNumber(u64::from(self.here.0));
            let input = Input::Reply { from: ReplicaId(1), view, reply };
            if let Some(engine) = self.engines.get_mut(&engine) {
                engine.handle_input(self.now, input);
            }
            return;
        }
        let is_put = match &command {
            Command::Put { record, flags, .. } => {
                self.flags = *flags;
                self.puts.push(record.clone());
                true
            }
            Command::Delete { tombstone, .. } => {
                self.deletes.push(*tombstone);
                false
            }
            Command::LockAndGet { .. }
            | Command::Confirm { .. }
            | Command::Get { .. }
            | Command::Unlock { .. }
            | Command::Renew { .. }
            | Command::StoreDormant { .. }
            | Command::StoreTombstone { .. }
            | Command::Poisoned { .. } => false,
        };
        self.replica.handle_input(self.now, replica::Input::Command { engine, command });
        if is_put && self.dies_after_put == Some(engine) {
            self.dies_after_put = None;
            self.engines.remove(&engine);
            self.engine_wakes.remove(&engine);
            self.replica.handle_input(self.now, replica::Input::EngineDown { engine });
        }
    }

    fn note_sent(&mut self, to: Destination, bytes: &Bytes) {
        let to = match to {
            Destination::Addr(addr) => addr,
            Destination::Host { name, .. } => panic!("the scripts use no names: {name:?}"),
        };
        match parse_datagram(bytes, &sip_message::Limits::default()) {
            Ok(message) => self.sent.push((to, message)),
            // A refusal repeats the headers of what it refuses.
            Err(_) => assert!(bytes.starts_with(b"SIP/2.0 4") || bytes.starts_with(b"SIP/2.0 5")),
        }
    }
}

/// What a gate says.
pub(crate) fn sites(here: SiteState, alive: &[u16], wakes: &[u16], inbox: u64) -> GateWord {
    GateWord::Sites {
        here,
        start: 1,
        alive: alive.iter().map(|site| (SiteId(*site), SiteState::Serving)).collect(),
        wakes_on_message: wakes.iter().map(|site| SiteId(*site)).collect(),
        inbox,
    }
}

/// The B2BUA that sends every call to Bob.
pub(crate) fn b2bua() -> Arc<dyn Application> {
    let default_next_hop = Some(NextHop::Addr(BOB));
    Arc::new(B2bua::new(b2bua::Config { default_next_hop, ..b2bua::Config::default() }))
}

pub(crate) fn secret() -> TokenSecret {
    TokenSecret::new([3; 32])
}

pub(crate) fn setting(here: SiteId, applications: Vec<Arc<dyn Application>>) -> Setting {
    let edge = Edge { host: Host::Ip([198, 51, 100, 1].into()), port: 5060 };
    Setting { accounts: true, ..Setting::new(here, secret(), edge, applications) }
}

fn replica_config(here: SiteId, view: PartitionView) -> replica::Config {
    replica::Config {
        here,
        partition: PARTITION,
        replica: ReplicaId(1),
        view,
        shared: None,
        backup_to: None,
        limits: replica::Limits::default(),
        // An ask that waits for a lost lock is given up before the lock's lease ends.
        pace: replica::Pace { lock_lease: Duration::from_secs(10), ..replica::Pace::default() },
        spill: None,
    }
}
