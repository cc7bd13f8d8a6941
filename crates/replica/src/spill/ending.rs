//! Removals of spilled calls at a follower. Like others they count from their `Unlock` on.
//!
//! Nothing is read for them. A removal whose engine is lost never was, and neither was one whose
//! call has come back into memory meanwhile: the primary had not heard the `Unlock` either.

use tier_protocol::{Reply, Tombstone};
use vocab::{CallKey, EngineId, Instant, LockToken};

use crate::Replica;

impl Replica {
    /// Keeps the removal of a spilled call until its lock ends.
    pub(crate) fn keep_spilled_removal(&mut self, engine: EngineId, tombstone: Tombstone) {
        let Tombstone { key, stamp } = tombstone;
        self.spilling.ending.insert(key, (engine, tombstone));
        self.reply(engine, Reply::Stored { key, stamp });
    }

    /// A lock has ended: everybody has the removal under it, if there was one.
    pub(crate) fn end_spilled(&mut self, now: Instant, key: CallKey, token: LockToken) {
        let ending = self.spilling.ending.get(&key).map(|(_, tombstone)| *tombstone);
        let Some(tombstone) = ending.filter(|tombstone| tombstone.stamp.token == token) else {
            return;
        };
        self.unpack(key);
        self.remove_at_last(now, tombstone);
        self.free(now, key);
    }

    pub(crate) fn forget_spilled_removals(&mut self, engine: EngineId) {
        self.spilling.ending.retain(|_, (of, _)| *of != engine);
    }
}
