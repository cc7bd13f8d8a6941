//! Schema 1 of the effects that were decided and not released: a put is also an outbox. A message
//! that a transaction holds anyway is written once.

use std::net::IpAddr;

use bytes::Bytes;
use servlet::EndReason;
use sip_message::StatusCode;
use vocab::CallKey;

use super::writer::Writer;
use super::{Clock, DecodeError, narrow};
use crate::Destination;
use crate::local::{ClientMachine, Local, ServerMachine};
use crate::transaction::{invite_client, invite_server, server};

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Effect {
    #[prost(message, optional, tag = "1")]
    to: Option<Peer>,
    /// The message, unless a transaction holds it.
    #[prost(bytes = "bytes", optional, tag = "2")]
    bytes: Option<Bytes>,
    /// Which of the stored messages it is, in the order of [`stored`].
    #[prost(uint32, tag = "3")]
    stored: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Account {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
    #[prost(uint32, tag = "2")]
    salt: u32,
    #[prost(uint32, tag = "3")]
    leg: u32,
    #[prost(bytes = "bytes", tag = "4")]
    from: Bytes,
    #[prost(bytes = "bytes", tag = "5")]
    to: Bytes,
    #[prost(bytes = "bytes", tag = "6")]
    call_id: Bytes,
    #[prost(sint64, tag = "7")]
    begun_at: i64,
    #[prost(sint64, optional, tag = "8")]
    answered_at: Option<i64>,
    #[prost(sint64, tag = "9")]
    ended_at: i64,
    /// 0: BYE, 1: cancelled, 2: failed, 3: expired, 4: lost, 5: by the application.
    #[prost(uint32, tag = "10")]
    why: u32,
    /// Of a failure.
    #[prost(uint32, tag = "11")]
    status: u32,
}

/// A destination: an address of 4 or 16 bytes, or a name.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Peer {
    #[prost(bytes = "bytes", tag = "1")]
    addr: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    name: Bytes,
    #[prost(uint32, tag = "3")]
    port: u32,
}

/// Every message that the local section holds, in the order in which it is written.
pub(super) fn stored(local: &Local) -> Vec<&Bytes> {
    let mut all = Vec::new();
    for serving in &local.servings {
        match &serving.machine {
            ServerMachine::Invite(machine) => match &machine.state {
                invite_server::State::Proceeding { last } => all.extend(last),
                invite_server::State::Completed { last, .. } => all.push(last),
                invite_server::State::Accepted { .. }
                | invite_server::State::Confirmed { .. }
                | invite_server::State::Terminated => {}
            },
            ServerMachine::Other(machine) => match &machine.state {
                server::State::Proceeding { last, .. } | server::State::Completed { last, .. } => {
                    all.push(last);
                }
                server::State::Trying { .. } | server::State::Terminated => {}
            },
        }
        all.extend(serving.unacknowledged.as_ref().map(|waiting| &waiting.response.bytes));
    }
    for asking in &local.askings {
        all.push(&asking.request().bytes);
        match &asking.machine {
            ClientMachine::Invite(machine) => match &machine.state {
                invite_client::State::Completed { ack, .. } => all.extend(ack),
                invite_client::State::Calling { .. }
                | invite_client::State::Proceeding
                | invite_client::State::Accepted { .. }
                | invite_client::State::Terminated => {}
            },
            ClientMachine::Other(_) => {}
        }
        all.extend(asking.acks.iter().map(|acked| &acked.packet.bytes));
    }
    all
}

/// A message, as field 4 of the local section.
pub(super) fn encode(effect: &crate::Effect, stored: &[&Bytes], out: &mut Writer) {
    match effect {
        crate::Effect::Transmit { to, bytes } => out.message(4, |out| {
            out.message(1, |out| encode_peer(to, out));
            let held = stored.iter().position(|held| *held == bytes);
            match held.and_then(|at| u32::try_from(at).ok()) {
                Some(at) => out.uint(3, at),
                None => out.optional_bytes(2, Some(bytes)),
            }
        }),
        crate::Effect::Account(_) => {}
    }
}

/// As field 7 of the local section.
pub(super) fn encode_account(effect: &crate::Effect, clock: Clock, out: &mut Writer) {
    let account = match effect {
        crate::Effect::Transmit { .. } => return,
        crate::Effect::Account(account) => account,
    };
    out.message(7, |out| {
        out.bytes(1, &account.key.0);
        out.uint(2, account.salt);
        out.uint(3, account.leg);
        out.bytes(4, &account.from);
        out.bytes(5, &account.to);
        out.bytes(6, &account.call_id);
        out.sint(7, clock.encode(account.begun_at));
        out.optional_sint(8, account.answered_at.map(|at| clock.encode(at)));
        out.sint(9, clock.encode(account.ended_at));
        let (why, status) = match account.why {
            EndReason::Bye => (0_u32, 0),
            EndReason::Cancelled => (1, 0),
            EndReason::Failed(status) => (2, status.code()),
            EndReason::Expired => (3, 0),
            EndReason::Lost => (4, 0),
            EndReason::Ended => (5, 0),
        };
        out.uint(10, why);
        out.uint(11, status);
    });
}

pub(super) fn decode_account(account: Account, clock: Clock) -> Result<crate::Effect, DecodeError> {
    let malformed = DecodeError::Malformed;
    let key = <[u8; 16]>::try_from(&account.key[..]).map_err(|_| malformed("key of an account"))?;
    let status = || {
        let code = u16::try_from(account.status).ok();
        code.and_then(StatusCode::new).ok_or(malformed("status of an account"))
    };
    let why = match account.why {
        0 => EndReason::Bye,
        1 => EndReason::Cancelled,
        2 => EndReason::Failed(status()?),
        3 => EndReason::Expired,
        4 => EndReason::Lost,
        5 => EndReason::Ended,
        _ => return Err(malformed("end of an account")),
    };
    Ok(crate::Effect::Account(Box::new(crate::Account {
        key: CallKey(key),
        salt: account.salt,
        leg: narrow(account.leg, "leg of an account")?,
        from: account.from,
        to: account.to,
        call_id: account.call_id,
        begun_at: clock.decode(account.begun_at),
        answered_at: account.answered_at.map(|at| clock.decode(at)),
        ended_at: clock.decode(account.ended_at),
        why,
    })))
}

pub(super) fn encode_peer(to: &Destination, out: &mut Writer) {
    let port = match to {
        Destination::Addr(addr) => {
            match addr.ip() {
                IpAddr::V4(ip) => out.bytes(1, &ip.octets()),
                IpAddr::V6(ip) => out.bytes(1, &ip.octets()),
            }
            addr.port()
        }
        Destination::Host { name, port } => {
            out.bytes(2, name);
            *port
        }
    };
    out.uint(3, port);
}

pub(super) fn decode(effect: Effect, stored: &[&Bytes]) -> Result<crate::Effect, DecodeError> {
    let to = effect.to.ok_or(DecodeError::Malformed("peer of an effect"))?.try_into()?;
    let bytes = match effect.bytes {
        Some(bytes) => bytes,
        None => {
            let at = usize::try_from(effect.stored).ok();
            let held = at.and_then(|at| stored.get(at));
            Bytes::clone(held.ok_or(DecodeError::Malformed("message of an effect"))?)
        }
    };
    Ok(crate::Effect::Transmit { to, bytes })
}

impl TryFrom<Peer> for Destination {
    type Error = DecodeError;

    fn try_from(peer: Peer) -> Result<Self, DecodeError> {
        let port = narrow(peer.port, "port")?;
        if peer.addr.is_empty() {
            return Ok(Self::Host { name: peer.name, port });
        }
        if let Ok(octets) = <[u8; 4]>::try_from(&peer.addr[..]) {
            return Ok(Self::Addr((IpAddr::from(octets), port).into()));
        }
        let octets = <[u8; 16]>::try_from(&peer.addr[..]);
        let octets = octets.map_err(|_| DecodeError::Malformed("address"))?;
        Ok(Self::Addr((IpAddr::from(octets), port).into()))
    }
}
