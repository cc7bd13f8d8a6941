//! Responses to requests of ours: which request they answer, and who hears of it (RFC 3261 §8.1.3,
//! §12.1.2, §13.2.2, §17.1.3).

use servlet::EndReason;
use sip_message::{HeaderName, Method, Response, StatusCode};
use vocab::TokenKind;

use crate::b2bua::{CSEQ_MAX, Launch};
use crate::call::to_tag;
use crate::compose::{Answer, MAGIC, Outgoing, reversed_routes, usable_contact};
use crate::crossing::{Dialog, LegState};
use crate::local::{Cancel, ClientMachine, Purpose};
use crate::step::{Stepper, forms_dialog, kept_request};
use crate::transaction::{Event, client, invite_client};

impl Stepper<'_> {
    pub(crate) fn on_response(&mut self, response: &Response) {
        // §8.1.3.3: "If more than one Via header field value is present in a response, the UAC
        // SHOULD discard the message."
        if response.headers.values(&HeaderName::Via).count() != 1 {
            return;
        }
        let Some((branch, salt)) = self.branch_of(response) else { return };
        let Ok(cseq) = response.headers.cseq() else { return };
        let is_ours = salt == self.call.crossing.salt;
        let mut askings = self.call.local.askings.iter();
        let found = askings.position(|asking| {
            is_ours && asking.branch() == branch && *asking.method() == cseq.method
        });
        let Some(index) = found else {
            if response.status.is_success() && cseq.method == Method::Invite {
                self.on_stray_2xx(response, branch);
            }
            return;
        };
        let (now, timers) = (self.now, &self.setting.timers);
        let outcome = match &mut self.call.local.askings[index].machine {
            ClientMachine::Invite(machine) => {
                machine.step(now, invite_client::Input::Response(response), timers)
            }
            ClientMachine::Other(machine) => {
                machine.step(now, client::Input::Response(response), timers)
            }
        };
        self.carry_out(&outcome);
        if outcome.event == Some(Event::Response) {
            self.on_answer(index, response);
        }
    }

    /// Ordinal and salt of the branch, if it is one of this call's.
    fn branch_of(&self, response: &Response) -> Option<(u16, u32)> {
        let branch = response.headers.top_branch().ok()??;
        let token = self.setting.secret.read(branch.strip_prefix(MAGIC.as_bytes())?)?;
        let is_ours = token.kind == TokenKind::Branch && token.key == self.call.key;
        is_ours.then_some((token.ordinal, token.salt))
    }

    fn on_answer(&mut self, index: usize, response: &Response) {
        let asking = &self.call.local.askings[index];
        let is_2xx_to_invite = asking.is_invite() && response.status.is_success();
        if is_2xx_to_invite && self.acknowledge_again(response) {
            return;
        }
        let asking = &self.call.local.askings[index];
        if asking.cancel == Cancel::Wanted {
            self.cancel(index);
        }
        let asking = &self.call.local.askings[index];
        let is_initial_invite = asking.is_invite() && !asking.is_in_dialog;
        match asking.purpose {
            Purpose::Relay { serving } if is_initial_invite => {
                self.on_answer_to_initial(index, serving, response);
            }
            Purpose::Relay { serving } => self.on_answer_within(index, serving, response),
            Purpose::Refresh => self.on_refreshed(index, response),
            Purpose::Ending if is_2xx_to_invite => self.on_unwanted_2xx(Some(index), response),
            Purpose::Ending => {}
        }
    }

    /// The callee answers the INVITE that opened its leg.
    fn on_answer_to_initial(&mut self, index: usize, serving: u16, response: &Response) {
        let (callee, cseq) = {
            let asking = &self.call.local.askings[index];
            (asking.leg, asking.cseq)
        };
        if response.status == StatusCode::TRYING {
            return;
        }
        let Some(leg) = self.call.crossing.leg(callee) else { return };
        let (application, state, peer) = (leg.application, leg.state, leg.peer);
        if response.status.is_success() && state != LegState::Opening {
            let answered = leg.dialogs.first().and_then(|dialog| dialog.remote_tag.clone());
            // A repetition for which the caller's ACK has yet to come, or a fork that lost.
            if answered != to_tag(&response.headers) {
                self.on_unwanted_2xx(Some(index), response);
            }
            return;
        }
        if response.status == StatusCode::SESSION_INTERVAL_TOO_SMALL
            && self.ask_again_for_longer(index, response)
        {
            return;
        }
        let fork = self.fork_of(callee, cseq, response);
        let (_, asked) = self.consult(application, Some(callee), |application, cx| {
            application.on_response(cx, response);
        });
        match (response.status.is_provisional(), response.status.is_success()) {
            (true, _) if asked.is_absorbed => {}
            (true, _) => {
                let tag = peer.and_then(|caller| self.tag_for_fork(caller, fork.unwrap_or(0)));
                let answer = self.relayed_answer(peer, response);
                self.respond(serving, Answer { tag, ..answer });
                let has_tag = to_tag(&response.headers).is_some_and(|tag| !tag.is_empty());
                if has_tag && self.setting.early.contains(&application) {
                    self.set_early(callee, true);
                }
            }
            (false, true) => self.on_answered(serving, callee, fork.unwrap_or(0), response),
            (false, false) => {
                let mut answer = self.relayed_answer(peer, response);
                if answer.status == StatusCode::SESSION_INTERVAL_TOO_SMALL {
                    // The caller did not ask for the interval that was refused.
                    answer = Answer::new(StatusCode::SERVER_INTERNAL_ERROR);
                }
                let why = EndReason::Failed(answer.status);
                self.respond(serving, answer);
                self.forget_leg(callee, why);
                if let Some(caller) = peer {
                    self.detach(caller, StatusCode::REQUEST_TERMINATED);
                    self.forget_leg(caller, why);
                }
            }
        }
        self.follow(application, asked);
    }

    /// Both legs ring from here on, or no longer.
    fn set_early(&mut self, callee: u16, is_early: bool) {
        let caller = self.call.crossing.leg(callee).and_then(|leg| leg.peer);
        for id in [Some(callee), caller].into_iter().flatten() {
            if let Some(leg) = self.call.crossing.leg_mut(id) {
                leg.is_early = is_early;
            }
        }
    }

    /// The first 2xx: one dialog on each leg remains.
    fn on_answered(&mut self, serving: u16, callee: u16, fork: u16, response: &Response) {
        self.set_early(callee, false);
        let Some(leg) = self.call.crossing.leg_mut(callee) else { return };
        leg.state = LegState::Confirmed;
        leg.dialogs.retain(|dialog| dialog.fork == fork);
        let caller = leg.peer;
        self.note_session(callee, &response.headers);
        let mut answer = self.relayed_answer(caller, response);
        let request = self.call.local.serving(serving).and_then(|s| s.request.clone());
        let request = request.as_ref().and_then(kept_request);
        if let Some(caller) = caller {
            answer.tag = self.tag_for_fork(caller, fork);
            self.confirm_caller(caller, fork);
            if let Some(request) = &request {
                self.grant_session(caller, request, &mut answer.headers);
            }
        }
        if let Some(request) = request {
            self.respond_to(serving, &request, answer);
        }
    }

    /// The fork of the callee's leg that a response belongs to, a new one if need be (§12.1.2).
    ///
    /// `None` for a response without a tag of its own, and for more forks than we follow; a 2xx
    /// always gets one.
    fn fork_of(&mut self, callee: u16, cseq: u32, response: &Response) -> Option<u16> {
        if !forms_dialog(response) {
            return None;
        }
        let tag = to_tag(&response.headers)?;
        if tag.is_empty() && response.status.is_provisional() {
            return None;
        }
        let limits = &self.setting.limits;
        let routes = reversed_routes(&response.headers, limits.routes_max).unwrap_or_default();
        let target = usable_contact(&response.headers);
        let allows_update = response.headers.has_option_tag(&HeaderName::Allow, "UPDATE");
        let leg = self.call.crossing.leg_mut(callee)?;
        leg.is_update_allowed |= allows_update;
        let known = leg.dialogs.iter().position(|dialog| dialog.remote_tag.as_ref() == Some(&tag));
        let unused = leg.dialogs.iter().position(|dialog| dialog.remote_tag.is_none());
        let at = match known.or(unused) {
            Some(at) => at,
            None if leg.dialogs.len() < limits.forks_max => {
                let first = leg.dialogs.first()?;
                let fork = leg.dialogs.iter().map(|dialog| dialog.fork).max()?.checked_add(1)?;
                let made = Dialog { fork, remote_cseq: None, local_cseq: cseq, ..first.clone() };
                leg.dialogs.push(made);
                leg.dialogs.len() - 1
            }
            None if response.status.is_success() => 0,
            None => return None,
        };
        let dialog = &mut leg.dialogs[at];
        if known.is_none() {
            dialog.remote_tag = Some(tag);
            dialog.remote_cseq = None;
            dialog.local_cseq = cseq;
        }
        // §13.2.2.4: "the route set of the dialog MUST be recomputed based on the 2xx response".
        if known.is_none() || response.status.is_success() {
            dialog.routes = routes;
        }
        if let Some(target) = target {
            dialog.target = target;
        }
        Some(dialog.fork)
    }

    /// Our tag towards the caller for one of the callee's forks: each early dialog has its own.
    fn tag_for_fork(&mut self, caller: u16, fork: u16) -> Option<u16> {
        if let Some(dialog) = self.call.crossing.dialog(caller, fork) {
            return Some(dialog.local_tag);
        }
        let local_tag = self.call.crossing.fresh_ordinal();
        let leg = self.call.crossing.leg_mut(caller)?;
        let made = Dialog { fork, local_tag, ..leg.dialogs.first()?.clone() };
        leg.dialogs.push(made);
        Some(local_tag)
    }

    /// RFC 4028 §7.4: after a 422, "the UAC … MAY retry the request" with the Min-SE of the
    /// response, which must be longer than what was refused: this ends.
    fn ask_again_for_longer(&mut self, index: usize, response: &Response) -> bool {
        let asking = &self.call.local.askings[index];
        let (id, purpose, fork) = (asking.leg, asking.purpose, asking.fork);
        let (to, bytes) = (asking.request().to.clone(), asking.request().bytes.clone());
        if asking.cancel != Cancel::No || !self.learn_min_se(id, response) {
            return false;
        }
        let Some(mut request) = kept_request(&bytes) else { return false };
        let Some(dialog) = self.call.crossing.dialog_mut(id, fork) else { return false };
        dialog.local_cseq = dialog.local_cseq.saturating_add(1).min(CSEQ_MAX);
        dialog.remote_tag = None;
        let cseq = dialog.local_cseq;
        let branch = self.fresh_branch();
        let headers = &mut request.headers;
        headers.set(HeaderName::Via, self.via(branch));
        headers.set(HeaderName::CSeq, format!("{cseq} INVITE"));
        headers.remove(&HeaderName::Supported);
        headers.remove(&HeaderName::SessionExpires);
        headers.remove(&HeaderName::MinSe);
        self.propose_session(id, &Method::Invite, headers);
        self.call.local.askings[index].purpose = Purpose::Ending;
        let outgoing = Outgoing { request, to };
        self.launch(Launch { outgoing, branch, cseq, leg: id, fork, purpose, is_in_dialog: false });
        true
    }

    /// The answer to a relayed request within a dialog, or to one that began none.
    fn on_answer_within(&mut self, index: usize, serving: u16, response: &Response) {
        let asking = &self.call.local.askings[index];
        let (id, fork, is_in_dialog) = (asking.leg, asking.fork, asking.is_in_dialog);
        let method = asking.method().clone();
        if response.status == StatusCode::TRYING {
            return;
        }
        // A repeated 2xx whose ACK the other leg owes.
        let is_owed = self.call.local.serving(serving).is_some_and(|serving| serving.is_pending());
        if !is_owed {
            if !is_in_dialog && response.status.is_final() {
                self.forget_pair(id, EndReason::Bye);
            }
            return;
        }
        let Some(leg) = self.call.crossing.leg(id) else { return };
        let (application, peer) = (leg.application, leg.peer);
        let (_, asked) = self.consult(application, Some(id), |application, cx| {
            application.on_response(cx, response);
        });
        if response.status.is_provisional() && asked.is_absorbed {
            return self.follow(application, asked);
        }
        if response.status.is_final() {
            self.settle_offer(index, response.status);
        }
        let mut answer = self.relayed_answer(peer, response);
        if response.status == StatusCode::SESSION_INTERVAL_TOO_SMALL {
            let _ = self.learn_min_se(id, response);
            answer = Answer::new(StatusCode::SERVER_INTERNAL_ERROR);
        }
        let is_refresh = matches!(method, Method::Invite | Method::Update);
        if is_refresh && response.status.is_success() {
            self.refresh_target(id, fork, &method, &response.headers);
            self.note_session(id, &response.headers);
            let request = self.call.local.serving(serving).and_then(|s| s.request.clone());
            if let (Some(peer), Some(request)) = (peer, request.as_ref().and_then(kept_request)) {
                self.grant_session(peer, &request, &mut answer.headers);
            }
        }
        self.respond(serving, answer);
        if !is_in_dialog && response.status.is_final() {
            self.forget_pair(id, EndReason::Bye);
        } else if ends_dialog(response.status, is_refresh) {
            self.end_pair(id, EndReason::Lost);
        }
        self.follow(application, asked);
    }

    /// §14.1: "If a UA receives a non-2xx final response to a re-INVITE, the session parameters
    /// MUST remain unchanged, as if no re-INVITE had been issued."
    fn settle_offer(&mut self, index: usize, status: StatusCode) {
        let asking = &mut self.call.local.askings[index];
        let (leg, before) = (asking.leg, asking.sdp_before.take());
        let before = before.filter(|_| !status.is_success());
        if let (Some(before), Some(leg)) = (before, self.call.crossing.leg_mut(leg)) {
            leg.sdp = before;
        }
    }

    /// No final response came to a request of ours.
    pub(crate) fn on_timeout(&mut self, index: usize) {
        let asking = &mut self.call.local.askings[index];
        let (id, purpose, is_in_dialog) = (asking.leg, asking.purpose, asking.is_in_dialog);
        let is_refresh = matches!(asking.method(), Method::Invite | Method::Update);
        asking.purpose = Purpose::Ending;
        let timeout = StatusCode::REQUEST_TIMEOUT;
        match purpose {
            Purpose::Relay { serving } => {
                self.respond(serving, Answer::new(timeout));
                if !is_in_dialog {
                    self.forget_pair(id, EndReason::Failed(timeout));
                } else if is_refresh {
                    self.end_pair(id, EndReason::Lost);
                }
            }
            Purpose::Refresh => self.end_pair(id, EndReason::Lost),
            Purpose::Ending => {}
        }
    }
}

/// §12.2.1.2: "If the response for a request within a dialog is a 481 … or a 408 …, the UAC SHOULD
/// terminate the dialog." A 408 to a request that changes nothing says little (RFC 5057 §5.1).
fn ends_dialog(status: StatusCode, is_refresh: bool) -> bool {
    status == StatusCode::CALL_DOES_NOT_EXIST
        || (status == StatusCode::REQUEST_TIMEOUT && is_refresh)
}
