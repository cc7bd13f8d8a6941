//! Bugs put back on purpose, to prove that the simulator finds what it is there to find.
//!
//! The switches are fields of the cores' configurations that nothing but this room sets.

/// What is simulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum World {
    /// Two sites with one replica each.
    Sites,
    /// One site with several replicas.
    Tier,
    /// Two sites with several replicas each.
    Wide,
}

impl World {
    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sites => "sites",
            Self::Tier => "tier",
            Self::Wide => "wide",
        }
    }
}

/// A bug that was there once, or might have been.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// An engine sends what a turn decided without waiting for `Stored`.
    SendBeforeStored,
    /// A replica stores a put whose lock token is not the current one, or void.
    OldTokenAccepted,
    /// A replica arms the timers of dormant records.
    DormantTimersArmed,
    /// A replica forgets a due call when the engine that it was handed to dies.
    DueForgotten,
    /// An engine lets effects and lock go when the first member has the put.
    UnlockBeforeAllStored,
    /// An engine believes a primary that nobody confirmed: it may have been removed.
    NotHereBelieved,
    /// A joiner says that it is complete before it has the copy.
    JoinerCountedEarly,
    /// A member answers commands of a view that is over, in that view.
    OldViewAccepted,
    /// A restarted process takes the id of its old self, and with it its place in the view.
    RestartedAsOldSelf,
    /// A replica lets go of a record before the database has it.
    SpilledBeforeStored,
    /// A gate acknowledges a batch before the queue has it.
    AcknowledgedBeforeStored,
    /// A gate gives a page of a keyset that lacks what all partitions but one have.
    KeysetOfOnePartition,
    /// A sweep finds copies that are older, but not those that are not there at all.
    SweepSkipsAbsent,
}

impl Planted {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::SendBeforeStored,
        Self::OldTokenAccepted,
        Self::DormantTimersArmed,
        Self::DueForgotten,
        Self::UnlockBeforeAllStored,
        Self::NotHereBelieved,
        Self::JoinerCountedEarly,
        Self::OldViewAccepted,
        Self::RestartedAsOldSelf,
        Self::SpilledBeforeStored,
        Self::AcknowledgedBeforeStored,
        Self::KeysetOfOnePartition,
        Self::SweepSkipsAbsent,
    ];

    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::SendBeforeStored => "send-before-stored",
            Self::OldTokenAccepted => "old-token-accepted",
            Self::DormantTimersArmed => "dormant-timers-armed",
            Self::DueForgotten => "due-forgotten",
            Self::UnlockBeforeAllStored => "unlock-before-all-stored",
            Self::NotHereBelieved => "not-here-believed",
            Self::JoinerCountedEarly => "joiner-counted-early",
            Self::OldViewAccepted => "old-view-accepted",
            Self::RestartedAsOldSelf => "restarted-as-old-self",
            Self::SpilledBeforeStored => "spilled-before-stored",
            Self::AcknowledgedBeforeStored => "acknowledged-before-stored",
            Self::KeysetOfOnePartition => "keyset-of-one-partition",
            Self::SweepSkipsAbsent => "sweep-skips-absent",
        }
    }

    /// The bug of this name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|planted| planted.name() == name)
    }

    /// The worlds in which it must be found.
    #[must_use]
    pub fn worlds(self) -> &'static [World] {
        match self {
            Self::DormantTimersArmed | Self::SweepSkipsAbsent => &[World::Sites],
            Self::SendBeforeStored | Self::OldTokenAccepted | Self::DueForgotten => {
                &[World::Sites, World::Tier]
            }
            Self::UnlockBeforeAllStored
            | Self::NotHereBelieved
            | Self::JoinerCountedEarly
            | Self::OldViewAccepted
            | Self::RestartedAsOldSelf
            | Self::SpilledBeforeStored => &[World::Tier],
            Self::AcknowledgedBeforeStored | Self::KeysetOfOnePartition => &[World::Wide],
        }
    }

    pub(crate) fn in_engine(self) -> Option<engine::Planted> {
        match self {
            Self::SendBeforeStored => Some(engine::Planted::SendBeforeStored),
            Self::UnlockBeforeAllStored => Some(engine::Planted::UnlockBeforeAllStored),
            Self::NotHereBelieved => Some(engine::Planted::NotHereBelieved),
            Self::OldTokenAccepted
            | Self::DormantTimersArmed
            | Self::DueForgotten
            | Self::JoinerCountedEarly
            | Self::OldViewAccepted
            | Self::RestartedAsOldSelf
            | Self::SpilledBeforeStored
            | Self::AcknowledgedBeforeStored
            | Self::KeysetOfOnePartition
            | Self::SweepSkipsAbsent => None,
        }
    }

    pub(crate) fn in_gate(self) -> Option<replica::Planted> {
        match self {
            Self::AcknowledgedBeforeStored => Some(replica::Planted::AcknowledgedBeforeStored),
            Self::KeysetOfOnePartition => Some(replica::Planted::KeysetOfOnePartition),
            Self::OldTokenAccepted
            | Self::DormantTimersArmed
            | Self::DueForgotten
            | Self::JoinerCountedEarly
            | Self::OldViewAccepted
            | Self::SpilledBeforeStored
            | Self::SweepSkipsAbsent
            | Self::SendBeforeStored
            | Self::UnlockBeforeAllStored
            | Self::NotHereBelieved
            | Self::RestartedAsOldSelf => None,
        }
    }

    pub(crate) fn in_replica(self) -> Option<replica::Planted> {
        match self {
            Self::OldTokenAccepted => Some(replica::Planted::OldTokenAccepted),
            Self::DormantTimersArmed => Some(replica::Planted::DormantTimersArmed),
            Self::DueForgotten => Some(replica::Planted::DueForgotten),
            Self::JoinerCountedEarly => Some(replica::Planted::JoinerCountedEarly),
            Self::OldViewAccepted => Some(replica::Planted::OldViewAccepted),
            Self::SpilledBeforeStored => Some(replica::Planted::SpilledBeforeStored),
            Self::SweepSkipsAbsent => Some(replica::Planted::SweepSkipsAbsent),
            Self::SendBeforeStored
            | Self::UnlockBeforeAllStored
            | Self::NotHereBelieved
            | Self::RestartedAsOldSelf
            | Self::AcknowledgedBeforeStored
            | Self::KeysetOfOnePartition => None,
        }
    }
}
