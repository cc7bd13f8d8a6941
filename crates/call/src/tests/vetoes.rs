//! What speaks against copying a call elsewhere, and what makes nothing dirty.

use servlet::Hint;
use sip_message::Method;

use super::*;
use crate::Veto;

/// A request of alice's within the dialog, passed on and answered.
fn exchange(world: &mut World, method: Method, answered: &Response) -> Changed {
    let request = world.within(method, answered);
    let to_bob = requests(&world.request(request)).remove(0);
    let changed = world.changed;
    assert_eq!(world.call.veto(), Some(Veto::Transaction));
    assert_eq!(world.response(answer(&to_bob, 200)).len(), 1);
    changed.max(world.changed)
}

#[test]
fn a_call_names_what_it_waits_for() {
    let mut world = World::new();
    let invite = world.invite();
    let to_bob = requests(&world.request(invite)).remove(0);
    assert_eq!(world.call.veto(), Some(Veto::SetUp));
    let _ = world.response(answer(&to_bob, 180));
    assert_eq!(world.call.veto(), Some(Veto::SetUp));
    let answered = responses(&world.response(ok(&to_bob))).remove(0);
    assert_eq!(world.call.veto(), Some(Veto::NoAck));
    let ack = world.within(Method::Ack, &answered);
    let _ = world.request(ack);
    assert_eq!(world.call.veto(), None);

    let mut again = world.within(Method::Invite, &answered);
    again.headers.push(HeaderName::ContentType, "application/sdp");
    again.body = Bytes::from_static(OFFER.as_bytes());
    let to_bob = requests(&world.request(again)).remove(0);
    assert_eq!(world.call.veto(), Some(Veto::ReInvite));
    let mut accepted = ok(&to_bob);
    accepted
        .headers
        .set(HeaderName::To, to_bob.headers.get(&HeaderName::To).expect("a To").clone());
    let _ = world.response(accepted);
    assert_eq!(world.call.veto(), Some(Veto::NoAck));
    let ack = world.within(Method::Ack, &answered);
    let _ = world.request(ack);
    assert_eq!(world.call.veto(), None);
}

#[test]
fn a_leg_whose_bye_waits_is_named() {
    let mut world = World::new();
    let invite = world.invite();
    let to_bob = requests(&world.request(invite)).remove(0);
    let _ = world.response(ok(&to_bob));
    let bye = world.bobs(Method::Bye, 2, &to_bob);
    let _ = world.by_bob(bye);
    assert_eq!(world.call.veto(), Some(Veto::Leaving));
    assert!(!world.call.at_boundary());
}

#[test]
fn requests_close_upon_each_other_veto_until_there_is_a_gap() {
    let mut world = World::new();
    let (answered, _) = world.answered();
    for expected in [None, None, Some(Veto::CloseRequests), Some(Veto::CloseRequests)] {
        let _ = world.after(Duration::from_millis(900));
        let _ = exchange(&mut world, Method::Info, &answered);
        assert_eq!(world.call.veto(), expected);
    }
    assert!(world.call.at_boundary(), "another site could go on with it");
    assert_eq!(world.call.hints(), [(0, Hint::Steady)]);
    world.call.crossing.application_mut(0).hint = Some(Hint::Steady);
    assert_eq!(world.call.veto(), None, "the application knows better");
    world.call.crossing.application_mut(0).hint = None;
    let _ = world.after(Duration::from_millis(1_100));
    let _ = exchange(&mut world, Method::Info, &answered);
    assert_eq!(world.call.veto(), None);
}

#[test]
fn a_busy_application_vetoes_what_is_at_a_boundary() {
    let mut world = World::new();
    let _ = world.answered();
    world.call.crossing.application_mut(0).hint = Some(Hint::Busy);
    assert_eq!(world.call.veto(), Some(Veto::Application));
    assert!(world.call.at_boundary());
    let summary = world.call.summary(world.now);
    assert_eq!(summary.veto, Some(Veto::Application));
}

#[test]
fn options_make_nothing_dirty_and_activation_steps_over_what_was_not_told() {
    let mut world = World::new();
    let (answered, _) = world.answered();
    let mut told = world.call.clone();
    let mut dirty = 0;
    for _ in 0..200 {
        let _ = world.after(secs(3));
        match exchange(&mut world, Method::Options, &answered) {
            Changed::Crossing => {
                dirty += 1;
                told = world.call.clone();
            }
            Changed::Local | Changed::Nothing => {}
        }
        let mut there = told.clone();
        let there_setting = Setting { here: SiteId(2), ..world.setting.clone() };
        let _ = there.step(world.now, Input::Activate, &there_setting);
        let used = |call: &Call| {
            let legs = call.crossing.legs.iter();
            legs.map(|leg| leg.dialogs[0].local_cseq).collect::<Vec<_>>()
        };
        let (here, there_used) = (used(&world.call), used(&there));
        let is_over = here.iter().zip(&there_used).all(|(here, there)| there > here);
        assert!(is_over, "{here:?} {there_used:?}");
        assert!(there.crossing.next_ordinal > world.call.crossing.next_ordinal);
    }
    assert!((4..=12).contains(&dirty), "{dirty} of 200");
}
