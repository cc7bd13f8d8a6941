//! The gate of a site of several processes: whose it is, and what a new keeper knows.

use tier_protocol::{PartitionView, Seat, SiteMap, SiteOrder, SlotSet, Steering};
use vocab::ReplicaId;

use super::*;

pub(super) const ME: ReplicaId = ReplicaId(7);
pub(super) const OTHER: ReplicaId = ReplicaId(8);
const UPPER: PartitionId = PartitionId(1);

/// Two partitions of one half each, with these primaries.
pub(super) fn map(primaries: [ReplicaId; 2], lives: [u64; 2], settled: u64) -> SiteMap {
    let view = |index: usize| {
        let number = u16::try_from(index).expect("two");
        let alone = PartitionView::alone(PartitionId(number), ViewNumber(5), primaries[index]);
        PartitionView { slots: SlotSet::share(number, 2), life: lives[index], ..alone }
    };
    let partitions = vec![view(0), view(1)];
    let seats = primaries.map(|replica| Seat {
        replica,
        partition: ONLY,
        name: replica.to_string(),
        address: String::new(),
        partitions: 0,
        replicas: 0,
    });
    SiteMap { partitions, settled, seats: seats.to_vec(), ..SiteMap::default() }
}

pub(super) fn shared() -> Bench {
    Bench::with(1, |config| config.is_shared = true)
}

impl Bench {
    pub(super) fn map(&mut self, map: SiteMap) -> Vec<GateOutput> {
        self.input(GateInput::Map { replica: ME, map })
    }

    /// Keeps the gate, with its queue read, and linked to the other primary.
    pub(super) fn keep(&mut self, map: SiteMap) -> Vec<GateOutput> {
        let mut said = self.map(map);
        said.extend(self.input(GateInput::QueueLoaded(Vec::new())));
        said.extend(self.input(GateInput::ReplicaUp { replica: OTHER }));
        said
    }
}

/// A key of the first or of the second half of the slots.
fn key_of(partition: PartitionId) -> CallKey {
    let half = SlotSet::share(partition.0, 2);
    (0..=255).map(key).find(|key| half.contains(key.slot())).expect("one of 256")
}

#[test]
fn it_is_closed_until_the_map_names_this_process_and_again_when_it_names_another() {
    let mut bench = shared();
    bench.input(GateInput::EngineUp { engine: A, dictionary: 0 });
    assert_eq!(bench.input(GateInput::LinkUp { site: THERE }), []);
    assert_eq!(bench.wake.0, Instant::NEVER);
    assert_eq!(bench.map(map([OTHER, ME], [0, 0], 0)), [], "the second primary is no keeper");
    assert!(!bench.gate.stats(bench.now).is_open);

    let said = bench.keep(map([ME, OTHER], [0, 0], 0));
    assert_eq!(said[0], GateOutput::Open);
    assert_eq!(told(&said), Some((SiteState::Serving, vec![], 0)), "its engines hear at once");
    assert!(bench.gate.stats(bench.now).is_open);

    assert_eq!(bench.map(map([OTHER, ME], [0, 0], 0)), [GateOutput::Close]);
    assert_eq!(bench.up(THERE), []);
    assert_eq!(bench.wake.0, Instant::NEVER);
}

#[test]
fn words_about_a_call_go_to_the_partition_that_has_its_slot() {
    let mut bench = shared();
    bench.keep(map([ME, OTHER], [0, 0], 0));
    bench.up(THERE);
    for partition in [ONLY, UPPER] {
        let key = key_of(partition);
        let said = bench.word(THERE, SiteWord::Pull { key, ask: 1 });
        let input = SiteInput::Pull { site: THERE, key, ask: 1 };
        assert_eq!(said, [GateOutput::ToReplica { partition, input }]);
    }
    let order = SiteOrder::Sweep { site: THERE };
    let said = bench.input(GateInput::Order(order));
    let input = SiteInput::Order(order);
    let to = |partition| GateOutput::ToReplica { partition, input: input.clone() };
    assert_eq!(said, [to(ONLY), to(UPPER)], "an order is for all");
}

#[test]
fn what_it_says_of_other_sites_has_the_newest_view_of_its_map() {
    let views = |said: &[GateOutput]| {
        let views = said.iter().filter_map(|output| match output {
            GateOutput::ToReplicas(SiteInput::Status { view, .. })
            | GateOutput::ToReplica { input: SiteInput::LinkDown { view, .. }, .. } => Some(*view),
            _ => None,
        });
        views.max()
    };
    let mut bench = shared();
    let said = bench.keep(map([ME, OTHER], [0, 0], 0));
    assert_eq!(views(&said), Some(ViewNumber(5)));
    bench.up(THERE);
    let later = SiteMap { last: ViewNumber(9), ..map([ME, ReplicaId(9)], [0, 0], 0) };
    assert_eq!(views(&bench.map(later)), Some(ViewNumber(9)));
    let said = bench.input(GateInput::LinkDown { site: THERE });
    assert_eq!(views(&said), Some(ViewNumber(9)));
}

#[test]
fn a_closed_gate_opens_with_what_the_newest_keeper_told() {
    let steering = |to| Steering { evacuate_to: Some(to), ..Steering::default() };
    let told = |view, to| GateInput::Steered { view: ViewNumber(view), steering: steering(to) };
    let mut bench = shared();
    bench.input(told(6, THERE));
    bench.input(told(5, THIRD));
    bench.keep(map([ME, OTHER], [0, 0], 0));
    assert_eq!(bench.gate.stats(bench.now).steering, steering(THERE));
}

#[test]
fn a_site_that_was_lost_whole_returns_and_says_when_it_is_settled() {
    let mut bench = shared();
    bench.input(GateInput::EngineUp { engine: A, dictionary: 0 });
    // Both partitions began anew, one after the other.
    let said = bench.keep(map([ME, OTHER], [1, 2], 0));
    assert_eq!(told(&said), Some((SiteState::Returning, vec![], 0)));
    let hello = SiteWord::Hello {
        site: HERE,
        start: 3,
        state: SiteState::Returning,
        dictionary: 0,
        course: SWEEPS,
    };
    let said = bench.input(GateInput::LinkUp { site: THERE });
    assert_eq!(said, [GateOutput::ToSite { site: THERE, word: hello }], "one start a life");
    bench.hello(THERE, 1, SiteState::Serving);
    let page = SiteWord::KeysetPage { entries: Vec::new(), next: None, ask_later: false };
    let said = bench.word(THERE, page);
    assert_eq!(told(&said).map(|told| told.0), Some(SiteState::Serving));
    assert!(to_replica(&said).contains(&SiteInput::Settled { life: 2 }));
    // The next keeper has nothing to ask.
    let mut next = shared();
    next.input(GateInput::EngineUp { engine: A, dictionary: 0 });
    let said = next.keep(map([ME, OTHER], [1, 2], 2));
    assert_eq!(told(&said), Some((SiteState::Serving, vec![], 0)));
    assert!(to_site(&next.up(THERE), THERE).is_empty());
}

#[test]
fn a_partition_that_begins_anew_stops_nobody_but_no_call_is_denied_meanwhile() {
    let mut bench = shared();
    bench.input(GateInput::EngineUp { engine: A, dictionary: 0 });
    bench.keep(map([ME, OTHER], [0, 0], 0));
    bench.up(THERE);
    let said = bench.map(map([ME, OTHER], [0, 1], 0));
    assert_eq!(told(&said), Some((SiteState::Serving, vec![THERE], 0)));
    assert_eq!(to_site(&said, THERE), [SiteWord::KeysetAsk { cursor: None }]);
    // The site is asked, says no, and falls silent: what it held of the lost calls is not known.
    bench.input(GateInput::LinkDown { site: THERE });
    let pull = EngineWord::Pull { key: key_of(UPPER), turn: 4 };
    let said = bench.engine(A, pull.clone());
    assert_eq!(pulled(&said), [(A, 4, PullAnswer::AskLater)]);
    bench.up(THERE);
    let page = SiteWord::KeysetPage { entries: Vec::new(), next: None, ask_later: false };
    let said = bench.word(THERE, page);
    assert!(to_replica(&said).contains(&SiteInput::Settled { life: 1 }));
    let ask = asks(&bench.engine(A, pull), THERE)[0];
    let answer = PullAnswer::NoSuch;
    bench.word(THERE, SiteWord::Pulled { key: key_of(UPPER), ask, answer });
    let said = bench.replica(GateBound::Keeper { ask: 1, is_confirmed: true });
    assert_eq!(pulled(&said), [(A, 4, PullAnswer::NoSuch)]);
}

#[test]
fn a_primary_that_is_new_hears_what_the_one_before_was_told() {
    let mut bench = shared();
    bench.keep(map([ME, OTHER], [0, 0], 0));
    bench.up(THERE);
    let is_status = |output: &GateOutput| match output {
        GateOutput::ToReplicas(SiteInput::Status { alive, .. }) => alive.len() == 1,
        _ => false,
    };
    let said = bench.map(map([ME, ReplicaId(9)], [0, 0], 0));
    assert!(said.iter().any(is_status));
    // Nor is one forgotten whose link was down when it was told.
    let up = GateInput::ReplicaUp { replica: ReplicaId(9) };
    assert!(bench.input(up).iter().any(is_status));
}

#[test]
fn the_keyset_is_asked_for_when_every_primary_can_be_told() {
    let mut bench = shared();
    bench.keep(map([ME, OTHER], [0, 0], 0));
    bench.up(THERE);
    // The other partition began anew, in a process that is not linked yet.
    let new = ReplicaId(9);
    assert!(to_site(&bench.map(map([ME, new], [0, 1], 0)), THERE).is_empty());
    let ask = SiteWord::KeysetAsk { cursor: None };
    let said = bench.input(GateInput::ReplicaUp { replica: new });
    assert_eq!(to_site(&said, THERE), std::slice::from_ref(&ask));
    // A page may be lost with the link: all of it is asked for again.
    bench.input(GateInput::ReplicaDown { replica: new });
    let page = SiteWord::KeysetPage { entries: Vec::new(), next: None, ask_later: false };
    let said = bench.word(THERE, page.clone());
    assert!(!to_replica(&said).contains(&SiteInput::Settled { life: 1 }));
    let said = bench.input(GateInput::ReplicaUp { replica: new });
    assert_eq!(to_site(&said, THERE), [ask]);
    let said = bench.word(THERE, page);
    assert!(to_replica(&said).contains(&SiteInput::Settled { life: 1 }));
}

#[test]
fn a_process_that_left_the_map_is_no_longer_linked() {
    let mut bench = shared();
    bench.keep(map([ME, OTHER], [0, 0], 0));
    bench.up(THERE);
    bench.map(map([ME, ReplicaId(9)], [0, 0], 0));
    // Its id is never linked again without being dialled.
    let said = bench.map(map([ME, OTHER], [0, 1], 0));
    assert!(to_site(&said, THERE).is_empty());
    let said = bench.input(GateInput::ReplicaUp { replica: OTHER });
    assert_eq!(to_site(&said, THERE), [SiteWord::KeysetAsk { cursor: None }]);
}
