//! What goes into a step and what comes out of it: closed enums.

use std::net::SocketAddr;

use bytes::Bytes;
use sip_message::{Request, Response};

use crate::Account;

/// A transport that messages travel on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    /// Datagrams: SIP repeats what may be lost.
    #[default]
    Udp,
}

/// Where a message came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    /// The peer's address.
    pub addr: SocketAddr,
}

/// Everything that can happen to a call. A message stays its owner's: what is kept of it shares its
/// bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input<'a> {
    /// A request; `received` and `rport` of its top Via are set already (RFC 3581 §4).
    Request {
        /// The request.
        request: &'a Request,
        /// Where it came from.
        source: Source,
    },
    /// A response to a request of ours.
    Response {
        /// The response.
        response: &'a Response,
        /// Where it came from.
        source: Source,
    },
    /// A deadline of the call has passed, or may have.
    Due,
    /// The call's home is this site from this step on.
    Activate,
}

/// Something that a step decided and that the world must not see before the state is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Send these bytes.
    Transmit {
        /// Where to.
        to: Destination,
        /// A whole message.
        bytes: Bytes,
    },
    /// Write this down. Behind all messages of the step.
    Account(Box<Account>),
}

/// Where a message is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// An address.
    Addr(SocketAddr),
    /// A name that the shell resolves.
    Host {
        /// The name.
        name: Bytes,
        /// The port.
        port: u16,
    },
}

/// What a step decided.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a step's effects are lost unless they are stored and sent"]
pub struct Step {
    /// In the order in which they are to be sent.
    pub effects: Vec<Effect>,
    /// Which section of the state differs from what it was.
    pub changed: Changed,
}

/// Which section of the state a step changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Changed {
    /// None: the stored state explains the effects already.
    Nothing,
    /// Only what another site does not need.
    Local,
    /// What another site needs.
    Crossing,
}
