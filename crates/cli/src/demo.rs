//! `rehome demo`: two whole sites, a real failure, and every promise checked, in one command.
//!
//! The demo is an outsider. It starts this very program as a balancer and two sites on loopback,
//! talks SIP to them with user agents of its own, watches them through the admin API and takes one
//! of them away with SIGKILL. What it reports is what its user agents were told.
//!
//! Deliberately absent: any knowledge of how the sites work. It depends on `sip-message` and the
//! admin API's types, on nothing else of this project.

mod admin;
mod agent;
mod cluster;
mod line;
mod plan;
mod problem;
mod report;
mod stop;
mod story;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use problem::Problem;
use report::Report;
use stop::Stop;
use story::Story;

use crate::progress::Progress;

/// Fewer calls than this cannot show every part of the story.
pub const CALLS_MIN: u32 = 8;
/// More calls than this are refused: the demo shows a promise, the benchmark measures.
pub const CALLS_MAX: u32 = 5_000;

/// What `rehome demo` is asked for.
#[derive(Clone, Debug)]
pub struct DemoOptions {
    /// Calls to place, [`CALLS_MIN`] to [`CALLS_MAX`].
    pub calls: u32,
    /// One JSON object as the last line of the output, in place of the table.
    pub json: bool,
    /// Lets site 2 forget one call, to show that a broken promise is noticed.
    pub break_promise: bool,
    /// An empty or new directory for configurations, data and logs, which are kept there; else a
    /// temporary directory, which is removed when all went well.
    pub keep: Option<PathBuf>,
}

impl Default for DemoOptions {
    fn default() -> Self {
        Self { calls: 200, json: false, break_promise: false, keep: None }
    }
}

/// Runs the demo. Success means that every promise was kept; 1 that one was broken, 2 that the
/// demo could not be told to its end.
pub fn run(options: &DemoOptions, out: &mut dyn Write) -> ExitCode {
    let mut progress = Progress::new();
    let directory = match Directory::make(options.keep.as_deref()) {
        Ok(directory) => directory,
        Err(problem) => return fail(&problem),
    };
    let told = tell(options, &directory.path, &mut progress);
    drop(progress);
    let shown = told.and_then(|report| {
        show(&report, options.json, out)?;
        Ok(report)
    });
    match shown {
        Ok(report) if report.is_kept() => {
            directory.remove();
            ExitCode::SUCCESS
        }
        Ok(report) => {
            for broken in &report.broken {
                eprintln!("rehome demo: promise broken: {broken}");
            }
            eprintln!("rehome demo: configurations and logs are in {}", directory.path.display());
            ExitCode::FAILURE
        }
        Err(problem) => {
            eprintln!("rehome demo: configurations and logs are in {}", directory.path.display());
            fail(&problem)
        }
    }
}

fn tell(
    options: &DemoOptions,
    directory: &Path,
    progress: &mut Progress,
) -> Result<Report, Problem> {
    if !(CALLS_MIN..=CALLS_MAX).contains(&options.calls) {
        let calls = options.calls;
        return Err(Problem::new(format!(
            "{calls} calls: {CALLS_MIN} to {CALLS_MAX} are possible"
        )));
    }
    let stop = Stop::on_signals()?;
    Story::begin(options, directory, stop, progress)?.tell()
}

fn show(report: &Report, json: bool, out: &mut dyn Write) -> Result<(), Problem> {
    let text = if json { report.json()? + "\n" } else { format!("\n{}", report.table()) };
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(Problem::during("cannot write the result"))
}

fn fail(problem: &Problem) -> ExitCode {
    eprintln!("rehome demo: {problem}");
    ExitCode::from(2)
}

/// Where configurations, data and logs are.
struct Directory {
    path: PathBuf,
    is_ours: bool,
}

impl Directory {
    fn make(keep: Option<&Path>) -> Result<Self, Problem> {
        let (path, is_ours) = match keep {
            Some(path) => (path.to_path_buf(), false),
            None => {
                let name = format!("rehome-demo-{}", std::process::id());
                (std::env::temp_dir().join(name), true)
            }
        };
        std::fs::create_dir_all(&path).map_err(Problem::during(path.display()))?;
        let mut entries = std::fs::read_dir(&path).map_err(Problem::during(path.display()))?;
        if entries.next().is_some() {
            // The data of an earlier demo would be taken for the sites' own.
            let path = path.display();
            return Err(Problem::new(format!("{path} is not empty: name a new directory")));
        }
        let path = path.canonicalize().map_err(Problem::during(path.display()))?;
        Ok(Self { path, is_ours })
    }

    fn remove(&self) {
        if self.is_ours {
            // What cannot be removed is a few small files in the temporary directory.
            let _left = std::fs::remove_dir_all(&self.path);
        }
    }
}
