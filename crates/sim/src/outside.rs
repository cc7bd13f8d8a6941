//! What is outside the engines of any simulated world: agents, the exchange that finds callees, the
//! balancer, and the datagrams between them.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use balancer::{Balancer, Policy};
use call::Destination;
use sip_message::{Bytes, Limits, Message, Method, parse_datagram};
use vocab::{CallKey, Instant, SiteId};

use crate::agenda::Agenda;
use crate::agent::{Agent, Fact, Manner, Standing};
use crate::network::Network;
use crate::scenario::Party;
use crate::site::{EDGE, EDGE_INNER, EXCHANGE, addr, secret};
use crate::trace::Trace;

/// A datagram on its way.
#[derive(Debug)]
pub(crate) struct Datagram {
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    pub(crate) bytes: Bytes,
}

/// Who out here asks to be woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outsider {
    Balancer,
    Agent(SocketAddr),
}

/// What one party of a call saw, and when.
pub(crate) type PartyFact = (Instant, &'static str, Fact);

/// Everything that is not the site's.
pub(crate) struct Outside {
    /// Callers and callees, by address.
    pub(crate) agents: BTreeMap<SocketAddr, Agent>,
    pub(crate) balancer: Balancer,
    pub(crate) network: Network,
    callees: BTreeMap<String, SocketAddr>,
    /// When requests of an agent came to an engine that ran.
    heard: BTreeMap<SocketAddr, Vec<Instant>>,
}

pub(crate) fn caller_addr(call: usize) -> SocketAddr {
    addr(10, 2, 0, u8::try_from(call + 1).unwrap_or(u8::MAX), 5060)
}

pub(crate) fn callee_addr(call: usize) -> SocketAddr {
    addr(10, 4, 0, u8::try_from(call + 1).unwrap_or(u8::MAX), 5060)
}

pub(crate) fn addr_of(call: usize, party: Party) -> SocketAddr {
    match party {
        Party::Caller => caller_addr(call),
        Party::Callee => callee_addr(call),
    }
}

/// The simulated world has no names.
pub(crate) fn resolve(to: &Destination) -> Option<SocketAddr> {
    match to {
        Destination::Addr(addr) => Some(*addr),
        Destination::Host { .. } => None,
    }
}

impl Outside {
    pub(crate) fn new(
        now: Instant,
        table: BTreeMap<SiteId, Vec<SocketAddr>>,
        network: Network,
    ) -> Self {
        let policy = Policy::own_calls(table.keys().copied());
        let config = balancer::Config::new(table, secret(), policy);
        let balancer = Balancer::new(now, config);
        Self {
            agents: BTreeMap::new(),
            balancer,
            network,
            callees: BTreeMap::new(),
            heard: BTreeMap::new(),
        }
    }

    /// Adds both agents of each call. A callee is reached through the exchange.
    pub(crate) fn add_calls(&mut self, calls: &[(Manner, Manner)]) {
        for (call, (caller, callee)) in calls.iter().enumerate() {
            let agent = Agent::caller(call, caller_addr(call), EDGE, *caller);
            self.agents.insert(agent.addr, agent);
            let agent = Agent::callee(call, callee_addr(call), EDGE, *callee);
            self.callees.insert(format!("c{call}"), agent.addr);
            self.agents.insert(agent.addr, agent);
        }
    }

    /// An engine that runs is given an agent's words: requests are taken note of.
    pub(crate) fn note_heard(&mut self, now: Instant, agent: SocketAddr, bytes: &[u8]) {
        if bytes.starts_with(b"SIP/2.0") {
            return;
        }
        self.heard.entry(agent).or_default().push(now);
    }

    /// Whether an engine had a request of the agent in that time.
    pub(crate) fn was_heard(&self, agent: SocketAddr, from: Instant, to: Instant) -> bool {
        let heard = self.heard.get(&agent);
        heard.is_some_and(|heard| heard.iter().any(|at| from <= *at && *at <= to))
    }

    /// Sends a datagram into the weather.
    pub(crate) fn send<E: From<Datagram>, S: Ord + Copy>(
        &mut self,
        now: Instant,
        agenda: &mut Agenda<E, S>,
        (from, to): (SocketAddr, SocketAddr),
        bytes: &Bytes,
    ) {
        for way in self.network.datagram() {
            let datagram = Datagram { from, to, bytes: bytes.clone() };
            agenda.add(now + way, datagram.into());
        }
    }

    /// A datagram arrives that is for nobody's engine.
    pub(crate) fn deliver<E: From<Datagram>, S: From<Outsider> + Ord + Copy>(
        &mut self,
        now: Instant,
        agenda: &mut Agenda<E, S>,
        trace: &mut Trace,
        datagram: Datagram,
    ) {
        let Datagram { from, to, bytes } = datagram;
        if to == EDGE {
            self.note_sip(now, trace, "->", from, &bytes);
            self.balancer.handle_input(now, balancer::Input::Outside { source: from, bytes });
            self.drain_balancer(now, agenda);
        } else if to == EDGE_INNER {
            self.balancer.handle_input(now, balancer::Input::Engine { from, bytes });
            self.drain_balancer(now, agenda);
        } else {
            let addr = if to == EXCHANGE { self.exchange(&bytes) } else { Some(to) };
            let Some(addr) = addr else { return };
            self.note_sip(now, trace, "<-", addr, &bytes);
            self.with_agent(now, agenda, addr, |agent| agent.receive(now, &bytes));
        }
    }

    pub(crate) fn wake<E: From<Datagram>, S: From<Outsider> + Ord + Copy>(
        &mut self,
        now: Instant,
        agenda: &mut Agenda<E, S>,
        outsider: Outsider,
    ) {
        match outsider {
            Outsider::Balancer => {
                self.balancer.handle_input(now, balancer::Input::Wake);
                self.drain_balancer(now, agenda);
            }
            Outsider::Agent(addr) => self.with_agent(now, agenda, addr, |agent| agent.wake(now)),
        }
    }

    /// Lets an agent do something, and sends what comes of it.
    pub(crate) fn with_agent<E: From<Datagram>, S: From<Outsider> + Ord + Copy>(
        &mut self,
        now: Instant,
        agenda: &mut Agenda<E, S>,
        addr: SocketAddr,
        act: impl FnOnce(&mut Agent),
    ) {
        let Some(agent) = self.agents.get_mut(&addr) else { return };
        act(agent);
        let sent = agent.drain();
        let wake_at = agent.wake_at();
        for one in sent {
            self.send(now, agenda, (addr, one.to), &one.bytes);
        }
        agenda.wake_at(Outsider::Agent(addr).into(), wake_at);
    }

    /// Lets an agent send a request in its dialog, and gives what it sends: the balancer does not
    /// see it. Repetitions go the usual way.
    pub(crate) fn ask_by_hand<E: From<Datagram>, S: From<Outsider> + Ord + Copy>(
        &mut self,
        now: Instant,
        agenda: &mut Agenda<E, S>,
        addr: SocketAddr,
        method: Method,
    ) -> Vec<Bytes> {
        let Some(agent) = self.agents.get_mut(&addr) else { return Vec::new() };
        agent.ask_in_dialog(now, method);
        let sent = agent.drain();
        agenda.wake_at(Outsider::Agent(addr).into(), agent.wake_at());
        sent.into_iter().map(|one| one.bytes).collect()
    }

    pub(crate) fn drain_balancer<E: From<Datagram>, S: From<Outsider> + Ord + Copy>(
        &mut self,
        now: Instant,
        agenda: &mut Agenda<E, S>,
    ) {
        loop {
            match self.balancer.poll_output() {
                balancer::Output::ToEngine { addr, bytes } => {
                    self.send(now, agenda, (EDGE_INNER, addr), &bytes);
                }
                balancer::Output::ToOutside { to, bytes } => {
                    self.send(now, agenda, (EDGE, to), &bytes);
                }
                balancer::Output::Activate { .. } => {
                    unreachable!("no simulated balancer may act upon a death")
                }
                balancer::Output::WakeAt(at, _) => {
                    agenda.wake_at(Outsider::Balancer.into(), at);
                    return;
                }
            }
        }
    }

    /// Which callee a message to the exchange is for: the user part of its request-URI says.
    fn exchange(&self, bytes: &Bytes) -> Option<SocketAddr> {
        let Ok(Message::Request(request)) = parse_datagram(bytes, &Limits::default()) else {
            return None;
        };
        let user = request.uri.user()?;
        self.callees.get(std::str::from_utf8(user).ok()?).copied()
    }

    fn note_sip(
        &self,
        now: Instant,
        trace: &mut Trace,
        arrow: &str,
        party: SocketAddr,
        bytes: &Bytes,
    ) {
        let first = bytes.split(|byte| *byte == b'\r').next().unwrap_or_default();
        let name = self.agents.get(&party).map_or("?", |agent| agent.name.as_str());
        let text = String::from_utf8_lossy(first);
        trace.note(now, format_args!("{name:>10} {arrow} {text}"));
    }

    // ---- what agents have seen -------------------------------------------------------------

    pub(crate) fn calls(&self) -> usize {
        self.agents.len() / 2
    }

    /// The key of a call, as the token in our tag says.
    pub(crate) fn key_of_call(&self, addr: SocketAddr) -> Option<CallKey> {
        let tag = self.agents.get(&addr)?.remote_tag()?;
        secret().read(tag.as_bytes()).map(|token| token.key)
    }

    /// What both parties of a call saw, by time.
    pub(crate) fn facts_of(&self, call: usize) -> Vec<PartyFact> {
        let mut facts = Vec::new();
        for (party, addr) in [("caller", caller_addr(call)), ("callee", callee_addr(call))] {
            for (at, fact) in self.agents.get(&addr).iter().flat_map(|agent| &agent.facts) {
                facts.push((*at, party, fact.clone()));
            }
        }
        facts.sort_by_key(|(at, _, _)| *at);
        facts
    }

    /// When both parties had seen the call answered.
    pub(crate) fn up_since(&self, call: usize) -> Option<Instant> {
        let since = |addr| {
            let facts = &self.agents.get(&addr)?.facts;
            facts.iter().find(|(_, fact)| *fact == Fact::Up).map(|(at, _)| *at)
        };
        Some(since(caller_addr(call))?.max(since(callee_addr(call))?))
    }

    /// Calls that both parties saw answered.
    pub(crate) fn answered(&self) -> usize {
        (0..self.calls()).filter(|call| self.up_since(*call).is_some()).count()
    }

    pub(crate) fn standing(&self, addr: SocketAddr) -> Option<Standing> {
        self.agents.get(&addr).map(Agent::standing)
    }

    /// Both users have had enough: whoever can ends the call.
    pub(crate) fn hang_up<E: From<Datagram>, S: From<Outsider> + Ord + Copy>(
        &mut self,
        now: Instant,
        agenda: &mut Agenda<E, S>,
        call: usize,
    ) {
        let (caller, callee) = (caller_addr(call), callee_addr(call));
        let bye = |agent: &mut Agent| {
            agent.ask_in_dialog(now, Method::Bye);
        };
        match self.standing(caller) {
            Some(Standing::Up) => self.with_agent(now, agenda, caller, bye),
            Some(Standing::Early) => {
                self.with_agent(now, agenda, caller, |agent| agent.cancel(now));
            }
            Some(Standing::Idle | Standing::AwaitAck | Standing::Over) | None => {}
        }
        if self.standing(callee) == Some(Standing::Up)
            && self.standing(caller) == Some(Standing::Over)
        {
            self.with_agent(now, agenda, callee, bye);
        }
    }

    /// Whether no agent has a call, or anything to repeat or to wait for.
    pub(crate) fn is_quiet(&self) -> bool {
        self.agents.values().all(|agent| {
            agent.is_quiet() && matches!(agent.standing(), Standing::Idle | Standing::Over)
        })
    }

    /// Routes the calls of `home` to `to`.
    pub(crate) fn route(&mut self, now: Instant, home: SiteId, to: SiteId) {
        let mut policy = self.balancer.policy().clone();
        policy.version += 1;
        policy.serves.insert(home, to);
        policy.weights.insert(home, u32::from(home == to));
        self.balancer.handle_input(now, balancer::Input::SetPolicy(policy));
    }
}
