//! What the tests of the machines share: messages, times and a peer's address.

use std::time::Duration;

use bytes::Bytes;
use sip_message::{Limits, Message, Method, Request, Response, StatusCode, parse_datagram};
use vocab::Instant;

use super::key::ServerId;
use super::{ClientKey, Outcome, Packet, Reliability, ServerKey, SipTimers};
use crate::Destination;

mod client;
mod derive;
mod invite_client;
mod invite_server;
mod key;
mod server;
mod unacknowledged;

const TIMERS: SipTimers = SipTimers {
    t1: Duration::from_millis(500),
    t2: Duration::from_secs(4),
    t4: Duration::from_secs(5),
    ring_max: Duration::from_secs(180),
};
const INVITE: &str = "INVITE sip:bob@192.0.2.2 SIP/2.0\r\n\
    Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKb1\r\n\
    Route: <sip:proxy.example;lr>\r\n\
    Max-Forwards: 70\r\n\
    From: <sip:alice@example.com>;tag=a1\r\n\
    To: <sip:bob@example.com>\r\n\
    Call-ID: c1\r\n\
    CSeq: 7 INVITE\r\n\
    Contact: <sip:alice@192.0.2.1>\r\n\
    Content-Length: 0\r\n\r\n";

/// `ms` milliseconds after the start of a test.
fn at(ms: u64) -> Instant {
    Instant(1_000_000_000) + Duration::from_millis(ms)
}

fn peer() -> Destination {
    Destination::Addr(([192, 0, 2, 1], 5060).into())
}

fn bytes(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

fn packet(text: &'static str) -> Packet {
    Packet { to: peer(), bytes: bytes(text) }
}

fn request(text: &str) -> Request {
    match parse_datagram(&Bytes::from(text.to_owned()), &Limits::default()) {
        Ok(Message::Request(request)) => request,
        other => panic!("not a request: {other:?}"),
    }
}

fn response(code: u16) -> Response {
    let mut response = Response::to_request(&request(INVITE), status(code));
    response.headers.set(sip_message::HeaderName::To, "<sip:bob@example.com>;tag=b1");
    response
}

fn status(code: u16) -> StatusCode {
    StatusCode::new(code).expect("the tests use valid codes")
}

fn client_key(method: Method) -> ClientKey {
    ClientKey { branch: 3, method }
}

fn server_key(method: Method) -> ServerKey {
    let id = ServerId::Branch { branch: bytes("z9hG4bKb1"), sent_by: bytes("192.0.2.1:5060") };
    ServerKey { method, id }
}

/// The text of what a step sent.
fn sent(outcome: &Outcome) -> Option<&str> {
    let packet = outcome.send.as_ref()?;
    assert_eq!(packet.to, peer());
    Some(std::str::from_utf8(&packet.bytes).expect("the tests send text"))
}

/// Both reliabilities, for rules that hold over any transport.
const ANY: [Reliability; 2] = [Reliability::Unreliable, Reliability::Reliable];

#[test]
fn trying_is_due_when_timer_e_would_reach_t2() {
    assert_eq!(TIMERS.before_trying(), Duration::from_millis(3500));
    let quick = SipTimers { t1: Duration::from_secs(4), ..TIMERS };
    assert_eq!(quick.before_trying(), Duration::ZERO);
    let zero = SipTimers { t1: Duration::ZERO, ..TIMERS };
    assert!(zero.before_trying() < Duration::from_secs(8));
}

#[test]
fn default_timers_are_those_of_table_4() {
    assert_eq!(SipTimers::default(), TIMERS);
    assert_eq!(TIMERS.patience(), Duration::from_secs(32));
}
