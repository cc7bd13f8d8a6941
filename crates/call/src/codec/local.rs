//! Schema 1 of the section that stays: transactions with the bytes they may send again.

use std::time::Duration;

use bytes::Bytes;
use newer_fields::{Fields, Kept};
use sip_message::Method;
use vocab::SiteId;

use super::outbox::{self, Effect, Peer};
use super::writer::Writer;
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
    servings: Vec<Kept<Serving>>,
    #[prost(message, repeated, tag = "3")]
    askings: Vec<Kept<Asking>>,
    #[prost(message, repeated, tag = "4")]
    unreleased: Vec<Effect>,
    /// When the last request of a peer within a dialog came.
    #[prost(sint64, optional, tag = "5")]
    recent_at: Option<i64>,
    /// How many of the last gaps between such requests were short.
    #[prost(uint32, tag = "6")]
    recent_close: u32,
    /// What is to be written down: unreleased, as those of 4.
    #[prost(message, repeated, tag = "7")]
    accounts: Vec<outbox::Account>,
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
    #[prost(bytes = "bytes", optional, tag = "15")]
    sdp_before: Option<Bytes>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Ack {
    #[prost(bytes = "bytes", tag = "1")]
    tag: Bytes,
    #[prost(message, optional, tag = "2")]
    packet: Option<Sent>,
}

impl Fields for Local {
    const LAST: u32 = 7;
}

impl Fields for Serving {
    const LAST: u32 = 17;
}

impl Fields for Asking {
    const LAST: u32 = 15;
}

/// The transactions alone.
pub(super) fn encode_into(local: &model::Local, clock: Clock, out: &mut Writer) {
    out.uint(1, local.next_serving);
    for serving in &local.servings {
        out.message(2, |out| encode_serving(serving, clock, out));
    }
    for asking in &local.askings {
        out.message(3, |out| encode_asking(asking, clock, out));
    }
}

pub(super) fn encode(local: &model::Local, unreleased: &[crate::Effect], clock: Clock) -> Bytes {
    Writer::written(|out| {
        encode_into(local, clock, out);
        if !unreleased.is_empty() {
            let stored = outbox::stored(local);
            for effect in unreleased {
                outbox::encode(effect, &stored, out);
            }
        }
        if let Some(recent) = &local.recent {
            out.optional_sint(5, Some(clock.encode(recent.last_at)));
            out.uint(6, recent.close);
        }
        for effect in unreleased {
            outbox::encode_account(effect, clock, out);
        }
        out.newer(&local.newer);
    })
}

pub(super) fn decode(
    local: Kept<Local>,
    clock: Clock,
) -> Result<(model::Local, Vec<crate::Effect>), DecodeError> {
    let (local, newer) = local.into_parts();
    let servings = local.servings.into_iter().map(|serving| decode_serving(serving, clock));
    let askings = local.askings.into_iter().map(|asking| decode_asking(asking, clock));
    let decoded = model::Local {
        next_serving: narrow(local.next_serving, "serving")?,
        servings: servings.collect::<Result<_, _>>()?,
        askings: askings.collect::<Result<_, _>>()?,
        recent: local.recent_at.map(|at| model::Recent {
            last_at: clock.decode(at),
            close: u8::try_from(local.recent_close).unwrap_or(u8::MAX),
        }),
        newer,
    };
    let stored = outbox::stored(&decoded);
    let effects = local.unreleased.into_iter().map(|effect| outbox::decode(effect, &stored));
    let accounts = local.accounts.into_iter().map(|account| outbox::decode_account(account, clock));
    let effects = effects.chain(accounts).collect::<Result<_, _>>()?;
    Ok((decoded, effects))
}

fn encode_serving(serving: &model::Serving, clock: Clock, out: &mut Writer) {
    out.uint(1, serving.id);
    out.message(2, |out| encode_key(serving.key(), out));
    let to = match &serving.machine {
        ServerMachine::Invite(machine) => &machine.to,
        ServerMachine::Other(machine) => &machine.to,
    };
    out.message(3, |out| outbox::encode_peer(to, out));
    out.message(4, |out| match &serving.machine {
        ServerMachine::Invite(machine) => encode_invite_server(machine, clock, out),
        ServerMachine::Other(machine) => encode_server(machine, clock, out),
    });
    out.optional_uint(5, serving.leg);
    out.uint(6, serving.fork);
    out.uint(7, serving.application);
    out.uint(8, serving.cseq);
    out.bytes(9, &serving.call_id);
    out.bytes(10, &serving.from_tag);
    out.bool(11, serving.is_initial);
    out.uint(12, serving.tag);
    out.uint(13, serving.site.0);
    out.optional_bytes(14, serving.request.as_ref());
    if let Some(waiting) = &serving.unacknowledged {
        out.message(15, |out| {
            out.message(1, |out| encode_packet(&waiting.response, out));
            out.message(2, |out| encode_repeat(&waiting.repeat, clock, out));
            out.sint(3, clock.encode(waiting.give_up_at));
        });
    }
    out.bool(16, serving.is_deferred);
    out.optional_sint(17, serving.deferred_until.map(|at| clock.encode(at)));
    out.newer(&serving.newer);
}

fn decode_serving(serving: Kept<Serving>, clock: Clock) -> Result<model::Serving, DecodeError> {
    let (serving, newer) = serving.into_parts();
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
        newer,
    })
}

fn decode_waiting(waiting: Waiting, clock: Clock) -> Result<Unacknowledged, DecodeError> {
    Ok(Unacknowledged {
        response: decode_packet(waiting.response)?,
        repeat: decode_repeat(waiting.repeat, clock)?,
        give_up_at: clock.decode(waiting.give_up_at),
    })
}

fn encode_key(key: &ServerKey, out: &mut Writer) {
    out.bytes(1, key.method.as_bytes());
    match &key.id {
        ServerId::Branch { branch, sent_by } => {
            out.bytes(2, branch);
            out.bytes(3, sent_by);
        }
        ServerId::Rfc2543 { uri, to_tag, from_tag, call_id, cseq, via } => {
            out.message(4, |out| {
                out.bytes(1, uri);
                out.optional_bytes(2, to_tag.as_ref());
                out.optional_bytes(3, from_tag.as_ref());
                out.bytes(4, call_id);
                out.uint(5, *cseq);
                out.bytes(6, via);
            });
        }
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

fn encode_asking(asking: &model::Asking, clock: Clock, out: &mut Writer) {
    out.uint(1, asking.branch());
    out.bytes(2, asking.method().as_bytes());
    out.message(3, |out| encode_packet(asking.request(), out));
    out.message(4, |out| match &asking.machine {
        ClientMachine::Invite(machine) => encode_invite_client(machine, clock, out),
        ClientMachine::Other(machine) => encode_client(machine, clock, out),
    });
    out.uint(5, asking.leg);
    out.uint(6, asking.fork);
    let (purpose, serving) = match asking.purpose {
        Purpose::Ending => (0_u32, 0),
        Purpose::Refresh => (1, 0),
        Purpose::Relay { serving } => (2, serving),
    };
    out.uint(7, purpose);
    out.uint(8, serving);
    out.uint(9, asking.cseq);
    out.bool(10, asking.is_in_dialog);
    let cancel = match asking.cancel {
        Cancel::No => 0_u32,
        Cancel::Wanted => 1,
        Cancel::Sent => 2,
    };
    out.uint(11, cancel);
    out.optional_sint(12, asking.give_up_at.map(|at| clock.encode(at)));
    for ack in &asking.acks {
        out.message(13, |out| {
            out.bytes(1, &ack.tag);
            out.message(2, |out| encode_packet(&ack.packet, out));
        });
    }
    out.bool(14, asking.is_acknowledged);
    out.optional_bytes(15, asking.sdp_before.as_ref());
    out.newer(&asking.newer);
}

fn decode_asking(asking: Kept<Asking>, clock: Clock) -> Result<model::Asking, DecodeError> {
    let (asking, newer) = asking.into_parts();
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
        sdp_before: asking.sdp_before,
        newer,
    })
}

fn encode_packet(packet: &Packet, out: &mut Writer) {
    out.message(1, |out| outbox::encode_peer(&packet.to, out));
    out.bytes(2, &packet.bytes);
}

fn decode_packet(packet: Option<Sent>) -> Result<Packet, DecodeError> {
    let packet = packet.ok_or(DecodeError::Malformed("packet"))?;
    let to = packet.to.ok_or(DecodeError::Malformed("peer of a packet"))?.try_into()?;
    Ok(Packet { to, bytes: packet.bytes })
}

fn encode_repeat(repeat: &Repeat, clock: Clock, out: &mut Writer) {
    out.optional_sint(1, repeat.at.map(|at| clock.encode(at)));
    out.uint(2, u64::try_from(repeat.interval.as_nanos()).unwrap_or(u64::MAX));
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

/// Where a machine stands, to be written: see [`Machine`].
#[derive(Default)]
struct Stand<'a> {
    state: u32,
    stored: Option<&'a Bytes>,
    repeat: Option<&'a Repeat>,
    first_at: i64,
    end_at: i64,
}

impl Stand<'_> {
    fn encode(&self, reliability: Reliability, clock: Clock, out: &mut Writer) {
        out.uint(1, self.state);
        out.optional_bytes(2, self.stored);
        if let Some(repeat) = self.repeat {
            out.message(3, |out| encode_repeat(repeat, clock, out));
        }
        out.sint(4, self.first_at);
        out.sint(5, self.end_at);
        out.bool(6, is_reliable(reliability));
    }
}

fn encode_invite_server(machine: &InviteServer, clock: Clock, out: &mut Writer) {
    use invite_server::State;
    let bare = Stand::default();
    let stand = match &machine.state {
        State::Proceeding { last } => Stand { state: 0, stored: last.as_ref(), ..bare },
        State::Accepted { end_at } => Stand { state: 1, end_at: clock.encode(*end_at), ..bare },
        State::Completed { last, repeat, give_up_at } => Stand {
            state: 2,
            stored: Some(last),
            repeat: Some(repeat),
            end_at: clock.encode(*give_up_at),
            ..bare
        },
        State::Confirmed { end_at } => Stand { state: 3, end_at: clock.encode(*end_at), ..bare },
        State::Terminated => Stand { state: 4, ..bare },
    };
    stand.encode(machine.reliability, clock, out);
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

fn encode_server(machine: &Server, clock: Clock, out: &mut Writer) {
    use server::State;
    let bare = Stand::default();
    let stand = match &machine.state {
        State::Trying { trying, trying_at, end_at } => Stand {
            state: 0,
            stored: Some(trying),
            first_at: clock.encode(*trying_at),
            end_at: clock.encode(*end_at),
            ..bare
        },
        State::Proceeding { last, end_at } => {
            Stand { state: 1, stored: Some(last), end_at: clock.encode(*end_at), ..bare }
        }
        State::Completed { last, end_at } => {
            Stand { state: 2, stored: Some(last), end_at: clock.encode(*end_at), ..bare }
        }
        State::Terminated => Stand { state: 3, ..bare },
    };
    stand.encode(machine.reliability, clock, out);
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

fn encode_invite_client(machine: &InviteClient, clock: Clock, out: &mut Writer) {
    use invite_client::State;
    let bare = Stand::default();
    let stand = match &machine.state {
        State::Calling { repeat, give_up_at } => {
            Stand { state: 0, repeat: Some(repeat), end_at: clock.encode(*give_up_at), ..bare }
        }
        State::Proceeding => Stand { state: 1, ..bare },
        State::Accepted { end_at } => Stand { state: 2, end_at: clock.encode(*end_at), ..bare },
        State::Completed { ack, end_at } => {
            Stand { state: 3, stored: ack.as_ref(), end_at: clock.encode(*end_at), ..bare }
        }
        State::Terminated => Stand { state: 4, ..bare },
    };
    stand.encode(machine.reliability, clock, out);
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

fn encode_client(machine: &Client, clock: Clock, out: &mut Writer) {
    use client::State;
    let bare = Stand::default();
    let stand = match &machine.state {
        State::Trying { repeat, give_up_at } => {
            Stand { state: 0, repeat: Some(repeat), end_at: clock.encode(*give_up_at), ..bare }
        }
        State::Proceeding { repeat, give_up_at } => {
            Stand { state: 1, repeat: Some(repeat), end_at: clock.encode(*give_up_at), ..bare }
        }
        State::Completed { end_at } => Stand { state: 2, end_at: clock.encode(*end_at), ..bare },
        State::Terminated => Stand { state: 3, ..bare },
    };
    stand.encode(machine.reliability, clock, out);
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
