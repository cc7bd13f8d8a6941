//! The pace that is kept, and the times that are told to who is sent away.

use std::time::Duration;

use vocab::Instant;

use super::{AWAY_MAX, Registrations};

const LEAST: Duration = Duration::from_secs(5);

fn at(ms: u64) -> Instant {
    Instant(1_000_000_000_000) + Duration::from_millis(ms)
}

#[test]
fn a_storm_is_taken_at_the_pace_and_a_burst_of_it_at_once() {
    let mut pace = Registrations::new(100);
    let at_once = (0..1_000).filter(|_| pace.come(at(0), LEAST).is_ok()).count();
    assert_eq!(at_once, 25);
    let in_ten_seconds = (1..=10_000).filter(|ms| pace.come(at(*ms), LEAST).is_ok()).count();
    assert_eq!(in_ten_seconds, 1_000);
    // A rest earns one burst, however long it was.
    let after_a_rest = (0..1_000).filter(|_| pace.come(at(1_000_000), LEAST).is_ok()).count();
    assert_eq!(after_a_rest, 25);
}

#[test]
fn one_a_second_is_one_a_second() {
    let mut pace = Registrations::new(1);
    let taken: Vec<u64> = (0..4_000).filter(|ms| pace.come(at(*ms), LEAST).is_ok()).collect();
    assert_eq!(taken, [0, 1_000, 2_000, 3_000]);
}

/// What the last of `count` that come at once is told.
fn told(pace: &mut Registrations, now: Instant, count: usize) -> Option<Duration> {
    (0..count).filter_map(|_| pace.come(now, LEAST).err()).last()
}

#[test]
fn who_is_sent_away_is_sent_further_the_more_have_come() {
    let mut pace = Registrations::new(10);
    assert_eq!(told(&mut pace, at(0), 2), None, "a burst");
    let first = told(&mut pace, at(0), 1);
    assert_eq!(first, Some(Duration::from_millis(10_300)));
    assert_eq!(told(&mut pace, at(0), 97), Some(Duration::from_secs(20)), "a hundred take 10 s");
    // What is taken meanwhile has its share of the pace; the rest of it is for who comes back.
    assert_eq!(told(&mut pace, at(5_000), 30), Some(Duration::from_secs(18)));
    assert_eq!(told(&mut pace, at(60_000), 3), first, "after a rest all is as before");
}

#[test]
fn nobody_is_sent_away_for_too_long() {
    let mut pace = Registrations::new(1);
    for _ in 0..10_000 {
        assert!(pace.come(at(0), LEAST).err().is_none_or(|away| away <= AWAY_MAX));
    }
    assert_eq!(told(&mut pace, at(0), 1), Some(AWAY_MAX));
    assert_eq!(told(&mut pace, at(700_000), 2), Some(Duration::from_secs(12)));
}
