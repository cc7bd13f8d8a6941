//! Whether the WAN costs a call anything: CPU of a call with three delays between the sites.
//!
//! First the highest rate at which all calls succeed whatever the delay; then, at half of it,
//! rounds of the delays there and back (0, 40, 200, 200, 40, 0): a machine that becomes faster or
//! slower meanwhile does so for all alike. Every slice of a round takes the same time, the states
//! of its calls have crossed at its end, and nobody is asked anything meanwhile: what the
//! processes do for themselves costs each the same.

use std::time::{Duration, Instant};

use crate::harness::figures::quantile;
use crate::harness::ground::Ground;
use crate::harness::many_sites::Layout;
use crate::harness::sipp::Load;
use crate::harness::{let_pass, wait_for};
use crate::tell;

/// Milliseconds each way.
pub(crate) const DELAYS_MS: [u32; 3] = [0, 40, 200];
/// Rates that are tried, calls a second.
const RATES: &[u32] =
    &[50, 100, 150, 200, 300, 400, 500, 600, 800, 1_000, 1_200, 1_400, 1_700, 2_000];
const HOLD: Duration = Duration::from_secs(1);
/// After the last call of a slice: its state, and the notice of its end, cross.
const REST: Duration = Duration::from_secs(3);
const PATIENCE: Duration = Duration::from_secs(40);
/// More than 64 T1, the life of a transaction, twice.
const LINGERING: Duration = Duration::from_secs(80);
/// More calls than a bench places.
const MANY: u32 = 10_000_000;

/// What it came to.
pub(crate) struct Rate {
    /// The highest rate at which all calls succeeded with every delay.
    pub(crate) highest: u32,
    /// The rate of the rounds.
    pub(crate) at: u32,
    /// Rounds that were taken with each delay.
    pub(crate) rounds: usize,
    /// Calls of all rounds.
    pub(crate) calls: u64,
    /// Those of them that did not succeed.
    pub(crate) failed: u64,
    /// Microseconds of CPU of a call, all processes of both sites and the balancer: one for each
    /// round that was sustained, by delay.
    pub(crate) cpu_us: [Vec<f64>; 3],
}

/// What one slice came to: calls at one rate, with one delay.
struct Slice {
    calls: u64,
    failed: u64,
    /// Of a call that succeeded.
    cpu_us: f64,
    /// All succeeded and had crossed in time, with next to nothing repeated.
    is_sustained: bool,
}

impl Rate {
    /// No higher rate was tried: there may be one.
    pub(crate) fn is_highest_tried(&self) -> bool {
        RATES.last() == Some(&self.highest)
    }

    /// Rounds that were not sustained, and have no figure.
    pub(crate) fn spoiled(&self) -> usize {
        self.cpu_us.iter().map(|rounds| self.rounds - rounds.len()).sum()
    }

    /// The median of each delay.
    pub(crate) fn medians(&self) -> [f64; 3] {
        self.cpu_us.each_ref().map(|rounds| quantile(&mut rounds.clone(), 0.5))
    }

    /// By how much the medians differ, in percent of the least.
    pub(crate) fn differ_by(&self) -> f64 {
        let medians = self.medians();
        let least = medians.into_iter().fold(f64::INFINITY, f64::min);
        let most = medians.into_iter().fold(0.0, f64::max);
        (most / least - 1.0) * 100.0
    }
}

/// Finds the rate and takes the rounds.
pub(crate) fn run(is_short: bool) -> Rate {
    let (seconds, rounds) = if is_short { (3, 2) } else { (8, 5) };
    let mut ground = Ground::start("bench_rate", Layout::default());
    let callee = ground.callee("uas_patient", MANY);
    let mut highest = 0;
    'rates: for &rate in RATES {
        for delay_ms in DELAYS_MS {
            // What else the machine does may spoil one try.
            let mut tries = (0..2).map(|_| slice(&mut ground, delay_ms, rate, seconds));
            if !tries.any(|slice| slice.is_sustained) {
                break 'rates;
            }
        }
        highest = rate;
    }
    let at = (highest / 2).max(1);
    let mut rate = Rate { highest, at, rounds, calls: 0, failed: 0, cpu_us: Default::default() };
    for _ in 0..rounds {
        let mut taken: [Vec<Slice>; 3] = Default::default();
        for nth in (0..DELAYS_MS.len()).chain((0..DELAYS_MS.len()).rev()) {
            taken[nth].push(slice(&mut ground, DELAYS_MS[nth], at, seconds));
        }
        for (slices, figures) in taken.iter().zip(&mut rate.cpu_us) {
            rate.calls += slices.iter().map(|slice| slice.calls).sum::<u64>();
            rate.failed += slices.iter().map(|slice| slice.failed).sum::<u64>();
            // As many calls in each: the mean of the slices is that of their calls.
            let mean = slices.iter().map(|slice| slice.cpu_us).sum::<f64>() / slices.len() as f64;
            figures.extend(Some(mean).filter(|_| slices.iter().all(|slice| slice.is_sustained)));
        }
    }
    drop(callee);
    rate
}

fn slice(ground: &mut Ground, delay_ms: u32, rate: u32, seconds: u32) -> Slice {
    // A call that failed stays for as long as its transactions: it is no call of this slice.
    wait_for("the end of the slice before", LINGERING, || {
        (ground.sites.one.at_risk() == 0).then_some(())
    });
    ground.wan.say(&format!("link one two delay_ms={delay_ms}"));
    let load = Load { calls: rate * seconds, per_second: rate, hold: HOLD };
    let (began, before) = (Instant::now(), cpu_ns(ground));
    let mut caller = ground.caller("caller", "uac_hold", &load);
    let heard = caller.finish(load.placing() + HOLD + PATIENCE);
    let until = began + load.placing() + HOLD + REST;
    let_pass(until.saturating_duration_since(Instant::now()));
    let used = cpu_ns(ground) - before;
    let is_late = ground.sites.one.at_risk() > 0;
    let has_all = heard.successful == u64::from(load.calls) && heard.failed == 0;
    let is_sustained = has_all && !is_late && heard.repeated * 100 <= heard.successful;
    let per_call = used as f64 / 1e3 / heard.successful.max(1) as f64;
    let ends = if is_sustained { "" } else { "  (not sustained)" };
    tell(&format!(
        "  {delay_ms:>3} ms, {rate:>4} calls/s: {} ended well, {} failed, {} repeated, \
         {per_call:.0} us/call{ends}",
        heard.successful, heard.failed, heard.repeated
    ));
    let calls = u64::from(load.calls);
    // One that SIPp gave up with is neither.
    let failed = calls.saturating_sub(heard.successful).max(heard.failed);
    Slice { calls, failed, cpu_us: per_call, is_sustained }
}

fn cpu_ns(ground: &Ground) -> u64 {
    let sites = &ground.sites;
    sites.one.cpu_ns() + sites.two.cpu_ns() + sites.balancer.cpu_ns()
}
