//! Rows that nobody needs any more: of calls that are gone, and of a partition's earlier life.
//!
//! A row is removed when every replica of the view has said that it does not need it. The primary
//! may know that a call is over before the others do; were the row removed at once, and the
//! primary then lost, the next one would look for it in vain. While a call lives its row stays,
//! however old: the next store replaces it.
//!
//! What is not removed, as after a crash, does no harm: rows are asked for by stamp. It goes when
//! the partition is founded anew, before the first row of the new life is written.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tier_protocol::PeerWord;
use vocab::{CallKey, Instant, ReplicaId, Stamp, ViewNumber};

use crate::Replica;
use crate::config::Config;
use crate::database::DatabaseAsk;
use crate::store::Row;

/// Rows that the replicas are asked about at a time.
const ROUND_MAX: usize = 256;
/// A round in which somebody says nothing for this long begins anew.
const ROUND_WAIT: Duration = Duration::from_secs(2);

/// Whether rows of an earlier life may be there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Clear {
    #[default]
    Done,
    /// They are to be removed, as of the view in which the partition began.
    Wanted(ViewNumber),
    Asked(ViewNumber, Instant),
}

/// Rows that everybody is asked about.
#[derive(Debug)]
struct Round {
    calls: BTreeMap<CallKey, Stamp>,
    waiting: BTreeSet<ReplicaId>,
    view: ViewNumber,
    ends_at: Instant,
}

/// Rows that are to go.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    gone: BTreeMap<CallKey, Stamp>,
    round: Option<Round>,
    next_at: Instant,
    clear: Clear,
}

impl Rows {
    pub(crate) fn new(config: &Config) -> Self {
        // A replica in a fixed view has no calls at its start; others learn when they found one.
        let founds = config.shared.is_none() && config.view.primary() == Some(config.replica);
        let clear = if founds { Clear::Wanted(config.view.number) } else { Clear::Done };
        Self { clear, ..Self::default() }
    }

    /// Whether no row of an earlier life can be mistaken for one of this.
    pub(crate) fn is_clear(&self) -> bool {
        self.clear == Clear::Done
    }

    /// Whether a row of the key is to be removed. Nothing is stored in its place before that.
    pub(crate) fn is_going(&self, key: CallKey) -> bool {
        let is_asked = self.round.as_ref().is_some_and(|round| round.calls.contains_key(&key));
        is_asked || self.gone.contains_key(&key)
    }

    pub(crate) fn len(&self) -> usize {
        self.gone.len() + self.round.as_ref().map_or(0, |round| round.calls.len())
    }

    fn give_up_round(&mut self, next_at: Instant) {
        if let Some(round) = self.round.take() {
            self.gone.extend(round.calls);
            self.next_at = next_at;
        }
    }
}

impl Replica {
    /// The partition begins in this view, without a call: whatever the database has is of before.
    pub(crate) fn found_rows(&mut self) {
        self.spilling.rows.clear = Clear::Wanted(self.config.view.number);
    }

    /// The rows from before the view are gone. An ask of an earlier life may be answered late.
    pub(crate) fn rows_cleared(&mut self, view: ViewNumber) {
        let of = match self.spilling.rows.clear {
            Clear::Done => return,
            Clear::Wanted(of) | Clear::Asked(of, _) => of,
        };
        if of == view {
            self.spilling.rows.clear = Clear::Done;
        }
    }

    pub(crate) fn rows_not_cleared(&mut self) {
        if let Clear::Asked(view, _) = self.spilling.rows.clear {
            self.spilling.rows.clear = Clear::Wanted(view);
        }
    }

    /// A record goes, and the database may have a row of it.
    pub(crate) fn note_row_gone(&mut self, key: CallKey, stamp: Stamp) {
        let is_ours = self.leads() && self.config.view.slots.contains(key.slot());
        if !is_ours || !self.spilling.is_on {
            return;
        }
        let rows = &mut self.spilling.rows;
        if rows.len() >= self.spilling.settings.removes_max && !rows.gone.contains_key(&key) {
            self.counts.removes_lost += 1;
            return;
        }
        let gone = rows.gone.entry(key).or_insert(stamp);
        *gone = stamp.max(*gone);
    }

    /// Whether this replica would miss a row of the call up to the stamp.
    fn needs_row(&self, key: CallKey, stamp: Stamp) -> bool {
        let spilled = self.store.spilled.get(key);
        let is_held = self.store.get(key).is_some_and(|call| match call.row {
            Row::Holds => call.stamp().is_some_and(|held| held <= stamp),
            Row::None | Row::MayBe => false,
        });
        is_held
            || spilled.is_some_and(|spilled| spilled.stamp() <= stamp)
            || self.spilling.storing.contains(key)
    }

    pub(crate) fn run_rows(&mut self, now: Instant) {
        if !self.leads() || !self.spilling.may_ask() || self.spilling.not_before > now {
            return;
        }
        match self.spilling.rows.clear {
            Clear::Done => {}
            Clear::Wanted(of) => {
                self.spilling.rows.clear = Clear::Asked(of, now);
                let slots = self.config.view.slots;
                return self.ask_database(|_| DatabaseAsk::Clear { slots, view: of });
            }
            Clear::Asked(of, at) if at + self.spilling.settings.answer_wait <= now => {
                self.spilling.rows.clear = Clear::Wanted(of);
                return;
            }
            Clear::Asked(..) => return,
        }
        let view = self.config.view.number;
        let rows = &mut self.spilling.rows;
        if rows.round.as_ref().is_some_and(|round| round.view != view || round.ends_at <= now) {
            rows.give_up_round(now + self.config.pace.retry_after);
        }
        if rows.round.is_none() && !rows.gone.is_empty() && rows.next_at <= now {
            self.begin_round(now, view);
        }
        self.end_round();
    }

    fn begin_round(&mut self, now: Instant, view: ViewNumber) {
        let mut calls = BTreeMap::new();
        while calls.len() < ROUND_MAX
            && let Some((key, stamp)) = self.spilling.rows.gone.pop_first()
        {
            // Those who took a slot over may not have heard of the end.
            let is_ours = self.config.view.slots.contains(key.slot());
            if is_ours && !self.needs_row(key, stamp) {
                calls.insert(key, stamp);
            }
        }
        let waiting = self.others_in_view();
        for other in &waiting {
            let calls = calls.iter().map(|(key, stamp)| (*key, *stamp)).collect();
            self.tell_peer(*other, PeerWord::RowsAsk { view, calls });
        }
        let ends_at = now + ROUND_WAIT;
        self.spilling.rows.round = Some(Round { calls, waiting, view, ends_at });
    }

    /// Removes what nobody needs, when everybody has said so.
    fn end_round(&mut self) {
        let Some(round) = self.spilling.rows.round.take_if(|round| round.waiting.is_empty()) else {
            return;
        };
        let rows = round.calls.into_iter().filter(|(key, stamp)| !self.needs_row(*key, *stamp));
        let rows: Vec<_> = rows.collect();
        if !rows.is_empty() {
            self.counts.rows_removed += rows.len() as u64;
            self.ask_database(|view| DatabaseAsk::Remove { view, rows });
        }
    }

    /// The primary asks what is needed of these.
    pub(crate) fn rows_asked(&mut self, from: ReplicaId, calls: Vec<(CallKey, Stamp)>) {
        if self.config.view.primary() != Some(from) {
            return;
        }
        let (view, mut calls) = (self.config.view.number, calls);
        calls.retain(|(key, stamp)| !self.needs_row(*key, *stamp));
        self.tell_peer(from, PeerWord::RowsFree { view, calls });
    }

    /// A member does not need these.
    pub(crate) fn rows_free(&mut self, now: Instant, from: ReplicaId, calls: &[(CallKey, Stamp)]) {
        let rows = &mut self.spilling.rows;
        let Some(round) = &mut rows.round else {
            return;
        };
        if !round.waiting.remove(&from) {
            return;
        }
        let free: BTreeMap<CallKey, Stamp> = calls.iter().copied().collect();
        let needed: Vec<_> =
            round.calls.extract_if(.., |key, stamp| free.get(key) != Some(stamp)).collect();
        if !needed.is_empty() {
            // Its word of the end is still on its way.
            rows.next_at = now + self.config.pace.retry_after;
            rows.gone.extend(needed);
        }
    }

    /// When rows are to be removed, or asked about again.
    pub(crate) fn rows_at(&self) -> Option<Instant> {
        let (spilling, rows) = (&self.spilling, &self.spilling.rows);
        if !self.leads() || !spilling.may_ask() {
            return None;
        }
        let at = match (rows.clear, &rows.round) {
            (Clear::Wanted(_), _) => Some(Instant(0)),
            (Clear::Asked(_, at), _) => Some(at + spilling.settings.answer_wait),
            (Clear::Done, Some(round)) => Some(round.ends_at),
            (Clear::Done, None) => (!rows.gone.is_empty()).then_some(rows.next_at),
        };
        at.map(|at| at.max(spilling.not_before))
    }
}
