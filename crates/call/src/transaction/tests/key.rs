//! Matching of messages with transactions, by branch and by the rules of RFC 2543.

use super::*;

fn key(text: &str) -> ServerKey {
    ServerKey::of(&request(text)).expect("the tests' requests have what a key needs")
}

/// The `INVITE` of the tests with one part replaced.
fn altered(from: &str, to: &str) -> String {
    assert!(INVITE.contains(from));
    INVITE.replace(from, to)
}

fn of_method(text: &str, method: &str) -> Request {
    request(&text.replace("INVITE", method))
}

#[test]
fn the_branch_and_the_sent_by_name_a_transaction() {
    assert_eq!(key(INVITE), server_key(Method::Invite));
    // The rest of the message does not matter, nor does the case of the host.
    assert_eq!(key(INVITE), key(&altered("Call-ID: c1", "Call-ID: c2")));
    assert_eq!(key(INVITE), key(&altered("UDP 192.0.2.1;", "UDP 192.0.2.1:5060;")));
    assert_eq!(
        key(&altered("UDP 192.0.2.1;", "UDP a.example;")),
        key(&altered("UDP 192.0.2.1;", "UDP A.Example;")),
    );
    assert_ne!(key(INVITE), key(&altered("z9hG4bKb1", "z9hG4bKb2")));
    assert_ne!(key(INVITE), key(&altered("UDP 192.0.2.1;", "UDP 192.0.2.1:5080;")));
}

#[test]
fn an_ack_matches_the_invite_and_nothing_else() {
    let ack = of_method(INVITE, "ACK");
    assert!(key(INVITE).acknowledged_by(&ack));
    assert!(!key(&INVITE.replace("INVITE", "OPTIONS")).acknowledged_by(&ack));
    let other = of_method(&altered("z9hG4bKb1", "z9hG4bKb2"), "ACK");
    assert!(!key(INVITE).acknowledged_by(&other));
}

#[test]
fn a_cancel_matches_what_it_cancels_and_is_a_transaction_of_its_own() {
    let cancel = of_method(INVITE, "CANCEL");
    assert!(key(INVITE).cancelled_by(&cancel));
    assert!(key(&INVITE.replace("INVITE", "OPTIONS")).cancelled_by(&cancel));
    let own = ServerKey::of(&cancel).expect("a key");
    assert_ne!(own, key(INVITE));
    assert!(!own.cancelled_by(&cancel));
}

#[test]
fn a_branch_without_the_cookie_matches_as_in_rfc_2543() {
    for branch in [";branch=1", ""] {
        let old = altered(";branch=z9hG4bKb1", branch);
        assert_eq!(key(&old), key(&old));
        for (from, to) in [
            ("sip:bob@192.0.2.2 ", "sip:eve@192.0.2.2 "),
            ("tag=a1", "tag=a2"),
            ("Call-ID: c1", "Call-ID: c2"),
            ("CSeq: 7", "CSeq: 8"),
            ("UDP 192.0.2.1", "UDP 192.0.2.3"),
            ("To: <sip:bob@example.com>", "To: <sip:bob@example.com>;tag=b1"),
        ] {
            assert_ne!(key(&old), key(&old.replace(from, to)), "{from}");
        }
        let ack = of_method(&old, "ACK");
        assert!(key(&old).acknowledged_by(&ack));
        let tagged = "To: <sip:bob@example.com>;tag=b1";
        let ack = of_method(&old.replace("To: <sip:bob@example.com>", tagged), "ACK");
        assert!(key(&old).acknowledged_by(&ack));
        assert!(!key(INVITE).acknowledged_by(&ack));
    }
}
