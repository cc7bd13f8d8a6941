//! A pacer: so many a second, in small bursts, without a clock of its own.

use std::time::Duration;

use vocab::Instant;

/// What may be saved up while idle, and by how much a wake-up is put off to do several at once.
const BURST: Duration = Duration::from_millis(10);

/// Lets through at most `per_s` a second.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pacer {
    every: Duration,
    next_at: Instant,
}

impl Pacer {
    pub(crate) fn new(per_s: u32) -> Self {
        Self { every: Duration::from_secs(1) / per_s.max(1), next_at: Instant(0) }
    }

    /// Whether one may pass; it is counted.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        let from = self.next_at.max(now - BURST);
        let may = from <= now;
        if may {
            self.next_at = from + self.every;
        }
        may
    }

    /// When it is worth asking again.
    pub(crate) fn wake_at(&self, now: Instant) -> Instant {
        if self.next_at <= now { now } else { self.next_at + BURST / 2 }
    }
}

#[cfg(test)]
mod tests;
