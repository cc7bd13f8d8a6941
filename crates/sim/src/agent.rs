//! One party of one simulated call: a SIP user agent of RFC 3261 as small as a caller or a callee
//! can be.
//!
//! It writes its messages itself and only reads with `sip-message`, so that a mistake in our
//! printer does not hide. It retransmits as RFC 3261 §17 asks over UDP and remembers what it was
//! told: the oracle reads its [`Facts`]. It has no session timer of its own: refreshes are the
//! site's.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use sip_message::{Bytes, Limits, Message, Method, Request, parse_datagram};
use vocab::Instant;

const T1: Duration = Duration::from_millis(500);
const T2: Duration = Duration::from_secs(4);
const GIVE_UP: Duration = Duration::from_secs(32);
/// A callee that nobody answers or cancels stops ringing by itself.
const RINGS_MAX: Duration = Duration::from_secs(200);
/// Responses kept for repeated requests; the oldest leaves first.
const ANSWERS_MAX: usize = 32;
const SDP: &str = "v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\ns=-\r\nc=IN IP4 10.0.0.1\r\nt=0 0\r\n\
                   m=audio 4000 RTP/AVP 0\r\n";

/// What a callee does with an INVITE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Rings at once and answers after the given time.
    After(Duration),
    /// Refuses with 486.
    Busy,
    /// Rings and never answers.
    Never,
    /// Rings, and answers 200 although it was cancelled, after the given time.
    DespiteCancel(Duration),
    /// Two forks answer 200, each with a tag of its own.
    Twice(Duration),
}

/// How an agent behaves; drawn by the workload.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// What it does with an INVITE.
    pub answer: Answer,
    /// Whether its Allow lists UPDATE: decides how the site refreshes.
    pub allows_update: bool,
}

/// Where an agent's call stands, as its user would see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Not begun.
    Idle,
    /// INVITE sent or received, no final response.
    Early,
    /// 2xx received and ACKed, or sent and ACKed.
    Up,
    /// 2xx sent, no ACK yet.
    AwaitAck,
    /// Over, by whatever means.
    Over,
}

/// One thing that an agent saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// It answered the call.
    Accepted,
    /// The call was answered and acknowledged.
    Up,
    /// A final response to our INVITE other than 2xx.
    Refused(u16),
    /// A final response to another request of ours.
    Answered(Method, u16),
    /// A request of ours found no final response in 64*T1.
    Silence(Method),
    /// A request of the peer in our dialog: method, CSeq, whether the other agent made it.
    Asked {
        /// Its method.
        method: Method,
        /// Its CSeq number.
        cseq: u32,
        /// Whether it was relayed for the other agent, rather than being the site's own.
        relayed: bool,
    },
    /// A request arrived with a CSeq that is not higher than the last one's.
    CseqWentBack {
        /// The last one.
        last: u32,
        /// This one.
        this: u32,
        /// How long after it.
        after: Duration,
    },
    /// The call ended by a BYE of the peer.
    Bye,
    /// That BYE came while the peer had yet to acknowledge a 2xx: it ends the answered request too.
    ByeBeforeAck,
    /// It sent a BYE itself.
    HungUp,
    /// The peer cancelled.
    Cancelled,
    /// A 2xx of ours was never acknowledged.
    NoAck,
}

/// What an agent saw, in order.
pub type Facts = Vec<(Instant, Fact)>;

/// A datagram that an agent sends.
#[derive(Debug)]
pub struct Sent {
    /// Where to.
    pub to: SocketAddr,
    /// The message.
    pub bytes: Bytes,
}

#[derive(Debug)]
struct Asking {
    branch: String,
    method: Method,
    cseq: u32,
    bytes: Bytes,
    next_at: Instant,
    interval: Duration,
    give_up_at: Instant,
    /// A provisional response came: an INVITE is not repeated then.
    proceeding: bool,
}

#[derive(Debug)]
struct Answering {
    cseq: u32,
    bytes: Bytes,
    next_at: Instant,
    interval: Duration,
    give_up_at: Instant,
}

/// One party of one call.
#[derive(Debug)]
pub struct Agent {
    /// Its name in traces.
    pub name: String,
    /// Its address.
    pub addr: SocketAddr,
    /// What it saw.
    pub facts: Facts,
    edge: SocketAddr,
    manner: Manner,
    standing: Standing,
    call_id: String,
    local_tag: String,
    remote_uri: String,
    local_uri: String,
    remote_tag: Option<String>,
    remote_target: Option<String>,
    cseq: u32,
    invite_cseq: u32,
    branches: u32,
    /// The last CSeq of the peer, and when it came.
    remote_cseq: Option<(u32, Instant)>,
    asking: Vec<Asking>,
    answering: Vec<Answering>,
    answers: BTreeMap<String, Bytes>,
    answers_order: Vec<String>,
    last_ack: Option<Bytes>,
    /// The INVITE that rings, and when it is answered.
    ringing: Option<(Request, Instant)>,
    cancel_wanted: bool,
    gave_up: bool,
    out: Vec<Sent>,
}

impl Agent {
    /// A caller of call number `number`.
    #[must_use]
    pub fn caller(number: usize, addr: SocketAddr, edge: SocketAddr, manner: Manner) -> Self {
        let mut agent = Self::new(format!("caller{number}"), addr, edge, manner);
        agent.call_id = format!("call-{number}@{}", addr.ip());
        agent.local_uri = format!("sip:alice{number}@{addr}");
        agent.remote_uri = format!("sip:c{number}@{edge}");
        agent
    }

    /// The callee of call number `number`: it waits for an INVITE.
    #[must_use]
    pub fn callee(number: usize, addr: SocketAddr, edge: SocketAddr, manner: Manner) -> Self {
        Self::new(format!("callee{number}"), addr, edge, manner)
    }

    fn new(name: String, addr: SocketAddr, edge: SocketAddr, manner: Manner) -> Self {
        Self {
            local_tag: format!("tag-{name}"),
            name,
            addr,
            facts: Vec::new(),
            edge,
            manner,
            standing: Standing::Idle,
            call_id: String::new(),
            remote_uri: String::new(),
            local_uri: String::new(),
            remote_tag: None,
            remote_target: None,
            cseq: 1,
            invite_cseq: 0,
            branches: 0,
            remote_cseq: None,
            asking: Vec::new(),
            answering: Vec::new(),
            answers: BTreeMap::new(),
            answers_order: Vec::new(),
            last_ack: None,
            ringing: None,
            cancel_wanted: false,
            gave_up: false,
            out: Vec::new(),
        }
    }

    /// Where its call stands.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.standing
    }

    /// Whether it answers a call in the plain way: once, and not despite a CANCEL.
    #[must_use]
    pub fn answers_plainly(&self) -> bool {
        matches!(self.manner.answer, Answer::After(_))
    }

    /// Whether its user gave up before an answer came.
    #[must_use]
    pub fn gave_up(&self) -> bool {
        self.gave_up
    }

    /// The peer's tag, once the dialog has one: a token of the site's.
    #[must_use]
    pub fn remote_tag(&self) -> Option<&str> {
        self.remote_tag.as_deref()
    }

    /// Whether it has nothing more to repeat or to wait for.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.asking.is_empty() && self.answering.is_empty() && self.ringing.is_none()
    }

    /// The datagrams it has decided to send since the last drain.
    pub fn drain(&mut self) -> Vec<Sent> {
        std::mem::take(&mut self.out)
    }

    /// When it wants to be woken.
    #[must_use]
    pub fn wake_at(&self) -> Instant {
        let asking = self.asking.iter().map(|one| one.next_at.min(one.give_up_at));
        let answering = self.answering.iter().map(|one| one.next_at.min(one.give_up_at));
        let ringing = self.ringing.iter().map(|(_, at)| *at);
        asking.chain(answering).chain(ringing).min().unwrap_or(Instant::NEVER)
    }

    /// Places the call.
    pub fn invite(&mut self, now: Instant) {
        self.standing = Standing::Early;
        self.ask(now, Method::Invite, Some(SDP));
        self.invite_cseq = self.cseq;
    }

    /// Gives the call up before it is answered; waits for a provisional response (§9.1).
    pub fn cancel(&mut self, now: Instant) {
        self.cancel_wanted = true;
        self.gave_up = true;
        self.cancel_if_due(now);
    }

    /// Sends a request inside the dialog; `false` when the call is not up or one is pending.
    pub fn ask_in_dialog(&mut self, now: Instant, method: Method) -> bool {
        let is_busy = !self.asking.is_empty() || !self.answering.is_empty();
        if self.standing != Standing::Up || (is_busy && method != Method::Bye) {
            return false;
        }
        let body = (method == Method::Invite).then_some(SDP);
        if method == Method::Bye {
            self.standing = Standing::Over;
            self.note(now, Fact::HungUp);
            // A re-INVITE whose server died after its 100 is never answered: the user hangs up.
            self.asking.retain(|one| !(one.method == Method::Invite && one.proceeding));
        }
        self.ask(now, method, body);
        true
    }

    /// Takes a datagram.
    pub fn receive(&mut self, now: Instant, bytes: &Bytes) {
        match parse_datagram(bytes, &Limits::default()) {
            Ok(Message::Request(request)) => self.on_request(now, request),
            Ok(Message::Response(response)) => self.on_response(now, &response),
            Err(_) => {}
        }
    }

    /// Fires what is due.
    pub fn wake(&mut self, now: Instant) {
        let mut silent = Vec::new();
        for one in &mut self.asking {
            if now >= one.give_up_at {
                silent.push((one.branch.clone(), one.method.clone()));
            } else if now >= one.next_at {
                self.out.push(Sent { to: self.edge, bytes: one.bytes.clone() });
                one.interval *= 2;
                if one.method != Method::Invite {
                    one.interval = one.interval.min(T2);
                }
                one.next_at = now + one.interval;
            }
        }
        for (branch, method) in silent {
            self.asking.retain(|one| one.branch != branch || one.method != method);
            self.note(now, Fact::Silence(method.clone()));
            if method == Method::Invite && self.standing == Standing::Early {
                self.standing = Standing::Over;
            }
        }
        let mut unacknowledged = false;
        for one in &mut self.answering {
            if now >= one.give_up_at {
                unacknowledged = true;
            } else if now >= one.next_at {
                self.out.push(Sent { to: self.edge, bytes: one.bytes.clone() });
                one.interval = (one.interval * 2).min(T2);
                one.next_at = now + one.interval;
            }
        }
        self.answering.retain(|one| now < one.give_up_at);
        if unacknowledged {
            // §13.3.1.4: "If the server retransmits the 2xx response for 64*T1 seconds without
            // receiving an ACK, the dialog is confirmed, but the session SHOULD be terminated."
            self.note(now, Fact::NoAck);
            if self.standing == Standing::AwaitAck {
                self.standing = Standing::Over;
                self.ask(now, Method::Bye, None);
            }
        }
        if self.ringing.as_ref().is_some_and(|(_, at)| now >= *at) {
            self.stop_ringing(now);
        }
    }

    fn note(&mut self, now: Instant, fact: Fact) {
        self.facts.push((now, fact));
    }

    fn end(&mut self) {
        self.standing = Standing::Over;
        self.answering.clear();
        self.ringing = None;
    }

    fn ask(&mut self, now: Instant, method: Method, body: Option<&str>) {
        self.cseq += 1;
        let branch = self.branch();
        let bytes = self.print(&method, self.cseq, &branch, body, "X-Relayed: yes\r\n");
        self.out.push(Sent { to: self.edge, bytes: bytes.clone() });
        self.asking.push(Asking {
            branch,
            cseq: self.cseq,
            bytes,
            next_at: now + T1,
            interval: T1,
            give_up_at: now + GIVE_UP,
            proceeding: false,
            method,
        });
    }

    fn branch(&mut self) -> String {
        self.branches += 1;
        format!("z9hG4bK-{}-{}", self.name, self.branches)
    }

    fn print(
        &self,
        method: &Method,
        cseq: u32,
        branch: &str,
        body: Option<&str>,
        more: &str,
    ) -> Bytes {
        let method = method.as_str();
        let target = self.remote_target.as_deref().unwrap_or(&self.remote_uri);
        let to_tag = self.remote_tag.as_ref().map_or(String::new(), |tag| format!(";tag={tag}"));
        let mut text = format!(
            "{method} {target} SIP/2.0\r\nVia: SIP/2.0/UDP {};branch={branch}\r\n\
             Max-Forwards: 70\r\nFrom: <{}>;tag={}\r\nTo: <{}>{to_tag}\r\nCall-ID: {}\r\n\
             CSeq: {cseq} {method}\r\nContact: <sip:{}>\r\n{}{more}",
            self.addr,
            self.local_uri,
            self.local_tag,
            self.remote_uri,
            self.call_id,
            self.addr,
            self.allow(),
        );
        finish(&mut text, body);
        Bytes::from(text)
    }

    fn allow(&self) -> &'static str {
        if self.manner.allows_update {
            "Allow: INVITE, ACK, CANCEL, BYE, UPDATE\r\n"
        } else {
            "Allow: INVITE, ACK, CANCEL, BYE\r\n"
        }
    }

    fn cancel_if_due(&mut self, now: Instant) {
        if !self.cancel_wanted || self.standing != Standing::Early {
            return;
        }
        let is_cancelled = self.asking.iter().any(|one| one.method == Method::Cancel);
        let invite = self.asking.iter_mut().find(|one| one.method == Method::Invite);
        let Some(invite) = invite else { return };
        // §9.1: "If no provisional response has been received, the CANCEL request MUST NOT be
        // sent".
        if !invite.proceeding || is_cancelled {
            return;
        }
        let (branch, cseq) = (invite.branch.clone(), invite.cseq);
        // §9.1: without a final response in 64*T1 the client considers the INVITE cancelled.
        invite.give_up_at = invite.give_up_at.min(now + GIVE_UP);
        let target = self.remote_uri.clone();
        let mut text = format!(
            "CANCEL {target} SIP/2.0\r\nVia: SIP/2.0/UDP {};branch={branch}\r\n\
             Max-Forwards: 70\r\nFrom: <{}>;tag={}\r\nTo: <{}>\r\nCall-ID: {}\r\n\
             CSeq: {cseq} CANCEL\r\n",
            self.addr, self.local_uri, self.local_tag, self.remote_uri, self.call_id,
        );
        finish(&mut text, None);
        let bytes = Bytes::from(text);
        self.out.push(Sent { to: self.edge, bytes: bytes.clone() });
        self.asking.push(Asking {
            branch,
            method: Method::Cancel,
            cseq,
            bytes,
            next_at: now + T1,
            interval: T1,
            give_up_at: now + GIVE_UP,
            proceeding: false,
        });
        self.cancel_wanted = false;
    }
}

fn finish(text: &mut String, body: Option<&str>) {
    let body = body.unwrap_or_default();
    if !body.is_empty() {
        text.push_str("Content-Type: application/sdp\r\n");
    }
    // Writing into a String cannot fail.
    let _ = write!(text, "Content-Length: {}\r\n\r\n{body}", body.len());
}

mod receive;
