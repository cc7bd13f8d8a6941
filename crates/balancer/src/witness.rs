//! A witness: probes sites with SIP from outside, and tells balancers what came of it.
//!
//! ```text
//!   Resting ──interval──► Asking ──answer──► Resting, answered
//!                          │  ▲ └─repetition─┘
//!                          └──timeout, another's answer──► Resting, missed
//! ```
//! Each site has one probe on its way at most. A repetition goes to the next of the site's
//! addresses, with the same bytes: an edge that is gone makes a probe later, not vain. Deliberately
//! absent: any judgement. What a single probe came to is said; balancers judge.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use vocab::{Instant, SiteId, TokenSecret};

use crate::edge_frame::{EdgeFrame, Report};
use crate::probe::{Probe, Proof};

/// RFC 3261 §17.1.2.1: the interval of the first repetition, and its longest.
const T1: Duration = Duration::from_millis(500);
const T2: Duration = Duration::from_secs(4);

/// What a witness is told at its start.
#[derive(Clone, Debug)]
pub struct Config {
    /// Its name: each witness of a deployment has its own.
    pub name: String,
    /// Grows with each start.
    pub life: u64,
    /// Where answers come.
    pub listen: SocketAddr,
    /// Each site and where it is reached: its edges, or balancers in front of it.
    pub targets: Vec<(SiteId, Vec<SocketAddr>)>,
    /// The inner addresses of balancers.
    pub report_to: Vec<SocketAddr>,
    /// Time between two probes of a site.
    pub interval: Duration,
    /// A probe that is not answered for so long is missed.
    pub timeout: Duration,
    /// The deployment's secret.
    pub secret: TokenSecret,
}

/// What comes in.
#[derive(Clone, Debug)]
pub enum Input {
    /// A datagram came.
    Datagram {
        /// Its content.
        bytes: Bytes,
    },
    /// The moment of [`Output::WakeAt`] has come.
    Wake,
}

/// What goes out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send this.
    Send {
        /// The destination.
        to: SocketAddr,
        /// The datagram.
        bytes: Bytes,
    },
    /// Nothing more to do before this moment, unless something comes in.
    WakeAt(Instant),
}

#[derive(Debug)]
enum State {
    /// Waits for the next probe to be due.
    Resting { until: Instant },
    /// Waits for the answer.
    Asking(Asking),
}

#[derive(Debug)]
struct Asking {
    probe: Probe,
    asked_at: Instant,
    repeat_at: Instant,
    pause: Duration,
}

/// What the last probe came to.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Outcome {
    answers: bool,
    /// Since when probes have come to the same.
    since: Instant,
    took: Option<Duration>,
    why: Option<String>,
}

#[derive(Debug)]
struct Target {
    site: SiteId,
    addresses: Vec<SocketAddr>,
    /// Of the address that is next.
    next: usize,
    state: State,
    result: Option<Outcome>,
    probes: u64,
    missed: u64,
}

/// One site, as a witness sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The site.
    pub site: SiteId,
    /// Whether it answered the last probe; `None` before that is known.
    pub answers: Option<bool>,
    /// For how long probes have come to the same.
    pub since: Duration,
    /// How long the last answer took.
    pub took: Option<Duration>,
    /// Why the last probe is missed.
    pub why: Option<String>,
    /// Probes that are over.
    pub probes: u64,
    /// Of these, missed.
    pub missed: u64,
}

/// A witness. See the module.
#[derive(Debug)]
pub struct Witness {
    config: Config,
    targets: Vec<Target>,
    /// Of the last probe and of the last report.
    number: u64,
    report_at: Instant,
    outputs: VecDeque<Output>,
}

impl Witness {
    /// A witness whose first output is a probe of each site.
    #[must_use]
    pub fn new(now: Instant, config: Config) -> Self {
        let target = |(site, addresses): &(SiteId, Vec<SocketAddr>)| Target {
            site: *site,
            addresses: addresses.clone(),
            next: 0,
            state: State::Resting { until: now },
            result: None,
            probes: 0,
            missed: 0,
        };
        let targets = config.targets.iter().map(target).collect();
        let outputs = VecDeque::new();
        let mut witness = Self { config, targets, number: 0, report_at: now, outputs };
        witness.wake(now);
        witness
    }

    /// The door in.
    pub fn handle_input(&mut self, now: Instant, input: Input) {
        match input {
            Input::Datagram { bytes } => self.take(now, &bytes),
            Input::Wake => self.wake(now),
        }
    }

    /// The door out: drained until it says [`Output::WakeAt`].
    pub fn poll_output(&mut self) -> Output {
        if let Some(output) = self.outputs.pop_front() {
            return output;
        }
        let targets = self.targets.iter().map(|target| match &target.state {
            State::Resting { until } => *until,
            State::Asking(asking) => asking.repeat_at.min(asking.asked_at + self.config.timeout),
        });
        Output::WakeAt(targets.fold(self.report_at, Instant::min))
    }

    /// Every site as it is seen.
    #[must_use]
    pub fn picture(&self, now: Instant) -> Vec<Seen> {
        let of = |target: &Target| {
            let result = target.result.as_ref();
            Seen {
                site: target.site,
                answers: result.map(|result| result.answers),
                since: result.map(|result| now.since(result.since)).unwrap_or_default(),
                took: result.and_then(|result| result.took),
                why: result.and_then(|result| result.why.clone()),
                probes: target.probes,
                missed: target.missed,
            }
        };
        self.targets.iter().map(of).collect()
    }

    fn take(&mut self, now: Instant, bytes: &[u8]) {
        let mut changed = false;
        for target in &mut self.targets {
            let State::Asking(asking) = &target.state else { continue };
            let (asked_at, took) = (asking.asked_at, now.since(asking.asked_at));
            let ended = match asking.probe.read(&self.config.secret, bytes) {
                Proof::Foreign => continue,
                Proof::Answered => target.end(now, Some(took), None),
                Proof::Elsewhere(why) => target.end(now, None, Some(why)),
            };
            changed |= ended;
            target.state = State::Resting { until: asked_at + self.config.interval };
            break;
        }
        if changed {
            self.report(now);
        }
    }

    fn wake(&mut self, now: Instant) {
        let mut changed = false;
        for target in &mut self.targets {
            let Config { secret, listen, name, life, timeout, .. } = &self.config;
            match &mut target.state {
                State::Resting { until } if *until <= now => {
                    self.number += 1;
                    let to = target.turn_of_address();
                    let from = (name.as_str(), *life, self.number);
                    let probe = Probe::new(secret, target.site, to, *listen, from);
                    let bytes = Bytes::from(probe.text.clone());
                    self.outputs.push_back(Output::Send { to, bytes });
                    let (asked_at, repeat_at, pause) = (now, now + T1, T1);
                    target.state = State::Asking(Asking { probe, asked_at, repeat_at, pause });
                }
                State::Asking(asking) if asking.asked_at + *timeout <= now => {
                    let until = now.max(asking.asked_at + self.config.interval);
                    changed |= target.end(now, None, Some("no answer".into()));
                    target.state = State::Resting { until };
                }
                State::Asking(asking) if asking.repeat_at <= now => {
                    asking.pause = (asking.pause * 2).min(T2);
                    asking.repeat_at = now + asking.pause;
                    let bytes = Bytes::from(asking.probe.text.clone());
                    let to = target.turn_of_address();
                    self.outputs.push_back(Output::Send { to, bytes });
                }
                State::Resting { .. } | State::Asking(_) => {}
            }
        }
        if changed || self.report_at <= now {
            self.report(now);
        }
    }

    /// Says what is known, at once when it has changed, else at the interval of the probes.
    fn report(&mut self, now: Instant) {
        self.report_at = now + self.config.interval;
        let known = |target: &Target| Some((target.site, target.result.as_ref()?.answers));
        let sites: Vec<(SiteId, bool)> = self.targets.iter().filter_map(known).collect();
        if sites.is_empty() {
            return;
        }
        self.number += 1;
        let report = Report {
            witness: self.config.name.clone(),
            life: self.config.life,
            number: self.number,
            // Two may be lost, and the third may wait for the end of a probe.
            valid_for: 3 * self.config.interval + self.config.timeout,
            sites,
        };
        let bytes = EdgeFrame::Report(report).encode(&self.config.secret);
        for &to in &self.config.report_to {
            self.outputs.push_back(Output::Send { to, bytes: bytes.clone() });
        }
    }
}

impl Target {
    fn turn_of_address(&mut self) -> SocketAddr {
        let at = self.next % self.addresses.len().max(1);
        self.next = at + 1;
        // A target without an address is refused by the configuration's check.
        self.addresses.get(at).copied().unwrap_or(SocketAddr::from(([0, 0, 0, 0], 0)))
    }

    /// Notes what a probe came to; whether that is another than before.
    fn end(&mut self, now: Instant, took: Option<Duration>, why: Option<String>) -> bool {
        let answers = took.is_some();
        self.probes += 1;
        self.missed += u64::from(!answers);
        let before = self.result.as_ref().filter(|result| result.answers == answers);
        let changed = before.is_none();
        let since = before.map_or(now, |result| result.since);
        self.result = Some(Outcome { answers, since, took, why });
        changed
    }
}

#[cfg(test)]
mod tests;
