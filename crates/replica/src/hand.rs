//! Handing calls to engines that did not ask: broken, due, waking, going home.
//!
//! Engines take turns. With no engine up, or with too many calls handed already, everything waits
//! where it is; nothing is lost by waiting, as each reason is read from the call again when its
//! time comes.

use std::ops::Bound;

use tier_protocol::{Cause, Return};
use vocab::{CallKey, EngineId, Instant, SiteId};

use crate::Replica;
use crate::agenda::Kind;
use crate::planted::Planted;
use crate::store::{Call, Sentence};

impl Replica {
    /// Puts a free call into the queues that it belongs into, by its record.
    pub(crate) fn rearm(&mut self, now: Instant, key: CallKey) {
        let Some(call) = self.store.get(key) else {
            return;
        };
        let here = self.config.here;
        let header = call.record.as_ref().map(|record| &record.header);
        let sleeps = call.is_dormant && !call.is_stub;
        let is_home = header.is_some_and(|header| header.home() == here);
        if call.sentence == Sentence::ToEnd {
            return self.arm_end(now, key);
        }
        let resume = call.unreleased.then(|| now.max(call.not_before));
        let due = if call.is_stub {
            None
        } else if !call.is_dormant || self.planted == Some(Planted::DormantTimersArmed) {
            header.and_then(|header| header.deadline).map(|after| call.after_put(after))
        } else if is_home {
            None
        } else {
            let last = header.and_then(|header| header.crossing_deadline);
            last.map(|after| call.after_put(after) + self.config.pace.dead_home_after)
        };
        let due = due.map(|at| at.max(call.not_before));
        let activate = match call.armed.at(Kind::Activate) {
            // An order, or a lock that broke, put it there.
            Some(at) if sleeps => Some(at),
            Some(_) | None => (sleeps && is_home).then(|| now.max(call.not_before)),
        };
        let settled_at = call.touched_at + self.config.pace.settle_for;
        let hand_back = self.destination(call).map(|_| settled_at.max(call.not_before));
        let Some(call) = self.store.get_mut(key) else {
            return;
        };
        let all = [
            (Kind::Quarantine, None),
            (Kind::Resume, resume),
            (Kind::Due, due),
            (Kind::Activate, activate),
            (Kind::HandBack, hand_back),
        ];
        for (kind, at) in all {
            match at {
                Some(at) => self.agenda.set(&mut call.armed, kind, key, at),
                None => self.agenda.clear(&mut call.armed, kind, key),
            }
        }
        self.list_rest(key);
    }

    /// A condemned call is handed for one reason only.
    fn arm_end(&mut self, now: Instant, key: CallKey) {
        if let Some(call) = self.store.get_mut(key) {
            self.agenda.clear_all(&mut call.armed, key);
            self.agenda.set(&mut call.armed, Kind::Quarantine, key, now);
        }
    }

    /// The site that a call is to be given to, when it is ready to go: home before anywhere else.
    pub(crate) fn destination(&self, call: &Call) -> Option<SiteId> {
        if !call.is_active() || !call.at_boundary || call.has_ended() || call.is_set_aside() {
            return None;
        }
        let evacuate_to = self.steering.evacuate_to.filter(|site| self.wants_calls(*site));
        self.way_home(call).or(evacuate_to)
    }

    fn way_home(&self, call: &Call) -> Option<SiteId> {
        if self.steering.returning != Return::Runs {
            return None;
        }
        let here = self.config.here;
        let origin = call.record.as_ref()?.header.origin;
        if origin == here {
            // It was taken over from a site that had it for us: it is home.
            return None;
        }
        let from = call.activated_from.map(|epoch| epoch.site);
        let homes = [Some(origin), from].into_iter().flatten();
        homes.filter(|site| *site != here).find(|site| self.wants_calls(*site))
    }

    pub(crate) fn hand(&mut self, now: Instant) {
        for kind in Kind::ALL {
            while let Some((at, key)) = self.agenda.first(kind) {
                if at > now || !self.has_room(kind) || !self.may_pass(now, kind) {
                    break;
                }
                let Some(call) = self.store.get_mut(key) else {
                    return;
                };
                self.agenda.clear(&mut call.armed, kind, key);
                if call.lock.is_none() {
                    self.hand_one(now, key, kind);
                }
            }
        }
    }

    pub(crate) fn may_hand(&self) -> bool {
        !self.engines.is_empty() && self.handed.all < self.config.limits.handed_max
    }

    /// Calls of a dead site wake as fast as engines wake them: a new call never stands behind more
    /// of them than these.
    fn has_room(&self, kind: Kind) -> bool {
        let is_woken = kind == Kind::Activate;
        self.may_hand() && (!is_woken || self.handed.waking < self.config.limits.waking_max)
    }

    fn may_pass(&mut self, now: Instant, kind: Kind) -> bool {
        match kind {
            Kind::Quarantine | Kind::Resume | Kind::Due => true,
            Kind::Activate => self.activate_pacer.take(now),
            Kind::HandBack => self.hand_back_pacer.take(now),
        }
    }

    /// Hands a free call whose time has come, if its reason still holds.
    fn hand_one(&mut self, now: Instant, key: CallKey, kind: Kind) {
        self.judge_if_free(now, key);
        let Some(call) = self.store.get(key) else {
            return;
        };
        let cause = match kind {
            Kind::Quarantine => (call.sentence == Sentence::ToEnd).then_some(Cause::Quarantined),
            Kind::Resume => call.unreleased.then_some(Cause::Resume),
            Kind::Due if !call.is_dormant || self.planted == Some(Planted::DormantTimersArmed) => {
                Some(Cause::Due)
            }
            Kind::Due => {
                let home = call.record.as_ref().map(|record| record.header.home());
                if !home.is_some_and(|home| self.is_given_up(home)) {
                    return self.look_again_later(now, key);
                }
                Some(Cause::Activate)
            }
            Kind::Activate => {
                let home = call.record.as_ref().map(|record| record.header.home());
                // Ordered while its home was silent; it answers again.
                let is_owned = home.is_some_and(|home| self.owns_its_calls(home));
                (call.is_dormant && !call.is_stub && !is_owned).then_some(Cause::Activate)
            }
            Kind::HandBack => self.destination(call).map(|to| Cause::HandBack { to }),
        };
        let (Some(cause), Some(engine)) = (cause, self.next_engine()) else {
            return;
        };
        match cause {
            Cause::Due => self.counts.due += 1,
            Cause::Activate => self.counts.activate_handed += 1,
            Cause::HandBack { .. } => self.counts.hand_back_handed += 1,
            Cause::Resume | Cause::Asked { .. } | Cause::Quarantined => {}
        }
        self.grant(now, key, engine, cause, None);
    }

    /// A dormant call is past its last deadline, but its home answers, or may live: it is the
    /// home's to end.
    fn look_again_later(&mut self, now: Instant, key: CallKey) {
        if let Some(call) = self.store.get_mut(key) {
            let at = now + self.config.pace.dead_home_after;
            self.agenda.set(&mut call.armed, Kind::Due, key, at);
        }
    }

    fn next_engine(&mut self) -> Option<EngineId> {
        let after = self.last_engine.map_or(Bound::Unbounded, Bound::Excluded);
        let next = self.engines.range((after, Bound::Unbounded)).next();
        let engine = next.or_else(|| self.engines.first()).copied();
        self.last_engine = engine;
        engine
    }

    /// When the next call may be handed, as far as time decides.
    pub(crate) fn hand_at(&self) -> Option<Instant> {
        let with_room = Kind::ALL.into_iter().filter(|kind| self.has_room(*kind));
        let times = with_room.filter_map(|kind| {
            let (at, _) = self.agenda.first(kind)?;
            match kind {
                Kind::Quarantine | Kind::Resume | Kind::Due => Some(at),
                Kind::Activate => Some(self.activate_pacer.wake_at(at)),
                Kind::HandBack => Some(self.hand_back_pacer.wake_at(at)),
            }
        });
        times.min()
    }
}
