//! INVITE client transaction: every arrow of its diagram.

use super::super::Event;
use super::super::invite_client::{Input, InviteClient, State};
use super::*;

fn begin(reliability: Reliability) -> InviteClient {
    let key = client_key(Method::Invite);
    let (machine, outcome) = InviteClient::begin(key, packet(INVITE), reliability, at(0), &TIMERS);
    assert_eq!(sent(&outcome), Some(INVITE));
    assert!(outcome.changed);
    machine
}

fn due(machine: &mut InviteClient, ms: u64) -> Outcome {
    machine.step(at(ms), Input::Due, &TIMERS)
}

fn answer(machine: &mut InviteClient, ms: u64, code: u16) -> Outcome {
    machine.step(at(ms), Input::Response(&response(code)), &TIMERS)
}

#[test]
fn timer_a_doubles_without_a_limit_until_timer_b() {
    let mut machine = begin(Reliability::Unreliable);
    for ms in [500, 1500, 3500, 7500, 15_500, 31_500] {
        assert_eq!(machine.next_deadline(), Some(at(ms)));
        assert_eq!(due(&mut machine, ms - 1), Outcome::nothing());
        assert_eq!(sent(&due(&mut machine, ms)), Some(INVITE));
        assert_eq!(due(&mut machine, ms), Outcome::nothing());
    }
    assert_eq!(machine.next_deadline(), Some(at(32_000)));
    assert_eq!(due(&mut machine, 32_000), Outcome::tell(Event::Timeout).and_changed());
    assert!(machine.is_terminated());
    assert_eq!(machine.next_deadline(), None);
}

#[test]
fn a_late_wake_up_sends_once() {
    let mut machine = begin(Reliability::Unreliable);
    assert_eq!(sent(&due(&mut machine, 10_000)), Some(INVITE));
    assert_eq!(machine.next_deadline(), Some(at(11_000)));
}

#[test]
fn nothing_is_sent_again_over_a_reliable_transport() {
    let mut machine = begin(Reliability::Reliable);
    assert_eq!(machine.next_deadline(), Some(at(32_000)));
    assert_eq!(due(&mut machine, 31_999), Outcome::nothing());
    assert_eq!(due(&mut machine, 32_000).event, Some(Event::Timeout));
}

#[test]
fn a_provisional_response_stops_timers_a_and_b() {
    for reliability in ANY {
        let mut machine = begin(reliability);
        assert_eq!(answer(&mut machine, 100, 100), Outcome::tell(Event::Response).and_changed());
        assert_eq!(machine.state, State::Proceeding);
        assert_eq!(machine.next_deadline(), None);
        assert_eq!(due(&mut machine, 99_000), Outcome::nothing());
        assert_eq!(answer(&mut machine, 99_000, 180), Outcome::tell(Event::Response));
        assert!(machine.is_pending());
    }
}

#[test]
fn every_2xx_reaches_the_call_until_timer_m() {
    for reliability in ANY {
        for provisional in [false, true] {
            let mut machine = begin(reliability);
            if provisional {
                let _ = answer(&mut machine, 10, 180);
            }
            let outcome = answer(&mut machine, 100, 200);
            assert_eq!(outcome, Outcome::tell(Event::Response).and_changed());
            assert_eq!(machine.state, State::Accepted { end_at: at(32_100) });
            assert_eq!(answer(&mut machine, 200, 200), Outcome::tell(Event::Response));
            assert_eq!(answer(&mut machine, 300, 180), Outcome::nothing());
            assert_eq!(answer(&mut machine, 300, 486), Outcome::nothing());
            assert_eq!(due(&mut machine, 32_099), Outcome::nothing());
            assert_eq!(machine.next_deadline(), Some(at(32_100)));
            assert_eq!(due(&mut machine, 32_100), Outcome::changed());
            assert!(machine.is_terminated());
        }
    }
}

#[test]
fn a_failure_is_acknowledged_and_told_once() {
    for provisional in [false, true] {
        let mut machine = begin(Reliability::Unreliable);
        if provisional {
            let _ = answer(&mut machine, 10, 180);
        }
        let outcome = answer(&mut machine, 100, 486);
        assert_eq!(outcome.event, Some(Event::Response));
        assert!(outcome.changed);
        let ack = sent(&outcome).map(str::to_owned);
        assert!(ack.as_ref().is_some_and(|ack| ack.starts_with("ACK sip:bob@192.0.2.2 ")));
        let again = answer(&mut machine, 600, 486);
        assert_eq!(sent(&again).map(str::to_owned), ack);
        assert_eq!((again.event, again.changed), (None, false));
        assert_eq!(answer(&mut machine, 700, 180), Outcome::nothing());
        assert_eq!(answer(&mut machine, 700, 200), Outcome::nothing());
        assert_eq!(machine.next_deadline(), Some(at(32_100)));
        assert_eq!(due(&mut machine, 32_099), Outcome::nothing());
        assert_eq!(due(&mut machine, 32_100), Outcome::changed());
        assert!(machine.is_terminated());
    }
}

#[test]
fn a_failure_over_a_reliable_transport_ends_at_once() {
    let mut machine = begin(Reliability::Reliable);
    let outcome = answer(&mut machine, 100, 503);
    assert!(sent(&outcome).is_some_and(|ack| ack.starts_with("ACK ")));
    assert_eq!(outcome.event, Some(Event::Response));
    assert!(machine.is_terminated());
}

#[test]
fn a_terminated_machine_does_nothing() {
    let mut machine = begin(Reliability::Unreliable);
    let _ = due(&mut machine, 32_000);
    assert_eq!(answer(&mut machine, 33_000, 200), Outcome::nothing());
    assert_eq!(due(&mut machine, 99_000), Outcome::nothing());
}

#[test]
fn only_a_ringing_invite_may_be_cancelled() {
    let mut machine = begin(Reliability::Unreliable);
    assert!(!machine.may_be_cancelled() && machine.is_pending());
    let _ = answer(&mut machine, 10, 180);
    assert!(machine.may_be_cancelled() && machine.is_pending());
    let _ = answer(&mut machine, 20, 200);
    assert!(!machine.may_be_cancelled() && !machine.is_pending());
}
