//! The world of one site or two: engines and replicas in processes of their own, on one thread.
//!
//! Every step takes the next event off the agenda, gives it to the core that it is for, and drains
//! that core. This file stands where `node` stands in production, and decides as little.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use balancer::EdgeFrame;
use replica::gate::GateInput;
use replica::{Order, StoreAsk};
use sip_message::Bytes;
use tier_protocol::{EngineWord, GateWord, PartitionView, PullAnswer, SlotMove};
use vocab::{EngineId, Instant, ReplicaId, SiteId};

use super::clock::Clock;
use super::coordination::{Coordination, Fate, PATIENCE};
use super::database::Database;
use super::event::{Event, Node, Sleeper, Word};
use super::faults::Triggers;
use super::gates::Inner;
use super::homes::Homes;
use super::links::{Links, Party};
use super::process::{EngineProcess, StatePlace};
use super::queue::Queue;
use super::scenario::{Scenario, Sizes};
use super::survey::Survey;
use super::views::Views;
use super::wan::Wan;
use super::watch::Watch;
use super::words;
use crate::agenda::{Agenda, Next};
use crate::agent::Agent;
use crate::network::Network;
use crate::outside::{Datagram, Outside, resolve};
use crate::planted::Planted;
use crate::rng::Rng;
use crate::site::{EDGE_INNER, secret};
use crate::trace::Trace;
use crate::world::Advance;

/// The way of a word to or from the coordination store, microseconds.
const STORE_WAY: (u64, u64) = (200, 4_000);

/// Everything there is.
pub(crate) struct World {
    pub(crate) now: Instant,
    pub(crate) watch: Watch,
    pub(crate) views: Views,
    pub(crate) trace: Trace,
    pub(crate) survey: Survey,
    /// Of replicas that are no more: records that left memory, and that came back.
    pub(crate) spilled_before: [u64; 2],
    pub(crate) outside: Outside,
    pub(crate) agenda: Agenda<Event, Sleeper>,
    pub(crate) engines: Vec<Option<EngineProcess>>,
    pub(crate) places: Vec<StatePlace>,
    pub(crate) links: Links,
    /// A site's own.
    pub(crate) stores: BTreeMap<SiteId, Coordination>,
    /// What was seen of calls that change their site.
    pub(crate) homes: Homes,
    pub(crate) wan: Wan,
    /// A site's queue of what others send it.
    pub(crate) queues: BTreeMap<SiteId, Queue>,
    /// Words between a process's own replica and gate.
    pub(crate) inner: VecDeque<(usize, u64, Inner)>,
    pub(crate) runs_inner: bool,
    /// What operators want of a site's calls, until its gate says that it is so.
    pub(crate) wanted_steering: BTreeMap<SiteId, super::operator::Wanted>,
    /// Calls that a fault may have lost, and of which nothing is promised from then on.
    pub(crate) unpromised: BTreeSet<usize>,
    /// Answered calls that had crossed when their site was lost.
    pub(crate) survivors: usize,
    /// Marks that had gathered, and how long they took to cross.
    pub(crate) drained: Option<(u64, Duration)>,
    /// Batches that no engine could read.
    pub(crate) set_aside: u64,
    /// Where calls go that are steady for long, in some runs.
    pub(crate) database: Option<Database>,
    pub(crate) sizes: Sizes,
    pub(crate) triggers: Triggers,
    /// Slots that an operator wants moved, until they are.
    pub(crate) wanted_move: Option<SlotMove>,
    /// The last living complete member of a view may be killed.
    pub(crate) may_lose: bool,
    /// No datagram is lost or overtaken.
    pub(crate) fair_weather: bool,
    /// Nothing fails but the coordination store.
    pub(crate) only_store_fails: bool,
    /// All faults are over.
    pub(crate) healed_at: Option<Instant>,
    pub(crate) rng: Rng,
    pub(crate) lives: u64,
    pub(crate) planted: Option<Planted>,
}

impl World {
    pub(crate) fn new(
        rng: &mut Rng,
        scenario: &Scenario,
        keep: bool,
        planted: Option<Planted>,
    ) -> Self {
        let now = Instant(1_000_000_000);
        let sizes = scenario.sizes;
        let engines = |site| sizes.engines_of(site).map(|place| sizes.edge_addr(place)).collect();
        let table: BTreeMap<_, _> = sizes.all_sites().map(|site| (site, engines(site))).collect();
        let network = Network::new(scenario.weather, rng.fork());
        let partitions = scenario.places.iter().enumerate();
        let mut world = Self {
            now,
            watch: Watch::default(),
            views: Views::default(),
            trace: Trace::new(keep),
            survey: Survey::default(),
            spilled_before: [0; 2],
            outside: Outside::new(now, table, network),
            agenda: Agenda::default(),
            engines: (0..sizes.all_engines()).map(|_| None).collect(),
            places: partitions.map(|(index, of)| StatePlace::new(index, *of)).collect(),
            links: Links::default(),
            stores: sizes
                .all_sites()
                .map(|site| (site, Coordination::new(site, rng.fork())))
                .collect(),
            homes: Homes::default(),
            wan: Wan::default(),
            queues: BTreeMap::new(),
            inner: VecDeque::new(),
            runs_inner: false,
            wanted_steering: BTreeMap::new(),
            unpromised: BTreeSet::new(),
            survivors: 0,
            drained: None,
            set_aside: 0,
            database: scenario.database.clone().map(Database::new),
            sizes,
            triggers: Triggers::default(),
            wanted_move: None,
            may_lose: scenario.may_lose,
            fair_weather: scenario.weather.is_fair(),
            only_store_fails: scenario.only_store_fails,
            healed_at: None,
            rng: rng.fork(),
            lives: 0,
            planted,
        };
        if sizes.sites > 1 {
            for site in sizes.all_sites() {
                world.queues.insert(site, Queue::new(sizes.queue_batches_max, rng.fork()));
            }
        }
        world.outside.drain_balancer(now, &mut world.agenda);
        world.outside.add_calls(&scenario.calls);
        for (index, (at, _)) in scenario.steps.iter().enumerate() {
            world.agenda.add(*at, Event::Step(index));
        }
        for place in 0..world.places.len() {
            let at = now + world.rng.between_us(0, 50_000);
            world.agenda.add(at, Event::Start(Node::State(place)));
        }
        for engine in 0..world.engines.len() {
            world.start_engine(engine);
        }
        world.agenda.add(now, Event::Tick);
        world
    }

    /// Takes the next event, if it comes at or before `until`.
    pub(crate) fn advance(&mut self, until: Instant) -> Advance {
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
            Event::Word { link, end, word } => self.hear(link, end, word),
            Event::Refused { place, life, replica } => self.refused(place, life, replica),
            Event::StoreAsk { place, life, replica, ask } => {
                self.store_asked(place, life, replica, ask);
            }
            Event::StoreLate { site, ask } => {
                let wrote = self.store_mut(site).carry_out(ask).1;
                self.tell_written(site, wrote);
            }
            Event::StoreWords { place, life, replica, words } => {
                self.store_answers(place, life, replica, words);
            }
            Event::DatabaseAsk { place, process, ask } => self.database_asked(place, process, ask),
            Event::DatabaseWord { place, process, word } => {
                self.database_says(place, process, word);
            }
            Event::DatabaseBack { place } => self.database_back(place),
            Event::Pulled { place, engine, word } => {
                if self.engines[place].as_ref().is_some_and(|process| process.id == engine) {
                    match self.paused_until(Node::Engine(place)) {
                        Some(at) => self.agenda.add(at, Event::Pulled { place, engine, word }),
                        None => self.engine(place, engine::Input::Gate(word)),
                    }
                }
            }
            Event::Wan { link, to_dialler, word } => self.hear_wan(link, to_dialler, word),
            Event::WanHeal { from, to, cut } => self.heal_wan(from, to, Some(cut)),
            Event::Queue { place, process, opening, work } => {
                self.queue_hears(place, process, opening, work);
            }
            Event::QueueTold { place, process, opening, told } => {
                self.queue_told(place, process, opening, told);
            }
            Event::Resume { node, life } => self.resumed(node, life),
            Event::Tick => self.tick(),
            Event::Step(_) => {}
            Event::Start(Node::Engine(place)) => self.start_engine(place),
            Event::Start(Node::State(place)) => self.start_state(place),
            Event::Heal { from, to, cut } => self.heal_way(from, to, cut),
            Event::SpeedUp { from, to } => self.links.speed_up(from, to),
        }
    }

    fn wake(&mut self, sleeper: Sleeper) {
        let node = match sleeper {
            Sleeper::Outside(outsider) => {
                return self.outside.wake(self.now, &mut self.agenda, outsider);
            }
            Sleeper::Engine(place) => Node::Engine(place),
            Sleeper::State(place) | Sleeper::Gate(place) => Node::State(place),
        };
        match (self.paused_until(node), sleeper) {
            (Some(until), _) => self.agenda.wake_at(sleeper, until),
            (None, Sleeper::Engine(place)) => self.engine(place, engine::Input::Wake),
            (None, Sleeper::State(place)) => self.replica(place, replica::Input::Wake),
            (None, Sleeper::Gate(place)) => self.gate(place, GateInput::Wake),
            (None, Sleeper::Outside(_)) => {}
        }
    }

    // ---- datagrams -------------------------------------------------------------------------

    fn send(&mut self, from: SocketAddr, to: SocketAddr, bytes: &Bytes) {
        self.outside.send(self.now, &mut self.agenda, (from, to), bytes);
    }

    fn deliver(&mut self, datagram: Datagram) {
        let mut places = 0..self.engines.len();
        let place = places.find(|place| self.sizes.edge_addr(*place) == datagram.to);
        let Some(place) = place else {
            let (agenda, trace) = (&mut self.agenda, &mut self.trace);
            return self.outside.deliver(self.now, agenda, trace, datagram);
        };
        match self.paused_until(Node::Engine(place)) {
            Some(until) => self.agenda.add(until, Event::Datagram(datagram)),
            None => self.frame_to_engine(place, &datagram.bytes),
        }
    }

    fn frame_to_engine(&mut self, place: usize, bytes: &Bytes) {
        let Some(engine) = self.engines[place].as_ref().map(|process| process.id) else { return };
        match EdgeFrame::decode(bytes, &secret()) {
            Ok(EdgeFrame::Inbound { source, offered_by, bytes }) => {
                self.note_behind_cut(place, source);
                self.engine(place, engine::Input::Datagram { source, bytes, offered_by });
            }
            Ok(EdgeFrame::Ping { nonce }) => {
                let serving = self.watch.is_serving(engine);
                let peers = Vec::new();
                let pong = EdgeFrame::Pong { nonce, engine, serving, peers }.encode(&secret());
                self.send(self.sizes.edge_addr(place), EDGE_INNER, &pong);
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

    pub(crate) fn with_agent(&mut self, addr: SocketAddr, act: impl FnOnce(&mut Agent, Instant)) {
        let now = self.now;
        self.outside.with_agent(now, &mut self.agenda, addr, |agent| act(agent, now));
    }

    // ---- engines ---------------------------------------------------------------------------

    pub(crate) fn engine(&mut self, place: usize, input: engine::Input) {
        let (now, here) = (self.now, self.sizes.edge_addr(place));
        let site = self.sizes.site_of_engine(place);
        let Some(process) = self.engines[place].as_mut() else { return };
        process.engine.handle_input(process.clock.shows(now), input);
        loop {
            let Some(process) = self.engines[place].as_mut() else { return };
            let (id, clock) = (process.id, process.clock);
            match process.engine.poll_output() {
                engine::Output::Transmit { to, bytes } => {
                    self.watch.transmitted(self.now, id, &bytes);
                    let Some(to) = resolve(&to) else { continue };
                    let frame = EdgeFrame::Outbound { to, bytes }.encode(&secret());
                    self.send(here, EDGE_INNER, &frame);
                }
                engine::Output::Bounce { source, bytes, to } => {
                    let frame = EdgeFrame::Bounce { source, to, bytes }.encode(&secret());
                    self.send(here, EDGE_INNER, &frame);
                }
                engine::Output::Account { .. } => {}
                engine::Output::Command { to, partition: _, command } => {
                    self.watch.commanded(self.now, (site, id), &command);
                    self.homes.commanded(&command);
                    let is_put = words::is_put(&command);
                    let link = self.links.to(Node::Engine(place), Party::Replica(to));
                    if let Some((link, end)) = link {
                        self.say(link, end, Word::Command(command));
                    }
                    if is_put && self.triggers.engine_dies(&mut self.rng) {
                        self.kill_engine(place);
                        let at = self.now + Duration::from_millis(500);
                        self.agenda.add(at, Event::Start(Node::Engine(place)));
                    }
                }
                engine::Output::Gate(word) => self.gate_hears(place, id, word),
                engine::Output::WakeAt(at, _) => {
                    self.agenda.wake_at(Sleeper::Engine(place), clock.moment(at));
                    return;
                }
            }
        }
    }

    /// Carries an engine's word to its site's gate. Without other sites there is none, and nobody
    /// else could have the call.
    fn gate_hears(&mut self, place: usize, engine: EngineId, word: EngineWord) {
        if self.sizes.sites > 1 {
            let keeper = self.engines[place].as_ref().and_then(EngineProcess::keeper);
            let to = |keeper| self.links.to(Node::Engine(place), Party::Replica(keeper));
            if let Some((link, end)) = keeper.and_then(to) {
                self.say(link, end, Word::EngineGate(word));
            }
            return;
        }
        if let EngineWord::Pull { key, turn } = word {
            let at = self.now + self.rng.between_us(100, 2_000);
            let word = GateWord::Pulled { key, turn, answer: PullAnswer::NoSuch };
            self.agenda.add(at, Event::Pulled { place, engine, word });
        }
    }

    /// An engine hears who serves a partition.
    pub(crate) fn engine_hears_view(&mut self, place: usize, view: PartitionView) {
        if let Some(process) = self.engines[place].as_mut() {
            let known = process.views.get(&view.partition).map(|known| known.number);
            if known < Some(view.number) {
                process.views.insert(view.partition, view.clone());
            }
        }
        self.engine(place, engine::Input::NewView(view));
    }

    // ---- replicas --------------------------------------------------------------------------

    pub(crate) fn run_replica(&mut self, place: usize, input: replica::Input) {
        let (now, site) = (self.now, self.places[place].site);
        let Some(process) = self.places[place].process.as_mut() else { return };
        let clock = process.clock;
        process.replica.handle_input(clock.shows(now), input);
        let life = process.life;
        loop {
            let process = self.places[place].process.as_mut().filter(|one| one.life == life);
            let Some(process) = process else { return };
            let id = process.replica.id();
            match process.replica.poll_output() {
                replica::Output::Reply { engine, view, reply } => {
                    let leads = process.replica.leads();
                    let who = (site, id, leads);
                    self.watch.replied(self.now, &self.views, who, (engine, view), &reply);
                    self.homes.replied(self.now, who, &reply);
                    let link = self.links.to(Node::State(place), Party::Engine(engine));
                    if let Some((link, end)) = link {
                        self.say(link, end, Word::Reply(view, reply));
                    }
                }
                replica::Output::Dropped { .. } => {}
                replica::Output::Gate(words) => self.tell_gate(place, words),
                replica::Output::Database(ask) => self.ask_database(place, ask),
                replica::Output::Peer { replica, word } => {
                    let link = self.links.to(Node::State(place), Party::Replica(replica));
                    if let Some((link, end)) = link {
                        self.say(link, end, Word::Peer(word));
                    }
                }
                replica::Output::Store(ask) => self.ask_store(place, life, id, ask),
                replica::Output::Map(map) => {
                    let before = std::mem::replace(&mut process.map, map.clone());
                    self.tell_views(place);
                    let input = GateInput::Map { replica: id, map };
                    self.inner(place, Inner::Gate(input));
                    self.note_seated(place, &before);
                }
                replica::Output::Expelled => self.reborn(place),
                replica::Output::WakeAt(at, _) => {
                    self.agenda.wake_at(Sleeper::State(place), clock.moment(at));
                    return;
                }
            }
        }
    }

    /// Engines hear of views before anything that is said in them.
    fn tell_views(&mut self, place: usize) {
        for (link, end) in self.links.ends_of(Node::State(place)) {
            if let Some(Party::Engine(_)) = self.links.all[&link].ends[end].peer {
                self.say_views(place, link, end);
            }
        }
    }

    pub(crate) fn say_views(&mut self, place: usize, link: u64, end: usize) {
        let Some(process) = &self.places[place].process else { return };
        let views = process.map.partitions.iter().filter(|view| !view.members.is_empty());
        for view in views.cloned().collect::<Vec<_>>() {
            self.say(link, end, Word::View(view));
        }
    }

    pub(crate) fn order(&mut self, place: usize, order: Order) {
        self.replica(place, replica::Input::Order(order));
    }

    // ---- the coordination store ------------------------------------------------------------

    fn ask_store(&mut self, place: usize, life: u64, replica: ReplicaId, ask: StoreAsk) {
        let at = self.now + self.rng.between_us(STORE_WAY.0, STORE_WAY.1);
        self.agenda.add(at, Event::StoreAsk { place, life, replica, ask });
    }

    fn store_asked(&mut self, place: usize, life: u64, replica: ReplicaId, ask: StoreAsk) {
        let (now, site) = (self.now, self.places[place].site);
        let fate = self.store_mut(site).fate(now, place, &ask);
        if fate != Fate::Answered {
            self.trace
                .note(self.now, format_args!("the store does not answer {replica}: {fate:?}"));
        }
        let (words, wrote, after) = match fate {
            Fate::Answered => {
                let (words, wrote) = self.store_mut(site).carry_out(ask);
                (words, wrote, self.rng.between_us(STORE_WAY.0, STORE_WAY.1))
            }
            Fate::Refused => {
                let away = replica::StoreWord::Away { may_have_happened: false };
                (vec![away], false, Duration::from_millis(1))
            }
            Fate::Unanswered(happens) => {
                let mut wrote = false;
                match happens {
                    Some(Duration::ZERO) => wrote = self.store_mut(site).carry_out(ask).1,
                    Some(after) => {
                        self.agenda.add(self.now + after, Event::StoreLate { site, ask });
                    }
                    None => {}
                }
                (vec![replica::StoreWord::Away { may_have_happened: true }], wrote, PATIENCE)
            }
        };
        self.tell_written(site, wrote);
        self.agenda.add(self.now + after, Event::StoreWords { place, life, replica, words });
    }

    /// Everybody watches the map; the news come late to some.
    fn tell_written(&mut self, site: SiteId, wrote: bool) {
        if !wrote {
            return;
        }
        self.note_views(site);
        for place in 0..self.places.len() {
            if self.places[place].site != site {
                continue;
            }
            let Some(process) = &self.places[place].process else { continue };
            let (life, replica) = (process.life, process.replica.id());
            let is_late = self.rng.chance(self.sizes.late_news);
            let longest = if is_late { 3_000_000 } else { 15_000 };
            let mut from = self.now;
            if let Some(back) = self.store(site).away_until(self.now, place) {
                from = back;
            }
            let stream = u64::try_from(place).unwrap_or(u64::MAX);
            let way = (300, longest);
            let at = self.outside.network.stream(u64::MAX, u64::MAX - stream, from, way);
            let words = vec![self.store(site).told(false)];
            self.agenda.add(at, Event::StoreWords { place, life, replica, words });
        }
    }

    fn store_answers(
        &mut self,
        place: usize,
        life: u64,
        replica: ReplicaId,
        words: Vec<replica::StoreWord>,
    ) {
        if let Some(at) = self.paused_until(Node::State(place)) {
            return self.agenda.add(at, Event::StoreWords { place, life, replica, words });
        }
        for word in words {
            let process = self.places[place].process.as_ref();
            if process.is_none_or(|one| one.life != life || one.replica.id() != replica) {
                return;
            }
            self.replica(place, replica::Input::Store(word));
        }
    }

    // ---- look-ups --------------------------------------------------------------------------

    pub(crate) fn paused_until(&self, node: Node) -> Option<Instant> {
        let run = self.running(node)?;
        run.is_paused(self.now).then_some(run.paused_until)
    }

    pub(crate) fn running(&self, node: Node) -> Option<super::process::Running> {
        match node {
            Node::Engine(place) => self.engines.get(place)?.as_ref().map(|process| process.run),
            Node::State(place) => self.places.get(place)?.process.as_ref().map(|one| one.run),
        }
    }

    /// Whether an agent's call was lost with every complete member of its view, or may have been.
    pub(crate) fn is_exempt(&self, addr: SocketAddr) -> bool {
        if self.sizes.sites > 1 {
            return self.is_unpromised(addr);
        }
        match self.outside.key_of_call(addr) {
            Some(key) => self.views.is_lost(key),
            None => !self.views.lost.is_empty(),
        }
    }

    pub(crate) fn store(&self, site: SiteId) -> &Coordination {
        self.stores.get(&site).expect("every site has one from the start")
    }

    pub(crate) fn store_mut(&mut self, site: SiteId) -> &mut Coordination {
        self.stores.get_mut(&site).expect("every site has one from the start")
    }

    pub(crate) fn site_of(&self, node: Node) -> SiteId {
        match node {
            Node::Engine(place) => self.sizes.site_of_engine(place),
            Node::State(place) => self.places[place].site,
        }
    }

    /// The clock of a process that starts now.
    pub(crate) fn new_clock(&mut self, node: Node) -> Clock {
        if self.sizes.sites == 1 {
            return Clock::WORLD;
        }
        // Drawn in any case: the dice fall alike with such clocks and without.
        let ahead = Duration::from_millis(self.rng.below(7_200_000));
        let ahead = if self.sizes.is_skewed { ahead } else { Duration::ZERO };
        let rate = if self.sizes.fast == Some(node) { 2 } else { 1 };
        Clock::new(self.now, ahead, rate)
    }

    pub(crate) fn place_of(&self, replica: ReplicaId) -> Option<usize> {
        self.places.iter().position(|place| {
            place.process.as_ref().is_some_and(|process| process.replica.id() == replica)
        })
    }
}
