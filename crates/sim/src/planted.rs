//! Bugs put back on purpose, to prove that the simulator finds what it is there to find.
//!
//! The switches are fields of the cores' configurations that nothing but this room sets.

/// A bug that was there once, or might have been.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// An engine sends what a turn decided without waiting for `Stored`.
    SendBeforeStored,
    /// A replica stores a put whose lock token is not the current one.
    OldTokenAccepted,
    /// A replica arms the timers of dormant records.
    DormantTimersArmed,
    /// A replica forgets a due call when the engine that it was handed to dies.
    DueForgotten,
}

impl Planted {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::SendBeforeStored,
        Self::OldTokenAccepted,
        Self::DormantTimersArmed,
        Self::DueForgotten,
    ];

    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::SendBeforeStored => "send-before-stored",
            Self::OldTokenAccepted => "old-token-accepted",
            Self::DormantTimersArmed => "dormant-timers-armed",
            Self::DueForgotten => "due-forgotten",
        }
    }

    /// The bug of this name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|planted| planted.name() == name)
    }

    pub(crate) fn in_engine(self) -> Option<engine::Planted> {
        match self {
            Self::SendBeforeStored => Some(engine::Planted::SendBeforeStored),
            Self::OldTokenAccepted | Self::DormantTimersArmed | Self::DueForgotten => None,
        }
    }

    pub(crate) fn in_replica(self) -> Option<replica::Planted> {
        match self {
            Self::SendBeforeStored => None,
            Self::OldTokenAccepted => Some(replica::Planted::OldTokenAccepted),
            Self::DormantTimersArmed => Some(replica::Planted::DormantTimersArmed),
            Self::DueForgotten => Some(replica::Planted::DueForgotten),
        }
    }
}
