//! One message on its way to its call, with what the engine must remember of how it came.

use std::net::SocketAddr;

use bytes::Bytes;
use sip_message::{Message, Method};
use vocab::SiteId;

/// The way a message took to this engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// From outside.
    Outside,
    /// From outside; the edge offers it here first, and wants it back for this site if it fits
    /// nothing.
    Offered(SiteId),
    /// From this site's gate: another site forwarded it, so it is never forwarded again.
    Forwarded(SiteId),
}

/// What kind of message it is, as far as the engine cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A request that begins a call when there is none.
    Begins,
    /// Any other request but ACK.
    Request,
    /// ACK: never answered.
    Ack,
    /// 2xx to an INVITE.
    Answer,
    /// Any other response.
    Response,
}

/// One message on its way to its call.
#[derive(Clone, Debug)]
pub(crate) struct Arrival {
    pub(crate) message: Message,
    pub(crate) source: SocketAddr,
    /// The datagram as it came, for another site or the edge.
    pub(crate) raw: Bytes,
    pub(crate) origin: Origin,
    pub(crate) kind: Kind,
    /// A token of ours names the call, so that some site held it once.
    pub(crate) has_token: bool,
    /// Equal for repetitions of the same message (keyed: nobody outside can aim for it).
    pub(crate) identity: u64,
}

impl Arrival {
    /// Whether the call is sought at other sites when it is not here: one of ours was named, or
    /// the site that forwarded the message knows of it.
    pub(crate) fn is_sought(&self) -> bool {
        self.has_token || self.was_forwarded()
    }

    pub(crate) fn was_forwarded(&self) -> bool {
        match self.origin {
            Origin::Forwarded(_) => true,
            Origin::Outside | Origin::Offered(_) => false,
        }
    }

    /// The site that an offered message is given back for when no call here knows it.
    pub(crate) fn bounces_to(&self) -> Option<SiteId> {
        match self.origin {
            Origin::Offered(site) if !self.has_token => Some(site),
            Origin::Offered(_) | Origin::Outside | Origin::Forwarded(_) => None,
        }
    }

    /// Whether it may begin a call here.
    pub(crate) fn begins(&self) -> bool {
        self.kind == Kind::Begins && !self.is_sought()
    }

    /// Whether it asks for a registration that is not sought elsewhere.
    pub(crate) fn registers(&self) -> bool {
        let is_register = match &self.message {
            Message::Request(request) => request.method == Method::Register,
            Message::Response(_) => false,
        };
        is_register && self.begins()
    }

    /// Bytes that it counts for against the engine's bound.
    pub(crate) fn bytes(&self) -> usize {
        self.raw.len()
    }
}

/// Finds the kind of `message`; `has_token`: a token of ours names its call.
pub(crate) fn kind_of(message: &Message, has_token: bool) -> Kind {
    match message {
        Message::Request(request) => {
            let within = has_token || request.headers.to_tag().is_ok_and(|tag| tag.is_some());
            match request.method == Method::Ack {
                true => Kind::Ack,
                // RFC 3261 §9.1: a CANCEL belongs to the request that it cancels.
                false if within || request.method == Method::Cancel => Kind::Request,
                false => Kind::Begins,
            }
        }
        Message::Response(response) => {
            let to_invite = response.headers.cseq().is_ok_and(|cseq| cseq.method == Method::Invite);
            match response.status.is_success() && to_invite {
                true => Kind::Answer,
                false => Kind::Response,
            }
        }
    }
}
