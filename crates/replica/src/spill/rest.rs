//! Resting: which calls leave memory, and when.
//!
//! ```text
//!          freed at a boundary       left alone       row asked for       stored, unchanged
//!   busy ─────────────────────► resting ─────► ripe ─────────────► storing ─────────► spilled
//!    ▲                             │ touched     │ fetched, and not put since            ▲
//!    └─────────────────────────────┘             └───────────────────────────────────────┘
//! ```
//! A call is listed once, with a time at or before that of its rest: a turn costs nothing here. A
//! follower does not write. It lists its calls a little later, for those of which it missed that
//! the primary has spilled them, and asks.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::BytesMut;
use vocab::{CallKey, Instant};

use crate::Replica;
use crate::agenda::Kind;
use crate::compare::call_digest;
use crate::config::{Spill, SpillAfter};
use crate::copy::state_of;
use crate::database::{DatabaseAsk, SpillRow};
use crate::outbound::Stage;
use crate::planted::Planted;
use crate::spill::table::{Parts, Spilled};
use crate::store::{Call, Row};

/// A call whose deadline is nearer than this is not worth the way.
const DUE_SOON: Duration = Duration::from_secs(10);
/// Pause before a call is looked at again that is to be handed, or given back.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// Pause before a call is looked at again that is crossing.
const CROSSED_AFTER: Duration = Duration::from_millis(200);
/// So much later than the primary a follower thinks that a call should have been spilled.
const FOLLOWS_AFTER: Duration = Duration::from_secs(30);
/// Calls that one input looks at.
const STEP: usize = 512;

/// What becomes of a call whose time has come.
enum Look {
    Goes,
    Again(Instant),
    /// It is listed again when its lock ends.
    Busy,
}

/// Asks without an answer yet, by call and by time.
#[derive(Debug, Default)]
pub(crate) struct InFlight {
    by_key: BTreeMap<CallKey, Instant>,
    by_time: BTreeSet<(Instant, CallKey)>,
}

impl InFlight {
    pub(crate) fn len(&self) -> usize {
        self.by_key.len()
    }

    pub(crate) fn contains(&self, key: CallKey) -> bool {
        self.by_key.contains_key(&key)
    }

    pub(crate) fn insert(&mut self, now: Instant, key: CallKey) {
        self.remove(key);
        self.by_key.insert(key, now);
        self.by_time.insert((now, key));
    }

    pub(crate) fn remove(&mut self, key: CallKey) {
        if let Some(at) = self.by_key.remove(&key) {
            self.by_time.remove(&(at, key));
        }
    }

    /// The oldest ask.
    pub(crate) fn first(&self) -> Option<(Instant, CallKey)> {
        self.by_time.first().copied()
    }
}

impl Replica {
    /// For how long the call, as it is, has to be left alone; `None` when it may not leave.
    fn rest_of(&self, call: &Call) -> Option<Duration> {
        let record = call.record.as_ref().filter(|_| self.spilling.is_on)?;
        let is_free = call.is_released() && call.waiters.is_empty() && !call.ends_when_free;
        // A hand-back may yet give way to an older stamp, which no row does.
        let is_over = call.has_ended() || call.is_set_aside();
        if !is_free || call.is_stub || call.is_given || is_over {
            return None;
        }
        let settings = &self.spilling.settings;
        let after = if call.is_dormant {
            settings.dormant_after
        } else if call.at_boundary && call.was_at_boundary {
            longest(settings, record.header.hints.iter().map(|(application, _)| *application))
        } else {
            SpillAfter::Never
        };
        match after {
            SpillAfter::Never => None,
            SpillAfter::Steady(rest) if self.leads() => Some(rest),
            SpillAfter::Steady(rest) => Some(rest + FOLLOWS_AFTER),
        }
    }

    fn look(&self, now: Instant, key: CallKey, call: &Call) -> Look {
        let Some(rest) = self.rest_of(call) else {
            return Look::Busy;
        };
        let due_at = call.armed.at(Kind::Due).filter(|at| *at < now + DUE_SOON);
        let is_wanted = [Kind::Resume, Kind::Activate, Kind::HandBack]
            .into_iter()
            .any(|kind| call.armed.at(kind).is_some());
        if call.touched_at + rest > now {
            Look::Again(call.touched_at + rest)
        } else if let Some(at) = due_at {
            Look::Again(at.max(now) + LOOK_AGAIN)
        } else if is_wanted || self.spilling.rows.is_going(key) {
            Look::Again(now + LOOK_AGAIN)
        } else if self.is_crossing(key) {
            Look::Again(now + CROSSED_AFTER)
        } else {
            Look::Goes
        }
    }

    /// Whether a batch has it, or soon will. One that waits for a site that is away may go.
    fn is_crossing(&self, key: CallKey) -> bool {
        self.outbound.values().any(|outbound| {
            outbound.mark(key).is_some_and(|mark| match mark.stage {
                Stage::InFlight { .. } => true,
                Stage::Busy
                | Stage::Settling { .. }
                | Stage::Ready { .. }
                | Stage::Away
                | Stage::Behind => outbound.is_alive && !outbound.is_stopped,
            })
        })
    }

    /// Lists a free call, unless it is listed already.
    pub(crate) fn list_rest(&mut self, key: CallKey) {
        let call = self.store.get(key).filter(|call| call.rest_at.is_none());
        let at = call.and_then(|call| Some(call.touched_at + self.rest_of(call)?));
        if let Some(at) = at.filter(|_| !self.spilling.storing.contains(key)) {
            self.list_rest_at(key, at);
        }
    }

    pub(crate) fn list_rest_at(&mut self, key: CallKey, at: Instant) {
        self.unlist_rest(key);
        if let Some(call) = self.store.get_mut(key) {
            call.rest_at = Some(at);
            self.spilling.rest.insert((at, key));
        }
    }

    pub(crate) fn unlist_rest(&mut self, key: CallKey) {
        let listed = self.store.get_mut(key).and_then(|call| call.rest_at.take());
        if let Some(at) = listed {
            self.spilling.rest.remove(&(at, key));
        }
    }

    /// Whether another row may be written, pace aside.
    pub(crate) fn may_store(&self) -> bool {
        let (spilling, settings) = (&self.spilling, &self.spilling.settings);
        let calls = self.store.spilled.len() + spilling.storing.len();
        spilling.may_ask()
            && spilling.rows.is_clear()
            && spilling.storing.len() < settings.stores_in_flight_max
            && calls < settings.calls_max
    }

    /// Lets go of calls that have rested for long enough.
    pub(crate) fn end_rests(&mut self, now: Instant) {
        let (mut rows, mut gone, mut asked) = (Vec::new(), Vec::new(), Vec::new());
        let leads = self.leads();
        for _ in 0..STEP {
            let first = self.spilling.rest.first().copied().filter(|(at, _)| *at <= now);
            let Some((_, key)) = first.filter(|_| !leads || self.may_store_at(now)) else {
                break;
            };
            let Some(call) = self.store.get(key) else {
                break;
            };
            let (stamp, row) = (call.stamp(), call.row);
            match (self.look(now, key, call), stamp) {
                (Look::Busy, _) | (Look::Goes, None) => self.unlist_rest(key),
                (Look::Again(at), _) => self.list_rest_at(key, at),
                (Look::Goes, Some(stamp)) if !leads => {
                    self.list_rest_at(key, now + FOLLOWS_AFTER);
                    asked.push((key, stamp));
                }
                (Look::Goes, Some(stamp)) if row == Row::Holds => {
                    self.spill(key);
                    gone.push((key, stamp));
                }
                (Look::Goes, Some(stamp)) => {
                    if !self.spilling.pacer.take(now) {
                        break;
                    }
                    rows.extend(self.row(now, key));
                    self.unlist_rest(key);
                    self.spilling.storing.insert(now, key);
                    if self.planted == Some(Planted::SpilledBeforeStored) {
                        self.spill(key);
                        gone.push((key, stamp));
                    }
                }
            }
        }
        self.store_rows(rows);
        self.tell_spilled(gone);
        self.ask_spilled(asked);
    }

    fn may_store_at(&self, now: Instant) -> bool {
        self.may_store() && self.spilling.not_before <= now
    }

    fn row(&mut self, now: Instant, key: CallKey) -> Option<SpillRow> {
        let call = self.store.get_mut(key)?;
        let record = call.aged(now)?;
        call.row = Row::MayBe;
        let header = &record.header;
        let deadline = if call.is_dormant { header.crossing_deadline } else { header.deadline };
        let mut bytes = BytesMut::new();
        record.encode(&mut bytes);
        let (stamp, age, record) = (header.stamp, header.age, bytes.freeze());
        Some(SpillRow { key, stamp, record, age, deadline })
    }

    fn store_rows(&mut self, rows: Vec<SpillRow>) {
        let (rows_max, bytes_max) =
            (self.spilling.settings.batch_max.max(1), self.spilling.settings.batch_bytes_max);
        let mut rows = rows.into_iter().peekable();
        while rows.peek().is_some() {
            let (mut batch, mut bytes) = (Vec::new(), 0);
            while let Some(row) = rows.next_if(|row| {
                let has_room = batch.len() < rows_max && bytes + row.record.len() <= bytes_max;
                batch.is_empty() || has_room
            }) {
                bytes += row.record.len();
                batch.push(row);
            }
            self.ask_database(|view| DatabaseAsk::Store { view, rows: batch });
        }
    }

    /// The row is durable: the call goes, if nothing has happened to it meanwhile.
    pub(crate) fn rows_stored(&mut self, now: Instant, rows: Vec<(CallKey, vocab::Stamp)>) {
        let mut gone = Vec::new();
        for (key, stamp) in rows {
            self.spilling.storing.remove(key);
            self.counts.rows_stored += 1;
            let Some(call) = self.store.get_mut(key).filter(|call| call.stamp() == Some(stamp))
            else {
                self.list_rest(key);
                continue;
            };
            call.row = Row::Holds;
            let Some(call) = self.store.get(key).filter(|_| self.leads()) else {
                continue;
            };
            match self.look(now, key, call) {
                Look::Goes => {
                    self.spill(key);
                    gone.push((key, stamp));
                }
                Look::Again(at) => self.list_rest_at(key, at),
                Look::Busy => {}
            }
        }
        self.tell_spilled(gone);
    }

    /// These rows may not be there.
    pub(crate) fn rows_not_stored(&mut self, at: Instant, keys: &[CallKey]) {
        for key in keys
            .iter()
            .filter(|key| self.spilling.storing.contains(**key))
            .copied()
            .collect::<Vec<_>>()
        {
            self.spilling.storing.remove(key);
            let call = self.store.get(key).filter(|call| call.rest_at.is_none());
            if call.is_some_and(|call| self.rest_of(call).is_some()) {
                self.list_rest_at(key, at);
            }
        }
    }

    /// Lets go of a call whose record is in the database.
    pub(crate) fn spill(&mut self, key: CallKey) {
        let Some(call) = self.store.get(key) else {
            return;
        };
        let Some(header) = call.record.as_ref().map(|record| &record.header) else {
            return;
        };
        let spilled = Spilled::new(&Parts {
            stamp: header.stamp,
            digest: call_digest(call),
            due_at: call.armed.at(Kind::Due),
            origin: header.origin,
            activated_from: call.activated_from,
            state: state_of(call),
        });
        self.counts.spilled += 1;
        self.leave_memory(key, &spilled);
    }

    /// Calls that should have left memory by now.
    pub(crate) fn ripe_len(&self, now: Instant) -> usize {
        let until = (now, CallKey([u8::MAX; 16]));
        if self.leads() { self.spilling.rest.range(..=until).count() } else { 0 }
    }

    /// When the next call may have rested for long enough.
    pub(crate) fn rest_at(&self) -> Option<Instant> {
        let (at, _) = self.spilling.rest.first()?;
        if !self.leads() {
            return Some(*at);
        }
        let at = (*at).max(self.spilling.not_before);
        self.may_store().then(|| self.spilling.pacer.wake_at(at))
    }
}

/// What the application of a call says that waits longest.
fn longest(settings: &Spill, applications: impl Iterator<Item = u16>) -> SpillAfter {
    let afters = applications
        .map(|application| settings.after_by_application.get(&application).copied())
        .map(|after| after.unwrap_or(settings.after));
    let longer = |a: SpillAfter, b: SpillAfter| match (a, b) {
        (SpillAfter::Steady(a), SpillAfter::Steady(b)) => SpillAfter::Steady(a.max(b)),
        (SpillAfter::Never, SpillAfter::Never | SpillAfter::Steady(_))
        | (SpillAfter::Steady(_), SpillAfter::Never) => SpillAfter::Never,
    };
    afters.reduce(longer).unwrap_or(settings.after)
}
