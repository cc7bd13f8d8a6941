//! The balancer core: a datagram in, at most one datagram out, chosen by token, policy and health.
//!
//! ```text
//! outside ─► token of ours? ─yes─► serves[site] ─► its next healthy engine
//!                 │no
//!                 └─► offered to the site of the policy before (64*T1 long), which may bounce it
//!                     └─► the site that (policy, source, Call-ID) choose, or a stand-in
//! ```
//! Deliberately absent: any table that traffic fills. What depends on an earlier message is found
//! in the token of a later one, or is a pure function of what a CANCEL and a retransmission repeat.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use vocab::{Instant, SiteId, TokenKind, TokenSecret};

use crate::choice::sites_for;
use crate::edge_frame::{EdgeFrame, MESSAGE_BYTES_MAX, Report};
use crate::engines::Engines;
use crate::health::{self, Judge, Observer, SiteHealth};
use crate::policy::Policy;
use crate::probe;
use crate::refusal;
use crate::scan::{Kind, Scan};
use crate::stats::{Drops, Stats};

/// A site's word on another is worth something for so long; it comes with each pong.
const PEER_WORD_VALID_FOR: Duration = Duration::from_secs(2);
/// Witnesses that are listened to, the first ones that speak.
const WITNESSES_MAX: usize = 16;

/// What a balancer is told at its start.
#[derive(Clone, Debug)]
pub struct Config {
    /// The engines of each site, by the address of their edge port.
    pub sites: BTreeMap<SiteId, Vec<SocketAddr>>,
    /// The deployment's secret.
    pub secret: TokenSecret,
    /// The policy at the start.
    pub policy: Policy,
    /// Time between two pings of one engine.
    pub ping_every: Duration,
    /// An engine whose last answered ping is this old is down. Longer than `ping_every`.
    pub down_after: Duration,
    /// How long requests without a token are offered to the site of the policy before: 64*T1, as
    /// long as a retransmission or a CANCEL of an INVITE from before the change can come.
    pub route_memory: Duration,
    /// Datagrams a second that look like nothing in SIP and are still passed on to be answered.
    pub not_sip_per_second_max: u32,
    /// How sites are judged, and what is done about a death.
    pub health: health::Config,
}

impl Config {
    /// The defaults, for the given engines.
    #[must_use]
    pub fn new(
        sites: BTreeMap<SiteId, Vec<SocketAddr>>,
        secret: TokenSecret,
        policy: Policy,
    ) -> Self {
        Self {
            sites,
            secret,
            policy,
            ping_every: Duration::from_millis(100),
            down_after: Duration::from_millis(350),
            route_memory: Duration::from_secs(32),
            not_sip_per_second_max: 200,
            health: health::Config::default(),
        }
    }
}

/// What comes in.
#[derive(Clone, Debug)]
pub enum Input {
    /// A datagram on the outer socket.
    Outside {
        /// Its source.
        source: SocketAddr,
        /// Its content.
        bytes: Bytes,
    },
    /// A datagram on the inner socket.
    Engine {
        /// Its source.
        from: SocketAddr,
        /// Its content, which should be an [`EdgeFrame`].
        bytes: Bytes,
    },
    /// The operating system says that nobody listens at this edge port (ICMP).
    EngineUnreachable {
        /// The edge port.
        addr: SocketAddr,
    },
    /// The operator's word. Ignored unless its version is higher than that in force.
    SetPolicy(Policy),
    /// What became of [`Output::Activate`]: calls it is about, or why not.
    Activation {
        /// The dead site.
        home: SiteId,
        /// The answer.
        answer: Result<u64, String>,
    },
    /// The moment of [`Output::WakeAt`] has come.
    Wake,
}

/// What goes out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send on the inner socket.
    ToEngine {
        /// The edge port.
        addr: SocketAddr,
        /// An encoded [`EdgeFrame`].
        bytes: Bytes,
    },
    /// Send on the outer socket.
    ToOutside {
        /// The destination.
        to: SocketAddr,
        /// The datagram.
        bytes: Bytes,
    },
    /// Order `at` to wake the calls that it keeps for `home`, which is dead. Only with
    /// [`health::Config::auto_failover`].
    Activate {
        /// The dead site.
        home: SiteId,
        /// Who keeps its copies.
        at: SiteId,
    },
    /// Nothing more to do before this moment, unless something comes in.
    WakeAt(Instant, Reason),
}

/// What a balancer waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The next round of pings.
    Ping,
    /// An engine has been silent for too long.
    Silence,
    /// The policy before is forgotten.
    RouteMemory,
    /// A site may have to be judged anew.
    Health,
}

/// The balancer of one edge. See the module.
#[derive(Debug)]
pub struct Balancer {
    config: Config,
    engines: Engines,
    policy: Policy,
    before: Option<Before>,
    ping_at: Instant,
    not_sip: Window,
    judge: Judge,
    judge_at: Instant,
    /// Of each witness: the life and the number of its newest report.
    reports: BTreeMap<String, (u64, u64)>,
    outputs: VecDeque<Output>,
    outside_in: u64,
    outside_out: u64,
    offered: u64,
    bounced: u64,
    refused: u64,
    probes: u64,
    drops: Drops,
}

/// The policy that was in force before.
#[derive(Debug)]
struct Before {
    policy: Policy,
    forget_at: Instant,
}

/// Counts what came within the current second.
#[derive(Debug)]
struct Window {
    opened_at: Instant,
    count: u32,
}

impl Balancer {
    /// A balancer that has heard of no engine yet; its first output is a round of pings.
    #[must_use]
    pub fn new(now: Instant, config: Config) -> Self {
        let mut balancer = Self {
            engines: Engines::new(&config.sites, config.down_after),
            policy: config.policy.clone(),
            before: None,
            ping_at: now,
            not_sip: Window { opened_at: now, count: 0 },
            judge: Judge::new(
                now,
                config.health.clone(),
                config.sites.keys().copied(),
                config.policy.clone(),
            ),
            judge_at: Instant::NEVER,
            reports: BTreeMap::new(),
            outputs: VecDeque::new(),
            outside_in: 0,
            outside_out: 0,
            offered: 0,
            bounced: 0,
            refused: 0,
            probes: 0,
            drops: Drops::default(),
            config,
        };
        balancer.wake(now);
        balancer
    }

    /// The door in.
    pub fn handle_input(&mut self, now: Instant, input: Input) {
        match input {
            Input::Outside { source, bytes } => self.take_outside(now, source, bytes),
            Input::Engine { from, bytes } => self.take_frame(now, from, &bytes),
            Input::EngineUnreachable { addr } => self.engines.note_unreachable(now, addr),
            Input::SetPolicy(policy) => self.set_policy(now, policy),
            Input::Activation { home, answer } => {
                self.judge(now, health::Input::Activation { home, answer });
            }
            Input::Wake => self.wake(now),
        }
    }

    /// The door out: drained until it says [`Output::WakeAt`].
    pub fn poll_output(&mut self) -> Output {
        if let Some(output) = self.outputs.pop_front() {
            return output;
        }
        let mut wake = (self.ping_at, Reason::Ping);
        let silence = self.engines.next_silence().map(|at| (at, Reason::Silence));
        let memory = self.before.as_ref().map(|before| (before.forget_at, Reason::RouteMemory));
        let health = Some((self.judge_at, Reason::Health));
        for (at, reason) in [silence, memory, health].into_iter().flatten() {
            if at < wake.0 {
                wake = (at, reason);
            }
        }
        Output::WakeAt(wake.0, wake.1)
    }

    /// The policy in force.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The sites as they are judged.
    #[must_use]
    pub fn health(&self, now: Instant) -> Vec<SiteHealth> {
        self.judge.picture(now)
    }

    /// A picture of this balancer.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats {
            policy_version: self.policy.version,
            remembers_policy: self.before.is_some(),
            fails_over: self.config.health.auto_failover,
            outside_in: self.outside_in,
            outside_out: self.outside_out,
            offered: self.offered,
            bounced: self.bounced,
            refused: self.refused,
            probes: self.probes,
            drops: self.drops,
            sites: self.engines.stats(),
        }
    }

    fn wake(&mut self, now: Instant) {
        self.engines.expire(now);
        if self.before.as_ref().is_some_and(|before| now >= before.forget_at) {
            self.before = None;
        }
        if now >= self.ping_at {
            self.ping_at = now + self.config.ping_every;
            // The nonce is the moment of sending: the answer proves the engine alive since then.
            let ping = EdgeFrame::Ping { nonce: now.0 }.encode(&self.config.secret);
            let pings = self.engines.addrs().map(|addr| (addr, ping.clone()));
            self.outputs.extend(pings.map(|(addr, bytes)| Output::ToEngine { addr, bytes }));
            self.observe_engines(now);
        }
        if now >= self.judge_at {
            self.judge(now, health::Input::Wake);
        }
    }

    fn set_policy(&mut self, now: Instant, policy: Policy) {
        if policy.version > self.policy.version {
            self.put_in_force(now, policy.clone());
            self.judge(now, health::Input::Policy(policy));
        }
    }

    fn put_in_force(&mut self, now: Instant, policy: Policy) {
        let before = std::mem::replace(&mut self.policy, policy);
        let forget_at = now + self.config.route_memory;
        self.before = Some(Before { policy: before, forget_at });
    }

    fn take_outside(&mut self, now: Instant, source: SocketAddr, bytes: Bytes) {
        self.outside_in += 1;
        if bytes.len() > MESSAGE_BYTES_MAX {
            self.drops.too_long += 1;
            return;
        }
        let scan = Scan::of(&bytes);
        match scan.token(&self.config.secret) {
            Some(token) if token.kind == TokenKind::Probe => {
                if let Some(site) = probe::aim(&scan, &token, &self.config.secret) {
                    return self.send_probe(site, source, bytes);
                }
            }
            Some(token) => {
                return self.send_to_site(self.policy.serves(token.site), source, None, bytes);
            }
            None => {}
        }
        match scan.kind {
            Kind::KeepAlive => self.drops.keep_alives += 1,
            // §18.1.2: a response whose top Via is not ours "MUST be silently discarded".
            Kind::Response => self.drops.strange_responses += 1,
            Kind::NotSip => {
                if self.not_sip.admits(now, self.config.not_sip_per_second_max) {
                    self.begin(now, source, &bytes, &scan);
                } else {
                    self.drops.not_sip += 1;
                }
            }
            Kind::Request { .. } => self.begin(now, source, &bytes, &scan),
        }
    }

    /// To the site that is probed, whoever serves its calls.
    fn send_probe(&mut self, site: SiteId, source: SocketAddr, bytes: Bytes) {
        match self.engines.is_healthy(site) {
            true => {
                self.probes += 1;
                self.send_to_site(site, source, None, bytes);
            }
            false => self.drops.probes += 1,
        }
    }

    /// A request without a token, or what an engine should answer with 400.
    fn begin(&mut self, now: Instant, source: SocketAddr, bytes: &Bytes, scan: &Scan<'_>) {
        let call_id = scan.call_id.unwrap_or_default();
        let sites = sites_for(&self.policy, source.ip(), call_id);
        let healthy = |engines: &Engines, sites: &[SiteId]| {
            sites.iter().copied().find(|&site| engines.is_healthy(site))
        };
        let chosen = healthy(&self.engines, &sites).or_else(|| {
            // A policy that gives new calls to nobody, or only to the dead, still serves: any
            // living site is better than silence.
            self.engines.sites().find(|&site| self.engines.is_healthy(site))
        });
        let Some(chosen) = chosen else {
            match refusal::service_unavailable(source, bytes, scan) {
                Some((to, bytes)) => {
                    self.refused += 1;
                    self.send_outside(to, bytes);
                }
                None => self.drops.no_engine += 1,
            }
            return;
        };
        let before = self.before.as_ref().filter(|before| now < before.forget_at);
        let earlier = before.and_then(|before| {
            let sites = sites_for(&before.policy, source.ip(), call_id);
            healthy(&self.engines, sites.get(..1).unwrap_or_default())
        });
        match earlier {
            Some(earlier) if earlier != chosen && scan.kind != Kind::NotSip => {
                self.offered += 1;
                self.send_to_site(earlier, source, Some(chosen), bytes.clone());
            }
            Some(_) | None => self.send_to_site(chosen, source, None, bytes.clone()),
        }
    }

    fn send_to_site(
        &mut self,
        site: SiteId,
        source: SocketAddr,
        offered_by: Option<SiteId>,
        bytes: Bytes,
    ) {
        let Some(addr) = self.engines.pick(site) else {
            self.drops.no_engine += 1;
            return;
        };
        let frame = EdgeFrame::Inbound { source, offered_by, bytes };
        self.outputs.push_back(Output::ToEngine { addr, bytes: frame.encode(&self.config.secret) });
    }

    fn send_outside(&mut self, to: SocketAddr, bytes: Bytes) {
        self.outside_out += 1;
        self.outputs.push_back(Output::ToOutside { to, bytes });
    }

    fn take_frame(&mut self, now: Instant, from: SocketAddr, bytes: &Bytes) {
        let frame = EdgeFrame::decode(bytes, &self.config.secret);
        // A witness is known by the secret alone: it stands anywhere.
        let is_known = self.engines.knows(from) || matches!(frame, Ok(EdgeFrame::Report(_)));
        let (true, Ok(frame)) = (is_known, frame) else {
            self.drops.bad_frames += 1;
            return;
        };
        match frame {
            EdgeFrame::Pong { nonce, engine, serving, peers } => {
                let site = self.engines.note_pong(now, from, Instant(nonce), engine, serving);
                // A site that returns, or an engine that has lost its state tier, hears nobody.
                if let Some(site) = site.filter(|_| serving) {
                    self.take_peers(now, site, peers);
                }
            }
            EdgeFrame::Report(report) => self.take_report(now, report),
            EdgeFrame::Outbound { to, bytes } => {
                self.engines.note_from(from);
                self.send_outside(to, bytes);
            }
            EdgeFrame::Bounce { source, to, bytes } => {
                self.engines.note_from(from);
                self.bounced += 1;
                self.take_bounce(source, to, bytes);
            }
            EdgeFrame::Inbound { .. } | EdgeFrame::Ping { .. } => self.drops.bad_frames += 1,
        }
    }

    /// A site tells which others it hears.
    fn take_peers(&mut self, now: Instant, of: SiteId, peers: Vec<(SiteId, bool)>) {
        for (site, answers) in peers.into_iter().filter(|(site, _)| *site != of) {
            self.observe(now, Observer::Peer(of), site, answers, PEER_WORD_VALID_FOR);
        }
    }

    fn take_report(&mut self, now: Instant, report: Report) {
        let Report { witness, life, number, valid_for, sites } = report;
        let newest = (life, number);
        match self.reports.get(&witness) {
            Some(before) if *before >= newest => {
                self.drops.old_reports += 1;
                return;
            }
            None if self.reports.len() >= WITNESSES_MAX => {
                self.drops.old_reports += 1;
                return;
            }
            Some(_) | None => {}
        }
        self.reports.insert(witness.clone(), newest);
        for (site, answers) in sites {
            let observer = Observer::Witness(witness.clone());
            self.observe(now, observer, site, answers, valid_for);
        }
    }

    fn observe(
        &mut self,
        now: Instant,
        observer: Observer,
        site: SiteId,
        answers: bool,
        valid_for: Duration,
    ) {
        let input = health::Input::Observed { observer, site, answers, valid_for };
        self.judge(now, input);
    }

    /// Tells the judge, and carries out what it says.
    fn judge(&mut self, now: Instant, input: health::Input) {
        self.judge.handle_input(now, input);
        loop {
            match self.judge.poll_output() {
                health::Output::SetPolicy(policy) => self.put_in_force(now, policy),
                health::Output::Activate { home, at } => {
                    self.outputs.push_back(Output::Activate { home, at });
                }
                health::Output::WakeAt(at) => {
                    self.judge_at = at;
                    return;
                }
            }
        }
    }

    /// This balancer's own word on each site whose engines it knows.
    fn observe_engines(&mut self, now: Instant) {
        let valid_for = 3 * self.config.ping_every;
        let known: Vec<SiteId> = self.engines.sites().collect();
        for site in known {
            let answers = self.engines.is_healthy(site);
            self.observe(now, Observer::Balancer, site, answers, valid_for);
        }
    }

    /// Goes to the site that the policy in force chose, without an offer: no message bounces twice.
    fn take_bounce(&mut self, source: SocketAddr, to: SiteId, bytes: Bytes) {
        if self.engines.is_healthy(to) {
            self.send_to_site(to, source, None, bytes);
            return;
        }
        let scan = Scan::of(&bytes);
        let sites = sites_for(&self.policy, source.ip(), scan.call_id.unwrap_or_default());
        match sites.into_iter().find(|&site| self.engines.is_healthy(site)) {
            Some(site) => self.send_to_site(site, source, None, bytes),
            None => self.drops.no_engine += 1,
        }
    }
}

impl Window {
    fn admits(&mut self, now: Instant, per_second_max: u32) -> bool {
        if now.since(self.opened_at) >= Duration::from_secs(1) {
            self.opened_at = now;
            self.count = 0;
        }
        self.count = self.count.saturating_add(1);
        self.count <= per_second_max
    }
}

#[cfg(test)]
mod tests;
