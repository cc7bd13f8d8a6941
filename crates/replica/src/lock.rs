//! Locks: one holder a call, waiters first come first served.
//!
//! ```text
//!   free ──LockAndGet, or handed──► locked ──Unlock, Delete──────────► next waiter, or free
//!                                     └──link down, lease over──► the same, with the record's
//!                                         effects still to leave: the next holder resumes them
//! ```
//! A lock's end is the one place where everything that waited for it is looked at again: waiters,
//! deadlines that passed meanwhile, marks, the way home.

use std::time::Duration;

use tier_protocol::{Cause, Record, Reply};
use vocab::{CallKey, EngineId, Instant, LockToken};

use crate::Replica;
use crate::agenda::Kind;
use crate::planted::Planted;
use crate::store::{Lock, Waiter};

/// Breaks in a row after which a call is handed later and later: it may be what breaks engines.
const BREAKS_AT_ONCE: u32 = 1;
const BREAK_DOUBLINGS_MAX: u32 = 6;

/// How a lock ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The holder said so: its effects have left.
    Unlocked,
    /// The holder removed the call.
    Deleted,
    /// The holder's link broke.
    Broken,
    /// The holder did not renew.
    LeaseOver,
}

impl Replica {
    pub(crate) fn lock_and_get(&mut self, now: Instant, key: CallKey, waiter: Waiter) {
        let Waiter { engine, turn, begins, cached } = waiter;
        let waiters_max = self.config.limits.waiters_per_call_max;
        let Some(call) = self.store.get_mut(key) else {
            return self.lock_nothing(now, key, waiter);
        };
        let Some(lock) = &mut call.lock else {
            if self.ask_for_condemned(now, key, waiter) {
                return;
            }
            return self.grant(now, key, engine, Cause::Asked { turn }, cached);
        };
        if lock.is_shadow && lock.engine == engine {
            // It asks anew: the turn that put under this lock is over, and did not end it.
            call.waiters.push_front(waiter);
            self.waiters += 1;
            return self.end_lock(now, key, Ending::Broken);
        }
        if lock.engine == engine && lock.cause == (Cause::Asked { turn }) {
            // A repetition, or the newest copy after a refused put: the same lock.
            lock.expires_at = now + self.config.pace.lock_lease;
            return self.tell_grant(now, key, cached);
        }
        let is_waiting = call.waiters.iter().any(|w| w.engine == engine && w.turn == turn);
        if !is_waiting && call.waiters.len() >= waiters_max {
            self.counts.busy += 1;
            return self.reply(engine, Reply::Busy { key, turn });
        }
        if !is_waiting {
            call.waiters.push_back(Waiter { engine, turn, begins, cached });
            self.waiters += 1;
        }
        self.reply(engine, Reply::Queued { key, turn });
    }

    /// No such call: its lock alone is granted to an input that may begin one.
    fn lock_nothing(&mut self, now: Instant, key: CallKey, waiter: Waiter) {
        if self.store.is_spilled(key) {
            return self.wait_for_row(now, key, waiter);
        }
        let Waiter { engine, turn, begins, cached } = waiter;
        if !begins {
            return self.reply(engine, Reply::NotHere { key, turn });
        }
        if self.refuses_to_begin(now, key) {
            return self.refuse_to_begin(key, waiter);
        }
        let limits = &self.config.limits;
        if self.store.len() >= limits.calls_max || self.store.bytes >= limits.bytes_max {
            self.counts.busy += 1;
            return self.reply(engine, Reply::Busy { key, turn });
        }
        self.store.insert(key);
        self.grant(now, key, engine, Cause::Asked { turn }, cached);
    }

    /// Gives the lock of a free call to `engine`.
    pub(crate) fn grant(
        &mut self,
        now: Instant,
        key: CallKey,
        engine: EngineId,
        cause: Cause,
        cached: Option<vocab::Stamp>,
    ) {
        let Some(call) = self.store.get_mut(key) else {
            return;
        };
        self.tokens += 1;
        self.counts.grants += 1;
        let token = LockToken { view: self.config.view.number, counter: self.tokens };
        let expires_at = now + self.config.pace.lock_lease;
        let listed_at = expires_at;
        // Unlocked and unreleased: the lock before this one broke.
        let resumes = call.unreleased;
        self.counts.resumed += u64::from(resumes);
        let has_put = false;
        let is_shadow = false;
        call.lock =
            Some(Lock { engine, cause, token, expires_at, listed_at, has_put, resumes, is_shadow });
        call.touched_at = now;
        for kind in [Kind::Quarantine, Kind::Resume, Kind::Activate, Kind::HandBack] {
            self.agenda.clear(&mut call.armed, kind, key);
        }
        self.leases.insert((listed_at, key));
        self.handed.note(cause);
        self.tell_grant(now, key, cached);
    }

    /// Tells the holder that it holds the lock, with the newest record.
    fn tell_grant(&mut self, now: Instant, key: CallKey, cached: Option<vocab::Stamp>) {
        let Some(call) = self.store.get(key) else {
            return;
        };
        let Some(Lock { engine, cause, token, resumes, has_put, .. }) = call.lock else {
            return;
        };
        // It put under this very lock, and another member refused: that put is to be made again.
        let resumes = resumes || (has_put && call.unreleased);
        let granted = |record: Option<Record>| {
            let (dormant, resume) = (call.is_dormant, resumes);
            let removed = self.tombs.stamp(key).filter(|_| record.is_none());
            let floor = removed.map(|stamp| stamp.epoch);
            Reply::Granted { key, token, cause, record, dormant, resume, floor }
        };
        let has_same = call.stamp().filter(|stamp| Some(*stamp) == cached);
        let reply = match (cause, has_same) {
            (Cause::Asked { turn }, Some(stamp)) if !call.is_dormant && !resumes => {
                self.counts.unchanged += 1;
                Reply::Unchanged { key, token, turn, stamp, age: call.age(now) }
            }
            (
                Cause::Asked { .. }
                | Cause::Due
                | Cause::Resume
                | Cause::Activate
                | Cause::HandBack { .. }
                | Cause::Quarantined,
                _,
            ) => granted(call.aged(now)),
        };
        self.reply(engine, reply);
    }

    /// The holder says something under its lock: the lease starts anew.
    pub(crate) fn prolong(&mut self, now: Instant, key: CallKey, token: LockToken) {
        let expires_at = now + self.config.pace.lock_lease;
        let lock = self.store.get_mut(key).and_then(|call| call.lock.as_mut());
        if let Some(lock) = lock.filter(|lock| lock.token == token) {
            lock.expires_at = expires_at;
        }
    }

    /// Ends the lock and serves whoever waits for that.
    pub(crate) fn end_lock(&mut self, now: Instant, key: CallKey, ending: Ending) {
        let Some(call) = self.store.get_mut(key) else {
            return;
        };
        let Some(lock) = call.lock.take() else {
            return;
        };
        self.leases.remove(&(lock.listed_at, key));
        self.handed.back(lock.cause);
        call.touched_at = now;
        call.removal = None;
        let retry_after = self.config.pace.retry_after;
        let is_suspect = self.suspects.count(key) > 0;
        match ending {
            Ending::Unlocked => {
                call.unreleased = false;
                call.broken_locks = 0;
                if is_handed(lock.cause) && !lock.has_put {
                    // Still due, asleep or abroad: not again at once, or two would spin.
                    call.not_before = now + retry_after;
                }
                if is_suspect {
                    self.wake_again(key, &lock);
                }
            }
            Ending::Deleted => {}
            Ending::Broken | Ending::LeaseOver => {
                // A put under it may still come to other members: no later lock has its token.
                self.tokens += 1;
                self.counts.locks_broken += u64::from(ending == Ending::Broken);
                self.counts.leases_over += u64::from(ending == Ending::LeaseOver);
                if !lock.has_put {
                    call.broken_locks = call.broken_locks.saturating_add(1);
                }
                call.not_before = now + pause_after_breaks(call.broken_locks.into(), retry_after);
                self.wake_again(key, &lock);
            }
        }
        if ending == Ending::Broken && !lock.has_put {
            self.note_broken(now, key, &lock);
        }
        self.note_not_ended(now, key, &lock, ending);
        self.free(now, key);
        let forgets = self.planted == Some(Planted::DueForgotten);
        if forgets && ending == Ending::Broken && lock.cause == Cause::Due {
            self.forget_due(key);
        }
    }

    /// It was handed to be woken, and sleeps on: an order asks for it once.
    fn wake_again(&mut self, key: CallKey, lock: &Lock) {
        let Some(call) = self.store.get_mut(key) else { return };
        if lock.cause == Cause::Activate && call.is_dormant && !call.is_stub {
            let at = call.not_before;
            self.agenda.set(&mut call.armed, Kind::Activate, key, at);
        }
    }

    fn forget_due(&mut self, key: CallKey) {
        if let Some(call) = self.store.get_mut(key) {
            self.agenda.clear(&mut call.armed, Kind::Due, key);
        }
    }

    /// Serves an unlocked call: the next waiter, else whatever is to happen by itself.
    pub(crate) fn free(&mut self, now: Instant, key: CallKey) {
        if self.store.get(key).is_some_and(|call| call.ends_when_free) {
            self.end_as_old_home_did(now, key);
        }
        self.judge(now, key);
        self.tell_end(now, key);
        while let Some(call) = self.store.get_mut(key) {
            let Some(waiter) = call.waiters.pop_front() else {
                break;
            };
            self.waiters -= 1;
            let Waiter { engine, turn, begins, cached } = waiter;
            let is_held = call.record.is_some();
            if !is_held && begins && self.refuses_to_begin(now, key) {
                self.refuse_to_begin(key, waiter);
                continue;
            }
            if is_held && self.ask_for_condemned(now, key, waiter) {
                return;
            }
            if is_held || begins {
                return self.grant(now, key, engine, Cause::Asked { turn }, cached);
            }
            self.reply(engine, Reply::NotHere { key, turn });
        }
        let Some(call) = self.store.get_mut(key) else {
            return;
        };
        if call.record.is_none() {
            self.agenda.clear_all(&mut call.armed, key);
            self.store.remove(key);
            return;
        }
        self.rearm(now, key);
        self.evaluate_busy(now, key);
    }

    pub(crate) fn end_leases(&mut self, now: Instant) {
        while let Some((at, key)) = self.leases.first().copied().filter(|(at, _)| *at <= now) {
            self.leases.remove(&(at, key));
            let Some(lock) = self.store.get_mut(key).and_then(|call| call.lock.as_mut()) else {
                continue;
            };
            if lock.expires_at > now {
                lock.listed_at = lock.expires_at;
                self.leases.insert((lock.listed_at, key));
            } else {
                self.end_lock(now, key, Ending::LeaseOver);
            }
        }
    }

    pub(crate) fn engine_down(&mut self, now: Instant, engine: EngineId) {
        if !self.engines.remove(&engine) {
            return;
        }
        self.forget_row_waiters(engine);
        self.forget_spilled_removals(engine);
        // Other waiters exist only at locked calls, and every locked call has a lease.
        let locked: Vec<CallKey> = self.leases.iter().map(|(_, key)| *key).collect();
        for key in locked {
            let Some(call) = self.store.get_mut(key) else {
                continue;
            };
            let before = call.waiters.len();
            call.waiters.retain(|waiter| waiter.engine != engine);
            self.waiters -= before - call.waiters.len();
            if call.lock.is_some_and(|lock| lock.engine == engine) {
                self.end_lock(now, key, Ending::Broken);
            }
        }
    }
}

/// Locks that were handed, not asked for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Handed {
    pub(crate) all: usize,
    /// Of those, locks of calls that are to wake.
    pub(crate) waking: usize,
}

impl Handed {
    fn note(&mut self, cause: Cause) {
        self.all += usize::from(is_handed(cause));
        self.waking += usize::from(cause == Cause::Activate);
    }

    /// A lock for `cause` has ended.
    pub(crate) fn back(&mut self, cause: Cause) {
        self.all -= usize::from(is_handed(cause));
        self.waking -= usize::from(cause == Cause::Activate);
    }
}

fn is_handed(cause: Cause) -> bool {
    match cause {
        Cause::Asked { .. } => false,
        Cause::Due
        | Cause::Resume
        | Cause::Activate
        | Cause::HandBack { .. }
        | Cause::Quarantined => true,
    }
}

fn pause_after_breaks(breaks: u32, retry_after: Duration) -> Duration {
    match breaks.saturating_sub(BREAKS_AT_ONCE) {
        0 => Duration::ZERO,
        more => retry_after * (1 << (more - 1).min(BREAK_DOUBLINGS_MAX)),
    }
}
