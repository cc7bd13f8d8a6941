//! From a datagram to a message (RFC 3261 sections 7, 18.3 and 25.1).
//!
//! One pass over the bytes; values are slices of the datagram, except a folded one, which is copied
//! with its folds undone. Streams, which need framing, are not read here.

use bytes::{BufMut, Bytes, BytesMut};

use crate::error::{ParseError, ParseErrorKind};
use crate::grammar;
use crate::header::{HeaderName, Headers};
use crate::limits::Limits;
use crate::message::{Message, Request, Response};
use crate::method::Method;
use crate::status::StatusCode;
use crate::uri::{Uri, UriScan};
use crate::validate;

/// Lines that a usual message has at most; more cost one more allocation.
const USUAL_LINES: usize = 20;

/// Reads one message from one datagram.
///
/// What follows Content-Length octets of body is dropped (section 18.3). The message is complete
/// and sound for routing when this returns: mandatory headers are there once and well formed, CSeq
/// names the method, and in a request so are Contact, Route, Record-Route and Max-Forwards where
/// present. Other headers are not looked into.
pub fn parse_datagram(bytes: &Bytes, limits: &Limits) -> Result<Message, ParseError> {
    parse(bytes, limits).map_err(|kind| ParseError::new(kind, bytes, limits))
}

#[expect(clippy::large_enum_variant, reason = "one at a time, on the stack of one parse")]
enum Start {
    Request { method: Method, uri: Uri },
    Response { status: StatusCode, reason: Bytes },
}

fn parse(bytes: &Bytes, limits: &Limits) -> Result<Message, ParseErrorKind> {
    let start_at = bytes
        .iter()
        .position(|byte| !matches!(byte, b'\r' | b'\n'))
        .ok_or(ParseErrorKind::Empty)?;
    if bytes.len() > limits.message_bytes_max {
        return Err(ParseErrorKind::MessageTooLarge);
    }
    let mut reader = Reader { bytes, at: start_at, section_start: start_at, limits };
    let (start_line, _) = reader.physical_line()?;
    let start = start_line_of(bytes, start_line)?;
    let headers = reader.headers()?;
    let method = match &start {
        Start::Request { method, .. } => Some(method),
        Start::Response { .. } => None,
    };
    let length = validate::check(method, &headers)?;
    let body = body(bytes, reader.at, length)?;
    Ok(match start {
        Start::Request { method, uri } => Message::Request(Request { method, uri, headers, body }),
        Start::Response { status, reason } => {
            Message::Response(Response { status, reason, headers, body })
        }
    })
}

/// "If there are additional bytes in the transport packet beyond the end of the body, they MUST be
/// discarded. If the transport packet ends before the end of the message body, this is considered
/// an error." Without Content-Length the body reaches to the end of the packet (section 18.3).
fn body(bytes: &Bytes, at: usize, length: Option<usize>) -> Result<Bytes, ParseErrorKind> {
    let available = bytes.len() - at;
    let length = length.unwrap_or(available);
    if length > available {
        return Err(ParseErrorKind::BodyTooShort);
    }
    Ok(bytes.slice(at..at + length))
}

fn start_line_of(bytes: &Bytes, line: &[u8]) -> Result<Start, ParseErrorKind> {
    // A method is a token and holds no slash, so this prefix decides.
    if line.len() >= 4 && line[..4].eq_ignore_ascii_case(b"SIP/") {
        status_line(bytes, line)
    } else {
        request_line(bytes, line)
    }
}

/// `Method SP Request-URI SP SIP-Version`: single spaces, none elsewhere.
fn request_line(bytes: &Bytes, line: &[u8]) -> Result<Start, ParseErrorKind> {
    let (method, rest) = grammar::take_token(line);
    let rest = rest.strip_prefix(b" ").ok_or(ParseErrorKind::StartLine)?;
    let space = memchr::memrchr(b' ', rest).ok_or(ParseErrorKind::StartLine)?;
    let (uri, version) = (&rest[..space], &rest[space + 1..]);
    if method.is_empty() {
        return Err(ParseErrorKind::StartLine);
    }
    check_version(version)?;
    let scan = UriScan::new(uri).map_err(ParseErrorKind::RequestUri)?;
    if scan.has_headers() {
        return Err(ParseErrorKind::RequestUriHeaders);
    }
    let uri = scan.keep(&bytes.slice_ref(uri)).map_err(ParseErrorKind::RequestUri)?;
    Ok(Start::Request { method: Method::parse_in(bytes, method), uri })
}

/// `SIP-Version SP Status-Code SP Reason-Phrase`. **Deviation**: the space before an empty reason
/// may be missing, as it is in use.
fn status_line(bytes: &Bytes, line: &[u8]) -> Result<Start, ParseErrorKind> {
    let space = memchr::memchr(b' ', line).ok_or(ParseErrorKind::StartLine)?;
    check_version(&line[..space])?;
    let rest = &line[space + 1..];
    let code = rest.get(..3).filter(|code| code.iter().all(u8::is_ascii_digit));
    let code = code.and_then(grammar::number).and_then(|code| u16::try_from(code).ok());
    let status = code.and_then(StatusCode::new).ok_or(ParseErrorKind::StatusCode)?;
    let reason = match &rest[3..] {
        [] => &[][..],
        [b' ', reason @ ..] => reason,
        _ => return Err(ParseErrorKind::StatusCode),
    };
    Ok(Start::Response { status, reason: bytes.slice_ref(reason) })
}

/// `SIP-Version = "SIP" "/" 1*DIGIT "." 1*DIGIT`, which must be 2.0.
fn check_version(version: &[u8]) -> Result<(), ParseErrorKind> {
    if version.eq_ignore_ascii_case(b"SIP/2.0") {
        return Ok(());
    }
    let is_version = version.len() > 4 && version[..4].eq_ignore_ascii_case(b"SIP/") && {
        let mut numbers = version[4..].split(|&byte| byte == b'.');
        let digits = |part: Option<&[u8]>| {
            part.is_some_and(|part| !part.is_empty() && part.iter().all(u8::is_ascii_digit))
        };
        digits(numbers.next()) && digits(numbers.next()) && numbers.next().is_none()
    };
    Err(if is_version { ParseErrorKind::Version } else { ParseErrorKind::StartLine })
}

struct Reader<'a> {
    bytes: &'a Bytes,
    at: usize,
    section_start: usize,
    limits: &'a Limits,
}

impl<'a> Reader<'a> {
    /// The next line without its CRLF, and where it starts.
    fn physical_line(&mut self) -> Result<(&'a [u8], usize), ParseErrorKind> {
        let start = self.at;
        let rest = &self.bytes[start..];
        let Some(end) = memchr::memchr2(b'\r', b'\n', rest) else {
            let long = rest.len() > self.limits.header_bytes_max;
            return Err(if long {
                ParseErrorKind::LineTooLong
            } else {
                ParseErrorKind::Unterminated
            });
        };
        if end > self.limits.header_bytes_max {
            return Err(ParseErrorKind::LineTooLong);
        }
        if rest[end] != b'\r' || rest.get(end + 1) != Some(&b'\n') {
            return Err(ParseErrorKind::LineEnd);
        }
        self.at = start + end + 2;
        if self.at - self.section_start > self.limits.header_section_bytes_max {
            return Err(ParseErrorKind::HeaderSectionTooLarge);
        }
        Ok((&rest[..end], start))
    }

    /// The header lines up to and with the empty line.
    fn headers(&mut self) -> Result<Headers, ParseErrorKind> {
        let mut headers = Headers::with_capacity(USUAL_LINES);
        loop {
            let (line, start) = self.physical_line()?;
            if line.is_empty() {
                return Ok(headers);
            }
            if headers.len() == self.limits.headers_max {
                return Err(ParseErrorKind::TooManyHeaders);
            }
            let (name, rest) = grammar::take_token(line);
            // HCOLON = *( SP / HTAB ) ":" SWS. Any other byte here could make a header that one
            // element sees and the next does not.
            let value = grammar::trim_start(rest).strip_prefix(b":");
            let (false, Some(value)) = (name.is_empty(), value) else {
                return Err(ParseErrorKind::HeaderLine);
            };
            let name = HeaderName::parse_in(self.bytes, name);
            let value = if self.folded() {
                self.unfold(value, start)?
            } else {
                self.bytes.slice_ref(grammar::trim(value))
            };
            headers.push_checked(name, value);
        }
    }

    /// Whether the next line continues this one.
    fn folded(&self) -> bool {
        self.bytes.get(self.at).is_some_and(|&byte| grammar::is_space(byte))
    }

    /// The value with each fold as a single SP: "all linear white space, including folding, has the
    /// same semantics as SP" (section 25.1).
    fn unfold(&mut self, first: &[u8], start: usize) -> Result<Bytes, ParseErrorKind> {
        let mut value = BytesMut::from(grammar::trim(first));
        while self.folded() {
            let (line, _) = self.physical_line()?;
            if self.at - start > self.limits.header_bytes_max {
                return Err(ParseErrorKind::LineTooLong);
            }
            let part = grammar::trim(line);
            if !part.is_empty() && !value.is_empty() {
                value.put_u8(b' ');
            }
            value.extend_from_slice(part);
        }
        Ok(value.freeze())
    }
}

#[cfg(test)]
mod tests;
