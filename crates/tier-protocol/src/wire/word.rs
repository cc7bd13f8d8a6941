//! Keys, stamps, durations and addresses: what every message is made of.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use bytes::Bytes;
use vocab::{CallKey, LockToken, PartitionId, SiteId, Version, ViewNumber};

use crate::error::DecodeError;

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(crate) struct Key {
    #[prost(fixed64, tag = "1")]
    high: u64,
    #[prost(fixed64, tag = "2")]
    low: u64,
}

impl From<CallKey> for Key {
    fn from(key: CallKey) -> Self {
        let [a, b, c, d, e, f, g, h, low @ ..] = key.0;
        Self { high: u64::from_be_bytes([a, b, c, d, e, f, g, h]), low: u64::from_be_bytes(low) }
    }
}

impl From<Key> for CallKey {
    fn from(key: Key) -> Self {
        Self(((u128::from(key.high) << 64) | u128::from(key.low)).to_be_bytes())
    }
}

/// The key that a word cannot do without.
pub(crate) fn key(key: Option<Key>) -> Result<CallKey, DecodeError> {
    need(key, "call key").map(CallKey::from)
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(crate) struct Epoch {
    #[prost(uint64, tag = "1")]
    n: u64,
    #[prost(uint32, tag = "2")]
    site: u32,
}

impl From<vocab::Epoch> for Epoch {
    fn from(epoch: vocab::Epoch) -> Self {
        Self { n: epoch.n, site: u32::from(epoch.site.0) }
    }
}

impl TryFrom<Epoch> for vocab::Epoch {
    type Error = DecodeError;

    fn try_from(epoch: Epoch) -> Result<Self, DecodeError> {
        Ok(Self { n: epoch.n, site: site(epoch.site)? })
    }
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(crate) struct Token {
    #[prost(uint64, tag = "1")]
    view: u64,
    #[prost(uint64, tag = "2")]
    counter: u64,
}

impl From<LockToken> for Token {
    fn from(token: LockToken) -> Self {
        Self { view: token.view.0, counter: token.counter }
    }
}

impl From<Token> for LockToken {
    fn from(token: Token) -> Self {
        Self { view: ViewNumber(token.view), counter: token.counter }
    }
}

/// The site of a word that may be about none.
pub(crate) fn some_site(value: u32) -> Result<Option<SiteId>, DecodeError> {
    if value == 0 { Ok(None) } else { site(value).map(Some) }
}

/// The number of a site, or 0 for none.
pub(crate) fn no_site(site: Option<SiteId>) -> u32 {
    site.map_or(0, |site| u32::from(site.0))
}

/// The lock token that a word cannot do without.
pub(crate) fn token(token: Option<Token>) -> Result<LockToken, DecodeError> {
    need(token, "lock token").map(LockToken::from)
}

/// A stamp in one flat message: every record carries several.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(crate) struct Stamp {
    #[prost(uint64, tag = "1")]
    n: u64,
    #[prost(uint32, tag = "2")]
    site: u32,
    #[prost(uint64, tag = "3")]
    view: u64,
    #[prost(uint64, tag = "4")]
    counter: u64,
    #[prost(uint64, tag = "5")]
    version: u64,
}

impl From<vocab::Stamp> for Stamp {
    fn from(stamp: vocab::Stamp) -> Self {
        Self {
            n: stamp.epoch.n,
            site: u32::from(stamp.epoch.site.0),
            view: stamp.token.view.0,
            counter: stamp.token.counter,
            version: stamp.version.0,
        }
    }
}

impl TryFrom<Stamp> for vocab::Stamp {
    type Error = DecodeError;

    fn try_from(stamp: Stamp) -> Result<Self, DecodeError> {
        Ok(Self {
            epoch: vocab::Epoch { n: stamp.n, site: site(stamp.site)? },
            token: LockToken { view: ViewNumber(stamp.view), counter: stamp.counter },
            version: Version(stamp.version),
        })
    }
}

/// The stamp that a word cannot do without.
pub(crate) fn stamp(stamp: Option<Stamp>) -> Result<vocab::Stamp, DecodeError> {
    need(stamp, "stamp")?.try_into()
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Address {
    /// Four or sixteen bytes.
    #[prost(bytes = "bytes", tag = "1")]
    ip: Bytes,
    #[prost(uint32, tag = "2")]
    port: u32,
    #[prost(uint32, tag = "3")]
    flow: u32,
    #[prost(uint32, tag = "4")]
    scope: u32,
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        let port = u32::from(address.port());
        match address {
            SocketAddr::V4(v4) => {
                let ip = Bytes::copy_from_slice(&v4.ip().octets());
                Self { ip, port, flow: 0, scope: 0 }
            }
            SocketAddr::V6(v6) => {
                let ip = Bytes::copy_from_slice(&v6.ip().octets());
                Self { ip, port, flow: v6.flowinfo(), scope: v6.scope_id() }
            }
        }
    }
}

impl TryFrom<Address> for SocketAddr {
    type Error = DecodeError;

    fn try_from(address: Address) -> Result<Self, DecodeError> {
        let port = small(address.port, "port")?;
        if let Ok(v4) = <[u8; 4]>::try_from(&address.ip[..]) {
            return Ok(Self::new(IpAddr::V4(Ipv4Addr::from(v4)), port));
        }
        let v6 = <[u8; 16]>::try_from(&address.ip[..]).map_err(|_| DecodeError::OutOfRange {
            what: "length of an address",
            value: address.ip.len() as u64,
        })?;
        let ip = Ipv6Addr::from(v6);
        Ok(Self::V6(SocketAddrV6::new(ip, port, address.flow, address.scope)))
    }
}

/// `value`, or the complaint that it is absent.
pub(crate) fn need<T>(value: Option<T>, what: &'static str) -> Result<T, DecodeError> {
    value.ok_or(DecodeError::Missing { what })
}

/// `value` as a 16-bit number.
pub(crate) fn small(value: u32, what: &'static str) -> Result<u16, DecodeError> {
    u16::try_from(value).map_err(|_| DecodeError::OutOfRange { what, value: u64::from(value) })
}

/// The newest dictionary that a peer reads. Beyond all numbers that there are, it is one that reads
/// all of ours.
pub(crate) fn dictionary(value: u32) -> u16 {
    u16::try_from(value).unwrap_or(u16::MAX)
}

pub(crate) fn site(value: u32) -> Result<SiteId, DecodeError> {
    small(value, "site").map(SiteId)
}

pub(crate) fn partition(value: u32) -> Result<PartitionId, DecodeError> {
    small(value, "partition").map(PartitionId)
}

/// Nanoseconds; a duration beyond 584 years is written as that.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Each element in its other form, or the first complaint.
pub(crate) fn all<A, B>(from: Vec<A>) -> Result<Vec<B>, DecodeError>
where
    B: TryFrom<A, Error = DecodeError>,
{
    from.into_iter().map(B::try_from).collect()
}
