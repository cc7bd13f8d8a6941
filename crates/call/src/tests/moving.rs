//! Activation: the call goes on at another site, out of what crossed.

use sip_message::{HeaderName, Method};
use vocab::SiteId;

use super::*;

/// The call as another site holds it, `age` after it crossed.
fn moved(world: &World, age: Duration) -> World {
    let encoded = world.call.encode(world.now, &[]);
    let now = Instant(5_000_000_000);
    let (call, _) = Call::decode(key(), encoded.schema, &encoded.crossing, &Bytes::new(), age, now)
        .expect("it crossed whole");
    let mut there = World::new();
    there.setting.here = SiteId(2);
    there.call = call;
    there.now = now;
    there.cseq = world.cseq;
    there.branches = 1000;
    there
}

#[test]
fn requests_of_both_sides_are_served_at_the_other_site() {
    let mut world = World::new();
    let (answered, invite) = world.answered();
    let mut there = moved(&world, secs(3));
    assert_eq!(told(&there.input(Input::Activate)), "");
    assert_eq!(there.changed, Changed::Crossing);
    assert!(there.call.at_boundary());
    let mut reinvite = there.within(Method::Invite, &answered);
    reinvite.headers.push(HeaderName::ContentType, "application/sdp");
    reinvite.body = Bytes::from_static(OFFER.as_bytes());
    let sent = there.request(reinvite);
    assert_eq!(told(&sent), "100/INVITE>alice INVITE>bob");
    let to_bob = requests(&sent).remove(0);
    assert_eq!(to_bob.headers.cseq().expect("a CSeq").number, 1 + 64 + 1);
    assert_eq!(to_bob.headers.from(), invite.headers.from(), "the tag is the same everywhere");
    assert_eq!(to_bob.headers.call_id(), invite.headers.call_id());
    assert!(String::from_utf8_lossy(&to_bob.body).contains("o=alice 1 65 IN"));
    let ok = responses(&there.response(ok(&to_bob))).remove(0);
    let ack = there.within(Method::Ack, &ok);
    assert_eq!(told(&there.request(ack)), "ACK>bob");
    let bye = there.bobs(Method::Bye, 9, &invite);
    let sent = there.by_bob(bye);
    assert_eq!(told(&sent), "200/BYE>bob BYE>alice");
    assert_eq!(requests(&sent)[0].headers.cseq().expect("a CSeq").number, 65);
}

#[test]
fn deadlines_that_passed_fire_once_and_spread() {
    let mut world = World::new();
    let _ = world.answered();
    let mut there = moved(&world, secs(100_000));
    assert_eq!(told(&there.input(Input::Activate)), "");
    assert_eq!(told(&there.input(Input::Due)), "", "nothing fires at once");
    let sent = there.after(secs(60));
    let byes = requests(&sent).into_iter().filter(|request| request.method == Method::Bye);
    let branches: std::collections::BTreeSet<_> =
        byes.map(|bye| bye.headers.get(&HeaderName::Via).expect("a Via").clone()).collect();
    assert_eq!(branches.len(), 2, "one BYE on each leg: {}", told(&sent));
    assert!(there.call.summary(there.now).legs.is_empty(), "both sides missed their refreshes");
}

#[test]
fn what_was_not_answered_is_forgotten() {
    let mut world = World::new();
    let invite = world.invite();
    let _ = world.request(invite);
    let mut there = moved(&world, secs(1));
    assert_eq!(told(&there.input(Input::Activate)), "");
    assert!(there.call.is_over());
}

#[test]
fn a_2xx_of_a_held_dialog_is_acknowledged_without_its_transaction() {
    let mut world = World::new();
    let (_, invite) = world.answered();
    let mut there = moved(&world, secs(3));
    let _ = there.input(Input::Activate);
    let sent = there.response(ok(&invite));
    assert_eq!(told(&sent), "ACK>bob");
    assert_eq!(there.changed, Changed::Nothing);
}
