//! Replica and gate of two sites, joined: what neither can show alone.
//!
//! A site dies and its calls go on at the other; it returns, learns where its calls are, and gets
//! them back. Random crashes, cuts and messages must heal: every call that lives is active at
//! exactly one site and asleep, in the same version, at the other.

#[path = "../../src/tests/rng.rs"]
mod rng;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use replica::Order;
use rng::Rng;
use tier_protocol::SiteState;
use vocab::{CallKey, SiteId};
use world::{Fate, LEFT, RIGHT, World};

fn key(number: u8) -> CallKey {
    CallKey([number; 16])
}

fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn check_home(world: &World, number: u8, home: SiteId) {
    let other = SiteId(3 - home.0);
    assert_eq!(world.places(key(number)), (vec![home], vec![other]), "call {number}");
    assert_eq!(world.stamp(home, key(number)), world.stamp(other, key(number)));
}

#[test]
fn steady_calls_have_a_copy_at_the_other_site() {
    let mut world = World::new();
    world.pass(s(1));
    for number in 0..20 {
        world.begin(if number < 10 { LEFT } else { RIGHT }, key(number));
    }
    world.pass(s(2));
    for number in 0..20 {
        check_home(&world, number, if number < 10 { LEFT } else { RIGHT });
    }
    assert_eq!(world.at_risk(), 0);
    for number in 0..20 {
        // Whichever site the message comes to.
        assert_eq!(world.message(LEFT, key(number), true), Fate::Done);
    }
    world.pass(s(2));
    for number in 0..20 {
        assert_eq!(world.places(key(number)), (vec![], vec![]));
    }
}

#[test]
fn a_site_dies_its_calls_go_on_and_come_home() {
    let mut world = World::new();
    world.pass(s(1));
    for number in 0..40 {
        world.begin(LEFT, key(number));
    }
    world.pass(s(2));
    world.crash(LEFT);
    world.pass(s(3));
    // Some wake by a message, the rest by order.
    assert_eq!(world.message(RIGHT, key(3), false), Fate::Done);
    world.order(RIGHT, activate_all(LEFT));
    world.pass(s(5));
    for number in 0..40 {
        assert_eq!(world.places(key(number)), (vec![RIGHT], vec![]), "call {number}");
    }
    assert_eq!(world.message(RIGHT, key(5), true), Fate::Done);
    world.restart(LEFT);
    world.pass(s(1));
    assert_eq!(world.sites[&LEFT].state, SiteState::Serving);
    // A message that comes to the old home finds the call wherever it is by then.
    assert_eq!(world.message(LEFT, key(7), false), Fate::Done);
    assert_eq!(world.message(LEFT, key(5), false), Fate::NoSuch);
    world.pass(s(10));
    for number in (0..40).filter(|number| *number != 5) {
        check_home(&world, number, LEFT);
    }
    assert_eq!(world.at_risk(), 0);
}

#[test]
fn a_site_that_comes_back_soon_fetches_what_slept_for_it() {
    let mut world = World::new();
    world.pass(s(1));
    for number in 0..40 {
        world.begin(LEFT, key(number));
    }
    world.pass(s(2));
    world.crash(LEFT);
    world.pass(s(3));
    world.restart(LEFT);
    world.pass(Duration::from_millis(1));
    assert_eq!(world.message(LEFT, key(39), false), Fate::Done, "before its turn, by a pull");
    world.pass(s(10));
    for number in 0..40 {
        check_home(&world, number, LEFT);
    }
}

#[test]
fn a_call_that_was_taken_over_behind_a_cut_is_given_up_by_its_home() {
    let mut world = World::new();
    world.pass(s(1));
    world.begin(LEFT, key(1));
    world.begin(LEFT, key(2));
    world.pass(s(2));
    world.cut();
    world.pass(s(3));
    assert_eq!(world.message(RIGHT, key(1), false), Fate::Done);
    assert_eq!(world.message(LEFT, key(1), false), Fate::Done);
    assert_eq!(world.places(key(1)).0, [LEFT, RIGHT], "split, as a cut allows");
    assert_eq!(world.message(LEFT, key(2), true), Fate::Done);
    assert_eq!(world.message(RIGHT, key(2), false), Fate::Done);
    world.link();
    world.pass(s(10));
    // The one goes home again; the other had ended there.
    check_home(&world, 1, LEFT);
    assert_eq!(world.places(key(2)), (vec![], vec![]));
}

#[test]
fn a_call_that_merely_lingers_leaves_no_copy_behind() {
    let mut world = World::new();
    world.pass(s(1));
    for number in 0..20 {
        world.begin(LEFT, key(number));
    }
    world.pass(s(2));
    for number in 0..20 {
        assert_eq!(world.hang_up(LEFT, key(number)), Fate::Done);
    }
    world.pass(Duration::from_millis(60));
    assert_eq!(world.at_risk(), 0);
    for number in 0..20 {
        assert_eq!(world.places(key(number)), (vec![LEFT], vec![]), "call {number}");
    }
    // Whichever site a late message comes to, it finds what lingers.
    assert_eq!(world.message(RIGHT, key(3), false), Fate::Done);
    // One key names a new call on the same record, another a call that begins at the other site.
    world.begin(LEFT, key(4));
    world.begin(RIGHT, key(5));
    world.pass(s(2));
    check_home(&world, 4, LEFT);
    check_home(&world, 5, RIGHT);
    world.crash(LEFT);
    world.pass(s(3));
    world.order(RIGHT, activate_all(LEFT));
    world.pass(s(3));
    for number in 0..20 {
        let active = if (4..=5).contains(&number) { vec![RIGHT] } else { vec![] };
        assert_eq!(world.places(key(number)), (active, vec![]), "call {number}");
    }
    world.restart(LEFT);
    world.pass(s(60));
    check_home(&world, 4, LEFT);
}

#[test]
fn a_key_begins_again_above_what_ended_under_a_higher_epoch() {
    let mut world = World::new();
    world.pass(s(1));
    world.begin(LEFT, key(1));
    world.pass(s(2));
    world.cut();
    world.pass(s(3));
    // Woken there, ended there.
    assert_eq!(world.message(RIGHT, key(1), true), Fate::Done);
    world.link();
    world.pass(s(5));
    assert_eq!(world.places(key(1)), (vec![], vec![]));
    world.begin(LEFT, key(1));
    world.pass(s(2));
    check_home(&world, 1, LEFT);
}

/// Calls that a crash may take: those with something at risk at that moment.
fn safe(world: &World, calls: &BTreeMap<u8, SiteId>) -> BTreeSet<u8> {
    let is_safe = |number: &u8| {
        let (active, asleep) = world.places(key(*number));
        let [home] = active[..] else { return false };
        asleep
            .iter()
            .any(|other| world.stamp(*other, key(*number)) == world.stamp(home, key(*number)))
    };
    calls.keys().copied().filter(is_safe).collect()
}

fn activate_all(site: SiteId) -> Order {
    Order::Site(replica::SiteOrder::ActivateAll { site, force: false })
}

#[test]
fn whatever_happens_the_sites_agree_when_it_is_over() {
    for seed in 1..=60_u64 {
        let mut rng = Rng(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut world = World::new();
        world.pass(s(1));
        let mut calls: BTreeMap<u8, SiteId> = BTreeMap::new();
        let mut begun: BTreeSet<u8> = BTreeSet::new();
        let mut ended: BTreeSet<u8> = BTreeSet::new();
        let mut must_live: BTreeSet<u8> = BTreeSet::new();
        for _ in 0..120 {
            let number = u8::try_from(rng.below(20)).expect("small");
            let site = if rng.below(2) == 0 { LEFT } else { RIGHT };
            match rng.below(10) {
                0..=2 if !calls.contains_key(&number) && world.sites.contains_key(&site) => {
                    // A key may name another call once its end is known everywhere.
                    let is_free =
                        begun.insert(number) || (world.at_risk() == 0 && ended.remove(&number));
                    if is_free && world.sites[&site].state == SiteState::Serving {
                        world.begin(site, key(number));
                        calls.insert(number, site);
                    }
                }
                0..=4 if world.sites.contains_key(&site) => {
                    world.message(site, key(number), false);
                }
                5 if world.sites.len() == 1 => {
                    world.order(site, activate_all(SiteId(3 - site.0)));
                }
                5 if rng.below(3) == 0 => {
                    let fate = match rng.below(2) {
                        0 => world.message(site, key(number), true),
                        _ => world.hang_up(site, key(number)),
                    };
                    if fate == Fate::Done {
                        calls.remove(&number);
                        ended.insert(number);
                    }
                }
                5 => {
                    must_live = safe(&world, &calls);
                    world.crash(site);
                    calls.retain(|number, _| must_live.contains(number));
                }
                6 => {
                    world.restart(LEFT);
                    world.restart(RIGHT);
                }
                7 => world.cut(),
                8 => world.link(),
                _ => world.pass(Duration::from_millis(rng.below(4_000))),
            }
        }
        world.restart(LEFT);
        world.restart(RIGHT);
        world.link();
        world.pass(s(200));
        for number in 0..20 {
            let (active, asleep) = world.places(key(number));
            assert!(active.len() <= 1, "seed {seed}: call {number} lives twice: {active:?}");
            if must_live.contains(&number) && calls.contains_key(&number) {
                assert_eq!(active.len(), 1, "seed {seed}: call {number} is lost, {asleep:?}");
            }
            if let [home] = active[..] {
                check_home(&world, number, home);
            }
        }
        assert_eq!(world.at_risk(), 0, "seed {seed}");
    }
}
