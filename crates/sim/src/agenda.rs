//! What happens next, ordered by time and then by order of making, whatever the world.

use std::collections::BTreeMap;

use vocab::Instant;

/// The next thing on the agenda.
#[derive(Debug)]
pub(crate) enum Next<E, S> {
    /// It happens.
    Event(E),
    /// A core wants to be woken.
    Wake(S),
}

/// Events by time; among those of one instant, by order of making.
#[derive(Debug)]
pub(crate) struct Agenda<E, S> {
    events: BTreeMap<(Instant, u64), Next<E, S>>,
    made: u64,
    wakes: BTreeMap<S, Instant>,
}

impl<E, S> Default for Agenda<E, S> {
    fn default() -> Self {
        Self { events: BTreeMap::new(), made: 0, wakes: BTreeMap::new() }
    }
}

impl<E, S: Ord + Copy> Agenda<E, S> {
    pub(crate) fn add(&mut self, at: Instant, event: E) {
        self.put(at, Next::Event(event));
    }

    fn put(&mut self, at: Instant, next: Next<E, S>) {
        self.made += 1;
        self.events.insert((at, self.made), next);
    }

    /// The sleeper wants to be woken at `at`, whatever it wanted before.
    pub(crate) fn wake_at(&mut self, sleeper: S, at: Instant) {
        if at == Instant::NEVER {
            self.wakes.remove(&sleeper);
        } else if self.wakes.insert(sleeper, at) != Some(at) {
            self.put(at, Next::Wake(sleeper));
        }
    }

    pub(crate) fn forget(&mut self, sleeper: S) {
        self.wakes.remove(&sleeper);
    }

    /// The next event that comes at or before `until`; wakes that were moved or taken back are
    /// passed over.
    pub(crate) fn next(&mut self, until: Instant) -> Option<(Instant, Next<E, S>)> {
        while self.events.first_key_value().is_some_and(|((at, _), _)| *at <= until) {
            let ((at, _), next) = self.events.pop_first()?;
            if let Next::Wake(sleeper) = next {
                if self.wakes.get(&sleeper) != Some(&at) {
                    continue;
                }
                self.wakes.remove(&sleeper);
            }
            return Some((at, next));
        }
        None
    }
}
