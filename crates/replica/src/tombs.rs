//! Tombstones: removals that forbid every older record of their call.
//!
//! A record that was overtaken by its own removal can come late: out of a queue's redelivery, a
//! refill, a sweep. It is refused as long as the tombstone is kept. Tombstones are kept by number,
//! oldest out first, never by time: how late a batch can be depends on how long a link was down.

use tier_protocol::Tombstone;
use vocab::{CallKey, Stamp};

use crate::oldest_out::OldestOut;

/// The tombstones kept.
#[derive(Debug)]
pub(crate) struct Tombs(OldestOut<Tombstone>);

impl Tombs {
    pub(crate) fn new(max: usize) -> Self {
        Self(OldestOut::new(max))
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn stamp(&self, key: CallKey) -> Option<Stamp> {
        self.0.get(key).map(|tombstone| tombstone.stamp)
    }

    /// Keeps `tombstone` unless a newer one is kept. Returns the key that left for lack of room.
    pub(crate) fn insert(&mut self, tombstone: Tombstone) -> Option<CallKey> {
        let key = tombstone.key;
        if self.stamp(key).is_some_and(|kept| kept >= tombstone.stamp) {
            return None;
        }
        self.0.insert(key, tombstone)
    }

    /// The tombstones that were kept last, at most `count`.
    pub(crate) fn newest(&self, count: usize) -> Vec<Tombstone> {
        self.0.keys().rev().take(count).filter_map(|key| self.0.get(key)).copied().collect()
    }

    /// Calls after `cursor` that have a tombstone, by rising key.
    pub(crate) fn keys_after(&self, cursor: Option<CallKey>) -> impl Iterator<Item = CallKey> {
        self.0.keys_after(cursor)
    }

    pub(crate) fn remove(&mut self, key: CallKey) {
        self.0.remove(key);
    }
}
