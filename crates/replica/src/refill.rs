//! Refill: calls of ours that another site holds dormant come back, paced, after a return.
//!
//! The list is keys only, bounded like the calls themselves. A call whose message comes before
//! its turn is pulled by its engine; the refill then finds it and asks no more.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use vocab::{CallKey, Instant};

use crate::config::{Limits, Pace};
use crate::pace::Pacer;

/// Fruitless questions after which a call is given up: the site that listed it fell silent. Its
/// messages still find it, by a pull.
const ATTEMPTS_MAX: u32 = 30;

/// An answer that takes longer is lost: on the way to the process that keeps the gate, or back.
const ANSWER_WAIT: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug)]
enum Ask {
    Waits(Instant),
    Open(Instant),
}

#[derive(Clone, Copy, Debug)]
struct Item {
    attempts: u32,
    ask: Ask,
}

/// The calls to be fetched.
#[derive(Debug)]
pub(crate) struct Refill {
    items: BTreeMap<CallKey, Item>,
    queue: BTreeSet<(Instant, CallKey)>,
    /// Questions without an answer, by when they were asked.
    open: BTreeSet<(Instant, CallKey)>,
    open_max: usize,
    items_max: usize,
    retry_after: Duration,
    pacer: Pacer,
}

impl Refill {
    pub(crate) fn new(pace: Pace, limits: Limits) -> Self {
        Self {
            items: BTreeMap::new(),
            queue: BTreeSet::new(),
            open: BTreeSet::new(),
            open_max: limits.pulls_open_max,
            items_max: limits.calls_max,
            retry_after: pace.retry_after,
            pacer: Pacer::new(pace.refill_per_s),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    /// Forgets every call of the list.
    pub(crate) fn forget_all(&mut self) {
        self.items.clear();
        self.queue.clear();
        self.open.clear();
    }

    /// Adds a call; false when there is no room.
    pub(crate) fn add(&mut self, now: Instant, key: CallKey) -> bool {
        if self.items.contains_key(&key) {
            return true;
        }
        if self.items.len() >= self.items_max {
            return false;
        }
        self.items.insert(key, Item { attempts: 0, ask: Ask::Waits(now) });
        self.queue.insert((now, key));
        true
    }

    /// The next call to ask for.
    pub(crate) fn next(&mut self, now: Instant) -> Option<CallKey> {
        let (at, key) = self.queue.first().copied()?;
        if at > now || self.open.len() >= self.open_max || !self.pacer.take(now) {
            return None;
        }
        self.queue.remove(&(at, key));
        if let Some(item) = self.items.get_mut(&key) {
            item.ask = Ask::Open(now);
            self.open.insert((now, key));
        }
        Some(key)
    }

    /// The call needs no asking any more. Whether it was on the list.
    pub(crate) fn done(&mut self, key: CallKey) -> bool {
        let Some(item) = self.items.remove(&key) else {
            return false;
        };
        match item.ask {
            Ask::Waits(at) => {
                self.queue.remove(&(at, key));
            }
            Ask::Open(at) => {
                self.open.remove(&(at, key));
            }
        }
        true
    }

    /// The question was fruitless; false when the call is given up.
    pub(crate) fn again(&mut self, now: Instant, key: CallKey) -> bool {
        let Some(mut item) = self.items.get(&key).copied() else {
            return true;
        };
        self.done(key);
        item.attempts += 1;
        if item.attempts >= ATTEMPTS_MAX {
            return false;
        }
        let at = now + self.retry_after;
        item.ask = Ask::Waits(at);
        self.items.insert(key, item);
        self.queue.insert((at, key));
        true
    }

    /// The first question whose answer is lost.
    pub(crate) fn lost(&self, now: Instant) -> Option<CallKey> {
        let (at, key) = *self.open.first()?;
        (at + ANSWER_WAIT <= now).then_some(key)
    }

    pub(crate) fn wake_at(&self) -> Option<Instant> {
        let lost_at = self.open.first().map(|(at, _)| *at + ANSWER_WAIT);
        let next = self.queue.first().filter(|_| self.open.len() < self.open_max);
        let next = next.map(|(at, _)| self.pacer.wake_at(*at));
        lost_at.into_iter().chain(next).min()
    }
}
