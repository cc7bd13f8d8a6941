//! The one program: a node of any role, its checks, and the operator's commands.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use node::config::{self, Role};
use tracing_subscriber::EnvFilter;

/// A SIP application server that keeps calls alive when a whole site dies.
#[derive(Debug, Parser)]
#[command(name = "rehome", version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs a node until it is told to end (SIGTERM) or dies.
    #[command(after_help = "Examples:\n  rehome serve --config site1.toml\n  \
        rehome serve --config site1.toml --role engine")]
    Serve(ConfigArguments),
    /// Checks a configuration and starts nothing.
    #[command(after_help = "Examples:\n  rehome check --config site1.toml\n  \
        rehome check --config site1.toml --role engine --json")]
    Check(CheckArguments),
    #[command(flatten)]
    Operator(cli::Command),
}

#[derive(Debug, clap::Args)]
struct ConfigArguments {
    /// The configuration file (TOML).
    #[arg(long, short)]
    config: PathBuf,
    /// Overrides the role in the file.
    #[arg(long)]
    role: Option<RoleArgument>,
}

#[derive(Debug, clap::Args)]
struct CheckArguments {
    #[command(flatten)]
    configuration: ConfigArguments,
    /// Prints one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum RoleArgument {
    All,
    State,
    Engine,
    Balancer,
    Witness,
}

impl From<RoleArgument> for Role {
    fn from(role: RoleArgument) -> Self {
        match role {
            RoleArgument::All => Self::All,
            RoleArgument::State => Self::State,
            RoleArgument::Engine => Self::Engine,
            RoleArgument::Balancer => Self::Balancer,
            RoleArgument::Witness => Self::Witness,
        }
    }
}

/// A turn allocates many small things and frees them soon: the system's allocator is a tenth of a
/// call's cost.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Serve(arguments) => serve(&arguments),
        Command::Check(arguments) => check(&arguments),
        Command::Operator(command) => cli::run(command),
    }
}

type Loaded = Result<(config::Config, Vec<config::Warning>), Vec<config::Mistake>>;

fn load(arguments: &ConfigArguments) -> Loaded {
    config::load(&arguments.config, arguments.role.map(Role::from))
}

fn complain(mistakes: &[config::Mistake]) -> ExitCode {
    for mistake in mistakes {
        eprintln!("{mistake}");
    }
    eprintln!("{} of the configuration to mend; nothing was started", mistakes.len());
    ExitCode::FAILURE
}

fn check(arguments: &CheckArguments) -> ExitCode {
    let loaded = load(&arguments.configuration);
    if arguments.json {
        println!("{}", json_of(&loaded));
        return if loaded.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    match loaded {
        Err(mistakes) => complain(&mistakes),
        Ok((config, warnings)) => {
            for warning in &warnings {
                println!("warning: {warning}");
            }
            let file = arguments.configuration.config.display();
            println!("{file}: role `{}` can start", config.role.as_str());
            ExitCode::SUCCESS
        }
    }
}

/// `{"can_start", "role", "warnings": [..], "mistakes": [{"file", "line", "what", "remedy"}]}`.
fn json_of(loaded: &Loaded) -> serde_json::Value {
    let mistake = |mistake: &config::Mistake| {
        serde_json::json!({
            "file": mistake.file,
            "line": mistake.line,
            "what": mistake.what,
            "remedy": mistake.remedy,
        })
    };
    let (role, warnings, mistakes) = match loaded {
        Ok((config, warnings)) => (Some(config.role.as_str()), warnings.as_slice(), &[][..]),
        Err(mistakes) => (None, &[][..], mistakes.as_slice()),
    };
    serde_json::json!({
        "can_start": loaded.is_ok(),
        "role": role,
        "warnings": warnings.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "mistakes": mistakes.iter().map(mistake).collect::<Vec<_>>(),
    })
}

fn serve(arguments: &ConfigArguments) -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let (config, warnings) = match load(arguments) {
        Ok(loaded) => loaded,
        Err(mistakes) => return complain(&mistakes),
    };
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    match node::serve(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}
