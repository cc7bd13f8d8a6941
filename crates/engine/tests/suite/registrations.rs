//! What is registered is found at whichever site and engine a request comes to, and a storm of
//! REGISTERs harms no call.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use applications::registrar::{Config, Registrar};
use engine::Limits;
use servlet::Application;
use sip_message::{Bytes, HeaderName, Message, Response};
use tier_protocol::{EngineWord, Entry, Hint};
use vocab::SiteId;

use crate::basic::answered;
use crate::inbox::apply;
use crate::ua::{Ua, names, responses};
use crate::world::{ALICE, World, b2bua};

fn world(site: u16, limits: Limits) -> World {
    let domains = vec!["home.test".to_owned()];
    let registrar: Arc<dyn Application> =
        Arc::new(Registrar::new(Config { domains, ..Config::default() }));
    let limits = Limits { cache_calls_max: 0, ..limits };
    World::of_site(SiteId(site), limits, vec![b2bua(), registrar])
}

fn register(user: &str, cseq: u32, expires: u32) -> Bytes {
    Bytes::from(format!(
        "REGISTER sip:home.test SIP/2.0\r\n\
         Via: SIP/2.0/UDP {ALICE};branch=z9hG4bK-{user}-{cseq}\r\n\
         From: <sip:{user}@home.test>;tag={user}{cseq}\r\nTo: <sip:{user}@home.test>\r\n\
         Call-ID: {user}-phone\r\nCSeq: {cseq} REGISTER\r\nMax-Forwards: 70\r\n\
         Contact: <sip:{user}@192.0.2.77>\r\nExpires: {expires}\r\nContent-Length: 0\r\n\r\n"
    ))
}

fn invite(user: &str, number: u32) -> Bytes {
    Bytes::from(format!(
        "INVITE sip:{user}@home.test SIP/2.0\r\n\
         Via: SIP/2.0/UDP {ALICE};branch=z9hG4bK-call-{number}\r\n\
         From: <sip:caller@x.test>;tag=c{number}\r\nTo: <sip:{user}@home.test>\r\n\
         Call-ID: call-{number}\r\nCSeq: 1 INVITE\r\nMax-Forwards: 70\r\n\
         Contact: <sip:caller@{ALICE}>\r\nContent-Length: 0\r\n\r\n"
    ))
}

/// The final answer, which is acknowledged where it is to an INVITE.
fn answer(world: &mut World, engine: u64, request: Bytes) -> Response {
    world.take(ALICE);
    world.deliver(engine, ALICE, request.clone());
    let mut answers = responses(world.take(ALICE));
    answers.retain(|response| response.status.is_final());
    assert_eq!(answers.len(), 1, "one final answer");
    let answer = answers.remove(0);
    if request.starts_with(b"INVITE") {
        let text = String::from_utf8_lossy(&request).replace("INVITE", "ACK");
        let to = answer.headers.to().expect("it has one").to_string();
        let head = text.split("To: ").next().expect("it is not empty");
        let tail = text.split_once("Call-ID").expect("it has one").1;
        let ack = format!("{head}To: {to}\r\nCall-ID{tail}");
        world.deliver(engine, ALICE, ack.into());
    }
    answer
}

fn contacts(response: &Response) -> (u16, Vec<String>) {
    let values = response.headers.get_all(&HeaderName::Contact);
    let values = values.map(|value| String::from_utf8_lossy(value).into_owned());
    (response.status.code(), values.collect())
}

fn sent_to(user: &str) -> (u16, Vec<String>) {
    (302, vec![format!("<sip:{user}@192.0.2.77>")])
}

#[test]
fn what_is_registered_crosses_wakes_there_and_comes_home() {
    let mut home = world(1, Limits::default());
    let granted = contacts(&answer(&mut home, 1, register("alice", 1, 600)));
    assert_eq!(granted, (200, vec!["<sip:alice@192.0.2.77>;expires=600".to_owned()]));
    assert_eq!(contacts(&answer(&mut home, 2, invite("alice", 1))), sent_to("alice"));
    assert!(home.flags.boundary && home.flags.veto.is_none() && !home.flags.ended);
    assert!(home.flags.crossing_unchanged, "being called tells another site nothing");
    let record = home.last_put().trimmed();
    assert_eq!(record.header.hints, [(1, Hint::Steady)], "the container's own rule");

    let mut backup = world(2, Limits::default());
    apply(&mut backup, 1, &[Entry::Record(record)]);
    backup.sites(&[], &[1], 0);
    backup.advance(Duration::from_secs(100));
    assert_eq!(contacts(&answer(&mut backup, 1, invite("alice", 2))), sent_to("alice"));
    assert_eq!(backup.count(|stats| stats.activated), 1);
    // An old REGISTER that was still on its way changes nothing, the phone's next one does.
    assert_eq!(answer(&mut backup, 1, register("alice", 1, 0)).status.code(), 500);
    let granted = contacts(&answer(&mut backup, 2, register("alice", 2, 300)));
    assert_eq!(granted, (200, vec!["<sip:alice@192.0.2.77>;expires=300".to_owned()]));

    // It comes home as it went, and is over when its time is.
    apply(&mut home, 1, &[Entry::Record(backup.last_put().trimmed())]);
    home.sites(&[], &[2], 0);
    assert_eq!(contacts(&answer(&mut home, 1, invite("alice", 3))), sent_to("alice"));
    assert_eq!(home.count(|stats| stats.activated), 1);
    home.advance(Duration::from_secs(310));
    assert_eq!(answer(&mut home, 1, invite("alice", 4)).status.code(), 404);
}

/// A user's phone that reaches the other site while the home lives is no reason to move it.
#[test]
fn a_living_home_is_asked_wherever_the_request_came() {
    let mut home = world(1, Limits::default());
    answer(&mut home, 1, register("alice", 1, 600));
    let mut backup = world(2, Limits::default());
    apply(&mut backup, 1, &[Entry::Record(home.last_put().trimmed())]);
    backup.sites(&[1], &[1], 0);
    for request in [register("alice", 2, 600), invite("alice", 1)] {
        backup.deliver(1, ALICE, request);
        let word = backup.words.pop();
        assert!(matches!(word, Some(EngineWord::ForwardTo { site: SiteId(1), .. })), "{word:?}");
    }
    assert_eq!(backup.count(|stats| stats.activated), 0);
}

#[test]
fn a_binding_that_ended_while_its_site_was_dead_ends_after_waking() {
    let mut home = world(1, Limits::default());
    answer(&mut home, 1, register("alice", 1, 60));
    let mut backup = world(2, Limits::default());
    apply(&mut backup, 1, &[Entry::Record(home.last_put().trimmed())]);
    backup.sites(&[], &[1], 0);
    backup.advance(Duration::from_secs(300));
    // The first request wakes it; deadlines that passed are spread over ten seconds.
    answer(&mut backup, 1, invite("alice", 1));
    backup.advance(Duration::from_secs(11));
    assert_eq!(answer(&mut backup, 1, invite("alice", 2)).status.code(), 404);
    backup.advance(Duration::from_secs(64));
    assert_eq!(backup.calls(), 0);
}

#[test]
fn nothing_is_left_of_who_is_not_registered() {
    let mut world = world(1, Limits::default());
    assert_eq!(answer(&mut world, 1, invite("nobody", 1)).status.code(), 404);
    answer(&mut world, 1, register("alice", 1, 600));
    assert_eq!(contacts(&answer(&mut world, 2, register("alice", 2, 0))), (200, vec![]));
    assert!(world.flags.ended, "to other sites it is over");
    world.advance(Duration::from_secs(64));
    assert_eq!(world.calls(), 0);
    // Whoever comes back begins anew, with whatever CSeq.
    assert_eq!(answer(&mut world, 1, register("alice", 1, 600)).status.code(), 200);
    assert_eq!(contacts(&answer(&mut world, 1, invite("alice", 2))), sent_to("alice"));
}

#[test]
fn calls_to_others_are_no_business_of_the_registrar() {
    let mut world = world(1, Limits::default());
    let call = answered(&mut world, "else");
    let mut alice = call.alice;
    world.deliver(1, ALICE, alice.request("BYE"));
    assert_eq!(names(&world.take(ALICE)), ["200"]);
    // The domain is nobody's: REGISTER gets what it got without a registrar.
    world.deliver(1, ALICE, Ua::caller("carol", ALICE, "reg").request("REGISTER"));
    assert_eq!(names(&world.take(ALICE)), ["405"]);
}

#[test]
fn a_storm_of_registers_is_refused_in_part_and_calls_are_not() {
    let limits = Limits { registrations_per_s: 40, ..Limits::default() };
    let mut world = world(1, limits);
    let asked = Rc::new(Cell::new(0));
    let counted = Rc::clone(&asked);
    world.intercept = Some(Box::new(move |command| {
        counted.set(
            counted.get() + u32::from(matches!(command, tier_protocol::Command::LockAndGet { .. })),
        );
        None
    }));
    let users: Vec<String> = (0..400).map(|n| format!("user{n}")).collect();
    for user in &users {
        world.deliver(1, ALICE, register(user, 1, 600));
    }
    let answers = responses(world.take(ALICE));
    let taken = answers.iter().filter(|answer| answer.status.code() == 200).count();
    assert_eq!(taken, 10, "a quarter of a second's");
    assert_eq!(asked.get(), 10, "the state tier heard of nobody else");
    assert_eq!(world.count(|stats| stats.refused_registrations), 390);
    assert_eq!(world.count(|stats| stats.refused_overload), 0);
    let away = |answer: &Response| answer.headers.retry_after().expect("well formed");
    let away: BTreeSet<u32> = answers.iter().filter_map(away).collect();
    assert_eq!(away.first(), Some(&5), "{away:?}");
    assert!(away.last().is_some_and(|last| (15..=20).contains(last)), "{away:?}");
    assert!(away.len() >= 10, "they come back apart: {away:?}");
    // While not one more of them is taken, calls begin and go on.
    let mut alice = answered(&mut world, "meanwhile").alice;
    world.deliver(1, ALICE, alice.request("BYE"));
    assert_eq!(names(&world.take(ALICE)), ["200"]);
}

#[test]
fn registers_in_work_are_bounded_and_their_repetitions_are_no_others() {
    let limits = Limits { registrations_max: 2, ..Limits::default() };
    let mut world = world(1, limits);
    world.intercept = Some(Box::new(|command| match command {
        tier_protocol::Command::LockAndGet { key, turn, .. } => {
            Some(tier_protocol::Reply::Queued { key: *key, turn: *turn })
        }
        _ => None,
    }));
    for user in ["a", "b", "a", "b", "c"] {
        world.deliver(1, ALICE, register(user, 1, 600));
    }
    let refused: Vec<Message> = world.take(ALICE);
    assert_eq!(names(&refused), ["503"]);
    assert_eq!(world.count(|stats| stats.repeated), 2);
    // They give their room back when they are over.
    world.advance(Duration::from_secs(9));
    world.intercept = None;
    assert_eq!(answer(&mut world, 1, register("c", 2, 600)).status.code(), 200);
}
