//! From a put to the release of its effects, and what happens when the word does not come.

use std::time::Duration;

use call::Effect;
use tier_protocol::{Command, Refusal};
use vocab::{CallKey, Epoch, Instant, PartitionId, ReplicaId, Stamp, ViewNumber};

use crate::arrival::Arrival;
use crate::cache::Cached;
use crate::door::Output;
use crate::engine::Engine;
use crate::held::Stored;
use crate::planted::Planted;
use crate::turn::{Became, State, Storing, Turn, What};

/// Puts of one turn that may be refused before its messages are dropped. Each refusal means that
/// a newer lock or record exists, so a turn that reaches this is fighting with another engine.
const REFUSALS_MAX: u32 = 8;

/// A lease however short is not renewed more often than this.
const RENEW_MIN: Duration = Duration::from_millis(10);

impl Engine {
    /// Puts the state that explains what is held.
    pub(crate) fn store(&mut self, now: Instant, storing: Storing, refusals: u32) {
        let key = storing.what.key();
        self.tell_everybody(key, |view| storing.what.command(view));
        if self.planted == Some(Planted::SendBeforeStored) {
            let early = storing.held.leak();
            self.transmit(early, storing.what.epoch());
        }
        let mut turn = Turn::new(Vec::new());
        turn.refusals = refusals;
        turn.until = now + self.config.limits.store_wait;
        turn.wake_at = now + self.renew_after();
        turn.state = State::Store(Box::new(storing));
        self.keep_turn(key, turn);
    }

    pub(crate) fn renew_after(&self) -> Duration {
        (self.config.limits.lock_lease / 3).max(RENEW_MIN)
    }

    /// The turn whose put has this stamp, and what it stores; any other turn stays as it is.
    fn take_storing(&mut self, key: CallKey, stamp: Stamp) -> Option<(Turn, Box<Storing>)> {
        let mut turn = self.take_turn(key)?;
        match std::mem::replace(&mut turn.state, State::Lock) {
            State::Store(storing) if storing.held.stamp() == Some(stamp) => Some((turn, storing)),
            state @ (State::Store(_)
            | State::Lock
            | State::Pause
            | State::Pull
            | State::Confirm(_)) => {
                turn.state = state;
                self.keep_turn(key, turn);
                None
            }
        }
    }

    /// A member has the put. When all have it, its effects leave, and then the lock.
    pub(crate) fn on_stored(&mut self, now: Instant, from: ReplicaId, key: CallKey, stamp: Stamp) {
        let Some((mut turn, mut storing)) = self.take_storing(key, stamp) else { return };
        storing.stored_by.insert(from);
        let everybody = self.map.everybody(key);
        let proof = match self.planted {
            Some(Planted::UnlockBeforeAllStored) => Some(Stored::forged()),
            Some(Planted::SendBeforeStored | Planted::NotHereBelieved) | None => {
                Stored::by_all(&everybody, &storing.stored_by)
            }
        };
        let Some(proof) = proof else {
            turn.state = State::Store(storing);
            return self.keep_turn(key, turn);
        };
        let Storing { held, token, what, call, became, number: _, repeat: _, stored_by: _ } =
            *storing;
        self.transmit(held.release(&proof), what.epoch());
        match what {
            What::Put { record, .. } => {
                self.tell_everybody(key, |view| Command::Unlock { view, key, token });
                if let Some(call) = call {
                    self.cache.insert(key, Cached { header: record.header, call });
                }
            }
            // Where one replica serves alone, a removal ends its lock.
            What::Delete { .. } if self.map.is_alone(key) => {}
            What::Delete { .. } => {
                self.tell_everybody(key, |view| Command::Unlock { view, key, token });
            }
        }
        self.stats.stored += 1;
        match became {
            Became::Begun => self.stats.begun += 1,
            Became::Stepped => {}
            Became::Activated => self.stats.activated += 1,
            Became::HandedBack => self.stats.handed_back += 1,
            Became::Ended => self.stats.ended += 1,
            Became::TornDown => self.stats.torn_down += 1,
            Became::Removed => self.stats.not_torn_down += 1,
        }
        self.go_on(now, key, turn.arrivals);
    }

    /// The put is not stored: its effects are dropped, its messages stepped again on newer state.
    pub(crate) fn on_refused(
        &mut self,
        now: Instant,
        key: CallKey,
        stamp: Stamp,
        why: Refusal,
        by_primary: bool,
    ) {
        let Some((mut turn, storing)) = self.take_storing(key, stamp) else { return };
        self.stats.refused_puts += 1;
        let later = std::mem::replace(&mut turn.arrivals, storing.held.into_arrivals());
        turn.arrivals.extend(later);
        turn.refusals += 1;
        match why {
            Refusal::Full => {
                self.unlock(key, storing.token);
                for arrival in &turn.arrivals {
                    self.refuse_overload(arrival);
                }
                return;
            }
            // The primary may have it: then its effects have yet to leave, and the lock stays.
            Refusal::NotTheBase { .. } if !by_primary => {
                turn.number = storing.number;
                if turn.refusals <= REFUSALS_MAX && turn.number != 0 {
                    return self.ask_again(now, key, turn);
                }
            }
            Refusal::NotTheBase { .. } => self.unlock(key, storing.token),
            Refusal::OldToken => {}
        }
        if turn.refusals > REFUSALS_MAX {
            self.stats.dropped_late += turn.arrivals.len() as u64;
        } else if !turn.arrivals.is_empty() {
            // A grant that was handed without a message comes again by itself.
            self.ask(now, key, turn);
        }
    }

    /// Asks again for what came in the meantime.
    pub(crate) fn go_on(&mut self, now: Instant, key: CallKey, arrivals: Vec<Arrival>) {
        if !arrivals.is_empty() {
            self.ask(now, key, Turn::new(arrivals));
        }
    }

    /// A state's time is over, or it is time to say again what it waits for.
    pub(crate) fn on_turn_wake(&mut self, now: Instant, key: CallKey, mut turn: Turn) {
        let over = now >= turn.until;
        match &mut turn.state {
            State::Lock | State::Pull if over => {
                self.stats.dropped_late += turn.arrivals.len() as u64;
            }
            State::Lock => {
                self.command_lock(key, &turn);
                turn.wake_at = turn.until;
                self.keep_turn(key, turn);
            }
            State::Pull => {
                turn.wake_at = turn.until;
                self.keep_turn(key, turn);
            }
            State::Pause => self.ask(now, key, turn),
            State::Confirm(_) if over => self.stats.dropped_late += turn.arrivals.len() as u64,
            State::Confirm(confirming) => {
                self.renew(key, &confirming.believed);
                self.confirm_again(now, key, turn);
            }
            State::Store(storing) if over => {
                // No `Unlock`: if the put is stored after all, the lease hands it to another
                // engine, which sends its effects.
                self.stats.dropped_late += storing.held.arrivals().len() as u64;
                self.go_on(now, key, turn.arrivals);
            }
            State::Store(storing) => {
                let token = storing.token;
                // A primary that refuses the view of the put does not count it as a sign of life.
                self.tell_primary(key, |view| Command::Renew { view, key, token });
                let repeats = std::mem::take(&mut storing.repeat);
                if repeats {
                    storing.stored_by.clear();
                }
                // One of several may have had no room for it while its view was in doubt.
                if repeats || !self.map.is_alone(key) {
                    let what = storing.what.clone();
                    self.tell_lacking(key, &storing.stored_by, |view| what.command(view));
                }
                turn.wake_at = turn.until.min(now + self.renew_after());
                self.keep_turn(key, turn);
            }
        }
    }

    /// A member serves another view. Ours is old, and the newer one is on its way, or the member
    /// will hear of ours: what waits is said again after a while.
    pub(crate) fn on_stale_view(
        &mut self,
        now: Instant,
        from: ReplicaId,
        key: CallKey,
        current: ViewNumber,
    ) {
        if self.map.adopt_number(key, from, current) {
            let (partition, _) = self.map.find(key);
            return self.repeat_in_view(now, partition);
        }
        let soon = now + self.config.limits.seek_every;
        if let Some(mut turn) = self.take_turn(key) {
            match &mut turn.state {
                State::Lock | State::Confirm(_) => turn.wake_at = soon,
                State::Store(storing) => {
                    storing.repeat = true;
                    turn.wake_at = soon;
                }
                State::Pause | State::Pull => {}
            }
            self.keep_turn(key, turn);
        }
        self.defer_batches_with(key);
    }

    /// Says again what waits: the view is another, or one of its members can be reached again.
    pub(crate) fn repeat_in_view(&mut self, now: Instant, partition: PartitionId) {
        for key in self.keys_of(partition) {
            let Some(mut turn) = self.take_turn(key) else { continue };
            match &mut turn.state {
                State::Lock | State::Confirm(_) => turn.wake_at = now,
                State::Store(storing) => {
                    storing.repeat = true;
                    turn.wake_at = now;
                }
                State::Pause | State::Pull => {}
            }
            self.keep_turn(key, turn);
        }
        self.on_wake(now);
        self.repeat_batches(partition);
    }

    /// Lets effects out that were decided in this epoch.
    pub(crate) fn transmit(&mut self, effects: Vec<Effect>, epoch: Epoch) {
        self.stats.released += effects.len() as u64;
        for effect in effects {
            match effect {
                Effect::Transmit { to, bytes } => self.send(to, bytes),
                Effect::Account(account) => {
                    self.stats.accounts += 1;
                    self.push(Output::Account { account, epoch });
                }
            }
        }
    }
}
