//! The owner of the balancer core: the outer socket, the inner one, and the policy's admin door.

use balancer::{Balancer, Input, Output, Policy};
use vocab::{Instant, SiteId};

use admin_api::{RouteOrder, RouteReply};

use crate::admin::{Answer, Ask, Body, Refusal};
use crate::clock::Clock;
use crate::event::Event;
use crate::status;
use crate::udp::Udp;

pub(crate) struct BalancerShell {
    pub(crate) core: Balancer,
    pub(crate) clock: Clock,
    outer: Udp,
    inner: Udp,
    wake_at: Instant,
}

impl BalancerShell {
    pub(crate) fn new(core: Balancer, clock: Clock, outer: Udp, inner: Udp) -> Self {
        Self { core, clock, outer, inner, wake_at: Instant(0) }
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
        if self.wake_at <= now {
            self.core.handle_input(now, Input::Wake);
        }
        loop {
            match self.core.poll_output() {
                Output::ToEngine { addr, bytes } => self.inner.send(addr, bytes),
                Output::ToOutside { to, bytes } => self.outer.send(to, bytes),
                Output::WakeAt(at, _) => {
                    self.wake_at = at;
                    break;
                }
            }
        }
        self.inner.flush();
        self.outer.flush();
    }

    pub(crate) fn take(&mut self, now: Instant, event: Event) {
        match event {
            Event::Admin(ask, answer) => {
                let said = self.answer(now, ask);
                // A client that went away needs no answer.
                drop(answer.send(said));
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
            Ask::Status => Body::json(&self.status()),
            Ask::Metrics => Ok(Body::metrics(&self.status(), None)),
            Ask::Route => Body::json(&self.route()),
            Ask::SetRoute(order) => self.set_route(now, order),
            Ask::Sites
            | Ask::Partitions
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
            | Ask::Delete(_)
            | Ask::Replication(..)
            | Ask::Retarget(_)
            | Ask::Sweep(_)
            | Ask::Evacuate(_)
            | Ask::Return(_)
            | Ask::Forget(_) => Err(Refusal::wrong_role("a balancer keeps no calls")),
        }
    }

    fn status(&self) -> admin_api::StatusReply {
        let mut status = status::of_balancer(&self.core.stats(), self.clock.uptime());
        let dropped = self.outer.dropped() + self.inner.dropped();
        status.counters.insert("udp_send_dropped".into(), dropped);
        status
    }

    fn route(&self) -> RouteReply {
        let policy = self.core.policy();
        RouteReply {
            version: policy.version,
            serves: policy.serves.iter().map(|(home, by)| (home.0, by.0)).collect(),
            weights: policy.weights.iter().map(|(site, weight)| (site.0, *weight)).collect(),
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
        Body::json(&self.route())
    }
}
