//! Flows: `flows/*.flow` are scripts in the vocabulary of ladder diagrams, with the answers of the
//! call written under each line. This runs every script and compares what it says with what is.
//!
//! Lines at the margin are what happens to the call; indented lines are what the call does, and are
//! written by `REHOME_BLESS=1 cargo test -p call --test flows`. `flows/README.md` has the words.
//!
//! Every flow runs twice: once on one call value, and once with the call encoded after each step
//! and decoded, as old as it is by then, before the next one. Both runs must say the same.
//! The same bench serves storms: peers that say anything in any order, held to rules alone.

#[path = "flows/bench.rs"]
mod bench;
#[path = "flows/command.rs"]
mod command;
#[path = "flows/deskset.rs"]
mod deskset;
#[path = "flows/ladder.rs"]
mod ladder;
#[path = "flows/rules.rs"]
mod rules;
#[path = "flows/storm.rs"]
mod storm;

use std::fs;
use std::path::{Path, PathBuf};

use bench::{Bench, Carrying};

fn scripts() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("flows");
    let mut scripts: Vec<PathBuf> = fs::read_dir(&folder)
        .expect("the folder of flows is part of the crate")
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "flow"))
        .collect();
    scripts.sort();
    scripts
}

/// Runs the lines at the margin of `script`; returns the script with the answers that were given.
fn play(script: &str, carrying: Carrying) -> String {
    let mut bench = Bench::new(carrying);
    let mut told = String::new();
    for line in script.lines().filter(|line| !line.starts_with(' ')) {
        told.push_str(line);
        told.push('\n');
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        for answer in bench.run(line) {
            told.push_str("  ");
            told.push_str(answer.trim_end());
            told.push('\n');
        }
    }
    told
}

/// The first line in which two texts differ, with its neighbours, for a person to read.
fn difference(expected: &str, told: &str) -> String {
    let (expected, told): (Vec<_>, Vec<_>) = (expected.lines().collect(), told.lines().collect());
    let differs = |index: &usize| expected.get(*index) != told.get(*index);
    let first = (0..=expected.len().max(told.len())).find(differs).unwrap_or(0);
    let part = |lines: &[&str]| {
        let from = first.saturating_sub(3).min(lines.len());
        let to = (first + 6).min(lines.len());
        lines.get(from..to).unwrap_or_default().join("\n    ")
    };
    format!(
        "  line {}\n  expected\n    {}\n  told\n    {}",
        first + 1,
        part(&expected),
        part(&told)
    )
}

#[test]
fn every_flow_goes_as_written() {
    let bless = std::env::var_os("REHOME_BLESS").is_some();
    let only = std::env::var("REHOME_FLOW").unwrap_or_default();
    let mut failures = Vec::new();
    for path in scripts() {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !name.contains(&only) {
            continue;
        }
        let expected = fs::read_to_string(&path).expect("a flow is text");
        let told = match std::panic::catch_unwind(|| play(&expected, Carrying::InPlace)) {
            Ok(told) => told,
            Err(_) => {
                failures.push(format!("{name}: panicked"));
                continue;
            }
        };
        if told != expected {
            if bless {
                fs::write(&path, &told).expect("the flow can be written");
            } else {
                failures.push(format!("{name}\n{}", difference(&expected, &told)));
            }
        }
        match std::panic::catch_unwind(|| play(&expected, Carrying::Encoded)) {
            Ok(carried) if carried == told => {}
            Ok(carried) => failures
                .push(format!("{name}, encoded and decoded\n{}", difference(&told, &carried))),
            Err(_) => failures.push(format!("{name}, encoded and decoded: panicked")),
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}
