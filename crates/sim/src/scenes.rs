//! Named scenes on the command line: each is played with every seed.

use std::ops::Range;
use std::time::Instant;

use sim::{deliveries, tier};

/// Deliveries of one storm.
const DELIVERIES: u64 = 1_000_000;
/// The storm's name.
const STORM: &str = "deliveries";

/// Plays a scene, or all; whether each went as it must.
pub(crate) fn play(name: &str, seeds: Range<u64>, keep: bool) -> bool {
    let scenes = tier::SCENES.iter().filter(|(one, _)| name == "all" || *one == name);
    let scenes: Vec<_> = scenes.collect();
    let has_storm = name == "all" || name == STORM;
    if scenes.is_empty() && !has_storm {
        let names: Vec<&str> = tier::SCENES.iter().map(|(name, _)| *name).collect();
        eprintln!("error: no scene `{name}`; there are {}, {STORM}, all", names.join(", "));
        return false;
    }
    let mut is_fine = true;
    for (name, scene) in scenes {
        for seed in seeds.clone() {
            let began = Instant::now();
            let outcome = scene(seed, keep);
            for line in outcome.trace.lines() {
                println!("{line}");
            }
            let drained =
                outcome.drained.map(|(marks, took)| format!(", {marks} marks in {took:?}"));
            println!(
                "{name}, seed {seed}: {} calls, {} answered, {} crossed and lost their site, {} at \
                 both sites, {} woken{}; {:?} in {:.1} s",
                outcome.calls,
                outcome.answered,
                outcome.survivors,
                outcome.split,
                outcome.moved[0],
                drained.unwrap_or_default(),
                outcome.lasted,
                began.elapsed().as_secs_f64()
            );
            if let Some(violation) = outcome.violation {
                is_fine = false;
                println!(
                    "VIOLATION {violation}\n  replay: cargo xtask sim --scenario {name} \
                     --replay {seed}"
                );
            }
        }
    }
    for seed in seeds.filter(|_| has_storm) {
        let began = Instant::now();
        match deliveries::run(seed, DELIVERIES) {
            Ok(storm) => {
                println!(
                    "{STORM}, seed {seed}: {storm:?} in {:.1} s",
                    began.elapsed().as_secs_f64()
                );
            }
            Err(why) => {
                is_fine = false;
                println!("{STORM}, seed {seed}: VIOLATION {why}");
            }
        }
    }
    is_fine
}
