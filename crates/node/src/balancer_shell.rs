//! The owner of the balancer core: the outer socket, the inner one, the policy's admin door, and
//! the orders to sites that follow from a death.

use std::collections::BTreeMap;

use admin_api::{RouteOrder, RouteReply, SiteHealth, SitesReply};
use balancer::health::Standing;
use balancer::{Balancer, Input, Output, Policy};
use vocab::{Instant, SiteId};

use crate::admin::{Answer, Ask, Body, Refusal};
use crate::clock::Clock;
use crate::event::Event;
use crate::order::Orders;
use crate::status;
use crate::udp::Udp;

pub(crate) struct BalancerShell {
    pub(crate) core: Balancer,
    pub(crate) clock: Clock,
    outer: Udp,
    inner: Udp,
    orders: Orders,
    wake_at: Instant,
    /// What was logged last: of each site, and of the policy.
    told: BTreeMap<SiteId, Standing>,
    told_version: u64,
}

impl BalancerShell {
    pub(crate) fn new(
        core: Balancer,
        clock: Clock,
        (outer, inner): (Udp, Udp),
        orders: Orders,
    ) -> Self {
        let told_version = core.policy().version;
        let (wake_at, told) = (Instant(0), BTreeMap::new());
        Self { core, clock, outer, inner, orders, wake_at, told, told_version }
    }

    pub(crate) async fn datagrams(&self) {
        tokio::select! {
            () = self.outer.ready() => {}
            () = self.inner.ready() => {}
        }
    }

    pub(crate) fn wake_at(&self) -> Instant {
        self.wake_at
    }

    /// Takes datagrams that wait; says how many.
    pub(crate) fn receive(&mut self, now: Instant) -> usize {
        let core = &mut self.core;
        self.inner.refusals(|addr| core.handle_input(now, Input::EngineUnreachable { addr }));
        let inner = self.inner.receive(|from, bytes| {
            core.handle_input(now, Input::Engine { from, bytes });
        });
        let outer = self.outer.receive(|source, bytes| {
            core.handle_input(now, Input::Outside { source, bytes });
        });
        inner + outer
    }

    pub(crate) fn turn(&mut self, now: Instant) {
        let is_woken = self.wake_at <= now;
        if is_woken {
            self.core.handle_input(now, Input::Wake);
        }
        loop {
            match self.core.poll_output() {
                Output::ToEngine { addr, bytes } => self.inner.send(addr, bytes),
                Output::ToOutside { to, bytes } => self.outer.send(to, bytes),
                Output::Activate { home, at } => {
                    tracing::warn!(home = home.0, at = at.0, "its calls are ordered to wake");
                    self.orders.activate(home, at);
                }
                Output::WakeAt(at, _) => {
                    self.wake_at = at;
                    break;
                }
            }
        }
        self.inner.flush();
        self.outer.flush();
        if is_woken {
            self.log(now);
        }
    }

    /// Says in the log how sites are judged when that has changed.
    fn log(&mut self, now: Instant) {
        for one in self.core.health(now) {
            let (site, standing) = (one.site.0, one.standing);
            if self.told.insert(one.site, standing) == Some(standing) {
                continue;
            }
            let advice = one.advice.map(|advice| advice.what).unwrap_or_default();
            match standing {
                Standing::Dead => tracing::error!(site, advice, "the site is dead"),
                Standing::Suspected | Standing::Recovering | Standing::Healthy => {
                    tracing::info!(site, ?standing, advice, "the site is judged anew");
                }
            }
        }
        let version = self.core.policy().version;
        if version != self.told_version {
            self.told_version = version;
            tracing::warn!(version, "the routing policy was changed, as a site is dead");
        }
    }

    pub(crate) fn take(&mut self, now: Instant, event: Event) {
        match event {
            Event::Admin(ask, answer) => {
                let said = self.answer(now, ask);
                // A client that went away needs no answer.
                drop(answer.send(said));
            }
            Event::Ordered { home, answer } => {
                match &answer {
                    Ok(calls) => tracing::info!(home = home.0, calls, "the order was taken"),
                    Err(why) => tracing::warn!(home = home.0, why, "the order was not taken"),
                }
                self.core.handle_input(now, Input::Activation { home, answer });
            }
            Event::Tier(..)
            | Event::Site(..)
            | Event::Coordination(_)
            | Event::Database(_)
            | Event::Queue(_)
            | Event::Resolved { .. } => {
                debug_assert!(false, "a balancer has no links, no store, no queue and no names");
            }
        }
    }

    fn answer(&mut self, now: Instant, ask: Ask) -> Answer {
        match ask {
            Ask::Status => Body::json(&self.status(now)),
            Ask::Metrics => Ok(Body::metrics(&self.status(now), None)),
            Ask::Sites => {
                Body::json(&SitesReply { health: self.health(now), ..Default::default() })
            }
            Ask::Route => Body::json(&self.route(now)),
            Ask::SetRoute(order) => self.set_route(now, order),
            Ask::Partitions
            | Ask::MoveSlots(_)
            | Ask::CancelMove(_)
            | Ask::Refound
            | Ask::Calls { .. }
            | Ask::Call(_)
            | Ask::Quarantine
            | Ask::Quarantined(_)
            | Ask::DropQuarantined(_)
            | Ask::Statistics
            | Ask::Backup
            | Ask::Activate(_)
            | Ask::StopActivating(_)
            | Ask::Delete(_)
            | Ask::Replication(..)
            | Ask::Retarget(_)
            | Ask::Sweep(_)
            | Ask::Evacuate(_)
            | Ask::Return(_)
            | Ask::Forget(_) => Err(Refusal::wrong_role("a balancer keeps no calls")),
        }
    }

    fn health(&self, now: Instant) -> BTreeMap<u16, SiteHealth> {
        status::health::by_site(&self.core.health(now))
    }

    fn status(&self, now: Instant) -> admin_api::StatusReply {
        let (stats, picture) = (self.core.stats(), self.core.health(now));
        let mut status = status::of_balancer(&stats, &picture, self.clock.uptime());
        let dropped = self.outer.dropped() + self.inner.dropped();
        status.counters.insert("udp_send_dropped".into(), dropped);
        status
    }

    fn route(&self, now: Instant) -> RouteReply {
        let policy = self.core.policy();
        RouteReply {
            version: policy.version,
            serves: policy.serves.iter().map(|(home, by)| (home.0, by.0)).collect(),
            weights: policy.weights.iter().map(|(site, weight)| (site.0, *weight)).collect(),
            health: self.health(now),
        }
    }

    fn set_route(&mut self, now: Instant, order: RouteOrder) -> Answer {
        let before = self.core.policy();
        let sites: Vec<u16> = self.core.stats().sites.iter().map(|site| site.site.0).collect();
        let named = order.serves.values().chain(order.weights.iter().flat_map(|all| all.keys()));
        if let Some(unknown) = named.into_iter().find(|site| !sites.contains(site)) {
            return Err(Refusal::bad(format!("site {unknown} is not one of this balancer's")));
        }
        let mut serves = before.serves.clone();
        serves.extend(order.serves.iter().map(|(home, by)| (SiteId(*home), SiteId(*by))));
        let weights = match order.weights {
            Some(all) => all.into_iter().map(|(site, weight)| (SiteId(site), weight)).collect(),
            None => before.weights.clone(),
        };
        let version = order.version.unwrap_or(before.version + 1);
        if version <= before.version {
            let what = format!("version {version} is not above {}", before.version);
            return Err(Refusal::conflict(what));
        }
        self.core.handle_input(now, Input::SetPolicy(Policy { version, serves, weights }));
        tracing::info!(version, "the routing policy changed");
        self.told_version = version;
        Body::json(&self.route(now))
    }
}
