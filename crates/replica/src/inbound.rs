//! Records and removals from other sites: what wins when two copies of a call meet.
//!
//! The higher epoch wins, then the higher stamp of the same epoch; a tombstone counts as the
//! newest version of its epoch. Applying anything twice, or late, changes nothing.
//!
//! Stamps of one epoch are made at its home and compare, with one exception: the version by which
//! a call was given back was made by the giver, with a token of the giver's. If its home woke the
//! call by itself meanwhile, as behind a cut, the two are unrelated, and the home's word counts.

use tier_protocol::{DormantOutcome, Record, RecordHeader, Tombstone};
use vocab::{CallKey, Epoch, Instant, LockToken, Stamp, Version};

use crate::Replica;
use crate::store::Row;

/// Schema number of a stub: a record without content, which says only where the call lives.
pub(crate) const STUB_SCHEMA: u32 = 0;

impl Replica {
    pub(crate) fn store_dormant(&mut self, now: Instant, record: Record) -> DormantOutcome {
        self.on_spilled(record.header.key, |replica| replica.store_newer(now, record))
    }

    fn store_newer(&mut self, now: Instant, record: Record) -> DormantOutcome {
        let (key, stamp) = (record.header.key, record.header.stamp);
        if self.tombs.stamp(key).is_some_and(|removed| removed >= stamp) {
            return DormantOutcome::Stale;
        }
        if self.quarantine.has_as_new(key, stamp) {
            return DormantOutcome::Stale;
        }
        let Some(call) = self.store.get(key) else {
            let limits = &self.config.limits;
            let bytes = self.store.bytes.saturating_add(record.body_bytes());
            if self.store.len() >= limits.calls_max || bytes > limits.bytes_max {
                return DormantOutcome::Full;
            }
            self.take_in(now, record);
            return DormantOutcome::Stored;
        };
        // Without a record there is only the lock of a call that begins. Its holder's put is then
        // refused as not made from the newest.
        if let Some(held) = call.stamp() {
            if held.epoch > stamp.epoch {
                self.note_known(now, key);
                return DormantOutcome::Superseded { held: held.epoch };
            }
            if held == stamp && !call.is_stub {
                return DormantOutcome::Stored;
            }
            let is_newest = call.is_active() || (!call.is_stub && !call.is_given && held > stamp);
            if held.epoch == stamp.epoch && is_newest {
                // Nobody else may write a call that is active here in its own epoch.
                return DormantOutcome::Stale;
            }
            self.counts.yielded += u64::from(call.is_active());
        }
        self.take_in(now, record);
        DormantOutcome::Stored
    }

    fn take_in(&mut self, now: Instant, record: Record) {
        let (key, stamp, keeper) = (record.header.key, record.header.stamp, record.header.backup);
        self.lift(key);
        self.replace(now, record, false);
        self.void_copy_of_giver(now, Tombstone { key, stamp }, keeper);
    }

    pub(crate) fn store_tombstone(&mut self, now: Instant, tombstone: Tombstone) -> DormantOutcome {
        self.on_spilled(tombstone.key, |replica| replica.bury(now, tombstone))
    }

    fn bury(&mut self, now: Instant, tombstone: Tombstone) -> DormantOutcome {
        let Tombstone { key, stamp } = tombstone;
        let epoch = tombstone.epoch();
        let held = self.store.get(key).and_then(|call| {
            let held = call.stamp()?;
            let yields = call.is_stub || call.is_given;
            Some((held, yields, call.is_active(), call.activated_from))
        });
        let Some((held, yields, is_active, activated_from)) = held else {
            self.keep_tombstone(tombstone);
            return DormantOutcome::Stored;
        };
        if held.epoch < epoch || (held.epoch == epoch && (yields || held <= stamp) && !is_active) {
            self.keep_tombstone(tombstone);
            self.counts.in_removed += 1;
            self.drop_record(key);
            self.free_if_unlocked(now, key);
            return DormantOutcome::Stored;
        }
        if held.epoch == epoch {
            return DormantOutcome::Stale;
        }
        if is_active && activated_from == Some(epoch) {
            // The call had ended at its old home when it was taken over here: nobody is left to
            // talk to, so it goes without a word to its parties.
            if let Some(call) = self.store.get_mut(key) {
                call.ends_when_free = true;
            }
            self.free_if_unlocked(now, key);
            return DormantOutcome::Stored;
        }
        self.note_known(now, key);
        DormantOutcome::Superseded { held: held.epoch }
    }

    pub(crate) fn keep_tombstone(&mut self, tombstone: Tombstone) {
        if let Some(lost) = self.tombs.insert(tombstone) {
            for outbound in self.outbound.values_mut().filter(|site| site.is_removal(lost)) {
                outbound.remove(lost);
                self.counts.tombstones_lost += 1;
            }
        }
    }

    /// The removal of a call that its old home had ended. It crosses as a removal of ours.
    pub(crate) fn end_as_old_home_did(&mut self, now: Instant, key: CallKey) {
        let Some(held) = self.store.get(key).and_then(|call| call.stamp()) else {
            return;
        };
        self.tokens += 1;
        let token = LockToken { view: self.config.view.number, counter: self.tokens };
        let version = Version(held.version.0 + 1);
        let stamp = Stamp { epoch: held.epoch, token, version };
        self.counts.ended_by_old_home += 1;
        self.remove_for_good(now, Tombstone { key, stamp });
    }

    /// The call lives elsewhere under `epoch`: what is held of a lower one gives way to a stub.
    pub(crate) fn note_away(&mut self, now: Instant, key: CallKey, epoch: Epoch) {
        self.on_spilled(key, |replica| replica.give_way(now, key, epoch));
    }

    fn give_way(&mut self, now: Instant, key: CallKey, epoch: Epoch) {
        if self.tombs.stamp(key).is_some_and(|removed| removed.epoch >= epoch)
            || epoch.site == self.config.here
        {
            return;
        }
        let held = self.store.get(key);
        if held.is_none() && self.store.len() >= self.config.limits.calls_max {
            self.counts.in_full += 1;
            return;
        }
        if held.and_then(|call| call.stamp()).is_some_and(|held| held.epoch >= epoch) {
            return;
        }
        self.counts.yielded += u64::from(held.is_some_and(|call| call.is_active()));
        let stub = self.stub(key, epoch);
        self.replace(now, stub, true);
    }

    fn stub(&self, key: CallKey, epoch: Epoch) -> Record {
        let header = RecordHeader {
            key,
            stamp: Stamp { epoch, token: LockToken::default(), version: Version::default() },
            origin: self.config.here,
            backup: None,
            schema: STUB_SCHEMA,
            age: std::time::Duration::ZERO,
            deadline: None,
            crossing_deadline: None,
            hints: Vec::new(),
            crossed: Vec::new(),
        };
        Record { header, crossing: bytes::Bytes::new(), local: bytes::Bytes::new() }
    }

    /// Takes over a record that was not put here: it sleeps, and whatever was to happen to the
    /// copy before it is forgotten. A holder keeps the lock, but its base is no longer the newest.
    fn replace(&mut self, now: Instant, record: Record, is_stub: bool) {
        let key = record.header.key;
        let row = self.row_of(key, record.header.stamp);
        self.drop_record(key);
        let call = match self.store.get(key) {
            Some(_) => self.store.get_mut(key),
            None => Some(self.store.insert(key)),
        };
        if let Some(call) = call {
            call.record = Some(record);
            call.row = row;
            call.put_at = now;
            call.touched_at = now;
            call.is_dormant = true;
            call.is_stub = is_stub;
            call.known_elsewhere = true;
            // Only such calls cross.
            call.was_at_boundary = true;
            call.broken_locks = 0;
            call.not_before = Instant(0);
        }
        self.store.reindex(key);
        self.free_if_unlocked(now, key);
    }

    /// What the database has of a call that `stamp` is about to replace. It stays if the next store
    /// replaces it.
    fn row_of(&mut self, key: CallKey, stamp: Stamp) -> Row {
        let call = self.store.get_mut(key).filter(|call| call.stamp() < Some(stamp));
        match call.map(|call| std::mem::take(&mut call.row)) {
            None | Some(Row::None) => Row::None,
            Some(Row::MayBe | Row::Holds) => Row::MayBe,
        }
    }

    fn free_if_unlocked(&mut self, now: Instant, key: CallKey) {
        if self.store.get(key).is_some_and(|call| call.lock.is_none()) {
            self.free(now, key);
        }
    }

    /// Counts what became of a record, or of a removal, of this stamp.
    pub(crate) fn note_outcome(&mut self, stamp: Stamp, outcome: DormantOutcome) {
        let of_home = self.inbound.entry(stamp.epoch.site).or_default();
        match outcome {
            DormantOutcome::Stored => {
                of_home.stored += 1;
                self.counts.in_stored += 1;
            }
            DormantOutcome::Stale => {
                of_home.stale += 1;
                self.counts.in_stale += 1;
            }
            DormantOutcome::Superseded { .. } => {
                of_home.superseded += 1;
                self.counts.in_superseded += 1;
            }
            DormantOutcome::Full => {
                of_home.no_room += 1;
                self.counts.in_full += 1;
            }
        }
    }
}
