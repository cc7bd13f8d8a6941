//! The view of a partition: who serves it. It changes only under a new number.

use vocab::{PartitionId, ReplicaId, ViewNumber};

/// One partition's members in order of joining; the first is the primary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionView {
    /// The partition.
    pub partition: PartitionId,
    /// Grows with each change.
    pub number: ViewNumber,
    /// Complete members, oldest first. Never empty.
    pub members: Vec<ReplicaId>,
    /// Members that are being copied to: they take puts, and do not count yet.
    pub joining: Vec<ReplicaId>,
}

impl PartitionView {
    /// The member that answers reads and keeps the locks.
    #[must_use]
    pub fn primary(&self) -> Option<ReplicaId> {
        self.members.first().copied()
    }
}
