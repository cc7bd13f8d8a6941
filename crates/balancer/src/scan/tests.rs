//! What is found in a message, and that nothing found is wrong.

use proptest::prelude::*;
use vocab::{CallKey, SiteId, Token, TokenKind};

use super::*;

fn secret() -> TokenSecret {
    TokenSecret::new(*b"0123456789abcdef0123456789ABCDEF")
}

fn token(site: u16) -> String {
    secret().mint(&Token {
        key: CallKey([3; 16]),
        site: SiteId(site),
        kind: TokenKind::Tag,
        salt: 5,
        ordinal: 1,
    })
}

fn site_of(message: &str) -> Option<u16> {
    Scan::of(message.as_bytes()).token(&secret()).map(|token| token.site.0)
}

#[test]
fn a_request_is_found_by_its_to_tag() {
    let token = token(2);
    for to in [
        format!("To: <sip:b@x>;tag={token}"),
        format!("t: \"x;tag=no, \\\"\" <sip:b@x;tag=no> ; TAG = {token};more"),
        format!("TO \t: sip:b@x\r\n ;tag={token}"),
    ] {
        let message = format!("BYE sip:b@x SIP/2.0\r\nCall-ID: 1\r\n{to}\r\n\r\n");
        assert_eq!(site_of(&message), Some(2), "{message}");
    }
}

#[test]
fn a_request_is_found_by_its_topmost_route_and_its_uri() {
    let (two, three) = (token(2), token(3));
    let route = format!(
        "INVITE sip:b@x SIP/2.0\r\nRoute: <sip:{two}@edge;lr>, <sip:{three}@edge;lr>\r\n\r\n"
    );
    assert_eq!(site_of(&route), Some(2));
    let second = format!(
        "INVITE sip:b@x SIP/2.0\r\nRoute: <sip:edge;lr>\r\nRoute: <sip:{two}@e;lr>\r\n\r\n"
    );
    assert_eq!(site_of(&second), None, "only the topmost Route is for us");
    assert_eq!(site_of(&format!("BYE sip:{three}@edge:5060 SIP/2.0\r\n\r\n")), Some(3));
    assert_eq!(site_of(&format!("BYE sip:edge;call={three} SIP/2.0\r\n\r\n")), Some(3));
}

#[test]
fn a_response_is_found_by_its_top_branch() {
    let (two, three) = (token(2), token(3));
    for via in [
        format!("Via: SIP/2.0/UDP e;branch=z9hG4bK{two}, SIP/2.0/UDP f;branch=z9hG4bK{three}"),
        format!("v:SIP/2.0/UDP e ;rport; branch = z9hG4bK{two};received=1.2.3.4"),
        format!("VIA: SIP/2.0/UDP e\r\n\t;branch=z9hG4bK{two}\r\nVia: x;branch=z9hG4bK{three}"),
    ] {
        let message = format!("SIP/2.0 200 OK\r\n{via}\r\nTo: <sip:b@x>;tag={three}\r\n\r\n");
        assert_eq!(site_of(&message), Some(2), "{message}");
    }
    let second = format!(
        "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP e;branch=z9hG4bKa\r\nVia: x;branch=z9hG4bK{two}\r\n\r\n"
    );
    assert_eq!(site_of(&second), None, "a response is for the topmost Via");
}

#[test]
fn what_comes_after_the_header_section_says_nothing() {
    let message =
        format!("BYE sip:b@x SIP/2.0\r\nCall-ID: 1\r\n\r\nTo: <sip:b@x>;tag={}\r\n", token(2));
    assert_eq!(site_of(&message), None);
}

#[test]
fn a_forged_token_is_no_token() {
    let mut forged = token(2);
    forged.replace_range(0..1, if forged.starts_with('A') { "B" } else { "A" });
    assert_eq!(site_of(&format!("BYE sip:{forged}@edge SIP/2.0\r\n\r\n")), None);
}

#[test]
fn kinds_are_told_apart() {
    let kind = |text: &'static str| Scan::of(text.as_bytes()).kind;
    assert_eq!(kind(""), Kind::KeepAlive);
    assert_eq!(kind("\r\n\r\n"), Kind::KeepAlive);
    assert_eq!(kind("SIP/2.0 200 OK\r\n\r\n"), Kind::Response);
    assert_eq!(kind("sip/2.0 200\r\n\r\n"), Kind::Response);
    assert_eq!(kind("GET / HTTP/1.1\r\n\r\n"), Kind::NotSip);
    assert_eq!(kind("\0\0\0"), Kind::NotSip);
    let invite = Kind::Request { method: b"INVITE", uri: b"sip:b@x" };
    assert_eq!(kind("\r\nINVITE sip:b@x SIP/2.0\r\n\r\n"), invite);
    assert_eq!(kind("INVITE sip:b@x SIP/7.0\r\n\r\n"), invite, "an engine answers 505");
    assert_eq!(kind("INVITE  sip:b@x  SIP/2.0\r\n\r\n"), invite, "an engine answers 400");
}

#[test]
fn bare_line_feeds_end_lines_too() {
    let message = format!("BYE sip:b@x SIP/2.0\nCall-ID: 1\nTo: <sip:b@x>;tag={}\n\n", token(2));
    assert_eq!(site_of(&message), Some(2));
}

#[test]
fn lines_are_bounded() {
    let mut message = "BYE sip:b@x SIP/2.0\r\n".to_owned();
    message.push_str(&"X: y\r\n".repeat(LINES_MAX));
    message.push_str(&format!("To: <sip:b@x>;tag={}\r\n\r\n", token(2)));
    assert_eq!(site_of(&message), None);
}

proptest! {
    #[test]
    fn any_bytes_are_scanned(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let scan = Scan::of(&bytes);
        prop_assert_eq!(scan.token(&secret()), None);
    }

    #[test]
    fn any_header_text_is_scanned(text in header_text()) {
        let scan = Scan::of(text.as_bytes());
        prop_assert_eq!(scan.token(&secret()), None);
    }
}

fn header_text() -> &'static str {
    concat!(
        "(INVITE|SIP/2.0) [ -~]{0,20} SIP/2.0\r\n",
        "((v|To|Route)[ :;,=\"<>\\\\a-c\r\n\t]{0,20}\r\n){0,6}",
    )
}
