//! What a gate of several processes says only as long as it is this process's to keep.

use super::keeper::{ME, OTHER, map, shared};
use super::*;

/// Keeps the gate of a site of two processes, linked to the other site.
fn keeper() -> Bench {
    let mut bench = shared();
    bench.input(up(A));
    bench.keep(map([ME, OTHER], [0, 0], 0));
    bench.up(THERE);
    bench
}

/// The questions that the replica of this process is asked.
fn asked(said: &[GateOutput]) -> Vec<u64> {
    let asked = said.iter().filter_map(|output| match output {
        GateOutput::ToReplica { partition: ONLY, input: SiteInput::KeeperAsk { keeper, ask } } => {
            assert_eq!(*keeper, ME);
            Some(*ask)
        }
        _ => None,
    });
    asked.collect()
}

fn is_keeper(bench: &mut Bench, ask: u64, is_confirmed: bool) -> Vec<GateOutput> {
    bench.replica(GateBound::Keeper { ask, is_confirmed })
}

/// A batch comes, and the queue holds it.
fn queue(bench: &mut Bench, id: u64) -> Vec<GateOutput> {
    let bytes = Bytes::from_static(b"0123456789");
    let batch = SiteWord::Batch { id, partition: ONLY, view: ViewNumber(3), bytes };
    let said = bench.word(THERE, batch);
    let row = said.iter().find_map(|output| match output {
        GateOutput::QueueAppend { batch } => Some(batch.row),
        _ => None,
    });
    bench.input(GateInput::QueueAppended { row: row.expect("it goes to the queue") })
}

fn stored(id: u64) -> SiteWord {
    SiteWord::BatchStored { id, partition: ONLY }
}

#[test]
fn a_batch_is_acknowledged_when_it_is_certain_who_keeps_the_gate() {
    let mut bench = keeper();
    let said = queue(&mut bench, 1);
    assert_eq!(to_site(&said, THERE), []);
    let ask = asked(&said)[0];
    let said = is_keeper(&mut bench, ask, true);
    assert_eq!(to_site(&said, THERE), [stored(1)]);
    assert!(asked(&said).is_empty(), "nothing is left to ask");
    assert!(is_keeper(&mut bench, ask, true).is_empty(), "once");
}

#[test]
fn one_question_covers_all_that_was_held_before_it() {
    let mut bench = keeper();
    let first = asked(&queue(&mut bench, 1))[0];
    for id in 2..=50 {
        assert!(asked(&queue(&mut bench, id)).is_empty(), "one is open");
    }
    let said = is_keeper(&mut bench, first, true);
    assert_eq!(to_site(&said, THERE), [stored(1)], "the others came later than the question");
    let second = asked(&said);
    assert_eq!(second.len(), 1);
    let said = is_keeper(&mut bench, second[0], true);
    assert_eq!(to_site(&said, THERE), (2..=50).map(stored).collect::<Vec<_>>());
}

#[test]
fn a_batch_of_a_keeper_that_may_be_replaced_is_refused_and_stays_marked() {
    let mut bench = keeper();
    let mut ask = asked(&queue(&mut bench, 1))[0];
    // A view that is changing may be this keeper's still: it asks again.
    let mut said = Vec::new();
    for _ in 0..8 {
        said.extend(bench.pass_greeted(ms(500), THERE, SiteState::Serving));
        said.extend(is_keeper(&mut bench, ask, false));
        match asked(&bench.said.clone()).first() {
            Some(again) => ask = *again,
            None => break,
        }
    }
    let refused = SiteWord::BatchRefused { id: 1, partition: ONLY };
    assert_eq!(to_site(&said, THERE), [refused]);
    assert_eq!(bench.gate.stats(bench.now).unconfirmed, 1);
    // Sent again when all is well: the queue has it, and it is not written twice.
    let bytes = Bytes::from_static(b"0123456789");
    let batch = SiteWord::Batch { id: 1, partition: ONLY, view: ViewNumber(3), bytes };
    let said = bench.word(THERE, batch);
    assert!(!said.iter().any(|it| matches!(it, GateOutput::QueueAppend { .. })));
    let ask = asked(&said)[0];
    assert_eq!(to_site(&is_keeper(&mut bench, ask, true), THERE), [stored(1)]);
}

#[test]
fn a_gate_that_closes_acknowledges_nothing_any_more() {
    let mut bench = keeper();
    let ask = asked(&queue(&mut bench, 1))[0];
    assert_eq!(bench.map(map([OTHER, ME], [0, 0], 0)), [GateOutput::Close]);
    assert_eq!(is_keeper(&mut bench, ask, true), []);
    bench.keep(map([ME, OTHER], [0, 0], 0));
    bench.up(THERE);
    assert_eq!(to_site(&is_keeper(&mut bench, ask, true), THERE), [], "of its life before");
}

#[test]
fn an_answer_of_the_replica_that_is_lost_stops_nothing() {
    let mut bench = keeper();
    let first = asked(&queue(&mut bench, 1))[0];
    let said = bench.pass_greeted(ms(2_500), THERE, SiteState::Serving);
    let again = asked(&said)[0];
    assert!(again > first);
    assert_eq!(to_site(&is_keeper(&mut bench, again, true), THERE), [stored(1)]);
}

#[test]
fn that_a_call_is_nowhere_is_said_by_the_keeper_alone() {
    let mut bench = keeper();
    let answer =
        GateBound::PullAnswer { site: THERE, ask: 9, key: key(1), answer: PullAnswer::NoSuch };
    for (is_confirmed, expected) in [(true, PullAnswer::NoSuch), (false, PullAnswer::AskLater)] {
        let mut said = bench.replica(answer.clone());
        assert_eq!(to_site(&said, THERE), []);
        let mut ask = asked(&said)[0];
        if !is_confirmed {
            for _ in 0..8 {
                bench.pass_greeted(ms(500), THERE, SiteState::Serving);
                said = is_keeper(&mut bench, ask, false);
                ask = asked(&said).first().copied().unwrap_or(ask);
            }
        } else {
            said = is_keeper(&mut bench, ask, true);
        }
        let word = SiteWord::Pulled { key: key(1), ask: 9, answer: expected };
        assert_eq!(to_site(&said, THERE), [word]);
    }
}

#[test]
fn a_page_of_the_keyset_is_given_by_the_keeper_alone() {
    let mut bench = keeper();
    let said = bench.word(THERE, SiteWord::KeysetAsk { cursor: None });
    let ask = said.iter().find_map(|output| match output {
        GateOutput::ToReplica { input: SiteInput::KeysetAsk { ask, .. }, .. } => Some(*ask),
        _ => None,
    });
    let ask = ask.expect("the partitions are asked");
    let mut said = Vec::new();
    for partition in [ONLY, PartitionId(1)] {
        let (entries, next) = (Vec::new(), None);
        let output = GateBound::KeysetPage { site: THERE, ask, entries, next };
        said = bench.input(GateInput::FromReplica { partition, output });
        assert_eq!(to_site(&said, THERE), []);
    }
    let page = SiteWord::KeysetPage { entries: Vec::new(), next: None, ask_later: false };
    let ask = asked(&said)[0];
    assert_eq!(to_site(&is_keeper(&mut bench, ask, true), THERE), [page]);
}

#[test]
fn an_engine_hears_that_a_call_is_nowhere_from_the_keeper_alone() {
    let mut bench = keeper();
    let said = bench.engine(A, EngineWord::Pull { key: key(1), turn: 4 });
    let ask = asks(&said, THERE)[0];
    let answer = PullAnswer::NoSuch;
    let said = bench.word(THERE, SiteWord::Pulled { key: key(1), ask, answer });
    assert_eq!(pulled(&said), []);
    let ask = asked(&said)[0];
    let said = is_keeper(&mut bench, ask, true);
    assert_eq!(pulled(&said), [(A, 4, PullAnswer::NoSuch)]);
}

#[test]
fn a_site_of_one_process_asks_nobody() {
    let mut bench = Bench::new();
    bench.up(THERE);
    let said = queue(&mut bench, 1);
    assert_eq!(to_site(&said, THERE), [stored(1)]);
    assert!(asked(&said).is_empty());
}
