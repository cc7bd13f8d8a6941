//! Answers to other sites that count only when everybody else of the view has confirmed it.
//!
//! A primary that was voted out and has not heard of it would say of a call that lives here that
//! there is none, or hand out a copy that has been woken since. Its answer waits, as an engine's
//! does that finds no call, until each of the others has said that the view is still theirs. One
//! that is not confirmed in time is "ask later". What the gate has to be certain of it asks here,
//! too.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tier_protocol::{PeerWord, PullAnswer};
use vocab::{Instant, ReplicaId, ViewNumber};

use crate::Replica;
use crate::door::GateBound;

/// Answers that wait at a time.
const HELD_MAX: usize = 4_096;
/// How long one waits. Less than other sites wait for it.
const WAIT: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Held {
    view: ViewNumber,
    waiting: BTreeSet<ReplicaId>,
    until: Instant,
    words: GateBound,
}

/// The answers that wait, by when they were asked for.
#[derive(Debug, Default)]
pub(crate) struct Unconfirmed {
    held: BTreeMap<u64, Held>,
    asked: u64,
}

impl Unconfirmed {
    /// When the first answer has waited for long enough.
    pub(crate) fn wake_at(&self) -> Option<Instant> {
        self.held.values().next().map(|held| held.until)
    }
}

impl Replica {
    /// Says it to the gate when the others have confirmed the view.
    pub(crate) fn tell_gate_confirmed(&mut self, now: Instant, words: GateBound) {
        let view = self.config.view.number;
        let waiting = self.others_in_view();
        if waiting.is_empty() {
            return self.tell_gate(words);
        }
        if self.unconfirmed.held.len() >= HELD_MAX {
            return self.put_off(words);
        }
        self.unconfirmed.asked += 1;
        let ask = self.unconfirmed.asked;
        for other in &waiting {
            self.tell_peer(*other, PeerWord::ViewAsk { view, ask });
        }
        let held = Held { view, waiting, until: now + WAIT, words };
        self.unconfirmed.held.insert(ask, held);
    }

    /// Another replica is in this view still.
    pub(crate) fn view_confirmed(&mut self, from: ReplicaId, ask: u64) {
        let Some(held) = self.unconfirmed.held.get_mut(&ask) else {
            return;
        };
        held.waiting.remove(&from);
        if held.waiting.is_empty()
            && let Some(held) = self.unconfirmed.held.remove(&ask)
        {
            self.tell_gate(held.words);
        }
    }

    /// Puts off what was not confirmed in time, or was found in a view that is over.
    pub(crate) fn end_unconfirmed(&mut self, now: Instant) {
        let current = self.config.view.number;
        // Whatever was asked for later ends later, and in no earlier view.
        while let Some(first) = self.unconfirmed.held.first_entry()
            && (first.get().until <= now || first.get().view != current)
        {
            let words = first.remove().words;
            self.put_off(words);
        }
    }

    fn put_off(&mut self, words: GateBound) {
        self.counts.unconfirmed += 1;
        match words {
            GateBound::PullAnswer { site, ask, key, answer: _ } => {
                let answer = PullAnswer::AskLater;
                self.tell_gate(GateBound::PullAnswer { site, ask, key, answer });
            }
            GateBound::Keeper { ask, is_confirmed: _ } => {
                self.tell_gate(GateBound::Keeper { ask, is_confirmed: false });
            }
            // A page of a keyset is asked for again by itself.
            GateBound::KeysetPage { .. }
            | GateBound::Publish { .. }
            | GateBound::Pull { .. }
            | GateBound::Sweep { .. }
            | GateBound::Progress(_) => {}
        }
    }

    /// The gate of this process asks whether it is its to keep.
    pub(crate) fn keeper_asked(&mut self, now: Instant, keeper: ReplicaId, ask: u64) {
        let me = self.config.replica;
        // A word for the keeper of before, that came to the one of now.
        if keeper != me {
            return;
        }
        if !self.leads() || self.membership.map.gatekeeper() != Some(me) {
            return self.tell_gate(GateBound::Keeper { ask, is_confirmed: false });
        }
        self.tell_gate_confirmed(now, GateBound::Keeper { ask, is_confirmed: true });
    }

    /// What this replica took over by itself, and not by an engine's word to everybody, goes to the
    /// others at once; else they would learn it from a comparison.
    pub(crate) fn share(&mut self, now: Instant, keys: &[vocab::CallKey]) {
        if keys.is_empty() || !self.leads() {
            return;
        }
        for other in self.others_in_view() {
            for run in keys.chunks(crate::compare::REPAIR_MAX) {
                self.repair_asked(now, other, run);
            }
        }
    }
}
