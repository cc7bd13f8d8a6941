//! The simulator's command line: fresh seeds, one seed again, and proof that it finds bugs.

use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::Parser;
use sim::{Planted, run};

/// Seeds in which a planted bug must show.
const PROOF_SEEDS: u64 = 2_000;

#[derive(Parser)]
#[command(
    about = "Simulates two sites in virtual time, from seeds",
    after_help = "Examples:\n  cargo xtask sim --seeds 1000\n  \
                  cargo xtask sim --seeds 50 --from 7\n  \
                  cargo xtask sim --replay 42\n  cargo xtask sim --prove-the-tester\n  \
                  cargo xtask sim --seeds 100 --mutation old-token-accepted"
)]
struct Cli {
    /// How many seeds to run.
    #[arg(long, default_value_t = 300)]
    seeds: u64,
    /// The first seed; without it, one that the clock gives.
    #[arg(long)]
    from: Option<u64>,
    /// Runs one seed and prints what happened.
    #[arg(long, value_name = "SEED")]
    replay: Option<u64>,
    /// Puts a bug back: send-before-stored, old-token-accepted, dormant-timers-armed,
    /// due-forgotten.
    #[arg(long)]
    mutation: Option<String>,
    /// Puts each bug back in turn and fails unless each is found.
    #[arg(long)]
    prove_the_tester: bool,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let planted = match cli.mutation.as_deref().map(|name| (name, Planted::by_name(name))) {
        None => None,
        Some((_, Some(planted))) => Some(planted),
        Some((name, None)) => {
            let names: Vec<&str> = Planted::ALL.iter().map(|planted| planted.name()).collect();
            eprintln!("error: no mutation `{name}`; there are {}", names.join(", "));
            return ExitCode::FAILURE;
        }
    };
    if cli.prove_the_tester {
        return prove();
    }
    if let Some(seed) = cli.replay {
        return replay(seed, planted);
    }
    let from = cli.from.unwrap_or_else(fresh);
    search(from, cli.seeds, planted)
}

/// A first seed that no run before had: milliseconds of the wall clock.
fn fresh() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_millis()).unwrap_or(0) * 1_000
}

fn replay(seed: u64, planted: Option<Planted>) -> ExitCode {
    let outcome = run(seed, true, planted);
    for line in outcome.trace.lines() {
        println!("{line}");
    }
    println!("seed {seed}: trace {:016x}", outcome.trace.hash());
    match outcome.violation {
        None => ExitCode::SUCCESS,
        Some(violation) => {
            println!("VIOLATION {violation}");
            ExitCode::FAILURE
        }
    }
}

fn search(from: u64, seeds: u64, planted: Option<Planted>) -> ExitCode {
    let started = Instant::now();
    let mut said = started;
    let (mut calls, mut answered, mut survivors, mut split, mut violations) = (0, 0, 0, 0, 0);
    let mut grants = [0; 6];
    let mut lasted = Duration::ZERO;
    for seed in from..from + seeds {
        let outcome = run(seed, false, planted);
        calls += outcome.calls;
        answered += outcome.answered;
        survivors += outcome.survivors;
        split += outcome.split;
        lasted += outcome.lasted;
        for (sum, one) in grants.iter_mut().zip(outcome.grants) {
            *sum += one;
        }
        if let Some(violation) = outcome.violation {
            violations += 1;
            println!("seed {seed}: VIOLATION {violation}");
            println!("  replay: cargo xtask sim --replay {seed}");
        }
        if said.elapsed() > Duration::from_secs(10) {
            said = Instant::now();
            println!("sim: {} of {seeds} seeds, {violations} violations", seed + 1 - from);
        }
    }
    let [asked, due, resume, activate, hand_back, quarantined] = grants;
    println!(
        "sim: {seeds} seeds from {from}, {violations} violations; {calls} calls, {answered} \
         answered, {survivors} crossed when their site was killed, {split} owned twice (behind \
         a cut, or begun at both); grants: {asked} asked, {due} due, {resume} resumed, \
         {activate} activated, {hand_back} handed back, {quarantined} quarantined; {:.1} h of \
         virtual time in {:.1} s",
        lasted.as_secs_f64() / 3_600.0,
        started.elapsed().as_secs_f64()
    );
    if violations == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn prove() -> ExitCode {
    let mut missed = 0;
    for planted in Planted::ALL {
        let found = (0..PROOF_SEEDS)
            .find_map(|seed| run(seed, false, Some(planted)).violation.map(|seen| (seed, seen)));
        match found {
            Some((seed, violation)) => println!(
                "{}: found by seed {seed}: {violation}\n  replay: cargo xtask sim --replay {seed} \
                 --mutation {}",
                planted.name(),
                planted.name()
            ),
            None => {
                missed += 1;
                println!("{}: NOT FOUND in {PROOF_SEEDS} seeds", planted.name());
            }
        }
    }
    if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
