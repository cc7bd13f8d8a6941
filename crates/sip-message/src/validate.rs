//! What a message needs before anyone routes it: mandatory headers once and well formed, and a CSeq
//! that names the method (RFC 3261 sections 8.1.1, 16.3 and 20).
//!
//! Decides nothing that belongs to a user agent, proxy or registrar: not the URI scheme, not
//! required extensions, not Max-Forwards 0.

use bytes::Bytes;

use crate::error::ParseErrorKind;
use crate::grammar::{self, CommaSplit};
use crate::header::{CSeqScan, HeaderErrorKind, HeaderName, Headers, NameAddrScan, ViaScan};
use crate::method::Method;

/// The headers that may stand only once and are looked at here.
#[derive(Default)]
struct Found<'a> {
    via_top: Option<&'a Bytes>,
    from: Option<&'a Bytes>,
    to: Option<&'a Bytes>,
    call_id: Option<&'a Bytes>,
    cseq: Option<&'a Bytes>,
    content_length: Option<&'a Bytes>,
    max_forwards: Option<&'a Bytes>,
}

/// Checks the headers of a request with this method, or of a response. Returns Content-Length.
pub(crate) fn check(
    method: Option<&Method>,
    headers: &Headers,
) -> Result<Option<usize>, ParseErrorKind> {
    let found = find(method.is_some(), headers)?;
    with(HeaderName::Via, found.via_top, |value| {
        let top = CommaSplit::new(value).next().unwrap_or_default();
        ViaScan::new(top)?.check()
    })?;
    with(HeaderName::From, found.from, |value| NameAddrScan::new(value)?.check())?;
    with(HeaderName::To, found.to, |value| NameAddrScan::new(value)?.check())?;
    with(HeaderName::CallId, found.call_id, call_id)?;
    let cseq = with(HeaderName::CSeq, found.cseq, CSeqScan::new)?;
    if let Some(method) = method {
        if cseq.method != method.as_bytes() {
            return Err(if method.is_known() {
                ParseErrorKind::CSeqMethod
            } else {
                ParseErrorKind::CSeqMethodUnknown
            });
        }
        if let Some(value) = found.max_forwards {
            with(HeaderName::MaxForwards, Some(value), max_forwards)?;
        }
    }
    let length = found
        .content_length
        .map(|value| with(HeaderName::ContentLength, Some(value), crate::header::content_length));
    length.transpose()
}

/// One pass: finds the single headers, and checks those that may repeat.
fn find(is_request: bool, headers: &Headers) -> Result<Found<'_>, ParseErrorKind> {
    let mut found = Found::default();
    let mut contacts = Contacts::default();
    for (name, value) in headers.iter() {
        let slot = match name {
            HeaderName::Via => {
                found.via_top.get_or_insert(value);
                continue;
            }
            HeaderName::From => &mut found.from,
            HeaderName::To => &mut found.to,
            HeaderName::CallId => &mut found.call_id,
            HeaderName::CSeq => &mut found.cseq,
            HeaderName::ContentLength => &mut found.content_length,
            HeaderName::MaxForwards => &mut found.max_forwards,
            HeaderName::Contact if is_request => {
                contacts.check(value).map_err(|kind| broken(name, kind))?;
                continue;
            }
            HeaderName::Route | HeaderName::RecordRoute if is_request => {
                addresses(value).map_err(|kind| broken(name, kind))?;
                continue;
            }
            _ => continue,
        };
        if slot.replace(value).is_some() {
            return Err(ParseErrorKind::Duplicate(name.clone()));
        }
    }
    Ok(found)
}

fn broken(name: &HeaderName, kind: HeaderErrorKind) -> ParseErrorKind {
    ParseErrorKind::Header(kind.of(name.clone()))
}

fn with<'a, T>(
    name: HeaderName,
    value: Option<&'a Bytes>,
    check: impl FnOnce(&'a [u8]) -> Result<T, HeaderErrorKind>,
) -> Result<T, ParseErrorKind> {
    value
        .map_or(Err(HeaderErrorKind::Missing), |value| check(value))
        .map_err(|kind| broken(&name, kind))
}

fn addresses(value: &[u8]) -> Result<(), HeaderErrorKind> {
    CommaSplit::new(value).try_for_each(|part| NameAddrScan::new(part)?.check())
}

/// `Contact = ("Contact" / "m" ) HCOLON ( STAR / (contact-param *(COMMA contact-param)))`, so a
/// star stands alone.
#[derive(Default)]
struct Contacts {
    count: usize,
    star: bool,
}

impl Contacts {
    fn check(&mut self, value: &[u8]) -> Result<(), HeaderErrorKind> {
        for part in CommaSplit::new(value) {
            self.count += 1;
            if part == b"*" {
                self.star = true;
            } else {
                NameAddrScan::new(part)?.check()?;
            }
            if self.star && self.count > 1 {
                return Err(HeaderErrorKind::Star);
            }
        }
        Ok(())
    }
}

/// `callid = word [ "@" word ]`. **Deviation**: any visible bytes, since it is only compared.
fn call_id(value: &[u8]) -> Result<(), HeaderErrorKind> {
    match value {
        [] => Err(HeaderErrorKind::Empty),
        _ if value.iter().any(|&byte| byte <= b' ' || byte == 0x7f) => Err(HeaderErrorKind::Token),
        _ => Ok(()),
    }
}

/// "This is an integer in the range 0-255" (section 20.22).
fn max_forwards(value: &[u8]) -> Result<(), HeaderErrorKind> {
    grammar::number(value).filter(|&hops| hops <= 255).map(|_| ()).ok_or(HeaderErrorKind::Number)
}
