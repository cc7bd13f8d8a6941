//! The repetition of a 2xx until its ACK.

use super::super::{Event, Unacknowledged};
use super::*;

#[test]
fn a_2xx_is_repeated_up_to_t2_and_then_given_up() {
    let mut waiting = Unacknowledged::begin(packet("ok"), at(0), &TIMERS);
    for ms in [500, 1500, 3500, 7500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500] {
        assert_eq!(waiting.next_deadline(), Some(at(ms)));
        assert_eq!(waiting.step(at(ms - 1), &TIMERS), Outcome::nothing());
        let outcome = waiting.step(at(ms), &TIMERS);
        assert_eq!((sent(&outcome), outcome.changed), (Some("ok"), true));
    }
    assert_eq!(waiting.next_deadline(), Some(at(32_000)));
    assert_eq!(waiting.step(at(32_000), &TIMERS), Outcome::tell(Event::NoAck).and_changed());
    assert_eq!(waiting.next_deadline(), None);
    assert_eq!(waiting.step(at(33_000), &TIMERS), Outcome::nothing());
}
