//! Printing, and the response a request gets.

use super::*;

fn check(message: &Message, expect: &str) {
    assert_eq!(String::from_utf8_lossy(&message.print()), expect);
}

fn invite() -> Request {
    let mut request = Request::new(Method::Invite, Uri::sip(None, "e", None));
    for (name, value) in [
        ("Via", "SIP/2.0/UDP a"),
        ("Via", "SIP/2.0/UDP b"),
        ("Record-Route", "<sip:p;lr>"),
        ("From", "<sip:a@e>;tag=1"),
        ("To", "<sip:b@e>"),
        ("Call-ID", "c"),
        ("CSeq", "1 INVITE"),
        ("Timestamp", "54"),
        ("Subject", "s"),
    ] {
        request.headers.push(name.into(), value);
    }
    request
}

#[test]
fn content_length_is_that_of_the_body() {
    let mut request = Request::new(Method::Info, Uri::sip(None, "e", None));
    request.body = "abc".into();
    check(&request.clone().into(), "INFO sip:e SIP/2.0\r\nContent-Length: 3\r\n\r\nabc");
    request.headers.push(HeaderName::ContentLength, "99");
    request.headers.push(HeaderName::ContentLength, "98");
    request.headers.push("x".into(), "y");
    check(
        &request.into(),
        "INFO sip:e SIP/2.0\r\nContent-Length: 3\r\nSession-Expires: y\r\n\r\nabc",
    );
}

#[test]
fn nothing_pushed_can_begin_another_line() {
    let mut request = Request::new(Method::parse(b"A\r\nB: c"), Uri::sip(None, "e", None));
    request.headers.push("Evil\r\nX".into(), "1");
    request.headers.push("Evil: 2\r\nX".into(), "1");
    request.headers.push(HeaderName::Subject, "1\r\n\r\nevil");
    check(&request.into(), "ABc sip:e SIP/2.0\r\nSubject: 1    evil\r\nContent-Length: 0\r\n\r\n");
    let mut response = Response::to_request(&invite(), StatusCode::GONE);
    response.reason = "a\r\nb: c".into();
    response.headers = Headers::default();
    check(&response.into(), "SIP/2.0 410 a  b: c\r\nContent-Length: 0\r\n\r\n");
}

#[test]
fn a_response_copies_what_8_2_6_2_says() {
    let names = |status: u16| {
        let status = StatusCode::new(status).expect("in range");
        let response = Response::to_request(&invite(), status);
        let names = response.headers.iter().map(|(name, _)| name.to_string());
        names.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(names(100), "Via Via From To Call-ID CSeq Timestamp");
    assert_eq!(names(180), "Via Via Record-Route From To Call-ID CSeq");
    assert_eq!(names(200), "Via Via Record-Route From To Call-ID CSeq");
    assert_eq!(names(404), "Via Via From To Call-ID CSeq");
}
