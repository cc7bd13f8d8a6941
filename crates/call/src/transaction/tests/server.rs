//! Non-INVITE server transaction: every arrow of its diagram.

use super::super::server::{Input, Server, State};
use super::*;

fn begin(reliability: Reliability) -> Server {
    let key = server_key(Method::Options);
    Server::begin(key, peer(), reliability, bytes("trying"), at(0), &TIMERS)
}

fn step(machine: &mut Server, ms: u64, input: Input) -> Outcome {
    machine.step(at(ms), input, &TIMERS)
}

fn respond(machine: &mut Server, ms: u64, code: u16) -> Outcome {
    step(machine, ms, Input::Respond { status: status(code), bytes: bytes("answer") })
}

#[test]
fn trying_waits_for_its_time_and_then_answers_repetitions() {
    for reliability in ANY {
        let mut machine = begin(reliability);
        assert_eq!(step(&mut machine, 500, Input::Request), Outcome::nothing());
        assert_eq!(machine.next_deadline(), Some(at(3500)));
        assert_eq!(step(&mut machine, 3499, Input::Due), Outcome::nothing());
        let outcome = step(&mut machine, 3500, Input::Due);
        assert_eq!((sent(&outcome), outcome.changed), (Some("trying"), true));
        let again = step(&mut machine, 7500, Input::Request);
        assert_eq!((sent(&again), again.changed), (Some("trying"), false));
        assert_eq!(machine.next_deadline(), Some(at(32_000)));
        assert_eq!(step(&mut machine, 31_999, Input::Due), Outcome::nothing());
        assert_eq!(step(&mut machine, 32_000, Input::Due), Outcome::changed());
        assert!(machine.is_terminated());
    }
}

#[test]
fn no_provisional_response_of_the_call_is_sent() {
    for code in [100, 180, 183] {
        let mut machine = begin(Reliability::Unreliable);
        assert_eq!(respond(&mut machine, 10, code), Outcome::nothing());
        let _ = step(&mut machine, 3500, Input::Due);
        assert_eq!(respond(&mut machine, 3600, code), Outcome::nothing());
    }
}

#[test]
fn no_408_is_sent() {
    for trying in [false, true] {
        let mut machine = begin(Reliability::Unreliable);
        if trying {
            let _ = step(&mut machine, 3500, Input::Due);
        }
        assert_eq!(respond(&mut machine, 31_000, 408), Outcome::changed());
        assert!(machine.is_terminated());
    }
}

#[test]
fn an_answer_after_the_client_gave_up_is_not_sent() {
    for trying in [false, true] {
        let mut machine = begin(Reliability::Unreliable);
        if trying {
            let _ = step(&mut machine, 3500, Input::Due);
        }
        assert_eq!(respond(&mut machine, 32_000, 200), Outcome::changed());
        assert!(machine.is_terminated());
    }
    let mut machine = begin(Reliability::Unreliable);
    assert_eq!(step(&mut machine, 40_000, Input::Due), Outcome::changed());
    assert!(machine.is_terminated());
}

#[test]
fn a_final_answer_is_repeated_until_timer_j() {
    for trying in [false, true] {
        let mut machine = begin(Reliability::Unreliable);
        if trying {
            let _ = step(&mut machine, 3500, Input::Due);
        }
        assert!(machine.is_pending());
        let outcome = respond(&mut machine, 4000, 200);
        assert_eq!((sent(&outcome), outcome.changed), (Some("answer"), true));
        assert!(!machine.is_pending());
        let again = step(&mut machine, 5000, Input::Request);
        assert_eq!((sent(&again), again.changed), (Some("answer"), false));
        assert_eq!(respond(&mut machine, 5000, 500), Outcome::nothing());
        assert_eq!(machine.state, State::Completed { last: bytes("answer"), end_at: at(36_000) });
        assert_eq!(machine.next_deadline(), Some(at(36_000)));
        assert_eq!(step(&mut machine, 35_999, Input::Due), Outcome::nothing());
        assert_eq!(step(&mut machine, 36_000, Input::Due), Outcome::changed());
        assert!(machine.is_terminated());
    }
}

#[test]
fn a_final_answer_over_a_reliable_transport_ends_it() {
    let mut machine = begin(Reliability::Reliable);
    assert_eq!(sent(&respond(&mut machine, 10, 200)), Some("answer"));
    assert!(machine.is_terminated());
    assert_eq!(step(&mut machine, 20, Input::Request), Outcome::nothing());
    assert_eq!(respond(&mut machine, 20, 200), Outcome::nothing());
    assert_eq!(step(&mut machine, 90_000, Input::Due), Outcome::nothing());
    assert_eq!(machine.next_deadline(), None);
}
