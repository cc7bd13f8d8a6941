//! Calls that break turn after turn: set aside, ended once, and worked no more.

use std::time::Duration;

use bytes::Bytes;
use engine::Input;
use sip_message::Message;
use tier_protocol::{Cause, Command, EngineWord, Entry, GateWord, Reply, StrikeKind, batch};
use vocab::{EngineId, LockToken, ReplicaId, SiteId, ViewNumber};

use crate::basic::{Answered, answered};
use crate::inbox::{apply, records};
use crate::poison::{fragile, fragile_uncached};
use crate::ua::{Ua, names, requests};
use crate::world::{ALICE, BOB, World};

/// An INFO of Alice's that panics, at one engine after the other.
fn panics_twice(world: &mut World, alice: &mut Ua) {
    for engine in [1, 2] {
        world.deliver(engine, ALICE, alice.request("INFO"));
    }
}

fn answers(world: &mut World, sent: Vec<Message>, from: &Ua) {
    for request in requests(sent) {
        world.deliver(1, from.addr, from.answer(&request, 200));
    }
}

#[test]
fn d53_two_engines_panic_and_both_parties_hear_bye() {
    let mut world = fragile();
    let Answered { mut alice, bob, key } = answered(&mut world, "poison");
    panics_twice(&mut world, &mut alice);
    let to_alice = world.take(ALICE);
    assert_eq!(names(&to_alice), ["500", "500", "BYE"]);
    let to_bob = world.take(BOB);
    assert_eq!(names(&to_bob), ["BYE"]);
    let aside = world.quarantined();
    assert_eq!((aside.len(), aside[0].key), (1, key));
    let engines: Vec<EngineId> = aside[0].strikes.iter().map(|strike| strike.engine).collect();
    assert_eq!(engines, [EngineId(1), EngineId(2)]);
    assert!(aside[0].strikes[0].message.starts_with(b"INFO "));
    assert_eq!(aside[0].strikes[1].what, "on purpose");
    assert!(world.flags.ended, "to other sites it is over");
    // A message that comes later finds no dialog, and does not reach the application.
    world.deliver(2, ALICE, alice.request("INFO"));
    assert_eq!(names(&world.take(ALICE)), ["481"]);
    answers(&mut world, to_alice, &alice);
    answers(&mut world, to_bob, &bob);
    world.advance(Duration::from_secs(60));
    assert_eq!((world.calls(), world.quarantined().len()), (0, 1));
    assert_eq!(world.count(|stats| stats.panics), 2, "no engine stepped it again");
    assert_eq!(world.count(|stats| stats.torn_down), 1);
    assert_eq!(world.count(|stats| stats.turns), 0);
    answered(&mut world, "next");
}

#[test]
fn a_healthy_turn_between_two_panics_keeps_the_call() {
    let mut world = fragile();
    let mut alice = answered(&mut world, "once").alice;
    for _ in 0..4 {
        world.deliver(1, ALICE, alice.request("INFO"));
        // What is relayed is put.
        world.deliver(2, ALICE, alice.request("MESSAGE"));
        let to_bob = requests(world.take(BOB));
        assert_eq!(to_bob.len(), 1);
    }
    assert!(world.quarantined().is_empty());
}

#[test]
fn d53_two_engines_die_of_a_call_and_the_third_ends_it() {
    let mut world = fragile_uncached();
    let mut alice = answered(&mut world, "abort").alice;
    for engine in [1, 2] {
        // The engine asks for the lock, and dies of what it is given.
        world.dies_of_grant = Some(EngineId(engine));
        world.deliver(engine, ALICE, alice.request("MESSAGE"));
        assert!(!world.engines.contains_key(&EngineId(engine)));
        world.add_engine(engine + 2);
    }
    assert!(world.quarantined().is_empty(), "a link that broke may be back in a moment");
    world.advance(Duration::from_secs(1));
    world.deliver(3, ALICE, alice.request("INFO"));
    assert!(names(&world.take(ALICE)).contains(&"BYE".into()));
    assert_eq!(names(&world.take(BOB)), ["BYE"]);
    assert_eq!(world.quarantined()[0].kind(), StrikeKind::Broken);
}

#[test]
fn d53_an_engine_that_dies_ending_a_call_is_the_last() {
    let mut world = fragile_uncached();
    let mut alice = answered(&mut world, "abort").alice;
    for engine in [1, 2] {
        world.dies_of_grant = Some(EngineId(engine));
        world.deliver(engine, ALICE, alice.request("MESSAGE"));
    }
    world.advance(Duration::from_secs(1));
    world.add_engine(3);
    world.dies_of_grant = Some(EngineId(3));
    world.deliver(3, ALICE, alice.request("MESSAGE"));
    assert!(!world.engines.contains_key(&EngineId(3)), "it was to end the call");
    world.add_engine(4);
    world.advance(Duration::from_secs(60));
    assert_eq!((world.calls(), world.quarantined().len()), (0, 1));
    assert!(world.take(ALICE).is_empty() && world.take(BOB).is_empty(), "nothing is sent");
    assert!(world.engines.contains_key(&EngineId(4)));
    world.deliver(4, ALICE, alice.request("BYE"));
    world.advance(Duration::from_secs(5));
    assert_eq!(names(&world.take(ALICE)), ["481"]);
}

#[test]
fn d53_what_kills_engines_before_it_begins_gets_500() {
    let mut world = fragile();
    let invite = Ua::caller("alice", ALICE, "abort").request("INVITE");
    for engine in [1, 2] {
        world.dies_of_grant = Some(EngineId(engine));
        world.deliver(engine, ALICE, invite.clone());
    }
    world.add_engine(3);
    world.deliver(3, ALICE, invite);
    assert_eq!(names(&world.take(ALICE)), ["500"]);
    assert_eq!((world.calls(), world.count(|stats| stats.refused_poison)), (0, 1));
}

#[test]
fn d53_an_invite_that_panics_its_application_ends_in_500_and_nothing_is_kept() {
    let mut world = fragile();
    let text = Ua::caller("alice", ALICE, "poison").request("INVITE");
    let text = String::from_utf8(text.to_vec()).expect("ASCII").replace("sip:bob@", "sip:mallory@");
    for engine in [1, 2, 1, 2] {
        world.deliver(engine, ALICE, text.clone().into());
        assert_eq!(names(&world.take(ALICE)), ["500"]);
    }
    assert_eq!((world.calls(), world.quarantined().len()), (0, 0));
}

#[test]
fn a_timer_that_panics_ends_its_call() {
    let mut world = fragile();
    let text = Ua::caller("alice", ALICE, "timed").request("INVITE");
    let text = String::from_utf8(text.to_vec()).expect("ASCII").replace("sip:bob@", "sip:timed@");
    world.deliver(1, ALICE, text.into());
    world.advance(Duration::from_secs(8));
    let to_alice = names(&world.take(ALICE));
    assert!(to_alice.contains(&"500".to_owned()), "{to_alice:?}");
    assert_eq!(world.count(|stats| stats.panics), 2);
    assert_eq!(world.quarantined().len(), 1);
}

#[test]
fn a_record_that_makes_no_sense_is_removed_without_a_word() {
    let mut world = fragile_uncached();
    let Answered { mut alice, key, .. } = answered(&mut world, "garbled");
    // Its sections are damaged where they are kept.
    world.garbles = Some(key);
    for engine in [1, 2] {
        world.deliver(engine, ALICE, alice.request("MESSAGE"));
    }
    assert!(!world.holds(key));
    let aside = world.quarantined();
    assert_eq!(aside[0].kind(), StrikeKind::Undecodable);
    assert_eq!(names(&world.take(ALICE)), ["500", "500"]);
    assert!(world.take(BOB).is_empty());
    assert_eq!(world.count(|stats| stats.not_torn_down), 1);
    world.deliver(1, ALICE, alice.request("BYE"));
    world.advance(Duration::from_secs(5));
    assert_eq!(names(&world.take(ALICE)), ["481"]);
}

#[test]
fn messages_that_wait_for_a_condemned_call_meet_what_is_left() {
    let mut world = fragile();
    let mut alice = answered(&mut world, "busy").alice;
    world.deliver(1, ALICE, alice.request("INFO"));
    let (now, key) = (world.now, world.last_put().header.key);
    // The second engine's turn waits for its lock when it is told to end the call.
    let record = world.last_put().clone();
    let granted = Reply::Granted {
        key,
        token: LockToken { view: ViewNumber(1), counter: 999 },
        cause: Cause::Quarantined,
        record: Some(record),
        dormant: false,
        resume: false,
        floor: None,
    };
    let mut lone = world.lone_engine(9);
    let (source, bytes) = (ALICE, alice.request("MESSAGE"));
    lone.handle_input(now, Input::Datagram { source, bytes, offered_by: None });
    let asked = world.commands_of(&mut lone);
    assert!(matches!(asked[..], [Command::LockAndGet { .. }]), "{asked:?}");
    let (from, view) = (ReplicaId(1), ViewNumber(1));
    lone.handle_input(now, Input::Reply { from, view, reply: granted });
    let put = world.commands_of(&mut lone);
    let [Command::Put { record, flags, .. }] = &put[..] else { panic!("{put:?}") };
    assert!(flags.ended && flags.unreleased);
    let reply = Reply::Stored { key, stamp: record.header.stamp };
    lone.handle_input(now, Input::Reply { from, view, reply });
    let after = world.commands_of(&mut lone);
    let [Command::Unlock { .. }, Command::LockAndGet { .. }] = &after[..] else {
        panic!("its message is asked for anew: {after:?}")
    };
    let sent = names(&world.take(ALICE));
    assert!(sent.ends_with(&["BYE".to_owned()]), "{sent:?}");
}

#[test]
fn d54_an_entry_that_makes_no_sense_costs_no_other_and_the_queue_goes_on() {
    let mut world = fragile();
    world.sites(&[2], &[], 0);
    let entries = records(3);
    let bytes = garbled(&entries, 1);
    world.gate(1, GateWord::Batch { id: 4, from: SiteId(2), bytes, waited_ms: 0 });
    assert_eq!(world.words.pop(), Some(EngineWord::BatchPoison { id: 4, superseded: vec![] }));
    let held: Vec<bool> = entries.iter().map(|entry| world.holds(entry.key())).collect();
    assert_eq!(held, [true, false, true]);
    let aside = world.quarantined();
    assert_eq!((aside[0].key, aside[0].kind()), (entries[1].key(), StrikeKind::Unreadable));
    assert_eq!(world.count(|stats| stats.entries_poison), 1);
    // A good version comes later.
    apply(&mut world, 5, &entries[1..2]);
    assert!(world.holds(entries[1].key()));
    assert!(world.quarantined().is_empty());
}

#[test]
fn d54_a_record_that_cannot_be_woken_is_set_aside_and_lifted() {
    let mut world = fragile();
    world.sites(&[], &[2], 0);
    let mut entries = records(1);
    let Some(Entry::Record(record)) = entries.first_mut() else { panic!("a record") };
    record.header.stamp.epoch.site = SiteId(2);
    let good = record.crossing.clone();
    record.crossing = Bytes::from_static(b"\xff\xff\xff");
    let key = record.header.key;
    apply(&mut world, 1, &entries);
    let order =
        replica::Order::Site(replica::SiteOrder::ActivateAll { site: SiteId(2), force: false });
    world.tell_replica(replica::Input::Order(order));
    world.advance(Duration::from_secs(10));
    assert!(!world.holds(key));
    let aside = world.quarantined();
    assert_eq!((aside[0].dormant, aside[0].kind()), (true, StrikeKind::Undecodable));
    apply(&mut world, 2, &entries);
    assert!(!world.holds(key), "the same again is no better");
    let Some(Entry::Record(record)) = entries.first_mut() else { panic!("a record") };
    record.crossing = good;
    record.header.stamp.version.0 += 1;
    apply(&mut world, 3, &entries);
    assert!(world.holds(key) && world.quarantined().is_empty());
}

/// A batch whose entry of this index has no stamp.
fn garbled(entries: &[Entry], index: usize) -> Bytes {
    let mut all: Vec<Bytes> = entries.iter().map(batch::entry_bytes).collect();
    let mut bad = all[index].to_vec();
    let key_at = bad.windows(2).position(|two| two == [0x0a, 0x12]).expect("the key's field");
    let stamp_at = key_at + 2 + 18;
    assert_eq!(bad[stamp_at], 0x12, "the tag of the stamp");
    bad[stamp_at] = 0x7a;
    all[index] = bad.into();
    batch::encode_raw(&all)
}
