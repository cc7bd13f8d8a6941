//! The 503 answer, by RFC 3261 §8.2.6, §8.2.7, §18.2.2 and RFC 3581.

use super::*;

fn answer(via: &str, to: &str) -> Option<(String, String)> {
    let request = format!(
        "INVITE sip:b@x SIP/2.0\r\nVia: {via}\r\nv: SIP/2.0/UDP second\r\nf: <sip:a@x>;tag=1\r\n\
         To: {to}\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\nContent-Length: 3\r\n\r\nVia"
    );
    let source = "192.0.2.9:4444".parse().expect("an address");
    let scan = Scan::of(request.as_bytes());
    service_unavailable(source, request.as_bytes(), &scan)
        .map(|(to, bytes)| (to.to_string(), String::from_utf8_lossy(&bytes).into_owned()))
}

#[test]
fn it_repeats_what_it_must() {
    let (to, text) = answer("SIP/2.0/UDP h:5070;branch=z9hG4bKx", "<sip:b@x>").expect("an answer");
    assert_eq!(to, "192.0.2.9:5070");
    let tag = text.split(";tag=").nth(2).map(|rest| &rest[..16]).expect("a tag of 16 digits");
    let expected = format!(
        "SIP/2.0 503 Service Unavailable\r\nVia: SIP/2.0/UDP h:5070;branch=z9hG4bKx\r\n\
         Via: SIP/2.0/UDP second\r\nFrom: <sip:a@x>;tag=1\r\nTo: <sip:b@x>;tag={tag}\r\n\
         Call-ID: c\r\nCSeq: 1 INVITE\r\nRetry-After: 2\r\nContent-Length: 0\r\n\r\n"
    );
    assert_eq!(text, expected);
    let again = answer("SIP/2.0/UDP h:5070;branch=z9hG4bKx", "<sip:b@x>");
    assert_eq!(again.map(|(_, text)| text), Some(expected), "a retransmission gets the same");
}

#[test]
fn it_goes_where_the_via_says() {
    let to = |via| answer(via, "<sip:b@x>").map(|(to, _)| to).unwrap_or_default();
    assert_eq!(to("SIP/2.0/UDP h"), "192.0.2.9:5060");
    assert_eq!(to("SIP/2.0/UDP [2001:db8::1]"), "192.0.2.9:5060");
    assert_eq!(to("SIP/2.0/UDP [2001:db8::1]:5071;x"), "192.0.2.9:5071");
    assert_eq!(to("SIP/2.0/UDP h:5070;rport"), "192.0.2.9:4444");
}

#[test]
fn an_empty_rport_is_filled_in() {
    let (_, text) = answer("SIP/2.0/UDP h:5070;rport;branch=z9hG4bKx", "<sip:b@x>").expect("one");
    assert!(
        text.contains("Via: SIP/2.0/UDP h:5070;rport=4444;received=192.0.2.9;branch=z9hG4bKx\r\n"),
        "{text}"
    );
}

#[test]
fn a_to_tag_stays() {
    let (_, text) = answer("SIP/2.0/UDP h", "<sip:b@x>;tag=theirs").expect("an answer");
    assert!(text.contains("\r\nTo: <sip:b@x>;tag=theirs\r\n"), "{text}");
}

#[test]
fn what_cannot_be_answered_is_not() {
    let source = "192.0.2.9:4444".parse().expect("an address");
    let via = "Via: SIP/2.0/UDP h\r\n";
    for (start, via, method) in [
        ("ACK sip:b@x SIP/2.0", via, "ACK"),
        ("INVITE sip:b@x SIP/2.0", "", "INVITE"),
        ("SIP/2.0 200 OK", via, "INVITE"),
    ] {
        let request =
            format!("{start}\r\n{via}From: a\r\nTo: b\r\nCall-ID: c\r\nCSeq: 1 {method}\r\n\r\n");
        let scan = Scan::of(request.as_bytes());
        assert_eq!(service_unavailable(source, request.as_bytes(), &scan), None);
    }
}
