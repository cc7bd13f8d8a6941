//! Many phones that register and are called, on one socket: each repeats over UDP until it is
//! answered (RFC 3261 §17.1.2.2), stays away for as long as a 503 says (§21.5.4), and then asks
//! again with the next CSeq (§10.2).

use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use bytes::Bytes;
use sip_message::{HeaderName, Limits, Message, Method, Response, parse_datagram};

use super::netns;
use super::stage::Stage;

const T1: Duration = Duration::from_millis(500);
const T2: Duration = Duration::from_secs(4);
const TIMER_F: Duration = Duration::from_secs(32);

/// The phones of the users of one domain.
pub(crate) struct Phones {
    socket: UdpSocket,
    local: SocketAddr,
    edge: SocketAddr,
    domain: &'static str,
    phones: Vec<Phone>,
    /// Which phone's request a branch is of.
    branches: BTreeMap<Bytes, usize>,
    /// What was answered to REGISTER that is neither 200 nor 503, and requests without an answer.
    pub(crate) odd: Vec<String>,
    /// Messages sent again.
    pub(crate) repeated: u64,
}

/// One phone.
#[derive(Default)]
pub(crate) struct Phone {
    cseq: u32,
    asking: Option<Asking>,
    away_until: Option<Instant>,
    /// When it first asked to register, this time.
    pub(crate) asked_at: Option<Instant>,
    /// When it was registered.
    pub(crate) back_at: Option<Instant>,
    /// How long it was told to stay away, in seconds, each time.
    pub(crate) sent_away: Vec<u32>,
    /// What its caller heard: a status, and where to call.
    pub(crate) called: Option<(u16, Vec<String>)>,
}

struct Asking {
    method: Method,
    bytes: Bytes,
    next_at: Instant,
    interval: Duration,
    end_at: Instant,
}

impl Phones {
    /// As many phones, none of which is registered.
    pub(crate) fn new(stage: &Stage, edge: SocketAddr, domain: &'static str, count: usize) -> Self {
        let local = netns::at(stage.host(), stage.address());
        let socket = netns::on(stage.host(), || UdpSocket::bind(local)).expect("the port is free");
        socket.set_nonblocking(true).expect("a socket can be made non-blocking");
        let phones = (0..count).map(|_| Phone::default()).collect();
        let (branches, odd, repeated) = (BTreeMap::new(), Vec::new(), 0);
        Self { socket, local, edge, domain, phones, branches, odd, repeated }
    }

    /// The phones.
    pub(crate) fn all(&self) -> &[Phone] {
        &self.phones
    }

    /// Where a phone wants to be called.
    pub(crate) fn contact(index: usize) -> String {
        format!("<sip:u{index}@192.0.2.7:{}>", 10_000 + index)
    }

    /// The first `count` phones register, evenly over `time`, and come back when they are sent
    /// away. Returns when all are registered, or `patience` is over.
    pub(crate) fn register(&mut self, count: usize, time: Duration, patience: Duration) {
        for phone in &mut self.phones[..count] {
            (phone.asked_at, phone.back_at) = (None, None);
            phone.sent_away.clear();
        }
        self.pace(count, time, patience, &Method::Register, |phone| phone.back_at.is_some());
    }

    /// Somebody calls each of the phones, evenly over `time`.
    pub(crate) fn call_each(&mut self, time: Duration, patience: Duration) {
        let count = self.phones.len();
        self.pace(count, time, patience, &Method::Invite, |phone| phone.called.is_some());
    }

    fn pace(
        &mut self,
        count: usize,
        time: Duration,
        patience: Duration,
        method: &Method,
        is_done: fn(&Phone) -> bool,
    ) {
        let began = Instant::now();
        let mut begun = 0;
        while begun < count || !self.phones[..count].iter().all(is_done) {
            let passed = began.elapsed();
            if passed > patience {
                return;
            }
            let share = passed.as_secs_f64() / time.as_secs_f64().max(0.001);
            let due = ((share * count as f64) as usize + 1).min(count);
            while begun < due {
                self.phones[begun].asked_at.get_or_insert_with(Instant::now);
                self.ask(begun, method);
                begun += 1;
            }
            if !self.turn() {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }

    fn ask(&mut self, index: usize, method: &Method) {
        let Self { local, edge, domain, .. } = self;
        let phone = &mut self.phones[index];
        phone.cseq += 1;
        let cseq = phone.cseq;
        let branch = format!("z9hG4bK{}u{index}n{cseq}", local.port());
        let user = format!("sip:u{index}@{domain}");
        let (uri, from, contact) = match method {
            Method::Register => (format!("sip:{domain}"), user.clone(), Self::contact(index)),
            _ => (user.clone(), format!("sip:caller@{local}"), format!("<sip:caller@{local}>")),
        };
        let bytes = Bytes::from(format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {local};branch={branch};rport\r\n\
             Max-Forwards: 70\r\nFrom: <{from}>;tag=f{index}n{cseq}\r\nTo: <{user}>\r\n\
             Call-ID: {method}{index}@{edge}\r\nCSeq: {cseq} {method}\r\nContact: {contact}\r\n\
             Content-Length: 0\r\n\r\n"
        ));
        let now = Instant::now();
        self.branches.insert(branch.into(), index);
        let (next_at, end_at) = (now + T1, now + TIMER_F);
        let method = method.clone();
        let _lost = self.socket.send_to(&bytes, self.edge);
        phone.asking = Some(Asking { method, bytes, next_at, interval: T1, end_at });
    }

    /// Receives all that has come, repeats what is due and sends who is due. Says whether anything
    /// came.
    fn turn(&mut self) -> bool {
        let mut busy = false;
        let mut buffer = [0_u8; 65_536];
        while let Ok((length, _)) = self.socket.recv_from(&mut buffer) {
            busy = true;
            let bytes = Bytes::copy_from_slice(&buffer[..length]);
            match parse_datagram(&bytes, &Limits::default()) {
                Ok(Message::Response(response)) => self.hear(&response),
                other => panic!("a phone heard what is no response: {other:?}"),
            }
        }
        let now = Instant::now();
        for index in 0..self.phones.len() {
            let phone = &mut self.phones[index];
            if phone.away_until.is_some_and(|until| until <= now) {
                phone.away_until = None;
                self.ask(index, &Method::Register);
                continue;
            }
            let Some(asking) = phone.asking.as_mut().filter(|asking| asking.next_at <= now) else {
                continue;
            };
            if asking.end_at <= now {
                self.odd.push(format!("u{index}: no answer to {}", asking.method));
                phone.asking = None;
                continue;
            }
            asking.interval = (asking.interval * 2).min(T2);
            asking.next_at = now + asking.interval;
            self.repeated += 1;
            let _lost = self.socket.send_to(&asking.bytes, self.edge);
        }
        busy
    }

    fn hear(&mut self, response: &Response) {
        let headers = &response.headers;
        let branch = headers.top_branch().expect("checked by the parser").unwrap_or_default();
        let Some(index) = self.branches.get(&branch).copied() else {
            return self.odd.push("an answer to nobody".to_owned());
        };
        let phone = &mut self.phones[index];
        let status = response.status.code();
        let number = headers.cseq().expect("checked by the parser").number;
        let is_asking = phone.asking.is_some() && number == phone.cseq;
        if !response.status.is_final() || !is_asking {
            return;
        }
        let asking = phone.asking.take().expect("it asks");
        let values = headers.values(&HeaderName::Contact);
        let contacts: Vec<String> =
            values.map(|value| String::from_utf8_lossy(&value).into_owned()).collect();
        if asking.method == Method::Invite {
            phone.called = Some((status, contacts));
            return self.acknowledge(&asking.bytes, response);
        }
        let is_kept = || contacts.iter().any(|one| one.starts_with(&Self::contact(index)));
        match (status, headers.retry_after()) {
            (200, _) if is_kept() => phone.back_at = Some(Instant::now()),
            (503, Ok(Some(seconds))) => {
                phone.sent_away.push(seconds);
                phone.away_until = Some(Instant::now() + Duration::from_secs(seconds.into()));
            }
            _ => self.odd.push(format!("u{index}: {status} {contacts:?}")),
        }
    }

    /// RFC 3261 §17.1.1.3: the ACK of a final answer that is no 2xx has the INVITE's branch.
    fn acknowledge(&self, invite: &Bytes, response: &Response) {
        let Ok(Message::Request(mut ack)) = parse_datagram(invite, &Limits::default()) else {
            panic!("we wrote it ourselves");
        };
        let number = response.headers.cseq().expect("checked by the parser").number;
        ack.method = Method::Ack;
        ack.headers.set(HeaderName::CSeq, format!("{number} ACK"));
        let to = response.headers.get(&HeaderName::To).expect("checked by the parser");
        ack.headers.set(HeaderName::To, to.clone());
        let _lost = self.socket.send_to(&ack.print(), self.edge);
    }
}
