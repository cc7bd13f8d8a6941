//! A balancer in front of any number of whole sites of role `all`, each linked to each other, and
//! each with a backup site of its own, or none.

use std::net::SocketAddr;
use std::time::Duration;

use admin_api::{ActivateOrder, OrderReply};

use super::certificates::Authority;
use super::config::{self, Door};
use super::process::Node;
use super::stage::Stage;

const SOON: Duration = Duration::from_secs(15);

/// Whether links between sites are encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Links {
    Plain,
    Tls,
}

/// The balancer, and the sites by their numbers from 1.
pub(crate) struct Mesh {
    /// Where SIP is sent.
    pub(crate) edge: SocketAddr,
    pub(crate) balancer: Node,
    sites: Vec<Node>,
}

impl Mesh {
    /// Starts a site for each of `backups`: its backup site, and its share of new calls. Returns
    /// when calls can be placed.
    pub(crate) fn start(
        stage: &Stage,
        callee: SocketAddr,
        links: Links,
        backups: &[(Option<u16>, u32)],
    ) -> Self {
        let [edge, front, inner] = [(); 3].map(|()| stage.address());
        let numbers = 1..=u16::try_from(backups.len()).expect("a few sites");
        let addresses = |_| (stage.address(), stage.address(), stage.address());
        let all: Vec<_> = numbers.clone().map(addresses).collect();
        let engines: Vec<[SocketAddr; 1]> = all.iter().map(|(door, ..)| [*door]).collect();
        let behind = numbers.clone().zip(&engines).zip(backups);
        let behind: Vec<(u16, &[SocketAddr], u32)> =
            behind.map(|((id, engines), (_, weight))| (id, &engines[..], *weight)).collect();
        let text = config::balancer(front, edge, inner, &behind);
        let balancer = Node::start(stage, "balancer", &text, front);
        let authority = Authority::new("sites");
        let peers: Vec<_> = numbers.clone().zip(&all).map(|(id, (.., link))| (id, *link)).collect();
        let mut sites = Vec::new();
        for ((id, (door, admin, link)), (backup, _)) in numbers.zip(&all).zip(backups) {
            let data = stage.path(&format!("data{id}"));
            std::fs::create_dir_all(&data).expect("the test's folder is writable");
            let door = Door::Edge { listen: *door, balancer: inner };
            let mut others = peers.clone();
            others.retain(|(other, _)| *other != id);
            let certificates = (links == Links::Tls)
                .then(|| authority.issue(stage.folder(), &format!("site{id}.rehome")));
            let text = config::head("all", id, Some(&data), *admin)
                + &config::sip(edge, &door, callee, 500)
                + &config::sites_among(*link, *backup, &others, certificates.as_ref());
            sites.push(Node::start(stage, &format!("site{id}"), &text, *admin));
        }
        let mut mesh = Self { edge, balancer, sites };
        mesh.wait_ready();
        mesh
    }

    pub(crate) fn site(&mut self, id: u16) -> &mut Node {
        &mut self.sites[usize::from(id) - 1]
    }

    fn wait_ready(&mut self) {
        let others = self.sites.len() - 1;
        for site in &mut self.sites {
            site.wait_serving();
            site.wait_until("hears its peers", SOON, |status| {
                status.peers.len() == others && status.peers.values().all(|peer| peer.alive)
            });
        }
        self.balancer.wait_until("hears the engines", SOON, |status| {
            status.balancer.as_ref().is_some_and(|seen| {
                seen.engines.iter().all(|engine| engine.health == admin_api::Health::Up)
            })
        });
    }

    /// Waits until site `id` has `calls` active calls, all of which are elsewhere too, if they are
    /// to be.
    pub(crate) fn wait_settled(&mut self, id: u16, calls: u64) {
        self.site(id).wait_until("has its calls, none at risk", SOON, |status| {
            let has_crossed = |risk: &admin_api::AtRisk| risk.calls + risk.in_set_up == 0;
            status.calls_active == calls && status.at_risk.values().all(has_crossed)
        });
    }

    /// Waits until site `id` keeps these calls of other sites asleep, by their homes, and no other.
    pub(crate) fn wait_asleep(&mut self, id: u16, calls: &[(u16, u64)]) {
        let wanted = calls.iter().copied().collect();
        self.site(id).wait_until("keeps others' calls", SOON, |status| {
            let mut dormant = status.calls_dormant.clone();
            dormant.retain(|_, calls| *calls > 0);
            status.inbox_batches == 0 && dormant == wanted
        });
    }

    /// Site `id` dies, and `heir` serves its calls from here on.
    pub(crate) fn lose(&mut self, id: u16, routes: &[(u16, u16)], weights: &[(u16, u32)]) {
        self.site(id).kill();
        self.balancer.admin().routes(routes, weights);
    }

    /// All calls of the dead site `of` wake at site `at`.
    pub(crate) fn activate(&mut self, at: u16, of: u16) {
        self.site(at).wait_until("finds it dead", SOON, |status| !status.peers[&of].alive);
        let order = ActivateOrder { site: of, force: false };
        let admin = self.site(at).admin();
        admin.post::<OrderReply>("/v1/backup/activate", &order).expect("it is dead");
    }
}
