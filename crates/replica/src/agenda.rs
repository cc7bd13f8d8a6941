//! Which calls are to be handed to an engine without being asked for, and when.
//!
//! Five queues by time. A call is in each at most once, and carries its own places ([`Armed`]), so
//! that moving it costs two tree operations. Whether a call that comes up may be handed is for the
//! replica to say: a locked one is dropped here and armed again when its lock ends.

use std::collections::BTreeSet;

use vocab::{CallKey, Instant};

/// Why a call is to be handed; in the order in which they are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It is set aside, and is to be ended.
    Quarantine,
    /// Its lock broke with unreleased effects.
    Resume,
    /// A deadline passed; of a dormant call: its last, by a bound.
    Due,
    /// It is to be woken.
    Activate,
    /// It is to go home.
    HandBack,
}

impl Kind {
    pub(crate) const ALL: [Self; 5] =
        [Self::Quarantine, Self::Resume, Self::Due, Self::Activate, Self::HandBack];
}

/// A call's places in the queues.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Armed([Option<Instant>; 5]);

impl Armed {
    pub(crate) fn at(&self, kind: Kind) -> Option<Instant> {
        self.0[kind as usize]
    }
}

/// The five queues.
#[derive(Debug, Default)]
pub(crate) struct Agenda {
    queues: [BTreeSet<(Instant, CallKey)>; 5],
}

impl Agenda {
    pub(crate) fn set(&mut self, armed: &mut Armed, kind: Kind, key: CallKey, at: Instant) {
        let place = &mut armed.0[kind as usize];
        if *place == Some(at) {
            return;
        }
        let queue = &mut self.queues[kind as usize];
        if let Some(old) = place.replace(at) {
            queue.remove(&(old, key));
        }
        queue.insert((at, key));
    }

    pub(crate) fn clear(&mut self, armed: &mut Armed, kind: Kind, key: CallKey) {
        if let Some(old) = armed.0[kind as usize].take() {
            self.queues[kind as usize].remove(&(old, key));
        }
    }

    pub(crate) fn clear_all(&mut self, armed: &mut Armed, key: CallKey) {
        for kind in Kind::ALL {
            self.clear(armed, kind, key);
        }
    }

    pub(crate) fn first(&self, kind: Kind) -> Option<(Instant, CallKey)> {
        self.queues[kind as usize].first().copied()
    }

    pub(crate) fn len(&self, kind: Kind) -> usize {
        self.queues[kind as usize].len()
    }
}
