//! The two doors of an engine: closed enums, so that a shell or a simulator sees all there is.

use std::net::SocketAddr;

use bytes::Bytes;
use call::{Account, Destination};
use tier_protocol::{Command, EngineWord, GateWord, PartitionView, Reply};
use vocab::{Epoch, Instant, PartitionId, ReplicaId, SiteId, ViewNumber};

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
    /// A replica's word.
    Reply {
        /// The replica.
        from: ReplicaId,
        /// The view in which it was said.
        view: ViewNumber,
        /// The word.
        reply: Reply,
    },
    /// The link to a replica works (again). Replicas count as reachable from the start.
    TierUp {
        /// The replica.
        replica: ReplicaId,
    },
    /// The link to a replica broke: the locks that it keeps are lost. Where it serves alone, so are
    /// the turns that had or awaited them; else they go on in another view, or when it is back.
    TierDown {
        /// The replica.
        replica: ReplicaId,
    },
    /// A partition's view, told before any word that is said in it.
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
#[expect(clippy::large_enum_variant, reason = "moved once, and most are commands")]
pub enum Output {
    /// Send this datagram.
    Transmit {
        /// Where to.
        to: Destination,
        /// The payload.
        bytes: Bytes,
    },
    /// Write down that a call ended. The same record may come again, here or elsewhere.
    Account {
        /// The record.
        account: Box<Account>,
        /// The home epoch of the state that it was decided on: tells records with one id apart that
        /// were made at two sites which did not hear each other.
        epoch: Epoch,
    },
    /// Tell a replica.
    Command {
        /// The replica.
        to: ReplicaId,
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
    /// Other members of the view that are to confirm it.
    Confirm,
    /// A put that is to be stored: its lock's lease is renewed.
    Store,
    /// A call that may be on its way here from another site.
    Seek,
    /// Another site's answer.
    Pull,
}
