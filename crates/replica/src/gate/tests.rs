//! A gate on the bench: two engines, two other sites, one partition.

mod confirm;
mod inbox;
mod keeper;
mod returning;
mod steer;
mod sweep;

use std::time::Duration;

use bytes::Bytes;
use tier_protocol::dictionary;
use tier_protocol::site::ForwardedMessage;
use tier_protocol::{
    Course, EngineWord, GateWord, KeysetEntry, KeysetKind, PullAnswer, Record, RecordHeader,
    SiteState, SiteWord, Superseded,
};
use vocab::{
    CallKey, EngineId, Epoch, Instant, LockToken, PartitionId, SiteId, Stamp, Version, ViewNumber,
};

use super::*;

const A: EngineId = EngineId(1);
const B: EngineId = EngineId(2);
const HERE: SiteId = SiteId(1);
const THERE: SiteId = SiteId(2);
const THIRD: SiteId = SiteId(3);
const ONLY: PartitionId = PartitionId(0);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn key(number: u8) -> CallKey {
    CallKey([number; 16])
}

fn record(number: u8, epoch: Epoch) -> Record {
    let stamp = Stamp { epoch, token: LockToken::default(), version: Version(1) };
    let header = RecordHeader {
        key: key(number),
        stamp,
        origin: HERE,
        backup: None,
        schema: 1,
        age: Duration::ZERO,
        deadline: None,
        crossing_deadline: None,
        hints: Vec::new(),
        crossed: Vec::new(),
        newer: tier_protocol::Newer::default(),
    };
    Record { header, crossing: Bytes::from_static(b"dialog"), local: Bytes::new() }
}

/// An engine of this version comes.
fn up(engine: EngineId) -> GateInput {
    GateInput::EngineUp { engine, dictionary: dictionary::NEWEST }
}

/// What a site that was ordered nothing says it does.
const SWEEPS: Course = Course { evacuates: false, backup_to: None, sweeps: true };

struct Bench {
    gate: Gate,
    now: Instant,
    said: Vec<GateOutput>,
    wake: (Instant, Reason),
}

impl Bench {
    fn new() -> Self {
        Self::with(1, |_| {})
    }

    fn with(start: u64, change: impl FnOnce(&mut GateConfig)) -> Self {
        let mut config = GateConfig::new(HERE, start, vec![ONLY], vec![THERE]);
        change(&mut config);
        let now = Instant(1_000_000_000);
        let gate = Gate::new(now, config);
        let wake = (Instant::NEVER, Reason::Idle);
        let mut bench = Self { gate, now, said: Vec::new(), wake };
        bench.input(GateInput::QueueLoaded(Vec::new()));
        bench
    }

    fn input(&mut self, input: GateInput) -> Vec<GateOutput> {
        self.gate.handle_input(self.now, input);
        self.said.clear();
        loop {
            match self.gate.poll_output() {
                GateOutput::WakeAt(at, reason) => {
                    assert!(at >= self.now);
                    self.wake = (at, reason);
                    return self.said.clone();
                }
                other => self.said.push(other),
            }
        }
    }

    fn pass(&mut self, time: Duration) -> Vec<GateOutput> {
        let until = self.now + time;
        let mut said = Vec::new();
        let mut at_this_instant = 0;
        while self.wake.0 <= until {
            at_this_instant = if self.wake.0 > self.now { 0 } else { at_this_instant + 1 };
            assert!(at_this_instant < 10, "{:?} spins", self.wake);
            self.now = self.wake.0;
            said.extend(self.input(GateInput::Wake));
        }
        self.now = until;
        said.extend(self.input(GateInput::Wake));
        said
    }

    fn up(&mut self, site: SiteId) -> Vec<GateOutput> {
        self.input(GateInput::LinkUp { site });
        self.hello(site, 1, SiteState::Serving)
    }

    fn hello(&mut self, site: SiteId, start: u64, state: SiteState) -> Vec<GateOutput> {
        self.word(
            site,
            SiteWord::Hello { site, start, state, dictionary: 1, course: Course::default() },
        )
    }

    fn word(&mut self, site: SiteId, word: SiteWord) -> Vec<GateOutput> {
        self.input(GateInput::FromSite { site, word })
    }

    fn engine(&mut self, engine: EngineId, word: EngineWord) -> Vec<GateOutput> {
        self.input(GateInput::FromEngine { engine, word })
    }

    fn replica(&mut self, output: GateBound) -> Vec<GateOutput> {
        self.input(GateInput::FromReplica { partition: ONLY, output })
    }

    /// Lets time pass while the site goes on greeting.
    fn pass_greeted(&mut self, time: Duration, site: SiteId, state: SiteState) -> Vec<GateOutput> {
        let mut said = Vec::new();
        let until = self.now + time;
        while self.now < until {
            said.extend(self.pass(ms(500)));
            said.extend(self.hello(site, 1, state));
        }
        said
    }
}

/// The last that was said of the sites to an engine: own state, who answers, the inbox.
fn told(said: &[GateOutput]) -> Option<(SiteState, Vec<SiteId>, u64)> {
    let told = said.iter().filter_map(|output| match output {
        GateOutput::ToEngine { word: GateWord::Sites { here, alive, inbox, .. }, .. } => {
            Some((*here, alive.iter().map(|(site, _)| *site).collect(), *inbox))
        }
        _ => None,
    });
    told.last()
}

fn to_site(said: &[GateOutput], to: SiteId) -> Vec<SiteWord> {
    let words = said.iter().filter_map(|output| match output {
        GateOutput::ToSite { site, word } if *site == to => Some(word.clone()),
        _ => None,
    });
    words.filter(|word| !matches!(word, SiteWord::Hello { .. })).collect()
}

fn to_replica(said: &[GateOutput]) -> Vec<SiteInput> {
    let inputs = said.iter().filter_map(|output| match output {
        GateOutput::ToReplica { input, .. } | GateOutput::ToReplicas(input) => Some(input.clone()),
        _ => None,
    });
    inputs.filter(|input| !matches!(input, SiteInput::Status { .. })).collect()
}

fn pulled(said: &[GateOutput]) -> Vec<(EngineId, u64, PullAnswer)> {
    let answers = said.iter().filter_map(|output| match output {
        GateOutput::ToEngine { engine, word: GateWord::Pulled { turn, answer, .. } } => {
            Some((*engine, *turn, answer.clone()))
        }
        _ => None,
    });
    answers.collect()
}

fn asks(said: &[GateOutput], site: SiteId) -> Vec<u64> {
    let words = to_site(said, site).into_iter();
    words
        .filter_map(|word| match word {
            SiteWord::Pull { ask, .. } => Some(ask),
            _ => None,
        })
        .collect()
}

#[test]
fn a_site_answers_from_its_greeting_until_it_falls_silent() {
    let mut bench = Bench::new();
    bench.input(up(A));
    assert_eq!(told(&bench.said), Some((SiteState::Serving, vec![], 0)));
    let said = bench.input(GateInput::LinkUp { site: THERE });
    let hello = SiteWord::Hello {
        site: HERE,
        start: 1,
        state: SiteState::Serving,
        dictionary: dictionary::NEWEST,
        course: SWEEPS,
    };
    assert_eq!(said, [GateOutput::ToSite { site: THERE, word: hello }]);
    let said = bench.hello(THERE, 1, SiteState::Serving);
    assert_eq!(told(&said), Some((SiteState::Serving, vec![THERE], 0)));
    assert_eq!(told(&bench.pass(ms(1_999))), None);
    assert_eq!(told(&bench.pass(ms(1))), Some((SiteState::Serving, vec![], 0)));
    let said = bench.hello(THERE, 1, SiteState::Serving);
    assert_eq!(told(&said), Some((SiteState::Serving, vec![THERE], 0)));
}

#[test]
fn a_broken_link_ends_it_at_once_and_partitions_hear_of_both() {
    let mut bench = Bench::new();
    bench.input(up(A));
    bench.up(THERE);
    let said = bench.input(GateInput::LinkDown { site: THERE });
    assert_eq!(
        to_replica(&said),
        [SiteInput::LinkDown { view: ViewNumber::default(), site: THERE }]
    );
    assert_eq!(told(&said), Some((SiteState::Serving, vec![], 0)));
    let said = bench.up(THERE);
    assert!(said.iter().any(|output| matches!(
        output,
        GateOutput::ToReplicas(SiteInput::Status { alive, .. }) if alive.len() == 1
    )));
}

#[test]
fn a_link_that_takes_another_s_place_voids_what_was_on_its_way() {
    let mut bench = Bench::new();
    bench.up(THERE);
    let said = bench.input(GateInput::LinkUp { site: THERE });
    assert_eq!(
        to_replica(&said),
        [SiteInput::LinkDown { view: ViewNumber::default(), site: THERE }]
    );
}

#[test]
fn every_linked_site_is_greeted_again_and_again() {
    let mut bench = Bench::new();
    bench.input(GateInput::LinkUp { site: THERE });
    let said = bench.pass(ms(5_000));
    let hellos = said.iter().filter(|output| matches!(output, GateOutput::ToSite { .. }));
    assert_eq!(hellos.count(), 10);
}

#[test]
fn a_site_says_which_dictionary_all_its_engines_read() {
    let said = |said: &[GateOutput]| {
        let words = said.iter().filter_map(|output| match output {
            GateOutput::ToSite { word: SiteWord::Hello { dictionary, .. }, .. } => {
                Some(*dictionary)
            }
            _ => None,
        });
        words.collect::<Vec<_>>()
    };
    let engine = |engine, dictionary| GateInput::EngineUp { engine, dictionary };
    let mut bench = Bench::new();
    assert_eq!(said(&bench.input(GateInput::LinkUp { site: THERE })), [0], "nobody reads");
    // Each change is said at once.
    assert_eq!(said(&bench.input(engine(A, 2))), [2]);
    assert_eq!(said(&bench.input(engine(B, 1))), [1]);
    assert!(said(&bench.input(GateInput::EngineDown { engine: A })).is_empty());
    assert_eq!(said(&bench.input(GateInput::EngineDown { engine: B })), [0]);
}

#[test]
fn replicas_are_told_which_dictionary_a_site_reads() {
    let told = |said: &[GateOutput]| {
        let told = said.iter().filter_map(|output| match output {
            GateOutput::ToReplicas(SiteInput::Status { alive, .. }) => {
                alive.first().map(|status| status.dictionary)
            }
            _ => None,
        });
        told.last()
    };
    let mut bench = Bench::new();
    bench.input(GateInput::LinkUp { site: THERE });
    let hello = |dictionary| {
        let (start, state) = (1, SiteState::Serving);
        SiteWord::Hello { site: THERE, start, state, dictionary, course: Course::default() }
    };
    assert_eq!(told(&bench.word(THERE, hello(0))), Some(0));
    assert_eq!(told(&bench.word(THERE, hello(0))), None, "nothing new");
    assert_eq!(told(&bench.word(THERE, hello(3))), Some(3));
    assert_eq!(told(&bench.word(THERE, hello(0))), Some(0));
}

#[test]
fn strangers_are_not_heard() {
    let mut bench = Bench::new();
    bench.input(GateInput::LinkUp { site: SiteId(9) });
    let word = SiteWord::Hello {
        site: SiteId(9),
        start: 1,
        state: SiteState::Serving,
        dictionary: 0,
        course: Course::default(),
    };
    assert!(bench.word(SiteId(9), word).is_empty());
    let forged = SiteWord::Hello {
        site: THIRD,
        start: 1,
        state: SiteState::Serving,
        dictionary: 0,
        course: Course::default(),
    };
    bench.input(GateInput::LinkUp { site: THERE });
    assert!(bench.word(THERE, forged).is_empty());
    assert_eq!(bench.gate.stats(bench.now).words_dropped, 3);
}

#[test]
fn a_batch_goes_to_a_linked_site_and_comes_back_refused_otherwise() {
    let mut bench = Bench::new();
    let view = ViewNumber(3);
    let bytes = Bytes::from_static(b"batch");
    let publish = GateBound::Publish { site: THERE, id: 4, view, bytes: bytes.clone() };
    let said = bench.replica(publish.clone());
    assert_eq!(to_replica(&said), [SiteInput::BatchRefused { site: THERE, id: 4 }]);
    bench.up(THERE);
    let said = bench.replica(publish);
    let word = SiteWord::Batch { id: 4, partition: ONLY, view, bytes };
    assert_eq!(to_site(&said, THERE), [word]);
    let said = bench.word(THERE, SiteWord::BatchStored { id: 4, partition: ONLY });
    assert_eq!(to_replica(&said), [SiteInput::BatchStored { site: THERE, id: 4 }]);
}

#[test]
fn messages_are_passed_on_in_turn_and_dropped_when_nobody_is_there() {
    let mut bench = Bench::new();
    let message = ForwardedMessage {
        key: key(1),
        epoch: None,
        source: "192.0.2.1:5060".parse().expect("an address"),
        bytes: Bytes::from_static(b"BYE"),
    };
    let forward = EngineWord::ForwardTo { site: THERE, message: message.clone() };
    bench.input(up(A));
    bench.input(up(B));
    assert!(bench.engine(A, forward.clone()).is_empty());
    bench.up(THERE);
    let said = bench.engine(A, forward);
    assert_eq!(to_site(&said, THERE), [SiteWord::Forward(message.clone())]);
    let mut receivers = Vec::new();
    for _ in 0..4 {
        for output in bench.word(THERE, SiteWord::Forward(message.clone())) {
            if let GateOutput::ToEngine { engine, .. } = output {
                receivers.push(engine);
            }
        }
    }
    assert_eq!(receivers, [A, B, A, B]);
    bench.input(GateInput::EngineDown { engine: A });
    bench.input(GateInput::EngineDown { engine: B });
    bench.word(THERE, SiteWord::Forward(message));
    assert_eq!(bench.gate.stats(bench.now).forwards_dropped, 2);
}

#[test]
fn a_pull_asks_every_site_that_answers_and_brings_the_best() {
    let mut bench = Bench::with(1, |config| config.peers = vec![THERE, THIRD]);
    bench.input(up(A));
    bench.up(THERE);
    bench.up(THIRD);
    let (low, high) = (Epoch { n: 7, site: HERE }, Epoch { n: 8, site: THIRD });
    let yours = PullAnswer::Yours(record(1, low));
    let cases = [
        (PullAnswer::NoSuch, yours.clone(), yours.clone()),
        (PullAnswer::Lives(low), yours.clone(), yours.clone()),
        (yours.clone(), PullAnswer::Lives(high), PullAnswer::Lives(high)),
        (PullAnswer::AskLater, PullAnswer::NoSuch, PullAnswer::AskLater),
        (PullAnswer::NoSuch, PullAnswer::NoSuch, PullAnswer::NoSuch),
    ];
    for (turn, (one, two, best)) in (0_u64..).zip(cases) {
        let said = bench.engine(A, EngineWord::Pull { key: key(1), turn });
        let ask = asks(&said, THERE)[0];
        assert_eq!(asks(&said, THIRD), [ask]);
        let said = bench.word(THERE, SiteWord::Pulled { key: key(1), ask, answer: one });
        assert!(pulled(&said).is_empty(), "not before all have answered");
        let said = bench.word(THIRD, SiteWord::Pulled { key: key(1), ask, answer: two.clone() });
        assert_eq!(pulled(&said), [(A, turn, best)]);
        let said = bench.word(THIRD, SiteWord::Pulled { key: key(1), ask, answer: two });
        assert!(pulled(&said).is_empty(), "exactly one answer");
    }
}

#[test]
fn a_silent_or_lost_site_counts_as_no() {
    let mut bench = Bench::new();
    bench.input(up(A));
    let said = bench.engine(A, EngineWord::Pull { key: key(1), turn: 1 });
    assert_eq!(pulled(&said), [(A, 1, PullAnswer::NoSuch)], "nobody to ask");
    bench.up(THERE);
    bench.engine(A, EngineWord::Pull { key: key(1), turn: 2 });
    assert_eq!(pulled(&bench.pass(ms(2_000))), [(A, 2, PullAnswer::NoSuch)]);
    assert_eq!(bench.gate.stats(bench.now).pulls_timed_out, 1);
}

/// A request of a call that lives there was answered with 481.
#[test]
fn a_site_whose_link_has_just_broken_has_not_said_no() {
    let mut bench = Bench::new();
    bench.input(up(A));
    bench.up(THERE);
    bench.pass_greeted(ms(5_000), THERE, SiteState::Serving);
    bench.engine(A, EngineWord::Pull { key: key(1), turn: 1 });
    let said = bench.input(GateInput::LinkDown { site: THERE });
    assert_eq!(pulled(&said), [(A, 1, PullAnswer::AskLater)]);
    bench.pass(ms(1_000));
    let said = bench.engine(A, EngineWord::Pull { key: key(1), turn: 2 });
    assert_eq!(pulled(&said), [(A, 2, PullAnswer::AskLater)]);
    bench.pass(ms(1_000));
    let said = bench.engine(A, EngineWord::Pull { key: key(1), turn: 3 });
    assert_eq!(pulled(&said), [(A, 3, PullAnswer::NoSuch)], "it is silent");
}

#[test]
fn a_site_that_speaks_and_owes_its_answer_has_not_said_no() {
    let mut bench = Bench::new();
    bench.input(up(A));
    bench.up(THERE);
    bench.engine(A, EngineWord::Pull { key: key(1), turn: 1 });
    let said = bench.pass_greeted(ms(2_000), THERE, SiteState::Serving);
    assert_eq!(pulled(&said), [(A, 1, PullAnswer::AskLater)]);
}

#[test]
fn pulls_are_bounded_and_end_with_their_engine() {
    let mut bench = Bench::with(1, |config| config.pulls_open_max = 2);
    bench.input(up(A));
    bench.up(THERE);
    for turn in 0..2 {
        assert!(pulled(&bench.engine(A, EngineWord::Pull { key: key(1), turn })).is_empty());
    }
    let said = bench.engine(A, EngineWord::Pull { key: key(1), turn: 9 });
    assert_eq!(pulled(&said), [(A, 9, PullAnswer::AskLater)]);
    bench.input(GateInput::EngineDown { engine: A });
    assert!(pulled(&bench.pass(ms(10_000))).is_empty());
}

#[test]
fn a_partition_s_pull_says_whether_all_sites_had_their_say() {
    let mut bench = Bench::with(1, |config| config.peers = vec![THERE, THIRD]);
    bench.up(THERE);
    let said = bench.replica(GateBound::Pull { key: key(1) });
    let ask = asks(&said, THERE)[0];
    let answer = PullAnswer::NoSuch;
    let said = bench.word(THERE, SiteWord::Pulled { key: key(1), ask, answer: answer.clone() });
    let told = SiteInput::Pulled { from: None, key: key(1), answer: answer.clone() };
    assert_eq!(to_replica(&said), [told], "the third site may hold it");
    bench.up(THIRD);
    let said = bench.replica(GateBound::Pull { key: key(1) });
    let ask = asks(&said, THERE)[0];
    bench.word(THERE, SiteWord::Pulled { key: key(1), ask, answer: answer.clone() });
    let said = bench.word(THIRD, SiteWord::Pulled { key: key(1), ask, answer });
    assert!(matches!(to_replica(&said)[0], SiteInput::Pulled { from: Some(_), .. }));
}

#[test]
fn superseded_calls_go_to_their_partition() {
    let partitions = vec![PartitionId(5), PartitionId(6)];
    let mut bench = Bench::with(1, |config| config.partitions = partitions);
    bench.up(THERE);
    let epoch = Epoch { n: 9, site: THERE };
    let low = Superseded { key: CallKey([0; 16]), epoch };
    let mut bytes = [0; 16];
    bytes[..2].copy_from_slice(&1_023_u16.to_be_bytes());
    let high = Superseded { key: CallKey(bytes), epoch };
    let said = bench.word(THERE, SiteWord::Superseded(vec![low, high]));
    let dealt = said.iter().filter_map(|output| match output {
        GateOutput::ToReplica { partition, input: SiteInput::Superseded(calls) } => {
            Some((partition.0, calls[0].key))
        }
        _ => None,
    });
    assert_eq!(dealt.collect::<Vec<_>>(), [(5, low.key), (6, high.key)]);
}
