//! What a primary says of a call to another site, and who has to agree.

use tier_protocol::{KeysetEntry, KeysetKind, PeerWord, PullAnswer};

use super::shared::{Seated, map_of};
use super::*;
use crate::PeerNews;

const MEMBER: ReplicaId = ReplicaId(2);
const ASK: u64 = 8;

/// The primary of two.
fn primary() -> Seated {
    let mut bench = Seated::new("t1", ReplicaId(1));
    bench.map(true, 5, &map_of(5, &[1, 2]));
    bench.peer(2, PeerNews::Up);
    bench
}

fn pull(bench: &mut Seated) -> Vec<Output> {
    bench.input(Input::Site(SiteInput::Pull { site: THERE, key: key(1), ask: ASK })).to_vec()
}

fn answer(answer: PullAnswer) -> Output {
    Output::Gate(GateBound::PullAnswer { site: THERE, ask: ASK, key: key(1), answer })
}

fn asked(said: &[Output]) -> Option<u64> {
    said.iter().find_map(|output| match output {
        Output::Peer { replica: MEMBER, word: PeerWord::ViewAsk { view, ask } } => {
            assert_eq!(*view, ViewNumber(5));
            Some(*ask)
        }
        _ => None,
    })
}

fn same(bench: &mut Seated, view: u64, ask: u64) -> Vec<Output> {
    let word = PeerWord::ViewSame { view: ViewNumber(view), ask };
    bench.peer(2, PeerNews::Said(word)).to_vec()
}

#[test]
fn that_a_call_is_nowhere_counts_when_the_others_are_in_the_view() {
    let mut bench = primary();
    let said = pull(&mut bench);
    let ask = asked(&said).expect("the other is asked");
    assert!(!said.iter().any(|output| matches!(output, Output::Gate(_))), "nothing is said before");
    assert_eq!(same(&mut bench, 4, ask), [], "of another view");
    assert_eq!(same(&mut bench, 5, ask), [answer(PullAnswer::NoSuch)]);
    assert_eq!(same(&mut bench, 5, ask), [], "once");
}

#[test]
fn without_the_others_the_site_asks_later() {
    let mut bench = primary();
    let ask = asked(&pull(&mut bench)).expect("the other is asked");
    bench.now = bench.now + ms(999);
    let is_said = |said: &[Output]| said.contains(&answer(PullAnswer::AskLater));
    assert!(!is_said(bench.input(Input::Wake)));
    bench.now = bench.now + ms(1);
    assert!(is_said(bench.input(Input::Wake)));
    assert_eq!(same(&mut bench, 5, ask), [], "too late");
    assert_eq!(bench.replica.stats(bench.now).counts.unconfirmed, 1);
}

#[test]
fn a_view_that_changes_meanwhile_puts_the_answer_off() {
    let mut bench = primary();
    assert!(asked(&pull(&mut bench)).is_some());
    let said = bench.map(false, 6, &map_of(6, &[1])).to_vec();
    assert!(said.contains(&answer(PullAnswer::AskLater)));
    // Alone it needs nobody.
    assert_eq!(pull(&mut bench), [answer(PullAnswer::NoSuch)]);
}

#[test]
fn a_follower_confirms_its_view_and_denies_no_call() {
    let mut bench = Seated::new("t2", MEMBER);
    bench.map(true, 5, &map_of(5, &[1, 2]));
    bench.peer(1, PeerNews::Up);
    let ask = |view| PeerNews::Said(PeerWord::ViewAsk { view: ViewNumber(view), ask: 3 });
    let word = PeerWord::ViewSame { view: ViewNumber(5), ask: 3 };
    assert_eq!(bench.peer(1, ask(5)), [Output::Peer { replica: ReplicaId(1), word }]);
    assert_eq!(bench.peer(1, ask(4)), []);
    assert_eq!(pull(&mut bench), [answer(PullAnswer::AskLater)]);
    let page = SiteInput::KeysetAsk { site: THERE, cursor: None, ask: ASK };
    assert_eq!(bench.input(Input::Site(page)), []);
}

#[test]
fn the_gate_is_told_whether_it_is_its_to_keep() {
    let keeper = ReplicaId(1);
    let ask = |keeper| Input::Site(SiteInput::KeeperAsk { keeper, ask: 77 });
    let told = |is_confirmed| Output::Gate(GateBound::Keeper { ask: 77, is_confirmed });
    let mut bench = primary();
    let said = bench.input(ask(keeper)).to_vec();
    let number = asked(&said).expect("the other is asked");
    assert_eq!(same(&mut bench, 5, number), [told(true)]);
    assert_eq!(bench.input(ask(ReplicaId(9))), [], "another one is meant");
    bench.input(ask(keeper));
    let said = bench.map(false, 6, &map_of(6, &[2, 1])).to_vec();
    assert!(said.contains(&told(false)), "it leads no more");
    assert_eq!(bench.input(ask(keeper)), [told(false)]);
    let mut alone = Seated::new("t1", keeper);
    alone.map(true, 5, &map_of(5, &[1]));
    assert_eq!(alone.input(ask(keeper)), [told(true)]);
}

#[test]
fn the_map_says_that_a_life_is_settled_once_the_gate_says_so() {
    let mut map = map_of(5, &[1, 2]);
    map.partitions[0].life = 3;
    let mut bench = Seated::new("t1", ReplicaId(1));
    bench.map(true, 5, &map);
    bench.peer(2, PeerNews::Up);
    bench.input(Input::Site(SiteInput::Settled { life: 3 }));
    let next = bench.proposed(5, &map).expect("it says so");
    assert_eq!((next.settled, next.life()), (3, 3));
    assert_eq!(next.partitions, map.partitions, "no view changes");
}

#[test]
fn where_a_call_went_the_others_learn_at_once() {
    let mut bench = primary();
    let epoch = Epoch::of_start(THERE, 1);
    let entries = vec![KeysetEntry { key: key(1), epoch, kind: KeysetKind::Moved }];
    let said = bench.input(Input::Site(SiteInput::KeysetPage { from: THERE, entries })).to_vec();
    let told = said.iter().find_map(|output| match output {
        Output::Peer { replica: MEMBER, word: word @ PeerWord::Repaired { .. } } => Some(word),
        _ => None,
    });
    let told = told.expect("the other is told").clone();
    let mut other = Seated::new("t2", MEMBER);
    other.map(true, 5, &map_of(5, &[1, 2]));
    other.peer(1, PeerNews::Said(told));
    let held = other.replica.get(other.now, key(1)).expect("it has it");
    assert!(held.summary.is_stub);
}
