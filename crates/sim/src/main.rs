//! The simulator's command line: fresh seeds, one seed again, and proof that it finds bugs.

use std::ops::Range;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::{Parser, ValueEnum};
use sim::{Planted, Trace, World, run, tier};

mod scenes;
mod tally;

use tally::Tally;

/// Seeds in which a planted bug must show.
const PROOF_SEEDS: u64 = 2_000;
/// Seeds are run side by side.
const WORKERS: usize = 2;

#[derive(Parser)]
#[command(
    about = "Simulates whole sites in virtual time, from seeds",
    after_help = "Examples:\n  cargo xtask sim --seeds 1000\n  \
                  cargo xtask sim --seeds 50 --from 7 --world tier\n  \
                  cargo xtask sim --replay 42 --world sites\n  \
                  cargo xtask sim --prove-the-tester\n  \
                  cargo xtask sim --scenario d27_sites_cut_apart_for_an_hour --seeds 5\n  \
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
    /// Two sites with one replica each, one site with several, or two with several each; the
    /// first two when absent.
    #[arg(long, value_enum)]
    world: Option<Which>,
    /// Plays a named scene with each seed; an unknown name lists them. `deliveries` is a million
    /// deliveries of batches, and `all` is all of them.
    #[arg(long, value_name = "NAME")]
    scenario: Option<String>,
    /// Puts a bug back; an unknown name lists them.
    #[arg(long)]
    mutation: Option<String>,
    /// Puts each bug back in turn and fails unless each is found.
    #[arg(long)]
    prove_the_tester: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Which {
    Sites,
    Tier,
    Wide,
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
    let worlds: &[World] = match cli.world {
        // The wide world takes longest: it is asked for by name.
        None if cli.prove_the_tester => &[World::Sites, World::Tier, World::Wide],
        None => &[World::Sites, World::Tier],
        Some(Which::Sites) => &[World::Sites],
        Some(Which::Tier) => &[World::Tier],
        Some(Which::Wide) => &[World::Wide],
    };
    let is_fine = if let Some(name) = &cli.scenario {
        let from = cli.replay.or(cli.from).unwrap_or(0);
        let seeds = if cli.replay.is_some() { 1 } else { cli.seeds };
        scenes::play(name, from..from + seeds, cli.replay.is_some())
    } else if cli.prove_the_tester {
        prove(worlds)
    } else if let Some(seed) = cli.replay {
        worlds.iter().filter(|world| !replay(**world, seed, planted)).count() == 0
    } else {
        let from = cli.from.unwrap_or_else(fresh);
        let seeds = from..from + cli.seeds;
        worlds.iter().filter(|world| !search(**world, seeds.clone(), planted)).count() == 0
    };
    if is_fine { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A first seed that no run before had: milliseconds of the wall clock.
fn fresh() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_millis()).unwrap_or(0) * 1_000
}

/// Runs a seed in a world; what it broke, as text, and its trace.
fn run_in(
    world: World,
    seed: u64,
    keep: bool,
    planted: Option<Planted>,
    tally: &mut Tally,
) -> (Option<String>, Trace) {
    match world {
        World::Sites => {
            let outcome = run(seed, keep, planted);
            tally.add_sites(&outcome);
            (outcome.violation.map(|seen| seen.to_string()), outcome.trace)
        }
        World::Tier => {
            let outcome = tier::run(seed, keep, planted);
            tally.add_tier(&outcome);
            (outcome.violation.map(|seen| seen.to_string()), outcome.trace)
        }
        World::Wide => {
            let outcome = tier::run_wide(seed, keep, planted);
            tally.add_wide(&outcome);
            (outcome.violation.map(|seen| seen.to_string()), outcome.trace)
        }
    }
}

fn replay(world: World, seed: u64, planted: Option<Planted>) -> bool {
    let (violation, trace) = run_in(world, seed, true, planted, &mut Tally::default());
    for line in trace.lines() {
        println!("{line}");
    }
    println!("seed {seed} of {}: trace {:016x}", world.name(), trace.hash());
    if let Some(violation) = &violation {
        println!("VIOLATION {violation}");
    }
    violation.is_none()
}

/// Runs seeds side by side; `each` hears of every one and may end it all with `false`.
fn run_all(
    world: World,
    seeds: Range<u64>,
    planted: Option<Planted>,
    each: impl Fn(u64, Option<String>) -> bool + Sync,
) -> Tally {
    let next = AtomicU64::new(seeds.start);
    let sum = Mutex::new(Tally::default());
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                let mut tally = Tally::default();
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        break;
                    }
                    let (violation, _) = run_in(world, seed, false, planted, &mut tally);
                    if !each(seed, violation) {
                        next.store(seeds.end, Ordering::Relaxed);
                    }
                }
                sum.lock().expect("no worker panics while it holds this").add(&tally);
            });
        }
    });
    sum.into_inner().expect("every worker is done")
}

fn search(world: World, seeds: Range<u64>, planted: Option<Planted>) -> bool {
    let started = Instant::now();
    let (name, count) = (world.name(), seeds.end - seeds.start);
    let (done, violations) = (AtomicU64::new(0), AtomicU64::new(0));
    let said = Mutex::new(started);
    let tally = run_all(world, seeds.clone(), planted, |seed, violation| {
        let done = done.fetch_add(1, Ordering::Relaxed) + 1;
        if let Some(violation) = violation {
            violations.fetch_add(1, Ordering::Relaxed);
            println!(
                "seed {seed}: VIOLATION {violation}\n  replay: cargo xtask sim --world {name} \
                 --replay {seed}"
            );
        }
        let mut said = said.lock().expect("nothing panics while this is held");
        if said.elapsed() > Duration::from_secs(10) {
            *said = Instant::now();
            let violations = violations.load(Ordering::Relaxed);
            println!("sim {name}: {done} of {count} seeds, {violations} violations");
        }
        true
    });
    let violations = violations.into_inner();
    println!(
        "sim {name}: {count} seeds from {}, {violations} violations; {}; {:.1} h of virtual time \
         in {:.1} s",
        seeds.start,
        tally.told(world),
        tally.lasted.as_secs_f64() / 3_600.0,
        started.elapsed().as_secs_f64()
    );
    violations == 0
}

fn prove(worlds: &[World]) -> bool {
    let mut is_fine = true;
    for planted in Planted::ALL {
        let name = planted.name();
        for world in worlds.iter().filter(|world| planted.worlds().contains(world)) {
            let found: Mutex<Option<(u64, String)>> = Mutex::new(None);
            run_all(*world, 0..PROOF_SEEDS, Some(planted), |seed, violation| {
                let Some(violation) = violation else { return true };
                let mut found = found.lock().expect("nothing panics while this is held");
                if found.as_ref().is_none_or(|(before, _)| seed < *before) {
                    *found = Some((seed, violation));
                }
                false
            });
            let world = world.name();
            match found.into_inner().expect("every worker is done") {
                Some((seed, violation)) => println!(
                    "{name}: found by seed {seed} of {world}: {violation}\n  replay: cargo xtask \
                     sim --world {world} --replay {seed} --mutation {name}"
                ),
                None => {
                    is_fine = false;
                    println!("{name}: NOT FOUND in {PROOF_SEEDS} seeds of {world}");
                }
            }
        }
    }
    is_fine
}
