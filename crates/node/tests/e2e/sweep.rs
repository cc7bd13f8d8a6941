//! Copies that a site lost without a word are made again by a sweep; then their home dies.

use std::time::Duration;

use admin_api::{BackupReply, OrderReply, SitesReply};

use crate::cli::ask;
use crate::harness::sipp::{Load, Sipp};
use crate::harness::stage::Stage;
use crate::harness::two_sites::TwoSites;
use crate::harness::{let_pass, sized, wait_for};

const SOON: Duration = Duration::from_secs(30);

/// Site 2 deletes all that it keeps and tells nobody: nothing but a sweep can find that.
#[test]
fn a_sweep_restores_the_copies_that_a_site_lost_without_a_word() {
    let stage = Stage::new("sweep");
    let (calls, per_second) = sized((100_u32, 25), (2_000, 100));
    let all = u64::from(calls);
    let [callee_at, caller_at] = [(); 2].map(|()| stage.address());
    let mut sites = TwoSites::start(&stage, callee_at);
    let mut callee = Sipp::callee(&stage, "uas_patient", callee_at, calls);
    // A call is compared that has not been put for 10 s.
    let hold = Duration::from_secs(u64::from(calls / per_second) + 45);
    let load = Load { calls, per_second, hold };
    let mut caller = Sipp::caller(&stage, "uac_hold_logged", caller_at, sites.edge, &load);
    sites.wait_crossed(all);
    let (one, two) = (sites.one.admin(), sites.two.admin());
    let order: OrderReply = ask(&two, &["backup", "delete", "--site", "1", "--force"]);
    assert_eq!(order.calls, all, "{order:?}");
    let kept = || {
        let reply: BackupReply = ask(&two, &["backup", "stats"]);
        reply.kept.get(&1).map_or(0, |kept| kept.calls)
    };
    wait_for("the loss of every copy", SOON, || (kept() == 0).then_some(()));
    // The home does not know, and nothing makes it send them again.
    let_pass(Duration::from_secs(2));
    let status = sites.one.try_status().expect("it lives");
    assert!(status.at_risk.values().all(|risk| risk.calls == 0), "site 1 knows of the loss");
    assert_eq!(kept(), 0, "something else than a sweep restores copies");
    let mut sweeps = 0;
    wait_for("copies of all calls", SOON, || {
        sweeps += 1;
        let _reply: SitesReply = ask(&one, &["replication", "sweep", "--site", "2", "--wait"]);
        (kept() == all).then_some(())
    });
    let reply: SitesReply = ask(&one, &["replication", "sweep", "--wait"]);
    let swept = reply.sweeps[&2];
    sites.wait_crossed(all);
    sites.one.kill();
    sites.balancer.admin().route(1, 2, &[(1, 0), (2, 1)]);
    let asked = caller.figures().expect("SIPp runs");
    assert_eq!(asked.successful + asked.failed, 0, "a call ended before the site was killed");
    let heard = caller.finish(hold + Duration::from_secs(45));
    let reached = callee.finish(Duration::from_secs(10));
    stage.say(&format!(
        "{calls} calls; all copies at site 2 deleted; {sweeps} sweeps until it had them again, {} \
         found, {} repaired; site 1 killed: {} BYEs answered, {} reached the callee",
        swept.found, swept.repaired, heard.successful, reached.successful,
    ));
    assert_eq!([swept.found, swept.repaired], [all; 2], "each call crosses once");
    assert_eq!([heard.successful, reached.successful], [all; 2], "a call was lost with its site");
    assert_eq!([heard.failed, reached.failed], [0; 2]);
}
