//! How many REGISTERs an engine takes: calls go first when all users of a lost site register at
//! once. Beyond the bound they are refused before any state is touched, and told when to come back
//! so that they come as fast as they can be taken, not all at once again.

use std::time::Duration;

use vocab::Instant;

/// The longest that anybody is sent away for: a user who is out of reach for longer is lost.
const AWAY_MAX: Duration = Duration::from_secs(600);
/// Shares of a second that may be taken at once after a rest.
const BURSTS_PER_S: u32 = 4;

/// The pace of REGISTERs that begin something here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Registrations {
    /// Between two of them on average.
    interval: Duration,
    /// How far they may be ahead of that.
    ahead: Duration,
    /// When the next one is due if they came evenly.
    next_at: Instant,
    /// When all that were sent away could have been taken.
    owed_until: Instant,
}

impl Registrations {
    pub(crate) fn new(per_s: u32) -> Self {
        let interval = Duration::from_secs(1) / per_s.max(1);
        let ahead = (Duration::from_secs(1) / BURSTS_PER_S).saturating_sub(interval);
        let start = Instant::default();
        Self { interval, ahead, next_at: start, owed_until: start }
    }

    /// Counts one more, if there is room for it.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        if self.next_at > now + self.ahead {
            return false;
        }
        self.next_at = self.next_at.max(now) + self.interval;
        true
    }

    /// Notes that one is sent away; for how long, from `least` to the result.
    pub(crate) fn send_away(&mut self, now: Instant, least: Duration) -> Duration {
        let until = self.owed_until.max(now) + self.interval;
        self.owed_until = until.min(now + AWAY_MAX);
        (least * 2 + self.owed_until.since(now)).min(AWAY_MAX).max(least)
    }
}

#[cfg(test)]
mod tests;
