//! A server under load: started in a process group of its own, its CPU time read, ended by id.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::run;

/// A server and all processes that it forked.
pub(crate) struct Server {
    child: Child,
    /// What it is called in tables.
    pub(crate) name: &'static str,
}

impl Server {
    /// Starts `command` in its own process group, quietly.
    pub(crate) fn start(name: &'static str, mut command: Command) -> Result<Self, String> {
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self::spawn(name, command)
    }

    /// The same, with what it says on stderr and stdout in a file.
    pub(crate) fn start_logged(
        name: &'static str,
        mut command: Command,
        log: &Path,
    ) -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("{}: {error}", log.display());
        let file = File::create(log).map_err(failed)?;
        command.process_group(0).stdin(Stdio::null());
        command.stdout(file.try_clone().map_err(failed)?).stderr(file);
        Self::spawn(name, command)
    }

    fn spawn(name: &'static str, mut command: Command) -> Result<Self, String> {
        let child = command.spawn().map_err(|error| format!("{name} did not start: {error}"))?;
        Ok(Self { child, name })
    }

    /// Whether it still runs.
    pub(crate) fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// CPU seconds that the whole process group has used.
    pub(crate) fn cpu_seconds(&self) -> Result<f64, String> {
        let group = self.child.id();
        let mut ticks = 0_u64;
        let entries = std::fs::read_dir("/proc").map_err(|error| format!("/proc: {error}"))?;
        for entry in entries.flatten() {
            let name = entry.file_name();
            if !name.to_string_lossy().bytes().all(|byte| byte.is_ascii_digit()) {
                continue;
            }
            // A process may end while we read.
            let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
            ticks += ticks_of(&stat, group).unwrap_or(0);
        }
        Ok(ticks as f64 / ticks_per_second()?)
    }

    /// CPU time of its threads that live, in nanoseconds: finer than ticks, for a server that does
    /// not fork.
    pub(crate) fn cpu_ns(&self) -> Result<u64, String> {
        cpu_ns(&self.child.id().to_string())
    }

    /// Memory of the process that is in RAM, in bytes.
    pub(crate) fn rss_bytes(&self) -> Result<u64, String> {
        let file = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(&file).map_err(|error| format!("{file}: {error}"))?;
        rss_of(&status).ok_or_else(|| format!("{file} has no VmRSS"))
    }
}

/// CPU time of a process's threads that live, in nanoseconds; `self` is this process.
pub(crate) fn cpu_ns(process: &str) -> Result<u64, String> {
    let folder = format!("/proc/{process}/task");
    let threads = std::fs::read_dir(&folder).map_err(|error| format!("{folder}: {error}"))?;
    let mut total = 0;
    for thread in threads.flatten() {
        // A thread may end while we read.
        let Ok(text) = std::fs::read_to_string(thread.path().join("schedstat")) else { continue };
        let on_cpu = text.split(' ').next().and_then(|number| number.parse::<u64>().ok());
        total += on_cpu.ok_or_else(|| format!("{folder}: a schedstat without numbers"))?;
    }
    Ok(total)
}

fn rss_of(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib * 1024)
}

impl Drop for Server {
    fn drop(&mut self) {
        let group = format!("-{}", self.child.id());
        for (signal, patience) in [("-TERM", 3), ("-KILL", 3)] {
            let mut command = Command::new("kill");
            command.args([signal, "--", &group]).stderr(Stdio::null());
            let _ = command.status();
            let deadline = Instant::now() + Duration::from_secs(patience);
            while Instant::now() < deadline {
                if !self.is_alive() {
                    return;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

/// `utime + stime` of a process of the group; fields are counted after the name, which may hold
/// spaces.
fn ticks_of(stat: &str, group: u32) -> Option<u64> {
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    if fields.get(2)?.parse::<u32>().ok()? != group {
        return None;
    }
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    Some(number(11)? + number(12)?)
}

fn ticks_per_second() -> Result<f64, String> {
    let mut command = Command::new("getconf");
    command.arg("CLK_TCK");
    let text = run::capture(command)?;
    text.trim().parse().map_err(|error| format!("getconf CLK_TCK: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_memory_is_read() {
        assert_eq!(rss_of("Name:\tx\nVmRSS:\t    12 kB\nThreads:\t1\n"), Some(12 * 1024));
        assert_eq!(rss_of("Name:\tx\n"), None);
    }

    #[test]
    fn a_thread_that_lives_has_used_the_cpu() {
        assert!(cpu_ns("self").is_ok_and(|used| used > 0));
    }

    #[test]
    fn ticks_are_read_behind_any_name() {
        let stat = "77 (a b) c) S 1 77 77 0 -1 4194560 100 0 0 0 12 30 0 0 20 0 1 0 5 6 7";
        assert_eq!(ticks_of(stat, 77), Some(42));
        assert_eq!(ticks_of(stat, 78), None);
        assert_eq!(ticks_of("", 1), None);
    }
}
