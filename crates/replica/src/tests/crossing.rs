//! What crosses, when, and what an acknowledgement means.

use tier_protocol::dictionary;

use super::*;
use crate::stats::MarkStage;

fn bench() -> Bench {
    let mut bench = Bench::new();
    bench.alive(&[THERE]);
    bench
}

fn sent(bench: &mut Bench, time: Duration) -> Vec<(SiteId, u64, Vec<Entry>)> {
    batches(&bench.pass(time))
}

fn at_risk(bench: &Bench) -> u64 {
    bench.replica.stats(bench.now).outbound.get(&THERE).map_or(0, |site| site.at_risk)
}

fn stage(bench: &Bench, key: CallKey) -> Option<MarkStage> {
    let story = bench.replica.get(bench.now, key)?;
    story.marks.first().map(|mark| mark.stage)
}

#[test]
fn a_settled_call_crosses_trimmed_and_is_clean_when_acknowledged() {
    let mut bench = bench();
    let stamp = bench.turn(key(1), BOUNDARY, |record| {
        record.header.deadline = Some(ms(700_000));
        record.header.crossing_deadline = Some(ms(900_000));
    });
    assert!(sent(&mut bench, ms(149)).is_empty());
    let out = sent(&mut bench, ms(1));
    let [(site, id, entries)] = out.as_slice() else { panic!("{out:?}") };
    let [Entry::Record(record)] = entries.as_slice() else { panic!("{entries:?}") };
    assert_eq!((*site, record.header.stamp, record.local.len()), (THERE, stamp, 0));
    assert_eq!(record.header.age, ms(150));
    assert_eq!(record.header.deadline, Some(ms(900_000)));
    assert_eq!(at_risk(&bench), 1, "at risk until the other site has it on disk");
    bench.site(SiteInput::BatchStored { site: THERE, id: *id });
    assert_eq!(at_risk(&bench), 0);
    let header = bench.replica.get(bench.now, key(1)).and_then(|s| s.header).expect("held");
    assert_eq!(header.crossed, [(THERE, stamp)]);
    assert!(sent(&mut bench, ms(60_000)).is_empty());
}

#[test]
fn each_checkout_within_the_settle_time_delays_the_crossing() {
    let mut bench = bench();
    bench.turn(key(1), BOUNDARY, |_| {});
    for _ in 0..5 {
        assert!(sent(&mut bench, ms(90)).is_empty());
        let (token, _) = bench.lock(A, key(1));
        bench.unlock(A, key(1), token);
    }
    assert_eq!(sent(&mut bench, ms(150)).len(), 1);
    let counts = bench.replica.stats(bench.now).counts;
    assert_eq!((counts.hints.followed, counts.hints.settling > 0), (1, true));
}

#[test]
fn a_call_that_never_was_at_a_boundary_does_not_cross() {
    let mut bench = bench();
    bench.turn(key(1), BUSY, |_| {});
    assert!(sent(&mut bench, ms(600_000)).is_empty());
    let stats = bench.replica.stats(bench.now).outbound[&THERE].clone();
    assert_eq!((stats.at_risk, stats.in_set_up), (0, 1));
}

#[test]
fn an_answered_call_of_a_busy_application_or_of_none_crosses_at_the_bound() {
    let mut bench = bench();
    bench.turn(key(2), BOUNDARY, |record| record.header.hints = vec![(1, Hint::Busy)]);
    bench.turn(key(3), BOUNDARY, |record| record.header.hints.clear());
    assert!(sent(&mut bench, ms(29_999)).is_empty());
    assert_eq!(at_risk(&bench), 2);
    let out = sent(&mut bench, ms(200));
    assert_eq!(out.iter().map(|(_, _, entries)| entries.len()).sum::<usize>(), 2, "{out:?}");
    assert_eq!(bench.replica.stats(bench.now).counts.hints.forced, 2);
}

#[test]
fn a_call_that_turns_busy_again_crosses_at_the_latest_at_the_bound() {
    let mut bench = bench();
    bench.turn(key(1), BOUNDARY, |_| {});
    let mut busy = bench.turn(key(1), BUSY, |_| {});
    let mut elapsed = 0;
    let out = loop {
        let out = sent(&mut bench, ms(1_000));
        elapsed += 1;
        if !out.is_empty() || elapsed > 40 {
            break out;
        }
        busy = bench.turn(key(1), BUSY, |_| {});
    };
    assert!((30..=31).contains(&elapsed), "{elapsed}");
    assert_eq!(out[0].2[0].stamp(), busy, "the newest record");
    // At the bound, and again as it was put once more before its batch left.
    assert_eq!(bench.replica.stats(bench.now).counts.hints.forced, 2);
}

#[test]
fn a_boundary_after_a_busy_put_is_not_held_up_by_the_bound() {
    let mut bench = bench();
    bench.turn(key(1), BOUNDARY, |_| {});
    bench.turn(key(1), BUSY, |_| {});
    assert!(sent(&mut bench, ms(5_000)).is_empty());
    bench.turn(key(1), BOUNDARY, |_| {});
    assert_eq!(sent(&mut bench, ms(150)).len(), 1);
}

#[test]
fn a_locked_call_waits_for_the_end_of_its_lock() {
    let mut bench = bench();
    let (token, _) = bench.lock(A, key(1));
    bench.put_next(key(1), token, None, BOUNDARY, |_| {});
    assert!(sent(&mut bench, ms(5_000)).is_empty());
    assert_eq!(stage(&bench, key(1)), Some(MarkStage::Busy));
    bench.unlock(A, key(1), token);
    assert_eq!(sent(&mut bench, ms(150)).len(), 1);
}

#[test]
fn the_acknowledgement_of_an_older_version_leaves_the_call_marked() {
    let mut bench = bench();
    let first = bench.turn(key(1), BOUNDARY, |_| {});
    let (_, id, _) = sent(&mut bench, ms(150))[0].clone();
    let second = bench.turn(key(1), BOUNDARY, |_| {});
    bench.site(SiteInput::BatchStored { site: THERE, id });
    assert_eq!(at_risk(&bench), 1);
    let header = bench.replica.get(bench.now, key(1)).and_then(|s| s.header).expect("held");
    assert_eq!(header.crossed, [(THERE, first)]);
    let out = sent(&mut bench, ms(150));
    assert_eq!(out[0].2[0].stamp(), second);
    bench.site(SiteInput::BatchStored { site: THERE, id: out[0].1 });
    assert_eq!(at_risk(&bench), 0);
}

#[test]
fn a_put_that_changes_nothing_that_crosses_keeps_a_clean_call_clean() {
    let mut bench = bench();
    let first = bench.turn(key(1), BOUNDARY, |_| {});
    let (_, id, _) = sent(&mut bench, ms(150))[0].clone();
    let second = bench.turn(key(1), UNCHANGED, |_| {});
    bench.site(SiteInput::BatchStored { site: THERE, id });
    assert_eq!(at_risk(&bench), 0, "the version in flight is the same to the other site");
    let third = bench.turn(key(1), UNCHANGED, |_| {});
    assert!(first < second && second < third);
    assert!(sent(&mut bench, ms(60_000)).is_empty());
    let header = bench.replica.get(bench.now, key(1)).and_then(|s| s.header).expect("held");
    assert_eq!(header.crossed, [(THERE, first)], "what the site has");
}

#[test]
fn a_boundary_that_changes_nothing_lets_what_changed_before_cross() {
    let mut bench = bench();
    bench.turn(key(1), BUSY, |_| {});
    assert!(sent(&mut bench, ms(1_000)).is_empty());
    let second = bench.turn(key(1), UNCHANGED, |_| {});
    assert_eq!(sent(&mut bench, ms(150))[0].2[0].stamp(), second);
}

#[test]
fn what_was_refused_or_lost_with_a_link_is_sent_again_in_its_newest_version() {
    let mut bench = bench();
    bench.turn(key(1), BOUNDARY, |_| {});
    let (_, id, _) = sent(&mut bench, ms(150))[0].clone();
    bench.site(SiteInput::BatchRefused { site: THERE, id });
    assert!(sent(&mut bench, ms(999)).is_empty(), "a full queue is given time");
    let out = sent(&mut bench, ms(1));
    assert_eq!(out.len(), 1);
    bench.site(SiteInput::LinkDown { view: ViewNumber::default(), site: THERE });
    assert!(sent(&mut bench, ms(600_000)).is_empty());
    let newest = bench.turn(key(1), BOUNDARY, |_| {});
    bench.turn(key(2), BOUNDARY, |_| {});
    bench.pass(ms(500));
    bench.alive(&[THERE]);
    let out = batches(&bench.said);
    assert_eq!(out.len(), 1);
    let stamps: Vec<Stamp> = out[0].2.iter().map(Entry::stamp).collect();
    assert_eq!(stamps.len(), 2);
    assert!(stamps.contains(&newest));
    // The old batch's word comes late: it means nothing any more.
    bench.site(SiteInput::BatchStored { site: THERE, id });
    assert_eq!(at_risk(&bench), 2);
}

#[test]
fn a_batch_that_is_never_answered_is_sent_again() {
    let mut bench = bench();
    bench.turn(key(1), BOUNDARY, |_| {});
    assert_eq!(sent(&mut bench, ms(150)).len(), 1);
    assert!(sent(&mut bench, ms(14_999)).is_empty());
    assert_eq!(sent(&mut bench, ms(1_001)).len(), 1);
}

#[test]
fn batches_in_flight_and_their_bytes_are_bounded() {
    let mut bench = Bench::with(|config| {
        config.limits.batch_bytes_max = 1_000;
        config.limits.batches_in_flight_max = 2;
    });
    bench.alive(&[THERE]);
    for number in 0..20 {
        bench.turn(key(number), BOUNDARY, |_| {});
    }
    let out = sent(&mut bench, ms(1_000));
    assert_eq!(out.len(), 2);
    assert!(out.iter().all(|(_, _, entries)| (3..10).contains(&entries.len())), "{out:?}");
    let mut left = out;
    let mut all = 0;
    while let Some((site, id, entries)) = left.pop() {
        all += entries.len();
        let said = bench.site(SiteInput::BatchStored { site, id });
        left.extend(batches(&said));
        left.extend(sent(&mut bench, ms(50)));
    }
    assert_eq!((all, at_risk(&bench)), (20, 0));
}

#[test]
fn a_full_batch_does_not_wait_for_company() {
    let mut bench = Bench::with(|config| config.limits.batch_bytes_max = 300);
    bench.alive(&[THERE]);
    for number in 0..4 {
        bench.turn(key(number), BOUNDARY, |_| {});
    }
    assert!(!sent(&mut bench, ms(100)).is_empty());
}

#[test]
fn a_removal_crosses_in_place_of_the_record_and_at_once() {
    let mut bench = bench();
    bench.turn(key(1), BOUNDARY, |_| {});
    let (_, first, _) = sent(&mut bench, ms(150))[0].clone();
    let removed = bench.delete(key(1));
    let out = sent(&mut bench, ms(50));
    let [Entry::Tombstone(tombstone)] = out[0].2.as_slice() else { panic!("{out:?}") };
    assert_eq!(tombstone.stamp, removed);
    bench.site(SiteInput::BatchStored { site: THERE, id: first });
    let outbound = bench.replica.stats(bench.now).outbound[&THERE].clone();
    assert_eq!((outbound.at_risk, outbound.removals), (0, 1));
    bench.site(SiteInput::BatchStored { site: THERE, id: out[0].1 });
    assert_eq!(bench.replica.stats(bench.now).outbound[&THERE].removals, 0);
    assert_eq!(bench.replica.stats(bench.now).tombstones, 1, "it goes on forbidding old copies");
}

#[test]
fn the_removal_of_a_call_that_never_crossed_stays_here() {
    let mut bench = bench();
    bench.turn(key(1), BUSY, |_| {});
    bench.delete(key(1));
    assert!(sent(&mut bench, ms(60_000)).is_empty());
    assert_eq!(bench.replica.stats(bench.now).tombstones, 0);
}

#[test]
fn a_call_that_begins_again_takes_the_place_of_its_tombstone() {
    let mut bench = bench();
    bench.turn(key(1), BOUNDARY, |_| {});
    sent(&mut bench, ms(150));
    bench.delete(key(1));
    let again = bench.turn(key(1), BOUNDARY, |_| {});
    let out = sent(&mut bench, ms(150));
    assert_eq!(out.last().expect("a batch").2.last().expect("an entry").stamp(), again);
    assert_eq!(bench.replica.stats(bench.now).tombstones, 0);
}

#[test]
fn nothing_is_sent_while_replication_is_off_and_all_of_it_after() {
    let mut bench = bench();
    bench
        .input(Input::Order(Order::Site(crate::SiteOrder::Replication { site: THERE, on: false })));
    bench.turn(key(1), BOUNDARY, |_| {});
    assert!(sent(&mut bench, ms(60_000)).is_empty());
    assert_eq!(stage(&bench, key(1)), Some(MarkStage::Ready));
    bench.input(Input::Order(Order::Site(crate::SiteOrder::Replication { site: THERE, on: true })));
    assert_eq!(batches(&bench.said).len(), 1);
}

#[test]
fn a_link_that_is_down_for_hours_costs_one_mark_a_call() {
    let mut bench = bench();
    bench.alive(&[]);
    for _ in 0..50 {
        bench.turn(key(1), BOUNDARY, |_| {});
        bench.turn(key(2), BOUNDARY, |_| {});
        bench.pass(ms(120_000));
    }
    let outbound = bench.replica.stats(bench.now).outbound[&THERE].clone();
    assert_eq!((outbound.at_risk, outbound.ready), (2, 2));
    assert!(outbound.oldest >= ms(50 * 120_000));
}

#[test]
fn a_backup_site_that_came_back_empty_gets_everything_again() {
    let mut bench = bench();
    for number in 0..10 {
        bench.turn(key(number), BOUNDARY, |_| {});
    }
    for (site, id, _) in sent(&mut bench, ms(500)) {
        bench.site(SiteInput::BatchStored { site, id });
    }
    assert_eq!(at_risk(&bench), 0);
    bench.alive(&[]);
    bench.status(&[THERE], SiteState::Returning, 2);
    let out = sent(&mut bench, ms(1_000));
    assert_eq!(out.iter().map(|batch| batch.2.len()).sum::<usize>(), 10);
}

/// What nobody else has was not said to be at risk until its turn to cross came.
#[test]
fn all_that_a_backup_site_lost_is_at_risk_at_once_and_crosses_in_turn() {
    let mut bench = Bench::with(|config| config.pace.refill_per_s = 100);
    bench.alive(&[THERE]);
    for number in 0..200 {
        bench.turn(key(number), BOUNDARY, |_| {});
    }
    let acknowledge = |bench: &mut Bench, after| {
        let out = sent(bench, after);
        for (site, id, _) in &out {
            bench.site(SiteInput::BatchStored { site: *site, id: *id });
        }
        out.iter().map(|batch| batch.2.len()).sum::<usize>()
    };
    while at_risk(&bench) > 0 {
        acknowledge(&mut bench, ms(100));
    }
    bench.alive(&[]);
    bench.status(&[THERE], SiteState::Returning, 2);
    bench.pass(ms(1));
    let behind = |bench: &Bench| bench.replica.stats(bench.now).outbound[&THERE].behind;
    assert_eq!(at_risk(&bench), 200);
    assert!((195..200).contains(&behind(&bench)), "{}", behind(&bench));
    let reason = bench.replica.get(bench.now, key(150)).expect("it is held").hints[0].reason;
    assert_eq!(reason, crate::hint::HintReason::Refill);
    // One that is put meanwhile does not wait.
    bench.turn(key(199), BOUNDARY, |_| {});
    let mut crossed = 0;
    for _ in 0..10 {
        crossed += acknowledge(&mut bench, ms(100));
    }
    assert!((90..=115).contains(&crossed), "{crossed} in a second");
    let left = 200 - crossed as u64;
    assert_eq!(at_risk(&bench), left);
    assert!((left - 15..=left).contains(&behind(&bench)), "{} of {left}", behind(&bench));
    for _ in 0..20 {
        crossed += acknowledge(&mut bench, ms(100));
    }
    assert_eq!((crossed, at_risk(&bench)), (200, 0));
}

#[test]
fn a_backup_site_that_came_back_empty_hears_of_removals_again() {
    let mut bench = bench();
    bench.turn(key(1), BOUNDARY, |_| {});
    sent(&mut bench, ms(150));
    let removed = bench.delete(key(1));
    for (site, id, _) in sent(&mut bench, ms(500)) {
        bench.site(SiteInput::BatchStored { site, id });
    }
    bench.alive(&[]);
    bench.status(&[THERE], SiteState::Returning, 2);
    assert_eq!(sent(&mut bench, ms(100))[0].2[0].stamp(), removed);
}

#[test]
fn a_call_whose_effects_may_not_have_left_does_not_cross() {
    let mut bench = bench();
    let (token, _) = bench.lock(A, key(1));
    bench.put_next(key(1), token, None, UNRELEASED, |_| {});
    bench.input(Input::EngineDown { engine: A });
    assert!(sent(&mut bench, ms(5_000)).is_empty());
    bench.input(Input::EngineUp { engine: B });
    let token = grants(&bench.said)[0].2;
    bench.unlock(B, key(1), token);
    assert_eq!(sent(&mut bench, ms(150)).len(), 1);
}

#[test]
fn another_backup_site_gets_every_call_and_the_old_one_no_more() {
    let mut bench = bench();
    bench.turn(key(1), BOUNDARY, |_| {});
    bench.alive(&[THERE, THIRD]);
    let steering = crate::Steering { backup_to: Some(THIRD), ..Default::default() };
    super::steering::steer(&mut bench, steering);
    let out = sent(&mut bench, ms(1_000));
    assert_eq!(out.iter().map(|batch| batch.0).collect::<Vec<_>>(), [THIRD]);
    assert_eq!(at_risk(&bench), 0);
    // Its engine named the configured one.
    let Entry::Record(crossed) = &out[0].2[0] else { panic!("{out:?}") };
    assert_eq!(crossed.header.backup, Some(THIRD));
}

#[test]
fn batch_numbers_differ_between_views() {
    let mut bench = bench();
    bench.turn(key(1), BOUNDARY, |_| {});
    assert_eq!(sent(&mut bench, ms(150))[0].1, 7 << 32 | 1);
}

#[test]
fn the_removal_of_a_call_that_was_fetched_from_another_site_crosses() {
    let mut bench = bench();
    let (token, _) = bench.lock(A, key(1));
    // The engine pulled it: version 4 there, put here without a base.
    bench.put_next(key(1), token, None, BUSY, |record| record.header.stamp.version = Version(5));
    bench.unlock(A, key(1), token);
    let removed = bench.delete(key(1));
    assert_eq!(sent(&mut bench, ms(50))[0].2[0].stamp(), removed);
}

#[test]
fn a_batch_has_the_dictionary_that_its_receiver_reads() {
    let mut bench = bench();
    for (dictionary, wanted) in [(0, 0), (1, 1), (u16::MAX, dictionary::NEWEST), (0, 0)] {
        let status = SiteStatus {
            site: THERE,
            state: SiteState::Serving,
            start: 1,
            dictionary,
            course: Course::default(),
        };
        let alive = vec![status];
        bench.site(SiteInput::Status {
            view: ViewNumber::default(),
            here: SiteState::Serving,
            alive,
            waiting: Vec::new(),
            steering: bench.replica.steering.clone(),
        });
        let long = b"<sip:alice@192.0.2.1:5060;transport=udp>".repeat(4);
        bench.turn(key(1), BOUNDARY, |record| record.crossing = Bytes::from(long));
        let said = bench.pass(ms(150));
        let written = said.iter().find_map(|output| match output {
            Output::Gate(GateBound::Publish { id, bytes, .. }) => Some((*id, bytes.clone())),
            _ => None,
        });
        let (id, bytes) = written.expect("a batch");
        assert_eq!(batch::dictionary_of(&bytes), wanted);
        bench.site(SiteInput::BatchStored { site: THERE, id });
    }
}

/// Which ranges of time have crossings in them, by index.
fn lags(bench: &Bench) -> Vec<(usize, u64)> {
    let stats = bench.replica.stats(bench.now);
    let counts = stats.outbound[&THERE].lags.counts.into_iter().enumerate();
    counts.filter(|(_, calls)| *calls > 0).collect()
}

#[test]
fn a_crossing_lasts_from_the_put_at_a_boundary_to_the_acknowledgement() {
    let mut bench = bench();
    // Its set-up does not count.
    bench.turn(key(1), BUSY, |_| {});
    bench.pass(ms(5_000));
    bench.turn(key(1), BOUNDARY, |_| {});
    let out = sent(&mut bench, ms(150));
    let [(_, first, _)] = out.as_slice() else { panic!("{out:?}") };
    assert_eq!(lags(&bench), []);
    // While it is under way the call changes: that is a crossing of its own.
    bench.turn(key(1), BOUNDARY, |_| {});
    bench.pass(ms(30));
    bench.site(SiteInput::BatchStored { site: THERE, id: *first });
    let bounds = crate::lag::LAG_BOUNDS_MS;
    let at = |ms: u64| bounds.iter().position(|bound| ms <= *bound).expect("a bound above");
    assert_eq!(lags(&bench), [(at(180), 1)]);
    // What is refused goes again, and has waited all the while.
    let out = sent(&mut bench, ms(120));
    let [(_, second, _)] = out.as_slice() else { panic!("{out:?}") };
    bench.site(SiteInput::BatchRefused { site: THERE, id: *second });
    let out = sent(&mut bench, ms(2_000));
    let [(_, third, _)] = out.as_slice() else { panic!("{out:?}") };
    bench.site(SiteInput::BatchStored { site: THERE, id: *third });
    assert_eq!(lags(&bench), [(at(180), 1), (at(2_150), 1)]);
}

#[test]
fn marked_calls_are_told_by_page_and_clean_ones_are_not() {
    let mut bench = bench();
    bench.turn(key(2), BOUNDARY, |_| {});
    let out = sent(&mut bench, ms(150));
    let [(_, id, _)] = out.as_slice() else { panic!("{out:?}") };
    for number in [1, 3, 5] {
        bench.turn(key(number), BOUNDARY, |_| {});
    }
    bench.turn(key(4), BUSY, |_| {});
    assert_eq!(bench.replica.marked(None, 9), [1, 2, 3, 4, 5].map(key));
    bench.site(SiteInput::BatchStored { site: THERE, id: *id });
    assert_eq!(bench.replica.marked(None, 2), [1, 3].map(key));
    assert_eq!(bench.replica.marked(Some(key(3)), 2), [4, 5].map(key));
    assert_eq!(bench.replica.marked(Some(key(5)), 2), []);
    let told = |number| {
        let story = bench.replica.get(bench.now, key(number)).expect("it is held");
        let marks = story.marks.into_iter();
        marks.map(|mark| (mark.is_at_risk, mark.is_in_set_up)).collect::<Vec<_>>()
    };
    assert_eq!([2, 3, 4].map(told), [vec![], vec![(true, false)], vec![(false, true)]]);
}
