//! Two sites of many processes with nothing in front of both: each has a balancer of its own, and
//! what they mint names neither of them but a name that stands for both.

use std::net::SocketAddr;
use std::time::Duration;

use super::config;
use super::many_sites::{Doors, Front, Layout, ManySite};
use super::netns;
use super::process::Node;
use super::stage::Stage;

/// The name in Via and Contact. No resolver knows it: phones of the test know what it means.
pub(crate) const NAME: &str = "sip.rehome.test:5060";

/// Both sites, each with its balancer on its own host.
pub(crate) struct TwoEdges {
    /// Where SIP is sent, by site: what the name means.
    pub(crate) edges: [SocketAddr; 2],
    pub(crate) balancers: [Node; 2],
    pub(crate) one: ManySite,
    pub(crate) two: ManySite,
}

impl TwoEdges {
    /// Starts everything; returns when both sites take calls.
    pub(crate) fn start(stage: &Stage, callee: SocketAddr, layout: &Layout) -> Self {
        let hosts = layout.sites.each_ref().map(Option::as_ref);
        let edges = hosts.map(|host| netns::at(host, stage.address()));
        let inner = hosts.map(|host| netns::at(host, stage.address()));
        let doors = hosts.map(|host| Doors::of(stage, host));
        let balancers = [0_u16, 1].map(|site| {
            let index = usize::from(site);
            let (admin, engines) = (stage.address(), &doors[index].engines);
            let text = config::own_balancer(admin, edges[index], inner[index], site + 1, engines);
            Node::start_on(hosts[index], stage, &format!("balancer{}", site + 1), &text, admin)
        });
        let front = [0, 1].map(|site| Front {
            advertise: NAME.into(),
            inner: inner[site],
            callee,
            redirect: layout.is_redirecting.then_some(edges[1 - site]),
        });
        let one = ManySite::start(stage, 1, &front[0], &doors, layout);
        let two = ManySite::start(stage, 2, &front[1], &doors, layout);
        let mut sites = Self { edges, balancers, one, two };
        sites.one.wait_ready(2);
        sites.two.wait_ready(1);
        for balancer in &mut sites.balancers {
            balancer.wait_until("hears its engines", Duration::from_secs(30), |status| {
                let seen = status.balancer.as_ref();
                seen.is_some_and(|seen| {
                    let mut engines = seen.engines.iter();
                    engines.all(|engine| engine.health == admin_api::Health::Up)
                })
            });
        }
        sites
    }
}
