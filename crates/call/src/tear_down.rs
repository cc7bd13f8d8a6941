//! The end of a call that breaks whoever works it: no application is asked, nothing is relayed.
//!
//! Dialogs get their BYE, requests that wait get a final answer, INVITEs of ours are cancelled.
//! What then lingers is transactions alone, and a leg whose 2xx has no ACK yet: "the callee's UA
//! … MUST NOT send a BYE on a confirmed dialog until it has received an ACK for its 2xx response
//! or until the server transaction times out" (RFC 3261 §15).

use servlet::EndReason;
use sip_message::StatusCode;
use vocab::Instant;

use crate::compose::Answer;
use crate::local::Purpose;
use crate::step::Stepper;
use crate::{Call, Setting, Step};

impl Call {
    /// Ends the call, whatever it is doing, without its applications.
    pub fn tear_down(&mut self, now: Instant, setting: &Setting) -> Step {
        // Not even by mistake is one of them run.
        let setting = Setting { applications: Vec::new(), ..setting.clone() };
        let before = self.clone();
        self.stepped(&before, now, &setting, |stepper| stepper.tear_down())
    }
}

impl Stepper<'_> {
    fn tear_down(&mut self) {
        let legs: Vec<u16> = self.call.crossing.legs.iter().map(|leg| leg.id).collect();
        for leg in legs {
            self.end_leg(leg, EndReason::Lost, None);
        }
        // What belongs to no leg, or to one that is leaving.
        let servings = self.call.local.servings.iter();
        let waiting: Vec<u16> =
            servings.filter(|serving| serving.is_pending()).map(|serving| serving.id).collect();
        for serving in waiting {
            self.respond(serving, Answer::new(StatusCode::SERVER_INTERNAL_ERROR));
        }
        for asking in &mut self.call.local.askings {
            asking.purpose = Purpose::Ending;
        }
        self.call.crossing.applications.clear();
        self.ended.clear();
    }
}
