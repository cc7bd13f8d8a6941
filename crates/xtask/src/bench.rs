//! `cargo xtask bench`: figures as ratios against a peer in the same run, or against a bound; times
//! are never absolute promises.

mod call;
mod crossing;
mod load;
mod memory;
mod process;
pub(crate) mod site;
mod tier;

use std::path::Path;

use clap::{Parser, Subcommand, value_parser};

#[derive(Parser)]
#[command(
    name = "cargo xtask bench",
    after_help = "Examples:\n  cargo xtask bench call\n  \
                  cargo xtask bench call --seconds 20 --json\n  \
                  cargo xtask bench crossing --short\n  \
                  sudo -E cargo xtask bench crossing --json\n  \
                  cargo xtask bench memory\n  cargo xtask bench memory --calls 1000000 --json\n  \
                  cargo xtask bench tier\n  cargo xtask bench tier --seconds 10 --json"
)]
struct Cli {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// CPU time per call of the combined tier, beside Kamailio (tm + dialog), same SIPp load.
    Call {
        /// Seconds of load at each rate.
        #[arg(long, default_value_t = 8)]
        seconds: u32,
        /// Prints JSON beside the table, and stores it under bench/results/.
        #[arg(long)]
        json: bool,
    },
    /// Lag, bytes, CPU against the delay, take-over and bulk activation between two sites; root.
    ///
    /// Two sites of 2 engines and 2 x 2 replicas in network namespaces, each with its etcd and
    /// NATS, SIPp on both ends, 40 ms between the sites. Whole, it takes about ten minutes and
    /// fails above a bound.
    #[command(after_help = "Examples:\n  cargo xtask bench crossing --short\n  \
                  cargo xtask bench crossing --part rate\n  \
                  sudo -E cargo xtask bench crossing --json")]
    Crossing(crossing::Options),
    /// Memory of a steady call in a state process, alone and one of three; fails above the bound.
    #[command(after_help = "Examples:\n  cargo xtask bench memory\n  \
                  cargo xtask bench memory --calls 1000000 --json")]
    Memory {
        /// Steady calls, clones of real ones; with fewer, what the allocator holds ahead shows.
        #[arg(long, default_value_t = 20_000, value_parser = value_parser!(u64).range(10_000..))]
        calls: u64,
        /// Prints JSON beside the table, and stores it under bench/results/.
        #[arg(long)]
        json: bool,
    },
    /// CPU and time of a turn at the state tier with 1, 2 and 3 replicas, beside Redis.
    #[command(after_help = "Examples:\n  cargo xtask bench tier\n  \
                  cargo xtask bench tier --seconds 10 --json")]
    Tier {
        /// Seconds for each figure, dealt to three rounds.
        #[arg(long, default_value_t = 3.0)]
        seconds: f64,
        /// Prints JSON beside the table, and stores it under bench/results/.
        #[arg(long)]
        json: bool,
    },
}

/// Parses the bench's own arguments and runs it.
pub(crate) fn run(root: &Path, arguments: &[String]) -> Result<(), String> {
    let all = std::iter::once("bench".to_owned()).chain(arguments.iter().cloned());
    match Cli::try_parse_from(all) {
        Ok(Cli { what: What::Call { seconds, json } }) => call::run(root, seconds, json),
        Ok(Cli { what: What::Crossing(options) }) => crossing::run(root, &options),
        Ok(Cli { what: What::Memory { calls, json } }) => memory::run(root, calls, json),
        Ok(Cli { what: What::Tier { seconds, json } }) => tier::run(root, seconds, json),
        Err(help) => {
            let _ = help.print();
            if help.use_stderr() { Err("the bench did not run".to_owned()) } else { Ok(()) }
        }
    }
}
