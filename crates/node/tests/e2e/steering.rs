//! Orders that are given while calls run, to real processes: what crosses is stopped, started and
//! sent to another site; the way home is halted; a site serves without having asked anybody; and
//! who carries an order out dies in the middle of it.

use std::time::Duration;

use admin_api::{BackupReply, OrderReply, ReturnStatus, SitesReply, StatusReply};
use sip_message::Method;

use crate::cli::ask;
use crate::harness::agent::Heard;
use crate::harness::ground::Ground;
use crate::harness::many_sites::{Layout, ManySite, ManySites};
use crate::harness::mesh::{Links, Mesh};
use crate::harness::pair::{End, Pair, Talk};
use crate::harness::sipp::{Load, Sipp};
use crate::harness::stage::Stage;
use crate::harness::{let_pass, sized, wait_for};

const SOON: Duration = Duration::from_secs(30);
const T1: Duration = Duration::from_millis(500);

fn at_risk(status: &StatusReply, to: u16) -> u64 {
    status.at_risk.get(&to).map_or(0, |risk| risk.calls)
}

fn asleep(mesh: &mut Mesh, at: u16) -> u64 {
    let status = mesh.site(at).try_status().expect("it lives");
    status.calls_dormant.get(&1).copied().unwrap_or(0)
}

/// Sending to site 2 is stopped, which marks keep track of, and started; then site 3 keeps the
/// copies and site 2 lets go of its own; then site 1 dies. Calls are placed throughout.
#[test]
fn replication_stops_starts_and_goes_to_a_third_site_under_load() {
    let stage = Stage::new("replication_orders");
    let (calls, per_second) = sized((300_u32, 50), (2_000, 100));
    let all = u64::from(calls);
    let [callee_at, caller_at] = [(); 2].map(|()| stage.address());
    let backups = [(Some(2), 1), (None, 0), (None, 0)];
    let mut mesh = Mesh::start(&stage, callee_at, Links::Plain, &backups);
    let mut callee = Sipp::callee(&stage, "uas_patient", callee_at, calls);
    let load = Load { calls, per_second, hold: Duration::ZERO };
    let load = Load { hold: load.placing() + Duration::from_secs(12), ..load };
    let mut caller = Sipp::caller(&stage, "uac_hold_logged", caller_at, mesh.edge, &load);
    let one = mesh.site(1).admin();
    mesh.site(2).wait_until("keeps calls", SOON, |status| {
        status.calls_dormant.get(&1).is_some_and(|calls| *calls > 0)
    });

    let _order: OrderReply = ask(&one, &["replication", "stop", "--site", "2"]);
    // What was on its way when it was ordered has come by then.
    mesh.site(1).wait_until("keeps marks", SOON, |status| at_risk(status, 2) >= all / 20);
    let before = asleep(&mut mesh, 2);
    let stopped =
        mesh.site(1).wait_until("keeps more marks", SOON, |status| at_risk(status, 2) >= all / 5);
    assert_eq!(asleep(&mut mesh, 2), before, "something crossed although it was stopped");
    let _order: OrderReply = ask(&one, &["replication", "start", "--site", "2"]);
    mesh.site(1).wait_until("has drained", SOON, |status| at_risk(status, 2) < all / 10);

    let placed = mesh.site(1).try_status().expect("it lives").calls_active;
    assert!(placed < all, "all calls were placed before the copies were sent elsewhere");
    let reply: SitesReply = ask(&one, &["replication", "retarget", "--to", "3", "--wait"]);
    let retarget = reply.retarget.expect("it is in force");
    assert_eq!((retarget.to, retarget.complete), (3, true), "{retarget:?}");
    mesh.site(1)
        .wait_until("has all calls", load.placing() + SOON, |status| status.calls_active == all);
    mesh.wait_settled(1, all);
    mesh.wait_asleep(3, &[(1, all)]);
    mesh.wait_asleep(2, &[]);
    mesh.lose(1, &[(1, 3)], &[(1, 0), (2, 0), (3, 1)]);
    let asked = caller.figures().expect("SIPp runs");
    assert_eq!(asked.successful + asked.failed, 0, "a call ended before all was done");
    let heard = caller.finish(load.hold + Duration::from_secs(40));
    let reached = callee.finish(Duration::from_secs(10));
    stage.say(&format!(
        "{calls} calls at {per_second}/s; sending stopped with {before} copies at site 2, started \
         with {} calls at risk, sent to site 3 when {placed} were placed: {all} copies there and \
         none at site 2; site 1 killed: {} BYEs answered, {} reached the callee",
        at_risk(&stopped, 2),
        heard.successful,
        reached.successful,
    ));
    assert_eq!([heard.successful, reached.successful], [all; 2], "a call was lost");
    assert_eq!([heard.failed, reached.failed], [0; 2]);
}

/// Calls of site 1 that have crossed to site 2.
fn talks(pair: &mut Pair, sites: &mut ManySites, calls: usize) -> Vec<Talk> {
    let talks = (0..calls).map(|_| pair.call().expect("the call is answered")).collect();
    sites.wait_crossed(calls as u64);
    talks
}

/// The same, and site 1 is dead. `states`: more of the state processes' configuration.
fn site_1_lost(stage: &Stage, states: &'static str, calls: usize) -> (ManySites, Pair, Vec<Talk>) {
    let callee_at = stage.address();
    let mut sites = ManySites::start_on(stage, callee_at, &Layout { states, ..Layout::default() });
    let mut pair = Pair::new(stage, callee_at, sites.edge, T1);
    let talks = talks(&mut pair, &mut sites, calls);
    sites.one.kill();
    sites.balancer.admin().route(1, 2, &[(1, 0), (2, 1)]);
    sites.two.wait_silent(1);
    (sites, pair, talks)
}

fn returning(site: &mut ManySite) -> ReturnStatus {
    let reply: SitesReply = ask(&site.keeper(), &["sites"]);
    reply.returning
}

/// The calls at home, once nothing is on its way any more.
fn at_rest(home: &mut ManySite) -> u64 {
    let mut before = None;
    wait_for("the end of what is on its way", SOON, || {
        let now = Some(home.active());
        let_pass(Duration::from_secs(1));
        (std::mem::replace(&mut before, now) == now).then_some(now).flatten()
    })
}

/// Site 1 is back and its calls go home one by one: a pause halts that, an abort too, also when
/// whoever took the order dies, and the start sends all that is left.
#[test]
fn the_way_home_is_paused_aborted_and_started() {
    let stage = Stage::new("return_orders");
    let calls = sized(60_usize, 400);
    let all = calls as u64;
    let states = sized(
        "[crossing]\nhand_back_per_s = 3\nrefill_per_s = 3\n\n",
        "[crossing]\nhand_back_per_s = 20\nrefill_per_s = 20\n\n",
    );
    let (mut sites, mut pair, mut talks) = site_1_lost(&stage, states, calls);
    let _woken: BackupReply =
        ask(&sites.two.keeper(), &["backup", "activate", "--site", "1", "--wait"]);
    assert_eq!(sites.two.active(), all, "not all calls are awake");

    sites.one.start_again();
    sites.wait_engines_of(&[1]);
    wait_for("calls on their way", SOON, || (sites.one.active() > 0).then_some(()));
    let _order: OrderReply = ask(&sites.two.keeper(), &["return", "pause"]);
    assert_eq!(returning(&mut sites.two).state, "paused");
    let paused = at_rest(&mut sites.one);
    assert!(paused < all, "all calls were at home before the pause");

    let _order: OrderReply = ask(&sites.two.keeper(), &["return", "abort"]);
    let keeper = sites.two.primary(0);
    sites.two.kill_state(keeper);
    sites.two.primary(0);
    sites.two.wait_linked_to(1);
    wait_for("the order, from the next keeper", SOON, || {
        (returning(&mut sites.two).state == "aborted").then_some(())
    });
    assert_eq!(at_rest(&mut sites.one), paused, "a call went home although it was aborted");

    let reply: SitesReply = ask(&sites.two.keeper(), &["return", "start", "--wait"]);
    assert_eq!(reply.returning.state, "runs");
    wait_for("all calls at home", SOON, || {
        (sites.one.active() == all && sites.two.active() == 0).then_some(())
    });
    sites.balancer.admin().route(1, 1, &[(1, 1), (2, 0)]);
    pair.hang_up_all(&mut talks);
    stage.say(&format!(
        "{all} calls woken at site 2, site 1 back: paused with {paused} at home, aborted, the \
         keeper of the gate killed, none went; started: all home, {all} BYEs answered"
    ));
}

/// Site 1 is back and cannot reach site 2, which has its calls: told not to wait it serves new
/// calls, leaves what it does not know unanswered, and has all calls when the sites meet.
#[test]
fn a_site_that_cannot_ask_serves_by_order() {
    let layout = Layout { return_wait_s: Some(600), ..Layout::default() };
    let mut ground = Ground::start("without_keyset", layout);
    let calls = sized(40_usize, 400);
    let all = calls as u64;
    let mut pair = Pair::new(&ground.stage, ground.callee, ground.sites.edge, T1);
    let mut talks = talks(&mut pair, &mut ground.sites, calls);
    let marked = ground.lose_site_1();
    assert!(marked.is_empty(), "everything had crossed: {marked:?}");
    ground.sites.two.wait_silent(1);
    let woken: BackupReply =
        ask(&ground.sites.two.keeper(), &["backup", "activate", "--site", "1", "--wait"]);
    assert_eq!(ground.sites.two.active(), all, "not all calls are awake: {woken:?}");

    // The way between the sites stays cut.
    ground.wan.say("heal one edge");
    ground.sites.one.start_processes();
    let keeper = ground.sites.one.keeper();
    let state = |site: &mut ManySite| site.led().first().map(|status| status.state.clone());
    let_pass(Duration::from_secs(2));
    assert_eq!(state(&mut ground.sites.one).as_deref(), Some("returning"), "it asked nobody");
    let _order: OrderReply = ask(&keeper, &["return", "start", "--without-keyset"]);
    wait_for("a site that serves", SOON, || {
        let led = ground.sites.one.led();
        (led.len() == 2 && led.iter().all(|status| status.state == "serving")).then_some(())
    });
    ground.sites.wait_engines_of(&[1]);
    ground.sites.balancer.admin().route(1, 1, &[(1, 1), (2, 0)]);
    let new = sized(20_usize, 100);
    talks.extend((0..new).map(|_| pair.call().expect("a site that serves takes calls")));
    let placed = ground.sites.one.active();
    assert_eq!(placed, new as u64, "new calls belong to the site that serves");
    let mut waiting = talks.remove(0);
    let bye = waiting.caller.request(&mut pair.caller, Method::Bye);
    pair.caller.ask(&bye);
    pair.let_work(Duration::from_secs(1));
    let is_answer = |heard: &Heard| heard.response(&Method::Bye).is_some();
    assert!(!pair.caller.heard().iter().any(is_answer), "answered by a site that cannot know");

    ground.wan.say("heal all");
    ground.sites.one.wait_linked_to(2);
    let all = all + new as u64;
    wait_for("all calls at home", SOON, || {
        (ground.sites.one.active() == all && ground.sites.two.active() == 0).then_some(())
    });
    let there = pair.request(End::Callee, &Method::Bye).expect("it is repeated");
    pair.callee.respond(&there, 200);
    pair.response(End::Caller, &Method::Bye, &[200]).expect("the call was at home");
    pair.hang_up_all(&mut talks);
    ground.stage.say(&format!(
        "{calls} calls woken at site 2, the way to it cut; site 1 back, returning for 2 s, serves \
         by order: {new} new calls, a BYE of an old one unanswered; the way healed: all home, \
         {all} BYEs answered"
    ));
}

/// An order to wake all is half done when the primary of one partition dies, and then that of the
/// other, which keeps the gate: those who follow carry it out.
#[test]
fn an_order_to_wake_all_outlives_those_who_carry_it_out() {
    let stage = Stage::new("activation_handed_on");
    let calls = sized(80_usize, 400);
    let all = calls as u64;
    let states = sized("[crossing]\nactivate_per_s = 4\n\n", "[crossing]\nactivate_per_s = 15\n\n");
    let (mut sites, mut pair, mut talks) = site_1_lost(&stage, states, calls);
    let _order: OrderReply = ask(&sites.two.keeper(), &["backup", "activate", "--site", "1"]);
    let mut left = Vec::new();
    for partition in [1, 0] {
        wait_for("half of what is left", SOON, || {
            let asleep = sites.two.dormant(1);
            (asleep <= left.last().unwrap_or(&all) / 2).then_some(())
        });
        let primary = sites.two.primary(partition);
        sites.two.kill_state(primary);
        sites.two.primary(partition);
        left.push(sites.two.dormant(1));
    }
    assert!(left[1] > 0, "all were awake before the second one died: {left:?}");
    wait_for("all calls awake", SOON, || (sites.two.active() == all).then_some(()));
    wait_for("the end of the order", SOON, || {
        let reply: BackupReply = ask(&sites.two.keeper(), &["backup", "stats"]);
        let kept = reply.kept.get(&1).cloned().unwrap_or_default();
        (!kept.activating && kept.order_pending == 0 && kept.calls == 0).then_some(())
    });
    pair.hang_up_all(&mut talks);
    stage.say(&format!(
        "{all} calls of a dead site; waking all ordered once; the primary of each partition killed \
         with {left:?} asleep: all woke, {all} BYEs answered"
    ));
}
