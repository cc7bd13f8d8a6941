//! Two sites of many processes with a wide-area network between them: each site on a host of its
//! own, balancer and SIPp on a third, 40 ms each way between the sites; etcd, NATS and PostgreSQL
//! are real at both.
//!
//! A site dies as with its power: `harness::ground`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use admin_api::CallLine;

use crate::harness::figures::{half_and_most, most};
use crate::harness::ground::Ground;
use crate::harness::many_sites::{Layout, ManySites};
use crate::harness::messages::{Asked, asked};
use crate::harness::sipp::{Figures, Load, Sipp, Steps, clock};
use crate::harness::{let_pass, sized, try_wait_for, wait_for};

const SOON: Duration = Duration::from_secs(30);
/// RFC 3261 T1: a phone repeats a request that was not answered within this.
const T1_MS: f64 = 500.0;
/// What 99 of 100 keep to on a machine that is not saturated: the first answer after a take-over,
/// and what a state takes to be kept at the other site. A lag is known as its range of time.
const FIRST_ANSWER_MS: f64 = 200.0;
const LAG_MS: u64 = 250;
/// How long what may be lost is waited for after the last of what may not.
const LOST_AFTER: Duration = Duration::from_secs(4);

fn count(steps: &BTreeMap<u32, Steps>, of: impl Fn(&Steps) -> bool) -> usize {
    steps.values().filter(|step| of(step)).count()
}

/// All answered calls and those of them that have not ended.
fn answered_and_open(caller: &Sipp) -> (usize, Vec<u32>) {
    let steps = caller.steps();
    let answered = |step: &Steps| step.answered.is_some();
    let open = steps.iter().filter(|(_, step)| answered(step) && step.ended.is_none());
    (count(&steps, answered), open.map(|(number, _)| *number).collect())
}

/// Waits until every caller is answered. All were begun `since`.
fn wait_answered(caller: &Sipp, load: &Load, since: f64) {
    pass_until(since + load.placing().as_secs_f64());
    wait_for("every answer", SOON, || {
        let steps = caller.steps();
        (count(&steps, |step| step.answered.is_some()) == load.calls as usize).then_some(())
    });
}

fn pass_until(time: f64) {
    let_pass(Duration::from_secs_f64((time - clock()).max(0.0)));
}

/// What the calls of a lost site came to.
struct Outcome {
    answered: usize,
    /// Answered and not ended.
    lost: Vec<u32>,
    /// Lost ones that the site had not marked.
    unexplained: Vec<u32>,
    marked: BTreeSet<u32>,
}

/// Waits until every answered call without a mark has ended, and for what is marked a while longer.
fn judge(caller: &Sipp, marked: &[CallLine], hold: Duration) -> Outcome {
    // Looking at the steps of many calls takes the time of those that work them.
    let invited = caller.steps().into_values().filter_map(|step| step.invited);
    pass_until(invited.fold(0.0, f64::max) + hold.as_secs_f64());
    let marks: BTreeSet<&str> = marked.iter().map(|line| line.key.as_str()).collect();
    let keys = caller.keys();
    let is_marked = |call: &u32| keys.get(call).is_some_and(|key| marks.contains(key.as_str()));
    let _unmarked = try_wait_for(SOON, || {
        let (_, open) = answered_and_open(caller);
        open.iter().all(is_marked).then_some(())
    });
    let _marked = try_wait_for(LOST_AFTER, || answered_and_open(caller).1.is_empty().then_some(()));
    let (answered, lost) = answered_and_open(caller);
    let unexplained = lost.iter().copied().filter(|call| !is_marked(call)).collect();
    let marked = keys.keys().copied().filter(|call| is_marked(call)).collect();
    Outcome { answered, lost, unexplained, marked }
}

/// D30, and of D19 what concerns other sites: what was acknowledged is there, and what is lost was
/// counted.
fn killed_over_the_wan(name: &'static str, copies: Copies, calls: u32) {
    let spill = copies.spill();
    let mut ground = Ground::start(name, Layout { spill: Some(spill), ..Layout::default() });
    // The first re-INVITE comes after the last call was placed, and after the site's death.
    let load = Load { calls, per_second: 100, hold: Duration::ZERO };
    let load = Load { hold: load.placing() + Duration::from_secs(sized(5, 8)), ..load };
    let mut callee = ground.callee("uas_change", 2 * calls);
    let mut caller = ground.caller("caller", "uac_hold_change", &load);
    wait_for("the first call", SOON, || (!caller.steps().is_empty()).then_some(()));
    // It dies while the last ones are being placed.
    let_pass(load.placing().mul_f64(0.97));
    let lag = ground.sites.one.lag(2);
    let at_risk = ground.sites.one.at_risk();
    let marked = ground.lose_site_1();
    let died = clock();
    ground.wait_applied();
    let dormant = ground.sites.two.dormant(1);
    let in_database = wait_for("the copies to be where they are to be", SOON, || {
        let there = ground.sites.two.in_database();
        copies.are_where_wanted(there, dormant).then_some(there)
    });
    let asked = count(&caller.steps(), |step| step.asked.is_some());
    assert_eq!(asked, 0, "a call was changed before the site was gone");

    let outcome = judge(&caller, &marked, load.hold);
    let steps = caller.steps();
    let first = FirstAnswers::of(&steps, &outcome.marked, died);
    let ended = count(&steps, |step| step.ended.is_some());
    let reached = reached(&callee, ended);
    let repeated = caller.stop().repeated;
    callee.stop();
    let lags = [500, 990].map(|share| lag.quantile_ms(share).expect("it is short"));
    ground.stage.say(&format!(
        "{calls} calls at 100/s, 40 ms between the sites; the whole of site 1 gone with {} of {} \
         answered calls marked ({at_risk} at risk or in set-up, sampled just before); {dormant} \
         dormant at site 2, {in_database} of them in PostgreSQL; re-INVITE and BYE on each at \
         200/s: {} lost, {} of them not marked; {reached} went through at the callee; crossing lag \
         within {} ms (p50), {} ms (p99); first answer after take-over within {:.0} ms (p50), \
         {:.0} ms (p99), {:.0} ms (all without a mark); {repeated} messages repeated by SIPp",
        outcome.marked.len(),
        outcome.answered,
        outcome.lost.len(),
        outcome.unexplained.len(),
        lags[0],
        lags[1],
        first.half_ms,
        first.most_ms,
        first.all_ms,
    ));
    assert!(outcome.unexplained.is_empty(), "lost without a mark: {:?}", outcome.unexplained);
    assert!(outcome.answered * 10 > calls as usize * 9, "too few calls were answered");
    first.judge();
    let lag_ms = sized(u64::MAX, LAG_MS);
    assert!(lags[1] <= lag_ms, "the lag of 99 of 100 is within {} ms", lags[1]);
    assert!(reached >= ended as u64, "a re-INVITE or a BYE did not reach the callee");
}

/// How long phones waited for the first answer of the other site: to the re-INVITE of a call that
/// was answered before the death.
struct FirstAnswers {
    half_ms: f64,
    most_ms: f64,
    /// The longest of those without a mark: a marked one may be known by an older state only.
    all_ms: f64,
}

impl FirstAnswers {
    fn of(steps: &BTreeMap<u32, Steps>, marked: &BTreeSet<u32>, died: f64) -> Self {
        let old = steps.iter().filter(|(_, step)| step.answered.is_some_and(|at| at < died));
        let waited = |step: &Steps| Some(step.changed? - step.asked?);
        let old: Vec<(u32, f64)> =
            old.filter_map(|(call, step)| Some((*call, waited(step)?))).collect();
        let [half_ms, most_ms] = half_and_most(old.iter().map(|(_, waited)| *waited));
        let unmarked = old.into_iter().filter(|(call, _)| !marked.contains(call));
        Self { half_ms, most_ms, all_ms: most(unmarked.map(|(_, waited)| waited)) }
    }

    /// The bounds hold on a machine that is not saturated, which one that runs the short size may
    /// be. What SIPp repeats because of the death are INVITEs of set-ups: no re-INVITE is sent
    /// before it (`asked` is 0 then), the first ones seconds later, by calls that have their ACK.
    /// So no wait in here is one for a site that was dying, and a wait beyond T1 is the fault of
    /// the take-over: "never above T1" is judged at the full size.
    fn judge(&self) {
        let Self { most_ms, all_ms, .. } = *self;
        assert!(most_ms < sized(T1_MS, FIRST_ANSWER_MS), "99 of 100 phones waited {most_ms} ms");
        assert!(all_ms <= sized(f64::INFINITY, T1_MS), "a phone had to repeat: {all_ms} ms");
    }
}

/// Where a site keeps the calls of another.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Copies {
    Ram,
    Database,
    /// The older ones in the database: three quarters of them when the first re-INVITE comes.
    Both,
}

impl Copies {
    fn spill(self) -> &'static str {
        match self {
            Self::Ram => "after_s = \"never\"\ndormant_after_s = \"never\"",
            Self::Database => "after_s = \"never\"\ndormant_after_s = 1",
            Self::Both => sized(
                "after_s = \"never\"\ndormant_after_s = 6",
                "after_s = \"never\"\ndormant_after_s = 30",
            ),
        }
    }

    fn are_where_wanted(self, in_database: u64, dormant: u64) -> bool {
        match self {
            Self::Ram => in_database == 0,
            Self::Database => in_database == dormant,
            Self::Both => (dormant / 4..dormant).contains(&in_database),
        }
    }
}

/// Calls that went through at the callee; SIPp counts them some time after their end.
fn reached(callee: &Sipp, wanted: usize) -> u64 {
    let reached = || callee.figures().unwrap_or_default().successful;
    let _all = try_wait_for(LOST_AFTER, || (reached() >= wanted as u64).then_some(()));
    reached()
}

#[test]
fn d30_a_site_is_killed_over_the_wan() {
    killed_over_the_wan("wan_site_killed", Copies::Ram, sized(400, 10_000));
}

#[test]
fn d30_a_site_is_killed_over_the_wan_with_the_copies_in_a_database() {
    killed_over_the_wan("wan_site_killed_spilled", Copies::Database, sized(300, 10_000));
}

#[test]
fn d30_a_site_is_killed_over_the_wan_with_older_copies_in_a_database() {
    killed_over_the_wan("wan_site_killed_mixed", Copies::Both, sized(400, 10_000));
}

/// D27, as long as a test can wait: marks are bounded by the calls, and what waited crosses ten
/// times faster than it came. Both sites take calls all the while.
#[test]
fn d27_the_way_between_the_sites_is_cut() {
    let mut ground = Ground::start("wan_cut", Layout::default());
    let cut = Duration::from_secs(sized(10, 60));
    let per_second = sized(20, 50);
    ground.sites.balancer.admin().route(1, 1, &[(1, 1), (2, 1)]);
    let seconds = u32::try_from(cut.as_secs()).expect("a minute");
    let held = Load {
        calls: sized(120, 3_000),
        per_second: sized(40, 50),
        hold: cut + Duration::from_secs(sized(7, 15)),
    };
    // From before the cut until after it.
    let passing =
        Load { calls: per_second * (seconds + 3), per_second, hold: Duration::from_millis(1_500) };
    let mut callee = ground.callee("uas_patient", held.calls + passing.calls + 1);
    let mut holding = ground.caller("holding", "uac_hold_logged", &held);
    let mut talking = ground.caller("talking", "uac_hold_logged", &passing);
    let began = clock();
    let_pass(Duration::from_secs(2));
    ground.wan.say("cut one two");
    let_pass(cut);
    wait_answered(&holding, &held, began);
    let marks = [&mut ground.sites.one, &mut ground.sites.two].map(|site| {
        let (marks, calls) = (site.at_risk(), site.active());
        assert!(0 < marks && marks <= calls, "{marks} marks of {calls} calls");
        marks
    });
    ground.wan.say("heal one two");
    let (heard_after, drained_after) = drained(&mut ground.sites);
    let local = talking.finish(passing.hold + passing.placing() + SOON);
    wait_for("nothing at risk at site 1", SOON, || (ground.sites.one.at_risk() == 0).then_some(()));
    ground.wait_applied();
    let asked = count(&holding.steps(), |step| step.asked.is_some());
    let dormant = ground.sites.two.dormant(1);
    let marked = ground.lose_site_1();
    let heard = holding.finish(held.hold + held.placing() + SOON);
    let lost = u64::from(held.calls) - heard.successful;
    let reached = reached(&callee, (held.calls + passing.calls) as usize);
    callee.stop();
    let drain = (drained_after - heard_after).max(0.001);
    ground.stage.say(&format!(
        "the way between two sites cut for {} s while {} calls of {} s were placed at both: {} \
         failed; {} and {} calls marked at its end; after it the sites heard each other within \
         {heard_after:.1} s and all had crossed {drain:.1} s later, {:.0} times real time; site 1 \
         killed with {} marks: of {} held calls, {dormant} of them dormant at site 2, {lost} lost; \
         {reached} BYEs reached the callee, {} messages repeated by SIPp",
        cut.as_secs(),
        passing.calls,
        passing.hold.as_secs_f32(),
        local.failed,
        marks[0],
        marks[1],
        cut.as_secs_f64() / drain,
        marked.len(),
        held.calls,
        heard.repeated + local.repeated,
    ));
    assert_eq!(asked, 0, "a call was hung up before the site was gone");
    let Figures { successful, failed, .. } = local;
    assert_eq!([successful, failed], [u64::from(passing.calls), 0], "a local call was harmed");
    assert!(drain * 10.0 <= cut.as_secs_f64(), "drained in {drain:.1} s");
    assert_eq!(lost, 0, "a held call was lost");
}

/// Seconds until the sites heard each other, and until everything that was marked at the call of
/// this had crossed; new calls are marked meanwhile.
fn drained(sites: &mut ManySites) -> (f64, f64) {
    let healed = clock();
    sites.one.wait_linked_to(2);
    sites.two.wait_linked_to(1);
    let heard = clock() - healed;
    for site in [&mut sites.one, &mut sites.two] {
        wait_for("what was marked to cross", 2 * SOON, || {
            let since_ms = ((clock() - healed) * 1_000.0) as u64;
            let led = site.led();
            let mut risks = led.iter().flat_map(|status| status.at_risk.values());
            risks.all(|risk| risk.oldest_ms < since_ms).then_some(())
        });
    }
    (heard, clock() - healed)
}

/// D36, and the second failure in the middle of it: calls come home to a site that returned, their
/// messages go on meanwhile, and the site is killed again with half of them there. D37: its
/// database has rows of most of them from before its first death, and the other site has woken
/// them since; no row is taken for a call.
#[test]
fn d36_a_site_is_killed_again_while_its_calls_come_home() {
    let states = sized(
        "[crossing]\nhand_back_per_s = 6\nrefill_per_s = 6\n\n",
        "[crossing]\nhand_back_per_s = 100\nrefill_per_s = 100\n\n",
    );
    let spill = Some("after_s = 1\ndormant_after_s = \"never\"");
    let mut ground = Ground::start("wan_return", Layout { states, spill, ..Layout::default() });
    ground.stage.keep_messages();
    let load = Load {
        calls: sized(240, 2_000),
        per_second: sized(40, 50),
        hold: Duration::from_secs(sized(20, 50)),
    };
    let mut callee = ground.callee("uas_patient", 4 * load.calls);
    let mut caller = ground.caller("holding", "uac_hold_logged", &load);
    wait_answered(&caller, &load, clock());
    ground.sites.wait_crossed(u64::from(load.calls));
    let rows = wait_for("rows of most calls", SOON, || {
        let rows = ground.sites.one.rows();
        (rows * 2 > u64::from(load.calls)).then_some(rows)
    });
    let marked = ground.lose_site_1();
    assert!(marked.is_empty(), "everything had crossed: {marked:?}");
    wake_all(&mut ground);
    let new =
        Load { calls: sized(100, 1_000), per_second: sized(20, 50), hold: Duration::from_secs(2) };
    let mut talking = ground.caller("talking", "uac_hold_logged", &new);
    ground.site_1_returns();
    let wanted = u64::from(load.calls) / 2;
    let (home, ended) = wait_for("the middle of coming home", SOON, || {
        let home = ground.sites.one.active();
        let ended = count(&caller.steps(), |step| step.ended.is_some());
        let is_half_way = home >= wanted || ended * 2 > load.calls as usize;
        (is_half_way && home > 0 && ended > 0).then_some((home, ended))
    });
    // In this order: nothing goes from site 1 to site 2 now.
    let (at_one, at_two) = (ground.sites.one.living(), ground.sites.two.living());
    let both: Vec<&String> = at_one.intersection(&at_two).collect();
    assert!(both.is_empty(), "calls with two homes: {both:?}");
    let marked = ground.lose_site_1();
    let heard = caller.finish(load.hold + load.placing() + SOON);
    let others = talking.finish(new.placing() + SOON);
    let all = load.calls + new.calls;
    let reached = reached(&callee, all as usize);
    callee.stop();
    let at_callee = asked(&callee.messages());
    ground.stage.say(&format!(
        "{} calls, {rows} of them with a row in PostgreSQL; site 1 killed, back over a way of 40 \
         ms, and killed again with {home} of them at home, {ended} hung up meanwhile and {} \
         marked: {} of {} BYEs answered, {} failed; {} of {} calls placed meanwhile went \
         through; {reached} at the callee; {} messages repeated by SIPp",
        load.calls,
        marked.len(),
        heard.successful,
        load.calls,
        heard.failed,
        others.successful,
        new.calls,
        heard.repeated + others.repeated,
    ));
    assert!(home + (ended as u64) < u64::from(load.calls), "none was still at site 2");
    assert_eq!([heard.successful, heard.failed], [u64::from(load.calls), 0]);
    assert_eq!([others.successful, others.failed], [u64::from(new.calls), 0]);
    assert_eq!(reached, u64::from(all), "a BYE did not reach the callee");
    let Asked { not_one_bye, stale, .. } = at_callee;
    assert!(not_one_bye.is_empty() && stale.is_empty(), "{not_one_bye:#?} {stale:#?}");
}

/// Site 2 is told to wake the calls of site 1, so that all of them have moved.
fn wake_all(ground: &mut Ground) {
    let order = admin_api::BackupOrder { site: 1 };
    wait_for("an order to be taken", SOON, || {
        let up = ground.sites.two.states.iter();
        let mut asked = up.map(|(node, _)| {
            node.admin().post::<admin_api::OrderReply>("/v1/backup/activate", &order)
        });
        asked.any(|told| told.is_ok()).then_some(())
    });
    wait_for("calls to wake", SOON, || (ground.sites.two.dormant(1) == 0).then_some(()));
}
