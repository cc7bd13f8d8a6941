//! Bugs that only the simulator puts back, to prove that it finds them. Nothing else sets one.

/// A bug in a replica.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// A put is stored although its lock token is not the current one.
    OldTokenAccepted,
    /// The timers of dormant records are armed.
    DormantTimersArmed,
    /// A due call is forgotten when the engine that it was handed to dies.
    DueForgotten,
    /// A joiner counts itself as complete before it has the copy.
    JoinerCountedEarly,
    /// A command of a view that is over is answered, in that view.
    OldViewAccepted,
    /// A record leaves memory when its row is asked for, not when it is durable.
    SpilledBeforeStored,
    /// A gate acknowledges a batch before the queue has it.
    AcknowledgedBeforeStored,
    /// A gate gives a page of a keyset when the first of its partitions has answered.
    KeysetOfOnePartition,
    /// A sweep finds copies that are older, but not those that are not there at all.
    SweepSkipsAbsent,
}

impl crate::Replica {
    /// A copy is gone, and nobody was told: the simulator's fault that a sweep has to find.
    #[doc(hidden)]
    pub fn lose_copy(&mut self, key: vocab::CallKey) {
        self.forget(key);
    }
}
