//! Bugs that only the simulator puts back, to prove that it finds them. Nothing else sets one.

/// A bug in an engine.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// Effects leave, and the lock, when the first member has the put.
    UnlockBeforeAllStored,
    /// The primary is believed although nobody confirmed its view.
    NotHereBelieved,
    /// Effects leave with the put, before it is stored.
    SendBeforeStored,
}
