//! The two legs of a back-to-back user agent (RFC 7092): what of one leg's messages appears on the
//! other. End-to-end headers are passed on, known or not; those that name a hop, a dialog or an
//! extension that we would have to speak ourselves are not (RFC 7332 for Max-Forwards).

use bytes::Bytes;
use servlet::{EndReason, HeaderEdits, NextHop, OutboundLeg, Side};
use sip_message::{HeaderName, Headers, Method, Request, Response, StatusCode, sdp};

use crate::Destination;
use crate::compose::{Answer, MAX_FORWARDS, Outgoing, at, destination, untagged};
use crate::crossing::{Dialog, Leg, LegState};
use crate::local::{Asking, Cancel, ClientMachine, Purpose};
use crate::step::Stepper;
use crate::transaction::{Client, ClientKey, InviteClient, Packet, Reliability};

/// The largest CSeq: "MUST be less than 2**31" (RFC 3261 §8.1.1.5).
pub(crate) const CSEQ_MAX: u32 = (1 << 31) - 1;

/// What is sent and what is remembered of a request of ours.
pub(crate) struct Launch {
    pub(crate) outgoing: Outgoing,
    pub(crate) branch: u16,
    pub(crate) cseq: u32,
    pub(crate) leg: u16,
    pub(crate) fork: u16,
    pub(crate) purpose: Purpose,
    pub(crate) is_in_dialog: bool,
}

impl Stepper<'_> {
    /// Opens the callee's leg for a request that is served, and for an INVITE the caller's too.
    pub(crate) fn open_callee(&mut self, serving: u16, request: &Request, outbound: OutboundLeg) {
        let Some(forwards) = remaining_forwards(request) else {
            return self.respond(serving, Answer::new(StatusCode::TOO_MANY_HOPS));
        };
        let to = match &outbound.next_hop {
            Some(NextHop::Addr(addr)) => Some(Destination::Addr(*addr)),
            Some(NextHop::Host { host, port }) => Some(at(host.clone(), *port)),
            None => destination(&outbound.target),
        };
        let Some(to) = to else {
            return self.respond(serving, Answer::new(StatusCode::UNSUPPORTED_URI_SCHEME));
        };
        let legs = self.open_pair(serving, request, &outbound);
        let launch = legs.and_then(|callee| {
            let branch = self.fresh_branch();
            let leg = self.call.crossing.leg(callee)?;
            let method = request.method.clone();
            let (mut made, _) = self.along_dialog(leg, leg.dialog(0)?, method, 1, branch)?;
            made.headers.set(HeaderName::MaxForwards, forwards.to_string());
            copy_end_to_end(&request.headers, &mut made.headers, is_relayed_in_request);
            edit(&mut made.headers, &outbound.edits);
            self.propose_session(callee, &request.method, &mut made.headers);
            made.body = self.pass_body(callee, &request.headers, &request.body);
            let outgoing = Outgoing { request: made, to };
            let purpose = Purpose::Relay { serving };
            let (leg, fork, cseq) = (callee, 0, 1);
            Some(Launch { outgoing, branch, cseq, leg, fork, purpose, is_in_dialog: false })
        });
        match launch {
            Some(launch) => self.launch(launch),
            None => {
                self.respond(serving, Answer::new(StatusCode::SERVER_INTERNAL_ERROR));
                self.forget_pair_of(serving, EndReason::Failed(StatusCode::SERVER_INTERNAL_ERROR));
            }
        }
    }

    fn open_pair(&mut self, serving: u16, request: &Request, out: &OutboundLeg) -> Option<u16> {
        let caller = self.open_caller(serving, request)?;
        let id = self.call.crossing.fresh_ordinal();
        // The leg exists before its tag is chosen, so that the two ordinals differ.
        let application = self.call.crossing.leg(caller)?.application;
        self.call.crossing.legs.push(Leg {
            id,
            site: self.setting.here,
            side: Side::Uac,
            state: LegState::Opening,
            peer: Some(caller),
            application,
            call_id: None,
            local: untagged(request.headers.from().ok()?),
            remote: untagged(request.headers.to().ok()?),
            dialogs: Vec::new(),
            sdp: Bytes::new(),
            sdp_offset: 0,
            is_update_allowed: false,
            min_se_s: 0,
            is_early: false,
            timer: None,
            answered_at: None,
            newer: Bytes::new(),
        });
        let local_tag = self.call.crossing.fresh_ordinal();
        self.call.crossing.leg_mut(id)?.dialogs.push(Dialog {
            fork: 0,
            local_tag,
            remote_tag: None,
            local_cseq: 1,
            remote_cseq: None,
            target: out.target.as_bytes().clone(),
            routes: Vec::new(),
            newer: Bytes::new(),
        });
        self.call.crossing.leg_mut(caller)?.peer = Some(id);
        Some(id)
    }

    /// Forgets the leg of a served request, and the one that is linked with it.
    fn forget_pair_of(&mut self, serving: u16, why: EndReason) {
        if let Some(caller) = self.call.local.serving(serving).and_then(|serving| serving.leg) {
            self.forget_pair(caller, why);
        }
    }

    /// Forgets a leg, and the one that is linked with it; the caller's first.
    pub(crate) fn forget_pair(&mut self, id: u16, why: EndReason) {
        let Some(leg) = self.call.crossing.leg(id) else { return };
        let (first, second) = match (leg.side, leg.peer) {
            (Side::Uac, Some(peer)) => (peer, Some(id)),
            (Side::Uac | Side::Uas, peer) => (id, peer),
        };
        self.forget_leg(first, why);
        if let Some(second) = second {
            self.forget_leg(second, why);
        }
    }

    /// Passes a request within a dialog on to the other leg.
    pub(crate) fn relay_request(&mut self, serving: u16, request: &Request, peer: u16, fork: u16) {
        let Some(forwards) = remaining_forwards(request) else {
            return self.respond(serving, Answer::new(StatusCode::TOO_MANY_HOPS));
        };
        let purpose = Purpose::Relay { serving };
        let before = self.call.crossing.leg(peer).map(|leg| leg.sdp.clone());
        let is_sent = self.ask_within(peer, fork, &request.method, purpose, |stepper, made| {
            made.headers.set(HeaderName::MaxForwards, forwards.to_string());
            copy_end_to_end(&request.headers, &mut made.headers, is_relayed_in_request);
            stepper.propose_session(peer, &request.method, &mut made.headers);
            made.body = stepper.pass_body(peer, &request.headers, &request.body);
        });
        if !is_sent {
            return self.respond(serving, Answer::new(StatusCode::SERVER_INTERNAL_ERROR));
        }
        let after = self.call.crossing.leg(peer).map(|leg| leg.sdp.clone());
        if let Some(asking) = self.call.local.askings.last_mut() {
            asking.sdp_before = if before == after { None } else { before };
        }
    }

    /// Sends a request of ours within a dialog, which takes the dialog's next CSeq.
    pub(crate) fn ask_within(
        &mut self,
        leg: u16,
        fork: u16,
        method: &Method,
        purpose: Purpose,
        fill: impl FnOnce(&mut Self, &mut Request),
    ) -> bool {
        let Some(dialog) = self.call.crossing.dialog_mut(leg, fork) else { return false };
        // §12.2.1.1: "the value of the local sequence number MUST be incremented by one".
        dialog.local_cseq = dialog.local_cseq.saturating_add(1).min(CSEQ_MAX);
        let cseq = dialog.local_cseq;
        let branch = self.fresh_branch();
        let outgoing = self.call.crossing.leg(leg).and_then(|leg| {
            self.within_dialog(leg, leg.dialog(fork)?, method.clone(), cseq, branch)
        });
        let Some(mut outgoing) = outgoing else { return false };
        fill(self, &mut outgoing.request);
        self.launch(Launch { outgoing, branch, cseq, leg, fork, purpose, is_in_dialog: true });
        true
    }

    /// Sends a request of ours and begins its client transaction.
    pub(crate) fn launch(&mut self, launch: Launch) {
        let Launch { outgoing, branch, cseq, leg, fork, purpose, is_in_dialog } = launch;
        let (now, timers) = (self.now, &self.setting.timers);
        let method = outgoing.request.method.clone();
        let packet = Packet { bytes: outgoing.request.print(), to: outgoing.to };
        let key = ClientKey { branch, method: method.clone() };
        let udp = Reliability::Unreliable;
        let (machine, outcome, give_up_at) = if method == Method::Invite {
            let (machine, outcome) = InviteClient::begin(key, packet, udp, now, timers);
            (ClientMachine::Invite(machine), outcome, Some(now + timers.ring_max))
        } else {
            let (machine, outcome) = Client::begin(key, packet, udp, now, timers);
            (ClientMachine::Other(machine), outcome, None)
        };
        self.call.local.askings.push(Asking {
            machine,
            leg,
            fork,
            purpose,
            cseq,
            is_in_dialog,
            cancel: Cancel::No,
            give_up_at,
            is_acknowledged: false,
            acks: Vec::new(),
            sdp_before: None,
            newer: Bytes::new(),
        });
        self.carry_out(&outcome);
    }

    /// What one leg answered, for the other leg.
    pub(crate) fn relayed_answer(&mut self, leg: Option<u16>, response: &Response) -> Answer {
        let mut answer = Answer::new(response.status);
        answer.reason = Some(response.reason.clone());
        copy_end_to_end(&response.headers, &mut answer.headers, is_relayed_in_response);
        if response.status.is_redirection() {
            for contact in response.headers.get_all(&HeaderName::Contact) {
                answer.headers.push(HeaderName::Contact, contact.clone());
            }
        }
        answer.body = match leg {
            Some(leg) => self.pass_body(leg, &response.headers, &response.body),
            None => response.body.clone(),
        };
        answer
    }

    /// A body as it is sent on `leg`. A session description is kept for refreshes, and its version
    /// is raised by what activation added.
    pub(crate) fn pass_body(&mut self, leg: u16, headers: &Headers, body: &Bytes) -> Bytes {
        if body.is_empty() || !is_sdp(headers) {
            return body.clone();
        }
        let bytes_max = self.setting.limits.sdp_bytes_max;
        let Some(leg) = self.call.crossing.leg_mut(leg) else { return body.clone() };
        leg.sdp = if body.len() <= bytes_max { body.clone() } else { Bytes::new() };
        raised(body, leg.sdp_offset)
    }
}

/// A session description with its version raised; as it is, when that cannot be done.
pub(crate) fn raised(body: &Bytes, offset: u64) -> Bytes {
    if offset == 0 {
        return body.clone();
    }
    sdp::add_to_version(body, offset).unwrap_or_else(|| body.clone())
}

fn is_sdp(headers: &Headers) -> bool {
    const SDP: &[u8] = b"application/sdp";
    headers
        .get(&HeaderName::ContentType)
        .and_then(|value| value.get(..SDP.len()))
        .is_some_and(|start| start.eq_ignore_ascii_case(SDP))
}

/// RFC 7332 §5: "B2BUAs … MUST copy the Max-Forwards header field … decrement it"; `None` at 0.
pub(crate) fn remaining_forwards(request: &Request) -> Option<u8> {
    match request.headers.max_forwards() {
        Ok(Some(forwards)) => forwards.checked_sub(1),
        Ok(None) | Err(_) => Some(MAX_FORWARDS),
    }
}

pub(crate) fn copy_end_to_end(from: &Headers, to: &mut Headers, may: fn(&HeaderName) -> bool) {
    for (name, value) in from.iter() {
        if may(name) {
            to.push(name.clone(), value.clone());
        }
    }
}

fn edit(headers: &mut Headers, edits: &HeaderEdits) {
    for name in edits.remove.iter().filter(|name| is_relayed_in_request(name)) {
        headers.remove(name);
    }
    for (name, value) in edits.add.iter() {
        if is_relayed_in_request(name) {
            headers.push(name.clone(), value.clone());
        }
    }
}

/// Headers that each leg has of its own, in requests and responses alike.
fn is_of_leg(name: &HeaderName) -> bool {
    matches!(
        name,
        HeaderName::Via
            | HeaderName::From
            | HeaderName::To
            | HeaderName::CallId
            | HeaderName::CSeq
            | HeaderName::Contact
            | HeaderName::RecordRoute
            | HeaderName::ContentLength
            | HeaderName::SessionExpires
            | HeaderName::MinSe
            | HeaderName::Supported
            | HeaderName::Require
            | HeaderName::RSeq
            | HeaderName::Timestamp
            | HeaderName::Path
            | HeaderName::ServiceRoute
    )
}

/// Besides those of the leg: what names a hop, and what names a dialog by identifiers that mean
/// nothing on the other leg.
pub(crate) fn is_relayed_in_request(name: &HeaderName) -> bool {
    !is_of_leg(name)
        && !matches!(
            name,
            HeaderName::MaxForwards
                | HeaderName::Route
                | HeaderName::ProxyRequire
                | HeaderName::RAck
                | HeaderName::Replaces
                | HeaderName::Join
                | HeaderName::TargetDialog
        )
}

pub(crate) fn is_relayed_in_response(name: &HeaderName) -> bool {
    !is_of_leg(name)
}
