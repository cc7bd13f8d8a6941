//! Requests within the dialog, passed from one leg to the other.

use sip_message::{HeaderName, Method};

use super::*;

#[test]
fn requests_of_any_method_are_passed_on_and_answered() {
    let mut world = World::new();
    let (answered, invite) = world.answered();
    let methods = ["INFO", "MESSAGE", "REFER", "NOTIFY", "OPTIONS", "UPDATE", "SUBSCRIBE", "FANCY"];
    for (at, name) in methods.into_iter().enumerate() {
        let method = Method::parse(name.as_bytes());
        let mut request = world.within(method.clone(), &answered);
        request.headers.push(HeaderName::ContentType, "text/plain");
        request.body = Bytes::from_static(b"hello");
        let sent = world.request(request);
        assert_eq!(told(&sent), format!("{name}>bob"));
        let to_bob = requests(&sent).remove(0);
        assert_eq!(to_bob.body, "hello");
        let mut accepted = answer(&to_bob, 202);
        accepted.body = Bytes::from_static(b"welcome");
        let sent = world.response(accepted);
        assert_eq!(told(&sent), format!("202/{name}>alice"));
        assert_eq!(responses(&sent)[0].body, "welcome");

        let cseq = 10 + u32::try_from(at).expect("few");
        let back = world.bobs(method, cseq, &invite);
        let sent = world.by_bob(back);
        assert_eq!(told(&sent), format!("{name}>alice"));
        let to_alice = requests(&sent).remove(0);
        assert_eq!(told(&world.response(answer(&to_alice, 403))), format!("403/{name}>bob"));
    }
    let _ = world.after(secs(40));
    assert!(world.call.at_boundary());
}

#[test]
fn a_reinvite_moves_the_targets_and_the_session() {
    let mut world = World::new();
    let (answered, invite) = world.answered();
    let mut reinvite = world.bobs(Method::Invite, 3, &invite);
    reinvite.headers.set(HeaderName::Contact, "<sip:bob@192.0.2.2:5062>");
    reinvite.headers.push(HeaderName::ContentType, "application/sdp");
    reinvite.body = Bytes::from_static(ANSWER.as_bytes());
    let sent = world.by_bob(reinvite);
    assert_eq!(told(&sent), "100/INVITE>bob INVITE>alice");
    let to_alice = requests(&sent).remove(0);
    assert_eq!(to_alice.body, ANSWER);
    assert_eq!(to_alice.headers.call_id(), Ok(&Bytes::from_static(b"call-1")));
    let mut accepted = answer(&to_alice, 200);
    accepted
        .headers
        .set(HeaderName::To, to_alice.headers.get(&HeaderName::To).expect("a To").clone());
    accepted.headers.set(HeaderName::Contact, "<sip:alice@192.0.2.1:5070>");
    let sent = world.response(accepted);
    assert_eq!(told(&sent), "200/INVITE>bob");
    let mut ack = world.bobs(Method::Ack, 3, &invite);
    ack.headers.set(HeaderName::Contact, "<sip:bob@192.0.2.2:5062>");
    let sent = world.by_bob(ack);
    assert_eq!(requests(&sent)[0].uri.to_string(), "sip:alice@192.0.2.1:5070");
    let bye = world.within(Method::Bye, &answered);
    let sent = world.request(bye);
    assert_eq!(requests(&sent)[0].uri.to_string(), "sip:bob@192.0.2.2:5062");
}

#[test]
fn a_bye_during_a_reinvite_ends_it_too() {
    let mut world = World::new();
    let (answered, invite) = world.answered();
    let reinvite = world.within(Method::Invite, &answered);
    let to_bob = requests(&world.request(reinvite)).remove(0);
    let bye = world.bobs(Method::Bye, 4, &invite);
    let sent = world.by_bob(bye);
    assert_eq!(told(&sent), "200/BYE>bob 487/INVITE>alice BYE>alice");
    assert_eq!(told(&world.response(answer(&to_bob, 487))), "ACK>bob");
}

#[test]
fn a_bye_before_the_ack_waits_for_it() {
    let mut world = World::new();
    let invite = world.invite();
    let to_bob = requests(&world.request(invite)).remove(0);
    let answered = responses(&world.response(ok(&to_bob))).remove(0);
    let bye = world.bobs(Method::Bye, 1, &to_bob);
    assert_eq!(told(&world.by_bob(bye)), "200/BYE>bob ACK>bob");
    let ack = world.within(Method::Ack, &answered);
    assert_eq!(told(&world.request(ack)), "BYE>alice");
    let bye = world.within(Method::Bye, &answered);
    assert_eq!(told(&world.request(bye)), "481/BYE>alice");
}

#[test]
fn a_caller_that_hangs_up_without_an_ack_is_let_go() {
    let mut world = World::new();
    let invite = world.invite();
    let to_bob = requests(&world.request(invite)).remove(0);
    let answered = responses(&world.response(ok(&to_bob))).remove(0);
    let bye = world.within(Method::Bye, &answered);
    assert_eq!(told(&world.request(bye)), "200/BYE>alice ACK>bob BYE>bob");
    let sent = world.after(secs(40));
    assert!(responses(&sent).is_empty(), "the 2xx is not repeated to who has left");
}

#[test]
fn hops_run_out_within_a_dialog_too() {
    let mut world = World::new();
    let (answered, _) = world.answered();
    let mut info = world.within(Method::Info, &answered);
    info.headers.set(HeaderName::MaxForwards, "0");
    assert_eq!(told(&world.request(info)), "483/INFO>alice");
}

/// Decides after two seconds, and then passes everything on to bob.
struct SlowToBob;

impl Application for SlowToBob {
    fn name(&self) -> &str {
        "slow-to-bob"
    }

    fn on_initial_request(&self, cx: &mut Cx<'_>, _request: &Request) -> Decision {
        assert!(cx.set_timer("decide", secs(2)));
        Decision::Defer
    }

    fn on_timer(&self, cx: &mut Cx<'_>, _name: &str) {
        cx.decide(Decision::BackToBack(
            OutboundLeg::new("sip:bob@192.0.2.2".parse().expect("a URI"))
                .via(NextHop::Addr(BOB.parse().expect("an address"))),
        ));
    }
}

#[test]
fn a_message_that_was_decided_late_leaves_nothing_behind() {
    for answered_after in [None, Some(31)] {
        let mut setting = setting();
        setting.applications = vec![Arc::new(SlowToBob)];
        let mut world = World::with(setting);
        let message = world.plain(Method::Message, "sip:bob@example.com");
        assert_eq!(told(&world.request(message)), "");
        let to_bob = requests(&world.after(secs(2))).remove(0);
        assert_eq!(to_bob.method, Method::Message);
        if let Some(after) = answered_after {
            let _ = world.after(secs(after));
            assert_eq!(told(&world.response(answer(&to_bob, 200))), "", "alice has given up");
        }
        let _ = world.after(secs(60));
        assert!(world.call.is_over());
    }
}
