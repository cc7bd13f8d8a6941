//! Running the callbacks of applications and carrying out what they ask for.

use servlet::container::{Action, Scene};
use servlet::{Application, Cx, Decision, EndReason, Reply};
use sip_message::StatusCode;

use crate::compose::Answer;
use crate::step::{Stepper, kept_request};

/// What a callback asked for, beyond what was carried out at once.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    pub(crate) reply: Option<Reply>,
    pub(crate) is_absorbed: bool,
    end: bool,
    decision: Option<Decision>,
}

impl Stepper<'_> {
    /// Runs a callback. Attributes, timers and the hint are kept at once; the rest is returned.
    /// `None` in place of the callback's own answer when the setting has no such application.
    pub(crate) fn consult<T>(
        &mut self,
        index: u16,
        current: Option<u16>,
        run: impl FnOnce(&dyn Application, &mut Cx<'_>) -> T,
    ) -> (Option<T>, Asked) {
        let Some(application) = self.setting.applications.get(usize::from(index)) else {
            return (None, Asked::default());
        };
        let sessions = self.call.crossing.session_views();
        let state = self.call.crossing.application_mut(index);
        let scene = Scene {
            now: self.now,
            sessions: &sessions,
            current: current.map(servlet::SessionId),
            attributes: &state.attributes,
            timers: &state.timers,
            limits: self.setting.limits.application,
        };
        let mut cx = Cx::new(&scene);
        let answer = run(application.as_ref(), &mut cx);
        let actions = cx.into_actions();
        (Some(answer), self.keep(index, actions))
    }

    /// Runs a callback that is about no message, and carries out all it asks for.
    pub(crate) fn consult_and_follow(
        &mut self,
        index: u16,
        current: Option<u16>,
        run: impl FnOnce(&dyn Application, &mut Cx<'_>),
    ) {
        let (_, asked) = self.consult(index, current, run);
        self.follow(index, asked);
    }

    fn keep(&mut self, index: u16, actions: Vec<Action>) -> Asked {
        let (now, timers_max) = (self.now, self.setting.limits.application.timers_max);
        let state = self.call.crossing.application_mut(index);
        let mut asked = Asked::default();
        for action in actions {
            match action {
                Action::SetTimer { name, after } => {
                    if state.timers.contains_key(&name) || state.timers.len() < timers_max {
                        state.timers.insert(name, now + after);
                    }
                }
                Action::CancelTimer { name } => {
                    state.timers.remove(&name);
                }
                Action::SetAttribute { name, value: Some(value) } => {
                    state.attributes.insert(name, value);
                }
                Action::SetAttribute { name, value: None } => {
                    state.attributes.remove(&name);
                }
                Action::Hint(hint) => state.hint = Some(hint),
                // What is neither answered nor absorbed is relayed.
                Action::Relay => {}
                Action::Respond(reply) => asked.reply = Some(reply),
                Action::Absorb => asked.is_absorbed = true,
                Action::End => asked.end = true,
                Action::Decide(decision) => asked.decision = Some(decision),
            }
        }
        asked
    }

    /// Carries out what ends or begins something.
    pub(crate) fn follow(&mut self, index: u16, asked: Asked) {
        if let Some(decision) = asked.decision {
            self.decide_deferred(index, decision);
        }
        if asked.end {
            self.end_application(index);
        }
    }

    fn decide_deferred(&mut self, index: u16, decision: Decision) {
        let deferred = self.call.local.servings.iter_mut().find(|serving| {
            serving.application == index && serving.is_deferred && serving.is_pending()
        });
        let Some(serving) = deferred else { return };
        serving.is_deferred = false;
        serving.deferred_until = None;
        let (id, request) = (serving.id, serving.request.as_ref().and_then(kept_request));
        if let Some(request) = request {
            self.decide(id, &request, decision);
        }
    }

    /// Ends every session of an application, and every request that waits for its decision.
    fn end_application(&mut self, index: u16) {
        let of_it = |application: u16| application == index;
        let legs: Vec<u16> = self
            .call
            .crossing
            .legs
            .iter()
            .filter(|leg| of_it(leg.application))
            .map(|leg| leg.id)
            .collect();
        for leg in legs {
            self.end_leg(leg, EndReason::Ended, None);
        }
        let waiting = self.call.local.servings.iter();
        let waiting: Vec<u16> = waiting
            .filter(|serving| of_it(serving.application) && serving.is_deferred)
            .map(|serving| serving.id)
            .collect();
        for serving in waiting {
            self.respond(serving, Answer::new(StatusCode::TEMPORARILY_UNAVAILABLE));
        }
    }

    /// Calls `on_timer` for every timer that has passed.
    pub(crate) fn fire_application_timers(&mut self) {
        let now = self.now;
        let mut due = Vec::new();
        for state in &mut self.call.crossing.applications {
            let passed = state.timers.iter().filter(|(_, at)| **at <= now);
            let mut passed: Vec<_> = passed.map(|(name, at)| (*at, name.clone())).collect();
            passed.sort();
            for (_, name) in passed {
                state.timers.remove(&name);
                due.push((state.index, name));
            }
        }
        for (index, name) in due {
            self.consult_and_follow(index, None, |application, cx| application.on_timer(cx, &name));
        }
    }
}

impl From<Reply> for Answer {
    fn from(reply: Reply) -> Self {
        let Reply { status, reason, headers, body } = reply;
        Self { status, reason, headers, body, tag: None }
    }
}
