//! The two doors of an engine: closed enums, so that a shell or a simulator sees all there is.

use std::net::SocketAddr;

use bytes::Bytes;
use call::Destination;
use tier_protocol::{Command, EngineWord, GateWord, PartitionView, Reply};
use vocab::{Instant, PartitionId, SiteId};

/// What reaches an engine.
#[derive(Clone, Debug)]
pub enum Input {
    /// A SIP datagram.
    Datagram {
        /// Who sent it, as the edge saw it.
        source: SocketAddr,
        /// The payload, untouched.
        bytes: Bytes,
        /// The edge offers it here first because this site served it before a route change; a
        /// request without a token that finds no call here goes back, for this site.
        offered_by: Option<SiteId>,
    },
    /// A partition's word.
    Reply {
        /// The partition.
        partition: PartitionId,
        /// The word.
        reply: Reply,
    },
    /// The link to a partition works (again). Partitions count as reachable from the start.
    TierUp {
        /// The partition.
        partition: PartitionId,
    },
    /// The link to a partition broke: its locks are lost, and so are the turns that had or awaited
    /// them.
    TierDown {
        /// The partition.
        partition: PartitionId,
    },
    /// A partition's view changed.
    NewView(PartitionView),
    /// The gate's word.
    Gate(GateWord),
    /// Takes no calls that begin while `true`.
    Drain(bool),
    /// The instant of the last `WakeAt` has come.
    Wake,
}

/// What an engine wants done.
#[derive(Clone, Debug)]
pub enum Output {
    /// Send this datagram.
    Transmit {
        /// Where to.
        to: Destination,
        /// The payload.
        bytes: Bytes,
    },
    /// Tell a partition.
    Command {
        /// The partition.
        partition: PartitionId,
        /// The word.
        command: Command,
    },
    /// Tell this site's gate.
    Gate(EngineWord),
    /// Hand an offered datagram back to the edge, for another site.
    Bounce {
        /// Who sent it.
        source: SocketAddr,
        /// The payload, untouched.
        bytes: Bytes,
        /// The site it is for.
        to: SiteId,
    },
    /// Nothing more to do until then (or until an input comes): ends the drain.
    WakeAt(Instant, Reason),
}

/// What the next wake is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// Nothing waits; the instant is `Instant::NEVER`.
    Idle,
    /// A lock that was asked for.
    Lock,
    /// A put that is to be stored: its lock's lease is renewed.
    Store,
    /// A call that may be on its way here from another site.
    Seek,
    /// Another site's answer.
    Pull,
}
