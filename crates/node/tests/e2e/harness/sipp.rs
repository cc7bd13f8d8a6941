//! SIPp as caller and callee, its statistics and its log lines read back.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use vocab::TokenSecret;

use super::config::SECRET;
use super::messages::Line;
use super::netns;
use super::stage::Stage;
use super::wait_for;

/// One SIPp process, killed when this is dropped.
pub(crate) struct Sipp {
    name: String,
    child: Child,
    statistics: PathBuf,
    lines: PathBuf,
    messages: PathBuf,
}

/// What SIPp counted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Figures {
    /// Calls that went as the scenario says.
    pub(crate) successful: u64,
    /// Calls that did not.
    pub(crate) failed: u64,
    /// Messages sent again.
    pub(crate) repeated: u64,
    /// Messages that came where a call did not expect them, after its end, or for no call.
    pub(crate) strange: u64,
}

/// When a call of the caller reached which step, in seconds since 1970.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Steps {
    pub(crate) invited: Option<f64>,
    pub(crate) answered: Option<f64>,
    /// The caller sent its re-INVITE, or its BYE where it sends none.
    pub(crate) asked: Option<f64>,
    /// The session was refreshed by us.
    pub(crate) refreshed: Option<f64>,
    /// The caller's re-INVITE was answered.
    pub(crate) changed: Option<f64>,
    /// Its second re-INVITE was answered.
    pub(crate) again: Option<f64>,
    /// The callee was asked to end before it answered.
    pub(crate) cancelled: Option<f64>,
    pub(crate) ended: Option<f64>,
}

/// The load of a caller.
pub(crate) struct Load {
    pub(crate) calls: u32,
    pub(crate) per_second: u32,
    pub(crate) hold: Duration,
}

impl Load {
    /// How long it takes to place all of it.
    pub(crate) fn placing(&self) -> Duration {
        Duration::from_secs_f64(f64::from(self.calls) / f64::from(self.per_second))
    }
}

impl Sipp {
    /// A callee at `address` that expects `calls` calls.
    pub(crate) fn callee(stage: &Stage, scenario: &str, address: SocketAddr, calls: u32) -> Self {
        Self::callee_after(stage, scenario, address, calls, Duration::ZERO)
    }

    /// A callee that rings for `rings` before it does what its scenario says.
    pub(crate) fn callee_after(
        stage: &Stage,
        scenario: &str,
        address: SocketAddr,
        calls: u32,
        rings: Duration,
    ) -> Self {
        let mut command = command(stage, "callee", scenario, address);
        command.args(["-m", &calls.to_string(), "-d", &rings.as_millis().to_string()]);
        let callee = Self::spawn(stage, "callee", command);
        wait_for("SIPp as callee", Duration::from_secs(10), || {
            let is_taken = || std::net::UdpSocket::bind(address).is_err();
            netns::on(stage.host(), is_taken).then_some(())
        });
        callee
    }

    /// A caller at `address` that calls through `edge`.
    pub(crate) fn caller(
        stage: &Stage,
        scenario: &str,
        address: SocketAddr,
        edge: SocketAddr,
        load: &Load,
    ) -> Self {
        Self::caller_named(stage, "caller", scenario, [address, edge], load)
    }

    /// The same where there is more than one: `name` is in those of its files. `way`: its address
    /// and whom it calls through.
    pub(crate) fn caller_named(
        stage: &Stage,
        name: &str,
        scenario: &str,
        way: [SocketAddr; 2],
        load: &Load,
    ) -> Self {
        let [address, edge] = way;
        let Load { calls, per_second, hold } = load;
        let mut command = command(stage, name, scenario, address);
        command
            .arg(edge.to_string())
            .args(["-m", &calls.to_string(), "-r", &per_second.to_string()])
            .args(["-l", &(calls + 1).to_string(), "-d", &hold.as_millis().to_string()]);
        Self::spawn(stage, name, command)
    }

    fn spawn(stage: &Stage, name: &str, mut command: Command) -> Self {
        let child = netns::on(stage.host(), || command.spawn()).unwrap_or_else(|error| {
            panic!("sipp did not start ({error}): apt-get install sip-tester");
        });
        let statistics = stage.path(&format!("{name}.csv"));
        let lines = stage.path(&format!("{name}.lines"));
        let messages = stage.path(&format!("{name}.messages"));
        Self { name: name.into(), child, statistics, lines, messages }
    }

    /// Waits until SIPp has done all its calls, or `patience` is over, and reads its statistics.
    pub(crate) fn finish(&mut self, patience: Duration) -> Figures {
        let deadline = std::time::Instant::now() + patience;
        let what = format!("SIPp as {}", self.name);
        wait_for(&what, patience + Duration::from_secs(5), || {
            let ended = self.child.try_wait().expect("it is our child").is_some();
            (ended || std::time::Instant::now() > deadline).then_some(())
        });
        let _ended = self.child.kill();
        let _ended = self.child.wait();
        self.figures().expect("SIPp wrote its statistics")
    }

    /// Ends it, whatever its calls do, and reads its statistics.
    pub(crate) fn stop(&mut self) -> Figures {
        self.finish(Duration::ZERO)
    }

    /// The peer's tag in each call that was answered.
    pub(crate) fn tags(&self) -> BTreeMap<u32, String> {
        let text = std::fs::read_to_string(&self.lines).unwrap_or_default();
        let tag = |line: &str| {
            let (number, tag) = line.strip_prefix("dialog ")?.split_once(' ')?;
            Some((number.parse().ok()?, tag.trim().strip_prefix(";tag=")?.to_owned()))
        };
        text.lines().filter_map(tag).collect()
    }

    /// The key of each call that was answered, out of the tag that we minted for it.
    pub(crate) fn keys(&self) -> BTreeMap<u32, String> {
        let mut secret = [0; 32];
        for (byte, digits) in secret.iter_mut().zip(SECRET.as_bytes().chunks(2)) {
            let digits = std::str::from_utf8(digits).expect("hexadecimal digits");
            *byte = u8::from_str_radix(digits, 16).expect("hexadecimal digits");
        }
        let secret = TokenSecret::new(secret);
        let key = |(number, tag): (u32, String)| {
            let token = secret.read(tag.as_bytes()).expect("a tag of ours");
            (number, token.key.to_string())
        };
        self.tags().into_iter().map(key).collect()
    }

    /// Every message that it sent and received, where the stage wants them written.
    pub(crate) fn messages(&self) -> Vec<Line> {
        let text = std::fs::read_to_string(&self.messages).expect("SIPp wrote its messages");
        text.lines().filter_map(Line::read).collect()
    }

    /// The newest statistics; SIPp writes them once a second.
    pub(crate) fn figures(&self) -> Option<Figures> {
        let text = std::fs::read_to_string(&self.statistics).ok()?;
        let mut lines = text.lines();
        let names: Vec<&str> = lines.next()?.split(';').collect();
        let last: Vec<&str> = lines.next_back()?.split(';').collect();
        let field = |name: &str| {
            let index = names.iter().position(|one| *one == name)?;
            last.get(index)?.trim().parse::<u64>().ok()
        };
        Some(Figures {
            successful: field("SuccessfulCall(C)")?,
            failed: field("FailedCall(C)")?,
            repeated: field("Retransmissions(C)")?,
            strange: ["FailedUnexpectedMessage(C)", "OutOfCallMsgs(C)", "DeadCallMsgs(C)"]
                .into_iter()
                .map(field)
                .sum::<Option<u64>>()?,
        })
    }

    /// The log lines of the scenario by call: `WORD NUMBER DATE TIME SECONDS`.
    pub(crate) fn steps(&self) -> BTreeMap<u32, Steps> {
        let text = std::fs::read_to_string(&self.lines).unwrap_or_default();
        let mut calls: BTreeMap<u32, Steps> = BTreeMap::new();
        for line in text.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [word, number, .., seconds] = words.as_slice() else { continue };
            let (Ok(number), Ok(seconds)) = (number.parse(), seconds.parse()) else { continue };
            let steps = calls.entry(number).or_default();
            match *word {
                "invited" => steps.invited = Some(seconds),
                "asking" => steps.asked = Some(seconds),
                "answered" => steps.answered = Some(seconds),
                "refreshed" => steps.refreshed = Some(seconds),
                "changed" => steps.changed = Some(seconds),
                "again" => steps.again = Some(seconds),
                "cancelled" => steps.cancelled = Some(seconds),
                "ended" => steps.ended = Some(seconds),
                _ => {}
            }
        }
        calls
    }
}

impl Drop for Sipp {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

/// Seconds since 1970, as SIPp's log lines have them.
pub(crate) fn clock() -> f64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.expect("the clock is past 1970").as_secs_f64()
}

fn command(stage: &Stage, name: &str, scenario: &str, address: SocketAddr) -> Command {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../interop/sipp");
    // SIPp takes this port and the second after it.
    let [media, ..] = [(); 3].map(|()| stage.address());
    let mut command = Command::new("sipp");
    command
        .current_dir(stage.folder())
        .arg("-sf")
        .arg(folder.join(format!("{scenario}.xml")))
        .args(["-i", &address.ip().to_string(), "-p", &address.port().to_string()])
        .args(["-mp", &media.port().to_string(), "-buff_size", "4194304", "-nostdin"])
        .args(["-trace_stat", "-fd", "1", "-stf", &format!("{name}.csv")])
        .args(["-trace_err", "-error_file", &format!("sipp-{name}.log")])
        .args(["-trace_logs", "-log_file", &format!("{name}.lines")])
        .env("TERM", "dumb")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    if stage.keeps_messages() {
        command.args(["-trace_shortmsg", "-shortmessage_file", &format!("{name}.messages")]);
    }
    command
}
