//! Long-lived state leaves memory: a record that is steady for long goes to the database, and what
//! its call needs to be found, compared and woken in time stays here.
//!
//! ```text
//!            rest                            fetch
//!  in memory ───► row stored ───► spilled ─────────► in memory, its row still there
//!                    (primary)       ▲ "spilled"        │ a later rest writes no row
//!                                followers, too         ▼ unless a put came
//! ```
//! - Only the primary writes rows, and it lets go of a record when the very stamp that it holds is
//!   durable. Then it tells the others, who let go of the same stamp.
//! - A put happens under a lock, so at the primary on a record that is back in memory; a follower's
//!   spilled call is replaced by it. The row that is left is older than any stamp that is known,
//!   and the next store replaces it. So a crash at any point leaves the newest put in memory, or in
//!   the row that is asked for.
//! - The database may be slow or away: what is in memory goes on, and stays there.

mod ending;
pub(crate) mod fetch;
pub(crate) mod hollow;
pub(crate) mod rest;
pub(crate) mod rows;
pub(crate) mod table;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use tier_protocol::{PeerWord, SpilledCall, Tombstone};
use vocab::{CallKey, EngineId, Instant, ReplicaId, Stamp, ViewNumber};

use crate::Replica;
use crate::config::{Config, Spill};
use crate::database::{DatabaseAsk, DatabaseWord, Refused};
use crate::door::Output;
use crate::pace::Pacer;
use crate::spill::fetch::Fetches;
use crate::spill::rest::InFlight;
use crate::spill::rows::Rows;
use crate::spill::table::{Parts, Spilled};
use crate::stats::SpillStats;

/// Calls that one word between replicas is about.
const TOLD_MAX: usize = 1_024;
/// What one spilled call takes in memory at most, in all structures together: measured by the
/// test `ram` of this crate.
const SPILLED_BYTES: usize = 200;

/// Everything about records that are in the database, or on their way there or back.
#[derive(Debug)]
pub(crate) struct Spilling {
    settings: Spill,
    /// A database is configured.
    is_on: bool,
    is_away: bool,
    /// Nothing is written before this, after a refusal.
    not_before: Instant,
    /// Nothing is read before this.
    fetch_not_before: Instant,
    rest: BTreeSet<(Instant, CallKey)>,
    pacer: Pacer,
    storing: InFlight,
    pub(crate) fetches: Fetches,
    rows: Rows,
    lost_last: Option<CallKey>,
    /// Of a follower: removals that wait for their `Unlock`. Their calls are spilled.
    ending: BTreeMap<CallKey, (EngineId, Tombstone)>,
    /// Words that wait until the view is certain; as many as were asked for at most.
    kept: VecDeque<DatabaseWord>,
}

impl Spilling {
    pub(crate) fn new(config: &Config) -> Self {
        let settings = config.spill.clone().unwrap_or_default();
        Self {
            is_on: config.spill.is_some(),
            is_away: false,
            not_before: Instant(0),
            fetch_not_before: Instant(0),
            rest: BTreeSet::new(),
            pacer: Pacer::new(settings.per_s),
            storing: InFlight::default(),
            fetches: Fetches::default(),
            rows: Rows::new(config),
            lost_last: None,
            ending: BTreeMap::new(),
            kept: VecDeque::new(),
            settings,
        }
    }

    /// Whether the database is there to be asked.
    fn may_ask(&self) -> bool {
        self.is_on && !self.is_away
    }

    /// Turns that wait for a row.
    pub(crate) fn waiters(&self) -> usize {
        self.fetches.waiters
    }
}

impl Replica {
    pub(crate) fn database_says(&mut self, now: Instant, word: DatabaseWord) {
        if self.is_mute() {
            // What follows may answer engines.
            self.spilling.kept.push_back(word);
            return;
        }
        let again_at = now + self.config.pace.retry_after;
        match word {
            DatabaseWord::Stored { rows } => self.rows_stored(now, rows),
            DatabaseWord::Fetched { key, asked, row } => self.row_fetched(now, key, asked, row),
            DatabaseWord::Cleared { view } => self.rows_cleared(view),
            DatabaseWord::Refused(Refused::Store { keys }) => {
                self.counts.rows_refused += keys.len() as u64;
                self.spilling.not_before = again_at;
                self.rows_not_stored(again_at, &keys);
            }
            DatabaseWord::Refused(Refused::Fetch { key }) => {
                self.counts.rows_refused += 1;
                self.spilling.fetch_not_before = again_at;
                self.row_not_fetched(key);
            }
            DatabaseWord::Refused(Refused::Remove) => self.counts.removes_lost += 1,
            DatabaseWord::Refused(Refused::Clear) => {
                self.counts.rows_refused += 1;
                self.spilling.not_before = again_at;
                self.rows_not_cleared();
            }
            DatabaseWord::Away => self.spilling.is_away = true,
            DatabaseWord::Back => {
                self.spilling.is_away = false;
                self.spilling.not_before = now;
                self.spilling.fetch_not_before = now;
            }
        }
    }

    fn ask_database(&mut self, ask: impl FnOnce(ViewNumber) -> DatabaseAsk) {
        self.out.push_back(Output::Database(ask(self.config.view.number)));
    }

    /// What time, or the words of this input, let happen.
    pub(crate) fn run_spill(&mut self, now: Instant) {
        if self.is_mute() || self.membership.is_expelled {
            return;
        }
        while let Some(word) = self.spilling.kept.pop_front() {
            self.database_says(now, word);
        }
        self.end_waits(now);
        self.run_rows(now);
        self.ask_rows(now);
        if self.leads() {
            self.fetch_due(now);
            self.fetch_marked(now);
            self.end_stores(now);
        }
        self.end_rests(now);
    }

    /// Gives up stores without an answer.
    fn end_stores(&mut self, now: Instant) {
        let wait = self.spilling.settings.answer_wait;
        while let Some((_, key)) = self.spilling.storing.first().filter(|(at, _)| *at + wait <= now)
        {
            self.counts.rows_refused += 1;
            self.rows_not_stored(now + self.config.pace.retry_after, &[key]);
        }
    }

    pub(crate) fn spill_at(&self) -> Option<Instant> {
        let wait = self.spilling.settings.answer_wait;
        let stored = self.spilling.storing.first().map(|(at, _)| at + wait);
        let stored = stored.filter(|_| self.leads());
        [self.rest_at(), self.fetch_at(), self.rows_at(), stored].into_iter().flatten().min()
    }

    /// The others may let go of these as well.
    fn tell_spilled(&mut self, calls: Vec<(CallKey, Stamp)>) {
        let (others, view) = (self.others_in_view(), self.config.view.number);
        for run in calls.chunks(TOLD_MAX) {
            for other in &others {
                self.tell_peer(*other, PeerWord::Spilled { view, calls: run.to_vec() });
            }
        }
    }

    fn ask_spilled(&mut self, calls: Vec<(CallKey, Stamp)>) {
        let (view, primary) = (self.config.view.number, self.config.view.primary());
        for run in calls.chunks(TOLD_MAX) {
            if let Some(primary) = primary {
                self.tell_peer(primary, PeerWord::SpilledAsk { view, calls: run.to_vec() });
            }
        }
    }

    /// The primary has let go of these.
    pub(crate) fn peer_spilled(&mut self, from: ReplicaId, calls: &[(CallKey, Stamp)]) {
        if self.config.view.primary() != Some(from) || !self.spilling.is_on {
            // Without a database of its own it could not have them back.
            return;
        }
        for (key, stamp) in calls {
            let is_same = self.store.get(*key).is_some_and(|call| {
                call.stamp() == Some(*stamp) && call.is_released() && !call.is_stub
            });
            if is_same {
                self.spill(*key);
            }
        }
    }

    /// A member asks which of these the primary has let go of.
    pub(crate) fn spilled_asked(&mut self, from: ReplicaId, mut calls: Vec<(CallKey, Stamp)>) {
        if !self.leads() {
            return;
        }
        calls.truncate(TOLD_MAX);
        calls.retain(|(key, stamp)| {
            self.store.spilled.get(*key).is_some_and(|spilled| spilled.stamp() == *stamp)
        });
        if !calls.is_empty() {
            let view = self.config.view.number;
            self.tell_peer(from, PeerWord::Spilled { view, calls });
        }
    }

    /// A spilled call as another replica needs it.
    pub(crate) fn copied_spilled(&self, now: Instant, key: CallKey) -> Option<SpilledCall> {
        let Parts { stamp, digest, due_at, origin, activated_from, state } =
            self.store.spilled.get(key)?.parts();
        let marks = self.outbound.iter().filter(|(_, outbound)| outbound.is_record(key));
        Some(SpilledCall {
            key,
            stamp,
            due_in: due_at.map(|at| at.since(now)),
            digest,
            state,
            origin,
            activated_from,
            marks: marks.map(|(site, _)| *site).collect(),
        })
    }

    /// Puts a copied call in the place of whatever is held of it.
    pub(crate) fn install_spilled(&mut self, now: Instant, copied: SpilledCall) {
        let SpilledCall { key, stamp, due_in, digest, state, origin, activated_from, marks } =
            copied;
        self.forget(key);
        let due_at = due_in.map(|after| now + after);
        let parts = Parts { stamp, digest, due_at, origin, activated_from, state };
        self.store.spilled.insert(self.config.here, key, Spilled::new(&parts));
        self.counts.copied_in += 1;
        for site in marks {
            let outbound = self.outbound_mut(site);
            if !outbound.is_removal(key) {
                outbound.note_record(now, key, state.at_boundary, state.was_at_boundary);
                outbound.note_away(key);
            }
        }
    }

    pub(crate) fn spill_stats(&self, now: Instant) -> SpillStats {
        let spilling = &self.spilling;
        let calls = self.store.spilled.len();
        SpillStats {
            is_on: spilling.is_on,
            is_away: spilling.is_away,
            calls: calls as u64,
            ram_bytes: (calls * SPILLED_BYTES) as u64,
            ripe: self.ripe_len(now) as u64,
            storing: spilling.storing.len() as u64,
            fetching: spilling.fetches.in_flight.len() as u64,
            fetches_waiting: spilling.fetches.queued() as u64,
            removes_waiting: spilling.rows.len() as u64,
            lost_last: spilling.lost_last,
        }
    }
}
