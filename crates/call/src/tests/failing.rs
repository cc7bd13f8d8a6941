//! Calls that are refused, time out or cannot be sent.

use sip_message::{HeaderName, Method};

use super::*;

#[test]
fn a_refusal_reaches_the_caller_and_leaves_nothing() {
    for status in [302_u16, 401, 404, 486, 503, 603] {
        let mut world = World::new();
        let invite = world.invite();
        let to_bob = requests(&world.request(invite)).remove(0);
        let mut refusal = answer(&to_bob, status);
        refusal.headers.push(HeaderName::WwwAuthenticate, "Digest realm=\"r\"");
        let sent = world.response(refusal);
        assert_eq!(told(&sent), format!("ACK>bob {status}/INVITE>alice"));
        let refused = responses(&sent).remove(0);
        assert!(refused.headers.contains(&HeaderName::WwwAuthenticate));
        assert_eq!(refused.headers.contains(&HeaderName::Contact), status == 302);
        let mut ack = world.within(Method::Ack, &refused);
        ack.headers.set(HeaderName::Via, "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKphone1");
        assert_eq!(told(&world.request(ack)), "");
        assert_eq!(told(&world.after(secs(40))), "");
        assert!(world.call.is_over());
    }
}

#[test]
fn a_challenged_caller_calls_again_under_the_same_key() {
    let mut world = World::new();
    let invite = world.invite();
    let to_bob = requests(&world.request(invite)).remove(0);
    let _ = world.response(answer(&to_bob, 407));
    world.cseq = 2;
    let mut again = world.invite();
    again.headers.push(HeaderName::ProxyAuthorization, "Digest username=\"alice\"");
    let sent = world.request(again);
    assert_eq!(told(&sent), "100/INVITE>alice INVITE>bob");
    let second = requests(&sent).remove(0);
    assert!(second.headers.contains(&HeaderName::ProxyAuthorization));
    assert_ne!(second.headers.call_id(), to_bob.headers.call_id());
    assert_eq!(told(&world.response(ok(&second))), "200/INVITE>alice");
}

#[test]
fn a_silent_callee_times_out() {
    let mut world = World::new();
    let invite = world.invite();
    let _ = world.request(invite);
    let sent = world.after(secs(31));
    assert_eq!(told(&sent), "INVITE>bob INVITE>bob INVITE>bob INVITE>bob INVITE>bob");
    assert_eq!(told(&world.after(secs(1))), "INVITE>bob 408/INVITE>alice");
    assert_eq!(world.ended(), "2:Failed(StatusCode(408)) 3:Failed(StatusCode(408))");
}

#[test]
fn a_callee_that_rings_for_ever_is_given_up() {
    let mut world = World::new();
    let invite = world.invite();
    let to_bob = requests(&world.request(invite)).remove(0);
    let _ = world.response(answer(&to_bob, 180));
    assert_eq!(told(&world.after(secs(179))), "");
    assert_eq!(told(&world.after(secs(1))), "CANCEL>bob 408/INVITE>alice");
    let sent = world.response(ok(&to_bob));
    assert_eq!(told(&sent), "ACK>bob BYE>bob");
}

#[test]
fn an_answerless_request_within_a_dialog_gets_no_408() {
    let mut world = World::new();
    let (answered, _) = world.answered();
    let info = world.within(Method::Info, &answered);
    assert_eq!(told(&world.request(info)), "INFO>bob");
    let sent = world.after(secs(40));
    // RFC 4320: a 100 once it helps, and never a 408.
    assert_eq!(told(&sent).replace(" INFO>bob", "").replace("INFO>bob ", ""), "100/INFO>alice");
    assert_eq!(world.call.summary(world.now).legs.len(), 2);
}

#[test]
fn an_unknown_dialog_at_one_end_ends_the_call() {
    let mut world = World::new();
    let (answered, _) = world.answered();
    let invite = world.within(Method::Invite, &answered);
    let to_bob = requests(&world.request(invite)).remove(0);
    let sent = world.response(answer(&to_bob, 481));
    assert_eq!(told(&sent), "ACK>bob 481/INVITE>alice BYE>bob BYE>alice");
}

#[test]
fn what_cannot_be_served_is_refused_without_state() {
    let check = |change: fn(&mut Request), status: &str| {
        let mut world = World::new();
        let mut invite = world.invite();
        change(&mut invite);
        assert_eq!(told(&world.request(invite)), format!("{status}/INVITE>alice"));
        assert!(world.call.is_over(), "{status}");
        assert_eq!(world.changed, Changed::Nothing);
    };
    check(|i| i.uri = "tel:+1".parse().expect("a URI"), "416");
    check(|i| i.headers.push(HeaderName::Require, "timer, 100rel, nothing"), "420");
    check(|i| assert_eq!(i.headers.remove(&HeaderName::Contact), 1), "400");
    check(|i| i.headers.push(HeaderName::SessionExpires, "60"), "422");
    let mut world = World::new();
    let mut invite = world.invite();
    invite.headers.set(HeaderName::MaxForwards, "0");
    assert_eq!(told(&world.request(invite)), "100/INVITE>alice 483/INVITE>alice");
}
