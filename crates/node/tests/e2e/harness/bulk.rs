//! Very many calls of a dead site that are woken at once: a few real ones, cloned by the project's
//! own loader, cross to the other site, their home dies, and an operator orders it.
//!
//! SIPp sets the real ones up and leaves; [`Answering`] takes its places, as the clones are
//! dialogs of theirs that SIPp does not know. New calls go to the other site all the while, SIPp on
//! both ends.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use admin_api::{ActivateOrder, OrderReply};

use super::answering::Answering;
use super::figures::half_and_most;
use super::ground::{Ground, phone};
use super::many_sites::{Layout, ManySite};
use super::netns;
use super::process::PROGRAM;
use super::sipp::{Figures, Load, Sipp, clock};
use super::{config, let_pass, try_wait_for, wait_for};

const SOON: Duration = Duration::from_secs(30);
/// Patience with what takes the longer the more calls there are.
const LONG: Duration = Duration::from_secs(300);
/// Real calls that are cloned.
const ORIGINALS: u32 = 16;
/// What lingers of a set-up is gone 64 T1 after it.
const T1_MS: u64 = 100;
/// Deadlines of the calls that come due in their sleep, in seconds after they are loaded.
const DUE: (u64, u64) = (8, 10);
/// Deadlines that passed are spread over so much by the site that wakes their calls.
const SPREAD: Duration = Duration::from_secs(10);

/// What is woken, and under which load.
pub(crate) struct Wake {
    /// Clones whose deadlines are far.
    pub(crate) far: u64,
    /// Clones whose deadlines pass while they sleep.
    pub(crate) due: u64,
    /// New calls.
    pub(crate) new: Load,
}

/// What it came to.
pub(crate) struct Woken {
    /// Calls that slept.
    pub(crate) dormant: u64,
    /// Calls that woke.
    pub(crate) activated: u64,
    /// Seconds from their load at site 1 until all slept at site 2.
    pub(crate) crossed_in: f64,
    /// Seconds from the order until none slept.
    pub(crate) took: f64,
    /// Set-ups of the calls placed meanwhile: how many, and their times.
    pub(crate) meanwhile: usize,
    pub(crate) set_ups_ms: [f64; 2],
    pub(crate) new: Figures,
    /// When the sessions were refreshed whose time had passed, in seconds after the order, by the
    /// dialog at their peer.
    pub(crate) refreshed: BTreeMap<String, Vec<f64>>,
    /// Dialogs whose refresh came before the order.
    pub(crate) too_early: usize,
}

impl Woken {
    /// The largest share of all refreshes that came within one second, in percent.
    pub(crate) fn busiest_second(&self) -> usize {
        let mut by_second: BTreeMap<u64, usize> = BTreeMap::new();
        for at in self.refreshed.values().flatten() {
            *by_second.entry(at.max(0.0) as u64).or_default() += 1;
        }
        let all: usize = by_second.values().sum();
        by_second.values().max().map_or(0, |most| most * 100 / all.max(1))
    }
}

/// Two sites for it.
pub(crate) fn ground(name: &'static str) -> Ground {
    Ground::start_with(name, |stage| Layout {
        t1_ms: Some(T1_MS),
        callee_of_two: Some(phone(stage)),
        ..Layout::default()
    })
}

/// Runs it.
pub(crate) fn run(ground: &mut Ground, wake: &Wake) -> Woken {
    let peers = set_up_originals(ground);
    refuse_while_home_lives(ground);
    let began = clock();
    load(&ground.sites.one, "far", wake.far, None);
    wait_dormant(ground, u64::from(ORIGINALS) + wake.far);
    let crossed_in = clock() - began;
    load(&ground.sites.one, "due", wake.due, Some(DUE));
    let loaded = clock();
    let dormant = u64::from(ORIGINALS) + wake.far + wake.due;
    wait_dormant(ground, dormant);
    assert!(ground.lose_site_1().is_empty(), "all had crossed");
    assert!(clock() - loaded < DUE.0 as f64, "too slow: a deadline came before the site's death");
    ground.wait_applied();

    let callee_at = ground.sites.callee_of_two;
    let mut callee = Sipp::callee(&ground.stage, "uas_patient", callee_at, wake.new.calls);
    // Every deadline that is to pass in the sleep has.
    let_pass(Duration::from_secs_f64((loaded + DUE.1 as f64 + 0.2 - clock()).max(0.0)));
    let mut caller = ground.caller("new", "uac_hold_logged", &wake.new);
    wait_for("new calls", SOON, || (caller.steps().len() > 20).then_some(()));
    let ordered = clock();
    let took = order_and_wait(ground, dormant);
    let activated = ground.sites.two.activated();
    wait_for("every deadline that passed", 2 * SPREAD, || {
        let seen: usize = peers.iter().map(|peer| peer.asked().len()).sum();
        (seen as u64 >= 2 * wake.due).then_some(())
    });
    let new = caller.finish(wake.new.placing() + wake.new.hold + SOON);
    callee.stop();
    let steps = caller.steps();
    let meanwhile = steps
        .values()
        .filter(|step| step.invited.is_some_and(|at| (ordered..ordered + took).contains(&at)));
    let set_ups: Vec<f64> =
        meanwhile.filter_map(|step| Some(step.answered? - step.invited?)).collect();
    // Whatever fires twice does so within the spread.
    let _twice = try_wait_for(
        Duration::from_secs_f64((ordered + took + SPREAD.as_secs_f64() + 1.0 - clock()).max(0.0)),
        || {
            let seen: usize = peers.iter().map(|peer| peer.asked().len()).sum();
            (seen as u64 > 2 * wake.due).then_some(())
        },
    );
    let mut refreshed: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for ((dialog, _, method), at) in peers.iter().flat_map(Answering::asked) {
        assert!(["UPDATE", "INVITE"].contains(&method.as_str()), "a call was ended: {method}");
        refreshed.entry(dialog).or_default().push(at - ordered);
    }
    let too_early = refreshed.values().flatten().filter(|at| **at < 0.0).count();
    let (meanwhile, set_ups_ms) = (set_ups.len(), half_and_most(set_ups));
    Woken { dormant, activated, crossed_in, took, meanwhile, set_ups_ms, new, refreshed, too_early }
}

/// Real calls at site 1 whose peers have left; who has taken their places.
fn set_up_originals(ground: &mut Ground) -> [Answering; 2] {
    let load = Load { calls: ORIGINALS, per_second: 20, hold: Duration::from_secs(3_600) };
    let mut callee = ground.callee("uas_patient", ORIGINALS);
    let at = phone(&ground.stage);
    let way = [at, ground.sites.edge];
    let mut caller = Sipp::caller_named(&ground.stage, "first", "uac_hold_logged", way, &load);
    wait_for("the calls to clone", SOON, || {
        (caller.tags().len() == ORIGINALS as usize).then_some(())
    });
    wait_dormant(ground, ORIGINALS.into());
    caller.stop();
    callee.stop();
    [at, ground.callee].map(|at| Answering::start(&ground.stage, at))
}

/// What a living site owns is not taken over without force (D57, at the size of D32).
fn refuse_while_home_lives(ground: &mut Ground) {
    let keeper = ground.sites.two.primary(0);
    let admin = ground.sites.two.states[keeper].0.admin();
    let order = ActivateOrder { site: 1, force: false };
    let told = admin.post::<OrderReply>("/v1/backup/activate", &order);
    assert!(told.is_err_and(|told| told.contains("409")), "site 1 lives");
}

/// Clones at a site, by the project's own loader.
fn load(site: &ManySite, name: &str, calls: u64, due: Option<(u64, u64)>) {
    let admin = site.states[0].0.admin().address;
    let states: Vec<String> = site.tiers.iter().map(SocketAddr::to_string).collect();
    let mut command = Command::new(netns::program());
    command
        .args(["load", "--calls", &calls.to_string(), "--state", &states.join(",")])
        .args(["--originals", &admin.to_string(), "--secret", config::SECRET])
        .args(["--replicas", "2", "--name", name])
        .stdin(Stdio::null());
    if let Some((from, within)) = due {
        command.args(["--due-from-s", &from.to_string(), "--due-within-s", &within.to_string()]);
    }
    let loaded = netns::on(site.host(), || command.output()).expect("xtask was built");
    let said = String::from_utf8_lossy(&loaded.stderr).into_owned();
    assert!(loaded.status.success(), "xtask load: {said}");
}

/// Waits until every call of site 1 sleeps at site 2 too.
fn wait_dormant(ground: &mut Ground, calls: u64) {
    wait_for("every call to cross", LONG, || {
        let dormant = ground.sites.two.dormant(1);
        (dormant == calls && ground.sites.one.at_risk() == 0).then_some(())
    });
}

/// `rehome backup activate --site 1 --wait`, and the same order again while it runs and after it.
/// Seconds until all were awake.
fn order_and_wait(ground: &mut Ground, dormant: u64) -> f64 {
    let keeper = ground.sites.two.primary(0);
    let admin = ground.sites.two.states[keeper].0.admin();
    let mut command = Command::new(PROGRAM);
    command.args(["backup", "activate", "--site", "1", "--wait", "--admin"]);
    command.arg(format!("http://{}", admin.address));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let began = clock();
    let mut child = netns::on(admin.host.as_ref(), || command.spawn()).expect("it was built");
    let order = ActivateOrder { site: 1, force: false };
    let again = || admin.post::<OrderReply>("/v1/backup/activate", &order);
    wait_for("some calls to wake", SOON, || {
        let has_ended = child.try_wait().expect("it is our child").is_some();
        (has_ended || ground.sites.two.dormant(1) < dormant).then_some(())
    });
    again().expect("an order may be given twice");
    wait_for("all calls to wake", LONG, || (ground.sites.two.dormant(1) == 0).then_some(()));
    let took = clock() - began;
    let ended = child.wait_with_output().expect("it is our child");
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    again().expect("an order may be given when it is done");
    took
}
