//! SIPp on both ends of a server: the same load for every peer.

use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A callee that answers everything, ended with this value.
pub(crate) struct Callee(Child);

impl Callee {
    /// Starts the `uas.xml` scenario on `port`.
    pub(crate) fn start(root: &Path, folder: &Path, port: u16) -> Result<Self, String> {
        let child = sipp(folder)
            .arg("-sf")
            .arg(root.join("interop/sipp/uas.xml"))
            .args(["-i", "127.0.0.1", "-p", &port.to_string()])
            .args(["-buff_size", "4194304"])
            .spawn()
            .map_err(|error| format!("sipp (callee) did not start: {error}"))?;
        Ok(Self(child))
    }
}

impl Drop for Callee {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What one load came to.
pub(crate) struct Outcome {
    /// Calls that ended well.
    pub(crate) successful: u64,
    /// Calls that did not.
    pub(crate) failed: u64,
    /// Messages that SIPp had to send again.
    pub(crate) retransmissions: u64,
    /// Calls a second, begin to end.
    pub(crate) rate: f64,
}

/// Places calls at `rate` for `seconds`, each held for one second.
pub(crate) fn place(
    root: &Path,
    folder: &Path,
    server: u16,
    port: u16,
    rate: u32,
    seconds: u32,
) -> Result<Outcome, String> {
    let calls = rate * seconds;
    let csv = folder.join("caller.csv");
    let _ = std::fs::remove_file(&csv);
    let mut child = sipp(folder)
        .arg(format!("127.0.0.1:{server}"))
        .arg("-sf")
        .arg(root.join("interop/sipp/uac_hold.xml"))
        .args(["-i", "127.0.0.1", "-p", &port.to_string()])
        .args(["-r", &rate.to_string(), "-m", &calls.to_string(), "-d", "1000"])
        .args(["-l", &(calls + 1).to_string(), "-buff_size", "4194304"])
        .args(["-timeout", &(seconds + 45).to_string()])
        .args(["-trace_stat", "-fd", "1", "-stf"])
        .arg(&csv)
        .spawn()
        .map_err(|error| format!("sipp (caller) did not start: {error}"))?;
    child.wait().map_err(|error| format!("sipp (caller): {error}"))?;
    read(&csv)
}

/// Places `calls` calls that are held for as long as the caller lives.
pub(crate) fn hold(
    root: &Path,
    folder: &Path,
    server: u16,
    port: u16,
    calls: usize,
) -> Result<Child, String> {
    sipp(folder)
        .arg(format!("127.0.0.1:{server}"))
        .arg("-sf")
        .arg(root.join("interop/sipp/uac_hold.xml"))
        .args(["-i", "127.0.0.1", "-p", &port.to_string()])
        .args(["-r", "50", "-m", &calls.to_string(), "-d", "3600000"])
        .spawn()
        .map_err(|error| format!("sipp (caller) did not start: {error}"))
}

fn sipp(folder: &Path) -> Command {
    let mut command = Command::new("sipp");
    command
        .current_dir(folder)
        .args(["-nostdin"])
        .env("TERM", "dumb")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

/// The last line of SIPp's statistics, by the names of its first.
fn read(csv: &Path) -> Result<Outcome, String> {
    let text = std::fs::read_to_string(csv)
        .map_err(|error| format!("sipp left no statistics ({}): {error}", csv.display()))?;
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next().unwrap_or_default().split(';').collect();
    let last: Vec<&str> = lines.next_back().unwrap_or_default().split(';').collect();
    let field = |name: &str| {
        let index = names.iter().position(|one| *one == name)?;
        last.get(index)?.trim().parse::<f64>().ok()
    };
    let need = |name: &str| field(name).ok_or_else(|| format!("sipp's statistics have no {name}"));
    Ok(Outcome {
        successful: need("SuccessfulCall(C)")? as u64,
        failed: need("FailedCall(C)")? as u64,
        retransmissions: need("Retransmissions(C)")? as u64,
        rate: need("CallRate(C)")?,
    })
}
