//! `cargo xtask test`: every kind of test, in order of cost, one line a step and a table at the
//! end.

use std::io::Write;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use crate::{install, run, tidy};

mod programs;

/// Seeds of the simulator in the short form: the same ones, so that a change is judged by itself.
const SEEDS: &[&str] = &["--seeds", "2000", "--from", "10000"];
/// Fresh ones in the full form.
const SEEDS_FULL: &str = "5000";
/// Of two sites of many replicas: the same ones in both forms.
const WIDE_FROM: &str = "10000";
const WIDE_SEEDS: &str = "100";
const WIDE_SEEDS_FULL: &str = "1000";
/// Storms of deliveries in the full form.
const STORMS_FULL: &str = "1";
/// End-to-end tests that run at a time in the short form. Three take a third of the time, and about
/// once in two runs one of them fails for want of the machine.
const SHORT_TURNS: &str = "1";
/// Where the full form leaves its figures.
const REPORT: &str = "bench/results/test-full.txt";

struct Step {
    name: &'static str,
    what: &'static str,
    /// Only with `--full`.
    full_only: bool,
    run: fn(&Path, bool) -> Result<(), String>,
}

const STEPS: &[Step] = &[
    Step {
        name: "install",
        what: "programs that tests drive",
        full_only: false,
        run: install_step,
    },
    Step { name: "fmt", what: "formatting", full_only: false, run: fmt },
    Step { name: "tidy", what: "edges, purity, sizes, words", full_only: false, run: tidy_step },
    Step { name: "clippy", what: "lints as errors", full_only: false, run: clippy },
    Step { name: "deny", what: "bans, licences, sources", full_only: true, run: deny },
    Step { name: "doc", what: "documentation without warnings", full_only: false, run: doc },
    Step {
        name: "build",
        what: "everything that the next steps run, once",
        full_only: false,
        run: build,
    },
    Step { name: "unit", what: "unit, flow, corpus and model tests", full_only: false, run: unit },
    Step {
        name: "sim",
        what: "two sites from fresh seeds, faults, planted bugs",
        full_only: false,
        run: sim,
    },
    Step { name: "e2e", what: "real processes, SIPp on both ends", full_only: false, run: e2e },
    Step {
        name: "demo",
        what: "`rehome demo`, and one broken promise",
        full_only: false,
        run: demo,
    },
];

/// Runs the steps, all of them even after a failure, and prints the table.
pub(crate) fn run(root: &Path, full: bool, only: Option<&str>) -> ExitCode {
    if let Some(name) = only
        && !STEPS.iter().any(|step| step.name == name)
    {
        let names: Vec<&str> = STEPS.iter().map(|step| step.name).collect();
        eprintln!("error: no step `{name}`; the steps are {}", names.join(", "));
        return ExitCode::FAILURE;
    }
    let is_report = full && only.is_none();
    if is_report && let Err(error) = std::fs::write(root.join(REPORT), "") {
        eprintln!("error: {REPORT}: {error}");
        return ExitCode::FAILURE;
    }
    let chosen =
        STEPS.iter().filter(|step| only.map_or(full || !step.full_only, |name| name == step.name));
    let mut outcomes = Vec::new();
    for step in chosen {
        println!("\n==> {}: {}", step.name, step.what);
        let started = Instant::now();
        let outcome = (step.run)(root, full);
        if let Err(problem) = &outcome {
            println!("error: {problem}");
        }
        outcomes.push((step.name, outcome.is_ok(), started.elapsed()));
    }
    report(root, is_report, &outcomes)
}

/// Adds to the report, to which the end-to-end tests have written their figures.
fn append(file: &Path, text: &str) -> std::io::Result<()> {
    std::fs::OpenOptions::new().append(true).open(file)?.write_all(text.as_bytes())
}

fn report(root: &Path, is_report: bool, outcomes: &[(&str, bool, Duration)]) -> ExitCode {
    let mut table = String::from("\nstep      outcome  seconds\n");
    for (name, passed, took) in outcomes {
        let word = if *passed { "passed" } else { "FAILED" };
        table.push_str(&format!("{name:<9} {word:<8} {:>7.1}\n", took.as_secs_f64()));
    }
    let failed = outcomes.iter().filter(|(_, passed, _)| !passed).count();
    print!("{table}");
    println!("{} passed, {failed} failed", outcomes.len() - failed);
    if is_report && let Err(error) = append(&root.join(REPORT), &table) {
        eprintln!("error: {REPORT}: {error}");
        return ExitCode::FAILURE;
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn install_step(root: &Path, _: bool) -> Result<(), String> {
    install::ensure(install::TEST)?;
    install::ensure_nats(root)
}

fn fmt(root: &Path, _: bool) -> Result<(), String> {
    run::cargo(root, &["fmt", "--all", "--check"], &[])
}

fn tidy_step(root: &Path, _: bool) -> Result<(), String> {
    tidy::run(root)
}

fn clippy(root: &Path, _: bool) -> Result<(), String> {
    let arguments =
        ["clippy", "--quiet", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"];
    run::cargo(root, &arguments, &[])
}

fn deny(root: &Path, _: bool) -> Result<(), String> {
    if run::cargo(root, &["deny", "--version"], &[]).is_err() {
        println!("installing: cargo install --locked cargo-deny");
        run::cargo(root, &["install", "--quiet", "--locked", "cargo-deny"], &[])?;
    }
    run::cargo(root, &["deny", "check", "bans", "licenses", "sources"], &[])
}

fn doc(root: &Path, _: bool) -> Result<(), String> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let mut command = Command::new(cargo);
    command
        .args([
            "doc",
            "--quiet",
            "--workspace",
            "--no-deps",
            "--document-private-items",
            "--locked",
        ])
        .env("RUSTDOCFLAGS", "-D warnings")
        .current_dir(root);
    run::finish(command)
}

/// Builds everything that the next steps run: one build of one set of packages, so that nothing
/// is built twice. The full form measures, and wants what is released beside it.
fn build(root: &Path, full: bool) -> Result<(), String> {
    programs::build(root)?;
    if !full {
        return Ok(());
    }
    let programs = ["build", "--release", "--quiet", "--workspace", "--bins", "--locked"];
    run::cargo(root, &programs, &[])
}

/// Everything but the end-to-end tests, which want the machine for themselves.
fn unit(root: &Path, _: bool) -> Result<(), String> {
    let mut outcomes = Vec::new();
    for test in programs::build(root)? {
        if !test.is_end_to_end() {
            outcomes.push(run::finish(test.command()));
        }
    }
    let failed: Vec<String> = outcomes.into_iter().filter_map(Result::err).collect();
    if !failed.is_empty() {
        return Err(failed.join("\nerror: "));
    }
    let documented = ["test", "--profile", "quick", "--quiet", "--workspace", "--doc", "--locked"];
    run::cargo(root, &documented, &[])
}

fn sim(root: &Path, full: bool) -> Result<(), String> {
    let mut fresh = programs::program(root, full, "sim");
    if full {
        fresh.args(["--seeds", SEEDS_FULL]);
    } else {
        fresh.args(SEEDS);
    }
    run::finish(fresh)?;
    let mut wide = programs::program(root, full, "sim");
    wide.args(["--world", "wide", "--from", WIDE_FROM]);
    wide.args(["--seeds", if full { WIDE_SEEDS_FULL } else { WIDE_SEEDS }]);
    run::finish(wide)?;
    if full {
        // Duplicated, reordered and stale deliveries, a million of each seed.
        let mut storm = programs::program(root, full, "sim");
        storm.args(["--scenario", "deliveries", "--seeds", STORMS_FULL, "--from", "0"]);
        run::finish(storm)?;
    }
    let mut planted = programs::program(root, full, "sim");
    planted.arg("--prove-the-tester");
    run::finish(planted)
}

fn e2e(root: &Path, full: bool) -> Result<(), String> {
    if full {
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
        let mut command = Command::new(cargo);
        command
            .args(["test", "--release", "--quiet", "--locked", "-p", "node", "--test", "*"])
            .args(["--", "--test-threads=1", "--nocapture"])
            .env("REHOME_TEST_SIZE", "full")
            .env("REHOME_TEST_REPORT", root.join(REPORT))
            .current_dir(root);
        return run::finish(command);
    }
    for test in programs::build(root)? {
        if test.is_end_to_end() {
            let mut command = test.command();
            command
                .args([&format!("--test-threads={SHORT_TURNS}"), "--nocapture"])
                .env("REHOME_TEST_SIZE", "short")
                .env("REHOME_TEST_TURNS", SHORT_TURNS)
                .env("REHOME_XTASK", root.join("target/quick/xtask"));
            run::finish(command)?;
        }
    }
    Ok(())
}

fn demo(root: &Path, full: bool) -> Result<(), String> {
    let calls = if full { "200" } else { "60" };
    let demo = || {
        let mut command = programs::program(root, full, "rehome");
        command.args(["demo", "--json", "--calls", calls]);
        command
    };
    run::finish(demo())?;
    println!("and with a promise broken on purpose, which must be noticed:");
    let mut broken = demo();
    broken.arg("--break-promise");
    match run::finish(broken) {
        Err(_) => Ok(()),
        Ok(()) => Err("`rehome demo --break-promise` exited 0".to_owned()),
    }
}
