//! Session timers on each leg (RFC 4028).

use sip_message::{HeaderName, Method};

use super::*;

/// A call whose legs agreed on what `alice` and `bob` say of session timers.
fn refreshed(alice: &str, bob: &str, update: bool) -> (World, Response, Request) {
    let mut world = World::new();
    let mut invite = world.invite();
    if !alice.is_empty() {
        invite.headers.push(HeaderName::SessionExpires, alice.to_owned());
    }
    let to_bob = requests(&world.request(invite)).remove(0);
    let mut response = ok(&to_bob);
    if !bob.is_empty() {
        response.headers.push(HeaderName::SessionExpires, bob.to_owned());
    }
    if update {
        response.headers.push(HeaderName::Allow, "INVITE, UPDATE");
    }
    let answered = responses(&world.response(response)).remove(0);
    let ack = world.within(Method::Ack, &answered);
    let _ = world.request(ack);
    let _ = world.after(secs(40));
    (world, answered, to_bob)
}

fn expires(headers: &sip_message::Headers) -> String {
    let value = headers.session_expires().expect("well formed").expect("present");
    value.to_string()
}

#[test]
fn each_leg_agrees_on_its_own_interval() {
    let (_, answered, to_bob) = refreshed("600", "900;refresher=uas", true);
    assert_eq!(expires(&to_bob.headers), "1800");
    assert_eq!(expires(&answered.headers), "600;refresher=uac");
    assert!(answered.headers.has_option_tag(&HeaderName::Require, "timer"));
}

#[test]
fn we_refresh_by_update_where_the_peer_can() {
    let (mut world, _, _) = refreshed("600;refresher=uas", "600;refresher=uac", true);
    let sent = world.after(secs(300 - 40));
    assert_eq!(told(&sent), "UPDATE>alice UPDATE>bob");
    let updates = requests(&sent);
    assert_eq!(expires(&updates[1].headers), "600;refresher=uac");
    assert!(updates[1].body.is_empty());
    for update in &updates {
        let mut ok = answer(update, 200);
        let _ = ok.headers.remove(&HeaderName::Contact);
        ok.headers.push(HeaderName::SessionExpires, "600;refresher=uac");
        assert_eq!(told(&world.response(ok)), "");
    }
    assert!(world.call.at_boundary());
    let sent = world.after(secs(299));
    assert_eq!(told(&sent), "");
    assert_eq!(told(&world.after(secs(1))), "UPDATE>alice UPDATE>bob", "once per interval");
}

#[test]
fn a_reinvite_refresh_is_acknowledged_by_us_alone() {
    let (mut world, _, _) = refreshed("", "600;refresher=uac", false);
    let sent = world.after(secs(300 - 40));
    assert_eq!(told(&sent), "INVITE>bob");
    let invite = requests(&sent).remove(0);
    assert_eq!(invite.body, OFFER);
    assert_eq!(told(&world.response(answer(&invite, 100))), "");
    let sent = world.response(ok(&invite));
    assert_eq!(told(&sent), "ACK>bob");
    assert_eq!(world.response(ok(&invite)), sent);
    assert!(world.call.at_boundary());
}

#[test]
fn a_session_that_nobody_refreshes_ends() {
    let (mut world, _, _) = refreshed("600", "900;refresher=uas", true);
    assert_eq!(told(&world.after(secs(600 - 32 - 40 - 1))), "");
    let sent = world.after(secs(1));
    assert_eq!(told(&sent), "BYE>alice BYE>bob");
    assert_eq!(world.ended(), "2:Expired 3:Expired");
}

#[test]
fn a_refresh_of_the_peer_is_relayed_and_starts_both_timers_again() {
    let (mut world, answered, _) = refreshed("600", "600;refresher=uas", true);
    let _ = world.after(secs(300));
    let mut update = world.within(Method::Update, &answered);
    update.headers.push(HeaderName::Supported, "timer");
    update.headers.push(HeaderName::SessionExpires, "600;refresher=uac");
    let sent = world.request(update);
    assert_eq!(told(&sent), "UPDATE>bob");
    let update = requests(&sent).remove(0);
    assert_eq!(expires(&update.headers), "600;refresher=uas");
    let mut ok = answer(&update, 200);
    ok.headers.push(HeaderName::SessionExpires, "600;refresher=uas");
    let sent = world.response(ok);
    assert_eq!(told(&sent), "200/UPDATE>alice");
    assert_eq!(expires(&responses(&sent)[0].headers), "600;refresher=uac");
    assert_eq!(told(&world.after(secs(600 - 33))), "");
    assert_eq!(told(&world.after(secs(1))), "BYE>alice BYE>bob");
}

#[test]
fn a_422_is_answered_with_a_longer_interval() {
    let mut world = World::new();
    let invite = world.invite();
    let to_bob = requests(&world.request(invite)).remove(0);
    let mut refusal = answer(&to_bob, 422);
    refusal.headers.push(HeaderName::MinSe, "3600");
    let sent = world.response(refusal);
    assert_eq!(told(&sent), "ACK>bob INVITE>bob");
    let again = requests(&sent).remove(1);
    assert_eq!(expires(&again.headers), "3600");
    assert_eq!(again.headers.cseq().expect("a CSeq").number, 2);
    assert_eq!(again.body, OFFER);
    let mut refusal = answer(&again, 422);
    refusal.headers.push(HeaderName::MinSe, "3600");
    assert_eq!(told(&world.response(refusal)), "ACK>bob 500/INVITE>alice", "it ends");
}

#[test]
fn a_lost_peer_is_found_by_its_refresh() {
    let (mut world, _, _) = refreshed("", "600;refresher=uac", true);
    let sent = world.after(secs(300 - 40));
    let update = requests(&sent).remove(0);
    assert_eq!(told(&world.response(answer(&update, 481))), "BYE>bob BYE>alice");
}

#[test]
fn glare_puts_the_refresh_off() {
    let (mut world, _, _) = refreshed("", "600;refresher=uac", true);
    let sent = world.after(secs(300 - 40));
    let update = requests(&sent).remove(0);
    assert_eq!(told(&world.response(answer(&update, 491))), "");
    assert_eq!(told(&world.after(secs(3))), "UPDATE>bob");
}

#[test]
fn a_peer_without_update_whose_session_is_unknown_is_not_hung_up_on() {
    let mut world = World::new();
    let mut invite = world.invite();
    invite.headers.set(HeaderName::Supported, "100rel");
    invite.headers.set(HeaderName::ContentType, "multipart/mixed;boundary=isup");
    let to_bob = requests(&world.request(invite)).remove(0);
    let mut response = ok(&to_bob);
    response.headers.set(HeaderName::ContentType, "multipart/mixed;boundary=isup");
    let answered = responses(&world.response(response)).remove(0);
    let ack = world.within(Method::Ack, &answered);
    let _ = world.request(ack);
    for _ in 0..5 {
        let sent = world.after(secs(900));
        assert_eq!(told(&sent), "UPDATE>alice UPDATE>bob");
        let updates = requests(&sent);
        let mut from_alice = answer(&updates[0], 200);
        let _ = from_alice.headers.remove(&HeaderName::Contact);
        assert_eq!(told(&world.response(from_alice)), "");
        assert_eq!(told(&world.response(answer(&updates[1], 405))), "", "it answers: it lives");
    }
    assert_eq!(world.ended(), "");
}

#[test]
fn a_session_that_the_peer_refused_is_not_offered_again() {
    let (mut world, answered, _) = refreshed("", "600;refresher=uac", false);
    let mut invite = world.within(Method::Invite, &answered);
    invite.headers.push(HeaderName::Supported, "timer");
    invite.headers.push(HeaderName::ContentType, "application/sdp");
    invite.body = OFFER.replace("m=audio 4000", "m=video 4002").into();
    let to_bob = requests(&world.request(invite)).remove(0);
    let refused = world.response(answer(&to_bob, 488));
    assert_eq!(told(&refused), "ACK>bob 488/INVITE>alice");
    let sent = world.after(secs(300 - 40));
    let refresh = requests(&sent).remove(0);
    assert_eq!(refresh.method, Method::Invite);
    assert_eq!(refresh.body, OFFER);
}
