//! One run of one seed: the scenario with its faults, then healing, then hanging up, then quiet.

use std::net::SocketAddr;
use std::time::Duration;

use tier_protocol::Return;
use vocab::{Instant, SiteId};

use crate::agent::{Agent, Standing};
use crate::invariants::{self, Violation};
use crate::network::Weather;
use crate::outside::{addr_of, callee_addr, caller_addr};
use crate::planted::Planted;
use crate::rng::Rng;
use crate::scenario::{Action, Scenario};
use crate::trace::Trace;
use crate::world::{Advance, World};

/// Time between two looks at the replicas.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// The longest time in which a healed world must become quiet: a session's interval and all
/// transactions after it, several times over.
const QUIET_WITHIN: Duration = Duration::from_secs(900);

/// Tells the draws of lost copies from those of the rest.
const LOST_COPIES: u64 = 0x10_57_c0_91_e5;
/// A sweep has found a lost copy by then, and it has crossed.
const REPAIRED_WITHIN: Duration = Duration::from_secs(30);

/// An answered call that had crossed when its site was killed.
#[derive(Clone, Copy, Debug)]
pub struct Survivor {
    /// The call's number.
    pub call: usize,
    /// When its site was killed.
    pub killed_at: Instant,
    /// The caller's address.
    pub caller: SocketAddr,
}

/// What a run came to.
#[derive(Debug)]
pub struct Outcome {
    /// The first invariant that did not hold.
    pub violation: Option<Violation>,
    /// What happened.
    pub trace: Trace,
    /// Calls of the scenario.
    pub calls: usize,
    /// Calls that both parties saw answered.
    pub answered: usize,
    /// Calls that had crossed when their site was killed.
    pub survivors: usize,
    /// Calls that both sites owned at a time, behind a cut link or as they began at both.
    pub split: usize,
    /// Grants by cause: asked, due, resume, activate, hand-back.
    pub grants: [u64; 6],
    /// Virtual time that passed.
    pub lasted: Duration,
}

/// Runs a seed to its end, or to the first violation.
#[must_use]
pub fn run(seed: u64, keep_trace: bool, planted: Option<Planted>) -> Outcome {
    let mut rng = Rng::new(seed);
    let mut scenario = Scenario::draw(&mut rng);
    scenario.draw_lost_copies(&mut Rng::new(seed ^ LOST_COPIES));
    let Scenario { weather, engines, session, .. } = scenario;
    let mut world = World::new(&mut rng, weather, engines, session, keep_trace, planted);
    world.fair_weather = scenario.weather.is_fair();
    world.outside.add_calls(&scenario.calls);
    for (index, (at, _)) in scenario.steps.iter().enumerate() {
        world.add_step(*at, index);
    }
    let began = world.now;
    let violation = go(&mut world, &scenario).err();
    if let Some(violation) = &violation {
        world.trace.note(world.now, format_args!("VIOLATION {violation}"));
    }
    Outcome {
        violation,
        calls: scenario.calls.len(),
        answered: world.outside.answered(),
        survivors: world.survivors.len(),
        split: world.watch.owned.split.union(&world.watch.owned.begun_twice).count(),
        grants: world.watch.grants,
        lasted: world.now.since(began),
        trace: world.trace,
    }
}

fn go(world: &mut World, scenario: &Scenario) -> Result<(), Violation> {
    let calls = scenario.calls.len();
    until(world, scenario, scenario.heal_at)?;
    heal(world, scenario.engines);
    let give_up_at = world.now + QUIET_WITHIN;
    while world.now < give_up_at {
        for call in 0..calls {
            world.outside.hang_up(world.now, &mut world.agenda, call);
        }
        let next = world.now + Duration::from_secs(5);
        until(world, scenario, next)?;
        if world.is_quiet() {
            break;
        }
    }
    invariants::at_the_end(world)
}

fn until(world: &mut World, scenario: &Scenario, end: Instant) -> Result<(), Violation> {
    while world.now < end {
        let stop = (world.now + LOOK_EVERY).min(end);
        loop {
            match world.advance(stop) {
                Advance::Over => break,
                Advance::Went => {}
                Advance::Step(index) => act(world, &scenario.steps[index].1),
            }
            invariants::always(world)?;
        }
        world.look();
        invariants::often(world)?;
    }
    Ok(())
}

fn act(world: &mut World, action: &Action) {
    match action {
        Action::Call(call) => world.with_agent(caller_addr(*call), |agent, now| agent.invite(now)),
        Action::Cancel(call) => {
            world.with_agent(caller_addr(*call), |agent, now| agent.cancel(now));
        }
        Action::Ask(call, party, method) => {
            world.with_agent(addr_of(*call, *party), |agent, now| {
                agent.ask_in_dialog(now, method.clone());
            });
        }
        Action::KillEngine(site, index) => world.kill_engine(*site, *index),
        Action::StartEngine(site, index) => world.start_engine(*site, *index),
        Action::PauseEngine(site, index, for_) => world.pause_engine(*site, *index, *for_),
        Action::KillSite(site) => world.kill_site(*site),
        Action::KillEngineAtPut(site, puts) => world.kill_engine_at_put(*site, *puts),
        Action::KillSiteAtPut(site, puts) => world.kill_site_at_put(*site, *puts),
        Action::StartSite(site) => world.start_site(*site),
        Action::Route(home, to) => world.route(*home, *to),
        Action::ActivateAll(site) => {
            let order =
                replica::Order::Site(replica::SiteOrder::ActivateAll { site: *site, force: false });
            world.replica(SiteId(3 - site.0), replica::Input::Order(order));
        }
        Action::Evacuate(site, on) => world.evacuate(*site, *on),
        Action::Return(site, returning) => world.steer_return(*site, *returning),
        Action::LoseCopies(site) => world.lose_copies(*site),
        Action::CutLink => world.cut_link(),
        Action::HealLink => world.heal_link(),
    }
}

/// Removes every fault.
fn heal(world: &mut World, engines: usize) {
    world.trace.note(world.now, format_args!("all faults are removed"));
    world.outside.network.weather = Weather::FAIR;
    world.heal_link();
    for site in [SiteId(1), SiteId(2)] {
        world.start_site(site);
        for index in 0..engines {
            world.start_engine(site, index);
        }
        world.route(site, site);
        world.evacuate(site, false);
        world.steer_return(site, Return::Runs);
    }
}

impl World {
    pub(crate) fn with_agent(&mut self, addr: SocketAddr, act: impl FnOnce(&mut Agent, Instant)) {
        let now = self.now;
        self.outside.with_agent(now, &mut self.agenda, addr, |agent| act(agent, now));
    }

    pub(crate) fn note_survivors(&mut self, lost: SiteId) {
        let (now, other) = (self.now, SiteId(3 - lost.0));
        let other_works = self.sites[&other].state.is_some();
        let Some(state) = &self.sites[&lost].state else { return };
        let mut found = Vec::new();
        for call in 0..self.outside.calls() {
            let is_up = |addr| self.outside.standing(addr) == Some(Standing::Up);
            let up = is_up(caller_addr(call)) && is_up(callee_addr(call));
            let Some(key) = self.outside.key_of_call(caller_addr(call)) else { continue };
            let Some(story) = state.replica.get(now, key) else { continue };
            let clean =
                story.marks.is_empty() && !story.summary.is_dormant && !story.summary.is_stub;
            let is_lost = self.watch.copies_lost.get(&key).is_some_and(|lost_at| {
                now.since(*lost_at) < REPAIRED_WITHIN || self.was_apart_since(*lost_at)
            });
            if up && clean && other_works && story.lock.is_none() && !is_lost {
                found.push(Survivor { call, killed_at: now, caller: caller_addr(call) });
            }
        }
        self.survivors.extend(found);
    }

    /// Whether the call of the agent changed its home, or lost its site, within the time given.
    pub(crate) fn moved_between(&self, addr: SocketAddr, from: Instant, to: Instant) -> bool {
        let within = |at: &Instant| from <= *at && *at <= to;
        let moves =
            self.outside.key_of_call(addr).and_then(|key| self.watch.owned.moved_at.get(&key));
        moves.is_some_and(|moves| moves.iter().any(within))
            || self.watch.killed_at.iter().any(|(at, _)| within(at))
    }

    /// Whether both sites ever owned the call of the agent at a time, as a cut link lets them, or
    /// it began at both.
    pub(crate) fn was_split(&self, addr: SocketAddr) -> bool {
        self.outside.key_of_call(addr).is_some_and(|key| {
            let watch = &self.watch;
            (watch.links_cut > 0 && watch.owned.split.contains(&key))
                || watch.owned.begun_twice.contains(&key)
        })
    }

    fn is_quiet(&self) -> bool {
        self.outside.is_quiet() && self.leftovers().is_empty()
    }
}
