//! The engines whose links are up, taken in turn.

use std::collections::BTreeSet;
use std::ops::Bound;

use vocab::EngineId;

#[derive(Debug, Default)]
pub(super) struct Roster {
    engines: BTreeSet<EngineId>,
    last: Option<EngineId>,
}

impl Roster {
    pub(super) fn add(&mut self, engine: EngineId) {
        self.engines.insert(engine);
    }

    pub(super) fn remove(&mut self, engine: EngineId) {
        self.engines.remove(&engine);
    }

    pub(super) fn all(&self) -> Vec<EngineId> {
        self.engines.iter().copied().collect()
    }

    /// The next engine in turn that `is_free`.
    pub(super) fn next(&mut self, is_free: impl Fn(EngineId) -> bool) -> Option<EngineId> {
        let from = self.last.map_or(Bound::Unbounded, Bound::Excluded);
        let after = self.engines.range((from, Bound::Unbounded));
        let engine = after.chain(&self.engines).copied().find(|engine| is_free(*engine))?;
        self.last = Some(engine);
        Some(engine)
    }
}
