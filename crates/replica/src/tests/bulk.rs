//! Orders over many calls: activation of a dead site's calls, dropping a backup.

use super::*;
use crate::Steering;
use crate::stats::{BulkKind, BulkStats};

fn progress(bench: &Bench, kind: BulkKind) -> BulkStats {
    let bulk = bench.replica.stats(bench.now).bulk;
    *bulk.iter().find(|bulk| bulk.kind == kind).expect("ordered")
}

fn asleep(bench: &mut Bench, count: u32) {
    for number in 0..count {
        let record = record(wide_key(number), stamp(65_536, THERE, 1), THERE);
        bench.store_dormant(record);
    }
}

/// Answers every `Activate` grant among `said` as an engine does. How many there were.
pub(super) fn wake(bench: &mut Bench, mut said: Vec<Output>) -> u32 {
    let mut woken = 0;
    loop {
        let granted = grants(&said);
        if granted.is_empty() {
            return woken;
        }
        said.clear();
        for (_, key, token, cause, record, _) in granted {
            assert_eq!(cause, Cause::Activate);
            woken += 1;
            bench.activate(key, token, record.expect("dormant"), BOUNDARY);
            said.append(&mut bench.said);
            bench.unlock(A, key, token);
            said.append(&mut bench.said);
        }
    }
}

#[test]
fn every_call_of_a_dead_site_is_woken_once_and_paced() {
    let mut bench = Bench::with(|config| config.pace.activate_per_s = 1_000);
    asleep(&mut bench, 2_500);
    let order =
        Input::Order(Order::Site(crate::SiteOrder::ActivateAll { site: THERE, force: false }));
    let said = bench.input(order.clone()).to_vec();
    let mut woken = wake(&mut bench, said);
    let mut steps = 0;
    while progress(&bench, BulkKind::Activate).is_running || woken < 2_500 {
        // Pressed again and again: nothing happens twice.
        let mut said = bench.pass(ms(10));
        said.extend(bench.input(order.clone()).to_vec());
        woken += wake(&mut bench, said);
        steps += 1;
        assert!(steps < 1_000, "{woken}");
    }
    assert_eq!(woken, 2_500);
    assert!((200..=260).contains(&steps), "2.5 s at 1,000 a second: {steps}");
    let stats = bench.replica.stats(bench.now);
    assert_eq!((stats.active, stats.counts.activated, stats.dormant.len()), (2_500, 2_500, 0));
}

#[test]
fn an_activation_waits_until_the_site_s_last_words_are_applied() {
    let mut bench = Bench::new();
    asleep(&mut bench, 1);
    let status = |waiting| {
        let steering = Steering::default();
        let (here, alive) = (SiteState::Serving, vec![]);
        SiteInput::Status { view: ViewNumber::default(), here, alive, waiting, steering }
    };
    bench.site(status(vec![THERE]));
    bench.input(Input::Order(Order::Site(crate::SiteOrder::ActivateAll {
        site: THERE,
        force: false,
    })));
    assert!(bench.pass(ms(10_000)).is_empty());
    let said = bench.site(status(vec![]));
    assert_eq!(wake(&mut bench, said), 1);
}

#[test]
fn an_activation_goes_on_after_its_engine_died() {
    let mut bench = Bench::new();
    asleep(&mut bench, 20);
    bench.input(Input::Order(Order::Site(crate::SiteOrder::ActivateAll {
        site: THERE,
        force: false,
    })));
    bench.input(Input::EngineDown { engine: A });
    bench.input(Input::EngineUp { engine: A });
    let said = [bench.said.clone(), bench.pass(ms(100))].concat();
    let woken = wake(&mut bench, said);
    let rest = bench.pass(ms(5_000));
    assert_eq!(woken + wake(&mut bench, rest), 20);
}

#[test]
fn a_stopped_activation_stops() {
    let mut bench = Bench::with(|config| config.pace.activate_per_s = 100);
    asleep(&mut bench, 1_000);
    let said = bench
        .input(Input::Order(Order::Site(crate::SiteOrder::ActivateAll {
            site: THERE,
            force: false,
        })))
        .to_vec();
    let mut woken = wake(&mut bench, said);
    bench.input(Input::Order(Order::Site(crate::SiteOrder::StopActivating { site: THERE })));
    for _ in 0..200 {
        let said = bench.pass(ms(100));
        woken += wake(&mut bench, said);
    }
    assert!(woken <= 260, "what was ahead of its turn, and no more: {woken}");
}

#[test]
fn a_dropped_backup_is_gone_but_for_what_is_on_its_way_home() {
    let mut bench = Bench::new();
    asleep(&mut bench, 100);
    // A call on its way home: the only copy.
    bench.turn(key(250), BOUNDARY, |_| {});
    let (token, old) = bench.lock(A, key(250));
    bench.put_next(key(250), token, old, BOUNDARY, |record| {
        record.header.stamp.epoch = record.header.stamp.epoch.given_to(THERE);
    });
    bench.unlock(A, key(250), token);
    let (token, _) = bench.lock(A, wide_key(3));
    bench.input(Input::Order(Order::Site(crate::SiteOrder::DropBackup { site: THERE })));
    bench.pass(ms(1_000));
    assert!(!progress(&bench, BulkKind::Drop).is_running);
    assert_eq!(bench.replica.stats(bench.now).dormant[&THERE], 2, "locked; on its way");
    bench.unlock(A, wide_key(3), token);
    bench.input(Input::Order(Order::Site(crate::SiteOrder::DropBackup { site: THERE })));
    bench.pass(ms(1_000));
    assert_eq!(bench.replica.stats(bench.now).dormant[&THERE], 1);
}

#[test]
fn what_a_living_site_owns_is_not_taken_over() {
    let mut bench = Bench::new();
    asleep(&mut bench, 3);
    bench.alive(&[THERE]);
    let order =
        Input::Order(Order::Site(crate::SiteOrder::ActivateAll { site: THERE, force: false }));
    let mut said = bench.input(order).to_vec();
    said.extend(bench.pass(ms(10_000)));
    assert!(grants(&said).is_empty(), "{said:?}");
    assert!(!progress(&bench, BulkKind::Activate).is_running);
    assert_eq!(bench.replica.stats(bench.now).dormant[&THERE], 3);
}

#[test]
fn calls_wake_as_fast_as_engines_give_them_back() {
    let mut bench = Bench::with(|config| {
        config.pace.activate_per_s = 1_000_000;
        config.limits.waking_max = 16;
    });
    asleep(&mut bench, 100);
    let order =
        Input::Order(Order::Site(crate::SiteOrder::ActivateAll { site: THERE, force: false }));
    let said = [bench.input(order).to_vec(), bench.pass(ms(1_000))].concat();
    let granted = grants(&said);
    assert_eq!(granted.len(), 16, "an engine that is slow is handed no more");
    // A call that is asked for does not stand behind them.
    bench.turn(key(250), BOUNDARY, |_| {});
    // Each that comes back makes room for the next, without waiting for time to pass.
    assert_eq!(wake(&mut bench, said), 100);
    assert_eq!(bench.replica.stats(bench.now).counts.activated, 100);
}
