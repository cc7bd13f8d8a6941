//! A scripted user agent: just enough SIP to hold one side of a dialog.

use std::net::SocketAddr;

use sip_message::{Bytes, HeaderName, Message, Method, Request, Response, StatusCode};

/// A session description with a version in its `o=` line.
pub(crate) const SDP: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\n\
                              t=0 0\r\nm=audio 9000 RTP/AVP 0\r\n";

/// One side of a dialog.
#[derive(Clone, Debug)]
pub(crate) struct Ua {
    pub(crate) addr: SocketAddr,
    name: String,
    call_id: String,
    local_tag: String,
    remote: String,
    target: String,
    cseq: u32,
    branches: u32,
}

impl Ua {
    /// A caller that has not called yet.
    pub(crate) fn caller(name: &str, addr: SocketAddr, call_id: &str) -> Self {
        Self {
            addr,
            name: name.to_owned(),
            call_id: call_id.to_owned(),
            local_tag: format!("{name}-tag"),
            remote: "<sip:bob@example.com>".to_owned(),
            target: "sip:bob@example.com".to_owned(),
            cseq: 0,
            branches: 0,
        }
    }

    /// The called side of the dialog that `invite` begins.
    pub(crate) fn callee(name: &str, addr: SocketAddr, invite: &Request) -> Self {
        let headers = &invite.headers;
        let contact = headers.contact().expect("well formed").expect("an INVITE has a Contact");
        Self {
            addr,
            name: name.to_owned(),
            call_id: text(headers.call_id().expect("it has one")),
            local_tag: format!("{name}-tag"),
            remote: text(headers.get(&HeaderName::From).expect("it has one")),
            target: contact.uri.to_string(),
            cseq: 0,
            branches: 0,
        }
    }

    pub(crate) fn call_id(&self) -> &str {
        &self.call_id
    }

    /// The next request of this side.
    pub(crate) fn request(&mut self, method: &str) -> Bytes {
        self.cseq += 1;
        self.branches += 1;
        self.write(method, self.cseq, self.branches)
    }

    /// The ACK for a 2xx.
    pub(crate) fn ack(&mut self) -> Bytes {
        self.branches += 1;
        self.write("ACK", self.cseq, self.branches)
    }

    /// The CANCEL of the last request.
    pub(crate) fn cancel(&self) -> Bytes {
        self.write("CANCEL", self.cseq, self.branches)
    }

    /// Notes the other side's tag and contact.
    pub(crate) fn learn(&mut self, response: &Response) {
        let headers = &response.headers;
        self.remote = text(headers.get(&HeaderName::To).expect("it has one"));
        if let Ok(Some(contact)) = headers.contact() {
            self.target = contact.uri.to_string();
        }
    }

    /// This side's answer to `request`.
    pub(crate) fn answer(&self, request: &Request, status: u16) -> Bytes {
        let status = StatusCode::new(status).expect("a status");
        let mut response = Response::to_request(request, status);
        let mut to = request.headers.to().expect("it has one");
        if to.tag().is_none() {
            to.set_tag(&self.local_tag);
            response.headers.set(HeaderName::To, to.to_string());
        }
        response.headers.set(HeaderName::Contact, format!("<sip:{}@{}>", self.name, self.addr));
        if request.method == Method::Invite && status.is_success() {
            response.headers.set(HeaderName::ContentType, "application/sdp");
            response.body = Bytes::from_static(SDP.as_bytes());
        }
        response.print()
    }

    fn write(&self, method: &str, cseq: u32, branch: u32) -> Bytes {
        let Self { addr, name, call_id, local_tag, remote, target, .. } = self;
        let body = if method == "INVITE" { SDP } else { "" };
        let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        Bytes::from(format!(
            "{method} {target} SIP/2.0\r\n\
             Via: SIP/2.0/UDP {addr};branch=z9hG4bK-{name}-{call_id}-{branch}\r\n\
             From: <sip:{name}@example.com>;tag={local_tag}\r\nTo: {remote}\r\n\
             Call-ID: {call_id}\r\nCSeq: {cseq} {method}\r\nMax-Forwards: 70\r\n\
             Contact: <sip:{name}@{addr}>\r\n{kind}Content-Length: {}\r\n\r\n{body}",
            body.len()
        ))
    }
}

/// The requests among `messages`.
pub(crate) fn requests(messages: Vec<Message>) -> Vec<Request> {
    let request = |message| match message {
        Message::Request(request) => Some(request),
        Message::Response(_) => None,
    };
    messages.into_iter().filter_map(request).collect()
}

/// The responses among `messages`.
pub(crate) fn responses(messages: Vec<Message>) -> Vec<Response> {
    let response = |message| match message {
        Message::Response(response) => Some(response),
        Message::Request(_) => None,
    };
    messages.into_iter().filter_map(response).collect()
}

/// What each message is, for comparison with a script.
pub(crate) fn names(messages: &[Message]) -> Vec<String> {
    let name = |message: &Message| match message {
        Message::Request(request) => request.method.as_str().into_owned(),
        Message::Response(response) => response.status.code().to_string(),
    };
    messages.iter().map(name).collect()
}

fn text(bytes: &Bytes) -> String {
    String::from_utf8(bytes.to_vec()).expect("the scripts speak ASCII")
}
