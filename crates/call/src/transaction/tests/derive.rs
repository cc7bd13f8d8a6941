//! The ACK of a failure and the CANCEL.

use super::super::{ack_of_failure, cancel_of};
use super::*;

fn check(made: Option<Bytes>, expect: &str) {
    let made = made.expect("the INVITE of the tests parses");
    assert_eq!(std::str::from_utf8(&made).expect("text"), expect);
}

#[test]
fn the_ack_of_a_failure_is_the_invite_but_for_the_to() {
    check(
        ack_of_failure(&bytes(INVITE), &response(486)),
        "ACK sip:bob@192.0.2.2 SIP/2.0\r\n\
         Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKb1\r\n\
         Route: <sip:proxy.example;lr>\r\n\
         Max-Forwards: 70\r\n\
         From: <sip:alice@example.com>;tag=a1\r\n\
         To: <sip:bob@example.com>;tag=b1\r\n\
         Call-ID: c1\r\n\
         CSeq: 7 ACK\r\n\
         Content-Length: 0\r\n\r\n",
    );
}

#[test]
fn a_cancel_is_the_invite_under_another_method() {
    check(
        cancel_of(&bytes(INVITE)),
        "CANCEL sip:bob@192.0.2.2 SIP/2.0\r\n\
         Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKb1\r\n\
         Route: <sip:proxy.example;lr>\r\n\
         Max-Forwards: 70\r\n\
         From: <sip:alice@example.com>;tag=a1\r\n\
         To: <sip:bob@example.com>\r\n\
         Call-ID: c1\r\n\
         CSeq: 7 CANCEL\r\n\
         Content-Length: 0\r\n\r\n",
    );
}

#[test]
fn nothing_is_made_out_of_what_is_no_invite() {
    assert_eq!(cancel_of(&bytes("not a message")), None);
    let bye = INVITE.replace("INVITE", "BYE");
    assert_eq!(cancel_of(&Bytes::from(bye.clone())), None);
    assert_eq!(ack_of_failure(&Bytes::from(bye), &response(486)), None);
}
