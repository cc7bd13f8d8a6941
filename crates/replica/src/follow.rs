//! What a member that is not the primary, or a joiner, does with puts: it follows.
//!
//! The primary gives locks in order, so a newer token is a newer put, and no base has to be
//! compared: a record that the primary never had gives way to the next put, or to a comparison. A
//! put keeps its lock here as a shadow, so that this replica, should it come to lead, knows whose
//! turn is not over. Locks under which nothing was put are not known here; a new primary's view
//! voids them.

use tier_protocol::{Cause, PutFlags, Record, Refusal, Reply, Tombstone};
use vocab::{CallKey, EngineId, Instant, LockToken, Stamp};

use crate::Replica;
use crate::planted::Planted;
use crate::store::Lock;

impl Replica {
    pub(crate) fn follow_put(
        &mut self,
        now: Instant,
        engine: EngineId,
        record: Record,
        base: Option<Stamp>,
        flags: PutFlags,
    ) {
        let (key, stamp) = (record.header.key, record.header.stamp);
        let held = self.store.stamp(key);
        if held == Some(stamp) {
            return self.reply(engine, Reply::Stored { key, stamp });
        }
        if let Some(why) = self.why_not_followed(key, held, stamp) {
            self.counts.refused += 1;
            return self.reply(engine, Reply::Refused { key, stamp, why });
        }
        self.unpack(key);
        if self.store.get(key).is_none() {
            self.store.insert(key);
        }
        self.shadow(now, key, engine, stamp.token);
        self.counts.puts += 1;
        self.apply_put(now, record, base, flags);
        self.reply(engine, Reply::Stored { key, stamp });
    }

    fn why_not_followed(&self, key: CallKey, held: Option<Stamp>, new: Stamp) -> Option<Refusal> {
        if self.is_void(new.token) || self.removed_at(key).is_some_and(|removed| removed >= new) {
            return Some(Refusal::OldToken);
        }
        if held.is_none() && self.ended_before_copy(key, new.token) {
            return Some(Refusal::OldToken);
        }
        held.filter(|held| *held > new).map(|_| Refusal::NotTheBase { held })
    }

    /// Whether the lock was granted before the present primary led: a put under it may have missed
    /// what this primary granted.
    pub(crate) fn is_void(&self, token: LockToken) -> bool {
        token.view < self.config.view.led_since && self.planted != Some(Planted::OldTokenAccepted)
    }

    /// The stamp under which an earlier record of the key was removed, as far as is remembered.
    pub(crate) fn removed_at(&self, key: CallKey) -> Option<Stamp> {
        let kept = [&self.tombs, &self.repeats].into_iter().filter_map(|tombs| tombs.stamp(key));
        kept.chain(self.removed_while_joining(key)).max()
    }

    pub(crate) fn follow_delete(&mut self, now: Instant, engine: EngineId, tombstone: Tombstone) {
        let Tombstone { key, stamp } = tombstone;
        let held = self.store.stamp(key);
        if self.removed_at(key) == Some(stamp) {
            return self.reply(engine, Reply::Stored { key, stamp });
        }
        if let Some(why) = self.why_not_followed(key, held, stamp) {
            self.counts.refused += 1;
            return self.reply(engine, Reply::Refused { key, stamp, why });
        }
        if self.store.get(key).is_some_and(|call| call.record.is_some()) {
            self.shadow(now, key, engine, stamp.token);
            return self.keep_removal(engine, tombstone);
        }
        if self.store.is_spilled(key) {
            return self.keep_spilled_removal(engine, tombstone);
        }
        // A joiner's copy of it is still to come.
        self.counts.deletes += 1;
        self.note_removed_while_joining(tombstone);
        self.repeats.insert(tombstone);
        self.reply(engine, Reply::Stored { key, stamp });
        if self.store.get(key).is_some_and(|call| call.lock.is_none()) {
            self.free(now, key);
        }
    }

    /// Notes whose put this is.
    pub(crate) fn shadow(
        &mut self,
        now: Instant,
        key: CallKey,
        engine: EngineId,
        token: LockToken,
    ) {
        let Some(call) = self.store.get_mut(key) else { return };
        if call.lock.is_some_and(|lock| lock.token == token) {
            return;
        }
        let expires_at = now + self.config.pace.lock_lease;
        let lock = Lock {
            engine,
            cause: Cause::Asked { turn: 0 },
            token,
            expires_at,
            listed_at: expires_at,
            has_put: true,
            resumes: false,
            is_shadow: true,
        };
        let old = call.lock.replace(lock);
        if let Some(old) = old {
            self.leases.remove(&(old.listed_at, key));
        }
        self.leases.insert((expires_at, key));
    }
}
