//! Engines that die at the worst moment, and puts that are refused.

use tier_protocol::{Command, Refusal, Reply};
use vocab::EngineId;

use crate::basic::answered;
use crate::ua::{Ua, names};
use crate::world::{ALICE, BOB, World};

#[test]
fn effects_of_a_put_that_was_not_unlocked_leave_from_another_engine() {
    let mut world = World::new();
    world.dies_after_put = Some(EngineId(1));
    let mut alice = Ua::caller("alice", ALICE, "resume");
    world.deliver(1, ALICE, alice.request("INVITE"));
    assert!(!world.engines.contains_key(&EngineId(1)), "it is dead");
    assert_eq!(names(&world.take(ALICE)), ["100"]);
    assert_eq!(names(&world.take(BOB)), ["INVITE"]);
    assert_eq!(world.count(|stats| stats.resumed), 1);
    assert_eq!(world.puts.len(), 1, "nothing was stepped again");
}

#[test]
fn the_same_bytes_leave_a_second_time() {
    let mut first = World::new();
    let mut second = World::new();
    second.dies_after_put = Some(EngineId(1));
    let invite = Ua::caller("alice", ALICE, "bytes").request("INVITE");
    first.deliver(1, ALICE, invite.clone());
    second.deliver(1, ALICE, invite);
    let print = |world: &mut World| -> Vec<bytes::Bytes> {
        world.take(BOB).iter().map(sip_message::Message::print).collect()
    };
    assert_eq!(print(&mut first), print(&mut second));
}

#[test]
fn effects_within_a_call_leave_from_another_engine_too() {
    let mut world = World::new();
    let mut alice = answered(&mut world, "within").alice;
    world.dies_after_put = Some(EngineId(1));
    world.deliver(1, ALICE, alice.request("BYE"));
    assert_eq!(names(&world.take(BOB)), ["BYE"]);
    assert_eq!(names(&world.take(ALICE)), ["200"]);
}

#[test]
fn a_message_that_waited_behind_a_dead_engine_is_worked_after_the_resume() {
    let mut world = World::new();
    let call = answered(&mut world, "waiting");
    let (mut alice, mut bob) = (call.alice, call.bob);
    // Engine 1 never hears that its put is stored, so it keeps the lock and its effects.
    world.deaf = Some(EngineId(1));
    world.deliver(1, ALICE, alice.request("INFO"));
    assert!(world.take(BOB).is_empty());
    world.deliver(2, BOB, bob.request("INFO"));
    assert!(world.take(ALICE).is_empty(), "it waits for the lock");
    world.kill(1);
    assert_eq!(names(&world.take(BOB)), ["INFO"], "the effect of the stored put");
    assert_eq!(names(&world.take(ALICE)), ["INFO"], "and the message that waited");
    assert_eq!(world.count(|stats| stats.resumed), 1);
}

#[test]
fn a_refused_put_is_stepped_again_and_nothing_of_it_leaves() {
    let mut world = World::new();
    let mut refused = 0;
    world.intercept = Some(Box::new(move |command| match command {
        Command::Put { record, .. } if refused < 3 => {
            refused += 1;
            let (key, stamp) = (record.header.key, record.header.stamp);
            Some(Reply::Refused { key, stamp, why: Refusal::NotTheBase { held: None } })
        }
        _ => None,
    }));
    let mut alice = Ua::caller("alice", ALICE, "refused");
    world.deliver(1, ALICE, alice.request("INVITE"));
    assert_eq!(world.count(|stats| stats.refused_puts), 3);
    assert_eq!(names(&world.take(ALICE)), ["100"]);
    assert_eq!(names(&world.take(BOB)), ["INVITE"]);
    assert_eq!(world.puts.len(), 1);
}

#[test]
fn a_put_that_is_always_refused_is_given_up() {
    let mut world = World::new();
    world.intercept = Some(Box::new(|command| match command {
        Command::Put { record, .. } => {
            let (key, stamp) = (record.header.key, record.header.stamp);
            Some(Reply::Refused { key, stamp, why: Refusal::NotTheBase { held: None } })
        }
        _ => None,
    }));
    let mut alice = Ua::caller("alice", ALICE, "always");
    world.deliver(1, ALICE, alice.request("INVITE"));
    assert!(world.sent.is_empty(), "no effect leaves without its state");
    assert_eq!(world.count(|stats| stats.turns), 0);
    assert_eq!(world.count(|stats| stats.dropped_late), 1);
}

#[test]
fn a_full_partition_refuses_calls_that_begin() {
    let mut world = World::new();
    world.intercept = Some(Box::new(|command| match command {
        Command::Put { record, .. } => {
            let (key, stamp) = (record.header.key, record.header.stamp);
            Some(Reply::Refused { key, stamp, why: Refusal::Full })
        }
        _ => None,
    }));
    let mut alice = Ua::caller("alice", ALICE, "full");
    world.deliver(1, ALICE, alice.request("INVITE"));
    assert_eq!(names(&world.take(ALICE)), ["503"]);
    assert!(world.take(BOB).is_empty());
}
