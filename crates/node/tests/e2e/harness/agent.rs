//! A SIP user agent for scripts: it repeats, acknowledges and answers repetitions by itself
//! (RFC 3261 §13.3.1.4, §17.1, §17.2), and leaves every decision to the script.
//!
//! It sends responses to the sent-by of the Via alone and asks for no `rport`, so that whatever is
//! sent to it or from it passes the address that a Via names. A name means its edges, one message
//! after the other to the next of them, as a resolver may give them; a CANCEL goes where its INVITE
//! went. Deliberately absent: media, authentication, forks.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use bytes::Bytes;
use sip_message::{
    HeaderName, Limits, Message, Method, Request, Response, StatusCode, parse_datagram,
};

use super::dialog::{Dialog, sdp};

/// A transaction as both ends know it: branch and method, ACK apart from its INVITE.
type Transaction = (Bytes, String);

/// A message that the script has not looked at yet. Repetitions are not told.
#[derive(Clone, Debug)]
pub(crate) struct Heard {
    /// When it came.
    pub(crate) at: Instant,
    /// What came.
    pub(crate) message: Message,
}

/// One user agent on its own port.
pub(crate) struct Agent {
    name: &'static str,
    socket: UdpSocket,
    local: SocketAddr,
    /// Where requests are sent, in turn.
    edges: Vec<SocketAddr>,
    next_edge: usize,
    /// What its peers are called by; the edge's address while it has no name.
    domain: String,
    t1: Duration,
    /// Sends every message twice.
    doubled: bool,
    numbers: u64,
    heard: Vec<Heard>,
    /// Requests that came, and the last response to each.
    answers: BTreeMap<Transaction, Option<(SocketAddr, Bytes)>>,
    asking: BTreeMap<Transaction, Repeating>,
    /// 2xx to INVITE that wait for their ACK, by Call-ID and CSeq number.
    unacknowledged: BTreeMap<(Bytes, u32), Repeating>,
    /// ACKs of 2xx, by Call-ID and CSeq number.
    acks: BTreeMap<(Bytes, u32), Bytes>,
    told: BTreeSet<(Transaction, u16)>,
    /// Requests as they came first: a repetition is the same bytes.
    came: BTreeMap<Transaction, Bytes>,
    /// Messages that came more than once.
    pub(crate) repetitions: u64,
}

struct Repeating {
    to: SocketAddr,
    bytes: Bytes,
    next_at: Instant,
    interval: Duration,
    end_at: Instant,
    is_invite: bool,
    proceeding: bool,
}

impl Heard {
    /// The request, if it is one of `method`.
    pub(crate) fn request(&self, method: &Method) -> Option<&Request> {
        match &self.message {
            Message::Request(request) if request.method == *method => Some(request),
            Message::Request(_) | Message::Response(_) => None,
        }
    }

    /// The response, if it is one to a request of `method`.
    pub(crate) fn response(&self, method: &Method) -> Option<&Response> {
        match &self.message {
            Message::Response(response) if cseq(&self.message).1 == *method => Some(response),
            Message::Request(_) | Message::Response(_) => None,
        }
    }

    /// The Call-ID.
    pub(crate) fn call_id(&self) -> Bytes {
        call_id(&self.message)
    }
}

impl Agent {
    /// An agent at `local` that sends its requests to `edge`.
    pub(crate) fn new(name: &'static str, local: SocketAddr, edge: SocketAddr) -> Self {
        let socket = UdpSocket::bind(local).expect("the port is free");
        socket.set_nonblocking(true).expect("a socket can be made non-blocking");
        Self {
            name,
            socket,
            local,
            edges: vec![edge],
            next_edge: 0,
            domain: edge.to_string(),
            t1: Duration::from_millis(500),
            doubled: false,
            numbers: 0,
            heard: Vec::new(),
            answers: BTreeMap::new(),
            asking: BTreeMap::new(),
            unacknowledged: BTreeMap::new(),
            acks: BTreeMap::new(),
            told: BTreeSet::new(),
            came: BTreeMap::new(),
            repetitions: 0,
        }
    }

    /// Uses another T1 than 500 ms.
    pub(crate) fn with_t1(mut self, t1: Duration) -> Self {
        self.t1 = t1;
        self
    }

    /// Sends every message twice from here on.
    pub(crate) fn set_doubled(&mut self, doubled: bool) {
        self.doubled = doubled;
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) fn local(&self) -> SocketAddr {
        self.local
    }

    pub(crate) fn domain(&self) -> &str {
        &self.domain
    }

    /// From here on a name means these edges, the first one first.
    pub(crate) fn set_edges(&mut self, name: &str, edges: &[SocketAddr]) {
        self.domain = name.to_owned();
        self.edges = edges.to_vec();
        self.next_edge = 0;
    }

    /// The next of its edges.
    fn turn_of_edge(&mut self) -> SocketAddr {
        self.next_edge += 1;
        self.edges[(self.next_edge - 1) % self.edges.len()]
    }

    /// Leaves a call behind. What belongs to it is still known when it comes once more.
    pub(crate) fn leave(&mut self) {
        self.heard.clear();
        self.hush();
    }

    /// What was heard and not yet taken.
    pub(crate) fn heard(&self) -> &[Heard] {
        &self.heard
    }

    /// Takes the first message for which `wanted` holds.
    pub(crate) fn take(&mut self, wanted: impl FnMut(&Heard) -> bool) -> Option<Heard> {
        let index = self.heard.iter().position(wanted)?;
        Some(self.heard.remove(index))
    }

    /// A branch or tag that this agent has not used.
    pub(crate) fn unique(&mut self) -> String {
        self.numbers += 1;
        format!("{}{}x{}", self.name, self.local.port(), self.numbers)
    }

    /// Sends `request` and repeats it until it is answered. ACK is sent once.
    pub(crate) fn ask(&mut self, request: &Request) {
        let to = self.turn_of_edge();
        self.ask_at(request, to);
    }

    /// The same at this address.
    fn ask_at(&mut self, request: &Request, to: SocketAddr) {
        let bytes = request.print();
        let message = Message::Request(request.clone());
        if request.method == Method::Ack {
            let (number, _) = cseq(&message);
            self.acks.insert((call_id(&message), number), bytes.clone());
        } else {
            let is_invite = request.method == Method::Invite;
            let repeating = self.repeating(to, bytes.clone(), is_invite);
            self.asking.insert(transaction(&message), repeating);
        }
        self.send(to, &bytes);
    }

    /// Stops repeating everything, as an agent does whose user has left.
    pub(crate) fn hush(&mut self) {
        self.asking.clear();
        self.unacknowledged.clear();
    }

    /// Answers a request; a To tag is added where none is. 2xx to INVITE carries a body.
    pub(crate) fn respond(&mut self, request: &Request, status: u16) -> Bytes {
        let code = StatusCode::new(status).expect("a status the script names");
        let mut response = Response::to_request(request, code);
        let message = Message::Request(request.clone());
        let mut to = request.headers.to().expect("the parser has checked it");
        if to.tag().is_none() && status > 100 {
            to.set_tag(&format!("t{}", self.local.port()));
            response.headers.set(HeaderName::To, to.to_string());
        }
        let is_invite = request.method == Method::Invite;
        if is_invite && status < 300 {
            response.headers.push(HeaderName::Contact, format!("<sip:callee@{}>", self.local));
        }
        if is_invite && code.is_success() {
            response.headers.push(HeaderName::ContentType, "application/sdp");
            response.body = sdp(self.local, 1);
        }
        let bytes = response.print();
        let to = sent_by(request).unwrap_or_else(|| self.turn_of_edge());
        self.answers.insert(transaction(&message), Some((to, bytes.clone())));
        if is_invite && code.is_success() {
            let (number, _) = cseq(&message);
            let repeating = self.repeating(to, bytes.clone(), false);
            self.unacknowledged.insert((call_id(&message), number), repeating);
        }
        self.send(to, &bytes);
        to_tag(&response)
    }

    /// Receives all that has come and repeats what is due. Says whether anything happened.
    pub(crate) fn turn(&mut self) -> bool {
        let mut busy = false;
        let mut buffer = [0_u8; 65_536];
        while let Ok((length, _source)) = self.socket.recv_from(&mut buffer) {
            busy = true;
            let bytes = Bytes::copy_from_slice(&buffer[..length]);
            match parse_datagram(&bytes, &Limits::default()) {
                Ok(Message::Request(request)) => self.take_request(&bytes, request),
                Ok(Message::Response(response)) => self.take_response(response),
                Err(error) => panic!("{} heard what is not SIP: {error}", self.name),
            }
        }
        self.repeat();
        busy
    }

    fn take_request(&mut self, bytes: &Bytes, request: Request) {
        let message = Message::Request(request);
        let key = transaction(&message);
        let first = self.came.entry(key.clone()).or_insert_with(|| bytes.clone());
        assert_eq!(first, bytes, "{}: a repetition has other bytes", self.name);
        if let Message::Request(request) = &message
            && request.method == Method::Ack
        {
            let (number, _) = cseq(&message);
            self.unacknowledged.remove(&(call_id(&message), number));
        }
        match self.answers.get(&key) {
            Some(answer) => {
                self.repetitions += 1;
                if let Some((to, bytes)) = answer.clone() {
                    self.send(to, &bytes);
                }
            }
            None => {
                self.answers.insert(key, None);
                self.heard.push(Heard { at: Instant::now(), message });
            }
        }
    }

    fn take_response(&mut self, response: Response) {
        let status = response.status;
        let message = Message::Response(response);
        let key = transaction(&message);
        let (number, method) = cseq(&message);
        if let Some(asking) = self.asking.get_mut(&key) {
            asking.proceeding = true;
            if status.is_final() {
                let asking = self.asking.remove(&key).expect("it was there");
                if method == Method::Invite && !status.is_success() {
                    self.acknowledge_refusal(&asking, &message);
                }
            }
        } else if method == Method::Invite && status.is_success() {
            // RFC 3261 §13.2.2.4: "the ACK MUST be passed to the client transport every time a
            // retransmission of the 2xx final response that triggered the ACK arrives".
            if let Some(ack) = self.acks.get(&(call_id(&message), number)).cloned() {
                let to = self.turn_of_edge();
                self.send(to, &ack);
            }
        }
        if self.told.insert((key, status.code())) {
            self.heard.push(Heard { at: Instant::now(), message });
        } else {
            self.repetitions += 1;
        }
    }

    /// RFC 3261 §17.1.1.3: the ACK of a refusal belongs to the INVITE's transaction.
    fn acknowledge_refusal(&mut self, invite: &Repeating, response: &Message) {
        let Ok(Message::Request(mut ack)) = parse_datagram(&invite.bytes, &Limits::default())
        else {
            panic!("we printed it ourselves");
        };
        let (number, _) = cseq(response);
        ack.method = Method::Ack;
        ack.headers.set(HeaderName::CSeq, format!("{number} ACK"));
        let to = response.headers().get(&HeaderName::To).expect("checked by the parser");
        ack.headers.set(HeaderName::To, to.clone());
        ack.headers.remove(&HeaderName::ContentType);
        ack.body = Bytes::new();
        self.send(invite.to, &ack.print());
    }

    fn repeating(&self, to: SocketAddr, bytes: Bytes, is_invite: bool) -> Repeating {
        let now = Instant::now();
        Repeating {
            to,
            bytes,
            next_at: now + self.t1,
            interval: self.t1,
            end_at: now + 64 * self.t1,
            is_invite,
            proceeding: false,
        }
    }

    fn repeat(&mut self) {
        let now = Instant::now();
        let t2 = 8 * self.t1;
        let mut due = Vec::new();
        for all in [
            self.asking.values_mut().collect::<Vec<_>>(),
            self.unacknowledged.values_mut().collect(),
        ] {
            for one in all {
                let rests = one.is_invite && one.proceeding;
                if rests || now < one.next_at || now > one.end_at {
                    continue;
                }
                due.push((one.to, one.bytes.clone()));
                one.interval =
                    if one.is_invite { one.interval * 2 } else { t2.min(one.interval * 2) };
                one.next_at = now + one.interval;
            }
        }
        for (to, bytes) in due {
            self.send(to, &bytes);
        }
    }

    fn send(&self, to: SocketAddr, bytes: &[u8]) {
        for _ in 0..=usize::from(self.doubled) {
            // Loss is what repetitions are for.
            let _lost = self.socket.send_to(bytes, to);
        }
    }

    /// Begins a call: the INVITE is on its way.
    pub(crate) fn invite(&mut self) -> (Dialog, Request) {
        let mut dialog = Dialog::outgoing(self);
        let invite = dialog.request(self, Method::Invite);
        self.ask(&invite);
        (dialog, invite)
    }

    /// Cancels `invite`: the same transaction as far as its headers go (RFC 3261 §9.1).
    pub(crate) fn cancel(&mut self, invite: &Request) {
        let mut cancel = Request::new(Method::Cancel, invite.uri.clone());
        for (name, value) in invite.headers.iter() {
            match name {
                HeaderName::Via
                | HeaderName::From
                | HeaderName::To
                | HeaderName::CallId
                | HeaderName::Route
                | HeaderName::MaxForwards => cancel.headers.push(name.clone(), value.clone()),
                HeaderName::CSeq => {
                    let number = invite.headers.cseq().expect("our own").number;
                    cancel.headers.push(HeaderName::CSeq, format!("{number} CANCEL"));
                }
                _ => {}
            }
        }
        let of_invite = transaction(&Message::Request(invite.clone()));
        let asking = self.asking.get(&of_invite).map(|asking| asking.to);
        let to = asking.unwrap_or_else(|| self.turn_of_edge());
        self.ask_at(&cancel, to);
    }
}

/// Where RFC 3261 §18.2.2 sends a response, without RFC 3581; `None` for a name.
fn sent_by(request: &Request) -> Option<SocketAddr> {
    let via = request.headers.via_top().expect("checked by the parser").expect("there");
    let ip = via.received().or_else(|| via.host.ip())?;
    Some(SocketAddr::from((plain(ip), via.port.unwrap_or(5060))))
}

fn plain(ip: IpAddr) -> IpAddr {
    ip.to_canonical()
}

fn to_tag(response: &Response) -> Bytes {
    let to = response.headers.to().expect("checked by the parser");
    to.tag().cloned().unwrap_or_default()
}

fn transaction(message: &Message) -> Transaction {
    let via = message.headers().via_top().expect("checked by the parser").expect("there");
    let method = match message {
        Message::Request(request) => request.method.as_str().into_owned(),
        Message::Response(_) => cseq(message).1.as_str().into_owned(),
    };
    (via.branch().cloned().unwrap_or_default(), method)
}

fn cseq(message: &Message) -> (u32, Method) {
    let cseq = message.headers().cseq().expect("checked by the parser");
    (cseq.number, cseq.method)
}

fn call_id(message: &Message) -> Bytes {
    message.headers().call_id().expect("checked by the parser").clone()
}
