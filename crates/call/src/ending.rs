//! How legs end: BYE, CANCEL or a failure, by where they stand (RFC 3261 §15).

use servlet::{EndReason, Side};
use sip_message::{HeaderName, Method, Request, StatusCode};

use crate::compose::Answer;
use crate::crossing::LegState;
use crate::local::Purpose;
use crate::step::Stepper;

impl Stepper<'_> {
    /// Ends a leg and the one that is linked with it.
    pub(crate) fn end_pair(&mut self, id: u16, why: EndReason) {
        let peer = self.call.crossing.leg(id).and_then(|leg| leg.peer);
        self.end_leg(id, why, None);
        if let Some(peer) = peer {
            self.end_leg(peer, why, None);
        }
    }

    /// Ends a leg from our side. `cause` is what the other leg sent: its Reason is passed on.
    pub(crate) fn end_leg(&mut self, id: u16, why: EndReason, cause: Option<&Request>) {
        let Some(leg) = self.call.crossing.leg(id) else { return };
        match leg.state {
            LegState::Leaving => {}
            LegState::Opening => match leg.side {
                Side::Uac => {
                    let mut askings = self.call.local.askings.iter();
                    let invite = askings.position(|asking| {
                        asking.leg == id && !asking.is_in_dialog && asking.is_pending()
                    });
                    self.detach(id, StatusCode::REQUEST_TERMINATED);
                    if let Some(invite) = invite {
                        self.cancel(invite);
                    }
                    self.forget_leg(id, why);
                }
                Side::Uas => {
                    self.detach(id, failure_of(why));
                    self.forget_leg(id, why);
                }
            },
            LegState::Confirmed => {
                self.detach(id, StatusCode::REQUEST_TERMINATED);
                if self.call.local.open_invite_from(id).is_some() {
                    self.leave(id, why);
                } else {
                    self.ended_at_last(id, why, cause);
                }
            }
        }
    }

    /// The leg has a 2xx of ours without an ACK: its BYE waits.
    fn leave(&mut self, id: u16, why: EndReason) {
        let Some(leg) = self.call.crossing.leg_mut(id) else { return };
        leg.state = LegState::Leaving;
        leg.timer = None;
        self.note_end(id, why);
    }

    fn ended_at_last(&mut self, id: u16, why: EndReason, cause: Option<&Request>) {
        self.note_end(id, why);
        self.say_bye(id, cause);
    }

    /// Sends a BYE and forgets the leg: "The UAC MUST consider the session terminated … once the
    /// BYE request is passed to the client transaction" (§15.1.1). Its end was told before.
    pub(crate) fn say_bye(&mut self, id: u16, cause: Option<&Request>) {
        let Some(leg) = self.call.crossing.leg(id) else { return };
        if let Some(fork) = leg.dialogs.first().map(|dialog| dialog.fork) {
            self.ask_within(id, fork, &Method::Bye, Purpose::Ending, |_, made| {
                let reasons = cause.map(|cause| cause.headers.get_all(&HeaderName::Reason));
                for reason in reasons.into_iter().flatten() {
                    made.headers.push(HeaderName::Reason, reason.clone());
                }
            });
        }
        self.call.crossing.remove_leg(id);
    }

    /// Cuts a leg's transactions off from the rest of the call: requests of its peer that are
    /// pending get `status`, a 2xx of its peer gets its ACK, and nobody hears of further answers.
    pub(crate) fn detach(&mut self, id: u16, status: StatusCode) {
        let servings = self.call.local.servings.iter();
        let pending: Vec<u16> = servings
            .filter(|serving| serving.leg == Some(id) && serving.is_pending())
            .map(|serving| serving.id)
            .collect();
        for serving in pending {
            self.respond(serving, Answer::new(status));
        }
        for index in 0..self.call.local.askings.len() {
            let asking = &self.call.local.askings[index];
            if asking.leg == id && asking.purpose != Purpose::Ending {
                self.acknowledge(index, None);
                self.call.local.askings[index].purpose = Purpose::Ending;
            }
        }
    }
}

/// What a caller hears whose INVITE is not going to be answered.
fn failure_of(why: EndReason) -> StatusCode {
    match why {
        EndReason::Bye | EndReason::Cancelled => StatusCode::REQUEST_TERMINATED,
        EndReason::Failed(status) => status,
        EndReason::Expired => StatusCode::REQUEST_TIMEOUT,
        EndReason::Lost => StatusCode::SERVER_INTERNAL_ERROR,
        EndReason::Ended => StatusCode::TEMPORARILY_UNAVAILABLE,
    }
}
