//! Calls of which only transactions linger: to other sites they are over.

use super::*;

fn bench() -> Bench {
    let mut bench = Bench::new();
    bench.alive(&[THERE]);
    bench
}

/// What is sent within the time, and acknowledged at once.
fn crossed(bench: &mut Bench, time: Duration) -> Vec<Entry> {
    let out = batches(&bench.pass(time));
    for (site, id, _) in &out {
        bench.site(SiteInput::BatchStored { site: *site, id: *id });
    }
    out.into_iter().flat_map(|(_, _, entries)| entries).collect()
}

/// Calls at risk, in set-up, and removals, as of the other site.
fn marks(bench: &Bench) -> (u64, u64, u64) {
    let stats = bench.replica.stats(bench.now);
    let there = stats.outbound.get(&THERE);
    there.map_or((0, 0, 0), |site| (site.at_risk, site.in_set_up, site.removals))
}

fn removal(number: u8, stamp: Stamp) -> Vec<Entry> {
    vec![Entry::Tombstone(Tombstone { key: key(number), stamp })]
}

#[test]
fn what_merely_lingers_crosses_as_a_removal_once() {
    let mut bench = bench();
    bench.turn(key(1), BOUNDARY, |_| {});
    assert_eq!(crossed(&mut bench, ms(150)).len(), 1);
    bench.turn(key(1), BUSY, |_| {});
    assert_eq!(marks(&bench), (1, 0, 0));
    let end = bench.turn(key(1), ENDED, |record| record.header.deadline = Some(ms(32_000)));
    assert_eq!(marks(&bench), (0, 0, 1), "nothing of it can be lost");
    assert!(bench.replica.get(bench.now, key(1)).expect("lingers").has_ended);
    assert_eq!(crossed(&mut bench, ms(50)), removal(1, end));
    assert_eq!(marks(&bench), (0, 0, 0));
    // What is absorbed meanwhile, and the end of the record, are nothing new.
    bench.turn(key(1), ENDED, |_| {});
    assert!(crossed(&mut bench, ms(1_000)).is_empty());
    let gone = bench.delete(key(1));
    assert!(gone > end);
    assert!(crossed(&mut bench, ms(60_000)).is_empty());
    assert_eq!(bench.replica.stats(bench.now).tombstones, 1);
    assert_eq!(bench.store_dormant(record(key(1), end, HERE)), DormantOutcome::Stale);
}

/// A replica that joins has the end as its source has it: sent as a record, the call would sleep at
/// the other site for ever.
#[test]
fn a_copy_of_what_lingers_is_marked_as_over() {
    let mut source = bench();
    source.turn(key(1), BOUNDARY, |_| {});
    crossed(&mut source, ms(150));
    let end = source.turn(key(1), ENDED, |record| record.header.deadline = Some(ms(32_000)));
    let copied = source.replica.copied(source.now, key(1)).expect("it lingers");
    let mut joiner = bench();
    joiner.replica.install(joiner.now, copied);
    assert_eq!(marks(&joiner), (0, 0, 1));
    assert_eq!(crossed(&mut joiner, ms(150)), removal(1, end));
    assert_eq!(joiner.store_dormant(record(key(1), end, HERE)), DormantOutcome::Stale);
}

#[test]
fn a_call_that_was_refused_never_crosses() {
    let mut bench = bench();
    bench.turn(key(1), BUSY, |_| {});
    assert_eq!(marks(&bench), (0, 1, 0));
    bench.turn(key(1), ENDED, |_| {});
    assert_eq!(marks(&bench), (0, 0, 0));
    assert!(crossed(&mut bench, ms(60_000)).is_empty());
    bench.replica.handle_input(
        bench.now,
        Input::Order(Order::Site(crate::SiteOrder::Sweep { site: THERE })),
    );
    assert!(crossed(&mut bench, ms(60_000)).is_empty());
    bench.delete(key(1));
    assert!(crossed(&mut bench, ms(60_000)).is_empty());
    assert_eq!(bench.replica.stats(bench.now).tombstones, 0);
}

#[test]
fn an_end_that_is_not_acknowledged_is_told_again_after_the_record_is_gone() {
    let mut bench = bench();
    bench.turn(key(1), BOUNDARY, |_| {});
    assert_eq!(crossed(&mut bench, ms(150)).len(), 1);
    let end = bench.turn(key(1), ENDED, |_| {});
    assert_eq!(batches(&bench.pass(ms(50))).len(), 1);
    bench.site(SiteInput::LinkDown { view: ViewNumber::default(), site: THERE });
    bench.delete(key(1));
    bench.pass(ms(60_000));
    assert_eq!(marks(&bench), (0, 0, 1));
    let said = bench.alive(&[THERE]);
    assert_eq!(batches(&said)[0].2, removal(1, end));
}

#[test]
fn an_end_is_told_when_its_effects_have_left() {
    let mut bench = bench();
    bench.turn(key(1), BOUNDARY, |_| {});
    assert_eq!(crossed(&mut bench, ms(150)).len(), 1);
    let (token, old) = bench.lock(A, key(1));
    let flags = PutFlags { unreleased: true, ..ENDED };
    let end = bench.put_next(key(1), token, old, flags, |_| {});
    assert!(crossed(&mut bench, ms(1_000)).is_empty(), "its BYE may not have left");
    bench.input(Input::EngineUp { engine: B });
    let said = bench.input(Input::EngineDown { engine: A }).to_vec();
    let [(B, _, token, Cause::Resume, _, true)] = grants(&said)[..] else { panic!("{said:?}") };
    assert!(crossed(&mut bench, ms(1_000)).is_empty());
    bench.unlock(B, key(1), token);
    assert_eq!(crossed(&mut bench, ms(50)), removal(1, end));
}

#[test]
fn a_call_that_begins_again_on_its_record_crosses_again() {
    let mut bench = bench();
    bench.turn(key(1), BOUNDARY, |_| {});
    assert_eq!(crossed(&mut bench, ms(150)).len(), 1);
    let end = bench.turn(key(1), ENDED, |_| {});
    assert_eq!(crossed(&mut bench, ms(50)), removal(1, end));
    bench.turn(key(1), BUSY, |_| {});
    assert_eq!(marks(&bench), (0, 1, 0), "it rings");
    bench.replica.handle_input(
        bench.now,
        Input::Order(Order::Site(crate::SiteOrder::Sweep { site: THERE })),
    );
    assert!(crossed(&mut bench, ms(60_000)).is_empty(), "and is not forced to cross");
    // Whatever is said of the crossing section, the other site has none.
    let again = bench.turn(key(1), UNCHANGED, |_| {});
    assert_eq!(marks(&bench), (1, 0, 0));
    let out = crossed(&mut bench, ms(150));
    let [Entry::Record(new)] = out.as_slice() else { panic!("{out:?}") };
    assert_eq!((new.header.stamp, new.header.stamp > end), (again, true));
    assert_eq!(marks(&bench), (0, 0, 0));
    let gone = bench.delete(key(1));
    assert_eq!(crossed(&mut bench, ms(50)), removal(1, gone));
}

#[test]
fn the_other_site_takes_what_begins_again_in_whatever_order_it_hears() {
    let (old, end, again) = (from_there(1, 3), stamp(65_536, THERE, 4), from_there(1, 5));
    let mut bench = Bench::new();
    assert_eq!(bench.store_dormant(old.clone()), DormantOutcome::Stored);
    assert_eq!(bench.store_tombstone(key(1), end), DormantOutcome::Stored);
    assert_eq!(bench.held(key(1)), None);
    assert_eq!(bench.store_dormant(old), DormantOutcome::Stale);
    assert_eq!(bench.store_dormant(again.clone()), DormantOutcome::Stored);
    assert_eq!(bench.store_tombstone(key(1), end), DormantOutcome::Stale);
    assert_eq!(bench.held(key(1)), Some(again.header.stamp));
}

#[test]
fn what_merely_lingers_is_not_given_back_nor_listed_for_its_old_home() {
    let mut bench = Bench::new();
    assert_eq!(bench.store_dormant(from_there(1, 3)), DormantOutcome::Stored);
    let (token, old) = bench.lock(A, key(1));
    bench.activate(key(1), token, old.expect("dormant"), BOUNDARY);
    bench.unlock(A, key(1), token);
    let end = bench.turn(key(1), ENDED, |_| {});
    let said = bench.status(&[THERE], SiteState::Returning, 2);
    assert!(grants(&said).is_empty());
    let said = bench.site(SiteInput::KeysetAsk { site: THERE, cursor: None, ask: 7 });
    let page = said.iter().find_map(|output| match output {
        Output::Gate(GateBound::KeysetPage { entries, next, .. }) => Some((entries.len(), *next)),
        _ => None,
    });
    assert_eq!(page, Some((0, None)));
    let mut said = bench.alive(&[THERE]);
    said.extend(bench.pass(ms(5_000)));
    assert!(grants(&said).is_empty());
    assert_eq!(batches(&said)[0].2, removal(1, end));
}

#[test]
fn a_site_that_came_back_empty_is_told_of_ends_again() {
    let mut bench = bench();
    bench.turn(key(1), BOUNDARY, |_| {});
    assert_eq!(crossed(&mut bench, ms(150)).len(), 1);
    let end = bench.turn(key(1), ENDED, |_| {});
    assert_eq!(crossed(&mut bench, ms(50)), removal(1, end));
    bench.status(&[THERE], SiteState::Serving, 2);
    assert_eq!(crossed(&mut bench, ms(50)), removal(1, end));
}

#[test]
fn a_removal_that_is_awaited_is_not_lost_to_a_call_that_is_refused() {
    let mut bench = bench();
    bench.turn(key(1), BOUNDARY, |_| {});
    assert_eq!(crossed(&mut bench, ms(150)).len(), 1);
    bench.site(SiteInput::LinkDown { view: ViewNumber::default(), site: THERE });
    bench.delete(key(1));
    bench.turn(key(1), BUSY, |_| {});
    let end = bench.turn(key(1), ENDED, |_| {});
    bench.delete(key(1));
    bench.alive(&[THERE]);
    assert_eq!(batches(&bench.said.clone()).first().map(|out| out.2.clone()), None);
    assert_eq!(crossed(&mut bench, ms(50)), removal(1, end));
}

#[test]
fn an_answered_call_is_at_risk_whatever_it_does_next() {
    let mut bench = bench();
    bench.turn(key(1), BUSY, |_| {});
    bench.pass(ms(40_000));
    assert_eq!(marks(&bench), (0, 1, 0));
    assert_eq!(bench.replica.stats(bench.now).outbound[&THERE].oldest, Duration::ZERO);
    bench.turn(key(1), UNCHANGED, |_| {});
    assert_eq!(marks(&bench), (1, 0, 0));
    bench.turn(key(1), BUSY, |_| {});
    assert_eq!(marks(&bench), (1, 0, 0), "a re-INVITE");
    bench.turn(key(1), BOUNDARY, |_| {});
    assert_eq!(crossed(&mut bench, ms(150)).len(), 1);
    assert_eq!(marks(&bench), (0, 0, 0));
}

#[test]
fn an_empty_lock_tells_under_which_epoch_the_key_ended() {
    let mut bench = bench();
    let floor = |bench: &mut Bench| match bench.ask(A, key(1), true).as_slice() {
        [Reply::Granted { token, record, floor, .. }] => {
            let (token, answer) = (*token, (record.is_some(), *floor));
            bench.unlock(A, key(1), token);
            answer
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(floor(&mut bench), (false, None));
    let end = stamp(131_072, THERE, 9);
    assert_eq!(bench.store_tombstone(key(1), end), DormantOutcome::Stored);
    assert_eq!(floor(&mut bench), (false, Some(end.epoch)));
    bench.turn(key(1), BUSY, |record| {
        record.header.stamp.epoch = end.epoch.woken_at(HERE);
    });
    assert_eq!(floor(&mut bench), (true, None));
    assert_eq!(bench.replica.stats(bench.now).counts.begun_below_tombstone, 0);
}

#[test]
fn a_site_that_asks_where_a_refused_call_lives_hears_of_its_end() {
    let mut bench = bench();
    bench.turn(key(1), BUSY, |_| {});
    let end = bench.turn(key(1), ENDED, |_| {});
    bench.turn(key(2), BUSY, |_| {});
    for number in 1..=2 {
        bench.site(SiteInput::Pull { site: THERE, key: key(number), ask: 1 });
    }
    assert_eq!(crossed(&mut bench, ms(50)), removal(1, end));
    let end = bench.turn(key(2), ENDED, |_| {});
    assert_eq!(crossed(&mut bench, ms(50)), removal(2, end));
    bench.delete(key(1));
    bench.delete(key(2));
    assert!(crossed(&mut bench, ms(60_000)).is_empty());
}
