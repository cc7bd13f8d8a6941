//! One step: what comes in is sorted, what was decided is gathered, what ended is told.
//!
//! The work is done by `Stepper`, whose methods are spread over the modules by subject:
//! `initial`, `in_dialog`, `invite`, `response`, `ending`, `session_timer`, `b2bua`, `application`,
//! `activate`.
//! It removes no transaction before the step is over, so that an index into one stays good.

use bytes::Bytes;
use servlet::EndReason;
use sip_message::{Limits, Message, Request, Response, StatusCode, parse_datagram};
use vocab::Instant;

use crate::transaction::{Outcome, Packet};
use crate::{Account, Call, Changed, Effect, Input, Setting, Step};

/// Rounds of due deadlines in one step: an application may set a timer that is due at once.
const DUE_ROUNDS_MAX: usize = 64;

/// A step under way.
pub(crate) struct Stepper<'a> {
    pub(crate) call: &'a mut Call,
    pub(crate) now: Instant,
    pub(crate) setting: &'a Setting,
    pub(crate) effects: Vec<Effect>,
    /// Sessions that ended in this step, of which their applications have not heard.
    pub(crate) ended: Vec<Ended>,
    /// What is to be written down of them.
    pub(crate) accounts: Vec<Account>,
}

/// A session that ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ended {
    pub(crate) leg: u16,
    pub(crate) application: u16,
    pub(crate) why: EndReason,
}

impl Call {
    /// One step: pure and total, no input panics.
    pub fn step(&mut self, now: Instant, input: Input<'_>, setting: &Setting) -> Step {
        let before = self.clone();
        self.step_since(&before, now, input, setting)
    }

    /// As [`Call::step`], where the caller has the call as it was: at this step, or at the first of
    /// several. [`Step::changed`] counts from there.
    pub fn step_since(
        &mut self,
        before: &Call,
        now: Instant,
        input: Input<'_>,
        setting: &Setting,
    ) -> Step {
        self.stepped(before, now, setting, |stepper| match input {
            Input::Request { request, source } => stepper.on_request(request, source),
            Input::Response { response, source } => {
                let _ = source;
                stepper.on_response(response);
            }
            Input::Due => stepper.on_due(),
            Input::Activate => stepper.on_activate(),
        })
    }

    /// Runs one step. Whether it changed something is found by comparing: no path can forget to say
    /// so.
    pub(crate) fn stepped(
        &mut self,
        before: &Call,
        now: Instant,
        setting: &Setting,
        run: impl FnOnce(&mut Stepper<'_>),
    ) -> Step {
        let (effects, ended, accounts) = (Vec::new(), Vec::new(), Vec::new());
        let mut stepper = Stepper { call: self, now, setting, effects, ended, accounts };
        run(&mut stepper);
        stepper.tell_ended();
        let mut effects = stepper.effects;
        let accounts = stepper.accounts.into_iter();
        effects.extend(accounts.map(|account| Effect::Account(Box::new(account))));
        self.local.sweep();
        let changed = if self.crossing == before.crossing {
            match self.local == before.local {
                true => Changed::Nothing,
                false => Changed::Local,
            }
        } else if self.crossing.is_told_by(&before.crossing, setting.cseq_gap) {
            Changed::Local
        } else {
            Changed::Crossing
        };
        Step { effects, changed }
    }
}

impl Stepper<'_> {
    pub(crate) fn send(&mut self, packet: Packet) {
        self.effects.push(Effect::Transmit { to: packet.to, bytes: packet.bytes });
    }

    /// Sends what a machine wants sent; what it wants told is the caller's.
    pub(crate) fn carry_out(&mut self, outcome: &Outcome) {
        if let Some(packet) = &outcome.send {
            self.send(packet.clone());
        }
    }

    /// Lets every deadline that has passed do its work.
    fn on_due(&mut self) {
        for _ in 0..DUE_ROUNDS_MAX {
            if self.call.next_deadline().is_none_or(|at| at > self.now) {
                return;
            }
            self.fire_servings();
            self.fire_askings();
            self.fire_sessions();
            self.fire_application_timers();
        }
    }

    /// Tells applications of the sessions that ended, and of those that end in telling.
    fn tell_ended(&mut self) {
        while !self.ended.is_empty() {
            for ended in std::mem::take(&mut self.ended) {
                let Ended { leg, application, why } = ended;
                self.consult_and_follow(application, Some(leg), |application, cx| {
                    application.on_session_ended(cx, servlet::SessionId(leg), why);
                });
            }
        }
    }
}

/// A request that we kept, as it was.
pub(crate) fn kept_request(bytes: &Bytes) -> Option<Request> {
    match parse_datagram(bytes, &kept_limits()).ok()? {
        Message::Request(request) => Some(request),
        Message::Response(_) => None,
    }
}

/// Beyond all that is configured: what we print was bounded when it was parsed, and printing adds
/// little to it.
fn kept_limits() -> Limits {
    const MAX: usize = 1 << 30;
    Limits {
        message_bytes_max: MAX,
        headers_max: MAX,
        header_bytes_max: MAX,
        header_section_bytes_max: MAX,
    }
}

/// Whether a response may form or confirm a dialog.
pub(crate) fn forms_dialog(response: &Response) -> bool {
    response.status != StatusCode::TRYING
        && (response.status.is_provisional() || response.status.is_success())
}
