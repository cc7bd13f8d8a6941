//! What a replica tells an operator: counts, calls at risk, progress, and one call's story.
//!
//! Plain values; the node turns them into metrics and admin answers.

use std::collections::BTreeMap;
use std::time::Duration;

use tier_protocol::{Cause, RecordHeader};
use vocab::{CallKey, EngineId, Epoch, LockToken, SiteId, Stamp, ViewNumber};

use crate::copy::CopyStats;
use crate::door::Order;
use crate::hint::{HintCounts, HintReason};
use crate::lag::Lags;

/// A replica's numbers. Counters only grow; the others are as of the question.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Time since the replica began.
    pub up_for: Duration,
    /// Calls that live here.
    pub active: u64,
    /// Calls held dormant, by home.
    pub dormant: BTreeMap<SiteId, u64>,
    /// Calls known to live elsewhere, without a copy.
    pub stubs: u64,
    /// Bytes of all record sections in memory.
    pub bytes: u64,
    /// Locks held by engines.
    pub locks: u64,
    /// Of those, locks that were handed, not asked for.
    pub handed: u64,
    /// Turns that wait for a lock.
    pub waiters: u64,
    /// Engines whose links are up.
    pub engines: u64,
    /// Tombstones kept.
    pub tombstones: u64,
    /// Calls set aside, or records that could not be read.
    pub quarantined: u64,
    /// Bytes of them.
    pub quarantined_bytes: u64,
    /// Refills not yet done.
    pub refills_left: u64,
    /// What crosses, by receiving site.
    pub outbound: BTreeMap<SiteId, OutboundStats>,
    /// What came from other sites, by the home of the calls.
    pub inbound: BTreeMap<SiteId, InboundStats>,
    /// Sweeps of the copies at other sites.
    pub sweeps: BTreeMap<SiteId, tier_protocol::partition::Sweep>,
    /// Bulk orders, by kind and site, running or ended.
    pub bulk: Vec<BulkStats>,
    /// The view, and how whole it is.
    pub view: ViewStats,
    /// Records that are in the database.
    pub spill: SpillStats,
    /// Everything that only grows.
    pub counts: Counts,
}

/// Records that are in the database, and how they come and go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpillStats {
    /// A database is configured.
    pub is_on: bool,
    /// It cannot be used: nothing leaves memory, and spilled calls are answered `Busy`.
    pub is_away: bool,
    /// Calls whose records are in the database. They are among the active and dormant ones.
    pub calls: u64,
    /// What these take in memory all the same, at most.
    pub ram_bytes: u64,
    /// Calls that have rested for long enough and are still in memory.
    pub ripe: u64,
    /// Rows that were written and are not known to be durable yet.
    pub storing: u64,
    /// Rows that were asked for.
    pub fetching: u64,
    /// Calls that wait to be asked for.
    pub fetches_waiting: u64,
    /// Rows of calls that are gone, and that are yet to be removed.
    pub removes_waiting: u64,
    /// The call whose row was lost last.
    pub lost_last: Option<CallKey>,
}

/// How a replica stands in its view.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ViewStats {
    /// The view's number.
    pub number: ViewNumber,
    /// Whether the replica is primary.
    pub leads: bool,
    /// Complete members.
    pub members: u64,
    /// Members that are being copied to.
    pub joining: u64,
    /// Of a joiner: how far its copy is.
    pub copy: Option<CopyStats>,
    /// The coordination store did not answer the last ask: views cannot change.
    pub is_store_away: bool,
    /// An order about the map that waits to be carried out.
    pub ordered: Option<Order>,
    /// For how long the view has had fewer members than it should.
    pub short_for: Option<Duration>,
    /// How long it took the last time to have all of them again.
    pub healed_after: Option<Duration>,
}

/// What has yet to reach one site, and what did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutboundStats {
    /// Whether the site answers.
    pub is_alive: bool,
    /// Whether an operator stopped the sending.
    pub is_stopped: bool,
    /// Answered calls whose newest state the site has not acknowledged: what our loss would lose,
    /// or set back.
    pub at_risk: u64,
    /// Calls that never were at a boundary: nobody talks yet, and no other site could resume them.
    pub in_set_up: u64,
    /// Removals that the site has not acknowledged, of calls of which transactions linger too.
    pub removals: u64,
    /// For how long the oldest of the calls at risk is one.
    pub oldest: Duration,
    /// Of the calls at risk, those that the site has lost, as it began anew or is a new one, and
    /// that wait for their turn.
    pub behind: u64,
    /// Marks that are ready to be sent.
    pub ready: u64,
    /// Batches not yet acknowledged.
    pub in_flight: u64,
    /// Batches sent.
    pub batches: u64,
    /// Bytes sent, after compression.
    pub bytes: u64,
    /// Bytes of the same entries before compression.
    pub raw_bytes: u64,
    /// Entries sent.
    pub entries: u64,
    /// Batches acknowledged.
    pub stored: u64,
    /// Batches refused, lost with a link, or not acknowledged in time.
    pub refused: u64,
    /// How long the states took that the site acknowledged.
    pub lags: Lags,
}

/// Records and removals that came from other sites, of calls of one home. Each is one of these.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InboundStats {
    /// Stored, or held already.
    pub stored: u64,
    /// Older than what is held.
    pub stale: u64,
    /// Of a lower epoch than what is held: their sender must yield.
    pub superseded: u64,
    /// There was no room; they come again.
    pub no_room: u64,
}

/// A kind of paced work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BulkKind {
    /// Every dormant call of a home is woken.
    Activate,
    /// Every dormant call of a home is forgotten.
    Drop,
    /// Every active call crosses again.
    Sweep,
    /// Calls that belong to a site that serves again go home.
    HandBack,
    /// Every active call is given to the site.
    Evacuate,
}

/// How far paced work has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BulkStats {
    /// What is done.
    pub kind: BulkKind,
    /// The site it is about.
    pub site: SiteId,
    /// Calls there were at the start.
    pub total: u64,
    /// Calls gone through.
    pub done: u64,
    /// Whether it is still going on.
    pub is_running: bool,
}

/// Counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Locks granted.
    pub grants: u64,
    /// Of those, without sending the record.
    pub unchanged: u64,
    /// Asks refused because too many waited or the partition was full.
    pub busy: u64,
    /// Commands refused for their view.
    pub stale_view: u64,
    /// Views that this replica came to serve in.
    pub views: u64,
    /// Changes of the map that it proposed and that were written.
    pub views_proposed: u64,
    /// How often it became primary.
    pub promoted: u64,
    /// Calls forgotten because their slots moved to another partition.
    pub shed: u64,
    /// Words of engines dropped for lack of room while the view was uncertain.
    pub muted_lost: u64,
    /// Words of replicas that serve in another view; they are dropped.
    pub peer_stale: u64,
    /// Calls given to joiners.
    pub copied_out: u64,
    /// Calls taken from a primary, by copy or repair.
    pub copied_in: u64,
    /// Copies that began anew, as more calls ended meanwhile than could be remembered.
    pub copies_restarted: u64,
    /// Calls compared with other members.
    pub compared: u64,
    /// Runs of calls in which this member differed from its primary.
    pub runs_differing: u64,
    /// Calls mended after a comparison.
    pub repaired: u64,
    /// Commands of engines whose link is not up; they are dropped.
    pub unknown_engine: u64,
    /// Puts stored.
    pub puts: u64,
    /// Puts and deletes refused.
    pub refused: u64,
    /// Calls removed under their lock.
    pub deletes: u64,
    /// Calls that begin on a key whose earlier call ended under a higher epoch: the other site
    /// refuses the copies of such a call.
    pub begun_below_tombstone: u64,
    /// Locks that ended with their engine's link.
    pub locks_broken: u64,
    /// Locks that ended by their lease.
    pub leases_over: u64,
    /// Calls handed because a deadline passed.
    pub due: u64,
    /// Calls handed, or granted to a waiter, because their effects may not have left.
    pub resumed: u64,
    /// Dormant calls handed to be woken.
    pub activate_handed: u64,
    /// Dormant calls that became active here.
    pub activated: u64,
    /// Calls handed to go home.
    pub hand_back_handed: u64,
    /// Calls that went home.
    pub handed_back: u64,
    /// Calls that were given to the site that an operator chose.
    pub evacuated: u64,
    /// Copies elsewhere that were declared void, as their call moved to a third site.
    pub copies_voided: u64,
    /// Batches that this member built on the primary's word.
    pub shipped: u64,
    /// Records from another site that were stored.
    pub in_stored: u64,
    /// Records or removals from another site that were older than what is held.
    pub in_stale: u64,
    /// Records or removals from another site whose sender must yield.
    pub in_superseded: u64,
    /// Records from another site for which there was no room.
    pub in_full: u64,
    /// Removals from another site that were applied.
    pub in_removed: u64,
    /// Active calls given up because a higher epoch exists.
    pub yielded: u64,
    /// Active calls that ended because their old home had ended them before.
    pub ended_by_old_home: u64,
    /// Refill questions asked.
    pub pulls: u64,
    /// Refills that brought a record.
    pub refilled: u64,
    /// Refills given up: nobody had the record.
    pub refill_missed: u64,
    /// Words about other sites, of a keeper of the gate that had been replaced.
    pub old_keeper: u64,
    /// Answers to other sites that were put off, as not every other replica confirmed the view.
    pub unconfirmed: u64,
    /// Tombstones that left for lack of room while a site had yet to acknowledge them.
    pub tombstones_lost: u64,
    /// Turns that broke: panics, and locks that ended with their engine before a put.
    pub strikes: u64,
    /// Calls set aside whose last broken turn panicked.
    pub quarantined_panicked: u64,
    /// Calls set aside whose record could not be decoded.
    pub quarantined_undecodable: u64,
    /// Calls set aside whose last broken turn lost its engine.
    pub quarantined_broken: u64,
    /// Entries of batches that could not be read.
    pub quarantined_unreadable: u64,
    /// Calls in quarantine forgotten for lack of room.
    pub quarantine_lost: u64,
    /// Calls whose quarantine ended as a better version came from another site.
    pub quarantine_lifted: u64,
    /// Calls in quarantine that an operator dropped.
    pub quarantine_dropped: u64,
    /// Calls set aside that no engine could end: nothing was sent.
    pub condemned_removed: u64,
    /// Asks to begin a call refused, as beginning it has broken engines.
    pub begins_refused: u64,
    /// What was decided about hints, by reason.
    pub hints: HintCounts,
    /// Records that left memory for the database.
    pub spilled: u64,
    /// Rows that the database made durable.
    pub rows_stored: u64,
    /// Records that came back from the database.
    pub fetched: u64,
    /// Rows removed, of calls that are gone.
    pub rows_removed: u64,
    /// Asks that the database refused, or did not answer in time; they are repeated.
    pub rows_refused: u64,
    /// Rows that were not there when they were asked for, older than they should be, or not to be
    /// read. Their calls are lost.
    pub rows_lost: u64,
    /// Rows of calls that are gone, left in the database for lack of room or as it refused.
    pub removes_lost: u64,
    /// Turns refused because their call's row did not come in time; among the busy ones.
    pub fetch_busy: u64,
}

/// One line of the list of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallSummary {
    /// The call.
    pub key: CallKey,
    /// Its stamp; `None` for a call that begins.
    pub stamp: Option<Stamp>,
    /// The site where it began; `None` for a call that begins.
    pub origin: Option<SiteId>,
    /// Whether its timers sleep here.
    pub is_dormant: bool,
    /// Whether only its place is known.
    pub is_stub: bool,
    /// Whether its record is in the database.
    pub is_spilled: bool,
    /// The engine that holds its lock.
    pub locked_by: Option<EngineId>,
    /// Bytes of both sections.
    pub bytes: u64,
}

/// All that a replica knows of one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallStory {
    /// The line of the list.
    pub summary: CallSummary,
    /// The record's header, its age current; `None` for a call that begins, and for one whose
    /// record is in the database.
    pub header: Option<RecordHeader>,
    /// Who holds the lock, why, and for how long the lease still runs.
    pub lock: Option<LockStory>,
    /// Who waits, first come first.
    pub waiters: Vec<(EngineId, u64)>,
    /// The record was put and not unlocked.
    pub unreleased: bool,
    /// The last put was at a boundary.
    pub at_boundary: bool,
    /// Only transactions linger: to other sites the call is over.
    pub has_ended: bool,
    /// Locks in a row that broke without a put.
    pub broken_locks: u32,
    /// Turns in a row that broke.
    pub strikes: u32,
    /// It is in quarantine, or what is left of a call that is.
    pub is_set_aside: bool,
    /// Time to the next deadline that will be handed, if armed.
    pub due_in: Option<Duration>,
    /// The home that it was activated from.
    pub activated_from: Option<Epoch>,
    /// What has yet to cross, and where it stands.
    pub marks: Vec<MarkStory>,
    /// What became of its hint, for each site that has its newest state or is to have it.
    pub hints: Vec<HintStory>,
}

/// A lock as an operator sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockStory {
    /// The holder.
    pub engine: EngineId,
    /// The proof.
    pub token: LockToken,
    /// Why it was granted.
    pub cause: Cause,
    /// Time until the lease ends.
    pub lease_left: Duration,
}

/// A mark as an operator sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MarkStory {
    /// The receiving site.
    pub site: SiteId,
    /// For how long the site has not had the newest state.
    pub age: Duration,
    /// An answered call's state, and no removal.
    pub is_at_risk: bool,
    /// The state of a call that never was at a boundary.
    pub is_in_set_up: bool,
    /// What it waits for.
    pub stage: MarkStage,
}

/// What became of the hint on a call's newest put, for one site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HintStory {
    /// The site that is to have it.
    pub site: SiteId,
    /// Where it stands, and why.
    pub reason: HintReason,
    /// It is decided again after this, if nothing happens before. `None`: only an input helps.
    pub again_in: Option<Duration>,
    /// It went, or goes, because the bound was reached.
    pub is_forced: bool,
}

/// What a mark waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MarkStage {
    /// A boundary, or the end of a lock.
    Busy,
    /// The settle time, or the bound on being disregarded.
    Settling,
    /// Room in a batch, or a site that answers.
    Ready,
    /// An acknowledgement.
    InFlight,
}
