//! The datagrams between a balancer and the engines behind it: a fixed header, then a SIP message.
//!
//! ```text
//! 0     4    5     6    8      9    11        27    35
//! "RHE1"|kind|flags|site|family|port|address   |MAC  |payload untouched
//! ```
//! The MAC covers the header and the payload's length (and the payload of a ping, a pong or a
//! report, which is short): it proves that a peer of this deployment wrote the header. It does not
//! protect the SIP message, which came over an open network in the first place.
//!
//! Deliberately absent: sequence numbers, but for reports, and repetition. Loss here is loss on the
//! wire to SIP.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

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
const REPORT: u8 = 6;

/// Bytes of a witness's name.
pub const WITNESS_NAME_MAX: usize = 32;
/// Sites that a pong or a report tells of; further ones are left out.
const SITES_MAX: usize = 256;
/// Bytes of a pong before its sites.
const PONG_BYTES: usize = 16;

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
        /// Other sites, and whether their words arrive at this one. Those are left out of which it
        /// knows nothing.
        peers: Vec<(SiteId, bool)>,
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
    /// Witness to balancer: what its probes came to.
    Report(Report),
}

/// What a witness says of the sites.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Its name, [`WITNESS_NAME_MAX`] bytes at most.
    pub witness: String,
    /// Grows with each start of the witness.
    pub life: u64,
    /// Grows with each report of one life: an old one that comes again is refused.
    pub number: u64,
    /// How long it is worth anything.
    pub valid_for: Duration,
    /// Whether each site answered the last probe.
    pub sites: Vec<(SiteId, bool)>,
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
        let mut words = Vec::new();
        let (header, payload): ([u8; COVERED], &[u8]) = match self {
            Self::Inbound { source, offered_by, bytes } => {
                let flags = if offered_by.is_some() { FLAG_OFFERED } else { 0 };
                let site = offered_by.unwrap_or(SiteId(0));
                (header(INBOUND, flags, site, Some(*source)), bytes)
            }
            Self::Outbound { to, bytes } => (header(OUTBOUND, 0, SiteId(0), Some(*to)), bytes),
            Self::Ping { nonce } => {
                words.put_u64(*nonce);
                (header(PING, 0, SiteId(0), None), &words)
            }
            Self::Pong { nonce, engine, serving, peers } => {
                words.put_u64(*nonce);
                words.put_u64(engine.0);
                put_sites(peers, &mut words);
                let flags = if *serving { FLAG_SERVING } else { 0 };
                (header(PONG, flags, SiteId(0), None), &words)
            }
            Self::Bounce { source, to, bytes } => (header(BOUNCE, 0, *to, Some(*source)), bytes),
            Self::Report(report) => {
                report.put(&mut words);
                (header(REPORT, 0, SiteId(0), None), &words)
            }
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
            Self::Ping { .. } | Self::Pong { .. } | Self::Report(_) => 64,
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
                // Engines of an earlier release say nothing of other sites.
                let peers = sites_in(payload.get(PONG_BYTES..).unwrap_or_default());
                Ok(Self::Pong { nonce, engine, serving: flags & FLAG_SERVING != 0, peers })
            }
            REPORT => Report::read(payload).map(Self::Report).ok_or(FrameError::Unknown),
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

impl Report {
    /// ```text
    /// 0    8      16             20       21
    /// life|number|valid_for (ms)|name long|name|sites
    /// ```
    fn put(&self, out: &mut Vec<u8>) {
        out.put_u64(self.life);
        out.put_u64(self.number);
        out.put_u32(u32::try_from(self.valid_for.as_millis()).unwrap_or(u32::MAX));
        let name = self.witness.as_bytes();
        let name = &name[..name.len().min(WITNESS_NAME_MAX)];
        out.put_u8(u8::try_from(name.len()).unwrap_or_default());
        out.put_slice(name);
        put_sites(&self.sites, out);
    }

    fn read(payload: &[u8]) -> Option<Self> {
        let (life, number) = (word(payload, 0)?, word(payload, 8)?);
        let valid_for = u32::from_be_bytes(*payload.get(16..)?.first_chunk::<4>()?);
        let name_ends = 21 + usize::from(*payload.get(20)?);
        let name = payload.get(21..name_ends).filter(|name| name.len() <= WITNESS_NAME_MAX)?;
        Some(Self {
            witness: String::from_utf8(name.to_vec()).ok()?,
            life,
            number,
            valid_for: Duration::from_millis(valid_for.into()),
            sites: sites_in(payload.get(name_ends..)?),
        })
    }
}

/// Each site takes three bytes: its number, and whether it answers.
fn put_sites(sites: &[(SiteId, bool)], out: &mut Vec<u8>) {
    for (site, answers) in sites.iter().take(SITES_MAX) {
        out.put_u16(site.0);
        out.put_u8(u8::from(*answers));
    }
}

fn sites_in(bytes: &[u8]) -> Vec<(SiteId, bool)> {
    let of = |three: &[u8; 3]| (SiteId(u16::from_be_bytes([three[0], three[1]])), three[2] != 0);
    bytes.as_chunks::<3>().0.iter().take(SITES_MAX).map(of).collect()
}

fn word(payload: &[u8], at: usize) -> Option<u64> {
    let bytes = payload.get(at..)?.first_chunk::<8>()?;
    Some(u64::from_be_bytes(*bytes))
}

fn mac(secret: &TokenSecret, header: &[u8; COVERED], payload: &[u8]) -> u64 {
    let length = (payload.len() as u64).to_be_bytes();
    let control: &[u8] = match header[4] {
        PING | PONG | REPORT => payload,
        _ => &[],
    };
    secret.authenticate(&[header, &length, control])
}

#[cfg(test)]
mod tests;
