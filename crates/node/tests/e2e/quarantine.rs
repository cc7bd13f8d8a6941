//! Poison with real processes: a call that panics its application, on one engine and then on the
//! other, is ended and set aside while fifty others go on (D53); a poison record of another site
//! costs no other, and its queue goes on (D54).

use std::process::Command;
use std::time::Duration;

use admin_api::{OrderReply, QuarantineReply, QuarantineStory};
use serde::de::DeserializeOwned;
use sip_message::{HeaderName, Method};

use crate::harness::admin::Admin;
use crate::harness::direct_site::DirectSite;
use crate::harness::pair::{End, Pair, Talk};
use crate::harness::process::PROGRAM;
use crate::harness::stage::Stage;

const T1: Duration = Duration::from_millis(200);
const OTHERS: usize = 50;

/// `rehome ... --json` at the node of `admin`.
fn ask<T: DeserializeOwned>(admin: Admin, arguments: &[&str]) -> T {
    let url = format!("http://{}", admin.0);
    let output = Command::new(PROGRAM).args(arguments).args(["--admin", &url, "--json"]).output();
    let output = output.expect("cargo built the program");
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{arguments:?}: {err}");
    serde_json::from_str(&out).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {out}"))
}

fn talk(pair: &mut Pair) -> Talk {
    let (caller, _) = pair.caller.invite();
    let there = pair.request(End::Callee, &Method::Invite).unwrap_or_else(|what| panic!("{what}"));
    pair.answer(caller, &there).unwrap_or_else(|what| panic!("{what}"))
}

/// An INFO of the caller's over which the application panics, answered 500.
fn panics(pair: &mut Pair, talk: &mut Talk) {
    let mut info = talk.caller.request(&mut pair.caller, Method::Info);
    info.headers.push(HeaderName::parse(b"X-Panic"), "now");
    pair.caller.ask(&info);
    let refused = pair.response(End::Caller, &Method::Info, &[500]);
    refused.unwrap_or_else(|what| panic!("{what}"));
}

#[test]
fn d53_a_poison_call_is_ended_and_kept_while_fifty_others_go_on() {
    let stage = Stage::new("quarantine");
    let callee_at = stage.address();
    let mut site = DirectSite::start_with(&stage, callee_at, T1, PANIC_ON);
    let mut pair = Pair::new(&stage, callee_at, site.front.address(), T1);
    let mut others: Vec<Talk> = (0..OTHERS).map(|_| talk(&mut pair)).collect();
    let mut poison = talk(&mut pair);
    let turns = |site: &mut DirectSite| {
        site.engines.each_mut().map(|engine| {
            let status = engine.try_status().and_then(|status| status.engine);
            status.map_or(0, |engine| engine.panics)
        })
    };

    site.front.only(0);
    panics(&mut pair, &mut poison);
    assert!(ask::<QuarantineReply>(site.state.admin(), &["quarantine", "list"]).calls.is_empty());
    site.front.only(1);
    panics(&mut pair, &mut poison);
    assert_eq!(turns(&mut site), [1, 1], "each engine has met it once");
    for end in [End::Caller, End::Callee] {
        let bye = pair.request(end, &Method::Bye).unwrap_or_else(|what| panic!("{what}"));
        pair.end(end).respond(&bye, 200);
    }

    // It is worked no more.
    let info = poison.caller.request(&mut pair.caller, Method::Info);
    pair.caller.ask(&info);
    let late = pair.response(End::Caller, &Method::Info, &[481]);
    late.unwrap_or_else(|what| panic!("{what}"));
    assert_eq!(turns(&mut site), [1, 1]);

    let admin = site.state.admin();
    let list: QuarantineReply = ask(admin, &["quarantine", "list"]);
    let [line] = &list.calls[..] else { panic!("{list:?}") };
    assert_eq!((line.cause.as_str(), line.strikes, line.home), ("panicked", 2, 1));
    assert!(line.what.contains("on purpose"), "{line:?}");
    let story: QuarantineStory = ask(admin, &["quarantine", "show", &line.key]);
    assert!(story.strikes.iter().all(|strike| strike.message.contains("X-Panic: now")));
    assert_ne!(story.strikes[0].engine, story.strikes[1].engine);
    assert!(!story.crossing_hex.is_empty() && !story.local_hex.is_empty());
    let status = site.state.try_status().expect("it lives");
    assert_eq!((status.quarantined, status.quarantined_by_cause["panicked"]), (1, 1));
    let dropped: OrderReply = ask(admin, &["quarantine", "drop", &line.key]);
    assert_eq!(dropped.calls, 1);
    assert!(ask::<QuarantineReply>(admin, &["quarantine", "list"]).calls.is_empty());

    // Both engines live, and all others go on.
    for (number, other) in others.iter_mut().enumerate() {
        site.front.only(number % 2);
        let from = if number % 3 == 0 { End::Callee } else { End::Caller };
        if number % 5 == 0 {
            pair.re_invite(other, from).unwrap_or_else(|what| panic!("{what}"));
        }
        pair.hang_up(other, from).unwrap_or_else(|what| panic!("call {number}: {what}"));
    }
    stage.say(&format!("{OTHERS} calls went on beside one that panicked on two engines"));
}

#[test]
fn d53_an_invite_that_panics_gets_500_from_every_engine_and_leaves_nothing() {
    let stage = Stage::new("quarantine_invite");
    let callee_at = stage.address();
    let mut site = DirectSite::start_with(&stage, callee_at, T1, PANIC_ON);
    let mut pair = Pair::new(&stage, callee_at, site.front.address(), T1);
    let mut dialog = crate::harness::dialog::Dialog::outgoing(&mut pair.caller);
    for engine in [0, 1, 0] {
        site.front.only(engine);
        let mut invite = dialog.request(&mut pair.caller, Method::Invite);
        invite.headers.push(HeaderName::parse(b"X-Panic"), "now");
        pair.caller.ask(&invite);
        let refused = pair.response(End::Caller, &Method::Invite, &[500]);
        refused.unwrap_or_else(|what| panic!("{what}"));
    }
    let status = site.state.try_status().expect("it lives");
    assert_eq!((status.quarantined, status.calls_held), (0, 0));
    let mut next = talk(&mut pair);
    pair.hang_up(&mut next, End::Caller).unwrap_or_else(|what| panic!("{what}"));
}

const PANIC_ON: &str = "[test]\nallow_faults = true\npanic_on = \"X-Panic\"\n\n";
