//! Tombstones: removals that forbid every older record of their call.
//!
//! A record that was overtaken by its own removal can come late: out of a queue's redelivery, a
//! refill, a sweep. It is refused as long as the tombstone is kept. Tombstones are kept by number,
//! oldest out first, never by time: how late a batch can be depends on how long a link was down.

use std::collections::BTreeMap;

use hashbrown::HashMap;
use tier_protocol::Tombstone;
use vocab::{CallKey, Stamp};

#[derive(Debug)]
struct Tomb {
    tombstone: Tombstone,
    order: u64,
}

/// The tombstones kept.
#[derive(Debug)]
pub(crate) struct Tombs {
    max: usize,
    tombs: HashMap<CallKey, Tomb>,
    by_order: BTreeMap<u64, CallKey>,
    next_order: u64,
}

impl Tombs {
    pub(crate) fn new(max: usize) -> Self {
        Self { max, tombs: HashMap::new(), by_order: BTreeMap::new(), next_order: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.tombs.len()
    }

    pub(crate) fn stamp(&self, key: CallKey) -> Option<Stamp> {
        self.tombs.get(&key).map(|tomb| tomb.tombstone.stamp)
    }

    /// Keeps `tombstone` unless a newer one is kept. Returns the key that left for lack of room.
    pub(crate) fn insert(&mut self, tombstone: Tombstone) -> Option<CallKey> {
        let key = tombstone.key;
        if self.stamp(key).is_some_and(|kept| kept >= tombstone.stamp) {
            return None;
        }
        self.remove(key);
        let order = self.next_order;
        self.next_order += 1;
        self.tombs.insert(key, Tomb { tombstone, order });
        self.by_order.insert(order, key);
        if self.tombs.len() <= self.max {
            return None;
        }
        let (_, oldest) = self.by_order.pop_first()?;
        self.tombs.remove(&oldest);
        Some(oldest)
    }

    /// The tombstones that were kept last, at most `count`.
    pub(crate) fn newest(&self, count: usize) -> Vec<Tombstone> {
        let keys = self.by_order.values().rev().take(count);
        keys.filter_map(|key| self.tombs.get(key)).map(|tomb| tomb.tombstone).collect()
    }

    pub(crate) fn remove(&mut self, key: CallKey) {
        if let Some(tomb) = self.tombs.remove(&key) {
            self.by_order.remove(&tomb.order);
        }
    }
}
