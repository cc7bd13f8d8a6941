//! The receiving site is killed again and again while calls cross to it: what it acknowledged is
//! there when it counts.

use std::time::Duration;

use crate::harness::sipp::{Load, Sipp};
use crate::harness::stage::Stage;
use crate::harness::two_sites::TwoSites;
use crate::harness::{let_pass, sized};

#[test]
fn queue_survives_kill9() {
    let stage = Stage::new("queue_survives_kill9");
    let (calls, kills) = sized((400_u32, 5_u32), (1_000, 20));
    let [callee_at, caller_at] = [(); 2].map(|()| stage.address());
    let mut sites = TwoSites::start(&stage, callee_at);
    let mut callee = Sipp::callee(&stage, "uas_patient", callee_at, calls);
    let placing = Duration::from_secs(u64::from(calls / 50));
    let hold = placing + Duration::from_secs(15);
    let load = Load { calls, per_second: 50, hold };
    let mut caller = Sipp::caller(&stage, "uac_hold_logged", caller_at, sites.edge, &load);

    let mut batches = 0;
    for _ in 0..kills {
        let_pass(placing / (kills + 1) / 2);
        batches += sites.two.try_status().map_or(0, |status| status.crossing.batches_in);
        sites.two.kill();
        let_pass(placing / (kills + 1) / 2);
        sites.two.start_again();
        sites.two.wait_serving();
    }
    sites.wait_crossed(u64::from(calls));
    let last = sites.two.try_status().expect("it lives");
    let sent = sites.one.try_status().expect("it lives").crossing;

    // Nothing is at risk, says site 1. It is taken at its word.
    sites.one.kill();
    sites.balancer.admin().route(1, 2, &[(1, 0), (2, 1)]);
    let heard = caller.finish(hold + Duration::from_secs(45));
    let reached = callee.finish(Duration::from_secs(10));
    stage.say(&format!(
        "site 2 killed {kills} times while {calls} calls crossed ({} batches sent, {} acknowledged, \
         {batches} received in lives that ended); {} calls dormant at start {}; then site 1 killed: \
         {} BYEs answered, {} reached the callee",
        sent.batches_out,
        sent.batches_acknowledged,
        last.calls_dormant.get(&1).unwrap_or(&0),
        last.start,
        heard.successful,
        reached.successful,
    ));
    assert_eq!(last.start, u64::from(kills) + 1, "site 2 counts its starts on disk");
    assert_eq!(heard.successful, u64::from(calls), "a call that had crossed was lost");
    assert_eq!(reached.successful, u64::from(calls), "a call that had crossed was lost");
}
