//! Messages that lie, repeat or do not belong (faults H19 to H31).

use sip_message::{HeaderName, Method};

use super::*;

#[test]
fn a_merged_request_is_a_loop() {
    let mut world = World::new();
    let invite = world.invite();
    let _ = world.request(invite);
    let merged = world.invite();
    assert_eq!(told(&world.request(merged)), "482/INVITE>alice");
    assert_eq!(world.changed, Changed::Nothing);
}

#[test]
fn a_late_copy_of_the_invite_begins_no_second_call() {
    let mut world = World::new();
    let _ = world.answered();
    let _ = world.after(secs(60));
    let invite = world.invite.clone().expect("it was sent");
    assert_eq!(told(&world.request(invite)), "482/INVITE>alice");
    assert_eq!(world.changed, Changed::Nothing);
}

#[test]
fn a_lower_cseq_is_out_of_order() {
    let mut world = World::new();
    let (answered, _) = world.answered();
    let mut info = world.within(Method::Info, &answered);
    info.headers.set(HeaderName::CSeq, "1 INFO");
    assert_eq!(told(&world.request(info)), "500/INFO>alice");
    assert_eq!(world.changed, Changed::Nothing);
}

#[test]
fn overlapping_invites_are_refused() {
    let mut world = World::new();
    let (answered, invite) = world.answered();
    let first = world.within(Method::Invite, &answered);
    let to_bob = requests(&world.request(first)).remove(0);
    let second = world.within(Method::Invite, &answered);
    let sent = world.request(second);
    assert_eq!(told(&sent), "500/INVITE>alice");
    let after = responses(&sent)[0].headers.retry_after().expect("well formed");
    assert!(after.expect("§14.2 asks for it") <= 10);
    let glaring = world.bobs(Method::Invite, 5, &invite);
    assert_eq!(told(&world.by_bob(glaring)), "491/INVITE>bob");
    assert_eq!(told(&world.response(ok(&to_bob))), "200/INVITE>alice");
}

#[test]
fn wrong_dialogs_are_unknown() {
    let mut world = World::new();
    let (answered, _) = world.answered();
    let change: [fn(&mut Request); 4] = [
        |r| r.headers.set(HeaderName::From, "<sip:alice@example.com>;tag=mallory"),
        |r| r.headers.set(HeaderName::To, "<sip:bob@example.com>;tag=made-up"),
        |r| r.headers.set(HeaderName::CallId, "call-2"),
        |r| {
            let to = r.headers.to().expect("a To").tag().expect("a tag").clone();
            let mut to = to.to_vec();
            to[3] = if to[3] == b'A' { b'B' } else { b'A' };
            let to = String::from_utf8(to).expect("ASCII");
            r.headers.set(HeaderName::To, format!("<sip:bob@example.com>;tag={to}"));
        },
    ];
    for change in change {
        let mut bye = world.within(Method::Bye, &answered);
        change(&mut bye);
        assert_eq!(told(&world.request(bye)), "481/BYE>alice");
        assert_eq!(world.changed, Changed::Nothing);
    }
    // H25: right tags from another address are accepted.
    let bye = world.within(Method::Bye, &answered);
    let source = Source { addr: "203.0.113.9:9".parse().expect("an address") };
    let sent = world.input(Input::Request { request: &bye, source });
    assert_eq!(told(&sent), "200/BYE>alice BYE>bob");
}

#[test]
fn stray_acks_are_never_answered() {
    let mut world = World::new();
    let (answered, _) = world.answered();
    for _ in 0..3 {
        let mut ack = world.within(Method::Ack, &answered);
        ack.headers.set(HeaderName::CSeq, "99 ACK");
        assert_eq!(told(&world.request(ack)), "");
        assert_eq!(world.changed, Changed::Nothing);
    }
}

#[test]
fn responses_that_answer_nothing_are_dropped() {
    let mut world = World::new();
    let invite = world.invite();
    let to_bob = requests(&world.request(invite)).remove(0);
    let mut change: Vec<Response> = Vec::new();
    let mut two_vias = ok(&to_bob);
    two_vias.headers.push(HeaderName::Via, "SIP/2.0/UDP 203.0.113.9;branch=z9hG4bKx");
    change.push(two_vias);
    let mut method = answer(&to_bob, 180);
    method.headers.set(HeaderName::CSeq, "1 BYE");
    change.push(method);
    let mut branch = answer(&to_bob, 180);
    branch.headers.set(HeaderName::Via, "SIP/2.0/UDP 198.51.100.1:5060;branch=z9hG4bKx");
    change.push(branch);
    for response in change {
        assert_eq!(told(&world.response(response)), "");
        assert_eq!(world.changed, Changed::Nothing);
    }
}

#[test]
fn transactions_are_bounded() {
    let mut world = World::new();
    let (answered, _) = world.answered();
    for _ in 0..500 {
        let info = world.within(Method::Info, &answered);
        let _ = world.request(info);
        assert!(world.call.local.transactions() <= world.setting.limits.transactions_max + 1);
    }
    let info = world.within(Method::Info, &answered);
    assert_eq!(told(&world.request(info)), "503/INFO>alice");
}

#[test]
fn a_peer_of_rfc_2543_is_served() {
    let mut world = World::new();
    let mut invite = world.invite();
    invite.headers.set(HeaderName::Via, "SIP/2.0/UDP 192.0.2.1:5060;branch=1");
    invite.headers.set(HeaderName::From, "<sip:alice@example.com>");
    let sent = world.request(invite.clone());
    assert_eq!(told(&sent), "100/INVITE>alice INVITE>bob");
    let to_bob = requests(&sent).remove(0);
    assert_eq!(told(&world.request(invite)), "100/INVITE>alice");
    let answered = responses(&world.response(ok(&to_bob))).remove(0);
    let mut ack = world.within(Method::Ack, &answered);
    ack.headers.set(HeaderName::From, "<sip:alice@example.com>");
    ack.headers.set(HeaderName::Via, "SIP/2.0/UDP 192.0.2.1:5060;branch=2");
    assert_eq!(told(&world.request(ack)), "ACK>bob");
}

#[test]
fn an_answer_from_a_ghost_is_acknowledged_and_ended() {
    let mut world = World::new();
    let invite = world.invite();
    let to_bob = requests(&world.request(invite)).remove(0);
    let response = ok(&to_bob);
    let source = Source { addr: BOB.parse().expect("an address") };
    let (call, step) = Call::ghost(key(), &response, source, world.now, &world.setting)
        .expect("it answers an INVITE of ours");
    let sent = messages(step.effects);
    assert_eq!(told(&sent), "ACK>bob BYE>bob");
    world.call = call;
    assert_eq!(world.response(response.clone()), sent[..1]);
    let bye = requests(&sent).remove(1);
    let _ = world.response(answer(&bye, 481));
    let _ = world.after(secs(10));
    assert!(world.call.is_over());
    let ringing = answer(&to_bob, 180);
    assert!(Call::ghost(key(), &ringing, source, world.now, &world.setting).is_none());
}

#[test]
fn a_response_goes_back_to_its_request_whatever_maddr_says() {
    let mut world = World::new();
    let mut options = world.plain(Method::Options, "sip:bob@example.com");
    let via = "SIP/2.0/UDP 192.0.2.1:5060;maddr=203.0.113.9;branch=z9hG4bKm";
    options.headers.set(HeaderName::Via, via);
    assert_eq!(told(&world.request(options)), "200/OPTIONS>alice");
}

#[test]
fn a_contact_that_nobody_can_be_reached_at_is_refused() {
    for host in ["255.255.255.255", "0.0.0.0", "224.0.0.1", "192.0.2.1:0", "[ff02::1]", "[::]"] {
        let mut world = World::new();
        let mut invite = world.invite();
        invite.headers.set(HeaderName::Contact, format!("<sip:alice@{host}>"));
        assert_eq!(told(&world.request(invite)), "400/INVITE>alice", "{host}");
        let mut invite = world.invite();
        let contact = format!("<sip:alice@example.com;maddr={host}>");
        invite.headers.set(HeaderName::CallId, "call-2");
        invite.headers.set(HeaderName::Contact, contact);
        if !host.ends_with(":0") {
            assert_eq!(told(&world.request(invite)), "400/INVITE>alice", "{host}");
        }
    }
}
