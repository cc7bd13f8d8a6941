//! A spilled call as if it were in memory, for whatever replaces it or needs no more than its
//! header: a put of the primary's, a removal, a record from another site.
//!
//! It exists within one input at most. Its record has a schema of its own, as a place without a
//! copy has, and is never sent or given to anybody.

use std::time::Duration;

use bytes::Bytes;
use tier_protocol::{Record, RecordHeader};
use vocab::{CallKey, Instant};

use crate::Replica;
use crate::copy::{set_state, state_of};
use crate::spill::table::{Parts, Spilled};
use crate::store::{Call, Row};

/// Schema number of a record of which only the header is known.
pub(crate) const HOLLOW_SCHEMA: u32 = u32::MAX;

impl Call {
    /// Only its header is here; the record is in the database.
    pub(crate) fn is_hollow(&self) -> bool {
        self.record.as_ref().is_some_and(|record| record.header.schema == HOLLOW_SCHEMA)
    }
}

/// The call, but for the sections of its record.
pub(crate) fn hollow(key: CallKey, spilled: &Spilled, now: Instant) -> Call {
    let Parts { stamp, digest: _, due_at, origin, activated_from, state } = spilled.parts();
    let left = due_at.map(|at| at.since(now));
    let header = RecordHeader {
        key,
        stamp,
        origin,
        backup: None,
        schema: HOLLOW_SCHEMA,
        age: Duration::ZERO,
        deadline: left,
        crossing_deadline: left,
        hints: Vec::new(),
        crossed: Vec::new(),
        newer: None,
    };
    let record = Record { header, crossing: Bytes::new(), local: Bytes::new() };
    let mut call = Call {
        record: Some(record),
        put_at: now,
        activated_from,
        row: Row::Holds,
        ..Call::default()
    };
    set_state(&mut call, state);
    call
}

impl Replica {
    /// Does something that may replace or remove the call. If it is spilled and still the same
    /// after that, it stays where it is.
    pub(crate) fn on_spilled<R>(&mut self, key: CallKey, change: impl FnOnce(&mut Self) -> R) -> R {
        let ending = self.spilling.ending.get(&key).copied();
        let spilled = self.unpack(key);
        let result = change(self);
        if let Some(spilled) = spilled.filter(|_| self.store.get(key).is_some_and(Call::is_hollow))
        {
            self.repack(key, &spilled);
            self.spilling.ending.extend(ending.map(|ending| (key, ending)));
        }
        result
    }

    /// Takes a spilled call into memory without its record.
    pub(crate) fn unpack(&mut self, key: CallKey) -> Option<Spilled> {
        let spilled = self.store.spilled.remove(key)?;
        self.spilling.ending.remove(&key);
        *self.store.insert(key) = hollow(key, &spilled, self.now);
        self.store.reindex(key);
        self.outbound.values_mut().for_each(|outbound| outbound.note_back(key));
        Some(spilled)
    }

    fn repack(&mut self, key: CallKey, spilled: &Spilled) {
        let Some(call) = self.store.get(key) else {
            return;
        };
        let mut parts = Parts { state: state_of(call), ..spilled.parts() };
        if parts.state.is_condemned {
            // Whoever comes to lead has it ended.
            parts.due_at = Some(self.now);
        }
        self.leave_memory(key, &Spilled::new(&parts));
    }

    /// Puts what stays in memory of the call in the place of the call.
    pub(crate) fn leave_memory(&mut self, key: CallKey, spilled: &Spilled) {
        self.unlist_rest(key);
        if let Some(call) = self.store.get_mut(key) {
            self.agenda.clear_all(&mut call.armed, key);
        }
        self.store.remove(key);
        self.store.spilled.insert(self.config.here, key, *spilled);
        self.outbound.values_mut().for_each(|outbound| outbound.note_away(key));
    }
}
