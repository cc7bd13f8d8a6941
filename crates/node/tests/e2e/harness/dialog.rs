//! One end's half of a dialog (RFC 3261 §12), enough to write the next request in it.

use std::net::SocketAddr;

use bytes::Bytes;
use sip_message::{HeaderName, Method, Request, Response, Uri};

use super::agent::Agent;

/// What one end knows of its dialog.
#[derive(Clone, Debug)]
pub(crate) struct Dialog {
    pub(crate) call_id: Bytes,
    local: Bytes,
    remote: Bytes,
    target: Uri,
    routes: Vec<Bytes>,
    cseq: u32,
    version: u32,
}

impl Dialog {
    /// A call that is about to begin.
    pub(crate) fn outgoing(agent: &mut Agent) -> Self {
        let (tag, id) = (agent.unique(), agent.unique());
        let (local, domain) = (agent.local(), agent.domain());
        Self {
            call_id: format!("{id}@{}", local.ip()).into(),
            local: format!("<sip:caller@{local}>;tag={tag}").into(),
            remote: format!("<sip:callee@{domain}>").into(),
            target: uri(format!("sip:callee@{domain}")),
            routes: Vec::new(),
            cseq: 0,
            version: 0,
        }
    }

    /// The callee's half, from the INVITE and the tag it answered with.
    pub(crate) fn incoming(invite: &Request, tag: &Bytes) -> Self {
        let headers = &invite.headers;
        let mut local = headers.to().expect("checked by the parser");
        local.set_tag(std::str::from_utf8(tag).expect("our own tag"));
        let contact = headers.contact().expect("a Contact that can be read");
        Self {
            call_id: headers.call_id().expect("checked by the parser").clone(),
            local: local.to_string().into(),
            remote: headers.from().expect("checked by the parser").to_string().into(),
            target: contact.expect("an INVITE has a Contact").uri,
            routes: headers.values(&HeaderName::RecordRoute).collect(),
            cseq: 0,
            version: 0,
        }
    }

    /// The caller learns the other end from the 2xx.
    pub(crate) fn confirm(&mut self, response: &Response) {
        let headers = &response.headers;
        self.remote = headers.to().expect("checked by the parser").to_string().into();
        let contact = headers.contact().expect("a Contact that can be read");
        self.target = contact.expect("a 2xx to INVITE has a Contact").uri;
        self.routes = headers.values(&HeaderName::RecordRoute).collect();
        self.routes.reverse();
    }

    /// The next request in this dialog, or the one that begins it. An ACK repeats the number.
    pub(crate) fn request(&mut self, agent: &mut Agent, method: Method) -> Request {
        if method != Method::Ack {
            self.cseq += 1;
        }
        let branch = agent.unique();
        let local = agent.local();
        let mut request = Request::new(method.clone(), self.target.clone());
        let headers = &mut request.headers;
        headers.push(HeaderName::Via, format!("SIP/2.0/UDP {local};branch=z9hG4bK{branch}"));
        headers.push(HeaderName::MaxForwards, "70");
        for route in &self.routes {
            headers.push(HeaderName::Route, route.clone());
        }
        headers.push(HeaderName::From, self.local.clone());
        headers.push(HeaderName::To, self.remote.clone());
        headers.push(HeaderName::CallId, self.call_id.clone());
        headers.push(HeaderName::CSeq, format!("{} {}", self.cseq, method.as_str()));
        if method == Method::Invite {
            self.version += 1;
            headers.push(HeaderName::Contact, format!("<sip:{}@{local}>", agent.name()));
            headers.push(HeaderName::Allow, "INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE");
            headers.push(HeaderName::ContentType, "application/sdp");
            request.body = sdp(local, self.version);
        }
        request
    }
}

/// A body of the size that real ones have.
pub(crate) fn sdp(local: SocketAddr, version: u32) -> Bytes {
    let ip = local.ip();
    format!(
        "v=0\r\no=- 1 {version} IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\n\
         m=audio 30000 RTP/AVP 8 101\r\na=rtpmap:101 telephone-event/8000\r\na=sendrecv\r\n"
    )
    .into()
}

fn uri(text: String) -> Uri {
    Uri::parse(&text.into()).expect("an address makes a URI")
}
