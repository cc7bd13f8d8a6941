//! What has yet to cross to one site: dirty marks, not a log.
//!
//! ```text
//!            put                lock ends            settled           batch built
//!  (clean) ───────► Busy ──────────────► Settling ──────────► Ready ──────────────► InFlight
//!                    ▲  ◄── put, or locked when its time came ──┴──────┐   ◄─ put ──┤   │
//!                    └───────────────────────────────────────────────── refused, link down
//!  (clean) ◄──────────────────────────── acknowledged, unless a newer put came ─────────┘
//! ```
//!
//! A mark holds no record: the newest version is read when the batch is built, so a call is in a
//! batch once, however often it changed, and a link that is down for hours costs one mark a call.
//! A removal's mark holds the tombstone, which is the whole of it. The mark of a call whose record
//! is in the database is `Away`; a few of them are fetched ahead of each batch, and `Busy` then.
//! When a site has lost everything, every call is marked at once, `Behind`, and so many a second
//! become `Busy`.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::time::Duration;

use tier_protocol::Tombstone;
use vocab::{CallKey, Instant, ReplicaId, Stamp};

use crate::stats::{MarkStage, OutboundStats};

/// What is to cross.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// The newest record, as held when the batch is built.
    Record,
    /// The removal.
    Removal(Tombstone),
}

/// What a mark waits for. A newer put takes a mark out of `InFlight`, so that the acknowledgement
/// of the older stamp leaves it dirty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Busy,
    Settling {
        at: Instant,
    },
    Ready {
        at: Instant,
        bytes: usize,
    },
    InFlight {
        batch: u64,
    },
    /// The record is in the database.
    Away,
    /// The site has lost it, with many others: it waits for its turn.
    Behind,
}

/// One call that the site does not have as we have it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    pub(crate) what: What,
    /// Since when.
    pub(crate) since: Instant,
    /// Since when it could have crossed: the first put at a boundary.
    pub(crate) boundary_since: Option<Instant>,
    /// The call never was at a boundary: it is being set up.
    pub(crate) in_set_up: bool,
    pub(crate) stage: Stage,
}

/// A batch that is not acknowledged.
#[derive(Debug)]
pub(crate) struct Flight {
    pub(crate) sent_at: Instant,
    /// When it is given up.
    pub(crate) due_at: Instant,
    /// Another member builds the batch, and has yet to say what is in it.
    pub(crate) shipping: Option<Shipping>,
    pub(crate) entries: Vec<(CallKey, Stamp)>,
    /// Since when each state in it could have crossed.
    pub(crate) boundaries: Vec<Instant>,
}

/// A batch that another member was asked to send.
#[derive(Debug)]
pub(crate) struct Shipping {
    pub(crate) shipper: ReplicaId,
    /// The site has it already.
    pub(crate) is_stored: bool,
}

/// Everything that is to cross to one site.
#[derive(Debug, Default)]
pub(crate) struct Outbound {
    marks: BTreeMap<CallKey, Mark>,
    settling: BTreeSet<(Instant, CallKey)>,
    ready: BTreeSet<(Instant, CallKey)>,
    away: BTreeSet<CallKey>,
    behind: BTreeSet<CallKey>,
    ready_bytes: usize,
    removals: usize,
    in_set_up: usize,
    pub(crate) flights: BTreeMap<u64, Flight>,
    pub(crate) is_alive: bool,
    pub(crate) is_stopped: bool,
    /// After a refusal nothing is sent before this.
    pub(crate) not_before: Instant,
    pub(crate) stats: OutboundStats,
}

impl Outbound {
    pub(crate) fn new(is_alive: bool) -> Self {
        Self { is_alive, ..Self::default() }
    }

    pub(crate) fn mark(&self, key: CallKey) -> Option<&Mark> {
        self.marks.get(&key)
    }

    /// Whether the call was about to cross: it waited for nothing but time, or for its batch.
    pub(crate) fn is_about_to_cross(&self, key: CallKey) -> bool {
        self.mark(key).is_some_and(|mark| match (mark.what, mark.stage) {
            (What::Record, Stage::Settling { .. } | Stage::Ready { .. }) => true,
            (What::Record, Stage::Busy | Stage::InFlight { .. } | Stage::Away | Stage::Behind) => {
                false
            }
            (What::Removal(_), _) => false,
        })
    }

    /// Marks a call whose record changed under its lock, or has to cross again.
    pub(crate) fn note_record(
        &mut self,
        now: Instant,
        key: CallKey,
        at_boundary: bool,
        was_at_boundary: bool,
    ) {
        let old = self.remove(key);
        let kept = old.filter(|mark| mark.what == What::Record);
        let since = kept.map_or(now, |mark| mark.since);
        // What is in flight is a crossing of its own; the wait for the next begins anew.
        let boundary_since = kept.and_then(|mark| match mark.stage {
            Stage::Busy
            | Stage::Settling { .. }
            | Stage::Ready { .. }
            | Stage::Away
            | Stage::Behind => mark.boundary_since,
            Stage::InFlight { .. } => None,
        });
        let boundary_since = boundary_since.or_else(|| at_boundary.then_some(now));
        let (what, in_set_up) = (What::Record, !was_at_boundary);
        self.in_set_up += usize::from(in_set_up);
        self.marks.insert(key, Mark { what, since, boundary_since, in_set_up, stage: Stage::Busy });
    }

    /// The call came to a boundary for the first time; what is marked of it is at risk from here
    /// on.
    pub(crate) fn note_answered(&mut self, key: CallKey) {
        if let Some(mark) = self.marks.get_mut(&key) {
            self.in_set_up -= usize::from(std::mem::take(&mut mark.in_set_up));
        }
    }

    /// The call came to a boundary without a change that the site would have to hear of.
    pub(crate) fn note_boundary(&mut self, now: Instant, key: CallKey) {
        if let Some(mark) = self.marks.get_mut(&key) {
            mark.boundary_since.get_or_insert(now);
        }
    }

    /// Marks a removal: ready at once, in place of whatever was marked of the call.
    pub(crate) fn note_removal(&mut self, now: Instant, tombstone: Tombstone, bytes: usize) {
        let key = tombstone.key;
        let since = self.remove(key).map_or(now, |mark| mark.since);
        self.removals += 1;
        let what = What::Removal(tombstone);
        let (boundary_since, in_set_up, stage) = (None, false, Stage::Busy);
        self.marks.insert(key, Mark { what, since, boundary_since, in_set_up, stage });
        self.set_stage(key, Stage::Ready { at: now, bytes });
    }

    pub(crate) fn set_stage(&mut self, key: CallKey, stage: Stage) {
        let Some(mark) = self.marks.get_mut(&key) else {
            return;
        };
        let old = std::mem::replace(&mut mark.stage, stage);
        self.unlist(key, old);
        match stage {
            Stage::Busy | Stage::InFlight { .. } => {}
            Stage::Settling { at } => {
                self.settling.insert((at, key));
            }
            Stage::Ready { at, bytes } => {
                self.ready.insert((at, key));
                self.ready_bytes += bytes;
            }
            Stage::Away => {
                self.away.insert(key);
            }
            Stage::Behind => {
                self.behind.insert(key);
            }
        }
    }

    fn unlist(&mut self, key: CallKey, stage: Stage) {
        match stage {
            Stage::Busy | Stage::InFlight { .. } => {}
            Stage::Settling { at } => {
                self.settling.remove(&(at, key));
            }
            Stage::Ready { at, bytes } => {
                self.ready.remove(&(at, key));
                self.ready_bytes -= bytes;
            }
            Stage::Away => {
                self.away.remove(&key);
            }
            Stage::Behind => {
                self.behind.remove(&key);
            }
        }
    }

    pub(crate) fn remove(&mut self, key: CallKey) -> Option<Mark> {
        let mark = self.marks.remove(&key)?;
        self.unlist(key, mark.stage);
        self.in_set_up -= usize::from(mark.in_set_up);
        match mark.what {
            What::Record => {}
            What::Removal(_) => self.removals -= 1,
        }
        Some(mark)
    }

    /// Removes the mark of a record; a removal's stays.
    pub(crate) fn remove_record(&mut self, key: CallKey) {
        if self.mark(key).is_some_and(|mark| mark.what == What::Record) {
            self.remove(key);
        }
    }

    /// Removes the mark of a removal of that very stamp: of a copy that is void.
    pub(crate) fn remove_void(&mut self, key: CallKey, stamp: Stamp) {
        let what = self.mark(key).map(|mark| mark.what);
        if matches!(what, Some(What::Removal(tombstone)) if tombstone.stamp == stamp) {
            self.remove(key);
        }
    }

    /// Keys of all marked records.
    pub(crate) fn records(&self) -> impl Iterator<Item = CallKey> {
        let of_records = self.marks.iter().filter(|(_, mark)| mark.what == What::Record);
        of_records.map(|(key, _)| *key)
    }

    /// The same by rising key, after `cursor`.
    pub(crate) fn records_after(&self, cursor: Option<CallKey>) -> impl Iterator<Item = CallKey> {
        let from = cursor.map_or(Bound::Unbounded, Bound::Excluded);
        let marks = self.marks.range((from, Bound::Unbounded));
        marks.filter(|(_, mark)| mark.what == What::Record).map(|(key, _)| *key)
    }

    pub(crate) fn is_record(&self, key: CallKey) -> bool {
        self.mark(key).is_some_and(|mark| mark.what == What::Record)
    }

    /// The record has left memory.
    pub(crate) fn note_away(&mut self, key: CallKey) {
        if self.is_record(key) {
            self.set_stage(key, Stage::Away);
        }
    }

    /// The record is back in memory.
    pub(crate) fn note_back(&mut self, key: CallKey) {
        if self.mark(key).is_some_and(|mark| mark.stage == Stage::Away) {
            self.set_stage(key, Stage::Busy);
        }
    }

    /// A call that is to be fetched so that it can cross, while fewer than `ahead` are ready to.
    pub(crate) fn first_away(&self, ahead: usize) -> Option<CallKey> {
        let may_go = self.is_alive && !self.is_stopped;
        let has_room = self.ready.len() + self.settling.len() < ahead;
        self.away.first().copied().filter(|_| may_go && has_room)
    }

    /// A call whose turn is next to be looked at, of those that the site has lost.
    pub(crate) fn first_behind(&self) -> Option<CallKey> {
        let may_go = self.is_alive && !self.is_stopped;
        self.behind.first().copied().filter(|_| may_go)
    }

    pub(crate) fn is_removal(&self, key: CallKey) -> bool {
        self.mark(key).is_some_and(|mark| mark.what != What::Record)
    }

    pub(crate) fn first_settling(&self) -> Option<(Instant, CallKey)> {
        self.settling.first().copied()
    }

    pub(crate) fn first_ready(&self) -> Option<(Instant, CallKey)> {
        self.ready.first().copied()
    }

    /// When the next batch may leave; `None` while only an input can help.
    pub(crate) fn batch_at(
        &self,
        batch_after: Duration,
        bytes_max: usize,
        flights_max: usize,
    ) -> Option<Instant> {
        if !self.is_alive || self.is_stopped || self.flights.len() >= flights_max {
            return None;
        }
        let (oldest, _) = self.first_ready()?;
        let at = if self.ready_bytes >= bytes_max { oldest } else { oldest + batch_after };
        Some(at.max(self.not_before))
    }

    /// A batch whose time is over, and whether its sender never said what is in it.
    pub(crate) fn first_overdue(&self, now: Instant) -> Option<(u64, bool)> {
        let overdue = self.flights.iter().find(|(_, flight)| flight.due_at <= now);
        overdue.map(|(id, flight)| (*id, flight.shipping.is_some()))
    }

    /// When the first batch is given up.
    pub(crate) fn overdue_at(&self) -> Option<Instant> {
        self.flights.values().map(|flight| flight.due_at).min()
    }

    pub(crate) fn note_bytes(&mut self, bytes: u64, raw_bytes: u64) {
        self.stats.bytes += bytes;
        self.stats.raw_bytes += raw_bytes;
    }

    /// The entries of a batch are to be sent again, unless something newer came meanwhile. How many
    /// states of calls are.
    pub(crate) fn fail_flight(&mut self, now: Instant, batch: u64) -> u64 {
        let Some(flight) = self.flights.remove(&batch) else {
            return 0;
        };
        self.stats.refused += 1;
        let mut again = 0;
        for (key, _) in flight.entries {
            if self.is_in_flight(key, batch) {
                self.set_stage(key, Stage::Ready { at: now, bytes: 0 });
                again += u64::from(self.is_record(key));
            }
        }
        again
    }

    pub(crate) fn is_in_flight(&self, key: CallKey, batch: u64) -> bool {
        self.mark(key).is_some_and(|mark| mark.stage == Stage::InFlight { batch })
    }

    /// A newer put remains after an older one was acknowledged: it is at risk since `put_at`.
    pub(crate) fn set_since(&mut self, key: CallKey, put_at: Instant) {
        if let Some(mark) = self.marks.get_mut(&key) {
            mark.since = put_at;
        }
    }

    /// Answered calls that the site does not have as we have them.
    pub(crate) fn at_risk(&self) -> u64 {
        (self.marks.len() - self.removals - self.in_set_up) as u64
    }

    /// Whether an answered call has waited to cross since `at`, or for longer.
    pub(crate) fn waits_since(&self, at: Instant) -> bool {
        self.marks.values().any(|mark| mark.is_at_risk() && mark.since <= at)
    }

    pub(crate) fn stats(&self, now: Instant) -> OutboundStats {
        let at_risk = self.marks.values().filter(|mark| mark.is_at_risk());
        let oldest = at_risk.map(|mark| mark.since).min();
        OutboundStats {
            is_alive: self.is_alive,
            is_stopped: self.is_stopped,
            at_risk: self.at_risk(),
            in_set_up: self.in_set_up as u64,
            removals: self.removals as u64,
            oldest: oldest.map_or(Duration::ZERO, |since| now.since(since)),
            ready: self.ready.len() as u64,
            behind: self.behind.len() as u64,
            in_flight: self.flights.len() as u64,
            ..self.stats.clone()
        }
    }
}

impl Mark {
    /// Whether an answered call would be lost, or set back, by what is marked.
    pub(crate) fn is_at_risk(&self) -> bool {
        match self.what {
            What::Record => !self.in_set_up,
            What::Removal(_) => false,
        }
    }
}

impl Stage {
    pub(crate) fn told(self) -> MarkStage {
        match self {
            Self::Busy => MarkStage::Busy,
            Self::Settling { .. } => MarkStage::Settling,
            Self::Ready { .. } | Self::Away | Self::Behind => MarkStage::Ready,
            Self::InFlight { .. } => MarkStage::InFlight,
        }
    }
}
