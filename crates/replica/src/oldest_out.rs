//! A map that is kept by number: when one more would exceed the bound, the oldest entry goes.

use std::collections::BTreeMap;
use std::ops::Bound;

use vocab::CallKey;

#[derive(Debug)]
struct Entry<V> {
    value: V,
    order: u64,
}

/// Values by call, in the order in which their calls came.
#[derive(Debug)]
pub(crate) struct OldestOut<V> {
    max: usize,
    entries: BTreeMap<CallKey, Entry<V>>,
    by_order: BTreeMap<u64, CallKey>,
    next_order: u64,
}

impl<V> OldestOut<V> {
    pub(crate) fn new(max: usize) -> Self {
        Self { max, entries: BTreeMap::new(), by_order: BTreeMap::new(), next_order: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(crate) fn get(&self, key: CallKey) -> Option<&V> {
        self.entries.get(&key).map(|entry| &entry.value)
    }

    pub(crate) fn get_mut(&mut self, key: CallKey) -> Option<&mut V> {
        self.entries.get_mut(&key).map(|entry| &mut entry.value)
    }

    /// Puts a value in as the newest, in the place of any that is there. Returns the call that left
    /// for lack of room.
    pub(crate) fn insert(&mut self, key: CallKey, value: V) -> Option<CallKey> {
        self.remove(key);
        let order = self.next_order;
        self.next_order += 1;
        self.entries.insert(key, Entry { value, order });
        self.by_order.insert(order, key);
        if self.entries.len() <= self.max {
            return None;
        }
        let (_, oldest) = self.by_order.pop_first()?;
        self.entries.remove(&oldest);
        Some(oldest)
    }

    pub(crate) fn remove(&mut self, key: CallKey) {
        if let Some(entry) = self.entries.remove(&key) {
            self.by_order.remove(&entry.order);
        }
    }

    /// Calls after `cursor`, by rising key.
    pub(crate) fn keys_after(&self, cursor: Option<CallKey>) -> impl Iterator<Item = CallKey> {
        let from = cursor.map_or(Bound::Unbounded, Bound::Excluded);
        self.entries.range((from, Bound::Unbounded)).map(|(key, _)| *key)
    }

    /// Every call, the oldest first.
    pub(crate) fn keys(&self) -> impl DoubleEndedIterator<Item = CallKey> {
        self.by_order.values().copied()
    }
}
