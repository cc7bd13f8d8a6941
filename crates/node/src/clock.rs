//! The one place that reads the clocks.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use vocab::{Instant, WallTime};

/// The start of the process, nine years after the first instant: a call may be older than the
/// process that took it over, and what happened in it has an instant too.
const START: Instant = Instant(1 << 58);

/// The process's monotonic clock. Copies agree with each other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    zero: std::time::Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { zero: std::time::Instant::now() }
    }

    /// Never zero, so that a core may take zero for "before everything".
    pub(crate) fn now(self) -> Instant {
        START + self.zero.elapsed()
    }

    pub(crate) fn uptime(self) -> Duration {
        self.zero.elapsed()
    }

    /// The runtime's form of `at`, for a timer; far moments are cut to a day.
    pub(crate) fn to_tokio(self, at: Instant) -> tokio::time::Instant {
        let after = at.since(START).min(self.zero.elapsed() + Duration::from_secs(86_400));
        tokio::time::Instant::from_std(self.zero + after)
    }
}

/// For the disk and for people; no core sees it.
pub(crate) fn wall_time() -> WallTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    WallTime(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
