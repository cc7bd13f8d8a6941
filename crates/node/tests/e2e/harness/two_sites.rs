//! A balancer in front of two whole sites of role `all`, which back each other up.

use std::net::SocketAddr;
use std::time::Duration;

use super::config::{self, Door};
use super::process::Node;
use super::stage::Stage;

/// Balancer, site 1 and site 2. New calls go to site 1.
pub(crate) struct TwoSites {
    /// Where SIP is sent.
    pub(crate) edge: SocketAddr,
    /// The balancer.
    pub(crate) balancer: Node,
    /// Takes new calls.
    pub(crate) one: Node,
    /// Keeps site 1's dormant copies.
    pub(crate) two: Node,
}

/// Where the outside sends SIP, and where each site hears the other.
pub(crate) struct Links {
    pub(crate) edge: SocketAddr,
    pub(crate) one: SocketAddr,
    pub(crate) two: SocketAddr,
}

impl TwoSites {
    /// Starts all three; returns when calls can be placed.
    pub(crate) fn start(stage: &Stage, callee: SocketAddr) -> Self {
        Self::start_as(stage, callee, str::to_owned)
    }

    /// The same, with the sites' SIP sections changed.
    pub(crate) fn start_as(stage: &Stage, callee: SocketAddr, sip: fn(&str) -> String) -> Self {
        let [inner, edge, admin] = [(); 3].map(|()| stage.address());
        let mut sites = Self::start_with(stage, callee, inner, edge, sip, |links| {
            let door = Door::Edge { listen: edge, balancer: inner };
            let sip = sip(&config::sip(links.edge, &door, callee, 500));
            whole_site(stage, 2, admin, &sip, &config::sites(links.two, 1, links.one))
        });
        sites.wait_ready();
        sites
    }

    /// The same, with a site 2 of the test's own behind the engine address `edge_2`.
    pub(crate) fn start_with(
        stage: &Stage,
        callee: SocketAddr,
        inner: SocketAddr,
        edge_2: SocketAddr,
        sip: fn(&str) -> String,
        two: impl FnOnce(&Links) -> Node,
    ) -> Self {
        let [edge, front, edge_1, admin_1] = [(); 4].map(|()| stage.address());
        let links = Links { edge, one: stage.address(), two: stage.address() };
        let text = config::balancer(front, edge, inner, &[(1, &[edge_1], 1), (2, &[edge_2], 0)]);
        let balancer = Node::start(stage, "balancer", &text, front);
        let door = Door::Edge { listen: edge_1, balancer: inner };
        let sip = sip(&config::sip(edge, &door, callee, 500));
        let one = whole_site(stage, 1, admin_1, &sip, &config::sites(links.one, 2, links.two));
        let two = two(&links);
        Self { edge, balancer, one, two }
    }

    /// Waits until both sites serve and hear each other, and the balancer hears both.
    pub(crate) fn wait_ready(&mut self) {
        self.wait_sites();
        self.wait_engines_of(&[1, 2]);
    }

    /// Waits until both sites serve and hear each other.
    pub(crate) fn wait_sites(&mut self) {
        for site in [&mut self.one, &mut self.two] {
            site.wait_serving();
            site.wait_until("hears its peer", Duration::from_secs(10), |status| {
                status.peers.values().all(|peer| peer.alive)
            });
        }
    }

    /// Waits until the balancer hears every engine of the sites: before, it may answer 503.
    pub(crate) fn wait_engines_of(&mut self, sites: &[u16]) {
        self.balancer.wait_until("hears the engines", Duration::from_secs(10), |status| {
            status.balancer.as_ref().is_some_and(|seen| {
                let mut wanted = seen.engines.iter().filter(|engine| sites.contains(&engine.site));
                wanted.all(|engine| engine.health == admin_api::Health::Up)
            })
        });
    }

    /// Waits until no call of site 1 would be lost with it.
    pub(crate) fn wait_crossed(&mut self, calls: u64) {
        self.one.wait_until("has nothing at risk", Duration::from_secs(30), |status| {
            let has_crossed = |risk: &admin_api::AtRisk| risk.calls + risk.in_set_up == 0;
            status.calls_active >= calls && status.at_risk.values().all(has_crossed)
        });
        self.two.wait_until("keeps every call", Duration::from_secs(30), |status| {
            status.inbox_batches == 0 && status.calls_dormant.get(&1) == Some(&calls)
        });
    }
}

/// Starts a site of role `all`.
pub(crate) fn whole_site(
    stage: &Stage,
    id: u16,
    admin: SocketAddr,
    sip: &str,
    sites: &str,
) -> Node {
    let data = stage.path(&format!("data{id}"));
    std::fs::create_dir_all(&data).expect("the test's folder is writable");
    let text = config::head("all", id, Some(&data), admin) + sip + sites;
    Node::start(stage, &format!("site{id}"), &text, admin)
}
