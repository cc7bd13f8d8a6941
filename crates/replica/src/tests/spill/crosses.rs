//! Spilled calls and other sites: what has yet to cross, what sleeps here, what comes over.

use super::*;
use crate::stats::BulkKind;
use crate::tests::bulk::wake;
use tier_protocol::{KeysetKind, PullAnswer};

fn bench() -> (Bench, Disk) {
    let mut bench = Bench::spilling(|config| config.backup_to = Some(THERE));
    bench.alive(&[THERE]);
    (bench, Disk::default())
}

/// Every batch among `said` is acknowledged; the entries.
fn acknowledge(bench: &mut Bench, said: &[Output]) -> Vec<Entry> {
    let out = batches(said);
    for (site, id, _) in &out {
        bench.site(SiteInput::BatchStored { site: *site, id: *id });
    }
    out.into_iter().flat_map(|(_, _, entries)| entries).collect()
}

fn at_risk(bench: &Bench) -> u64 {
    bench.replica.stats(bench.now).outbound[&THERE].at_risk
}

#[test]
fn a_call_leaves_after_it_has_crossed() {
    let (mut bench, mut disk) = bench();
    bench.turn(key(1), BOUNDARY, |_| {});
    let said = bench.pass_with(&mut disk, ms(62_000));
    assert_eq!(bench.spilled(), 0, "its batch is not acknowledged");
    assert!(batches(&said).len() > 1, "it is sent again");
    acknowledge(&mut bench, &said);
    bench.pass_with(&mut disk, ms(2_000));
    assert_eq!((bench.spilled(), at_risk(&bench)), (1, 0));
}

#[test]
fn a_call_that_waits_for_a_site_that_is_away_leaves_and_crosses_when_it_is_back() {
    let (mut bench, mut disk) = bench();
    bench.site(SiteInput::LinkDown { view: ViewNumber::default(), site: THERE });
    bench.alive(&[]);
    for number in 0..8_000 {
        bench.turn(wide_key(number), BOUNDARY, |_| {});
    }
    bench.pass_with(&mut disk, ms(70_000));
    assert_eq!((bench.spilled(), at_risk(&bench)), (8_000, 8_000));
    let mut said = bench.alive(&[THERE]);
    let mut crossed = 0;
    for _ in 0..200 {
        said.extend(bench.pass_with(&mut disk, ms(100)));
        let ahead = bench.replica.stats(bench.now).active - bench.spilled();
        assert!(ahead <= 2_500, "{ahead} are back at once");
        crossed += acknowledge(&mut bench, &std::mem::take(&mut said)).len();
    }
    assert_eq!((crossed, at_risk(&bench)), (8_000, 0));
    bench.pass_with(&mut disk, ms(2_000));
    let stats = bench.replica.stats(bench.now);
    assert_eq!((stats.spill.calls, stats.counts.rows_stored), (8_000, 8_000), "no second row");
}

#[test]
fn a_sweep_marks_spilled_calls_at_once_and_fetches_them_as_they_go() {
    let (mut bench, mut disk) = bench();
    for number in 0..20 {
        bench.turn(wide_key(number), BOUNDARY, |_| {});
    }
    let said = bench.pass_with(&mut disk, ms(200));
    assert_eq!(acknowledge(&mut bench, &said).len(), 20);
    bench.pass_with(&mut disk, ms(60_000));
    assert_eq!((bench.spilled(), at_risk(&bench)), (20, 0));
    bench.input(Input::Order(Order::Site(crate::SiteOrder::Sweep { site: THERE })));
    bench.pass(ms(20));
    assert_eq!(at_risk(&bench), 20);
    let said = bench.pass_with(&mut disk, ms(200));
    assert_eq!(acknowledge(&mut bench, &said).len(), 20);
    assert_eq!(at_risk(&bench), 0);
    bench.pass_with(&mut disk, ms(2_000));
    assert_eq!(bench.spilled(), 20);
}

#[test]
fn dormant_records_leave_too_and_newer_ones_replace_them_unread() {
    let (mut bench, mut disk) = bench();
    assert_eq!(bench.store_dormant(from_there(1, 3)), DormantOutcome::Stored);
    bench.pass_with(&mut disk, ms(60_000));
    let stats = bench.replica.stats(bench.now);
    assert_eq!((stats.spill.calls, stats.dormant[&THERE], stats.active), (1, 1, 0));
    assert_eq!(bench.store_dormant(from_there(1, 3)), DormantOutcome::Stored);
    assert_eq!(bench.store_dormant(from_there(1, 2)), DormantOutcome::Stale);
    assert_eq!((bench.spilled(), bench.asks.len()), (1, 0));
    assert_eq!(bench.store_dormant(from_there(1, 4)), DormantOutcome::Stored);
    assert_eq!((bench.spilled(), bench.asks.len()), (0, 0));
    bench.pass_with(&mut disk, ms(60_000));
    assert_eq!(disk.rows[&key(1)].stamp.version, Version(4));
    let end = stamp(65_536, THERE, 5);
    assert_eq!(bench.store_tombstone(key(1), end), DormantOutcome::Stored);
    assert_eq!(bench.held(key(1)), None);
    bench.serve(&mut disk);
    assert!(disk.rows.is_empty());
    assert_eq!(bench.replica.stats(bench.now).dormant.len(), 0);
}

#[test]
fn spilled_calls_of_a_dead_site_are_woken_once() {
    let (mut bench, mut disk) = bench();
    for number in 0..500 {
        bench.store_dormant(record(wide_key(number), stamp(65_536, THERE, 1), THERE));
    }
    bench.pass_with(&mut disk, ms(70_000));
    assert_eq!(bench.spilled(), 500);
    bench.alive(&[]);
    let mut said = bench
        .input(Input::Order(Order::Site(crate::SiteOrder::ActivateAll {
            site: THERE,
            force: false,
        })))
        .to_vec();
    let mut woken = 0;
    for _ in 0..100 {
        said.extend(bench.pass_with(&mut disk, ms(20)));
        woken += wake(&mut bench, std::mem::take(&mut said));
    }
    let stats = bench.replica.stats(bench.now);
    assert_eq!((woken, stats.active, stats.dormant.len()), (500, 500, 0));
    let done = stats.bulk.iter().find(|bulk| bulk.kind == BulkKind::Activate).expect("ordered");
    assert_eq!((done.is_running, done.done, done.total), (false, 500, 500));
}

#[test]
fn an_activation_waits_for_a_database_that_is_away() {
    let (mut bench, mut disk) = bench();
    bench.store_dormant(from_there(1, 1));
    bench.pass_with(&mut disk, ms(60_000));
    bench.alive(&[]);
    bench.word(DatabaseWord::Away);
    bench.input(Input::Order(Order::Site(crate::SiteOrder::ActivateAll {
        site: THERE,
        force: false,
    })));
    bench.pass(ms(60_000));
    assert_eq!(bench.asks.len(), 0);
    bench.word(DatabaseWord::Back);
    assert_eq!(grants(&bench.serve(&mut disk))[0].3, Cause::Activate);
}

#[test]
fn an_activation_goes_on_after_a_read_was_refused() {
    let (mut bench, mut disk) = bench();
    bench.store_dormant(from_there(1, 1));
    bench.store_dormant(from_there(2, 1));
    bench.pass_with(&mut disk, ms(60_000));
    bench.alive(&[]);
    bench.input(Input::Order(Order::Site(crate::SiteOrder::ActivateAll {
        site: THERE,
        force: false,
    })));
    while let Some(ask) = bench.asks.pop_front() {
        bench.word(refused(&ask));
    }
    assert!(bench.wake.0 <= bench.now + ms(1_000));
    let said = bench.pass_with(&mut disk, ms(1_100));
    assert_eq!(grants(&said).len(), 2);
}

#[test]
fn a_backup_is_dropped_without_being_read() {
    let (mut bench, mut disk) = bench();
    for number in 0..50 {
        bench.store_dormant(record(wide_key(number), stamp(65_536, THERE, 1), THERE));
    }
    bench.pass_with(&mut disk, ms(61_000));
    bench.input(Input::Order(Order::Site(crate::SiteOrder::DropBackup { site: THERE })));
    bench.pass(ms(1_000));
    let asks = &bench.asks;
    assert!(asks.iter().all(|ask| matches!(ask, DatabaseAsk::Remove { .. })), "{asks:?}");
    bench.serve(&mut disk);
    let stats = bench.replica.stats(bench.now);
    assert_eq!((stats.spill.calls, stats.dormant.len(), disk.rows.len()), (0, 0, 0));
}

#[test]
fn a_returning_site_hears_of_spilled_calls_and_gets_them() {
    let (mut bench, mut disk) = bench();
    bench.store_dormant(from_there(1, 1));
    bench.store_dormant(from_there(3, 1));
    bench.store_dormant(from_there(2, 1));
    bench.alive(&[]);
    let (token, old) = bench.lock(A, key(2));
    let moved = bench.activate(key(2), token, old.expect("dormant"), BOUNDARY);
    bench.unlock(A, key(2), token);
    bench.pass_with(&mut disk, ms(75_000));
    assert_eq!(bench.spilled(), 3);
    let said = bench.site(SiteInput::KeysetAsk { site: THERE, cursor: None, ask: 7 });
    let page = said.iter().find_map(|output| match output {
        Output::Gate(GateBound::KeysetPage { entries, .. }) => Some(entries.clone()),
        _ => None,
    });
    let page: Vec<_> = page.expect("a page").iter().map(|e| (e.key.0[0], e.kind)).collect();
    let (asleep, moved_kind) = (KeysetKind::Dormant, KeysetKind::Moved);
    assert_eq!(page, [(1, asleep), (2, moved_kind), (3, asleep)]);
    let answer = |bench: &mut Bench, number| {
        let said = bench.site(SiteInput::Pull { site: THERE, key: key(number), ask: 1 });
        let answers = said.iter().find_map(|output| match output {
            Output::Gate(GateBound::PullAnswer { answer, .. }) => Some(answer.clone()),
            _ => None,
        });
        answers.expect("an answer")
    };
    assert_eq!(answer(&mut bench, 2), PullAnswer::Lives(moved.epoch));
    assert_eq!(answer(&mut bench, 1), PullAnswer::AskLater);
    bench.serve(&mut disk);
    assert!(matches!(answer(&mut bench, 1), PullAnswer::Yours(_)));
}

#[test]
fn spilled_calls_of_a_site_that_serves_again_go_home() {
    let (mut bench, mut disk) = bench();
    bench.store_dormant(from_there(2, 1));
    bench.alive(&[]);
    let (token, old) = bench.lock(A, key(2));
    bench.activate(key(2), token, old.expect("dormant"), BOUNDARY);
    bench.unlock(A, key(2), token);
    bench.pass_with(&mut disk, ms(75_000));
    assert_eq!(bench.spilled(), 1);
    let mut said = bench.alive(&[THERE]);
    said.extend(bench.pass_with(&mut disk, ms(500)));
    assert_eq!(grants(&said)[0].3, Cause::HandBack { to: THERE });
}

#[test]
fn a_spilled_call_yields_to_a_higher_epoch() {
    let (mut bench, mut disk) = bench();
    bench.alive(&[]);
    let stamp = bench.turn(key(1), BOUNDARY, |_| {});
    bench.pass_with(&mut disk, ms(61_000));
    assert_eq!(bench.spilled(), 1);
    let epoch = stamp.epoch.woken_at(THERE);
    bench.site(SiteInput::Superseded(vec![tier_protocol::Superseded { key: key(1), epoch }]));
    let stats = bench.replica.stats(bench.now);
    assert_eq!((stats.spill.calls, stats.stubs, stats.counts.yielded), (0, 1, 1));
}

#[test]
fn a_dormant_call_whose_home_answers_is_not_fetched_for_its_deadline() {
    let (mut bench, mut disk) = bench();
    let mut record = from_there(1, 1);
    record.header.crossing_deadline = Some(ms(100_000));
    bench.store_dormant(record);
    let said = bench.pass_with(&mut disk, ms(600_000));
    assert_eq!((grants(&said).len(), bench.spilled()), (0, 1));
    bench.alive(&[]);
    let said = bench.pass_with(&mut disk, ms(600_000));
    assert_eq!((grants(&said).len(), bench.spilled()), (0, 1), "it may live there");
    assert_eq!(bench.replica.stats(bench.now).counts.fetched, 0);
    // A message wakes another one: the home is given up.
    bench.store_dormant(from_there(2, 1));
    let (token, held) = bench.lock(A, key(2));
    bench.activate(key(2), token, held.expect("dormant"), BUSY);
    bench.unlock(A, key(2), token);
    let said = bench.pass_with(&mut disk, ms(60_000));
    assert_eq!(grants(&said)[0].3, Cause::Activate);
}
