//! Requests within a dialog (RFC 3261 §12.2.2, §14.2, §15.1.2; RFC 3311 §5.2).

use servlet::EndReason;
use sip_message::{Method, Request, StatusCode};
use vocab::{Token, TokenKind};

use crate::Source;
use crate::call::{from_tag, to_tag};
use crate::compose::Answer;
use crate::crossing::LegState;
use crate::initial::unsupported;
use crate::step::Stepper;
use crate::transaction::ServerKey;

impl Stepper<'_> {
    /// The leg and the fork that a request belongs to: "the Call-ID, local tag and remote tag of
    /// the dialog" (§12.2.2), of which the local tag is a token of ours.
    pub(crate) fn find_dialog(&self, request: &Request) -> Option<(u16, u16)> {
        let headers = &request.headers;
        let (to_tag, from_tag) = (to_tag(headers)?, from_tag(headers)?);
        let token: Token = self.setting.secret.read(&to_tag)?;
        let crossing = &self.call.crossing;
        if token.kind != TokenKind::Tag || token.key != self.call.key || token.salt != crossing.salt
        {
            return None;
        }
        let call_id = headers.call_id().ok()?;
        let mut legs = crossing.legs.iter().filter(|leg| leg.site == token.site);
        legs.find_map(|leg| {
            let mut dialogs = leg.dialogs.iter();
            let dialog = dialogs.find(|dialog| {
                dialog.local_tag == token.ordinal && dialog.remote_tag.as_ref() == Some(&from_tag)
            })?;
            (self.call_id(leg) == *call_id).then_some((leg.id, dialog.fork))
        })
    }

    pub(crate) fn on_request_within(&mut self, request: &Request, key: ServerKey, source: Source) {
        // §12.2.2: "If the request has a tag in the To header field, but the dialog identifier does
        // not match any existing dialogs, … the UAS … MUST respond with a 481".
        let unknown = Answer::new(StatusCode::CALL_DOES_NOT_EXIST);
        let Some((id, fork)) = self.find_dialog(request) else {
            return self.refuse(request, source, unknown);
        };
        let Some(leg) = self.call.crossing.leg(id).filter(|leg| leg.state != LegState::Leaving)
        else {
            return self.refuse(request, source, unknown);
        };
        let (application, peer) = (leg.application, leg.peer);
        if let Some(refusal) = self.refusal_within(request, id, fork) {
            return match refusal {
                Refusal::Final(answer) => self.refuse(request, source, answer),
                Refusal::ForNow(status) => self.refuse_for_now(request, source, status),
            };
        }
        let Some(serving) = self.serve(request, key, source, Some((id, fork)), application) else {
            return self.refuse(request, source, Answer::new(StatusCode::BAD_REQUEST));
        };
        let close_for = self.setting.timers.t1 * 2;
        self.call.local.note_request(self.now, close_for);
        let cseq = request.headers.cseq().ok().map(|cseq| cseq.number);
        if let Some(dialog) = self.call.crossing.dialog_mut(id, fork) {
            dialog.remote_cseq = cseq;
        }
        if request.method == Method::Bye {
            // §15.1.2: "the UAS core … MUST generate a 2xx response to the BYE", at once: the other
            // leg's answer decides nothing.
            self.respond_to(serving, request, Answer::new(StatusCode::OK));
        }
        let (_, asked) = self.consult(application, Some(id), |application, cx| {
            application.on_request(cx, request);
        });
        if request.method == Method::Bye {
            self.on_bye(id, request);
        } else if let Some(reply) = asked.reply.clone() {
            let mut answer = Answer::from(reply);
            if answer.status.is_success() {
                self.grant_session(id, request, &mut answer.headers);
                answer.body = self.pass_body(id, &answer.headers, &answer.body);
            }
            let is_provisional = answer.status.is_provisional();
            self.respond(serving, answer);
            if is_provisional {
                self.bound_pending(serving);
            }
        } else {
            self.pass_on(serving, request, peer, fork);
        }
        self.follow(application, asked);
    }

    /// An INVITE that the application keeps to itself is refused in the end.
    fn bound_pending(&mut self, serving: u16) {
        let give_up_at = self.now + self.setting.timers.ring_max;
        if let Some(serving) = self.call.local.serving_mut(serving) {
            serving.deferred_until = serving.is_invite().then_some(give_up_at);
        }
    }

    fn pass_on(&mut self, serving: u16, request: &Request, peer: Option<u16>, fork: u16) {
        let dialog = peer.and_then(|peer| self.call.crossing.dialog(peer, fork));
        let Some(peer) = peer.filter(|_| dialog.is_some_and(|dialog| dialog.remote_tag.is_some()))
        else {
            // Nobody is there to hear it, or not yet.
            return self.respond(serving, Answer::new(StatusCode::METHOD_NOT_ALLOWED));
        };
        let is_busy = request.method == Method::Invite
            && (self.call.local.open_invite_to(peer).is_some()
                || self.call.local.open_invite_from(peer).is_some());
        if is_busy {
            // An INVITE of ours is under way there: a refresh. §14.1 forbids a second one.
            return self.respond(serving, Answer::new(StatusCode::REQUEST_PENDING));
        }
        self.relay_request(serving, request, peer, fork);
    }

    /// The other leg hears of the BYE; what this leg still waits for is answered (§15.1.2).
    fn on_bye(&mut self, id: u16, request: &Request) {
        let peer = self.call.crossing.leg(id).and_then(|leg| leg.peer);
        self.detach(id, StatusCode::REQUEST_TERMINATED);
        // Who has left does not wait for a 2xx either.
        let mut servings = self.call.local.servings.iter_mut();
        if let Some(serving) =
            servings.find(|serving| serving.leg == Some(id) && serving.unacknowledged.is_some())
        {
            serving.unacknowledged = None;
        }
        self.forget_leg(id, EndReason::Bye);
        if let Some(peer) = peer {
            self.end_leg(peer, EndReason::Bye, Some(request));
        }
    }

    fn refusal_within(&self, request: &Request, id: u16, fork: u16) -> Option<Refusal> {
        let cseq = request.headers.cseq().ok()?.number;
        let dialog = self.call.crossing.dialog(id, fork)?;
        // §12.2.2: "If the remote sequence number was not empty, but the sequence number of the
        // request is lower than the remote sequence number, the request is out of order and MUST be
        // rejected with a 500 (Server Internal Error) response." An equal one is a repetition that
        // outlived its transaction.
        if dialog.remote_cseq.is_some_and(|remote| cseq <= remote) {
            return Some(Refusal::Final(Answer::new(StatusCode::SERVER_INTERNAL_ERROR)));
        }
        if request.method == Method::Bye {
            // §15: "The callee's UA MUST NOT send a BYE on … an early dialog": there is nothing to
            // end yet but the INVITE, which it can refuse.
            let is_callee = self.call.crossing.leg(id)?.is_opening_callee();
            let early = Refusal::Final(Answer::new(StatusCode::CALL_DOES_NOT_EXIST));
            return is_callee.then_some(early);
        }
        if let Some(answer) = unsupported(request) {
            return Some(Refusal::Final(answer));
        }
        self.glare(request, id).or_else(|| self.too_small_interval(request).map(Refusal::Final))
    }

    /// Two offers at once: §14.2 for INVITE, RFC 3311 §5.2 for UPDATE.
    fn glare(&self, request: &Request, id: u16) -> Option<Refusal> {
        let local = &self.call.local;
        if request.method == Method::Invite {
            // §14.2: "A UAS that receives a second INVITE before it sends the final response to a
            // first INVITE with a lower CSeq sequence number on the same dialog MUST return a 500
            // (Server Internal Error) response to the second INVITE and MUST include a
            // Retry-After".
            if local.open_invite_from(id).is_some() {
                return Some(Refusal::ForNow(StatusCode::SERVER_INTERNAL_ERROR));
            }
            // "A UAS that receives an INVITE on a dialog while an INVITE it had sent on that dialog
            // is in progress MUST return a 491 (Request Pending) response to the received INVITE."
            if local.open_invite_to(id).is_some() {
                return Some(Refusal::Final(Answer::new(StatusCode::REQUEST_PENDING)));
            }
        }
        if request.method == Method::Update && !request.body.is_empty() {
            let is_update = |method: &Method| *method == Method::Update;
            let mut servings = local.servings.iter().filter(|s| s.leg == Some(id));
            if servings.any(|s| s.is_pending() && is_update(&s.key().method)) {
                return Some(Refusal::ForNow(StatusCode::SERVER_INTERNAL_ERROR));
            }
            let mut askings = local.askings.iter().filter(|asking| asking.leg == id);
            if askings.any(|asking| asking.is_pending() && is_update(asking.method())) {
                return Some(Refusal::Final(Answer::new(StatusCode::REQUEST_PENDING)));
            }
        }
        None
    }
}

/// Why a request within a dialog is not served.
enum Refusal {
    Final(Answer),
    /// With Retry-After.
    ForNow(StatusCode),
}
