//! A site of many processes dies while calls ring that crossed while they did: the other one, 40 ms
//! away, hears the answer or the CANCEL, and ends the call with both phones.

use std::time::Duration;

use crate::harness::ground::Ground;
use crate::harness::many_sites::Layout;
use crate::harness::sipp::Load;
use crate::harness::sized;

/// How long `uas_late_or_cancelled` rings.
const RINGS: Duration = Duration::from_secs(16);
const SOON: Duration = Duration::from_secs(30);

/// Half of them are answered, and hung up by the caller; of the others the caller thinks better.
#[test]
fn early_calls_complete_over_the_wan() {
    let layout = Layout { is_early: true, ..Layout::default() };
    let mut ground = Ground::start("wan_early", layout);
    let half: u32 = sized(30, 200);
    let answered = Load { calls: half, per_second: sized(30, 50), hold: Duration::from_secs(1) };
    let given_up = Load { hold: answered.placing() + Duration::from_secs(9), ..answered };
    let mut callee = ground.callee("uas_late_or_cancelled", 2 * half);
    let mut talking = ground.caller("talking", "uac_hold", &answered);
    let mut cancelling = ground.caller("cancelling", "uac_cancel", &given_up);

    ground.sites.wait_crossed(u64::from(2 * half));
    let marked = ground.lose_site_1();
    assert!(callee.steps().is_empty(), "a call was over before the site was gone");
    let talked = talking.finish(answered.placing() + RINGS + SOON);
    let cancelled = cancelling.finish(given_up.placing() + given_up.hold + SOON);
    let reached = callee.finish(SOON);
    let steps = callee.steps();
    let hung_up = steps.values().filter(|step| step.ended.is_some()).count() as u64;
    let stopped = steps.values().filter(|step| step.cancelled.is_some()).count() as u64;
    let activated = ground.sites.two.activated();
    ground.stage.say(&format!(
        "{} calls rang over two sites of many processes, 40 ms between them; the whole of site 1 \
         gone with {} of them marked: of {half} that were answered then, {} were heard and hung up \
         by the caller and {hung_up} at the callee; of {half} that were cancelled, {} callers \
         heard 200 and 487, and {stopped} callees the CANCEL; {} callees were done in all; \
         {activated} woken at site 2; {} messages repeated by SIPp",
        2 * half,
        marked.len(),
        talked.successful,
        cancelled.successful,
        reached.successful,
        talked.repeated + cancelled.repeated + reached.repeated,
    ));
    let least = |of: u32| u64::from(of) * 95 / 100;
    let both = [talked.successful.min(hung_up), cancelled.successful.min(stopped)];
    assert!(both.iter().all(|done| *done >= least(half)), "too few completed: {both:?}");
    assert!(both.iter().sum::<u64>() >= least(2 * half), "too few completed: {both:?}");
    assert!(reached.successful >= least(2 * half), "too few callees were done");
    assert!(activated >= least(2 * half), "they did not go through the other site");
}
