//! A SIP user agent that holds many calls: the demo's caller, and its callee.
//!
//! As small as RFC 3261 lets a user agent over UDP be: it repeats its requests (§17.1) and its 2xx
//! responses (§13.3.1.4), answers repetitions with what it answered before, checks the order of
//! CSeq numbers (§12.2.2), and notes what it was told in [`Facts`]. Time is an argument and
//! datagrams are values; [`super::line`] owns the socket.
//!
//! Deliberately absent: media, authentication, CANCEL, forks, and a session timer of its own: its
//! requests do not say `Supported: timer`, so refreshing is the other side's duty (RFC 4028 §7.1).

mod answer;
mod ask;
mod dialog;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use sip_message::{Bytes, Limits, Message, Uri, parse_datagram};

use ask::Asking;
pub(super) use dialog::{Dialog, Facts, Over};

/// RFC 3261 §17.1.1.1: the estimate of the round-trip time.
pub(super) const T1: Duration = Duration::from_millis(500);
/// RFC 3261 §17.1.2.2: the longest wait between two repetitions.
const T2: Duration = Duration::from_secs(4);
/// 64*T1: nobody answers after this.
pub(super) const GIVE_UP: Duration = Duration::from_secs(32);

/// Marks what one agent asks of the other, so that it is told from what a site asks by itself.
const SUBJECT: &str = "rehome demo";

/// Which end of the demo's calls an agent is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Caller,
    Callee,
}

impl Side {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Caller => "caller",
            Self::Callee => "callee",
        }
    }
}

/// All calls of one end.
pub(super) struct Agent {
    side: Side,
    local: SocketAddr,
    edge: SocketAddr,
    /// Makes tags, branches and Call-IDs of this run unlike those of another.
    run: u64,
    /// How long the callee rings.
    ring_for: Duration,
    dialogs: BTreeMap<u32, Dialog>,
    by_call_id: BTreeMap<Bytes, u32>,
    asking: Vec<Asking>,
    /// ACKs of refused INVITEs by branch, for the refusal's repetitions.
    refusal_acks: BTreeMap<Bytes, Bytes>,
    branches: u64,
    outputs: Vec<(SocketAddr, Bytes)>,
    /// Messages that belong to no call of this agent, or are not SIP.
    pub(super) strays: u64,
}

impl Agent {
    pub(super) fn new(side: Side, local: SocketAddr, edge: SocketAddr, run: u64) -> Self {
        Self {
            side,
            local,
            edge,
            run,
            ring_for: Duration::from_millis(50),
            dialogs: BTreeMap::new(),
            by_call_id: BTreeMap::new(),
            asking: Vec::new(),
            refusal_acks: BTreeMap::new(),
            branches: 0,
            outputs: Vec::new(),
            strays: 0,
        }
    }

    /// Takes a datagram.
    pub(super) fn receive(&mut self, now: Instant, source: SocketAddr, bytes: &Bytes) {
        match parse_datagram(bytes, &Limits::default()) {
            Ok(Message::Request(request)) => self.take_request(now, source, &request),
            Ok(Message::Response(response)) => self.take_response(now, &response),
            Err(_) => self.strays += 1,
        }
    }

    /// Does what is due.
    pub(super) fn tick(&mut self, now: Instant) {
        self.repeat_requests(now);
        self.answer_what_rang(now);
        self.repeat_answers(now);
        self.ask_again(now);
    }

    /// What is to be sent.
    pub(super) fn take_outputs(&mut self) -> Vec<(SocketAddr, Bytes)> {
        std::mem::take(&mut self.outputs)
    }

    /// What this end of the call was told.
    pub(super) fn facts(&self, call: u32) -> Option<&Facts> {
        self.dialogs.get(&call).map(|dialog| &dialog.facts)
    }

    /// What this end was told of every call it has heard of.
    pub(super) fn all_facts(&self) -> impl Iterator<Item = (u32, &Facts)> {
        self.dialogs.iter().map(|(&call, dialog)| (call, &dialog.facts))
    }

    /// Whether a request of this agent still waits for its final response.
    pub(super) fn is_asking(&self) -> bool {
        !self.asking.is_empty() || self.dialogs.values().any(|dialog| dialog.ask_again_at.is_some())
    }

    fn send(&mut self, to: SocketAddr, bytes: Bytes) {
        self.outputs.push((to, bytes));
    }

    fn next_branch(&mut self) -> String {
        self.branches += 1;
        format!("z9hG4bK-{}-{:x}-{}", self.side.name(), self.run, self.branches)
    }

    fn contact(&self, call: u32) -> String {
        format!("<sip:{}-{call}@{}>", self.side.name(), self.local)
    }

    fn uri(text: &str) -> Option<Uri> {
        Uri::parse(&Bytes::copy_from_slice(text.as_bytes())).ok()
    }
}

/// A body of the size that real ones have.
fn sdp(local: SocketAddr, call: u32, version: u32) -> String {
    let ip = local.ip();
    let port = 20_000 + 2 * (call % 10_000);
    format!(
        "v=0\r\no=- {call} {version} IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\n\
         m=audio {port} RTP/AVP 8 101\r\na=rtpmap:101 telephone-event/8000\r\na=sendrecv\r\n"
    )
}

#[cfg(test)]
mod tests;
