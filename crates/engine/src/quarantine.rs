//! Calls that break turns: what the replicas are told of them, and how they are ended.
//!
//! A call in quarantine is handed out once, to be ended without its applications. If that breaks
//! too, or the record makes no sense, it is removed without a word to anybody.

use std::collections::BTreeSet;
use std::time::Duration;

use sip_message::StatusCode;
use tier_protocol::quarantine::{beginning, shortened};
use tier_protocol::{Command, PutFlags, Record, Strike, StrikeKind, Tombstone};
use vocab::{CallKey, Instant, LockToken};

use crate::engine::Engine;
use crate::held::{Grant, Held};
use crate::step::{self, Failure, Start};
use crate::turn::{Became, Storing, Turn, What};
use crate::work::Work;

impl Engine {
    /// Tells everybody of the view that a turn broke, so that no change of primary forgets it.
    pub(crate) fn tell_strike(
        &mut self,
        key: CallKey,
        grant: Grant,
        kind: StrikeKind,
        what: String,
        message: &[u8],
    ) {
        let strike = self.strike(kind, grant.token, &what, message);
        self.tell_everybody(key, |view| Command::Poisoned { view, key, strike: strike.clone() });
    }

    pub(crate) fn strike(
        &self,
        kind: StrikeKind,
        token: LockToken,
        what: &str,
        message: &[u8],
    ) -> Strike {
        let (what, message) = (shortened(what), beginning(message));
        Strike { kind, engine: self.config.engine, token, age: Duration::ZERO, what, message }
    }

    /// Ends a call that is set aside. Messages that wait for it meet what is left of it.
    pub(crate) fn tear_down(
        &mut self,
        now: Instant,
        key: CallKey,
        turn: Turn,
        grant: Grant,
        record: &Record,
    ) {
        // What was decoded before is not trusted.
        let _decoded_before = self.cache.take(key, record.header.stamp);
        let torn = step::tear_down(key, record, now, &self.config.setting);
        let (effects, form) = match torn {
            Ok(torn) => torn,
            Err(failure) => {
                self.note_failure(&failure);
                return self.remove(now, key, turn, grant, record);
            }
        };
        let stamp = self.next_stamp(&work(key, grant, record));
        let (what, call) = match form {
            Some(form) => {
                let flags = PutFlags {
                    unreleased: !effects.is_empty(),
                    // To other sites it is over, whatever lingers.
                    ended: true,
                    ..PutFlags::default()
                };
                let (record, call) = self.record(stamp, key, Some(&record.header), form);
                (What::Put { record, base: grant.base, flags }, Some(call))
            }
            None => {
                let (tombstone, base) = (Tombstone { key, stamp }, record.header.stamp);
                (What::Delete { tombstone, base }, None)
            }
        };
        let held = Held::until(stamp, effects, Vec::new());
        let (token, became, number) = (grant.token, Became::TornDown, turn.number);
        let (repeat, stored_by) = (false, BTreeSet::new());
        let storing = Storing { held, token, what, call, became, number, stored_by, repeat };
        self.store_before(now, turn, storing);
    }

    fn note_failure(&mut self, failure: &Failure) {
        match failure {
            Failure::Panicked { .. } => self.stats.panics += 1,
            Failure::Undecodable { .. } | Failure::UnknownSchema => self.stats.undecodable += 1,
            Failure::NoGhost => {}
        }
    }

    fn remove(&mut self, now: Instant, key: CallKey, turn: Turn, grant: Grant, record: &Record) {
        let stamp = self.next_stamp(&work(key, grant, record));
        let (tombstone, base) = (Tombstone { key, stamp }, record.header.stamp);
        let held = Held::until(stamp, Vec::new(), Vec::new());
        let (token, what, call) = (grant.token, What::Delete { tombstone, base }, None);
        let (became, number, repeat) = (Became::Removed, turn.number, false);
        let stored_by = BTreeSet::new();
        let storing = Storing { held, token, what, call, became, number, stored_by, repeat };
        self.store_before(now, turn, storing);
    }

    /// Stores before anything is done for the messages that wait: they are asked for anew then.
    fn store_before(&mut self, now: Instant, turn: Turn, storing: Storing) {
        let key = storing.what.key();
        self.store(now, storing, turn.refusals);
        if let Some(mut storing) = self.take_turn(key) {
            storing.arrivals = turn.arrivals;
            self.keep_turn(key, storing);
        }
    }

    /// Whatever begins this call has broken engines.
    pub(crate) fn on_quarantined(&mut self, key: CallKey, number: u64) {
        if let Some(turn) = self.take_asking(key, number) {
            self.stats.refused_poison += turn.arrivals.len() as u64;
            for arrival in &turn.arrivals {
                self.refuse(arrival, StatusCode::SERVER_INTERNAL_ERROR);
            }
        }
    }
}

fn work<'a>(key: CallKey, grant: Grant, record: &'a Record) -> Work<'a> {
    Work { key, grant, start: Start::Active(record), due: false, resume: false }
}
