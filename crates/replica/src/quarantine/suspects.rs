//! Strikes against calls that are not in quarantine yet, or that never got as far as a record.
//!
//! Kept beside the calls, as a call that breaks its engine before its first put has no record. The
//! oldest goes first.

use std::collections::BTreeMap;
use std::time::Duration;

use hashbrown::HashMap;
use tier_protocol::{Strike, StrikeKind};
use vocab::{CallKey, EngineId, Instant, LockToken};

/// Strikes kept of one call.
const STRIKES_KEPT: usize = 4;
/// Links break by themselves, and all at once when this replica stood still. Less than the pause
/// after which a call that broke two locks is handed to a third engine.
pub(crate) const BROKEN_HOLD: Duration = Duration::from_millis(900);

#[derive(Debug)]
struct Suspect {
    /// Each with the instant at which it was heard of; its age was counted until then.
    strikes: Vec<(Strike, Instant)>,
    order: u64,
}

/// Calls with strikes against them.
#[derive(Debug)]
pub(crate) struct Suspects {
    max: usize,
    suspects: HashMap<CallKey, Suspect>,
    by_order: BTreeMap<u64, CallKey>,
    next_order: u64,
}

impl Suspects {
    pub(crate) fn new(max: usize) -> Self {
        Self { max, suspects: HashMap::new(), by_order: BTreeMap::new(), next_order: 0 }
    }

    /// Notes a strike, once for each lock. Says whether it is news.
    pub(crate) fn add(&mut self, now: Instant, key: CallKey, strike: Strike) -> bool {
        let order = self.next_order;
        let suspect =
            self.suspects.entry(key).or_insert_with(|| Suspect { strikes: Vec::new(), order });
        let is_known = suspect.strikes.iter().any(|(known, _)| known.token == strike.token);
        if is_known || suspect.strikes.len() >= STRIKES_KEPT {
            return false;
        }
        suspect.strikes.push((strike, now));
        if suspect.order == order {
            self.next_order += 1;
            self.by_order.insert(order, key);
        }
        if self.suspects.len() > self.max
            && let Some((_, oldest)) = self.by_order.pop_first()
        {
            self.suspects.remove(&oldest);
        }
        true
    }

    pub(crate) fn count(&self, key: CallKey) -> usize {
        self.suspects.get(&key).map_or(0, |suspect| suspect.strikes.len())
    }

    /// The strikes that count by now: an engine whose link broke has [`BROKEN_HOLD`] to come back.
    pub(crate) fn proven(&self, now: Instant, key: CallKey) -> usize {
        let counts = |(strike, at): &&(Strike, Instant)| match strike.kind {
            StrikeKind::Broken => now.since(*at) >= BROKEN_HOLD,
            StrikeKind::Panicked | StrikeKind::Undecodable | StrikeKind::Unreadable => true,
        };
        self.suspects.get(&key).map_or(0, |suspect| suspect.strikes.iter().filter(counts).count())
    }

    /// The very engine is back: its link broke, and not the engine over a call.
    pub(crate) fn acquit(&mut self, engine: EngineId) {
        let mut acquitted = Vec::new();
        for key in self.keys() {
            let Some(suspect) = self.suspects.get_mut(&key) else { continue };
            let is_only_lost =
                |strike: &Strike| strike.kind == StrikeKind::Broken && strike.engine == engine;
            suspect.strikes.retain(|(strike, _)| !is_only_lost(strike));
            if suspect.strikes.is_empty() {
                acquitted.push(key);
            }
        }
        acquitted.into_iter().for_each(|key| self.remove(key));
    }

    /// When the last strike was heard of.
    pub(crate) fn last_at(&self, key: CallKey) -> Option<Instant> {
        self.suspects.get(&key)?.strikes.last().map(|(_, at)| *at)
    }

    /// Something was put under this lock: strikes of earlier ones are over.
    pub(crate) fn note_put(&mut self, key: CallKey, token: LockToken) {
        if self.suspects.is_empty() {
            return;
        }
        let of = self.suspects.get(&key);
        if of.is_some_and(|suspect| suspect.strikes.iter().all(|(old, _)| old.token < token)) {
            self.remove(key);
        }
    }

    pub(crate) fn remove(&mut self, key: CallKey) {
        if let Some(suspect) = self.suspects.remove(&key) {
            self.by_order.remove(&suspect.order);
        }
    }

    /// The strikes against a call, their ages current.
    pub(crate) fn strikes(&self, now: Instant, key: CallKey) -> Vec<Strike> {
        let strikes = self.suspects.get(&key).map_or(&[][..], |suspect| &suspect.strikes);
        let aged = strikes.iter().map(|(strike, at)| {
            let age = strike.age.saturating_add(now.since(*at));
            Strike { age, ..strike.clone() }
        });
        aged.collect()
    }

    /// Every call with strikes, the oldest first.
    pub(crate) fn keys(&self) -> Vec<CallKey> {
        self.by_order.values().copied().collect()
    }
}
