//! What an agent answers: INVITE with 180 and 200, whatever comes in a dialog with 200
//! (RFC 3261 §8.2, §12.2.2, §13.3, §14.2, §15.1.2).

use std::net::SocketAddr;
use std::time::Instant;

use sip_message::{Bytes, HeaderName, Method, NameAddr, Request, Response, StatusCode};

use super::dialog::{Accepted, Ringing};
use super::{Agent, Dialog, GIVE_UP, Over, SUBJECT, Side, T1, T2, sdp};

/// What this agent understands. It lists UPDATE: sessions are refreshed by it (RFC 4028 §7.4).
pub(super) const ALLOW: &str = "INVITE, ACK, BYE, CANCEL, OPTIONS, UPDATE, INFO, MESSAGE";

impl Agent {
    pub(super) fn take_request(&mut self, now: Instant, source: SocketAddr, request: &Request) {
        let Ok(call_id) = request.headers.call_id() else { return };
        let known = self.by_call_id.get(call_id).copied();
        match known {
            Some(call) => self.take_in_dialog(now, source, call, request),
            None if request.method == Method::Invite && !has_to_tag(request) => {
                self.begin(now, source, request);
            }
            None => {
                self.strays += 1;
                if request.method != Method::Ack {
                    let answer = Response::to_request(request, StatusCode::CALL_DOES_NOT_EXIST);
                    self.send(source, answer.print());
                }
            }
        }
    }

    /// A call rings.
    fn begin(&mut self, now: Instant, source: SocketAddr, request: &Request) {
        let (Some(call), Ok(to), Ok(call_id)) =
            (number_of(request), request.headers.to(), request.headers.call_id())
        else {
            self.strays += 1;
            return;
        };
        let (Some(from), Ok(Some(contact)), Ok(cseq)) = (
            request.headers.get(&HeaderName::From).cloned(),
            request.headers.contact(),
            request.headers.cseq(),
        ) else {
            self.strays += 1;
            return;
        };
        if self.side == Side::Caller || self.dialogs.contains_key(&call) {
            self.strays += 1;
            return;
        }
        let local = to.with_tag(&format!("d{call}-{:x}", self.run)).print();
        let mut dialog = Dialog::new(call_id.clone(), local, from, contact.uri);
        dialog.routes = request.headers.values(&HeaderName::RecordRoute).collect();
        dialog.remote_cseq = Some(cseq.number);
        let answer_at = now + self.ring_for;
        dialog.ringing = Some(Ringing { request: request.clone(), source, answer_at });
        self.by_call_id.insert(call_id.clone(), call);
        self.dialogs.insert(call, dialog);
        self.answer(source, call, request, StatusCode::RINGING);
    }

    fn take_in_dialog(&mut self, now: Instant, source: SocketAddr, call: u32, request: &Request) {
        let (Some(branch), Ok(cseq)) = (branch_of(request), request.headers.cseq()) else { return };
        let Some(dialog) = self.dialogs.get_mut(&call) else { return };
        if request.method == Method::Ack {
            take_ack(now, dialog, cseq.number);
            return;
        }
        if let Some(answer) = dialog.answer_to(&branch, &request.method).cloned() {
            self.send(source, answer);
            return;
        }
        if request.method == Method::Cancel {
            self.take_cancel(source, call, request);
            return;
        }
        // §12.2.2: "If the remote sequence number is not empty, but the sequence number of the
        // request is lower than the remote sequence number, the request is out of order and MUST
        // be rejected with a 500 (Server Internal Error) response."
        if dialog.remote_cseq.is_some_and(|last| cseq.number <= last) {
            dialog.facts.cseq_back += 1;
            self.answer(source, call, request, StatusCode::SERVER_INTERNAL_ERROR);
            return;
        }
        dialog.remote_cseq = Some(cseq.number);
        if dialog.facts.over.is_some() && request.method != Method::Bye {
            self.answer(source, call, request, StatusCode::CALL_DOES_NOT_EXIST);
            return;
        }
        match request.method {
            Method::Invite => self.take_reinvite(now, source, call, request),
            Method::Update => {
                dialog.facts.refreshed_at.push(now);
                self.answer(source, call, request, StatusCode::OK);
            }
            Method::Bye => {
                dialog.facts.byes += 1;
                dialog.facts.over.get_or_insert(Over::PeerHungUp);
                dialog.accepted = None;
                dialog.ask_again_at = None;
                self.answer(source, call, request, StatusCode::OK);
            }
            _ => {
                self.answer(source, call, request, StatusCode::OK);
            }
        }
    }

    fn take_reinvite(&mut self, now: Instant, source: SocketAddr, call: u32, request: &Request) {
        let Some(dialog) = self.dialogs.get_mut(&call) else { return };
        let relayed = request.headers.get(&HeaderName::Subject);
        if relayed.is_some_and(|subject| subject == SUBJECT.as_bytes()) {
            dialog.facts.relayed += 1;
        } else {
            dialog.facts.refreshed_at.push(now);
        }
        if let Ok(Some(contact)) = request.headers.contact() {
            dialog.target = contact.uri;
        }
        self.accept(now, source, call, request);
    }

    fn take_cancel(&mut self, source: SocketAddr, call: u32, request: &Request) {
        self.answer(source, call, request, StatusCode::OK);
        let ringing = self.dialogs.get_mut(&call).and_then(|dialog| dialog.ringing.take());
        if let Some(Ringing { request, source, .. }) = ringing {
            self.answer(source, call, &request, StatusCode::REQUEST_TERMINATED);
            if let Some(dialog) = self.dialogs.get_mut(&call) {
                dialog.facts.over.get_or_insert(Over::PeerHungUp);
            }
        }
    }

    /// Answers what has rung for long enough.
    pub(super) fn answer_what_rang(&mut self, now: Instant) {
        let due: Vec<u32> = self
            .dialogs
            .iter()
            .filter(|(_, dialog)| {
                dialog.ringing.as_ref().is_some_and(|rings| now >= rings.answer_at)
            })
            .map(|(&call, _)| call)
            .collect();
        for call in due {
            let ringing = self.dialogs.get_mut(&call).and_then(|dialog| dialog.ringing.take());
            if let Some(Ringing { request, source, .. }) = ringing {
                self.accept(now, source, call, &request);
            }
        }
    }

    /// §13.3.1.4: a 2xx is repeated by the core until the ACK comes.
    fn accept(&mut self, now: Instant, source: SocketAddr, call: u32, request: &Request) {
        let Ok(cseq) = request.headers.cseq() else { return };
        let Some(bytes) = self.answer(source, call, request, StatusCode::OK) else { return };
        if let Some(dialog) = self.dialogs.get_mut(&call) {
            dialog.accepted = Some(Accepted {
                cseq: cseq.number,
                bytes,
                to: source,
                next_at: now + T1,
                interval: T1,
                since: now,
            });
        }
    }

    pub(super) fn repeat_answers(&mut self, now: Instant) {
        let mut again = Vec::new();
        for dialog in self.dialogs.values_mut() {
            let Some(accepted) = &mut dialog.accepted else { continue };
            if now >= accepted.since + GIVE_UP {
                dialog.facts.no_ack += 1;
                dialog.accepted = None;
            } else if now >= accepted.next_at {
                accepted.interval = (accepted.interval * 2).min(T2);
                accepted.next_at = now + accepted.interval;
                again.push((accepted.to, accepted.bytes.clone()));
            }
        }
        again.into_iter().for_each(|(to, bytes)| self.send(to, bytes));
    }

    /// Answers, and keeps the answer for repetitions of the request.
    fn answer(
        &mut self,
        source: SocketAddr,
        call: u32,
        request: &Request,
        status: StatusCode,
    ) -> Option<Bytes> {
        let (local, contact) = (self.local, self.contact(call));
        let dialog = self.dialogs.get_mut(&call)?;
        let mut response = Response::to_request(request, status);
        response.headers.set(HeaderName::To, dialog.local.clone());
        if matches!(request.method, Method::Invite | Method::Update) && status.code() < 300 {
            response.headers.push(HeaderName::Contact, contact);
            response.headers.push(HeaderName::Allow, ALLOW);
        }
        if request.method == Method::Invite && status.is_success() {
            response.headers.push(HeaderName::ContentType, "application/sdp");
            response.body = Bytes::from(sdp(local, call, dialog.sdp_version));
            dialog.sdp_version += 1;
        }
        let bytes = response.print();
        dialog.keep_answer(branch_of(request)?, request.method.clone(), bytes.clone());
        self.send(source, bytes.clone());
        Some(bytes)
    }
}

fn take_ack(now: Instant, dialog: &mut Dialog, cseq: u32) {
    if dialog.accepted.as_ref().is_some_and(|accepted| accepted.cseq == cseq) {
        dialog.accepted = None;
        dialog.facts.answered_at.get_or_insert(now);
    }
}

fn has_to_tag(request: &Request) -> bool {
    request.headers.to().is_ok_and(|to| to.tag().is_some())
}

fn branch_of(request: &Request) -> Option<Bytes> {
    request.headers.via_top().ok()??.branch().cloned()
}

/// The number of a call, which every user part of the demo ends with.
fn number_of(request: &Request) -> Option<u32> {
    let in_uri = |uri: &sip_message::Uri| {
        let user = String::from_utf8(uri.user()?.to_vec()).ok()?;
        user.rsplit_once('-')?.1.parse().ok()
    };
    let in_name = |name: NameAddr| in_uri(&name.uri);
    in_uri(&request.uri)
        .or_else(|| request.headers.to().ok().and_then(in_name))
        .or_else(|| request.headers.from().ok().and_then(|from| in_uri(&from.uri)))
}
