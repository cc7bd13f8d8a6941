//! What crosses between two sites, and taking over: `crates/node/benches/crossing`, which stands on
//! what the end-to-end tests stand on.

use std::path::Path;
use std::process::Command;

use clap::{Args, ValueEnum};

use crate::install;

/// How much of it.
#[derive(Args)]
pub(crate) struct Options {
    /// Small sizes, in two or three minutes; figures are shown and not judged.
    #[arg(long)]
    short: bool,
    /// One part alone.
    #[arg(long)]
    part: Option<Part>,
    /// Prints JSON beside the table, and stores it under bench/results/ if the run was whole.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Lag and bytes of calls that are held, and the first answer when their site has died.
    Held,
    /// Lag and bytes of calls that cross while they ring.
    Early,
    /// CPU of a call with 0, 40 and 200 ms between the sites.
    Rate,
    /// 100,000 calls of a dead site are woken by an order while new ones are placed.
    Bulk,
}

/// Runs the bench; it prints its table.
pub(crate) fn run(root: &Path, options: &Options) -> Result<(), String> {
    install::ensure(install::TEST)?;
    install::ensure_nats(root)?;
    let own = std::env::current_exe().map_err(|error| format!("this program: {error}"))?;
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .current_dir(root)
        .args(["bench", "--quiet", "-p", "node", "--bench", "crossing", "--"])
        .env("REHOME_XTASK", own)
        .args(options.short.then_some("--short"))
        .args(options.json.then_some("--json"));
    if let Some(part) = options.part.and_then(|part| part.to_possible_value()) {
        command.arg("--part").arg(part.get_name());
    }
    command.arg("--store").arg(root.join("bench/results/crossing.json"));
    let status = command.status().map_err(|error| format!("cargo did not start: {error}"))?;
    if status.success() { Ok(()) } else { Err("a figure is out of bounds, or missing".to_owned()) }
}
