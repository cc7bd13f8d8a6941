//! The disk of a site that keeps others' calls is slow, and then full, while both sites take calls
//! (D15, D16). No call notices.

use std::time::Duration;

use admin_api::StatusReply;

use crate::harness::config::{self, Door};
use crate::harness::disk::Disk;
use crate::harness::process::Node;
use crate::harness::sipp::{Load, Sipp};
use crate::harness::stage::Stage;
use crate::harness::two_sites::TwoSites;
use crate::harness::{let_pass, sized};

const SOON: Duration = Duration::from_secs(30);
/// A call that has ended is not at risk any more: this is longer than any is to be.
const HOLD: Duration = Duration::from_secs(10);

/// Calls of site 1 that its loss would cost now, and for how long the oldest has been one.
fn at_risk(status: &StatusReply) -> (u64, u64) {
    status.at_risk.get(&2).map_or((0, 0), |risk| (risk.calls, risk.oldest_ms))
}

#[test]
fn d15_d16_a_slow_disk_and_a_full_one_at_the_queue_harm_no_call() {
    let stage = Stage::new("disk_faults");
    let seconds = sized(18_u32, 120);
    let [callee_at, caller_at, inner, edge_2, admin] = [(); 5].map(|()| stage.address());
    let mut sites =
        TwoSites::start_with(&stage, callee_at, inner, edge_2, str::to_owned, |links| {
            let data = stage.path("data2");
            let disk = Disk::new(&data, &stage.path("disk2"));
            let text = config::head("all", 2, Some(&data), admin)
                + &config::sip(
                    links.edge,
                    &Door::Edge { listen: edge_2, balancer: inner },
                    callee_at,
                    500,
                )
                + &config::sites(links.two, 1, links.one);
            Node::start_with(disk, &stage, "site2", &text, admin)
        });
    sites.wait_ready();
    // Both sites take new calls: the slow disk is also that of a site that serves.
    sites.balancer.admin().route(1, 1, &[(1, 1), (2, 1)]);
    let calls = 30 * seconds;
    let mut callee = Sipp::callee(&stage, "uas_patient", callee_at, calls);
    let load = Load { calls, per_second: 30, hold: HOLD };
    let mut caller = Sipp::caller(&stage, "uac_hold_logged", caller_at, sites.edge, &load);

    sites.two.disk().slow_down(Duration::from_secs(5));
    let slow =
        sites.one.wait_until("waits for a slow disk", SOON, |status| at_risk(status).1 > 2_500);
    assert!(sites.two.try_status().is_some_and(|two| two.queue.is_some_and(|queue| !queue.away)));
    sites.two.disk().slow_down(Duration::from_millis(100));
    let drained = sites.one.wait_until("has caught up", SOON, |status| at_risk(status).1 < 1_500);

    sites.two.disk().leave_room(Some(0));
    let full = sites.two.wait_until("says that its disk is full", SOON, |status| {
        let why = status.queue.as_ref().and_then(|queue| queue.why.as_deref());
        why.is_some_and(|why| why.contains("full")) && status.counters["gate_batches_refused"] > 0
    });
    let kept = sites.one.wait_until("keeps its marks", SOON, |status| at_risk(status).1 > 2_000);
    // Calls go on while nothing crosses.
    let before = caller.figures().map_or(0, |figures| figures.successful);
    let_pass(Duration::from_secs(1));
    sites.two.disk().slow_down(Duration::ZERO);
    sites.two.disk().leave_room(None);
    sites.two.wait_until("has its queue again", SOON, |status| {
        status.queue.as_ref().is_some_and(|queue| !queue.away)
    });
    sites.one.wait_until("has caught up again", SOON, |status| at_risk(status).1 < 1_500);
    let heard = caller.finish(HOLD + Duration::from_secs(u64::from(seconds) + 30));
    let reached = callee.finish(Duration::from_secs(10));
    let counts = sites.two.disk().counts();
    stage.say(&format!(
        "{calls} calls at two sites, 30 a second. Syncs of 5 s at site 2: {} calls of site 1 at \
         risk, the oldest for {} ms; of 100 ms: {} ms. Disk full: {} batches refused, {} calls at \
         risk for {} ms, {before} calls over by then. {} calls ended well, {} \
         messages repeated. {counts:?}",
        at_risk(&slow).0,
        at_risk(&slow).1,
        at_risk(&drained).1,
        full.counters["gate_batches_refused"],
        at_risk(&kept).0,
        at_risk(&kept).1,
        heard.successful,
        heard.repeated,
    ));
    assert!(counts.writes_refused > 0 && counts.syncs > 10, "the shim is not there: {counts:?}");
    assert_eq!(heard.successful, u64::from(calls), "a call was harmed by a disk");
    assert_eq!(reached.successful, u64::from(calls), "a call was harmed by a disk");
}
