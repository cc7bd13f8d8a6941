//! A site of many processes comes back over a wide-area network while phones talk: its calls come
//! home, all of them, and nobody is told anything twice.

use std::collections::BTreeSet;
use std::fmt::{Display, Formatter};
use std::time::Duration;

use crate::harness::ground::Ground;
use crate::harness::many_sites::Layout;
use crate::harness::messages::{Asked, answered_twice, asked};
use crate::harness::sipp::{Figures, Load, Sipp, Steps, clock};
use crate::harness::{let_pass, sized, wait_for};

const SOON: Duration = Duration::from_secs(30);
/// Seconds from the start of the returning site until phones begin to change their calls again.
const BEFORE_CHANGE: f64 = 5.0;

fn count(caller: &Sipp, of: impl Fn(&Steps) -> bool) -> usize {
    caller.steps().values().filter(|step| of(step)).count()
}

/// Return under load, and D37: the site's own database still has the calls as they were before its
/// death, and the other site has changed them since.
///
/// One half is changed by a phone while the site is away, so that these live at the other one, and
/// again while they come home; the other half sleeps until then. New calls are placed meanwhile, at
/// both sites as soon as both serve. What the callee is asked tells whose state it was made of: a
/// stale one would use a number of its dialog again.
#[test]
fn d37_all_calls_come_home_once_while_phones_talk() {
    let states = sized(
        "[crossing]\nhand_back_per_s = 8\nrefill_per_s = 20\n\n",
        "[crossing]\nhand_back_per_s = 50\nrefill_per_s = 50\n\n",
    );
    let spill = Some("after_s = 1\ndormant_after_s = \"never\"");
    let mut ground = Ground::start("wan_home", Layout { states, spill, ..Layout::default() });
    ground.stage.keep_messages();
    let half: u32 = sized(100, 1_000);
    let hold = Duration::from_secs(sized(24, 35));
    let load = Load { calls: half, per_second: sized(20, 50), hold };
    let long = Load { hold: 3 * hold + Duration::from_secs(2), ..load };
    let new =
        Load { calls: sized(100, 1_000), per_second: sized(10, 50), hold: Duration::from_secs(2) };
    let callee = ground.callee("uas_changes", 2 * half + new.calls);
    let changing = ground.caller("changing", "uac_hold_changes", &load);
    let quiet = ground.caller("quiet", "uac_hold_logged", &long);
    let all = u64::from(2 * half);
    ground.sites.wait_crossed(all);
    let in_database = wait_for("most calls to leave RAM", SOON, || {
        let there = ground.sites.one.in_database();
        (there * 2 > all).then_some(there)
    });
    let rows = ground.sites.one.rows();
    let marked = ground.lose_site_1();
    assert!(marked.is_empty(), "everything had crossed: {marked:?}");
    assert_eq!(count(&changing, |step| step.asked.is_some()), 0, "changed before the death");
    wait_for("a change of each", hold + SOON, || {
        (count(&changing, |step| step.changed.is_some()) == half as usize).then_some(())
    });
    let moved = ground.sites.two.activated();
    // It takes longer to come home than this.
    let invited = changing.steps().into_values().filter_map(|step| step.invited);
    let second = invited.fold(f64::INFINITY, f64::min) + 2.0 * hold.as_secs_f64();
    let_pass(Duration::from_secs_f64((second - BEFORE_CHANGE - clock()).max(0.0)));

    let talking = ground.caller("talking", "uac_hold_logged", &new);
    ground.site_1_returns();
    ground.sites.wait_engines_of(&[1]);
    ground.sites.balancer.admin().route(1, 1, &[(1, 1), (2, 1)]);
    let keys: BTreeSet<String> =
        [&changing, &quiet].into_iter().flat_map(|caller| caller.keys().into_values()).collect();
    wait_for("all calls at home", hold + SOON, || all_at_home(&mut ground, &keys).then_some(()));
    let meanwhile = count(&changing, |step| step.again.is_some());
    for caller in [&changing, &quiet] {
        assert_eq!(count(caller, |step| step.ended.is_some()), 0, "hung up before it was at home");
    }
    let patience = 3 * hold + load.placing() + SOON;
    let callers = [changing, quiet, talking];
    let told = Told::of(callers, callee, patience);
    ground.stage.say(&format!(
        "{all} calls, {in_database} of them in PostgreSQL ({rows} rows); site 1 killed, {moved} \
         woken at site 2; site 1 back over a way of 40 ms with {} calls placed meanwhile: all at \
         home, {meanwhile} changed on their way; {told}",
        new.calls,
    ));
    assert!(rows > 0, "the database of site 1 had nothing to be stale");
    assert!(meanwhile > 0, "nobody changed a call while they came home");
    told.judge([half, half, new.calls].map(u64::from), u64::from(half));
}

/// What the phones counted: three callers, and the callee of all.
struct Told {
    heard: [Figures; 3],
    reached: Figures,
    at_callee: Asked,
    /// Requests of any of them.
    answered_twice: Vec<String>,
}

impl Told {
    fn of(mut callers: [Sipp; 3], mut callee: Sipp, patience: Duration) -> Self {
        let heard = callers.each_mut().map(|caller| caller.finish(patience));
        let reached = callee.finish(SOON);
        let at_callee = asked(&callee.messages());
        let phones = callers.iter().chain([&callee]);
        let answered_twice = phones.flat_map(|phone| answered_twice(&phone.messages())).collect();
        Self { heard, reached, at_callee, answered_twice }
    }

    fn sum(&self, of: fn(&Figures) -> u64) -> u64 {
        self.heard.iter().chain([&self.reached]).map(of).sum()
    }

    /// `calls`: of each caller. `changed`: those with two re-INVITEs.
    fn judge(&self, calls: [u64; 3], changed: u64) {
        let all: u64 = calls.iter().sum();
        assert_eq!(self.heard.map(|figures| figures.successful), calls, "a call was lost");
        assert_eq!(self.reached.successful, all, "a call was lost");
        let [failed, strange] = [self.sum(|one| one.failed), self.sum(|one| one.strange)];
        assert_eq!([failed, strange], [0, 0]);
        assert!(self.answered_twice.is_empty(), "answered twice: {:#?}", self.answered_twice);
        let Asked { calls, invites, not_one_bye, stale, .. } = &self.at_callee;
        assert!(stale.is_empty(), "out of a stale state: {stale:#?}");
        assert!(not_one_bye.is_empty(), "not one BYE: {not_one_bye:#?}");
        assert_eq!([*calls as u64, *invites as u64], [all, all + 2 * changed]);
    }
}

impl Display for Told {
    fn fmt(&self, out: &mut Formatter<'_>) -> std::fmt::Result {
        write!(
            out,
            "{:?} calls of the callers done and {} at the callee, {} failed; {} messages that \
             nobody expected, {} requests answered twice; the callee was asked to end {} calls \
             once each, {} of its requests were repeated; {} messages repeated by SIPp",
            self.heard.map(|figures| figures.successful),
            self.reached.successful,
            self.sum(|one| one.failed),
            self.sum(|one| one.strange),
            self.answered_twice.len(),
            self.at_callee.calls - self.at_callee.not_one_bye.len(),
            self.at_callee.repeated,
            self.sum(|one| one.repeated),
        )
    }
}

/// Whether site 1 has all these calls, and site 2 none of them.
fn all_at_home(ground: &mut Ground, keys: &BTreeSet<String>) -> bool {
    // What the statuses say costs less than a list.
    let sites = &mut ground.sites;
    let is_moved = |status: &admin_api::StatusReply| {
        status.calls_moved_here.get(&1).is_some_and(|calls| *calls > 0)
    };
    if sites.one.active() < keys.len() as u64 || sites.two.led().iter().any(is_moved) {
        return false;
    }
    let (at_one, at_two) = (sites.one.living(), sites.two.living());
    keys.is_subset(&at_one) && keys.is_disjoint(&at_two)
}
