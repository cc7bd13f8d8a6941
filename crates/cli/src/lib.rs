//! The operator's commands: a client of the admin API, and the demo.
//!
//! Each command asks one node, prints what it says for people or, with `--json`, for programs, and
//! ends with a failure when the node refused. It keeps no state and knows no call.

pub mod client;
mod command;
pub mod demo;
mod print;
mod progress;
mod quarantine;

use std::process::ExitCode;

pub use client::{Client, ClientError};
pub use command::partitions::{MoveArguments, PartitionsArguments, PartitionsCommand};
pub use command::steer::{
    EvacuateArguments, ReplicationCommand, RetargetArguments, ReturnCommand, SiteArguments,
    StartArguments, SweepArguments,
};
pub use command::{BackupCommand, Command, DemoArguments, RouteCommand, Target};
pub use quarantine::QuarantineCommand;

/// Runs an operator's command and prints its outcome.
#[must_use]
pub fn run(command: Command) -> ExitCode {
    if let Command::Demo(arguments) = command {
        return demo::run(&arguments.into(), &mut std::io::stdout());
    }
    match command::run(&command) {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
