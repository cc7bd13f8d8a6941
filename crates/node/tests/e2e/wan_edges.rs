//! Two sites over a wide-area network without a balancer in front of both: what is minted names a
//! name, and the name stands for the edges of both sites. Phones send each message to either.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use sip_message::{HeaderName, Method};

use crate::harness::figures::half_and_most;
use crate::harness::many_sites::{Layout, ManySite};
use crate::harness::netns::{self, Wan};
use crate::harness::pair::{End, Pair, Talk};
use crate::harness::stage::Stage;
use crate::harness::two_edges::{NAME, TwoEdges};
use crate::harness::{sized, wait_for};

const T1: Duration = Duration::from_millis(500);
const SOON: Duration = Duration::from_secs(20);
const ENDS: [End; 2] = [End::Caller, End::Callee];

/// Two sites on hosts of their own, and the phones' on a third.
fn start(name: &'static str, is_redirecting: bool) -> (Stage, Wan, TwoEdges, Pair) {
    let mut stage = Stage::new(name);
    let mut wan = Wan::start(&["one", "two", "phones"]);
    wan.say("link one two delay_ms=40");
    stage.move_to(wan.host("phones"));
    let callee_at = netns::at(stage.host(), stage.address());
    let hosts = ["one", "two"].map(|name| Some(wan.host(name)));
    let layout = Layout { sites: hosts, is_redirecting, ..Layout::default() };
    let sites = TwoEdges::start(&stage, callee_at, &layout);
    let pair = Pair::new(&stage, callee_at, sites.edges[0], T1);
    (stage, wan, sites, pair)
}

/// D34 and D35: each message of a dialog may reach the site where the call does not live, which
/// passes it on; then that site is all that is left of the name.
#[test]
fn d35_each_message_reaches_either_site_without_a_common_balancer() {
    let (stage, mut wan, mut sites, mut pair) = start("wan_edges", false);
    // Calls in which each message of a phone meets the site that its message before did not meet.
    let calls = sized(6_usize, 60);
    let mut times = Vec::new();
    for number in 0..calls {
        alternate(&mut pair, sites.edges, number);
        let began = Instant::now();
        one_call(&mut pair, number).unwrap_or_else(|what| panic!("call {number}: {what}"));
        times.push(began.elapsed().as_secs_f64());
        ENDS.into_iter().for_each(|end| pair.end(end).leave());
    }
    let alive = half_and_most(times);
    let begun = begun(&mut sites);
    let forwarded = forwarded(&mut sites);

    // Calls of both homes, held.
    let held = sized(6_usize, 40);
    let begin = |number| {
        alternate(&mut pair, sites.edges, number);
        pair.call().unwrap_or_else(|what| panic!("{number}: {what}"))
    };
    let mut talks: Vec<Talk> = (0..held).map(begin).collect();
    wait_crossed(&mut sites);
    wan.say("isolate one");
    let marked = sites.one.freeze_and_kill();
    sites.balancers[0].kill();
    for end in ENDS {
        pair.end(end).set_edges(NAME, &sites.edges[1..]);
    }
    wait_for("site 1 to be silent", SOON, || {
        let told = sites.two.statuses();
        told.iter().any(|status| status.peers.get(&1).is_some_and(|one| !one.alive)).then_some(())
    });
    let mut times = Vec::new();
    for (number, talk) in talks.iter_mut().enumerate() {
        let began = Instant::now();
        pair.re_invite(talk, ENDS[number % 2]).unwrap_or_else(|what| panic!("{number}: {what}"));
        times.push(began.elapsed().as_secs_f64());
        let end = ENDS[number / 2 % 2];
        pair.hang_up(talk, end).unwrap_or_else(|what| panic!("{number}: {what}"));
    }
    let alone = half_and_most(times);
    let activated: u64 = sites.two.led().iter().map(|status| status.activated).sum();
    stage.say(&format!(
        "no balancer in front of both sites, 40 ms between them; each message of a phone to the \
         site that the one before did not meet: {calls} calls with a re-INVITE, {begun:?} begun \
         at each site, {forwarded:?} messages passed on, {:.0} ms a call (p50); site 1 and its \
         balancer gone with {} of {held} held calls marked: re-INVITE and BYE answered in all, \
         {activated} woken, re-INVITE to ACK in {:.0} ms (p50), {:.0} ms (p99); {} messages \
         repeated",
        alive[0],
        marked.len(),
        alone[0],
        alone[1],
        pair.caller.repetitions + pair.callee.repetitions,
    ));
    assert!(begun.iter().all(|calls| *calls > 0), "one site took no call: {begun:?}");
    assert!(forwarded.iter().all(|messages| *messages > 0), "nothing was passed on: {forwarded:?}");
    assert!(activated > 0, "no held call was one of site 1");
}

/// Where phones follow it, a 302 names the edge of the site at which the call lives; the peer hears
/// of the request once it is made there.
#[test]
fn a_phone_is_sent_to_the_site_where_its_call_lives() {
    let (stage, _wan, mut sites, mut pair) = start("wan_redirect", true);
    let [one, two] = sites.edges;
    let calls = sized(6_usize, 60);
    for number in 0..calls {
        // Begun at one site, and every request of a phone goes to the other one first.
        let [home, away] = if number % 2 == 0 { [one, two] } else { [two, one] };
        ENDS.into_iter().for_each(|end| pair.end(end).set_edges(NAME, &[home]));
        let mut talk = pair.call().unwrap_or_else(|what| panic!("{number}: {what}"));
        for (end, method) in [(ENDS[number / 2 % 2], Method::Invite), (End::Caller, Method::Bye)] {
            pair.end(end).set_edges(NAME, &[away]);
            let request = talk.half(end).request(pair.end(end), method.clone());
            pair.end(end).ask(&request);
            let moved = pair.response(end, &method, &[302]).expect("it is told where");
            let moved = moved.response(&method).expect("it was asked for").headers.contact();
            let contact = moved.expect("it can be read").expect("a 302 has a Contact").uri;
            assert_eq!(contact.to_string(), format!("sip:{home}"));
            assert!(pair.requests(End::Caller).is_empty() && pair.requests(End::Callee).is_empty());
            pair.end(end).set_edges(NAME, &[home]);
            let went = match method {
                Method::Invite => pair.re_invite(&mut talk, end),
                _ => pair.hang_up(&mut talk, end),
            };
            went.unwrap_or_else(|what| panic!("{number}, {}: {what}", method.as_str()));
        }
        ENDS.into_iter().for_each(|end| pair.end(end).leave());
    }
    let redirected: u64 = [&mut sites.one, &mut sites.two]
        .map(|site| counters(site, &["engine_redirected"]))
        .iter()
        .sum();
    stage.say(&format!(
        "no balancer in front of both sites; {calls} calls, a re-INVITE and a BYE of each to the \
         site where it does not live: {redirected} answered 302, and done at the other edge"
    ));
    assert_eq!(redirected, 2 * calls as u64);
}

/// The first message goes to one site or the other, and so on in turn.
fn alternate(pair: &mut Pair, [one, two]: [SocketAddr; 2], number: usize) {
    let edges = if number.is_multiple_of(2) { [one, two] } else { [two, one] };
    ENDS.into_iter().for_each(|end| pair.end(end).set_edges(NAME, &edges));
}

fn one_call(pair: &mut Pair, number: usize) -> Result<(), String> {
    let (dialog, _) = pair.caller.invite();
    let there = pair.request(End::Callee, &Method::Invite)?;
    for header in [HeaderName::Via, HeaderName::Contact] {
        let value = there.headers.get(&header).expect("an INVITE has both");
        let value = String::from_utf8_lossy(value);
        assert!(value.contains(NAME), "{header:?} names {value}");
    }
    pair.callee.respond(&there, 180);
    pair.response(End::Caller, &Method::Invite, &[180])?;
    let mut talk = pair.answer(dialog, &there)?;
    pair.re_invite(&mut talk, ENDS[number % 2])?;
    pair.hang_up(&mut talk, ENDS[number / 2 % 2])
}

/// What the engines of a site counted.
fn counters(site: &mut ManySite, names: &[&str]) -> u64 {
    let statuses = site.engines.iter_mut().filter_map(|engine| engine.try_status());
    let of = |counters: BTreeMap<String, u64>| {
        names.iter().filter_map(|name| counters.get(*name)).sum::<u64>()
    };
    statuses.map(|status| of(status.counters)).sum()
}

fn begun(sites: &mut TwoEdges) -> [u64; 2] {
    [&mut sites.one, &mut sites.two].map(|site| counters(site, &["engine_begun"]))
}

/// Messages that each site passed on to the other.
fn forwarded(sites: &mut TwoEdges) -> [u64; 2] {
    [&mut sites.one, &mut sites.two].map(|site| counters(site, &["engine_forwarded_out"]))
}

fn wait_crossed(sites: &mut TwoEdges) {
    for site in [&mut sites.one, &mut sites.two] {
        wait_for("nothing at risk", SOON, || {
            let led = site.led();
            let mut risks = led.iter().flat_map(|status| status.at_risk.values());
            risks.all(|risk| risk.calls + risk.in_set_up == 0).then_some(())
        });
    }
    wait_for("an empty inbox", SOON, || {
        let told = sites.two.statuses();
        told.iter().all(|status| status.inbox_batches == 0).then_some(())
    });
}
