//! SIP and SIPS URIs, and other URIs as opaque bytes (RFC 3261 section 19.1 and 25.1).
//!
//! A [`Uri`] keeps the bytes it was read from and prints exactly those. It is never resolved and
//! never normalised; [`Uri::equivalent`] compares as section 19.1.4 says.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use bytes::{BufMut, Bytes, BytesMut};

use crate::grammar;
use crate::header::Params;
use crate::host::{Host, HostScan};
use crate::limits::PARAMS_MAX;

mod compare;

/// Which rule of the URI grammar was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UriError {
    /// No `scheme ":"` at the start.
    Scheme,
    /// White space, a control, a quote or an angle bracket.
    IllegalByte,
    /// An `@` with nothing before it, or a second one.
    User,
    /// `%` without two hexadecimal digits.
    Escape,
    /// No host, or neither a name nor an address.
    Host,
    /// A port outside 1 to 65,535.
    Port,
    /// A parameter without a name, or with `=` and no value.
    Parameter,
    /// More than [`PARAMS_MAX`].
    TooManyParameters,
    /// A header without a name or without `=`.
    Headers,
    /// Nothing after the scheme.
    Empty,
}

impl fmt::Display for UriError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            UriError::Scheme => "no URI scheme",
            UriError::IllegalByte => "a byte that no URI may hold",
            UriError::User => "bad user part",
            UriError::Escape => "bad % escape",
            UriError::Host => "bad host",
            UriError::Port => "bad port",
            UriError::Parameter => "bad URI parameter",
            UriError::TooManyParameters => "too many URI parameters",
            UriError::Headers => "bad URI headers",
            UriError::Empty => "nothing after the URI scheme",
        })
    }
}

impl std::error::Error for UriError {}

/// A URI: the bytes as received, and for sip and sips also their parts.
///
/// `==` compares bytes; see [`Uri::equivalent`] for the comparison of RFC 3261.
///
/// ```
/// use sip_message::{Host, Uri};
/// let uri: Uri = "sip:alice@example.com:5070;transport=tcp".parse().expect("well formed");
/// assert_eq!(uri.user().map(|user| &user[..]), Some(&b"alice"[..]));
/// assert_eq!(uri.host(), Some(&Host::from("example.com")));
/// assert_eq!(uri.port(), Some(5070));
/// assert_eq!(uri.to_string(), "sip:alice@example.com:5070;transport=tcp");
/// ```
#[derive(Clone)]
pub struct Uri {
    bytes: Bytes,
    scheme_len: usize,
    sip: Option<SipParts>,
    params: Params,
}

#[derive(Clone)]
struct SipParts {
    user: Option<Bytes>,
    password: Option<Bytes>,
    host: Host,
    port: Option<u16>,
    headers: Option<Bytes>,
}

impl Uri {
    /// Reads a URI that fills `bytes`.
    pub fn parse(bytes: &Bytes) -> Result<Uri, UriError> {
        UriScan::new(bytes)?.keep(bytes)
    }

    /// Builds `sip:user@host:port`. What may not stand in a user part is escaped.
    ///
    /// ```
    /// use sip_message::Uri;
    /// let uri = Uri::sip(Some("a b"), "192.0.2.1", Some(5060));
    /// assert_eq!(uri.to_string(), "sip:a%20b@192.0.2.1:5060");
    /// ```
    pub fn sip(user: Option<&str>, host: impl Into<Host>, port: Option<u16>) -> Uri {
        let mut host = host.into();
        if matches!(&host, Host::Name(name) if !grammar::is_host_name(name)) {
            // A name from `Host::Name` directly: what cannot stand in one is left out.
            host = Host::from(host.to_string().as_str());
        }
        if matches!(&host, Host::Name(name) if name.is_empty()) {
            host = Host::Name(Bytes::from_static(b"invalid"));
        }
        let port = port.filter(|&port| port != 0);
        let mut bytes = BytesMut::from(&b"sip:"[..]);
        if let Some(user) = user.filter(|user| !user.is_empty()) {
            escape_into(&mut bytes, user.as_bytes(), b"&=+$,;?/");
            bytes.put_u8(b'@');
        }
        host.print_with_port(port, &mut bytes);
        Uri::parse(&bytes.freeze()).expect("scheme, escaped user, host name and port are valid")
    }

    /// The scheme as written.
    pub fn scheme(&self) -> &[u8] {
        &self.bytes[..self.scheme_len]
    }

    /// Whether the scheme is sip or sips, so that the URI has a host.
    pub fn is_sip(&self) -> bool {
        self.sip.is_some()
    }

    /// Whether the scheme is sips.
    pub fn is_sips(&self) -> bool {
        self.scheme().eq_ignore_ascii_case(b"sips")
    }

    /// The user part as written, without a password.
    pub fn user(&self) -> Option<&Bytes> {
        self.sip.as_ref()?.user.as_ref()
    }

    /// The user part with its escapes undone, once (RFC 4475 section 3.1.1.3).
    pub fn user_unescaped(&self) -> Option<Bytes> {
        self.user().map(|user| unescape(user))
    }

    /// The password as written.
    pub fn password(&self) -> Option<&Bytes> {
        self.sip.as_ref()?.password.as_ref()
    }

    /// The host; `None` when the scheme is neither sip nor sips.
    pub fn host(&self) -> Option<&Host> {
        self.sip.as_ref().map(|sip| &sip.host)
    }

    /// The port, when one is written.
    pub fn port(&self) -> Option<u16> {
        self.sip.as_ref()?.port
    }

    /// The URI parameters, in order, as written.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// A URI parameter by name, its name compared without case and with escapes undone.
    ///
    /// `Some(None)` is a parameter without a value, like `lr`.
    pub fn param(&self, name: &str) -> Option<Option<&Bytes>> {
        self.params.iter().find(|(written, _)| is_named(written, name)).map(|(_, value)| value)
    }

    /// Whether the URI has this parameter, with or without a value.
    pub fn has_param(&self, name: &str) -> bool {
        self.param(name).is_some()
    }

    /// What follows `?`, as written.
    pub fn headers(&self) -> Option<&Bytes> {
        self.sip.as_ref()?.headers.as_ref()
    }

    /// The URI exactly as it was read.
    pub fn as_bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// This URI with a parameter added, or its value replaced. A URI that is not sip or sips is
    /// returned as it is. What may not stand in a parameter is escaped.
    ///
    /// ```
    /// use sip_message::Uri;
    /// let uri = Uri::sip(None, "192.0.2.1", None).with_param("lr", None);
    /// assert_eq!(uri.to_string(), "sip:192.0.2.1;lr");
    /// ```
    #[must_use]
    pub fn with_param(&self, name: &str, value: Option<&str>) -> Uri {
        let mut params = self.params.clone();
        let escape = |text: &str| {
            let mut out = BytesMut::new();
            escape_into(&mut out, text.as_bytes(), b"[]/:&+$");
            out.freeze()
        };
        if name.is_empty() {
            return self.clone();
        }
        let value = value.filter(|value| !value.is_empty()).map(escape);
        params.retain(|written| !is_named(written, name));
        params.push(escape(name), value);
        self.rebuild(params, self.headers())
    }

    /// This URI without a parameter.
    #[must_use]
    pub fn without_param(&self, name: &str) -> Uri {
        let mut params = self.params.clone();
        params.retain(|written| !is_named(written, name));
        self.rebuild(params, self.headers())
    }

    /// This URI without the part after `?`, as a Request-URI needs it (RFC 3261 table 1).
    #[must_use]
    pub fn without_headers(&self) -> Uri {
        if self.headers().is_none() {
            return self.clone();
        }
        self.rebuild(self.params.clone(), None)
    }

    /// The same scheme, user, host and port with other parameters and headers.
    fn rebuild(&self, params: Params, headers: Option<&Bytes>) -> Uri {
        let Some(sip) = &self.sip else {
            return self.clone();
        };
        let mut bytes = BytesMut::with_capacity(self.bytes.len() + 32);
        bytes.extend_from_slice(self.before_params());
        params.print_into(&mut bytes);
        if let Some(headers) = headers {
            bytes.put_u8(b'?');
            bytes.extend_from_slice(headers);
        }
        let bytes = bytes.freeze();
        let sip = SipParts { headers: headers.cloned(), ..sip.clone() };
        Uri { bytes, scheme_len: self.scheme_len, sip: Some(sip), params }
    }

    fn before_params(&self) -> &[u8] {
        let headers = self.headers().map_or(0, |headers| headers.len() + 1);
        let params: usize =
            self.params.iter().map(|(name, value)| 1 + name.len() + value_len(value)).sum();
        &self.bytes[..self.bytes.len() - headers - params]
    }

    /// Whether both URIs are the same by RFC 3261 section 19.1.4. Others than sip and sips are
    /// the same when their bytes are.
    pub fn equivalent(&self, other: &Uri) -> bool {
        compare::equivalent(self, other)
    }
}

/// Parameter names compare without case and with escapes undone.
fn is_named(written: &Bytes, name: &str) -> bool {
    written.eq_ignore_ascii_case(name.as_bytes())
        || (written.contains(&b'%') && unescape(written).eq_ignore_ascii_case(name.as_bytes()))
}

fn value_len(value: Option<&Bytes>) -> usize {
    value.map_or(0, |value| value.len() + 1)
}

/// A URI that is still part of the bytes it was found in; checked, nothing kept.
pub(crate) struct UriScan<'a> {
    scheme: &'a [u8],
    sip: Option<SipScan<'a>>,
}

struct SipScan<'a> {
    user: Option<&'a [u8]>,
    password: Option<&'a [u8]>,
    host: HostScan<'a>,
    port: Option<u16>,
    /// From the first `;`, or empty.
    params: &'a [u8],
    headers: Option<&'a [u8]>,
}

impl<'a> UriScan<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Result<Self, UriError> {
        let marks = Marks::find(bytes)?;
        let colon = marks.colon.ok_or(UriError::Scheme)?;
        let (scheme, rest) = (&bytes[..colon], &bytes[colon + 1..]);
        let is_sip = scheme.eq_ignore_ascii_case(b"sip") || scheme.eq_ignore_ascii_case(b"sips");
        if !is_sip && !is_scheme(scheme) {
            return Err(UriError::Scheme);
        }
        if rest.is_empty() {
            return Err(UriError::Empty);
        }
        let sip = if is_sip { Some(SipScan::new(bytes, colon, &marks)?) } else { None };
        Ok(Self { scheme, sip })
    }

    /// An owned URI; `bytes` is what this was taken from.
    pub(crate) fn keep(&self, bytes: &Bytes) -> Result<Uri, UriError> {
        let mut params = Params::default();
        let sip = match &self.sip {
            None => None,
            Some(sip) => {
                for_each_param(sip.params, |name, value| {
                    let value = value.map(|value| bytes.slice_ref(value));
                    params.push(bytes.slice_ref(name), value);
                })?;
                Some(SipParts {
                    user: sip.user.map(|user| bytes.slice_ref(user)),
                    password: sip.password.map(|password| bytes.slice_ref(password)),
                    host: sip.host.keep(bytes),
                    port: sip.port,
                    headers: sip.headers.map(|headers| bytes.slice_ref(headers)),
                })
            }
        };
        Ok(Uri { bytes: bytes.clone(), scheme_len: self.scheme.len(), sip, params })
    }

    /// Whether the URI carries headers after a `?`.
    pub(crate) fn has_headers(&self) -> bool {
        self.sip.as_ref().is_some_and(|sip| sip.headers.is_some())
    }
}

/// `scheme = ALPHA *( ALPHA / DIGIT / "+" / "-" / "." )`.
fn is_scheme(bytes: &[u8]) -> bool {
    let good = |&byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    bytes.first().is_some_and(u8::is_ascii_alphabetic) && bytes.iter().all(good)
}

/// Where the bytes are that divide a URI, found in one pass.
#[derive(Default)]
struct Marks {
    /// The first `:`.
    colon: Option<usize>,
    /// The first `@`. The user part may hold `;`, `?` and `:`, but this ends it wherever it is.
    at: Option<usize>,
    /// The first `;` and `?` after it.
    semicolon: Option<usize>,
    question: Option<usize>,
    many_at: bool,
    bad_escape: bool,
}

impl Marks {
    fn find(bytes: &[u8]) -> Result<Self, UriError> {
        let mut marks = Self::default();
        for (index, &byte) in bytes.iter().enumerate() {
            if grammar::is_plain_in_uri(byte) {
                continue;
            }
            match byte {
                b':' => {
                    marks.colon.get_or_insert(index);
                }
                b'@' => {
                    marks.many_at |= marks.at.replace(index).is_some();
                    (marks.semicolon, marks.question) = (None, None);
                }
                b';' => {
                    marks.semicolon.get_or_insert(index);
                }
                b'?' => {
                    marks.question.get_or_insert(index);
                }
                b'%' => marks.bad_escape |= grammar::escaped_byte(&bytes[index..]).is_none(),
                _ => return Err(UriError::IllegalByte),
            }
        }
        Ok(marks)
    }
}

impl<'a> SipScan<'a> {
    fn new(bytes: &'a [u8], colon: usize, marks: &Marks) -> Result<Self, UriError> {
        if marks.bad_escape {
            return Err(UriError::Escape);
        }
        if marks.many_at {
            return Err(UriError::User);
        }
        let userinfo = marks.at.map(|at| bytes.get(colon + 1..at).unwrap_or_default());
        let (user, password) = match userinfo.map(split_user).transpose()? {
            Some((user, password)) => (Some(user), password),
            None => (None, None),
        };
        let host_at = marks.at.unwrap_or(colon) + 1;
        let headers_at = marks.question.unwrap_or(bytes.len());
        // Headers may hold a `;` of their own, so one after the `?` begins no parameter.
        let params_at = marks.semicolon.map_or(headers_at, |at| at.min(headers_at));
        let headers = marks.question.map(|at| &bytes[at + 1..]);
        headers.map_or(Ok(()), check_headers)?;
        let host_port = bytes.get(host_at..params_at).ok_or(UriError::Scheme)?;
        let params = &bytes[params_at..headers_at];
        let (host, after) = HostScan::take(host_port).ok_or(UriError::Host)?;
        let port = match after {
            [] => None,
            [b':', digits @ ..] => Some(grammar::port(digits).ok_or(UriError::Port)?),
            _ => return Err(UriError::Host),
        };
        for_each_param(params, |_, _| ())?;
        Ok(Self { user, password, host, port, params, headers })
    }
}

fn split_user(userinfo: &[u8]) -> Result<(&[u8], Option<&[u8]>), UriError> {
    let (user, password) = match memchr::memchr(b':', userinfo) {
        Some(colon) => (&userinfo[..colon], Some(&userinfo[colon + 1..])),
        None => (userinfo, None),
    };
    if user.is_empty() { Err(UriError::User) } else { Ok((user, password)) }
}

/// `headers = "?" header *( "&" header )`, `header = hname "=" hvalue`.
fn check_headers(headers: &[u8]) -> Result<(), UriError> {
    let good = |header: &[u8]| memchr::memchr(b'=', header).is_some_and(|equals| equals > 0);
    let good = headers.split(|&byte| byte == b'&').all(good);
    if good { Ok(()) } else { Err(UriError::Headers) }
}

/// Calls `each` for every parameter of `*( ";" uri-parameter )`.
fn for_each_param<'a>(
    params: &'a [u8],
    mut each: impl FnMut(&'a [u8], Option<&'a [u8]>),
) -> Result<(), UriError> {
    let Some(params) = params.strip_prefix(b";") else {
        return Ok(());
    };
    for (count, param) in params.split(|&byte| byte == b';').enumerate() {
        if count == PARAMS_MAX {
            return Err(UriError::TooManyParameters);
        }
        let (name, value) = match memchr::memchr(b'=', param) {
            Some(equals) => (&param[..equals], Some(&param[equals + 1..])),
            None => (param, None),
        };
        if name.is_empty() || value.is_some_and(<[u8]>::is_empty) {
            return Err(UriError::Parameter);
        }
        each(name, value);
    }
    Ok(())
}

/// Undoes `%HH` once; a `%` that begins no escape stays.
pub(crate) fn unescape(bytes: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&first, after)) = rest.split_first() {
        match grammar::escaped_byte(rest) {
            Some(byte) => {
                out.put_u8(byte);
                rest = &rest[3..];
            }
            None => {
                out.put_u8(first);
                rest = after;
            }
        }
    }
    out.freeze()
}

/// Appends `bytes`, escaping all but `unreserved` and `also`.
fn escape_into(out: &mut BytesMut, bytes: &[u8], also: &[u8]) {
    for &byte in bytes {
        let unreserved = byte.is_ascii_alphanumeric() || b"-_.!~*'()".contains(&byte);
        if unreserved || also.contains(&byte) {
            out.put_u8(byte);
        } else {
            out.extend_from_slice(format!("%{byte:02X}").as_bytes());
        }
    }
}

impl PartialEq for Uri {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for Uri {}

impl Hash for Uri {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.bytes.hash(state);
    }
}

impl fmt::Debug for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Uri({:?})", self.bytes)
    }
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.bytes))
    }
}

impl FromStr for Uri {
    type Err = UriError;

    fn from_str(text: &str) -> Result<Self, UriError> {
        Uri::parse(&Bytes::copy_from_slice(text.as_bytes()))
    }
}

#[cfg(test)]
mod tests;
