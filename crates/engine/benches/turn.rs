//! Work of complete calls through one site: INVITE, 180, 200, ACK, BYE, 200, and the timers after
//! them, with a back-to-back user agent between the callers and the callee.
//!
//! Engine and replica are joined by function calls. What the user agents do is not counted, and
//! nothing here is a socket or an encoding of the tier's link. Counted in instructions, which are
//! the same in every run:
//!
//! ```text
//! valgrind --tool=callgrind --toggle-collect='turn::Site::carry*' BENCH one
//! valgrind --tool=callgrind --toggle-collect='turn::Site::carry*' BENCH two
//! ```
//!
//! where `BENCH` is the binary that `cargo bench -p engine --no-run` names. Divide by [`CALLS`].
//! `one`: one engine works all messages of a call and keeps it decoded; `two`: each message goes to
//! the engine that did not work the one before, so every turn reads the record.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use applications::b2bua::{self, B2bua};
use bytes::Bytes;
use call::{Destination, Edge, Setting};
use engine::{Config, Engine, Input, Limits, Output};
use replica::Replica;
use servlet::NextHop;
use sip_message::{HeaderName, Host, Message, parse_datagram};
use tier_protocol::PartitionView;
use vocab::{EngineId, Instant, PartitionId, ReplicaId, SiteId, TokenSecret, ViewNumber};

/// Calls of one run.
const CALLS: usize = 200;
/// Between two messages of one call.
const PAUSE: Duration = Duration::from_millis(20);
/// Longer than anything lingers.
const LINGER: Duration = Duration::from_secs(60);

const ALICE: SocketAddr = addr(1);
const BOB: SocketAddr = addr(2);
const PARTITION: PartitionId = PartitionId(1);

const SDP: &str = "v=0\r\no=alice 2890844526 2890844526 IN IP4 192.0.2.1\r\ns=-\r\n\
    c=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 49172 RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\n\
    a=rtpmap:101 telephone-event/8000\r\na=sendrecv\r\n";

const fn addr(last: u8) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, last)), 5060)
}

fn main() {
    let engines = if std::env::args().any(|word| word == "two") { 2 } else { 1 };
    let mut site = Site::new(engines);
    let mut calls: Vec<Script> = (0..CALLS).map(Script::new).collect();
    for step in 0..6 {
        for script in &mut calls {
            let (from, bytes) = script.say(step);
            let engine = step % site.engines.len();
            site.carry(engine, Input::Datagram { source: from, bytes, offered_by: None });
            script.hear(&site.sent);
            site.sent.clear();
        }
        site.advance(PAUSE);
        site.sent.clear();
    }
    site.advance(LINGER);
    let ended: u64 = site.engines.iter().map(|engine| engine.stats().ended).sum();
    let due: u64 = site.engines.iter().map(|engine| engine.stats().due).sum();
    let hits: u64 = site.engines.iter().map(|engine| engine.stats().cache_hits).sum();
    assert_eq!(ended, CALLS as u64, "every call came to its end");
    println!("{CALLS} calls, {engines} engines, {due} deadlines, {hits} calls not decoded");
}

/// One site without sockets.
struct Site {
    now: Instant,
    engines: Vec<Engine>,
    wakes: Vec<Instant>,
    replica: Replica,
    replica_wake: Instant,
    sent: Vec<(SocketAddr, Bytes)>,
}

impl Site {
    fn new(engines: u64) -> Self {
        let here = SiteId(1);
        let now = Instant(1_000_000_000);
        let view = PartitionView::alone(PARTITION, ViewNumber(1), ReplicaId(1));
        let default_next_hop = Some(NextHop::Addr(BOB));
        let b2bua = B2bua::new(b2bua::Config { default_next_hop, ..b2bua::Config::default() });
        let edge = Edge { host: Host::Ip([198, 51, 100, 1].into()), port: 5060 };
        let setting = Setting::new(here, TokenSecret::new([3; 32]), edge, vec![Arc::new(b2bua)]);
        let config = |number| Config {
            here,
            engine: EngineId(number),
            start: 1,
            backup: None,
            views: vec![view.clone()],
            setting: setting.clone(),
            limits: Limits::default(),
        };
        let replica = replica::Config {
            here,
            partition: PARTITION,
            replica: ReplicaId(1),
            view: view.clone(),
            shared: None,
            backup_to: None,
            limits: replica::Limits::default(),
            pace: replica::Pace::default(),
            spill: None,
        };
        let mut site = Self {
            now,
            engines: (0..engines).map(|number| Engine::new(now, config(number))).collect(),
            wakes: vec![Instant::NEVER; usize::try_from(engines).unwrap_or_default()],
            replica: Replica::new(now, replica),
            replica_wake: Instant::NEVER,
            sent: Vec::new(),
        };
        for number in 0..engines {
            let engine = EngineId(number);
            site.replica.handle_input(now, replica::Input::EngineUp { engine });
        }
        site.settle();
        site
    }

    /// The counted part: one input, and all that follows from it.
    #[inline(never)]
    fn carry(&mut self, engine: usize, input: Input) {
        self.engines[engine].handle_input(self.now, input);
        self.settle();
    }

    /// The counted part for the replica's own deadlines.
    #[inline(never)]
    fn carry_replica(&mut self) {
        self.replica.handle_input(self.now, replica::Input::Wake);
        self.settle();
    }

    fn advance(&mut self, by: Duration) {
        let until = self.now + by;
        loop {
            let engines = self.wakes.iter().copied().min().unwrap_or(Instant::NEVER);
            let next = engines.min(self.replica_wake);
            if next > until {
                self.now = until;
                return;
            }
            self.now = next;
            if self.replica_wake <= next {
                self.carry_replica();
            }
            for index in 0..self.engines.len() {
                if self.wakes[index] <= next {
                    self.carry(index, Input::Wake);
                }
            }
        }
    }

    fn settle(&mut self) {
        while self.drain_engines() || self.drain_replica() {}
    }

    fn drain_engines(&mut self) -> bool {
        let mut moved = false;
        for (number, engine) in self.engines.iter_mut().enumerate() {
            loop {
                match engine.poll_output() {
                    Output::WakeAt(at, _) => {
                        self.wakes[number] = at;
                        break;
                    }
                    Output::Transmit { to: Destination::Addr(to), bytes } => {
                        self.sent.push((to, bytes));
                    }
                    Output::Command { command, .. } => {
                        let engine = EngineId(number as u64);
                        let input = replica::Input::Command { engine, command };
                        self.replica.handle_input(self.now, input);
                        moved = true;
                    }
                    Output::Transmit { to: Destination::Host { .. }, .. }
                    | Output::Account { .. }
                    | Output::Gate(_)
                    | Output::Bounce { .. } => {}
                }
            }
        }
        moved
    }

    fn drain_replica(&mut self) -> bool {
        let mut moved = false;
        loop {
            match self.replica.poll_output() {
                replica::Output::WakeAt(at, _) => {
                    self.replica_wake = at;
                    return moved;
                }
                replica::Output::Reply { engine, view, reply } => {
                    let input = Input::Reply { from: ReplicaId(1), view, reply };
                    if let Some(engine) = self.engines.get_mut(engine.0 as usize) {
                        engine.handle_input(self.now, input);
                    }
                    moved = true;
                }
                replica::Output::Gate(_)
                | replica::Output::Peer { .. }
                | replica::Output::Store(_)
                | replica::Output::Database(_)
                | replica::Output::Map(_)
                | replica::Output::Dropped { .. }
                | replica::Output::Expelled => {}
            }
        }
    }
}

/// One call as its two user agents play it.
struct Script {
    number: usize,
    /// The INVITE as Bob got it.
    invite: Option<Message>,
    /// The answer as Alice got it.
    answer: Option<Message>,
    /// The BYE as Bob got it.
    bye: Option<Message>,
}

impl Script {
    fn new(number: usize) -> Self {
        Self { number, invite: None, answer: None, bye: None }
    }

    fn say(&self, step: usize) -> (SocketAddr, Bytes) {
        match step {
            0 => (ALICE, self.request("INVITE", 1, SDP)),
            1 => (BOB, self.response(&self.invite, "180 Ringing", "")),
            2 => (BOB, self.response(&self.invite, "200 OK", SDP)),
            3 => (ALICE, self.request("ACK", 1, "")),
            4 => (ALICE, self.request("BYE", 2, "")),
            _ => (BOB, self.response(&self.bye, "200 OK", "")),
        }
    }

    fn hear(&mut self, sent: &[(SocketAddr, Bytes)]) {
        for (to, bytes) in sent {
            let message = parse_datagram(bytes, &sip_message::Limits::default());
            let message = message.expect("an engine sends sound messages");
            let slot = match &bytes[..4] {
                b"INVI" => &mut self.invite,
                b"BYE " => &mut self.bye,
                _ if *to == ALICE && bytes.starts_with(b"SIP/2.0 200") => &mut self.answer,
                _ => continue,
            };
            slot.get_or_insert(message);
        }
    }

    fn request(&self, method: &str, cseq: u32, body: &str) -> Bytes {
        let Self { number, .. } = self;
        let (target, to) = match &self.answer {
            None => ("sip:bob@example.com".to_owned(), "Bob <sip:bob@example.com>".to_owned()),
            Some(answer) => {
                let contact = answer.headers().contact().ok().flatten();
                let contact = contact.expect("an answer has a Contact");
                (contact.uri.to_string(), text(answer, &HeaderName::To))
            }
        };
        let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        Bytes::from(format!(
            "{method} {target} SIP/2.0\r\n\
             Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK74bf9-{number}-{method};rport\r\n\
             Max-Forwards: 70\r\n\
             From: \"Alice\" <sip:alice@example.com>;tag=9fxced76sl-{number}\r\n\
             To: {to}\r\n\
             Call-ID: 3848276298220188511-{number}@192.0.2.1\r\n\
             CSeq: {cseq} {method}\r\n\
             Contact: <sip:alice@192.0.2.1:5060;transport=udp>\r\n\
             Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE\r\n\
             Supported: timer, replaces\r\n\
             User-Agent: Deskphone/4.2.1\r\n\
             {kind}Content-Length: {}\r\n\r\n{body}",
            body.len()
        ))
    }

    fn response(&self, request: &Option<Message>, status: &str, body: &str) -> Bytes {
        let request = request.as_ref().expect("it was sent");
        let Self { number, .. } = self;
        let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        let to = text(request, &HeaderName::To);
        let tag =
            if to.contains(";tag=") { String::new() } else { format!(";tag=314159-{number}") };
        Bytes::from(format!(
            "SIP/2.0 {status}\r\n\
             Via: {}\r\nFrom: {}\r\nTo: {to}{tag}\r\nCall-ID: {}\r\nCSeq: {}\r\n\
             Contact: <sip:bob@192.0.2.2:5060;transport=udp>\r\n\
             Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE\r\n\
             Server: Deskphone/4.2.1\r\n\
             {kind}Content-Length: {}\r\n\r\n{body}",
            text(request, &HeaderName::Via),
            text(request, &HeaderName::From),
            text(request, &HeaderName::CallId),
            text(request, &HeaderName::CSeq),
            body.len()
        ))
    }
}

fn text(message: &Message, name: &HeaderName) -> String {
    let value = message.headers().get(name).expect("it is there");
    String::from_utf8_lossy(value).into_owned()
}
