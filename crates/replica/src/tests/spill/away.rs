//! A database that is slow, refuses, or is away.

use super::*;

fn busy(said: &[Output]) -> usize {
    let busy = said
        .iter()
        .filter(|output| matches!(output, Output::Reply { reply: Reply::Busy { .. }, .. }));
    busy.count()
}

#[test]
fn calls_in_memory_go_on_and_spilled_ones_are_busy_until_it_is_back() {
    let (mut bench, mut disk) = (Bench::spilling(|_| {}), Disk::default());
    bench.settled(&mut disk, key(1));
    bench.turn(key(2), BOUNDARY, |_| {});
    bench.word(DatabaseWord::Away);
    for _ in 0..60 {
        bench.pass(ms(60_000));
        bench.turn(key(2), BOUNDARY, |_| {});
        let turn = bench.turn + 1;
        assert_eq!(bench.ask(A, key(1), false), [Reply::Queued { key: key(1), turn }]);
        assert!(bench.pass(ms(1_999)).is_empty());
        assert_eq!(busy(&bench.pass(ms(1))), 1);
    }
    bench.pass(ms(60_000));
    let stats = bench.replica.stats(bench.now);
    assert_eq!((bench.asks.len(), stats.counts.fetch_busy, stats.waiters), (0, 60, 0));
    assert_eq!((stats.spill.is_away, stats.spill.ripe, stats.spill.fetches_waiting), (true, 1, 0));
    bench.ask(A, key(1), false);
    bench.word(DatabaseWord::Back);
    let said = bench.serve(&mut disk);
    assert_eq!(grants(&said).len(), 1, "the turn that still waited");
    assert!(bench.is_spilled(key(2)));
}

#[test]
fn a_deadline_that_passes_while_it_is_away_is_handed_when_it_is_back() {
    let (mut bench, mut disk) = (Bench::spilling(|_| {}), Disk::default());
    bench.turn(key(1), BOUNDARY, |record| record.header.deadline = Some(ms(120_000)));
    bench.pass_with(&mut disk, ms(60_000));
    bench.word(DatabaseWord::Away);
    bench.pass(ms(600_000));
    assert_eq!(bench.asks.len(), 0);
    bench.word(DatabaseWord::Back);
    let said = bench.serve(&mut disk);
    assert_eq!(grants(&said)[0].3, Cause::Due);
    assert_eq!(grants(&bench.pass_with(&mut disk, ms(5_000))).len(), 0);
}

#[test]
fn what_is_refused_is_asked_again() {
    let (mut bench, mut disk) = (Bench::spilling(|_| {}), Disk::default());
    bench.serve(&mut disk);
    bench.turn(key(1), BOUNDARY, |_| {});
    bench.pass(ms(60_000));
    for _ in 0..5 {
        let ask = bench.asks.pop_front().expect("a store");
        assert_eq!(bench.asks.len(), 0);
        bench.word(refused(&ask));
        bench.pass(ms(999));
        assert_eq!(bench.asks.len(), 0);
        bench.pass(ms(1));
    }
    bench.serve(&mut disk);
    assert_eq!((bench.spilled(), bench.replica.stats(bench.now).counts.rows_refused), (1, 5));
    bench.ask(A, key(1), false);
    let ask = bench.asks.pop_front().expect("a fetch");
    bench.word(refused(&ask));
    bench.pass(ms(1_000));
    assert_eq!(grants(&bench.serve(&mut disk)).len(), 1, "within its wait");
}

#[test]
fn an_ask_without_an_answer_is_made_again_and_a_late_answer_does_no_harm() {
    let (mut bench, mut disk) = (Bench::spilling(|_| {}), Disk::default());
    bench.serve(&mut disk);
    bench.turn(key(1), BOUNDARY, |_| {});
    bench.pass(ms(60_000));
    let late = bench.asks.pop_front().expect("a store");
    bench.pass(ms(11_000));
    assert_eq!(bench.asks.len(), 1);
    let word = disk.carry_out(bench.now, late).expect("an answer");
    bench.word(word);
    assert_eq!(bench.spilled(), 1);
    bench.serve(&mut disk);
    bench.ask(A, key(1), false);
    let late = bench.asks.pop_front().expect("a fetch");
    assert_eq!(busy(&bench.pass(ms(10_000))), 1);
    assert_eq!(bench.asks.len(), 0, "nobody waits for it any more");
    let word = disk.carry_out(bench.now, late).expect("an answer");
    bench.word(word);
    assert!(bench.is_spilled(key(1)));
    let (token, _) = bench.lock_spilled(&mut disk, key(1));
    bench.unlock(A, key(1), token);
}

#[test]
fn turns_that_wait_for_rows_are_bounded() {
    let (mut bench, mut disk) = (
        Bench::spilling(|config| {
            let spill = config.spill.as_mut().expect("set");
            (spill.fetches_in_flight_max, spill.fetches_waiting_max) = (2, 3);
            config.limits.waiters_per_call_max = 2;
        }),
        Disk::default(),
    );
    for number in 1..=4 {
        bench.turn(key(number), BOUNDARY, |_| {});
    }
    bench.pass_with(&mut disk, ms(60_000));
    for _ in 0..3 {
        bench.ask(A, key(1), false);
    }
    assert_eq!(busy(&bench.said), 1, "too many for one call");
    bench.ask(A, key(2), false);
    bench.ask(A, key(3), false);
    assert_eq!((busy(&bench.said), bench.asks.len()), (0, 2));
    bench.ask(A, key(4), false);
    assert_eq!(busy(&bench.said), 1, "too many calls");
    bench.asks.swap(0, 1);
    let said = bench.serve(&mut disk);
    assert_eq!(grants(&said).len(), 3);
}

#[test]
fn a_table_that_is_full_leaves_calls_in_memory() {
    let (mut bench, mut disk) = (
        Bench::spilling(|config| config.spill.as_mut().expect("set").calls_max = 2),
        Disk::default(),
    );
    for number in 1..=4 {
        bench.turn(key(number), BOUNDARY, |_| {});
    }
    bench.pass_with(&mut disk, ms(600_000));
    assert_eq!((bench.spilled(), bench.replica.stats(bench.now).active), (2, 4));
}

#[test]
fn a_row_that_was_asked_for_before_the_call_changed_is_not_taken_for_lost() {
    let (mut bench, mut disk) = (Bench::spilling(|_| {}), Disk::default());
    bench.store_dormant(from_there(1, 3));
    bench.pass_with(&mut disk, ms(60_000));
    bench.ask(A, key(1), false);
    let ask = bench.asks.pop_front().expect("a fetch");
    let old = disk.carry_out(bench.now, ask).expect("a row");
    // A newer one comes, and leaves, before the answer does.
    bench.store_dormant(from_there(1, 4));
    let stamp = stamp(65_536, THERE, 4);
    bench.replica.spill(key(1));
    let mut newer = disk.rows[&key(1)].clone();
    (newer.stamp, newer.record) = (stamp, encoded(&from_there(1, 4)));
    disk.rows.insert(key(1), newer);
    bench.word(old);
    assert_eq!(bench.replica.stats(bench.now).counts.rows_lost, 0);
    let said = bench.serve(&mut disk);
    let record = grants(&said)[0].4.clone().expect("read");
    assert_eq!(record.header.stamp, stamp);
}

fn encoded(record: &Record) -> Bytes {
    let mut bytes = bytes::BytesMut::new();
    record.encode(&mut bytes);
    bytes.freeze()
}
