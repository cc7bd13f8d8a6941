//! What belongs to INVITE alone: ACK, CANCEL, and the 2xx that waits for its ACK (RFC 3261 §9,
//! §13.2.2.4, §13.3.1.4; RFC 6026).

use bytes::Bytes;
use servlet::EndReason;
use sip_message::{HeaderName, Method, Request, Response, StatusCode};

use crate::Source;
use crate::b2bua::{Launch, copy_end_to_end, is_relayed_in_request};
use crate::call::{from_tag, to_tag};
use crate::compose::{Answer, aside, packet};
use crate::crossing::LegState;
use crate::local::{Acked, Asking, Cancel, ClientMachine, Purpose, ServerMachine};
use crate::step::Stepper;
use crate::transaction::{Event, Packet, Unacknowledged, cancel_of, invite_client, invite_server};

/// More than a dialog's CSeq grows in its life, gaps of activations included: the BYE of a dialog
/// that is not known here must not be taken for an old request.
const UNKNOWN_REQUESTS: u32 = 1 << 20;

impl Stepper<'_> {
    /// An ACK: of a 2xx if it belongs to a dialog, else of a failure. Never answered.
    pub(crate) fn on_ack(&mut self, request: &Request) {
        if let Some(serving) = self.accepted_invite(request) {
            return self.on_ack_of_2xx(serving, request);
        }
        let (now, timers) = (self.now, &self.setting.timers);
        let mut servings = self.call.local.servings.iter_mut();
        let Some(serving) = servings.find(|serving| serving.key().acknowledged_by(request)) else {
            return;
        };
        let id = serving.id;
        let ServerMachine::Invite(machine) = &mut serving.machine else { return };
        let outcome = machine.step(now, invite_server::Input::Ack, timers);
        self.carry_out(&outcome);
        if outcome.event == Some(Event::Ack) {
            self.on_ack_of_2xx(id, request);
        }
    }

    /// The INVITE whose 2xx this ACK acknowledges: "the sequence number of the CSeq header field in
    /// the ACK MUST be the same as the INVITE being acknowledged" (§13.2.2.4).
    fn accepted_invite(&self, ack: &Request) -> Option<u16> {
        let (leg, _) = self.find_dialog(ack)?;
        let cseq = ack.headers.cseq().ok()?.number;
        let mut servings = self.call.local.servings.iter();
        let serving = servings.find(|serving| {
            serving.leg == Some(leg)
                && serving.cseq == cseq
                && serving.is_invite()
                && serving.unacknowledged.is_some()
        })?;
        Some(serving.id)
    }

    fn on_ack_of_2xx(&mut self, id: u16, ack: &Request) {
        let Some(serving) = self.call.local.serving_mut(id) else { return };
        if serving.unacknowledged.take().is_none() {
            return;
        }
        let leg = serving.leg;
        if let Some(index) = self.asking_for(id) {
            self.acknowledge(index, Some(ack));
        }
        let state = leg.and_then(|leg| self.call.crossing.leg(leg)).map(|leg| leg.state);
        if let (Some(leg), Some(LegState::Leaving)) = (leg, state) {
            self.say_bye(leg, None);
        }
    }

    /// The request of ours that a served one became.
    pub(crate) fn asking_for(&self, serving: u16) -> Option<usize> {
        let mut askings = self.call.local.askings.iter();
        askings.position(|asking| asking.purpose == Purpose::Relay { serving })
    }

    /// Acknowledges the 2xx to an INVITE of ours, once, and keeps the ACK for its repetitions.
    pub(crate) fn acknowledge(&mut self, index: usize, ack: Option<&Request>) {
        let Some(asking) = self.call.local.askings.get(index) else { return };
        if !asking.is_accepted() || asking.is_acknowledged {
            return;
        }
        let (id, cseq) = (asking.leg, asking.cseq);
        let Some(dialog) = self.dialog_of(asking) else { return };
        let branch = self.fresh_branch();
        let Some(mut outgoing) = self.ack_within(id, dialog, cseq, branch) else { return };
        if let Some(ack) = ack {
            let headers = &mut outgoing.request.headers;
            copy_end_to_end(&ack.headers, headers, is_relayed_in_request);
            outgoing.request.body = self.pass_body(id, &ack.headers, &ack.body);
        }
        let tag = self.call.crossing.dialog(id, dialog).and_then(|d| d.remote_tag.clone());
        let packet = packet(&outgoing);
        let asking = &mut self.call.local.askings[index];
        asking.is_acknowledged = true;
        asking.acks.push(Acked { tag: tag.unwrap_or_default(), packet: packet.clone() });
        self.send(packet);
    }

    /// The fork that an INVITE of ours was answered by, or was sent on.
    fn dialog_of(&self, asking: &Asking) -> Option<u16> {
        if asking.is_in_dialog {
            return Some(asking.fork);
        }
        Some(self.call.crossing.leg(asking.leg)?.dialogs.first()?.fork)
    }

    /// Sends the stored ACK of this 2xx again, if there is one.
    pub(crate) fn acknowledge_again(&mut self, response: &Response) -> bool {
        let Some(tag) = to_tag(&response.headers) else { return false };
        let Ok(call_id) = response.headers.call_id() else { return false };
        let Ok(cseq) = response.headers.cseq() else { return false };
        let is_of_it = |asking: &&Asking| {
            asking.cseq == cseq.number
                || (*asking.method() == Method::Bye && asking.purpose == Purpose::Ending)
        };
        let askings = self.call.local.askings.iter().filter(is_of_it);
        let packet = askings
            .flat_map(|asking| &asking.acks)
            .find(|acked| acked.tag == tag && contains(&acked.packet.bytes, call_id))
            .map(|acked| acked.packet.clone());
        let Some(packet) = packet else { return false };
        self.send(packet);
        true
    }

    /// A 2xx that nobody wants: of a fork that lost, or after the caller gave up.
    ///
    /// §13.2.2.4: "If, after acknowledging any 2xx response to an INVITE, the UAC does not want to
    /// continue with that dialog, then the UAC MUST terminate the dialog by sending a BYE".
    pub(crate) fn on_unwanted_2xx(&mut self, index: Option<usize>, response: &Response) {
        let (Some(tag), Ok(cseq)) = (to_tag(&response.headers), response.headers.cseq()) else {
            return;
        };
        let branch = self.fresh_branch();
        let Some(ack) = self.out_of_2xx(response, Method::Ack, cseq.number, branch) else { return };
        let packet = packet(&ack);
        self.send(packet.clone());
        let acked = Acked { tag, packet };
        let limits = &self.setting.limits;
        if let Some(asking) = index.and_then(|index| self.call.local.askings.get_mut(index)) {
            // Once nobody waits for the INVITE, this is the ACK that counts.
            asking.is_acknowledged |= asking.purpose == Purpose::Ending;
            if asking.acks.len() < limits.forks_max {
                asking.acks.push(acked.clone());
            }
            // Its dialog had a BYE of ours already, or will have.
            if asking.is_in_dialog {
                return;
            }
        }
        if self.call.local.transactions() >= limits.transactions_max {
            return;
        }
        // The dialog may have seen requests that this call does not know of.
        let cseq = cseq.number.saturating_add(UNKNOWN_REQUESTS).min(crate::b2bua::CSEQ_MAX);
        let branch = self.fresh_branch();
        let Some(outgoing) = self.out_of_2xx(response, Method::Bye, cseq, branch) else { return };
        let (leg, fork, purpose) = (0, 0, Purpose::Ending);
        self.launch(Launch { outgoing, branch, cseq, leg, fork, purpose, is_in_dialog: true });
        if let Some(bye) = self.call.local.askings.last_mut() {
            bye.acks.push(acked);
        }
    }

    /// A 2xx to an INVITE whose transaction is gone: of a dialog that we hold, or of none.
    pub(crate) fn on_stray_2xx(&mut self, response: &Response, branch: u16) {
        if self.acknowledge_again(response) {
            return;
        }
        let (Some(tag), Ok(cseq)) = (to_tag(&response.headers), response.headers.cseq()) else {
            return;
        };
        let mut legs = self.call.crossing.legs.iter();
        let held = legs.find_map(|leg| {
            let mut dialogs = leg.dialogs.iter();
            let dialog = dialogs.find(|dialog| dialog.remote_tag.as_ref() == Some(&tag))?;
            let is_its = response.headers.call_id().is_ok_and(|id| *id == self.call_id(leg));
            is_its.then_some((leg.id, dialog.fork))
        });
        match held {
            // The state does not change: it is the same ACK for each repetition.
            Some((leg, fork)) => {
                if let Some(ack) = self.ack_within(leg, fork, cseq.number, aside(branch)) {
                    self.send(packet(&ack));
                }
            }
            None => self.on_unwanted_2xx(None, response),
        }
    }

    /// CANCEL (§9.2): answered at once and alike each time; what it cancels may be final already.
    pub(crate) fn on_cancel(&mut self, request: &Request, source: Source) {
        let mut servings = self.call.local.servings.iter();
        let found = servings.find(|serving| {
            serving.key().cancelled_by(request)
                && from_tag(&request.headers).is_some_and(|tag| tag == serving.from_tag)
        });
        let Some(serving) = found else {
            // "If the UAS did not find a matching transaction for the CANCEL according to the
            // procedure above, it SHOULD respond to the CANCEL with a 481".
            return self.refuse(request, source, Answer::new(StatusCode::CALL_DOES_NOT_EXIST));
        };
        let (id, leg, application) = (serving.id, serving.leg, serving.application);
        let has_effect = serving.is_invite() && serving.is_pending();
        let is_initial = serving.is_initial;
        // "the To tag of the response to the CANCEL and the To tag in the response to the original
        // request SHOULD be the same".
        let answer = Answer { tag: Some(serving.tag), ..Answer::new(StatusCode::OK) };
        self.refuse(request, source, answer);
        if !has_effect {
            return;
        }
        let (_, asked) =
            self.consult(application, leg, |application, cx| application.on_cancel(cx));
        if is_initial {
            self.cancel_initial(id, request);
        } else if let Some(index) = self.asking_for(id) {
            // The callee may have changed the session already: its answer decides.
            self.cancel(index);
        } else {
            self.respond(id, Answer::new(StatusCode::REQUEST_TERMINATED));
        }
        self.follow(application, asked);
    }

    fn cancel_initial(&mut self, serving: u16, request: &Request) {
        let leg = self.call.local.serving(serving).and_then(|serving| serving.leg);
        self.respond(serving, Answer::new(StatusCode::REQUEST_TERMINATED));
        let Some(leg) = leg else { return };
        let peer = self.call.crossing.leg(leg).and_then(|leg| leg.peer);
        self.detach(leg, StatusCode::REQUEST_TERMINATED);
        self.forget_leg(leg, EndReason::Cancelled);
        if let Some(peer) = peer {
            self.end_leg(peer, EndReason::Cancelled, Some(request));
        }
    }

    /// Cancels an INVITE of ours, as soon as that is allowed.
    pub(crate) fn cancel(&mut self, index: usize) {
        let now = self.now;
        let Some(asking) = self.call.local.askings.get_mut(index) else { return };
        let ClientMachine::Invite(machine) = &asking.machine else { return };
        if !machine.is_pending() || asking.cancel == Cancel::Sent {
            return;
        }
        if !machine.may_be_cancelled() {
            asking.cancel = Cancel::Wanted;
            return;
        }
        let Packet { to, bytes } = machine.request.clone();
        let branch = machine.key.branch;
        let (leg, fork, cseq) = (asking.leg, asking.fork, asking.cseq);
        asking.cancel = Cancel::Sent;
        // §9.1: "If there is no final response for the original request in 64*T1 seconds …, the
        // client SHOULD then consider the original transaction cancelled and SHOULD destroy the
        // client transaction handling the original request."
        asking.give_up_at = Some(now + self.setting.timers.patience());
        let cancel = cancel_of(&bytes).and_then(|bytes| crate::step::kept_request(&bytes));
        let Some(request) = cancel else { return };
        let outgoing = crate::compose::Outgoing { request, to };
        let purpose = Purpose::Ending;
        self.launch(Launch { outgoing, branch, cseq, leg, fork, purpose, is_in_dialog: true });
    }

    /// Deadlines of requests of peers.
    pub(crate) fn fire_servings(&mut self) {
        let ids: Vec<u16> = self.call.local.servings.iter().map(|serving| serving.id).collect();
        for id in ids {
            self.fire_serving(id);
        }
    }

    fn fire_serving(&mut self, id: u16) {
        let (now, timers) = (self.now, &self.setting.timers);
        let Some(serving) = self.call.local.serving_mut(id) else { return };
        let outcome = match &mut serving.machine {
            ServerMachine::Invite(machine) => machine.step(now, invite_server::Input::Due, timers),
            ServerMachine::Other(machine) => {
                machine.step(now, crate::transaction::server::Input::Due, timers)
            }
        };
        let repeated: Option<crate::transaction::Outcome> = serving
            .unacknowledged
            .as_mut()
            .map(|waiting: &mut Unacknowledged| waiting.step(now, timers));
        let is_given_up = serving.deferred_until.is_some_and(|at| at <= now);
        let leg = serving.leg;
        self.carry_out(&outcome);
        if let Some(repeated) = repeated {
            self.carry_out(&repeated);
            if repeated.event == Some(Event::NoAck) {
                self.on_no_ack(id, leg);
            }
        }
        if is_given_up {
            self.respond(id, Answer::new(StatusCode::REQUEST_TIMEOUT));
        }
    }

    /// A 2xx was never acknowledged: "the dialog is confirmed, but the session SHOULD be
    /// terminated. This is accomplished with a BYE" (§13.3.1.4).
    fn on_no_ack(&mut self, id: u16, leg: Option<u16>) {
        if let Some(serving) = self.call.local.serving_mut(id) {
            serving.unacknowledged = None;
        }
        let Some(leg) = leg.and_then(|leg| self.call.crossing.leg(leg)) else { return };
        let id = leg.id;
        match leg.state {
            LegState::Leaving => self.say_bye(id, None),
            LegState::Opening | LegState::Confirmed => self.end_pair(id, EndReason::Lost),
        }
    }

    /// Deadlines of requests of ours.
    pub(crate) fn fire_askings(&mut self) {
        for index in 0..self.call.local.askings.len() {
            self.fire_asking(index);
        }
    }

    fn fire_asking(&mut self, index: usize) {
        let (now, timers) = (self.now, &self.setting.timers);
        let Some(asking) = self.call.local.askings.get_mut(index) else { return };
        let outcome = match &mut asking.machine {
            ClientMachine::Invite(machine) => machine.step(now, invite_client::Input::Due, timers),
            ClientMachine::Other(machine) => {
                machine.step(now, crate::transaction::client::Input::Due, timers)
            }
        };
        self.carry_out(&outcome);
        if outcome.event == Some(Event::Timeout) {
            return self.on_timeout(index);
        }
        let Some(asking) = self.call.local.askings.get_mut(index) else { return };
        if asking.give_up_at.is_none_or(|at| at > now) {
            return;
        }
        asking.give_up_at = None;
        let (is_pending, is_cancelled) = (asking.is_pending(), asking.cancel == Cancel::Sent);
        if !is_pending {
            return;
        }
        if !is_cancelled {
            self.cancel(index);
        } else if let ClientMachine::Invite(machine) = &mut asking.machine {
            machine.state = invite_client::State::Terminated;
        }
        self.on_timeout(index);
    }
}

/// Whether a message of ours holds this Call-ID; tags alone are unique only within one.
fn contains(message: &Bytes, call_id: &Bytes) -> bool {
    crate::step::kept_request(message)
        .and_then(|request| request.headers.get(&HeaderName::CallId).cloned())
        .is_some_and(|own| own == *call_id)
}
