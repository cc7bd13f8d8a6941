//! Under the lock: from a grant to a put. No effect leaves from here that a put must explain first.

use std::time::Duration;

use call::Changed;
use sip_message::StatusCode;
use tier_protocol::{Cause, PutFlags, Record, RecordHeader, Tombstone};
use vocab::{CallKey, Epoch, Instant, LockToken, SiteId, Stamp, Version};

use crate::arrival::Arrival;
use crate::engine::Engine;
use crate::held::{Grant, Held, Stored};
use crate::homing::{Homing, find_home, is_stub};
use crate::step::{self, Failure, Form, Job, Next, Outcome, Start};
use crate::turn::{Became, State, Turn, What};

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
            State::Store(storing) => Some(storing.token),
        };
        if worked_under.is_some_and(|token| grant.token <= token) {
            self.keep_turn(key, turn);
            return None;
        }
        // A newer lock: the one that the turn worked under has ended, and its put is refused or,
        // if it was stored before, comes back with this grant to be resumed.
        if let State::Store(storing) = std::mem::replace(&mut turn.state, State::Lock) {
            let later = std::mem::replace(&mut turn.arrivals, storing.held.into_arrivals());
            turn.arrivals.extend(later);
        }
        Some(turn)
    }

    /// An empty lock: a call begins, comes from another site, or is not to be found.
    fn work_nothing(&mut self, now: Instant, key: CallKey, mut turn: Turn, grant: Grant) {
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
            None => {
                self.unlock(key, grant.token);
                for arrival in std::mem::take(&mut turn.arrivals) {
                    self.reject(arrival);
                }
            }
        }
    }

    fn work_record(
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
        let idle = turn.arrivals.is_empty();
        match find_home(record, grant.dormant, grant.cause, &self.sites) {
            Homing::Ours => match grant.cause {
                Cause::HandBack { to } if idle => self.hand_back(now, key, turn, grant, record, to),
                Cause::Activate if idle => self.unlock(key, grant.token),
                Cause::HandBack { .. }
                | Cause::Activate
                | Cause::Asked { .. }
                | Cause::Due
                | Cause::Resume => self.step(now, key, turn, grant, Start::Active(record)),
            },
            Homing::Wake => match grant.cause {
                Cause::Due | Cause::Resume | Cause::HandBack { .. } | Cause::Asked { .. }
                    if idle =>
                {
                    self.unlock(key, grant.token);
                }
                Cause::Due
                | Cause::Resume
                | Cause::HandBack { .. }
                | Cause::Asked { .. }
                | Cause::Activate => self.step(now, key, turn, grant, Start::Wake(record)),
            },
            Homing::Away(site) => {
                self.unlock(key, grant.token);
                self.send_away(now, key, turn, site, record.header.stamp.epoch);
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

    /// Steps the turn's messages. One that panics is dropped, and the others are stepped anew.
    fn step(&mut self, now: Instant, key: CallKey, mut turn: Turn, grant: Grant, start: Start<'_>) {
        let active = match start {
            Start::Active(_) => true,
            Start::Begin { .. } | Start::Ghost | Start::Wake(_) => false,
        };
        let due = active && grant.cause == Cause::Due;
        let resume = active && (grant.resume || grant.cause == Cause::Resume);
        loop {
            if active && turn.arrivals.is_empty() && !due && !resume {
                return self.unlock(key, grant.token);
            }
            let setting = &self.config.setting;
            let here = self.config.here;
            let job = Job { key, now, here, setting, start, due, arrivals: &turn.arrivals };
            match step::work(&job, resume) {
                Ok(outcome) => {
                    let work = Work { key, grant, start, due, resume };
                    return self.conclude(now, turn, &work, outcome);
                }
                Err(Failure::Panicked(Some(index))) => {
                    self.stats.panics += 1;
                    let arrival = turn.arrivals.remove(index);
                    self.refuse(&arrival, StatusCode::SERVER_INTERNAL_ERROR);
                    match start {
                        Start::Begin { .. } => return self.work_nothing(now, key, turn, grant),
                        Start::Ghost => return self.unlock(key, grant.token),
                        Start::Active(_) | Start::Wake(_) => {}
                    }
                }
                Err(Failure::Panicked(None)) => {
                    self.stats.panics += 1;
                    return self.poison(key, turn, grant);
                }
                Err(Failure::Undecodable) => {
                    self.stats.undecodable += 1;
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
        self.unlock(key, grant.token);
        for arrival in &turn.arrivals {
            self.refuse(arrival, StatusCode::SERVER_INTERNAL_ERROR);
        }
    }

    /// Decides what is stored before the effects may leave.
    fn conclude(&mut self, now: Instant, turn: Turn, work: &Work<'_>, outcome: Outcome) {
        let Outcome { effects, unreleased, changed, next } = outcome;
        if work.resume {
            self.stats.resumed += 1;
            let before = Held::unchanged(unreleased);
            self.transmit(before.release(&Stored::by_grant(&work.grant)));
        }
        let Work { key, grant, start, due, resume } = *work;
        self.stats.due += u64::from(due);
        let nothing_held = grant.base.is_none();
        let idle = match (&next, start) {
            (Next::Over, _) => nothing_held,
            (Next::Lives(_), Start::Active(_)) => {
                // Effects of a state that is already stored need no put, unless others still have
                // to leave with them: then both are kept until all have left.
                changed == Changed::Nothing && !due && (!resume || turn.arrivals.is_empty())
            }
            (Next::Lives(_), Start::Begin { .. } | Start::Ghost | Start::Wake(_)) => false,
        };
        if idle {
            self.stats.unchanged += 1;
            let held = Held::unchanged(effects);
            self.transmit(held.release(&Stored::by_grant(&grant)));
            return self.unlock(key, grant.token);
        }
        let stamp = self.next_stamp(work);
        let unsent = !effects.is_empty();
        let (what, became) = match (next, grant.base) {
            (Next::Over, Some(base)) => {
                (What::Delete { tombstone: Tombstone { key, stamp }, base }, Became::Ended)
            }
            (Next::Over, None) => return self.unlock(key, grant.token),
            (Next::Lives(form), base) => {
                let (before, became) = match start {
                    Start::Begin { .. } | Start::Ghost => (None, Became::Begun),
                    Start::Active(record) => (Some(record), Became::Stepped),
                    Start::Wake(record) => (Some(record), Became::Activated),
                };
                let flags = PutFlags {
                    boundary: form.boundary,
                    crossing_unchanged: became == Became::Stepped && changed < Changed::Crossing,
                    unreleased: unsent,
                };
                let record = self.record(stamp, key, before, *form);
                (What::Put { record, base, flags }, became)
            }
        };
        let held = Held::until(stamp, effects, turn.arrivals);
        if let Start::Ghost = start {
            self.stats.ghosts += 1;
        }
        let refusals = turn.refusals;
        self.store(now, held, grant.token, what, became, refusals);
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
            epoch: before.epoch.moved_to(to),
            token: grant.token,
            version: Version(before.version.0 + 1),
        };
        let record = self.record(stamp, key, Some(record), form);
        let flags = PutFlags { boundary: true, crossing_unchanged: false, unreleased: false };
        let what = What::Put { record, base: grant.base, flags };
        let held = Held::until(stamp, Vec::new(), turn.arrivals);
        self.store(now, held, grant.token, what, Became::HandedBack, 0);
    }

    fn next_stamp(&self, work: &Work<'_>) -> Stamp {
        let token = work.grant.token;
        let held = work.grant.base;
        let above =
            |stamp: Stamp| held.map_or(stamp.version, |held| held.version.max(stamp.version));
        match work.start {
            Start::Begin { .. } | Start::Ghost => {
                Stamp { epoch: self.sites.first_epoch(), token, version: Version(1) }
            }
            Start::Active(record) => {
                let before = record.header.stamp;
                Stamp { epoch: before.epoch, token, version: Version(before.version.0 + 1) }
            }
            Start::Wake(record) => {
                let before = record.header.stamp;
                let known: Epoch = held.map_or(before.epoch, |held| held.epoch.max(before.epoch));
                let epoch = self.sites.waking_epoch(known);
                Stamp { epoch, token, version: Version(above(before).0 + 1) }
            }
        }
    }

    fn record(&self, stamp: Stamp, key: CallKey, before: Option<&Record>, form: Form) -> Record {
        let Form { encoded, boundary: _, hints } = form;
        let header = RecordHeader {
            key,
            stamp,
            origin: before.map_or(self.config.here, |before| before.header.origin),
            backup: self.config.backup,
            schema: encoded.schema,
            age: Duration::ZERO,
            deadline: encoded.deadline,
            crossing_deadline: encoded.crossing_deadline,
            hints,
            crossed: before.map(|before| before.header.crossed.clone()).unwrap_or_default(),
        };
        Record { header, crossing: encoded.crossing, local: encoded.local }
    }
}

/// What a turn is worked from.
#[derive(Clone, Copy)]
struct Work<'a> {
    key: CallKey,
    grant: Grant,
    start: Start<'a>,
    due: bool,
    resume: bool,
}

/// Tells calls apart that reuse a Call-ID and From tag: no two grants of a site share it, within
/// its 24 bits.
fn salt(token: LockToken, start: u64) -> u32 {
    let mixed = token.counter ^ (token.view.0 << 17) ^ (start << 20);
    u32::try_from(mixed & 0x00ff_ffff).unwrap_or_default()
}
