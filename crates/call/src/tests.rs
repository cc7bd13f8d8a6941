//! A call between two phones, stepped by hand: `alice` calls, `bob` answers.
//!
//! Every step is taken twice, by the call and by its encoded and decoded twin, and both must agree.

mod accounting;
mod basic;
mod cancelling;
mod failing;
mod forking;
mod hostile;
mod initial;
mod keeping;
mod moving;
mod random;
mod refreshing;
mod relaying;
mod tearing_down;
mod time;
mod vetoes;
mod waking;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use servlet::{Application, Cx, Decision, EndReason, NextHop, OutboundLeg, SessionId};
use sip_message::{
    HeaderName, Host, Limits, Message, Method, Request, Response, StatusCode, Uri, parse_datagram,
};
use vocab::{CallKey, Instant, SiteId, TokenSecret};

use crate::{Call, Changed, Destination, Edge, Effect, Input, Setting, Source, Step};

const ALICE: &str = "192.0.2.1:5060";
const BOB: &str = "192.0.2.2:5060";
pub(super) const OFFER: &str = "v=0\r\no=alice 1 1 IN IP4 192.0.2.1\r\ns=-\r\n\
    c=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n";
pub(super) const ANSWER: &str = "v=0\r\no=bob 2 2 IN IP4 192.0.2.2\r\ns=-\r\nc=IN IP4 192.0.2.2\r\n\
    t=0 0\r\nm=audio 5000 RTP/AVP 0\r\n";

/// Routes every INVITE and MESSAGE to bob; ends the call on INFO with `X-End`.
struct ToBob;

impl Application for ToBob {
    fn name(&self) -> &str {
        "to-bob"
    }

    fn on_initial_request(&self, cx: &mut Cx<'_>, request: &Request) -> Decision {
        let user = request.uri.user().map(|user| user.to_vec()).unwrap_or_default();
        match (&request.method, &user[..]) {
            (Method::Invite, b"later") => {
                assert!(cx.set_timer("decide", Duration::from_secs(2)));
                Decision::Defer
            }
            (Method::Invite, b"ringing") => {
                Decision::Respond(servlet::Reply::new(StatusCode::RINGING))
            }
            (Method::Invite | Method::Message, _) => Decision::BackToBack(
                OutboundLeg::new("sip:bob@192.0.2.2".parse().expect("a URI"))
                    .via(NextHop::Addr(BOB.parse().expect("an address"))),
            ),
            _ => Decision::Respond(servlet::Reply::new(StatusCode::OK)),
        }
    }

    fn on_request(&self, cx: &mut Cx<'_>, request: &Request) {
        if request.headers.contains(&HeaderName::parse(b"X-End")) {
            cx.respond(servlet::Reply::new(StatusCode::OK));
            cx.end();
        }
    }

    fn on_timer(&self, cx: &mut Cx<'_>, name: &str) {
        assert_eq!(name, "decide");
        cx.decide(Decision::Respond(servlet::Reply::new(StatusCode::BUSY_HERE)));
    }

    fn on_session_ended(&self, cx: &mut Cx<'_>, session: SessionId, why: EndReason) {
        let told = cx.attribute("ended").cloned().unwrap_or_default();
        let told = format!("{} {}:{why:?}", String::from_utf8_lossy(&told), session.0);
        let _ = cx.set_attribute("ended", told.trim().to_owned());
    }
}

pub(super) struct World {
    pub(super) call: Call,
    pub(super) now: Instant,
    pub(super) setting: Setting,
    pub(super) changed: Changed,
    /// What was to be written down.
    pub(super) accounts: Vec<Effect>,
    /// INVITE of alice's as sent; her later requests are made of it.
    invite: Option<Request>,
    cseq: u32,
    branches: u32,
}

pub(super) fn setting() -> Setting {
    let secret = TokenSecret::new(*b"0123456789abcdef0123456789ABCDEF");
    let edge = Edge { host: Host::from("198.51.100.1"), port: 5060 };
    Setting { accounts: true, ..Setting::new(SiteId(1), secret, edge, vec![Arc::new(ToBob)]) }
}

pub(super) fn key() -> CallKey {
    setting().secret.call_key(&[b"call-1", b"alice"])
}

impl World {
    pub(super) fn new() -> Self {
        Self::with(setting())
    }

    pub(super) fn with(setting: Setting) -> Self {
        let now = Instant(1_000_000_000_000);
        let call = Call::begin(key(), 7, SiteId(1), now);
        let (invite, cseq, branches) = (None, 1, 0);
        let (changed, accounts) = (Changed::Nothing, Vec::new());
        Self { call, now, setting, changed, accounts, invite, cseq, branches }
    }

    /// Steps the call and its twin.
    pub(super) fn input(&mut self, input: Input<'_>) -> Vec<Sent> {
        let mut twin = twin(&self.call, self.now);
        let again = twin.step(self.now, input, &self.setting);
        let Step { effects, changed } = self.call.step(self.now, input, &self.setting);
        assert_eq!(again.effects, effects, "the decoded twin decides alike");
        assert_eq!(again.changed, changed, "the decoded twin changes alike");
        assert_eq!(twin, self.call, "the decoded twin becomes alike");
        self.changed = changed;
        self.accounts.extend(effects.iter().filter(|effect| is_account(effect)).cloned());
        messages(effects)
    }

    pub(super) fn request(&mut self, request: Request) -> Vec<Sent> {
        let source = Source { addr: ALICE.parse().expect("an address") };
        self.input(Input::Request { request: &request, source })
    }

    pub(super) fn by_bob(&mut self, request: Request) -> Vec<Sent> {
        let source = Source { addr: BOB.parse().expect("an address") };
        self.input(Input::Request { request: &request, source })
    }

    pub(super) fn response(&mut self, response: Response) -> Vec<Sent> {
        let source = Source { addr: BOB.parse().expect("an address") };
        self.input(Input::Response { response: &response, source })
    }

    pub(super) fn after(&mut self, after: Duration) -> Vec<Sent> {
        let until = self.now + after;
        let mut sent = Vec::new();
        while let Some(at) = self.call.next_deadline().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            sent.extend(self.input(Input::Due));
            assert!(
                self.call.next_deadline().is_none_or(|next| next > self.now),
                "a due deadline was not dealt with"
            );
        }
        self.now = until;
        sent
    }

    fn branch(&mut self) -> String {
        self.branches += 1;
        format!("z9hG4bKphone{}", self.branches)
    }

    /// An INVITE as alice's phone makes it.
    pub(super) fn invite(&mut self) -> Request {
        let mut invite = self.plain(Method::Invite, "sip:bob@example.com");
        invite.headers.push(HeaderName::ContentType, "application/sdp");
        invite.headers.push(HeaderName::Supported, "timer, 100rel");
        invite.headers.push(HeaderName::Allow, "INVITE, ACK, BYE, CANCEL, UPDATE, INFO");
        invite.headers.push(HeaderName::parse(b"X-Mine"), "kept");
        invite.body = Bytes::from_static(OFFER.as_bytes());
        self.invite = Some(invite.clone());
        invite
    }

    pub(super) fn plain(&mut self, method: Method, uri: &str) -> Request {
        let uri: Uri = uri.parse().expect("a URI");
        let branch = self.branch();
        let cseq = format!("{} {method}", self.cseq);
        let mut request = Request::new(method, uri);
        let headers = &mut request.headers;
        headers.push(HeaderName::Via, format!("SIP/2.0/UDP 192.0.2.1:5060;branch={branch}"));
        headers.push(HeaderName::MaxForwards, "70");
        headers.push(HeaderName::From, "\"Alice\" <sip:alice@example.com>;tag=alice");
        headers.push(HeaderName::To, "<sip:bob@example.com>");
        headers.push(HeaderName::CallId, "call-1");
        headers.push(HeaderName::CSeq, cseq);
        headers.push(HeaderName::Contact, "<sip:alice@192.0.2.1:5060>");
        request
    }

    /// A request of alice's in the dialog that `response` made; ACK keeps the CSeq.
    pub(super) fn within(&mut self, method: Method, response: &Response) -> Request {
        if method != Method::Ack {
            self.cseq += 1;
        }
        let mut request = self.plain(method, "sip:198.51.100.1:5060");
        let to = response.headers.get(&HeaderName::To).expect("a To").clone();
        request.headers.set(HeaderName::To, to);
        request
    }

    pub(super) fn cancel(&mut self) -> Request {
        let invite = self.invite.clone().expect("an INVITE was sent");
        let mut cancel = Request::new(Method::Cancel, invite.uri.clone());
        for name in [HeaderName::Via, HeaderName::From, HeaderName::To, HeaderName::CallId] {
            let value = invite.headers.get(&name).expect("a header").clone();
            cancel.headers.push(name, value);
        }
        let cseq = invite.headers.cseq().expect("a CSeq").number;
        cancel.headers.push(HeaderName::CSeq, format!("{cseq} CANCEL"));
        cancel.headers.push(HeaderName::MaxForwards, "70");
        cancel
    }

    /// A call that bob has answered and alice has acknowledged: the 200 at alice, and bob's INVITE.
    pub(super) fn answered(&mut self) -> (Response, Request) {
        let invite = self.invite();
        let to_bob = requests(&self.request(invite)).remove(0);
        let ok = self.response(ok(&to_bob));
        let at_alice = responses(&ok).remove(0);
        let ack = self.within(Method::Ack, &at_alice);
        let _ = self.request(ack);
        assert!(self.call.at_boundary());
        (at_alice, to_bob)
    }

    /// A request of bob's phone in the dialog that `invite` made.
    pub(super) fn bobs(&mut self, method: Method, cseq: u32, invite: &Request) -> Request {
        let branch = self.branch();
        let mut request = Request::new(method.clone(), contact(&invite.headers));
        let from = invite.headers.to().expect("a To").with_tag("bob").print();
        let headers = &mut request.headers;
        headers.push(HeaderName::Via, format!("SIP/2.0/UDP 192.0.2.2:5060;branch={branch}"));
        headers.push(HeaderName::MaxForwards, "70");
        headers.push(HeaderName::From, from);
        headers
            .push(HeaderName::To, invite.headers.get(&HeaderName::From).expect("a From").clone());
        headers.push(HeaderName::CallId, invite.headers.call_id().expect("a Call-ID").clone());
        headers.push(HeaderName::CSeq, format!("{cseq} {method}"));
        headers.push(HeaderName::Contact, "<sip:bob@192.0.2.2:5060>");
        request
    }

    pub(super) fn ended(&self) -> String {
        let state = self.call.crossing.applications.first().expect("an application");
        let told = state.attributes.get("ended").cloned().unwrap_or_default();
        String::from_utf8_lossy(&told).into_owned()
    }
}

fn contact(headers: &sip_message::Headers) -> Uri {
    headers.contact().expect("a Contact").expect("a Contact").uri
}

/// The call, encoded and decoded at the same moment.
pub(super) fn twin(call: &Call, now: Instant) -> Call {
    let encoded = call.encode(now, &[]);
    let (twin, effects) = Call::decode(
        call.key(),
        encoded.schema,
        &encoded.crossing,
        &encoded.local,
        Duration::ZERO,
        now,
    )
    .expect("what was encoded is decoded");
    assert_eq!(effects, []);
    assert_eq!(twin, *call);
    twin
}

/// What was sent, read again as its receiver would.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sent {
    pub(super) to: Destination,
    pub(super) message: Message,
}

impl From<Effect> for Sent {
    fn from(effect: Effect) -> Self {
        let Effect::Transmit { to, bytes } = effect else { panic!("no message: {effect:?}") };
        let message = parse_datagram(&bytes, &Limits::default());
        Self { to, message: message.expect("what is sent is well formed") }
    }
}

fn is_account(effect: &Effect) -> bool {
    match effect {
        Effect::Transmit { .. } => false,
        Effect::Account(_) => true,
    }
}

/// The messages among the effects of a step.
pub(super) fn messages(effects: Vec<Effect>) -> Vec<Sent> {
    effects.into_iter().filter(|effect| !is_account(effect)).map(Sent::from).collect()
}

pub(super) fn to_alice() -> Destination {
    Destination::Addr(ALICE.parse().expect("an address"))
}

pub(super) fn to_bob() -> Destination {
    Destination::Addr(BOB.parse().expect("an address"))
}

pub(super) fn requests(sent: &[Sent]) -> Vec<Request> {
    let each = sent.iter().filter_map(|sent| match &sent.message {
        Message::Request(request) => Some(request.clone()),
        Message::Response(_) => None,
    });
    each.collect()
}

pub(super) fn responses(sent: &[Sent]) -> Vec<Response> {
    let each = sent.iter().filter_map(|sent| match &sent.message {
        Message::Request(_) => None,
        Message::Response(response) => Some(response.clone()),
    });
    each.collect()
}

/// `INVITE>bob`, `180>alice`: what was sent and to whom, in order.
pub(super) fn told(sent: &[Sent]) -> String {
    let each = sent.iter().map(|sent| {
        let whom = if sent.to == to_alice() {
            "alice"
        } else if sent.to == to_bob() {
            "bob"
        } else {
            "?"
        };
        match &sent.message {
            Message::Request(request) => format!("{}>{whom}", request.method),
            Message::Response(response) => {
                let cseq = response.headers.cseq().expect("a CSeq");
                format!("{}/{}>{whom}", response.status, cseq.method)
            }
        }
    });
    each.collect::<Vec<_>>().join(" ")
}

/// Bob's answer with his usual tag.
pub(super) fn answer(request: &Request, status: u16) -> Response {
    tagged(request, status, "bob")
}

pub(super) fn tagged(request: &Request, status: u16, tag: &str) -> Response {
    let status = StatusCode::new(status).expect("a status");
    let mut response = Response::to_request(request, status);
    if status != StatusCode::TRYING {
        let to = response.headers.to().expect("a To").with_tag(tag);
        response.headers.set(HeaderName::To, to.print());
        response.headers.push(HeaderName::Contact, "<sip:bob@192.0.2.2:5060>");
    }
    response
}

pub(super) fn ok(request: &Request) -> Response {
    let mut response = answer(request, 200);
    response.headers.push(HeaderName::ContentType, "application/sdp");
    response.body = Bytes::from_static(ANSWER.as_bytes());
    response
}

pub(super) fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
