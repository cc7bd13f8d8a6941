//! The inbound queue.

use std::hash::Hasher;

use siphasher::sip::SipHasher13;

use super::*;

fn batch(id: u64) -> SiteWord {
    let bytes = Bytes::from_static(b"0123456789");
    SiteWord::Batch { id, partition: ONLY, view: ViewNumber(3), bytes }
}

fn appended(said: &[GateOutput]) -> Vec<u64> {
    let rows = said.iter().filter_map(|output| match output {
        GateOutput::QueueAppend { batch } => Some(batch.row),
        _ => None,
    });
    rows.collect()
}

fn offered(said: &[GateOutput]) -> Vec<(EngineId, u64)> {
    let offers = said.iter().filter_map(|output| match output {
        GateOutput::ToEngine { engine, word: GateWord::Batch { id, .. } } => Some((*engine, *id)),
        _ => None,
    });
    offers.collect()
}

impl Bench {
    /// A batch comes and reaches the disk. Its row, and what was said.
    fn take(&mut self, id: u64) -> (u64, Vec<GateOutput>) {
        let said = self.word(THERE, batch(id));
        let row = appended(&said)[0];
        (row, self.input(GateInput::QueueAppended { row }))
    }
}

fn bench() -> Bench {
    let mut bench = Bench::new();
    bench.input(up(A));
    bench.up(THERE);
    bench
}

#[test]
fn a_batch_is_acknowledged_only_when_it_is_on_disk() {
    let mut bench = bench();
    let said = bench.word(THERE, batch(1));
    assert!(to_site(&said, THERE).is_empty());
    assert!(offered(&said).is_empty());
    let row = appended(&said)[0];
    let said = bench.input(GateInput::QueueAppended { row });
    assert_eq!(to_site(&said, THERE), [SiteWord::BatchStored { id: 1, partition: ONLY }]);
    assert_eq!(offered(&said), [(A, row)]);
    assert_eq!(told(&bench.hello(THERE, 1, SiteState::Serving)), None);
    let superseded = vec![Superseded { key: key(1), epoch: Epoch { n: 9, site: HERE } }];
    let word = EngineWord::BatchDone { id: row, superseded: superseded.clone() };
    let said = bench.engine(A, word.clone());
    assert!(said.contains(&GateOutput::QueueRemove { row }));
    assert_eq!(to_site(&said, THERE), [SiteWord::Superseded(superseded)]);
    assert_eq!(told(&said).map(|told| told.2), Some(0), "the inbox is empty again");
    assert!(bench.engine(A, word).is_empty(), "done once");
}

#[test]
fn a_disk_that_fails_refuses_the_batch() {
    let mut bench = bench();
    let said = bench.word(THERE, batch(1));
    let said = bench.input(GateInput::QueueRefused { row: appended(&said)[0] });
    assert_eq!(to_site(&said, THERE), [SiteWord::BatchRefused { id: 1, partition: ONLY }]);
    assert_eq!(bench.gate.stats(bench.now).inbox_bytes, 0);
}

/// Of a batch that its site takes.
fn whole(id: u64) -> Bytes {
    let token = vocab::LockToken { view: ViewNumber(1), counter: id };
    let stamp =
        vocab::Stamp { epoch: Epoch::of_start(THERE, 1), token, version: vocab::Version(1) };
    let tombstone = tier_protocol::Tombstone { key: key(1), stamp };
    tier_protocol::batch::encode(&[tier_protocol::Entry::Tombstone(tombstone)])
}

#[test]
fn d21_a_batch_that_was_damaged_on_its_way_is_refused_and_the_next_one_taken() {
    let mut bench = bench();
    let (partition, view) = (ONLY, ViewNumber(3));
    let good = whole(7);
    // Behind what says that it is a batch, and of which version.
    for at in 4..good.len() {
        let mut bytes = good.to_vec();
        bytes[at] ^= 1 << (at % 8);
        let id = at as u64;
        let said = bench.word(THERE, SiteWord::Batch { id, partition, view, bytes: bytes.into() });
        assert!(appended(&said).is_empty());
        assert_eq!(to_site(&said, THERE), [SiteWord::BatchRefused { id, partition }]);
    }
    let stats = bench.gate.stats(bench.now);
    let count = good.len() as u64 - 4;
    assert_eq!((stats.batches_damaged, stats.batches_refused), (count, count));
    let said = bench.word(THERE, SiteWord::Batch { id: 4, partition, view, bytes: good });
    assert_eq!(appended(&said).len(), 1);
}

#[test]
fn the_queue_is_bounded_and_says_so() {
    let mut bench = Bench::with(1, |config| config.inbox_batches_max = 2);
    bench.up(THERE);
    bench.take(1);
    bench.take(2);
    let refused = SiteWord::BatchRefused { id: 3, partition: ONLY };
    let said = bench.word(THERE, batch(3));
    assert_eq!(to_site(&said, THERE), [refused]);
    let mut bench = Bench::with(1, |config| config.inbox_bytes_max = 15);
    bench.up(THERE);
    bench.take(1);
    let said = bench.word(THERE, batch(2));
    assert_eq!(to_site(&said, THERE), [SiteWord::BatchRefused { id: 2, partition: ONLY }]);
}

#[test]
fn a_repeated_batch_is_acknowledged_and_not_written_twice() {
    let mut bench = bench();
    bench.take(1);
    let said = bench.word(THERE, batch(1));
    assert!(appended(&said).is_empty());
    assert_eq!(to_site(&said, THERE), [SiteWord::BatchStored { id: 1, partition: ONLY }]);
}

#[test]
fn a_deposed_sender_is_refused() {
    let mut bench = bench();
    bench.take(1);
    let old = SiteWord::Batch {
        id: 2,
        partition: ONLY,
        view: ViewNumber(2),
        bytes: Bytes::from_static(b"old"),
    };
    let said = bench.word(THERE, old);
    assert_eq!(to_site(&said, THERE), [SiteWord::BatchRefused { id: 2, partition: ONLY }]);
}

#[test]
fn each_engine_has_one_batch_at_a_time_and_all_of_them_a_bound() {
    let mut bench = Bench::with(1, |config| config.offered_max = 3);
    bench.up(THERE);
    for id in 0..10 {
        bench.take(id);
    }
    let mut all = Vec::new();
    for engine in 1..=5 {
        let said = bench.input(up(EngineId(engine)));
        all.extend(offered(&said));
    }
    assert_eq!(all.iter().map(|(engine, _)| engine.0).collect::<Vec<_>>(), [1, 2, 3]);
    let (engine, row) = all[0];
    let done = EngineWord::BatchDone { id: row, superseded: Vec::new() };
    let next = offered(&bench.engine(engine, done));
    assert_eq!(next.len(), 1);
    assert_eq!(next[0].0, EngineId(4), "in turn");
}

#[test]
fn a_batch_goes_to_another_engine_when_its_engine_dies_defers_or_is_slow() {
    let mut bench = bench();
    let (row, _) = bench.take(1);
    bench.input(up(B));
    let said = bench.input(GateInput::EngineDown { engine: A });
    assert_eq!(offered(&said), [(B, row)]);
    let said = bench.engine(B, EngineWord::BatchDeferred { id: row });
    assert!(offered(&said).is_empty());
    assert!(offered(&bench.pass(ms(999))).is_empty());
    assert_eq!(offered(&bench.pass(ms(1))), [(B, row)]);
    bench.input(up(EngineId(3)));
    let said = bench.pass(ms(5_000));
    assert_eq!(offered(&said), [(EngineId(3), row)]);
    // The slow one was not idle: its word counts.
    let done = EngineWord::BatchDone { id: row, superseded: Vec::new() };
    assert!(bench.engine(B, done).contains(&GateOutput::QueueRemove { row }));
    assert_eq!(bench.gate.stats(bench.now).inbox_offered, 0);
}

#[test]
fn a_batch_that_nobody_can_read_is_set_aside() {
    let mut bench = bench();
    let (row, _) = bench.take(1);
    let said = bench.engine(A, EngineWord::BatchPoison { id: row, superseded: Vec::new() });
    assert!(said.contains(&GateOutput::QueueSetAside { row }));
    assert!(offered(&bench.pass(ms(60_000))).is_empty());
}

#[test]
fn what_the_disk_held_is_offered_after_a_start_with_the_time_it_waited() {
    let config = GateConfig::new(HERE, 2, vec![ONLY], vec![]);
    let mut bench = Bench {
        gate: Gate::new(Instant(0), config),
        now: Instant(0),
        said: Vec::new(),
        wake: (Instant::NEVER, Reason::Idle),
    };
    let said = bench.input(up(A));
    assert_eq!(told(&said).map(|told| told.2), Some(1), "the disk was not read yet");
    let queued = QueuedBatch {
        row: 77,
        from: THERE,
        partition: ONLY,
        id: 1,
        view: ViewNumber(3),
        waited: ms(60_000),
        bytes: Bytes::from_static(b"old"),
    };
    bench.now = Instant(0) + ms(40);
    let said = bench.input(GateInput::QueueLoaded(vec![queued]));
    assert!(said.iter().any(|output| matches!(
        output,
        GateOutput::ToEngine {
            word: GateWord::Batch { id: 77, from: THERE, waited_ms: 60_000, .. },
            ..
        }
    )));
    assert!(said.iter().any(|output| matches!(
        output,
        GateOutput::ToReplicas(SiteInput::Status { waiting, .. })
            if *waiting == [THERE]
    )));
}

#[test]
fn rows_of_a_later_start_come_after_those_of_an_earlier_one() {
    let mut one = bench();
    let mut two = Bench::with(2, |config| config.with_keyset = false);
    two.up(THERE);
    assert!(one.take(1).0 < two.take(1).0);
}

#[test]
fn what_lies_on_the_queue_puts_answers_off() {
    let mut bench = Bench::with(1, |config| config.peers = vec![THERE, THIRD]);
    bench.up(THERE);
    bench.up(THIRD);
    let (row, _) = bench.take(1);
    let mut answer = |site: SiteId, answer: PullAnswer| {
        let said = bench.replica(GateBound::PullAnswer { site, ask: 1, key: key(1), answer });
        match to_site(&said, site).as_slice() {
            [SiteWord::Pulled { answer, .. }] => answer.clone(),
            other => panic!("{other:?}"),
        }
    };
    let yours = PullAnswer::Yours(record(1, Epoch { n: 1, site: THERE }));
    let lives = PullAnswer::Lives(Epoch { n: 1, site: HERE });
    assert_eq!(answer(THERE, PullAnswer::NoSuch), PullAnswer::AskLater);
    assert_eq!(answer(THIRD, PullAnswer::NoSuch), PullAnswer::AskLater);
    assert_eq!(answer(THERE, yours.clone()), PullAnswer::AskLater, "a newer copy may lie there");
    assert_eq!(answer(THIRD, yours.clone()), yours);
    assert_eq!(answer(THERE, lives.clone()), lives);
    // An engine's own question is answered "no such call" only when what lay there is applied.
    bench.input(up(A));
    bench.input(GateInput::LinkDown { site: THIRD });
    bench.pass_greeted(ms(2_000), THERE, SiteState::Serving);
    for is_done in [false, true] {
        let said = bench.engine(A, EngineWord::Pull { key: key(1), turn: 1 });
        let ask = asks(&said, THERE)[0];
        if is_done {
            bench.engine(A, EngineWord::BatchDone { id: row, superseded: Vec::new() });
            bench.take(2);
        }
        let word = SiteWord::Pulled { key: key(1), ask, answer: PullAnswer::NoSuch };
        let answer = if is_done { PullAnswer::NoSuch } else { PullAnswer::AskLater };
        assert_eq!(pulled(&bench.word(THERE, word)), [(A, 1, answer)]);
    }
}

/// As [`batch`], written with a dictionary: as much of it as a gate reads.
fn batch_with(id: u64, dictionary: u8) -> SiteWord {
    let (method, raw_bytes, content) = (2, 9_u64, [0, dictionary, 7]);
    let mut hasher = SipHasher13::new();
    hasher.write_u8(method);
    hasher.write_u64(raw_bytes);
    hasher.write(&content);
    let mut bytes = b"RHB\x01".to_vec();
    bytes.push(method);
    bytes.extend(hasher.finish().to_be_bytes());
    bytes.extend(raw_bytes.to_be_bytes());
    bytes.extend(content);
    assert!(!tier_protocol::batch::is_damaged(&bytes));
    assert_eq!(tier_protocol::batch::dictionary_of(&bytes), u16::from(dictionary));
    let (partition, view, bytes) = (ONLY, ViewNumber(1), Bytes::from(bytes));
    SiteWord::Batch { id, partition, view, bytes }
}

fn take_with(bench: &mut Bench, id: u64, dictionary: u8) -> (u64, Vec<GateOutput>) {
    let said = bench.word(THERE, batch_with(id, dictionary));
    let row = appended(&said)[0];
    (row, bench.input(GateInput::QueueAppended { row }))
}

#[test]
fn a_batch_goes_to_an_engine_that_reads_its_dictionary() {
    let mut bench = Bench::new();
    bench.input(GateInput::EngineUp { engine: A, dictionary: 0 });
    bench.input(GateInput::EngineUp { engine: B, dictionary: 1 });
    bench.up(THERE);
    let (first, said) = take_with(&mut bench, 1, 1);
    assert_eq!(offered(&said), [(B, first)]);
    let (second, said) = take_with(&mut bench, 2, 1);
    assert!(offered(&said).is_empty(), "it waits for the one that reads it");
    let said = bench.engine(B, EngineWord::BatchDone { id: first, superseded: Vec::new() });
    assert_eq!(offered(&said), [(B, second)]);
    // Nobody reads it any more: it is shown to whoever is there, and set aside.
    let said = bench.input(GateInput::EngineDown { engine: B });
    assert_eq!(offered(&said), [(A, second)]);
}
