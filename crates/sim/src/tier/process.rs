//! The processes of the site, and the places in which they run.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use engine::Engine;
use replica::{Replica, Shared};
use tier_protocol::{GateWord, SiteMap, SiteState};
use vocab::{EngineId, Instant, PartitionId, ReplicaId, SiteId};

use super::event::Node;
use super::scenario::{Sizes, SpillSizes};
use crate::planted::Planted;
use crate::site::setting;

/// The one site.
pub(crate) const HERE: SiteId = SiteId(1);

/// When a process last tried to reach whom.
pub(crate) type Dialled = BTreeMap<(Node, Option<ReplicaId>), Instant>;

/// A process that holds a replica.
pub(crate) struct StateProcess {
    pub(crate) life: u64,
    /// The life with which the process began: it outlives a replica that is left out.
    pub(crate) process: u64,
    pub(crate) replica: Replica,
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
    pub(crate) fn new(index: usize, partition: u16) -> Self {
        let (name, address) = (format!("t{partition}-{index}"), format!("10.5.0.{index}:7100"));
        let partition = PartitionId(partition);
        Self { partition, name, address, process: None, last: None }
    }
}

impl StateProcess {
    pub(crate) fn new(
        now: Instant,
        place: &StatePlace,
        replica: ReplicaId,
        life: u64,
        sizes: &Sizes,
        planted: Option<Planted>,
    ) -> Self {
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
            here: HERE,
            partition: place.partition,
            replica,
            view: replica::outside(place.partition),
            shared: Some(shared),
            backup_to: None,
            spill: sizes.spill.map(SpillSizes::config),
            limits,
            pace,
        };
        Self::of(life, plant(Replica::new(now, config), planted))
    }

    pub(crate) fn of(life: u64, replica: Replica) -> Self {
        Self {
            life,
            process: life,
            replica,
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
    pub(crate) fn new(now: Instant, id: EngineId, sizes: &Sizes, planted: Option<Planted>) -> Self {
        let config = engine::Config {
            here: HERE,
            engine: id,
            start: 1,
            backup: None,
            views: Vec::new(),
            setting: setting(HERE, sizes.session),
            limits: engine::Limits::default(),
        };
        let mut engine = Engine::new(now, config);
        if let Some(bug) = planted.and_then(Planted::in_engine) {
            engine.plant(bug);
        }
        Self { id, engine, run: Running::default(), dialled_at: BTreeMap::new() }
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
    }
}

/// The address of an engine's edge port.
pub(crate) fn edge_addr(index: usize) -> SocketAddr {
    crate::site::engine_addr(HERE, index)
}
