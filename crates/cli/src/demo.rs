//! `rehome demo`: two whole sites, a real failure, and every promise checked, in one command.
//!
//! The demo is an outsider. It starts this very program as a balancer and two sites on loopback,
//! talks SIP to them with user agents of its own, watches them through the admin API and takes one
//! of them away with SIGKILL. What it reports is what its user agents were told.
//!
//! Deliberately absent: any knowledge of how the sites work. It depends on `sip-message` and the
//! admin API's types, on nothing else of this project.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

/// What `rehome demo` is asked for.
#[derive(Clone, Debug)]
pub struct DemoOptions {
    /// Calls to place, 4 to [`CALLS_MAX`].
    pub calls: u32,
    /// One JSON object as the last line of the output, in place of the table.
    pub json: bool,
    /// Lets site 2 forget one call, to show that a broken promise is noticed.
    pub break_promise: bool,
    /// Where configurations, data and logs are written and kept; else a temporary directory, which
    /// is removed when all went well.
    pub keep: Option<PathBuf>,
}

/// More calls than this are refused: the demo shows a promise, the benchmark measures.
pub const CALLS_MAX: u32 = 5_000;

impl Default for DemoOptions {
    fn default() -> Self {
        Self { calls: 200, json: false, break_promise: false, keep: None }
    }
}

/// Runs the demo. Success means that every promise was kept.
pub fn run(options: &DemoOptions, out: &mut dyn Write) -> ExitCode {
    let _ = (options, out);
    ExitCode::FAILURE
}
