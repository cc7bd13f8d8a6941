//! The SIP door of an engine: plain datagrams, or framed ones from balancers.
//!
//! A balancer's ping is answered here with what the gate last said of this site and of others;
//! datagrams go out by a balancer that was heard of late, so that they leave from the address that
//! the outside knows.

use std::net::SocketAddr;
use std::time::Duration;

use balancer::EdgeFrame;
use bytes::Bytes;
use vocab::{EngineId, Instant, SiteId, TokenSecret};

use crate::udp::Udp;

/// A balancer that pinged within this time is used before others.
const HEARD_WITHIN: Duration = Duration::from_secs(1);

pub(crate) struct SipDoor {
    udp: Udp,
    mode: Mode,
    /// Frames that were not a balancer's.
    bad_frames: u64,
}

enum Mode {
    Direct,
    Framed { secret: TokenSecret, engine: EngineId, balancers: Vec<BalancerSeen> },
}

struct BalancerSeen {
    address: SocketAddr,
    heard_at: Option<Instant>,
}

impl SipDoor {
    pub(crate) fn direct(udp: Udp) -> Self {
        Self { udp, mode: Mode::Direct, bad_frames: 0 }
    }

    pub(crate) fn framed(
        udp: Udp,
        secret: TokenSecret,
        engine: EngineId,
        balancers: &[SocketAddr],
    ) -> Self {
        let seen = |address: &SocketAddr| BalancerSeen { address: *address, heard_at: None };
        let balancers = balancers.iter().map(seen).collect();
        Self { udp, mode: Mode::Framed { secret, engine, balancers }, bad_frames: 0 }
    }

    /// Whether balancers are in front, who can be told where not to send.
    pub(crate) fn is_framed(&self) -> bool {
        match &self.mode {
            Mode::Direct => false,
            Mode::Framed { .. } => true,
        }
    }

    pub(crate) async fn ready(&self) {
        self.udp.ready().await;
    }

    pub(crate) fn flush(&mut self) {
        self.udp.flush();
    }

    pub(crate) fn bad_frames(&self) -> u64 {
        self.bad_frames
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.udp.dropped()
    }

    /// Takes what waits; says how many datagrams it took.
    pub(crate) fn receive(
        &mut self,
        now: Instant,
        serving: bool,
        peers: &[(SiteId, bool)],
        mut take: impl FnMut(engine::Input),
    ) -> usize {
        let Mode::Framed { secret, engine, balancers } = &mut self.mode else {
            return self.udp.receive(|source, bytes| {
                take(engine::Input::Datagram { source, bytes, offered_by: None });
            });
        };
        let mut pongs = Vec::new();
        let mut bad = 0;
        let count = self.udp.receive(|from, bytes| match EdgeFrame::decode(&bytes, secret) {
            Ok(EdgeFrame::Inbound { source, offered_by, bytes }) => {
                take(engine::Input::Datagram { source, bytes, offered_by });
            }
            Ok(EdgeFrame::Ping { nonce }) => {
                if let Some(seen) = balancers.iter_mut().find(|seen| seen.address == from) {
                    seen.heard_at = Some(now);
                    let (engine, peers) = (*engine, peers.to_vec());
                    let pong = EdgeFrame::Pong { nonce, engine, serving, peers };
                    pongs.push((from, pong.encode(secret)));
                } else {
                    bad += 1;
                }
            }
            Ok(
                EdgeFrame::Outbound { .. }
                | EdgeFrame::Pong { .. }
                | EdgeFrame::Bounce { .. }
                | EdgeFrame::Report(_),
            )
            | Err(_) => bad += 1,
        });
        self.bad_frames += bad;
        for (to, pong) in pongs {
            self.udp.send(to, pong);
        }
        count
    }

    /// Sends a SIP message outside.
    pub(crate) fn transmit(&mut self, now: Instant, to: SocketAddr, bytes: Bytes) {
        match &self.mode {
            Mode::Direct => self.udp.send(to, bytes),
            Mode::Framed { .. } => self.frame(now, to, EdgeFrame::Outbound { to, bytes }),
        }
    }

    /// Gives an offered message back to a balancer. Nothing is offered in direct mode.
    pub(crate) fn bounce(&mut self, now: Instant, source: SocketAddr, to: SiteId, bytes: Bytes) {
        self.frame(now, source, EdgeFrame::Bounce { source, to, bytes });
    }

    fn frame(&mut self, now: Instant, peer: SocketAddr, frame: EdgeFrame) {
        let Mode::Framed { secret, balancers, .. } = &self.mode else { return };
        let heard = |seen: &&BalancerSeen| {
            seen.heard_at.is_some_and(|heard_at| now.since(heard_at) <= HEARD_WITHIN)
        };
        let alive = balancers.iter().filter(heard).count();
        // One peer keeps one balancer while the set stays the same.
        let spread = usize::from(peer.port());
        let chosen = if alive > 0 {
            balancers.iter().filter(heard).nth(spread % alive)
        } else {
            balancers.get(spread % balancers.len().max(1))
        };
        if let Some(seen) = chosen {
            self.udp.send(seen.address, frame.encode(secret));
        }
    }
}
