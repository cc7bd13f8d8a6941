//! Every chore of the project is `cargo xtask ...`: test, tidy, sim, bench, load, dictionary, wan,
//! install.

mod bench;
mod dictionary;
mod install;
mod load;
mod run;
mod test;
mod tidy;
mod tier;
mod wan;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(
    about = "Chores of the Rehome project",
    after_help = "Examples:\n  cargo xtask test\n  cargo xtask test --full\n  \
                  cargo xtask test --only tidy\n  cargo xtask sim --seeds 1000\n  \
                  cargo xtask sim --replay 42\n  cargo xtask bench call\n  \
                  cargo xtask bench crossing --short\n  \
                  cargo xtask bench memory\n  cargo xtask bench tier\n  \
                  cargo xtask load --help\n  \
                  cargo xtask wan --hosts a,b --delay-ms 40"
)]
struct Cli {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Runs all tests at a small size, installing what is missing; the one command that passes all
    /// tests.
    Test {
        /// The sizes that promises are measured at; writes a report under bench/results/.
        #[arg(long)]
        full: bool,
        /// Runs one step only; an unknown name lists the steps.
        #[arg(long)]
        only: Option<String>,
    },
    /// Checks dependency edges, purity of the cores, sizes and words.
    Tidy,
    /// Simulates two sites in virtual time.
    Sim {
        /// Arguments for the simulator; `cargo xtask sim --help` lists them.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Measures; every figure is a ratio against a peer in the same run, or has a bound.
    Bench {
        /// Arguments for the bench; `cargo xtask bench --help` lists them.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Fills a site's state tier with clones of real calls, more than SIPp can hold.
    Load(load::Options),
    /// Trains the dictionary of batches from calls that SIPp sets up, under the next number.
    Dictionary(dictionary::Options),
    /// Joins network namespaces by a network with delay, loss and cuts, for end-to-end tests; root.
    Wan(wan::Options),
    /// Installs the programs that the tests need.
    Install,
}

fn main() -> ExitCode {
    let root = root();
    let outcome = match Cli::parse().chore {
        Chore::Test { full, only } => return test::run(&root, full, only.as_deref()),
        Chore::Tidy => tidy::run(&root),
        Chore::Sim { arguments } => {
            run::cargo(&root, &["run", "--release", "--quiet", "-p", "sim", "--"], &arguments)
        }
        Chore::Bench { arguments } => bench(&root, &arguments),
        Chore::Load(options) => load::run(&options),
        Chore::Dictionary(options) => dictionary(&root, &options),
        Chore::Wan(options) => wan::run(&options),
        Chore::Install => {
            install::ensure(install::TEST).and_then(|()| install::ensure(install::BENCH))
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("error: {problem}");
            ExitCode::FAILURE
        }
    }
}

/// Clients of a bench count as well: an unoptimized build has an optimized one do it.
fn bench(root: &Path, arguments: &[String]) -> Result<(), String> {
    if cfg!(debug_assertions) {
        let again = ["run", "--release", "--quiet", "-p", "xtask", "--", "bench"];
        return run::cargo(root, &again, arguments);
    }
    install::ensure(install::BENCH)?;
    run::cargo(root, &["build", "--release", "--quiet", "-p", "node"], &[])?;
    bench::run(root, arguments)
}

/// An optimized program takes the samples, and an optimized one is measured.
fn dictionary(root: &Path, options: &dictionary::Options) -> Result<(), String> {
    if options.needs_servers() {
        install::ensure(install::TEST)?;
        run::cargo(root, &["build", "--release", "--quiet", "-p", "node"], &[])?;
    }
    if cfg!(debug_assertions) && options.measure {
        let again = ["run", "--release", "--quiet", "-p", "xtask", "--", "dictionary", "--measure"];
        return run::cargo(root, &again, &[]);
    }
    dictionary::run(root, options)
}

/// The workspace root, two folders above this crate.
fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}
