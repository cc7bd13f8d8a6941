//! One site of many processes: a real etcd, partitions of several replicas, two engines, and a
//! balancer in front of them.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use admin_api::{Partition, PartitionsReply, ViewStatus};

use super::config::{self, Door};
use super::direct_site::wait_linked;
use super::netns::{self, Host};
use super::process::Node;
use super::servers::etcd::Etcd;
use super::stage::Stage;
use super::{try_wait_for, wait_for};

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
    /// What the configuration of each state process has beside the rest.
    pub(crate) states_say: String,
}

/// A state process.
pub(crate) struct State {
    pub(crate) node: Node,
    pub(crate) is_up: bool,
}

/// The whole site.
pub(crate) struct Many {
    pub(crate) etcd: Etcd,
    pub(crate) states: Vec<State>,
    pub(crate) engines: Vec<Node>,
    pub(crate) balancer: Node,
    /// Where SIP is sent.
    pub(crate) edge: SocketAddr,
    partitions: u16,
    replicas: u16,
    tiers: Vec<SocketAddr>,
    places: Places,
}

impl Many {
    /// Starts everything; returns when every view is full and both engines serve.
    pub(crate) fn start_on(
        stage: &Stage,
        callee: SocketAddr,
        partitions: u16,
        replicas: u16,
        places: Places,
    ) -> Self {
        let ip = places.etcd.as_ref().map_or(Ipv4Addr::LOCALHOST.into(), |host| host.ip);
        let start = || Etcd::start_at(&folder(stage, "etcd"), ip);
        let etcd = netns::on(places.etcd.as_ref(), start);
        let in_front = places.edge.as_ref();
        let [edge, inner] = [(); 2].map(|()| netns::at(in_front, stage.address()));
        // The admin API is asked from the very host: nobody else reaches its loopback.
        let front = stage.address();
        let engine = |index: usize| netns::at(places.engines.get(index), stage.address());
        let [edge_1, edge_2] = [engine(0), engine(1)];
        let text = config::balancer(front, edge, inner, &[(1, &[edge_1, edge_2], 1)]);
        let balancer = Node::start_on(in_front, stage, "balancer", &text, front);
        let mut many = Self {
            etcd,
            states: Vec::new(),
            engines: Vec::new(),
            balancer,
            edge,
            partitions,
            replicas,
            tiers: Vec::new(),
            places: places.clone(),
        };
        for partition in 0..partitions {
            for replica in 0..replicas {
                many.add_state(stage, partition, &format!("s{partition}{replica}"));
            }
        }
        for (index, (name, listen)) in [("e1", edge_1), ("e2", edge_2)].into_iter().enumerate() {
            let host = places.engines.get(index);
            let admin = stage.address();
            let door = Door::Edge { listen, balancer: inner };
            let text = config::head("engine", 1, None, admin)
                + &config::sip(edge, &door, callee, 500)
                + &config::tier_connect_all(&many.tiers, name);
            many.engines.push(Node::start_on(host, stage, name, &text, admin));
        }
        many.wait_whole(partitions);
        many.engines.iter_mut().for_each(wait_linked);
        many.wait_engines(2);
        many
    }

    /// Starts one more state process.
    pub(crate) fn add_state(&mut self, stage: &Stage, partition: u16, name: &str) -> usize {
        let replica = self.states.len() % usize::from(self.replicas);
        let host = self.places.states.get(replica);
        let (admin, tier) = (stage.address(), netns::at(host, stage.address()));
        let text = config::head("state", 1, Some(&folder(stage, name)), admin)
            + &config::tier_shared(tier, name, partition, self.partitions, self.replicas)
            + &config::coordination(&self.etcd.endpoint())
            + &self.places.states_say;
        let node = Node::start_on(host, stage, name, &text, admin);
        self.tiers.push(tier);
        self.states.push(State { node, is_up: true });
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
                one.members.len() == usize::from(self.replicas) && one.joining.is_empty()
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

    /// Calls that the primaries hold.
    pub(crate) fn calls_active(&mut self) -> u64 {
        let mut calls = 0;
        for state in self.states.iter_mut().filter(|state| state.is_up) {
            let status = state.node.try_status();
            let leads = status.filter(|s| s.view.as_ref().is_some_and(|v| v.role == "primary"));
            calls += leads.map_or(0, |status| status.calls_active);
        }
        calls
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
