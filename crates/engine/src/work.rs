//! Under the lock: from a grant to a put. No effect leaves from here that a put must explain first.

use std::collections::BTreeSet;
use std::time::Duration;

use call::{Call, Changed, Effect};
use sip_message::StatusCode;
use tier_protocol::{Cause, PutFlags, Record, RecordHeader, StrikeKind, Tombstone};
use vocab::{CallKey, Epoch, Instant, LockToken, SiteId, Stamp, Version};

use crate::arrival::Arrival;
use crate::cache::Cached;
use crate::engine::Engine;
use crate::held::{Grant, Held, Stored};
use crate::homing::{Homing, find_home, is_stub};
use crate::step::{self, Failure, Form, Job, Next, Outcome, Start};
use crate::turn::{Became, Believed, State, Storing, Turn, What};

impl Engine {
    /// Works the call whose lock has come. A grant that no turn asked for is a turn of its own.
    pub(crate) fn on_granted(
        &mut self,
        now: Instant,
        key: CallKey,
        grant: Grant,
        record: Option<Record>,
    ) {
        let Some(turn) = self.take_for_grant(key, &grant) else { return };
        let Some(record) = record else {
            return self.work_nothing(now, key, turn, grant);
        };
        self.work_record(now, key, turn, grant, &record);
    }

    /// The turn that a grant is for; `None` when the grant repeats a lock that is being worked.
    fn take_for_grant(&mut self, key: CallKey, grant: &Grant) -> Option<Turn> {
        let Some(mut turn) = self.take_turn(key) else {
            if let Cause::Asked { .. } = grant.cause {
                self.stats.orphan_grants += 1;
            }
            return Some(Turn::new(Vec::new()));
        };
        let worked_under = match &turn.state {
            State::Lock | State::Pause | State::Pull => None,
            State::Confirm(confirming) => confirming.believed.token(),
            State::Store(storing) => Some(storing.token),
        };
        if worked_under.is_some_and(|token| grant.token <= token) {
            self.keep_turn(key, turn);
            return None;
        }
        turn.is_confirmed = false;
        // A newer lock: the one that the turn worked under has ended, and its put is refused or,
        // if it was stored before, comes back with this grant to be resumed.
        if let State::Store(storing) = std::mem::replace(&mut turn.state, State::Lock) {
            let later = std::mem::replace(&mut turn.arrivals, storing.held.into_arrivals());
            turn.arrivals.extend(later);
        }
        Some(turn)
    }

    /// An empty lock: a call begins, comes from another site, or is not to be found.
    pub(crate) fn work_nothing(
        &mut self,
        now: Instant,
        key: CallKey,
        mut turn: Turn,
        grant: Grant,
    ) {
        if let Some(record) = turn.seek.take_pulled(now) {
            return self.step(now, key, turn, grant, Start::Wake(&record));
        }
        if turn.seek.ghost && !turn.arrivals.is_empty() {
            return self.step(now, key, turn, grant, Start::Ghost);
        }
        let begins = |arrival: &Arrival| arrival.begins() && arrival.bounces_to().is_none();
        match turn.arrivals.iter().position(begins) {
            Some(first) => {
                // What came before it (a CANCEL that overtook it) belongs to the call too.
                turn.arrivals[..=first].rotate_right(1);
                let salt = salt(grant.token, self.sites.start());
                self.step(now, key, turn, grant, Start::Begin { salt });
            }
            None if !turn.arrivals.is_empty() && !self.may_believe(key, &turn) => {
                self.confirm(now, key, turn, Believed::Granted { grant, record: None });
            }
            None => {
                self.unlock(key, grant.token);
                for arrival in std::mem::take(&mut turn.arrivals) {
                    self.reject(arrival);
                }
            }
        }
    }

    pub(crate) fn work_record(
        &mut self,
        now: Instant,
        key: CallKey,
        mut turn: Turn,
        grant: Grant,
        record: &Record,
    ) {
        if let Some(pulled) = turn.seek.take_pulled(now)
            && (pulled.header.stamp > record.header.stamp || is_stub(record))
        {
            return self.step(now, key, turn, grant, Start::Wake(&pulled));
        }
        if grant.cause == Cause::Quarantined {
            return self.tear_down(now, key, turn, grant, record);
        }
        let idle = turn.arrivals.is_empty();
        match find_home(record, grant.dormant, grant.cause, &self.sites) {
            Homing::Ours => match grant.cause {
                Cause::HandBack { to } if idle => self.hand_back(now, key, turn, grant, record, to),
                Cause::Activate if idle => self.unlock(key, grant.token),
                Cause::HandBack { .. }
                | Cause::Activate
                | Cause::Asked { .. }
                | Cause::Due
                | Cause::Resume
                | Cause::Quarantined => self.work_active(now, key, turn, grant, record),
            },
            Homing::Wake => match grant.cause {
                Cause::Due
                | Cause::Resume
                | Cause::HandBack { .. }
                | Cause::Asked { .. }
                | Cause::Quarantined
                    if idle =>
                {
                    self.unlock(key, grant.token);
                }
                Cause::Due
                | Cause::Resume
                | Cause::HandBack { .. }
                | Cause::Asked { .. }
                | Cause::Activate
                | Cause::Quarantined => self.step(now, key, turn, grant, Start::Wake(record)),
            },
            Homing::Away(_) | Homing::Seek | Homing::Asleep
                if !idle && !self.may_believe(key, &turn) =>
            {
                let record = Some(record.clone());
                self.confirm(now, key, turn, Believed::Granted { grant, record });
            }
            Homing::Away(site) => {
                self.unlock(key, grant.token);
                self.send_away(now, key, turn, site, record);
            }
            Homing::Seek => {
                self.unlock(key, grant.token);
                self.seek_beyond_stub(now, key, turn);
            }
            Homing::Asleep => {
                self.unlock(key, grant.token);
                for arrival in &turn.arrivals {
                    self.stats.dropped_homeless += 1;
                    self.refuse(arrival, StatusCode::SERVICE_UNAVAILABLE);
                }
            }
        }
    }

    /// The call is active here; if this engine stored it last, it need not be decoded.
    fn work_active(
        &mut self,
        now: Instant,
        key: CallKey,
        turn: Turn,
        grant: Grant,
        record: &Record,
    ) {
        let resumes = grant.resume || grant.cause == Cause::Resume;
        match self.cache.take(key, record.header.stamp) {
            Some(cached) if !resumes => self.work_cached(now, key, turn, grant, &cached),
            Some(_) | None => self.step(now, key, turn, grant, Start::Active(record)),
        }
    }

    fn work_cached(
        &mut self,
        now: Instant,
        key: CallKey,
        turn: Turn,
        grant: Grant,
        cached: &Cached,
    ) {
        self.stats.cache_hits += 1;
        self.step(now, key, turn, grant, Start::Cached(cached));
    }

    /// The lock has come without the record: what this engine keeps of the call is the newest.
    pub(crate) fn on_unchanged(&mut self, now: Instant, key: CallKey, grant: Grant) {
        let Some(turn) = self.take_for_grant(key, &grant) else { return };
        self.work_unchanged(now, key, turn, grant);
    }

    pub(crate) fn work_unchanged(
        &mut self,
        now: Instant,
        key: CallKey,
        mut turn: Turn,
        grant: Grant,
    ) {
        let kept = grant.base.and_then(|stamp| self.cache.take(key, stamp));
        match kept {
            Some(cached) => self.work_cached(now, key, turn, grant, &cached),
            None if turn.arrivals.is_empty() => self.unlock(key, grant.token),
            None if grant.cause == (Cause::Asked { turn: turn.number }) => {
                // It was let go in the meantime: the same ask again brings the record.
                turn.state = State::Lock;
                turn.until = now + self.config.limits.lock_wait;
                turn.wake_at = turn.until;
                self.command_lock(key, &turn);
                self.keep_turn(key, turn);
            }
            None => {
                self.unlock(key, grant.token);
                self.ask(now, key, turn);
            }
        }
    }

    /// Steps the turn's messages. One that panics is dropped, and the others are stepped anew.
    fn step(&mut self, now: Instant, key: CallKey, mut turn: Turn, grant: Grant, start: Start<'_>) {
        let active = start.is_active();
        let due = active && grant.cause == Cause::Due;
        let resume = active && (grant.resume || grant.cause == Cause::Resume);
        loop {
            if active && turn.arrivals.is_empty() && !due && !resume {
                return self.unlock(key, grant.token);
            }
            let setting = &self.config.setting;
            let here = self.config.here;
            let restores = resume && !self.map.is_alone(key);
            let arrivals = &turn.arrivals;
            let job = Job { key, now, here, setting, start, due, restores, arrivals };
            match step::work(&job, resume) {
                Ok(outcome) => {
                    let work = Work { key, grant, start, due, resume };
                    return self.conclude(now, turn, &work, outcome, restores);
                }
                Err(Failure::Panicked { over: Some(index), what }) => {
                    self.stats.panics += 1;
                    let arrival = turn.arrivals.remove(index);
                    // Of a call that begins nothing is kept: a stranger may begin any number.
                    if start.header().is_some() {
                        self.tell_strike(key, grant, StrikeKind::Panicked, what, &arrival.raw);
                    }
                    self.refuse(&arrival, StatusCode::SERVER_INTERNAL_ERROR);
                    match start {
                        Start::Begin { .. } => return self.work_nothing(now, key, turn, grant),
                        Start::Ghost => return self.unlock(key, grant.token),
                        Start::Active(_) | Start::Cached(_) | Start::Wake(_) => {}
                    }
                }
                Err(Failure::Panicked { over: None, what }) => {
                    self.stats.panics += 1;
                    self.tell_strike(key, grant, StrikeKind::Panicked, what, &[]);
                    return self.poison(key, turn, grant);
                }
                Err(Failure::Undecodable { why }) => {
                    self.stats.undecodable += 1;
                    self.tell_strike(key, grant, StrikeKind::Undecodable, why, &[]);
                    return self.poison(key, turn, grant);
                }
                // An engine of the other version can read it: no strike.
                Err(Failure::UnknownSchema) => {
                    self.stats.needs_newer += 1;
                    return self.poison(key, turn, grant);
                }
                Err(Failure::NoGhost) => {
                    self.stats.strays += 1;
                    return self.unlock(key, grant.token);
                }
            }
        }
    }

    /// The call itself cannot be worked. The replica hands it out again after a pause; its messages
    /// are refused.
    fn poison(&mut self, key: CallKey, turn: Turn, grant: Grant) {
        // `Unlock` says that the record's effects have left. Where they may not have, the lease
        // ends the lock instead, and another engine, which may know the record's schema, resumes
        // them.
        if !grant.resume {
            self.unlock(key, grant.token);
        }
        for arrival in &turn.arrivals {
            self.refuse(arrival, StatusCode::SERVER_INTERNAL_ERROR);
        }
    }

    /// Decides what is stored before the effects may leave.
    ///
    /// Effects that are resumed leave at once where the record that explains them is the only one.
    /// Where others have to hold it, they may not: it is put again first (`restores`).
    fn conclude(
        &mut self,
        now: Instant,
        turn: Turn,
        work: &Work<'_>,
        outcome: Outcome,
        restores: bool,
    ) {
        let Outcome { mut effects, mut unreleased, changed, next } = outcome;
        let Work { key, grant, start, due, resume } = *work;
        let ends_here = match &next {
            Next::Same(_) => true,
            Next::Over => grant.base.is_none(),
            Next::Lives(_) => false,
        };
        if ends_here && !effects.is_empty() && !self.may_believe(key, &turn) {
            return self.confirm_work(now, turn, work);
        }
        self.stats.resumed += u64::from(resume);
        if restores {
            unreleased.append(&mut effects);
            effects = unreleased;
        } else if resume {
            let before = Held::unchanged(unreleased);
            self.transmit(before.release(&Stored::by_grant(&grant)), epoch_of(&grant));
        }
        self.stats.due += u64::from(due);
        let stamp = self.next_stamp(work);
        let unsent = !effects.is_empty();
        let (what, call, became) = match (next, grant.base) {
            (Next::Over, None) => return self.release_unchanged(key, grant, effects),
            (Next::Same(call), _) => {
                self.release_unchanged(key, grant, effects);
                if let Some(header) = start.header() {
                    self.cache.insert(key, Cached { header: header.clone(), call });
                }
                return;
            }
            (Next::Over, Some(base)) => {
                let tombstone = Tombstone { key, stamp };
                (What::Delete { tombstone, base }, None, Became::Ended)
            }
            (Next::Lives(form), base) => {
                let became = match start {
                    Start::Begin { .. } | Start::Ghost => Became::Begun,
                    Start::Active(_) | Start::Cached(_) => Became::Stepped,
                    Start::Wake(_) => Became::Activated,
                };
                let flags = PutFlags {
                    boundary: form.boundary,
                    veto: form.veto,
                    crossing_unchanged: start.is_active() && changed < Changed::Crossing,
                    unreleased: unsent,
                    ended: form.ended,
                };
                let (record, call) = self.record(stamp, key, start.header(), *form);
                (What::Put { record, base, flags }, Some(call), became)
            }
        };
        self.stats.ghosts += u64::from(turn.seek.ghost && became == Became::Begun);
        let held = Held::until(stamp, effects, turn.arrivals);
        let (token, number) = (grant.token, turn.number);
        let (repeat, stored_by) = (false, BTreeSet::new());
        let storing = Storing { held, token, what, call, became, number, stored_by, repeat };
        self.store(now, storing, turn.refusals);
    }

    /// The turn changed nothing: what it says is true if the state that it is drawn from is the
    /// newest.
    fn confirm_work(&mut self, now: Instant, mut turn: Turn, work: &Work<'_>) {
        let Work { key, grant, start, .. } = *work;
        let believed = match start {
            Start::Begin { .. } | Start::Ghost => Believed::Granted { grant, record: None },
            Start::Active(record) => Believed::Granted { grant, record: Some(record.clone()) },
            Start::Cached(cached) => {
                self.cache.insert(key, cached.clone());
                Believed::Unchanged { grant }
            }
            Start::Wake(record) => {
                // It came from another site: the one held here, if any, is older.
                turn.seek.pulled = Some(Box::new((record.clone(), now)));
                Believed::Granted { grant, record: None }
            }
        };
        self.confirm(now, key, turn, believed);
    }

    /// The state that is stored explains the effects: they leave, and the lock ends.
    fn release_unchanged(&mut self, key: CallKey, grant: Grant, effects: Vec<Effect>) {
        self.stats.unchanged += 1;
        let held = Held::unchanged(effects);
        self.transmit(held.release(&Stored::by_grant(&grant)), epoch_of(&grant));
        self.unlock(key, grant.token);
    }

    /// Gives a call at rest to its former home. Nothing is sent, nothing else changes.
    fn hand_back(
        &mut self,
        now: Instant,
        key: CallKey,
        turn: Turn,
        grant: Grant,
        record: &Record,
        to: SiteId,
    ) {
        let at_rest = match self.sites.is_alive(to) && to != self.config.here {
            true => step::form_at_rest(key, record, now),
            false => None,
        };
        let Some(form) = at_rest else {
            self.stats.hand_back_later += 1;
            return self.unlock(key, grant.token);
        };
        let before = record.header.stamp;
        let stamp = Stamp {
            epoch: before.epoch.given_to(to),
            token: grant.token,
            version: Version(before.version.0 + 1),
        };
        let (record, _) = self.record(stamp, key, Some(&record.header), form);
        let flags = PutFlags { boundary: true, ..PutFlags::default() };
        let what = What::Put { record, base: grant.base, flags };
        let held = Held::until(stamp, Vec::new(), turn.arrivals);
        let (token, became, number) = (grant.token, Became::HandedBack, turn.number);
        let (repeat, stored_by, call) = (false, BTreeSet::new(), None);
        let storing = Storing { held, token, what, call, became, number, stored_by, repeat };
        self.store(now, storing, 0);
    }

    pub(crate) fn next_stamp(&self, work: &Work<'_>) -> Stamp {
        let token = work.grant.token;
        let Some(before) = work.start.header().map(|header| header.stamp) else {
            let epoch = self.sites.beginning_epoch(work.grant.floor);
            return Stamp { epoch, token, version: Version(1) };
        };
        // A record that another site gave may be newer than the one held here, or older.
        let held = work.grant.base.unwrap_or(before);
        let version = Version(before.version.max(held.version).0 + 1);
        let epoch = match work.start.is_active() {
            true => before.epoch,
            false => self.sites.waking_epoch(before.epoch.max(held.epoch)),
        };
        Stamp { epoch, token, version }
    }

    pub(crate) fn record(
        &self,
        stamp: Stamp,
        key: CallKey,
        before: Option<&RecordHeader>,
        form: Form,
    ) -> (Record, Box<Call>) {
        let Form { call, encoded, boundary: _, veto: _, ended: _, hints } = form;
        let header = RecordHeader {
            key,
            stamp,
            origin: before.map_or(self.config.here, |before| before.origin),
            backup: self.config.backup,
            schema: encoded.schema,
            age: Duration::ZERO,
            deadline: encoded.deadline,
            crossing_deadline: encoded.crossing_deadline,
            hints,
            crossed: before.map(|before| before.crossed.clone()).unwrap_or_default(),
            newer: before.and_then(|before| before.newer.clone()),
        };
        (Record { header, crossing: encoded.crossing, local: encoded.local }, call)
    }
}

/// What a turn is worked from.
#[derive(Clone, Copy)]
pub(crate) struct Work<'a> {
    pub(crate) key: CallKey,
    pub(crate) grant: Grant,
    pub(crate) start: Start<'a>,
    pub(crate) due: bool,
    pub(crate) resume: bool,
}

/// The epoch of the record that came with the grant; the lowest of all when none did.
fn epoch_of(grant: &Grant) -> Epoch {
    grant.base.map_or(Epoch { n: 0, site: SiteId(0) }, |stamp| stamp.epoch)
}

/// Tells calls apart that reuse a Call-ID and From tag: no two grants of a site share it, within
/// its 24 bits.
fn salt(token: LockToken, start: u64) -> u32 {
    let mixed = token.counter ^ (token.view.0 << 17) ^ (start << 20);
    u32::try_from(mixed & 0x00ff_ffff).unwrap_or_default()
}
