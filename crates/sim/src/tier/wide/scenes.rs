//! Named scenes of two sites: faults of which the catalogue says what must happen, each with as
//! many seeds as one likes. Their names begin with the catalogue's.

use std::time::Duration;

use sip_message::Method;
use vocab::{Instant, SiteId};

use super::super::event::Node;
use super::super::run::until;
use super::super::scenario::{Action, Scenario, Sizes, at_ms, ms};
use super::super::world::World;
use super::{Outcome, become_settled, go, hang_up_all, outcome};
use crate::agent::{Fact, Standing};
use crate::invariants::Violation;
use crate::network::Weather;
use crate::outside::{addr_of, callee_addr, caller_addr};
use crate::rng::Rng;
use crate::scenario::Party;
use crate::tier::invariants;

/// A scene: its name, and how it is played.
pub type Scene = (&'static str, fn(u64, bool) -> Outcome);

/// All of them.
pub const SCENES: [Scene; 6] = [
    ("d27_sites_cut_apart_for_an_hour", d27_sites_cut_apart_for_an_hour),
    ("d31_two_engines_wake_one_call", d31_two_engines_wake_one_call),
    ("d34_calls_go_astray", d34_calls_go_astray),
    ("d38_both_sites_take_over", d38_both_sites_take_over),
    ("d40_no_clock_is_shared", d40_no_clock_is_shared),
    ("d41_one_clock_runs_twice_too_fast", d41_one_clock_runs_twice_too_fast),
];

const ONE: SiteId = SiteId(1);
const TWO: SiteId = SiteId(2);

/// For how long the sites are cut apart.
const CUT_FOR: Duration = Duration::from_secs(3_600);
/// Sessions whose deadlines do not pass in that time, and the usual ones.
const D27_SESSIONS: [Duration; 2] = [Duration::from_secs(14_400), Duration::from_secs(1_800)];
/// What gathered in that time crosses within a tenth of it.
const DRAINED_WITHIN: Duration = Duration::from_secs(360);

fn sizes() -> Sizes {
    Sizes {
        sites: 2,
        engines: 2,
        partitions: 2,
        replicas: 2,
        copy_page_max: 64,
        copy_per_s: 1_000,
        muted_max: 16_384,
        late_news: 0,
        session: Duration::from_secs(60),
        spill: None,
        inbox_batches_max: 100_000,
        queue_batches_max: 100_000,
        is_early: false,
        is_skewed: true,
        fast: None,
    }
}

fn failed(invariant: &'static str, seen: String) -> Result<(), Violation> {
    Err(Violation { invariant, seen })
}

fn play(
    seed: u64,
    keep: bool,
    scenario: &Scenario,
    rng: &mut Rng,
    play: impl FnOnce(&mut World, &Scenario) -> Result<(), Violation>,
) -> Outcome {
    let mut world = World::new(rng, scenario, keep, None);
    world.trace.note(world.now, format_args!("seed {seed}"));
    let began = world.now;
    let violation = play(&mut world, scenario).err();
    outcome(world, scenario, began, violation)
}

/// Calls come, change and go at both sites while the link between them is cut for an hour. Marks
/// stay within the number of calls; what gathered crosses soon after; and when a site is lost then,
/// none of its calls is. With an odd seed sessions are so short that the deadlines of the copies
/// pass meanwhile: they sleep on, as their home may live.
fn d27_sites_cut_apart_for_an_hour(seed: u64, keep: bool) -> Outcome {
    let mut rng = Rng::new(seed);
    let mut scenario = Scenario::of_sizes(
        Sizes {
            partitions: 1,
            session: D27_SESSIONS[usize::from(!seed.is_multiple_of(2))],
            ..sizes()
        },
        Weather::FAIR,
    );
    let hour = u64::try_from(CUT_FOR.as_millis()).unwrap_or(0);
    for number in 0..20 {
        // Some before the cut, the others all along.
        let begins = if number < 6 { 2_500 + rng.below(9_000) } else { 15_000 + rng.below(hour) };
        let call = scenario.plain_call(&mut rng, begins);
        let mut at = begins + 5_000;
        while at < hour {
            at += 30_000 + rng.below(400_000);
            scenario.ask(&mut rng, at, call);
        }
        if rng.chance(300) {
            scenario.add(at, Action::Ask(call, Party::Caller, Method::Bye));
        }
    }
    for (from, to) in [(ONE, TWO), (TWO, ONE)] {
        scenario.add(15_000, Action::CutSites(from, to, CUT_FOR));
    }
    scenario.in_order();
    play(seed, keep, &scenario.clone(), &mut rng, |world, scenario| {
        until(world, scenario, at_ms(15_000) + CUT_FOR)?;
        let marks = world.marks();
        world.heal();
        let healed_at = world.now;
        become_settled(world, scenario)?;
        world.drained = Some((marks, world.now.since(healed_at)));
        if !world.homes.owned.split.is_empty() {
            return failed("home_is_alive", format!("{:?} at both sites", world.homes.owned.split));
        }
        if world.now.since(healed_at) > DRAINED_WITHIN {
            let seen = format!("{marks} marks crossed in {:?}", world.now.since(healed_at));
            return failed("drains_in_time", seen);
        }
        lose_a_site(world, scenario)
    })
}

/// Every call that is up when the first site dies goes on at the other, and then at home.
fn lose_a_site(world: &mut World, scenario: &Scenario) -> Result<(), Violation> {
    let up = |world: &World| -> Vec<usize> {
        let is_up = |addr| world.outside.standing(addr) == Some(Standing::Up);
        let calls = 0..scenario.calls.len();
        calls.filter(|call| is_up(caller_addr(*call)) && is_up(callee_addr(*call))).collect()
    };
    // A moment at which nobody is in the middle of something.
    let give_up_at = world.now + Duration::from_secs(60);
    while !world.unsettled().is_empty() && world.now < give_up_at {
        let next = world.now + Duration::from_millis(97);
        until(world, scenario, next)?;
    }
    let before = up(world);
    world.healed_at = None;
    world.kill_site(ONE);
    // Calls that are over linger, and have nothing to lose.
    let lost: Vec<usize> =
        before.iter().copied().filter(|call| world.unpromised.contains(call)).collect();
    if !lost.is_empty() {
        return failed("cut_loses_nothing", format!("{lost:?} had not crossed"));
    }
    world.route(ONE, TWO);
    let next = world.now + Duration::from_secs(5);
    until(world, scenario, next)?;
    for call in &before {
        world.with_agent(caller_addr(*call), |agent, now| {
            agent.ask_in_dialog(now, Method::Info);
        });
    }
    let next = world.now + Duration::from_secs(15);
    until(world, scenario, next)?;
    answered_all(world, &before)?;
    world.heal();
    become_settled(world, scenario)?;
    hang_up_all(world, scenario)?;
    invariants::at_the_end(world, scenario)
}

/// The last request of each caller was answered with 200; of those at least that went on.
fn answered_all(world: &World, calls: &[usize]) -> Result<(), Violation> {
    let has_ended = |call: &usize| {
        let facts = world.outside.facts_of(*call);
        facts.iter().any(|(_, _, fact)| matches!(fact, Fact::HungUp | Fact::Bye))
    };
    for call in calls.iter().filter(|call| !has_ended(call)) {
        let facts = world.outside.agents.get(&caller_addr(*call)).map(|agent| &agent.facts);
        let answers = facts.into_iter().flatten().filter_map(|(_, fact)| match fact {
            Fact::Answered(Method::Info, code) => Some(*code),
            _ => None,
        });
        if answers.last() != Some(200) {
            return failed("answered_at_the_other_site", format!("call {call}: {facts:?}"));
        }
    }
    Ok(())
}

/// A site is lost, and requests of both parties of one call reach two engines of the other at the
/// same moment. One wakes the call, the other waits; both are answered.
fn d31_two_engines_wake_one_call(seed: u64, keep: bool) -> Outcome {
    let mut rng = Rng::new(seed);
    let mut scenario = Scenario::of_sizes(sizes(), Weather::FAIR);
    let calls: Vec<usize> =
        (0..8).map(|n| scenario.plain_call(&mut rng, 2_500 + n * 300)).collect();
    scenario.in_order();
    play(seed, keep, &scenario.clone(), &mut rng, |world, scenario| {
        until(world, scenario, at_ms(15_000))?;
        become_settled(world, scenario)?;
        world.kill_site(ONE);
        world.route(ONE, TWO);
        let next = world.now + Duration::from_secs(4);
        until(world, scenario, next)?;
        let lived: Vec<usize> = calls
            .iter()
            .copied()
            .filter(|call| !world.unpromised.contains(call) && world.home_of(*call) == Some(ONE))
            .collect();
        if lived.is_empty() {
            return failed("two_engines", "no call lived at the lost site".to_owned());
        }
        let engines = world.sizes.engines_of(TWO);
        for call in &lived {
            for (party, engine) in [Party::Caller, Party::Callee].into_iter().zip(engines.clone()) {
                world.ask_at_engine(addr_of(*call, party), Method::Info, engine);
            }
        }
        let next = world.now + Duration::from_secs(10);
        until(world, scenario, next)?;
        for call in &lived {
            let facts = world.outside.facts_of(*call);
            let answered =
                facts.iter().filter(|(_, _, fact)| *fact == Fact::Answered(Method::Info, 200));
            let moves = world.outside.key_of_call(caller_addr(*call));
            let moves =
                moves.and_then(|key| world.homes.owned.moved_at.get(&key)).map_or(0, Vec::len);
            if answered.count() != 2 || moves != 1 {
                return failed("two_engines", format!("call {call}: {moves} moves, {facts:?}"));
            }
        }
        world.heal();
        go(world, scenario)
    })
}

/// The balancers send each request of a call to the wrong site, or to the right one, in turn. Its
/// home answers all of them, in order; nothing wakes.
fn d34_calls_go_astray(seed: u64, keep: bool) -> Outcome {
    let mut rng = Rng::new(seed);
    let mut scenario = Scenario::of_sizes(sizes(), Weather::FAIR);
    for number in 0..8 {
        let begins = 2_500 + number * 200;
        let call = scenario.plain_call(&mut rng, begins);
        for at in (10_000..55_000).step_by(2_500) {
            let at = at + rng.below(1_500);
            scenario.ask(&mut rng, at, call);
        }
    }
    for at in (10_000..55_000).step_by(5_000) {
        for (home, to) in [(ONE, TWO), (TWO, ONE)] {
            scenario.add(at, Action::Route(home, to));
            scenario.add(at + 2_500, Action::Route(home, home));
        }
    }
    scenario.in_order();
    play(seed, keep, &scenario.clone(), &mut rng, |world, scenario| {
        until(world, scenario, scenario.heal_at)?;
        let strays_until = world.now;
        go(world, scenario)?;
        if world.homes.woken > 0 || !world.homes.owned.split.is_empty() {
            let (woken, split) = (world.homes.woken, world.homes.owned.split.len());
            return failed("home_is_alive", format!("{woken} woken, {split} at both sites"));
        }
        let calls: Vec<usize> = (0..scenario.calls.len()).collect();
        for call in &calls {
            for (at, party, fact) in world.outside.facts_of(*call) {
                if let Fact::Answered(_, code @ 400..) = fact
                    && code != 491
                    && at < strays_until
                {
                    return failed("home_is_alive", format!("{party}{call}: {code} at {at:?}"));
                }
            }
        }
        Ok(())
    })
}

/// The sites are cut apart, and each is told that the other is gone. Calls that both handle are
/// one again after the cut is healed.
fn d38_both_sites_take_over(seed: u64, keep: bool) -> Outcome {
    let mut rng = Rng::new(seed);
    let mut scenario = Scenario::of_sizes(sizes(), Weather::FAIR);
    for number in 0..10 {
        let call = scenario.plain_call(&mut rng, 2_500 + number * 300);
        for at in (20_000..60_000).step_by(5_000) {
            let at = at + rng.below(4_000);
            scenario.ask(&mut rng, at, call);
        }
    }
    let for_ = ms(20_000 + rng.below(15_000));
    for (from, to) in [(ONE, TWO), (TWO, ONE)] {
        scenario.add(18_000, Action::CutSites(from, to, for_));
        scenario.add(22_500 + rng.below(2_000), Action::ActivateAll(from));
    }
    if rng.chance(500) {
        scenario.add(26_000, Action::Route(ONE, TWO));
        scenario.add(34_000, Action::Route(ONE, ONE));
    }
    scenario.in_order();
    play(seed, keep, &scenario.clone(), &mut rng, |world, scenario| {
        go(world, scenario)?;
        match world.homes.owned.split.len() {
            0 => failed("both_sites", "no call was handled twice".to_owned()),
            _ => Ok(()),
        }
    })
}

/// Each process counts from a moment of its own, up to two hours apart; without that the run is the
/// same, event by event: no clock of one is read by another, and none of the wall.
fn d40_no_clock_is_shared(seed: u64, keep: bool) -> Outcome {
    let run = |is_skewed: bool| {
        let mut rng = Rng::new(seed);
        let mut scenario = Scenario::draw_wide(&mut rng);
        scenario.sizes.is_skewed = is_skewed;
        play(seed, keep, &scenario.clone(), &mut rng, go)
    };
    let (skewed, mut plain) = (run(true), run(false));
    if plain.violation.is_none() && plain.trace.hash() != skewed.trace.hash() {
        let seen = "the same seed went otherwise with other clocks".to_owned();
        plain.violation = Some(Violation { invariant: "no_clock_is_shared", seen });
    }
    plain
}

/// One process's clock passes two seconds in each: it gives locks up early, and takes others for
/// dead sooner. Nothing that was acknowledged is lost, and no timer fires twice.
fn d41_one_clock_runs_twice_too_fast(seed: u64, keep: bool) -> Outcome {
    let mut rng = Rng::new(seed);
    let mut scenario = Scenario::draw_wide(&mut rng);
    let site = scenario.site(&mut rng);
    let node = match rng.chance(700) {
        true => scenario.state(&mut rng, site),
        false => scenario.engine(&mut rng, site),
    };
    scenario.sizes.fast = Some(node);
    // A session that lasts half as long by that clock ends early: no lease, and not judged here.
    scenario.sizes.session = D27_SESSIONS[1];
    play(seed, keep, &scenario.clone(), &mut rng, |world, scenario| {
        world.watch.holders.lease = crate::holders::LEASE / 2;
        go(world, scenario)
    })
}

impl World {
    /// Marks of answered calls, at all primaries.
    fn marks(&self) -> u64 {
        let outbound = self.primaries().flat_map(|(_, _, place, replica)| {
            let stats = replica.stats(self.shown_at(place));
            stats.outbound.into_values().map(|outbound| outbound.at_risk).collect::<Vec<_>>()
        });
        outbound.sum()
    }

    fn home_of(&self, call: usize) -> Option<SiteId> {
        self.homes.owned.home(self.outside.key_of_call(caller_addr(call))?)
    }

    /// A party sends a request, and it comes to one engine at once, whatever the balancer would do.
    fn ask_at_engine(&mut self, party: std::net::SocketAddr, method: Method, engine: usize) {
        let (now, to) = (self.now, self.sizes.edge_addr(engine));
        for bytes in self.outside.ask_by_hand(now, &mut self.agenda, party, method) {
            let frame = balancer::EdgeFrame::Inbound { source: party, offered_by: None, bytes };
            let bytes = frame.encode(&crate::site::secret());
            let from = crate::site::EDGE_INNER;
            let datagram = crate::outside::Datagram { from, to, bytes };
            self.agenda.add(Instant(now.0 + 1), super::super::event::Event::Datagram(datagram));
        }
        debug_assert!(self.paused_until(Node::Engine(engine)).is_none(), "nothing fails here");
    }
}
