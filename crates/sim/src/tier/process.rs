//! The processes of the sites, and the places in which they run.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use engine::Engine;
use replica::gate::{Gate, GateConfig};
use replica::{Replica, Shared};
use tier_protocol::{GateWord, PartitionView, SiteMap, SiteState};
use vocab::{EngineId, Instant, PartitionId, ReplicaId, SiteId};

use super::clock::Clock;
use super::event::Node;
use super::queue::Client;
use super::scenario::{Sizes, SpillSizes};
use crate::planted::Planted;
use crate::site::setting;

/// The one site, or the first of two.
pub(crate) const HERE: SiteId = SiteId(1);

/// When a process last tried to reach whom.
pub(crate) type Dialled = BTreeMap<(Node, Option<ReplicaId>), Instant>;

/// A process that holds a replica.
pub(crate) struct StateProcess {
    pub(crate) life: u64,
    /// The life with which the process began: it outlives a replica that is left out.
    pub(crate) process: u64,
    pub(crate) replica: Replica,
    /// Where there is another site.
    pub(crate) gate: Option<Gate>,
    /// While it keeps the gate: its way to the queue.
    pub(crate) queue: Option<Client>,
    /// The link on which each other site hears this one.
    pub(crate) wan_to: BTreeMap<SiteId, u64>,
    pub(crate) clock: Clock,
    pub(crate) run: Running,
    /// The map that its replica told last.
    pub(crate) map: SiteMap,
    /// When it was told last that another life answers at the address of a replica.
    pub(crate) gone_told: BTreeMap<ReplicaId, Instant>,
    pub(crate) dialled_at: Dialled,
}

/// One engine process.
pub(crate) struct EngineProcess {
    pub(crate) id: EngineId,
    pub(crate) engine: Engine,
    /// The newest view of each partition that it was told.
    pub(crate) views: BTreeMap<PartitionId, PartitionView>,
    pub(crate) clock: Clock,
    pub(crate) run: Running,
    pub(crate) dialled_at: Dialled,
}

/// Whether a process runs, as SIGSTOP and SIGCONT have it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Running {
    pub(crate) paused_since: Instant,
    pub(crate) paused_until: Instant,
}

/// Where a replica's process runs, again and again.
pub(crate) struct StatePlace {
    pub(crate) site: SiteId,
    pub(crate) partition: PartitionId,
    pub(crate) name: String,
    pub(crate) address: String,
    pub(crate) process: Option<StateProcess>,
    /// The replica that lived here last.
    pub(crate) last: Option<ReplicaId>,
}

impl Running {
    pub(crate) fn is_paused(&self, now: Instant) -> bool {
        self.paused_until > now
    }
}

impl StatePlace {
    pub(crate) fn new(index: usize, (site, partition): (SiteId, u16)) -> Self {
        let (name, address) = (format!("t{partition}-{index}"), format!("10.5.0.{index}:7100"));
        let partition = PartitionId(partition);
        Self { site, partition, name, address, process: None, last: None }
    }
}

impl StateProcess {
    pub(crate) fn new(
        clock: (Instant, Clock),
        place: &StatePlace,
        replica: ReplicaId,
        life: u64,
        sizes: &Sizes,
        planted: Option<Planted>,
    ) -> Self {
        let (now, clock) = (clock.1.shows(clock.0), clock.1);
        let shared = Shared {
            name: place.name.clone(),
            address: place.address.clone(),
            partitions: sizes.partitions,
            replicas: sizes.replicas,
            join_after: Duration::from_millis(500),
            sender: replica::Sender::Primary,
        };
        let limits = replica::Limits {
            copy_page_max: sizes.copy_page_max,
            muted_max: sizes.muted_max,
            // Engines die here by chance and never of a call: two that are killed each in a turn of
            // the same call would condemn it, and no invariant could tell that from a loss.
            suspects_max: 0,
            ..replica::Limits::default()
        };
        let pace = replica::Pace {
            copy_per_s: sizes.copy_per_s,
            compare_every: Duration::from_secs(5),
            ..replica::Pace::default()
        };
        let config = replica::Config {
            here: place.site,
            partition: place.partition,
            replica,
            view: replica::outside(place.partition),
            shared: Some(shared),
            backup_to: sizes.other(place.site),
            spill: sizes.spill.map(SpillSizes::config),
            limits,
            pace,
        };
        let mut process = Self::of(life, plant(Replica::new(now, config), planted));
        process.clock = clock;
        process.gate = sizes.other(place.site).map(|other| {
            let mut config = GateConfig::new(place.site, 1, vec![place.partition], vec![other]);
            config.is_shared = true;
            config.return_wait = Duration::from_secs(10);
            config.inbox_batches_max = sizes.inbox_batches_max;
            let mut gate = Gate::new(now, config);
            if let Some(bug) = planted.and_then(Planted::in_gate) {
                gate.plant(bug);
            }
            gate
        });
        process
    }

    pub(crate) fn of(life: u64, replica: Replica) -> Self {
        Self {
            life,
            process: life,
            replica,
            gate: None,
            queue: None,
            wan_to: BTreeMap::new(),
            clock: Clock::WORLD,
            run: Running::default(),
            map: SiteMap::default(),
            gone_told: BTreeMap::new(),
            dialled_at: BTreeMap::new(),
        }
    }
}

pub(crate) fn plant(mut replica: Replica, planted: Option<Planted>) -> Replica {
    if let Some(bug) = planted.and_then(Planted::in_replica) {
        replica.plant(bug);
    }
    replica
}

impl EngineProcess {
    pub(crate) fn new(
        (now, clock): (Instant, Clock),
        here: SiteId,
        id: EngineId,
        sizes: &Sizes,
        planted: Option<Planted>,
    ) -> Self {
        let mut setting = setting(here, sizes.session);
        if sizes.is_early && id.0.is_multiple_of(2) {
            setting.early.insert(0);
        }
        let config = engine::Config {
            here,
            engine: id,
            start: 1,
            backup: sizes.other(here),
            views: Vec::new(),
            setting,
            redirects: BTreeMap::new(),
            limits: engine::Limits::default(),
        };
        let mut engine = Engine::new(clock.shows(now), config);
        if let Some(bug) = planted.and_then(Planted::in_engine) {
            engine.plant(bug);
        }
        let (views, dialled_at) = (BTreeMap::new(), BTreeMap::new());
        Self { id, engine, views, clock, run: Running::default(), dialled_at }
    }
}

impl EngineProcess {
    /// The replica whose process keeps the site's gate, as far as the engine knows.
    pub(crate) fn keeper(&self) -> Option<ReplicaId> {
        self.views.values().find_map(PartitionView::primary)
    }
}

/// What every state process tells an engine of other sites: there are none.
pub(crate) fn no_other_site() -> GateWord {
    GateWord::Sites {
        here: SiteState::Serving,
        start: 1,
        alive: Vec::new(),
        wakes_on_message: Vec::new(),
        inbox: 0,
        waiting: Vec::new(),
    }
}

impl Sizes {
    /// The other site, if there are two.
    pub(crate) fn other(&self, site: SiteId) -> Option<SiteId> {
        (self.sites > 1).then_some(SiteId(3 - site.0))
    }

    /// All sites.
    pub(crate) fn all_sites(&self) -> impl Iterator<Item = SiteId> + use<> {
        (1..=self.sites).map(SiteId)
    }

    /// Places of engines, at all sites.
    pub(crate) fn all_engines(&self) -> usize {
        self.engines * usize::from(self.sites)
    }

    /// The site of an engine's place.
    pub(crate) fn site_of_engine(&self, place: usize) -> SiteId {
        SiteId(1 + u16::try_from(place / self.engines).unwrap_or(0))
    }

    /// The places of a site's engines.
    pub(crate) fn engines_of(&self, site: SiteId) -> std::ops::Range<usize> {
        let first = (usize::from(site.0) - 1) * self.engines;
        first..first + self.engines
    }

    /// The address of an engine's edge port.
    pub(crate) fn edge_addr(&self, place: usize) -> SocketAddr {
        crate::site::engine_addr(self.site_of_engine(place), place % self.engines)
    }
}
