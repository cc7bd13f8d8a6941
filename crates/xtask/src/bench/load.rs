//! SIPp on both ends of a server: the same load for every peer.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// SIPp puts the number of the call in the place of `%u`.
const CALL_ID: &str = "held-%u";
/// A callee that hears nothing new for so long has heard all.
const NO_MORE_COME: Duration = Duration::from_secs(5);

/// A callee that answers everything, ended with this value.
pub(crate) struct Callee(Child);

impl Callee {
    /// Starts a scenario on `port`.
    pub(crate) fn start(
        root: &Path,
        folder: &Path,
        port: u16,
        scenario: &str,
    ) -> Result<Self, String> {
        Self::spawn(folder, port, &root.join("interop/sipp").join(scenario), None)
    }

    /// Starts a scenario of one's own, with its file of fields.
    pub(crate) fn start_with(
        folder: &Path,
        port: u16,
        (scenario, fields): &(PathBuf, PathBuf),
    ) -> Result<Self, String> {
        Self::spawn(folder, port, scenario, Some(fields))
    }

    fn spawn(
        folder: &Path,
        port: u16,
        scenario: &Path,
        fields: Option<&Path>,
    ) -> Result<Self, String> {
        let child = sipp(folder)
            .arg("-sf")
            .arg(scenario)
            .args(fields.into_iter().flat_map(|fields| [Path::new("-inf"), fields]))
            .args(["-trace_stat", "-fd", "1", "-stf"])
            .arg(folder.join("callee.csv"))
            .args(["-i", "127.0.0.1", "-p", &port.to_string()])
            .args(["-buff_size", "4194304"])
            .spawn()
            .map_err(|error| format!("sipp (callee) did not start: {error}"))?;
        Ok(Self(child))
    }
}

impl Callee {
    /// Calls that went as the scenario says, once these are `wanted`, or no more come.
    pub(crate) fn wait_for(&self, folder: &Path, wanted: u64) -> Result<u64, String> {
        let (mut last, mut since) = (0, Instant::now());
        while since.elapsed() < NO_MORE_COME {
            let now = read(&folder.join("callee.csv")).map_or(0, |outcome| outcome.successful);
            if now >= wanted {
                return Ok(now);
            }
            if now != last {
                (last, since) = (now, Instant::now());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(last)
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

/// A caller that holds its calls, ended with this value.
pub(crate) struct Holder {
    child: Child,
    lines: PathBuf,
}

impl Holder {
    /// Places `calls` calls that are held for as long as the caller lives, by a scenario of one's
    /// own if there is one.
    pub(crate) fn start(
        root: &Path,
        folder: &Path,
        (server, port): (u16, u16),
        calls: usize,
        own: Option<&(PathBuf, PathBuf)>,
    ) -> Result<Self, String> {
        let lines = folder.join("holder.lines");
        let ordinary = root.join("interop/sipp/uac_hold_logged.xml");
        let (scenario, fields) = match own {
            Some((scenario, fields)) => (scenario, Some(fields.as_path())),
            None => (&ordinary, None),
        };
        let child = sipp(folder)
            .arg(format!("127.0.0.1:{server}"))
            .arg("-sf")
            .arg(scenario)
            .args(fields.into_iter().flat_map(|fields| [Path::new("-inf"), fields]))
            .args(["-i", "127.0.0.1", "-p", &port.to_string()])
            .args(["-r", "50", "-m", &calls.to_string(), "-d", "3600000"])
            .args(["-cid_str", CALL_ID, "-trace_logs", "-log_file"])
            .arg(&lines)
            .spawn()
            .map_err(|error| format!("sipp (caller) did not start: {error}"))?;
        Ok(Self { child, lines })
    }

    /// The dialogs of the calls that were answered so far.
    pub(crate) fn dialogs(&self) -> Vec<Dialog> {
        let text = std::fs::read_to_string(&self.lines).unwrap_or_default();
        let dialog = |line: &str| {
            let (number, tag) = line.strip_prefix("dialog ")?.split_once(" ;tag=")?;
            Some(Dialog {
                call_id: CALL_ID.replace("%u", number),
                from_tag: format!("{}c{number}", self.child.id()),
                to_tag: tag.trim().to_owned(),
            })
        };
        text.lines().filter_map(dialog).collect()
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // One that has ended already is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A dialog as its caller knows it.
#[derive(Clone, Debug)]
pub(crate) struct Dialog {
    pub(crate) call_id: String,
    pub(crate) from_tag: String,
    pub(crate) to_tag: String,
}

/// Hangs up dialogs that have one Call-ID, one after the other; says how many were answered 200.
pub(crate) fn hang_up(
    root: &Path,
    folder: &Path,
    server: u16,
    dialogs: &[Dialog],
) -> Result<HangUp, String> {
    let Some(first) = dialogs.first() else { return Err("there is no dialog to end".to_owned()) };
    let name = format!("bye-{}", first.call_id);
    let (fields, csv) = (folder.join(format!("{name}.fields")), folder.join(format!("{name}.csv")));
    let mut text = "SEQUENTIAL\n".to_owned();
    for dialog in dialogs {
        text.push_str(&format!("{};{};\n", dialog.from_tag, dialog.to_tag));
    }
    std::fs::write(&fields, text).map_err(|error| format!("{}: {error}", fields.display()))?;
    let child = sipp(folder)
        .arg(format!("127.0.0.1:{server}"))
        .arg("-sf")
        .arg(root.join("interop/sipp/uac_bye.xml"))
        .args(["-i", "127.0.0.1", "-m", &dialogs.len().to_string(), "-l", "1", "-r", "1000"])
        // A call that is over leaves its Call-ID to the next.
        .args(["-cid_str", &first.call_id, "-deadcall_wait", "0", "-timeout", "60"])
        .args(["-trace_stat", "-stf"])
        .arg(&csv)
        .arg("-inf")
        .arg(&fields)
        .spawn()
        .map_err(|error| format!("sipp (caller) did not start: {error}"))?;
    Ok(HangUp { child, csv })
}

/// A caller that hangs up, ended with this value.
pub(crate) struct HangUp {
    child: Child,
    csv: PathBuf,
}

impl HangUp {
    /// BYEs that were answered 200.
    pub(crate) fn finish(mut self) -> Result<u64, String> {
        self.child.wait().map_err(|error| format!("sipp (caller): {error}"))?;
        read(&self.csv).map(|outcome| outcome.successful)
    }
}

impl Drop for HangUp {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
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
