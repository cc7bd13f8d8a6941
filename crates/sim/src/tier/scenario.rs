//! What a seed asks of a world of many machines: its size, calls, requests inside them, and faults.

use std::time::Duration;

use replica::SpillAfter;
use sip_message::Method;
use tier_protocol::Return;
use tier_protocol::{SlotMove, SlotSet};
use vocab::{Instant, PartitionId, SiteId};

use super::event::Node;
use super::process::HERE;
use crate::agent::{Answer, Manner};
use crate::network::Weather;
use crate::rng::Rng;
use crate::scenario::{Party, Placed, draw_call};
use crate::site::SESSION;

/// Calls of the longest run.
const CALLS_MAX: u64 = 14;
/// When calls begin: the site has founded itself by then.
pub(crate) const CALLS_FROM_MS: u64 = 2_000;
/// Time for calls to leave memory between two refreshes.
pub(crate) const SPILLING_SESSION: Duration = Duration::from_secs(60);
/// When the last fault begins, at the latest.
pub(crate) const FAULTS_UNTIL_MS: u64 = 60_000;

/// A partition of a site.
pub(crate) type Shard = (SiteId, u16);

/// The role of the replica at which a put arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Primary,
    Follower,
    Joiner,
    Any,
}

/// Who dies at a put, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AtPut {
    /// The replica, before it has the put.
    Before(Role),
    /// The replica, when it has it.
    After(Role),
    /// The engine, before the first replica has it.
    EngineBefore,
    /// The engine, when the first replica has it.
    EngineAfter,
    /// The engine, while it sends it to one replica after the other.
    EngineSends,
}

/// One thing that the scenario does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// A caller places its call.
    Call(usize),
    /// A caller gives up.
    Cancel(usize),
    /// An agent sends a request inside its dialog, if it is up.
    Ask(usize, Party, Method),
    /// A process is killed.
    Kill(Node),
    /// A process starts.
    Start(Node),
    /// The primary of a partition is killed, and started again after a while.
    KillPrimary(Shard, Duration),
    /// Every replica of a partition is killed.
    KillPartition(Shard),
    /// The n-th put from then on is somebody's last.
    AtPut(u64, AtPut),
    /// A process stops for a while.
    Pause(Node, Duration),
    /// The primary of a partition stops for a while.
    PausePrimary(Shard, Duration),
    /// Nothing passes one way for a while.
    Cut(Node, Node, Duration),
    /// The primary of a partition and a process are cut apart, both ways.
    CutFromPrimary(Shard, Node, Duration),
    /// Nothing passes to or from a process for a while.
    Isolate(Node, Duration),
    /// Nothing passes between the primary and the other replicas, nor the coordination store.
    IsolatePrimary(Shard, Duration),
    /// The links between two processes break, at both ends at once.
    Reset(Node, Node),
    /// Words take so long, for a while.
    Slow(Node, Node, Duration, Duration),
    /// Words to and from a process take so long, but for those of a partition's primary.
    SlowButPrimary(Shard, Node, Duration, Duration),
    /// The coordination store does not answer: all, or one. It hangs, or refuses.
    StoreAway(SiteId, Option<usize>, bool, Duration),
    /// The coordination store hangs from the next change on, for so long.
    StoreHangsAtWrite(SiteId, Duration),
    /// An operator divides a partition.
    Move(SlotMove),
    /// The database cannot be used: by all, or by one.
    DatabaseAway(Option<usize>, Duration),
    /// The database is slow.
    DatabaseSlow(Duration),
    /// All processes of a site are killed.
    KillSite(SiteId),
    /// A site is started again.
    StartSite(SiteId),
    /// Nothing passes from one site to another, for a while.
    CutSites(SiteId, SiteId, Duration),
    /// Calls of one home are routed to a site.
    Route(SiteId, SiteId),
    /// An operator orders the bulk activation of a site's calls at the other.
    ActivateAll(SiteId),
    /// An operator sends a site's calls to the other, or ends that.
    Evacuate(SiteId, bool),
    /// An operator stops or resumes the ways home.
    Return(SiteId, Return),
    /// A site's queue does not answer.
    QueueAway(SiteId, Duration),
    /// A site's queue is slow.
    QueueSlow(SiteId, Duration),
    /// Old batches come to a site once more.
    QueueAgain(SiteId, u64),
}

/// The site's size, and its paces.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    pub(crate) sites: u16,
    /// At each site.
    pub(crate) engines: usize,
    pub(crate) partitions: u16,
    pub(crate) replicas: u16,
    pub(crate) copy_page_max: usize,
    pub(crate) copy_per_s: u32,
    pub(crate) muted_max: usize,
    /// News of the coordination store that come late, of 1,000.
    pub(crate) late_news: u64,
    /// A session lasts for so long unless it is refreshed at half of that.
    pub(crate) session: Duration,
    /// How calls that are left alone leave memory, if they do.
    pub(crate) spill: Option<SpillSizes>,
    /// Batches that a gate lets wait, and that a queue takes.
    pub(crate) inbox_batches_max: usize,
    pub(crate) queue_batches_max: usize,
    /// Half of the engines let calls cross while they ring.
    pub(crate) is_early: bool,
    /// Each process has a clock of its own, and this one's runs twice too fast.
    pub(crate) is_skewed: bool,
    pub(crate) fast: Option<Node>,
}

/// How calls leave memory for the database.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SpillSizes {
    rest: Duration,
    per_s: u32,
    batch_max: usize,
    in_flight_max: usize,
    answer_wait: Duration,
    removes_max: usize,
    calls_max: usize,
}

/// All that one seed asks for.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) sizes: Sizes,
    /// The partition of each replica's place.
    pub(crate) places: Vec<Shard>,
    pub(crate) weather: Weather,
    pub(crate) calls: Vec<(Manner, Manner)>,
    /// What happens when, by time.
    pub(crate) steps: Vec<(Instant, Action)>,
    pub(crate) may_lose: bool,
    pub(crate) only_store_fails: bool,
    /// The dice of the database, if the site has one.
    pub(crate) database: Option<Rng>,
    /// Faults of replicas: each may change views.
    pub(crate) faults: u64,
    pub(crate) heal_at: Instant,
}

pub(crate) fn at_ms(ms: u64) -> Instant {
    Instant(1_000_000_000) + Duration::from_millis(ms)
}

pub(crate) fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

impl SpillSizes {
    fn draw(rng: &mut Rng) -> Self {
        let is_narrow = rng.chance(200);
        Self {
            rest: ms(300 + rng.below(4_000)),
            per_s: if rng.chance(200) { 1 } else { 2_000 },
            batch_max: 1 + usize::try_from(rng.below(4)).unwrap_or(0),
            in_flight_max: if is_narrow { 1 } else { 64 },
            answer_wait: ms(if rng.chance(500) { 1_500 } else { 10_000 }),
            removes_max: if is_narrow { 2 } else { 65_536 },
            calls_max: if is_narrow { 3 } else { 10_000 },
        }
    }

    pub(crate) fn config(self) -> replica::Spill {
        replica::Spill {
            after: SpillAfter::Steady(self.rest),
            per_s: self.per_s,
            batch_max: self.batch_max,
            stores_in_flight_max: self.in_flight_max,
            fetches_in_flight_max: self.in_flight_max,
            answer_wait: self.answer_wait,
            removes_max: self.removes_max,
            calls_max: self.calls_max,
            ..replica::Spill::default()
        }
    }
}

impl Scenario {
    /// The scenario of a seed. What a database adds has dice of its own: the others fall alike with
    /// it and without.
    #[must_use]
    pub(crate) fn draw(rng: &mut Rng, spill_rng: &mut Rng) -> Self {
        let partitions = 1 + u16::from(rng.chance(300));
        let replicas = 2 + u16::from(rng.chance(600));
        let sizes = Sizes {
            sites: 1,
            engines: 2 + usize::from(rng.chance(500)),
            partitions,
            replicas,
            copy_page_max: 1 + usize::try_from(rng.below(6)).unwrap_or(0),
            copy_per_s: [2, 10, 1_000][usize::try_from(rng.below(3)).unwrap_or(0)],
            muted_max: if rng.chance(100) { 2 } else { 16_384 },
            late_news: [0, 200, 700][usize::try_from(rng.below(3)).unwrap_or(0)],
            session: SESSION,
            spill: None,
            inbox_batches_max: 100_000,
            queue_batches_max: 100_000,
            is_early: false,
            is_skewed: false,
            fast: None,
        };
        let shards = (0..replicas).flat_map(|_| 0..partitions);
        let places = shards.map(|partition| (HERE, partition)).collect();
        let mut scenario = Self {
            sizes,
            places,
            weather: Weather::draw(rng),
            calls: Vec::new(),
            steps: Vec::new(),
            may_lose: rng.chance(60),
            only_store_fails: rng.chance(70),
            database: None,
            faults: 0,
            heal_at: at_ms(0),
        };
        for call in 0..2 + usize::try_from(rng.below(CALLS_MAX - 1)).unwrap_or(1) {
            scenario.draw_call(rng, call);
        }
        scenario.draw_faults(rng);
        scenario.draw_database(spill_rng);
        // Steps of one instant keep their order: the sort is stable.
        scenario.steps.sort_by_key(|(at, _)| *at);
        let last = scenario.steps.last().map_or(at_ms(0), |(at, _)| *at);
        scenario.heal_at = last.max(at_ms(FAULTS_UNTIL_MS / 2)) + ms(500);
        scenario
    }

    pub(crate) fn add(&mut self, at: u64, action: Action) {
        self.steps.push((at_ms(at), action));
    }

    fn draw_call(&mut self, rng: &mut Rng, call: usize) {
        let (manners, placed) = draw_call(rng, 25_000, 40_000);
        self.calls.push(manners);
        for (at, what) in placed {
            let at = CALLS_FROM_MS + at;
            self.add(
                at,
                match what {
                    Placed::Call => Action::Call(call),
                    Placed::Cancel => Action::Cancel(call),
                    Placed::Ask(party, method) => Action::Ask(call, party, method),
                },
            );
        }
    }

    // ---- faults ----------------------------------------------------------------------------

    fn draw_faults(&mut self, rng: &mut Rng) {
        if self.only_store_fails {
            for _ in 0..1 + rng.below(12) {
                self.draw_store_away(rng);
            }
            return self.draw_move(rng);
        }
        // A run of one kind of fault finds what many kinds at once would hide.
        let kinds: [fn(&mut Self, &mut Rng); 10] = [
            Self::draw_replica_loss,
            Self::draw_death_at_put,
            Self::draw_pause,
            Self::draw_engine_loss,
            Self::draw_cut,
            Self::draw_flapping,
            Self::draw_store_away,
            Self::draw_slow,
            Self::draw_deposed_primary,
            Self::draw_faithful_engine,
        ];
        let chance = 120 + rng.below(350);
        for kind in kinds {
            if rng.chance(chance) {
                for _ in 0..1 + rng.below(3) {
                    kind(self, rng);
                }
            }
        }
        if rng.chance(250) {
            self.draw_move(rng);
        }
        if self.may_lose && rng.chance(500) {
            self.draw_loss(rng);
        }
    }

    /// The site of the next fault.
    pub(crate) fn site(&self, rng: &mut Rng) -> SiteId {
        let is_other = self.sizes.sites > 1 && rng.chance(500);
        SiteId(HERE.0 + u16::from(is_other))
    }

    pub(crate) fn state(&self, rng: &mut Rng, site: SiteId) -> Node {
        let places = self.places.iter().enumerate().filter(|(_, (of, _))| *of == site);
        let places: Vec<usize> = places.map(|(place, _)| place).collect();
        Node::State(places[usize::try_from(rng.below(places.len() as u64)).unwrap_or(0)])
    }

    pub(crate) fn engine(&self, rng: &mut Rng, site: SiteId) -> Node {
        let engines = self.sizes.engines as u64;
        let index = usize::try_from(rng.below(engines)).unwrap_or(0);
        Node::Engine(self.sizes.engines_of(site).start + index)
    }

    fn anybody(&self, rng: &mut Rng, site: SiteId) -> Node {
        if rng.chance(600) { self.state(rng, site) } else { self.engine(rng, site) }
    }

    fn partition(&self, rng: &mut Rng, site: SiteId) -> Shard {
        (site, u16::try_from(rng.below(u64::from(self.sizes.partitions))).unwrap_or(0))
    }

    pub(crate) fn when(rng: &mut Rng) -> u64 {
        3_000 + rng.below(FAULTS_UNTIL_MS - 3_000)
    }

    pub(crate) fn draw_replica_loss(&mut self, rng: &mut Rng) {
        let (at, site) = (Self::when(rng), self.site(rng));
        self.faults += 1;
        let back = 20 + rng.below(9_000);
        if rng.chance(500) {
            return self.add(at, Action::KillPrimary(self.partition(rng, site), ms(back)));
        }
        let node = self.state(rng, site);
        self.add(at, Action::Kill(node));
        self.add(at + back, Action::Start(node));
    }

    pub(crate) fn draw_death_at_put(&mut self, rng: &mut Rng) {
        let at = Self::when(rng);
        self.faults += 1;
        let roles = [Role::Primary, Role::Follower, Role::Joiner, Role::Any];
        let role = roles[usize::try_from(rng.below(4)).unwrap_or(0)];
        let what = match rng.below(6) {
            0 | 1 => AtPut::Before(role),
            2 | 3 => AtPut::After(role),
            4 => AtPut::EngineSends,
            _ => [AtPut::EngineBefore, AtPut::EngineAfter][usize::from(rng.chance(500))],
        };
        self.add(at, Action::AtPut(1 + rng.below(9), what));
    }

    pub(crate) fn draw_pause(&mut self, rng: &mut Rng) {
        let (at, site) = (Self::when(rng), self.site(rng));
        self.faults += 1;
        let longest = if rng.chance(500) { 2_500 } else { 9_800 };
        let for_ = ms(200 + rng.below(longest));
        match rng.below(3) {
            0 => self.add(at, Action::PausePrimary(self.partition(rng, site), for_)),
            1 => {
                let node = self.state(rng, site);
                self.add(at, Action::Pause(node, for_));
            }
            _ => {
                let node = self.engine(rng, site);
                self.add(at, Action::Pause(node, for_));
            }
        }
    }

    pub(crate) fn draw_engine_loss(&mut self, rng: &mut Rng) {
        let (at, site) = (Self::when(rng), self.site(rng));
        let node = self.engine(rng, site);
        self.add(at, Action::Kill(node));
        self.add(at + 50 + rng.below(8_000), Action::Start(node));
    }

    pub(crate) fn draw_cut(&mut self, rng: &mut Rng) {
        let (at, site) = (Self::when(rng), self.site(rng));
        self.faults += 1;
        let longest = if rng.chance(500) { 2_000 } else { 20_000 };
        let for_ = ms(100 + rng.below(longest));
        let (one, other) = (self.anybody(rng, site), self.state(rng, site));
        match rng.below(5) {
            0 => self.add(at, Action::Cut(one, other, for_)),
            1 => self.add(at, Action::Cut(other, one, for_)),
            2 => self.add(at, Action::Isolate(one, for_)),
            3 => self.add(at, Action::CutFromPrimary(self.partition(rng, site), one, for_)),
            _ => {
                self.add(at, Action::Cut(one, other, for_));
                self.add(at, Action::Cut(other, one, for_));
            }
        }
        if rng.chance(200) {
            self.add(at + rng.below(5_000), Action::Reset(one, other));
        }
    }

    pub(crate) fn draw_flapping(&mut self, rng: &mut Rng) {
        let (mut at, until) = (Self::when(rng), rng.below(25_000));
        let site = self.site(rng);
        let until = (at + until).min(FAULTS_UNTIL_MS);
        let (one, other) = (self.anybody(rng, site), self.state(rng, site));
        let (longest, breaks) = (100 + rng.below(3_000), rng.chance(400));
        let whole = rng.chance(200);
        self.faults += 2;
        while at < until {
            let away = 20 + rng.below(longest);
            match (breaks, whole) {
                (true, _) => self.add(at, Action::Reset(one, other)),
                (false, true) => self.add(at, Action::Isolate(other, ms(away))),
                (false, false) => {
                    self.add(at, Action::Cut(one, other, ms(away)));
                    self.add(at, Action::Cut(other, one, ms(away)));
                }
            }
            at += away + 20 + rng.below(longest);
        }
    }

    pub(crate) fn draw_store_away(&mut self, rng: &mut Rng) {
        let at = rng.below(FAULTS_UNTIL_MS);
        let longest = if rng.chance(700) { 6_000 } else { 60_000 };
        let for_ = ms(200 + rng.below(longest));
        let site = self.site(rng);
        if rng.chance(300) {
            return self.add(at, Action::StoreHangsAtWrite(site, for_));
        }
        let client = match (rng.chance(500), self.state(rng, site)) {
            (true, Node::State(place)) => Some(place),
            (_, _) => None,
        };
        self.add(at, Action::StoreAway(site, client, rng.chance(600), for_));
    }

    pub(crate) fn draw_slow(&mut self, rng: &mut Rng) {
        let (at, site) = (Self::when(rng), self.site(rng));
        self.faults += 1;
        let (one, other) = (self.anybody(rng, site), self.state(rng, site));
        let (way, for_) = (ms(50 + rng.below(4_000)), ms(500 + rng.below(15_000)));
        self.add(at, Action::Slow(one, other, way, for_));
        if rng.chance(700) {
            self.add(at, Action::Slow(other, one, way, for_));
        }
    }

    /// A primary that is removed and does not hear of it, while engines still reach it.
    pub(crate) fn draw_deposed_primary(&mut self, rng: &mut Rng) {
        let (at, site) = (Self::when(rng), self.site(rng));
        self.faults += 1;
        let for_ = ms(3_000 + rng.below(12_000));
        self.add(at, Action::IsolatePrimary(self.partition(rng, site), for_));
    }

    /// An engine that hears of the next view late, and still reaches the primary of this one, while
    /// calls begin and go on at others.
    fn draw_faithful_engine(&mut self, rng: &mut Rng) {
        let (at, site) = (Self::when(rng), self.site(rng));
        self.faults += 2;
        let (partition, engine) = (self.partition(rng, site), self.engine(rng, site));
        let for_ = ms(4_000 + rng.below(6_000));
        self.add(at, Action::IsolatePrimary(partition, for_));
        self.add(at, Action::SlowButPrimary(partition, engine, ms(5_000 + rng.below(3_000)), for_));
        for _ in 0..3 {
            let begins = at + 1_600 + rng.below(2_000);
            let call = self.calls.len();
            let answer = Answer::After(ms(rng.below(200)));
            let caller = Manner { answer: Answer::Never, allows_update: rng.chance(500) };
            self.calls.push((caller, Manner { answer, ..caller }));
            self.add(begins, Action::Call(call));
            for _ in 0..4 {
                let party = if rng.chance(500) { Party::Caller } else { Party::Callee };
                let asks = begins + 300 + rng.below(3_000);
                self.add(asks, Action::Ask(call, party, Method::Info));
            }
        }
    }

    /// Calls leave memory for a database, which fails too.
    fn draw_database(&mut self, rng: &mut Rng) {
        if !rng.chance(350) {
            return;
        }
        self.sizes.spill = Some(SpillSizes::draw(rng));
        // A call whose deadline is near does not leave.
        self.sizes.session = SPILLING_SESSION;
        self.database = Some(rng.fork());
        if rng.chance(500) {
            for _ in 0..1 + rng.below(3) {
                let at = Self::when(rng);
                let for_ = ms(200 + rng.below(12_000));
                let client = match (rng.chance(300), self.state(rng, HERE)) {
                    (true, Node::State(place)) => Some(place),
                    (_, _) => None,
                };
                self.add(at, Action::DatabaseAway(client, for_));
            }
        }
        if rng.chance(300) {
            self.add(Self::when(rng), Action::DatabaseSlow(ms(1_000 + rng.below(20_000))));
        }
    }

    /// A partition is divided by replicas of its own.
    fn draw_move(&mut self, rng: &mut Rng) {
        let at = 4_000 + rng.below(40_000);
        let ((_, from), to) = (self.partition(rng, HERE), self.sizes.partitions);
        let replicas = 1 + u16::from(rng.chance(700));
        self.places.extend((0..replicas).map(|_| (HERE, to)));
        let slots = SlotSet::share(from, self.sizes.partitions).upper_half();
        let (from, to) = (PartitionId(from), PartitionId(to));
        self.faults += 2;
        self.add(at, Action::Move(SlotMove { from, to, slots, replicas }));
    }

    fn draw_loss(&mut self, rng: &mut Rng) {
        let at = Self::when(rng);
        let partition = self.partition(rng, HERE);
        self.faults += 3;
        self.add(at, Action::KillPartition(partition));
        for (place, of) in self.places.clone().into_iter().enumerate() {
            if of == partition {
                self.add(at + 100 + rng.below(8_000), Action::Start(Node::State(place)));
            }
        }
    }
}
