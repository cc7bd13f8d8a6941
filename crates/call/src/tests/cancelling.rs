//! CANCEL and everything it races with (RFC 3261 §9, H22, H29).

use sip_message::{HeaderName, Method};

use super::*;

#[test]
fn a_ringing_call_is_cancelled_at_both_ends() {
    let mut world = World::new();
    let invite = world.invite();
    let to_bob = requests(&world.request(invite)).remove(0);
    let _ = world.response(answer(&to_bob, 180));
    let cancel = world.cancel();
    let sent = world.request(cancel.clone());
    assert_eq!(told(&sent), "200/CANCEL>alice 487/INVITE>alice CANCEL>bob");
    let tags: Vec<_> = responses(&sent)
        .iter()
        .map(|response| response.headers.to().expect("a To").tag().cloned())
        .collect();
    assert_eq!(tags[0], tags[1], "§9.2: the two To tags should be the same");
    assert_eq!(told(&world.request(cancel)), "200/CANCEL>alice");
    assert_eq!(world.changed, Changed::Nothing);
    let cancelled = requests(&sent).remove(0);
    assert_eq!(cancelled.headers.via_top(), to_bob.headers.via_top());
    let _ = world.response(answer(&cancelled, 200));
    assert_eq!(told(&world.response(answer(&to_bob, 487))), "ACK>bob");
    let terminated = &responses(&sent)[1];
    let mut ack = world.within(Method::Ack, terminated);
    let via = world.cancel().headers.get(&HeaderName::Via).expect("a Via").clone();
    ack.headers.set(HeaderName::Via, via);
    assert_eq!(told(&world.request(ack)), "");
    assert_eq!(told(&world.after(secs(40))), "");
    assert!(world.call.is_over());
    assert_eq!(world.ended(), "2:Cancelled 3:Cancelled");
}

#[test]
fn cancel_waits_for_the_first_provisional_response() {
    let mut world = World::new();
    let invite = world.invite();
    let to_bob = requests(&world.request(invite)).remove(0);
    let cancel = world.cancel();
    assert_eq!(told(&world.request(cancel)), "200/CANCEL>alice 487/INVITE>alice");
    assert_eq!(told(&world.response(answer(&to_bob, 100))), "CANCEL>bob");
    assert_eq!(told(&world.response(answer(&to_bob, 180))), "");
}

#[test]
fn a_2xx_that_comes_too_late_is_acknowledged_and_ended() {
    let mut world = World::new();
    let invite = world.invite();
    let to_bob = requests(&world.request(invite)).remove(0);
    let _ = world.response(answer(&to_bob, 180));
    let cancel = world.cancel();
    let _ = world.request(cancel);
    let sent = world.response(ok(&to_bob));
    assert_eq!(told(&sent), "ACK>bob BYE>bob");
    assert_eq!(world.response(ok(&to_bob)), sent[..1], "only the ACK is sent again");
    let bye = requests(&sent).remove(1);
    let _ = world.response(answer(&bye, 200));
    let _ = world.after(secs(70));
    assert!(world.call.is_over());
}

#[test]
fn cancel_matches_its_invite_or_nothing() {
    let mut world = World::new();
    let invite = world.invite();
    let to_bob = requests(&world.request(invite)).remove(0);
    let mut other = world.cancel();
    other.headers.set(HeaderName::From, "<sip:alice@example.com>;tag=mallory");
    assert_eq!(told(&world.request(other)), "481/CANCEL>alice");
    let mut other = world.cancel();
    other.headers.set(HeaderName::Via, "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKother");
    assert_eq!(told(&world.request(other)), "481/CANCEL>alice");
    assert_eq!(world.changed, Changed::Nothing);
    let _ = world.response(ok(&to_bob));
    let cancel = world.cancel();
    assert_eq!(told(&world.request(cancel)), "200/CANCEL>alice", "too late: no effect");
    assert_eq!(world.changed, Changed::Nothing);
}

#[test]
fn a_reinvite_is_cancelled_end_to_end() {
    let mut world = World::new();
    let (answered, _) = world.answered();
    let invite = world.within(Method::Invite, &answered);
    world.invite = Some(invite.clone());
    let to_bob = requests(&world.request(invite)).remove(0);
    let _ = world.response(answer(&to_bob, 100));
    let cancel = world.cancel();
    assert_eq!(told(&world.request(cancel)), "200/CANCEL>alice CANCEL>bob");
    assert_eq!(told(&world.response(answer(&to_bob, 487))), "ACK>bob 487/INVITE>alice");
    assert_eq!(world.call.summary(world.now).legs.len(), 2, "the session goes on");
}

#[test]
fn the_caller_may_say_bye_early() {
    let mut world = World::new();
    let invite = world.invite();
    let to_bob = requests(&world.request(invite)).remove(0);
    let ringing = responses(&world.response(answer(&to_bob, 180))).remove(0);
    let bye = world.within(Method::Bye, &ringing);
    assert_eq!(told(&world.request(bye)), "200/BYE>alice 487/INVITE>alice CANCEL>bob");
}

#[test]
fn a_long_invite_is_cancelled_and_acknowledged_like_any_other() {
    let mut world = World::new();
    let mut invite = world.invite();
    for number in 0..300 {
        invite.headers.push(HeaderName::parse(b"X-More"), number.to_string());
    }
    let bytes = invite.print();
    assert!(crate::transaction::cancel_of(&bytes).is_some());
    let busy = answer(&invite, 486);
    assert!(crate::transaction::ack_of_failure(&bytes, &busy).is_some());
}
