//! Messages made to hurt: sizes, nesting, counts. Each must be refused or read, in time and memory
//! that follow the size of the datagram.

use sip_message::{Bytes, HeaderName, Limits, Message, ParseError, ParseErrorKind, parse_datagram};

const START: &str = "INVITE sip:b@example.com SIP/2.0\r\n\
                     Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n\
                     From: <sip:a@example.com>;tag=1\r\nTo: <sip:b@example.com>\r\n\
                     Call-ID: c\r\nCSeq: 1 INVITE\r\n";

fn read(bytes: impl Into<Vec<u8>>) -> Result<Message, ParseError> {
    parse_datagram(&Bytes::from(bytes.into()), &Limits::default())
}

fn check(lines: &str, body: &str, expect: Result<(), u16>) {
    let outcome = read(format!("{START}{lines}\r\n{body}"));
    let outcome = outcome.map(|_| ()).map_err(|error| {
        let (status, _) = error.refusal().expect("it has a Via and is no ACK");
        let answer = error.response().expect("the same").print();
        assert!(answer.len() < START.len() + 200, "an answer is no larger than what it repeats");
        status.code()
    });
    assert_eq!(outcome, expect, "{} ...", &lines[..lines.len().min(60)]);
}

#[test]
fn long_lines_and_many_lines() {
    check(&format!("X: {}\r\n", "a".repeat(1 << 20)), "", Err(513));
    check(&format!("X: {}\r\n", "a".repeat(20_000)), "", Err(513));
    check(&format!("X: a\r\n{}", " a\r\n".repeat(5000)), "", Err(513));
    check(&"X: a\r\n".repeat(10_000), "", Err(513));
    check(&"X: a\r\n".repeat(251), "", Ok(()));
    check(&"X: a\r\n".repeat(252), "", Err(513));
    check(&"Contact: <sip:a@example.com>\r\n".repeat(10_000), "", Err(513));
    check(&"Route: <sip:a@example.com;lr>\r\n".repeat(10_000), "", Err(513));
    check(&"Accept: text/plain\r\n".repeat(50), "", Ok(()));
    check("", &"a".repeat(70_000), Err(513));
    check("", &"a".repeat(60_000), Ok(()));
}

#[test]
fn many_vias() {
    let message = read(format!("{}{}", START, "Via: SIP/2.0/UDP 192.0.2.1\r\n".repeat(10_000)));
    let error = message.expect_err("too many");
    let answer = error.response().expect("answerable");
    assert!(answer.headers.get_all(&HeaderName::Via).count() <= 256);
    let one_line = "SIP/2.0/UDP h,".repeat(500);
    let message = read(format!("{START}Via: {one_line}SIP/2.0/UDP h\r\n\r\n"));
    let mut message = message.expect("well formed");
    assert_eq!(message.headers().vias().map(|vias| vias.len()), Ok(502));
    for _ in 0..502 {
        message.headers_mut().pop_via();
    }
    assert!(!message.headers().contains(&HeaderName::Via));
}

#[test]
fn many_parameters_and_deep_nesting() {
    check(&format!("Contact: <sip:a{}>\r\n", ";a".repeat(2000)), "", Err(400));
    check(&format!("Contact: <sip:a>{}\r\n", ";a".repeat(2000)), "", Err(400));
    check(&format!("Contact: {}\r\n", "\"".repeat(8001)), "", Err(400));
    check(&format!("Contact: {}\r\n", "<".repeat(8000)), "", Err(400));
    check(&format!("Contact: {}\r\n", ",".repeat(8000)), "", Err(400));
    check(&format!("Warning: {}\r\n", "(".repeat(8000)), "", Ok(()));
    check(&format!("Warning: {}\r\n", "\"\\".repeat(4000)), "", Ok(()));
    let uri = format!("sip:b{}", ";a=b".repeat(10_000));
    let error = read(START.replacen("sip:b@example.com", &uri, 1) + "\r\n").expect_err("too long");
    assert_eq!(error.kind, ParseErrorKind::LineTooLong);
    let uri = format!("sip:b{}", ";a=b".repeat(1000));
    let error = read(START.replacen("sip:b@example.com", &uri, 1) + "\r\n").expect_err("too many");
    assert_eq!(error.refusal().map(|(status, _)| status.code()), Some(400));
}

#[test]
fn long_words() {
    let method = "M".repeat(400);
    let renamed = START.replace("INVITE", &method) + "\r\n";
    assert!(read(renamed).is_ok());
    let error = read(START.replace("1 INVITE", &format!("1 {method}")) + "\r\n");
    assert_eq!(error.expect_err("not the method").kind, ParseErrorKind::CSeqMethod);
    assert!(read(START.replace("tag=1", &format!("tag={}", "t".repeat(300))) + "\r\n").is_ok());
    let host = START.replace("192.0.2.1", &"h".repeat(64_000)) + "\r\n";
    assert_eq!(read(host).expect_err("too long").kind, ParseErrorKind::LineTooLong);
}

#[test]
fn multipart_bodies_are_not_looked_into() {
    let boundary = "b".repeat(7000);
    let body = "--b\r\nContent-Type: multipart/mixed;boundary=b\r\n\r\n".repeat(1000);
    check(&format!("Content-Type: multipart/mixed;boundary={boundary}\r\n"), &body, Ok(()));
    check("Content-Type: multipart/mixed;boundary=\"b\r\n", "--b", Ok(()));
}

#[test]
fn odd_bytes_are_kept_end_to_end() {
    let odd: Vec<u8> = (0u8..=255).filter(|byte| !b"\r\n\"\\".contains(byte)).collect();
    let mut bytes = START.as_bytes().to_vec();
    bytes.extend_from_slice(b"X-Odd: |");
    bytes.extend_from_slice(&odd);
    bytes.extend_from_slice(b"|\r\nContact: \"");
    bytes.extend_from_slice(&odd);
    bytes.extend_from_slice(b"\" <sip:\xc0\x80\xed\xa0\x80@example.com>\r\n\r\n\0\xff");
    let message = read(bytes.clone()).expect("well formed");
    let contact = message.headers().contact().expect("well formed").expect("present");
    assert_eq!(contact.display.map(|display| display.len()), Some(odd.len() + 2));
    assert_eq!(message.body(), &b"\0\xff"[..]);
    let printed = message.print();
    for part in [&odd[..], b"\xc0\x80\xed\xa0\x80"] {
        assert!(printed.windows(part.len()).any(|window| window == part));
    }
}

#[test]
fn addresses_of_no_scheme() {
    for value in ["/", "\"a\" </>", "a", "<>", "<sip:>", "*"] {
        let error =
            read(START.replace("To: <sip:b@example.com>", &format!("To: {value}")) + "\r\n");
        assert_eq!(
            error.expect_err("no URI").refusal().map(|(status, _)| status.code()),
            Some(400)
        );
    }
    assert!(read(START.replace("<sip:b@example.com>", "<tel:+1555>") + "\r\n").is_ok());
    check("Diversion: /\r\n", "", Ok(()));
}
