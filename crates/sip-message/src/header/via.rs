//! Via (RFC 3261 sections 18.2, 20.42 and 25.1; rport is RFC 3581).

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use bytes::{BufMut, Bytes, BytesMut};

use super::{HeaderErrorKind, Params};
use crate::grammar::{self, ParamScan};
use crate::host::{self, Host, HostScan};

/// One Via value.
///
/// ```
/// use sip_message::Via;
/// let via: Via = "SIP/2.0/UDP 192.0.2.1:5061;branch=z9hG4bK7;rport".parse().expect("well formed");
/// assert_eq!(via.branch(), Some(&"z9hG4bK7".into()));
/// assert_eq!(via.rport(), Some(None));
/// assert_eq!(via.port, Some(5061));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Via {
    /// `UDP`, `TCP`, `TLS`, ... as written.
    pub transport: Bytes,
    /// The host of the sent-by.
    pub host: Host,
    /// The port of the sent-by, when one is written.
    pub port: Option<u16>,
    /// branch, received, rport, maddr, ...
    pub params: Params,
}

impl Via {
    /// A Via without parameters.
    pub fn new(transport: &str, host: impl Into<Host>, port: Option<u16>) -> Self {
        let transport = Bytes::copy_from_slice(transport.as_bytes());
        Self { transport, host: host.into(), port, params: Params::default() }
    }

    /// Reads one Via value that fills `value`.
    pub fn parse(value: &Bytes) -> Result<Via, HeaderErrorKind> {
        let scan = ViaScan::new(value)?;
        Ok(Via {
            transport: value.slice_ref(scan.transport),
            host: scan.host.keep(value),
            port: scan.port,
            params: Params::read(value, scan.params)?,
        })
    }

    /// The `branch` parameter.
    pub fn branch(&self) -> Option<&Bytes> {
        self.params.value("branch")
    }

    /// The `received` parameter, with brackets or without (RFC 5118 section 4.5).
    pub fn received(&self) -> Option<IpAddr> {
        let text = std::str::from_utf8(self.params.value("received")?).ok()?;
        match text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
            Some(inside) => host::ipv6(inside.as_bytes()).map(IpAddr::V6),
            None => text.parse().ok(),
        }
    }

    /// The `rport` parameter: `Some(None)` asks for it, `Some(Some(port))` answers. A value that
    /// is no port counts as asking.
    pub fn rport(&self) -> Option<Option<u16>> {
        self.params.get("rport").map(|value| value.and_then(|value| grammar::port(value)))
    }

    /// Sets a parameter.
    pub fn set_param(&mut self, name: &str, value: Option<&str>) {
        self.params.set(name, value);
    }

    /// This Via with a parameter set.
    #[must_use]
    pub fn with_param(mut self, name: &str, value: Option<&str>) -> Self {
        self.set_param(name, value);
        self
    }

    /// Appends the Via as it stands in a header.
    pub fn print_into(&self, out: &mut BytesMut) {
        out.extend_from_slice(b"SIP/2.0/");
        out.extend_from_slice(&self.transport);
        out.put_u8(b' ');
        self.host.print_with_port(self.port, out);
        self.params.print_into(out);
    }

    /// The Via as a header value.
    pub fn print(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(128);
        self.print_into(&mut out);
        out.freeze()
    }
}

/// A Via that is still part of the bytes it was found in. Its parameters are not checked yet.
pub(crate) struct ViaScan<'a> {
    transport: &'a [u8],
    host: HostScan<'a>,
    port: Option<u16>,
    params: &'a [u8],
}

impl<'a> ViaScan<'a> {
    pub(crate) fn new(value: &'a [u8]) -> Result<Self, HeaderErrorKind> {
        let rest = part(value, b"SIP")?;
        let rest = part(slash(rest)?, b"2.0")?;
        let (transport, rest) = grammar::take_token(slash(rest)?);
        let sent_by = grammar::trim_start(rest);
        if transport.is_empty() || sent_by.len() == rest.len() {
            return Err(HeaderErrorKind::Protocol);
        }
        let end = memchr::memchr(b';', sent_by).unwrap_or(sent_by.len());
        let (host_port, params) = sent_by.split_at(end);
        let (host, port) =
            HostScan::with_port(grammar::trim(host_port)).ok_or(HeaderErrorKind::SentBy)?;
        Ok(Self { transport, host, port, params })
    }

    /// The value of the `branch` parameter.
    pub(crate) fn branch(&self) -> Result<Option<&'a [u8]>, HeaderErrorKind> {
        ParamScan::new(self.params).value("branch")
    }

    /// Checks the parameters.
    pub(crate) fn check(self) -> Result<(), HeaderErrorKind> {
        ParamScan::new(self.params).check()
    }
}

/// Takes one word of the protocol, without regard to case.
fn part<'a>(bytes: &'a [u8], word: &[u8]) -> Result<&'a [u8], HeaderErrorKind> {
    let (token, rest) = grammar::take_token(grammar::trim_start(bytes));
    if token.eq_ignore_ascii_case(word) { Ok(rest) } else { Err(HeaderErrorKind::Protocol) }
}

/// `SLASH = SWS "/" SWS`.
fn slash(bytes: &[u8]) -> Result<&[u8], HeaderErrorKind> {
    let rest = grammar::trim_start(bytes).strip_prefix(b"/").ok_or(HeaderErrorKind::Protocol)?;
    Ok(grammar::trim_start(rest))
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.print()))
    }
}

impl FromStr for Via {
    type Err = HeaderErrorKind;

    fn from_str(text: &str) -> Result<Self, HeaderErrorKind> {
        Via::parse(&Bytes::copy_from_slice(text.as_bytes()))
    }
}
