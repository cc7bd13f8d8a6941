//! An INVITE that forks downstream: early dialogs side by side, and two answers (H28).

use sip_message::Method;

use super::*;

fn tag(response: &Response) -> Bytes {
    response.headers.to().expect("a To").tag().expect("a tag").clone()
}

#[test]
fn each_early_dialog_has_its_own_tag() {
    let mut world = World::new();
    let invite = world.invite();
    let to_bob = requests(&world.request(invite)).remove(0);
    let one = responses(&world.response(tagged(&to_bob, 180, "one"))).remove(0);
    let two = responses(&world.response(tagged(&to_bob, 183, "two"))).remove(0);
    let one_again = responses(&world.response(tagged(&to_bob, 183, "one"))).remove(0);
    assert_ne!(tag(&one), tag(&two));
    assert_eq!(tag(&one), tag(&one_again));

    let update = world.within(Method::Update, &two);
    let sent = world.request(update);
    assert_eq!(told(&sent), "UPDATE>bob");
    assert_eq!(requests(&sent)[0].headers.to().expect("a To").tag(), Some(&"two".into()));

    let answered = responses(&world.response(tagged(&to_bob, 200, "two"))).remove(0);
    assert_eq!(tag(&answered), tag(&two));
    let bye = world.within(Method::Bye, &one);
    assert_eq!(told(&world.request(bye)), "481/BYE>alice", "the other fork is gone");
}

#[test]
fn the_second_answer_is_acknowledged_and_ended() {
    let mut world = World::new();
    let invite = world.invite();
    let to_bob = requests(&world.request(invite)).remove(0);
    let _ = world.response(tagged(&to_bob, 180, "one"));
    let answered = responses(&world.response(tagged(&to_bob, 200, "two"))).remove(0);
    let sent = world.response(tagged(&to_bob, 200, "one"));
    assert_eq!(told(&sent), "ACK>bob BYE>bob");
    for request in requests(&sent) {
        assert_eq!(request.headers.to().expect("a To").tag(), Some(&"one".into()));
    }
    assert_eq!(world.response(tagged(&to_bob, 200, "one")), sent[..1]);
    let ack = world.within(Method::Ack, &answered);
    let acked = world.request(ack);
    assert_eq!(told(&acked), "ACK>bob");
    assert_eq!(requests(&acked)[0].headers.to().expect("a To").tag(), Some(&"two".into()));
}

#[test]
fn forks_are_bounded() {
    let mut world = World::new();
    let invite = world.invite();
    let to_bob = requests(&world.request(invite)).remove(0);
    let mut tags = std::collections::BTreeSet::new();
    for fork in 0..100 {
        let sent = world.response(tagged(&to_bob, 180, &format!("fork{fork}")));
        tags.insert(tag(&responses(&sent)[0]));
    }
    assert_eq!(tags.len(), world.setting.limits.forks_max);
    for fork in 0..1000 {
        let _ = world.response(tagged(&to_bob, 200, &format!("fork{fork}")));
    }
    assert!(world.call.local.transactions() <= world.setting.limits.transactions_max);
}
