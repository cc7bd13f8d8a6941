//! What is set aside, within bounds: the oldest goes first.

use std::collections::BTreeMap;

use tier_protocol::{SetAside, Strike};
use vocab::{CallKey, Instant, Stamp};

/// Strikes kept of one call.
const STRIKES_KEPT: usize = 8;

#[derive(Debug)]
struct Kept {
    aside: SetAside,
    /// When it came here; its ages were counted until then.
    at: Instant,
    order: u64,
}

/// The calls set aside.
#[derive(Debug)]
pub(crate) struct Quarantine {
    calls_max: usize,
    bytes_max: usize,
    kept: BTreeMap<CallKey, Kept>,
    by_order: BTreeMap<u64, CallKey>,
    next_order: u64,
    bytes: usize,
}

impl Quarantine {
    pub(crate) fn new(calls_max: usize, bytes_max: usize) -> Self {
        Self {
            calls_max,
            bytes_max,
            kept: BTreeMap::new(),
            by_order: BTreeMap::new(),
            next_order: 0,
            bytes: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.kept.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Keeps `aside`; what was first set aside of a call stays, with the strikes that came since.
    /// Returns how many others left for lack of room.
    pub(crate) fn insert(&mut self, now: Instant, mut aside: SetAside) -> u64 {
        let key = aside.key;
        if let Some(mut first) = self.take(key) {
            let is_better = first.aside.record.is_none() && aside.record.is_some();
            let since = now.since(first.at);
            first.aside.strikes.iter_mut().for_each(|strike| strike.age += since);
            first.aside.age += since;
            let mut strikes = std::mem::take(&mut first.aside.strikes);
            strikes.extend(news(&strikes, std::mem::take(&mut aside.strikes)));
            strikes.truncate(STRIKES_KEPT);
            if !is_better {
                aside = first.aside;
            }
            aside.strikes = strikes;
        }
        self.bytes += aside.bytes();
        let order = self.next_order;
        self.next_order += 1;
        self.by_order.insert(order, key);
        self.kept.insert(key, Kept { aside, at: now, order });
        let mut lost = 0;
        while self.kept.len() > self.calls_max.max(1)
            || (self.bytes > self.bytes_max && self.kept.len() > 1)
        {
            let oldest = self.by_order.first_key_value().map(|(_, key)| *key);
            let Some(oldest) = oldest else { break };
            self.take(oldest);
            lost += 1;
        }
        lost
    }

    fn take(&mut self, key: CallKey) -> Option<Kept> {
        let kept = self.kept.remove(&key)?;
        self.by_order.remove(&kept.order);
        self.bytes -= kept.aside.bytes();
        Some(kept)
    }

    /// Forgets a call; says whether it was kept.
    pub(crate) fn remove(&mut self, key: CallKey) -> bool {
        self.take(key).is_some()
    }

    /// Whether this version, or a newer one, of a sleeping call is what was set aside.
    pub(crate) fn has_as_new(&self, key: CallKey, stamp: Stamp) -> bool {
        let aside = self.kept.get(&key).map(|kept| &kept.aside).filter(|aside| aside.dormant);
        let record = aside.and_then(|aside| aside.record.as_ref());
        record.is_some_and(|record| record.header.stamp >= stamp)
    }

    /// Whether a better version lifts what is kept: it slept here, or could not even be read.
    pub(crate) fn is_liftable(&self, key: CallKey) -> bool {
        let aside = self.kept.get(&key).map(|kept| &kept.aside);
        aside.is_some_and(|aside| aside.dormant || aside.record.is_none())
    }

    pub(crate) fn get(&self, now: Instant, key: CallKey) -> Option<SetAside> {
        self.kept.get(&key).map(|kept| kept.aged(now))
    }

    /// Everything, by rising key.
    pub(crate) fn all(&self, now: Instant) -> Vec<SetAside> {
        self.kept.values().map(|kept| kept.aged(now)).collect()
    }

    pub(crate) fn keys(&self) -> Vec<CallKey> {
        self.kept.keys().copied().collect()
    }
}

impl Kept {
    fn aged(&self, now: Instant) -> SetAside {
        let since = now.since(self.at);
        let mut aside = self.aside.clone();
        aside.age = aside.age.saturating_add(since);
        for strike in &mut aside.strikes {
            strike.age = strike.age.saturating_add(since);
        }
        aside
    }
}

/// Those of `strikes` that are not among `known`.
fn news(known: &[Strike], strikes: Vec<Strike>) -> Vec<Strike> {
    let is_new = |strike: &Strike| {
        !known.iter().any(|old| old.token == strike.token && old.message == strike.message)
    };
    strikes.into_iter().filter(is_new).collect()
}
