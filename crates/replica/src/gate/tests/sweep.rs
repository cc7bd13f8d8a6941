//! Words of sweeps, on their way between partitions of two sites.

use tier_protocol::SweepWord;

use super::keeper::{ME, OTHER, map, shared};
use super::*;

const SLOT: vocab::Slot = vocab::Slot(700);
const DIGEST: SweepWord = SweepWord::Digest { slot: SLOT, calls: 1, digest: 2 };

fn calls() -> SweepWord {
    SweepWord::Calls { slot: SLOT, calls: Vec::new() }
}

impl Bench {
    fn up_sweeping(&mut self) -> Vec<GateOutput> {
        let mut said = self.input(GateInput::LinkUp { site: THERE });
        let (start, state, dictionary) = (1, SiteState::Serving, 1);
        let hello = SiteWord::Hello { site: THERE, start, state, dictionary, course: SWEEPS };
        said.extend(self.word(THERE, hello));
        said
    }
}

#[test]
fn a_word_goes_to_the_partition_that_has_the_slot_and_back() {
    let mut bench = shared();
    bench.keep(map([ME, OTHER], [0, 0], 0));
    bench.up_sweeping();
    let said = bench.word(THERE, SiteWord::Sweep { ask: 4, word: DIGEST });
    let input = SiteInput::Sweep { site: THERE, ask: 4, word: DIGEST };
    assert_eq!(said, [GateOutput::ToReplica { partition: PartitionId(1), input }]);
    let word = SweepWord::Differs { slot: SLOT };
    let output = GateBound::Sweep { site: THERE, ask: 4, word: word.clone() };
    let said = bench.input(GateInput::FromReplica { partition: PartitionId(1), output });
    assert_eq!(to_site(&said, THERE), [SiteWord::Sweep { ask: 4, word }]);
    let said = bench.word(THERE, SiteWord::Sweep { ask: 0, word: SweepWord::Wanted });
    assert_eq!(to_replica(&said).len(), 2, "all partitions");
}

#[test]
fn a_site_of_before_is_told_none() {
    let mut bench = Bench::new();
    bench.up(THERE);
    let said = bench.replica(GateBound::Sweep { site: THERE, ask: 1, word: DIGEST });
    assert_eq!(to_site(&said, THERE), []);
    assert_eq!(bench.gate.stats(bench.now).sweep_words_dropped, 1);
}

#[test]
fn calls_are_not_compared_while_the_queue_is_long() {
    let mut bench = Bench::new();
    bench.up_sweeping();
    let bytes = Bytes::from_static(b"batch");
    let batch = SiteWord::Batch { id: 1, partition: ONLY, view: ViewNumber(3), bytes };
    bench.word(THERE, batch);
    let word = |word| SiteWord::Sweep { ask: 1, word };
    assert_eq!(to_replica(&bench.word(THERE, word(calls()))).len(), 1);
    bench.pass_greeted(ms(6_000), THERE, SiteState::Serving);
    assert_eq!(to_replica(&bench.word(THERE, word(calls()))), []);
    assert_eq!(to_replica(&bench.word(THERE, word(DIGEST))).len(), 1);
}

#[test]
fn a_queue_that_may_have_lost_batches_has_the_others_sweep_when_they_answer() {
    let wanted = SiteWord::Sweep { ask: 0, word: SweepWord::Wanted };
    let mut bench = Bench::new();
    assert_eq!(bench.input(GateInput::QueueMayHaveLost), []);
    assert_eq!(to_site(&bench.up_sweeping(), THERE), std::slice::from_ref(&wanted));
    let hello = bench.hello(THERE, 1, SiteState::Serving);
    assert_eq!(to_site(&hello, THERE), [], "once");
    bench.up_sweeping();
    let said = bench.input(GateInput::QueueMayHaveLost);
    assert_eq!(to_site(&said, THERE), [wanted]);
    assert_eq!(bench.gate.stats(bench.now).sweeps_wanted, 2);
}
