//! What came of a demo: the numbers, the promises, and both printed.

use std::fmt::Write as _;

use serde::Serialize;

use super::problem::Problem;

/// The limits that the promises name.
const TAKEOVER_MS_MAX: f64 = 500.0;
const CROSSING_BYTES_MAX: u64 = 1_024;

/// The numbers of a demo: its last line with `--json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct Report {
    /// Calls placed.
    pub(super) calls: u32,
    /// Calls answered through site 1.
    pub(super) answered: u32,
    /// Answered calls whose state was at site 2 when site 1 was killed.
    pub(super) crossed: u32,
    /// Of these, calls that could be used and ended as if nothing had happened.
    pub(super) survived: u32,
    /// Of these, calls that could not.
    pub(super) lost: u32,
    /// From the first sending of the first in-dialog request after the route changed to its final
    /// response, repetitions included: median.
    pub(super) takeover_ms_p50: f64,
    /// The same, 99th percentile.
    pub(super) takeover_ms_p99: f64,
    /// Calls that were asked to change (re-INVITE) through site 2.
    pub(super) changed_at_site_2: u32,
    /// Calls that were ended through site 2.
    pub(super) ended_at_site_2: u32,
    /// Session refreshes that callers and callees saw while site 1 was down.
    pub(super) refreshes_at_site_2: u32,
    /// Session refreshes that they saw after site 1 had come back.
    pub(super) refreshes_at_home: u32,
    /// Refreshes that came twice for one cause, and BYEs that did.
    pub(super) timers_twice: u32,
    /// Ends of calls whose refresh was waited for in vain.
    pub(super) timers_missed: u32,
    /// Calls that were still held when site 1 came back.
    pub(super) held: u32,
    /// Of these, calls that ended at site 1.
    pub(super) returned: u32,
    /// Compressed bytes that crossed before the kill, per call.
    pub(super) crossing_bytes_per_call: u64,
    /// From the SIGKILL to the moment site 2 knew of it.
    pub(super) noticed_ms: u64,
    /// From the start of site 1's new process until it served.
    pub(super) restart_ms: u64,
    /// Starts that site 1 has counted on its disk.
    pub(super) site_1_starts: u64,
    /// Requests whose CSeq number went back, and 2xx without ACK.
    pub(super) disorder: u32,
    /// How long the demo took.
    pub(super) seconds: f64,
    /// The promises that were broken, in words; empty when all were kept.
    pub(super) broken: Vec<String>,
}

/// One promise, and whether it was kept.
struct Promise {
    text: &'static str,
    kept: bool,
    evidence: String,
}

impl Report {
    /// Judges every promise and notes the broken ones.
    pub(super) fn judge(&mut self) {
        self.lost = self.crossed.saturating_sub(self.survived);
        self.broken = self
            .promises()
            .into_iter()
            .filter(|promise| !promise.kept)
            .map(|promise| format!("{}: {}", promise.text, promise.evidence))
            .collect();
    }

    pub(super) fn is_kept(&self) -> bool {
        self.broken.is_empty()
    }

    fn promises(&self) -> Vec<Promise> {
        let promise = |text, kept, evidence| Promise { text, kept, evidence };
        let of = |part: u32, whole: u32| format!("{part} of {whole}");
        vec![
            promise(
                "every call is answered",
                self.answered == self.calls,
                of(self.answered, self.calls),
            ),
            promise(
                "every answered call crosses to site 2",
                self.crossed == self.answered,
                of(self.crossed, self.answered),
            ),
            promise(
                "every call that crossed survives the loss of site 1",
                self.survived == self.crossed && self.crossed > 0,
                of(self.survived, self.crossed),
            ),
            promise(
                "99 of 100 find their call at site 2 within 500 ms",
                self.takeover_ms_p99 < TAKEOVER_MS_MAX && self.changed_at_site_2 > 0,
                format!("{:.1} ms", self.takeover_ms_p99),
            ),
            promise(
                "session timers go on at site 2 and again at site 1",
                self.timers_missed == 0 && self.refreshes_at_site_2 > 0,
                format!(
                    "{} and {} refreshes, {} missed",
                    self.refreshes_at_site_2, self.refreshes_at_home, self.timers_missed
                ),
            ),
            promise("no timer fires twice", self.timers_twice == 0, self.timers_twice.to_string()),
            promise(
                "every call still held comes home and ends there",
                self.returned == self.held && self.held > 0,
                of(self.returned, self.held),
            ),
            promise(
                "at most 1 KiB crosses per call",
                (1..=CROSSING_BYTES_MAX).contains(&self.crossing_bytes_per_call),
                format!("{} bytes", self.crossing_bytes_per_call),
            ),
            promise(
                "callers and callees see nothing out of order",
                self.disorder == 0,
                self.disorder.to_string(),
            ),
        ]
    }

    /// One JSON object on one line.
    pub(super) fn json(&self) -> Result<String, Problem> {
        serde_json::to_string(self).map_err(Problem::during("cannot print the report"))
    }

    /// What happened, for people who meet this for the first time.
    pub(super) fn table(&self) -> String {
        let mut text = String::new();
        let mut line = |what: &str, number: String| {
            // Writing to a string cannot fail.
            let _written = writeln!(text, "  {what:<58}{number:>14}");
        };
        line("calls answered through site 1", self.answered.to_string());
        line("of these, copied to site 2 when site 1 was killed", self.crossed.to_string());
        line("bytes that crossed per call", self.crossing_bytes_per_call.to_string());
        line("site 2 noticed after", format!("{} ms", self.noticed_ms));
        line("calls changed (re-INVITE) through site 2", self.changed_at_site_2.to_string());
        line("  half of them were answered within", format!("{:.1} ms", self.takeover_ms_p50));
        line("  99 of 100 were answered within", format!("{:.1} ms", self.takeover_ms_p99));
        line("calls ended (BYE) through site 2", self.ended_at_site_2.to_string());
        line("session refreshes by site 2 meanwhile", self.refreshes_at_site_2.to_string());
        line("calls still held when site 1 came back", self.held.to_string());
        line("of these, ended at site 1", self.returned.to_string());
        text.push('\n');
        for promise in self.promises() {
            let word = if promise.kept { "kept" } else { "BROKEN" };
            let Promise { text: what, evidence, .. } = &promise;
            let _written = writeln!(text, "  {word:<7} {what} ({evidence})");
        }
        let _written = writeln!(text, "\n  took {:.0} s", self.seconds);
        text
    }
}

/// The value that `percent` of 100 are not above; 0 of none.
pub(super) fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1) - 1;
    let value = sorted.get(rank).copied().unwrap_or(0.0);
    (value * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests;
