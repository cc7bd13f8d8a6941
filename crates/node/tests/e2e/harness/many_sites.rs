//! Two sites of many processes behind one balancer, each with its own etcd and NATS server.

use std::net::SocketAddr;
use std::time::Duration;

use admin_api::StatusReply;

use super::config::{self, Door};
use super::direct_site::wait_linked;
use super::process::Node;
use super::servers::etcd::Etcd;
use super::servers::nats::Nats;
use super::stage::Stage;
use super::wait_for;

/// Partitions of a site.
const PARTITIONS: u16 = 2;
/// Members of a full view.
const REPLICAS: u16 = 2;
/// Patience with what takes a few seconds at most.
const SOON: Duration = Duration::from_secs(30);

/// One of the sites.
pub(crate) struct ManySite {
    id: u16,
    etcd: Etcd,
    nats: Nats,
    /// In order of partitions; with what is up.
    pub(crate) states: Vec<(Node, bool)>,
    pub(crate) engines: Vec<Node>,
}

/// Balancer, site 1 and site 2. New calls go to site 1.
pub(crate) struct ManySites {
    /// Where SIP is sent.
    pub(crate) edge: SocketAddr,
    pub(crate) balancer: Node,
    pub(crate) one: ManySite,
    pub(crate) two: ManySite,
}

/// Addresses that both sites have to know.
struct Front {
    edge: SocketAddr,
    inner: SocketAddr,
    callee: SocketAddr,
}

impl ManySites {
    /// Starts everything; returns when calls can be placed.
    pub(crate) fn start(stage: &Stage, callee: SocketAddr) -> Self {
        let [edge, inner, front] = [(); 3].map(|()| stage.address());
        let doors = [1, 2].map(|_| [stage.address(), stage.address()]);
        let sites = [(1, &doors[0][..], 1), (2, &doors[1][..], 0)];
        let text = config::balancer(front, edge, inner, &sites);
        let balancer = Node::start(stage, "balancer", &text, front);
        let seats = usize::from(PARTITIONS * REPLICAS);
        let listens = [1, 2].map(|_| (0..seats).map(|_| stage.address()).collect::<Vec<_>>());
        let front = Front { edge, inner, callee };
        let one = ManySite::start(stage, 1, &front, &doors[0], [&listens[0], &listens[1]]);
        let two = ManySite::start(stage, 2, &front, &doors[1], [&listens[1], &listens[0]]);
        let mut sites = Self { edge, balancer, one, two };
        sites.one.wait_ready(2);
        sites.two.wait_ready(1);
        sites.wait_engines_of(&[1, 2]);
        sites
    }

    /// Waits until the balancer hears every engine of the sites.
    pub(crate) fn wait_engines_of(&mut self, sites: &[u16]) {
        self.balancer.wait_until("hears the engines", SOON, |status| {
            status.balancer.as_ref().is_some_and(|seen| {
                let mut wanted = seen.engines.iter().filter(|engine| sites.contains(&engine.site));
                wanted.all(|engine| engine.health == admin_api::Health::Up)
            })
        });
    }

    /// Waits until no call of site 1 would be lost with it.
    pub(crate) fn wait_crossed(&mut self, calls: u64) {
        wait_for("nothing at risk", SOON, || {
            let led = self.one.led();
            let active: u64 = led.iter().map(|status| status.calls_active).sum();
            let risks = led.iter().flat_map(|status| status.at_risk.values());
            let at_risk: u64 = risks.map(|risk| risk.calls + risk.in_set_up).sum();
            (active >= calls && at_risk == 0).then_some(())
        });
        wait_for("every call dormant", SOON, || (self.two.dormant(1) == calls).then_some(()));
    }
}

impl ManySite {
    fn start(
        stage: &Stage,
        id: u16,
        front: &Front,
        doors: &[SocketAddr; 2],
        [listens, peers]: [&Vec<SocketAddr>; 2],
    ) -> Self {
        let folder = stage.path(&format!("servers-{id}"));
        std::fs::create_dir_all(&folder).expect("the test's folder is writable");
        let (etcd, nats) = (Etcd::start(&folder), Nats::start(&folder));
        let mut site = Self { id, etcd, nats, states: Vec::new(), engines: Vec::new() };
        let mut tiers = Vec::new();
        for (index, listen) in listens.iter().enumerate() {
            let (admin, tier) = (stage.address(), stage.address());
            let partition = u16::try_from(index).expect("a few") / REPLICAS;
            let name = format!("site{id}-s{index}");
            let data = stage.path(&format!("data-{name}"));
            std::fs::create_dir_all(&data).expect("the test's folder is writable");
            let text = config::head("state", id, Some(&data), admin)
                + &config::tier_shared(tier, tier, &name, (partition, PARTITIONS, REPLICAS))
                + &config::coordination(&[site.etcd.endpoint()])
                + &format!("[queue]\nurl = \"nats://{}\"\n\n", site.nats.address())
                + &config::sites_of(*listen, 3 - id, peers);
            site.states.push((Node::start(stage, &name, &text, admin), true));
            tiers.push(tier);
        }
        for (index, listen) in doors.iter().enumerate() {
            let admin = stage.address();
            let name = format!("site{id}-e{index}");
            let door = Door::Edge { listen: *listen, balancer: front.inner };
            let text = config::head("engine", id, None, admin)
                + &config::sip(front.edge, &door, front.callee, 500)
                + &config::tier_connect_all(&tiers, &name)
                + &config::sites_of(admin, 3 - id, peers);
            site.engines.push(Node::start(stage, &name, &text, admin));
        }
        site
    }

    /// Waits until every view is full, the engines serve, and the gate hears the other site.
    fn wait_ready(&mut self, other: u16) {
        wait_for("full views", SOON, || {
            let led = self.led();
            let is_full = |status: &StatusReply| {
                let view = status.view.as_ref().expect("it leads one");
                view.members == u64::from(REPLICAS) && view.joining == 0
            };
            (led.len() == usize::from(PARTITIONS) && led.iter().all(is_full)).then_some(())
        });
        self.engines.iter_mut().for_each(wait_linked);
        self.wait_linked_to(other);
    }

    /// Waits until the gate hears the other site.
    pub(crate) fn wait_linked_to(&mut self, other: u16) {
        wait_for("the other site", SOON, || {
            let hears = |status: &StatusReply| status.peers.get(&other).is_some_and(|p| p.alive);
            self.statuses().iter().any(hears).then_some(())
        });
    }

    /// What the state processes that are up say of themselves.
    pub(crate) fn statuses(&mut self) -> Vec<StatusReply> {
        let up = self.states.iter_mut().filter(|(_, is_up)| *is_up);
        up.filter_map(|(node, _)| node.try_status()).collect()
    }

    /// What the primaries say of themselves.
    pub(crate) fn led(&mut self) -> Vec<StatusReply> {
        let mut told = self.statuses();
        told.retain(|status| status.view.as_ref().is_some_and(|view| view.role == "primary"));
        told
    }

    /// The state process that leads a partition.
    pub(crate) fn primary(&mut self, partition: u16) -> usize {
        wait_for("a primary", SOON, || {
            self.states.iter_mut().position(|(node, is_up)| {
                let status = if *is_up { node.try_status() } else { None };
                let view = status.and_then(|status| status.view);
                view.is_some_and(|view| view.role == "primary" && view.partition == partition)
            })
        })
    }

    /// Calls that sleep here for another site.
    pub(crate) fn dormant(&mut self, home: u16) -> u64 {
        self.led().iter().filter_map(|status| status.calls_dormant.get(&home)).sum()
    }

    /// Calls that live here.
    pub(crate) fn active(&mut self) -> u64 {
        self.led().iter().map(|status| status.calls_active).sum()
    }

    /// SIGKILL to one state process.
    pub(crate) fn kill_state(&mut self, index: usize) {
        let (node, is_up) = &mut self.states[index];
        node.kill();
        *is_up = false;
    }

    /// Starts a state process after a kill: it comes empty.
    pub(crate) fn start_state(&mut self, index: usize) {
        let (node, is_up) = &mut self.states[index];
        node.start_again();
        *is_up = true;
    }

    /// The state processes of a partition.
    pub(crate) fn replicas(partition: u16) -> std::ops::Range<usize> {
        let first = usize::from(partition * REPLICAS);
        first..first + usize::from(REPLICAS)
    }

    /// SIGKILL to every process of the site, its servers too.
    pub(crate) fn kill(&mut self) {
        for (node, is_up) in self.states.iter_mut().filter(|(_, is_up)| *is_up) {
            node.kill();
            *is_up = false;
        }
        self.engines.iter_mut().for_each(Node::kill);
        self.nats.kill();
        self.etcd.kill();
    }

    /// Starts everything after a kill: servers with what their disks have, the rest empty.
    pub(crate) fn start_again(&mut self) {
        self.etcd.start_again();
        self.nats.start_again();
        for (node, is_up) in &mut self.states {
            node.start_again();
            *is_up = true;
        }
        self.engines.iter_mut().for_each(Node::start_again);
        self.wait_ready(3 - self.id);
    }
}
