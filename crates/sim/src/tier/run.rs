//! One run of one seed: the scenario with its faults, then healing, then hanging up, then quiet.

use std::time::Duration;

use vocab::Instant;

use super::event::{Event, Node};
use super::invariants;
use super::scenario::{Action, Scenario, Shard};
use super::world::World;
use crate::invariants::Violation;
use crate::outside::{addr_of, caller_addr};
use crate::planted::Planted;
use crate::rng::Rng;
use crate::trace::Trace;
use crate::world::Advance;

/// Time between two looks at the replicas.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The longest time in which a healed site must have whole views: the longest pause before a
/// replica joins, twice, and its copy.
const WHOLE_WITHIN: Duration = Duration::from_secs(200);
/// The longest time in which replicas of a whole view must be equal: a few comparisons.
const EQUAL_WITHIN: Duration = Duration::from_secs(40);
/// The longest time in which a healed world must become quiet: a session's interval and all
/// transactions after it, several times over.
pub(super) const QUIET_WITHIN: Duration = Duration::from_secs(900);

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
    /// Views that were written.
    pub views: u64,
    /// Puts that everybody of a view acknowledged.
    pub acknowledged: u64,
    /// Grants whose effects were resumed.
    pub resumed: u64,
    /// Partitions that lost every complete member.
    pub lost: usize,
    /// Records that left the memory of a replica for the database, and records that came back.
    pub spilled: [u64; 2],
    /// Virtual time that passed.
    pub lasted: Duration,
}

/// Runs a seed to its end, or to the first violation.
#[must_use]
pub fn run(seed: u64, keep_trace: bool, planted: Option<Planted>) -> Outcome {
    let mut rng = Rng::new(seed);
    let scenario = Scenario::draw(&mut rng, &mut Rng::new(!seed));
    let mut world = World::new(&mut rng, &scenario, keep_trace, planted);
    let began = world.now;
    let violation = go(&mut world, &scenario).err();
    if let Some(violation) = &violation {
        world.trace.note(world.now, format_args!("VIOLATION {violation}"));
    }
    Outcome {
        violation,
        calls: scenario.calls.len(),
        answered: world.outside.answered(),
        views: world.views.written.values().sum(),
        acknowledged: world.watch.acknowledged,
        resumed: world.watch.grants[1],
        lost: world.views.lost.len(),
        spilled: world.spilled(),
        lasted: world.now.since(began),
        trace: world.trace,
    }
}

fn go(world: &mut World, scenario: &Scenario) -> Result<(), Violation> {
    until(world, scenario, scenario.heal_at)?;
    world.heal();
    let pauses_end = world.pauses_end();
    until(world, scenario, pauses_end)?;
    become_whole(world, scenario)?;
    become_equal(world, scenario)?;
    // Calls that go on show what was lost before; each is refreshed once.
    let talks_until = world.now + scenario.sizes.session * 3 / 5;
    until(world, scenario, talks_until)?;
    let give_up_at = world.now + QUIET_WITHIN;
    while world.now < give_up_at {
        for call in 0..scenario.calls.len() {
            world.outside.hang_up(world.now, &mut world.agenda, call);
        }
        let next = world.now + Duration::from_secs(5);
        until(world, scenario, next)?;
        if world.outside.is_quiet() && world.leftovers().is_empty() {
            break;
        }
    }
    invariants::at_the_end(world, scenario)
}

/// Replicas that were lost or went astray join again.
pub(super) fn become_whole(world: &mut World, scenario: &Scenario) -> Result<(), Violation> {
    let give_up_at = world.now + WHOLE_WITHIN;
    while let Some(why) = world.not_whole() {
        if world.now >= give_up_at {
            return Err(Violation { invariant: "joins_complete", seen: why });
        }
        let next = world.now + LOOK_EVERY;
        until(world, scenario, next)?;
    }
    Ok(())
}

/// Each partition's replicas hold the same at some moment: calls go on, and puts are on their way.
pub(super) fn become_equal(world: &mut World, scenario: &Scenario) -> Result<(), Violation> {
    let give_up_at = world.now + EQUAL_WITHIN;
    let mut unequal = world.unequal();
    while !unequal.is_empty() {
        if world.now >= give_up_at {
            let seen = format!("the replicas of partitions {unequal:?} never held the same");
            return Err(Violation { invariant: "replicas_are_equal", seen });
        }
        let next = world.now + Duration::from_millis(97);
        until(world, scenario, next)?;
        let now = world.unequal();
        unequal.retain(|partition| now.contains(partition));
    }
    Ok(())
}

pub(super) fn until(world: &mut World, scenario: &Scenario, end: Instant) -> Result<(), Violation> {
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
    let now = world.now;
    let primary = |world: &World, partition| world.primary_place(partition).map(Node::State);
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
        Action::Kill(Node::Engine(place)) => world.kill_engine(*place),
        Action::Kill(Node::State(place)) => {
            world.kill_state(*place);
        }
        Action::Start(Node::Engine(place)) => world.start_engine(*place),
        Action::Start(Node::State(place)) => world.start_state(*place),
        Action::KillPrimary(partition, back) => {
            if let Some(place) = world.primary_place(*partition)
                && world.kill_state(place)
            {
                world.agenda.add(now + *back, Event::Start(Node::State(place)));
            }
        }
        Action::KillPartition(shard) => world.kill_partition(*shard),
        Action::AtPut(puts, at) => world.triggers.set(*puts, *at),
        Action::Pause(node, for_) => world.pause(*node, *for_),
        Action::PausePrimary(partition, for_) => {
            if let Some(node) = primary(world, *partition) {
                world.pause(node, *for_);
            }
        }
        Action::Cut(from, to, for_) => world.cut(*from, *to, *for_),
        Action::CutFromPrimary(partition, node, for_) => {
            if let Some(primary) = primary(world, *partition) {
                world.cut(*node, primary, *for_);
                world.cut(primary, *node, *for_);
            }
        }
        Action::Isolate(node, for_) => world.isolate(*node, *for_),
        Action::IsolatePrimary(partition, for_) => isolate_primary(world, *partition, *for_),
        Action::Reset(one, other) => world.reset(*one, *other),
        Action::Slow(from, to, way, for_) => world.slow_down(*from, *to, *way, *for_),
        Action::SlowButPrimary(partition, node, way, for_) => {
            let primary = world.primary_place(*partition);
            let site = partition.0;
            let places = (0..world.places.len()).filter(|place| world.places[*place].site == site);
            for place in places.filter(|place| Some(*place) != primary).collect::<Vec<_>>() {
                world.slow_down(*node, Node::State(place), *way, *for_);
                world.slow_down(Node::State(place), *node, *way, *for_);
            }
        }
        Action::StoreAway(site, client, hangs, for_) => {
            world.trace.note(now, format_args!("the store is away for {for_:?}: {client:?}"));
            world.store_mut(*site).be_away(*client, now + *for_, *hangs);
        }
        Action::StoreHangsAtWrite(site, for_) => world.store_mut(*site).hang_at_write(*for_),
        Action::DatabaseAway(client, for_) => world.database_away(*client, *for_),
        Action::DatabaseSlow(for_) => world.database_slow(*for_),
        Action::Move(of) => world.wanted_move = Some(*of),
        Action::KillSite(_)
        | Action::StartSite(_)
        | Action::CutSites(..)
        | Action::Route(..)
        | Action::ActivateAll(_)
        | Action::Evacuate(..)
        | Action::Return(..)
        | Action::QueueAway(..)
        | Action::QueueSlow(..)
        | Action::QueueAgain(..) => act_on_sites(world, action),
    }
}

fn act_on_sites(world: &mut World, action: &Action) {
    match action {
        Action::KillSite(site) => world.kill_site(*site),
        Action::StartSite(site) => world.start_site(*site),
        Action::CutSites(from, to, for_) => world.cut_wan(*from, *to, Some(*for_)),
        Action::Route(home, to) => world.route(*home, *to),
        Action::ActivateAll(site) => world.activate_all(*site),
        Action::Evacuate(site, on) => {
            let to = world.sizes.other(*site).filter(|_| *on);
            world.wanted(*site).evacuate_to = to;
        }
        Action::Return(site, returning) => world.wanted(*site).returning = *returning,
        Action::QueueAway(site, for_) => world.queue_away(*site, *for_),
        Action::QueueSlow(site, for_) => world.queue_slow(*site, *for_),
        Action::QueueAgain(site, copies) => world.queue_again(*site, *copies),
        _ => {}
    }
}

/// Its engines go on reaching it; nobody tells it that it was removed.
fn isolate_primary(world: &mut World, shard: Shard, for_: Duration) {
    let Some(place) = world.primary_place(shard) else { return };
    let places = (0..world.places.len()).filter(|other| world.places[*other].site == shard.0);
    for other in places.filter(|other| *other != place).collect::<Vec<_>>() {
        world.cut(Node::State(place), Node::State(other), for_);
        world.cut(Node::State(other), Node::State(place), for_);
    }
    let until = world.now + for_;
    world.store_mut(shard.0).be_away(Some(place), until, false);
}
