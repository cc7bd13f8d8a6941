//! Answers that leave without a state behind them: refusals only (RFC 3261 §8.2.7, §18.2.2).
//!
//! The same request always gets the same answer, its To tag included, so a repetition is answered
//! alike by any engine. An ACK is never answered.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use bytes::Bytes;
use call::Destination;
use sip_message::{HeaderName, Host, Message, Method, Request, Response, StatusCode, Via};
use vocab::TokenSecret;

/// Port of SIP over UDP where none is named (RFC 3261 §19.1.2).
const DEFAULT_PORT: u16 = 5060;

/// The refusal of `message` with `status`; `None` for what is never answered.
pub(crate) fn refuse(
    message: &Message,
    source: SocketAddr,
    status: StatusCode,
    retry_after: Option<RangeInclusive<Duration>>,
    secret: &TokenSecret,
) -> Option<(Destination, Bytes)> {
    let request = match message {
        Message::Request(request) if request.method != Method::Ack => request,
        Message::Request(_) | Message::Response(_) => return None,
    };
    let mut response = Response::to_request(request, status);
    add_to_tag(&mut response, request, secret);
    if let Some(away) = retry_after {
        let seconds = spread(&away, request, secret);
        response.headers.set(HeaderName::RetryAfter, seconds.to_string());
    }
    let to = match request.headers.via_top() {
        Ok(Some(via)) => return_path(&via, Some(source)),
        Ok(None) | Err(_) => Destination::Addr(source),
    };
    Some((to, response.print()))
}

/// Where a response to a request with this top Via goes (RFC 3261 §18.2.2, RFC 3581 §4).
/// `source` is where the request came from, when that is known here.
pub(crate) fn return_path(via: &Via, source: Option<SocketAddr>) -> Destination {
    let port = match via.rport() {
        Some(Some(port)) => port,
        Some(None) => source.map_or(DEFAULT_PORT, |source| source.port()),
        None => via.port.unwrap_or(DEFAULT_PORT),
    };
    match (via.received().or(source.map(|source| source.ip())), &via.host) {
        (Some(ip), _) => Destination::Addr(SocketAddr::new(ip, port)),
        (None, Host::Ip(ip)) => Destination::Addr(SocketAddr::new(*ip, port)),
        (None, Host::Name(name)) => Destination::Host { name: name.clone(), port },
    }
}

/// RFC 3261 §8.2.6.2: the UAS MUST add a tag to the To header; §8.2.7: a stateless UAS MUST
/// generate the same one for the same request.
fn add_to_tag(response: &mut Response, request: &Request, secret: &TokenSecret) {
    let Ok(mut to) = request.headers.to() else { return };
    if to.tag().is_some() {
        return;
    }
    let tag = secret.authenticate(&[b"refusal", &identity(request)]);
    to.set_tag(&format!("{tag:016x}"));
    response.headers.set(HeaderName::To, to.to_string());
}

/// Whole seconds of this range, by the request's identity: refused callers come back apart.
fn spread(away: &RangeInclusive<Duration>, request: &Request, secret: &TokenSecret) -> u64 {
    let least = away.start().as_secs().max(1);
    let room = away.end().as_secs().saturating_sub(least);
    least + secret.authenticate(&[b"retry", &identity(request)]) % (room + 1)
}

fn identity(request: &Request) -> Bytes {
    request.headers.call_id().cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests;
