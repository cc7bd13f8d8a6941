//! Deadlines: each fires once, and a call without any work to do asks for nothing soon.

use super::*;

#[test]
fn a_due_without_a_deadline_changes_nothing() {
    let mut world = World::new();
    let _ = world.answered();
    assert_eq!(told(&world.input(Input::Due)), "");
    assert_eq!(world.changed, Changed::Nothing);
}

#[test]
fn an_answered_call_waits_for_its_session_timers() {
    let mut world = World::new();
    let _ = world.answered();
    let _ = world.after(secs(40));
    let next = world.call.next_deadline().expect("session timers run");
    assert_eq!(next.since(world.now), secs(900 - 40));
}

#[test]
fn a_summary_names_legs_and_deadlines() {
    let mut world = World::new();
    let _ = world.answered();
    let summary = world.call.summary(world.now + secs(5));
    assert_eq!(summary.legs.len(), 2);
    assert_eq!(summary.legs[0].side, "caller");
    assert_eq!(summary.legs[1].remote_target, "sip:bob@192.0.2.2:5060");
    assert_eq!(summary.legs[1].local_cseq, 1);
    assert_eq!(summary.legs[0].age_s, 5);
    assert_eq!(summary.veto, None);
    assert!(!summary.deadlines.is_empty());
}
