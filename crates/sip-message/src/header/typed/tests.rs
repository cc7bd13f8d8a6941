//! Typed values: what each grammar accepts, and how it is printed again.

use super::*;
use crate::{Refresher, UriError};

fn check(text: &str, expect: Result<&str, HeaderErrorKind>) {
    let value = text.parse::<NameAddr>().map(|address| address.to_string());
    assert_eq!(value, expect.map(str::to_owned), "{text:?}");
}

#[test]
fn addresses() {
    use HeaderErrorKind::{
        BareUriHeaders, Brackets, DisplayName, Empty, Parameter, Star, Trailing, UnterminatedQuote,
        Uri,
    };
    check("sip:a@e.com", Ok("<sip:a@e.com>"));
    check("sip:a@e.com;tag=1", Ok("<sip:a@e.com>;tag=1"));
    check("sip:a@e.com ;   tag    = 1n", Ok("<sip:a@e.com>;tag=1n"));
    check("<sip:a@e.com;x=y>;tag=1", Ok("<sip:a@e.com;x=y>;tag=1"));
    check("caller<sip:a@e.com>", Ok("caller <sip:a@e.com>"));
    check("A. Bell <sip:a@e.com>", Ok("A. Bell <sip:a@e.com>"));
    check("\"J \\\\\\\"\"       <sip:a@e.com> ; tag=1", Ok("\"J \\\\\\\"\" <sip:a@e.com>;tag=1"));
    check("\"a <sip:x@y>, b\" <sip:a@e.com>", Ok("\"a <sip:x@y>, b\" <sip:a@e.com>"));
    check("\"\u{1}\u{7}\0\" <sip:a@e.com>", Ok("\"\u{1}\u{7}\0\" <sip:a@e.com>"));
    check("<http://www.example.com>;tag=3", Ok("<http://www.example.com>;tag=3"));
    check("isbn:2983792873", Ok("<isbn:2983792873>"));
    check("<sip:a@e.com>;x=\"<sip:b>\"", Ok("<sip:a@e.com>;x=\"<sip:b>\""));
    check("", Err(Empty));
    check("*", Err(Star));
    check("/", Err(Uri(UriError::Scheme)));
    check("alan@jasomi.com", Err(Uri(UriError::Scheme)));
    check("\"a\" < sip:a@e.com >", Err(Uri(UriError::IllegalByte)));
    check("\"Mr. J. User <sip:a@e.com>", Err(UnterminatedQuote));
    check("Bell, Alexander <sip:a@e.com>", Err(DisplayName));
    check("\"a\" sip:a@e.com", Err(Brackets));
    check("a <sip:a@e.com", Err(Brackets));
    check("sip:a@e.com?Route=%3Csip:b%3E", Err(BareUriHeaders));
    check("<sip:a@e.com>;;;;", Err(Parameter));
    check("<sip:a@e.com> x", Err(Trailing));
    check("sip:a@e.com <sip:b@e.com>", Err(Trailing));
    check("<sip:a@e.com>,<sip:b@e.com>", Err(Trailing));
}

#[test]
fn tags_are_read_and_set() {
    let from: NameAddr = "<sip:a@e.com>;TAG=x;a=b".parse().expect("well formed");
    assert_eq!(from.tag(), Some(&"x".into()));
    assert_eq!(from.with_tag("y;z").to_string(), "<sip:a@e.com>;TAG=\"y;z\";a=b");
}

fn check_via(text: &str, expect: Result<&str, HeaderErrorKind>) {
    let value = text.parse::<Via>().map(|via| via.to_string());
    assert_eq!(value, expect.map(str::to_owned), "{text:?}");
}

#[test]
fn vias() {
    use HeaderErrorKind::{Parameter, Protocol, SentBy, TooManyParameters};
    check_via("SIP/2.0/UDP a.example", Ok("SIP/2.0/UDP a.example"));
    check_via(
        "SIP  / 2.0  / TCP     spindle.example.com : 5060  ; branch  =   z9hG4bK9ikj8",
        Ok("SIP/2.0/TCP spindle.example.com:5060;branch=z9hG4bK9ikj8"),
    );
    check_via("sip/2.0/udp [2001:db8::9:1]:6050", Ok("SIP/2.0/udp [2001:db8::9:1]:6050"));
    check_via("SIP/2.0/UNKNOWN a;rport;x", Ok("SIP/2.0/UNKNOWN a;rport;x"));
    check_via("SIP/7.0/UDP a", Err(Protocol));
    check_via("SIP/2.0/UDPa", Err(Protocol));
    check_via("SIP/2.0 a", Err(Protocol));
    check_via("", Err(Protocol));
    for port in ["0", "65536", "abc", ""] {
        check_via(&format!("SIP/2.0/UDP a:{port}"), Err(SentBy));
    }
    check_via("SIP/2.0/UDP ", Err(SentBy));
    check_via("SIP/2.0/UDP a b", Err(SentBy));
    check_via("SIP/2.0/UDP 192.0.2.15;;", Err(Parameter));
    check_via(&format!("SIP/2.0/UDP a{}", ";x".repeat(2000)), Err(TooManyParameters));
}

#[test]
fn received_and_rport() {
    let via = |text: &str| text.parse::<Via>().expect("well formed");
    let bracketed = via("SIP/2.0/UDP a;received=[2001:db8::9:255];rport");
    let plain = via("SIP/2.0/UDP a;received=2001:db8::9:255;rport=5062");
    assert_eq!(bracketed.received(), plain.received());
    assert!(plain.received().is_some());
    assert_eq!((bracketed.rport(), plain.rport()), (Some(None), Some(Some(5062))));
    assert_eq!(via("SIP/2.0/UDP a;received=x;rport=x").received(), None);
    let ours = via("SIP/2.0/UDP a;rport;branch=b").with_param("rport", Some("1"));
    assert_eq!(ours.to_string(), "SIP/2.0/UDP a;rport=1;branch=b");
}

fn check_cseq(text: &str, expect: Result<&str, HeaderErrorKind>) {
    let value = text.parse::<CSeq>().map(|cseq| cseq.to_string());
    assert_eq!(value, expect.map(str::to_owned), "{text:?}");
}

#[test]
fn cseqs() {
    use HeaderErrorKind::{Empty, Number, Token};
    check_cseq("0009   INVITE", Ok("9 INVITE"));
    check_cseq("2147483647 NEW%41", Ok("2147483647 NEW%41"));
    check_cseq("2147483648 INVITE", Err(Number));
    check_cseq("36893488147419103232 REGISTER", Err(Number));
    check_cseq("-1 INVITE", Err(Number));
    check_cseq("1", Err(Empty));
    check_cseq("1 A B", Err(Token));
}

fn one(name: HeaderName, value: &str) -> Headers {
    let mut headers = Headers::default();
    headers.push(name, value.to_owned());
    headers
}

#[test]
fn numbers() {
    let hops = |text| one(HeaderName::MaxForwards, text).max_forwards().map_err(|error| error.kind);
    assert_eq!(hops("0068"), Ok(Some(68)));
    assert_eq!(hops("255"), Ok(Some(255)));
    assert_eq!(hops("256"), Err(HeaderErrorKind::Number));
    assert_eq!(hops("abc"), Err(HeaderErrorKind::Number));
    assert_eq!(Headers::default().max_forwards(), Ok(None));
    let retry = |text| one(HeaderName::RetryAfter, text).retry_after().map_err(|error| error.kind);
    assert_eq!(retry("18000;duration=3600"), Ok(Some(18000)));
    assert_eq!(retry("120 (I'm in a meeting)"), Ok(Some(120)));
    assert_eq!(retry("949302838503028349304023988"), Ok(Some(u32::MAX)));
    assert_eq!(retry("x"), Err(HeaderErrorKind::Trailing));
    let session = |text| one(HeaderName::SessionExpires, text).session_expires();
    let expect = SessionExpires { seconds: 90, refresher: Some(Refresher::Uas) };
    assert_eq!(session("90 ;refresher=UAS"), Ok(Some(expect)));
    assert!(session("x").is_err());
}

#[test]
fn contacts_and_the_star() {
    assert!(one(HeaderName::Contact, "*").contact_is_star());
    assert!(one(HeaderName::Contact, "*").contact().is_err());
    let two = one(HeaderName::Contact, "<sip:a@e>;q=0.5, \"B, C\" <sip:b@e>");
    assert!(!two.contact_is_star());
    assert_eq!(two.contacts().map(|all| all.len()), Ok(2));
    assert_eq!(Headers::default().contact(), Ok(None));
    assert!(Headers::default().to().is_err());
}

#[test]
fn tags_and_branches_without_the_rest() {
    let tag = |value| one(HeaderName::From, value).from_tag().map_err(|error| error.kind);
    let whole = |value| {
        let from = one(HeaderName::From, value).from().map_err(|error| error.kind);
        from.map(|from| from.tag().cloned())
    };
    for value in [
        "<sip:a@e>;tag=1",
        "\"A;tag=0\" <sip:a@e;tag=2>;x=y;TAG=3;tag=4",
        "sip:a@e;tag=5",
        "<sip:a@e>",
        "<sip:a@e>;tag;tag=6",
        "<sip:a@e>;tag=",
        "<sip:a@e",
    ] {
        assert_eq!(tag(value), whole(value), "{value}");
    }
    assert!(Headers::default().to_tag().is_err());
    let branch = |value| one(HeaderName::Via, value).top_branch();
    assert_eq!(
        branch("SIP/2.0/UDP a;rport;branch=b, SIP/2.0/UDP c;branch=d"),
        Ok(Some("b".into()))
    );
    assert_eq!(branch("SIP/2.0/UDP a"), Ok(None));
    assert!(branch("SIP/2.0/UDP a;branch=").is_err());
    assert_eq!(Headers::default().top_branch(), Ok(None));
}
