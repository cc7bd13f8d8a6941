//! What is kept for other sites, and orders about it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Answer to `GET /v1/backup`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupReply {
    /// This site.
    pub here: u16,
    /// The site that keeps this site's dormant copies.
    pub backup_to: Option<u16>,
    /// What is kept here, by home.
    pub kept: BTreeMap<u16, DormantOfSite>,
    /// Batches that wait here to be applied.
    pub inbox_batches: u64,
    /// Partitions of the site, and how many of them are in these numbers.
    #[serde(default)]
    pub partitions: u64,
    /// See `partitions`.
    #[serde(default)]
    pub partitions_told: u64,
}

/// What is kept here for one other site.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DormantOfSite {
    /// Dormant calls.
    pub calls: u64,
    /// The site answers.
    pub alive: bool,
    /// What wakes them: `on_message`, `operator` or `refuse`.
    pub activation: String,
    /// Calls that an order still has to activate or remove.
    pub order_pending: u64,
    /// Of `inbox_batches`, those of this site.
    pub inbox_batches: u64,
    /// An order to wake them is in force, or being carried out.
    pub activating: bool,
    /// The newest such order was carried out, as far as the process knows that keeps the gate.
    pub activated: bool,
    /// An order to remove them is in force, or being carried out.
    pub deleting: bool,
    /// The newest such order was carried out, as `activated`.
    pub deleted: bool,
}

/// Body of `POST /v1/backup/activate`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActivateOrder {
    /// The home of the calls meant.
    pub site: u16,
    /// Although the site answers. Nothing goes home then until `return` is started here again.
    #[serde(default)]
    pub force: bool,
}

/// Body of `POST /v1/backup/delete`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupOrder {
    /// The home of the calls meant.
    pub site: u16,
    /// Although the site answers: its calls are unprotected until they are sent again.
    #[serde(default)]
    pub force: bool,
}

/// Body of `POST /v1/backup/activate/stop`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopOrder {
    /// The home of the calls meant.
    pub site: u16,
}

/// Body of `POST /v1/replication`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicationOrder {
    /// The remote site.
    pub site: u16,
    /// Whether states are sent there. Marks are kept either way.
    pub on: bool,
}

/// Answer to an order that was taken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderReply {
    /// What was begun, in one sentence.
    pub accepted: String,
    /// Calls it is about at this moment.
    pub calls: u64,
}
