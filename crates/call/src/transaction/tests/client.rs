//! Non-INVITE client transaction: every arrow of its diagram.

use super::super::Event;
use super::super::client::{Client, Input, State};
use super::*;

const BYE: &str = "BYE";

fn begin(reliability: Reliability) -> Client {
    let key = client_key(Method::Bye);
    let (machine, outcome) = Client::begin(key, packet(BYE), reliability, at(0), &TIMERS);
    assert_eq!((sent(&outcome), outcome.changed), (Some(BYE), true));
    machine
}

fn due(machine: &mut Client, ms: u64) -> Outcome {
    machine.step(at(ms), Input::Due, &TIMERS)
}

fn answer(machine: &mut Client, ms: u64, code: u16) -> Outcome {
    machine.step(at(ms), Input::Response(&response(code)), &TIMERS)
}

#[test]
fn timer_e_doubles_up_to_t2_until_timer_f() {
    let mut machine = begin(Reliability::Unreliable);
    for ms in [500, 1500, 3500, 7500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500] {
        assert_eq!(machine.next_deadline(), Some(at(ms)));
        assert_eq!(due(&mut machine, ms - 1), Outcome::nothing());
        let outcome = due(&mut machine, ms);
        assert_eq!((sent(&outcome), outcome.changed), (Some(BYE), true));
    }
    assert_eq!(machine.next_deadline(), Some(at(32_000)));
    assert_eq!(due(&mut machine, 32_000), Outcome::tell(Event::Timeout).and_changed());
    assert!(machine.is_terminated());
}

#[test]
fn in_proceeding_timer_e_is_t2_and_timer_f_goes_on() {
    let mut machine = begin(Reliability::Unreliable);
    assert_eq!(answer(&mut machine, 100, 100), Outcome::tell(Event::Response).and_changed());
    assert_eq!(machine.next_deadline(), Some(at(500)));
    assert_eq!(answer(&mut machine, 200, 100), Outcome::tell(Event::Response));
    for ms in [500, 4500, 8500, 12_500, 16_500, 20_500, 24_500, 28_500] {
        assert_eq!(machine.next_deadline(), Some(at(ms)));
        assert_eq!(due(&mut machine, ms - 1), Outcome::nothing());
        assert_eq!(sent(&due(&mut machine, ms)), Some(BYE));
    }
    assert_eq!(machine.next_deadline(), Some(at(32_000)));
    assert_eq!(due(&mut machine, 32_000), Outcome::tell(Event::Timeout).and_changed());
}

#[test]
fn over_a_reliable_transport_only_timer_f_runs() {
    for provisional in [false, true] {
        let mut machine = begin(Reliability::Reliable);
        if provisional {
            let _ = answer(&mut machine, 10, 100);
        }
        assert_eq!(machine.next_deadline(), Some(at(32_000)));
        assert_eq!(due(&mut machine, 31_999), Outcome::nothing());
        assert_eq!(due(&mut machine, 32_000).event, Some(Event::Timeout));
    }
}

#[test]
fn a_final_response_is_told_once_and_absorbed_until_timer_k() {
    for provisional in [false, true] {
        let mut machine = begin(Reliability::Unreliable);
        if provisional {
            let _ = answer(&mut machine, 10, 100);
        }
        assert!(machine.is_pending());
        assert_eq!(answer(&mut machine, 100, 481), Outcome::tell(Event::Response).and_changed());
        assert_eq!(machine.state, State::Completed { end_at: at(5100) });
        assert!(!machine.is_pending());
        assert_eq!(answer(&mut machine, 200, 481), Outcome::nothing());
        assert_eq!(machine.next_deadline(), Some(at(5100)));
        assert_eq!(due(&mut machine, 5099), Outcome::nothing());
        assert_eq!(due(&mut machine, 5100), Outcome::changed());
        assert!(machine.is_terminated());
    }
}

#[test]
fn a_final_response_over_a_reliable_transport_ends_it() {
    let mut machine = begin(Reliability::Reliable);
    assert_eq!(answer(&mut machine, 10, 200), Outcome::tell(Event::Response).and_changed());
    assert!(machine.is_terminated());
    assert_eq!(answer(&mut machine, 20, 200), Outcome::nothing());
    assert_eq!(due(&mut machine, 99_000), Outcome::nothing());
    assert_eq!(machine.next_deadline(), None);
}
