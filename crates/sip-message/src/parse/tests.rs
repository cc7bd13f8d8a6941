//! What a datagram must be to become a message, and what is answered when it is not.

use super::*;
use crate::header::{HeaderErrorKind, HeaderName};

const REST: &str = "Via: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@e>;tag=1\r\n\
                    To: <sip:b@e>\r\nCall-ID: c\r\n";

fn read(text: &str) -> Result<Message, ParseError> {
    parse_datagram(&Bytes::copy_from_slice(text.as_bytes()), &Limits::default())
}

/// Accepted as `"ok"`, refused as `"400"`, dropped as `"drop"`.
fn check(text: &str, expect: &str) {
    let outcome = match read(text) {
        Ok(_) => "ok".to_owned(),
        Err(error) => match error.refusal() {
            Some((status, _)) => status.to_string(),
            None => "drop".to_owned(),
        },
    };
    assert_eq!(outcome, expect, "{text}");
}

fn check_start(start: &str, expect: &str) {
    check(&format!("{start}\r\n{REST}CSeq: 1 INVITE\r\n\r\n"), expect);
}

fn check_extra(lines: &str, expect: &str) {
    check(&format!("INVITE sip:b@e SIP/2.0\r\n{REST}CSeq: 1 INVITE\r\n{lines}\r\n"), expect);
}

#[test]
fn request_lines() {
    check_start("INVITE sip:b@e SIP/2.0", "ok");
    check_start("\r\n\r\nINVITE sip:b@e sip/2.0", "ok");
    check_start("INVITE nobody:knows SIP/2.0", "ok");
    for bad in [
        "INVITE  sip:b@e SIP/2.0",
        "INVITE sip:b@e  SIP/2.0",
        "INVITE sip:b@e SIP/2.0 ",
        "INVITE sip:b@e; lr SIP/2.0",
        "INVITE <sip:b@e> SIP/2.0",
        "INVITE sip:b@e?Route=x SIP/2.0",
        "INVITE sip:b@e\tSIP/2.0",
        "INVITE sip:b@e HTTP/1.1",
        "INVITE sip:b@e SIP/2.",
        "INVITE sip:b@e SIP/a.b",
        "INVITE sip:b@e",
        "INVITE ",
        "INVITE sip:2001:db8::10 SIP/2.0",
    ] {
        check_start(bad, "400");
    }
    check_start("INVITE sip:b@e SIP/3.0", "505");
    check_start("INVITE sip:b@e SIP/2.00", "505");
    check_start("INVITE\tsip:b@e SIP/2.0", "400");
    check_start(" INVITE sip:b@e SIP/2.0", "drop");
    check_start("INV{TE sip:b@e SIP/2.0", "drop");
    check_start("ACK sip:b@e SIP/7.0", "drop");
}

#[test]
fn status_lines() {
    for good in ["SIP/2.0 200 OK", "SIP/2.0 100 ", "SIP/2.0 100", "SIP/2.0 699 a  \u{442}"] {
        check_start(good, "ok");
    }
    for bad in [
        "SIP/2.0 700 X",
        "SIP/2.0 099 X",
        "SIP/2.0 4294967301 X",
        "SIP/2.0 20 X",
        "SIP/2.0  200 X",
        "SIP/7.0 200 X",
        "SIP/2.0",
        "SIP/2.0 200OK",
    ] {
        check_start(bad, "drop");
    }
}

#[test]
fn methods_and_cseq() {
    let with = |method: &str, cseq: &str| {
        format!("{method} sip:b@e SIP/2.0\r\n{REST}CSeq: {cseq}\r\n\r\n")
    };
    check(&with("OPTIONS", "1 OPTIONS"), "ok");
    check(&with("options", "1 options"), "ok");
    check(&with("OPTIONS", "1 INVITE"), "400");
    check(&with("OPTIONS", "1 options"), "400");
    check(&with("NEWMETHOD", "1 INVITE"), "501");
    check(&with("OPTIONS", "4294967296 OPTIONS"), "400");
    check(&with("ACK", "1 INVITE"), "drop");
    check(&with("ACK", "1 ACK"), "ok");
}

#[test]
fn mandatory_headers_stand_once() {
    let all = format!("{REST}CSeq: 1 INVITE\r\n");
    for line in all.split_inclusive("\r\n") {
        let without = all.replace(line, "");
        let expect = if line.starts_with("Via") { "drop" } else { "400" };
        check(&format!("INVITE sip:b@e SIP/2.0\r\n{without}\r\n"), expect);
        check(&format!("SIP/2.0 200 OK\r\n{without}\r\n"), "drop");
        let expect = if line.starts_with("Via") { "ok" } else { "400" };
        check_extra(line, expect);
    }
    check_extra("t: <sip:b@e>;tag=2\r\n", "400");
    check_extra("To\t: <sip:b@e>;tag=2\r\n", "400");
    check_extra("Max-Forwards: 5\r\nMax-Forwards: 5\r\n", "400");
    check_extra("l: 0\r\nContent-Length: 0\r\n", "400");
}

#[test]
fn header_names_are_tokens_before_a_colon() {
    check_extra("X-New: \r\n", "ok");
    check_extra("X-New \t : a\r\n", "ok");
    for bad in ["Foobar roobar\r\n", ": a\r\n", "X New: a\r\n", "X\u{e9}: a\r\n", "X\r\n"] {
        check_extra(bad, "400");
    }
    for byte in 0u8..=255 {
        let mut text =
            format!("INVITE sip:b@e SIP/2.0\r\n{REST}CSeq: 1 INVITE\r\nX-Bypass-me").into_bytes();
        text.extend([byte, b':', b' ', b'1', b'\r', b'\n', b'\r', b'\n']);
        let mut trusted = "X-Bypass-me".into();
        match parse_datagram(&text.into(), &Limits::default()) {
            Ok(message) => {
                // Either the very header, or plainly another one.
                if !matches!(byte, b' ' | b'\t' | b':') {
                    trusted = HeaderName::parse(&[b"X-Bypass-me", &[byte][..]].concat());
                }
                assert!(message.headers().contains(&trusted), "{byte}");
            }
            Err(error) => assert!(!grammar::is_token(&[byte]) && error.refusal().is_some()),
        }
    }
}

#[test]
fn line_ends_are_crlf() {
    check_extra("Subject: a\nX: b\r\n", "400");
    check_extra("Subject: a\rX: b\r\n", "400");
    check(&format!("INVITE sip:b@e SIP/2.0\r\n{REST}CSeq: 1 INVITE\r\n"), "400");
    check("\r\n\r\n", "drop");
    check("", "drop");
    check("\0\0\0\0", "drop");
}

#[test]
fn folds_become_one_space() {
    let folds = "CSeq:\r\n 1\r\n\t INVITE\r\nSubject: a \r\n  \r\n\tb\r\n";
    let text = format!("INVITE sip:b@e SIP/2.0\r\n{REST}{folds}\r\n");
    let message = read(&text).expect("well formed");
    assert_eq!(message.headers().get(&HeaderName::CSeq), Some(&"1 INVITE".into()));
    assert_eq!(message.headers().get(&HeaderName::Subject), Some(&"a b".into()));
}

#[test]
fn body_follows_content_length() {
    let with = |length: &str, body: &str| {
        format!("INVITE sip:b@e SIP/2.0\r\n{REST}CSeq: 1 INVITE\r\n{length}\r\n{body}")
    };
    for (length, expect) in [("", "abc"), ("l: 2\r\n", "ab"), ("Content-Length : 0\r\n", "")] {
        assert_eq!(read(&with(length, "abc")).expect("well formed").body(), expect);
    }
    for bad in [
        "4",
        "2147483648",
        "4294967328",
        "18446744073709551616",
        "-1",
        "+1",
        "0x1",
        "five",
        "",
        "1 2",
        "1,1",
        "9999999999999999999999999999999999999999",
    ] {
        check(&with(&format!("Content-Length: {bad}\r\n"), "abc"), "400");
    }
}

#[test]
fn values_that_route_are_checked() {
    check_extra("Max-Forwards: 0\r\n", "ok");
    check_extra("Max-Forwards: 255\r\n", "ok");
    check_extra("Max-Forwards: 256\r\n", "400");
    check_extra("Max-Forwards: abc\r\n", "400");
    check_extra("Contact: *\r\n", "ok");
    check_extra("Contact: *\r\nContact: <sip:a@e>\r\n", "400");
    check_extra("Contact: <sip:a@e>, *\r\n", "400");
    check_extra("m: <sip:a@e>;;;;\r\n", "400");
    check_extra("Contact: sip:a@e?Route=x\r\n", "400");
    check_extra("Route: <sip:p;lr>, <sip:q;lr>\r\n", "ok");
    check_extra("Route: <sip:p;lr\r\n", "400");
    check_extra("Record-Route: <sip:a b>\r\n", "400");
    // Nobody needs these, so nobody looks.
    check_extra("Date: Fri, 01 Jan 2010 16:00:00 EST\r\n", "ok");
    check_extra("Expires: x\r\nWarning: ;;,\"\r\nReferred-By: \"\r\n", "ok");
    check(&format!("SIP/2.0 200 OK\r\n{REST}CSeq: 1 INVITE\r\nContact: ;\r\n\r\n"), "ok");
}

#[test]
fn the_answer_copies_and_tags() {
    let text = format!(
        "OPTIONS sip:b@e SIP/7.0\r\nv: SIP/2.0/UDP h\r\nVia:\r\n SIP/2.0/UDP i\r\n{REST}\
         CSeq: 1\r\n  OPTIONS\r\nTo: <sip:evil@e>\r\n\r\n"
    );
    let answer = |text: &str| read(text).expect_err("not 2.0").response().expect("answerable");
    let (one, two) = (answer(&text), answer(&text));
    assert_eq!(one, two);
    assert_eq!(one.status, StatusCode::VERSION_NOT_SUPPORTED);
    assert_eq!(one.headers.get_all(&HeaderName::Via).count(), 3);
    assert_eq!(one.headers.get_all(&HeaderName::To).count(), 1);
    assert!(one.headers.to().expect("copied").tag().is_some());
    assert_eq!(one.headers.get(&HeaderName::CSeq), Some(&"1 OPTIONS".into()));
    assert!(parse_datagram(&one.print(), &Limits::default()).is_ok());
    let other = answer(&text.replace("Call-ID: c", "Call-ID: d"));
    assert_ne!(one.headers.get(&HeaderName::To), other.headers.get(&HeaderName::To));
}

#[test]
fn errors_name_the_header() {
    let error = read(&format!("INVITE sip:b@e SIP/2.0\r\n{REST}CSeq: x\r\n\r\n"));
    let expect = HeaderErrorKind::Empty.of(HeaderName::CSeq);
    assert_eq!(error.map_err(|error| error.kind), Err(ParseErrorKind::Header(expect)));
}
