//! What an agent asks: INVITE, re-INVITE and BYE, their repetitions and their answers
//! (RFC 3261 §8.1, §13.2, §14.1, §15.1.1, §17.1).

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use sip_message::{Bytes, HeaderName, Headers, Method, Request, Response};

use super::dialog::Outcome;
use super::{Agent, Dialog, GIVE_UP, Over, SUBJECT, T1, T2, sdp};

/// A request without a final response yet.
#[derive(Debug)]
pub(super) struct Asking {
    branch: Bytes,
    call: u32,
    request: Request,
    bytes: Bytes,
    sent_at: Instant,
    next_at: Instant,
    interval: Duration,
    /// A provisional response came: an INVITE is not repeated any more.
    proceeding: bool,
}

impl Agent {
    /// Calls the callee of the same number.
    pub(in crate::demo) fn invite(&mut self, now: Instant, call: u32) {
        let (run, local, edge) = (self.run, self.local, self.edge);
        let call_id = Bytes::from(format!("demo-{call}-{run:x}@{}", local.ip()));
        let from = Bytes::from(format!("<sip:caller-{call}@{}>;tag=c{call}-{run:x}", local.ip()));
        let to = Bytes::from(format!("<sip:callee-{call}@{edge}>"));
        let Some(target) = Self::uri(&format!("sip:callee-{call}@{edge}")) else { return };
        let dialog = Dialog::new(call_id.clone(), from, to, target);
        self.dialogs.insert(call, dialog);
        self.by_call_id.insert(call_id, call);
        self.ask(now, call, Method::Invite);
    }

    /// Changes the session: a re-INVITE with a new body.
    pub(in crate::demo) fn reinvite(&mut self, now: Instant, call: u32) {
        self.ask(now, call, Method::Invite);
    }

    /// Hangs up.
    pub(in crate::demo) fn bye(&mut self, now: Instant, call: u32) {
        self.ask(now, call, Method::Bye);
    }

    fn ask(&mut self, now: Instant, call: u32, method: Method) {
        let branch = Bytes::from(self.next_branch());
        let (local, edge, contact) = (self.local, self.edge, self.contact(call));
        let Some(dialog) = self.dialogs.get_mut(&call) else { return };
        let in_dialog = dialog.facts.answered_at.is_some();
        dialog.cseq += 1;
        let mut request = request_in(dialog, &method, &branch, local);
        if method == Method::Invite {
            dialog.sdp_version += u32::from(in_dialog);
            request.headers.push(HeaderName::Contact, contact);
            request.headers.push(HeaderName::Allow, super::answer::ALLOW);
            request.headers.push(HeaderName::Subject, SUBJECT);
            request.headers.push(HeaderName::ContentType, "application/sdp");
            request.body = Bytes::from(sdp(local, call, dialog.sdp_version));
        }
        let bytes = request.print();
        self.asking.push(Asking {
            branch,
            call,
            request,
            bytes: bytes.clone(),
            sent_at: now,
            next_at: now + T1,
            interval: T1,
            proceeding: false,
        });
        self.send(edge, bytes);
    }

    /// Timers A and E repeat, timers B and F end it.
    pub(super) fn repeat_requests(&mut self, now: Instant) {
        let mut silent = Vec::new();
        let mut again = Vec::new();
        self.asking.retain_mut(|asking| {
            if now >= asking.sent_at + GIVE_UP {
                silent.push((asking.call, asking.request.method.clone(), asking.sent_at));
                return false;
            }
            let is_invite = asking.request.method == Method::Invite;
            if now >= asking.next_at && !(is_invite && asking.proceeding) {
                again.push(asking.bytes.clone());
                asking.interval *= 2;
                if !is_invite {
                    asking.interval = if asking.proceeding { T2 } else { asking.interval.min(T2) };
                }
                asking.next_at = now + asking.interval;
            }
            true
        });
        let edge = self.edge;
        again.into_iter().for_each(|bytes| self.send(edge, bytes));
        for (call, method, sent_at) in silent {
            self.note_outcome(now, call, &method, None, sent_at);
        }
    }

    /// Sends re-INVITEs again that met another request on their way.
    pub(super) fn ask_again(&mut self, now: Instant) {
        let due: Vec<u32> = self
            .dialogs
            .iter()
            .filter(|(_, dialog)| dialog.ask_again_at.is_some_and(|at| now >= at))
            .map(|(&call, _)| call)
            .collect();
        for call in due {
            if let Some(dialog) = self.dialogs.get_mut(&call) {
                dialog.ask_again_at = None;
            }
            self.ask(now, call, Method::Invite);
        }
    }

    pub(super) fn take_response(&mut self, now: Instant, response: &Response) {
        let (Ok(Some(via)), Ok(cseq)) = (response.headers.via_top(), response.headers.cseq())
        else {
            self.strays += 1;
            return;
        };
        let Some(branch) = via.branch().cloned() else { return };
        let found = self
            .asking
            .iter()
            .position(|asking| asking.branch == branch && asking.request.method == cseq.method);
        match found {
            Some(at) if response.status.is_provisional() => self.asking[at].proceeding = true,
            Some(at) => {
                let asking = self.asking.swap_remove(at);
                self.take_final(now, asking, response);
            }
            None => self.take_repeated(response, &branch, cseq.number),
        }
    }

    fn take_final(&mut self, now: Instant, asking: Asking, response: &Response) {
        let Asking { branch, call, request, sent_at, .. } = asking;
        let status = response.status.code();
        if request.method == Method::Invite {
            if response.status.is_success() {
                self.acknowledge(call, &request, response);
            } else {
                let ack = ack_of_refusal(&request, response).print();
                self.refusal_acks.insert(branch, ack.clone());
                let edge = self.edge;
                self.send(edge, ack);
            }
        }
        self.note_outcome(now, call, &request.method, Some(status), sent_at);
    }

    /// §13.2.2.4: a 2xx is acknowledged by the core, in a transaction of its own.
    fn acknowledge(&mut self, call: u32, request: &Request, response: &Response) {
        let branch = Bytes::from(self.next_branch());
        let (local, edge) = (self.local, self.edge);
        let Some(dialog) = self.dialogs.get_mut(&call) else { return };
        if let Some(to) = response.headers.get(&HeaderName::To) {
            dialog.remote = to.clone();
        }
        if let Ok(Some(contact)) = response.headers.contact() {
            dialog.target = contact.uri;
        }
        if dialog.facts.answered_at.is_none() {
            // §12.1.2: the route set is the list of Record-Route values in reverse order.
            dialog.routes = response.headers.values(&HeaderName::RecordRoute).collect();
            dialog.routes.reverse();
        }
        let Ok(cseq) = request.headers.cseq() else { return };
        let mut ack = request_in(dialog, &Method::Ack, &branch, local);
        ack.headers.set(HeaderName::CSeq, format!("{} ACK", cseq.number));
        let bytes = ack.print();
        dialog.ack = Some((cseq.number, bytes.clone()));
        self.send(edge, bytes);
    }

    /// A final response that came before gets its ACK again.
    fn take_repeated(&mut self, response: &Response, branch: &Bytes, cseq: u32) {
        let edge = self.edge;
        if let Some(ack) = self.refusal_acks.get(branch).cloned() {
            self.send(edge, ack);
            return;
        }
        let call_id = response.headers.call_id().ok();
        let call = call_id.and_then(|call_id| self.by_call_id.get(call_id));
        let ack = call
            .and_then(|call| self.dialogs.get(call))
            .and_then(|dialog| dialog.ack.clone())
            .filter(|(acknowledged, _)| *acknowledged == cseq && response.status.is_success());
        match ack {
            Some((_, ack)) => self.send(edge, ack),
            None => self.strays += u64::from(call.is_none()),
        }
    }

    fn note_outcome(
        &mut self,
        now: Instant,
        call: u32,
        method: &Method,
        status: Option<u16>,
        sent_at: Instant,
    ) {
        let again = match self.side {
            // §14.1: the owner of the Call-ID waits 2.1 to 4 seconds, the other one up to 2.
            super::Side::Caller => Duration::from_millis(2_100),
            super::Side::Callee => Duration::from_millis(500),
        };
        let Some(dialog) = self.dialogs.get_mut(&call) else { return };
        let in_dialog = dialog.facts.answered_at.is_some();
        let outcome =
            Outcome { method: method.clone(), in_dialog, status, sent_at, took: now - sent_at };
        dialog.facts.outcomes.push(outcome);
        let facts = &mut dialog.facts;
        let succeeded = status.is_some_and(|status| (200..300).contains(&status));
        if *method == Method::Bye {
            facts.over.get_or_insert(Over::HungUp(status));
        } else if in_dialog {
            if matches!(status, Some(491 | 500)) && facts.over.is_none() {
                dialog.ask_again_at = Some(now + again);
            }
        } else if succeeded {
            facts.answered_at = Some(now);
        } else {
            facts.over.get_or_insert(Over::Refused(status));
        }
    }
}

/// A request of ours with what every request has.
fn request_in(dialog: &Dialog, method: &Method, branch: &Bytes, local: SocketAddr) -> Request {
    let mut request = Request::new(method.clone(), dialog.target.clone());
    let headers = &mut request.headers;
    let branch = String::from_utf8_lossy(branch);
    headers.push(HeaderName::Via, format!("SIP/2.0/UDP {local};branch={branch};rport"));
    headers.push(HeaderName::MaxForwards, "70");
    for route in &dialog.routes {
        headers.push(HeaderName::Route, route.clone());
    }
    headers.push(HeaderName::From, dialog.local.clone());
    headers.push(HeaderName::To, dialog.remote.clone());
    headers.push(HeaderName::CallId, dialog.call_id.clone());
    headers.push(HeaderName::CSeq, format!("{} {}", dialog.cseq, method.as_str()));
    request
}

/// §17.1.1.3: same branch, same Request-URI, same Route, the response's To.
fn ack_of_refusal(request: &Request, response: &Response) -> Request {
    let mut ack = Request::new(Method::Ack, request.uri.clone());
    let mut copy = |from: &Headers, name: HeaderName| {
        for value in from.get_all(&name) {
            ack.headers.push(name.clone(), value.clone());
        }
    };
    copy(&request.headers, HeaderName::Via);
    copy(&request.headers, HeaderName::MaxForwards);
    copy(&request.headers, HeaderName::Route);
    copy(&request.headers, HeaderName::From);
    copy(&response.headers, HeaderName::To);
    copy(&request.headers, HeaderName::CallId);
    if let Ok(cseq) = request.headers.cseq() {
        ack.headers.push(HeaderName::CSeq, format!("{} ACK", cseq.number));
    }
    ack
}
