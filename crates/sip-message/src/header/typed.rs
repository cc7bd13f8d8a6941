//! Typed views of the lines, parsed on demand (RFC 3261 section 20, RFC 4028).
//!
//! `Ok(None)` is an absent header, `Err` a present and broken one.

use bytes::Bytes;

use super::{
    CSeq, HeaderError, HeaderErrorKind, HeaderName, Headers, NameAddr, NameAddrScan,
    SessionExpires, Via, ViaScan,
};
use crate::grammar::{self, CommaSplit};

type Parse<T> = fn(&Bytes) -> Result<T, HeaderErrorKind>;

impl Headers {
    /// The topmost Via.
    pub fn via_top(&self) -> Result<Option<Via>, HeaderError> {
        self.first(HeaderName::Via, Via::parse)
    }

    /// The branch of the topmost Via, without making the rest of it: what messages are told
    /// apart by.
    pub fn top_branch(&self) -> Result<Option<Bytes>, HeaderError> {
        let branch = self.first(HeaderName::Via, |via| {
            let branch = ViaScan::new(via)?.branch()?;
            Ok(branch.map(|branch| via.slice_ref(branch)))
        })?;
        Ok(branch.flatten())
    }

    /// Every Via, topmost first.
    pub fn vias(&self) -> Result<Vec<Via>, HeaderError> {
        self.every(HeaderName::Via, Via::parse)
    }

    /// From, which is mandatory.
    pub fn from(&self) -> Result<NameAddr, HeaderError> {
        self.mandatory(HeaderName::From, NameAddr::parse)
    }

    /// To, which is mandatory.
    pub fn to(&self) -> Result<NameAddr, HeaderError> {
        self.mandatory(HeaderName::To, NameAddr::parse)
    }

    /// The tag of From, without looking into its URI: what dialogs are told apart by.
    pub fn from_tag(&self) -> Result<Option<Bytes>, HeaderError> {
        self.mandatory(HeaderName::From, tag)
    }

    /// The tag of To, without looking into its URI.
    pub fn to_tag(&self) -> Result<Option<Bytes>, HeaderError> {
        self.mandatory(HeaderName::To, tag)
    }

    /// Call-ID, which is mandatory.
    pub fn call_id(&self) -> Result<&Bytes, HeaderError> {
        let missing = || HeaderErrorKind::Missing.of(HeaderName::CallId);
        self.get(&HeaderName::CallId).ok_or_else(missing)
    }

    /// CSeq, which is mandatory.
    pub fn cseq(&self) -> Result<CSeq, HeaderError> {
        self.mandatory(HeaderName::CSeq, CSeq::parse)
    }

    /// The first Contact; `*` is an error here.
    pub fn contact(&self) -> Result<Option<NameAddr>, HeaderError> {
        self.first(HeaderName::Contact, NameAddr::parse)
    }

    /// Every Contact; `*` is an error here.
    pub fn contacts(&self) -> Result<Vec<NameAddr>, HeaderError> {
        self.every(HeaderName::Contact, NameAddr::parse)
    }

    /// Whether the only Contact is `*` (RFC 3261 section 10.2.2).
    pub fn contact_is_star(&self) -> bool {
        let mut values = self.values(&HeaderName::Contact);
        values.next().as_deref() == Some(b"*") && values.next().is_none()
    }

    /// Every Route, topmost first.
    pub fn route(&self) -> Result<Vec<NameAddr>, HeaderError> {
        self.every(HeaderName::Route, NameAddr::parse)
    }

    /// Every Record-Route, topmost first.
    pub fn record_route(&self) -> Result<Vec<NameAddr>, HeaderError> {
        self.every(HeaderName::RecordRoute, NameAddr::parse)
    }

    /// Every address in headers of this name: Path, Service-Route, P-Asserted-Identity, ...
    pub fn addresses(&self, name: HeaderName) -> Result<Vec<NameAddr>, HeaderError> {
        self.every(name, NameAddr::parse)
    }

    /// Max-Forwards, 0 to 255.
    pub fn max_forwards(&self) -> Result<Option<u8>, HeaderError> {
        self.whole(HeaderName::MaxForwards, |value| {
            grammar::number(value)
                .and_then(|hops| u8::try_from(hops).ok())
                .ok_or(HeaderErrorKind::Number)
        })
    }

    /// Content-Length as written.
    pub fn content_length(&self) -> Result<Option<usize>, HeaderError> {
        self.whole(HeaderName::ContentLength, |value| content_length(value))
    }

    /// The words of Supported, Require and their like, as written.
    pub fn option_tags(&self, name: &HeaderName) -> Vec<Bytes> {
        self.values(name).collect()
    }

    /// Whether a header of this name lists this word; case does not count.
    pub fn has_option_tag(&self, name: &HeaderName, tag: &str) -> bool {
        let is_it = |part: &[u8]| !part.is_empty() && part.eq_ignore_ascii_case(tag.as_bytes());
        self.get_all(name).any(|line| CommaSplit::new(line).any(is_it))
    }

    /// Session-Expires.
    pub fn session_expires(&self) -> Result<Option<SessionExpires>, HeaderError> {
        self.whole(HeaderName::SessionExpires, SessionExpires::parse)
    }

    /// Min-SE.
    pub fn min_se(&self) -> Result<Option<u32>, HeaderError> {
        self.whole(HeaderName::MinSe, seconds)
    }

    /// Expires; a number too large for 32 bits counts as the largest.
    pub fn expires(&self) -> Result<Option<u32>, HeaderError> {
        self.whole(HeaderName::Expires, seconds)
    }

    /// Min-Expires.
    pub fn min_expires(&self) -> Result<Option<u32>, HeaderError> {
        self.whole(HeaderName::MinExpires, seconds)
    }

    /// Retry-After, its comment and parameters left aside.
    pub fn retry_after(&self) -> Result<Option<u32>, HeaderError> {
        self.whole(HeaderName::RetryAfter, seconds)
    }

    fn first<T>(&self, name: HeaderName, parse: Parse<T>) -> Result<Option<T>, HeaderError> {
        let Some(line) = self.get(&name) else {
            return Ok(None);
        };
        let value = CommaSplit::new(line).next().unwrap_or_default();
        parse(&line.slice_ref(value)).map(Some).map_err(|kind| kind.of(name))
    }

    fn every<T>(&self, name: HeaderName, parse: Parse<T>) -> Result<Vec<T>, HeaderError> {
        let mut all = Vec::new();
        for line in self.get_all(&name) {
            for value in CommaSplit::new(line) {
                match parse(&line.slice_ref(value)) {
                    Ok(value) => all.push(value),
                    Err(kind) => return Err(kind.of(name.clone())),
                }
            }
        }
        Ok(all)
    }

    fn whole<T>(&self, name: HeaderName, parse: Parse<T>) -> Result<Option<T>, HeaderError> {
        self.get(&name).map(parse).transpose().map_err(|kind| kind.of(name))
    }

    fn mandatory<T>(&self, name: HeaderName, parse: Parse<T>) -> Result<T, HeaderError> {
        match self.get(&name) {
            Some(value) => parse(value).map_err(|kind| kind.of(name)),
            None => Err(HeaderErrorKind::Missing.of(name)),
        }
    }
}

fn tag(value: &Bytes) -> Result<Option<Bytes>, HeaderErrorKind> {
    Ok(NameAddrScan::new(value)?.tag()?.map(|tag| value.slice_ref(tag)))
}

/// Digits and nothing else: no sign, no `0x`, no wrap-around.
pub(crate) fn content_length(value: &[u8]) -> Result<usize, HeaderErrorKind> {
    grammar::number(value)
        .and_then(|length| usize::try_from(length).ok())
        .ok_or(HeaderErrorKind::Number)
}

/// `delta-seconds`, and after it a comment or parameters.
fn seconds(value: &Bytes) -> Result<u32, HeaderErrorKind> {
    let end = value.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(value.len());
    let (digits, rest) = value.split_at(end);
    if !matches!(grammar::trim_start(rest).first(), None | Some(b';' | b'(')) {
        return Err(HeaderErrorKind::Trailing);
    }
    grammar::delta_seconds(digits).ok_or(HeaderErrorKind::Number)
}

#[cfg(test)]
mod tests;
