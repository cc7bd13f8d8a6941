//! Calls that meet no fault: any message at any engine.

use std::time::Duration;

use tier_protocol::{Command, Tombstone};
use vocab::{CallKey, EngineId, SiteId, Stamp, Version, ViewNumber};

use crate::ua::{Ua, names, requests, responses};
use crate::world::{ALICE, BOB, World};

/// A call that was set up, with every message at another engine than the one before.
pub(crate) struct Answered {
    pub(crate) alice: Ua,
    pub(crate) bob: Ua,
    pub(crate) key: CallKey,
}

pub(crate) fn answered(world: &mut World, call_id: &str) -> Answered {
    let mut alice = Ua::caller("alice", ALICE, call_id);
    world.deliver(1, ALICE, alice.request("INVITE"));
    assert_eq!(names(&world.take(ALICE)), ["100"]);
    let invite = requests(world.take(BOB)).pop().expect("Bob is called");
    let bob = Ua::callee("bob", BOB, &invite);
    world.deliver(2, BOB, bob.answer(&invite, 180));
    assert_eq!(names(&world.take(ALICE)), ["180"]);
    world.deliver(1, BOB, bob.answer(&invite, 200));
    let answer = responses(world.take(ALICE)).pop().expect("Bob's answer is relayed");
    assert_eq!(answer.status.code(), 200);
    alice.learn(&answer);
    world.deliver(2, ALICE, alice.ack());
    assert_eq!(names(&world.take(BOB)), ["ACK"]);
    Answered { alice, bob, key: world.last_put().header.key }
}

#[test]
fn a_call_is_set_up_and_ended_through_two_engines() {
    let mut world = World::new();
    let Answered { alice: _, mut bob, key } = answered(&mut world, "basic");
    assert!(world.last_put().header.is_steady(), "an answered call is steady");
    world.deliver(2, BOB, bob.request("BYE"));
    assert_eq!(names(&world.take(BOB)), ["200"]);
    let bye = requests(world.take(ALICE)).pop().expect("Alice hears of it");
    let alice = Ua::callee("alice", ALICE, &bye_as_invite(&bye));
    assert!(!world.flags.ended, "the BYE is not answered");
    world.deliver(1, ALICE, alice.answer(&bye, 200));
    assert!(world.flags.ended, "to other sites it is over");
    assert!(world.holds(key), "its transactions linger");
    world.advance(Duration::from_secs(60));
    assert!(!world.holds(key), "nothing is left of it");
    assert_eq!(world.count(|stats| stats.begun), 1);
    assert_eq!(world.count(|stats| stats.ended), 1);
    assert_eq!(world.count(|stats| stats.turns), 0);
    assert_eq!(world.count(|stats| stats.inputs), 0);
    assert_eq!(world.count(|stats| stats.inputs_bytes), 0);
    assert!(world.take(ALICE).is_empty() && world.take(BOB).is_empty());
}

#[test]
fn a_key_that_is_used_again_begins_above_what_ended_elsewhere() {
    let mut world = World::new();
    let invite = |world: &mut World| {
        world.deliver(1, ALICE, Ua::caller("alice", ALICE, "again").request("INVITE"));
        let invite = requests(world.take(BOB)).pop().expect("Bob is called");
        let first = world.last_put().header.clone();
        world.deliver(2, BOB, Ua::callee("bob", BOB, &invite).answer(&invite, 486));
        assert!(world.flags.ended, "nobody else need know");
        world.advance(Duration::from_secs(90));
        assert!(!world.holds(first.key));
        world.take(ALICE);
        world.take(BOB);
        first
    };
    let first = invite(&mut world);
    let epoch = first.stamp.epoch.woken_at(SiteId(2));
    let tombstone = Tombstone { key: first.key, stamp: Stamp { epoch, ..first.stamp } };
    let view = ViewNumber(1);
    let command = Command::StoreTombstone { view, batch: 1, tombstone };
    world.tell_replica(replica::Input::Command { engine: EngineId(1), command });
    let second = invite(&mut world);
    assert_eq!(second.key, first.key);
    assert_eq!(second.stamp.epoch, epoch.woken_at(SiteId(1)));
    assert_eq!(second.stamp.version, Version(1));
}

#[test]
fn a_repeated_request_is_answered_from_the_stored_state() {
    let mut world = World::new();
    let mut alice = Ua::caller("alice", ALICE, "repeat");
    let invite = alice.request("INVITE");
    world.deliver(1, ALICE, invite.clone());
    let puts = world.puts.len();
    world.take(ALICE);
    world.take(BOB);
    world.deliver(2, ALICE, invite);
    assert_eq!(names(&world.take(ALICE)), ["100"]);
    assert!(world.take(BOB).is_empty(), "Bob is called once");
    assert_eq!(world.puts.len(), puts, "nothing changed");
    assert_eq!(world.count(|stats| stats.unchanged), 1);
}

#[test]
fn a_call_that_is_cancelled_ends() {
    let mut world = World::new();
    let mut alice = Ua::caller("alice", ALICE, "cancel");
    world.deliver(1, ALICE, alice.request("INVITE"));
    let invite = requests(world.take(BOB)).pop().expect("Bob is called");
    let bob = Ua::callee("bob", BOB, &invite);
    world.deliver(2, BOB, bob.answer(&invite, 180));
    world.take(ALICE);
    world.deliver(2, ALICE, alice.cancel());
    assert_eq!(names(&world.take(ALICE)), ["200", "487"]);
    assert_eq!(names(&world.take(BOB)), ["CANCEL"]);
    assert_eq!(world.count(|stats| stats.no_such_call), 0);
}

#[test]
fn a_due_timer_fires_at_some_engine() {
    let mut world = World::new();
    let mut alice = Ua::caller("alice", ALICE, "due");
    world.deliver(1, ALICE, alice.request("INVITE"));
    assert_eq!(names(&world.take(BOB)), ["INVITE"]);
    world.advance(Duration::from_millis(499));
    assert!(world.take(BOB).is_empty());
    // RFC 3261 §17.1.1.2: Timer A fires after T1, then after twice that.
    world.advance(Duration::from_millis(1));
    assert_eq!(names(&world.take(BOB)), ["INVITE"]);
    world.advance(Duration::from_millis(999));
    assert!(world.take(BOB).is_empty());
    world.advance(Duration::from_millis(1));
    assert_eq!(names(&world.take(BOB)), ["INVITE"]);
    assert_eq!(world.count(|stats| stats.due), 2);
}

#[test]
fn a_call_that_nobody_answers_ends_by_its_timers() {
    let mut world = World::new();
    let mut alice = Ua::caller("alice", ALICE, "silent");
    world.deliver(1, ALICE, alice.request("INVITE"));
    let key = world.last_put().header.key;
    world.advance(Duration::from_secs(33));
    assert!(names(&world.take(ALICE)).contains(&"408".to_owned()));
    world.advance(Duration::from_secs(120));
    assert!(!world.holds(key));
}

#[test]
fn an_engine_that_dies_between_turns_costs_nothing() {
    let mut world = World::new();
    let Answered { mut alice, key, .. } = answered(&mut world, "between");
    world.kill(1);
    world.deliver(2, ALICE, alice.request("BYE"));
    assert_eq!(names(&world.take(ALICE)), ["200"]);
    assert_eq!(names(&world.take(BOB)), ["BYE"]);
    assert!(world.holds(key));
}

/// A BYE has no Contact; a callee is made from requests that have one.
fn bye_as_invite(bye: &sip_message::Request) -> sip_message::Request {
    let mut bye = bye.clone();
    if !bye.headers.contains(&sip_message::HeaderName::Contact) {
        bye.headers.set(sip_message::HeaderName::Contact, "<sip:nobody@192.0.2.1>");
    }
    bye
}
