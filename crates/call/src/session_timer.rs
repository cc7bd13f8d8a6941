//! Session timers (RFC 4028): who refreshes a leg, when, and what happens when nobody does.

use std::time::Duration;

use vocab::Instant;

/// The session timer of one leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SessionTimer {
    pub(crate) interval: Duration,
    pub(crate) refresher: Refresher,
    /// When we refresh; `None` when the peer does, or while a refresh of ours is on its way.
    pub(crate) refresh_at: Option<Instant>,
    /// When the session ends for want of a refresh.
    pub(crate) expire_at: Instant,
}

/// Which side of a leg refreshes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refresher {
    Us,
    Peer,
}

impl SessionTimer {
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        Some(self.refresh_at.map_or(self.expire_at, |at| at.min(self.expire_at)))
    }
}
