//! Decoded calls that an engine keeps between turns: faster, never different.

use std::time::Duration;

use bytes::Bytes;
use engine::Limits;
use vocab::SiteId;

use crate::basic::{Answered, answered};
use crate::ua::{names, requests};
use crate::world::{ALICE, BOB, World, b2bua};

fn world(cache_calls_max: usize) -> World {
    let limits = Limits { cache_calls_max, ..Limits::default() };
    World::of_site(SiteId(1), limits, vec![b2bua()])
}

#[test]
fn what_is_sent_does_not_depend_on_what_is_kept() {
    assert_eq!(story(&mut world(0)), story(&mut world(1_000)));
    assert_eq!(story(&mut world(0)), story(&mut world(1)));
}

#[test]
fn a_turn_on_a_kept_call_needs_no_decoding() {
    let mut world = world(10);
    let mut alice = answered(&mut world, "kept").alice;
    let before = world.count(|stats| stats.cache_hits);
    world.deliver(1, ALICE, alice.request("INFO"));
    world.deliver(1, ALICE, alice.request("INFO"));
    assert!(world.count(|stats| stats.cache_hits) > before);
    assert_eq!(names(&world.take(BOB)), ["INFO", "INFO"]);
    assert!(world.count(|stats| stats.cached) >= 1);
}

#[test]
fn a_call_that_another_engine_changed_is_read_anew() {
    let mut world = world(10);
    let mut alice = answered(&mut world, "changed").alice;
    for engine in [1, 2, 1, 2] {
        world.deliver(engine, ALICE, alice.request("INFO"));
        assert_eq!(names(&world.take(BOB)), ["INFO"]);
    }
}

#[test]
fn only_so_many_calls_are_kept() {
    let mut world = world(3);
    for call in 0..10 {
        answered(&mut world, &format!("many-{call}"));
    }
    assert!(world.count(|stats| stats.cached) <= 6, "three for each engine");
}

/// Two calls from their first message to their last timer; everything that was sent.
fn story(world: &mut World) -> Vec<Bytes> {
    let mut sent = Vec::new();
    for call in ["one", "two"] {
        sent.extend(world.sent.drain(..).map(|(_, message)| message.print()));
        let Answered { mut alice, bob, .. } = answered(world, call);
        for engine in [1, 1, 2] {
            world.deliver(engine, ALICE, alice.request("INFO"));
        }
        let infos = requests(world.take(BOB));
        for info in infos {
            world.deliver(2, BOB, bob.answer(&info, 200));
            sent.push(info.print());
        }
        world.advance(Duration::from_secs(40));
        world.deliver(1, ALICE, alice.request("BYE"));
        world.advance(Duration::from_secs(60));
    }
    sent.extend(world.sent.drain(..).map(|(_, message)| message.print()));
    sent
}
