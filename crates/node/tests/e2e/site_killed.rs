//! The main promise with user agents that are not ours: a site dies while calls are held, and every
//! one of them is hung up through the other site.

use std::time::Duration;

use crate::harness::sipp::{Load, Sipp};
use crate::harness::sized;
use crate::harness::stage::Stage;
use crate::harness::two_sites::TwoSites;

#[test]
fn site_killed_while_held() {
    let stage = Stage::new("site_killed_while_held");
    let calls = sized(500, 1_000);
    let [callee_at, caller_at] = [(); 2].map(|()| stage.address());
    let mut sites = TwoSites::start(&stage, callee_at);
    let mut callee = Sipp::callee(&stage, "uas_patient", callee_at, calls);
    // Long enough that the first call still stands when the last one has crossed.
    let hold = Duration::from_secs(u64::from(calls / 100) + 8);
    let load = Load { calls, per_second: 100, hold };
    let mut caller = Sipp::caller(&stage, "uac_hold_logged", caller_at, sites.edge, &load);

    sites.wait_crossed(u64::from(calls));
    let crossing = sites.one.try_status().expect("it lives").crossing;
    sites.one.kill();
    sites.balancer.admin().route(1, 2, &[(1, 0), (2, 1)]);
    let asked = caller.figures().expect("SIPp runs");
    assert_eq!(asked.successful + asked.failed, 0, "a call ended before the site was killed");

    let heard = caller.finish(hold + Duration::from_secs(45));
    let reached = callee.finish(Duration::from_secs(10));
    let status = sites.two.try_status().expect("it lives");
    stage.say(&format!(
        "{calls} calls at 100/s crossed in {} bytes each; site 1 killed; {} BYEs answered, {} \
         reached the callee, {} lost, {} calls activated, {} messages repeated by SIPp",
        crossing.bytes_out / u64::from(calls),
        heard.successful,
        reached.successful,
        u64::from(calls) - heard.successful.min(reached.successful),
        status.activated,
        heard.repeated + reached.repeated,
    ));
    assert_eq!(heard.successful, u64::from(calls), "a BYE of the caller was not answered");
    assert_eq!(reached.successful, u64::from(calls), "a BYE did not reach the callee");
    assert_eq!(heard.failed + reached.failed, 0);
}
