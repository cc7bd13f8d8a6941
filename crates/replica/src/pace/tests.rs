//! The rate holds over time, and idling saves up no more than a burst.

use super::*;

fn passed(pacer: &mut Pacer, now: Instant) -> u32 {
    (0..).take_while(|_| pacer.take(now)).fold(0, |count, _: u32| count + 1)
}

#[test]
fn a_second_lets_through_what_it_says() {
    let mut pacer = Pacer::new(1_000);
    let mut total = 0;
    let mut now = Instant(0);
    while now < Instant(0) + Duration::from_secs(1) {
        total += passed(&mut pacer, now);
        now = pacer.wake_at(now).max(now + Duration::from_millis(1));
    }
    assert!((990..=1_011).contains(&total), "{total}");
}

#[test]
fn an_idle_hour_saves_up_one_burst() {
    let mut pacer = Pacer::new(1_000);
    let later = Instant(0) + Duration::from_secs(3_600);
    assert_eq!(passed(&mut pacer, later), 11);
}
