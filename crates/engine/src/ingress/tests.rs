//! What a datagram becomes before any call is looked at.

use std::net::SocketAddr;

use bytes::Bytes;
use call::{Destination, Edge, Setting};
use sip_message::{Host, Limits};
use vocab::{CallKey, SiteId, Token, TokenKind, TokenSecret};

use super::{Ingress, take};
use crate::arrival::{Arrival, Kind, Origin};
use crate::forward;

#[test]
fn the_source_is_noted_where_rport_asks_for_it() {
    check_via("192.0.2.1;rport;branch=z9hG4bK1", "rport=5099;branch=z9hG4bK1;received=192.0.2.9");
    check_via("192.0.2.9;rport;branch=z9hG4bK1", "rport=5099;branch=z9hG4bK1;received=192.0.2.9");
}

#[test]
fn the_source_is_noted_where_the_sender_names_another() {
    check_via("192.0.2.1;branch=z9hG4bK1", "branch=z9hG4bK1;received=192.0.2.9");
    check_via("a.example:5070;branch=z9hG4bK1", "branch=z9hG4bK1;received=192.0.2.9");
}

#[test]
fn a_sender_that_names_itself_right_is_left_alone() {
    check_via("192.0.2.9:5099;branch=z9hG4bK1", "branch=z9hG4bK1");
}

#[test]
fn what_the_sender_claims_of_its_source_does_not_count() {
    check_via(
        "192.0.2.9;received=203.0.113.1;rport=1;branch=z9hG4bK1",
        "received=192.0.2.9;rport=5099;branch=z9hG4bK1",
    );
}

#[test]
fn only_the_topmost_via_is_touched() {
    let two = "a.example;branch=z9hG4bK1\r\nVia: SIP/2.0/UDP b.example;branch=z9hG4bK0";
    let arrival = arrival(&options(two), Origin::Outside);
    let vias = arrival.message.headers().vias().expect("both are well formed");
    assert_eq!(vias.len(), 2);
    assert!(vias[0].received().is_some());
    assert!(vias[1].received().is_none());
}

#[test]
fn kinds() {
    let check = |text: &str, kind: Kind| {
        assert_eq!(arrival(&Bytes::from(text.to_owned()), Origin::Outside).kind, kind, "{text}");
    };
    check(&request("INVITE", ""), Kind::Begins);
    check(&request("OPTIONS", ""), Kind::Begins);
    check(&request("INVITE", ";tag=b"), Kind::Request);
    check(&request("CANCEL", ""), Kind::Request);
    check(&request("ACK", ""), Kind::Ack);
    check(&request("ACK", ";tag=b"), Kind::Ack);
    check(&response(200, "INVITE"), Kind::Answer);
    check(&response(200, "BYE"), Kind::Response);
    check(&response(180, "INVITE"), Kind::Response);
}

#[test]
fn a_repetition_has_the_same_identity_and_nothing_else_has() {
    let identity = |text: &str| arrival(&Bytes::from(text.to_owned()), Origin::Outside).identity;
    let invite = request("INVITE", "");
    assert_eq!(identity(&invite), identity(&invite));
    assert_ne!(identity(&invite), identity(&request("CANCEL", "")));
    assert_ne!(identity(&response(180, "INVITE")), identity(&response(183, "INVITE")));
    assert_eq!(identity(&response(180, "INVITE")), identity(&response(180, "INVITE")));
}

#[test]
fn malformed_requests_are_answered_and_other_noise_is_not() {
    let outcome = |bytes: &'static [u8]| taken(&Bytes::from_static(bytes), Origin::Outside);
    assert!(matches!(outcome(b"\r\n\r\n"), Ingress::Nothing));
    assert!(matches!(outcome(b""), Ingress::Nothing));
    assert!(matches!(outcome(b"\0\x01\0\x08stun"), Ingress::Malformed(None)));
    let broken = request("OPTIONS", "").replace("CSeq: 1 OPTIONS", "CSeq: 1 INVITE");
    let broken = broken.replace("branch=", "rport;branch=");
    let Ingress::Malformed(Some(answer)) = taken(&Bytes::from(broken), Origin::Outside) else {
        panic!("it can be answered")
    };
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(answer.starts_with("SIP/2.0 400 "), "{answer}");
    // RFC 3581 §4, for this answer as for any other.
    assert!(answer.contains("received=") && answer.contains("rport="), "{answer}");
    let stray = response(200, "INVITE").replace("z9hG4bK", "z9hG4bKno");
    assert!(matches!(taken(&Bytes::from(stray), Origin::Outside), Ingress::Stray));
}

#[test]
fn a_forwarded_request_comes_out_as_the_forwarder_got_it() {
    let first = arrival(&options("a.example;branch=z9hG4bK1"), Origin::Outside);
    let message = forward::outgoing(&first, KEY, None, &setting()).expect("hops are left");
    let again = arrival(&message.bytes, Origin::Forwarded(SiteId(2)));
    assert_eq!(again.identity, first.identity);
    let via = again.message.headers().via_top().expect("well formed").expect("one is left");
    assert_eq!(via.received(), Some("192.0.2.9".parse().expect("an address")));
    assert_eq!(again.message.headers().max_forwards(), Ok(Some(69)));
    assert!(again.is_sought() && !again.begins());
}

#[test]
fn a_repetition_is_forwarded_with_the_same_branch() {
    let first = arrival(&options("a.example;branch=z9hG4bK1"), Origin::Outside);
    let one = forward::outgoing(&first, KEY, None, &setting()).expect("hops are left");
    let two = forward::outgoing(&first, KEY, None, &setting()).expect("hops are left");
    assert_eq!(one, two);
}

#[test]
fn a_request_without_hops_is_not_forwarded() {
    let spent = request("OPTIONS", "").replace("Max-Forwards: 70", "Max-Forwards: 0");
    let spent = arrival(&Bytes::from(spent), Origin::Outside);
    let refused = forward::outgoing(&spent, KEY, None, &setting());
    assert_eq!(refused.err(), Some(sip_message::StatusCode::TOO_MANY_HOPS));
}

#[test]
fn a_response_passes_back_along_the_via_below() {
    let text = response(200, "INVITE").replace(
        "\r\nFrom",
        "\r\nVia: SIP/2.0/UDP a.example;branch=z9hG4bK1;received=192.0.2.9;rport=5099\r\nFrom",
    );
    let text = text.replace(&token(TokenKind::Branch), &token(TokenKind::Forward));
    let Ingress::Through(to, bytes) = taken(&Bytes::from(text), Origin::Outside) else {
        panic!("it did not pass");
    };
    assert_eq!(to, Destination::Addr(source()));
    let text = String::from_utf8_lossy(&bytes).into_owned();
    assert_eq!(text.matches("Via:").count(), 1, "{text}");
    let alone =
        response(200, "INVITE").replace(&token(TokenKind::Branch), &token(TokenKind::Forward));
    assert!(matches!(taken(&Bytes::from(alone), Origin::Outside), Ingress::Stray));
}

const KEY: CallKey = CallKey([9; 16]);

fn check_via(via: &str, expect: &str) {
    let arrival = arrival(&options(via), Origin::Outside);
    let line = arrival.message.headers().via_top().expect("well formed").expect("present");
    let text = line.to_string();
    let (_, params) = text.split_once(';').expect("it has parameters");
    let sorted = |text: &str| {
        let mut params: Vec<String> = text.split(';').map(str::to_owned).collect();
        params.sort();
        params
    };
    assert_eq!(sorted(params), sorted(expect));
}

fn options(via: &str) -> Bytes {
    Bytes::from(request("OPTIONS", "").replace("192.0.2.1;branch=z9hG4bK1", via))
}

fn request(method: &str, to_tag: &str) -> String {
    format!(
        "{method} sip:bob@example.com SIP/2.0\r\n\
         Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\nFrom: <sip:alice@example.com>;tag=a\r\n\
         To: <sip:bob@example.com>{to_tag}\r\nCall-ID: c1\r\nCSeq: 1 {method}\r\n\
         Max-Forwards: 70\r\n\r\n"
    )
}

fn response(status: u16, method: &str) -> String {
    format!(
        "SIP/2.0 {status} Whatever\r\n\
         Via: SIP/2.0/UDP edge.example:5060;branch=z9hG4bK{}\r\n\
         From: <sip:alice@example.com>;tag=a\r\nTo: <sip:bob@example.com>;tag=b\r\n\
         Call-ID: c1\r\nCSeq: 1 {method}\r\n\r\n",
        token(TokenKind::Branch)
    )
}

fn arrival(bytes: &Bytes, origin: Origin) -> Arrival {
    let Ingress::For(_, arrival) = taken(bytes, origin) else {
        panic!("no arrival");
    };
    arrival
}

fn taken(bytes: &Bytes, origin: Origin) -> Ingress {
    take(source(), bytes.clone(), origin, &setting(), &Limits::default())
}

fn source() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 9], 5099))
}

fn token(kind: TokenKind) -> String {
    secret().mint(&Token { key: KEY, site: SiteId(1), kind, salt: 7, ordinal: 1 })
}

fn secret() -> TokenSecret {
    TokenSecret::new([3; 32])
}

fn setting() -> Setting {
    let edge = Edge { host: Host::Name(Bytes::from_static(b"edge.example")), port: 5060 };
    Setting::new(SiteId(1), secret(), edge, Vec::new())
}
