//! Quarantine: a call that breaks turn after turn is set aside, ended once, and never crosses.
//!
//! ```text
//!          strike             strike, lock over            put
//!   free ────────► suspected ──────────────────► condemned ────► torn down ──► gone
//!     ▲                │                            │                 │
//!     └── a later put ─┘          no put, or Delete └──► removed ◄────┘ two more strikes
//! ```
//! A strike is a turn that panicked, which its engine tells everybody of the view, or a lock whose
//! engine's link broke before anything was put, which the primary sees and tells the others. Each
//! lock counts once, so both may be said again. A put of a later lock is a healthy turn and ends
//! the suspicion. No engine is given a condemned call but for `Cause::Quarantined`, once.
//!
//! A call that sleeps here for another site is not ended: it is removed without a tombstone, as
//! its home may have a better version, which then lifts the quarantine.

mod kept;
mod suspects;

use std::time::Duration;

use tier_protocol::quarantine::{beginning, shortened};
use tier_protocol::{Cause, PeerWord, Reply, SetAside, Strike, StrikeKind, Tombstone};
use vocab::{CallKey, EngineId, Instant, LockToken, ReplicaId, Stamp, Version};

use crate::Replica;
use crate::lock::Ending;
use crate::store::{Lock, Sentence, Waiter};

pub(crate) use kept::Quarantine;
pub(crate) use suspects::Suspects;

/// Strikes in a row that condemn a call.
pub(crate) const STRIKES_MAX: usize = 2;

impl Replica {
    /// An engine says that a turn broke, or that it could not read an entry of a batch.
    pub(crate) fn poisoned(
        &mut self,
        now: Instant,
        engine: EngineId,
        key: CallKey,
        strike: Strike,
    ) {
        let (what, message) = (shortened(&strike.what), beginning(&strike.message));
        let strike = Strike { engine, what, message, ..strike };
        match strike.kind {
            StrikeKind::Unreadable => {
                let (record, dormant) = (None, true);
                let aside =
                    SetAside { key, record, dormant, age: Duration::ZERO, strikes: vec![strike] };
                self.keep_aside(now, aside);
            }
            StrikeKind::Panicked | StrikeKind::Undecodable | StrikeKind::Broken => {
                self.strike(now, key, strike);
            }
        }
    }

    /// Its lock broke before anything was put: the engine may have died of it.
    pub(crate) fn note_broken(&mut self, now: Instant, key: CallKey, lock: &Lock) {
        if !self.leads() {
            return;
        }
        let strike = Strike {
            kind: StrikeKind::Broken,
            engine: lock.engine,
            token: lock.token,
            age: Duration::ZERO,
            what: "the engine was lost before it had put anything".into(),
            message: bytes::Bytes::new(),
        };
        if self.note_strike(now, key, strike.clone()) {
            self.struck.push((key, strike));
        }
    }

    fn note_strike(&mut self, now: Instant, key: CallKey, strike: Strike) -> bool {
        let call = self.store.brief(key);
        if call.is_some_and(|call| call.is_stub) {
            return false;
        }
        // Tokens of calls that sleep here were made elsewhere.
        let stamp = call.filter(|call| !call.is_dormant).map(|call| call.stamp);
        if stamp.is_some_and(|stamp| stamp.token > strike.token) {
            return false;
        }
        let is_news = self.suspects.add(now, key, strike);
        self.counts.strikes += u64::from(is_news);
        is_news
    }

    fn strike(&mut self, now: Instant, key: CallKey, strike: Strike) {
        if self.note_strike(now, key, strike) && self.leads() {
            self.judge_if_free(now, key);
        }
    }

    pub(crate) fn judge_if_free(&mut self, now: Instant, key: CallKey) {
        let is_free = self.store.get(key).is_some_and(|call| call.lock.is_none());
        if is_free && self.suspects.proven(now, key) >= STRIKES_MAX {
            self.free(now, key);
        }
    }

    /// Looks at a call whose lock is over, before anybody else gets it.
    pub(crate) fn judge(&mut self, now: Instant, key: CallKey) {
        if !self.leads() || self.suspects.proven(now, key) < STRIKES_MAX {
            return;
        }
        let call = self.store.get(key).filter(|call| call.record.is_some() && !call.is_stub);
        match call.map(|call| call.sentence) {
            Some(Sentence::None) => self.set_aside(now, key),
            Some(Sentence::Lingers) => self.remove_condemned(now, key),
            Some(Sentence::ToEnd) | None => {}
        }
    }

    /// Sets a call aside, and condemns it; one that sleeps here goes at once.
    fn set_aside(&mut self, now: Instant, key: CallKey) {
        let Some(call) = self.store.get(key) else { return };
        let strikes = self.suspects.strikes(now, key);
        let (record, dormant) = (call.aged(now), call.is_dormant);
        let aside = SetAside { key, record, dormant, age: Duration::ZERO, strikes };
        let view = self.config.view.number;
        for member in self.others_of_view() {
            self.tell_peer(member, PeerWord::Quarantined { view, aside: aside.clone() });
        }
        self.keep_aside(now, aside);
        self.condemn(key, dormant, Sentence::ToEnd);
    }

    fn condemn(&mut self, key: CallKey, dormant: bool, sentence: Sentence) {
        self.suspects.remove(key);
        if dormant {
            return self.drop_record(key);
        }
        if let Some(call) = self.store.get_mut(key) {
            call.sentence = sentence;
            // Its effects would be those of a turn that is not to be gone on with.
            call.unreleased = false;
            call.not_before = Instant(0);
        }
        self.outbound.values_mut().for_each(|outbound| outbound.remove_record(key));
    }

    fn keep_aside(&mut self, now: Instant, aside: SetAside) {
        let count = match aside.kind() {
            StrikeKind::Panicked => &mut self.counts.quarantined_panicked,
            StrikeKind::Undecodable => &mut self.counts.quarantined_undecodable,
            StrikeKind::Broken => &mut self.counts.quarantined_broken,
            StrikeKind::Unreadable => &mut self.counts.quarantined_unreadable,
        };
        *count += 1;
        self.counts.quarantine_lost += self.quarantine.insert(now, aside);
    }

    /// The lock under which an engine was to end a condemned call is over, and it did not.
    pub(crate) fn note_not_ended(&mut self, now: Instant, key: CallKey, lock: &Lock, how: Ending) {
        let was_to_end = self.store.get(key).is_some_and(|call| call.sentence == Sentence::ToEnd);
        if how != Ending::Deleted && lock.cause == Cause::Quarantined && !lock.has_put && was_to_end
        {
            self.remove_condemned(now, key);
        }
    }

    /// Removes a call that no engine could end: nobody hears of it but the sites that may know it.
    fn remove_condemned(&mut self, now: Instant, key: CallKey) {
        let Some(held) = self.store.get(key).and_then(|call| call.stamp()) else { return };
        self.tokens += 1;
        let token = LockToken { view: self.config.view.number, counter: self.tokens };
        let stamp = Stamp { token, version: Version(held.version.0 + 1), ..held };
        let (view, tombstone) = (self.config.view.number, Tombstone { key, stamp });
        self.counts.condemned_removed += 1;
        self.suspects.remove(key);
        self.remove_for_good(now, tombstone);
        for member in self.others_of_view() {
            self.tell_peer(member, PeerWord::Removed { view, tombstone });
        }
    }

    /// Whether a call that begins is refused: beginning it has broken engines, lately.
    pub(crate) fn refuses_to_begin(&mut self, now: Instant, key: CallKey) -> bool {
        if self.suspects.count(key) < STRIKES_MAX {
            return false;
        }
        let lately = self.config.pace.begin_refused_for;
        let is_late = self.suspects.last_at(key).is_none_or(|at| at + lately <= now);
        if is_late {
            self.suspects.remove(key);
            return false;
        }
        self.counts.begins_refused += 1;
        true
    }

    /// Answers an ask for a free, condemned call: the asking engine ends it.
    pub(crate) fn ask_for_condemned(&mut self, now: Instant, key: CallKey, waiter: Waiter) -> bool {
        self.judge_if_free(now, key);
        let condemned = self.store.get(key).is_some_and(|call| {
            call.lock.is_none() && call.sentence == Sentence::ToEnd && call.record.is_some()
        });
        if condemned {
            self.grant(now, key, waiter.engine, Cause::Quarantined, None);
        }
        condemned
    }

    pub(crate) fn refuse_to_begin(&mut self, key: CallKey, waiter: Waiter) {
        let Waiter { engine, turn, begins: _, cached: _ } = waiter;
        self.reply(engine, Reply::Quarantined { key, turn });
    }

    /// A better version of a call came from another site.
    pub(crate) fn lift(&mut self, key: CallKey) {
        self.suspects.remove(key);
        if self.quarantine.is_liftable(key) && self.quarantine.remove(key) {
            self.counts.quarantine_lifted += 1;
        }
    }

    fn others_of_view(&self) -> Vec<ReplicaId> {
        let me = self.config.replica;
        self.config.view.everybody().filter(|replica| *replica != me).collect()
    }

    /// Tells the other members which locks broke.
    pub(crate) fn tell_strikes(&mut self) {
        if self.struck.is_empty() {
            return;
        }
        let (view, strikes) = (self.config.view.number, std::mem::take(&mut self.struck));
        for member in self.others_of_view() {
            self.tell_peer(member, PeerWord::Struck { view, strikes: strikes.clone() });
        }
    }

    /// A joiner begins its copy: it hears of everything that is set aside or suspected.
    pub(crate) fn tell_joiner(&mut self, now: Instant, joiner: ReplicaId) {
        let view = self.config.view.number;
        for aside in self.quarantine.all(now) {
            self.tell_peer(joiner, PeerWord::Quarantined { view, aside });
        }
        let of = |key: CallKey| self.suspects.strikes(now, key).into_iter().map(move |s| (key, s));
        let strikes: Vec<_> = self.suspects.keys().into_iter().flat_map(of).collect();
        if !strikes.is_empty() {
            self.tell_peer(joiner, PeerWord::Struck { view, strikes });
        }
    }

    pub(crate) fn peer_struck(&mut self, now: Instant, strikes: Vec<(CallKey, Strike)>) {
        for (key, strike) in strikes {
            self.note_strike(now, key, strike);
        }
    }

    /// The primary has set a call aside.
    pub(crate) fn peer_quarantined(&mut self, now: Instant, aside: SetAside) {
        let (key, dormant) = (aside.key, aside.dormant);
        let stamp = aside.record.as_ref().map(|record| record.header.stamp);
        self.keep_aside(now, aside);
        let Some(call) = self.store.get(key) else { return };
        let (Some(stamp), Some(held)) = (stamp, call.stamp()) else { return };
        let is_it = stamp.epoch == held.epoch && call.is_dormant == dormant;
        if !is_it || (dormant && held != stamp) {
            return;
        }
        // What it was ended with may have come before this word.
        let sentence = if held == stamp { Sentence::ToEnd } else { Sentence::Lingers };
        self.condemn(key, dormant, sentence);
        if self.store.get(key).is_some_and(|call| call.lock.is_none()) {
            self.free(now, key);
        }
    }

    /// The primary has removed a call that no engine could end.
    pub(crate) fn peer_removed(&mut self, now: Instant, tombstone: Tombstone) {
        let Tombstone { key, stamp } = tombstone;
        let held = self.store.get(key).and_then(|call| call.stamp());
        if held.is_some_and(|held| held.epoch == stamp.epoch && held < stamp) {
            self.note_removed_while_joining(tombstone);
            self.remove_for_good(now, tombstone);
            match self.store.get(key).map(|call| call.lock.is_some()) {
                Some(true) => self.end_lock(now, key, Ending::Deleted),
                Some(false) => self.free(now, key),
                None => {}
            }
        }
    }

    /// An operator has looked at it; everything when no call is named. The other members hear it.
    pub(crate) fn drop_quarantined(&mut self, key: Option<CallKey>) {
        let keys = key.map_or_else(|| self.quarantine.keys(), |key| vec![key]);
        self.peer_dropped(&keys);
        let view = self.config.view.number;
        for member in self.others_of_view() {
            let keys = keys.clone();
            self.tell_peer(member, PeerWord::QuarantineDropped { view, keys });
        }
    }

    pub(crate) fn peer_dropped(&mut self, keys: &[CallKey]) {
        for key in keys {
            self.counts.quarantine_dropped += u64::from(self.quarantine.remove(*key));
        }
    }

    /// This replica leads from here on: what the one before it had not judged is judged.
    pub(crate) fn judge_all(&mut self, now: Instant) {
        for key in self.suspects.keys() {
            self.judge_if_free(now, key);
        }
    }

    /// Everything that is set aside, by rising key.
    #[must_use]
    pub fn quarantined(&self, now: Instant) -> Vec<SetAside> {
        self.quarantine.all(now)
    }

    /// What is kept of one call that is set aside.
    #[must_use]
    pub fn quarantined_call(&self, now: Instant, key: CallKey) -> Option<SetAside> {
        self.quarantine.get(now, key)
    }
}
