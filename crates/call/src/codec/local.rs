//! Schema 1 of the section that stays: transactions with the bytes they may send again.

use std::time::Duration;

use bytes::Bytes;
use sip_message::Method;
use vocab::SiteId;

use super::outbox::{self, Effect, Peer};
use super::{Clock, DecodeError, narrow};
use crate::local::{self as model, Acked, Cancel, ClientMachine, Purpose, ServerMachine};
use crate::transaction::key::ServerId;
use crate::transaction::{
    Client, ClientKey, InviteClient, InviteServer, Packet, Reliability, Repeat, Server, ServerKey,
    Unacknowledged, client, invite_client, invite_server, server,
};

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Local {
    #[prost(uint32, tag = "1")]
    next_serving: u32,
    #[prost(message, repeated, tag = "2")]
    servings: Vec<Serving>,
    #[prost(message, repeated, tag = "3")]
    askings: Vec<Asking>,
    #[prost(message, repeated, tag = "4")]
    unreleased: Vec<Effect>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Serving {
    #[prost(uint32, tag = "1")]
    id: u32,
    #[prost(message, optional, tag = "2")]
    key: Option<RequestKey>,
    #[prost(message, optional, tag = "3")]
    to: Option<Peer>,
    #[prost(message, optional, tag = "4")]
    machine: Option<Machine>,
    #[prost(uint32, optional, tag = "5")]
    leg: Option<u32>,
    #[prost(uint32, tag = "6")]
    fork: u32,
    #[prost(uint32, tag = "7")]
    application: u32,
    #[prost(uint32, tag = "8")]
    cseq: u32,
    #[prost(bytes = "bytes", tag = "9")]
    call_id: Bytes,
    #[prost(bytes = "bytes", tag = "10")]
    from_tag: Bytes,
    #[prost(bool, tag = "11")]
    is_initial: bool,
    #[prost(uint32, tag = "12")]
    tag: u32,
    #[prost(uint32, tag = "13")]
    site: u32,
    #[prost(bytes = "bytes", optional, tag = "14")]
    request: Option<Bytes>,
    #[prost(message, optional, tag = "15")]
    unacknowledged: Option<Waiting>,
    #[prost(bool, tag = "16")]
    is_deferred: bool,
    #[prost(sint64, optional, tag = "17")]
    deferred_until: Option<i64>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RequestKey {
    #[prost(bytes = "bytes", tag = "1")]
    method: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    branch: Bytes,
    #[prost(bytes = "bytes", tag = "3")]
    sent_by: Bytes,
    /// Present for a peer of RFC 2543; `branch` and `sent_by` are empty then.
    #[prost(message, optional, tag = "4")]
    old: Option<OldKey>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct OldKey {
    #[prost(bytes = "bytes", tag = "1")]
    uri: Bytes,
    #[prost(bytes = "bytes", optional, tag = "2")]
    to_tag: Option<Bytes>,
    #[prost(bytes = "bytes", optional, tag = "3")]
    from_tag: Option<Bytes>,
    #[prost(bytes = "bytes", tag = "4")]
    call_id: Bytes,
    #[prost(uint32, tag = "5")]
    cseq: u32,
    #[prost(bytes = "bytes", tag = "6")]
    via: Bytes,
}

/// Where a machine stands. Which fields count depends on the kind of machine and on `state`, the
/// number of the state in the order of its diagram.
#[derive(Clone, PartialEq, prost::Message)]
struct Machine {
    #[prost(uint32, tag = "1")]
    state: u32,
    #[prost(bytes = "bytes", optional, tag = "2")]
    stored: Option<Bytes>,
    #[prost(message, optional, tag = "3")]
    repeat: Option<Repeated>,
    #[prost(sint64, tag = "4")]
    first_at: i64,
    #[prost(sint64, tag = "5")]
    end_at: i64,
    #[prost(bool, tag = "6")]
    is_reliable: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Repeated {
    #[prost(sint64, optional, tag = "1")]
    at: Option<i64>,
    #[prost(uint64, tag = "2")]
    interval_ns: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Waiting {
    #[prost(message, optional, tag = "1")]
    response: Option<Sent>,
    #[prost(message, optional, tag = "2")]
    repeat: Option<Repeated>,
    #[prost(sint64, tag = "3")]
    give_up_at: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Sent {
    #[prost(message, optional, tag = "1")]
    to: Option<Peer>,
    #[prost(bytes = "bytes", tag = "2")]
    bytes: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Asking {
    #[prost(uint32, tag = "1")]
    branch: u32,
    #[prost(bytes = "bytes", tag = "2")]
    method: Bytes,
    #[prost(message, optional, tag = "3")]
    request: Option<Sent>,
    #[prost(message, optional, tag = "4")]
    machine: Option<Machine>,
    #[prost(uint32, tag = "5")]
    leg: u32,
    #[prost(uint32, tag = "6")]
    fork: u32,
    /// 0: ending, 1: refresh, 2: relay.
    #[prost(uint32, tag = "7")]
    purpose: u32,
    /// Of a relay.
    #[prost(uint32, tag = "8")]
    serving: u32,
    #[prost(uint32, tag = "9")]
    cseq: u32,
    #[prost(bool, tag = "10")]
    is_in_dialog: bool,
    /// 0: no, 1: wanted, 2: sent.
    #[prost(uint32, tag = "11")]
    cancel: u32,
    #[prost(sint64, optional, tag = "12")]
    give_up_at: Option<i64>,
    #[prost(message, repeated, tag = "13")]
    acks: Vec<Ack>,
    #[prost(bool, tag = "14")]
    is_acknowledged: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Ack {
    #[prost(bytes = "bytes", tag = "1")]
    tag: Bytes,
    #[prost(message, optional, tag = "2")]
    packet: Option<Sent>,
}

pub(super) fn encode(local: &model::Local, unreleased: &[crate::Effect], clock: Clock) -> Local {
    let stored = outbox::stored(local);
    Local {
        next_serving: local.next_serving.into(),
        servings: local.servings.iter().map(|serving| encode_serving(serving, clock)).collect(),
        askings: local.askings.iter().map(|asking| encode_asking(asking, clock)).collect(),
        unreleased: unreleased.iter().map(|effect| outbox::encode(effect, &stored)).collect(),
    }
}

pub(super) fn decode(
    local: Local,
    clock: Clock,
) -> Result<(model::Local, Vec<crate::Effect>), DecodeError> {
    let servings = local.servings.into_iter().map(|serving| decode_serving(serving, clock));
    let askings = local.askings.into_iter().map(|asking| decode_asking(asking, clock));
    let decoded = model::Local {
        next_serving: narrow(local.next_serving, "serving")?,
        servings: servings.collect::<Result<_, _>>()?,
        askings: askings.collect::<Result<_, _>>()?,
    };
    let stored = outbox::stored(&decoded);
    let effects = local.unreleased.into_iter().map(|effect| outbox::decode(effect, &stored));
    let effects = effects.collect::<Result<_, _>>()?;
    Ok((decoded, effects))
}

fn encode_serving(serving: &model::Serving, clock: Clock) -> Serving {
    let (to, machine) = match &serving.machine {
        ServerMachine::Invite(machine) => (&machine.to, encode_invite_server(machine, clock)),
        ServerMachine::Other(machine) => (&machine.to, encode_server(machine, clock)),
    };
    Serving {
        id: serving.id.into(),
        key: Some(encode_key(serving.key())),
        to: Some(Peer::from(to)),
        machine: Some(machine),
        leg: serving.leg.map(u32::from),
        fork: serving.fork.into(),
        application: serving.application.into(),
        cseq: serving.cseq,
        call_id: serving.call_id.clone(),
        from_tag: serving.from_tag.clone(),
        is_initial: serving.is_initial,
        tag: serving.tag.into(),
        site: serving.site.0.into(),
        request: serving.request.clone(),
        unacknowledged: serving.unacknowledged.as_ref().map(|waiting| Waiting {
            response: Some(encode_packet(&waiting.response)),
            repeat: Some(encode_repeat(&waiting.repeat, clock)),
            give_up_at: clock.encode(waiting.give_up_at),
        }),
        is_deferred: serving.is_deferred,
        deferred_until: serving.deferred_until.map(|at| clock.encode(at)),
    }
}

fn decode_serving(serving: Serving, clock: Clock) -> Result<model::Serving, DecodeError> {
    let key = decode_key(serving.key.ok_or(DecodeError::Malformed("key of a serving"))?);
    let to = serving.to.ok_or(DecodeError::Malformed("peer of a serving"))?.try_into()?;
    let machine = serving.machine.ok_or(DecodeError::Malformed("state of a serving"))?;
    let reliability = reliability(&machine);
    let machine = if key.method == Method::Invite {
        let state = decode_invite_server(machine, clock)?;
        ServerMachine::Invite(InviteServer { key, to, reliability, state })
    } else {
        let state = decode_server(machine, clock)?;
        ServerMachine::Other(Server { key, to, reliability, state })
    };
    Ok(model::Serving {
        id: narrow(serving.id, "serving")?,
        machine,
        leg: serving.leg.map(|leg| narrow(leg, "leg of a serving")).transpose()?,
        fork: narrow(serving.fork, "fork of a serving")?,
        application: narrow(serving.application, "application of a serving")?,
        cseq: serving.cseq,
        call_id: serving.call_id,
        from_tag: serving.from_tag,
        is_initial: serving.is_initial,
        tag: narrow(serving.tag, "tag of a serving")?,
        site: SiteId(narrow(serving.site, "site of a serving")?),
        request: serving.request,
        unacknowledged: serving
            .unacknowledged
            .map(|waiting| decode_waiting(waiting, clock))
            .transpose()?,
        is_deferred: serving.is_deferred,
        deferred_until: serving.deferred_until.map(|at| clock.decode(at)),
    })
}

fn decode_waiting(waiting: Waiting, clock: Clock) -> Result<Unacknowledged, DecodeError> {
    Ok(Unacknowledged {
        response: decode_packet(waiting.response)?,
        repeat: decode_repeat(waiting.repeat, clock)?,
        give_up_at: clock.decode(waiting.give_up_at),
    })
}

fn encode_key(key: &ServerKey) -> RequestKey {
    let method = Bytes::copy_from_slice(key.method.as_bytes());
    match &key.id {
        ServerId::Branch { branch, sent_by } => {
            let (branch, sent_by) = (branch.clone(), sent_by.clone());
            RequestKey { method, branch, sent_by, old: None }
        }
        ServerId::Rfc2543 { uri, to_tag, from_tag, call_id, cseq, via } => RequestKey {
            method,
            old: Some(OldKey {
                uri: uri.clone(),
                to_tag: to_tag.clone(),
                from_tag: from_tag.clone(),
                call_id: call_id.clone(),
                cseq: *cseq,
                via: via.clone(),
            }),
            ..RequestKey::default()
        },
    }
}

fn decode_key(key: RequestKey) -> ServerKey {
    let method = Method::parse(&key.method);
    let id = match key.old {
        None => ServerId::Branch { branch: key.branch, sent_by: key.sent_by },
        Some(OldKey { uri, to_tag, from_tag, call_id, cseq, via }) => {
            ServerId::Rfc2543 { uri, to_tag, from_tag, call_id, cseq, via }
        }
    };
    ServerKey { method, id }
}

fn encode_asking(asking: &model::Asking, clock: Clock) -> Asking {
    let machine = match &asking.machine {
        ClientMachine::Invite(machine) => encode_invite_client(machine, clock),
        ClientMachine::Other(machine) => encode_client(machine, clock),
    };
    let (purpose, serving) = match asking.purpose {
        Purpose::Ending => (0, 0),
        Purpose::Refresh => (1, 0),
        Purpose::Relay { serving } => (2, serving.into()),
    };
    Asking {
        branch: asking.branch().into(),
        method: Bytes::copy_from_slice(asking.method().as_bytes()),
        request: Some(encode_packet(asking.request())),
        machine: Some(machine),
        leg: asking.leg.into(),
        fork: asking.fork.into(),
        purpose,
        serving,
        cseq: asking.cseq,
        is_in_dialog: asking.is_in_dialog,
        cancel: match asking.cancel {
            Cancel::No => 0,
            Cancel::Wanted => 1,
            Cancel::Sent => 2,
        },
        give_up_at: asking.give_up_at.map(|at| clock.encode(at)),
        acks: asking
            .acks
            .iter()
            .map(|ack| Ack { tag: ack.tag.clone(), packet: Some(encode_packet(&ack.packet)) })
            .collect(),
        is_acknowledged: asking.is_acknowledged,
    }
}

fn decode_asking(asking: Asking, clock: Clock) -> Result<model::Asking, DecodeError> {
    let method = Method::parse(&asking.method);
    let is_invite = method == Method::Invite;
    let key = ClientKey { branch: narrow(asking.branch, "branch")?, method };
    let request = decode_packet(asking.request)?;
    let machine = asking.machine.ok_or(DecodeError::Malformed("state of an asking"))?;
    let reliability = reliability(&machine);
    let machine = if is_invite {
        let state = decode_invite_client(machine, clock)?;
        ClientMachine::Invite(InviteClient { key, request, reliability, state })
    } else {
        let state = decode_client(machine, clock)?;
        ClientMachine::Other(Client { key, request, reliability, state })
    };
    let acks = asking.acks.into_iter();
    let acks = acks.map(|ack| Ok(Acked { tag: ack.tag, packet: decode_packet(ack.packet)? }));
    Ok(model::Asking {
        machine,
        leg: narrow(asking.leg, "leg of an asking")?,
        fork: narrow(asking.fork, "fork of an asking")?,
        purpose: match asking.purpose {
            0 => Purpose::Ending,
            1 => Purpose::Refresh,
            2 => Purpose::Relay { serving: narrow(asking.serving, "serving of an asking")? },
            _ => return Err(DecodeError::Malformed("purpose of an asking")),
        },
        cseq: asking.cseq,
        is_in_dialog: asking.is_in_dialog,
        cancel: match asking.cancel {
            0 => Cancel::No,
            1 => Cancel::Wanted,
            2 => Cancel::Sent,
            _ => return Err(DecodeError::Malformed("cancelling of an asking")),
        },
        give_up_at: asking.give_up_at.map(|at| clock.decode(at)),
        is_acknowledged: asking.is_acknowledged,
        acks: acks.collect::<Result<_, _>>()?,
    })
}

fn encode_packet(packet: &Packet) -> Sent {
    Sent { to: Some(Peer::from(&packet.to)), bytes: packet.bytes.clone() }
}

fn decode_packet(packet: Option<Sent>) -> Result<Packet, DecodeError> {
    let packet = packet.ok_or(DecodeError::Malformed("packet"))?;
    let to = packet.to.ok_or(DecodeError::Malformed("peer of a packet"))?.try_into()?;
    Ok(Packet { to, bytes: packet.bytes })
}

fn encode_repeat(repeat: &Repeat, clock: Clock) -> Repeated {
    Repeated {
        at: repeat.at.map(|at| clock.encode(at)),
        interval_ns: u64::try_from(repeat.interval.as_nanos()).unwrap_or(u64::MAX),
    }
}

fn decode_repeat(repeat: Option<Repeated>, clock: Clock) -> Result<Repeat, DecodeError> {
    let repeat = repeat.ok_or(DecodeError::Malformed("repetition"))?;
    let interval = Duration::from_nanos(repeat.interval_ns);
    Ok(Repeat { at: repeat.at.map(|at| clock.decode(at)), interval })
}

fn is_reliable(reliability: Reliability) -> bool {
    match reliability {
        Reliability::Unreliable => false,
        Reliability::Reliable => true,
    }
}

fn reliability(machine: &Machine) -> Reliability {
    if machine.is_reliable { Reliability::Reliable } else { Reliability::Unreliable }
}

fn needed(stored: Option<Bytes>) -> Result<Bytes, DecodeError> {
    stored.ok_or(DecodeError::Malformed("stored message"))
}

fn encode_invite_server(machine: &InviteServer, clock: Clock) -> Machine {
    use invite_server::State;
    let bare = Machine { is_reliable: is_reliable(machine.reliability), ..Machine::default() };
    match &machine.state {
        State::Proceeding { last } => Machine { state: 0, stored: last.clone(), ..bare },
        State::Accepted { end_at } => Machine { state: 1, end_at: clock.encode(*end_at), ..bare },
        State::Completed { last, repeat, give_up_at } => Machine {
            state: 2,
            stored: Some(last.clone()),
            repeat: Some(encode_repeat(repeat, clock)),
            end_at: clock.encode(*give_up_at),
            ..bare
        },
        State::Confirmed { end_at } => Machine { state: 3, end_at: clock.encode(*end_at), ..bare },
        State::Terminated => Machine { state: 4, ..bare },
    }
}

fn decode_invite_server(
    machine: Machine,
    clock: Clock,
) -> Result<invite_server::State, DecodeError> {
    use invite_server::State;
    let end_at = clock.decode(machine.end_at);
    Ok(match machine.state {
        0 => State::Proceeding { last: machine.stored },
        1 => State::Accepted { end_at },
        2 => State::Completed {
            last: needed(machine.stored)?,
            repeat: decode_repeat(machine.repeat, clock)?,
            give_up_at: end_at,
        },
        3 => State::Confirmed { end_at },
        4 => State::Terminated,
        _ => return Err(DecodeError::Malformed("INVITE server state")),
    })
}

fn encode_server(machine: &Server, clock: Clock) -> Machine {
    use server::State;
    let bare = Machine { is_reliable: is_reliable(machine.reliability), ..Machine::default() };
    match &machine.state {
        State::Trying { trying, trying_at, end_at } => Machine {
            state: 0,
            stored: Some(trying.clone()),
            first_at: clock.encode(*trying_at),
            end_at: clock.encode(*end_at),
            ..bare
        },
        State::Proceeding { last, end_at } => {
            let (stored, end_at) = (Some(last.clone()), clock.encode(*end_at));
            Machine { state: 1, stored, end_at, ..bare }
        }
        State::Completed { last, end_at } => {
            let (stored, end_at) = (Some(last.clone()), clock.encode(*end_at));
            Machine { state: 2, stored, end_at, ..bare }
        }
        State::Terminated => Machine { state: 3, ..bare },
    }
}

fn decode_server(machine: Machine, clock: Clock) -> Result<server::State, DecodeError> {
    use server::State;
    let end_at = clock.decode(machine.end_at);
    Ok(match machine.state {
        0 => State::Trying {
            trying: needed(machine.stored)?,
            trying_at: clock.decode(machine.first_at),
            end_at,
        },
        1 => State::Proceeding { last: needed(machine.stored)?, end_at },
        2 => State::Completed { last: needed(machine.stored)?, end_at },
        3 => State::Terminated,
        _ => return Err(DecodeError::Malformed("server state")),
    })
}

fn encode_invite_client(machine: &InviteClient, clock: Clock) -> Machine {
    use invite_client::State;
    let bare = Machine { is_reliable: is_reliable(machine.reliability), ..Machine::default() };
    match &machine.state {
        State::Calling { repeat, give_up_at } => Machine {
            state: 0,
            repeat: Some(encode_repeat(repeat, clock)),
            end_at: clock.encode(*give_up_at),
            ..bare
        },
        State::Proceeding => Machine { state: 1, ..bare },
        State::Accepted { end_at } => Machine { state: 2, end_at: clock.encode(*end_at), ..bare },
        State::Completed { ack, end_at } => {
            Machine { state: 3, stored: ack.clone(), end_at: clock.encode(*end_at), ..bare }
        }
        State::Terminated => Machine { state: 4, ..bare },
    }
}

fn decode_invite_client(
    machine: Machine,
    clock: Clock,
) -> Result<invite_client::State, DecodeError> {
    use invite_client::State;
    let end_at = clock.decode(machine.end_at);
    Ok(match machine.state {
        0 => State::Calling { repeat: decode_repeat(machine.repeat, clock)?, give_up_at: end_at },
        1 => State::Proceeding,
        2 => State::Accepted { end_at },
        3 => State::Completed { ack: machine.stored, end_at },
        4 => State::Terminated,
        _ => return Err(DecodeError::Malformed("INVITE client state")),
    })
}

fn encode_client(machine: &Client, clock: Clock) -> Machine {
    use client::State;
    let bare = Machine { is_reliable: is_reliable(machine.reliability), ..Machine::default() };
    match &machine.state {
        State::Trying { repeat, give_up_at } => Machine {
            state: 0,
            repeat: Some(encode_repeat(repeat, clock)),
            end_at: clock.encode(*give_up_at),
            ..bare
        },
        State::Proceeding { repeat, give_up_at } => Machine {
            state: 1,
            repeat: Some(encode_repeat(repeat, clock)),
            end_at: clock.encode(*give_up_at),
            ..bare
        },
        State::Completed { end_at } => Machine { state: 2, end_at: clock.encode(*end_at), ..bare },
        State::Terminated => Machine { state: 3, ..bare },
    }
}

fn decode_client(machine: Machine, clock: Clock) -> Result<client::State, DecodeError> {
    use client::State;
    let end_at = clock.decode(machine.end_at);
    Ok(match machine.state {
        0 => State::Trying { repeat: decode_repeat(machine.repeat, clock)?, give_up_at: end_at },
        1 => {
            State::Proceeding { repeat: decode_repeat(machine.repeat, clock)?, give_up_at: end_at }
        }
        2 => State::Completed { end_at },
        3 => State::Terminated,
        _ => return Err(DecodeError::Malformed("client state")),
    })
}
