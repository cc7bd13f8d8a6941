//! What an engine is told at its start: who it is, where the calls are kept, and every bound.

use std::collections::BTreeMap;
use std::time::Duration;

use tier_protocol::PartitionView;
use vocab::{EngineId, SiteId};

/// What an engine is told at its start.
#[derive(Clone)]
pub struct Config {
    /// The engine's site.
    pub here: SiteId,
    /// The engine itself, for its lifetime.
    pub engine: EngineId,
    /// The site's start count, until the gate says one: new calls begin at `Epoch::of_start`.
    pub start: u64,
    /// The site that keeps dormant copies of this site's calls, written into their records.
    pub backup: Option<SiteId>,
    /// The views of the site's partitions, as far as they are known at the start.
    pub views: Vec<PartitionView>,
    /// What a call's step may know: secret, edge, timers, applications.
    pub setting: call::Setting,
    /// Edges to which phones are redirected (302) when their call lives at that site; to any other
    /// site its messages are forwarded.
    pub redirects: BTreeMap<SiteId, call::Edge>,
    /// Every bound.
    pub limits: Limits,
}

/// Every bound of an engine, with the answer that reaching it gives.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bounds of one SIP message; beyond them 400, 413 or silence.
    pub message: sip_message::Limits,
    /// Turns at once. Requests that begin calls are refused at three quarters of it.
    pub turns_max: usize,
    /// REGISTERs that begin something, in one second; more are refused, and told to come back later
    /// the more of them there were. No other message is counted.
    pub registrations_per_s: u32,
    /// The same, in work at once.
    pub registrations_max: usize,
    /// Messages that wait in turns, all calls together; refused like `turns_max`.
    pub inputs_max: usize,
    /// Their bytes; refused like `turns_max`.
    pub inputs_bytes_max: usize,
    /// Messages that wait for one call; more are dropped (over UDP they come again).
    pub inputs_per_call_max: usize,
    /// How long a turn waits for a lock or for another site's answer before its inputs are dropped.
    pub lock_wait: Duration,
    /// Lease of a lock at the replica; a turn that waits for its put renews at a third of it.
    pub lock_lease: Duration,
    /// How long a turn waits for its put to be stored. After it the lock is left to its lease.
    pub store_wait: Duration,
    /// One of several replicas of a partition may be out of reach for this long, as a view without
    /// it is on its way; then requests that begin calls are refused.
    pub tier_patience: Duration,
    /// Pause before a call is asked for again that may be on its way here from another site.
    pub seek_every: Duration,
    /// How long a message waits for such a call.
    pub seek_wait: Duration,
    /// How long a message of a sleeping call that rings waits while its home's batches are on the
    /// queue: they may hold the answered call. Longer than the lease of a batch.
    pub early_wait: Duration,
    /// Smallest `Retry-After` of a 503, whole seconds; the answers are spread up to twice it.
    pub retry_after: Duration,
    /// Decoded calls that are kept between turns; 0 keeps none.
    pub cache_calls_max: usize,
    /// Commands in flight for batches of other sites.
    pub inbox_commands_max: usize,
    /// Batches of other sites that are applied at once; more are deferred.
    pub inbox_batches_max: usize,
    /// Bytes of one batch when inflated; beyond it the batch is poison.
    pub inbox_batch_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message: sip_message::Limits::default(),
            turns_max: 20_000,
            registrations_per_s: 1_000,
            registrations_max: 1_000,
            inputs_max: 40_000,
            inputs_bytes_max: 64 << 20,
            inputs_per_call_max: 32,
            lock_wait: Duration::from_secs(8),
            lock_lease: Duration::from_secs(3),
            store_wait: Duration::from_secs(30),
            tier_patience: Duration::from_secs(1),
            seek_every: Duration::from_millis(20),
            seek_wait: Duration::from_secs(2),
            early_wait: Duration::from_secs(12),
            retry_after: Duration::from_secs(5),
            cache_calls_max: 10_000,
            inbox_commands_max: 256,
            inbox_batches_max: 16,
            inbox_batch_bytes_max: 16 << 20,
        }
    }
}
