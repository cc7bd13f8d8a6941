//! The words of the admin API: what a node answers over HTTP, and what it may be asked to do.
//!
//! Types only, with stable field names: units in the name, counts without one. No client and no
//! server; `openapi.json` beside this crate describes the same words for other languages.
//! Sites are named by their number; maps keyed by site carry it as a JSON string.

pub mod backup;
pub mod call;
pub mod health;
pub mod partitions;
pub mod quarantine;
pub mod route;
pub mod statistics;
pub mod status;
pub mod steer;

pub use backup::{
    ActivateOrder, BackupOrder, BackupReply, DormantOfSite, OrderReply, ReplicationOrder, StopOrder,
};
pub use call::{CallLine, CallStory, CallsReply, CrossedMark, ForgetOrder, HintDecision, HintLine};
pub use health::{HealthState, Observation, ProbedSite, SiteHealth, WitnessStatus};
pub use partitions::{
    CancelOrder, Move, MoveOrder, Partition, PartitionsReply, Replica, ViewStatus,
};
pub use quarantine::{QuarantineLine, QuarantineReply, QuarantineStory, StrikeLine};
pub use route::{Health, RouteOrder, RouteReply};
pub use statistics::{Inbound, Outbound, StatisticsReply};
pub use status::{
    AtRisk, BalancerStatus, Crossing, CrossingLag, DatabaseStatus, EdgeEngine, EngineStatus,
    LagRange, Peer, QueueStatus, SitesReply, StatusReply,
};
pub use steer::{
    EvacuateOrder, Evacuation, Retarget, RetargetOrder, ReturnOrder, ReturnStatus, ReturnWord,
    SweepOrder, SweepStatus,
};

use serde::{Deserialize, Serialize};

/// The OpenAPI document that describes these words.
pub const OPENAPI: &str = include_str!("../openapi.json");

/// Every route of the admin API: method, path as in the OpenAPI document.
pub const ROUTES: &[(&str, &str)] = &[
    ("get", "/v1/status"),
    ("get", "/v1/sites"),
    ("get", "/v1/calls"),
    ("get", "/v1/calls/{key}"),
    ("get", "/v1/quarantine"),
    ("delete", "/v1/quarantine"),
    ("get", "/v1/quarantine/{key}"),
    ("delete", "/v1/quarantine/{key}"),
    ("get", "/v1/statistics"),
    ("get", "/v1/backup"),
    ("post", "/v1/backup/activate"),
    ("post", "/v1/backup/activate/stop"),
    ("post", "/v1/backup/delete"),
    ("post", "/v1/replication"),
    ("post", "/v1/replication/retarget"),
    ("post", "/v1/replication/sweep"),
    ("post", "/v1/evacuate"),
    ("post", "/v1/return"),
    ("get", "/v1/partitions"),
    ("post", "/v1/partitions/move"),
    ("post", "/v1/partitions/move/cancel"),
    ("post", "/v1/partitions/refound"),
    ("get", "/v1/route"),
    ("post", "/v1/route"),
    ("post", "/v1/test/forget"),
    ("get", "/v1/openapi.json"),
    ("get", "/metrics"),
];

/// The body of every answer that is not a success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorReply {
    /// What went wrong, in one sentence.
    pub error: String,
}

#[cfg(test)]
mod tests;
