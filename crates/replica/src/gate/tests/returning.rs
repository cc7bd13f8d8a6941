//! A site that starts again, and a site that asks us for its calls.

use super::*;

fn entry(number: u8) -> KeysetEntry {
    let epoch = Epoch { n: 5, site: THERE };
    KeysetEntry { key: key(number), epoch, kind: KeysetKind::Moved }
}

fn page(numbers: &[u8], next: Option<u8>) -> SiteWord {
    let entries = numbers.iter().map(|number| entry(*number)).collect();
    SiteWord::KeysetPage { entries, next: next.map(key), ask_later: false }
}

fn is_serving(bench: &Bench) -> bool {
    bench.gate.stats(bench.now).is_serving
}

#[test]
fn the_first_start_serves_at_once() {
    assert!(is_serving(&Bench::new()));
    assert!(is_serving(&Bench::with(5, |config| config.peers.clear())));
    assert!(is_serving(&Bench::with(5, |config| config.with_keyset = false)));
    assert!(!is_serving(&Bench::with(2, |_| {})));
}

#[test]
fn a_returning_site_fetches_all_pages_before_it_serves() {
    let mut bench = Bench::with(2, |_| {});
    bench.input(up(A));
    let said = bench.up(THERE);
    assert_eq!(to_site(&said, THERE), [SiteWord::KeysetAsk { cursor: None }]);
    assert_eq!(told(&said).map(|told| told.0), Some(SiteState::Returning));
    let said = bench.word(THERE, page(&[1, 2], Some(2)));
    assert_eq!(to_site(&said, THERE), [SiteWord::KeysetAsk { cursor: Some(key(2)) }]);
    let dealt = SiteInput::KeysetPage { from: THERE, entries: vec![entry(1), entry(2)] };
    assert_eq!(to_replica(&said), [dealt]);
    assert!(!is_serving(&bench));
    let said = bench.word(THERE, page(&[3], None));
    assert!(is_serving(&bench));
    assert_eq!(told(&said).map(|told| told.0), Some(SiteState::Serving));
    let hello = SiteWord::Hello {
        site: HERE,
        start: 2,
        state: SiteState::Serving,
        dictionary: 1,
        course: Course::default(),
    };
    assert!(said.contains(&GateOutput::ToSite { site: THERE, word: hello }));
}

/// In a ring the one that keeps a site's copies and the one that it took calls over from differ.
#[test]
fn of_three_sites_both_others_are_asked_and_a_dead_one_is_waited_for() {
    let peers = |config: &mut GateConfig| config.peers = vec![THERE, THIRD];
    let ask = [SiteWord::KeysetAsk { cursor: None }];
    let mut bench = Bench::with(2, peers);
    assert_eq!(to_site(&bench.up(THERE), THERE), ask);
    bench.word(THERE, page(&[1], None));
    assert!(!is_serving(&bench), "the third site may have its calls");
    assert_eq!(to_site(&bench.up(THIRD), THIRD), ask);
    let said = bench.word(THIRD, page(&[2], None));
    let dealt = SiteInput::KeysetPage { from: THIRD, entries: vec![entry(2)] };
    assert!(to_replica(&said).contains(&dealt));
    assert!(is_serving(&bench));

    // One that stays silent keeps the site waiting for its time, and is asked when it comes.
    let mut bench = Bench::with(2, peers);
    let wait = bench.gate.config.return_wait;
    bench.up(THERE);
    bench.word(THERE, page(&[1], None));
    bench.pass_greeted(wait - ms(600), THERE, SiteState::Serving);
    assert!(!is_serving(&bench));
    bench.pass_greeted(ms(1_000), THERE, SiteState::Serving);
    assert!(is_serving(&bench));
    assert_eq!(to_site(&bench.up(THIRD), THIRD), ask);
}

#[test]
fn a_site_that_puts_us_off_is_asked_again() {
    let mut bench = Bench::with(2, |_| {});
    bench.up(THERE);
    let later = SiteWord::KeysetPage { entries: Vec::new(), next: None, ask_later: true };
    assert!(to_site(&bench.word(THERE, later), THERE).is_empty());
    assert!(to_site(&bench.pass(ms(999)), THERE).is_empty());
    assert_eq!(to_site(&bench.pass(ms(1)), THERE), [SiteWord::KeysetAsk { cursor: None }]);
}

#[test]
fn a_page_lost_with_its_link_is_asked_for_again_from_the_same_place() {
    let mut bench = Bench::with(2, |_| {});
    bench.up(THERE);
    bench.word(THERE, page(&[1], Some(1)));
    bench.input(GateInput::LinkDown { site: THERE });
    let said = bench.up(THERE);
    assert_eq!(to_site(&said, THERE), [SiteWord::KeysetAsk { cursor: Some(key(1)) }]);
}

#[test]
fn a_page_that_does_not_advance_is_the_last() {
    let mut bench = Bench::with(2, |_| {});
    bench.up(THERE);
    bench.word(THERE, page(&[4], Some(4)));
    bench.word(THERE, page(&[4], Some(4)));
    assert!(is_serving(&bench));
}

#[test]
fn silent_sites_are_waited_for_but_not_for_ever() {
    let mut bench = Bench::with(2, |_| {});
    bench.pass(ms(29_999));
    assert!(!is_serving(&bench));
    bench.pass(ms(1));
    assert!(is_serving(&bench));
}

#[test]
fn a_queue_that_is_away_is_waited_for_but_not_for_ever() {
    let mut config = GateConfig::new(HERE, 2, vec![ONLY], vec![THERE]);
    config.keyset_page_max = 10;
    let mut bench = Bench { gate: Gate::new(Instant(1), config), now: Instant(1), ..Bench::new() };
    bench.input(GateInput::EngineUp { engine: A, dictionary: 0 });
    bench.up(THERE);
    bench.word(THERE, page(&[], None));
    assert!(!is_serving(&bench), "what is on the queue may be of use");
    bench.pass_greeted(ms(29_000), THERE, SiteState::Serving);
    assert!(!is_serving(&bench));
    bench.pass_greeted(ms(2_000), THERE, SiteState::Serving);
    assert!(is_serving(&bench));
    // What it does not have may be on the queue: it denies no call, and takes no batch.
    let said = bench.word(THERE, SiteWord::KeysetAsk { cursor: None });
    let later = SiteWord::KeysetPage { entries: Vec::new(), next: None, ask_later: true };
    assert_eq!(to_site(&said, THERE), [later]);
    let word = SiteWord::Batch {
        id: 1,
        partition: ONLY,
        view: ViewNumber(1),
        bytes: Bytes::from_static(b"batch"),
    };
    let said = bench.word(THERE, word);
    assert_eq!(to_site(&said, THERE), [SiteWord::BatchRefused { id: 1, partition: ONLY }]);
    bench.input(GateInput::QueueLoaded(Vec::new()));
    let said = bench.word(THERE, SiteWord::KeysetAsk { cursor: None });
    assert!(to_site(&said, THERE).is_empty(), "the partition is asked: {said:?}");
}

#[test]
fn a_site_that_answers_is_waited_for_longer_than_a_silent_one() {
    let mut bench = Bench::with(2, |_| {});
    bench.up(THERE);
    bench.pass_greeted(ms(119_000), THERE, SiteState::Serving);
    assert!(!is_serving(&bench));
    bench.pass_greeted(ms(2_000), THERE, SiteState::Serving);
    assert!(is_serving(&bench));
}

#[test]
fn two_sites_that_return_together_find_that_neither_holds_anything() {
    let mut bench = Bench::with(2, |_| {});
    bench.input(GateInput::LinkUp { site: THERE });
    bench.hello(THERE, 2, SiteState::Returning);
    let said = bench.word(THERE, SiteWord::KeysetAsk { cursor: None });
    let [SiteInput::KeysetAsk { ask, .. }] = to_replica(&said)[..] else { panic!("{said:?}") };
    let (entries, next) = (Vec::new(), None);
    let said = bench.replica(GateBound::KeysetPage { site: THERE, ask, entries, next });
    assert_eq!(to_site(&said, THERE), [page(&[], None)]);
    bench.word(THERE, page(&[], None));
    assert!(is_serving(&bench));
}

#[test]
fn while_returning_nothing_is_believed_to_be_nowhere() {
    let mut bench = Bench::with(2, |_| {});
    bench.input(up(A));
    let said = bench.engine(A, EngineWord::Pull { key: key(1), turn: 1 });
    assert_eq!(pulled(&said), [(A, 1, PullAnswer::AskLater)]);
}

#[test]
fn the_pages_of_several_partitions_are_merged_by_key() {
    let partitions = vec![PartitionId(0), PartitionId(1)];
    let mut bench = Bench::with(1, |config| {
        config.partitions = partitions;
        config.keyset_page_max = 3;
    });
    bench.up(THERE);
    let said = bench.word(THERE, SiteWord::KeysetAsk { cursor: None });
    let [SiteInput::KeysetAsk { ask, .. }, SiteInput::KeysetAsk { .. }] = to_replica(&said)[..]
    else {
        panic!("{said:?}");
    };
    let mut answer = |partition, numbers: &[u8], next: Option<u8>| {
        let entries = numbers.iter().map(|number| entry(*number)).collect();
        let output = GateBound::KeysetPage { site: THERE, ask, entries, next: next.map(key) };
        let partition = PartitionId(partition);
        to_site(&bench.input(GateInput::FromReplica { partition, output }), THERE)
    };
    assert!(answer(0, &[1, 4], Some(4)).is_empty());
    // The first partition reaches to 4: what comes after belongs to the next page.
    assert_eq!(answer(1, &[2, 5, 6], None), [page(&[1, 2, 4], Some(4))]);
}

#[test]
fn a_partition_that_stays_silent_puts_the_page_off() {
    let mut bench = Bench::new();
    bench.up(THERE);
    bench.word(THERE, SiteWord::KeysetAsk { cursor: None });
    let later = SiteWord::KeysetPage { entries: Vec::new(), next: None, ask_later: true };
    assert_eq!(to_site(&bench.pass(ms(1_000)), THERE), [later]);
}

#[test]
fn a_site_whose_last_words_lie_on_the_queue_is_put_off() {
    let mut bench = Bench::new();
    bench.up(THERE);
    let bytes = Bytes::from_static(b"last words");
    let batch = SiteWord::Batch { id: 1, partition: ONLY, view: ViewNumber(1), bytes };
    bench.word(THERE, batch);
    let said = bench.word(THERE, SiteWord::KeysetAsk { cursor: None });
    let later = SiteWord::KeysetPage { entries: Vec::new(), next: None, ask_later: true };
    assert_eq!(to_site(&said, THERE), [later]);
}

#[test]
fn a_question_goes_to_the_partition_that_the_engines_would_ask() {
    let partitions: Vec<PartitionId> = (0..3).map(PartitionId).collect();
    let mut bench = Bench::with(1, |config| config.partitions = partitions);
    bench.up(THERE);
    for slot in 0..6_u8 {
        let mut key = CallKey([0; 16]);
        key.0[1] = slot;
        let word = SiteWord::Pull { key, ask: 1 };
        let input = GateInput::FromSite { site: THERE, word };
        let asked = bench.input(input).into_iter().find_map(|said| match said {
            GateOutput::ToReplica { partition, input: SiteInput::Pull { .. } } => Some(partition),
            _ => None,
        });
        assert_eq!(asked, Some(PartitionId(u16::from(slot) % 3)));
    }
}
