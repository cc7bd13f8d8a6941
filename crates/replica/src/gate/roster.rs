//! The engines whose links are up, taken in turn, and what each of them reads.

use std::collections::BTreeMap;
use std::ops::Bound;

use vocab::EngineId;

#[derive(Debug, Default)]
pub(super) struct Roster {
    /// With the newest dictionary of batches that each reads.
    engines: BTreeMap<EngineId, u16>,
    last: Option<EngineId>,
}

impl Roster {
    pub(super) fn add(&mut self, engine: EngineId, dictionary: u16) {
        self.engines.insert(engine, dictionary);
    }

    pub(super) fn remove(&mut self, engine: EngineId) {
        self.engines.remove(&engine);
    }

    pub(super) fn all(&self) -> Vec<EngineId> {
        self.engines.keys().copied().collect()
    }

    /// The newest dictionary that every engine reads; 0 without engines.
    pub(super) fn all_read(&self) -> u16 {
        self.engines.values().copied().min().unwrap_or(0)
    }

    /// The next engine in turn that `is_free` and reads `dictionary`. What no engine reads goes to
    /// any, which has it set aside for people to see: it would be in the way of the others.
    pub(super) fn next(
        &mut self,
        dictionary: u16,
        is_free: impl Fn(EngineId) -> bool,
    ) -> Option<EngineId> {
        let is_read = self.engines.values().any(|newest| *newest >= dictionary);
        let from = self.last.map_or(Bound::Unbounded, Bound::Excluded);
        let after = self.engines.range((from, Bound::Unbounded));
        let mut in_turn = after.chain(&self.engines);
        let (engine, _) = in_turn
            .find(|(engine, newest)| is_free(**engine) && (!is_read || **newest >= dictionary))?;
        self.last = Some(*engine);
        self.last
    }
}
