//! Where the calls of a site go by order: away, home, or not. And how far they are.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Body of `POST /v1/evacuate`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvacuateOrder {
    /// The site whose calls are meant: that of the node that is asked.
    pub from: u16,
    /// Where they go; without it, an evacuation that is on ends. Calls that went stay there as long
    /// as their home does not want them back, which it does from then on.
    #[serde(default)]
    pub to: Option<u16>,
}

/// What is ordered of a return.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReturnWord {
    /// Calls go home: from where they stopped after a pause, from the first page after an abort.
    #[default]
    Start,
    /// Nothing is given back or fetched until the start.
    Pause,
    /// The same, and what is known of the way is forgotten.
    Abort,
}

/// Body of `POST /v1/return`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReturnOrder {
    /// What is ordered.
    pub order: ReturnWord,
    /// With `start`: a returning site serves at once, and fetches the keyset beside that.
    #[serde(default)]
    pub without_keyset: bool,
}

/// Body of `POST /v1/replication/retarget`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetargetOrder {
    /// The site that is to keep the copies of the calls that live here.
    pub to: u16,
}

/// An evacuation that is on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Evacuation {
    /// Where the calls go.
    pub to: u16,
    /// Calls that still live here. Those that ended up to 32 s ago are among them.
    pub left: u64,
    /// That site answers, serves, and takes calls.
    pub wanted: bool,
}

/// How far the ways home are, of calls of this site and of others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReturnStatus {
    /// `runs`, `paused` or `aborted`.
    pub state: String,
    /// Sites that have not told all of this site's calls that they hold.
    pub keyset_awaited: Vec<u16>,
    /// Of those calls: how many were told.
    pub keyset_told: u64,
    /// Own calls still to be fetched from where they sleep.
    pub refill_left: u64,
    /// Calls that live here and go to this site, by site.
    pub hand_back_left: BTreeMap<u16, u64>,
}

/// A backup site that was ordered in place of the configured one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Retarget {
    /// It.
    pub to: u16,
    /// Answered calls whose newest state it does not have.
    pub at_risk: u64,
    /// It has every call that lived here when it was ordered: other sites let go of theirs.
    pub complete: bool,
}

/// Body of `POST /v1/replication/sweep`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SweepOrder {
    /// The site whose copies are compared: the one that keeps this site's. It may be left out.
    #[serde(default)]
    pub site: Option<u16>,
}

/// How the sweeps of the copies at one site are going. Counters are since the processes started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SweepStatus {
    /// Hash slots that the present sweep has yet to compare; 0 when none is going on.
    pub slots_left: u64,
    /// Sweeps that came to their end, of all partitions together.
    pub done: u64,
    /// Calls of which that site had an older state, or none.
    pub found: u64,
    /// Of those, calls that have crossed since, or ended.
    pub repaired: u64,
    /// Slots that it said nothing about; the next sweep has them again.
    pub unanswered: u64,
    /// Time since the last one came to its end; absent before the first.
    pub ended_ms_ago: Option<u64>,
}
