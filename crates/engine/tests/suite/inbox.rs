//! Batches of other sites.

use std::time::Duration;

use engine::{Input, Limits};
use tier_protocol::{
    Command, DormantOutcome, EngineWord, Entry, GateWord, Record, Reply, Tombstone, batch,
};
use vocab::{CallKey, Epoch, ReplicaId, SiteId, ViewNumber};

use crate::basic::answered;
use crate::ua::Ua;
use crate::world::{ALICE, World, b2bua};

/// Gives engine 1 a batch of these entries.
pub(crate) fn apply(world: &mut World, id: u64, entries: &[Entry]) {
    let from = SiteId(3 - world.here.0);
    world.gate(1, GateWord::Batch { id, from, bytes: batch::encode(entries), waited_ms: 250 });
}

#[test]
fn every_entry_is_stored_dormant_and_the_batch_is_done() {
    let mut world = site_2();
    let records = records(5);
    apply(&mut world, 7, &records);
    assert_eq!(world.words.pop(), Some(done(7)));
    assert_eq!(world.count(|stats| stats.entries_stored), 5);
    for entry in &records {
        assert!(world.holds(entry.key()));
    }
    apply(&mut world, 7, &records);
    assert_eq!(world.words.pop(), Some(done(7)), "a repetition is harmless");
    let Entry::Record(first) = &records[0] else { panic!("a record") };
    let tombstone = Tombstone { key: records[0].key(), stamp: later(first) };
    apply(&mut world, 8, &[Entry::Tombstone(tombstone)]);
    assert_eq!(world.words.pop(), Some(done(8)));
    assert!(!world.holds(records[0].key()));
}

#[test]
fn the_wait_on_the_queue_counts_as_age() {
    let mut world = site_2();
    let seen = std::rc::Rc::new(std::cell::Cell::new(None));
    let note = std::rc::Rc::clone(&seen);
    world.intercept = Some(Box::new(move |command| {
        if let Command::StoreDormant { record, .. } = command {
            note.set(Some(record.header.age));
        }
        None
    }));
    apply(&mut world, 1, &records(1));
    assert_eq!(seen.get(), Some(Duration::from_millis(250)));
}

#[test]
fn only_so_many_commands_are_in_flight() {
    let limits = Limits { inbox_commands_max: 3, ..Limits::default() };
    let mut world = World::of_site(SiteId(2), limits, vec![b2bua()]);
    let count = std::rc::Rc::new(std::cell::Cell::new(0));
    let counted = std::rc::Rc::clone(&count);
    world.intercept = Some(Box::new(move |command| match command {
        Command::StoreDormant { record, .. } => {
            counted.set(counted.get() + 1);
            // No answer: the engine hears something that it passes over.
            Some(Reply::Queued { key: record.header.key, turn: 0 })
        }
        _ => None,
    }));
    let records = records(10);
    apply(&mut world, 1, &records);
    assert_eq!(count.get(), 3);
    let key = flying(&records)[0];
    answer(&mut world, key, 1, DormantOutcome::Stored);
    assert_eq!(count.get(), 4);
    answer(&mut world, key, 1, DormantOutcome::Stored);
    assert_eq!(count.get(), 4, "an answer counts once");
}

#[test]
fn a_batch_without_room_is_deferred_as_a_whole() {
    let limits = Limits { inbox_commands_max: 2, ..Limits::default() };
    let mut world = World::of_site(SiteId(2), limits, vec![b2bua()]);
    world.intercept = Some(Box::new(|command| match command {
        Command::StoreDormant { record, batch, .. } => Some(Reply::Dormant {
            key: record.header.key,
            batch: *batch,
            outcome: DormantOutcome::Full,
        }),
        _ => None,
    }));
    apply(&mut world, 1, &records(6));
    assert_eq!(world.words, [EngineWord::BatchDeferred { id: 1 }]);
}

#[test]
fn calls_that_live_elsewhere_are_told_to_the_sender() {
    let mut world = site_2();
    let held = Epoch { n: 99_999, site: SiteId(2) };
    world.intercept = Some(Box::new(move |command| match command {
        Command::StoreDormant { record, batch, .. } => Some(Reply::Dormant {
            key: record.header.key,
            batch: *batch,
            outcome: DormantOutcome::Superseded { held },
        }),
        _ => None,
    }));
    let records = records(2);
    apply(&mut world, 1, &records);
    match world.words.pop() {
        Some(EngineWord::BatchDone { id: 1, superseded }) => {
            assert_eq!(superseded.len(), 2);
            assert!(superseded.iter().all(|word| word.epoch == held));
        }
        other => panic!("not done: {other:?}"),
    }
}

#[test]
fn a_batch_that_cannot_be_read_is_poison() {
    let mut world = site_2();
    let mut bytes = batch::encode(&records(3)).to_vec();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x40;
    let word = GateWord::Batch { id: 4, from: SiteId(1), bytes: bytes.into(), waited_ms: 0 };
    world.gate(1, word);
    assert_eq!(world.words, [EngineWord::BatchPoison { id: 4, superseded: Vec::new() }]);
    assert_eq!(world.count(|stats| stats.batches_poison), 1);
}

#[test]
fn a_broken_tier_link_defers_its_batches() {
    let mut world = site_2();
    world.intercept = Some(Box::new(|command| match command {
        Command::StoreDormant { record, .. } => {
            Some(Reply::Queued { key: record.header.key, turn: 0 })
        }
        _ => None,
    }));
    let records = records(3);
    apply(&mut world, 1, &records);
    assert!(world.words.is_empty());
    world.input(1, Input::TierDown { replica: ReplicaId(1) });
    assert_eq!(world.words.pop(), Some(EngineWord::BatchDeferred { id: 1 }));
    apply(&mut world, 2, &records);
    assert_eq!(world.words.pop(), Some(EngineWord::BatchDeferred { id: 2 }));
    world.intercept = None;
    world.input(1, Input::TierUp { replica: ReplicaId(1) });
    apply(&mut world, 1, &records);
    assert_eq!(world.words.pop(), Some(done(1)));
}

#[test]
fn batches_yield_to_calls_before_any_call_is_refused() {
    let limits = Limits { turns_max: 8, inbox_commands_max: 1, ..Limits::default() };
    let mut world = World::of_site(SiteId(2), limits, vec![b2bua()]);
    world.intercept = Some(Box::new(|command| match command {
        Command::LockAndGet { key, turn, .. } => Some(Reply::Queued { key: *key, turn: *turn }),
        Command::StoreDormant { record, .. } => {
            Some(Reply::Queued { key: record.header.key, turn: 0 })
        }
        _ => None,
    }));
    let records = records(3);
    apply(&mut world, 1, &records);
    for call in ["a", "b", "c"] {
        world.deliver(1, ALICE, Ua::caller("alice", ALICE, call).request("INVITE"));
    }
    answer(&mut world, records[0].key(), 1, DormantOutcome::Stored);
    assert!(world.words.is_empty(), "three of eight turns: there is room for both");
    world.deliver(1, ALICE, Ua::caller("alice", ALICE, "d").request("INVITE"));
    answer(&mut world, records[1].key(), 1, DormantOutcome::Stored);
    assert_eq!(world.words.pop(), Some(EngineWord::BatchDeferred { id: 1 }), "in its middle");
    apply(&mut world, 2, &records);
    assert_eq!(world.words.pop(), Some(EngineWord::BatchDeferred { id: 2 }));
    assert_eq!(world.count(|stats| stats.batches_yielded), 2);
    assert_eq!(world.count(|stats| stats.refused_overload), 0, "no call was refused yet");
    world.intercept = None;
    world.advance(Duration::from_secs(8));
    apply(&mut world, 1, &records);
    assert_eq!(world.words.pop(), Some(done(1)), "the calls are gone, and it is taken");
}

#[test]
fn an_empty_batch_is_done_at_once() {
    let mut world = site_2();
    apply(&mut world, 1, &[]);
    assert_eq!(world.words, [done(1)]);
}

fn site_2() -> World {
    World::of_site(SiteId(2), Limits::default(), vec![b2bua()])
}

/// Records of answered calls of site 1, as they cross.
pub(crate) fn records(count: usize) -> Vec<Entry> {
    let mut world = World::new();
    let mut records = Vec::new();
    for index in 0..count {
        answered(&mut world, &format!("call-{index}"));
        records.push(Entry::Record(world.last_put().trimmed()));
    }
    records
}

fn flying(entries: &[Entry]) -> Vec<CallKey> {
    entries.iter().map(Entry::key).collect()
}

fn answer(world: &mut World, key: CallKey, batch: u64, outcome: DormantOutcome) {
    let reply = Reply::Dormant { key, batch, outcome };
    let view = ViewNumber(u64::from(world.here.0));
    world.input(1, Input::Reply { from: ReplicaId(1), view, reply });
}

fn done(id: u64) -> EngineWord {
    EngineWord::BatchDone { id, superseded: Vec::new() }
}

fn later(record: &Record) -> vocab::Stamp {
    let stamp = record.header.stamp;
    vocab::Stamp { version: vocab::Version(stamp.version.0 + 1), ..stamp }
}
