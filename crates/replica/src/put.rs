//! Puts and removals under a lock.

use tier_protocol::{PutFlags, Record, RecordHeader, Refusal, Reply, Tombstone, Veto};
use vocab::{CallKey, EngineId, Epoch, Instant, SiteId, Stamp, Version};

use crate::Replica;
use crate::hint::Decision;
use crate::lock::Ending;
use crate::outbound::Outbound;
use crate::planted::Planted;
use crate::spill::hollow::HOLLOW_SCHEMA;
use crate::stats::Counts;
use crate::store::{Call, Life, Row, Sentence};

/// What a removal takes in a batch, about.
pub(crate) const REMOVAL_BYTES: usize = 64;

/// Version of the put that begins a call. A call that was fetched from another site, which goes on
/// knowing it, continues with the versions after those it had.
const FIRST: Version = Version(1);

impl Replica {
    pub(crate) fn put(
        &mut self,
        now: Instant,
        engine: EngineId,
        record: Record,
        base: Option<Stamp>,
        flags: PutFlags,
    ) {
        let (key, stamp) = (record.header.key, record.header.stamp);
        let body = record.body_bytes();
        let refusal = match self.store.get(key) {
            Some(call) if call.stamp() == Some(stamp) => {
                // Its engine waits for another member, and does not renew beside that.
                self.prolong(now, key, stamp.token);
                return self.reply(engine, Reply::Stored { key, stamp });
            }
            None if self.store.stamp(key) == Some(stamp) => {
                return self.reply(engine, Reply::Stored { key, stamp });
            }
            Some(_) if self.is_void(stamp.token) => Some(Refusal::OldToken),
            Some(call) => match why_refused(call, stamp, base, |base| stamp > base) {
                Some(Refusal::OldToken) if self.planted == Some(Planted::OldTokenAccepted) => None,
                refusal => refusal,
            },
            None => Some(Refusal::OldToken),
        };
        // Only calls that begin are refused for lack of room.
        let is_full =
            base.is_none() && self.store.bytes.saturating_add(body) > self.config.limits.bytes_max;
        let refusal = refusal.or(is_full.then_some(Refusal::Full));
        if let Some(why) = refusal {
            self.counts.refused += 1;
            return self.reply(engine, Reply::Refused { key, stamp, why });
        }
        self.counts.puts += 1;
        self.apply_put(now, record, base, flags);
        self.reply(engine, Reply::Stored { key, stamp });
    }

    pub(crate) fn apply_put(
        &mut self,
        now: Instant,
        mut record: Record,
        base: Option<Stamp>,
        flags: PutFlags,
    ) {
        let (key, stamp) = (record.header.key, record.header.stamp);
        let here = self.config.here;
        let is_home = record.header.home() == here;
        let at_boundary = flags.boundary && record.header.is_steady();
        let is_fresh = is_home && record.header.origin == here && stamp.version == FIRST;
        let expires_at = now + self.config.pace.lock_lease;
        // The removal of an earlier call of this key has yet to arrive somewhere.
        let is_awaited = self.outbound.values().any(|outbound| outbound.is_removal(key));
        self.suspects.note_put(key, stamp.token);
        let is_moved = base.is_none_or(|base| base.epoch != stamp.epoch);
        let may_be_known = self.may_be_known(flags);
        // Where others have to hold it too, an end without `Unlock` leaves doubt in any case.
        let in_doubt = flags.unreleased || !self.is_alone();
        let Some(call) = self.store.get_mut(key) else { return };
        match call.record.take() {
            // What was known of them is in a row that is void from here on.
            Some(old) if old.header.schema == HOLLOW_SCHEMA => {}
            // The engine may not have heard of the newest acknowledgements.
            Some(old) => record.header.crossed = old.header.crossed,
            None => {
                call.known_elsewhere = !is_fresh || is_awaited;
                call.was_at_boundary = !is_fresh;
                call.activated_from = None;
            }
        }
        if call.is_dormant && is_home {
            call.activated_from = base.map(|base| base.epoch);
            self.counts.activated += 1;
            self.woken_since.note(base, here);
        }
        if !call.is_dormant && !is_home {
            note_given(&mut self.counts, call.activated_from, &record.header);
        }
        call.hold(now, record);
        call.is_dormant = !is_home;
        call.is_given = !is_home;
        call.is_stub = false;
        call.unreleased = in_doubt;
        call.removal = None;
        call.at_boundary = at_boundary;
        // The header is believed, too, of an engine that does not say why.
        let is_busy = flags.boundary && !at_boundary;
        call.veto = flags.veto.or(is_busy.then_some(Veto::Application));
        let (sentence, ended) = sentence_after(call.sentence, flags.ended);
        call.sentence = sentence;
        let begins_again = call.has_ended() && !ended;
        call.was_at_boundary = flags.boundary || (call.was_at_boundary && !begins_again);
        call.known_elsewhere |= may_be_known;
        call.life = life_after(call.life, ended && is_home, is_moved);
        call.broken_locks = 0;
        call.not_before = Instant(0);
        if let Some(lock) = &mut call.lock {
            lock.has_put = true;
            lock.expires_at = expires_at;
        }
        self.store.reindex(key);
        if base.is_none() || begins_again {
            self.begin_over_tombstone(key, stamp);
        }
        let same = flags.crossing_unchanged && !is_moved && !begins_again;
        self.note_put(now, key, flags.boundary, is_moved, same);
    }

    /// A replica that leads later does not hear what the primary of now sends: what is at a
    /// boundary may be known elsewhere from then on, to all of them alike.
    fn may_be_known(&self, flags: PutFlags) -> bool {
        let may_cross = flags.boundary && !flags.ended && self.config.shared.is_some();
        may_cross && (self.config.backup_to.is_some() || !self.starts.is_empty())
    }

    /// A key may name one call after another, as when a challenged INVITE comes again.
    fn begin_over_tombstone(&mut self, key: CallKey, stamp: Stamp) {
        match self.tombs.stamp(key) {
            None => {}
            Some(removed) if removed < stamp => self.tombs.remove(key),
            Some(_) => self.counts.begun_below_tombstone += 1,
        }
    }

    /// Marks the call for the site that is to have it, if that site misses something.
    fn note_put(
        &mut self,
        now: Instant,
        key: CallKey,
        is_hinted: bool,
        is_moved: bool,
        is_same: bool,
    ) {
        let Some(call) = self.store.get(key) else {
            return;
        };
        let target = self.target(call);
        let is_dormant = call.is_dormant;
        let (was_at_boundary, has_ended) = (call.was_at_boundary, call.has_ended());
        if is_moved || has_ended {
            for outbound in self.outbound.values_mut() {
                outbound.remove_record(key);
            }
        }
        let Some(site) = target.filter(|_| !has_ended) else {
            return;
        };
        if !is_same {
            // A call on its way home is marked to go at once: nobody here touches it any more.
            // The bound on disregarding a hint runs from the first put that bore one, whatever the
            // applications say.
            let may_go = is_hinted || is_dormant;
            let is_again = self.outbound_mut(site).is_about_to_cross(key);
            if is_again && self.leads() {
                self.decide(key, Decision::CheckedOut);
            }
            self.outbound_mut(site).note_record(now, key, may_go, was_at_boundary);
            return;
        }
        if self.outbound.get(&site).and_then(|outbound| outbound.mark(key)).is_none() {
            // The site has this version in all but its stamp: what crossed is still what it has.
            return;
        }
        if was_at_boundary {
            self.outbound_mut(site).note_answered(key);
        }
        if is_hinted {
            self.outbound_mut(site).note_boundary(now, key);
        }
    }

    /// Tells the sites that may know a call that it is over for them, once the effects of its end
    /// have left. Its record stays for what lingers; it crosses no more, unless it begins again.
    pub(crate) fn tell_end(&mut self, now: Instant, key: CallKey) {
        let Some(call) = self.store.get_mut(key) else {
            return;
        };
        match call.life {
            Life::Ended if call.is_released() => call.life = Life::EndTold,
            Life::Lives | Life::Ended | Life::EndTold => return,
        }
        // A call that was refused or cancelled is nobody's business.
        if let Some(stamp) = call.stamp().filter(|_| call.known_elsewhere) {
            let targets = self.knowers(key);
            self.keep_tombstone(Tombstone { key, stamp });
            self.tell_removal(now, Tombstone { key, stamp }, targets);
        }
    }

    /// Another site is being told where the call lives, and may remember it: it has to hear of the
    /// end, again if need be.
    pub(crate) fn note_known(&mut self, now: Instant, key: CallKey) {
        let Some(call) = self.store.get_mut(key).filter(|call| call.is_active()) else {
            return;
        };
        call.known_elsewhere = true;
        match call.life {
            Life::Lives | Life::Ended => {}
            Life::EndTold => {
                call.life = Life::Ended;
                self.tell_end(now, key);
            }
        }
    }

    /// The sites that may hold a copy of the call.
    fn knowers(&self, key: CallKey) -> [Option<SiteId>; 4] {
        let call = self.store.get(key);
        let header = call.and_then(|call| call.record.as_ref()).map(|record| &record.header);
        let origin = header.map(|header| header.origin);
        let home = header.map(|header| header.home());
        let from = call.and_then(|call| call.activated_from).map(|epoch| epoch.site);
        [self.config.backup_to, origin, home, from]
    }

    fn tell_removal(
        &mut self,
        now: Instant,
        tombstone: Tombstone,
        mut targets: [Option<SiteId>; 4],
    ) {
        let here = self.config.here;
        targets.sort_unstable();
        let mut last = None;
        for site in targets.into_iter().flatten().filter(|site| *site != here) {
            if last.replace(site) != Some(site) {
                self.outbound_mut(site).note_removal(now, tombstone, REMOVAL_BYTES);
            }
        }
    }

    pub(crate) fn delete(
        &mut self,
        now: Instant,
        engine: EngineId,
        tombstone: Tombstone,
        base: Stamp,
    ) {
        let Tombstone { key, stamp } = tombstone;
        if [&self.tombs, &self.repeats].iter().any(|tombs| tombs.stamp(key) == Some(stamp)) {
            return self.reply(engine, Reply::Stored { key, stamp });
        }
        let refusal = match self.store.get(key) {
            Some(_) if self.is_void(stamp.token) => Some(Refusal::OldToken),
            Some(call) => why_refused(call, stamp, Some(base), |base| stamp >= base),
            None => Some(Refusal::OldToken),
        };
        if let Some(why) = refusal {
            self.counts.refused += 1;
            return self.reply(engine, Reply::Refused { key, stamp, why });
        }
        if !self.is_alone() {
            return self.keep_removal(engine, tombstone);
        }
        self.counts.deletes += 1;
        self.remove_for_good(now, tombstone);
        self.reply(engine, Reply::Stored { key, stamp });
        self.end_lock(now, key, Ending::Deleted);
    }

    /// Where others have to have it too, a removal counts only from its `Unlock` on: a primary that
    /// knew of it alone would deny a call that others still hold.
    pub(crate) fn keep_removal(&mut self, engine: EngineId, tombstone: Tombstone) {
        let Tombstone { key, stamp } = tombstone;
        if let Some(call) = self.store.get_mut(key) {
            call.removal = Some(tombstone);
            call.unreleased = true;
            if let Some(lock) = &mut call.lock {
                lock.has_put = true;
            }
        }
        self.reply(engine, Reply::Stored { key, stamp });
    }

    /// Everybody has the removal, and what it let out has left.
    pub(crate) fn remove_at_last(&mut self, now: Instant, tombstone: Tombstone) {
        self.counts.deletes += 1;
        self.note_removed_while_joining(tombstone);
        self.remove_for_good(now, tombstone);
        self.end_lock(now, tombstone.key, Ending::Deleted);
    }

    /// Removes the record and leaves its tombstone, marked for every site that may know the call.
    pub(crate) fn remove_for_good(&mut self, now: Instant, tombstone: Tombstone) {
        let key = tombstone.key;
        let Some(call) = self.store.get(key) else {
            return;
        };
        let (is_known, life) = (call.known_elsewhere, call.life);
        let targets = self.knowers(key);
        self.drop_record(key);
        if !is_known {
            self.repeats.insert(tombstone);
            return;
        }
        self.keep_tombstone(tombstone);
        match life {
            Life::Lives | Life::Ended => self.tell_removal(now, tombstone, targets),
            // The tombstone of its end is marked until it is acknowledged, and none came to know
            // the call since.
            Life::EndTold => {}
        }
    }

    /// Empties the call: its lock and waiters stay, its marks and effects go.
    pub(crate) fn drop_record(&mut self, key: CallKey) {
        self.unlist_rest(key);
        let Some(call) = self.store.get_mut(key) else {
            return;
        };
        let row = call.stamp().filter(|_| call.row != Row::None);
        call.record = None;
        call.row = Row::None;
        call.is_dormant = false;
        call.is_stub = false;
        call.is_given = false;
        call.unreleased = false;
        call.at_boundary = false;
        call.was_at_boundary = false;
        call.veto = None;
        call.decided = Decision::None;
        call.life = Life::Lives;
        call.sentence = Sentence::None;
        call.known_elsewhere = false;
        call.ends_when_free = false;
        call.activated_from = None;
        self.store.reindex(key);
        self.outbound.values_mut().for_each(|outbound: &mut Outbound| outbound.remove_record(key));
        if let Some(stamp) = row {
            self.note_row_gone(key, stamp);
        }
    }
}

/// What a put makes of a sentence, and whether the call is over for other sites: what is left of
/// one that was set aside is, until it says so itself. Then another may begin in its place.
fn sentence_after(before: Sentence, ended: bool) -> (Sentence, bool) {
    match before {
        Sentence::None => (Sentence::None, ended),
        Sentence::Lingers if ended => (Sentence::None, true),
        Sentence::ToEnd | Sentence::Lingers => (Sentence::Lingers, true),
    }
}

fn life_after(before: Life, ended: bool, is_moved: bool) -> Life {
    match (ended, before) {
        (false, Life::Lives | Life::Ended | Life::EndTold) => Life::Lives,
        (true, Life::EndTold) if !is_moved => Life::EndTold,
        (true, Life::Lives | Life::Ended | Life::EndTold) => Life::Ended,
    }
}

fn why_refused(
    call: &Call,
    stamp: Stamp,
    base: Option<Stamp>,
    follows: impl Fn(Stamp) -> bool,
) -> Option<Refusal> {
    let held = call.stamp();
    if call.lock.is_none_or(|lock| lock.token != stamp.token) {
        return Some(Refusal::OldToken);
    }
    // A version never goes back, whatever its base is said to be.
    if held != base || base.is_some_and(|base| !follows(base)) {
        return Some(Refusal::NotTheBase { held });
    }
    None
}

/// A call was given to another site: its own, or one that takes it over by order.
fn note_given(counts: &mut Counts, activated_from: Option<Epoch>, header: &RecordHeader) {
    let to = header.home();
    let goes_home = to == header.origin || Some(to) == activated_from.map(|epoch| epoch.site);
    counts.handed_back += u64::from(goes_home);
    counts.evacuated += u64::from(!goes_home);
}
