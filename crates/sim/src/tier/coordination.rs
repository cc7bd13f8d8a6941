//! The coordination store as replicas meet it: one document, compare-and-set, and silence.

use std::collections::BTreeMap;
use std::time::Duration;

use replica::{StoreAsk, StoreWord};
use tier_protocol::SiteMap;
use vocab::{Instant, SiteId};

use crate::rng::Rng;

/// How long a client waits for an answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);
/// Answers lost although the store works, of 1,000.
const LOST: u64 = 8;
/// An ask that hangs may be carried out so much later.
const LATE_US: (u64, u64) = (1_000, 4_000_000);

/// For how long, and how, the store does not answer.
#[derive(Clone, Copy, Debug)]
struct Away {
    until: Instant,
    hangs: bool,
}

/// What becomes of an ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is carried out and answered.
    Answered,
    /// The client is told at once that nobody is there.
    Refused,
    /// The client waits in vain; it is carried out now, after a while, or never.
    Unanswered(Option<Duration>),
}

/// The store.
#[derive(Debug)]
pub(crate) struct Coordination {
    /// Grows with each write of anybody, also of other documents.
    revision: u64,
    map_revision: u64,
    map: SiteMap,
    /// For one client's place, or for all.
    away: BTreeMap<Option<usize>, Away>,
    /// The next compare-and-set hangs, and everything for so long after it.
    hangs_at_write: Option<Duration>,
    rng: Rng,
}

impl Coordination {
    /// No two sites give a view the same number: a trace, and a check, tells them apart by that.
    pub(crate) fn new(site: SiteId, rng: Rng) -> Self {
        let (away, map) = (BTreeMap::new(), SiteMap::default());
        let revision = 10 + u64::from(site.0 - 1) * 1_000_000;
        Self { revision, map_revision: 0, map, away, hangs_at_write: None, rng }
    }

    pub(crate) fn map(&self) -> &SiteMap {
        &self.map
    }

    /// The store cannot be reached, by one client or by all.
    pub(crate) fn be_away(&mut self, client: Option<usize>, until: Instant, hangs: bool) {
        self.away.insert(client, Away { until, hangs });
    }

    pub(crate) fn hang_at_write(&mut self, for_: Duration) {
        self.hangs_at_write = Some(for_);
    }

    pub(crate) fn be_there(&mut self) {
        self.away.clear();
        self.hangs_at_write = None;
    }

    /// When the client can be reached, if it cannot now.
    pub(crate) fn away_until(&self, now: Instant, client: usize) -> Option<Instant> {
        let away = [None, Some(client)].into_iter().filter_map(|of| self.away.get(&of));
        away.map(|away| away.until).filter(|until| *until > now).max()
    }

    pub(crate) fn fate(&mut self, now: Instant, client: usize, ask: &StoreAsk) -> Fate {
        if let StoreAsk::CompareAndSet { .. } = ask
            && let Some(for_) = self.hangs_at_write.take()
        {
            self.be_away(None, now + for_, true);
        }
        let away = [None, Some(client)].into_iter().filter_map(|of| self.away.get(&of));
        let away = away.filter(|away| away.until > now).max_by_key(|away| away.hangs).copied();
        match away {
            None if self.rng.chance(LOST) => Fate::Unanswered(Some(Duration::ZERO)),
            None => Fate::Answered,
            Some(Away { hangs: false, .. }) => Fate::Refused,
            Some(Away { hangs: true, .. }) => Fate::Unanswered(match self.rng.below(3) {
                0 => None,
                1 => Some(Duration::ZERO),
                _ => Some(self.rng.between_us(LATE_US.0, LATE_US.1)),
            }),
        }
    }

    /// Carries an ask out. The answer, and whether the map was written.
    pub(crate) fn carry_out(&mut self, ask: StoreAsk) -> (Vec<StoreWord>, bool) {
        match ask {
            StoreAsk::Read => (vec![self.told(true)], false),
            StoreAsk::CompareAndSet { expected, .. } if expected != self.map_revision => {
                (vec![StoreWord::Lost, self.told(false)], false)
            }
            StoreAsk::CompareAndSet { expected: _, map } => {
                self.revision += 1 + self.rng.below(3);
                self.map_revision = self.revision;
                self.map = map;
                (vec![StoreWord::Written { revision: self.map_revision }], true)
            }
        }
    }

    /// The map as the store tells it.
    pub(crate) fn told(&self, is_answer: bool) -> StoreWord {
        StoreWord::Map {
            is_answer,
            revision: self.map_revision,
            store_revision: self.revision,
            map: self.map.clone(),
        }
    }
}
