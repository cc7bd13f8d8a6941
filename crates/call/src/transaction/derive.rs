//! The two requests that are made out of an INVITE of ours: the ACK of a failure (RFC 3261
//! §17.1.1.3) and the CANCEL (§9.1). Both are built from the bytes that were sent.

use bytes::Bytes;
use sip_message::{CSeq, HeaderName, Method, Request, Response};

use crate::step::kept_request;

/// Max-Forwards of a request that we begin (§8.1.1.6).
const MAX_FORWARDS: &str = "70";

/// The ACK of a response from 300 to 699, ready to send; `None` when `invite` is not an INVITE that
/// parses.
///
/// §17.1.1.3: "The ACK request constructed by the client transaction MUST contain values for the
/// Call-ID, From, and Request-URI that are equal to the values of those header fields in the
/// request passed to the transport by the client transaction … The To header field in the ACK MUST
/// equal the To header field in the response being acknowledged".
pub(crate) fn ack_of_failure(invite: &Bytes, response: &Response) -> Option<Bytes> {
    let invite = parse_invite(invite)?;
    let to = response.headers.get(&HeaderName::To)?.clone();
    derive(&invite, Method::Ack, to)
}

/// The CANCEL of an INVITE, ready to send; `None` when `invite` is not an INVITE that parses.
///
/// §9.1: "The Request-URI, Call-ID, To, the numeric part of CSeq, and From header fields in the
/// CANCEL request MUST be identical to those in the request being cancelled, including tags. A
/// CANCEL constructed by a client MUST have only a single Via header field value matching the top
/// Via value in the request being cancelled."
pub(crate) fn cancel_of(invite: &Bytes) -> Option<Bytes> {
    let invite = parse_invite(invite)?;
    let to = invite.headers.get(&HeaderName::To)?.clone();
    derive(&invite, Method::Cancel, to)
}

fn parse_invite(bytes: &Bytes) -> Option<Request> {
    kept_request(bytes).filter(|request| request.method == Method::Invite)
}

fn derive(invite: &Request, method: Method, to: Bytes) -> Option<Bytes> {
    let cseq = CSeq { number: invite.headers.cseq().ok()?.number, method: method.clone() };
    let mut request = Request::new(method, invite.uri.clone());
    let headers = &mut request.headers;
    headers.push(HeaderName::Via, invite.headers.values(&HeaderName::Via).next()?);
    // "If the INVITE request whose response is being acknowledged had Route header fields, those
    // header fields MUST appear in the ACK" (§17.1.1.3), and in the CANCEL (§9.1).
    for route in invite.headers.get_all(&HeaderName::Route) {
        headers.push(HeaderName::Route, route.clone());
    }
    headers.push(HeaderName::MaxForwards, MAX_FORWARDS);
    headers.push(HeaderName::From, invite.headers.get(&HeaderName::From)?.clone());
    headers.push(HeaderName::To, to);
    headers.push(HeaderName::CallId, invite.headers.call_id().ok()?.clone());
    headers.push(HeaderName::CSeq, cseq.to_string());
    Some(request.print())
}
