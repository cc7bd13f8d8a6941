//! What a spilled call takes in memory: of the process, as the kernel counts it, so that the slack
//! of trees and of the allocator is in it.
//!
//! A member is told of calls that its primary has spilled, in the order of their keys, as a copy
//! and a comparison tell them, and in no order. The first is the worst for a tree: it leaves its
//! leaves half full. Every call has a deadline.

use std::time::Duration;

use replica::{Config, Input, Limits, Output, Pace, PeerNews, Replica, Spill};
use tier_protocol::{CopiedState, PartitionView, PeerWord, SpilledCall};
use vocab::{
    CallKey, Epoch, Instant, LockToken, PartitionId, ReplicaId, SiteId, Stamp, Version, ViewNumber,
};

const HERE: SiteId = SiteId(1);
const PRIMARY: ReplicaId = ReplicaId(1);
const MEMBER: ReplicaId = ReplicaId(2);
const VIEW: ViewNumber = ViewNumber(7);
const CALLS: usize = 100_000;
const PAGE: usize = 256;
/// The promise of `docs/operating/limits.md`.
const BYTES_MAX: usize = 200;

/// Resident bytes of this process.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it is there");
    let kib = line.trim().trim_end_matches("kB").trim();
    kib.parse::<usize>().expect("a number") * 1_024
}

fn member() -> Replica {
    let alone = PartitionView::alone(PartitionId(0), VIEW, PRIMARY);
    let config = Config {
        here: HERE,
        partition: PartitionId(0),
        replica: MEMBER,
        view: PartitionView { members: vec![PRIMARY, MEMBER], ..alone },
        shared: None,
        backup_to: None,
        limits: Limits::default(),
        pace: Pace::default(),
        spill: Some(Spill::default()),
    };
    Replica::new(Instant(0), config)
}

/// Spreads numbers over all 64 bits: a keyed hash, as far as this test is concerned.
fn mixed(number: u64) -> u64 {
    let mixed = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed ^ mixed >> 31
}

fn call(key: u64) -> SpilledCall {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&key.to_be_bytes());
    let token = LockToken { view: VIEW, counter: mixed(key) };
    SpilledCall {
        key: CallKey(bytes),
        stamp: Stamp { epoch: Epoch::of_start(HERE, 1), token, version: Version(3) },
        due_in: Some(Duration::from_nanos(mixed(key ^ 1) >> 20)),
        digest: mixed(key ^ 2),
        state: CopiedState { at_boundary: true, was_at_boundary: true, ..CopiedState::default() },
        origin: HERE,
        activated_from: None,
        marks: Vec::new(),
    }
}

/// Bytes a call, when these are told.
fn bytes_each(keys: &[u64]) -> (Replica, usize) {
    let mut member = member();
    let before = resident();
    for page in keys.chunks(PAGE) {
        let spilled = page.iter().map(|key| call(*key)).collect();
        let (calls, gone) = (Vec::new(), Vec::new());
        let floor = LockToken { view: VIEW, counter: 1 };
        let word = PeerWord::Repaired { view: VIEW, calls, spilled, gone, floor };
        let news = PeerNews::Said(word);
        member.handle_input(Instant(1), Input::Peer { replica: PRIMARY, news });
        while !matches!(member.poll_output(), Output::WakeAt(..)) {}
    }
    let each = (resident() - before) / keys.len();
    (member, each)
}

#[test]
fn a_spilled_call_takes_little_memory() {
    let mut keys: Vec<u64> = (0..CALLS as u64).map(mixed).collect();
    let (mixed, each_mixed) = bytes_each(&keys);
    keys.sort_unstable();
    let (sorted, each_sorted) = bytes_each(&keys);
    println!("bytes of a spilled call: {each_mixed} in no order, {each_sorted} in order of keys");
    for member in [&mixed, &sorted] {
        let stats = member.stats(Instant(2));
        assert_eq!((stats.active, stats.spill.calls), (CALLS as u64, CALLS as u64));
        assert_eq!(stats.spill.ram_bytes, (CALLS * BYTES_MAX) as u64);
    }
    assert!(each_mixed <= BYTES_MAX && each_sorted <= BYTES_MAX, "{each_mixed}, {each_sorted}");
}
