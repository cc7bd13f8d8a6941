//! Figures of what crosses between two sites and of taking over: `cargo xtask bench crossing`.
//!
//! It stands on what the end-to-end tests stand on: real processes, SIPp on both ends, each site in
//! a network namespace with its own etcd and NATS, and a userland WAN between them.

#[allow(dead_code, unused_imports, reason = "the tests use the rest of it")]
#[path = "../../tests/e2e"]
mod e2e {
    pub(crate) mod harness;
}
mod held;
mod rate;
mod table;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use e2e::harness;
use harness::bulk::{self, Wake};
use harness::sipp::Load;
use table::Figures;

/// Arguments; people use those of `cargo xtask bench crossing`.
#[derive(Parser)]
struct Options {
    /// Small sizes; figures are not judged.
    #[arg(long)]
    short: bool,
    /// One part alone.
    #[arg(long)]
    part: Option<Part>,
    /// Prints JSON beside the table.
    #[arg(long)]
    json: bool,
    /// Where JSON is stored, of a run that was whole.
    #[arg(long)]
    store: Option<PathBuf>,
    /// Said by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Lag, bytes and take-over.
    Held,
    /// The same bytes, of calls that cross while they ring.
    Early,
    /// CPU of a call against the WAN's delay.
    Rate,
    /// Bulk activation.
    Bulk,
}

impl Options {
    fn wants(&self, part: Part) -> bool {
        self.part.is_none_or(|wanted| wanted == part)
    }

    fn sized<T>(&self, short: T, whole: T) -> T {
        if self.short { short } else { whole }
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    let mut figures = Figures::default();
    if options.wants(Part::Held) {
        tell("calls are held, and their site dies");
        figures.held = Some(held::run(options.sized(300, 1_000), false));
    }
    if options.wants(Part::Early) {
        tell("calls cross while they ring");
        figures.early = Some(held::run(options.sized(200, 500), true));
    }
    if options.wants(Part::Rate) {
        tell("calls a second against the delay of the WAN");
        figures.rate = Some(rate::run(options.short));
    }
    if options.wants(Part::Bulk) {
        tell("an operator wakes the calls of a dead site");
        figures.bulk = Some(wake(&options));
    }
    figures.print();
    let is_whole = options.part.is_none() && !options.short;
    if options.json {
        let json = figures.to_json();
        println!("{json}");
        if let Some(path) = options.store.filter(|_| is_whole)
            && let Err(error) = std::fs::write(&path, format!("{json}\n"))
        {
            eprintln!("error: {}: {error}", path.display());
            return ExitCode::FAILURE;
        }
    }
    let broken = figures.broken();
    if options.short || broken.is_empty() {
        return ExitCode::SUCCESS;
    }
    eprintln!("error: out of bounds: {}", broken.join(", "));
    ExitCode::FAILURE
}

/// A line about what begins.
fn tell(what: &str) {
    // Nobody may be there to read it.
    let _unheard = writeln!(std::io::stderr(), "{what} ...");
}

fn wake(options: &Options) -> bulk::Woken {
    let (far, due) = (options.sized(19_000, 98_000), options.sized(500, 2_000));
    let calls = options.sized(800, 2_000);
    let new = Load { calls, per_second: 100, hold: Duration::from_secs(2) };
    let mut ground = bulk::ground("bench_bulk");
    bulk::run(&mut ground, &Wake { far, due, new })
}
