//! Messages on their way to the site where their call lives, and their responses on the way back:
//! stateless proxying (RFC 3261 §16.11). Or, where it is configured, the word to their sender to
//! go there itself.
//!
//! All sites are one element behind one edge. The receiving engine therefore takes the
//! forwarder's Via off again, so that a repetition, ACK or CANCEL that takes another way matches
//! its transaction, and answers along the Via below. A response that still carries a forwarder's
//! Via passes through any engine.

use std::net::SocketAddr;

use bytes::Bytes;
use call::Destination;
use sip_message::{HeaderName, Host, Message, Method, Request, Response, StatusCode, Uri};
use tier_protocol::ForwardedMessage;
use vocab::{CallKey, Epoch, Token, TokenKind, TokenSecret};

use crate::arrival::Arrival;
use crate::find_call::{is_within, read_branch};
use crate::stateless::return_path;

/// RFC 3261 §16.6: "If the copy does not contain a Max-Forwards header field, the proxy MUST add
/// one with a field value, which SHOULD be 70."
const MAX_FORWARDS: u8 = 70;

/// `arrival` as it is forwarded; the status that refuses it when it went too far.
pub(crate) fn outgoing(
    arrival: &Arrival,
    key: CallKey,
    epoch: Option<Epoch>,
    setting: &call::Setting,
) -> Result<ForwardedMessage, StatusCode> {
    let bytes = match &arrival.message {
        Message::Response(_) => arrival.raw.clone(),
        Message::Request(request) => {
            let mut copy = request.clone();
            let hops = request.headers.max_forwards().ok().flatten().unwrap_or(MAX_FORWARDS + 1);
            let Some(hops) = hops.checked_sub(1) else {
                return Err(StatusCode::TOO_MANY_HOPS);
            };
            copy.headers.set(HeaderName::MaxForwards, hops.to_string());
            copy.headers.push_front(HeaderName::Via, hop_via(request, key, setting));
            copy.print()
        }
    };
    Ok(ForwardedMessage { key, epoch, source: arrival.source, bytes })
}

/// The answer that sends a phone to the edge of the site where its call lives (RFC 3261 §8.3);
/// the phone repeats the request there, within the dialog. `None` for what cannot be redirected:
/// ACK and responses, a CANCEL (§9.2: it is answered hop by hop), and what is within no dialog of
/// ours.
pub(crate) fn redirect(
    message: &Message,
    source: SocketAddr,
    edge: &call::Edge,
    secret: &TokenSecret,
) -> Option<(Destination, Bytes)> {
    let request = match message {
        Message::Request(request) => request,
        Message::Response(_) => return None,
    };
    let is_hop_by_hop = matches!(request.method, Method::Ack | Method::Cancel);
    if is_hop_by_hop || !is_within(request, secret) {
        return None;
    }
    // Our Contacts have no user part: the tag names the call.
    let contact = Uri::sip(None, edge.host.clone(), Some(edge.port));
    let mut response = Response::to_request(request, StatusCode::MOVED_TEMPORARILY);
    response.headers.set(HeaderName::Contact, format!("<{contact}>"));
    let to = match request.headers.via_top() {
        Ok(Some(via)) => return_path(&via, Some(source)),
        Ok(None) | Err(_) => Destination::Addr(source),
    };
    Some((to, response.print()))
}

/// Takes the forwarder's Via off a request that another site forwarded.
pub(crate) fn take_hop_off(request: &mut Request, secret: &TokenSecret) {
    let branch = request.headers.top_branch().ok().flatten();
    let token = branch.and_then(|branch| read_branch(&branch, secret));
    if token.is_some_and(|token| token.kind == TokenKind::Forward) {
        request.headers.pop_via();
    }
}

/// A response without the forwarder's Via, and where it goes (RFC 3261 §16.7, §16.11).
pub(crate) fn pass_back(mut response: Response) -> Option<(Destination, Bytes)> {
    response.headers.pop_via();
    let next = response.headers.via_top().ok().flatten()?;
    Some((return_path(&next, None), response.print()))
}

/// RFC 3261 §16.11: a stateless proxy's branch is a function of the message, so that a
/// repetition is forwarded with the same one.
fn hop_via(request: &Request, key: CallKey, setting: &call::Setting) -> String {
    let branch = request.headers.top_branch().ok().flatten().unwrap_or_default();
    let hash = setting.secret.authenticate(&[b"hop", &branch]).to_be_bytes();
    let token = Token {
        key,
        site: setting.here,
        kind: TokenKind::Forward,
        salt: u32::from_be_bytes([0, hash[2], hash[3], hash[4]]),
        ordinal: u16::from_be_bytes([hash[0], hash[1]]),
    };
    let branch = setting.secret.mint(&token);
    let host = match &setting.edge.host {
        Host::Name(name) => String::from_utf8_lossy(name).into_owned(),
        Host::Ip(std::net::IpAddr::V6(ip)) => format!("[{ip}]"),
        Host::Ip(std::net::IpAddr::V4(ip)) => ip.to_string(),
    };
    format!("SIP/2.0/UDP {host}:{};branch=z9hG4bK{branch}", setting.edge.port)
}
