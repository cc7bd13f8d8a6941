//! A primary's word that nobody else has to store is confirmed by all others that take puts.
//!
//! A primary that was removed, and does not know it yet, would say that a call does not exist, or
//! give a state that is old. A turn that puts finds out, as others refuse its view. One that ends
//! without a put asks the others: each that still serves the view shows that no later one had
//! stored anything when the primary spoke. Asked after the primary's answer and not beside it, as
//! most turns put.

use std::collections::BTreeSet;

use tier_protocol::Command;
use vocab::{CallKey, Instant, ReplicaId};

use crate::engine::Engine;
use crate::planted::Planted;
use crate::turn::{Believed, Confirming, State, Turn};

impl Engine {
    /// Whether the turn may act on what the primary said.
    pub(crate) fn may_believe(&self, key: CallKey, turn: &Turn) -> bool {
        turn.is_confirmed
            || self.map.view(key).is_none_or(|view| view.witnesses().next().is_none())
            || self.planted == Some(Planted::NotHereBelieved)
    }

    /// Has what the primary said confirmed; then it is worked again.
    pub(crate) fn confirm(
        &mut self,
        now: Instant,
        key: CallKey,
        mut turn: Turn,
        believed: Believed,
    ) {
        let Some(view) = self.map.view(key) else { return };
        let led_since = view.led_since;
        if turn.number == 0 {
            turn.number = self.next_number();
        }
        let by = BTreeSet::new();
        turn.state = State::Confirm(Box::new(Confirming { believed, by, led_since }));
        turn.until = now + self.config.limits.lock_wait;
        turn.wake_at = now + self.renew_after();
        self.ask_confirmation(key, turn.number);
        self.keep_turn(key, turn);
    }

    fn ask_confirmation(&mut self, key: CallKey, turn: u64) {
        let Some(view) = self.map.view(key) else { return };
        let (partition, number) = (view.partition, view.number);
        for to in view.witnesses().collect::<Vec<_>>() {
            let command = Command::Confirm { view: number, key, turn };
            self.push(crate::door::Output::Command { to, partition, command });
        }
    }

    /// A member serves the view in which the primary spoke.
    pub(crate) fn on_confirmed(
        &mut self,
        now: Instant,
        from: ReplicaId,
        key: CallKey,
        number: u64,
    ) {
        let Some(mut turn) = self.take_turn(key) else { return };
        let State::Confirm(confirming) = &mut turn.state else {
            return self.keep_turn(key, turn);
        };
        if turn.number == number {
            confirming.by.insert(from);
        }
        let lacks = self
            .map
            .view(key)
            .is_some_and(|view| view.witnesses().any(|witness| !confirming.by.contains(&witness)));
        if lacks {
            return self.keep_turn(key, turn);
        }
        self.stats.confirmed += 1;
        turn.is_confirmed = true;
        let State::Confirm(confirming) = std::mem::replace(&mut turn.state, State::Lock) else {
            return;
        };
        match confirming.believed {
            Believed::NotHere => self.work_not_here(now, key, turn),
            Believed::Granted { grant, record: None } => self.work_nothing(now, key, turn, grant),
            Believed::Granted { grant, record: Some(record) } => {
                self.work_record(now, key, turn, grant, &record);
            }
            Believed::Unchanged { grant } => self.work_unchanged(now, key, turn, grant),
        }
    }

    /// The view changed, or a member did not answer yet.
    pub(crate) fn confirm_again(&mut self, now: Instant, key: CallKey, mut turn: Turn) {
        let led_since = self.map.view(key).map(|view| view.led_since);
        let State::Confirm(confirming) = &mut turn.state else {
            return self.keep_turn(key, turn);
        };
        if Some(confirming.led_since) == led_since {
            // The same primary: what it said holds, if the others of its new view say so.
            confirming.by.clear();
            turn.wake_at = turn.until.min(now + self.renew_after());
            let number = turn.number;
            let is_only = self.map.is_alone(key);
            self.keep_turn(key, turn);
            if is_only {
                if let Some(primary) = self.map.view(key).and_then(|view| view.primary()) {
                    self.on_confirmed(now, primary, key, number);
                }
            } else {
                self.ask_confirmation(key, number);
            }
            return;
        }
        turn.state = State::Lock;
        if !turn.arrivals.is_empty() {
            self.ask(now, key, turn);
        }
    }

    /// Keeps the lock while others are waited for.
    pub(crate) fn renew(&mut self, key: CallKey, believed: &Believed) {
        if let Some(token) = believed.token() {
            self.tell_primary(key, |view| Command::Renew { view, key, token });
        }
    }
}
