//! Messages that are built here rather than passed on: headers of ours, requests within a dialog
//! (RFC 3261 §12.2.1.1), responses, and where each of them is sent.

use std::net::IpAddr;

use bytes::{Bytes, BytesMut};
use sip_message::{
    CSeq, HeaderName, Headers, Host, Method, NameAddr, Request, Response, StatusCode, Uri,
};
use vocab::{SiteId, Token, TokenKind};

use crate::crossing::{Dialog, Leg};
use crate::local::{ServerMachine, Serving};
use crate::step::{Stepper, kept_request};
use crate::transaction::{
    InviteServer, Packet, Reliability, Server, ServerKey, Unacknowledged, invite_server, server,
};
use crate::{Destination, Effect, Source};

/// "A UAC MUST insert a Max-Forwards header field … its value … SHOULD be 70" (§8.1.1.6).
pub(crate) const MAX_FORWARDS: u8 = 70;
/// "the branch parameter MUST always begin with the characters z9hG4bK" (§8.1.1.7).
pub(crate) const MAGIC: &str = "z9hG4bK";
/// Ordinal of the To tag of stateless answers: the same for each repetition (§8.2.7).
const STATELESS_TAG: u16 = 0;
/// Flips an ordinal away from those in use, for a request that must not change the state.
const ASIDE: u16 = 0x8000;

/// A request and where it is sent.
pub(crate) struct Outgoing {
    pub(crate) request: Request,
    pub(crate) to: Destination,
}

/// A response before it is made one to a certain request.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) reason: Option<Bytes>,
    pub(crate) headers: Headers,
    pub(crate) body: Bytes,
    /// Ordinal of the To tag, if it is not the request's usual one.
    pub(crate) tag: Option<u16>,
}

impl Answer {
    pub(crate) fn new(status: StatusCode) -> Self {
        let (headers, body) = (Headers::default(), Bytes::new());
        Self { status, reason: None, headers, body, tag: None }
    }
}

impl Stepper<'_> {
    fn mint(&self, kind: TokenKind, site: SiteId, ordinal: u16) -> String {
        let (key, salt) = (self.call.key, self.call.crossing.salt);
        self.setting.secret.mint(&Token { key, site, kind, salt, ordinal })
    }

    pub(crate) fn tag(&self, site: SiteId, ordinal: u16) -> String {
        self.mint(TokenKind::Tag, site, ordinal)
    }

    pub(crate) fn call_id(&self, leg: &Leg) -> Bytes {
        match &leg.call_id {
            Some(call_id) => call_id.clone(),
            None => self.mint(TokenKind::CallId, leg.site, leg.id).into(),
        }
    }

    pub(crate) fn contact(&self) -> Bytes {
        let edge = &self.setting.edge;
        let mut out = BytesMut::with_capacity(64);
        out.extend_from_slice(b"<sip:");
        edge.host.print_with_port(Some(edge.port), &mut out);
        out.extend_from_slice(b">");
        out.freeze()
    }

    /// A Via of ours with the branch of this ordinal.
    pub(crate) fn via(&self, branch: u16) -> Bytes {
        let edge = &self.setting.edge;
        let token = self.mint(TokenKind::Branch, self.setting.here, branch);
        let mut out = BytesMut::with_capacity(128);
        out.extend_from_slice(b"SIP/2.0/UDP ");
        edge.host.print_with_port(Some(edge.port), &mut out);
        for part in [";branch=", MAGIC, &token] {
            out.extend_from_slice(part.as_bytes());
        }
        out.freeze()
    }

    /// An ordinal for a branch: of no tag or leg, and of no transaction that still runs.
    pub(crate) fn fresh_branch(&mut self) -> u16 {
        loop {
            let ordinal = self.call.crossing.fresh_ordinal();
            if self.call.local.askings.iter().all(|asking| asking.branch() != ordinal) {
                return ordinal;
            }
        }
    }

    /// A request of ours within a dialog. `None` when its target is no URI that can be reached.
    pub(crate) fn within_dialog(
        &self,
        leg: &Leg,
        dialog: &Dialog,
        method: Method,
        cseq: u32,
        branch: u16,
    ) -> Option<Outgoing> {
        let (request, hop) = self.along_dialog(leg, dialog, method, cseq, branch)?;
        let to = destination(&hop)?;
        Some(Outgoing { request, to })
    }

    /// A request of ours within a dialog, and the URI of its next hop.
    ///
    /// §12.2.1.1: the To and From of the dialog with its tags, its Call-ID, its route set.
    pub(crate) fn along_dialog(
        &self,
        leg: &Leg,
        dialog: &Dialog,
        method: Method,
        cseq: u32,
        branch: u16,
    ) -> Option<(Request, Uri)> {
        let target = Uri::parse(&dialog.target).ok()?.without_headers();
        let (uri, routes, hop) = routed(target, &dialog.routes)?;
        let mut request = Request::new(method.clone(), uri);
        let headers = &mut request.headers;
        headers.push(HeaderName::Via, self.via(branch));
        for route in routes {
            headers.push(HeaderName::Route, route);
        }
        headers.push(HeaderName::MaxForwards, MAX_FORWARDS.to_string());
        let from = tagged(&leg.local, self.tag(leg.site, dialog.local_tag).as_bytes());
        headers.push(HeaderName::From, from);
        let remote_tag = dialog.remote_tag.as_deref().unwrap_or_default();
        headers.push(HeaderName::To, tagged(&leg.remote, remote_tag));
        headers.push(HeaderName::CallId, self.call_id(leg));
        headers.push(HeaderName::CSeq, CSeq { number: cseq, method: method.clone() }.print());
        if names_target(&method) {
            headers.push(HeaderName::Contact, self.contact());
        }
        Some((request, hop))
    }

    /// The ACK of a 2xx within a dialog, without a body.
    pub(crate) fn ack_within(
        &self,
        leg: u16,
        fork: u16,
        cseq: u32,
        branch: u16,
    ) -> Option<Outgoing> {
        let leg = self.call.crossing.leg(leg)?;
        self.within_dialog(leg, leg.dialog(fork)?, Method::Ack, cseq, branch)
    }

    /// A request made out of nothing but a 2xx to an INVITE of ours: ACK or BYE to a dialog that
    /// the call does not hold.
    pub(crate) fn out_of_2xx(
        &self,
        response: &Response,
        method: Method,
        cseq: u32,
        branch: u16,
    ) -> Option<Outgoing> {
        let contact = response.headers.contact().ok().flatten()?;
        // §12.1.2: "The route set MUST be set to the list of URIs in the Record-Route header field
        // from the response, taken in reverse order".
        let routes = reversed_routes(&response.headers, self.setting.limits.routes_max)?;
        let (uri, routes, hop) = routed(contact.uri.without_headers(), &routes)?;
        let to = destination(&hop)?;
        let mut request = Request::new(method.clone(), uri);
        let headers = &mut request.headers;
        headers.push(HeaderName::Via, self.via(branch));
        for route in routes {
            headers.push(HeaderName::Route, route);
        }
        headers.push(HeaderName::MaxForwards, MAX_FORWARDS.to_string());
        headers.push(HeaderName::From, response.headers.get(&HeaderName::From)?.clone());
        headers.push(HeaderName::To, response.headers.get(&HeaderName::To)?.clone());
        headers.push(HeaderName::CallId, response.headers.call_id().ok()?.clone());
        headers.push(HeaderName::CSeq, CSeq { number: cseq, method }.print());
        Some(Outgoing { request, to })
    }

    /// Answers without a transaction: a repetition of the request is refused again, alike.
    pub(crate) fn refuse(&mut self, request: &Request, source: Source, answer: Answer) {
        if request.method == Method::Ack {
            return;
        }
        let mut response = Response::to_request(request, answer.status);
        let tag = self.tag(self.setting.here, answer.tag.unwrap_or(STATELESS_TAG));
        complete(&mut response, answer, &tag);
        let to = reply_destination(request, source);
        self.effects.push(Effect::Transmit { to, bytes: response.print() });
    }

    /// Begins to serve a request: from here on its repetitions are absorbed.
    pub(crate) fn serve(
        &mut self,
        request: &Request,
        key: ServerKey,
        source: Source,
        dialog: Option<(u16, u16)>,
        application: u16,
    ) -> Option<u16> {
        let to = reply_destination(request, source);
        let trying = Response::to_request(request, StatusCode::TRYING).print();
        let machine = if request.method == Method::Invite {
            let mut machine = InviteServer::begin(key, to, Reliability::Unreliable);
            let respond =
                invite_server::Input::Respond { status: StatusCode::TRYING, bytes: trying };
            let outcome = machine.step(self.now, respond, &self.setting.timers);
            self.carry_out(&outcome);
            ServerMachine::Invite(machine)
        } else {
            let timers = &self.setting.timers;
            let machine = Server::begin(key, to, Reliability::Unreliable, trying, self.now, timers);
            ServerMachine::Other(machine)
        };
        let tag = if dialog.is_none() { self.call.crossing.fresh_ordinal() } else { 0 };
        let id = self.call.local.fresh_serving();
        self.call.local.servings.push(Serving {
            id,
            machine,
            leg: dialog.map(|(leg, _)| leg),
            fork: dialog.map_or(0, |(_, fork)| fork),
            application,
            cseq: request.headers.cseq().ok()?.number,
            call_id: request.headers.call_id().ok()?.clone(),
            from_tag: crate::call::from_tag(&request.headers)?,
            is_initial: dialog.is_none(),
            tag,
            site: self.setting.here,
            request: Some(trimmed(request)),
            unacknowledged: None,
            is_deferred: false,
            deferred_until: None,
            newer: Bytes::new(),
        });
        Some(id)
    }

    /// Answers a request that is served. A second final answer is dropped.
    pub(crate) fn respond(&mut self, id: u16, answer: Answer) {
        let serving = self.call.local.serving(id).filter(|serving| serving.is_pending());
        let request = serving.and_then(|serving| serving.request.as_ref().and_then(kept_request));
        if let Some(request) = request {
            self.respond_to(id, &request, answer);
        }
    }

    /// As [`Self::respond`], for one who has the request at hand, kept or as it came.
    pub(crate) fn respond_to(&mut self, id: u16, request: &Request, answer: Answer) {
        let Some(serving) = self.call.local.serving(id).filter(|serving| serving.is_pending())
        else {
            return;
        };
        let status = answer.status;
        let mut response = Response::to_request(request, status);
        let names_us = matches!(status.code(), 101..=299) && names_target(&request.method);
        if names_us && !answer.headers.contains(&HeaderName::Contact) {
            response.headers.push(HeaderName::Contact, self.contact());
        }
        let tag = self.tag(serving.site, answer.tag.unwrap_or(serving.tag));
        complete(&mut response, answer, &tag);
        let (leg, fork, is_initial) = (serving.leg, serving.fork, serving.is_initial);
        if let Some(leg) = leg.filter(|_| status.is_success() && !is_initial) {
            self.refresh_target(leg, fork, &request.method, &request.headers);
        }
        self.respond_with(id, status, response.print());
    }

    fn respond_with(&mut self, id: u16, status: StatusCode, bytes: Bytes) {
        let (now, timers) = (self.now, &self.setting.timers);
        let Some(serving) = self.call.local.serving_mut(id) else { return };
        let outcome = match &mut serving.machine {
            ServerMachine::Invite(machine) => {
                machine.step(now, invite_server::Input::Respond { status, bytes }, timers)
            }
            ServerMachine::Other(machine) => {
                machine.step(now, server::Input::Respond { status, bytes }, timers)
            }
        };
        if status.is_final() {
            serving.request = None;
            serving.is_deferred = false;
            serving.deferred_until = None;
            let repeated = outcome.send.clone().filter(|_| status.is_success());
            if let (ServerMachine::Invite(_), Some(packet)) = (&serving.machine, repeated) {
                serving.unacknowledged = Some(Unacknowledged::begin(packet, now, timers));
            }
        }
        self.carry_out(&outcome);
    }

    /// §12.2.2: a target refresh request that was answered with a 2xx moves the dialog's target to
    /// its Contact, and so does the Contact of such a 2xx (§12.2.1.2).
    pub(crate) fn refresh_target(
        &mut self,
        leg: u16,
        fork: u16,
        method: &Method,
        headers: &Headers,
    ) {
        if !refreshes_target(method) {
            return;
        }
        let Some(contact) = usable_contact(headers) else { return };
        if let Some(dialog) = self.call.crossing.dialog_mut(leg, fork) {
            dialog.target = contact;
        }
    }
}

/// An ordinal that belongs to the same request and to no other.
pub(crate) fn aside(ordinal: u16) -> u16 {
    ordinal ^ ASIDE
}

/// Adds to a bare response what the answer says, and the To tag if the request had none.
fn complete(response: &mut Response, answer: Answer, tag: &str) {
    if let Some(reason) = answer.reason {
        response.reason = reason;
    }
    // §8.2.6.2: "if the To header field in the request did not contain a tag … the UAS MUST add a
    // tag to the To header field in the response (with the exception of the 100 (Trying) response,
    // in which a tag MAY be present)".
    if response.status != StatusCode::TRYING
        && let Ok(to) = response.headers.to()
        && to.tag().is_none()
    {
        response.headers.set(HeaderName::To, to.with_tag(tag).print());
    }
    for (name, value) in answer.headers.iter() {
        response.headers.push(name.clone(), value.clone());
    }
    response.body = answer.body;
}

/// What a response will be made of.
fn trimmed(request: &Request) -> Bytes {
    let mut kept = Request::new(request.method.clone(), request.uri.clone());
    for (name, value) in request.headers.iter() {
        if is_needed_in_response(name) {
            kept.headers.push(name.clone(), value.clone());
        }
    }
    kept.print()
}

fn is_needed_in_response(name: &HeaderName) -> bool {
    matches!(
        name,
        HeaderName::Via
            | HeaderName::From
            | HeaderName::To
            | HeaderName::CallId
            | HeaderName::CSeq
            | HeaderName::RecordRoute
            | HeaderName::Contact
            | HeaderName::MaxForwards
            | HeaderName::Supported
            | HeaderName::SessionExpires
            | HeaderName::MinSe
    )
}

/// "Requests that can establish a dialog" and target refreshes name a Contact (§8.1.1.8, §12.2).
fn names_target(method: &Method) -> bool {
    matches!(
        method,
        Method::Invite | Method::Update | Method::Subscribe | Method::Refer | Method::Notify
    )
}

fn refreshes_target(method: &Method) -> bool {
    matches!(method, Method::Invite | Method::Update)
}

/// The first Contact, if it is a URI that requests can be sent to.
pub(crate) fn usable_contact(headers: &Headers) -> Option<Bytes> {
    let contact = headers.contact().ok().flatten()?;
    destination(&contact.uri)?;
    match contact.uri.headers() {
        Some(_) => Some(contact.uri.without_headers().as_bytes().clone()),
        None => Some(contact.uri.as_bytes().clone()),
    }
}

/// Where requests inside its dialog reach a caller: its Contact. A caller of RFC 2543 (no From tag)
/// need not send one; its From address serves (RFC 2543 §6.13, RFC 4475 §3.4.1).
pub(crate) fn caller_target(headers: &Headers) -> Option<Bytes> {
    let contact = usable_contact(headers);
    if contact.is_some() || headers.contains(&HeaderName::Contact) {
        return contact;
    }
    let from = headers.from().ok().filter(|from| from.tag().is_none())?;
    destination(&from.uri)?;
    Some(from.uri.without_headers().as_bytes().clone())
}

/// The Record-Route of a response as the route set of its UAC; `None` when there are too many or
/// they do not parse.
pub(crate) fn reversed_routes(headers: &Headers, routes_max: usize) -> Option<Vec<Bytes>> {
    let mut routes = forward_routes(headers, routes_max)?;
    routes.reverse();
    Some(routes)
}

/// The Record-Route of a request as the route set of its UAS: "taken in order" (§12.1.1).
pub(crate) fn forward_routes(headers: &Headers, routes_max: usize) -> Option<Vec<Bytes>> {
    let routes = headers.record_route().ok()?;
    let is_usable = routes.len() <= routes_max && routes.iter().all(|r| r.uri.host().is_some());
    is_usable.then(|| routes.iter().map(NameAddr::print).collect())
}

/// Request-URI, Route values and next hop of a request to `target` along `routes`.
fn routed(target: Uri, routes: &[Bytes]) -> Option<(Uri, Vec<Bytes>, Uri)> {
    let Some((first, rest)) = routes.split_first() else {
        let hop = target.clone();
        return Some((target, Vec::new(), hop));
    };
    let first = NameAddr::parse(first).ok()?.uri;
    if first.has_param("lr") {
        return Some((target, routes.to_vec(), first));
    }
    // §12.2.1.1: "If the route set is not empty, and its first URI does not contain the lr
    // parameter, the UAC MUST place the first URI from the route set into the Request-URI … The UAC
    // MUST then place the remote target URI into the Route header field as the last value."
    let mut routes = rest.to_vec();
    routes.push(NameAddr::new(target).print());
    let uri = first.without_headers();
    Some((uri.clone(), routes, uri))
}

/// Where a URI says that its requests go.
pub(crate) fn destination(uri: &Uri) -> Option<Destination> {
    let maddr = uri.param("maddr").flatten().and_then(Host::parse);
    let host = maddr.or_else(|| uri.host().cloned())?;
    let port = uri.port().unwrap_or(5060);
    names_a_peer(&host, port).then(|| at(host, port))
}

/// Whether there can be one peer at this place: a Contact must not make us shout at a network.
fn names_a_peer(host: &Host, port: u16) -> bool {
    let is_for_many = host.ip().map(|ip| ip.to_canonical()).is_some_and(|ip| match ip {
        IpAddr::V4(ip) => ip.is_unspecified() || ip.is_multicast() || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_unspecified() || ip.is_multicast(),
    });
    port != 0 && !is_for_many
}

pub(crate) fn at(host: Host, port: u16) -> Destination {
    match host {
        Host::Ip(ip) => Destination::Addr((ip, port).into()),
        Host::Name(name) => Destination::Host { name, port },
    }
}

/// Where the response to a request goes over UDP (§18.2.2, RFC 3581 §4).
///
/// **Deviation** from §18.2.2: `maddr` of the Via is not followed. Requests do not come by
/// multicast here, and whoever may name a place for responses can aim them, and their repetitions,
/// at anybody.
pub(crate) fn reply_destination(request: &Request, source: Source) -> Destination {
    let Ok(Some(via)) = request.headers.via_top() else {
        return Destination::Addr(source.addr);
    };
    let port = via.port.unwrap_or(5060);
    let ip = via.received().or_else(|| via.host.ip()).unwrap_or_else(|| source.addr.ip());
    let port = via.rport().flatten().unwrap_or(port);
    Destination::Addr((ip, port).into())
}

/// An address with a tag; none when the tag is empty.
pub(crate) fn tagged(address: &Bytes, tag: &[u8]) -> Bytes {
    if tag.is_empty() {
        return address.clone();
    }
    [address, &b";tag="[..], tag].concat().into()
}

/// An address without its tag.
pub(crate) fn untagged(mut address: NameAddr) -> Bytes {
    address.params.remove("tag");
    address.print()
}

/// A packet of a request.
pub(crate) fn packet(outgoing: &Outgoing) -> Packet {
    Packet { to: outgoing.to.clone(), bytes: outgoing.request.print() }
}
