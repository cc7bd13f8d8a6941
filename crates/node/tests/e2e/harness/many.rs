//! One site of many processes: a real etcd, partitions of several replicas, two engines, and a
//! balancer in front of them.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use admin_api::{
    CallLine, CallStory, CallsReply, Partition, PartitionsReply, StatusReply, ViewStatus,
};

use super::config::{self, Door};
use super::direct_site::wait_linked;
use super::netns::{self, Host};
use super::process::Node;
use super::servers::etcd::Etcd;
use super::stage::Stage;
use super::tap::Tap;
use super::{try_wait_for, wait_for};

/// Members of a full view.
const REPLICAS: u16 = 3;
/// Patience with what takes a few seconds at most.
const SOON: Duration = Duration::from_secs(30);

/// Which process runs on which host of a network; without hosts all are on loopback.
#[derive(Clone, Default)]
pub(crate) struct Places {
    pub(crate) etcd: Option<Host>,
    /// By replica, whatever the partition.
    pub(crate) states: Vec<Host>,
    pub(crate) engines: Vec<Host>,
    /// Balancer, caller and callee.
    pub(crate) edge: Option<Host>,
}

/// What a site is made of.
#[derive(Clone)]
pub(crate) struct Shape {
    pub(crate) partitions: u16,
    /// Nodes of its etcd.
    pub(crate) etcds: usize,
    /// Every link to a state process passes a tap.
    pub(crate) is_tapped: bool,
    /// More of the engines' configuration.
    pub(crate) engines: String,
    /// More of the state processes' configuration.
    pub(crate) states: String,
    pub(crate) places: Places,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            partitions: 2,
            etcds: 1,
            is_tapped: false,
            engines: String::new(),
            states: String::new(),
            places: Places::default(),
        }
    }
}

/// A state process.
pub(crate) struct State {
    pub(crate) node: Node,
    pub(crate) is_up: bool,
    tap: Option<Tap>,
}

impl State {
    /// The tap in front of it.
    pub(crate) fn tap(&self) -> &Tap {
        self.tap.as_ref().expect("the site was asked for with taps")
    }
}

/// The whole site.
pub(crate) struct Many {
    pub(crate) etcds: Vec<Etcd>,
    pub(crate) states: Vec<State>,
    pub(crate) engines: Vec<Node>,
    pub(crate) balancer: Node,
    /// Where SIP is sent.
    pub(crate) edge: SocketAddr,
    tiers: Vec<SocketAddr>,
    shape: Shape,
}

impl Many {
    /// Starts everything; returns when every view is full and both engines serve.
    pub(crate) fn start(stage: &Stage, callee: SocketAddr, shape: Shape) -> Self {
        let places = &shape.places;
        let ip = places.etcd.as_ref().map_or(Ipv4Addr::LOCALHOST.into(), |host| host.ip);
        let start = || Etcd::cluster_at(&folder(stage, "etcd"), shape.etcds, ip);
        let etcds = netns::on(places.etcd.as_ref(), start);
        let in_front = places.edge.as_ref();
        let [edge, inner] = [(); 2].map(|()| netns::at(in_front, stage.address()));
        // The admin API is asked from the very host: nobody else reaches its loopback.
        let front = stage.address();
        let engine = |index: usize| netns::at(places.engines.get(index), stage.address());
        let [edge_1, edge_2] = [engine(0), engine(1)];
        let text = config::balancer(front, edge, inner, &[(1, &[edge_1, edge_2], 1)]);
        let balancer = Node::start_on(in_front, stage, "balancer", &text, front);
        let (places, partitions) = (places.clone(), shape.partitions);
        let mut many = Self {
            etcds,
            states: Vec::new(),
            engines: Vec::new(),
            balancer,
            edge,
            tiers: Vec::new(),
            shape,
        };
        for partition in 0..partitions {
            for replica in 0..REPLICAS {
                many.add_state(stage, partition, &format!("s{partition}{replica}"));
            }
        }
        for (index, (name, listen)) in [("e1", edge_1), ("e2", edge_2)].into_iter().enumerate() {
            let host = places.engines.get(index);
            let admin = stage.address();
            let door = Door::Edge { listen, balancer: inner };
            let text = config::head("engine", 1, None, admin)
                + &config::sip(edge, &door, callee, 500)
                + &config::tier_connect_all(&many.tiers, name)
                + &many.shape.engines;
            many.engines.push(Node::start_on(host, stage, name, &text, admin));
        }
        many.wait_whole(partitions);
        many.engines.iter_mut().for_each(wait_linked);
        many.wait_engines(2);
        many
    }

    /// Starts one more state process.
    pub(crate) fn add_state(&mut self, stage: &Stage, partition: u16, name: &str) -> usize {
        let replica = self.states.len() % usize::from(REPLICAS);
        let host = self.shape.places.states.get(replica);
        let (admin, listen) = (stage.address(), netns::at(host, stage.address()));
        let tap = self.shape.is_tapped.then(|| Tap::start(stage.address(), listen));
        let reached = tap.as_ref().map_or(listen, Tap::address);
        let endpoints: Vec<String> = self.etcds.iter().map(Etcd::endpoint).collect();
        let seat = (partition, self.shape.partitions, REPLICAS);
        let text = config::head("state", 1, Some(&folder(stage, name)), admin)
            + &config::tier_shared(listen, reached, name, seat)
            + &config::coordination(&endpoints)
            + &self.shape.states;
        let node = Node::start_on(host, stage, name, &text, admin);
        self.tiers.push(reached);
        self.states.push(State { node, is_up: true, tap });
        self.states.len() - 1
    }

    /// How a state process stands in its view, if it answers.
    pub(crate) fn view(&mut self, index: usize) -> Option<ViewStatus> {
        let state = self.states.get_mut(index).filter(|state| state.is_up)?;
        state.node.try_status()?.view
    }

    /// The state process that leads a partition.
    pub(crate) fn primary(&mut self, partition: u16) -> usize {
        wait_for("a primary", SOON, || {
            (0..self.states.len()).find(|index| {
                let view = self.view(*index);
                view.is_some_and(|view| view.role == "primary" && view.partition == partition)
            })
        })
    }

    /// A state process that follows in a partition.
    pub(crate) fn follower(&mut self, partition: u16) -> usize {
        wait_for("a follower", SOON, || {
            (0..self.states.len()).find(|index| {
                let view = self.view(*index);
                view.is_some_and(|view| view.role == "member" && view.partition == partition)
            })
        })
    }

    /// The partitions as any state process knows them.
    pub(crate) fn partitions(&self) -> Vec<Partition> {
        let up = self.states.iter().filter(|state| state.is_up);
        let told =
            up.filter_map(|state| state.node.admin().get::<PartitionsReply>("/v1/partitions").ok());
        told.max_by_key(|reply| reply.partitions.iter().map(|one| one.view).max())
            .map(|reply| reply.partitions)
            .unwrap_or_default()
    }

    /// Waits until every partition has all its replicas, complete.
    pub(crate) fn wait_whole(&mut self, partitions: u16) {
        let whole = try_wait_for(SOON, || {
            let told = self.partitions();
            let is_whole = |one: &Partition| {
                one.members.len() == usize::from(REPLICAS) && one.joining.is_empty()
            };
            let whole = told.len() == usize::from(partitions) && told.iter().all(is_whole);
            whole.then_some(())
        });
        assert!(whole.is_some(), "the views are not whole: {:#?}", self.partitions());
    }

    pub(crate) fn wait_engines(&mut self, count: usize) {
        self.balancer.wait_until("hears its engines", SOON, |status| {
            status.balancer.as_ref().is_some_and(|seen| {
                let up = seen.engines.iter().filter(|e| e.health == admin_api::Health::Up);
                up.count() == count
            })
        });
    }

    /// SIGKILL to a state process.
    pub(crate) fn kill(&mut self, index: usize) {
        self.states[index].node.kill();
        self.states[index].is_up = false;
    }

    /// Starts a state process after a kill: it comes empty, under another id.
    pub(crate) fn start_again(&mut self, index: usize) {
        self.states[index].node.start_again();
        self.states[index].is_up = true;
    }

    /// The state processes of a partition, in order of their start.
    pub(crate) fn replicas(partition: u16) -> std::ops::Range<usize> {
        let first = usize::from(partition * REPLICAS);
        first..first + usize::from(REPLICAS)
    }

    /// Each call that a state process holds, with the stamp of its newest state.
    pub(crate) fn stamps(&self, index: usize) -> BTreeMap<String, String> {
        let admin = self.states[index].node.admin();
        let calls = admin.get::<CallsReply>("/v1/calls").map(|reply| reply.calls);
        let story = |line: CallLine| {
            let path = format!("/v1/calls/{}", line.key);
            Some((line.key, admin.get::<CallStory>(&path).ok()?.stamp))
        };
        calls.unwrap_or_default().into_iter().filter_map(story).collect()
    }

    /// Calls that the primaries hold.
    pub(crate) fn calls_active(&mut self) -> u64 {
        self.led().iter().map(|status| status.calls_active).sum()
    }

    /// Locks that engines hold, as the primaries know them.
    pub(crate) fn locks(&mut self) -> u64 {
        self.led().iter().map(|status| status.locks).sum()
    }

    /// Turns that wait for a lock.
    pub(crate) fn waiters(&mut self) -> u64 {
        self.led().iter().map(|status| status.waiters).sum()
    }

    /// Whether a state process misses its coordination store.
    pub(crate) fn is_store_away(&mut self) -> bool {
        let up = self.states.iter_mut().filter(|state| state.is_up);
        let mut views = up.filter_map(|state| state.node.try_status()?.view);
        views.any(|view| view.store_away)
    }

    /// What the primaries say of themselves.
    fn led(&mut self) -> Vec<StatusReply> {
        let up = self.states.iter_mut().filter(|state| state.is_up);
        let told = up.filter_map(|state| state.node.try_status());
        told.filter(|s| s.view.as_ref().is_some_and(|view| view.role == "primary")).collect()
    }

    /// A counter, over all state processes that are up.
    pub(crate) fn counter(&mut self, name: &str) -> u64 {
        let up = self.states.iter_mut().filter(|state| state.is_up);
        let status = up.filter_map(|state| state.node.try_status());
        status.map(|status| status.counters.get(name).copied().unwrap_or_default()).sum()
    }
}

fn folder(stage: &Stage, name: &str) -> std::path::PathBuf {
    let folder: &Path = &stage.path(&format!("data-{name}"));
    std::fs::create_dir_all(folder).expect("the test's folder is writable");
    folder.to_path_buf()
}
