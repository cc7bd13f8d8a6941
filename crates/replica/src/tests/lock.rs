//! Locks, waiters, broken locks, puts.

use super::*;

#[test]
fn a_missing_call_is_granted_only_to_an_input_that_may_begin_it() {
    let mut bench = Bench::new();
    let replies = bench.ask(A, key(1), false);
    assert_eq!(replies, [Reply::NotHere { key: key(1), turn: 1 }]);
    let (token, record) = bench.lock(A, key(1));
    assert_eq!(record, None);
    bench.unlock(A, key(1), token);
    assert!(bench.replica.calls(None, 10).is_empty(), "a lock alone leaves nothing");
}

#[test]
fn waiters_are_served_in_order_with_the_newest_record() {
    let mut bench = Bench::new();
    bench.input(Input::EngineUp { engine: B });
    let (token, _) = bench.lock(A, key(1));
    assert_eq!(bench.ask(B, key(1), false), [Reply::Queued { key: key(1), turn: 2 }]);
    assert_eq!(bench.ask(A, key(1), false), [Reply::Queued { key: key(1), turn: 3 }]);
    let put = bench.put_next(key(1), token, None, BOUNDARY, |_| {});
    bench.unlock(A, key(1), token);
    let granted = grants(&bench.said);
    let (engine, _, second, cause, record, resume) = granted[0].clone();
    assert_eq!((engine, cause, resume), (B, Cause::Asked { turn: 2 }, false));
    assert_eq!(record.expect("the put").header.stamp, put);
    assert!(second > token, "tokens only grow");
    bench.unlock(B, key(1), second);
    assert_eq!(grants(&bench.said)[0].3, Cause::Asked { turn: 3 });
}

#[test]
fn a_waiter_that_cannot_begin_hears_that_the_call_is_not_here() {
    let mut bench = Bench::new();
    let (token, _) = bench.lock(A, key(1));
    bench.ask(A, key(1), false);
    bench.ask(A, key(1), true);
    bench.unlock(A, key(1), token);
    assert_eq!(bench.replies()[0], Reply::NotHere { key: key(1), turn: 2 });
    assert_eq!(grants(&bench.said)[0].3, Cause::Asked { turn: 3 });
}

#[test]
fn waiters_are_bounded() {
    let mut bench = Bench::with(|config| config.limits.waiters_per_call_max = 2);
    bench.lock(A, key(1));
    bench.ask(A, key(1), false);
    bench.ask(A, key(1), false);
    assert_eq!(bench.ask(A, key(1), false), [Reply::Busy { key: key(1), turn: 4 }]);
    assert_eq!(bench.replica.stats(bench.now).waiters, 2);
}

#[test]
fn a_repeated_ask_is_the_same_lock_and_the_same_place_in_the_queue() {
    let mut bench = Bench::new();
    let (token, _) = bench.lock(A, key(1));
    let again =
        Command::LockAndGet { view: VIEW, key: key(1), turn: 1, begins: true, cached: None };
    bench.command(A, again);
    assert_eq!(grants(&bench.said)[0].2, token);
    let waits =
        Command::LockAndGet { view: VIEW, key: key(1), turn: 9, begins: true, cached: None };
    bench.command(A, waits.clone());
    assert_eq!(bench.command(A, waits), [Reply::Queued { key: key(1), turn: 9 }]);
    assert_eq!(bench.replica.stats(bench.now).waiters, 1);
}

#[test]
fn a_cached_copy_is_not_sent_again_unless_it_must_be_resumed() {
    let mut bench = Bench::new();
    let stamp = bench.turn(key(1), BOUNDARY, |_| {});
    let ask = |turn| Command::LockAndGet {
        view: VIEW,
        key: key(1),
        turn,
        begins: false,
        cached: Some(stamp),
    };
    bench.now = bench.now + ms(30);
    let replies = bench.command(A, ask(50));
    let [Reply::Unchanged { token, age, .. }] = replies.as_slice() else {
        panic!("{replies:?}");
    };
    assert_eq!(*age, ms(30));
    let token = *token;
    let old = bench.replica.get(bench.now, key(1)).and_then(|story| story.header);
    let old = Record { header: old.expect("held"), crossing: Bytes::new(), local: Bytes::new() };
    let stamp = bench.put_next(key(1), token, Some(old), UNRELEASED, |_| {});
    bench.input(Input::EngineDown { engine: A });
    bench.replica.handle_input(bench.now, Input::EngineUp { engine: B });
    let cached = Some(stamp);
    let ask = Command::LockAndGet { view: VIEW, key: key(1), turn: 51, begins: false, cached };
    bench.command(B, ask);
    let resumed = grants(&bench.said);
    assert_eq!(resumed[0].3, Cause::Resume, "it was handed to the only engine before it asked");
}

#[test]
fn an_old_view_is_refused_by_every_command() {
    let mut bench = Bench::new();
    let view = ViewNumber(6);
    let commands = [
        Command::LockAndGet { view, key: key(1), turn: 1, begins: true, cached: None },
        Command::Get { view, key: key(1), turn: 1 },
        Command::Confirm { view, key: key(1), turn: 1 },
        Command::StoreDormant { view, batch: 1, record: from_there(1, 1) },
    ];
    for command in commands {
        let replies = bench.command(A, command);
        assert_eq!(replies, [Reply::StaleView { key: key(1), current: VIEW }]);
    }
}

#[test]
fn an_unlock_counts_in_any_view() {
    let mut bench = Bench::new();
    let (token, _) = bench.lock(A, key(1));
    bench.command(A, Command::Unlock { view: ViewNumber(6), key: key(1), token });
    assert!(matches!(bench.ask(A, key(1), false)[..], [Reply::NotHere { .. }]));
}

#[test]
fn a_put_needs_the_current_token_and_the_newest_base() {
    let mut bench = Bench::new();
    let first = bench.turn(key(1), BOUNDARY, |_| {});
    let (token, _) = bench.lock(A, key(1));
    let late = record(key(1), Stamp { version: Version(2), ..first }, HERE);
    let put = |record: Record, base| Command::Put { view: VIEW, record, base, flags: BOUNDARY };
    let replies = bench.command(A, put(late, Some(first)));
    assert_eq!(refusal(&replies), Refusal::OldToken);
    let next = Stamp { token, version: Version(2), ..first };
    let replies = bench.command(A, put(record(key(1), next, HERE), None));
    assert_eq!(refusal(&replies), Refusal::NotTheBase { held: Some(first) });
    bench.put(A, record(key(1), next, HERE), Some(first), BOUNDARY);
    // The same stamp again, and after the lock too.
    bench.put(A, record(key(1), next, HERE), Some(first), BOUNDARY);
    bench.unlock(A, key(1), token);
    bench.put(A, record(key(1), next, HERE), Some(first), BOUNDARY);
    assert_eq!(bench.replica.stats(bench.now).counts.puts, 2);
}

#[test]
fn a_version_never_goes_back() {
    let mut bench = Bench::new();
    let first = bench.turn(key(1), BOUNDARY, |record| record.header.stamp.version = Version(9));
    let (token, _) = bench.lock(A, key(1));
    let lower = Stamp { epoch: Epoch { n: 1, site: HERE }, token, version: Version(10) };
    let record = record(key(1), lower, HERE);
    let replies =
        bench.command(A, Command::Put { view: VIEW, record, base: Some(first), flags: BOUNDARY });
    assert_eq!(refusal(&replies), Refusal::NotTheBase { held: Some(first) });
}

#[test]
fn a_broken_lock_is_resumed_by_a_waiter_or_handed_but_not_both() {
    for has_waiter in [true, false] {
        let mut bench = Bench::new();
        bench.input(Input::EngineUp { engine: B });
        let (token, _) = bench.lock(A, key(1));
        bench.put_next(key(1), token, None, UNRELEASED, |_| {});
        if has_waiter {
            bench.ask(B, key(1), false);
        }
        bench.input(Input::EngineDown { engine: A });
        let granted = grants(&bench.said);
        assert_eq!(granted.len(), 1);
        let (engine, _, second, cause, _, resume) = granted[0].clone();
        assert_eq!((engine, resume), (B, true));
        assert_eq!(cause == Cause::Resume, !has_waiter);
        bench.unlock(B, key(1), second);
        assert!(bench.pass(ms(60_000)).is_empty(), "exactly once");
        assert_eq!(bench.replica.stats(bench.now).counts.resumed, 1);
    }
}

#[test]
fn a_resume_waits_for_an_engine_and_survives_the_next_break() {
    let mut bench = Bench::new();
    let (token, _) = bench.lock(A, key(1));
    bench.put_next(key(1), token, None, UNRELEASED, |_| {});
    bench.input(Input::EngineDown { engine: A });
    assert!(bench.pass(ms(5_000)).is_empty());
    bench.input(Input::EngineUp { engine: B });
    assert_eq!(grants(&bench.said)[0].3, Cause::Resume);
    bench.input(Input::EngineUp { engine: EngineId(3) });
    bench.input(Input::EngineDown { engine: B });
    let said = bench.pass(ms(1));
    let granted = if said.is_empty() { grants(&bench.said) } else { grants(&said) };
    assert!(granted.is_empty() || granted[0].0 == EngineId(3));
    assert_eq!(bench.replica.get(bench.now, key(1)).expect("held").broken_locks, 1);
    let holder = bench.replica.get(bench.now, key(1)).and_then(|story| story.summary.locked_by);
    assert_eq!(holder, Some(EngineId(3)));
}

#[test]
fn an_unlocked_put_is_not_resumed() {
    let mut bench = Bench::new();
    bench.turn(key(1), UNRELEASED, |_| {});
    bench.input(Input::EngineDown { engine: A });
    bench.input(Input::EngineUp { engine: B });
    assert!(bench.pass(ms(1_000)).iter().all(|output| matches!(output, Output::Gate(_))));
    let (_, _) = bench.lock(B, key(1));
    assert!(!grants(&bench.said)[0].5);
}

#[test]
fn an_engine_that_went_down_while_waiting_is_forgotten() {
    let mut bench = Bench::new();
    bench.input(Input::EngineUp { engine: B });
    let (token, _) = bench.lock(A, key(1));
    bench.ask(B, key(1), true);
    bench.ask(A, key(1), true);
    bench.input(Input::EngineDown { engine: B });
    assert_eq!(bench.replica.stats(bench.now).waiters, 1);
    bench.unlock(A, key(1), token);
    assert_eq!(grants(&bench.said)[0].0, A);
    let late = bench.ask(B, key(2), true);
    assert!(late.is_empty(), "words of a broken link are dropped: {late:?}");
}

#[test]
fn a_lease_ends_a_lock_that_nobody_renews() {
    let mut bench = Bench::new();
    let (token, _) = bench.lock(A, key(1));
    bench.put_next(key(1), token, None, UNRELEASED, |_| {});
    for _ in 0..3 {
        assert!(bench.pass(ms(9_000)).is_empty());
        bench.command(A, Command::Renew { view: VIEW, key: key(1), token });
    }
    let said = bench.pass(ms(10_000));
    assert_eq!(grants(&said)[0].3, Cause::Resume);
    assert_eq!(bench.replica.stats(bench.now).counts.leases_over, 1);
    let old = record(key(1), Stamp { version: Version(2), ..bench.held(key(1)).unwrap() }, HERE);
    let base = bench.held(key(1));
    let replies = bench.command(A, Command::Put { view: VIEW, record: old, base, flags: BUSY });
    assert_eq!(refusal(&replies), Refusal::OldToken, "the token of the lock that ended");
}

#[test]
fn a_call_that_breaks_engines_is_handed_later_and_later() {
    let mut bench = Bench::new();
    let (token, _) = bench.lock(A, key(1));
    bench.put_next(key(1), token, None, UNRELEASED, |_| {});
    let mut waits = Vec::new();
    for _ in 0..5 {
        // The engine is stuck in it: its link stands, and the lease ends the lock.
        assert!(grants(&bench.pass(ms(9_900))).is_empty());
        let over_at = bench.now + ms(100);
        let mut said = Vec::new();
        while grants(&said).is_empty() && bench.now.since(over_at) < ms(100_000) {
            said = bench.pass(ms(100));
        }
        assert_eq!(grants(&said).len(), 1);
        waits.push(bench.now.since(over_at).as_secs());
    }
    assert_eq!(waits, [0, 0, 1, 2, 4]);
}

#[test]
fn only_calls_that_begin_are_refused_for_lack_of_room() {
    let mut bench = Bench::with(|config| {
        config.limits.calls_max = 2;
        config.limits.bytes_max = 100;
    });
    let stamp = bench.turn(key(1), BOUNDARY, |_| {});
    let (token, _) = bench.lock(A, key(2));
    assert_eq!(bench.ask(A, key(3), true), [Reply::Busy { key: key(3), turn: 3 }]);
    let big = Record {
        local: Bytes::from(vec![0; 100]),
        ..record(key(2), Stamp { token, ..stamp }, HERE)
    };
    let command = Command::Put { view: VIEW, record: big, base: None, flags: BOUNDARY };
    assert_eq!(refusal(&bench.command(A, command)), Refusal::Full);
    bench.unlock(A, key(2), token);
    // The call that is held may grow beyond the bound.
    bench.turn(key(1), BOUNDARY, |record| record.local = Bytes::from(vec![0; 1_000]));
    assert_eq!(bench.store_dormant(from_there(4, 1)), DormantOutcome::Full);
    assert_eq!(bench.replica.stats(bench.now).active, 1);
}

#[test]
fn a_delete_frees_the_waiters_and_answers_a_repetition_alike() {
    let mut bench = Bench::new();
    bench.turn(key(1), BOUNDARY, |_| {});
    let (token, old) = bench.lock(A, key(1));
    bench.ask(A, key(1), false);
    let base = old.expect("held").header.stamp;
    let stamp = Stamp { token, version: Version(2), ..base };
    let delete = Command::Delete { view: VIEW, tombstone: Tombstone { key: key(1), stamp }, base };
    let replies = bench.command(A, delete.clone());
    let stored = Reply::Stored { key: key(1), stamp };
    assert_eq!(replies, [stored.clone(), Reply::NotHere { key: key(1), turn: 3 }]);
    assert_eq!(bench.command(A, delete), [stored]);
    assert!(bench.replica.calls(None, 10).is_empty());
    let stats = bench.replica.stats(bench.now);
    assert_eq!((stats.bytes, stats.locks, stats.active), (0, 0, 0));
}

#[test]
fn a_digest_is_of_records_alone() {
    let mut one = Bench::new();
    let mut two = Bench::new();
    for bench in [&mut one, &mut two] {
        bench.turn(key(1), BOUNDARY, |_| {});
        bench.turn(key(2), BOUNDARY, |_| {});
    }
    two.pass(ms(5_000));
    assert_eq!(one.replica.digest(), two.replica.digest());
    two.lock(A, key(1));
    assert_eq!(one.replica.digest(), two.replica.digest());
    one.turn(key(2), BOUNDARY, |_| {});
    assert_ne!(one.replica.digest(), two.replica.digest());
}

#[test]
fn a_copy_page_by_page_has_the_same_digest() {
    let (mut one, mut two) = (Bench::new(), Bench::new());
    for number in 1..=5 {
        one.store_dormant(record(key(number), stamp(65_536, THERE, u64::from(number)), THERE));
    }
    one.pass(ms(300));
    let (mut cursor, mut pages) = (None, 0);
    loop {
        let page = one.replica.copy(one.now, cursor, 2);
        let Some(last) = page.last() else { break };
        cursor = Some(last.header.key);
        pages += 1;
        for record in page {
            assert!(record.header.age >= ms(300), "it waited here");
            two.store_dormant(record);
        }
    }
    assert_eq!(pages, 3);
    assert_eq!(one.replica.digest(), two.replica.digest());
}

#[test]
fn a_put_that_is_said_again_keeps_its_lock() {
    let mut bench = Bench::new();
    let (token, _) = bench.lock(A, key(1));
    let stamp = bench.put_next(key(1), token, None, UNRELEASED, |_| {});
    bench.pass(ms(8_000));
    // Another member has yet to say that it has the put.
    let record = record(key(1), stamp, HERE);
    bench.put(A, record, None, UNRELEASED);
    let said = bench.pass(ms(8_000));
    assert!(grants(&said).is_empty(), "its engine is alive: {said:?}");
    assert_eq!(grants(&bench.pass(ms(3_000))).len(), 1, "its engine says nothing any more");
}
