//! Calls, one by one: `/v1/calls` and `/v1/calls/{key}`.

use serde::{Deserialize, Serialize};

/// One line of the list of calls.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallLine {
    /// 32 hexadecimal digits.
    pub key: String,
    /// The site that owns the call.
    pub home: u16,
    /// The site that owned it first.
    pub origin: u16,
    /// Timers asleep, home elsewhere or not yet woken.
    pub dormant: bool,
    /// An engine holds its lock.
    pub locked: bool,
    /// Puts so far.
    pub version: u64,
    /// Time since the last put.
    pub age_ms: u64,
    /// Bytes of the record.
    pub record_bytes: u64,
    /// Its newest state still has to cross.
    pub at_risk: bool,
    /// It never was steady: no other site could resume it.
    #[serde(default)]
    pub in_set_up: bool,
    /// Its record is in the database, not in RAM.
    #[serde(default)]
    pub in_database: bool,
}

/// Answer to `GET /v1/calls`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallsReply {
    /// By rising key.
    pub calls: Vec<CallLine>,
    /// Give it as `cursor` for the next page; absent after the last.
    pub next: Option<String>,
}

/// Answer to `GET /v1/calls/{key}`: one call's whole story.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CallStory {
    /// The line of the list.
    pub call: CallLine,
    /// The stamp of the newest state: epoch, lock token, version.
    pub stamp: String,
    /// Version of the encoding.
    pub schema: u32,
    /// Bytes that cross, before compression.
    pub crossing_bytes: u64,
    /// Bytes that stay.
    pub local_bytes: u64,
    /// From now to the earliest deadline; 0 when it is over.
    pub deadline_ms: Option<u64>,
    /// The last hint of each application.
    pub hints: Vec<HintLine>,
    /// What each remote site has acknowledged.
    pub crossed: Vec<CrossedMark>,
    /// Whether the newest state waits to cross, and why.
    pub mark: String,
    /// What was decided about the hint on the newest state, for each site that has it or is to.
    pub decisions: Vec<HintDecision>,
    /// The engine that holds the lock.
    pub locked_by: Option<u64>,
    /// Turns that wait for the lock.
    pub waiters: u64,
    /// Both legs, in words; empty where the state cannot be decoded (role `state` keeps bytes
    /// only).
    pub summary: Vec<String>,
    /// Further lines that the store knows of this call.
    pub notes: Vec<String>,
}

/// What an application last said of a call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HintLine {
    /// The application's number in this deployment.
    pub application: u16,
    /// `steady` or `busy`.
    pub hint: String,
}

/// Where the newest state of a call stands on its way to a site.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HintDecision {
    /// The site.
    pub site: u16,
    /// One of a closed list, as `reason` in the metric `rehome_hints_total`.
    pub reason: String,
    /// It is decided again after this, if nothing happens before; absent: only an event helps.
    pub again_ms: Option<u64>,
    /// It goes, or went, because the bound on disregarding a hint was reached.
    pub forced: bool,
    /// The same in words.
    pub words: String,
}

/// The newest state that a remote site has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CrossedMark {
    /// The remote site.
    pub site: u16,
    /// The stamp it acknowledged.
    pub stamp: String,
    /// Nothing more of the state held here is to cross to it.
    pub newest: bool,
}

/// Body of `POST /v1/test/forget`: removes one dormant record, as a fault. Only where the
/// configuration allows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForgetOrder {
    /// The call; any dormant one when absent.
    pub key: Option<String>,
}
