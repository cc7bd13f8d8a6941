//! The far ends of a flow: user agents that remember just enough to say the next thing.
//!
//! They have no timers and no opinions. What they send is text, parsed as a datagram would be.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use sip_message::{
    HeaderName, Limits, Message, Method, Request, Response, StatusCode, parse_datagram,
};

use crate::command::Command;

/// Who plays, and the last number of its address in 192.0.2.0/24.
const CAST: [(&str, u8); 5] = [("alice", 1), ("bob", 2), ("carol", 3), ("eve", 4), ("proxy", 9)];

/// The name of whoever is at `addr`.
pub(crate) fn name_of(addr: SocketAddr) -> String {
    CAST.iter()
        .find(|(_, host)| SocketAddr::from((Ipv4Addr::new(192, 0, 2, *host), 5060)) == addr)
        .map_or_else(|| addr.to_string(), |(name, _)| (*name).to_owned())
}

/// A dialog as its far end sees it.
#[derive(Clone, Debug)]
struct Dialog {
    call_id: String,
    local: String,
    remote: String,
    target: String,
    routes: Vec<String>,
}

/// One user agent.
#[derive(Debug)]
pub(crate) struct Deskset {
    pub(crate) name: &'static str,
    pub(crate) addr: SocketAddr,
    cseq: u32,
    branches: u32,
    sent: BTreeMap<(String, String), String>,
    invite: Option<Request>,
    received: Vec<Request>,
    answers: Vec<Response>,
    dialog: Option<Dialog>,
}

pub(crate) fn cast() -> Vec<Deskset> {
    CAST.iter().map(|&(name, host)| Deskset::new(name, host)).collect()
}

fn text(bytes: &Bytes) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What an engine makes of `datagram`; `None` for what it refuses before any call hears of it.
fn parse(datagram: &str) -> Option<Message> {
    parse_datagram(&Bytes::from(datagram.to_owned()), &Limits::default()).ok()
}

fn line(headers: &sip_message::Headers, name: &HeaderName) -> String {
    headers.get(name).map(text).unwrap_or_default()
}

impl Deskset {
    fn new(name: &'static str, host: u8) -> Self {
        Self {
            name,
            addr: (Ipv4Addr::new(192, 0, 2, host), 5060).into(),
            cseq: if name == "alice" { 0 } else { 100 },
            branches: 0,
            sent: BTreeMap::new(),
            invite: None,
            received: Vec::new(),
            answers: Vec::new(),
            dialog: None,
        }
    }

    /// Takes what the call sent.
    pub(crate) fn hear(&mut self, message: &Message) {
        match message {
            Message::Request(request) => self.received.push(request.clone()),
            Message::Response(response) => {
                self.answers.push(response.clone());
                self.learn_dialog(response);
            }
        }
    }

    /// An answer to our INVITE names the far end of the dialog and the way to it.
    fn learn_dialog(&mut self, response: &Response) {
        let headers = &response.headers;
        let is_invite = headers.cseq().is_ok_and(|cseq| cseq.method == Method::Invite);
        let tagged = headers.to().is_ok_and(|to| to.tag().is_some());
        if !is_invite || !tagged || response.status.code() >= 300 {
            return;
        }
        let mut routes: Vec<String> =
            headers.values(&HeaderName::RecordRoute).map(|route| text(&route)).collect();
        routes.reverse();
        let known = self.dialog.as_ref().map(|dialog| dialog.routes.clone());
        let target = headers.contact().ok().flatten().map(|contact| text(contact.uri.as_bytes()));
        let old = self.dialog.as_ref().map(|dialog| dialog.target.clone());
        // A request within a dialog changes its target but never its route set (§12.2).
        let is_ours = self.invite.as_ref().is_some_and(|invite| {
            line(&invite.headers, &HeaderName::From) == line(headers, &HeaderName::From)
        });
        if is_ours {
            self.dialog = Some(Dialog {
                call_id: line(headers, &HeaderName::CallId),
                local: line(headers, &HeaderName::From),
                remote: line(headers, &HeaderName::To),
                target: target.or(old).unwrap_or_default(),
                routes: if routes.is_empty() { known.unwrap_or_default() } else { routes },
            });
        }
    }

    /// What `command` makes this user agent send: a request, unless it has no reason to.
    pub(crate) fn request(&mut self, command: &Command) -> Option<Request> {
        let method = command.word(1).to_owned();
        let branch = self.branch(command);
        let again = (branch.clone(), method.clone());
        let datagram = match self.sent.get(&again) {
            Some(datagram) => datagram.clone(),
            None => match method.as_str() {
                "ACK" => self.ack(command, &branch)?,
                "CANCEL" => self.cancel(command)?,
                _ => self.fresh(command, &method, &branch),
            },
        };
        self.sent.insert(again, datagram.clone());
        let Message::Request(request) = parse(&datagram)? else { return None };
        if request.method == Method::Invite {
            self.invite = Some(request.clone());
        }
        Some(request)
    }

    fn branch(&mut self, command: &Command) -> String {
        let raw = command.option("rawbranch").map(str::to_owned);
        raw.or_else(|| command.option("branch").map(|branch| format!("z9hG4bK{branch}")))
            .unwrap_or_else(|| {
                self.branches += 1;
                format!("z9hG4bK{}{}", self.name, self.branches)
            })
    }

    fn fresh(&mut self, command: &Command, method: &str, branch: &str) -> String {
        let begins = self.dialog.is_none() || command.has("new");
        self.cseq += 1;
        if let Some(cseq) = command.option("cseq") {
            self.cseq = cseq.parse().expect("a CSeq is a number");
        }
        let name = self.name;
        let dialog = match &self.dialog {
            Some(dialog) if !begins => dialog.clone(),
            Some(_) | None => {
                let user = command.word(2);
                let target = if user.contains(':') {
                    user.to_owned()
                } else {
                    format!("sip:{user}@example.com")
                };
                let to =
                    command.option("totag").map_or_else(String::new, |tag| format!(";tag={tag}"));
                Dialog {
                    call_id: format!("call-{}", command.option("call").unwrap_or(name)),
                    local: format!("<sip:{name}@example.com>;tag={name}-tag"),
                    remote: format!("<{target}>{to}"),
                    target,
                    routes: Vec::new(),
                }
            }
        };
        let routes: Vec<&str> = dialog.routes.iter().map(String::as_str).collect();
        let cseq = self.cseq;
        let mut head = self.head(command, method, branch, &dialog.target, &routes);
        let _ = write!(
            head,
            "From: {}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {cseq} {method}\r\n",
            dialog.local, dialog.remote, dialog.call_id
        );
        if matches!(method, "INVITE" | "UPDATE" | "SUBSCRIBE" | "REFER") {
            let _ = write!(head, "Contact: <sip:{name}@{}>\r\n", self.addr.ip());
        }
        head + &self.tail(command)
    }

    /// Request line, Via, routes and Max-Forwards.
    fn head(
        &self,
        command: &Command,
        method: &str,
        branch: &str,
        uri: &str,
        routes: &[&str],
    ) -> String {
        let hops = command.option("mf").unwrap_or("70");
        let mut head = format!("{method} {uri} SIP/2.0\r\n");
        let _ = write!(head, "Via: SIP/2.0/UDP {}:5060;branch={branch}\r\n", self.addr.ip());
        for route in routes {
            let _ = write!(head, "Route: {route}\r\n");
        }
        let _ = write!(head, "Max-Forwards: {hops}\r\n");
        head
    }

    /// What the script adds: header lines, a record-route, a session description.
    fn tail(&self, command: &Command) -> String {
        let mut tail = String::new();
        if command.option("rr").is_some() {
            tail.push_str("Record-Route: <sip:192.0.2.9;lr>\r\n");
        }
        for header in &command.headers {
            let _ = write!(tail, "{header}\r\n");
        }
        let body = command.option("sdp").map(|version| self.sdp(version)).unwrap_or_default();
        if !body.is_empty() {
            tail.push_str("Content-Type: application/sdp\r\n");
        }
        let _ = write!(tail, "Content-Length: {}\r\n\r\n{body}", body.len());
        tail
    }

    fn sdp(&self, version: &str) -> String {
        let (name, ip) = (self.name, self.addr.ip());
        format!(
            "v=0\r\no={name} 1 {version} IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\n\
             m=audio 4000 RTP/AVP 0\r\n"
        )
    }

    /// The ACK of the latest final answer to an INVITE: of a 2xx end to end, of a failure hop by
    /// hop.
    fn ack(&mut self, command: &Command, branch: &str) -> Option<String> {
        let final_to_invite = |answer: &&Response| {
            answer.status.is_final()
                && answer.headers.cseq().is_ok_and(|cseq| cseq.method == Method::Invite)
        };
        let answer = self.answers.iter().rev().find(final_to_invite).cloned();
        let (answer, invite) = (answer?, self.invite.clone()?);
        let number = answer.headers.cseq().expect("an answer has a CSeq").number.to_string();
        let number = command.option("cseq").unwrap_or(&number);
        let is_success = answer.status.is_success();
        let (branch, uri, routes) = if is_success {
            let dialog = self.dialog.clone()?;
            (branch.to_owned(), dialog.target, dialog.routes)
        } else {
            let via = invite.headers.via_top().expect("a Via").expect("one Via");
            let branch = via.branch().map(text).unwrap_or_default();
            let routes = invite.headers.values(&HeaderName::Route).map(|route| text(&route));
            (branch, text(invite.uri.as_bytes()), routes.collect())
        };
        let routes: Vec<&str> = routes.iter().map(String::as_str).collect();
        let mut head = self.head(command, "ACK", &branch, &uri, &routes);
        let headers = &answer.headers;
        let _ = write!(
            head,
            "From: {}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {number} ACK\r\n",
            line(headers, &HeaderName::From),
            line(headers, &HeaderName::To),
            line(headers, &HeaderName::CallId),
        );
        Some(head + &self.tail(command))
    }

    /// The CANCEL of the latest INVITE.
    fn cancel(&self, command: &Command) -> Option<String> {
        let invite = self.invite.as_ref()?;
        let headers = &invite.headers;
        let number = headers.cseq().expect("an INVITE has a CSeq").number;
        let uri = text(invite.uri.as_bytes());
        let via = headers.via_top().expect("a Via").expect("one Via");
        let branch = via.branch().map(text).unwrap_or_default();
        let branch = command.option("branch").map_or(branch, |own| format!("z9hG4bK{own}"));
        let mut head = self.head(command, "CANCEL", &branch, &uri, &[]);
        let from = line(headers, &HeaderName::From);
        let from = command
            .option("fromtag")
            .map_or_else(|| from.clone(), |tag| from.replace(&format!("{}-tag", self.name), tag));
        let _ = write!(
            head,
            "From: {from}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {number} CANCEL\r\n",
            line(headers, &HeaderName::To),
            line(headers, &HeaderName::CallId),
        );
        Some(head + &self.tail(command))
    }

    /// The latest request of `method` that this user agent heard.
    pub(crate) fn heard(&self, method: Option<&str>) -> Option<Request> {
        let matches = |request: &&Request| match method {
            Some(method) => request.method.as_bytes() == method.as_bytes(),
            None => request.method != Method::Ack,
        };
        self.received.iter().rev().find(matches).cloned()
    }

    /// What `command` makes this user agent answer to `request`.
    pub(crate) fn answer(&mut self, command: &Command, request: &Request) -> Option<Response> {
        let code = command.word(1).parse().ok().and_then(StatusCode::new);
        let code = code.expect("an answer begins with a status code");
        let mut response = Response::to_request(request, code);
        let reason = command.words.get(1..).unwrap_or_default().join(" ");
        if !reason.is_empty() {
            response.reason = Bytes::from(reason);
        }
        let headers = &mut response.headers;
        let own = format!("{}-tag", self.name);
        let tag = command.option("tag").unwrap_or(&own);
        let to = headers.to().expect("the call writes a To");
        if code.code() > 100 && to.tag().is_none() {
            headers.set(HeaderName::To, to.with_tag(tag).print());
        }
        let forms = request.method == Method::Invite && code.code() > 100 && code.code() < 300;
        if forms || (request.method == Method::Update && code.is_success()) {
            headers.set(HeaderName::Contact, format!("<sip:{}@{}>", self.name, self.addr.ip()));
        }
        if let Some(method) = command.option("method") {
            let number = headers.cseq().expect("the call writes a CSeq").number;
            headers.set(HeaderName::CSeq, format!("{number} {method}"));
        }
        if command.has("vias") {
            response.reason = Bytes::from_static(b"OK");
            headers.push(HeaderName::Via, "SIP/2.0/UDP 192.0.2.66;branch=z9hG4bKother");
        }
        let local = line(headers, &HeaderName::To);
        headers.remove(&HeaderName::ContentLength);
        let printed = text(&response.print());
        let head = printed.split("Content-Length").next().unwrap_or(&printed);
        let head = head.trim_end_matches("\r\n").to_owned() + "\r\n";
        if forms {
            let mut routes: Vec<String> = Vec::new();
            if command.option("rr").is_some() {
                routes.push("<sip:192.0.2.9;lr>".to_owned());
            }
            let contact = request.headers.contact().ok().flatten();
            let known = self.dialog.as_ref().map(|dialog| dialog.routes.clone());
            self.dialog = Some(Dialog {
                call_id: line(&request.headers, &HeaderName::CallId),
                local,
                remote: line(&request.headers, &HeaderName::From),
                target: contact.map(|contact| text(contact.uri.as_bytes())).unwrap_or_default(),
                routes: if routes.is_empty() { known.unwrap_or_default() } else { routes },
            });
        }
        match parse(&(head + &self.tail(command)))? {
            Message::Response(response) => Some(response),
            Message::Request(_) => None,
        }
    }
}
