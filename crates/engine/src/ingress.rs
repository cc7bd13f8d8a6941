//! From a datagram to a message that names its call, or to the end of it.
//!
//! What is not SIP, breaks a rule, or answers nothing of ours ends here, without any state:
//! RFC 3261 §8.2.6, §18.1.2, §18.2; RFC 3581 §4; RFC 4475.

use std::net::{IpAddr, SocketAddr};

use bytes::{Bytes, BytesMut};
use call::Destination;
use sip_message::{HeaderName, Headers, Host, Message, Request, Response, Via, parse_datagram};
use vocab::{CallKey, TokenSecret};

use crate::arrival::{Arrival, Origin, kind_of};
use crate::find_call::{Nameless, Returning, find_by_request, find_by_response};
use crate::forward;

/// What became of a datagram.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "it lives for one call, on the stack")]
pub(crate) enum Ingress {
    /// A message for this call.
    For(CallKey, Arrival),
    /// Not SIP or against its rules; maybe with the answer.
    Malformed(Option<Bytes>),
    /// A response on its way back from another site.
    Through(Destination, Bytes),
    /// A response that answers nothing of ours.
    Stray,
    /// An application panicked over it.
    Panicked,
    /// Keep-alive.
    Nothing,
}

/// Takes a datagram in.
pub(crate) fn take(
    source: SocketAddr,
    bytes: Bytes,
    origin: Origin,
    setting: &call::Setting,
    limits: &sip_message::Limits,
) -> Ingress {
    // RFC 5626 §4.4.1: CRLF keep-alives carry nothing.
    if bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n')) {
        return Ingress::Nothing;
    }
    match parse_datagram(&bytes, limits) {
        Ok(Message::Request(request)) => take_request(source, bytes, origin, request, setting),
        Ok(Message::Response(response)) => take_response(source, bytes, origin, response, setting),
        Err(error) => Ingress::Malformed(error.response().map(|mut response| {
            note_source(&mut response.headers, source);
            response.print()
        })),
    }
}

fn take_request(
    source: SocketAddr,
    raw: Bytes,
    origin: Origin,
    mut request: Request,
    setting: &call::Setting,
) -> Ingress {
    let via = match origin {
        Origin::Outside | Origin::Offered(_) => note_source(&mut request.headers, source),
        // The forwarder noted the source, below its own Via.
        Origin::Forwarded(_) => {
            forward::take_hop_off(&mut request, &setting.secret);
            request.headers.via_top().ok().flatten()
        }
    };
    let named = match find_by_request(&request, setting) {
        Ok(named) => named,
        Err(Nameless::NoIdentity) => return Ingress::Malformed(None),
        Err(Nameless::Panicked) => return Ingress::Panicked,
    };
    let identity = identify(&request, via.as_ref(), &setting.secret);
    let message = Message::Request(request);
    let kind = kind_of(&message, named.by_token);
    let has_token = named.by_token;
    Ingress::For(named.key, Arrival { message, source, raw, origin, kind, has_token, identity })
}

fn take_response(
    source: SocketAddr,
    raw: Bytes,
    origin: Origin,
    response: Response,
    setting: &call::Setting,
) -> Ingress {
    match find_by_response(&response, &setting.secret) {
        Returning::Call(key) => {
            // A repeated response is the same bytes again.
            let identity = setting.secret.authenticate(&[b"response", &raw]);
            let message = Message::Response(response);
            let kind = kind_of(&message, true);
            let has_token = true;
            Ingress::For(key, Arrival { message, source, raw, origin, kind, has_token, identity })
        }
        Returning::Through => match forward::pass_back(response) {
            Some((to, bytes)) => Ingress::Through(to, bytes),
            None => Ingress::Stray,
        },
        Returning::Stray => Ingress::Stray,
    }
}

/// RFC 3261 §18.2.1 and RFC 3581 §4: what the sender says of its own address is replaced by what
/// is seen, before anything is stored. Returns the top Via as it is then.
fn note_source(headers: &mut Headers, source: SocketAddr) -> Option<Via> {
    let mut via = headers.via_top().ok()??;
    let wants_port = via.rport().is_some() || via.params.contains("rport");
    let differs = match &via.host {
        Host::Name(_) => true,
        Host::Ip(ip) => plain(*ip) != plain(source.ip()),
    };
    if !wants_port && !differs && !via.params.contains("received") {
        return Some(via);
    }
    via.params.set_bytes("received", Some(printed(source.ip())));
    if wants_port {
        via.set_param("rport", Some(&source.port().to_string()));
    }
    headers.pop_via();
    headers.push_front(HeaderName::Via, via.print());
    Some(via)
}

/// An address without brackets.
fn printed(ip: IpAddr) -> Bytes {
    match ip {
        IpAddr::V4(_) => {
            let mut out = BytesMut::with_capacity(16);
            Host::Ip(ip).print_into(&mut out);
            out.freeze()
        }
        IpAddr::V6(ip) => ip.to_string().into(),
    }
}

/// An IPv4 address that came through a dual-stack socket is an IPv4 address.
fn plain(ip: IpAddr) -> IpAddr {
    ip.to_canonical()
}

/// What makes two requests the same message: RFC 3261 §17.2.3, and the identifiers of §8.2.2.2 so
/// that a branch chosen twice by different clients tells them apart.
fn identify(request: &Request, via: Option<&Via>, secret: &TokenSecret) -> u64 {
    let headers = &request.headers;
    let branch = via.and_then(|via| via.branch().cloned()).unwrap_or_default();
    let mut sent_by = BytesMut::with_capacity(64);
    if let Some(via) = via {
        via.host.print_with_port(via.port, &mut sent_by);
    }
    let cseq = headers.cseq().map(|cseq| cseq.number).unwrap_or_default();
    let call_id = headers.call_id().cloned().unwrap_or_default();
    let from_tag = headers.from_tag().ok().flatten().unwrap_or_default();
    secret.authenticate(&[
        b"request",
        &branch,
        &sent_by,
        request.method.as_bytes(),
        &cseq.to_be_bytes(),
        &call_id,
        &from_tag,
    ])
}

#[cfg(test)]
mod tests;
