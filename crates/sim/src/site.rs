//! One simulated site: what its processes hold, and what its disk keeps when they die.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use applications::b2bua::B2bua;
use call::{CallLimits, Edge, SessionTimers, Setting, SipTimers};
use engine::Engine;
use replica::Replica;
use replica::gate::{Gate, GateConfig, QueuedBatch};
use servlet::NextHop;
use sip_message::Host;
use tier_protocol::PartitionView;
use vocab::{EngineId, Instant, PartitionId, ReplicaId, SiteId, TokenSecret, ViewNumber};

use crate::planted::Planted;

/// Where the balancer listens to the world.
pub(crate) const EDGE: SocketAddr = addr(10, 0, 0, 1, 5060);
/// Where the balancer listens to engines.
pub(crate) const EDGE_INNER: SocketAddr = addr(10, 0, 0, 1, 7060);
/// Where calls go: it hands each INVITE to the callee that its user part names.
pub(crate) const EXCHANGE: SocketAddr = addr(10, 3, 0, 1, 5060);

/// The one partition of a site.
pub(crate) const PARTITION: PartitionId = PartitionId(0);

pub(crate) const fn addr(a: u8, b: u8, c: u8, d: u8, port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(a, b, c, d)), port)
}

/// The address of an engine's edge port.
pub(crate) fn engine_addr(site: SiteId, index: usize) -> SocketAddr {
    let site = u8::try_from(site.0).unwrap_or(u8::MAX);
    addr(10, 1, site, u8::try_from(index + 1).unwrap_or(u8::MAX), 6060)
}

/// The secret of the simulated deployment.
pub(crate) fn secret() -> TokenSecret {
    TokenSecret::new(*b"sixteen bytes ofa simulated site")
}

/// A batch on the disk, and when it was written.
#[derive(Debug)]
pub(crate) struct OnDisk {
    pub(crate) batch: QueuedBatch,
    pub(crate) written_at: Instant,
    pub(crate) is_set_aside: bool,
}

/// The process that holds the replica and the gate.
pub(crate) struct StateProcess {
    /// Unique among all processes of the run.
    pub(crate) life: u64,
    pub(crate) replica: Replica,
    pub(crate) gate: Gate,
}

/// One engine process.
pub(crate) struct EngineProcess {
    pub(crate) id: EngineId,
    pub(crate) engine: Engine,
    /// Stopped until then: what arrives waits.
    pub(crate) paused_until: Instant,
}

/// One site.
pub(crate) struct Site {
    pub(crate) id: SiteId,
    /// On disk: how often the state process started.
    pub(crate) start: u64,
    /// On disk: the inbound queue.
    pub(crate) disk: BTreeMap<u64, OnDisk>,
    pub(crate) state: Option<StateProcess>,
    pub(crate) engines: Vec<Option<EngineProcess>>,
    /// Puts until an engine is to die.
    pub(crate) kill_engine_in: Option<u64>,
    /// Puts until the whole site is to die.
    pub(crate) kill_site_in: Option<u64>,
}

impl Site {
    /// A site that never ran.
    pub(crate) fn new(id: SiteId, engines: Vec<Option<EngineProcess>>) -> Self {
        let (disk, state) = (BTreeMap::new(), None);
        Self { id, start: 0, disk, state, engines, kill_engine_in: None, kill_site_in: None }
    }
}

/// Test-sized session timers: a refresh every ten seconds.
pub(crate) const SESSION: Duration = Duration::from_secs(20);

/// Sweeps are slow by default; a run is short.
const SWEEP_EVERY: Duration = Duration::from_secs(8);

pub(crate) fn setting(here: SiteId, session_expires: Duration) -> Setting {
    let routes = applications::b2bua::Config {
        default_next_hop: Some(NextHop::Addr(EXCHANGE)),
        ..applications::b2bua::Config::default()
    };
    let application = B2bua::new(routes);
    Setting {
        here,
        secret: secret(),
        edge: Edge { host: Host::Ip(EDGE.ip()), port: EDGE.port() },
        timers: SipTimers::default(),
        session: SessionTimers { session_expires, min_se: Duration::from_secs(2) },
        cseq_gap: 64,
        early: BTreeSet::new(),
        applications: vec![Arc::new(application)],
        limits: CallLimits::default(),
    }
}

fn other(site: SiteId) -> SiteId {
    SiteId(3 - site.0)
}

fn view(here: SiteId, start: u64) -> PartitionView {
    PartitionView::alone(PARTITION, ViewNumber(start), ReplicaId(u64::from(here.0)))
}

impl StateProcess {
    /// A process with nothing in memory.
    pub(crate) fn new(
        now: Instant,
        here: SiteId,
        start: u64,
        life: u64,
        planted: Option<Planted>,
    ) -> Self {
        let config = replica::Config {
            here,
            partition: PARTITION,
            replica: ReplicaId(u64::from(here.0)),
            view: view(here, start),
            shared: None,
            backup_to: Some(other(here)),
            limits: replica::Limits::default(),
            pace: replica::Pace { sweep_every: SWEEP_EVERY, ..replica::Pace::default() },
            spill: None,
        };
        let mut gate = GateConfig::new(here, start, vec![PARTITION], vec![other(here)]);
        gate.return_wait = Duration::from_secs(10);
        let mut replica = Replica::new(now, config);
        if let Some(bug) = planted.and_then(Planted::in_replica) {
            replica.plant(bug);
        }
        Self { life, replica, gate: Gate::new(now, gate) }
    }
}

impl EngineProcess {
    /// A process that knows nothing yet.
    pub(crate) fn new(
        now: Instant,
        here: SiteId,
        start: u64,
        id: EngineId,
        session: Duration,
        planted: Option<Planted>,
    ) -> Self {
        let config = engine::Config {
            here,
            engine: id,
            start,
            backup: Some(other(here)),
            views: vec![view(here, start)],
            // Half of the engines let calls cross while they ring.
            setting: Setting {
                early: (id.0 % 2 == 1).then_some(0).into_iter().collect(),
                ..setting(here, session)
            },
            limits: engine::Limits::default(),
        };
        let mut engine = Engine::new(now, config);
        if let Some(bug) = planted.and_then(Planted::in_engine) {
            engine.plant(bug);
        }
        Self { id, engine, paused_until: Instant(0) }
    }
}
