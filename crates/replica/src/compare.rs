//! Comparison: the primary finds members that hold something else than it does, and they mend it.
//!
//! A put that was refused at the primary may have been taken by others: an engine that stood still,
//! a link that was slow. What the primary holds counts, as every acknowledged put is there. Run by
//! run of keys it says a digest; a member that differs asks for the calls of the run, then for
//! those that differ. Calls that change meanwhile look different and are settled by their tokens:
//! what is held under a lock that may still be going on is kept. So is, for a while, a copy of
//! another site's call, on its way from one engine to all members.

use std::hash::Hasher;
use std::time::Duration;

use siphasher::sip::SipHasher24;
use tier_protocol::{CopiedCall, KeyRange, PeerWord, Record, SpilledCall};
use vocab::{CallKey, Instant, LockToken, ReplicaId, SiteId, Stamp};

use crate::Replica;
use crate::store::Call;

/// Calls that a member asks to have mended at a time.
pub(crate) const REPAIR_MAX: usize = 256;

/// A copy that an engine is bringing is at every member by then, or comes again with its batch.
const COPY_ARRIVES: Duration = Duration::from_secs(10);

/// Where the primary's comparison is.
#[derive(Debug, Default)]
pub(crate) struct Comparing {
    cursor: Option<CallKey>,
    next_at: Instant,
}

impl Replica {
    pub(crate) fn restart_compare(&mut self, now: Instant) {
        // Whoever is new is looked at soon.
        self.comparing = Comparing { cursor: None, next_at: now + self.config.pace.ping_every };
    }

    pub(crate) fn run_compare(&mut self, now: Instant) {
        if self.compare_at().is_none_or(|at| at > now) {
            return;
        }
        let after = self.comparing.cursor;
        let page_max = self.config.limits.copy_page_max;
        let last = self.store.keys_after(after).take(page_max).enumerate().last();
        let (count, to) = match last {
            Some((index, key)) if index + 1 == page_max => (page_max, Some(key)),
            Some((index, _)) => (index + 1, None),
            None => (0, None),
        };
        let range = KeyRange { after, to };
        let (view, digest) = (self.config.view.number, self.digest_of(range));
        for member in self.config.view.others().to_vec() {
            self.tell_peer(member, PeerWord::Compare { view, range, digest });
        }
        self.counts.compared += count as u64;
        let pace = &self.config.pace;
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let pause = std::time::Duration::from_secs(1) * count / pace.compare_per_s.max(1);
        self.comparing.next_at = now + if to.is_some() { pause } else { pace.compare_every };
        self.comparing.cursor = to;
    }

    pub(crate) fn compare_at(&self) -> Option<Instant> {
        let compares = self.leads() && !self.config.view.others().is_empty();
        compares.then_some(self.comparing.next_at)
    }

    /// Every call of the run that has a record, here or in the database, and its digest.
    fn digests_in(&self, range: KeyRange) -> impl Iterator<Item = (CallKey, u64)> {
        let keys = self.store.keys_after(range.after);
        let keys = keys.take_while(move |key| range.to.is_none_or(|to| *key <= to));
        keys.filter_map(|key| Some((key, self.digest_at(key)?)))
    }

    fn digest_at(&self, key: CallKey) -> Option<u64> {
        match self.store.get(key) {
            Some(call) => call.record.as_ref().map(|_| call_digest(call)),
            None => self.store.spilled.get(key).map(|spilled| spilled.digest),
        }
    }

    /// The sum over a run of keys: of whatever order, and of calls that come and go.
    fn digest_of(&self, range: KeyRange) -> u64 {
        self.digests_in(range).fold(0, |sum: u64, (_, digest)| sum.wrapping_add(digest))
    }

    /// A digest of every record held. Locks and waits do not count, nor does time.
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.digest_of(KeyRange::default())
    }

    pub(crate) fn compare(&mut self, from: ReplicaId, range: KeyRange, digest: u64) {
        if self.config.view.primary() != Some(from) || self.digest_of(range) == digest {
            return;
        }
        self.counts.runs_differing += 1;
        let view = self.config.view.number;
        self.tell_peer(from, PeerWord::CompareAsk { view, range });
    }

    pub(crate) fn compare_asked(&mut self, from: ReplicaId, range: KeyRange) {
        if !self.leads() {
            return;
        }
        let bounded = self.digests_in(range).take(self.config.limits.copy_page_max + 1);
        let calls: Vec<_> = bounded.collect();
        // Calls have come since the run was measured: what is beyond waits for the next round.
        let to = match calls.get(self.config.limits.copy_page_max) {
            Some((key, _)) => Some(*key),
            None => range.to,
        };
        let (view, range) = (self.config.view.number, KeyRange { to, ..range });
        self.tell_peer(from, PeerWord::CompareKeys { view, range, calls });
    }

    pub(crate) fn compare_keys(
        &mut self,
        from: ReplicaId,
        range: KeyRange,
        theirs: &[(CallKey, u64)],
    ) {
        if self.config.view.primary() != Some(from) {
            return;
        }
        let ours: Vec<_> = self.digests_in(range).collect();
        let differs = |of: &[(CallKey, u64)], (key, digest): &(CallKey, u64)| {
            let found = of.binary_search_by_key(key, |(key, _)| *key);
            found.map_or(true, |index| of[index].1 != *digest)
        };
        let lacking = theirs.iter().filter(|call| differs(&ours, call));
        let excess = ours
            .iter()
            .filter(|(key, _)| theirs.binary_search_by_key(key, |(key, _)| *key).is_err());
        let keys: Vec<CallKey> =
            lacking.chain(excess).map(|(key, _)| *key).take(REPAIR_MAX).collect();
        self.ask_repair(keys);
    }

    /// Asks the primary for what it holds of these calls.
    pub(crate) fn ask_repair(&mut self, keys: Vec<CallKey>) {
        let view = self.config.view.number;
        if let Some(primary) = self.config.view.primary().filter(|_| !keys.is_empty()) {
            self.tell_peer(primary, PeerWord::Repair { view, keys });
        }
    }

    pub(crate) fn repair_asked(&mut self, now: Instant, from: ReplicaId, keys: &[CallKey]) {
        if !self.leads() {
            return;
        }
        let (mut calls, mut spilled, mut gone) = (Vec::new(), Vec::new(), Vec::new());
        for key in keys.iter().take(REPAIR_MAX) {
            if let Some(call) = self.copied_spilled(now, *key) {
                spilled.push(call);
                continue;
            }
            match (self.copied(now, *key), self.store.get(*key)) {
                (Some(copied), _) => calls.push(copied),
                (None, None) => gone.push(*key),
                // It is just beginning.
                (None, Some(_)) => {}
            }
        }
        let (view, floor) = (self.config.view.number, self.next_token());
        self.tell_peer(from, PeerWord::Repaired { view, calls, spilled, gone, floor });
    }

    pub(crate) fn repaired(
        &mut self,
        now: Instant,
        (calls, spilled): (Vec<CopiedCall>, Vec<SpilledCall>),
        gone: &[CallKey],
        floor: LockToken,
    ) {
        for copied in calls {
            let (key, stamp) = (copied.record.header.key, copied.record.header.stamp);
            let is_removed = self.removed_at(key).is_some_and(|removed| removed >= stamp);
            let digest = digest_of(&copied.record, copied.state.is_dormant);
            let is_same = self.digest_at(key) == Some(digest);
            if !is_removed && !is_same && !self.may_be_ahead(now, key, copied.floor) {
                self.counts.repaired += 1;
                self.install(now, copied);
            }
        }
        for copied in spilled {
            let (key, stamp) = (copied.key, copied.stamp);
            let is_removed = self.removed_at(key).is_some_and(|removed| removed >= stamp);
            let is_same = self.digest_at(key) == Some(copied.digest);
            if !is_removed && !is_same && !self.may_be_ahead(now, key, floor) {
                self.counts.repaired += 1;
                self.install_spilled(now, copied);
            }
        }
        for key in gone {
            let is_held = self.store.get(*key).is_some() || self.store.is_spilled(*key);
            if is_held && !self.may_be_ahead(now, *key, floor) {
                self.counts.repaired += 1;
                self.forget(*key);
            }
        }
    }

    /// Whether the primary may have yet to hear of what is held: a put under a lock that it has not
    /// ended, or a copy that came a moment ago. A copy's token is of its home's locks, and says
    /// nothing beside tokens of this site.
    fn may_be_ahead(&self, now: Instant, key: CallKey, floor: LockToken) -> bool {
        if let Some(call) = self.store.get(key).filter(|call| call.is_copy()) {
            return now < call.put_at + COPY_ARRIVES;
        }
        if self.store.spilled.get(key).is_some_and(|call| call.state().is_dormant) {
            return false;
        }
        self.store.stamp(key).is_some_and(|held| held.token >= floor)
    }

    /// The primary heard that another site has these states.
    pub(crate) fn peer_crossed(&mut self, site: SiteId, calls: &[(CallKey, Stamp)]) {
        for (key, stamp) in calls {
            let held = self.store.stamp(*key);
            let removed = self.tombs.stamp(*key);
            if held == Some(*stamp) || (held.is_none() && removed == Some(*stamp)) {
                self.outbound_mut(site).remove(*key);
                self.void_old_copy(*key, site);
            } else {
                self.outbound_mut(site).remove_void(*key, *stamp);
            }
            self.note_crossed(*key, site, *stamp);
        }
    }
}

pub(crate) fn call_digest(call: &Call) -> u64 {
    call.record.as_ref().map_or(0, |record| digest_of(record, call.is_dormant))
}

pub(crate) fn digest_of(record: &Record, is_dormant: bool) -> u64 {
    let mut hasher = SipHasher24::new();
    let (header, stamp) = (&record.header, record.header.stamp);
    hasher.write(&header.key.0);
    hasher.write_u64(stamp.epoch.n);
    hasher.write_u16(stamp.epoch.site.0);
    hasher.write_u64(stamp.token.view.0);
    hasher.write_u64(stamp.token.counter);
    hasher.write_u64(stamp.version.0);
    hasher.write_u8(u8::from(is_dormant));
    for section in [&record.crossing, &record.local] {
        hasher.write_usize(section.len());
        hasher.write(section);
    }
    hasher.finish()
}
