//! What the parser refuses, whose rule was broken, and what may be answered without state.
//!
//! RFC 3261 section 8.2.7 allows a stateless server to answer a broken request; a broken response
//! is dropped (section 18.1.2), and so is a broken ACK, which has no response (section 17).

use std::fmt;

use crate::header::{HeaderError, HeaderName, Headers};
use crate::message::Response;
use crate::salvage;
use crate::status::StatusCode;
use crate::uri::UriError;

/// A message that was refused, and what can be answered to it.
///
/// ```
/// use sip_message::{Bytes, Limits, parse_datagram};
/// let datagram = Bytes::from_static(
///     b"OPTIONS sip:bob@example.com SIP/7.0\r\nVia: SIP/2.0/UDP 192.0.2.1\r\n\r\n",
/// );
/// let error = parse_datagram(&datagram, &Limits::default()).expect_err("not SIP/2.0");
/// assert_eq!(error.refusal().map(|(status, _)| status.code()), Some(505));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// The rule that was broken.
    pub kind: ParseErrorKind,
    /// The headers of an answer; `None` when there must be none.
    reply: Option<Box<Headers>>,
}

/// The rule that a message broke.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParseErrorKind {
    /// Nothing but line ends: a keep-alive (RFC 5626 section 4.4.1).
    Empty,
    /// Larger than [`Limits::message_bytes_max`](crate::Limits).
    MessageTooLarge,
    /// The headers are larger than [`Limits::header_section_bytes_max`](crate::Limits).
    HeaderSectionTooLarge,
    /// A line is longer than [`Limits::header_bytes_max`](crate::Limits).
    LineTooLong,
    /// More lines than [`Limits::headers_max`](crate::Limits).
    TooManyHeaders,
    /// The start line is neither `Method SP Request-URI SP SIP-Version` nor a status line with
    /// exactly those spaces (RFC 3261 sections 7.1 and 7.2).
    StartLine,
    /// A version other than SIP/2.0 (section 7.1).
    Version,
    /// The Request-URI is broken (sections 7.1 and 19.1).
    RequestUri(UriError),
    /// The Request-URI carries headers (section 19.1.1, table 1).
    RequestUriHeaders,
    /// A status code outside 100 to 699 (section 7.2).
    StatusCode,
    /// A header line without a colon, or whose name is no token (sections 7.3.1 and 25.1).
    HeaderLine,
    /// CR or LF alone (section 7: lines end with CRLF).
    LineEnd,
    /// No empty line after the headers (section 7).
    Unterminated,
    /// A header that may stand once stands twice (section 7.3.1).
    Duplicate(HeaderName),
    /// A header that matters here is missing or broken (sections 8.1.1 and 20).
    Header(HeaderError),
    /// The CSeq method is not that of the request (section 8.1.1.5).
    CSeqMethod,
    /// The same, with a method that is not known here (RFC 4475 section 3.1.2.18).
    CSeqMethodUnknown,
    /// Content-Length says more than there is (section 18.3).
    BodyTooShort,
}

impl ParseErrorKind {
    fn refusal(&self) -> (StatusCode, &'static str) {
        let bad = |reason| (StatusCode::BAD_REQUEST, reason);
        let large = |reason| (StatusCode::MESSAGE_TOO_LARGE, reason);
        match self {
            ParseErrorKind::Empty => bad("Empty Message"),
            ParseErrorKind::MessageTooLarge => large("Message Too Large"),
            ParseErrorKind::HeaderSectionTooLarge => large("Header Section Too Large"),
            ParseErrorKind::LineTooLong => large("Header Line Too Long"),
            ParseErrorKind::TooManyHeaders => large("Too Many Header Lines"),
            ParseErrorKind::StartLine => bad("Malformed Request Line"),
            ParseErrorKind::Version => (StatusCode::VERSION_NOT_SUPPORTED, "Version Not Supported"),
            ParseErrorKind::RequestUri(_) => bad("Malformed Request-URI"),
            ParseErrorKind::RequestUriHeaders => bad("Headers In Request-URI"),
            ParseErrorKind::StatusCode => bad("Malformed Status Code"),
            ParseErrorKind::HeaderLine => bad("Malformed Header Line"),
            ParseErrorKind::LineEnd => bad("Malformed Line End"),
            ParseErrorKind::Unterminated => bad("Incomplete Message"),
            ParseErrorKind::Duplicate(name) => bad(duplicate_reason(name)),
            ParseErrorKind::Header(error) => bad(header_reason(&error.name)),
            ParseErrorKind::CSeqMethod => bad("CSeq Method Mismatch"),
            ParseErrorKind::CSeqMethodUnknown => (StatusCode::NOT_IMPLEMENTED, "Not Implemented"),
            ParseErrorKind::BodyTooShort => bad("Content-Length Exceeds Message"),
        }
    }
}

fn duplicate_reason(name: &HeaderName) -> &'static str {
    match name {
        HeaderName::From => "Multiple From",
        HeaderName::To => "Multiple To",
        HeaderName::CallId => "Multiple Call-ID",
        HeaderName::CSeq => "Multiple CSeq",
        HeaderName::MaxForwards => "Multiple Max-Forwards",
        HeaderName::ContentLength => "Multiple Content-Length",
        _ => "Duplicate Header",
    }
}

/// Section 21.4.1: "The Reason-Phrase SHOULD identify the syntax problem in more detail, for
/// example, "Missing Call-ID header field"."
fn header_reason(name: &HeaderName) -> &'static str {
    match name {
        HeaderName::Via => "Missing Or Malformed Via",
        HeaderName::From => "Missing Or Malformed From",
        HeaderName::To => "Missing Or Malformed To",
        HeaderName::CallId => "Missing Or Malformed Call-ID",
        HeaderName::CSeq => "Missing Or Malformed CSeq",
        HeaderName::Contact => "Malformed Contact",
        HeaderName::Route => "Malformed Route",
        HeaderName::RecordRoute => "Malformed Record-Route",
        HeaderName::MaxForwards => "Malformed Max-Forwards",
        HeaderName::ContentLength => "Malformed Content-Length",
        _ => "Malformed Header",
    }
}

impl ParseError {
    /// `datagram` is the whole message; what an answer needs is found in it again, leniently.
    pub(crate) fn new(kind: ParseErrorKind, datagram: &[u8], limits: &crate::Limits) -> Self {
        let reply = match kind {
            ParseErrorKind::Empty | ParseErrorKind::StatusCode => None,
            _ => salvage::reply_headers(datagram, limits).map(Box::new),
        };
        Self { kind, reply }
    }

    /// The status and reason that may be answered statelessly.
    ///
    /// `None` means drop: a response, an ACK, or nothing that says where an answer belongs. From,
    /// To, Call-ID and CSeq are copied when they are there (RFC 4475 section 3.3.1).
    pub fn refusal(&self) -> Option<(StatusCode, &'static str)> {
        self.reply.as_ref().map(|_| self.kind.refusal())
    }

    /// The stateless answer, complete but for received and rport in its topmost Via.
    ///
    /// The same request gets the same To tag each time, as section 8.2.7 demands.
    pub fn response(&self) -> Option<Response> {
        let (status, reason) = self.refusal()?;
        let headers = self.reply.as_deref()?.clone();
        Some(Response { status, reason: reason.into(), headers, body: bytes::Bytes::new() })
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            ParseErrorKind::Header(error) => error.fmt(f),
            ParseErrorKind::RequestUri(error) => write!(f, "Request-URI: {error}"),
            kind => f.write_str(kind.refusal().1),
        }
    }
}

impl std::error::Error for ParseError {}
