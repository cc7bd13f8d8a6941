//! Partitions and who serves them: `/v1/partitions`.

use serde::{Deserialize, Serialize};

/// Answer to `GET /v1/partitions`: the site as this state process knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PartitionsReply {
    /// The replica that answers.
    pub here: u64,
    /// Partitions by number.
    pub partitions: Vec<Partition>,
    /// Replicas that wait for a partition to be divided off for them, or to join one.
    pub waiting: Vec<Replica>,
    /// Slots on the move.
    pub moves: Vec<Move>,
    /// The coordination store does not answer, or takes no write: views cannot change.
    pub store_away: bool,
}

/// One partition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Partition {
    /// Its number.
    pub partition: u16,
    /// Number of its view.
    pub view: u64,
    /// Its hash slots, as `0-511`.
    pub slots: String,
    /// How many they are, of 1,024.
    pub slot_count: u64,
    /// Replicas in order of joining; the first is the primary.
    pub members: Vec<Replica>,
    /// Replicas that are being copied to.
    pub joining: Vec<Replica>,
}

/// One replica.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Replica {
    /// This life of its process.
    pub replica: u64,
    /// Its process's name.
    pub name: String,
    /// Where it is reached.
    pub address: String,
    /// The partition it is configured for.
    pub partition: u16,
    /// Whether it answers the state process that was asked; absent where that one does not know, as
    /// it listens to its own partition and to those who wait.
    pub heard: Option<bool>,
}

/// Slots that are to go from one partition to another.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Move {
    /// Who owns them.
    pub from: u16,
    /// Who is to own them.
    pub to: u16,
    /// The slots.
    pub slots: String,
    /// How many replicas of `to` have to have the calls.
    pub replicas: u64,
    /// How many have them.
    pub ready: u64,
}

/// Body of `POST /v1/partitions/move`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MoveOrder {
    /// The partition that is divided; the state process that is asked must serve it.
    pub from: u16,
    /// The partition that is made.
    pub to: u16,
    /// Replicas of it that must have the calls before the slots move; at least 1.
    pub replicas: u16,
    /// First slot to move; with `last_slot` absent too: the upper half.
    #[serde(default)]
    pub first_slot: Option<u16>,
    /// Last slot to move.
    #[serde(default)]
    pub last_slot: Option<u16>,
}

/// Body of `POST /v1/partitions/move/cancel`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CancelOrder {
    /// The partition that was to be divided; the state process that is asked must serve it.
    pub from: u16,
    /// The partition that was to be made.
    pub to: u16,
}

/// How a state process stands in its view.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ViewStatus {
    /// This life of the process among the replicas.
    pub replica: u64,
    /// The partition.
    pub partition: u16,
    /// The view's number; 0 while it names this process not.
    pub number: u64,
    /// `primary`, `member`, `joining` or `waiting`.
    pub role: String,
    /// Complete members.
    pub members: u64,
    /// Members that are being copied to.
    pub joining: u64,
    /// Of a joiner: calls copied, and calls that the primary holds.
    pub copied: u64,
    /// See `copied`.
    pub to_copy: u64,
    /// The coordination store does not answer, or takes no write: views cannot change.
    pub store_away: bool,
    /// What does not fit together in the configurations of this process and others.
    pub conflicts: Vec<String>,
    /// The order about partitions that waits to be carried out; empty for none.
    pub order: String,
    /// The last order that was dropped, and why; empty for none, and once another was given.
    pub order_dropped: String,
    /// For how long there have been fewer members than there should be; 0 when there are enough.
    pub short_for_ms: u64,
    /// How long it took the last time to have enough again; 0 before the first time.
    pub healed_after_ms: u64,
}
