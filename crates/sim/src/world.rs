//! The world: two sites, a balancer, agents and the network between them, on one thread.
//!
//! Every step takes the next event off the agenda, gives it to the core that it is for, and drains
//! that core: what comes out becomes later events. Nothing else moves. The cores are those of
//! production; this file stands where `node` stands there, and decides as little.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use balancer::EdgeFrame;
use replica::SiteInput;
use replica::gate::{GateInput, GateOutput, Steer};
use sip_message::Bytes;
use tier_protocol::{Command, Return, SiteWord, dictionary};
use vocab::{EngineId, Instant, ReplicaId, SiteId};

use crate::agenda::{Agenda, Next};
use crate::event::{DownWord, Event, Sleeper, UpWord};
use crate::network::{Network, Weather};
use crate::outside::{Datagram, Outside, resolve};
use crate::planted::Planted;
use crate::rng::Rng;
use crate::run::Survivor;
use crate::site::{
    EDGE_INNER, EngineProcess, OnDisk, PARTITION, Site, StateProcess, engine_addr, secret,
};
use crate::survey::Survey;
use crate::trace::Trace;
use crate::watch::Watch;
use crate::words;

/// Way of a word inside a site, microseconds.
const LAN: (u64, u64) = (30, 1_500);

/// Everything there is.
pub struct World {
    /// The present.
    pub now: Instant,
    /// What was seen of the cores, for the invariants.
    pub watch: Watch,
    /// What happened.
    pub trace: Trace,
    /// What the last looks at the replicas saw.
    pub survey: Survey,
    /// Answered calls that had crossed when their site was killed.
    pub survivors: Vec<Survivor>,
    /// No datagram is lost or overtaken.
    pub fair_weather: bool,
    pub(crate) sites: BTreeMap<SiteId, Site>,
    pub(crate) outside: Outside,
    pub(crate) agenda: Agenda<Event, Sleeper>,
    /// The life of the link between the sites; `None` while it is down.
    pub(crate) link: Option<u64>,
    pub(crate) link_is_cut: bool,
    /// A link that broke, and that the ends have not noticed yet.
    broken_link: Option<u64>,
    lives: u64,
    /// What the calls' session timers are made of.
    pub(crate) session: Duration,
    planted: Option<Planted>,
}

impl World {
    /// A world in which nothing runs yet but the balancer.
    pub(crate) fn new(
        rng: &mut Rng,
        weather: Weather,
        engines: usize,
        session: Duration,
        keep: bool,
        planted: Option<Planted>,
    ) -> Self {
        let now = Instant(1_000_000_000);
        let ids = [SiteId(1), SiteId(2)];
        let table = ids
            .iter()
            .map(|id| (*id, (0..engines).map(|index| engine_addr(*id, index)).collect()))
            .collect();
        let sites = ids
            .iter()
            .map(|id| {
                let engines = (0..engines).map(|_| None).collect();
                (*id, Site::new(*id, engines))
            })
            .collect();
        let mut world = Self {
            now,
            watch: Watch::default(),
            trace: Trace::new(keep),
            survey: Survey::default(),
            survivors: Vec::new(),
            fair_weather: false,
            sites,
            outside: Outside::new(now, table, Network::new(weather, rng.fork())),
            agenda: Agenda::default(),
            link: None,
            link_is_cut: false,
            broken_link: None,
            lives: 0,
            session,
            planted,
        };
        world.outside.drain_balancer(now, &mut world.agenda);
        for id in ids {
            world.start_site(id);
        }
        world
    }

    /// Puts a step of the scenario on the agenda.
    pub(crate) fn add_step(&mut self, at: Instant, index: usize) {
        self.agenda.add(at, Event::Step(index));
    }

    /// Takes the next event, if it comes at or before `until`. `Some(step)` is the scenario's.
    pub fn advance(&mut self, until: Instant) -> Advance {
        let Some((at, next)) = self.agenda.next(until) else {
            self.now = until;
            return Advance::Over;
        };
        self.now = self.now.max(at);
        match next {
            Next::Event(Event::Step(step)) => return Advance::Step(step),
            Next::Event(event) => self.happen(event),
            Next::Wake(sleeper) => self.wake(sleeper),
        }
        Advance::Went
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Datagram(datagram) => self.deliver(datagram),
            Event::ToState { site, life, engine, word } => {
                self.state_hears(site, life, engine, word)
            }
            Event::ToEngine { site, engine, word } => self.engine_hears(site, engine, word),
            Event::SiteWord { from, to, link, word } => {
                if self.link == Some(link) {
                    self.gate(to, GateInput::FromSite { site: from, word });
                }
            }
            Event::LinkBroke { link } => self.link_broke(link),
            Event::LinkUp => self.link_up(),
            Event::Appended { site, life, row } => {
                if self.life_of(site) == Some(life) {
                    self.gate(site, GateInput::QueueAppended { row });
                }
            }
            Event::StartEngine { site, index } => self.start_engine(site, index),
            Event::Step(_) => {}
        }
    }

    fn wake(&mut self, sleeper: Sleeper) {
        match sleeper {
            Sleeper::Outside(outsider) => {
                self.outside.wake(self.now, &mut self.agenda, outsider);
            }
            Sleeper::Engine(id) => {
                let Some((site, index)) = self.find_engine(id) else { return };
                match self.paused_until(site, index) {
                    Some(until) => self.agenda.wake_at(sleeper, until),
                    None => self.engine(site, index, engine::Input::Wake),
                }
            }
            Sleeper::Replica(site) => self.replica(site, replica::Input::Wake),
            Sleeper::Gate(site) => self.gate(site, GateInput::Wake),
        }
    }

    // ---- datagrams -------------------------------------------------------------------------

    fn send(&mut self, from: SocketAddr, to: SocketAddr, bytes: &Bytes) {
        self.outside.send(self.now, &mut self.agenda, (from, to), bytes);
    }

    fn deliver(&mut self, datagram: Datagram) {
        let Some((site, index)) = self.engine_at(datagram.to) else {
            let (agenda, trace) = (&mut self.agenda, &mut self.trace);
            return self.outside.deliver(self.now, agenda, trace, datagram);
        };
        match self.paused_until(site, index) {
            Some(until) => self.agenda.add(until, Event::Datagram(datagram)),
            None => self.frame_to_engine(site, index, &datagram.bytes),
        }
    }

    fn frame_to_engine(&mut self, site: SiteId, index: usize, bytes: &Bytes) {
        let id = self.sites[&site].engines[index].as_ref().map(|process| process.id);
        let Some(engine) = id else { return };
        let frame = EdgeFrame::decode(bytes, &secret());
        match frame {
            Ok(EdgeFrame::Inbound { source, offered_by, bytes }) => {
                self.outside.note_heard(self.now, source, &bytes);
                let input = engine::Input::Datagram { source, bytes, offered_by };
                self.engine(site, index, input);
            }
            Ok(EdgeFrame::Ping { nonce }) => {
                let serving = self.watch.is_serving(engine);
                let peers = Vec::new();
                let pong = EdgeFrame::Pong { nonce, engine, serving, peers }.encode(&secret());
                self.send(engine_addr(site, index), EDGE_INNER, &pong);
            }
            Ok(
                EdgeFrame::Outbound { .. }
                | EdgeFrame::Pong { .. }
                | EdgeFrame::Bounce { .. }
                | EdgeFrame::Report(_),
            )
            | Err(_) => {}
        }
    }

    // ---- drains ----------------------------------------------------------------------------

    pub(crate) fn engine(&mut self, site: SiteId, index: usize, input: engine::Input) {
        let now = self.now;
        let Some(process) = self.process(site, index) else { return };
        process.engine.handle_input(now, input);
        loop {
            let Some(process) = self.process(site, index) else { return };
            let id = process.id;
            match process.engine.poll_output() {
                engine::Output::Transmit { to, bytes } => {
                    self.watch.transmitted(self.now, id, &bytes);
                    let Some(to) = resolve(&to) else { continue };
                    let frame = EdgeFrame::Outbound { to, bytes }.encode(&secret());
                    self.send(engine_addr(site, index), EDGE_INNER, &frame);
                }
                engine::Output::Account { .. } => {}
                engine::Output::Bounce { source, bytes, to } => {
                    let frame = EdgeFrame::Bounce { source, to, bytes }.encode(&secret());
                    self.send(engine_addr(site, index), EDGE_INNER, &frame);
                }
                engine::Output::Command { to: _, partition: _, command } => {
                    self.watch.commanded(self.now, site, id, &command);
                    self.up(site, id, UpWord::Command(command));
                }
                engine::Output::Gate(word) => self.up(site, id, UpWord::Gate(word)),
                engine::Output::WakeAt(at, _) => {
                    self.agenda.wake_at(Sleeper::Engine(id), at);
                    return;
                }
            }
        }
    }

    pub(crate) fn replica(&mut self, site: SiteId, input: replica::Input) {
        let Some(state) = self.sites.get_mut(&site).and_then(|site| site.state.as_mut()) else {
            return;
        };
        state.replica.handle_input(self.now, input);
        self.drain_replica(site);
    }

    fn drain_replica(&mut self, site: SiteId) {
        loop {
            let Some(state) = self.sites.get_mut(&site).and_then(|site| site.state.as_mut()) else {
                return;
            };
            match state.replica.poll_output() {
                replica::Output::Reply { engine, view, reply } => {
                    self.watch.replied(self.now, site, engine, &reply);
                    self.down(site, engine, DownWord::Reply(view, reply));
                }
                // Each replica serves its site alone.
                replica::Output::Peer { .. }
                | replica::Output::Store(_)
                | replica::Output::Database(_)
                | replica::Output::Map(_)
                | replica::Output::Dropped { .. }
                | replica::Output::Expelled => {}
                replica::Output::Gate(output) => {
                    let input = GateInput::FromReplica { partition: PARTITION, output };
                    self.gate(site, input);
                }
                replica::Output::WakeAt(at, _) => {
                    self.agenda.wake_at(Sleeper::Replica(site), at);
                    return;
                }
            }
        }
    }

    pub(crate) fn gate(&mut self, site: SiteId, input: GateInput) {
        let Some(state) = self.sites.get_mut(&site).and_then(|site| site.state.as_mut()) else {
            return;
        };
        state.gate.handle_input(self.now, input);
        loop {
            let Some(state) = self.sites.get_mut(&site).and_then(|site| site.state.as_mut()) else {
                return;
            };
            let life = state.life;
            match state.gate.poll_output() {
                GateOutput::ToSite { site: to, word } => self.tell_site(site, to, word),
                GateOutput::ToEngine { engine, word } => {
                    self.down(site, engine, DownWord::Gate(word));
                }
                GateOutput::ToReplica { partition: _, input } | GateOutput::ToReplicas(input) => {
                    self.replica_site(site, input);
                }
                GateOutput::Open | GateOutput::Close => {
                    debug_assert!(false, "the site has one state process");
                }
                GateOutput::QueueAppend { batch } => self.append(site, life, batch),
                GateOutput::QueueRemove { row } => {
                    self.site_mut(site).disk.remove(&row);
                }
                GateOutput::QueueSetAside { row } => {
                    self.watch.set_aside += 1;
                    if let Some(on_disk) = self.site_mut(site).disk.get_mut(&row) {
                        on_disk.is_set_aside = true;
                    }
                }
                GateOutput::WakeAt(at, _) => {
                    self.agenda.wake_at(Sleeper::Gate(site), at);
                    return;
                }
            }
        }
    }

    /// The gate's words to the replica; what the replica answers goes back to the gate, after.
    fn replica_site(&mut self, site: SiteId, input: SiteInput) {
        self.replica(site, replica::Input::Site(input));
    }

    fn append(&mut self, site: SiteId, life: u64, batch: replica::gate::QueuedBatch) {
        let row = batch.row;
        let written_at = self.now + Duration::from_millis(1);
        let on_disk = OnDisk { batch, written_at, is_set_aside: false };
        self.site_mut(site).disk.insert(row, on_disk);
        let at = self.outside.network.stream(u64::from(site.0), 0, self.now, (200, 8_000));
        self.agenda.add(at, Event::Appended { site, life, row });
    }

    // ---- links -----------------------------------------------------------------------------

    fn up(&mut self, site: SiteId, engine: EngineId, word: UpWord) {
        let Some(life) = self.life_of(site) else { return };
        let at = self.outside.network.stream(engine.0, life, self.now, LAN);
        self.agenda.add(at, Event::ToState { site, life, engine, word });
    }

    fn down(&mut self, site: SiteId, engine: EngineId, word: DownWord) {
        let Some(life) = self.life_of(site) else { return };
        let at = self.outside.network.stream(life, engine.0, self.now, LAN);
        self.agenda.add(at, Event::ToEngine { site, engine, word });
    }

    fn state_hears(&mut self, site: SiteId, life: u64, engine: EngineId, word: UpWord) {
        if self.life_of(site) != Some(life) {
            return;
        }
        match word {
            UpWord::Hello => {
                self.replica(site, replica::Input::EngineUp { engine });
                self.gate(site, GateInput::EngineUp { engine, dictionary: dictionary::NEWEST });
            }
            UpWord::Command(command) => {
                self.watch.delivered(self.now, site, &command);
                let text = words::command(&command);
                self.trace.note(self.now, format_args!("  site {site} <- e{engine}  {text}"));
                let is_put = matches!(command, Command::Put { .. } | Command::Delete { .. });
                self.replica(site, replica::Input::Command { engine, command });
                if is_put {
                    self.count_put(site, engine);
                }
            }
            UpWord::Gate(word) => {
                let text = words::engine(&word);
                self.trace.note(self.now, format_args!("  gate {site} <- e{engine}  {text}"));
                self.gate(site, GateInput::FromEngine { engine, word });
            }
            UpWord::Gone => {
                self.watch.engine_gone(site, engine);
                self.replica(site, replica::Input::EngineDown { engine });
                self.gate(site, GateInput::EngineDown { engine });
            }
        }
    }

    fn engine_hears(&mut self, site: SiteId, engine: EngineId, word: DownWord) {
        let Some((_, index)) = self.find_engine(engine) else { return };
        if let Some(until) = self.paused_until(site, index) {
            self.agenda.add(until, Event::ToEngine { site, engine, word });
            return;
        }
        match word {
            DownWord::Reply(view, reply) => {
                self.watch.heard(self.now, engine, &reply);
                let text = words::reply(&reply);
                self.trace.note(self.now, format_args!("  site {site} -> e{engine}  {text}"));
                let from = only_replica(site);
                self.engine(site, index, engine::Input::Reply { from, view, reply });
            }
            DownWord::Gate(word) => {
                self.watch.told(engine, &word);
                let text = words::gate(&word);
                self.trace.note(self.now, format_args!("  gate {site} -> e{engine}  {text}"));
                self.engine(site, index, engine::Input::Gate(word));
            }
            DownWord::Up => {
                let replica = only_replica(site);
                self.engine(site, index, engine::Input::TierUp { replica });
            }
        }
    }

    fn tell_site(&mut self, from: SiteId, to: SiteId, word: SiteWord) {
        let Some(link) = self.link else { return };
        self.watch.crossed(self.now, from, to, &word);
        if let Some(text) = words::site(&word) {
            self.trace.note(self.now, format_args!("  gate {from} => gate {to}  {text}"));
        }
        let way = (5_000, self.outside.network.weather.wan_ms * 1_000);
        let at = self.outside.network.stream(
            u64::MAX - u64::from(from.0),
            u64::MAX - u64::from(to.0),
            self.now,
            way,
        );
        self.agenda.add(at, Event::SiteWord { from, to, link, word });
    }

    fn link_up(&mut self) {
        let both = self.sites.values().all(|site| site.state.is_some());
        if self.link.is_some() || self.link_is_cut || !both {
            return;
        }
        if let Some(broken) = self.broken_link {
            self.link_broke(broken);
        }
        self.lives += 1;
        self.link = Some(self.lives);
        self.watch.apart_at = self.now;
        self.trace.note(self.now, format_args!("the link between the sites is up"));
        self.gate(SiteId(1), GateInput::LinkUp { site: SiteId(2) });
        self.gate(SiteId(2), GateInput::LinkUp { site: SiteId(1) });
    }

    fn link_down(&mut self, notice_after: Duration) {
        let Some(link) = self.link.take() else { return };
        self.watch.apart_at = self.now;
        self.broken_link = Some(link);
        self.agenda.add(self.now + notice_after, Event::LinkBroke { link });
    }

    /// Both ends notice that a link broke: in time, or when they set up the next one.
    fn link_broke(&mut self, link: u64) {
        if self.broken_link != Some(link) {
            return;
        }
        self.broken_link = None;
        self.gate(SiteId(1), GateInput::LinkDown { site: SiteId(2) });
        self.gate(SiteId(2), GateInput::LinkDown { site: SiteId(1) });
    }

    // ---- life and death --------------------------------------------------------------------

    /// Starts a site's state process and all its engines.
    pub fn start_site(&mut self, id: SiteId) {
        self.lives += 1;
        let (now, life, planted) = (self.now, self.lives, self.planted);
        let site = self.site_mut(id);
        if site.state.is_some() {
            return;
        }
        site.start += 1;
        let loaded = site
            .disk
            .values()
            .filter(|on_disk| !on_disk.is_set_aside)
            .map(|on_disk| {
                let mut batch = on_disk.batch.clone();
                batch.waited = now.since(on_disk.written_at);
                batch
            })
            .collect();
        site.state = Some(StateProcess::new(now, id, site.start, life, planted));
        let (start, engines) = (site.start, site.engines.len());
        self.watch.site_started(id);
        self.trace.note(now, format_args!("site {id} starts for the {start}. time"));
        self.gate(id, GateInput::QueueLoaded(loaded));
        self.replica(id, replica::Input::Wake);
        for index in 0..engines {
            self.start_engine(id, index);
        }
        self.agenda.add(now + Duration::from_millis(50), Event::LinkUp);
    }

    /// From here on the engine whose put is the n-th to arrive dies at that moment.
    pub fn kill_engine_at_put(&mut self, site: SiteId, puts: u64) {
        self.site_mut(site).kill_engine_in = Some(puts);
    }

    /// From here on the site dies at the moment when the n-th put arrives.
    pub fn kill_site_at_put(&mut self, site: SiteId, puts: u64) {
        self.site_mut(site).kill_site_in = Some(puts);
    }

    fn count_put(&mut self, id: SiteId, engine: EngineId) {
        let site = self.site_mut(id);
        let kills_engine = count_down(&mut site.kill_engine_in);
        if count_down(&mut site.kill_site_in) {
            return self.kill_site(id);
        }
        if kills_engine && let Some((_, index)) = self.find_engine(engine) {
            self.kill_engine(id, index);
            let at = self.now + Duration::from_millis(500);
            self.agenda.add(at, Event::StartEngine { site: id, index });
        }
    }

    /// Kills every process of a site at once; its disk stays.
    pub fn kill_site(&mut self, id: SiteId) {
        if self.life_of(id).is_none() {
            return;
        }
        self.note_survivors(id);
        self.site_mut(id).kill_site_in = None;
        self.trace.note(self.now, format_args!("site {id} is killed"));
        self.watch.site_killed(self.now, id);
        let site = self.site_mut(id);
        site.state = None;
        for index in 0..site.engines.len() {
            self.drop_engine(id, index);
        }
        self.agenda.forget(Sleeper::Replica(id));
        self.agenda.forget(Sleeper::Gate(id));
        self.link_down(Duration::from_millis(20));
    }

    /// Starts an engine process under a new id.
    pub fn start_engine(&mut self, site: SiteId, index: usize) {
        if self.sites[&site].engines[index].is_some() || self.sites[&site].state.is_none() {
            return;
        }
        self.lives += 1;
        let id = EngineId(self.lives);
        let start = self.sites[&site].start;
        let process = EngineProcess::new(self.now, site, start, id, self.session, self.planted);
        self.site_mut(site).engines[index] = Some(process);
        self.trace.note(self.now, format_args!("engine {index} of site {site} starts as {id}"));
        self.up(site, id, UpWord::Hello);
        self.down(site, id, DownWord::Up);
        self.engine(site, index, engine::Input::Wake);
    }

    /// Kills one engine process; its state process notices the broken connection.
    pub fn kill_engine(&mut self, site: SiteId, index: usize) {
        let Some(id) = self.drop_engine(site, index) else { return };
        self.trace.note(self.now, format_args!("engine {index} of site {site} is killed ({id})"));
        self.up(site, id, UpWord::Gone);
    }

    fn drop_engine(&mut self, site: SiteId, index: usize) -> Option<EngineId> {
        let process = self.site_mut(site).engines[index].take()?;
        self.agenda.forget(Sleeper::Engine(process.id));
        self.watch.engine_died(process.id);
        Some(process.id)
    }

    /// Stops an engine process for a while, as SIGSTOP does.
    pub fn pause_engine(&mut self, site: SiteId, index: usize, for_: Duration) {
        let until = self.now + for_;
        self.trace.note(self.now, format_args!("engine {index} of site {site} stops for {for_:?}"));
        if let Some(process) = self.process(site, index) {
            process.paused_until = until;
        }
    }

    /// Cuts the link between the sites: nothing passes, and both notice after a while.
    pub fn cut_link(&mut self) {
        self.trace.note(self.now, format_args!("the link between the sites is cut"));
        self.link_is_cut = true;
        self.watch.links_cut += 1;
        self.link_down(Duration::from_secs(3));
    }

    /// A site loses every copy that it keeps of a call that lives at the other.
    pub fn lose_copies(&mut self, site: SiteId) {
        let now = self.now;
        let home = self.sites[&SiteId(3 - site.0)].state.as_ref();
        let Some((home, keeper)) = home.zip(self.sites[&site].state.as_ref()) else { return };
        if self.link.is_none() {
            return;
        }
        let lives_there = |key| {
            let story = home.replica.get(now, key);
            story.is_some_and(|story| !story.summary.is_dormant && !story.summary.is_stub)
        };
        let copies = keeper.replica.calls(None, usize::MAX).into_iter().filter(|line| {
            line.is_dormant && !line.is_stub && line.locked_by.is_none() && lives_there(line.key)
        });
        let keys: Vec<_> = copies.map(|line| line.key).collect();
        self.trace.note(now, format_args!("site {site} loses {} copies", keys.len()));
        let state = self.site_mut(site).state.as_mut();
        if let Some(state) = state {
            keys.iter().for_each(|key| state.replica.lose_copy(*key));
        }
        self.watch.copies_lost.extend(keys.into_iter().map(|key| (key, now)));
        self.replica(site, replica::Input::Wake);
    }

    /// Whether the sites could not talk at some time since then, or cannot now.
    pub(crate) fn was_apart_since(&self, since: Instant) -> bool {
        self.link.is_none() || self.watch.apart_at >= since
    }

    /// Heals the link.
    pub fn heal_link(&mut self) {
        self.link_is_cut = false;
        self.agenda.add(self.now + Duration::from_millis(100), Event::LinkUp);
    }

    /// An operator sends the site's calls to the other, or ends that.
    pub fn evacuate(&mut self, site: SiteId, on: bool) {
        let to = on.then_some(SiteId(3 - site.0));
        self.trace.note(self.now, format_args!("site {site} evacuates to {to:?}"));
        self.gate(site, GateInput::Steer(Steer::Evacuate(to)));
    }

    /// An operator stops or resumes the ways home of the site's calls. One that is returning takes
    /// no call while it is stopped, so that is left alone.
    pub fn steer_return(&mut self, site: SiteId, returning: Return) {
        let state = self.sites[&site].state.as_ref();
        let serves = state.is_some_and(|state| state.gate.stats(self.now).is_serving);
        if serves || returning == Return::Runs {
            self.trace.note(self.now, format_args!("return of site {site}: {returning:?}"));
            self.gate(site, GateInput::Steer(Steer::Return(returning)));
        }
    }

    /// Routes the calls of `home` to `to`.
    pub fn route(&mut self, home: SiteId, to: SiteId) {
        self.trace.note(self.now, format_args!("route: the calls of site {home} go to site {to}"));
        self.outside.route(self.now, home, to);
        self.outside.drain_balancer(self.now, &mut self.agenda);
    }

    // ---- look-ups --------------------------------------------------------------------------

    fn life_of(&self, site: SiteId) -> Option<u64> {
        self.sites.get(&site)?.state.as_ref().map(|state| state.life)
    }

    fn site_mut(&mut self, id: SiteId) -> &mut Site {
        self.sites.get_mut(&id).expect("both sites are made at the start and never leave")
    }

    fn process(&mut self, site: SiteId, index: usize) -> Option<&mut EngineProcess> {
        self.sites.get_mut(&site)?.engines.get_mut(index)?.as_mut()
    }

    fn paused_until(&self, site: SiteId, index: usize) -> Option<Instant> {
        let process = self.sites.get(&site)?.engines.get(index)?.as_ref()?;
        (process.paused_until > self.now).then_some(process.paused_until)
    }

    fn find_engine(&self, id: EngineId) -> Option<(SiteId, usize)> {
        self.sites.values().find_map(|site| {
            let index = site
                .engines
                .iter()
                .position(|process| process.as_ref().is_some_and(|process| process.id == id))?;
            Some((site.id, index))
        })
    }

    fn engine_at(&self, addr: SocketAddr) -> Option<(SiteId, usize)> {
        self.sites.values().find_map(|site| {
            let index =
                (0..site.engines.len()).find(|index| engine_addr(site.id, *index) == addr)?;
            Some((site.id, index))
        })
    }
}

/// What [`World::advance`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advance {
    /// One event happened.
    Went,
    /// The scenario's step of this number is due.
    Step(usize),
    /// Nothing more happens before the given instant.
    Over,
}

/// Counts a trigger down; true when it goes off.
fn count_down(trigger: &mut Option<u64>) -> bool {
    *trigger = trigger.map(|left| left.saturating_sub(1));
    trigger.take_if(|left| *left == 0).is_some()
}

fn only_replica(site: SiteId) -> ReplicaId {
    ReplicaId(u64::from(site.0))
}
