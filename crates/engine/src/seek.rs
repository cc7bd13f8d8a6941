//! Calls that are not here: waited for, asked for at the other sites, forwarded, or given up.
//!
//! RFC 3261 §12.2.2 asks for 481 to a request of a dialog that does not exist. A token of ours
//! proves that it existed, so 481 is said only after every site that answers has said no.

use tier_protocol::{EngineWord, PullAnswer, Record};
use vocab::{CallKey, Epoch, Instant, SiteId};

use sip_message::StatusCode;

use crate::arrival::{Arrival, Kind};
use crate::door::Output;
use crate::engine::Engine;
use crate::forward;
use crate::homing::is_stub;
use crate::step;
use crate::turn::{Believed, State, Turn};

/// Asks of one turn for a call that is elsewhere, pauses included. A bound against sites that
/// send a turn in circles; time bounds the usual case.
const TRIES_MAX: u32 = 256;

/// A call that may be answered is asked for again after so many pauses: the queue may take seconds.
const EARLY_PAUSES: u32 = 5;

impl Engine {
    /// No record of the call here.
    pub(crate) fn on_not_here(&mut self, now: Instant, key: CallKey, number: u64) {
        let Some(turn) = self.take_asking(key, number) else { return };
        self.work_not_here(now, key, turn);
    }

    pub(crate) fn work_not_here(&mut self, now: Instant, key: CallKey, mut turn: Turn) {
        if !self.may_believe(key, &turn) {
            return self.confirm(now, key, turn, Believed::NotHere);
        }
        let mut kept = Vec::new();
        for arrival in std::mem::take(&mut turn.arrivals) {
            if arrival.is_sought() || self.may_begin(&arrival) {
                kept.push(arrival);
            } else {
                self.reject(arrival);
            }
        }
        turn.arrivals = kept;
        if turn.arrivals.iter().any(Arrival::is_sought) {
            self.seek(now, key, turn);
        } else {
            self.go_on(now, key, turn.arrivals);
        }
    }

    /// Whether a call may begin with this message, here and at this moment.
    pub(crate) fn may_begin(&self, arrival: &Arrival) -> bool {
        arrival.begins() && arrival.bounces_to().is_none() && self.is_open()
    }

    /// The other sites' best answer.
    pub(crate) fn on_pulled(
        &mut self,
        now: Instant,
        key: CallKey,
        number: u64,
        answer: PullAnswer,
    ) {
        let Some(mut turn) = self.take_asking(key, number) else { return };
        turn.seek.answer = Some(Box::new(answer));
        self.seek(now, key, turn);
    }

    /// Goes on with a call that is not here, by what the other sites, if asked, said of it.
    pub(crate) fn seek(&mut self, now: Instant, key: CallKey, mut turn: Turn) {
        let since = *turn.seek.since.get_or_insert(now);
        turn.seek.tries += 1;
        if turn.seek.tries > TRIES_MAX {
            return self.give_up(now, key, turn);
        }
        let may_wait = now < since + self.config.limits.seek_wait;
        match turn.seek.answer.take().map(|answer| *answer) {
            None if may_wait && self.sites.inbox_waits() => self.pause(now, key, turn),
            None if turn.seek.is_denied => self.no_such(now, key, turn),
            // Even when no site answers: the gate also knows of sites that have just gone silent.
            None if self.sites.has_gate() => self.pull(now, key, turn),
            Some(PullAnswer::NoSuch) if turn.seek.is_given && may_wait => {
                self.pause(now, key, turn);
            }
            Some(PullAnswer::NoSuch) if turn.seek.is_given => self.give_up(now, key, turn),
            None => self.no_such(now, key, turn),
            Some(PullAnswer::NoSuch) => {
                turn.seek.is_denied = true;
                self.ask(now, key, turn);
            }
            Some(PullAnswer::AskLater) if may_wait => self.pause(now, key, turn),
            Some(PullAnswer::AskLater) => self.give_up(now, key, turn),
            Some(PullAnswer::Lives(epoch)) if epoch.site == self.config.here => {
                self.no_such(now, key, turn);
            }
            Some(PullAnswer::Lives(epoch)) => {
                let (sought, others) = split(turn.arrivals, Arrival::is_sought);
                for arrival in sought {
                    self.forward(key, &arrival, epoch.site, epoch);
                }
                self.go_on(now, key, others);
            }
            Some(PullAnswer::Yours(record)) => {
                self.stats.pulled += 1;
                turn.seek.pulled = Some(Box::new((record, now)));
                self.ask(now, key, turn);
            }
        }
    }

    fn pause(&mut self, now: Instant, key: CallKey, mut turn: Turn) {
        turn.state = State::Pause;
        turn.until = now + self.config.limits.seek_every;
        turn.wake_at = turn.until;
        self.keep_turn(key, turn);
    }

    /// Whether the copy that sleeps here rings, while batches of its home wait on the queue: the
    /// answered call may be in them, and woken now it would be lost. Not for ever: a queue that
    /// does not drain keeps nobody from what is here.
    pub(crate) fn may_be_answered(
        &mut self,
        now: Instant,
        key: CallKey,
        turn: &mut Turn,
        record: &Record,
    ) -> bool {
        if !self.sites.waits_from(record.header.home()) || !step::rings(key, record, now) {
            return false;
        }
        let first = turn.seek.early_since.is_none();
        let since = *turn.seek.early_since.get_or_insert(now);
        let may_wait = now < since + self.config.limits.early_wait;
        self.stats.early_put_off += u64::from(first);
        self.stats.early_in_doubt += u64::from(!may_wait);
        may_wait
    }

    /// Asks for the call again in a moment.
    pub(crate) fn await_answered(&mut self, now: Instant, key: CallKey, mut turn: Turn) {
        turn.state = State::Pause;
        turn.until = now + self.config.limits.seek_every * EARLY_PAUSES;
        turn.wake_at = turn.until;
        self.keep_turn(key, turn);
    }

    fn pull(&mut self, now: Instant, key: CallKey, mut turn: Turn) {
        self.stats.pulls += 1;
        turn.number = self.next_number();
        turn.state = State::Pull;
        turn.until = now + self.config.limits.lock_wait;
        turn.wake_at = turn.until;
        self.push(Output::Gate(EngineWord::Pull { key, turn: turn.number }));
        self.keep_turn(key, turn);
    }

    /// Nobody could tell in time. Nothing is answered: over UDP the message comes again, while an
    /// answer would end a transaction, or a dialog, that may live.
    fn give_up(&mut self, now: Instant, key: CallKey, turn: Turn) {
        let (sought, others) = split(turn.arrivals, Arrival::is_sought);
        self.stats.dropped_homeless += sought.len() as u64;
        self.go_on(now, key, others);
    }

    /// No site that answers holds the call.
    fn no_such(&mut self, now: Instant, key: CallKey, mut turn: Turn) {
        let (mut sought, others) = split(std::mem::take(&mut turn.arrivals), Arrival::is_sought);
        let ghost = sought.iter().position(|arrival| arrival.kind == Kind::Answer);
        let ghost = ghost.map(|index| sought.remove(index));
        for arrival in sought {
            self.reject(arrival);
        }
        let Some(ghost) = ghost else {
            return self.go_on(now, key, others);
        };
        // RFC 3261 §13.2.2.4: a 2xx that finds no dialog wanted is acknowledged and ended by BYE,
        // or whoever answered is left talking to nobody.
        turn.arrivals = vec![ghost];
        turn.arrivals.extend(others);
        turn.seek.ghost = true;
        self.ask(now, key, turn);
    }

    /// Ends a message that belongs to no call that is known.
    pub(crate) fn reject(&mut self, arrival: Arrival) {
        if let Some(site) = arrival.bounces_to() {
            return self.bounce(arrival, site);
        }
        if arrival.begins() {
            return self.refuse_closed(&arrival);
        }
        match arrival.kind {
            Kind::Begins | Kind::Request => {
                self.stats.no_such_call += 1;
                self.refuse(&arrival, StatusCode::CALL_DOES_NOT_EXIST);
            }
            Kind::Ack | Kind::Answer | Kind::Response => self.stats.strays += 1,
        }
    }

    /// The call lives at a site that answers. What that site, or another, forwarded here already
    /// is not sent on: the record is asked for.
    pub(crate) fn send_away(
        &mut self,
        now: Instant,
        key: CallKey,
        mut turn: Turn,
        site: SiteId,
        record: &Record,
    ) {
        let epoch = record.header.stamp.epoch;
        let arrivals = std::mem::take(&mut turn.arrivals);
        let (forwarded, own) = split(arrivals, Arrival::was_forwarded);
        for arrival in own {
            self.forward(key, &arrival, site, epoch);
        }
        if !forwarded.is_empty() {
            turn.arrivals = forwarded;
            turn.seek.is_given = !is_stub(record);
            self.seek(now, key, turn);
        }
    }

    /// The call lived at a site that does not answer, and only that is known here.
    pub(crate) fn seek_beyond_stub(&mut self, now: Instant, key: CallKey, mut turn: Turn) {
        let (sought, others) = split(std::mem::take(&mut turn.arrivals), Arrival::is_sought);
        for arrival in others {
            self.reject(arrival);
        }
        if !sought.is_empty() {
            turn.arrivals = sought;
            self.seek(now, key, turn);
        }
    }

    fn forward(&mut self, key: CallKey, arrival: &Arrival, site: SiteId, epoch: Epoch) {
        if arrival.was_forwarded() || !self.sites.is_alive(site) {
            self.stats.dropped_homeless += 1;
            return;
        }
        let edge = self.config.redirects.get(&site);
        let redirected = edge.and_then(|edge| {
            forward::redirect(&arrival.message, arrival.source, edge, &self.config.setting.secret)
        });
        if let Some((to, bytes)) = redirected {
            self.stats.redirected += 1;
            return self.send(to, bytes);
        }
        match forward::outgoing(arrival, key, Some(epoch), &self.config.setting) {
            Ok(message) => {
                self.stats.forwarded_out += 1;
                self.push(Output::Gate(EngineWord::ForwardTo { site, message }));
            }
            Err(status) => self.refuse(arrival, status),
        }
    }
}

/// Those that pass, and the others, each in their order.
fn split(arrivals: Vec<Arrival>, pass: fn(&Arrival) -> bool) -> (Vec<Arrival>, Vec<Arrival>) {
    arrivals.into_iter().partition(pass)
}
