//! Finds in a broken request what a stateless answer needs (RFC 3261 sections 8.2.6 and 8.2.7).
//!
//! Reads leniently and within the same bounds as the parser. Validates nothing: what it copies
//! goes back to the one who sent it.

use bytes::{Bytes, BytesMut};

use crate::grammar;
use crate::header::{HeaderName, Headers, NameAddr};
use crate::limits::Limits;

/// The headers of an answer to `datagram`; `None` when there must be none.
pub(crate) fn reply_headers(datagram: &[u8], limits: &Limits) -> Option<Headers> {
    let end = datagram.len().min(limits.header_section_bytes_max);
    let section = &datagram[..end];
    let mut lines = Lines { rest: trim_line_ends(section), left: limits.headers_max + 1 };
    let start = lines.next()?;
    if !is_answerable(&start) {
        return None;
    }
    let mut reply = Headers::with_capacity(8);
    for line in lines {
        let Some(colon) = memchr::memchr(b':', &line) else { continue };
        let name = HeaderName::parse(grammar::trim(&line[..colon]));
        let wanted = match name {
            HeaderName::Via => true,
            HeaderName::From | HeaderName::To | HeaderName::CallId | HeaderName::CSeq => {
                !reply.contains(&name)
            }
            _ => false,
        };
        if wanted {
            reply.push(name, line.slice(colon + 1..));
        }
    }
    reply.contains(&HeaderName::Via).then(|| with_to_tag(reply))
}

/// Only a request other than ACK is answered; a method cannot hold the `/` of `SIP/2.0`.
fn is_answerable(start: &[u8]) -> bool {
    let (method, rest) = grammar::take_token(start);
    !method.is_empty()
        && rest.first().is_some_and(|&byte| grammar::is_space(byte))
        && method != b"ACK"
}

/// "If the To header field in the request did not contain a To tag, [...] the UAS MUST add a tag"
/// (section 8.2.6.2), and a stateless one "MUST generate the same tag for the same request"
/// (section 8.2.7): so the tag is a function of the request.
fn with_to_tag(mut reply: Headers) -> Headers {
    let Ok(to) = reply.to() else { return reply };
    if to.tag().is_some() {
        return reply;
    }
    let mut hash = Fnv::default();
    for (name, value) in reply.iter() {
        hash.write(name.as_bytes());
        hash.write(value);
    }
    let to: NameAddr = to.with_tag(&format!("{:016x}", hash.0));
    reply.set(HeaderName::To, to.print());
    reply
}

/// FNV-1a: no secret is involved and nobody stores by this tag.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Fnv(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}

fn trim_line_ends(mut bytes: &[u8]) -> &[u8] {
    while let [b'\r' | b'\n', rest @ ..] = bytes {
        bytes = rest;
    }
    bytes
}

/// Logical lines, folds joined, ended by LF with or without CR; stops at an empty line.
struct Lines<'a> {
    rest: &'a [u8],
    left: usize,
}

impl<'a> Lines<'a> {
    fn physical(&mut self) -> &'a [u8] {
        let end = memchr::memchr(b'\n', self.rest);
        let line = &self.rest[..end.unwrap_or(self.rest.len())];
        self.rest = end.map_or(&[], |end| &self.rest[end + 1..]);
        line.strip_suffix(b"\r").unwrap_or(line)
    }
}

impl Iterator for Lines<'_> {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        self.left = self.left.checked_sub(1)?;
        let line = self.physical();
        if line.is_empty() {
            return None;
        }
        let mut logical = BytesMut::from(line);
        while self.rest.first().is_some_and(|&byte| grammar::is_space(byte)) {
            let fold = self.physical();
            logical.extend_from_slice(b" ");
            logical.extend_from_slice(grammar::trim(fold));
        }
        Some(logical.freeze())
    }
}
