//! Deadlines, and calls handed because of them.

use std::collections::BTreeSet;

use super::*;

fn due_in(after: u64) -> impl Fn(&mut Record) {
    move |record| record.header.deadline = Some(ms(after))
}

#[test]
fn a_deadline_hands_the_call_once_and_on_time() {
    let mut bench = Bench::new();
    bench.turn(key(1), BUSY, due_in(500));
    assert!(bench.pass(ms(499)).is_empty());
    let said = bench.pass(ms(1));
    let (engine, _, token, cause, record, _) = grants(&said)[0].clone();
    assert_eq!((engine, cause), (A, Cause::Due));
    assert_eq!(record.as_ref().expect("held").header.age, ms(500));
    let next = bench.put_next(key(1), token, record, BUSY, due_in(1_000));
    bench.unlock(A, key(1), token);
    assert!(bench.pass(ms(999)).is_empty());
    assert_eq!(grants(&bench.pass(ms(1)))[0].4.as_ref().expect("held").header.stamp, next);
}

#[test]
fn a_deadline_that_passes_under_a_lock_is_handed_after_it_if_still_due() {
    let mut bench = Bench::new();
    bench.turn(key(1), BUSY, due_in(500));
    let (token, _) = bench.lock(A, key(1));
    assert!(bench.pass(ms(2_000)).is_empty());
    bench.unlock(A, key(1), token);
    assert_eq!(grants(&bench.said)[0].3, Cause::Due);
    let (_, _, token, _, record, _) = grants(&bench.said)[0].clone();
    // The holder settled it: nothing more is due.
    bench.put_next(key(1), token, record, BUSY, |record| record.header.deadline = None);
    bench.unlock(A, key(1), token);
    assert!(bench.pass(ms(60_000)).is_empty());
}

#[test]
fn a_due_call_whose_engine_dies_goes_to_another() {
    let mut bench = Bench::new();
    bench.turn(key(1), BUSY, due_in(500));
    bench.input(Input::EngineUp { engine: B });
    bench.pass(ms(500));
    let holder = bench.replica.get(bench.now, key(1)).and_then(|s| s.summary.locked_by);
    let holder = holder.expect("handed");
    bench.input(Input::EngineDown { engine: holder });
    let granted = grants(&bench.said);
    assert_eq!(granted[0].3, Cause::Due);
    assert_ne!(granted[0].0, holder);
}

#[test]
fn a_due_call_waits_for_an_engine() {
    let mut bench = Bench::new();
    bench.turn(key(1), BUSY, due_in(500));
    bench.input(Input::EngineDown { engine: A });
    assert!(bench.pass(ms(10_000)).is_empty());
    bench.input(Input::EngineUp { engine: B });
    assert_eq!(grants(&bench.said)[0].3, Cause::Due);
}

#[test]
fn a_due_call_that_comes_back_as_it_went_is_not_handed_at_once() {
    let mut bench = Bench::new();
    bench.turn(key(1), BUSY, due_in(500));
    let said = bench.pass(ms(500));
    bench.unlock(A, key(1), grants(&said)[0].2);
    assert!(bench.said.is_empty());
    assert!(bench.pass(ms(999)).is_empty());
    assert_eq!(grants(&bench.pass(ms(1))).len(), 1);
}

#[test]
fn the_age_that_a_record_comes_with_counts() {
    let mut bench = Bench::new();
    let mut record = from_there(1, 1);
    record.header.age = ms(30_000);
    record.header.deadline = Some(ms(40_000));
    record.header.crossing_deadline = record.header.deadline;
    bench.store_dormant(record);
    let (token, held) = bench.lock(A, key(1));
    let held = held.expect("dormant");
    assert_eq!(held.header.age, ms(30_000));
    bench.activate(key(1), token, held, BUSY);
    bench.unlock(A, key(1), token);
    // The activation put is a put of its own: its deadline counts from there.
    assert!(bench.pass(ms(39_999)).is_empty());
    assert_eq!(grants(&bench.pass(ms(1)))[0].3, Cause::Due);
}

/// Calls of the other site sleep here, each with a deadline in a second.
fn sleeping(bench: &mut Bench, calls: u8) {
    for number in 1..=calls {
        let mut record = from_there(number, 1);
        record.header.deadline = Some(ms(1_000));
        record.header.crossing_deadline = Some(ms(1_000));
        bench.store_dormant(record);
    }
}

/// A message wakes a call.
fn wake_by_message(bench: &mut Bench, number: u8) {
    let (token, held) = bench.lock(A, key(number));
    bench.put_next(key(number), token, held, BUSY, |record| {
        record.header.stamp.epoch = record.header.stamp.epoch.woken_at(HERE);
        (record.header.deadline, record.header.crossing_deadline) = (None, None);
    });
    bench.unlock(A, key(number), token);
}

#[test]
fn a_dormant_call_fires_no_timer_while_its_home_answers() {
    let mut bench = Bench::new();
    bench.alive(&[THERE]);
    sleeping(&mut bench, 2);
    assert!(bench.pass(ms(600_000)).is_empty());
    bench.alive(&[]);
    wake_by_message(&mut bench, 2);
    let said = bench.pass(ms(60_000));
    assert_eq!(grants(&said)[0].3, Cause::Activate, "a home that is given up keeps no deadline");
}

/// The home is silent: it may be cut off and go on serving. Woken here, the call would live twice.
#[test]
fn a_dormant_call_of_a_silent_home_fires_no_timer_however_long() {
    let mut bench = Bench::new();
    bench.alive(&[THERE]);
    sleeping(&mut bench, 1);
    bench.alive(&[]);
    assert!(bench.pass(ms(24 * 3_600_000)).is_empty());
}

#[test]
fn a_silent_home_is_given_up_by_one_call_in_ten_and_not_by_a_stray() {
    let mut bench = Bench::new();
    bench.alive(&[THERE]);
    sleeping(&mut bench, 20);
    bench.alive(&[]);
    wake_by_message(&mut bench, 1);
    assert!(bench.pass(ms(600_000)).is_empty());
    wake_by_message(&mut bench, 2);
    let said = bench.pass(ms(60_000));
    let woken: BTreeSet<CallKey> = grants(&said).into_iter().map(|grant| grant.1).collect();
    assert_eq!(woken.len(), 18);
}

/// What woke while the site was silent before says nothing of this time.
#[test]
fn a_home_that_answered_again_is_given_up_anew() {
    let mut bench = Bench::new();
    sleeping(&mut bench, 3);
    bench.alive(&[]);
    wake_by_message(&mut bench, 1);
    bench.alive(&[THERE]);
    bench.alive(&[]);
    assert!(bench.pass(ms(600_000)).is_empty());
}

#[test]
fn a_dormant_call_of_a_home_given_up_wakes_only_after_its_last_deadline_and_the_bound() {
    let mut bench = Bench::new();
    sleeping(&mut bench, 2);
    wake_by_message(&mut bench, 2);
    assert!(bench.pass(ms(60_999)).is_empty());
    assert_eq!(grants(&bench.pass(ms(1))).len(), 1);
}

#[test]
fn calls_handed_at_a_time_are_bounded() {
    let mut bench = Bench::with(|config| config.limits.handed_max = 3);
    for number in 0..10 {
        bench.turn(key(number), BUSY, due_in(500));
    }
    let mut granted = grants(&bench.pass(ms(500)));
    assert_eq!(granted.len(), 3);
    let mut seen = 0;
    while let Some((_, key, token, _, record, _)) = granted.pop() {
        seen += 1;
        bench.put_next(key, token, record, BUSY, |record| record.header.deadline = None);
        bench.unlock(A, key, token);
        granted.extend(grants(&bench.said));
    }
    assert_eq!(seen, 10);
    assert_eq!(bench.replica.stats(bench.now).handed, 0);
}

#[test]
fn engines_take_turns() {
    let mut bench = Bench::new();
    bench.input(Input::EngineUp { engine: B });
    for number in 0..4 {
        bench.turn(key(number), BUSY, due_in(500));
    }
    let granted = grants(&bench.pass(ms(500)));
    let to_a = granted.iter().filter(|grant| grant.0 == A).count();
    assert_eq!((granted.len(), to_a), (4, 2));
}
