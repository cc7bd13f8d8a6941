//! Calls whose home is elsewhere: woken, forwarded, pulled, handed back.

use std::time::Duration;

use engine::Limits;
use sip_message::{Host, Limits as MessageLimits, Message, parse_datagram};
use tier_protocol::{
    Course, EngineWord, Entry, ForwardedMessage, GateWord, KeysetEntry, KeysetKind, PullAnswer,
    Record, SiteState,
};
use vocab::{CallKey, Epoch, SiteId, ViewNumber};

use crate::basic::{Answered, answered};
use crate::inbox::apply;
use crate::missing::asked;
use crate::ua::{Ua, names, requests, responses};
use crate::world::{ALICE, BOB, World, b2bua, sites};

/// An answered call of site 1, and site 2 that holds its dormant copy.
fn crossed(call_id: &str) -> (World, World, Answered) {
    let mut home = World::new();
    let call = answered(&mut home, call_id);
    let mut backup = World::of_site(SiteId(2), Limits::default(), vec![b2bua()]);
    apply(&mut backup, 1, &[Entry::Record(home.last_put().trimmed())]);
    backup.words.clear();
    (home, backup, call)
}

#[test]
fn a_dormant_call_of_a_dead_home_wakes_on_a_message() {
    let (home, mut backup, call) = crossed("wakes");
    let before = home.last_put().header.stamp.epoch;
    backup.sites(&[], &[1], 0);
    let mut alice = call.alice;
    backup.deliver(1, ALICE, alice.request("BYE"));
    assert_eq!(names(&backup.take(ALICE)), ["200"]);
    let bye = requests(backup.take(BOB)).pop().expect("Bob hears of it");
    let cseq = bye.headers.cseq().expect("it has one").number;
    assert!(cseq > 64, "the dead home may have used the next numbers");
    let after = backup.last_put().header.stamp.epoch;
    assert!(after > before && after.site == SiteId(2));
    assert_eq!(backup.last_put().header.origin, SiteId(1), "its origin is remembered");
    assert_eq!(backup.count(|stats| stats.activated), 1);
    backup.deliver(2, BOB, call.bob.answer(&bye, 200));
    backup.advance(Duration::from_secs(60));
    assert!(!backup.holds(call.key));
}

#[test]
fn a_dormant_call_that_may_not_wake_is_left_asleep() {
    let (_, mut backup, call) = crossed("asleep");
    backup.sites(&[], &[], 0);
    let mut alice = call.alice;
    backup.deliver(1, ALICE, alice.request("BYE"));
    assert_eq!(names(&backup.take(ALICE)), ["503"]);
    assert!(backup.puts.is_empty());
    backup.sites(&[], &[1], 0);
    backup.deliver(1, ALICE, alice.request("BYE"));
    assert_eq!(names(&backup.take(ALICE)), ["200"], "the lock was given back");
}

#[test]
fn two_engines_with_one_message_each_wake_a_call_once() {
    let (_, mut backup, call) = crossed("twice");
    backup.sites(&[], &[1], 0);
    let (mut alice, mut bob) = (call.alice, call.bob);
    backup.deliver(1, ALICE, alice.request("INFO"));
    backup.deliver(2, BOB, bob.request("INFO"));
    assert_eq!(backup.count(|stats| stats.activated), 1);
    assert_eq!(names(&backup.take(BOB)), ["INFO"]);
    assert_eq!(names(&backup.take(ALICE)), ["INFO"]);
}

#[test]
fn a_message_for_a_call_whose_home_answers_is_forwarded_there() {
    let (mut home, mut backup, call) = crossed("forward");
    backup.sites(&[1], &[1], 0);
    home.sites(&[2], &[2], 0);
    let mut alice = call.alice;
    backup.deliver(1, ALICE, alice.request("BYE"));
    assert!(backup.sent.is_empty() && backup.puts.is_empty());
    let (site, message) = forwarded(&mut backup);
    assert_eq!(site, SiteId(1));
    home.gate(2, GateWord::Forwarded { from: SiteId(2), message });
    assert_eq!(names(&home.take(ALICE)), ["200"]);
    assert_eq!(names(&home.take(BOB)), ["BYE"]);
    assert_eq!(backup.count(|stats| stats.forwarded_out), 1);
    assert_eq!(home.count(|stats| stats.forwarded_in), 1);
}

#[test]
fn a_phone_is_sent_to_the_edge_of_the_home_when_that_is_asked_for() {
    let (mut home, mut backup, call) = crossed("redirect");
    let edge = call::Edge { host: Host::from("sip1.example.com"), port: 5070 };
    backup.redirect(SiteId(1), edge);
    backup.add_engine(3);
    backup.gate(3, sites(SiteState::Serving, &[1], &[1], 0));
    home.sites(&[2], &[2], 0);
    let mut alice = call.alice;
    let bye = alice.request("BYE");
    backup.deliver(3, ALICE, bye.clone());
    backup.deliver(3, ALICE, bye);
    let answers = responses(backup.take(ALICE));
    assert_eq!(answers.len(), 2, "a repetition is answered alike");
    assert_eq!(answers[0].print(), answers[1].print());
    assert_eq!(answers[0].status.code(), 302);
    let contact = answers[0].headers.contacts().expect("well formed").pop().expect("one");
    assert_eq!(contact.uri.host(), Some(&Host::from("sip1.example.com")));
    assert_eq!(contact.uri.port(), Some(5070));
    assert!(backup.words.is_empty() && backup.puts.is_empty());
    // The phone goes there, with the next CSeq and the new address, and its call is known.
    alice.learn(&answers[0]);
    home.deliver(1, ALICE, alice.request("BYE"));
    assert_eq!(names(&home.take(ALICE)), ["200"]);
    assert_eq!(names(&home.take(BOB)), ["BYE"]);
    // What cannot be redirected is forwarded.
    backup.deliver(3, ALICE, alice.request("ACK"));
    assert_eq!(forwarded(&mut backup).0, SiteId(1));
    assert_eq!(backup.count(|stats| stats.redirected), 2);
    assert_eq!(backup.count(|stats| stats.forwarded_out), 1);
}

#[test]
fn a_repetition_that_takes_another_way_is_recognised() {
    let (mut home, mut backup, call) = crossed("ways");
    backup.sites(&[1], &[1], 0);
    home.sites(&[2], &[2], 0);
    let mut alice = call.alice;
    let bye = alice.request("BYE");
    home.deliver(1, ALICE, bye.clone());
    assert_eq!(names(&home.take(BOB)), ["BYE"]);
    backup.deliver(1, ALICE, bye);
    let (_, message) = forwarded(&mut backup);
    home.take(ALICE);
    home.gate(1, GateWord::Forwarded { from: SiteId(2), message });
    assert_eq!(names(&home.take(ALICE)), ["200"], "the stored answer again");
    assert!(home.take(BOB).is_empty());
}

#[test]
fn a_returning_home_pulls_the_call_of_a_forwarded_message() {
    let (_, mut backup, call) = crossed("returning");
    backup.sites(&[1], &[1], 0);
    // Site 1 comes back empty.
    let mut home = World::new();
    home.gate(
        1,
        GateWord::Sites {
            here: SiteState::Returning,
            start: 2,
            alive: vec![(SiteId(2), SiteState::Serving)],
            wakes_on_message: vec![SiteId(2)],
            inbox: 0,
            waiting: Vec::new(),
        },
    );
    let mut alice = call.alice.clone();
    backup.deliver(1, ALICE, alice.request("BYE"));
    let (_, message) = forwarded(&mut backup);
    home.gate(1, GateWord::Forwarded { from: SiteId(2), message });
    let turn = asked(&mut home);
    let record = dormant_copy(&call);
    let answer = PullAnswer::Yours(record.clone());
    home.gate(1, GateWord::Pulled { key: call.key, turn, answer });
    assert_eq!(names(&home.take(ALICE)), ["200"]);
    assert_eq!(names(&home.take(BOB)), ["BYE"]);
    let epoch = home.last_put().header.stamp.epoch;
    assert!(epoch.n >= 2 * Epoch::PER_START, "above all that the lost start gave");
    assert_eq!(home.count(|stats| stats.pulled), 1);
    assert!(home.puts.len() == 1 && home.last_put().header.stamp > record.header.stamp);
}

/// The link to its living home breaks as it is asked, and meanwhile the copy comes.
#[test]
fn a_call_whose_copy_comes_while_others_are_asked_is_not_denied() {
    let (_, _, call) = crossed("meanwhile");
    let mut backup = World::of_site(SiteId(2), Limits::default(), vec![b2bua()]);
    backup.sites(&[1], &[1], 0);
    let mut alice = call.alice.clone();
    backup.deliver(1, ALICE, alice.request("INFO"));
    let turn = asked(&mut backup);
    apply(&mut backup, 2, &[Entry::Record(dormant_copy(&call))]);
    backup.sites(&[], &[1], 0);
    backup.words.clear();
    backup.gate(1, GateWord::Pulled { key: call.key, turn, answer: PullAnswer::NoSuch });
    assert!(backup.take(ALICE).is_empty());
    assert_eq!(names(&backup.take(BOB)), ["INFO"]);
    assert_eq!(backup.count(|stats| stats.activated), 1);
}

#[test]
fn a_stub_is_forwarded_while_its_home_answers_and_sought_when_not() {
    let (_, _, call) = crossed("stub");
    let mut world = World::of_site(SiteId(2), Limits::default(), vec![b2bua()]);
    let epoch = dormant_copy(&call).header.stamp.epoch;
    let entry = KeysetEntry { key: call.key, epoch, kind: KeysetKind::Moved };
    world.tell_replica(replica::Input::Site(replica::SiteInput::KeysetPage {
        from: SiteId(1),
        entries: vec![entry],
    }));
    world.sites(&[1], &[1], 0);
    let mut alice = call.alice.clone();
    world.deliver(1, ALICE, alice.request("INFO"));
    assert_eq!(forwarded(&mut world).0, SiteId(1));
    world.sites(&[3], &[1], 0);
    world.deliver(1, ALICE, alice.request("INFO"));
    let turn = asked(&mut world);
    world.gate(1, GateWord::Pulled { key: call.key, turn, answer: PullAnswer::NoSuch });
    assert_eq!(names(&world.take(ALICE)), ["481"]);
    world.sites(&[], &[1], 0);
    world.deliver(1, ALICE, alice.request("INFO"));
    let turn = asked(&mut world);
    world.gate(1, GateWord::Pulled { key: call.key, turn, answer: PullAnswer::AskLater });
    world.advance(Duration::from_secs(3));
    world.words.clear();
    world.advance(Duration::from_secs(8));
    assert!(world.take(ALICE).is_empty(), "its home may come back: nobody has said no");
    assert_eq!(world.count(|stats| stats.turns), 0);
}

#[test]
fn an_order_wakes_every_dormant_call() {
    let mut backup = World::of_site(SiteId(2), Limits::default(), vec![b2bua()]);
    apply(&mut backup, 1, &crate::inbox::records(20));
    backup.sites(&[], &[], 0);
    backup.tell_replica(replica::Input::Order(replica::Order::Site(
        replica::SiteOrder::ActivateAll { site: SiteId(1), force: false },
    )));
    backup.advance(Duration::from_secs(1));
    assert_eq!(backup.count(|stats| stats.activated), 20);
    assert!(backup.take(ALICE).is_empty() && backup.take(BOB).is_empty(), "waking is silent");
}

#[test]
fn a_call_goes_home_when_it_is_at_rest() {
    let (_, mut backup, call) = crossed("home");
    backup.sites(&[], &[1], 0);
    let (mut alice, bob) = (call.alice.clone(), call.bob.clone());
    backup.deliver(1, ALICE, alice.request("INFO"));
    let info = requests(backup.take(BOB)).pop().expect("it is relayed");
    backup.deliver(2, BOB, bob.answer(&info, 200));
    assert_eq!(names(&backup.take(ALICE)), ["200"]);
    let away = backup.last_put().header.stamp.epoch;
    let (site, state) = (SiteId(1), SiteState::Serving);
    let serving =
        replica::SiteStatus { site, state, start: 2, dictionary: 0, course: Course::default() };
    backup.sites(&[1], &[1], 0);
    backup.tell_replica(replica::Input::Site(replica::SiteInput::Status {
        view: ViewNumber::default(),
        here: SiteState::Serving,
        alive: vec![serving],
        waiting: Vec::new(),
        steering: tier_protocol::Steering::default(),
    }));
    backup.advance(Duration::from_secs(5));
    assert_eq!(backup.count(|stats| stats.handed_back), 1);
    let given = backup.last_put().clone();
    assert_eq!(given.header.stamp.epoch, away.given_to(SiteId(1)));
    // The home takes it, and its next message is stepped there.
    let mut home = World::new();
    home.sites(&[2], &[2], 0);
    apply(&mut home, 1, &[Entry::Record(given.trimmed())]);
    home.advance(Duration::from_secs(1));
    assert_eq!(home.count(|stats| stats.activated), 1);
    home.deliver(1, ALICE, alice.request("BYE"));
    assert_eq!(names(&home.take(BOB)), ["BYE"]);
    // What still comes to the giver is forwarded.
    backup.words.clear();
    backup.deliver(1, ALICE, alice.request("INFO"));
    assert_eq!(forwarded(&mut backup).0, SiteId(1));
}

#[test]
fn a_response_on_its_way_back_passes_through() {
    let (_, mut backup, call) = crossed("back");
    backup.sites(&[1], &[1], 0);
    let mut alice = call.alice;
    backup.deliver(1, ALICE, alice.request("INFO"));
    let (_, message) = forwarded(&mut backup);
    let Ok(Message::Request(request)) = parse_datagram(&message.bytes, &MessageLimits::default())
    else {
        panic!("a request was forwarded");
    };
    assert_eq!(request.headers.max_forwards(), Ok(Some(69)));
    let answer = Ua::callee("bob", BOB, &request).answer(&request, 200);
    backup.deliver(2, BOB, answer);
    let passed = responses(backup.take(ALICE)).pop().expect("it passes");
    assert_eq!(passed.headers.vias().expect("well formed").len(), 1);
    assert_eq!(backup.count(|stats| stats.forwarded_responses), 1);
}

fn forwarded(world: &mut World) -> (SiteId, ForwardedMessage) {
    match world.words.pop() {
        Some(EngineWord::ForwardTo { site, message }) => (site, message),
        other => panic!("nothing was forwarded: {other:?}"),
    }
}

/// The record of the same call as it crossed: calls are functions of their messages.
fn dormant_copy(call: &Answered) -> Record {
    let mut again = World::new();
    let key: CallKey = call.key;
    let copy = answered(&mut again, call.alice.call_id());
    assert_eq!(copy.key, key);
    again.last_put().trimmed()
}
