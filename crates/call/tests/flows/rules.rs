//! What must hold of everything that a call sends, whatever was said to it: one rule, one check.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use sip_message::{HeaderName, Headers, Message, Method, Request, Response};
use vocab::Instant;

/// What was sent so far, as far as the rules need it. Messages that are sent again are not shown.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    /// The CSeq of the last request in each dialog.
    numbers: BTreeMap<Dialog, u32>,
    /// Dialogs in which a BYE was sent.
    ended: BTreeSet<Dialog>,
    /// Branches, methods and targets of requests.
    branches: BTreeSet<(Bytes, Bytes, Bytes)>,
    /// Branches of INVITEs that had a provisional response.
    ringing: BTreeSet<Bytes>,
    /// Final answers to INVITEs, by Call-ID, CSeq and branch.
    answered: BTreeMap<(Bytes, u32, Bytes), (u16, Instant)>,
}

/// How long an INVITE is known to have been answered: 64*T1.
const LINGERING: Duration = Duration::from_secs(32);

/// A CSeq that no dialog of a storm reaches: that of a BYE to a dialog which the call does not
/// hold.
const FAR: u32 = 1 << 20;

/// Call-ID, our tag, the peer's tag.
type Dialog = (Bytes, Bytes, Bytes);

fn tag(headers: &Headers, name: &HeaderName) -> Bytes {
    let address = if *name == HeaderName::From { headers.from() } else { headers.to() };
    address.ok().and_then(|address| address.tag().cloned()).unwrap_or_default()
}

fn branch(headers: &Headers) -> Bytes {
    let via = headers.via_top().expect("a Via that parses").expect("a Via");
    via.branch().cloned().unwrap_or_default()
}

impl Rules {
    /// A response that the call is about to hear.
    pub(crate) fn heard(&mut self, response: &Response) {
        if response.status.is_provisional() {
            self.ringing.insert(branch(&response.headers));
        }
    }

    /// The site of the call died, or another call begins: an older state may speak again.
    pub(crate) fn forget(&mut self) {
        self.answered.clear();
        self.ended.clear();
    }

    /// A message that the call sends for the first time.
    pub(crate) fn check(&mut self, now: Instant, message: &Message) {
        match message {
            Message::Request(request) => self.check_request(request),
            Message::Response(response) => self.check_response(now, response),
        }
    }

    fn check_request(&mut self, request: &Request) {
        let headers = &request.headers;
        let method = &request.method;
        let dialog: Dialog = (
            headers.call_id().expect("a Call-ID").clone(),
            tag(headers, &HeaderName::From),
            tag(headers, &HeaderName::To),
        );
        let branch = branch(headers);
        assert_eq!(headers.values(&HeaderName::Via).count(), 1, "a UAC writes one Via");
        assert!(matches!(headers.max_forwards(), Ok(Some(_))), "§8.1.1: Max-Forwards is there");
        assert!(!dialog.1.is_empty(), "§8.1.1.3: From has a tag");
        let begins = dialog.2.is_empty();
        let may_begin = matches!(method, Method::Invite | Method::Cancel | Method::Ack);
        assert!(!begins || may_begin, "only an INVITE goes out of a dialog: {method}");
        let uri = request.uri.as_bytes().clone();
        let method_bytes = Bytes::copy_from_slice(method.as_bytes());
        let is_new = self.branches.insert((branch.clone(), method_bytes, uri));
        // What answers a late 2xx is made of it: the same branch, perhaps another way there.
        let is_far = headers.cseq().is_ok_and(|cseq| cseq.number > FAR);
        let is_late = *method == Method::Ack || (*method == Method::Bye && is_far);
        assert!(is_new || is_late, "§8.1.1.7: a branch is unique, {method} is not");
        if *method == Method::Cancel {
            assert!(
                self.ringing.contains(&branch),
                "§9.1: no CANCEL before a provisional response"
            );
        }
        if *method == Method::Invite {
            assert!(headers.contains(&HeaderName::Contact), "§8.1.1.8: an INVITE has a Contact");
        }
        if matches!(method, Method::Ack | Method::Cancel) {
            return;
        }
        // A 2xx that comes too late may end its dialog once more.
        let may_follow = *method == Method::Bye || !self.ended.contains(&dialog);
        assert!(may_follow, "§15: nothing follows a BYE in its dialog: {method}");
        if self.ended.contains(&dialog) {
            return;
        }
        let number = headers.cseq().expect("a CSeq").number;
        let unanswered = (dialog.0.clone(), dialog.1.clone(), Bytes::new());
        let first = self.numbers.get(&unanswered).copied();
        let last = self.numbers.get(&dialog).copied().max(first);
        assert!(
            last.is_none_or(|last| last < number),
            "§12.2.1.1: CSeq grows in a dialog: {method} {number} after {last:?}"
        );
        if *method == Method::Bye {
            self.ended.insert(dialog);
        } else {
            self.numbers.insert(dialog, number);
        }
    }

    fn check_response(&mut self, now: Instant, response: &Response) {
        let headers = &response.headers;
        let cseq = headers.cseq().expect("a CSeq");
        let status = response.status;
        assert_ne!(cseq.method, Method::Ack, "§17: nothing answers an ACK");
        if cseq.method != Method::Invite {
            let is_odd = status.is_provisional() && status.code() != 100;
            assert!(!is_odd, "RFC 4320 §4.1: no {} to {}", status.code(), cseq.method);
            assert_ne!(status.code(), 408, "RFC 4320 §4.2: no 408 to {}", cseq.method);
            return;
        }
        let tagged = !tag(headers, &HeaderName::To).is_empty();
        assert!(status.code() == 100 || tagged, "§8.2.6.2: a response but 100 has a To tag");
        if status.code() > 100 && status.code() < 300 {
            assert!(headers.contains(&HeaderName::Contact), "§12.1.1: a dialog needs a Contact");
        }
        // A refusal is stateless: the same request may find the call in another mood.
        if !status.is_final() || matches!(status.code(), 400..=422 | 481..=482 | 491 | 500 | 503) {
            return;
        }
        let call_id = headers.call_id().expect("a Call-ID").clone();
        let key = (call_id, cseq.number, branch(headers));
        let (first, at) = *self.answered.entry(key).or_insert((status.code(), now));
        let is_old = now.since(at) >= LINGERING;
        assert!(is_old || first == status.code(), "§17.2.1: an INVITE has one final answer");
    }
}
