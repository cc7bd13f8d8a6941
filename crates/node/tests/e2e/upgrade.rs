//! Versions side by side: D42 to D44 of the fault list.
//!
//! The other version is an earlier commit of this repository. It is built at full size, or named in
//! `REHOME_OLDER`; without one a site is rolled from this version to itself, which shows that the
//! steps lose nothing, and nothing of versions.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::harness::direct_site::wait_linked;
use crate::harness::many::{Many, Shape};
use crate::harness::older;
use crate::harness::process::{Node, PROGRAM};
use crate::harness::sipp::{Load, Sipp};
use crate::harness::stage::Stage;
use crate::harness::two_sites::TwoSites;
use crate::harness::{let_pass, sized, try_wait_for};

const PER_SECOND: u32 = 50;
/// Longer than it takes to replace two processes, so that calls meet both versions.
const HOLD: Duration = Duration::from_secs(8);

/// Engines one by one, then state processes one by one, as `docs/operating/upgrade.md` says; which
/// says by what signal engines end, too.
fn roll(many: &mut Many, to: &Path, signal: &str) -> Duration {
    let began = Instant::now();
    for index in 0..many.engines.len() {
        many.engines[index].replace(to, signal);
        wait_linked(&mut many.engines[index]);
        many.wait_engines(2);
    }
    for index in 0..many.states.len() {
        many.states[index].node.replace(to, "-TERM");
        many.wait_whole(1);
    }
    let states = many.states.iter().map(|state| &state.node);
    assert!(many.engines.iter().chain(states).all(|node| node.runs(to)), "all were replaced");
    began.elapsed()
}

#[test]
fn d42_d43_a_rolling_upgrade_and_the_way_back_lose_no_call() {
    let mut stage = Stage::new("d42");
    let new = PathBuf::from(PROGRAM);
    let older = older::program();
    // An older engine that is told to end refuses the calls that it is still sent.
    let ends_old = if older.is_some() { "-KILL" } else { "-TERM" };
    let (old, name) = older.unwrap_or_else(|| (new.clone(), "this version again".into()));
    ["e", "s"].into_iter().for_each(|names| stage.run_as(names, &old));
    let calls = sized(1_500, 10_000);
    let [callee_at, caller_at] = [(); 2].map(|()| stage.address());
    let shape = Shape { partitions: 1, ..Shape::default() };
    let mut many = Many::start(&stage, callee_at, shape);
    assert!(many.engines.iter().all(|engine| engine.runs(&old)));
    let mut callee = Sipp::callee(&stage, "uas_change", callee_at, calls);
    let load = Load { calls, per_second: PER_SECOND, hold: HOLD };
    let mut caller = Sipp::caller(&stage, "uac_hold_change", caller_at, many.edge, &load);
    let_pass(Duration::from_secs(3));
    let up = roll(&mut many, &new, ends_old);
    // As long as a call stands: some have met nothing but the new version.
    let_pass(HOLD);
    let back = roll(&mut many, &old, "-TERM");
    let placed = caller.steps().len();
    let patience = Duration::from_secs(u64::from(calls / PER_SECOND)) + HOLD;
    let heard = caller.finish(patience + Duration::from_secs(45));
    let reached = callee.finish(Duration::from_secs(10));
    let [undecodable, newer] = ["engine_undecodable", "engine_needs_newer"].map(|counter| {
        let told = many.engines.iter_mut().filter_map(Node::try_status);
        told.map(|status| status.counters.get(counter).copied().unwrap_or_default()).sum::<u64>()
    });
    stage.say(&format!(
        "{calls} calls at {PER_SECOND}/s, each changed and hung up after {} s; 2 engines and 3 \
         replicas replaced one by one, {name} to this version in {:.1} s, and back in {:.1} s, \
         {placed} calls placed by then; {} succeeded, {} failed, {} messages repeated by SIPp; {} \
         records could not be read",
        HOLD.as_secs(),
        up.as_secs_f64(),
        back.as_secs_f64(),
        heard.successful,
        heard.failed + reached.failed,
        heard.repeated + reached.repeated,
        undecodable + newer,
    ));
    assert!(placed < calls as usize, "the load ended before the last process was replaced");
    // A 5xx, or any other answer that the scenario does not want, fails the call.
    assert_eq!([heard.successful, reached.successful], [u64::from(calls); 2]);
    assert_eq!(undecodable + newer, 0);
}

/// Site 1 dies, returns, and dies for good: its calls cross, are refilled, cross again, and are
/// hung up at site 2.
fn lost_and_taken_over(stage: &Stage, calls: u32) -> [u64; 3] {
    let [callee_at, caller_at] = [(); 2].map(|()| stage.address());
    let mut sites = TwoSites::start(stage, callee_at);
    let mut callee = Sipp::callee(stage, "uas_patient", callee_at, calls);
    let hold = Duration::from_secs(u64::from(calls / 100) + 40);
    let load = Load { calls, per_second: 100, hold };
    let mut caller = Sipp::caller(stage, "uac_hold_logged", caller_at, sites.edge, &load);
    let all = u64::from(calls);
    sites.wait_crossed(all);
    sites.one.kill();
    sites.one.start_again();
    let came = try_wait_for(Duration::from_secs(20), || {
        let status = sites.one.try_status()?;
        (status.calls_active + status.calls_dormant.values().sum::<u64>() >= all).then_some(())
    });
    assert!(came.is_some(), "the calls did not come home");
    sites.wait_crossed(all);
    sites.one.kill();
    sites.balancer.admin().route(1, 2, &[(1, 0), (2, 1)]);
    let heard = caller.finish(hold + Duration::from_secs(45));
    let reached = callee.finish(Duration::from_secs(10));
    let status = sites.two.try_status().expect("it lives");
    let unread = ["engine_undecodable", "engine_needs_newer", "engine_entries_poison"];
    let unread = unread.map(|counter| status.counters.get(counter).copied().unwrap_or_default());
    assert_eq!(unread, [0; 3], "site 2 could not read what site 1 wrote");
    [heard.successful, reached.successful, status.activated]
}

#[test]
fn d44_sites_of_two_versions_back_each_other_up() {
    let name = "d44";
    let Some((old, older)) = older::program() else {
        println!(
            "{name}: at full size only, or with REHOME_OLDER: another version has to be built"
        );
        return;
    };
    let calls = sized(200, 1_000);
    for old_site in ["site1", "site2"] {
        let mut stage = Stage::new(name);
        stage.run_as(old_site, &old);
        let told = lost_and_taken_over(&stage, calls);
        stage.say(&format!(
            "{old_site} runs {older}, the other site this version; site 1 with {calls} calls \
             killed, returned, killed: {} BYEs answered, {} reached the callee, {} activated",
            told[0], told[1], told[2],
        ));
        assert_eq!(told[..2], [u64::from(calls); 2]);
    }
}
