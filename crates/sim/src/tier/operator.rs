//! What happens to whole sites, and what operators order of them.

use std::time::Duration;

use replica::gate::{GateInput, Steer};
use tier_protocol::{Return, SiteOrder};
use vocab::{Instant, SiteId};

use super::event::Node;
use super::scenario::Shard;
use super::world::World;
use crate::agent::Standing;
use crate::outside::{callee_addr, caller_addr};

/// What an operator wants of a site's calls; repeated until its gate says that it is so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) evacuate_to: Option<SiteId>,
    pub(crate) returning: Return,
}

impl World {
    /// The places whose processes keep their site's gate.
    pub(crate) fn keepers(&self, site: SiteId) -> Vec<usize> {
        let places = 0..self.places.len();
        places.filter(|place| self.places[*place].site == site && self.keeps_gate(*place)).collect()
    }

    pub(crate) fn wanted(&mut self, site: SiteId) -> &mut Wanted {
        self.wanted_steering.entry(site).or_default()
    }

    /// Operators look at each gate, and repeat what is not so.
    pub(crate) fn steer_sites(&mut self) {
        for (site, wanted) in self.wanted_steering.clone() {
            for place in self.keepers(site) {
                self.steer_gate(place, wanted);
            }
        }
    }

    fn steer_gate(&mut self, place: usize, wanted: Wanted) {
        if self.paused_until(Node::State(place)).is_some() {
            return;
        }
        let gate = self.places[place].process.as_ref().and_then(|one| one.gate.as_ref());
        let now = self.shown_at(place);
        let Some(stats) = gate.map(|gate| gate.stats(now)) else { return };
        let name = self.places[place].name.clone();
        if stats.steering.evacuate_to != wanted.evacuate_to {
            let to = wanted.evacuate_to;
            self.trace.note(self.now, format_args!("{name} is told to evacuate to {to:?}"));
            self.gate(place, GateInput::Steer(Steer::Evacuate(to)));
        }
        // One that is returning takes no call while it is stopped, so that is left alone.
        let may = stats.is_serving || wanted.returning == Return::Runs;
        if stats.steering.returning != wanted.returning && may {
            let returning = wanted.returning;
            self.trace.note(self.now, format_args!("{name} is told of the return: {returning:?}"));
            self.gate(place, GateInput::Steer(Steer::Return(returning)));
        }
    }

    /// An operator orders the calls of a site to be woken at the other.
    pub(crate) fn activate_all(&mut self, site: SiteId) {
        let Some(other) = self.sizes.other(site) else { return };
        for place in self.keepers(other) {
            let order = SiteOrder::ActivateAll { site, force: false };
            self.gate(place, GateInput::Order(order));
        }
    }

    pub(crate) fn route(&mut self, home: SiteId, to: SiteId) {
        self.trace.note(self.now, format_args!("route: the calls of site {home} go to site {to}"));
        self.outside.route(self.now, home, to);
        self.outside.drain_balancer(self.now, &mut self.agenda);
    }

    // ---- whole sites -----------------------------------------------------------------------

    /// Kills every process of a site at once. Its queue and its coordination store stay.
    pub(crate) fn kill_site(&mut self, site: SiteId) {
        self.trace.note(self.now, format_args!("site {site} is killed"));
        self.note_promises(site, None);
        self.lose_places(site, None);
        for engine in self.sizes.engines_of(site) {
            self.kill_engine(engine);
        }
    }

    pub(crate) fn start_site(&mut self, site: SiteId) {
        self.trace.note(self.now, format_args!("site {site} starts"));
        for place in 0..self.places.len() {
            if self.places[place].site == site {
                self.start_state(place);
            }
        }
        for engine in self.sizes.engines_of(site) {
            self.start_engine(engine);
        }
    }

    /// Kills every replica of a partition.
    pub(crate) fn kill_partition(&mut self, shard: Shard) {
        if self.sizes.sites > 1 {
            self.note_promises(shard.0, Some(shard.1));
        }
        self.lose_places(shard.0, Some(shard.1));
    }

    fn lose_places(&mut self, site: SiteId, partition: Option<u16>) {
        self.homes.lost(self.now, site);
        let before = self.may_lose;
        self.may_lose |= self.sizes.sites > 1;
        for place in 0..self.places.len() {
            let of = &self.places[place];
            if of.site == site && partition.is_none_or(|partition| of.partition.0 == partition) {
                self.kill_state(place);
            }
        }
        self.may_lose = before;
    }

    /// Calls that live at what is lost, and that have not crossed, are not promised any more.
    fn note_promises(&mut self, site: SiteId, partition: Option<u16>) {
        for call in 0..self.outside.calls() {
            let Some(standing) = self.outside.standing(caller_addr(call)) else { continue };
            if standing == Standing::Idle || self.unpromised.contains(&call) {
                continue;
            }
            let key = self.outside.key_of_call(caller_addr(call));
            let home = key.and_then(|key| self.homes.owned.home(key));
            let is_elsewhere =
                home.is_some_and(|home| home != site) && !self.is_on_its_way(site, call);
            let is_of_another = key.zip(partition).is_some_and(|(key, partition)| {
                let view = self.views.newest(site, key);
                view.is_some_and(|view| view.partition.0 != partition)
            });
            if is_elsewhere || is_of_another || self.has_crossed(site, call) {
                self.survivors += usize::from(!is_elsewhere && !is_of_another);
                continue;
            }
            self.unpromised.insert(call);
        }
    }

    /// Whether the site gave a call away, and has not heard that it came.
    fn is_on_its_way(&self, site: SiteId, call: usize) -> bool {
        let Some(key) = self.outside.key_of_call(caller_addr(call)) else { return false };
        let primary = self.views.newest(site, key).and_then(|view| view.primary());
        let process = primary
            .and_then(|primary| self.place_of(primary))
            .and_then(|place| self.places[place].process.as_ref());
        let story = process.and_then(|one| one.replica.get(one.clock.shows(self.now), key));
        story.is_some_and(|story| {
            let is_given = story.summary.stamp.is_some_and(|stamp| stamp.epoch.is_given());
            is_given && story.summary.is_dormant && !story.marks.is_empty()
        })
    }

    /// Whether an answered call of a site has crossed: the promise that it survives the site.
    fn has_crossed(&self, site: SiteId, call: usize) -> bool {
        let is_up = |addr| self.outside.standing(addr) == Some(Standing::Up);
        let key = self.outside.key_of_call(caller_addr(call));
        let (Some(key), Some(other)) = (key, self.sizes.other(site)) else { return false };
        let Some(view) = self.views.newest(site, key) else { return false };
        let Some(place) = view.primary().and_then(|primary| self.place_of(primary)) else {
            return false;
        };
        let Some(process) = &self.places[place].process else { return false };
        let story = process.replica.get(process.clock.shows(self.now), key);
        is_up(caller_addr(call))
            && is_up(callee_addr(call))
            && story.is_some_and(|story| {
                let lives = !story.summary.is_dormant && !story.summary.is_stub;
                let stamp = story.summary.stamp;
                // Where the other site lost something before, what it acknowledged may be gone.
                let is_kept = !self.homes.lost_at.iter().any(|(_, lost)| *lost == other)
                    || stamp.is_some_and(|stamp| self.is_kept_at(other, key, stamp).is_ok());
                story.marks.is_empty() && lives && story.lock.is_none() && is_kept
            })
    }

    /// Words of a call come to a site that hears nothing of the call's home. What has not crossed
    /// is unknown there, and denied, as after the loss of the home.
    pub(crate) fn note_behind_cut(&mut self, engine: usize, agent: std::net::SocketAddr) {
        let site = self.sizes.site_of_engine(engine);
        let Some(home) = self.sizes.other(site).filter(|home| !self.hears_site(site, *home)) else {
            return;
        };
        let lives = |key| self.homes.owned.home(key) == Some(home);
        if !self.outside.key_of_call(agent).is_some_and(lives) {
            return;
        }
        let is_of = |call: &usize| [caller_addr(*call), callee_addr(*call)].contains(&agent);
        if let Some(call) = (0..self.outside.calls()).find(is_of)
            && !self.has_crossed(home, call)
        {
            self.unpromised.insert(call);
        }
    }

    /// Whether nothing is promised of the call of an agent: it was lost, or two sites had it.
    pub(crate) fn is_unpromised(&self, addr: std::net::SocketAddr) -> bool {
        let call = (0..self.outside.calls())
            .find(|call| caller_addr(*call) == addr || callee_addr(*call) == addr);
        if call.is_some_and(|call| self.unpromised.contains(&call)) {
            return true;
        }
        let key = self.outside.key_of_call(addr);
        key.is_some_and(|key| {
            self.homes.owned.split.contains(&key) || self.homes.owned.begun_twice.contains(&key)
        })
    }

    /// Whether the call of the agent changed its home, or lost its site, within the time given.
    pub(crate) fn moved_between(
        &self,
        addr: std::net::SocketAddr,
        from: Instant,
        to: Instant,
    ) -> bool {
        let within = |at: &Instant| from <= *at && *at <= to;
        let moves =
            self.outside.key_of_call(addr).and_then(|key| self.homes.owned.moved_at.get(&key));
        moves.is_some_and(|moves| moves.iter().any(within))
            || self.homes.lost_at.iter().any(|(at, _)| within(at))
    }

    // ---- queues ----------------------------------------------------------------------------

    pub(crate) fn queue_away(&mut self, site: SiteId, for_: Duration) {
        let until = self.now + for_;
        self.trace.note(self.now, format_args!("the queue of site {site} is away for {for_:?}"));
        if let Some(queue) = self.queues.get_mut(&site) {
            queue.away_until = until;
        }
    }

    pub(crate) fn queue_slow(&mut self, site: SiteId, for_: Duration) {
        let until = self.now + for_;
        self.trace.note(self.now, format_args!("the queue of site {site} is slow for {for_:?}"));
        if let Some(queue) = self.queues.get_mut(&site) {
            queue.slow_until = until;
        }
    }

    pub(crate) fn queue_again(&mut self, site: SiteId, copies: u64) {
        let now = self.now;
        self.trace.note(now, format_args!("{copies} old batches come to site {site} again"));
        if let Some(queue) = self.queues.get_mut(&site) {
            queue.come_again(now, copies);
        }
    }

    /// Removes every fault that is of whole sites.
    pub(crate) fn heal_sites(&mut self) {
        if self.sizes.sites == 1 {
            return;
        }
        for site in self.sizes.all_sites() {
            if let Some(queue) = self.queues.get_mut(&site) {
                queue.away_until = Instant(0);
                queue.slow_until = Instant(0);
            }
            if let Some(other) = self.sizes.other(site) {
                self.heal_wan(site, other, None);
            }
            self.wanted_steering.insert(site, Wanted::default());
            self.route(site, site);
        }
    }
}
