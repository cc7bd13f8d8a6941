//! Schema 1 of the section that crosses. Field numbers are never used again for something else.
//!
//! The addresses of a linked leg are those of its peer turned round: they are written once.

use std::time::Duration;

use bytes::Bytes;
use newer_fields::{Fields, Kept};
use servlet::{Hint, Side};
use vocab::SiteId;

use super::writer::Writer;
use super::{Clock, DecodeError, narrow};
use crate::crossing::{self as model, LegState};
use crate::session_timer::{self, Refresher};

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Call {
    #[prost(uint32, tag = "1")]
    salt: u32,
    #[prost(uint32, tag = "2")]
    next_ordinal: u32,
    #[prost(sint64, tag = "3")]
    begun_at: i64,
    #[prost(message, repeated, tag = "4")]
    legs: Vec<Kept<Leg>>,
    #[prost(message, repeated, tag = "5")]
    applications: Vec<Kept<Application>>,
    /// Of legs that ring and may cross: the transactions of their INVITEs, as the local section
    /// writes them.
    #[prost(message, optional, tag = "6")]
    pub(super) early: Option<Kept<super::local::Local>>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Leg {
    #[prost(uint32, tag = "1")]
    id: u32,
    #[prost(uint32, tag = "2")]
    site: u32,
    /// 0: UAS, 1: UAC.
    #[prost(uint32, tag = "3")]
    side: u32,
    /// 0: confirmed, 1: opening, 2: leaving.
    #[prost(uint32, tag = "4")]
    state: u32,
    #[prost(uint32, optional, tag = "5")]
    peer: Option<u32>,
    #[prost(uint32, tag = "6")]
    application: u32,
    #[prost(bytes = "bytes", optional, tag = "7")]
    call_id: Option<Bytes>,
    /// Absent: the remote address of the peer leg, which is written before this one.
    #[prost(bytes = "bytes", optional, tag = "8")]
    local: Option<Bytes>,
    /// Absent: the local address of the peer leg.
    #[prost(bytes = "bytes", optional, tag = "9")]
    remote: Option<Bytes>,
    #[prost(message, repeated, tag = "10")]
    dialogs: Vec<Kept<Dialog>>,
    #[prost(bytes = "bytes", tag = "11")]
    sdp: Bytes,
    #[prost(uint64, tag = "12")]
    sdp_offset: u64,
    #[prost(bool, tag = "13")]
    is_update_allowed: bool,
    #[prost(uint32, tag = "14")]
    min_se_s: u32,
    #[prost(message, optional, tag = "15")]
    timer: Option<SessionTimer>,
    #[prost(bool, tag = "16")]
    is_early: bool,
    #[prost(sint64, optional, tag = "17")]
    answered_at: Option<i64>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Dialog {
    #[prost(uint32, tag = "1")]
    fork: u32,
    #[prost(uint32, tag = "2")]
    local_tag: u32,
    #[prost(bytes = "bytes", optional, tag = "3")]
    remote_tag: Option<Bytes>,
    #[prost(uint32, tag = "4")]
    local_cseq: u32,
    #[prost(uint32, optional, tag = "5")]
    remote_cseq: Option<u32>,
    #[prost(bytes = "bytes", tag = "6")]
    target: Bytes,
    #[prost(bytes = "bytes", repeated, tag = "7")]
    routes: Vec<Bytes>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct SessionTimer {
    #[prost(uint64, tag = "1")]
    interval_ns: u64,
    #[prost(bool, tag = "2")]
    is_ours: bool,
    #[prost(sint64, optional, tag = "3")]
    refresh_at: Option<i64>,
    #[prost(sint64, tag = "4")]
    expire_at: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Application {
    #[prost(uint32, tag = "1")]
    index: u32,
    /// 0: said nothing, 1: steady, 2: busy.
    #[prost(uint32, tag = "2")]
    hint: u32,
    #[prost(message, repeated, tag = "3")]
    attributes: Vec<Attribute>,
    #[prost(message, repeated, tag = "4")]
    timers: Vec<Timer>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Attribute {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(bytes = "bytes", tag = "2")]
    value: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Timer {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(sint64, tag = "2")]
    at: i64,
}

impl Fields for Call {
    const LAST: u32 = 6;
}

impl Fields for Leg {
    const LAST: u32 = 17;
}

impl Fields for Dialog {
    const LAST: u32 = 7;
}

impl Fields for Application {
    const LAST: u32 = 4;
}

pub(super) fn encode(call: &crate::Call, clock: Clock) -> Bytes {
    let crossing = &call.crossing;
    Writer::written(|out| {
        out.uint(1, crossing.salt);
        out.uint(2, crossing.next_ordinal);
        out.sint(3, clock.encode(crossing.begun_at));
        for leg in &crossing.legs {
            out.message(4, |out| encode_leg(crossing, leg, clock, out));
        }
        for state in &crossing.applications {
            out.message(5, |out| encode_application(state, clock, out));
        }
        if let Some(early) = call.early_transactions() {
            out.message(6, |out| super::local::encode_into(&early, clock, out));
        }
        out.newer(&crossing.newer);
    })
}

fn encode_leg(crossing: &model::Crossing, leg: &model::Leg, clock: Clock, out: &mut Writer) {
    let earlier = crossing.legs.iter().take_while(|other| other.id != leg.id);
    let peer = earlier.filter(|other| Some(other.id) == leg.peer).last();
    out.uint(1, leg.id);
    out.uint(2, leg.site.0);
    let side = match leg.side {
        Side::Uas => 0_u32,
        Side::Uac => 1,
    };
    out.uint(3, side);
    let state = match leg.state {
        LegState::Confirmed => 0_u32,
        LegState::Opening => 1,
        LegState::Leaving => 2,
    };
    out.uint(4, state);
    out.optional_uint(5, leg.peer);
    out.uint(6, leg.application);
    out.optional_bytes(7, leg.call_id.as_ref());
    if peer.is_none_or(|peer| peer.remote != leg.local) {
        out.some_bytes(8, &leg.local);
    }
    if peer.is_none_or(|peer| peer.local != leg.remote) {
        out.some_bytes(9, &leg.remote);
    }
    for dialog in &leg.dialogs {
        out.message(10, |out| encode_dialog(dialog, out));
    }
    out.bytes(11, &leg.sdp);
    out.uint(12, leg.sdp_offset);
    out.bool(13, leg.is_update_allowed);
    out.uint(14, leg.min_se_s);
    if let Some(timer) = leg.timer {
        out.message(15, |out| {
            out.uint(1, u64::try_from(timer.interval.as_nanos()).unwrap_or(u64::MAX));
            out.bool(2, timer.refresher == Refresher::Us);
            out.optional_sint(3, timer.refresh_at.map(|at| clock.encode(at)));
            out.sint(4, clock.encode(timer.expire_at));
        });
    }
    out.bool(16, leg.is_early);
    out.optional_sint(17, leg.answered_at.map(|at| clock.encode(at)));
    out.newer(&leg.newer);
}

fn encode_dialog(dialog: &model::Dialog, out: &mut Writer) {
    out.uint(1, dialog.fork);
    out.uint(2, dialog.local_tag);
    out.optional_bytes(3, dialog.remote_tag.as_ref());
    out.uint(4, dialog.local_cseq);
    out.optional_uint(5, dialog.remote_cseq);
    out.bytes(6, &dialog.target);
    for route in &dialog.routes {
        out.some_bytes(7, route);
    }
    out.newer(&dialog.newer);
}

fn encode_application(state: &model::ApplicationState, clock: Clock, out: &mut Writer) {
    out.uint(1, state.index);
    let hint = match state.hint {
        None => 0_u32,
        Some(Hint::Steady) => 1,
        Some(Hint::Busy) => 2,
    };
    out.uint(2, hint);
    for (name, value) in &state.attributes {
        out.message(3, |out| {
            out.bytes(1, name.as_bytes());
            out.bytes(2, value);
        });
    }
    for (name, at) in &state.timers {
        out.message(4, |out| {
            out.bytes(1, name.as_bytes());
            out.sint(2, clock.encode(*at));
        });
    }
    out.newer(&state.newer);
}

pub(super) fn decode(call: Kept<Call>, clock: Clock) -> Result<model::Crossing, DecodeError> {
    let (call, newer) = call.into_parts();
    let mut legs: Vec<model::Leg> = Vec::with_capacity(call.legs.len());
    for leg in call.legs {
        let leg = decode_leg(leg, &legs, clock)?;
        legs.push(leg);
    }
    let applications = call.applications.into_iter().map(|state| decode_application(state, clock));
    Ok(model::Crossing {
        salt: call.salt,
        next_ordinal: narrow(call.next_ordinal, "ordinal")?,
        begun_at: clock.decode(call.begun_at),
        legs,
        applications: applications.collect::<Result<_, _>>()?,
        newer,
    })
}

fn decode_leg(
    leg: Kept<Leg>,
    earlier: &[model::Leg],
    clock: Clock,
) -> Result<model::Leg, DecodeError> {
    let (leg, newer) = leg.into_parts();
    let peer = leg.peer.map(|peer| narrow(peer, "peer leg")).transpose()?;
    let twin = peer.and_then(|peer| earlier.iter().find(|other| other.id == peer));
    let missing = DecodeError::Malformed("address of a leg");
    let local = leg.local.or_else(|| twin.map(|twin| twin.remote.clone()));
    let remote = leg.remote.or_else(|| twin.map(|twin| twin.local.clone()));
    let dialogs: Vec<_> = leg.dialogs.into_iter().map(decode_dialog).collect::<Result<_, _>>()?;
    if dialogs.is_empty() {
        return Err(DecodeError::Malformed("leg without a dialog"));
    }
    Ok(model::Leg {
        id: narrow(leg.id, "leg")?,
        site: SiteId(narrow(leg.site, "site")?),
        side: match leg.side {
            0 => Side::Uas,
            1 => Side::Uac,
            _ => return Err(DecodeError::Malformed("side of a leg")),
        },
        state: match leg.state {
            0 => LegState::Confirmed,
            1 => LegState::Opening,
            2 => LegState::Leaving,
            _ => return Err(DecodeError::Malformed("state of a leg")),
        },
        peer,
        application: narrow(leg.application, "application of a leg")?,
        call_id: leg.call_id,
        local: local.ok_or(missing.clone())?,
        remote: remote.ok_or(missing)?,
        dialogs,
        sdp: leg.sdp,
        sdp_offset: leg.sdp_offset,
        is_update_allowed: leg.is_update_allowed,
        min_se_s: leg.min_se_s,
        is_early: leg.is_early,
        answered_at: leg.answered_at.map(|at| clock.decode(at)),
        timer: leg.timer.map(|timer| session_timer::SessionTimer {
            interval: Duration::from_nanos(timer.interval_ns),
            refresher: if timer.is_ours { Refresher::Us } else { Refresher::Peer },
            refresh_at: timer.refresh_at.map(|at| clock.decode(at)),
            expire_at: clock.decode(timer.expire_at),
        }),
        newer,
    })
}

fn decode_dialog(dialog: Kept<Dialog>) -> Result<model::Dialog, DecodeError> {
    let (dialog, newer) = dialog.into_parts();
    Ok(model::Dialog {
        fork: narrow(dialog.fork, "fork")?,
        local_tag: narrow(dialog.local_tag, "tag")?,
        remote_tag: dialog.remote_tag,
        local_cseq: dialog.local_cseq,
        remote_cseq: dialog.remote_cseq,
        target: dialog.target,
        routes: dialog.routes,
        newer,
    })
}

fn decode_application(
    state: Kept<Application>,
    clock: Clock,
) -> Result<model::ApplicationState, DecodeError> {
    let (state, newer) = state.into_parts();
    let attributes = state.attributes.into_iter();
    let timers = state.timers.into_iter();
    Ok(model::ApplicationState {
        index: narrow(state.index, "application")?,
        hint: match state.hint {
            0 => None,
            1 => Some(Hint::Steady),
            2 => Some(Hint::Busy),
            _ => return Err(DecodeError::Malformed("hint")),
        },
        attributes: attributes.map(|attribute| (attribute.name, attribute.value)).collect(),
        timers: timers.map(|timer| (timer.name, clock.decode(timer.at))).collect(),
        newer,
    })
}
