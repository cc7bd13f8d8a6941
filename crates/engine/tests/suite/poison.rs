//! Applications that panic, and records that cannot be read.

use std::sync::Arc;
use std::time::Duration;

use engine::{Input, Limits, Output};
use servlet::{Application, Cx, Decision, NextHop, OutboundLeg};
use sip_message::{Method, Request};
use tier_protocol::{Cause, Entry, Reply};
use vocab::{EngineId, LockToken, ReplicaId, SiteId, ViewNumber};

use crate::basic::answered;
use crate::inbox::{apply, records};
use crate::ua::{Ua, names};
use crate::world::{ALICE, BOB, World};

/// Relays calls to Bob, panics over calls to mallory and over every INFO and timer.
struct Fragile;

impl Application for Fragile {
    fn name(&self) -> &str {
        "fragile"
    }

    fn on_initial_request(&self, cx: &mut Cx<'_>, request: &Request) -> Decision {
        assert!(request.uri.user().is_none_or(|user| &user[..] != b"mallory"), "on purpose");
        if request.uri.user().is_some_and(|user| &user[..] == b"timed") {
            assert!(cx.set_timer("bang", Duration::from_secs(5)), "there is room for a timer");
        }
        Decision::BackToBack(OutboundLeg::new(request.uri.clone()).via(NextHop::Addr(BOB)))
    }

    fn on_request(&self, cx: &mut Cx<'_>, request: &Request) {
        assert!(request.method != Method::Info, "on purpose");
        cx.relay();
    }

    fn on_timer(&self, _cx: &mut Cx<'_>, name: &str) {
        panic!("on purpose: {name}");
    }
}

pub(crate) fn fragile() -> World {
    World::of_site(SiteId(1), Limits::default(), vec![Arc::new(Fragile)])
}

/// The same, where every turn goes through the encoding.
pub(crate) fn fragile_uncached() -> World {
    let limits = Limits { cache_calls_max: 0, ..Limits::default() };
    World::of_site(SiteId(1), limits, vec![Arc::new(Fragile)])
}

#[test]
fn a_call_that_panics_at_its_start_costs_only_itself() {
    let mut world = fragile();
    let text = Ua::caller("alice", ALICE, "poison").request("INVITE");
    let text = String::from_utf8(text.to_vec()).expect("ASCII").replace("sip:bob@", "sip:mallory@");
    for _ in 0..3 {
        world.deliver(1, ALICE, text.clone().into());
        assert_eq!(names(&world.take(ALICE)), ["500"]);
    }
    assert!(world.puts.is_empty());
    assert_eq!(world.count(|stats| stats.panics), 3);
    assert_eq!(world.count(|stats| stats.turns), 0);
    answered(&mut world, "next");
}

#[test]
fn a_message_that_panics_leaves_its_call_alone() {
    let mut world = fragile();
    let mut alice = answered(&mut world, "info").alice;
    let puts = world.puts.len();
    world.deliver(1, ALICE, alice.request("INFO"));
    assert_eq!(names(&world.take(ALICE)), ["500"]);
    assert_eq!(world.puts.len(), puts, "what panicked is not stored");
    world.deliver(2, ALICE, alice.request("BYE"));
    assert_eq!(names(&world.take(ALICE)), ["200"]);
    assert_eq!(names(&world.take(BOB)), ["BYE"]);
}

#[test]
fn a_timer_that_panics_keeps_no_engine_busy() {
    let mut world = fragile();
    let text = Ua::caller("alice", ALICE, "timed").request("INVITE");
    let text = String::from_utf8(text.to_vec()).expect("ASCII").replace("sip:bob@", "sip:timed@");
    world.deliver(1, ALICE, text.into());
    world.advance(Duration::from_secs(10));
    let panics = world.count(|stats| stats.panics);
    assert!((1..=6).contains(&panics), "tried again, but paced: {panics}");
}

#[test]
fn a_record_of_another_build_is_refused_never_guessed() {
    let mut world = fragile();
    let mut entries = records(1);
    let Some(Entry::Record(record)) = entries.first_mut() else { panic!("a record") };
    record.header.schema = 9_999;
    // At home here, so that the replica wakes it at once.
    record.header.stamp.epoch.site = SiteId(1);
    apply(&mut world, 1, &entries);
    world.advance(Duration::from_secs(5));
    let refused = world.count(|stats| stats.needs_newer);
    assert!((1..=6).contains(&refused), "tried again, but paced: {refused}");
    assert!(world.puts.is_empty() && world.sent.is_empty());
}

#[test]
fn effects_that_this_build_cannot_read_are_left_for_another_engine() {
    let mut world = fragile();
    let Some(Entry::Record(mut record)) = records(1).into_iter().next() else { panic!("a record") };
    record.header.schema = 9_999;
    record.header.stamp.epoch.site = SiteId(1);
    let granted = Reply::Granted {
        key: record.header.key,
        token: LockToken { view: ViewNumber(1), counter: 77 },
        cause: Cause::Resume,
        record: Some(record),
        dormant: false,
        resume: true,
        floor: None,
    };
    let now = world.now;
    let engine = world.engines.get_mut(&EngineId(1)).expect("engine 1 lives");
    let (from, view) = (ReplicaId(1), ViewNumber(1));
    engine.handle_input(now, Input::Reply { from, view, reply: granted });
    loop {
        match engine.poll_output() {
            Output::Command { command, .. } => panic!("{command:?}: the lease is to end the lock"),
            Output::WakeAt(..) => break,
            Output::Transmit { .. }
            | Output::Account { .. }
            | Output::Gate(_)
            | Output::Bounce { .. } => {}
        }
    }
    assert_eq!(engine.stats().needs_newer, 1);
}
