//! The one answer a balancer gives of itself: 503 when no engine of any site is healthy.
//!
//! Stateless (RFC 3261 §8.2.7): nothing is remembered, the To tag is a function of the request, and
//! an ACK is never answered.

use std::hash::Hasher;
use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use siphasher::sip::SipHasher24;

use crate::scan::{Kind, Scan, first_value, lines_called, parameter, parameter_at};

/// Seconds after which a refused caller may try again.
const RETRY_AFTER: &str = "2";

/// The answer and where it goes; `None` when the request lacks what an answer must repeat.
pub(crate) fn service_unavailable(
    source: SocketAddr,
    datagram: &[u8],
    scan: &Scan<'_>,
) -> Option<(SocketAddr, Bytes)> {
    match scan.kind {
        Kind::Request { method: b"ACK", .. } => return None,
        Kind::Request { .. } => {}
        Kind::KeepAlive | Kind::Response | Kind::NotSip => return None,
    }
    let (via, from, to) = (scan.via?, scan.from?, scan.to?);
    let (call_id, cseq) = (scan.call_id?, scan.cseq?);
    let mut answer = b"SIP/2.0 503 Service Unavailable\r\n".to_vec();
    let mut vias = lines_called(datagram, b"via", b"v");
    let top = vias.next()?;
    line(&mut answer, b"Via", &[&note_source(top, source)]);
    vias.for_each(|via| line(&mut answer, b"Via", &[via]));
    line(&mut answer, b"From", &[from]);
    if parameter(to, b"tag").is_some() {
        line(&mut answer, b"To", &[to]);
    } else {
        line(&mut answer, b"To", &[to, b";tag=", stable_tag(call_id, from, cseq).as_bytes()]);
    }
    line(&mut answer, b"Call-ID", &[call_id]);
    line(&mut answer, b"CSeq", &[cseq]);
    line(&mut answer, b"Retry-After", &[RETRY_AFTER.as_bytes()]);
    line(&mut answer, b"Content-Length", &[b"0"]);
    answer.extend_from_slice(b"\r\n");
    Some((answer_to(via, source), Bytes::from(answer)))
}

fn line(answer: &mut Vec<u8>, name: &[u8], value: &[&[u8]]) {
    answer.extend_from_slice(name);
    answer.extend_from_slice(b": ");
    value.iter().for_each(|part| answer.extend_from_slice(part));
    answer.extend_from_slice(b"\r\n");
}

/// RFC 3581 §4: a response goes to the port the request came from when the client asked for that
/// with `rport`, else (RFC 3261 §18.2.2) to the port of the sent-by.
fn answer_to(via: &[u8], source: SocketAddr) -> SocketAddr {
    let top = first_value(via);
    if parameter_at(top, b"rport").is_some() {
        return source;
    }
    SocketAddr::new(source.ip(), sent_by_port(top))
}

fn sent_by_port(via: &[u8]) -> u16 {
    let sent_by = via.split(|&c| c == b';').next().unwrap_or(via).trim_ascii();
    let host = sent_by.iter().rposition(u8::is_ascii_whitespace).map_or(0, |at| at + 1);
    let sent_by = &sent_by[host..];
    let after_host = sent_by.iter().rposition(|&c| c == b']').map_or(sent_by, |at| &sent_by[at..]);
    let digits = after_host.iter().rposition(|&c| c == b':').map(|at| &after_host[at + 1..]);
    digits
        .and_then(|digits| std::str::from_utf8(digits).ok())
        .and_then(|digits| digits.parse().ok())
        .unwrap_or(5060)
}

/// RFC 3581 §4: the value of an empty `rport` and a `received` are filled in.
fn note_source(via: &[u8], source: SocketAddr) -> Vec<u8> {
    let mut noted = via.to_vec();
    let top = first_value(via);
    let Some(at) = parameter_at(top, b"rport") else { return noted };
    if top.get(at) == Some(&b'=') {
        return noted;
    }
    let ip: IpAddr = source.ip().to_canonical();
    let values = format!("={};received={ip}", source.port());
    noted.splice(at..at, values.into_bytes());
    noted
}

/// §8.2.7: a stateless server "MUST generate ... the same To tag" for a retransmission.
fn stable_tag(call_id: &[u8], from: &[u8], cseq: &[u8]) -> String {
    let mut hasher = SipHasher24::new_with_keys(0x7265_686f_6d65_0003, 0x6564_6765_0000_0004);
    for part in [call_id, from, cseq] {
        hasher.write(&(part.len() as u64).to_be_bytes());
        hasher.write(part);
    }
    format!("{:016x}", hasher.finish())
}

#[cfg(test)]
mod tests;
