//! INVITE, 180, 200, ACK, BYE: the call that everything else varies.

use bytes::Bytes;
use sip_message::{HeaderName, Method};

use super::*;

#[test]
fn a_call_is_set_up_and_ended_by_the_caller() {
    let mut world = World::new();
    let invite = world.invite();
    let sent = world.request(invite.clone());
    assert_eq!(told(&sent), "100/INVITE>alice INVITE>bob");
    assert_eq!(world.changed, Changed::Crossing);
    let to_bob = requests(&sent).remove(0);
    assert_eq!(to_bob.uri.to_string(), "sip:bob@192.0.2.2");
    assert_eq!(to_bob.body, OFFER);
    let headers = &to_bob.headers;
    assert_eq!(headers.max_forwards(), Ok(Some(69)));
    assert_eq!(headers.get(&HeaderName::parse(b"X-Mine")), Some(&Bytes::from_static(b"kept")));
    assert_eq!(headers.get_all(&HeaderName::Supported).count(), 1);
    assert!(!headers.has_option_tag(&HeaderName::Supported, "100rel"));
    assert_ne!(headers.call_id(), invite.headers.call_id());
    assert_eq!(headers.values(&HeaderName::Via).count(), 1);
    assert!(!world.call.at_boundary());

    let sent = world.response(answer(&to_bob, 180));
    assert_eq!(told(&sent), "180/INVITE>alice");
    let ringing = responses(&sent).remove(0);
    let sent = world.response(ok(&to_bob));
    assert_eq!(told(&sent), "200/INVITE>alice");
    let answered = responses(&sent).remove(0);
    assert_eq!(answered.body, ANSWER);
    assert_eq!(answered.headers.to(), ringing.headers.to());
    assert!(!world.call.at_boundary());

    let mut ack = world.within(Method::Ack, &answered);
    ack.headers.push(HeaderName::parse(b"X-Ack"), "1");
    let sent = world.request(ack.clone());
    assert_eq!(told(&sent), "ACK>bob");
    let acked = requests(&sent).remove(0);
    assert_eq!(acked.uri.to_string(), "sip:bob@192.0.2.2:5060");
    assert_eq!(acked.headers.cseq().expect("a CSeq").number, 1);
    assert!(acked.headers.contains(&HeaderName::parse(b"X-Ack")));
    assert_eq!(acked.headers.to().expect("a To").tag(), Some(&Bytes::from_static(b"bob")));
    assert!(world.call.at_boundary() && !world.call.has_ended());
    assert_eq!(world.call.hints(), [(0, servlet::Hint::Steady)]);
    assert_eq!(told(&world.request(ack)), "", "a repeated ACK is absorbed");
    assert_eq!(world.changed, Changed::Nothing);

    let bye = world.within(Method::Bye, &answered);
    let sent = world.request(bye.clone());
    assert_eq!(told(&sent), "200/BYE>alice BYE>bob");
    let bye_to_bob = requests(&sent).remove(0);
    assert_eq!(bye_to_bob.headers.cseq().expect("a CSeq").number, 2);
    assert_eq!(told(&world.request(bye)), "200/BYE>alice", "a repeated BYE is answered alike");
    assert_eq!(world.changed, Changed::Nothing);
    assert!(!world.call.has_ended(), "another site could send the BYE");
    assert_eq!(told(&world.response(answer(&bye_to_bob, 200))), "");
    assert!(world.call.has_ended());
    assert!(!world.call.is_over());
    assert_eq!(told(&world.after(secs(40))), "");
    assert!(world.call.is_over());
    assert_eq!(world.ended(), "2:Bye 3:Bye");
}

#[test]
fn the_callee_ends_it() {
    let mut world = World::new();
    let (_, invite) = world.answered();
    let mut bye = world.bobs(Method::Bye, 1, &invite);
    bye.headers.push(HeaderName::Reason, "Q.850;cause=16");
    let sent = world.by_bob(bye);
    assert_eq!(told(&sent), "200/BYE>bob BYE>alice");
    let bye = requests(&sent).remove(0);
    assert_eq!(bye.headers.get(&HeaderName::Reason), Some(&Bytes::from_static(b"Q.850;cause=16")));
    assert_eq!(bye.headers.call_id(), Ok(&Bytes::from_static(b"call-1")));
    assert_eq!(bye.headers.to().expect("a To").tag(), Some(&Bytes::from_static(b"alice")));
}

#[test]
fn repetitions_are_absorbed_with_the_stored_bytes() {
    let mut world = World::new();
    let invite = world.invite();
    let sent = world.request(invite.clone());
    let trying = sent[0].clone();
    assert_eq!(world.request(invite.clone()), [trying]);
    assert_eq!(world.changed, Changed::Nothing);
    let to_bob = requests(&sent).remove(0);
    let ringing = world.response(answer(&to_bob, 180));
    assert_eq!(world.request(invite.clone()), ringing);
    assert_eq!(world.changed, Changed::Nothing);
    let answered = world.response(ok(&to_bob));
    // RFC 6026: absorbed; the 2xx is repeated by its own timer.
    assert_eq!(world.request(invite), []);
    assert_eq!(world.response(ok(&to_bob)), [], "the ACK is alice's to give");
    assert_eq!(world.after(Duration::from_millis(500)), answered);
    let ack = world.within(Method::Ack, &responses(&answered)[0]);
    let acked = world.request(ack);
    assert_eq!(world.response(ok(&to_bob)), acked, "a repeated 2xx gets the same ACK");
    assert_eq!(world.changed, Changed::Nothing);
}

#[test]
fn a_2xx_without_an_ack_ends_both_legs() {
    let mut world = World::new();
    let invite = world.invite();
    let to_bob = requests(&world.request(invite)).remove(0);
    let _ = world.response(ok(&to_bob));
    let sent = world.after(secs(32));
    let repeated = responses(&sent).len();
    assert!((8..=11).contains(&repeated), "{repeated}");
    let ends = sent.iter().filter(|sent| matches!(sent.message, Message::Request(_)));
    let ends: Vec<_> = ends.cloned().collect();
    assert_eq!(told(&ends), "BYE>alice ACK>bob BYE>bob");
}

#[test]
fn the_answer_of_a_delayed_offer_goes_with_the_ack() {
    let mut world = World::new();
    let mut invite = world.invite();
    invite.headers.remove(&HeaderName::ContentType);
    invite.body = Bytes::new();
    let to_bob = requests(&world.request(invite)).remove(0);
    let answered = responses(&world.response(ok(&to_bob))).remove(0);
    let mut ack = world.within(Method::Ack, &answered);
    ack.headers.push(HeaderName::ContentType, "application/sdp");
    ack.body = Bytes::from_static(OFFER.as_bytes());
    let acked = requests(&world.request(ack)).remove(0);
    assert_eq!(acked.body, OFFER);
    assert_eq!(
        acked.headers.get(&HeaderName::ContentType),
        Some(&Bytes::from_static(b"application/sdp"))
    );
}

#[test]
fn routes_are_honoured_loose_and_strict() {
    for (lr, uri, routes) in [
        (";lr", "sip:bob@192.0.2.2:5060", "<sip:p1.example.com;lr> <sip:p2.example.com;lr>"),
        ("", "sip:p1.example.com", "<sip:p2.example.com> <sip:bob@192.0.2.2:5060>"),
    ] {
        let mut world = World::new();
        let invite = world.invite();
        let to_bob = requests(&world.request(invite)).remove(0);
        let mut response = ok(&to_bob);
        for host in ["p2", "p1"] {
            let route = format!("<sip:{host}.example.com{lr}>");
            response.headers.push(HeaderName::RecordRoute, route);
        }
        let answered = responses(&world.response(response)).remove(0);
        assert!(!answered.headers.contains(&HeaderName::RecordRoute));
        let ack = world.within(Method::Ack, &answered);
        let sent = world.request(ack);
        let name = Bytes::from_static(b"p1.example.com");
        assert_eq!(sent[0].to, Destination::Host { name, port: 5060 });
        let acked = requests(&sent).remove(0);
        assert_eq!(acked.uri.to_string(), uri);
        let printed: Vec<String> = acked
            .headers
            .values(&HeaderName::Route)
            .map(|route| String::from_utf8_lossy(&route).into_owned())
            .collect();
        assert_eq!(printed.join(" "), routes);
    }
}

#[test]
fn an_application_may_answer_itself_or_later() {
    let mut world = World::new();
    let options = world.plain(Method::Options, "sip:us@example.com");
    assert_eq!(told(&world.request(options.clone())), "200/OPTIONS>alice");
    assert_eq!(told(&world.request(options)), "200/OPTIONS>alice");
    assert_eq!(world.changed, Changed::Nothing);
    let _ = world.after(secs(40));
    assert!(world.call.is_over());

    let mut world = World::new();
    let mut invite = world.invite();
    invite.uri = "sip:later@example.com".parse().expect("a URI");
    assert_eq!(told(&world.request(invite)), "100/INVITE>alice");
    assert_eq!(told(&world.after(secs(2))), "486/INVITE>alice");
}

#[test]
fn an_application_that_only_rings_is_given_up() {
    let mut world = World::new();
    let mut invite = world.invite();
    invite.uri = "sip:ringing@example.com".parse().expect("a URI");
    assert_eq!(told(&world.request(invite)), "100/INVITE>alice 180/INVITE>alice");
    assert_eq!(told(&world.after(secs(179))), "");
    assert_eq!(responses(&world.after(secs(1)))[0].status, StatusCode::REQUEST_TIMEOUT);
    let _ = world.after(secs(40));
    assert!(world.call.is_over());
}

#[test]
fn an_application_may_end_the_call() {
    let mut world = World::new();
    let (answered, _) = world.answered();
    let mut info = world.within(Method::Info, &answered);
    info.headers.push(HeaderName::parse(b"X-End"), "1");
    let sent = world.request(info);
    assert_eq!(told(&sent), "200/INFO>alice BYE>alice BYE>bob");
    assert_eq!(world.ended(), "2:Ended 3:Ended");
}

#[test]
fn a_message_outside_a_dialog_is_relayed_and_leaves_nothing() {
    let mut world = World::new();
    let message = world.plain(Method::Message, "sip:bob@example.com");
    let sent = world.request(message);
    assert_eq!(told(&sent), "MESSAGE>bob");
    let to_bob = requests(&sent).remove(0);
    assert_eq!(told(&world.response(answer(&to_bob, 200))), "200/MESSAGE>alice");
    let _ = world.after(secs(40));
    assert!(world.call.is_over());
}
