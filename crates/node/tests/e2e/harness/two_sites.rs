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

impl TwoSites {
    /// Starts all three; returns when calls can be placed.
    pub(crate) fn start(stage: &Stage, callee: SocketAddr) -> Self {
        let [edge, inner, front] = [(); 3].map(|()| stage.address());
        let [edge_1, link_1, admin_1] = [(); 3].map(|()| stage.address());
        let [edge_2, link_2, admin_2] = [(); 3].map(|()| stage.address());
        let text = config::balancer(front, edge, inner, &[(1, &[edge_1], 1), (2, &[edge_2], 0)]);
        let balancer = Node::start(stage, "balancer", &text, front);
        let site = |id: u16, door: SocketAddr, link, peer: u16, peer_link, admin| {
            let name = format!("site{id}");
            let data = stage.path(&format!("data{id}"));
            std::fs::create_dir_all(&data).expect("the test's folder is writable");
            let door = Door::Edge { listen: door, balancer: inner };
            let text = config::head("all", id, Some(&data), admin)
                + &config::sip(edge, &door, callee, 500)
                + &config::sites(link, peer, peer_link);
            Node::start(stage, &name, &text, admin)
        };
        let one = site(1, edge_1, link_1, 2, link_2, admin_1);
        let two = site(2, edge_2, link_2, 1, link_1, admin_2);
        let mut sites = Self { edge, balancer, one, two };
        sites.wait_ready();
        sites
    }

    /// Waits until both sites serve and hear each other, and the balancer hears both.
    pub(crate) fn wait_ready(&mut self) {
        for site in [&mut self.one, &mut self.two] {
            site.wait_serving();
            site.wait_until("hears its peer", Duration::from_secs(10), |status| {
                status.peers.values().all(|peer| peer.alive)
            });
        }
        self.balancer.wait_until("hears both sites", Duration::from_secs(10), |status| {
            status.balancer.as_ref().is_some_and(|seen| {
                seen.engines.iter().all(|engine| engine.health == admin_api::Health::Up)
            })
        });
    }

    /// Waits until no call of site 1 would be lost with it.
    pub(crate) fn wait_crossed(&mut self, calls: u64) {
        self.one.wait_until("has nothing at risk", Duration::from_secs(30), |status| {
            status.calls_active >= calls && status.at_risk.values().all(|risk| risk.calls == 0)
        });
        self.two.wait_until("keeps every call", Duration::from_secs(30), |status| {
            status.inbox_batches == 0 && status.calls_dormant.get(&1) == Some(&calls)
        });
    }
}
