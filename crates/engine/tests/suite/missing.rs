//! Calls that are not here: 481 only after every site said no, and nobody is left with a ghost.

use std::time::Duration;

use bytes::Bytes;
use tier_protocol::{EngineWord, GateWord, PullAnswer};
use vocab::{CallKey, Epoch, SiteId, Token, TokenKind};

use crate::basic::answered;
use crate::ua::{Ua, names, requests};
use crate::world::{ALICE, BOB, World, secret};

const KEY: CallKey = CallKey([5; 16]);

#[test]
fn a_request_of_a_call_that_nobody_holds_is_answered_481() {
    let mut world = World::new();
    world.deliver(1, ALICE, within("BYE"));
    assert_eq!(names(&world.take(ALICE)), ["481"]);
    assert_eq!(world.count(|stats| stats.no_such_call), 1);
    assert!(world.words.is_empty(), "no other site answers, so none is asked");
}

#[test]
fn an_ack_is_never_answered() {
    let mut world = World::new();
    world.deliver(1, ALICE, within("ACK"));
    world.deliver(1, ALICE, Ua::caller("alice", ALICE, "stray").request("ACK"));
    assert!(world.sent.is_empty());
    assert_eq!(world.count(|stats| stats.strays), 2);
}

#[test]
fn a_cancel_of_nothing_is_answered_481() {
    let mut world = World::new();
    world.sites(&[2], &[], 0);
    world.deliver(1, ALICE, Ua::caller("alice", ALICE, "nothing").request("CANCEL"));
    assert_eq!(names(&world.take(ALICE)), ["481"]);
    assert!(world.words.is_empty(), "nothing says that another site knows it");
}

#[test]
fn a_request_with_a_foreign_to_tag_is_answered_481() {
    let mut world = World::new();
    world.sites(&[2], &[], 0);
    let bytes = within("BYE");
    let text = String::from_utf8(bytes.to_vec()).expect("ASCII");
    let foreign = text.replace(&token(TokenKind::Tag), "made-up");
    world.deliver(1, ALICE, Bytes::from(foreign));
    assert_eq!(names(&world.take(ALICE)), ["481"]);
    assert!(world.words.is_empty());
}

#[test]
fn the_other_sites_are_asked_before_481() {
    let mut world = World::new();
    world.sites(&[2], &[], 0);
    world.deliver(1, ALICE, within("BYE"));
    assert!(world.sent.is_empty(), "not before site 2 has said no");
    let turn = asked(&mut world);
    world.deliver(1, ALICE, within("BYE"));
    assert_eq!(world.count(|stats| stats.repeated), 1);
    world.gate(1, GateWord::Pulled { key: KEY, turn, answer: PullAnswer::NoSuch });
    assert_eq!(names(&world.take(ALICE)), ["481"]);
    assert_eq!(world.count(|stats| stats.turns), 0);
}

#[test]
fn a_call_on_its_way_here_is_waited_for() {
    let mut world = World::new();
    let call = answered(&mut world, "on-its-way");
    let record = world.last_put().clone();
    let mut away =
        World::of_site(SiteId(2), engine::Limits::default(), vec![crate::world::b2bua()]);
    away.sites(&[], &[1], 1);
    let mut alice = call.alice;
    away.deliver(1, ALICE, alice.request("INFO"));
    away.advance(Duration::from_millis(100));
    assert!(away.sent.is_empty() && away.words.is_empty());
    crate::inbox::apply(&mut away, 1, &[tier_protocol::Entry::Record(record.trimmed())]);
    away.advance(Duration::from_millis(20));
    assert_eq!(names(&away.take(BOB)), ["INFO"]);
    assert_eq!(away.count(|stats| stats.activated), 1);
}

#[test]
fn waiting_for_a_call_ends() {
    let mut world = World::new();
    world.sites(&[2], &[], 1);
    world.deliver(1, ALICE, within("BYE"));
    world.advance(Duration::from_millis(1_990));
    assert!(world.words.is_empty());
    world.advance(Duration::from_millis(20));
    let turn = asked(&mut world);
    world.gate(1, GateWord::Pulled { key: KEY, turn, answer: PullAnswer::AskLater });
    assert!(world.sent.is_empty(), "nobody said no: the message comes again");
    assert_eq!(world.count(|stats| stats.dropped_homeless), 1);
    assert_eq!(world.count(|stats| stats.turns), 0);
}

#[test]
fn ask_later_is_asked_again() {
    let mut world = World::new();
    world.sites(&[2], &[], 0);
    world.deliver(1, ALICE, within("BYE"));
    let turn = asked(&mut world);
    world.gate(1, GateWord::Pulled { key: KEY, turn, answer: PullAnswer::AskLater });
    assert!(world.words.is_empty());
    world.advance(Duration::from_millis(20));
    let turn = asked(&mut world);
    world.gate(1, GateWord::Pulled { key: KEY, turn, answer: PullAnswer::NoSuch });
    assert_eq!(names(&world.take(ALICE)), ["481"]);
}

#[test]
fn an_answer_that_never_comes_ends_the_turn() {
    let mut world = World::new();
    world.sites(&[2], &[], 0);
    world.deliver(1, ALICE, within("BYE"));
    world.advance(Duration::from_secs(8));
    assert_eq!(world.count(|stats| stats.dropped_late), 1);
    assert_eq!(world.count(|stats| stats.turns), 0);
}

#[test]
fn a_call_that_lives_elsewhere_gets_its_message_there() {
    let mut world = World::new();
    world.sites(&[2], &[], 0);
    world.deliver(1, ALICE, within("BYE"));
    let turn = asked(&mut world);
    let epoch = Epoch::of_start(SiteId(2), 1);
    world.gate(1, GateWord::Pulled { key: KEY, turn, answer: PullAnswer::Lives(epoch) });
    match world.words.pop() {
        Some(EngineWord::ForwardTo { site, message }) => {
            assert_eq!(site, SiteId(2));
            assert_eq!(message.key, KEY);
            assert_eq!(message.source, ALICE);
            assert_eq!(message.epoch, Some(epoch));
        }
        other => panic!("it was not forwarded: {other:?}"),
    }
    assert!(world.sent.is_empty());
}

#[test]
fn a_forwarded_message_is_never_forwarded_again() {
    let mut world = World::new();
    world.sites(&[2, 3], &[], 0);
    let message = tier_protocol::ForwardedMessage {
        key: KEY,
        epoch: None,
        source: ALICE,
        bytes: within("BYE"),
    };
    world.gate(1, GateWord::Forwarded { from: SiteId(2), message });
    let turn = asked(&mut world);
    let epoch = Epoch::of_start(SiteId(3), 1);
    world.gate(1, GateWord::Pulled { key: KEY, turn, answer: PullAnswer::Lives(epoch) });
    assert!(world.words.is_empty() && world.sent.is_empty());
    assert_eq!(world.count(|stats| stats.dropped_homeless), 1);
}

#[test]
fn a_2xx_for_a_call_that_nobody_holds_is_acknowledged_and_ended() {
    let mut lost = World::new();
    let mut alice = Ua::caller("alice", ALICE, "ghost");
    lost.deliver(1, ALICE, alice.request("INVITE"));
    let invite = requests(lost.take(BOB)).pop().expect("Bob is called");
    let bob = Ua::callee("bob", BOB, &invite);
    // Another site, which never heard of the call.
    let mut world =
        World::of_site(SiteId(2), engine::Limits::default(), vec![crate::world::b2bua()]);
    world.deliver(1, BOB, bob.answer(&invite, 180));
    assert!(world.sent.is_empty(), "a provisional response leaves nobody behind");
    world.deliver(1, BOB, bob.answer(&invite, 200));
    let sent = world.take(BOB);
    assert_eq!(names(&sent), ["ACK", "BYE"]);
    world.deliver(2, BOB, bob.answer(&requests(sent)[1], 200));
    let key = world.last_put().header.key;
    world.advance(Duration::from_secs(60));
    assert!(!world.holds(key));
    assert_eq!(world.count(|stats| stats.ghosts), 1);
    assert!(world.take(BOB).is_empty());
}

#[test]
fn an_offered_request_that_fits_nothing_goes_back() {
    let mut world = World::new();
    let invite = Ua::caller("alice", ALICE, "offered").request("INVITE");
    world.offer(1, ALICE, invite.clone(), Some(SiteId(2)));
    assert_eq!(world.bounced, [(SiteId(2), invite.clone())]);
    assert!(world.sent.is_empty() && world.puts.is_empty());
    let cancel = Ua::caller("alice", ALICE, "offered").request("CANCEL");
    world.offer(1, ALICE, cancel.clone(), Some(SiteId(2)));
    assert_eq!(world.bounced.pop(), Some((SiteId(2), cancel)));
}

#[test]
fn an_offered_request_that_fits_a_call_stays() {
    let mut world = World::new();
    let invite = Ua::caller("alice", ALICE, "stays").request("INVITE");
    world.deliver(1, ALICE, invite.clone());
    world.take(ALICE);
    world.offer(2, ALICE, invite, Some(SiteId(2)));
    assert!(world.bounced.is_empty());
    assert_eq!(names(&world.take(ALICE)), ["100"]);
}

/// The number of the only question to other sites.
pub(crate) fn asked(world: &mut World) -> u64 {
    match world.words.pop() {
        Some(EngineWord::Pull { turn, .. }) => turn,
        other => panic!("no site was asked: {other:?}"),
    }
}

fn within(method: &str) -> Bytes {
    let request = Ua::caller("alice", ALICE, "within").request(method);
    let text = String::from_utf8(request.to_vec()).expect("ASCII");
    let tag = format!("To: <sip:bob@example.com>;tag={}", token(TokenKind::Tag));
    Bytes::from(text.replace("To: <sip:bob@example.com>", &tag))
}

fn token(kind: TokenKind) -> String {
    secret().mint(&Token { key: KEY, site: SiteId(1), kind, salt: 1, ordinal: 1 })
}
