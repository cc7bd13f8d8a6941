//! Waking: very many calls of a dead site at once, and one call by two engines at once.

use std::time::{Duration, Instant};

use sip_message::Method;

use crate::harness::bulk::{self, Wake};
use crate::harness::many_sites::ManySites;
use crate::harness::pair::{End, Pair, Talk, first_line};
use crate::harness::sipp::Load;
use crate::harness::stage::Stage;
use crate::harness::{sized, wait_for};

const SOON: Duration = Duration::from_secs(20);

/// What an operator is promised.
const WAKE_WITHIN_S: f64 = 10.0;
const SET_UP_WITHIN_MS: f64 = 500.0;

/// D32, D33 and D57: an order wakes all calls of a dead site while new calls are placed; deadlines
/// that passed in their sleep come once each and not all at once; an order that is given again
/// changes nothing.
#[test]
fn d32_bulk_activation_of_a_dead_site() {
    let (far, due) = (sized(19_000, 98_000), sized(500, 2_000));
    let new = Load { calls: sized(800, 2_000), per_second: 100, hold: Duration::from_secs(2) };
    let mut ground = bulk::ground("bulk_activation");
    let woken = bulk::run(&mut ground, &Wake { far, due, new });
    let once = woken.refreshed.values().filter(|times| times.len() == 1).count();
    ground.stage.say(&format!(
        "{} calls crossed in {:.1} s; site 1 killed; `backup activate` woke {} of {} in {:.2} s \
         ({:.0}/s); {} calls placed meanwhile, set up within {:.0} ms (p50), {:.0} ms (p99), {} of \
         {} new calls failed; of {} sessions whose refresh was due in their sleep {once} were \
         refreshed once, at most {} % of them in one second",
        far,
        woken.crossed_in,
        woken.activated,
        woken.dormant,
        woken.took,
        woken.dormant as f64 / woken.took,
        woken.meanwhile,
        woken.set_ups_ms[0],
        woken.set_ups_ms[1],
        woken.new.failed,
        woken.new.failed + woken.new.successful,
        2 * due,
        woken.busiest_second(),
    ));
    assert_eq!(woken.activated, woken.dormant, "each call wakes once");
    assert!(woken.took < WAKE_WITHIN_S, "{:.1} s", woken.took);
    assert!(woken.meanwhile > 0, "no call was placed meanwhile");
    assert!(woken.set_ups_ms[1] < SET_UP_WITHIN_MS, "{:?} ms", woken.set_ups_ms);
    assert_eq!(woken.new.failed, 0, "a new call was harmed");
    assert_eq!(woken.too_early, 0, "a deadline came in the sleep");
    // Both ends of a call are refreshed, as neither does so itself.
    assert_eq!((woken.refreshed.len() as u64, once as u64), (2 * due, 2 * due));
    assert!(woken.busiest_second() <= 20, "an even spread over 10 s has 10 % in each");
}

/// D31: a phone's request reaches two engines of the site that is left, at once. One of them wakes
/// the call, the other waits for its lock; the phone hears both, and its peer is asked once.
#[test]
fn d31_one_request_reaches_two_engines_at_once() {
    let stage = Stage::new("two_engines_at_once");
    let callee_at = stage.address();
    let mut sites = ManySites::start(&stage, callee_at);
    let mut pair = Pair::new(&stage, callee_at, sites.edge, Duration::from_millis(500));
    let half = sized(20_usize, 200);
    let mut talks: Vec<Talk> = (0..2 * half).map(|_| set_up(&mut pair)).collect();
    sites.wait_crossed(talks.len() as u64);
    sites.one.kill();
    sites.balancer.admin().route(1, 2, &[(1, 0), (2, 1)]);

    let (ending, changing) = talks.split_at_mut(half);
    let waited = ask_two_engines(&mut pair, &mut sites, ending, &Method::Bye);
    let before = pair.caller.repetitions;
    answer_all(&mut pair, half, &Method::Bye);
    // The answer of the engine that came second is the one of the first again.
    let deadline = Instant::now() + SOON;
    while pair.caller.repetitions < before + half as u64 {
        assert!(Instant::now() < deadline, "an engine left a phone without an answer");
        pair.turn();
    }
    let waited = waited + ask_two_engines(&mut pair, &mut sites, changing, &Method::Invite);
    answer_all(&mut pair, half, &Method::Invite);
    for talk in changing.iter_mut() {
        let ack = talk.caller.request(&mut pair.caller, Method::Ack);
        pair.caller.ask(&ack);
        pair.request(End::Callee, &Method::Ack).expect("the change is acknowledged");
    }
    for talk in changing.iter_mut() {
        pair.hang_up(talk, End::Caller).expect("a changed call ends as any other");
    }
    let too_many = pair.callee.heard().iter().map(first_line).collect::<Vec<_>>();
    let activated = sites.two.activated();
    stage.say(&format!(
        "{half} BYEs and {half} re-INVITEs of calls that slept, each at both engines before either \
         had the lock ({waited} turns waited): {activated} calls woke, each peer was asked \
         once, each phone was answered"
    ));
    assert_eq!(activated, 2 * half as u64, "a call wakes once");
    assert!(too_many.is_empty(), "the callee was asked twice: {too_many:?}");
}

fn set_up(pair: &mut Pair) -> Talk {
    let (dialog, _) = pair.caller.invite();
    let invite = pair.request(End::Callee, &Method::Invite).expect("a new call");
    pair.answer(dialog, &invite).expect("the call is set up")
}

/// Sends a request of each call to both engines of site 2 while nobody there grants a lock. Returns
/// the turns that waited.
fn ask_two_engines(
    pair: &mut Pair,
    sites: &mut ManySites,
    talks: &mut [Talk],
    method: &Method,
) -> u64 {
    let two = &mut sites.two;
    two.states.iter().for_each(|(node, _)| node.signal("-STOP"));
    // The balancer gives the second of two datagrams to the engine that has not had the first.
    pair.caller.set_doubled(true);
    for talk in talks.iter_mut() {
        let request = talk.caller.request(&mut pair.caller, method.clone());
        pair.caller.ask(&request);
    }
    pair.caller.set_doubled(false);
    let open = wait_for("both engines to ask for every lock", SOON, || {
        let told = two.engines.iter_mut().map(|engine| engine.try_status()?.engine);
        let open: Vec<u64> = told.map(|engine| engine.map_or(0, |one| one.turns_open)).collect();
        open.iter().all(|open| *open >= talks.len() as u64).then(|| open.iter().sum())
    });
    two.states.iter().for_each(|(node, _)| node.signal("-CONT"));
    open
}

/// The callee is asked `count` times and agrees; the caller hears each answer.
fn answer_all(pair: &mut Pair, count: usize, method: &Method) {
    for _ in 0..count {
        let request = pair.request(End::Callee, method).expect("each call's peer is asked");
        pair.callee.respond(&request, 200);
    }
    for _ in 0..count {
        pair.response(End::Caller, method, &[200]).expect("each phone is answered");
    }
}
