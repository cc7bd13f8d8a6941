//! A host in a URI or a Via: a name or an address (`host`, RFC 3261 section 25.1; RFC 5118).
//!
//! Does not resolve names and does not check that a name could exist.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bytes::{BufMut, Bytes, BytesMut};

use crate::grammar;
use crate::number::print_number;

/// A host name or an IP address.
///
/// ```
/// use sip_message::Host;
/// assert_eq!(Host::from("192.0.2.1"), Host::Ip([192, 0, 2, 1].into()));
/// assert_eq!(Host::from("[2001:db8::1]").to_string(), "[2001:db8::1]");
/// assert_eq!(Host::from("example.com"), Host::Name("example.com".into()));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// A name as written; names compare without case in [`Host::equivalent`].
    Name(Bytes),
    /// An address; version 6 is written in brackets.
    Ip(IpAddr),
}

impl Host {
    /// Reads a host without a port. `None` when it is not one.
    pub fn parse(bytes: &Bytes) -> Option<Host> {
        let (host, rest) = HostScan::take(bytes)?;
        rest.is_empty().then(|| host.keep(bytes))
    }

    /// The address, when the host is one.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Host::Ip(ip) => Some(*ip),
            Host::Name(_) => None,
        }
    }

    /// Whether both name the same host as far as their text tells; names ignore ASCII case.
    pub fn equivalent(&self, other: &Host) -> bool {
        match (self, other) {
            (Host::Name(one), Host::Name(two)) => one.eq_ignore_ascii_case(two),
            (Host::Ip(one), Host::Ip(two)) => one == two,
            (Host::Name(_), Host::Ip(_)) | (Host::Ip(_), Host::Name(_)) => false,
        }
    }

    /// Appends the host as it stands in a message.
    pub fn print_into(&self, out: &mut BytesMut) {
        match self {
            Host::Name(name) => out.extend_from_slice(name),
            Host::Ip(IpAddr::V4(ip)) => {
                for (index, octet) in ip.octets().into_iter().enumerate() {
                    if index > 0 {
                        out.put_u8(b'.');
                    }
                    print_number(octet.into(), out);
                }
            }
            Host::Ip(IpAddr::V6(_)) => out.extend_from_slice(self.to_string().as_bytes()),
        }
    }

    /// Appends `host [ ":" port ]`.
    pub fn print_with_port(&self, port: Option<u16>, out: &mut BytesMut) {
        self.print_into(out);
        if let Some(port) = port {
            out.put_u8(b':');
            print_number(port.into(), out);
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Name(name) => f.write_str(&String::from_utf8_lossy(name)),
            Host::Ip(IpAddr::V4(ip)) => write!(f, "{ip}"),
            Host::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
        }
    }
}

impl From<IpAddr> for Host {
    fn from(ip: IpAddr) -> Self {
        Host::Ip(ip)
    }
}

impl From<&Host> for Host {
    fn from(host: &Host) -> Self {
        host.clone()
    }
}

impl From<&str> for Host {
    /// Bytes that cannot stand in a host are left out, so that a host never breaks a message.
    fn from(text: &str) -> Self {
        if let Some(host) = Host::parse(&Bytes::copy_from_slice(text.as_bytes())) {
            return host;
        }
        if let Ok(ip) = text.parse::<Ipv6Addr>() {
            return Host::Ip(ip.into());
        }
        Host::Name(text.bytes().filter(|&byte| grammar::is_host_name(&[byte])).collect())
    }
}

/// A host that is still part of the bytes it was found in.
#[derive(Clone, Copy, Debug)]
pub(crate) enum HostScan<'a> {
    Name(&'a [u8]),
    Ip(IpAddr),
}

impl<'a> HostScan<'a> {
    /// Splits a host off the front of `bytes`.
    pub(crate) fn take(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        if let Some(inside) = bytes.strip_prefix(b"[") {
            let close = memchr::memchr(b']', inside)?;
            let ip = ipv6(&inside[..close])?;
            return Some((HostScan::Ip(ip.into()), &inside[close + 1..]));
        }
        let (name, rest) = grammar::take_host_name(bytes);
        if name.is_empty() {
            return None;
        }
        let host = match ipv4(name) {
            Some(ip) => HostScan::Ip(ip.into()),
            None => HostScan::Name(name),
        };
        Some((host, rest))
    }

    /// Splits `host [ ":" port ]` with nothing after it.
    pub(crate) fn with_port(bytes: &'a [u8]) -> Option<(Self, Option<u16>)> {
        let (host, rest) = Self::take(bytes)?;
        match grammar::trim_start(rest) {
            [] => Some((host, None)),
            [b':', port @ ..] => Some((host, Some(grammar::port(grammar::trim(port))?))),
            _ => None,
        }
    }

    /// An owned host; `parent` holds the bytes this was taken from.
    pub(crate) fn keep(self, parent: &Bytes) -> Host {
        match self {
            HostScan::Name(name) => Host::Name(parent.slice_ref(name)),
            HostScan::Ip(ip) => Host::Ip(ip),
        }
    }
}

/// Four decimal numbers up to 255, without leading zeros. Hosts are read several times in every
/// message, and the general parser of the standard library costs several times as much.
fn ipv4(bytes: &[u8]) -> Option<Ipv4Addr> {
    let mut octets = [0u8; 4];
    let (mut at, mut value, mut digits) = (0, 0u16, 0);
    for &byte in bytes {
        match byte {
            b'0'..=b'9' => {
                if digits > 0 && value == 0 {
                    return None;
                }
                value = value * 10 + u16::from(byte - b'0');
                digits += 1;
                *octets.get_mut(at)? = u8::try_from(value).ok()?;
            }
            b'.' if digits > 0 => (at, value, digits) = (at + 1, 0, 0),
            _ => return None,
        }
    }
    (at == 3 && digits > 0).then(|| octets.into())
}

/// RFC 5118 section 4.10: an extra colon before an embedded IPv4 address follows from an error in
/// the RFC 3261 grammar and is to be accepted.
pub(crate) fn ipv6(bytes: &[u8]) -> Option<Ipv6Addr> {
    let text = std::str::from_utf8(bytes).ok()?;
    text.parse().ok().or_else(|| {
        let (before, after) = text.split_once(":::")?;
        if !after.contains('.') {
            return None;
        }
        format!("{before}::{after}").parse().ok()
    })
}

#[cfg(test)]
mod tests;
