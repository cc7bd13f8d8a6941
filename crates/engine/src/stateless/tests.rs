//! Where refusals go, and that the same request gets the same one.

use bytes::Bytes;
use sip_message::{Limits, parse_datagram};

use super::*;

#[test]
fn a_response_goes_where_the_via_says() {
    check("192.0.2.1", "192.0.2.9:5060");
    check("192.0.2.1:5070", "192.0.2.9:5070");
    check("192.0.2.1;rport", "192.0.2.9:5099");
    check("192.0.2.1:5070;rport=5071;received=192.0.2.7", "192.0.2.7:5071");
    check("a.example;received=192.0.2.7", "192.0.2.7:5060");
    check("[2001:db8::1];received=2001:db8::2", "[2001:db8::2]:5060");
}

#[test]
fn without_a_source_the_sent_by_has_to_do() {
    let via = |value: &str| Via::parse(&Bytes::from(format!("SIP/2.0/UDP {value}")));
    let to = |value: &str| return_path(&via(value).expect("well formed"), None);
    assert_eq!(to("192.0.2.1:5070"), Destination::Addr(([192, 0, 2, 1], 5070).into()));
    let name = Bytes::from_static(b"a.example");
    assert_eq!(to("a.example"), Destination::Host { name, port: 5060 });
}

#[test]
fn a_repetition_gets_the_same_answer() {
    let (one, two) = (refusal("INVITE", ""), refusal("INVITE", ""));
    assert!(one.is_some());
    assert_eq!(one, two);
}

#[test]
fn a_refusal_has_a_to_tag_and_a_retry_after() {
    let (_, bytes) = refusal("INVITE", "").expect("an INVITE is answered");
    let Ok(Message::Response(response)) = parse_datagram(&bytes, &Limits::default()) else {
        panic!("a response");
    };
    assert!(response.headers.to().expect("well formed").tag().is_some());
    let seconds = response.headers.retry_after().expect("well formed").expect("present");
    assert!((5..=10).contains(&seconds));
    let (_, within) = refusal("BYE", ";tag=theirs").expect("a BYE is answered");
    assert!(String::from_utf8_lossy(&within).contains(";tag=theirs\r\n"));
}

#[test]
fn an_ack_is_not_answered() {
    assert_eq!(refusal("ACK", ""), None);
}

fn check(via: &str, expect: &str) {
    let via = Via::parse(&Bytes::from(format!("SIP/2.0/UDP {via}"))).expect("well formed");
    let expect = Destination::Addr(expect.parse().expect("an address"));
    assert_eq!(return_path(&via, Some(source())), expect);
}

fn refusal(method: &str, to_tag: &str) -> Option<(Destination, Bytes)> {
    let text = format!(
        "{method} sip:bob@example.com SIP/2.0\r\n\
         Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\nFrom: <sip:alice@example.com>;tag=a\r\n\
         To: <sip:bob@example.com>{to_tag}\r\nCall-ID: c1\r\nCSeq: 1 {method}\r\n\
         Max-Forwards: 70\r\n\r\n"
    );
    let message = parse_datagram(&Bytes::from(text), &Limits::default()).expect("well formed");
    let after = Some(Duration::from_secs(5)..=Duration::from_secs(10));
    let secret = TokenSecret::new([3; 32]);
    refuse(&message, source(), StatusCode::SERVICE_UNAVAILABLE, after, &secret)
}

fn source() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 9], 5099))
}
