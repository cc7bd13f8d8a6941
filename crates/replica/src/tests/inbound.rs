//! Records and removals from other sites.

use super::*;
use crate::stats::InboundStats;

#[test]
fn a_record_from_another_site_sleeps() {
    let mut bench = Bench::new();
    let mut record = from_there(1, 1);
    record.header.deadline = Some(ms(1_000));
    assert_eq!(bench.store_dormant(record.clone()), DormantOutcome::Stored);
    assert_eq!(bench.store_dormant(record.clone()), DormantOutcome::Stored, "a repetition");
    assert!(bench.pass(ms(3_600_000)).is_empty(), "no crossing deadline, no timer, no batch");
    let replies = bench.ask(A, key(1), false);
    let [Reply::Granted { dormant: true, resume: false, record: Some(held), .. }] =
        replies.as_slice()
    else {
        panic!("{replies:?}");
    };
    assert_eq!(held.crossing, record.crossing);
    assert_eq!(bench.replica.stats(bench.now).dormant[&THERE], 1);
}

#[test]
fn only_a_newer_stamp_replaces() {
    let mut bench = Bench::new();
    assert_eq!(bench.store_dormant(from_there(1, 5)), DormantOutcome::Stored);
    assert_eq!(bench.store_dormant(from_there(1, 4)), DormantOutcome::Stale);
    assert_eq!(bench.store_dormant(from_there(1, 6)), DormantOutcome::Stored);
    assert_eq!(bench.held(key(1)).expect("held").version, Version(6));
}

#[test]
fn what_became_of_them_is_counted_by_home() {
    let mut bench = Bench::new();
    bench.store_dormant(from_there(1, 5));
    bench.store_dormant(from_there(1, 4));
    bench.store_dormant(record(key(2), stamp(65_536, THIRD, 1), THIRD));
    bench.store_tombstone(key(2), stamp(65_536, THIRD, 2));
    let inbound = bench.replica.stats(bench.now).inbound;
    let of = |stored, stale| InboundStats { stored, stale, ..InboundStats::default() };
    assert_eq!(inbound, [(THERE, of(1, 1)), (THIRD, of(2, 0))].into());
}

#[test]
fn a_tombstone_forbids_what_is_older_and_lets_through_what_is_newer() {
    let mut bench = Bench::new();
    bench.store_dormant(from_there(1, 5));
    assert_eq!(bench.store_tombstone(key(1), stamp(65_536, THERE, 6)), DormantOutcome::Stored);
    assert_eq!(bench.held(key(1)), None);
    for version in [4, 5, 6] {
        assert_eq!(bench.store_dormant(from_there(1, version)), DormantOutcome::Stale);
    }
    let next_home = record(key(1), stamp(65_537, THIRD, 1), THERE);
    assert_eq!(bench.store_dormant(next_home), DormantOutcome::Stored);
    // A removal that comes before its record.
    bench.store_tombstone(key(2), stamp(65_536, THERE, 6));
    assert_eq!(bench.store_dormant(from_there(2, 5)), DormantOutcome::Stale);
    // A removal that is older than what is held.
    bench.store_dormant(from_there(3, 9));
    assert_eq!(bench.store_tombstone(key(3), stamp(65_536, THERE, 8)), DormantOutcome::Stale);
    assert!(bench.held(key(3)).is_some());
}

#[test]
fn a_lower_epoch_is_told_to_yield() {
    let mut bench = Bench::new();
    bench.store_dormant(from_there(1, 1));
    let (token, old) = bench.lock(A, key(1));
    let active = bench.activate(key(1), token, old.expect("dormant"), BOUNDARY);
    bench.unlock(A, key(1), token);
    assert_eq!(active.epoch, Epoch { n: 65_538, site: HERE });
    let held = active.epoch;
    assert_eq!(bench.store_dormant(from_there(1, 9)), DormantOutcome::Superseded { held });
    assert_eq!(bench.replica.stats(bench.now).counts.activated, 1);
}

#[test]
fn a_higher_epoch_makes_an_active_call_yield_even_under_its_lock() {
    let mut bench = Bench::new();
    bench.alive(&[THERE]);
    let ours = bench.turn(key(1), BOUNDARY, |record| {
        record.header.deadline = Some(ms(500));
    });
    let (token, _) = bench.lock(A, key(1));
    let theirs = record(key(1), stamp(ours.epoch.n + 1, THERE, 1), HERE);
    assert_eq!(bench.store_dormant(theirs.clone()), DormantOutcome::Stored);
    let late = record(key(1), Stamp { token, version: Version(2), ..ours }, HERE);
    let command = Command::Put { view: VIEW, record: late, base: Some(ours), flags: UNRELEASED };
    let held = Some(theirs.header.stamp);
    assert_eq!(refusal(&bench.command(A, command)), Refusal::NotTheBase { held });
    bench.unlock(A, key(1), token);
    assert!(bench.pass(ms(60_000)).is_empty(), "asleep: no timer, no crossing");
    let stats = bench.replica.stats(bench.now);
    assert_eq!((stats.active, stats.counts.yielded), (0, 1));
}

#[test]
fn at_the_same_number_the_lower_site_wins() {
    let mut bench = Bench::new();
    bench.store_dormant(record(key(1), stamp(70_000, THIRD, 9), THERE));
    let theirs = record(key(1), stamp(70_000, THERE, 1), THERE);
    assert_eq!(bench.store_dormant(theirs), DormantOutcome::Stored);
    let held = Epoch { n: 70_000, site: THERE };
    let again = record(key(1), stamp(70_000, THIRD, 10), THERE);
    assert_eq!(bench.store_dormant(again), DormantOutcome::Superseded { held });
}

#[test]
fn an_active_call_takes_no_version_of_its_own_epoch_from_outside() {
    let mut bench = Bench::new();
    let ours = bench.turn(key(1), BOUNDARY, |_| {});
    let token = LockToken { view: ViewNumber(99), counter: 1 };
    let echo = record(key(1), Stamp { token, version: Version(99), ..ours }, HERE);
    assert_eq!(bench.store_dormant(echo.clone()), DormantOutcome::Stale);
    let end = bench.store_tombstone(key(1), echo.header.stamp);
    assert_eq!(end, DormantOutcome::Stale);
    assert_eq!(bench.held(key(1)), Some(ours));
}

#[test]
fn a_call_that_its_old_home_had_ended_ends_here_without_effects() {
    for is_locked in [false, true] {
        let mut bench = Bench::new();
        bench.alive(&[THERE]);
        bench.store_dormant(from_there(1, 1));
        let (token, old) = bench.lock(A, key(1));
        let active = bench.activate(key(1), token, old.expect("dormant"), UNRELEASED);
        if !is_locked {
            bench.unlock(A, key(1), token);
        }
        let ended = stamp(65_536, THERE, 2);
        assert_eq!(bench.store_tombstone(key(1), ended), DormantOutcome::Stored);
        assert_eq!(bench.held(key(1)).is_some(), is_locked);
        bench.unlock(A, key(1), token);
        assert_eq!(bench.held(key(1)), None);
        let said = bench.pass(ms(1_000));
        assert!(grants(&said).is_empty());
        let out = batches(&said);
        let [Entry::Tombstone(ours)] = out[0].2.as_slice() else { panic!("{out:?}") };
        assert!(ours.stamp > active, "our removal crosses, above every put of ours");
        assert_eq!(bench.replica.stats(bench.now).counts.ended_by_old_home, 1);
    }
}

#[test]
fn a_removal_of_an_epoch_that_was_not_the_one_before_is_told_to_yield() {
    let mut bench = Bench::new();
    bench.store_dormant(from_there(1, 1));
    let (token, old) = bench.lock(A, key(1));
    let active = bench.activate(key(1), token, old.expect("dormant"), BOUNDARY);
    let other = bench.store_tombstone(key(1), stamp(65_535, THERE, 2));
    assert_eq!(other, DormantOutcome::Superseded { held: active.epoch });
}

#[test]
fn a_record_that_comes_while_a_call_begins_makes_the_beginner_step_again() {
    let mut bench = Bench::new();
    let (token, _) = bench.lock(A, key(1));
    bench.store_dormant(from_there(1, 1));
    let ours = Stamp { epoch: Epoch::of_start(HERE, 1), token, version: Version(1) };
    let command = Command::Put {
        view: VIEW,
        record: record(key(1), ours, HERE),
        base: None,
        flags: BOUNDARY,
    };
    let held = Some(from_there(1, 1).header.stamp);
    assert_eq!(refusal(&bench.command(A, command)), Refusal::NotTheBase { held });
    // The same ask again brings the newest copy, under the same lock.
    let ask = Command::LockAndGet { view: VIEW, key: key(1), turn: 1, begins: true, cached: None };
    bench.command(A, ask);
    let granted = grants(&bench.said);
    assert_eq!(granted[0].2, token);
    assert_eq!(granted[0].4.as_ref().map(|record| record.header.stamp), held);
}

#[test]
fn a_removal_under_a_lock_leaves_the_lock_empty() {
    let mut bench = Bench::new();
    bench.store_dormant(from_there(1, 1));
    let (token, old) = bench.lock(A, key(1));
    bench.ask(A, key(1), false);
    bench.store_tombstone(key(1), stamp(65_536, THERE, 2));
    let old = old.expect("dormant");
    let base = Some(old.header.stamp);
    let next = Stamp { epoch: Epoch { n: 65_537, site: HERE }, token, version: Version(2) };
    let command =
        Command::Put { view: VIEW, record: record(key(1), next, THERE), base, flags: BUSY };
    assert_eq!(refusal(&bench.command(A, command)), Refusal::NotTheBase { held: None });
    let replies = bench.unlock(A, key(1), token);
    assert_eq!(replies, [Reply::NotHere { key: key(1), turn: 2 }]);
}

#[test]
fn tombstones_are_bounded_by_number() {
    let mut bench = Bench::with(|config| config.limits.tombstones_max = 10);
    for number in 0..100 {
        bench.store_tombstone(key(number), stamp(65_536, THERE, 2));
    }
    assert_eq!(bench.replica.stats(bench.now).tombstones, 10);
    assert_eq!(bench.store_dormant(from_there(99, 1)), DormantOutcome::Stale);
    assert_eq!(bench.store_dormant(from_there(1, 1)), DormantOutcome::Stored);
}

#[test]
fn a_tombstone_that_leaves_for_lack_of_room_takes_its_mark_along() {
    let mut bench = Bench::with(|config| config.limits.tombstones_max = 2);
    for number in 0..5 {
        bench.turn(key(number), BOUNDARY, |record| record.header.origin = THERE);
        bench.delete(key(number));
    }
    let stats = bench.replica.stats(bench.now);
    assert_eq!((stats.outbound[&THERE].removals, stats.counts.tombstones_lost), (2, 3));
}

#[test]
fn what_was_given_back_yields_to_any_word_of_its_home() {
    for ends in [false, true] {
        let mut bench = Bench::new();
        bench.turn(key(1), BOUNDARY, |record| record.header.origin = THERE);
        let (token, old) = bench.lock(A, key(1));
        let given = bench.put_next(key(1), token, old, BOUNDARY, |record| {
            record.header.stamp.epoch = record.header.stamp.epoch.given_to(THERE);
            record.header.stamp.token.view = VIEW;
        });
        bench.unlock(A, key(1), token);
        // The home had woken its own copy, under the same epoch and a token of its own.
        let token = LockToken { view: ViewNumber(1), counter: 1 };
        let theirs = Stamp { token, version: Version(2), ..given };
        assert!(theirs < given);
        if ends {
            assert_eq!(bench.store_tombstone(key(1), theirs), DormantOutcome::Stored);
            assert_eq!(bench.held(key(1)), None);
            continue;
        }
        let outcome = bench.store_dormant(record(key(1), theirs, THERE));
        assert_eq!(outcome, DormantOutcome::Stored);
        assert_eq!(bench.held(key(1)), Some(theirs));
        let older = Stamp { version: Version(1), ..theirs };
        let outcome = bench.store_dormant(record(key(1), older, THERE));
        assert_eq!(outcome, DormantOutcome::Stale, "from there on its home's stamps compare");
    }
}
