//! Decode, step, encode: the pure middle of a turn, behind a wall that panics do not pass.
//!
//! A turn that panics costs the message that it panicked over, never the engine (design: a poison
//! call can crash one turn of one engine).

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use call::{Call, Changed, DecodeError, Effect, Encoded, Setting, Source};
use sip_message::Message;
use tier_protocol::quarantine::shortened;
use tier_protocol::{Hint, Record, RecordHeader, Veto};
use vocab::{CallKey, Instant, SiteId};

use crate::arrival::Arrival;
use crate::cache::Cached;

/// A deadline is never nearer than this: a call that stays due cannot keep an engine busy without
/// time passing.
const DEADLINE_MIN: Duration = Duration::from_millis(1);

/// What the work starts from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Start<'a> {
    /// No record: the first message begins the call.
    Begin { salt: u32 },
    /// No record anywhere: the first message is a 2xx that is answered with ACK and BYE.
    Ghost,
    /// The call is active here.
    Active(&'a Record),
    /// The same, and this engine still has it decoded.
    Cached(&'a Cached),
    /// The call was dormant: it wakes first.
    Wake(&'a Record),
}

/// The work of one turn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Job<'a> {
    pub(crate) key: CallKey,
    pub(crate) now: Instant,
    pub(crate) here: SiteId,
    pub(crate) setting: &'a Setting,
    pub(crate) start: Start<'a>,
    /// A deadline has passed.
    pub(crate) due: bool,
    /// The record is to be put again, whatever changes.
    pub(crate) restores: bool,
    pub(crate) arrivals: &'a [Arrival],
}

/// What the work came to.
pub(crate) struct Outcome {
    pub(crate) effects: Vec<Effect>,
    /// Effects of the put before, which may not have left.
    pub(crate) unreleased: Vec<Effect>,
    pub(crate) changed: Changed,
    pub(crate) next: Next,
}

/// The call after the work.
pub(crate) enum Next {
    /// Nothing is left of it.
    Over,
    /// The state that is stored explains all: nothing is to be put.
    Same(Box<Call>),
    /// It goes on, in this form.
    Lives(Box<Form>),
}

/// A call as a record needs it.
pub(crate) struct Form {
    pub(crate) call: Box<Call>,
    pub(crate) encoded: Encoded,
    pub(crate) boundary: bool,
    /// Why it should not cross now.
    pub(crate) veto: Option<Veto>,
    /// To other sites the call is over.
    pub(crate) ended: bool,
    pub(crate) hints: Vec<(u16, Hint)>,
}

/// Why the work came to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The record was written by another release.
    UnknownSchema,
    /// The record's sections make no sense.
    Undecodable { why: String },
    /// It panicked: over the message of this index, or over the call itself.
    Panicked { over: Option<usize>, what: String },
    /// The 2xx names nothing that could be ended.
    NoGhost,
}

/// Does the work of one turn. `resume`: the effects of the put before are stored again with those
/// of this one, as they may not have left.
pub(crate) fn work(job: &Job<'_>, resume: bool) -> Result<Outcome, Failure> {
    let at = Cell::new(None);
    let worked = catch_unwind(AssertUnwindSafe(|| job.run(&at, resume)));
    worked.unwrap_or_else(|panic| Err(Failure::Panicked { over: at.get(), what: said(&*panic) }))
}

/// Ends a call without its applications; the form of what lingers, `None` when nothing does.
pub(crate) fn tear_down(
    key: CallKey,
    record: &Record,
    now: Instant,
    setting: &Setting,
) -> Result<(Vec<Effect>, Option<Form>), Failure> {
    let torn = catch_unwind(AssertUnwindSafe(|| {
        let (mut call, _) = decode(key, record, now)?;
        let step = call.tear_down(now, setting);
        let form = (!call.is_over()).then(|| form(call, now, &step.effects));
        Ok((step.effects, form))
    }));
    torn.unwrap_or_else(|panic| Err(Failure::Panicked { over: None, what: said(&*panic) }))
}

/// What a panic said.
fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    shortened(text.unwrap_or("a panic without words"))
}

/// Reads a call that is to go home; `None` when it is not at rest, or cannot be read.
pub(crate) fn form_at_rest(key: CallKey, record: &Record, now: Instant) -> Option<Form> {
    let form = catch_unwind(AssertUnwindSafe(|| {
        let (call, _) = decode(key, record, now).ok()?;
        Some(form(call, now, &[]))
    }));
    let form = form.ok().flatten()?;
    let steady = !form.hints.is_empty() && form.hints.iter().all(|(_, hint)| *hint == Hint::Steady);
    (form.boundary && !form.ended && steady).then_some(form)
}

/// Whether the record is of a call that rings. One that cannot be read does not.
pub(crate) fn rings(key: CallKey, record: &Record, now: Instant) -> bool {
    let rings = catch_unwind(AssertUnwindSafe(|| {
        decode(key, record, now).is_ok_and(|(call, _)| call.rings())
    }));
    rings.unwrap_or(false)
}

impl<'a> Start<'a> {
    /// Whether the call is active here already.
    pub(crate) fn is_active(&self) -> bool {
        match self {
            Self::Active(_) | Self::Cached(_) => true,
            Self::Begin { .. } | Self::Ghost | Self::Wake(_) => false,
        }
    }

    /// The header of the record that the work starts from.
    pub(crate) fn header(&self) -> Option<&'a RecordHeader> {
        match self {
            Self::Active(record) | Self::Wake(record) => Some(&record.header),
            Self::Cached(cached) => Some(&cached.header),
            Self::Begin { .. } | Self::Ghost => None,
        }
    }
}

impl Job<'_> {
    fn run(&self, at: &Cell<Option<usize>>, resume: bool) -> Result<Outcome, Failure> {
        let mut effects = Vec::new();
        let mut changed = Changed::Nothing;
        let mut take = |step: call::Step| {
            effects.extend(step.effects);
            changed = changed.max(step.changed);
        };
        let mut unreleased = Vec::new();
        let mut done = 0;
        let mut call = match self.start {
            Start::Begin { salt } => Call::begin(self.key, salt, self.here, self.now),
            Start::Ghost => {
                at.set(Some(0));
                let (call, step) = self.ghost().ok_or(Failure::NoGhost)?;
                take(step);
                done = 1;
                call
            }
            Start::Active(record) => {
                let (call, before) = decode(self.key, record, self.now)?;
                unreleased = before;
                call
            }
            Start::Cached(cached) => (*cached.call).clone(),
            Start::Wake(record) => {
                let (mut call, _) = decode(self.key, record, self.now)?;
                take(call.step(self.now, call::Input::Activate, self.setting));
                call
            }
        };
        let kept;
        let before = match self.start {
            Start::Cached(cached) => &*cached.call,
            Start::Begin { .. } | Start::Ghost | Start::Active(_) | Start::Wake(_) => {
                kept = call.clone();
                &kept
            }
        };
        if self.due {
            take(call.step_since(before, self.now, call::Input::Due, self.setting));
        }
        for (index, arrival) in self.arrivals.iter().enumerate().skip(done) {
            at.set(Some(index));
            take(call.step_since(before, self.now, input(arrival), self.setting));
        }
        at.set(None);
        // Effects of a state that is already stored need no put, unless others have to leave with
        // them: then both are kept until all have left.
        let same = changed == Changed::Nothing
            && self.start.is_active()
            && !self.due
            && !self.restores
            && (!resume || self.arrivals.is_empty());
        let next = if call.is_over() {
            Next::Over
        } else if same {
            Next::Same(Box::new(call))
        } else if resume {
            let all: Vec<Effect> = unreleased.iter().chain(&effects).cloned().collect();
            Next::Lives(Box::new(form(call, self.now, &all)))
        } else {
            Next::Lives(Box::new(form(call, self.now, &effects)))
        };
        Ok(Outcome { effects, unreleased, changed, next })
    }

    fn ghost(&self) -> Option<(Call, call::Step)> {
        let first = self.arrivals.first()?;
        match &first.message {
            Message::Response(response) => {
                let source = Source { addr: first.source };
                Call::ghost(self.key, response, source, self.now, self.setting)
            }
            Message::Request(_) => None,
        }
    }
}

fn decode(key: CallKey, record: &Record, now: Instant) -> Result<(Call, Vec<Effect>), Failure> {
    let Record { header, crossing, local } = record;
    Call::decode(key, header.schema, crossing, local, header.age, now).map_err(|why| match why {
        DecodeError::UnknownSchema(_) => Failure::UnknownSchema,
        DecodeError::Malformed(_) => Failure::Undecodable { why: why.to_string() },
    })
}

fn form(call: Call, now: Instant, unreleased: &[Effect]) -> Form {
    let mut encoded = call.encode(now, unreleased);
    encoded.deadline = encoded.deadline.map(|after| after.max(DEADLINE_MIN));
    encoded.crossing_deadline = encoded.crossing_deadline.map(|after| after.max(DEADLINE_MIN));
    let hints = call.hints().into_iter().map(|(number, hint)| (number, hint_word(hint)));
    let hints = hints.collect();
    let (veto, ended) = (call.veto(), call.has_ended());
    let boundary = veto.is_none_or(call::Veto::is_at_boundary);
    let veto = veto.map(veto_word);
    Form { encoded, boundary, veto, ended, hints, call: Box::new(call) }
}

fn veto_word(veto: call::Veto) -> Veto {
    match veto {
        call::Veto::Undecided => Veto::Undecided,
        call::Veto::SetUp => Veto::SetUp,
        call::Veto::NoAck => Veto::NoAck,
        call::Veto::Leaving => Veto::Leaving,
        call::Veto::ReInvite => Veto::ReInvite,
        call::Veto::Transaction => Veto::Transaction,
        call::Veto::Application => Veto::Application,
        call::Veto::CloseRequests => Veto::CloseRequests,
    }
}

fn hint_word(hint: servlet::Hint) -> Hint {
    match hint {
        servlet::Hint::Steady => Hint::Steady,
        servlet::Hint::Busy => Hint::Busy,
    }
}

fn input(arrival: &Arrival) -> call::Input<'_> {
    let source = Source { addr: arrival.source };
    match &arrival.message {
        Message::Request(request) => call::Input::Request { request, source },
        Message::Response(response) => call::Input::Response { response, source },
    }
}
