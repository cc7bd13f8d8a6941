//! What a node says of itself: `/v1/status` and `/v1/sites`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::health::{SiteHealth, WitnessStatus};
use crate::partitions::ViewStatus;
use crate::route::Health;
use crate::steer::{Evacuation, Retarget, ReturnStatus, SweepStatus};

/// Answer to `GET /v1/status`. What a role does not have is zero, empty or absent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StatusReply {
    /// `all`, `state`, `engine`, `balancer` or `witness`.
    pub role: String,
    /// Version of the program.
    pub version: String,
    /// Number of the node's site; 0 for a balancer and a witness.
    pub site: u16,
    /// `returning` (fetching the keyset, takes no new calls) or `serving`.
    pub state: String,
    /// Starts of this site, counted on its disk.
    pub start: u64,
    /// Time since the process started.
    pub uptime_ms: u64,
    /// Calls whose home is here.
    pub calls_active: u64,
    /// Calls kept here for other sites, by their home.
    pub calls_dormant: BTreeMap<u16, u64>,
    /// Calls that began here and live at another site.
    pub calls_moved_away: u64,
    /// Calls held in any state, and the bytes of their records.
    pub calls_held: u64,
    /// Bytes of all records held.
    pub held_bytes: u64,
    /// Locks that an engine holds.
    pub locks: u64,
    /// Turns that wait for a lock.
    pub waiters: u64,
    /// By backing site: calls whose newest steady state is not there yet. They would be lost now.
    pub at_risk: BTreeMap<u16, AtRisk>,
    /// Batches of other sites that wait on the queue or are with an engine.
    pub inbox_batches: u64,
    /// Bytes of those batches.
    pub inbox_bytes: u64,
    /// Other sites.
    pub peers: BTreeMap<u16, Peer>,
    /// Engines linked to the state tier.
    pub engines_alive: u64,
    /// What crossed to other sites, and from them.
    pub crossing: Crossing,
    /// By receiving site: how long call states took to get there.
    pub crossing_lag: BTreeMap<u16, CrossingLag>,
    /// What was decided about hints since the process started, by reason.
    pub hints: BTreeMap<String, u64>,
    /// Calls of other homes that became active here.
    pub activated: u64,
    /// Calls of other origins that were given back.
    pub handed_back: u64,
    /// Calls that were given to another site by order.
    pub evacuated: u64,
    /// Where calls go by order, while they do.
    pub evacuating_to: Option<u16>,
    /// Whether calls go home: `runs`, `paused` or `aborted`; empty where no gate is kept.
    pub return_state: String,
    /// Calls that live here and belong to, or were taken over from, another site, by site.
    pub calls_moved_here: BTreeMap<u16, u64>,
    /// Calls set aside as they broke turn after turn.
    pub quarantined: u64,
    /// Calls set aside since the process started, by cause.
    pub quarantined_by_cause: BTreeMap<String, u64>,
    /// Own calls that other sites hold dormant and that are still to be fetched.
    pub refill_pending: u64,
    /// Due timers that were handed to an engine.
    pub timers_handed: u64,
    /// Calls handed to another engine because their effects may not have left.
    pub resumes: u64,
    /// Tombstones held.
    pub tombstones: u64,
    /// Of a state process: how it stands in its view.
    pub view: Option<ViewStatus>,
    /// Where calls go that are steady for long; absent without a database.
    pub database: Option<DatabaseStatus>,
    /// What keeps batches of other sites: a server, or a file. Absent without other sites.
    pub queue: Option<QueueStatus>,
    /// How long the certificate of the links to other sites is valid still; absent without TLS.
    pub certificate_ends_in_s: Option<u64>,
    /// What the engines of this process did.
    pub engine: Option<EngineStatus>,
    /// What this balancer sees.
    pub balancer: Option<BalancerStatus>,
    /// What this witness sees.
    pub witness: Option<WitnessStatus>,
    /// Counters by name, for people and tests that look closer. Names may change.
    pub counters: BTreeMap<String, u64>,
}

/// The database of calls that are steady for long, as a state process uses it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DatabaseStatus {
    /// It cannot be used: nothing leaves RAM, and turns of calls that have left it wait, then fail.
    pub away: bool,
    /// Calls whose records are in it. They are among the active and dormant ones.
    pub calls: u64,
    /// What these take in RAM all the same, at most.
    pub ram_bytes: u64,
    /// Calls that have rested for long enough and are still in RAM.
    pub ripe: u64,
    /// Rows that were written and are not known to be durable yet.
    pub storing: u64,
    /// Rows that were asked for and have not come yet.
    pub fetching: u64,
    /// Calls that wait to be asked for.
    pub fetches_waiting: u64,
    /// Rows of calls that are gone, and that are yet to be removed.
    pub removes_waiting: u64,
    /// The call whose row was lost last, 32 hexadecimal digits.
    pub lost_last: Option<String>,
}

/// What keeps the batches of other sites until engines have applied them: a server, or a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct QueueStatus {
    /// It cannot be used: batches of other sites are refused, and their calls stay at risk there.
    pub away: bool,
    /// Why, while it is.
    pub why: Option<String>,
    /// How often its file was found to be damaged, or was given up as the disk failed, since the
    /// process started.
    pub damaged: u64,
    /// Batches that are known to be lost with it.
    pub lost_batches: u64,
    /// The last damage: what it was, what it cost, where the file is kept.
    pub damage: Option<String>,
}

/// Calls that would be lost, or set back to an earlier state, if this site died now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AtRisk {
    /// How many that were answered.
    pub calls: u64,
    /// How many that are being set up, beside those: nobody talks yet, and no site can take over.
    #[serde(default)]
    pub in_set_up: u64,
    /// How long the oldest has waited to cross.
    pub oldest_ms: u64,
    /// An operator stopped the sending to that site.
    #[serde(default)]
    pub stopped: bool,
}

/// Another site, seen from here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Its words arrive.
    pub alive: bool,
    /// What it last said of itself: `returning` or `serving`; empty while nothing was heard.
    pub state: String,
    /// The address its link is dialled at.
    #[serde(default)]
    pub address: String,
    /// What wakes its dormant calls here: `on_message`, `operator` or `refuse`.
    #[serde(default)]
    pub activation: String,
    /// It gives its calls away, and takes none back.
    #[serde(default)]
    pub evacuating: bool,
    /// Whether what is said to it is encrypted; absent while there is no link to it.
    #[serde(default)]
    pub encrypted: Option<bool>,
}

/// Traffic between sites since the process started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Crossing {
    /// Batches sent.
    pub batches_out: u64,
    /// Call states and removals in them.
    pub calls_out: u64,
    /// Bytes in them, compressed.
    pub bytes_out: u64,
    /// Bytes of them before compression.
    pub raw_bytes_out: u64,
    /// Batches that the other site has on disk.
    pub batches_acknowledged: u64,
    /// Batches that the other site had no room for.
    pub batches_refused: u64,
    /// Batches received.
    pub batches_in: u64,
    /// Call states of other sites that were stored.
    pub calls_in: u64,
    /// Call states of other sites that were older than what was held.
    pub stale_in: u64,
    /// Calls of this site that live elsewhere under a higher epoch and were yielded.
    pub superseded: u64,
    /// Hints that were followed.
    pub hints_followed: u64,
    /// Hints that were disregarded or delayed.
    pub hints_delayed: u64,
}

/// How long call states took to cross to one site since the process started: from the put at a
/// steady moment to the site's acknowledgement.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CrossingLag {
    /// By rising time.
    pub ranges: Vec<LagRange>,
    /// What all of them took together.
    pub sum_ms: u64,
}

/// The crossings of one range of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LagRange {
    /// They took no longer than this; absent in the last range, which has no end.
    pub up_to_ms: Option<u64>,
    /// How many took longer than the end of the range before.
    pub calls: u64,
}

impl CrossingLag {
    /// The end of the range in which the crossing is that `per_mille` of a thousand did not
    /// outlast: 500 for the median. `None` when there was none, or when it is in the last range.
    #[must_use]
    pub fn quantile_ms(&self, per_mille: u64) -> Option<u64> {
        let all: u64 = self.ranges.iter().map(|range| range.calls).sum();
        let wanted = (all * per_mille).div_ceil(1_000).max(1);
        let mut seen = 0;
        let range = self.ranges.iter().find(|range| {
            seen += range.calls;
            seen >= wanted
        });
        range.and_then(|range| range.up_to_ms)
    }
}

/// The engines of this process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EngineStatus {
    /// The engine's id in this life.
    pub id: u64,
    /// The link to the state tier stands (always, when it is a function call).
    pub tier_up: bool,
    /// Datagrams received.
    pub datagrams_in: u64,
    /// Messages sent.
    pub datagrams_out: u64,
    /// Turns begun.
    pub turns: u64,
    /// Turns that are not over.
    pub turns_open: u64,
    /// Messages that were dropped for lack of room or past a deadline.
    pub dropped: u64,
    /// Requests that were refused for lack of room.
    pub refused: u64,
    /// Messages forwarded to the site where their call lives.
    pub forwarded: u64,
    /// Turns that panicked; each dropped its input.
    pub panics: u64,
}

/// What a balancer sees.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BalancerStatus {
    /// Version of the routing policy.
    pub policy_version: u64,
    /// Engines of all sites.
    pub engines: Vec<EdgeEngine>,
    /// Datagrams that found no healthy engine.
    pub dropped: u64,
    /// Each site as it is judged.
    pub health: BTreeMap<u16, SiteHealth>,
    /// A death is acted upon; else what should be done is told.
    pub auto_failover: bool,
}

/// One engine, seen from a balancer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EdgeEngine {
    /// Its site.
    pub site: u16,
    /// Its edge address.
    pub address: String,
    /// Whether it answers.
    pub health: Health,
    /// Datagrams sent to it.
    pub datagrams_to: u64,
    /// Datagrams it sent.
    pub datagrams_from: u64,
}

/// Answer to `GET /v1/sites`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SitesReply {
    /// This site; 0 for a balancer.
    pub here: u16,
    /// What this site says of itself.
    pub state: String,
    /// The site that keeps this site's dormant copies.
    pub backup_to: Option<u16>,
    /// Other sites.
    pub peers: BTreeMap<u16, Peer>,
    /// By backing site: calls not there yet.
    pub at_risk: BTreeMap<u16, AtRisk>,
    /// Calls go elsewhere by order.
    #[serde(default)]
    pub evacuation: Option<Evacuation>,
    /// How far the ways home are.
    #[serde(default)]
    pub returning: ReturnStatus,
    /// Another backup site than the configured one was ordered.
    #[serde(default)]
    pub retarget: Option<Retarget>,
    /// Sweeps of the copies at other sites, by site.
    #[serde(default)]
    pub sweeps: BTreeMap<u16, SweepStatus>,
    /// Partitions of the site, and how many of them are in these numbers.
    #[serde(default)]
    pub partitions: u64,
    /// See `partitions`.
    #[serde(default)]
    pub partitions_told: u64,
    /// The replicas that lead the partitions; of a site of one process its start. Counters of
    /// sweeps begin anew when they change.
    #[serde(default)]
    pub led_by: Vec<u64>,
    /// Of a balancer: each site as it is judged.
    #[serde(default)]
    pub health: BTreeMap<u16, SiteHealth>,
}
