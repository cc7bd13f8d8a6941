//! Calls that an operator sends elsewhere, calls that go home or not, and another backup site.

use super::*;
use crate::{Progress, Steering};
use tier_protocol::Return;

const AWAY: Course = Course { evacuates: true, backup_to: None, sweeps: false };

/// What the gate tells with its next status.
pub(super) fn steer(bench: &mut Bench, steering: Steering) -> Vec<Output> {
    let alive = bench.replica.sites.values().copied().collect();
    let (here, waiting) = (SiteState::Serving, Vec::new());
    bench.site(SiteInput::Status { view: ViewNumber::default(), here, alive, waiting, steering })
}

fn evacuate(bench: &mut Bench, to: Option<SiteId>) -> Vec<Output> {
    let steering = Steering { evacuate_to: to, ..bench.replica.steering.clone() };
    steer(bench, steering)
}

/// The calls among `said` that are to be given to `site`.
fn given(said: &[Output], site: SiteId) -> Vec<(CallKey, LockToken, Record)> {
    let all = grants(said).into_iter().filter(|grant| grant.3 == Cause::HandBack { to: site });
    all.map(|(_, key, token, _, record, _)| (key, token, record.expect("held"))).collect()
}

/// Gives a call away, as an engine does.
fn give(bench: &mut Bench, of: (CallKey, LockToken, Record), to: SiteId) -> Vec<Output> {
    let (key, token, record) = of;
    bench.put_next(key, token, Some(record), BOUNDARY, |record| {
        record.header.stamp.epoch = record.header.stamp.epoch.given_to(to);
    });
    bench.unlock(A, key, token);
    bench.said.clone()
}

/// Acknowledges every batch that goes out within a second; what was in them, by site.
fn acknowledge(bench: &mut Bench) -> Vec<(SiteId, Entry)> {
    let mut all = Vec::new();
    for _ in 0..10 {
        for (site, id, entries) in batches(&bench.pass(ms(100))) {
            all.extend(entries.into_iter().map(|entry| (site, entry)));
            bench.site(SiteInput::BatchStored { site, id });
        }
    }
    all
}

#[test]
fn every_call_goes_at_its_boundary_paced_and_later_ones_follow() {
    let mut bench = Bench::with(|config| config.pace.hand_back_per_s = 100);
    for number in 0..200 {
        bench.turn(wide_key(number), BOUNDARY, |_| {});
    }
    bench.turn(key(250), BUSY, |_| {});
    bench.alive(&[THERE]);
    bench.pass(ms(200));
    let mut said = evacuate(&mut bench, Some(THERE));
    let (mut gone, mut steps) = (0, 0);
    while gone < 200 {
        for call in given(&said, THERE) {
            give(&mut bench, call, THERE);
            gone += 1;
        }
        said = bench.pass(ms(10));
        steps += 1;
        assert!(steps < 1_000, "{gone}");
    }
    assert!((190..=220).contains(&steps), "two seconds at 100 a second: {steps}");
    assert_eq!(bench.replica.stats(bench.now).active, 1, "the busy one");
    assert!(given(&bench.pass(ms(10_000)), THERE).is_empty());
    bench.turn(key(250), BOUNDARY, |_| {});
    bench.turn(key(251), BOUNDARY, |_| {});
    let last = given(&bench.pass(ms(300)), THERE);
    assert_eq!(last.iter().map(|call| call.0).collect::<Vec<_>>(), [key(250), key(251)]);
    for call in last {
        give(&mut bench, call, THERE);
    }
    let stats = bench.replica.stats(bench.now);
    assert_eq!((stats.active, stats.counts.evacuated, stats.counts.handed_back), (0, 202, 0));
    assert_eq!(stats.dormant[&THERE], 202, "until they are known to have arrived");
}

#[test]
fn an_ended_evacuation_moves_nothing_more() {
    let mut bench = Bench::with(|config| config.pace.hand_back_per_s = 100);
    for number in 0..100 {
        bench.turn(wide_key(number), BOUNDARY, |_| {});
    }
    bench.alive(&[THERE]);
    bench.pass(ms(200));
    evacuate(&mut bench, Some(THERE));
    let mut left = bench.pass(ms(100));
    left.extend(evacuate(&mut bench, None));
    for call in given(&left, THERE) {
        give(&mut bench, call, THERE);
    }
    assert!(given(&bench.pass(ms(60_000)), THERE).is_empty());
    assert!(bench.replica.stats(bench.now).active > 80);
}

#[test]
fn nobody_is_given_a_call_who_does_not_want_it() {
    let mut bench = Bench::new();
    bench.turn(key(1), BOUNDARY, |_| {});
    bench.pass(ms(200));
    evacuate(&mut bench, Some(THERE));
    assert!(given(&bench.pass(ms(5_000)), THERE).is_empty(), "it is silent");
    bench.status(&[THERE], SiteState::Returning, 1);
    assert!(given(&bench.pass(ms(5_000)), THERE).is_empty(), "it returns");
    bench.on_course(&[THERE], SiteState::Serving, 1, AWAY);
    assert!(given(&bench.pass(ms(5_000)), THERE).is_empty(), "it gives its own away");
    let mut said = bench.alive(&[THERE]);
    said.extend(bench.pass(ms(200)));
    assert_eq!(given(&said, THERE).len(), 1);
}

#[test]
fn calls_passed_while_the_target_was_silent_go_when_it_is_back() {
    let mut bench = Bench::with(|config| config.pace.hand_back_per_s = 20);
    for number in 0..50 {
        bench.turn(wide_key(number), BOUNDARY, |_| {});
    }
    bench.alive(&[THERE]);
    bench.pass(ms(200));
    let mut said = evacuate(&mut bench, Some(THERE));
    said.extend(bench.pass(ms(500)));
    let mut gone = given(&said, THERE).len();
    given(&said, THERE).into_iter().for_each(|call| drop(give(&mut bench, call, THERE)));
    bench.alive(&[]);
    assert!(given(&bench.pass(ms(5_000)), THERE).is_empty());
    let mut said = bench.alive(&[THERE]);
    said.extend(bench.pass(ms(5_000)));
    gone += given(&said, THERE).len();
    assert_eq!(gone, 50);
}

#[test]
fn a_call_of_a_site_that_evacuates_stays_until_that_site_wants_it_again() {
    let mut bench = Bench::new();
    bench.on_course(&[THERE], SiteState::Serving, 1, AWAY);
    // It was sent here: asleep, with this site as its home.
    bench.store_dormant(record(key(1), stamp(65_537, HERE, 4), THERE));
    let (_, key, token, cause, old, _) = grants(&bench.said)[0].clone();
    assert_eq!(cause, Cause::Activate);
    bench.activate(key, token, old.expect("arrived"), BOUNDARY);
    bench.unlock(A, key, token);
    assert!(given(&bench.pass(ms(60_000)), THERE).is_empty());
    let mut said = bench.alive(&[THERE]);
    said.extend(bench.pass(ms(200)));
    assert_eq!(given(&said, THERE).len(), 1, "its home takes calls again");
}

#[test]
fn a_call_of_another_site_goes_home_before_it_goes_anywhere_else() {
    let mut bench = Bench::new();
    bench.store_dormant(from_there(1, 1));
    let (token, old) = bench.lock(A, key(1));
    bench.activate(key(1), token, old.expect("dormant"), BOUNDARY);
    bench.unlock(A, key(1), token);
    bench.alive(&[THERE, THIRD]);
    let mut said = evacuate(&mut bench, Some(THIRD));
    said.extend(bench.pass(ms(200)));
    assert_eq!((given(&said, THERE).len(), given(&said, THIRD).len()), (1, 0));
}

#[test]
fn the_copy_of_the_backup_site_is_void_once_a_third_site_has_the_call() {
    let mut bench = Bench::with(|config| config.backup_to = Some(THERE));
    bench.alive(&[THERE, THIRD]);
    let first = bench.turn(key(1), BOUNDARY, |_| {});
    acknowledge(&mut bench);
    let mut said = evacuate(&mut bench, Some(THIRD));
    said.extend(bench.pass(ms(200)));
    let call = given(&said, THIRD).remove(0);
    give(&mut bench, call, THIRD);
    let held = bench.held(key(1)).expect("kept asleep");
    assert_eq!(held.epoch, first.epoch.given_to(THIRD));
    let crossed = acknowledge(&mut bench);
    let Some((THIRD, Entry::Record(arrived))) = crossed.first() else { panic!("{crossed:?}") };
    assert_eq!(arrived.header.stamp, held);
    let Some((THERE, Entry::Tombstone(void))) = crossed.get(1) else { panic!("{crossed:?}") };
    assert!(first.epoch < void.epoch() && void.epoch() < held.epoch);
    assert_eq!(crossed.len(), 2, "each is said once");

    // The backup site: its copy goes, one that was woken there meanwhile stays.
    let mut keeper = Bench::new();
    keeper.store_dormant(record(key(1), stamp(65_536, THERE, 1), THERE));
    let of_asleep = Stamp { epoch: Epoch { n: 65_536, site: THERE }.given_to(THIRD), ..held };
    let void = Stamp { epoch: of_asleep.epoch.below(), ..of_asleep };
    keeper.store_dormant(record(key(2), stamp(65_536, THERE, 1), THERE));
    let (token, old) = keeper.lock(A, key(2));
    keeper.activate(key(2), token, old.expect("dormant"), BOUNDARY);
    keeper.unlock(A, key(2), token);
    assert_eq!(keeper.store_tombstone(key(1), void), DormantOutcome::Stored);
    assert_eq!(keeper.held(key(1)), None);
    let late = record(key(1), stamp(65_536, THERE, 2), THERE);
    assert_eq!(keeper.store_dormant(late), DormantOutcome::Stale, "a late batch changes nothing");
    let woken = Epoch { n: 65_538, site: HERE };
    let outcome = keeper.store_tombstone(key(2), void);
    assert_eq!(outcome, DormantOutcome::Superseded { held: woken });
    assert_eq!(keeper.replica.stats(keeper.now).active, 1, "it is nobody's to end");
}

#[test]
fn a_paused_return_asks_for_nothing_and_goes_on_and_an_aborted_one_forgets() {
    use tier_protocol::{KeysetEntry, KeysetKind};
    let mut bench = Bench::with(|config| config.pace.refill_per_s = 100);
    bench.alive(&[THERE]);
    let epoch = Epoch { n: 65_536, site: HERE };
    let entries: Vec<_> = (0..50)
        .map(|number| KeysetEntry { key: wide_key(number), epoch, kind: KeysetKind::Dormant })
        .collect();
    let pulls = |said: &[Output]| {
        said.iter().filter(|one| matches!(one, Output::Gate(GateBound::Pull { .. }))).count()
    };
    let page = SiteInput::KeysetPage { from: THERE, entries };
    let set = |bench: &mut Bench, returning| {
        let steering = Steering { returning, ..bench.replica.steering.clone() };
        steer(bench, steering)
    };
    set(&mut bench, Return::Paused);
    let mut said = bench.site(page.clone());
    said.extend(bench.pass(ms(5_000)));
    assert_eq!((pulls(&said), bench.replica.progress().refills), (0, 50));
    let mut said = set(&mut bench, Return::Runs);
    said.extend(bench.pass(ms(100)));
    assert!((5..=20).contains(&pulls(&said)), "{}", pulls(&said));
    set(&mut bench, Return::Aborted);
    assert_eq!(bench.replica.progress().refills, 0);
    assert_eq!(pulls(&bench.pass(ms(60_000))), 0);
    // A start fetches the keyset anew.
    set(&mut bench, Return::Runs);
    let mut said = bench.site(page);
    said.extend(bench.pass(ms(1_000)));
    assert_eq!(pulls(&said), 50);
}

#[test]
fn another_backup_site_has_every_call_before_the_old_one_lets_go() {
    let mut bench = Bench::with(|config| config.backup_to = Some(THERE));
    bench.alive(&[THERE, THIRD]);
    for number in 1..=20 {
        bench.turn(key(number), BOUNDARY, |_| {});
    }
    let first = acknowledge(&mut bench);
    assert!(first.iter().all(|(site, _)| *site == THERE) && first.len() == 20);
    let steering = Steering { backup_to: Some(THIRD), ..Steering::default() };
    let said = steer(&mut bench, steering);
    assert_eq!(bench.replica.progress().backed_up_at, None, "nothing has crossed yet");
    let mut held_back = Vec::new();
    let said = [said, bench.pass(ms(1_000))].concat();
    for (site, id, entries) in batches(&said) {
        assert_eq!((site, entries.len()), (THIRD, 20));
        held_back.push(id);
    }
    assert_eq!(bench.replica.progress().backed_up_at, None, "not acknowledged");
    for id in held_back {
        bench.site(SiteInput::BatchStored { site: THIRD, id });
    }
    // Calls that began since then are not waited for.
    bench.turn(key(30), BOUNDARY, |_| {});
    let Progress { active, backed_up_at, .. } = bench.replica.progress();
    assert_eq!((active, backed_up_at), (21, Some(THIRD)));
}

#[test]
fn copies_of_a_site_that_is_kept_elsewhere_go_and_those_of_a_returning_one_stay() {
    let mut bench = Bench::new();
    bench.store_dormant(from_there(1, 1));
    bench.alive(&[THERE]);
    let moved = |site| Course { backup_to: Some(site), ..Course::default() };
    bench.on_course(&[THERE], SiteState::Returning, 1, moved(THIRD));
    bench.pass(ms(1_000));
    assert_eq!(bench.replica.progress().dormant, [(THERE, 1)], "it may have to fetch it");
    bench.on_course(&[THERE], SiteState::Serving, 1, moved(HERE));
    bench.pass(ms(1_000));
    assert_eq!(bench.replica.progress().dormant, [(THERE, 1)], "it is kept here");
    bench.on_course(&[THERE], SiteState::Serving, 1, moved(THIRD));
    bench.pass(ms(1_000));
    assert_eq!(bench.replica.progress().dormant, []);
    // It comes back to this site later: the same version is taken again.
    assert_eq!(bench.store_dormant(from_there(1, 1)), DormantOutcome::Stored);
}

#[test]
fn calls_of_a_living_site_are_woken_by_force_alone() {
    let mut bench = Bench::new();
    bench.store_dormant(from_there(1, 1));
    bench.store_dormant(from_there(2, 1));
    bench.alive(&[THERE]);
    let order =
        |force| Input::Order(Order::Site(crate::SiteOrder::ActivateAll { site: THERE, force }));
    let mut said = bench.input(order(false)).to_vec();
    said.extend(bench.pass(ms(1_000)));
    assert_eq!(grants(&said), []);
    let steering = Steering { returning: Return::Paused, ..Steering::default() };
    steer(&mut bench, steering);
    let said = bench.input(order(true)).to_vec();
    assert_eq!(super::bulk::wake(&mut bench, said), 2);
    // Pressed twice: nothing happens twice, and nothing goes straight back.
    let mut said = bench.input(order(true)).to_vec();
    said.extend(bench.pass(ms(60_000)));
    assert_eq!(grants(&said), []);
    assert_eq!(bench.replica.stats(bench.now).active, 2);
}

#[test]
fn a_keeper_that_was_replaced_is_not_believed() {
    let mut bench = Bench::new();
    let steering = |to| Steering { evacuate_to: to, ..Steering::default() };
    let tell = |bench: &mut Bench, view, sites: &[SiteId], to| {
        let status = |site: &SiteId| SiteStatus {
            site: *site,
            state: SiteState::Serving,
            start: 1,
            dictionary: 1,
            course: Course::default(),
        };
        bench.site(SiteInput::Status {
            view: ViewNumber(view),
            here: SiteState::Serving,
            alive: sites.iter().map(status).collect(),
            waiting: Vec::new(),
            steering: steering(to),
        });
    };
    let knows = |bench: &Bench| {
        (bench.replica.sites.contains_key(&THERE), bench.replica.steering.evacuate_to)
    };
    tell(&mut bench, 8, &[THERE], None);
    // It stood still while an operator ordered, and took back, that calls go away.
    tell(&mut bench, 7, &[], Some(THERE));
    assert_eq!(knows(&bench), (true, None));
    bench.site(SiteInput::LinkDown { view: ViewNumber(7), site: THERE });
    assert_eq!(knows(&bench), (true, None), "its links broke, those of the keeper did not");
    assert_eq!(bench.replica.stats(bench.now).counts.old_keeper, 2);
    tell(&mut bench, 8, &[THERE], Some(THERE));
    assert_eq!(knows(&bench), (true, Some(THERE)), "the keeper of now");
    // Of a release that says no view.
    tell(&mut bench, 0, &[], None);
    assert_eq!(knows(&bench), (false, None));
}
