//! The one thing that is asked of a session description: a higher version in its `o=` line
//! (RFC 4566 section 5.2, RFC 3264 section 8). Everything else in a body is not looked into.

use bytes::{Bytes, BytesMut};

use crate::grammar;

/// Adds `offset` to the sess-version of the `o=` line; everything else stays byte for byte.
///
/// `None` when there is no well-formed `o=` line or the sum leaves 64 bits.
///
/// ```
/// use sip_message::{Bytes, sdp};
/// let body = Bytes::from_static(b"v=0\r\no=alice 1 7 IN IP4 192.0.2.1\r\ns=-\r\n");
/// let later = sdp::add_to_version(&body, 100).expect("there is an o= line");
/// assert_eq!(later, "v=0\r\no=alice 1 107 IN IP4 192.0.2.1\r\ns=-\r\n");
/// ```
pub fn add_to_version(body: &Bytes, offset: u64) -> Option<Bytes> {
    let line = origin_line(body)?;
    let fields: Vec<&[u8]> = line.splitn(7, |&byte| byte == b' ').collect();
    let &[_, session, version, _, _, _] = fields.as_slice() else {
        return None;
    };
    if fields.iter().any(|field| field.is_empty()) || !session.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let raised = grammar::number(version)?.checked_add(offset)?;
    let before = fields[0].len() + 1 + session.len() + 1;
    let version_at = offset_of(body, line) + before;
    let mut out = BytesMut::with_capacity(body.len() + 20);
    out.extend_from_slice(&body[..version_at]);
    out.extend_from_slice(raised.to_string().as_bytes());
    out.extend_from_slice(&body[version_at + version.len()..]);
    Some(out.freeze())
}

/// What follows `o=` in the first line that begins so, without its line end.
fn origin_line(body: &Bytes) -> Option<&[u8]> {
    let lines = body.split(|&byte| byte == b'\n');
    lines
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
        .find_map(|line| line.strip_prefix(b"o="))
}

/// Where `part` begins in `body`, which it is a part of.
fn offset_of(body: &Bytes, part: &[u8]) -> usize {
    part.as_ptr() as usize - body.as_ptr() as usize
}

#[cfg(test)]
mod tests;
