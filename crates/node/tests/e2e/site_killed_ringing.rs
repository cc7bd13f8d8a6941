//! A site dies while calls ring, before anything of them has crossed: nobody is left with a call
//! that no site knows.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sip_message::{Method, Request};

use crate::harness::config;
use crate::harness::pair::{End, Pair, SOON};
use crate::harness::process::Node;
use crate::harness::sipp::{Load, Sipp};
use crate::harness::sized;
use crate::harness::stage::Stage;
use crate::harness::two_sites::TwoSites;

/// A site whose link has just broken may live: for 2 s what is not known here is not denied. "At
/// once" allows that, and one repetition after T1.
const AT_ONCE: Duration = Duration::from_millis(2_500);
/// 64*T1, and time to look.
const ALL_TIMERS: Duration = Duration::from_secs(32 + 13);

#[test]
fn site_killed_while_ringing() {
    let stage = Stage::new("site_killed_while_ringing");
    let calls = sized(40, 200);
    let callee_at = stage.address();
    let mut sites = TwoSites::start(&stage, callee_at);
    let mut pair = Pair::new(&stage, callee_at, sites.edge, Duration::from_millis(500));
    let invites: Vec<Request> = (0..calls).map(|_| pair.caller.invite().1).collect();
    let ringing = ring(&mut pair, calls);
    let kept = sites.two.try_status().expect("it lives").calls_held;
    assert_eq!(kept, 0, "a ringing call has crossed");

    sites.one.kill();
    sites.balancer.admin().route(1, 2, &[(1, 0), (2, 1)]);
    let cancelled = cancel(&mut pair, &invites[..calls / 2]);
    let slowest = answer_all(&mut pair, &ringing);
    pair.let_work(Duration::from_millis(500));
    pair.caller.hush();
    sites.one.start_again();
    let emptied = [empty(&mut sites.one), empty(&mut sites.two)].into_iter().max();
    stage.say(&format!(
        "{calls} calls rang; site 1 killed; CANCEL answered 481: {}, 200: {}; {calls} late answers \
         got ACK and BYE, the slowest after {} ms; both sites empty after {} s",
        cancelled.get(&481).unwrap_or(&0),
        cancelled.get(&200).unwrap_or(&0),
        slowest.as_millis(),
        emptied.unwrap_or_default().as_secs(),
    ));
    assert!(slowest <= AT_ONCE, "a callee talked to a ghost for {slowest:?}");
}

#[test]
fn site_killed_while_sipp_rings() {
    let stage = Stage::new("site_killed_while_sipp_rings");
    let calls: u32 = sized(100, 400);
    let [callee_at, caller_at] = [(); 2].map(|()| stage.address());
    let mut sites = TwoSites::start(&stage, callee_at);
    let placing = Duration::from_millis(u64::from(calls) * 10);
    let before_cancel = placing + Duration::from_secs(3);
    let rings = before_cancel + Duration::from_secs(3);
    let mut callee = Sipp::callee_after(&stage, "uas_late", callee_at, calls, rings);
    let load = Load { calls, per_second: 100, hold: before_cancel };
    let mut caller = Sipp::caller(&stage, "uac_cancel_lost", caller_at, sites.edge, &load);

    sites.one.wait_until("rings for every call", placing + SOON, |status| {
        status.calls_active == u64::from(calls)
    });
    sites.one.kill();
    sites.balancer.admin().route(1, 2, &[(1, 0), (2, 1)]);
    let cancelled = caller.finish(before_cancel + Duration::from_secs(20));
    let ended = callee.finish(rings + Duration::from_secs(20));
    sites.one.start_again();
    let emptied = [empty(&mut sites.one), empty(&mut sites.two)].into_iter().max();
    stage.say(&format!(
        "{calls} calls rang between two SIPp; site 1 killed; {} CANCELs answered, {} late answers \
         got ACK and BYE; both sites empty after {} s",
        cancelled.successful,
        ended.successful,
        emptied.unwrap_or_default().as_secs(),
    ));
    assert_eq!(cancelled.successful, u64::from(calls), "a CANCEL was not answered");
    assert_eq!(ended.successful, u64::from(calls), "a callee was left with a ghost");
}

/// With `early = true` a ringing call crosses: the answer, which comes after the site's death, and
/// its ACK go through the other site.
#[test]
fn early_calls_complete_at_the_other_site() {
    let stage = Stage::new("early_calls_complete");
    let calls: u32 = sized(100, 400);
    let [callee_at, caller_at] = [(); 2].map(|()| stage.address());
    let mut sites = TwoSites::start_as(&stage, callee_at, config::early);
    let placing = Duration::from_millis(u64::from(calls) * 10);
    let rings = placing + Duration::from_secs(5);
    let mut callee = Sipp::callee_after(&stage, "uas_late", callee_at, calls, rings);
    let load = Load { calls, per_second: 100, hold: Duration::from_secs(1) };
    let mut caller = Sipp::caller(&stage, "uac_hold", caller_at, sites.edge, &load);

    sites.wait_crossed(u64::from(calls));
    sites.one.kill();
    sites.balancer.admin().route(1, 2, &[(1, 0), (2, 1)]);
    let heard = caller.finish(rings + Duration::from_secs(20));
    let answered = callee.finish(Duration::from_secs(20));
    stage.say(&format!(
        "{calls} calls rang; site 1 killed; {} were answered and ended by the caller, {} callees \
         had their ACK and BYE; {} messages repeated by SIPp",
        heard.successful,
        answered.successful,
        heard.repeated + answered.repeated,
    ));
    let least = u64::from(calls) * 95 / 100;
    assert!(heard.successful >= least && answered.successful >= least, "too few completed");
}

/// Lets every call ring at the callee and at the caller.
fn ring(pair: &mut Pair, calls: usize) -> Vec<Request> {
    let mut ringing = Vec::new();
    for _ in 0..calls {
        let invite = pair.request(End::Callee, &Method::Invite).expect("every INVITE arrives");
        pair.callee.respond(&invite, 180);
        ringing.push(invite);
        // At once: nobody repeats a 180 that found the phone's buffer full.
        pair.response(End::Caller, &Method::Invite, &[180]).expect("every caller hears it ring");
    }
    ringing
}

/// The caller gives up on some calls; how often it heard which answer.
fn cancel(pair: &mut Pair, invites: &[Request]) -> BTreeMap<u16, usize> {
    invites.iter().for_each(|invite| pair.caller.cancel(invite));
    let mut answers = BTreeMap::new();
    for _ in invites {
        let heard = pair.response(End::Caller, &Method::Cancel, &[200, 481]);
        let heard = heard.expect("every CANCEL is answered 200 or 481");
        let response = heard.response(&Method::Cancel).expect("it was asked for");
        *answers.entry(response.status.code()).or_default() += 1;
    }
    answers
}

/// Every callee answers late. The longest time until one had both ACK and BYE.
fn answer_all(pair: &mut Pair, ringing: &[Request]) -> Duration {
    let mut answered: BTreeMap<Bytes, Instant> = BTreeMap::new();
    for invite in ringing {
        pair.callee.respond(invite, 200);
        let call_id = invite.headers.call_id().expect("checked by the parser").clone();
        answered.insert(call_id, Instant::now());
    }
    let mut slowest = Duration::ZERO;
    for method in [Method::Ack, Method::Bye] {
        for _ in ringing {
            let what = format!("{} of a call nobody holds", method.as_str());
            let heard =
                pair.try_wait(End::Callee, &what, SOON, |heard| heard.request(&method).is_some());
            let heard = heard.unwrap_or_else(|problem| panic!("{problem}"));
            let began = answered.get(&heard.call_id()).expect("a call that was answered");
            slowest = slowest.max(heard.at.duration_since(*began));
            if method == Method::Bye {
                pair.callee.respond(heard.request(&method).expect("it was asked for"), 200);
            }
        }
    }
    slowest
}

/// Waits until a site holds nothing; how long that took.
fn empty(site: &mut Node) -> Duration {
    let began = Instant::now();
    site.wait_serving();
    site.wait_until("holds no record", ALL_TIMERS, |status| {
        status.calls_held == 0 && status.locks == 0 && status.calls_active == 0
    });
    began.elapsed()
}
