//! Calls that are held: how long their states take to cross and in how many bytes; then their site
//! dies, and how long the first answer of the other one takes.

use std::time::Duration;

use crate::harness::figures::half_and_most;
use crate::harness::ground::Ground;
use crate::harness::many_sites::Layout;
use crate::harness::sipp::{Load, Sipp};
use crate::harness::{let_pass, wait_for};
use crate::tell;

const SOON: Duration = Duration::from_secs(30);
/// How long calls ring that cross while they do.
const RINGS: Duration = Duration::from_secs(1);
/// From the last call until the first one is changed.
const REST: Duration = Duration::from_secs(8);

/// What it came to.
pub(crate) struct Held {
    pub(crate) calls: u64,
    /// From the put to the other site's acknowledgement: half of them, and 99 of a hundred.
    pub(crate) lag_ms: [u64; 2],
    /// What crossed of one call.
    pub(crate) bytes_per_call: f64,
    pub(crate) states_per_call: f64,
    /// From a re-INVITE to its 200 at the other site; `None` of calls that crossed early.
    pub(crate) first_answer_ms: Option<[f64; 2]>,
    /// Calls that the other site did not go on with.
    pub(crate) lost: u64,
}

/// `calls` at 100 a second; those that cross early are not taken over.
pub(crate) fn run(calls: u32, is_early: bool) -> Held {
    let name = if is_early { "bench_early" } else { "bench_held" };
    let mut ground = Ground::start(name, Layout { is_early, ..Layout::default() });
    let load = Load { calls, per_second: 100, hold: Duration::ZERO };
    let load = Load { hold: load.placing() + REST, ..load };
    let (stage, at) = (&ground.stage, ground.callee);
    let mut callee = match is_early {
        true => Sipp::callee_after(stage, "uas_slow", at, calls, RINGS),
        false => Sipp::callee(stage, "uas_change", at, 2 * calls),
    };
    let mut caller = ground.caller("caller", "uac_hold_change", &load);
    let_pass(load.placing());
    wait_for("every answer", SOON, || (caller.tags().len() == calls as usize).then_some(()));
    wait_for("every call to cross", SOON, || {
        let is_there = ground.sites.two.dormant(1) == u64::from(calls);
        (is_there && ground.sites.one.at_risk() == 0).then_some(())
    });
    let lag = ground.sites.one.lag(2);
    let lag_ms = [500, 990].map(|share| lag.quantile_ms(share).unwrap_or(u64::MAX));
    let (bytes, states) = ground.sites.one.crossed_out();
    let all = u64::from(calls);
    let mut held = Held {
        calls: all,
        lag_ms,
        bytes_per_call: bytes as f64 / f64::from(calls),
        states_per_call: states as f64 / f64::from(calls),
        first_answer_ms: None,
        lost: 0,
    };
    if !is_early {
        let begun = caller.steps().values().any(|step| step.asked.is_some());
        assert!(!begun, "too slow: a call was changed before its site died");
        tell("  site 1 dies");
        let marked = ground.lose_site_1();
        assert!(marked.is_empty(), "all had crossed");
        held.lost = all - caller.finish(load.hold + load.placing() + SOON).successful;
        let steps = caller.steps();
        let answers = steps.values().filter_map(|step| Some(step.changed? - step.asked?));
        held.first_answer_ms = Some(half_and_most(answers));
    }
    callee.stop();
    held
}
