//! Calls as they were when this engine last stored them: a turn on one needs no decoding.
//!
//! An entry counts only while its stamp is the stamp that the replica holds, so it can be dropped
//! at any moment and never has to be told of changes. Only unlocked states are kept.

use std::collections::BTreeMap;

use call::Call;
use tier_protocol::RecordHeader;
use vocab::{CallKey, Stamp};

/// A call, decoded, and the header of its record.
#[derive(Clone, Debug)]
pub(crate) struct Cached {
    pub(crate) header: RecordHeader,
    pub(crate) call: Box<Call>,
}

/// The calls last worked; the one not used for longest makes room.
#[derive(Debug)]
pub(crate) struct Cache {
    calls: BTreeMap<CallKey, (u64, Box<Cached>)>,
    by_use: BTreeMap<u64, CallKey>,
    uses: u64,
    calls_max: usize,
}

impl Cache {
    pub(crate) fn new(calls_max: usize) -> Self {
        Self { calls: BTreeMap::new(), by_use: BTreeMap::new(), uses: 0, calls_max }
    }

    pub(crate) fn insert(&mut self, key: CallKey, cached: Cached) {
        self.remove(key);
        if self.calls.len() >= self.calls_max
            && let Some((_, oldest)) = self.by_use.pop_first()
        {
            self.calls.remove(&oldest);
        }
        if self.calls_max > 0 {
            self.uses += 1;
            self.by_use.insert(self.uses, key);
            self.calls.insert(key, (self.uses, Box::new(cached)));
        }
    }

    /// Takes the call out: it comes back when its next state is stored.
    pub(crate) fn take(&mut self, key: CallKey, stamp: Stamp) -> Option<Cached> {
        self.remove(key).filter(|cached| cached.header.stamp == stamp)
    }

    /// The stamp of what is kept of a call.
    pub(crate) fn stamp(&self, key: CallKey) -> Option<Stamp> {
        self.calls.get(&key).map(|(_, cached)| cached.header.stamp)
    }

    pub(crate) fn remove(&mut self, key: CallKey) -> Option<Cached> {
        let (used, cached) = self.calls.remove(&key)?;
        self.by_use.remove(&used);
        Some(*cached)
    }

    pub(crate) fn len(&self) -> usize {
        self.calls.len()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use vocab::{Epoch, Instant, LockToken, SiteId, Version};

    use super::*;

    #[test]
    fn the_call_not_used_for_longest_makes_room() {
        let mut cache = Cache::new(2);
        cache.insert(key(1), cached(1, 1));
        cache.insert(key(2), cached(2, 1));
        cache.insert(key(1), cached(1, 2));
        cache.insert(key(3), cached(3, 1));
        assert_eq!(cache.len(), 2);
        assert_eq!(cache.stamp(key(1)), Some(stamp(2)));
        assert_eq!(cache.stamp(key(2)), None);
        assert_eq!(cache.by_use.len(), 2);
    }

    #[test]
    fn another_stamp_is_another_call() {
        let mut cache = Cache::new(2);
        cache.insert(key(1), cached(1, 1));
        assert!(cache.take(key(1), stamp(2)).is_none());
        assert_eq!(cache.len(), 0, "what is old is of no use");
    }

    #[test]
    fn no_room_keeps_nothing() {
        let mut cache = Cache::new(0);
        cache.insert(key(1), cached(1, 1));
        assert_eq!(cache.len(), 0);
    }

    fn key(number: u8) -> CallKey {
        CallKey([number; 16])
    }

    fn stamp(version: u64) -> Stamp {
        Stamp {
            epoch: Epoch::of_start(SiteId(1), 1),
            token: LockToken::default(),
            version: Version(version),
        }
    }

    fn cached(number: u8, version: u64) -> Cached {
        let header = RecordHeader {
            key: key(number),
            stamp: stamp(version),
            origin: SiteId(1),
            backup: None,
            schema: 1,
            age: Duration::ZERO,
            deadline: None,
            crossing_deadline: None,
            hints: Vec::new(),
            crossed: Vec::new(),
            newer: None,
        };
        let call = Call::begin(key(number), 0, SiteId(1), Instant(0));
        Cached { header, call: Box::new(call) }
    }
}
