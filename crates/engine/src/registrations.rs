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
    /// When all that came could have been taken, one after the other.
    all_until: Instant,
}

impl Registrations {
    pub(crate) fn new(per_s: u32) -> Self {
        let interval = Duration::from_secs(1) / per_s.max(1);
        let ahead = (Duration::from_secs(1) / BURSTS_PER_S).saturating_sub(interval);
        let start = Instant::default();
        Self { interval, ahead, next_at: start, all_until: start }
    }

    /// Counts one that came: whether there is room for it, or the longest that it is to be sent
    /// away for. `least`: the shortest.
    pub(crate) fn come(&mut self, now: Instant, least: Duration) -> Result<(), Duration> {
        let until = self.all_until.max(now) + self.interval;
        self.all_until = until.min(now + AWAY_MAX);
        if self.next_at > now + self.ahead {
            let away = least * 2 + self.all_until.since(now);
            return Err(away.min(AWAY_MAX).max(least));
        }
        self.next_at = self.next_at.max(now) + self.interval;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
