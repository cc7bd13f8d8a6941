//! What an agent does with what it receives.

use sip_message::{Bytes, HeaderName, Headers, Method, Request, Response};
use vocab::Instant;

use super::{
    ANSWERS_MAX, Agent, Answer, Answering, Fact, GIVE_UP, RINGS_MAX, SDP, Sent, Standing, T1,
    finish,
};

fn text(bytes: &Bytes) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn tag_of(headers: &Headers, to: bool) -> Option<String> {
    let address = if to { headers.to() } else { headers.from() };
    address.ok().and_then(|address| address.tag().map(text))
}

fn contact_of(headers: &Headers) -> Option<String> {
    headers.contact().ok().flatten().map(|contact| text(contact.uri.as_bytes()))
}

impl Agent {
    pub(super) fn on_response(&mut self, now: Instant, response: &Response) {
        let Ok(Some(via)) = response.headers.via_top() else { return };
        let Ok(cseq) = response.headers.cseq() else { return };
        let Some(branch) = via.branch().map(text) else { return };
        let code = response.status.code();
        let found =
            self.asking.iter().position(|one| one.branch == branch && one.method == cseq.method);
        if cseq.method == Method::Invite && (200..300).contains(&code) {
            self.on_invite_success(now, response, found.is_some());
        }
        let Some(index) = found else { return };
        if code < 200 {
            let one = &mut self.asking[index];
            if one.method == Method::Invite {
                // §17.1.1.2: a provisional response ends the repetitions of an INVITE.
                one.next_at = Instant::NEVER;
                if !one.proceeding {
                    one.give_up_at = Instant::NEVER;
                }
            }
            one.proceeding = true;
            if code > 100 && self.remote_tag.is_none() && self.standing == Standing::Early {
                self.remote_target = None;
            }
            self.cancel_if_due(now);
            return;
        }
        let done = self.asking.remove(index);
        if done.method == Method::Invite && code >= 300 {
            self.acknowledge_failure(&done.branch, done.cseq, response);
        }
        if done.method == Method::Invite && done.cseq == self.invite_cseq {
            if code >= 300 && self.standing == Standing::Early {
                self.note(now, Fact::Refused(code));
                self.end();
            }
        } else {
            self.note(now, Fact::Answered(done.method.clone(), code));
            // §12.2.1.2: "If the response for a request within a dialog is a 481 or a 408, the UAC
            // SHOULD terminate the dialog."
            if code == 481 && done.method != Method::Cancel {
                self.end();
            }
        }
    }

    /// A 2xx to an INVITE is acknowledged end to end, each time it comes (§13.2.2.4).
    fn on_invite_success(&mut self, now: Instant, response: &Response, is_first: bool) {
        let Ok(cseq) = response.headers.cseq() else { return };
        let tag = tag_of(&response.headers, true);
        if self.standing == Standing::Early {
            self.remote_tag = tag.clone();
            self.remote_target = contact_of(&response.headers);
            self.standing = Standing::Up;
            self.note(now, Fact::Up);
        } else if self.remote_tag != tag {
            return;
        }
        if !is_first && let Some(ack) = self.last_ack.clone() {
            self.out.push(Sent { to: self.edge, bytes: ack });
            return;
        }
        let branch = self.branch();
        let ack = self.print(&Method::Ack, cseq.number, &branch, None, "");
        self.last_ack = Some(ack.clone());
        self.out.push(Sent { to: self.edge, bytes: ack });
    }

    /// §17.1.1.3: the ACK of a failure has the INVITE's branch and the response's To.
    fn acknowledge_failure(&mut self, branch: &str, cseq: u32, response: &Response) {
        let to = response.headers.get(&HeaderName::To).map(text).unwrap_or_default();
        let target = self.remote_target.clone().unwrap_or_else(|| self.remote_uri.clone());
        let mut ack = format!(
            "ACK {target} SIP/2.0\r\nVia: SIP/2.0/UDP {};branch={branch}\r\nMax-Forwards: 70\r\n\
             From: <{}>;tag={}\r\nTo: {to}\r\nCall-ID: {}\r\nCSeq: {cseq} ACK\r\n",
            self.addr, self.local_uri, self.local_tag, self.call_id,
        );
        finish(&mut ack, None);
        self.out.push(Sent { to: self.edge, bytes: Bytes::from(ack) });
    }

    pub(super) fn on_request(&mut self, now: Instant, request: Request) {
        let Ok(Some(via)) = request.headers.via_top() else { return };
        let Ok(cseq) = request.headers.cseq() else { return };
        let branch = via.branch().map(text).unwrap_or_default();
        if request.method == Method::Ack {
            // An ACK of the other fork's 2xx is not ours.
            if tag_of(&request.headers, true).as_deref() == Some(self.local_tag.as_str()) {
                self.on_ack(now, cseq.number);
            }
            return;
        }
        let slot = format!("{branch} {}", request.method.as_str());
        if let Some(answer) = self.answers.get(&slot) {
            self.out.push(Sent { to: self.edge, bytes: answer.clone() });
            return;
        }
        if request.method == Method::Cancel {
            self.on_cancel(now, &request);
            return;
        }
        let in_dialog = tag_of(&request.headers, true).is_some();
        if !in_dialog {
            if request.method == Method::Invite && self.standing == Standing::Idle {
                self.on_call(now, request, cseq.number);
            }
            return;
        }
        self.in_dialog(now, &request, cseq.number, slot);
    }

    fn in_dialog(&mut self, now: Instant, request: &Request, cseq: u32, slot: String) {
        let known = tag_of(&request.headers, true).as_deref() == Some(self.local_tag.as_str())
            && tag_of(&request.headers, false) == self.remote_tag;
        if !known || (self.standing == Standing::Over && request.method != Method::Bye) {
            let answer = self.response(request, 481, "Call Does Not Exist", None);
            self.reply(slot, answer);
            return;
        }
        if let Some((last, at)) = self.remote_cseq
            && cseq <= last
        {
            let after = now.since(at);
            self.note(now, Fact::CseqWentBack { last, this: cseq, after });
        }
        self.remote_cseq = Some((cseq, now));
        if request.method == Method::Invite && !self.asking.is_empty() {
            // §14.2: an INVITE while one of ours is pending is answered 491.
            let answer = self.response(request, 491, "Request Pending", None);
            self.reply(slot, answer);
            return;
        }
        let relayed =
            request.headers.contains(&HeaderName::Other(Bytes::from_static(b"X-Relayed")));
        self.note(now, Fact::Asked { method: request.method.clone(), cseq, relayed });
        if request.method == Method::Bye {
            self.note(now, Fact::Bye);
            if !self.answering.is_empty() {
                self.note(now, Fact::ByeBeforeAck);
            }
            self.end();
        }
        let body = (request.method == Method::Invite).then_some(SDP);
        let answer = self.response(request, 200, "OK", body);
        if request.method == Method::Invite {
            self.resend_until_ack(now, cseq, answer.clone());
        }
        self.reply(slot, answer);
    }

    fn on_call(&mut self, now: Instant, request: Request, cseq: u32) {
        self.standing = Standing::Early;
        self.call_id = request.headers.call_id().map(text).unwrap_or_default();
        self.remote_tag = tag_of(&request.headers, false);
        self.remote_target = contact_of(&request.headers);
        self.remote_cseq = Some((cseq, now));
        let uri = |address: Result<sip_message::NameAddr, _>| {
            address.map(|address: sip_message::NameAddr| text(address.uri.as_bytes()))
        };
        self.remote_uri =
            uri(request.headers.from().map_err(|_| ())).unwrap_or_else(|()| String::new());
        self.local_uri =
            uri(request.headers.to().map_err(|_| ())).unwrap_or_else(|()| String::new());
        let slot = format!(
            "{} INVITE",
            request
                .headers
                .via_top()
                .ok()
                .flatten()
                .and_then(|via| via.branch().map(text))
                .unwrap_or_default()
        );
        if self.manner.answer == Answer::Busy {
            let answer = self.response(&request, 486, "Busy Here", None);
            self.reply(slot, answer);
            self.end();
            return;
        }
        let answer = self.response(&request, 180, "Ringing", None);
        self.reply(slot, answer);
        let at = match self.manner.answer {
            Answer::After(after) | Answer::DespiteCancel(after) | Answer::Twice(after) => {
                now + after
            }
            Answer::Never | Answer::Busy => now + RINGS_MAX,
        };
        self.ringing = Some((request, at));
    }

    /// The ringing is over: the callee answers, or gives up (§21.4.18).
    pub(super) fn stop_ringing(&mut self, now: Instant) {
        if self.manner.answer != Answer::Never {
            return self.answer(now);
        }
        let Some((request, _)) = self.ringing.take() else { return };
        let branch = request.headers.via_top().ok().flatten();
        let branch = branch.and_then(|via| via.branch().map(text)).unwrap_or_default();
        let answer = self.response(&request, 480, "Temporarily Unavailable", None);
        self.reply(format!("{branch} INVITE"), answer);
        self.end();
    }

    fn answer(&mut self, now: Instant) {
        let Some((request, _)) = self.ringing.take() else { return };
        let Ok(cseq) = request.headers.cseq() else { return };
        let branch = request.headers.via_top().ok().flatten();
        let branch = branch.and_then(|via| via.branch().map(text)).unwrap_or_default();
        let answer = self.response(&request, 200, "OK", Some(SDP));
        self.standing = Standing::AwaitAck;
        self.note(now, Fact::Accepted);
        self.resend_until_ack(now, cseq.number, answer.clone());
        self.reply(format!("{branch} INVITE"), answer);
        if matches!(self.manner.answer, Answer::Twice(_)) {
            // The other fork: it says the same with another tag, once; the site ends it.
            let fork = format!("{}-fork", self.local_tag);
            let own = std::mem::replace(&mut self.local_tag, fork);
            let other = self.response(&request, 200, "OK", Some(SDP));
            self.local_tag = own;
            self.out.push(Sent { to: self.edge, bytes: other });
        }
    }

    fn resend_until_ack(&mut self, now: Instant, cseq: u32, bytes: Bytes) {
        self.answering.push(Answering {
            cseq,
            bytes,
            next_at: now + T1,
            interval: T1,
            give_up_at: now + GIVE_UP,
        });
    }

    fn on_ack(&mut self, now: Instant, cseq: u32) {
        let before = self.answering.len();
        self.answering.retain(|one| one.cseq != cseq);
        if before > self.answering.len() && self.standing == Standing::AwaitAck {
            self.standing = Standing::Up;
            self.note(now, Fact::Up);
        }
    }

    fn on_cancel(&mut self, now: Instant, request: &Request) {
        let via = request.headers.via_top().ok().flatten();
        let branch = via.and_then(|via| via.branch().map(text)).unwrap_or_default();
        let answer = self.response(request, 200, "OK", None);
        self.reply(format!("{branch} CANCEL"), answer);
        if matches!(self.manner.answer, Answer::DespiteCancel(_)) {
            return;
        }
        if let Some((invite, _)) = self.ringing.take() {
            let answer = self.response(&invite, 487, "Request Terminated", None);
            self.reply(format!("{branch} INVITE"), answer);
            self.note(now, Fact::Cancelled);
            self.end();
        }
    }

    fn reply(&mut self, slot: String, answer: Bytes) {
        self.out.push(Sent { to: self.edge, bytes: answer.clone() });
        if self.answers.insert(slot.clone(), answer).is_none() {
            self.answers_order.push(slot);
            if self.answers_order.len() > ANSWERS_MAX {
                let oldest = self.answers_order.remove(0);
                self.answers.remove(&oldest);
            }
        }
    }

    fn response(&self, request: &Request, code: u16, reason: &str, body: Option<&str>) -> Bytes {
        let mut answer = format!("SIP/2.0 {code} {reason}\r\n");
        for (name, value) in request.headers.iter() {
            let copied = [HeaderName::Via, HeaderName::From, HeaderName::CallId, HeaderName::CSeq];
            if copied.contains(name) {
                answer.push_str(&format!("{}: {}\r\n", text_of(name), text(value)));
            } else if *name == HeaderName::To {
                let tagged = tag_of(&request.headers, true).is_some() || code == 100;
                let tag = if tagged { String::new() } else { format!(";tag={}", self.local_tag) };
                answer.push_str(&format!("To: {}{tag}\r\n", text(value)));
            }
        }
        answer.push_str(&format!("Contact: <sip:{}>\r\n{}", self.addr, self.allow()));
        finish(&mut answer, body);
        Bytes::from(answer)
    }
}

fn text_of(name: &HeaderName) -> String {
    String::from_utf8_lossy(name.as_bytes()).into_owned()
}
