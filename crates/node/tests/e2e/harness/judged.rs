//! Two sites, the balancer that judges them, and a witness; the link between the sites can be cut.

use std::net::SocketAddr;
use std::time::Duration;

use admin_api::{HealthState, SiteHealth, StatusReply};

use super::config::{self, Door};
use super::process::Node;
use super::relay::Relay;
use super::stage::Stage;
use super::two_sites::{TwoSites, whole_site};

/// A site that all miss for so long is dead.
pub(crate) const DEAD_AFTER: Duration = Duration::from_millis(1_500);
/// A site that was dead and that all hear for so long is healthy.
pub(crate) const HEALTHY_AFTER: Duration = Duration::from_millis(3_000);

/// See the module.
pub(crate) struct Judged {
    pub(crate) sites: TwoSites,
    pub(crate) witness: Node,
    links: [Relay; 2],
}

impl Judged {
    /// Starts all four; returns when both sites are healthy and the witness has said so.
    pub(crate) fn start(stage: &Stage, callee: SocketAddr, auto_failover: bool) -> Self {
        let [front, edge, inner, witness_admin, probes] = [(); 5].map(|()| stage.address());
        let [edge_1, edge_2, admin_1, admin_2] = [(); 4].map(|()| stage.address());
        let [listen_1, listen_2] = [(); 2].map(|()| stage.address());
        let links = [listen_1, listen_2].map(|target| Relay::start(stage.address(), target));
        let text = config::balancer(front, edge, inner, &[(1, &[edge_1], 1), (2, &[edge_2], 0)]);
        let admins = [(1, &[admin_1][..]), (2, &[admin_2])];
        let text = config::judging(&text, auto_failover, [DEAD_AFTER, HEALTHY_AFTER], &admins);
        let balancer = Node::start(stage, "balancer", &text, front);
        let sip = |listen| config::sip(edge, &Door::Edge { listen, balancer: inner }, callee, 500);
        let peers = [
            config::sites(listen_1, 2, links[1].address()),
            config::sites(listen_2, 1, links[0].address()),
        ];
        let one = whole_site(stage, 1, admin_1, &sip(edge_1), &peers[0]);
        let two = whole_site(stage, 2, admin_2, &sip(edge_2), &peers[1]);
        let text = config::witness(witness_admin, probes, edge, inner, &[1, 2]);
        let witness = Node::start(stage, "witness", &text, witness_admin);
        let sites = TwoSites { edge, balancer, one, two };
        let mut judged = Self { sites, witness, links };
        judged.sites.wait_ready();
        judged.wait_health("both sites are healthy", |health| {
            health.len() == 2 && health.iter().all(is_healthy_to_all)
        });
        judged
    }

    /// Waits until the balancer judges the sites so, in their order; its status then.
    pub(crate) fn wait_health(
        &mut self,
        what: &str,
        wanted: impl Fn(&[SiteHealth]) -> bool,
    ) -> StatusReply {
        let patience = Duration::from_secs(20);
        self.sites.balancer.wait_until(what, patience, |status| wanted(&of(status)))
    }

    /// The sites as they are judged now, and the version of the policy.
    pub(crate) fn look(&mut self) -> (Vec<SiteHealth>, u64) {
        let status = self.sites.balancer.try_status().expect("the balancer answers");
        (of(&status), status.balancer.expect("it is a balancer").policy_version)
    }

    /// Neither site hears the other any more.
    pub(crate) fn cut(&self) {
        self.links.iter().for_each(Relay::cut);
    }

    /// They can.
    pub(crate) fn mend(&self) {
        self.links.iter().for_each(Relay::mend);
    }
}

fn of(status: &StatusReply) -> Vec<SiteHealth> {
    let balancer = status.balancer.as_ref();
    balancer.map_or_else(Vec::new, |balancer| balancer.health.values().cloned().collect())
}

/// Peer, balancer and witness hear it.
pub(crate) fn is_healthy_to_all(health: &SiteHealth) -> bool {
    let kinds = ["peer", "balancer", "witness"];
    let hears = |kind: &str| {
        let mut observers = health.observers.iter();
        observers.any(|one| one.kind == kind && one.answers && !one.silent)
    };
    health.state == HealthState::Healthy && kinds.into_iter().all(hears)
}
