//! `name-addr` and `addr-spec` with parameters: From, To, Contact, Route, Record-Route
//! (RFC 3261 sections 20.10, 20.20, 20.39 and 25.1).

use std::fmt;
use std::str::FromStr;

use bytes::{BufMut, Bytes, BytesMut};

use super::{HeaderErrorKind, Params};
use crate::grammar::{self, ParamScan};
use crate::uri::{Uri, UriScan};

/// An address: perhaps a display name, a URI, and header parameters.
///
/// Printed always with angle brackets, so that no URI parameter turns into a header parameter.
///
/// ```
/// use sip_message::NameAddr;
/// let to: NameAddr = "\"Bob\" <sip:bob@example.com>;tag=7".parse().expect("well formed");
/// assert_eq!(to.tag(), Some(&"7".into()));
/// assert_eq!(to.to_string(), "\"Bob\" <sip:bob@example.com>;tag=7");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NameAddr {
    /// The display name as written, quotes included.
    pub display: Option<Bytes>,
    /// The URI, without brackets.
    pub uri: Uri,
    /// What follows the URI.
    pub params: Params,
}

impl NameAddr {
    /// An address of this URI alone.
    pub fn new(uri: Uri) -> Self {
        Self { display: None, uri, params: Params::default() }
    }

    /// Reads one address that fills `value`.
    pub fn parse(value: &Bytes) -> Result<NameAddr, HeaderErrorKind> {
        let scan = NameAddrScan::new(value)?;
        Ok(NameAddr {
            display: scan.display.map(|display| value.slice_ref(display)),
            uri: Uri::parse(&value.slice_ref(scan.uri))?,
            params: Params::read(value, scan.params)?,
        })
    }

    /// The `tag` parameter.
    pub fn tag(&self) -> Option<&Bytes> {
        self.params.value("tag")
    }

    /// Sets the `tag` parameter.
    pub fn set_tag(&mut self, tag: &str) {
        self.params.set("tag", Some(tag));
    }

    /// This address with another tag.
    #[must_use]
    pub fn with_tag(mut self, tag: &str) -> Self {
        self.set_tag(tag);
        self
    }

    /// Appends the address as it stands in a header.
    pub fn print_into(&self, out: &mut BytesMut) {
        if let Some(display) = self.display.as_ref().filter(|display| !display.is_empty()) {
            out.extend_from_slice(display);
            out.put_u8(b' ');
        }
        out.put_u8(b'<');
        out.extend_from_slice(self.uri.as_bytes());
        out.put_u8(b'>');
        self.params.print_into(out);
    }

    /// The address as a header value.
    pub fn print(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(self.uri.as_bytes().len() + 64);
        self.print_into(&mut out);
        out.freeze()
    }
}

/// An address that is still part of the bytes it was found in. Its URI is not checked yet.
pub(crate) struct NameAddrScan<'a> {
    display: Option<&'a [u8]>,
    uri: &'a [u8],
    params: &'a [u8],
}

impl<'a> NameAddrScan<'a> {
    pub(crate) fn new(value: &'a [u8]) -> Result<Self, HeaderErrorKind> {
        let value = grammar::trim(value);
        if value.is_empty() {
            return Err(HeaderErrorKind::Empty);
        }
        if value == b"*" {
            return Err(HeaderErrorKind::Star);
        }
        if value[0] == b'"' {
            let (display, rest) = grammar::take_quoted(value)?;
            let inside = grammar::trim_start(rest);
            let inside = inside.strip_prefix(b"<").ok_or(HeaderErrorKind::Brackets)?;
            return Self::bracketed(Some(display), inside);
        }
        match memchr::memchr2(b'<', b'"', value) {
            Some(at) if value[at] == b'<' && !is_bare(&value[..at]) => {
                let display = display_tokens(&value[..at])?;
                Self::bracketed(display, &value[at + 1..])
            }
            _ => Self::bare(value),
        }
    }

    /// `inside` is what follows the `<`.
    fn bracketed(display: Option<&'a [u8]>, inside: &'a [u8]) -> Result<Self, HeaderErrorKind> {
        let close = memchr::memchr(b'>', inside).ok_or(HeaderErrorKind::Brackets)?;
        Ok(Self { display, uri: &inside[..close], params: &inside[close + 1..] })
    }

    /// "If the URI contains a comma, question mark or semicolon, the URI MUST be enclosed in angle
    /// brackets" (section 20.10), so here a semicolon begins a header parameter.
    fn bare(value: &'a [u8]) -> Result<Self, HeaderErrorKind> {
        let end = value.iter().position(|&byte| byte == b';' || grammar::is_space(byte));
        let (uri, params) = value.split_at(end.unwrap_or(value.len()));
        if memchr::memchr2(b'?', b',', uri).is_some() {
            return Err(HeaderErrorKind::BareUriHeaders);
        }
        Ok(Self { display: None, uri, params })
    }

    /// The value of the `tag` parameter; the URI is not looked into.
    pub(crate) fn tag(&self) -> Result<Option<&'a [u8]>, HeaderErrorKind> {
        ParamScan::new(self.params).value("tag")
    }

    /// Checks the URI and the parameters.
    pub(crate) fn check(self) -> Result<(), HeaderErrorKind> {
        UriScan::new(self.uri)?;
        ParamScan::new(self.params).check()
    }
}

/// Whether the text before a `<` already holds a URI, so that the `<` is a mistake later on.
fn is_bare(before: &[u8]) -> bool {
    memchr::memchr2(b':', b';', before).is_some()
}

/// `*(token LWS)`: each word must be a token, and the last may touch the `<` (RFC 4475 3.1.1.6).
/// **Deviation**: bytes above 127 are accepted, since unquoted UTF-8 names are in use.
fn display_tokens(text: &[u8]) -> Result<Option<&[u8]>, HeaderErrorKind> {
    let text = grammar::trim(text);
    let good = |byte: &u8| grammar::is_space(*byte) || *byte > 127 || grammar::is_token(&[*byte]);
    if !text.iter().all(good) {
        return Err(HeaderErrorKind::DisplayName);
    }
    Ok((!text.is_empty()).then_some(text))
}

impl fmt::Display for NameAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.print()))
    }
}

impl FromStr for NameAddr {
    type Err = HeaderErrorKind;

    fn from_str(text: &str) -> Result<Self, HeaderErrorKind> {
        NameAddr::parse(&Bytes::copy_from_slice(text.as_bytes()))
    }
}
