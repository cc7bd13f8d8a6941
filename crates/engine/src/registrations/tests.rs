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
    let at_once = (0..1_000).filter(|_| pace.take(at(0))).count();
    assert_eq!(at_once, 25);
    let in_ten_seconds = (1..=10_000).filter(|ms| pace.take(at(*ms))).count();
    assert_eq!(in_ten_seconds, 1_000);
    // A rest earns one burst, however long it was.
    let after_a_rest = (0..1_000).filter(|_| pace.take(at(1_000_000))).count();
    assert_eq!(after_a_rest, 25);
}

#[test]
fn one_a_second_is_one_a_second() {
    let mut pace = Registrations::new(1);
    let taken: Vec<u64> = (0..4_000).filter(|ms| pace.take(at(*ms))).collect();
    assert_eq!(taken, [0, 1_000, 2_000, 3_000]);
}

#[test]
fn who_is_sent_away_is_sent_further_the_more_are_owed() {
    let mut pace = Registrations::new(10);
    let first = pace.send_away(at(0), LEAST);
    assert_eq!(first, Duration::from_millis(10_100));
    let last = (0..99).map(|_| pace.send_away(at(0), LEAST)).last();
    assert_eq!(last, Some(Duration::from_secs(20)), "a hundred take ten seconds more");
    // What is owed is paid at the pace.
    assert_eq!(pace.send_away(at(9_900), LEAST), Duration::from_millis(10_200));
    assert_eq!(pace.send_away(at(60_000), LEAST), first);
}

#[test]
fn nobody_is_sent_away_for_too_long() {
    let mut pace = Registrations::new(1);
    for _ in 0..10_000 {
        assert!(pace.send_away(at(0), LEAST) <= AWAY_MAX);
    }
    assert_eq!(pace.send_away(at(0), LEAST), AWAY_MAX);
    assert_eq!(pace.send_away(at(700_000), LEAST), Duration::from_secs(11));
}
