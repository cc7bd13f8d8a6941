//! The clock of one process: monotonic, its own, and at times too fast.
//!
//! No two processes count from the same moment. What a core takes for a moment of its own and
//! gives to another would be hours off, and every invariant would tell.

use std::time::Duration;

use vocab::Instant;

/// A process's clock against the world's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    began: Instant,
    /// What it showed then.
    first: Instant,
    /// How many seconds of its own pass in each.
    rate: u32,
}

impl Clock {
    /// The world's own.
    pub(crate) const WORLD: Self = Self { began: Instant(0), first: Instant(0), rate: 1 };

    /// One that shows the world's time and so much more, and runs so many times too fast.
    pub(crate) fn new(now: Instant, ahead: Duration, rate: u32) -> Self {
        Self { began: now, first: now + ahead, rate: rate.max(1) }
    }

    /// What it shows at a moment of the world.
    pub(crate) fn shows(&self, now: Instant) -> Instant {
        self.first + now.since(self.began) * self.rate
    }

    /// The moment of the world at which it shows this.
    pub(crate) fn moment(&self, shown: Instant) -> Instant {
        if shown == Instant::NEVER {
            return shown;
        }
        let passed = shown.since(self.first);
        // Never too early: a core that is woken before its time asks again, without end.
        let rounded = passed.as_nanos().div_ceil(u128::from(self.rate));
        self.began + Duration::from_nanos(u64::try_from(rounded).unwrap_or(u64::MAX))
    }
}
