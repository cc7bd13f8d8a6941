//! INVITE server transaction: every arrow of its diagram.

use super::super::Event;
use super::super::invite_server::{Input, InviteServer, State};
use super::*;

fn begin(reliability: Reliability) -> InviteServer {
    InviteServer::begin(server_key(Method::Invite), peer(), reliability)
}

fn step(machine: &mut InviteServer, ms: u64, input: Input) -> Outcome {
    machine.step(at(ms), input, &TIMERS)
}

fn respond(machine: &mut InviteServer, ms: u64, code: u16, text: &'static str) -> Outcome {
    step(machine, ms, Input::Respond { status: status(code), bytes: bytes(text) })
}

#[test]
fn an_invite_again_gets_the_latest_provisional() {
    for reliability in ANY {
        let mut machine = begin(reliability);
        assert_eq!(step(&mut machine, 0, Input::Request), Outcome::nothing());
        for text in ["100", "180", "183"] {
            let code = text.parse().expect("a number");
            let outcome = respond(&mut machine, 1, code, text);
            assert_eq!((sent(&outcome), outcome.changed), (Some(text), true));
            let again = step(&mut machine, 500, Input::Request);
            assert_eq!((sent(&again), again.changed, again.event), (Some(text), false, None));
        }
        assert_eq!(step(&mut machine, 600, Input::Ack), Outcome::nothing());
        assert_eq!(step(&mut machine, 600_000, Input::Due), Outcome::nothing());
        assert_eq!(machine.next_deadline(), None);
        assert!(machine.is_pending());
    }
}

#[test]
fn an_accepted_invite_is_absorbed_and_its_acks_pass() {
    for reliability in ANY {
        let mut machine = begin(reliability);
        let outcome = respond(&mut machine, 100, 200, "ok");
        assert_eq!((sent(&outcome), outcome.changed), (Some("ok"), true));
        assert_eq!(step(&mut machine, 200, Input::Request), Outcome::nothing());
        assert_eq!(sent(&respond(&mut machine, 600, 200, "ok")), Some("ok"));
        assert_eq!(respond(&mut machine, 600, 486, "busy"), Outcome::nothing());
        for _ in 0..2 {
            assert_eq!(step(&mut machine, 700, Input::Ack), Outcome::tell(Event::Ack));
        }
        assert_eq!(machine.next_deadline(), Some(at(32_100)));
        assert_eq!(step(&mut machine, 32_099, Input::Due), Outcome::nothing());
        assert_eq!(step(&mut machine, 32_100, Input::Due), Outcome::changed());
        assert!(machine.is_terminated());
    }
}

#[test]
fn timer_g_doubles_up_to_t2_until_timer_h() {
    let mut machine = begin(Reliability::Unreliable);
    assert_eq!(sent(&respond(&mut machine, 0, 486, "busy")), Some("busy"));
    for ms in [500, 1500, 3500, 7500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500] {
        assert_eq!(machine.next_deadline(), Some(at(ms)));
        assert_eq!(step(&mut machine, ms - 1, Input::Due), Outcome::nothing());
        assert_eq!(sent(&step(&mut machine, ms, Input::Due)), Some("busy"));
    }
    assert_eq!(machine.next_deadline(), Some(at(32_000)));
    let outcome = step(&mut machine, 32_000, Input::Due);
    assert_eq!(outcome, Outcome::tell(Event::NoAck).and_changed());
    assert!(machine.is_terminated());
}

#[test]
fn over_a_reliable_transport_only_timer_h_runs() {
    let mut machine = begin(Reliability::Reliable);
    let _ = respond(&mut machine, 0, 486, "busy");
    assert_eq!(machine.next_deadline(), Some(at(32_000)));
    assert_eq!(step(&mut machine, 31_999, Input::Due), Outcome::nothing());
    assert_eq!(step(&mut machine, 32_000, Input::Due).event, Some(Event::NoAck));
}

#[test]
fn a_completed_invite_answers_again_and_takes_one_answer() {
    let mut machine = begin(Reliability::Unreliable);
    let _ = respond(&mut machine, 0, 486, "busy");
    let again = step(&mut machine, 100, Input::Request);
    assert_eq!((sent(&again), again.changed), (Some("busy"), false));
    assert_eq!(respond(&mut machine, 100, 200, "ok"), Outcome::nothing());
    assert!(!machine.is_pending());
}

#[test]
fn an_ack_of_a_failure_is_absorbed_until_timer_i() {
    let mut machine = begin(Reliability::Unreliable);
    let _ = respond(&mut machine, 0, 486, "busy");
    assert_eq!(step(&mut machine, 1000, Input::Ack), Outcome::changed());
    assert_eq!(machine.state, State::Confirmed { end_at: at(6000) });
    assert_eq!(step(&mut machine, 1100, Input::Ack), Outcome::nothing());
    assert_eq!(step(&mut machine, 1100, Input::Request), Outcome::nothing());
    assert_eq!(respond(&mut machine, 1100, 500, "late"), Outcome::nothing());
    assert_eq!(machine.next_deadline(), Some(at(6000)));
    assert_eq!(step(&mut machine, 5999, Input::Due), Outcome::nothing());
    assert_eq!(step(&mut machine, 6000, Input::Due), Outcome::changed());
    assert!(machine.is_terminated());
}

#[test]
fn an_ack_over_a_reliable_transport_ends_it_at_once() {
    let mut machine = begin(Reliability::Reliable);
    let _ = respond(&mut machine, 0, 486, "busy");
    assert_eq!(step(&mut machine, 10, Input::Ack), Outcome::changed());
    assert!(machine.is_terminated());
}

#[test]
fn a_terminated_machine_does_nothing() {
    let mut machine = begin(Reliability::Unreliable);
    let _ = respond(&mut machine, 0, 486, "busy");
    let _ = step(&mut machine, 32_000, Input::Due);
    for input in [Input::Request, Input::Ack, Input::Due] {
        assert_eq!(step(&mut machine, 40_000, input), Outcome::nothing());
    }
    assert_eq!(respond(&mut machine, 40_000, 200, "ok"), Outcome::nothing());
    assert_eq!(machine.next_deadline(), None);
}
