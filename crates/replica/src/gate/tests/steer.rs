//! An operator steers: what other sites and the partitions hear, and who goes on with it.

use tier_protocol::{
    PartitionView, Progress, Return, Seat, SiteMap, SiteOrder, Standing, Steering,
};
use vocab::ReplicaId;

use super::*;

fn steered(said: &[GateOutput]) -> Option<Steering> {
    let told = said.iter().filter_map(|output| match output {
        GateOutput::ToReplicas(SiteInput::Status { steering, .. }) => Some(steering.clone()),
        _ => None,
    });
    told.last()
}

fn course(said: &[GateOutput]) -> Option<Course> {
    let told = said.iter().filter_map(|output| match output {
        GateOutput::ToSite { word: SiteWord::Hello { course, .. }, .. } => Some(*course),
        _ => None,
    });
    told.last()
}

fn page(number: u8, next: Option<u8>) -> SiteWord {
    let epoch = Epoch { n: 5, site: THERE };
    let entries = vec![KeysetEntry { key: key(number), epoch, kind: KeysetKind::Dormant }];
    SiteWord::KeysetPage { entries, next: next.map(key), ask_later: false }
}

#[test]
fn a_site_that_evacuates_tells_the_others_first_and_its_replicas() {
    let mut bench = Bench::new();
    bench.up(THERE);
    let said = bench.input(GateInput::Steer(Steer::Evacuate(Some(THERE))));
    assert_eq!(course(&said), Some(Course { evacuates: true, ..SWEEPS }));
    let steering = steered(&said).expect("the replicas are told");
    assert_eq!(steering.evacuate_to, Some(THERE));
    let hello = said.iter().position(|it| matches!(it, GateOutput::ToSite { .. }));
    let status = said.iter().position(|it| matches!(it, GateOutput::ToReplicas(_)));
    assert!(hello < status, "a call that comes before the word would be given back");
    assert_eq!(steered(&bench.input(GateInput::Steer(Steer::Evacuate(Some(THERE))))), None);
    let said = bench.input(GateInput::Steer(Steer::Evacuate(None)));
    assert_eq!(course(&said), Some(SWEEPS));
    assert_eq!(steered(&said), Some(Steering::default()));
}

#[test]
fn the_partitions_hear_of_a_site_that_evacuates() {
    let mut bench = Bench::new();
    bench.up(THERE);
    let (site, start, state, dictionary) = (THERE, 1, SiteState::Serving, 1);
    let course = Course { evacuates: true, backup_to: Some(THIRD), sweeps: true };
    let said = bench.word(THERE, SiteWord::Hello { site, start, state, dictionary, course });
    let told = said.iter().find_map(|output| match output {
        GateOutput::ToReplicas(SiteInput::Status { alive, .. }) => alive.first().copied(),
        _ => None,
    });
    assert_eq!(told.map(|status| status.course), Some(course));
    assert_eq!(bench.gate.stats(bench.now).evacuating, [THERE]);
}

#[test]
fn a_paused_return_asks_for_nothing_and_serves_nobody_until_it_goes_on() {
    let mut bench = Bench::with(2, |_| {});
    bench.up(THERE);
    bench.input(GateInput::Steer(Steer::Return(Return::Paused)));
    let said = bench.word(THERE, page(1, Some(1)));
    assert_eq!(to_site(&said, THERE), []);
    let said = bench.pass_greeted(ms(600_000), THERE, SiteState::Serving);
    assert_eq!(to_site(&said, THERE), []);
    assert!(!bench.gate.stats(bench.now).is_serving);
    assert_eq!(bench.gate.stats(bench.now).keyset_awaited, [THERE]);
    let said = bench.input(GateInput::Steer(Steer::Return(Return::Runs)));
    assert_eq!(to_site(&said, THERE), [SiteWord::KeysetAsk { cursor: Some(key(1)) }]);
    assert!(!bench.gate.stats(bench.now).is_serving, "the site is waited for anew");
    bench.word(THERE, page(2, None));
    assert!(bench.gate.stats(bench.now).is_serving);
}

#[test]
fn an_aborted_return_begins_anew() {
    let mut bench = Bench::with(2, |_| {});
    bench.up(THERE);
    bench.word(THERE, page(1, Some(1)));
    bench.input(GateInput::Steer(Steer::Return(Return::Aborted)));
    let said = bench.input(GateInput::Steer(Steer::Return(Return::Runs)));
    assert_eq!(to_site(&said, THERE), [SiteWord::KeysetAsk { cursor: None }]);
}

#[test]
fn a_site_serves_without_the_keyset_on_order_and_fetches_it_beside_that() {
    let mut bench = Bench::with(2, |_| {});
    bench.input(up(A));
    bench.up(THERE);
    let said = bench.input(GateInput::Steer(Steer::ServeWithoutKeyset));
    assert_eq!(told(&said).map(|told| told.0), Some(SiteState::Serving));
    assert!(bench.gate.stats(bench.now).is_serving);
    assert_eq!(bench.gate.stats(bench.now).keyset_awaited, [THERE]);
    assert_eq!(to_replica(&bench.word(THERE, page(1, None))).len(), 1);
    assert!(bench.gate.stats(bench.now).keyset_awaited.is_empty());
}

#[test]
fn other_sites_hear_of_a_new_backup_site_when_that_has_every_call() {
    let mut bench = Bench::new();
    bench.up(THERE);
    let said = bench.input(GateInput::Steer(Steer::BackUpTo(THIRD)));
    assert_eq!(course(&said), Some(SWEEPS), "not before");
    let asked = |said: &[GateOutput]| to_replica(said).contains(&SiteInput::ProgressAsk);
    let said = bench.pass_greeted(ms(1_000), THERE, SiteState::Serving);
    assert!(asked(&said));
    let progress = |backed_up_at| Progress { backed_up_at, ..Progress::default() };
    assert_eq!(course(&bench.replica(GateBound::Progress(progress(Some(THERE))))), None);
    let said = bench.replica(GateBound::Progress(progress(Some(THIRD))));
    let whole = Course { evacuates: false, backup_to: Some(THIRD), sweeps: true };
    assert_eq!(course(&said), Some(whole));
    let said = bench.pass_greeted(ms(1_000), THERE, SiteState::Serving);
    assert!(!asked(&said), "there is nothing more to hear");
    assert_eq!(course(&said), Some(whole));
    // The next order begins anew.
    let said = bench.input(GateInput::Steer(Steer::BackUpTo(THERE)));
    assert_eq!(course(&said), Some(SWEEPS));
}

#[test]
fn a_new_keeper_of_the_gate_goes_on_with_what_its_replica_was_told() {
    let (me, other) = (ReplicaId(7), ReplicaId(8));
    let map = |primary| {
        let seat = |replica| Seat {
            replica,
            partition: ONLY,
            name: String::new(),
            address: String::new(),
            partitions: 0,
            replicas: 0,
        };
        let partitions = vec![PartitionView::alone(ONLY, ViewNumber(5), primary)];
        SiteMap { partitions, seats: vec![seat(me), seat(other)], ..SiteMap::default() }
    };
    let mut bench = Bench::with(1, |config| config.is_shared = true);
    bench.input(GateInput::Map { replica: me, map: map(other) });
    let steering = Steering { evacuate_to: Some(THERE), ..Steering::default() };
    assert_eq!(
        bench.input(GateInput::Steered { view: ViewNumber(6), steering: steering.clone() }),
        []
    );
    let said = bench.input(GateInput::Map { replica: me, map: map(me) });
    assert_eq!(steered(&said).as_ref(), Some(&steering));
    assert_eq!(
        course(&bench.up(THERE)).or(course(&bench.pass(ms(500)))).map(|it| it.evacuates),
        Some(true)
    );
    // What it says itself it does not learn from itself.
    bench.input(GateInput::Steered { view: ViewNumber(7), steering: Steering::default() });
    assert_eq!(bench.gate.stats(bench.now).steering, steering);
}

fn going(heard: Option<u64>, activating: &[SiteId]) -> GateBound {
    let activating = activating.to_vec();
    GateBound::Progress(Progress { heard, activating, ..Progress::default() })
}

#[test]
fn an_order_stands_until_every_partition_has_carried_that_very_order_out() {
    let mut bench = Bench::with(1, |config| config.partitions = vec![ONLY, PartitionId(1)]);
    let other = |output| GateInput::FromReplica { partition: PartitionId(1), output };
    let order = GateInput::Order(SiteOrder::ActivateAll { site: THERE, force: false });
    let stands = |bench: &Bench| {
        let stats = bench.gate.stats(bench.now);
        (stats.steering.standing.activating.contains(&THERE), stats.activated.contains(&THERE))
    };
    let said = bench.input(order.clone());
    let standing = steered(&said).expect("the replicas are told").standing;
    assert_eq!((standing.number, stands(&bench)), (1, (true, false)));
    assert!(to_replica(&bench.pass(ms(1_000))).contains(&SiteInput::ProgressAsk));
    bench.replica(going(Some(1), &[]));
    bench.input(other(going(Some(0), &[])));
    assert_eq!(stands(&bench), (true, false), "one has not heard of it yet");
    bench.input(other(going(Some(1), &[THERE])));
    assert_eq!(stands(&bench), (true, false), "one is at it");
    bench.input(order);
    bench.input(other(going(Some(2), &[])));
    assert_eq!(stands(&bench), (true, false), "ordered anew: what was told before is void");
    let said = bench.replica(going(Some(2), &[]));
    assert_eq!(stands(&bench), (false, true));
    assert!(steered(&said).expect("they are told").standing.activating.is_empty());
    assert!(!to_replica(&bench.pass(ms(1_000))).contains(&SiteInput::ProgressAsk));
}

#[test]
fn a_partition_of_a_release_before_counts_by_what_is_left() {
    let mut bench = Bench::new();
    bench.input(GateInput::Order(SiteOrder::DropBackup { site: THERE }));
    let stands = |bench: &Bench| bench.gate.stats(bench.now).steering.standing.deleting.len();
    let old = |left| Progress { ordered: vec![(THERE, left)], ..Progress::default() };
    bench.replica(GateBound::Progress(old(3)));
    assert_eq!(stands(&bench), 1);
    bench.replica(GateBound::Progress(old(0)));
    assert_eq!(stands(&bench), 0);
    assert!(bench.gate.stats(bench.now).deleted.contains(&THERE));
}

#[test]
fn an_activation_ends_when_the_home_answers_and_a_forced_one_when_it_starts_anew() {
    let mut bench = Bench::new();
    let order = |force| GateInput::Order(SiteOrder::ActivateAll { site: THERE, force });
    let standing = |bench: &Bench| bench.gate.stats(bench.now).steering.standing;
    bench.input(order(false));
    bench.up(THERE);
    assert!(standing(&bench).activating.is_empty());
    assert!(bench.gate.stats(bench.now).activated.is_empty(), "it was not carried out");
    bench.input(order(true));
    bench.pass_greeted(ms(2_000), THERE, SiteState::Serving);
    assert_eq!(standing(&bench).forced, [(THERE, 1)].into());
    assert!(standing(&bench).activating.contains(&THERE));
    bench.hello(THERE, 2, SiteState::Serving);
    let Standing { activating, forced, .. } = standing(&bench);
    assert!(activating.is_empty() && forced.is_empty());
    bench.input(GateInput::LinkDown { site: THERE });
    bench.input(order(false));
    assert!(standing(&bench).activating.contains(&THERE));
    bench.input(GateInput::Order(SiteOrder::StopActivating { site: THERE }));
    assert!(standing(&bench).activating.is_empty());
    let stop = |on| GateInput::Order(SiteOrder::Replication { site: THERE, on });
    bench.input(stop(false));
    bench.replica(going(Some(5), &[]));
    assert!(standing(&bench).stopped.contains(&THERE), "until the start");
    bench.input(stop(true));
    assert!(standing(&bench).stopped.is_empty());
}

#[test]
fn calls_taken_by_force_do_not_go_straight_back() {
    let mut bench = Bench::new();
    bench.up(THERE);
    let order = SiteOrder::ActivateAll { site: THERE, force: true };
    let said = bench.input(GateInput::Order(order));
    assert_eq!(steered(&said).map(|it| it.returning), Some(Return::Paused));
    let status = said.iter().position(|it| matches!(it, GateOutput::ToReplicas(_)));
    let ordered = said.iter().position(|it| format!("{it:?}").contains("ActivateAll"));
    assert!(status < ordered && ordered.is_some(), "the pause is known first: {said:?}");
    let order = SiteOrder::ActivateAll { site: THERE, force: false };
    let before = steered(&said);
    let after = steered(&bench.input(GateInput::Order(order))).expect("it stands no longer");
    assert_eq!(Some(after.returning), before.map(|it| it.returning), "as it was ordered");
    assert!(after.standing.forced.is_empty() && after.standing.activating.is_empty());
}
