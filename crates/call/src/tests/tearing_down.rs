//! Calls that are ended without their applications.

use super::*;

fn torn(world: &mut World) -> Vec<Sent> {
    let mut twin = twin(&world.call, world.now);
    let again = twin.tear_down(world.now, &world.setting);
    let step = world.call.tear_down(world.now, &world.setting);
    assert_eq!(again.effects, step.effects, "the decoded twin ends alike");
    messages(step.effects)
}

#[test]
fn both_parties_of_a_call_hear_bye() {
    let mut world = World::new();
    let _ = world.answered();
    let sent = torn(&mut world);
    assert_eq!(told(&sent), "BYE>alice BYE>bob");
    assert!(world.call.hints().is_empty(), "no application is left");
    assert!(!world.call.is_over());
    for bye in requests(&sent) {
        assert_eq!(told(&world.response(answer(&bye, 200))), "");
    }
    assert!(world.call.has_ended());
    assert_eq!(told(&world.after(secs(60))), "");
    assert!(world.call.is_over());
}

#[test]
fn a_bye_without_an_answer_is_repeated() {
    let mut world = World::new();
    let _ = world.answered();
    let _ = torn(&mut world);
    assert_eq!(told(&world.after(Duration::from_millis(600))), "BYE>alice BYE>bob");
    let _ = world.after(secs(60));
    assert!(world.call.is_over(), "it is given up");
}

#[test]
fn a_call_in_set_up_gets_500_and_cancel() {
    let mut world = World::new();
    let invite = world.invite();
    let to_bob = requests(&world.request(invite)).remove(0);
    let _ = world.response(answer(&to_bob, 180));
    assert_eq!(told(&torn(&mut world)), "500/INVITE>alice CANCEL>bob");
    assert_eq!(told(&world.response(answer(&to_bob, 487))), "ACK>bob");
    assert!(world.call.hints().is_empty());
    let _ = world.after(secs(60));
    assert!(world.call.is_over());
}

#[test]
fn an_answer_that_crosses_the_end_gets_ack_and_bye() {
    let mut world = World::new();
    let invite = world.invite();
    let to_bob = requests(&world.request(invite)).remove(0);
    let _ = world.response(answer(&to_bob, 180));
    let _ = torn(&mut world);
    assert_eq!(told(&world.response(ok(&to_bob))), "ACK>bob BYE>bob");
}

#[test]
fn a_leg_without_its_ack_waits_for_it_with_its_bye() {
    let mut world = World::new();
    let invite = world.invite();
    let to_bob = requests(&world.request(invite)).remove(0);
    let ok = responses(&world.response(ok(&to_bob))).remove(0);
    let sent = told(&torn(&mut world));
    assert!(!sent.contains("BYE>alice"), "{sent}");
    let ack = world.within(Method::Ack, &ok);
    let sent = told(&world.request(ack));
    assert!(sent.contains("BYE>alice"), "{sent}");
    assert!(world.call.hints().is_empty());
}

#[test]
fn requests_that_come_later_find_no_dialog() {
    let mut world = World::new();
    let (ok, _) = world.answered();
    let _ = torn(&mut world);
    let info = world.within(Method::Info, &ok);
    assert_eq!(told(&world.request(info)), "481/INFO>alice");
}
