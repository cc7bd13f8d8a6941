//! What a replica is told at its start: who it is, its limits, and its paces.
//!
//! The defaults are those of the configuration manual; nothing here is read from a file.

use std::collections::BTreeMap;
use std::time::Duration;

use tier_protocol::PartitionView;
use vocab::{PartitionId, ReplicaId, SiteId};

/// Who the replica is.
#[derive(Clone, Debug)]
pub struct Config {
    /// The site it serves.
    pub here: SiteId,
    /// The partition it holds.
    pub partition: PartitionId,
    /// Its own name in the view.
    pub replica: ReplicaId,
    /// The view it serves in. Its number leads every lock token and batch number.
    pub view: PartitionView,
    /// Its seat among the replicas of a site of many; `None` when the view is fixed, and it alone
    /// serves the partition.
    pub shared: Option<Shared>,
    /// The site that keeps dormant copies of the calls that live here.
    pub backup_to: Option<SiteId>,
    /// Bounds.
    pub limits: Limits,
    /// Paces.
    pub pace: Pace,
    /// How long-lived records leave memory; `None` without a database.
    pub spill: Option<Spill>,
}

/// What a replica is told that shares its partition, or its site, with others.
#[derive(Clone, Debug)]
pub struct Shared {
    /// The process's name, which it keeps when it starts again.
    pub name: String,
    /// `host:port` at which engines and other replicas reach it.
    pub address: String,
    /// Partitions to which the founder of the site deals the slots.
    pub partitions: u16,
    /// Members that a full view has: fewer is less redundancy, which is exported.
    pub replicas: u16,
    /// Pause before it asks to join. It doubles with each life that was cut short.
    pub join_after: Duration,
    /// Who builds the batches of its partition, as long as it leads it.
    pub sender: Sender,
}

/// Which member of a view builds and sends the batches for other sites.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sender {
    /// The one that decides what goes.
    #[default]
    Primary,
    /// The member that joined last, on the primary's word.
    Youngest,
}

/// When a record that nobody touches leaves memory for the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpillAfter {
    /// It stays.
    Never,
    /// When it has been steady for this long.
    Steady(Duration),
}

/// How long-lived records leave memory for the database that the site's replicas share.
#[derive(Clone, Debug)]
pub struct Spill {
    /// For a call that lives here, unless an application of it has an entry of its own.
    pub after: SpillAfter,
    /// By the application's number in the deployment. Of a call of several applications the one
    /// that waits longest counts.
    pub after_by_application: BTreeMap<u16, SpillAfter>,
    /// For a record that is held for another site.
    pub dormant_after: SpillAfter,
    /// Rows written each second.
    pub per_s: u32,
    /// Rows of one ask.
    pub batch_max: usize,
    /// Bytes of the records of one ask. A single larger one goes alone.
    pub batch_bytes_max: usize,
    /// Rows that the database has not answered yet.
    pub stores_in_flight_max: usize,
    /// Fetches that the database has not answered yet.
    pub fetches_in_flight_max: usize,
    /// Calls that wait to be fetched; turns of more are answered `Busy`.
    pub fetches_waiting_max: usize,
    /// A turn waits at most this long for a row, then it is answered `Busy`.
    pub wait_max: Duration,
    /// An ask without an answer is given up after this, and made again where that is of use.
    pub answer_wait: Duration,
    /// Rows of ended calls that wait to be removed; more are left to `Clear`.
    pub removes_max: usize,
    /// Calls whose records are in the database; further ones stay in memory.
    pub calls_max: usize,
}

impl Default for Spill {
    fn default() -> Self {
        Self {
            after: SpillAfter::Steady(Duration::from_secs(60)),
            after_by_application: BTreeMap::new(),
            dormant_after: SpillAfter::Steady(Duration::from_secs(60)),
            per_s: 2_000,
            batch_max: 128,
            batch_bytes_max: 1 << 20,
            stores_in_flight_max: 1_024,
            fetches_in_flight_max: 64,
            fetches_waiting_max: 4_096,
            wait_max: Duration::from_secs(2),
            answer_wait: Duration::from_secs(10),
            removes_max: 65_536,
            calls_max: 10_000_000,
        }
    }
}

/// Bounds of one partition.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Calls held, active and dormant and stubs together.
    pub calls_max: usize,
    /// Bytes of record sections held.
    pub bytes_max: usize,
    /// Turns that may wait for one call's lock.
    pub waiters_per_call_max: usize,
    /// Calls handed to engines and not yet given back, all causes but `Asked` together.
    pub handed_max: usize,
    /// Of those, calls that are to wake.
    pub waking_max: usize,
    /// Bytes of a batch before compression. A single larger record goes alone.
    pub batch_bytes_max: usize,
    /// Batches that one site has not acknowledged yet.
    pub batches_in_flight_max: usize,
    /// Entries of a keyset page.
    pub keyset_page_max: usize,
    /// Tombstones kept. The oldest goes first, which an acknowledged one can afford: by then the
    /// batches that were older than it have been applied.
    pub tombstones_max: usize,
    /// Refill questions that may be open at a time.
    pub pulls_open_max: usize,
    /// Words of engines that wait while a change of the view is being decided; more are dropped,
    /// and asked again by their engines.
    pub muted_max: usize,
    /// Calls of one page of a copy, or of one run that is compared.
    pub copy_page_max: usize,
    /// Bytes of records of one page of a copy. A single larger record goes alone.
    pub copy_bytes_max: usize,
    /// Calls kept in quarantine; the oldest goes first.
    pub quarantine_calls_max: usize,
    /// Bytes of their records and messages; the oldest goes first.
    pub quarantine_bytes_max: usize,
    /// Calls whose broken turns are remembered; the oldest goes first.
    pub suspects_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            calls_max: 1_000_000,
            bytes_max: 4 << 30,
            waiters_per_call_max: 16,
            handed_max: 1_024,
            waking_max: 128,
            batch_bytes_max: 256 << 10,
            batches_in_flight_max: 4,
            keyset_page_max: 500,
            tombstones_max: 200_000,
            pulls_open_max: 64,
            muted_max: 16_384,
            copy_page_max: 256,
            copy_bytes_max: 1 << 20,
            quarantine_calls_max: 256,
            quarantine_bytes_max: 8 << 20,
            suspects_max: 16_384,
        }
    }
}

/// How long and how fast.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// A lock that is not renewed or put under for this long ends.
    pub lock_lease: Duration,
    /// A call crosses when nobody took its lock for this long after a boundary.
    pub settle_for: Duration,
    /// A ready call waits at most this long for company in its batch.
    pub batch_after: Duration,
    /// A call that was at a boundary and keeps being busy crosses at the latest after this.
    pub disregarded_max: Duration,
    /// A batch that is not acknowledged for this long is sent again.
    pub batch_ack_wait: Duration,
    /// Pause before anything refused or fruitless is tried again.
    pub retry_after: Duration,
    /// A dormant call of a home that is given up wakes this long after its last deadline.
    pub dead_home_after: Duration,
    /// What broke two engines before it had a record is given to none for this long.
    pub begin_refused_for: Duration,
    /// Dormant calls woken each second by an order, a refill or a hand-back, at most: engines that
    /// have other work are slower to give them back ([`Limits::waking_max`]).
    pub activate_per_s: u32,
    /// Calls asked for (refill) or marked (sweep) each second.
    pub refill_per_s: u32,
    /// Calls given back each second.
    pub hand_back_per_s: u32,
    /// Calls copied to a joiner each second.
    pub copy_per_s: u32,
    /// Calls compared with other members each second.
    pub compare_per_s: u32,
    /// Pause between two comparisons of everything.
    pub compare_every: Duration,
    /// Pause between two sweeps of what the backup site keeps; none are begun by time when it is 0.
    pub sweep_every: Duration,
    /// Calls compared with the backup site each second.
    pub sweep_per_s: u32,
    /// Time between two signs of life.
    pub ping_every: Duration,
    /// A replica that answered nothing for this long is taken to be dead.
    pub silent_after: Duration,
    /// Each member that stands behind another in the view leaves it this much time to propose what
    /// both see.
    pub propose_after: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            lock_lease: Duration::from_secs(3),
            settle_for: Duration::from_millis(100),
            batch_after: Duration::from_millis(50),
            disregarded_max: Duration::from_secs(30),
            batch_ack_wait: Duration::from_secs(15),
            retry_after: Duration::from_secs(1),
            dead_home_after: Duration::from_secs(60),
            begin_refused_for: Duration::from_secs(300),
            activate_per_s: 20_000,
            refill_per_s: 2_000,
            hand_back_per_s: 1_000,
            copy_per_s: 20_000,
            compare_per_s: 10_000,
            compare_every: Duration::from_secs(30),
            sweep_every: Duration::from_secs(600),
            sweep_per_s: 2_000,
            ping_every: Duration::from_millis(200),
            silent_after: Duration::from_millis(1_400),
            propose_after: Duration::from_millis(100),
        }
    }
}
