//! Requests: which of them repeat something, which belong to a dialog, and what becomes of those
//! that begin something (RFC 3261 §8.2, §17.2.3).

use bytes::Bytes;
use servlet::{Decision, EndReason, KeyView, Side};
use sip_message::{HeaderName, Headers, Method, Request, StatusCode};

use crate::Source;
use crate::call::from_tag;
use crate::compose::{Answer, caller_target, forward_routes, untagged};
use crate::crossing::{Dialog, Leg, LegState};
use crate::local::{ServerMachine, is_merged};
use crate::step::Stepper;
use crate::transaction::{ServerKey, invite_server, server};

/// The application that takes the initial requests which no application names a call by.
const FIRST: u16 = 0;
/// Extensions that may be required of us (RFC 4028).
const SUPPORTED: &str = "timer";

impl Stepper<'_> {
    pub(crate) fn on_request(&mut self, request: &Request, source: Source) {
        match request.method {
            Method::Ack => return self.on_ack(request),
            Method::Cancel => return self.on_cancel(request, source),
            Method::Invite
            | Method::Bye
            | Method::Options
            | Method::Register
            | Method::Prack
            | Method::Subscribe
            | Method::Notify
            | Method::Publish
            | Method::Info
            | Method::Refer
            | Method::Message
            | Method::Update
            | Method::Other(_) => {}
        }
        let Some(key) = ServerKey::of(request) else {
            return self.refuse(request, source, Answer::new(StatusCode::BAD_REQUEST));
        };
        if self.absorb_repetition(&key) {
            return;
        }
        if self.call.local.transactions() >= self.setting.limits.transactions_max {
            return self.refuse_for_now(request, source, StatusCode::SERVICE_UNAVAILABLE);
        }
        let is_in_dialog = request.headers.to_tag().is_ok_and(|tag| tag.is_some());
        if is_in_dialog {
            self.on_request_within(request, key, source);
        } else {
            self.on_request_that_begins(request, key, source);
        }
    }

    /// A request that is served already gets what was answered last, if anything.
    fn absorb_repetition(&mut self, key: &ServerKey) -> bool {
        let (now, timers) = (self.now, &self.setting.timers);
        let mut servings = self.call.local.servings.iter_mut();
        let Some(serving) = servings.find(|serving| serving.key() == key) else { return false };
        let outcome = match &mut serving.machine {
            ServerMachine::Invite(machine) => {
                machine.step(now, invite_server::Input::Request, timers)
            }
            ServerMachine::Other(machine) => machine.step(now, server::Input::Request, timers),
        };
        self.carry_out(&outcome);
        true
    }

    /// A refusal that invites to try again: "a random value of between 0 and 10 seconds" (§14.2).
    /// The value follows from the call's key: a repetition is refused alike.
    pub(crate) fn refuse_for_now(&mut self, request: &Request, source: Source, status: StatusCode) {
        let mut answer = Answer::new(status);
        let after = self.call.key.0[15] % 11;
        answer.headers.push(HeaderName::RetryAfter, after.to_string());
        self.refuse(request, source, answer);
    }

    fn on_request_that_begins(&mut self, request: &Request, key: ServerKey, source: Source) {
        if let Some(answer) = self.objection(request) {
            return self.refuse(request, source, answer);
        }
        let application = self.taker(request);
        let Some(serving) = self.serve(request, key, source, None, application) else {
            return self.refuse(request, source, Answer::new(StatusCode::BAD_REQUEST));
        };
        let (decision, asked) = self.consult(application, None, |application, cx| {
            application.on_initial_request(cx, request)
        });
        let answer = Answer::new(StatusCode::NOT_FOUND);
        match decision {
            Some(decision) => self.decide(serving, request, decision),
            // A container without applications serves nobody.
            None => self.respond(serving, answer),
        }
        self.follow(application, asked);
    }

    /// The application that takes an initial request: the one whose key names the call, as it is
    /// the one that knows what meets in it.
    fn taker(&self, request: &Request) -> u16 {
        let view = KeyView::new(request);
        let mut applications = self.setting.applications.iter();
        let named = applications.position(|application| application.session_key(&view).is_some());
        named.and_then(|index| u16::try_from(index).ok()).unwrap_or(FIRST)
    }

    /// What a UAS checks before it asks anybody (§8.2.2, RFC 4028 §9).
    fn objection(&self, request: &Request) -> Option<Answer> {
        // §8.2.2.1: "If the Request-URI uses a scheme not supported by the UAS, it SHOULD reject
        // the request with a 416 (Unsupported URI Scheme) response."
        if !request.uri.is_sip() {
            return Some(Answer::new(StatusCode::UNSUPPORTED_URI_SCHEME));
        }
        // §8.2.2.2: "If the request has no tag in the To header field, the UAS core MUST check the
        // request against ongoing transactions. If the From tag, Call-ID, and CSeq exactly match
        // those associated with an ongoing transaction, but the request does not match that
        // transaction …, the UAS core SHOULD generate a 482 (Loop Detected) response".
        let is_merged = self.call.local.servings.iter().any(|serving| is_merged(serving, request))
            || self.call.crossing.legs.iter().any(|leg| was_begun_by(leg, request));
        if is_merged {
            return Some(Answer::new(StatusCode::LOOP_DETECTED));
        }
        if let Some(answer) = unsupported(request) {
            return Some(answer);
        }
        if request.method != Method::Invite {
            return None;
        }
        // §8.1.1.8: "The Contact header field MUST be present and contain exactly one SIP or SIPS
        // URI in any request that can result in the establishment of a dialog."
        if caller_target(&request.headers).is_none()
            || forward_routes(&request.headers, self.setting.limits.routes_max).is_none()
        {
            return Some(Answer::new(StatusCode::BAD_REQUEST));
        }
        if refuses_sdp(&request.headers) {
            return Some(Answer::new(StatusCode::NOT_ACCEPTABLE));
        }
        if self.call.crossing.legs.len() + 2 > self.setting.limits.legs_max {
            return Some(Answer::new(StatusCode::SERVICE_UNAVAILABLE));
        }
        self.too_small_interval(request)
    }

    /// Carries out what the application decided for an initial request.
    pub(crate) fn decide(&mut self, serving: u16, request: &Request, decision: Decision) {
        match decision {
            Decision::Respond(reply) if reply.status.is_provisional() => {
                self.respond(serving, Answer::from(reply));
                self.defer(serving, request);
            }
            Decision::Respond(reply) => {
                let is_answered = reply.status.is_success() && request.method == Method::Invite;
                let mut answer = Answer::from(reply);
                if is_answered && let Some(leg) = self.open_caller(serving, request) {
                    self.confirm_caller(leg, 0);
                    self.grant_session(leg, request, &mut answer.headers);
                    answer.body = self.pass_body(leg, &answer.headers, &answer.body);
                }
                self.respond(serving, answer);
            }
            Decision::BackToBack(outbound) => self.open_callee(serving, request, outbound),
            Decision::Defer => self.defer(serving, request),
        }
    }

    /// The final answer comes later, by a timer of the application or for want of one. A request
    /// that is no INVITE is given up by its own transaction.
    fn defer(&mut self, serving: u16, request: &Request) {
        let give_up_at = self.now + self.setting.timers.ring_max;
        let Some(serving) = self.call.local.serving_mut(serving) else { return };
        serving.is_deferred = true;
        serving.request = Some(request.print());
        serving.deferred_until = serving.is_invite().then_some(give_up_at);
    }

    /// The leg of a caller whose request is served: a dialog from the UAS side (§12.1.1).
    pub(crate) fn open_caller(&mut self, serving: u16, request: &Request) -> Option<u16> {
        let headers = &request.headers;
        let dialog = Dialog {
            fork: 0,
            local_tag: self.call.local.serving(serving)?.tag,
            remote_tag: Some(from_tag(headers)?),
            local_cseq: 0,
            remote_cseq: Some(headers.cseq().ok()?.number),
            target: caller_target(headers).unwrap_or_default(),
            routes: forward_routes(headers, self.setting.limits.routes_max)?,
            newer: Bytes::new(),
        };
        let id = self.call.crossing.fresh_ordinal();
        let application = self.call.local.serving(serving)?.application;
        self.call.crossing.legs.push(Leg {
            id,
            site: self.setting.here,
            side: Side::Uas,
            state: LegState::Opening,
            peer: None,
            application,
            call_id: Some(headers.call_id().ok()?.clone()),
            local: untagged(headers.to().ok()?),
            remote: untagged(headers.from().ok()?),
            dialogs: vec![dialog],
            sdp: Bytes::new(),
            sdp_offset: 0,
            is_update_allowed: headers.has_option_tag(&HeaderName::Allow, "UPDATE"),
            min_se_s: 0,
            is_early: false,
            timer: None,
            answered_at: None,
            newer: Bytes::new(),
        });
        if let Some(serving) = self.call.local.serving_mut(serving) {
            serving.leg = Some(id);
        }
        Some(id)
    }

    /// A caller's leg is answered: of its early dialogs, the one of this fork remains.
    pub(crate) fn confirm_caller(&mut self, leg: u16, fork: u16) {
        let now = self.now;
        if let Some(leg) = self.call.crossing.leg_mut(leg) {
            leg.state = LegState::Confirmed;
            leg.answered_at = Some(now);
            leg.dialogs.retain(|dialog| dialog.fork == fork);
        }
    }

    /// Forgets a leg and tells its application.
    pub(crate) fn forget_leg(&mut self, id: u16, why: EndReason) {
        let Some(leg) = self.call.crossing.leg(id) else { return };
        // A leg that was leaving has ended for its application already.
        if leg.state != LegState::Leaving {
            self.note_end(id, why);
        }
        self.call.crossing.remove_leg(id);
    }
}

/// Whether `leg` was begun by this request or a later one: a copy that outlived its transaction, at
/// this site or at the one that the call came from.
fn was_begun_by(leg: &Leg, request: &Request) -> bool {
    let headers = &request.headers;
    let (Ok(cseq), Ok(call_id)) = (headers.cseq(), headers.call_id()) else { return false };
    let remote = leg.dialogs.first();
    request.method == Method::Invite
        && leg.side == Side::Uas
        && leg.call_id.as_ref() == Some(call_id)
        && remote.is_some_and(|dialog| {
            dialog.remote_tag == from_tag(headers)
                && dialog.remote_cseq.is_some_and(|remote| cseq.number <= remote)
        })
}

/// §8.2.2.3: "If a UAS does not understand an option-tag listed in a Require header field, it MUST
/// respond by generating a response with status code 420 (Bad Extension). The UAS MUST add an
/// Unsupported header field, and list in it those options it does not understand".
/// Whether the caller's Accept leaves no room for a session description in an answer. "If no Accept
/// header field is present, the server SHOULD assume a default value of application/sdp" (§20.1).
fn refuses_sdp(headers: &Headers) -> bool {
    let takes = |range: &Bytes| {
        let range = range.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        [&b"application/sdp"[..], b"application/*", b"*/*"]
            .iter()
            .any(|one| range.eq_ignore_ascii_case(one))
            || range.starts_with(b"multipart/")
    };
    headers.contains(&HeaderName::Accept) && !headers.values(&HeaderName::Accept).any(|r| takes(&r))
}

pub(crate) fn unsupported(request: &Request) -> Option<Answer> {
    let tags = request.headers.option_tags(&HeaderName::Require);
    let unknown: Vec<Bytes> =
        tags.into_iter().filter(|tag| !tag.eq_ignore_ascii_case(SUPPORTED.as_bytes())).collect();
    if unknown.is_empty() {
        return None;
    }
    let mut answer = Answer::new(StatusCode::BAD_EXTENSION);
    answer.headers.push(HeaderName::Unsupported, unknown.join(&b", "[..]));
    Some(answer)
}
