//! Initial requests that older or odd callers send.

use sip_message::{Headers, Method, Request};

use crate::compose::caller_target;

fn headers(lines: &str) -> Headers {
    let text = format!(
        "INVITE sip:bob@192.0.2.9 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1\r\n{lines}\
         To: <sip:bob@192.0.2.9>\r\nCall-ID: a\r\nCSeq: 1 INVITE\r\n\r\n"
    );
    let limits = sip_message::Limits::default();
    match sip_message::parse_datagram(&text.into(), &limits) {
        Ok(sip_message::Message::Request(Request { method: Method::Invite, headers, .. })) => {
            headers
        }
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn check(lines: &str, expect: Option<&str>) {
    let target = caller_target(&headers(lines));
    assert_eq!(target.as_deref(), expect.map(str::as_bytes));
}

#[test]
fn a_caller_is_reached_by_its_contact() {
    check(
        "From: <sip:a@192.0.2.1>;tag=1\r\nContact: <sip:a@192.0.2.2:5070>\r\n",
        Some("sip:a@192.0.2.2:5070"),
    );
    check("From: <sip:a@192.0.2.1>;tag=1\r\n", None);
}

#[test]
fn a_caller_of_rfc_2543_is_reached_by_its_from_address() {
    check("From: <sip:a@192.0.2.1:5070>\r\n", Some("sip:a@192.0.2.1:5070"));
    check("From: sip:a@192.0.2.1\r\n", Some("sip:a@192.0.2.1"));
    check("From: <tel:+4912345>\r\n", None);
}
