//! Session timers (RFC 4028): who refreshes a leg, when, and what happens when nobody does.
//!
//! Each leg has its own timer. Refreshes of a peer are relayed like any request; ours stay on their
//! leg. We ask for a timer everywhere, and refresh ourselves where the peer cannot.

use std::time::Duration;

use bytes::Bytes;
use servlet::{EndReason, Side};
use sip_message::{HeaderName, Headers, Method, Request, Response, SessionExpires, StatusCode};
use vocab::Instant;

use crate::b2bua::raised;
use crate::compose::Answer;
use crate::crossing::LegState;
use crate::local::Purpose;
use crate::step::Stepper;

/// §10: "the UAS … SHOULD send a BYE … before the session expires. The minimum of 32 seconds and
/// one third of the session interval is RECOMMENDED."
const BYE_AHEAD_MAX: Duration = Duration::from_secs(32);
/// A refresh that meets another request on its leg is put off by this.
const PUT_OFF: Duration = Duration::from_secs(1);
/// §14.1 of RFC 3261: after a 491, "if the UAC is the owner of the Call-ID …, T has a randomly
/// chosen value between 2.1 and 4 seconds", and below 2 seconds if it is not.
const AFTER_GLARE_OWNER: Duration = Duration::from_millis(2_600);
const AFTER_GLARE_OTHER: Duration = Duration::from_millis(900);
/// A failed refresh is not tried again when less than this remains.
const WORTH_TRYING: Duration = Duration::from_secs(2);
/// A peer may name any interval, 136 years included; ours runs no longer than this. **Deviation**
/// from §7.2 and §9 for longer ones: a session that is refreshed less often than daily is ended.
const INTERVAL_MAX: Duration = Duration::from_secs(86_400);
const SUPPORTED: &str = "timer";

/// The session timer of one leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SessionTimer {
    pub(crate) interval: Duration,
    pub(crate) refresher: Refresher,
    /// When we refresh; `None` when the peer does, or while a refresh of ours is on its way.
    pub(crate) refresh_at: Option<Instant>,
    /// When the session ends for want of a refresh.
    pub(crate) expire_at: Instant,
}

/// Which side of a leg refreshes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refresher {
    Us,
    Peer,
}

impl SessionTimer {
    fn start(interval: Duration, refresher: Refresher, now: Instant) -> Self {
        let ahead = BYE_AHEAD_MAX.min(interval / 3);
        let refresh_at = match refresher {
            // §7.2: "It is RECOMMENDED that this refresh be sent once half the session interval has
            // elapsed."
            Refresher::Us => Some(now + interval / 2),
            Refresher::Peer => None,
        };
        Self { interval, refresher, refresh_at, expire_at: now + (interval - ahead) }
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        Some(self.refresh_at.map_or(self.expire_at, |at| at.min(self.expire_at)))
    }
}

impl Stepper<'_> {
    /// §9: "If the Session-Expires interval is shorter than the UAS's minimum, the UAS … MUST
    /// respond with a 422", if the peer supports session timers and so understands it.
    pub(crate) fn too_small_interval(&self, request: &Request) -> Option<Answer> {
        let is_refresh = matches!(request.method, Method::Invite | Method::Update);
        let min_se_s = seconds(self.setting.session.min_se);
        let wanted = request.headers.session_expires().ok().flatten()?.seconds;
        let is_understood = request.headers.has_option_tag(&HeaderName::Supported, SUPPORTED);
        if !is_refresh || !is_understood || wanted >= min_se_s {
            return None;
        }
        let mut answer = Answer::new(StatusCode::SESSION_INTERVAL_TOO_SMALL);
        answer.headers.push(HeaderName::MinSe, min_se_s.to_string());
        Some(answer)
    }

    /// Adds what a request of ours says about the session timer of its leg (§7.1).
    pub(crate) fn propose_session(&self, leg: u16, method: &Method, headers: &mut Headers) {
        if !matches!(method, Method::Invite | Method::Update) {
            return;
        }
        headers.push(HeaderName::Supported, SUPPORTED);
        let Some(leg) = self.call.crossing.leg(leg) else { return };
        let session = &self.setting.session;
        let (min_se_s, ours_s) =
            (leg.min_se_s.max(seconds(session.min_se)), seconds(session.session_expires));
        let (refresher, interval_s) = match leg.timer {
            None => (None, ours_s),
            // §7.4: "If the UA is refreshing the session, the refresher parameter … uac", and the
            // role does not change in a re-INVITE that only passes through us.
            Some(timer) => {
                let refresher = match timer.refresher {
                    Refresher::Us => sip_message::Refresher::Uac,
                    Refresher::Peer => sip_message::Refresher::Uas,
                };
                (Some(refresher), seconds(timer.interval))
            }
        };
        let value = SessionExpires { seconds: interval_s.max(min_se_s), refresher };
        headers.push(HeaderName::SessionExpires, value.to_string());
        headers.push(HeaderName::MinSe, min_se_s.to_string());
    }

    /// Starts the timer of a leg whose peer answered our INVITE or UPDATE with a 2xx (§7.2).
    pub(crate) fn note_session(&mut self, leg: u16, headers: &Headers) {
        let ours = self.setting.session.session_expires;
        let (interval, refresher) = match headers.session_expires().ok().flatten() {
            Some(expires) => {
                let refresher = match expires.refresher {
                    Some(sip_message::Refresher::Uas) => Refresher::Peer,
                    Some(sip_message::Refresher::Uac) | None => Refresher::Us,
                };
                (self.bounded(expires.seconds), refresher)
            }
            // §7.2: "If the 2xx response did not contain a Session-Expires header field, there is
            // no session expiration" for the peer. We keep a timer of our own.
            None => (ours, Refresher::Us),
        };
        self.start_timer(leg, interval, refresher);
    }

    /// Adds what our 2xx to an INVITE or UPDATE of the leg's peer says, and starts the timer (§9).
    pub(crate) fn grant_session(&mut self, leg: u16, request: &Request, headers: &mut Headers) {
        if !matches!(request.method, Method::Invite | Method::Update) {
            return;
        }
        let is_supported = request.headers.has_option_tag(&HeaderName::Supported, SUPPORTED);
        let wanted = request.headers.session_expires().ok().flatten();
        let least_s = request.headers.min_se().ok().flatten().unwrap_or(0);
        let ours_s = seconds(self.setting.session.session_expires);
        // "The UAS … MAY reduce its value, but it MUST NOT set it to a value lower than the value
        // indicated by the Min-SE".
        let interval_s = wanted.map_or(ours_s, |wanted| wanted.seconds.min(ours_s)).max(least_s);
        let interval = self.bounded(interval_s);
        // Table 2: without support for session timers only the UAS can refresh.
        let asked = wanted.and_then(|wanted| wanted.refresher);
        let refresher = match (is_supported, asked) {
            (true, Some(sip_message::Refresher::Uac) | None) => Refresher::Peer,
            (true, Some(sip_message::Refresher::Uas)) | (false, _) => Refresher::Us,
        };
        headers.push(HeaderName::Supported, SUPPORTED);
        let named = match refresher {
            Refresher::Peer => {
                // "If the refresher parameter … is "uac", the UAS MUST place a Require header field
                // into the response with the value timer".
                headers.push(HeaderName::Require, SUPPORTED);
                sip_message::Refresher::Uac
            }
            Refresher::Us => sip_message::Refresher::Uas,
        };
        let value = SessionExpires { seconds: seconds(interval), refresher: Some(named) };
        headers.push(HeaderName::SessionExpires, value.to_string());
        self.start_timer(leg, interval, refresher);
    }

    fn start_timer(&mut self, leg: u16, interval: Duration, refresher: Refresher) {
        let (now, interval) = (self.now, interval.min(INTERVAL_MAX));
        if let Some(leg) = self.call.crossing.leg_mut(leg) {
            leg.timer = Some(SessionTimer::start(interval, refresher, now));
        }
    }

    /// An interval that a peer named, not shorter than our own minimum.
    fn bounded(&self, interval_s: u32) -> Duration {
        Duration::from_secs(interval_s.into()).max(self.setting.session.min_se)
    }

    /// Remembers the Min-SE of a 422; `false` when it asks for nothing longer than before.
    pub(crate) fn learn_min_se(&mut self, leg: u16, response: &Response) -> bool {
        let Some(min_se_s) = response.headers.min_se().ok().flatten() else { return false };
        let Some(leg) = self.call.crossing.leg_mut(leg) else { return false };
        if min_se_s <= leg.min_se_s {
            return false;
        }
        leg.min_se_s = min_se_s;
        true
    }

    /// Refreshes and expiries that are due.
    pub(crate) fn fire_sessions(&mut self) {
        let ids: Vec<u16> = self.call.crossing.legs.iter().map(|leg| leg.id).collect();
        for id in ids {
            let Some(timer) = self.call.crossing.leg(id).and_then(|leg| leg.timer) else {
                continue;
            };
            if timer.expire_at <= self.now {
                self.end_pair(id, EndReason::Expired);
            } else if timer.refresh_at.is_some_and(|at| at <= self.now) {
                self.refresh(id);
            }
        }
    }

    /// Refreshes a leg, once: the timer starts again with the answer.
    fn refresh(&mut self, id: u16) {
        let local = &self.call.local;
        let is_busy = local.open_invite_to(id).is_some()
            || local.open_invite_from(id).is_some()
            || local.transactions() >= self.setting.limits.transactions_max;
        let Some(leg) = self.call.crossing.leg(id) else { return };
        if is_busy || leg.state != LegState::Confirmed {
            return self.refresh_again(id, PUT_OFF);
        }
        let (sdp, fork) = (raised(&leg.sdp, leg.sdp_offset), leg.dialogs[0].fork);
        // §7.4: "It is RECOMMENDED that the UPDATE request not contain an offer", but "a re-INVITE
        // refresh … SHOULD contain an offer".
        let is_update = leg.is_update_allowed || sdp.is_empty();
        let method = if is_update { Method::Update } else { Method::Invite };
        if let Some(timer) = self.call.crossing.leg_mut(id).and_then(|leg| leg.timer.as_mut()) {
            timer.refresh_at = None;
        }
        self.ask_within(id, fork, &method, Purpose::Refresh, |stepper, made| {
            stepper.propose_session(id, &made.method.clone(), &mut made.headers);
            if !is_update {
                let kind = Bytes::from_static(b"application/sdp");
                made.headers.push(HeaderName::ContentType, kind);
                made.body = sdp;
            }
        });
    }

    fn refresh_again(&mut self, id: u16, after: Duration) {
        let at = self.now + after;
        if let Some(timer) = self.call.crossing.leg_mut(id).and_then(|leg| leg.timer.as_mut()) {
            timer.refresh_at = Some(at);
        }
    }

    /// The answer to a refresh of ours.
    pub(crate) fn on_refreshed(&mut self, index: usize, response: &Response) {
        let asking = &self.call.local.askings[index];
        let (id, fork, method) = (asking.leg, asking.fork, asking.method().clone());
        let status = response.status;
        if status.is_provisional() {
            return;
        }
        let Some(leg) = self.call.crossing.leg(id) else { return };
        let side = leg.side;
        if status.is_success() {
            self.refresh_target(id, fork, &method, &response.headers);
            self.note_session(id, &response.headers);
            return self.acknowledge(index, None);
        }
        if status == StatusCode::SESSION_INTERVAL_TOO_SMALL && self.learn_min_se(id, response) {
            return self.refresh(id);
        }
        let is_unknown =
            status == StatusCode::METHOD_NOT_ALLOWED || status == StatusCode::NOT_IMPLEMENTED;
        if is_unknown && method == Method::Update {
            let Some(leg) = self.call.crossing.leg_mut(id) else { return };
            leg.is_update_allowed = false;
            if !leg.sdp.is_empty() {
                return self.refresh(id);
            }
            // Nothing that we could send refreshes this session, as when it was described in a
            // form that is passed on unread. The peer answers, and a timer that it asked for is its
            // own to end the session by: ours goes on.
            if let Some(timer) = leg.timer {
                return self.start_timer(id, timer.interval, timer.refresher);
            }
        }
        // §10: "if the response to the refresh is a 481 or a 408", the session is over.
        if status == StatusCode::CALL_DOES_NOT_EXIST || status == StatusCode::REQUEST_TIMEOUT {
            return self.end_pair(id, EndReason::Lost);
        }
        if status == StatusCode::REQUEST_PENDING {
            let after = match side {
                Side::Uac => AFTER_GLARE_OWNER,
                Side::Uas => AFTER_GLARE_OTHER,
            };
            return self.refresh_again(id, after);
        }
        let expire_at = self.call.crossing.leg(id).and_then(|leg| leg.timer).map(|t| t.expire_at);
        let left = expire_at.map_or(Duration::ZERO, |at| at.since(self.now));
        if left > WORTH_TRYING {
            self.refresh_again(id, left / 2);
        }
    }
}

fn seconds(interval: Duration) -> u32 {
    u32::try_from(interval.as_secs()).unwrap_or(u32::MAX)
}
