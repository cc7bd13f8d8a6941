//! A site that returns, calls that go home, pulls and refills.

use super::*;
use tier_protocol::{KeysetEntry, KeysetKind, PullAnswer, Return, Superseded};

/// A call of THERE's that was taken over here.
fn moved(bench: &mut Bench, number: u8, flags: PutFlags) -> Stamp {
    bench.store_dormant(from_there(number, 1));
    let (token, old) = bench.lock(A, key(number));
    let stamp = bench.activate(key(number), token, old.expect("dormant"), flags);
    bench.unlock(A, key(number), token);
    stamp
}

fn hand_backs(said: &[Output]) -> Vec<(CallKey, LockToken, Option<Record>)> {
    let all = grants(said).into_iter();
    all.filter(|grant| grant.3 == Cause::HandBack { to: THERE })
        .map(|(_, key, token, _, record, _)| (key, token, record))
        .collect()
}

#[test]
fn the_keyset_pages_what_sleeps_and_what_moved_by_rising_key() {
    let mut bench = Bench::with(|config| config.limits.keyset_page_max = 2);
    moved(&mut bench, 4, BUSY);
    moved(&mut bench, 2, BUSY);
    bench.store_dormant(from_there(1, 1));
    bench.store_dormant(from_there(3, 1));
    bench.store_dormant(record(key(5), stamp(65_536, THIRD, 1), THIRD));
    bench.turn(key(6), BUSY, |_| {});
    let (mut cursor, mut all, mut pages) = (None, Vec::new(), 0);
    loop {
        let said = bench.site(SiteInput::KeysetAsk { site: THERE, cursor, ask: 5 });
        let [Output::Gate(GateBound::KeysetPage { site, ask, entries, next })] = said.as_slice()
        else {
            panic!("{said:?}");
        };
        assert_eq!((*site, *ask), (THERE, 5));
        pages += 1;
        all.extend(entries.iter().map(|entry| (entry.key.0[0], entry.kind)));
        cursor = *next;
        if cursor.is_none() {
            break;
        }
    }
    let (asleep, gone) = (KeysetKind::Dormant, KeysetKind::Moved);
    assert_eq!(all, [(1, asleep), (2, gone), (3, asleep), (4, gone)]);
    assert_eq!(pages, 2);
}

#[test]
fn a_pull_is_answered_by_where_the_call_is() {
    let mut bench = Bench::new();
    let ours = bench.turn(key(1), BUSY, |_| {});
    bench.store_dormant(from_there(2, 1));
    let third = record(key(3), stamp(65_536, THIRD, 1), THIRD);
    bench.store_dormant(third.clone());
    bench.now = bench.now + ms(40);
    let mut pull = |number: u8| {
        let said = bench.site(SiteInput::Pull { site: THERE, key: key(number), ask: 8 });
        let [Output::Gate(GateBound::PullAnswer { answer, ask: 8, .. })] = said.as_slice() else {
            panic!("{said:?}");
        };
        answer.clone()
    };
    assert_eq!(pull(1), PullAnswer::Lives(ours.epoch));
    let PullAnswer::Yours(yours) = pull(2) else { panic!("not given") };
    assert_eq!((yours.header.age, yours.local.len()), (ms(40), 0));
    assert_eq!(pull(3), PullAnswer::Lives(third.header.stamp.epoch));
    assert_eq!(pull(4), PullAnswer::NoSuch);
    bench.lock(A, key(2));
    let said = bench.site(SiteInput::Pull { site: THERE, key: key(2), ask: 8 });
    let answer = PullAnswer::AskLater;
    let told = GateBound::PullAnswer { site: THERE, ask: 8, key: key(2), answer };
    assert_eq!(said, [Output::Gate(told)], "somebody may be waking it");
}

#[test]
fn a_returning_site_knows_where_its_calls_went_and_fetches_the_sleeping_ones() {
    let mut bench = Bench::new();
    bench.alive(&[THERE]);
    let gone = Epoch { n: 65_537, site: THERE };
    let asleep = Epoch { n: 65_536, site: HERE };
    let entries = vec![
        KeysetEntry { key: key(1), epoch: gone, kind: KeysetKind::Moved },
        KeysetEntry { key: key(2), epoch: asleep, kind: KeysetKind::Dormant },
    ];
    let said = bench.site(SiteInput::KeysetPage { from: THERE, entries: entries.clone() });
    assert_eq!(said, [Output::Gate(GateBound::Pull { key: key(2) })]);
    assert!(bench.site(SiteInput::KeysetPage { from: THERE, entries }).is_empty(), "once");
    let replies = bench.ask(A, key(1), false);
    let [Reply::Granted { record: Some(stub), dormant: true, token, .. }] = replies.as_slice()
    else {
        panic!("{replies:?}");
    };
    assert_eq!((stub.header.home(), stub.body_bytes(), stub.header.schema), (THERE, 0, 0));
    let token = *token;
    bench.unlock(A, key(1), token);
    let record = record(key(2), Stamp { epoch: asleep, ..stamp(0, HERE, 3) }, HERE);
    let answer = PullAnswer::Yours(record);
    let said = bench.site(SiteInput::Pulled { from: Some(THERE), key: key(2), answer });
    assert_eq!(grants(&said)[0].3, Cause::Activate);
    let stats = bench.replica.stats(bench.now);
    assert_eq!((stats.stubs, stats.refills_left, stats.counts.refilled), (1, 0, 1));
}

#[test]
fn a_refill_whose_answer_is_lost_is_asked_for_again() {
    let mut bench = Bench::with(|config| config.limits.pulls_open_max = 1);
    let epoch = Epoch { n: 65_536, site: HERE };
    let entry = |number| KeysetEntry { key: key(number), epoch, kind: KeysetKind::Dormant };
    let asked = |number| [Output::Gate(GateBound::Pull { key: key(number) })];
    let entries = vec![entry(1), entry(2)];
    let said = bench.site(SiteInput::KeysetPage { from: THERE, entries });
    assert_eq!(said, asked(1));
    assert_eq!(bench.pass(ms(9_999)), []);
    assert_eq!(bench.pass(ms(1)), asked(2), "its place is free");
}

#[test]
fn a_refill_is_paced_bounded_and_tried_again() {
    let mut bench = Bench::with(|config| config.limits.pulls_open_max = 3);
    let epoch = Epoch { n: 65_536, site: HERE };
    let entries = (0..10).map(|number| {
        let key = key(number);
        KeysetEntry { key, epoch, kind: KeysetKind::Dormant }
    });
    let said = bench.site(SiteInput::KeysetPage { from: THERE, entries: entries.collect() });
    assert_eq!(said.len(), 3);
    let answer = PullAnswer::AskLater;
    let said = bench.site(SiteInput::Pulled { from: None, key: key(0), answer });
    assert_eq!(said, [Output::Gate(GateBound::Pull { key: key(3) })]);
    for number in 1..10 {
        let (from, answer) = (Some(THERE), PullAnswer::NoSuch);
        bench.site(SiteInput::Pulled { from, key: key(number), answer });
    }
    assert_eq!(bench.replica.stats(bench.now).refills_left, 1);
    let said = bench.pass(ms(1_000));
    assert_eq!(said, [Output::Gate(GateBound::Pull { key: key(0) })]);
    for _ in 0..100 {
        let answer = PullAnswer::NoSuch;
        bench.site(SiteInput::Pulled { from: None, key: key(0), answer });
        bench.pass(ms(2_000));
    }
    let stats = bench.replica.stats(bench.now);
    assert_eq!((stats.refills_left, stats.counts.refill_missed), (0, 10), "given up in the end");
}

#[test]
fn a_stub_gives_way_to_the_removal_of_its_call() {
    let mut bench = Bench::new();
    let epoch = Epoch { n: 65_537, site: THERE };
    let entry = KeysetEntry { key: key(1), epoch, kind: KeysetKind::Moved };
    bench.site(SiteInput::KeysetPage { from: THERE, entries: vec![entry] });
    bench.store_tombstone(key(1), Stamp { epoch, ..stamp(0, THERE, 4) });
    assert_eq!(bench.held(key(1)), None);
    // The page that comes after the removal is not believed.
    bench.site(SiteInput::KeysetPage { from: THERE, entries: vec![entry] });
    assert_eq!(bench.held(key(1)), None);
}

#[test]
fn a_superseded_call_yields() {
    let mut bench = Bench::new();
    bench.alive(&[THERE]);
    let ours = bench.turn(key(1), UNRELEASED, |record| record.header.deadline = Some(ms(500)));
    let epoch = ours.epoch.given_to(THERE);
    bench.site(SiteInput::Superseded(vec![Superseded { key: key(1), epoch }]));
    assert!(bench.pass(ms(60_000)).is_empty(), "no timer, no resume, no crossing");
    assert_eq!(bench.held(key(1)).map(|stamp| stamp.epoch), Some(epoch));
    let lower = Superseded { key: key(1), epoch: ours.epoch };
    bench.site(SiteInput::Superseded(vec![lower]));
    assert_eq!(bench.held(key(1)).map(|stamp| stamp.epoch), Some(epoch));
}

#[test]
fn calls_go_home_when_their_site_serves_and_they_are_steady() {
    let mut bench = Bench::new();
    let away = moved(&mut bench, 1, BOUNDARY);
    moved(&mut bench, 2, BUSY);
    assert!(hand_backs(&bench.pass(ms(10_000))).is_empty());
    bench.status(&[THERE], SiteState::Returning, 1);
    assert!(hand_backs(&bench.pass(ms(10_000))).is_empty(), "it does not serve yet");
    bench.status(&[THERE], SiteState::Serving, 1);
    let mut said = bench.said.clone();
    said.extend(bench.pass(ms(10)));
    let given = hand_backs(&said);
    let [(call, token, old)] = given.as_slice() else { panic!("{given:?}") };
    assert_eq!(*call, key(1));
    let home = bench.put_next(key(1), *token, old.clone(), BOUNDARY, |record| {
        record.header.stamp.epoch = away.epoch.given_to(THERE);
    });
    bench.unlock(A, key(1), *token);
    let out = batches(&bench.pass(ms(50)));
    let mine = |(site, _, entries): &(SiteId, u64, Vec<Entry>)| {
        *site == THERE && entries.iter().any(|entry| entry.stamp() == home)
    };
    let batch = out.iter().find(|batch| mine(batch)).expect("on its way home at once");
    let stats = bench.replica.stats(bench.now);
    assert_eq!((stats.counts.handed_back, stats.dormant[&THERE]), (1, 1));
    bench.site(SiteInput::LinkDown { view: ViewNumber::default(), site: THERE });
    bench.alive(&[THERE]);
    let again = batches(&bench.pass(ms(100)));
    let batch = again.iter().find(|batch| mine(batch)).unwrap_or(batch);
    bench.site(SiteInput::BatchStored { site: THERE, id: batch.1 });
    // The busy one goes when it comes to a boundary.
    bench.turn(key(2), BOUNDARY, |_| {});
    let said = bench.pass(ms(100));
    assert_eq!(hand_backs(&said)[0].0, key(2));
}

#[test]
fn a_call_that_the_engine_would_not_give_back_is_offered_again_later() {
    let mut bench = Bench::new();
    moved(&mut bench, 1, BOUNDARY);
    bench.alive(&[THERE]);
    let said = bench.pass(ms(100));
    bench.unlock(A, key(1), hand_backs(&said)[0].1);
    assert!(hand_backs(&bench.pass(ms(999))).is_empty());
    assert_eq!(hand_backs(&bench.pass(ms(101))).len(), 1);
}

#[test]
fn nothing_goes_home_while_that_is_paused() {
    let mut bench = Bench::new();
    let returning = |returning| crate::Steering { returning, ..Default::default() };
    super::steering::steer(&mut bench, returning(Return::Paused));
    moved(&mut bench, 1, BOUNDARY);
    bench.alive(&[THERE]);
    assert!(hand_backs(&bench.pass(ms(60_000))).is_empty());
    super::steering::steer(&mut bench, returning(Return::Runs));
    let mut said = bench.said.clone();
    said.extend(bench.pass(ms(10)));
    assert_eq!(hand_backs(&said).len(), 1);
}

#[test]
fn a_call_of_ours_that_was_taken_back_from_a_dead_site_stays() {
    let mut bench = Bench::new();
    // It began here, lived there, and slept here when that site died.
    bench.store_dormant(record(key(1), stamp(65_537, THERE, 4), HERE));
    let (token, old) = bench.lock(A, key(1));
    bench.activate(key(1), token, old.expect("dormant"), BOUNDARY);
    bench.unlock(A, key(1), token);
    bench.alive(&[THERE]);
    assert!(hand_backs(&bench.pass(ms(60_000))).is_empty(), "it is home");
    let said = bench.site(SiteInput::KeysetAsk { site: THERE, cursor: None, ask: 1 });
    let [Output::Gate(GateBound::KeysetPage { entries, .. })] = said.as_slice() else {
        panic!("{said:?}");
    };
    assert_eq!(entries.len(), 1, "but that site must know where it went");
}

#[test]
fn a_call_that_arrives_home_is_woken_and_a_fruitless_waking_tried_later() {
    let mut bench = Bench::new();
    let arriving = record(key(1), stamp(65_537, HERE, 7), HERE);
    assert_eq!(bench.store_dormant(arriving.clone()), DormantOutcome::Stored);
    let (_, _, token, cause, record, _) = grants(&bench.said)[0].clone();
    assert_eq!(cause, Cause::Activate);
    bench.unlock(A, key(1), token);
    assert!(bench.pass(ms(999)).is_empty());
    let said = bench.pass(ms(10));
    let (_, _, token, _, _, _) = grants(&said)[0].clone();
    bench.activate(key(1), token, record.expect("arrived"), BOUNDARY);
    bench.unlock(A, key(1), token);
    assert_eq!(
        bench.store_dormant(arriving),
        DormantOutcome::Superseded { held: Epoch { n: 65_538, site: HERE } }
    );
    assert_eq!(bench.replica.stats(bench.now).active, 1);
}

#[test]
fn a_stub_goes_when_its_site_came_back_without_the_call() {
    let mut bench = Bench::new();
    let epoch = Epoch { n: 65_536, site: THERE };
    let entry = |number| KeysetEntry { key: key(number), epoch, kind: KeysetKind::Moved };
    bench.site(SiteInput::KeysetPage { from: THERE, entries: vec![entry(1), entry(2)] });
    bench.status(&[THERE], SiteState::Serving, 1);
    let asked = |said: &[Output]| {
        let pulls = said.iter().filter(|one| matches!(one, Output::Gate(GateBound::Pull { .. })));
        pulls.count()
    };
    assert_eq!(asked(&bench.pass(ms(5_000))), 0, "it has them");
    bench.alive(&[]);
    bench.status(&[THERE], SiteState::Returning, 2);
    assert_eq!(asked(&bench.pass(ms(5_000))), 0, "it does not know yet");
    bench.status(&[THERE], SiteState::Serving, 2);
    let mut said = bench.said.clone();
    said.extend(bench.pass(ms(100)));
    assert_eq!(asked(&said), 2);
    let from = Some(THERE);
    bench.site(SiteInput::Pulled { from, key: key(1), answer: PullAnswer::NoSuch });
    assert_eq!(bench.held(key(1)), None);
    let later = Epoch { n: 131_072, site: THERE };
    bench.site(SiteInput::Pulled { from, key: key(2), answer: PullAnswer::Lives(later) });
    assert_eq!(bench.held(key(2)).map(|stamp| stamp.epoch), Some(later));
}
