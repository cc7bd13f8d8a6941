//! What is refused and what is dropped when there is no room, no tier, or no wish for new calls.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use engine::{Input, Limits};
use sip_message::Message;
use tier_protocol::{Command, Reply, SiteState};
use vocab::{ReplicaId, SiteId, ViewNumber};

use crate::basic::answered;
use crate::ua::{Ua, names};
use crate::world::{ALICE, BOB, World, b2bua, sites};

#[test]
fn calls_that_begin_are_refused_before_calls_that_live() {
    let limits = Limits { turns_max: 4, ..Limits::default() };
    let mut world = World::of_site(SiteId(1), limits, vec![b2bua()]);
    let call = answered(&mut world, "lives");
    let mut alice = call.alice;
    // The replica falls silent: turns pile up.
    world.intercept = Some(Box::new(|command| match command {
        Command::LockAndGet { key, turn, .. } => Some(Reply::Queued { key: *key, turn: *turn }),
        _ => None,
    }));
    for call in ["a", "b", "c", "d", "e"] {
        world.deliver(1, ALICE, Ua::caller("alice", ALICE, call).request("INVITE"));
    }
    let refused = world.take(ALICE);
    assert_eq!(names(&refused), ["503", "503"]);
    for message in &refused {
        let Message::Response(response) = message else { panic!("a response") };
        let seconds = response.headers.retry_after().expect("well formed").expect("present");
        assert!((5..=10).contains(&seconds), "spread over once to twice the base");
    }
    world.intercept = None;
    world.deliver(1, ALICE, alice.request("BYE"));
    assert_eq!(names(&world.take(ALICE)), ["200"]);
    assert_eq!(world.count(|stats| stats.refused_overload), 2);
}

#[test]
fn a_waiting_message_is_kept_once_and_only_for_a_time() {
    let mut world = World::new();
    world.intercept = Some(Box::new(|command| match command {
        Command::LockAndGet { key, turn, .. } => Some(Reply::Queued { key: *key, turn: *turn }),
        _ => None,
    }));
    let invite = Ua::caller("alice", ALICE, "once").request("INVITE");
    for _ in 0..5 {
        world.deliver(1, ALICE, invite.clone());
    }
    assert_eq!(world.count(|stats| stats.repeated), 4);
    assert_eq!(world.count(|stats| stats.inputs), 1);
    assert_eq!(world.count(|stats| stats.inputs_bytes), invite.len() as u64);
    world.advance(Duration::from_secs(8));
    assert_eq!(world.count(|stats| stats.dropped_late), 1);
    assert_eq!(world.count(|stats| stats.turns), 0);
    assert_eq!(world.count(|stats| stats.inputs_bytes), 0);
}

#[test]
fn one_call_holds_only_so_many_messages() {
    let limits = Limits { inputs_per_call_max: 3, ..Limits::default() };
    let mut world = World::of_site(SiteId(1), limits, vec![b2bua()]);
    let mut alice = answered(&mut world, "many").alice;
    world.intercept = Some(Box::new(|command| match command {
        Command::LockAndGet { key, turn, .. } => Some(Reply::Queued { key: *key, turn: *turn }),
        _ => None,
    }));
    for _ in 0..5 {
        world.deliver(1, ALICE, alice.request("INFO"));
    }
    assert_eq!(world.count(|stats| stats.inputs), 3);
    assert_eq!(world.count(|stats| stats.dropped_overload), 2);
}

#[test]
fn a_busy_replica_refuses_the_call_that_begins() {
    let mut world = World::new();
    world.intercept = Some(Box::new(|command| match command {
        Command::LockAndGet { key, turn, .. } => Some(Reply::Busy { key: *key, turn: *turn }),
        _ => None,
    }));
    world.deliver(1, ALICE, Ua::caller("alice", ALICE, "busy").request("INVITE"));
    assert_eq!(names(&world.take(ALICE)), ["503"]);
}

#[test]
fn a_draining_engine_serves_its_calls_and_begins_none() {
    let mut world = World::new();
    let mut alice = Ua::caller("alice", ALICE, "drained");
    let invite = alice.request("INVITE");
    world.deliver(1, ALICE, invite.clone());
    world.take(ALICE);
    world.input(1, Input::Drain(true));
    world.deliver(1, ALICE, invite);
    assert_eq!(names(&world.take(ALICE)), ["100"], "a repetition begins no call");
    world.deliver(1, ALICE, Ua::caller("alice", ALICE, "new").request("INVITE"));
    assert_eq!(names(&world.take(ALICE)), ["503"]);
    world.input(1, Input::Drain(false));
    world.deliver(1, ALICE, Ua::caller("alice", ALICE, "newer").request("INVITE"));
    assert_eq!(names(&world.take(ALICE)), ["100"]);
}

#[test]
fn a_returning_site_begins_no_call() {
    let mut world = World::new();
    world.gate(1, sites(SiteState::Returning, &[2], &[], 0));
    world.deliver(1, ALICE, Ua::caller("alice", ALICE, "early").request("INVITE"));
    assert_eq!(names(&world.take(ALICE)), ["503"]);
    world.gate(1, sites(SiteState::Serving, &[2], &[], 0));
    world.deliver(1, ALICE, Ua::caller("alice", ALICE, "later").request("INVITE"));
    assert_eq!(names(&world.take(ALICE)), ["100"]);
}

#[test]
fn a_broken_tier_link_drops_its_turns_and_refuses_new_calls() {
    let mut world = World::new();
    let mut alice = answered(&mut world, "tier").alice;
    world.intercept = Some(Box::new(|command| match command {
        Command::LockAndGet { key, turn, .. } => Some(Reply::Queued { key: *key, turn: *turn }),
        _ => None,
    }));
    let info = alice.request("INFO");
    world.deliver(1, ALICE, info.clone());
    world.input(1, Input::TierDown { replica: ReplicaId(1) });
    assert_eq!(world.count(|stats| stats.dropped_tier), 1);
    assert_eq!(world.count(|stats| stats.turns), 0);
    world.deliver(1, ALICE, info.clone());
    world.deliver(1, ALICE, Ua::caller("alice", ALICE, "new").request("INVITE"));
    assert_eq!(names(&world.take(ALICE)), ["503"]);
    world.intercept = None;
    world.input(1, Input::TierUp { replica: ReplicaId(1) });
    world.deliver(1, ALICE, info);
    assert_eq!(names(&world.take(BOB)), ["INFO"]);
}

#[test]
fn a_command_in_an_old_view_is_said_again_in_the_new_one() {
    let mut world = World::new();
    let mut seen = 0;
    world.intercept = Some(Box::new(move |command| {
        seen += 1;
        match command {
            Command::LockAndGet { view, key, .. } if view.0 == 1 => {
                Some(Reply::StaleView { key: *key, current: ViewNumber(2) })
            }
            Command::LockAndGet { view, key, .. } => {
                assert_eq!(*view, ViewNumber(2));
                assert!(seen < 10);
                Some(Reply::StaleView { key: *key, current: ViewNumber(2) })
            }
            _ => None,
        }
    }));
    world.deliver(1, ALICE, Ua::caller("alice", ALICE, "view").request("INVITE"));
    assert_eq!(world.count(|stats| stats.turns), 1, "it waits for a member of its view");
}

#[test]
fn an_ask_that_is_late_gives_its_lock_back() {
    let mut world = World::new();
    let mut alice = answered(&mut world, "late").alice;
    let mut swallow = true;
    world.intercept = Some(Box::new(move |command| match command {
        Command::Unlock { key, .. } if std::mem::take(&mut swallow) => {
            // This engine forgets its lock: nothing reaches the replica.
            Some(Reply::Queued { key: *key, turn: 0 })
        }
        _ => None,
    }));
    world.deliver(1, ALICE, alice.request("INFO"));
    world.deliver(2, ALICE, alice.request("INFO"));
    world.advance(Duration::from_secs(8));
    assert_eq!(world.count(|stats| stats.dropped_late), 1);
    world.advance(Duration::from_secs(4));
    assert_eq!(world.count(|stats| stats.turns), 0);
    world.take(BOB);
    world.deliver(1, ALICE, alice.request("INFO"));
    assert_eq!(names(&world.take(BOB)), ["INFO"], "the lock is free again");
}

#[test]
fn a_put_that_is_said_again_renews_its_lock() {
    let mut world = World::new();
    let renewed = Rc::new(Cell::new(0));
    let count = Rc::clone(&renewed);
    world.intercept = Some(Box::new(move |command| match command {
        Command::Put { record, .. } => {
            Some(Reply::StaleView { key: record.header.key, current: ViewNumber(1) })
        }
        Command::Renew { .. } => {
            count.set(count.get() + 1);
            None
        }
        _ => None,
    }));
    world.deliver(1, ALICE, Ua::caller("alice", ALICE, "view").request("INVITE"));
    world.advance(Duration::from_secs(5));
    assert!(renewed.get() >= 5, "renewed {} times", renewed.get());
}
