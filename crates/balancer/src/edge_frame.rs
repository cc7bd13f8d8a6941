//! The datagrams between a balancer and the engines behind it: a fixed header, then a SIP message.
//!
//! ```text
//! 0     4    5     6    8      9    11        27    35
//! "RHE1"|kind|flags|site|family|port|address   |MAC  |payload untouched
//! ```
//! The MAC covers the header and the payload's length (and the payload of a ping or pong, which is
//! short): it proves that a peer of this deployment wrote the header. It does not protect the SIP
//! message, which came over an open network in the first place.
//!
//! Deliberately absent: sequence numbers and repetition. Loss here is loss on the wire to SIP.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bytes::{BufMut, Bytes};
use vocab::{EngineId, SiteId, TokenSecret};

/// Bytes before the payload. The buffers of the inner sockets need this much more than a message.
pub const HEADER_BYTES: usize = COVERED + 8;

/// Bytes of the longest message that fits a frame: what a UDP datagram over IPv4 holds, less the
/// header.
pub const MESSAGE_BYTES_MAX: usize = 65_507 - HEADER_BYTES;

const MAGIC: &[u8; 4] = b"RHE1";
/// Bytes of the header that the MAC covers: all but the MAC.
const COVERED: usize = 27;

const INBOUND: u8 = 1;
const OUTBOUND: u8 = 2;
const PING: u8 = 3;
const PONG: u8 = 4;
const BOUNCE: u8 = 5;

/// Of an inbound frame: the site field says who gets the message when this site does not know it.
const FLAG_OFFERED: u8 = 1;
/// Of a pong: the engine takes traffic.
const FLAG_SERVING: u8 = 2;

/// One datagram between a balancer and an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EdgeFrame {
    /// Balancer to engine: this came from outside.
    Inbound {
        /// Where the datagram came from.
        source: SocketAddr,
        /// When set, the message is offered here first: an engine that knows no such call gives it
        /// back with [`EdgeFrame::Bounce`] to this site, and begins nothing.
        offered_by: Option<SiteId>,
        /// The datagram.
        bytes: Bytes,
    },
    /// Engine to balancer: send this outside.
    Outbound {
        /// Its destination.
        to: SocketAddr,
        /// The datagram.
        bytes: Bytes,
    },
    /// Balancer to engine: are you there?
    Ping {
        /// Comes back in the pong.
        nonce: u64,
    },
    /// Engine to balancer.
    Pong {
        /// Of the ping.
        nonce: u64,
        /// Who answers: a restarted engine has another id.
        engine: EngineId,
        /// Whether this engine takes traffic.
        serving: bool,
    },
    /// Engine to balancer: an offered message of no call that this site knows.
    Bounce {
        /// Where the datagram came from in the first place.
        source: SocketAddr,
        /// The site to deliver it to: the `offered_by` of the inbound frame.
        to: SiteId,
        /// The datagram, as it came.
        bytes: Bytes,
    },
}

/// Why a datagram on the inner socket is not a frame of ours. It is dropped and counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// Shorter than its fixed part, or without the magic: not a frame at all.
    NotAFrame,
    /// The MAC does not fit: another deployment's, or forged.
    NotOurs,
    /// A peer of this deployment wrote something this version does not know.
    Unknown,
}

impl std::fmt::Display for FrameError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NotAFrame => "not an edge frame",
            Self::NotOurs => "edge frame of another deployment (does `secret` agree?)",
            Self::Unknown => "edge frame of an unknown kind",
        })
    }
}

impl std::error::Error for FrameError {}

impl EdgeFrame {
    /// Appends the frame to `out`.
    pub fn encode_into(&self, secret: &TokenSecret, out: &mut impl BufMut) {
        let mut words = [0_u8; 16];
        let (header, payload): ([u8; COVERED], &[u8]) = match self {
            Self::Inbound { source, offered_by, bytes } => {
                let flags = if offered_by.is_some() { FLAG_OFFERED } else { 0 };
                let site = offered_by.unwrap_or(SiteId(0));
                (header(INBOUND, flags, site, Some(*source)), bytes)
            }
            Self::Outbound { to, bytes } => (header(OUTBOUND, 0, SiteId(0), Some(*to)), bytes),
            Self::Ping { nonce } => {
                words[..8].copy_from_slice(&nonce.to_be_bytes());
                (header(PING, 0, SiteId(0), None), &words[..8])
            }
            Self::Pong { nonce, engine, serving } => {
                words[..8].copy_from_slice(&nonce.to_be_bytes());
                words[8..].copy_from_slice(&engine.0.to_be_bytes());
                let flags = if *serving { FLAG_SERVING } else { 0 };
                (header(PONG, flags, SiteId(0), None), &words)
            }
            Self::Bounce { source, to, bytes } => (header(BOUNCE, 0, *to, Some(*source)), bytes),
        };
        out.put_slice(&header);
        out.put_u64(mac(secret, &header, payload));
        out.put_slice(payload);
    }

    /// The frame as one datagram.
    #[must_use]
    pub fn encode(&self, secret: &TokenSecret) -> Bytes {
        let payload = match self {
            Self::Inbound { bytes, .. }
            | Self::Outbound { bytes, .. }
            | Self::Bounce { bytes, .. } => bytes.len(),
            Self::Ping { .. } | Self::Pong { .. } => 16,
        };
        let mut out = Vec::with_capacity(HEADER_BYTES + payload);
        self.encode_into(secret, &mut out);
        Bytes::from(out)
    }

    /// Reads a datagram of the inner socket; the payload is a slice of `bytes`.
    pub fn decode(bytes: &Bytes, secret: &TokenSecret) -> Result<Self, FrameError> {
        let Some((header, rest)) = bytes.split_first_chunk::<COVERED>() else {
            return Err(FrameError::NotAFrame);
        };
        let Some((sent_mac, payload)) = rest.split_first_chunk::<8>() else {
            return Err(FrameError::NotAFrame);
        };
        if !header.starts_with(MAGIC) {
            return Err(FrameError::NotAFrame);
        }
        if mac(secret, header, payload) != u64::from_be_bytes(*sent_mac) {
            return Err(FrameError::NotOurs);
        }
        let message = || bytes.slice(HEADER_BYTES..);
        let peer = || peer_of(header).ok_or(FrameError::Unknown);
        let flags = header[5];
        let site = SiteId(u16::from_be_bytes([header[6], header[7]]));
        match header[4] {
            INBOUND => {
                let offered_by = (flags & FLAG_OFFERED != 0).then_some(site);
                Ok(Self::Inbound { source: peer()?, offered_by, bytes: message() })
            }
            OUTBOUND => Ok(Self::Outbound { to: peer()?, bytes: message() }),
            BOUNCE => Ok(Self::Bounce { source: peer()?, to: site, bytes: message() }),
            PING => {
                let nonce = word(payload, 0).ok_or(FrameError::Unknown)?;
                Ok(Self::Ping { nonce })
            }
            PONG => {
                let nonce = word(payload, 0).ok_or(FrameError::Unknown)?;
                let engine = EngineId(word(payload, 8).ok_or(FrameError::Unknown)?);
                Ok(Self::Pong { nonce, engine, serving: flags & FLAG_SERVING != 0 })
            }
            _ => Err(FrameError::Unknown),
        }
    }
}

fn header(kind: u8, flags: u8, site: SiteId, peer: Option<SocketAddr>) -> [u8; COVERED] {
    let mut header = [0; COVERED];
    header[..4].copy_from_slice(MAGIC);
    header[4] = kind;
    header[5] = flags;
    header[6..8].copy_from_slice(&site.0.to_be_bytes());
    if let Some(peer) = peer {
        header[9..11].copy_from_slice(&peer.port().to_be_bytes());
        // A dual-stack socket reports IPv4 peers as mapped addresses; one peer has one form here.
        match peer.ip().to_canonical() {
            IpAddr::V4(ip) => {
                header[8] = 4;
                header[11..15].copy_from_slice(&ip.octets());
            }
            IpAddr::V6(ip) => {
                header[8] = 6;
                header[11..27].copy_from_slice(&ip.octets());
            }
        }
    }
    header
}

fn peer_of(header: &[u8; COVERED]) -> Option<SocketAddr> {
    let port = u16::from_be_bytes([header[9], header[10]]);
    let mut octets = [0; 16];
    octets.copy_from_slice(&header[11..27]);
    match header[8] {
        4 => {
            let ip = Ipv4Addr::new(octets[0], octets[1], octets[2], octets[3]);
            Some(SocketAddr::from((ip, port)))
        }
        6 => Some(SocketAddr::from((Ipv6Addr::from(octets), port))),
        _ => None,
    }
}

fn word(payload: &[u8], at: usize) -> Option<u64> {
    let bytes = payload.get(at..)?.first_chunk::<8>()?;
    Some(u64::from_be_bytes(*bytes))
}

fn mac(secret: &TokenSecret, header: &[u8; COVERED], payload: &[u8]) -> u64 {
    let length = (payload.len() as u64).to_be_bytes();
    let control: &[u8] = match header[4] {
        PING | PONG => payload,
        _ => &[],
    };
    secret.authenticate(&[header, &length, control])
}

#[cfg(test)]
mod tests;
