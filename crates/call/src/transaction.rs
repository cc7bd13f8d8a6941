//! The four transaction machines of RFC 3261 §17 as RFC 6026 corrects them, and what they share.
//!
//! A machine is plain data: a state enum, deadlines, and the bytes to send again. Bytes to send and
//! what the call must hear come back from each step as a value; nothing here knows a socket, a
//! dialog or an application, and nothing here reads a clock. Transport errors (§17.1.4, §17.2.4)
//! are deliberately absent: UDP reports none that can be trusted, and the timers cover the rest.
//!
//! | machine | file | RFC |
//! |---|---|---|
//! | [`InviteClient`] | `invite_client` | 3261 §17.1.1, 6026 §7.2 |
//! | [`InviteServer`] | `invite_server` | 3261 §17.2.1, 6026 §7.1 |
//! | [`Client`] | `client` | 3261 §17.1.2 |
//! | [`Server`] | `server` | 3261 §17.2.2, 4320 §4 |
//! | [`Unacknowledged`] | `unacknowledged` | 3261 §13.3.1.4 (the UAS core's, not a transaction) |

use std::time::Duration;

use bytes::Bytes;
use vocab::Instant;

use crate::Destination;

pub(crate) mod client;
pub(crate) mod derive;
pub(crate) mod invite_client;
pub(crate) mod invite_server;
pub(crate) mod key;
pub(crate) mod server;
#[cfg(test)]
mod tests;
pub(crate) mod unacknowledged;

pub(crate) use client::Client;
pub(crate) use derive::{ack_of_failure, cancel_of};
pub(crate) use invite_client::InviteClient;
pub(crate) use invite_server::InviteServer;
pub(crate) use key::{ClientKey, ServerKey};
pub(crate) use server::Server;
pub(crate) use unacknowledged::Unacknowledged;

/// The timer values of RFC 3261 table 4, and the longest that a callee may ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SipTimers {
    /// T1: the estimate of the round-trip time.
    pub t1: Duration,
    /// T2: the longest interval between two non-INVITE requests or two INVITE responses.
    pub t2: Duration,
    /// T4: the longest that a message stays in the network.
    pub t4: Duration,
    /// An INVITE of ours that has no final answer after this long is cancelled.
    pub ring_max: Duration,
}

impl Default for SipTimers {
    fn default() -> Self {
        Self {
            t1: Duration::from_millis(500),
            t2: Duration::from_secs(4),
            t4: Duration::from_secs(5),
            ring_max: Duration::from_secs(180),
        }
    }
}

impl SipTimers {
    /// 64*T1: timers B, F, H, J, L and M, and the patience of a UAS that waits for an ACK.
    #[must_use]
    pub fn patience(&self) -> Duration {
        self.t1 * 64
    }

    /// Timer D over UDP: "at least 32 seconds" (§17.1.1.2), which is 64*T1 with the default T1.
    #[must_use]
    pub fn absorb_responses(&self) -> Duration {
        self.patience()
    }

    /// The time "it takes a client transaction's Timer E to be reset to T2" (RFC 4320 §4.1): the
    /// sum of the intervals before the first one of T2. 3.5 s with the default values.
    #[must_use]
    pub fn before_trying(&self) -> Duration {
        let (mut sum, mut interval) = (Duration::ZERO, self.t1.max(Duration::from_millis(1)));
        while interval < self.t2 {
            sum += interval;
            interval *= 2;
        }
        sum
    }
}

/// Whether the transport repeats what was lost, so that the transaction need not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reliability {
    /// UDP: the machines send again, and linger to absorb what the peer sends again.
    Unreliable,
    /// TCP, TLS and the like: nothing is sent again and nothing lingers.
    Reliable,
}

impl Reliability {
    /// When to send again, if ever (timers A, E and G).
    fn again_at(self, at: Instant) -> Option<Instant> {
        match self {
            Self::Unreliable => Some(at),
            Self::Reliable => None,
        }
    }
}

/// Bytes and where they go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Packet {
    pub(crate) to: Destination,
    pub(crate) bytes: Bytes,
}

/// When bytes are sent again, and how long the interval is that ends then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Repeat {
    /// When to send again; `None` over a reliable transport.
    pub(crate) at: Option<Instant>,
    /// The interval that ends at `at`.
    pub(crate) interval: Duration,
}

impl Repeat {
    fn first(reliability: Reliability, now: Instant, interval: Duration) -> Self {
        Self { at: reliability.again_at(now + interval), interval }
    }

    fn is_due(&self, now: Instant) -> bool {
        self.at.is_some_and(|at| at <= now)
    }

    /// The next repetition, `interval` from `now`.
    fn next(&self, now: Instant, interval: Duration) -> Self {
        Self { at: self.at.map(|_| now + interval), interval }
    }
}

/// What a machine tells the call: the transaction user of RFC 3261 §5.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The response that was the input is for the transaction user. A repeated 2xx comes each time.
    Response,
    /// The ACK that was the input acknowledges a 2xx (RFC 6026): it is the transaction user's.
    Ack,
    /// No final response came in time (timer B or F).
    Timeout,
    /// No ACK came for a final response (timer H, or the last repetition of a 2xx).
    NoAck,
}

/// What one step of a machine decided. At most one packet and one event come out of a step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "an outcome holds what must be sent and told"]
pub(crate) struct Outcome {
    pub(crate) send: Option<Packet>,
    pub(crate) event: Option<Event>,
    /// The machine differs from what it was before the step. A repetition that is answered with
    /// stored bytes changes nothing, and needs no put.
    pub(crate) changed: bool,
}

impl Outcome {
    /// Nothing sent, nothing told, nothing changed.
    fn nothing() -> Self {
        Self::default()
    }

    /// Only the state changed.
    fn changed() -> Self {
        Self { changed: true, ..Self::default() }
    }

    fn tell(event: Event) -> Self {
        Self { event: Some(event), ..Self::default() }
    }

    fn send(to: &Destination, bytes: &Bytes) -> Self {
        let packet = Packet { to: to.clone(), bytes: bytes.clone() };
        Self { send: Some(packet), ..Self::default() }
    }

    fn and_changed(self) -> Self {
        Self { changed: true, ..self }
    }

    fn and_tell(self, event: Event) -> Self {
        Self { event: Some(event), ..self }
    }
}

/// The earlier of two deadlines, either of which may be absent.
fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
