//! Strikes against calls that are not in quarantine yet, or that never got as far as a record.
//!
//! Kept beside the calls, as a call that breaks its engine before its first put has no record. The
//! oldest goes first.

use std::time::Duration;

use tier_protocol::{Strike, StrikeKind};
use vocab::{CallKey, EngineId, Instant, LockToken};

use crate::oldest_out::OldestOut;

/// Strikes kept of one call.
const STRIKES_KEPT: usize = 4;
/// Links break by themselves, and all at once when this replica stood still. Less than the pause
/// after which a call that broke two locks is handed to a third engine.
pub(crate) const BROKEN_HOLD: Duration = Duration::from_millis(900);

/// Each with the instant at which it was heard of; its age was counted until then.
type Strikes = Vec<(Strike, Instant)>;

/// Calls with strikes against them.
#[derive(Debug)]
pub(crate) struct Suspects(OldestOut<Strikes>);

impl Suspects {
    pub(crate) fn new(max: usize) -> Self {
        Self(OldestOut::new(max))
    }

    /// Notes a strike, once for each lock. Says whether it is news.
    pub(crate) fn add(&mut self, now: Instant, key: CallKey, strike: Strike) -> bool {
        let Some(strikes) = self.0.get_mut(key) else {
            self.0.insert(key, vec![(strike, now)]);
            return true;
        };
        let is_known = strikes.iter().any(|(known, _)| known.token == strike.token);
        if is_known || strikes.len() >= STRIKES_KEPT {
            return false;
        }
        strikes.push((strike, now));
        true
    }

    fn of(&self, key: CallKey) -> &[(Strike, Instant)] {
        self.0.get(key).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn count(&self, key: CallKey) -> usize {
        self.of(key).len()
    }

    /// The strikes that count by now: an engine whose link broke has [`BROKEN_HOLD`] to come back.
    pub(crate) fn proven(&self, now: Instant, key: CallKey) -> usize {
        let counts = |(strike, at): &&(Strike, Instant)| match strike.kind {
            StrikeKind::Broken => now.since(*at) >= BROKEN_HOLD,
            StrikeKind::Panicked | StrikeKind::Undecodable | StrikeKind::Unreadable => true,
        };
        self.of(key).iter().filter(counts).count()
    }

    /// The very engine is back: its link broke, and not the engine over a call.
    pub(crate) fn acquit(&mut self, engine: EngineId) {
        let mut acquitted = Vec::new();
        for key in self.keys() {
            let Some(strikes) = self.0.get_mut(key) else { continue };
            let is_only_lost =
                |strike: &Strike| strike.kind == StrikeKind::Broken && strike.engine == engine;
            strikes.retain(|(strike, _)| !is_only_lost(strike));
            if strikes.is_empty() {
                acquitted.push(key);
            }
        }
        acquitted.into_iter().for_each(|key| self.remove(key));
    }

    /// When the last strike was heard of.
    pub(crate) fn last_at(&self, key: CallKey) -> Option<Instant> {
        self.of(key).last().map(|(_, at)| *at)
    }

    /// Something was put under this lock: strikes of earlier ones are over.
    pub(crate) fn note_put(&mut self, key: CallKey, token: LockToken) {
        if self.0.is_empty() {
            return;
        }
        let strikes = self.0.get(key);
        if strikes.is_some_and(|strikes| strikes.iter().all(|(old, _)| old.token < token)) {
            self.remove(key);
        }
    }

    pub(crate) fn remove(&mut self, key: CallKey) {
        self.0.remove(key);
    }

    /// The strikes against a call, their ages current.
    pub(crate) fn strikes(&self, now: Instant, key: CallKey) -> Vec<Strike> {
        let aged = self.of(key).iter().map(|(strike, at)| {
            let age = strike.age.saturating_add(now.since(*at));
            Strike { age, ..strike.clone() }
        });
        aged.collect()
    }

    /// Every call with strikes, the oldest first.
    pub(crate) fn keys(&self) -> Vec<CallKey> {
        self.0.keys().collect()
    }
}
