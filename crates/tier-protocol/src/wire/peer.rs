//! The words between replicas.

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use vocab::{CallKey, EngineId, SiteId, ViewNumber};

use super::command::{veto_from_wire, veto_to_wire};
use super::list::{self, Element};
use super::quarantine::{SetAside, Strike};
use super::record::{Record, Tombstone, record, tombstone};
use super::word::{self, Epoch, Key, Stamp, Token, nanos, need};
use crate::error::DecodeError;
use crate::peer::{self, CopiedRun, CopiedState, KeyRange};
use crate::view::SiteMap;

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct CopiedCall {
    #[prost(message, optional, tag = "1")]
    record: Option<Record>,
    /// One bit for each fact, from the lowest: see `BITS`.
    #[prost(uint32, tag = "2")]
    state: u32,
    #[prost(uint64, optional, tag = "3")]
    lock_engine: Option<u64>,
    #[prost(message, optional, tag = "4")]
    lock_token: Option<Token>,
    #[prost(message, optional, tag = "5")]
    floor: Option<Token>,
    #[prost(message, optional, tag = "6")]
    activated_from: Option<Epoch>,
    #[prost(uint32, repeated, tag = "7")]
    marks: Vec<u32>,
}

fn facts(state: &CopiedState) -> [bool; 12] {
    [
        state.is_dormant,
        state.is_stub,
        state.is_given,
        state.unreleased,
        state.at_boundary,
        state.was_at_boundary,
        state.known_elsewhere,
        state.ends_when_free,
        state.has_ended,
        state.end_told,
        state.is_condemned,
        state.is_torn_down,
    ]
}

/// Where the number of the veto begins, above the facts. Four bits.
const VETO_SHIFT: u32 = 12;
const VETO_MASK: u32 = 0xf;

pub(crate) fn bits_of(state: &CopiedState) -> u32 {
    let facts = facts(state).into_iter().rev().fold(0, |bits, fact| bits << 1 | u32::from(fact));
    facts | veto_to_wire(state.veto) << VETO_SHIFT
}

pub(crate) fn state_of(bits: u32) -> CopiedState {
    let fact = |bit: u32| bits >> bit & 1 == 1;
    CopiedState {
        is_dormant: fact(0),
        is_stub: fact(1),
        is_given: fact(2),
        unreleased: fact(3),
        at_boundary: fact(4),
        was_at_boundary: fact(5),
        known_elsewhere: fact(6),
        ends_when_free: fact(7),
        has_ended: fact(8),
        end_told: fact(9),
        is_condemned: fact(10),
        is_torn_down: fact(11),
        veto: veto_from_wire(bits >> VETO_SHIFT & VETO_MASK),
    }
}

impl From<&peer::CopiedCall> for CopiedCall {
    fn from(call: &peer::CopiedCall) -> Self {
        Self {
            record: Some((&call.record).into()),
            state: bits_of(&call.state),
            lock_engine: call.lock.map(|(engine, _)| engine.0),
            lock_token: call.lock.map(|(_, token)| token.into()),
            floor: Some(call.floor.into()),
            activated_from: call.activated_from.map(Epoch::from),
            marks: call.marks.iter().map(|site| u32::from(site.0)).collect(),
        }
    }
}

impl TryFrom<CopiedCall> for peer::CopiedCall {
    type Error = DecodeError;

    fn try_from(wire: CopiedCall) -> Result<Self, DecodeError> {
        let lock = match wire.lock_engine {
            Some(engine) => Some((EngineId(engine), word::token(wire.lock_token)?)),
            None => None,
        };
        Ok(Self {
            record: record(wire.record)?,
            state: state_of(wire.state),
            lock,
            floor: word::token(wire.floor)?,
            activated_from: wire.activated_from.map(TryInto::try_into).transpose()?,
            marks: wire.marks.into_iter().map(word::site).collect::<Result<_, _>>()?,
        })
    }
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct SpilledCall {
    #[prost(message, optional, tag = "1")]
    key: Option<Key>,
    #[prost(message, optional, tag = "2")]
    stamp: Option<Stamp>,
    #[prost(uint64, optional, tag = "3")]
    due_in: Option<u64>,
    #[prost(fixed64, tag = "4")]
    digest: u64,
    /// As in `CopiedCall`.
    #[prost(uint32, tag = "5")]
    state: u32,
    #[prost(uint32, tag = "6")]
    origin: u32,
    #[prost(message, optional, tag = "7")]
    activated_from: Option<Epoch>,
    #[prost(uint32, repeated, tag = "8")]
    marks: Vec<u32>,
}

impl From<&peer::SpilledCall> for SpilledCall {
    fn from(call: &peer::SpilledCall) -> Self {
        Self {
            key: Some(call.key.into()),
            stamp: Some(call.stamp.into()),
            due_in: call.due_in.map(nanos),
            digest: call.digest,
            state: bits_of(&call.state),
            origin: u32::from(call.origin.0),
            activated_from: call.activated_from.map(Epoch::from),
            marks: call.marks.iter().map(|site| u32::from(site.0)).collect(),
        }
    }
}

impl TryFrom<SpilledCall> for peer::SpilledCall {
    type Error = DecodeError;

    fn try_from(wire: SpilledCall) -> Result<Self, DecodeError> {
        Ok(Self {
            key: word::key(wire.key)?,
            stamp: word::stamp(wire.stamp)?,
            due_in: wire.due_in.map(Duration::from_nanos),
            digest: wire.digest,
            state: state_of(wire.state),
            origin: word::site(wire.origin)?,
            activated_from: wire.activated_from.map(TryInto::try_into).transpose()?,
            marks: wire.marks.into_iter().map(word::site).collect::<Result<_, _>>()?,
        })
    }
}

impl Element for CallKey {
    const BYTES: usize = 16;

    fn put(&self, out: &mut BytesMut) {
        out.put_slice(&self.0);
    }

    fn get(from: &mut &[u8]) -> Result<Self, DecodeError> {
        Ok(list::get_key(from))
    }
}

impl Element for (CallKey, u64) {
    const BYTES: usize = 24;

    fn put(&self, out: &mut BytesMut) {
        out.put_slice(&self.0.0);
        out.put_u64(self.1);
    }

    fn get(from: &mut &[u8]) -> Result<Self, DecodeError> {
        Ok((list::get_key(from), from.get_u64()))
    }
}

impl Element for (CallKey, SiteId) {
    const BYTES: usize = 16 + 2;

    fn put(&self, out: &mut BytesMut) {
        out.put_slice(&self.0.0);
        out.put_u16(self.1.0);
    }

    fn get(from: &mut &[u8]) -> Result<Self, DecodeError> {
        Ok((list::get_key(from), SiteId(from.get_u16())))
    }
}

impl Element for (CallKey, vocab::Stamp) {
    const BYTES: usize = 16 + list::STAMP_BYTES;

    fn put(&self, out: &mut BytesMut) {
        out.put_slice(&self.0.0);
        list::put_stamp(&self.1, out);
    }

    fn get(from: &mut &[u8]) -> Result<Self, DecodeError> {
        Ok((list::get_key(from), list::get_stamp(from)))
    }
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct PeerWord {
    #[prost(uint32, tag = "1")]
    kind: u32,
    #[prost(uint64, tag = "2")]
    view: u64,
    #[prost(uint64, tag = "3")]
    number: u64,
    #[prost(message, optional, tag = "4")]
    after: Option<Key>,
    #[prost(message, optional, tag = "5")]
    to: Option<Key>,
    #[prost(uint32, tag = "6")]
    calls_max: u32,
    #[prost(message, repeated, tag = "7")]
    calls: Vec<CopiedCall>,
    #[prost(uint64, tag = "8")]
    total: u64,
    #[prost(fixed64, tag = "9")]
    digest: u64,
    /// Keys, keys with digests, stamps or sites, or a site's map.
    #[prost(bytes = "bytes", tag = "10")]
    list: Bytes,
    #[prost(message, optional, tag = "11")]
    floor: Option<Token>,
    #[prost(uint32, tag = "12")]
    site: u32,
    #[prost(message, repeated, tag = "16")]
    spilled: Vec<SpilledCall>,
    #[prost(message, repeated, tag = "13")]
    strikes: Vec<Strike>,
    #[prost(message, optional, tag = "14")]
    aside: Option<SetAside>,
    #[prost(message, optional, tag = "15")]
    tombstone: Option<Tombstone>,
    /// Keys with stamps of removals.
    #[prost(bytes = "bytes", tag = "17")]
    removals: Bytes,
    #[prost(uint64, tag = "18")]
    raw_bytes: u64,
}

const PING: u32 = 1;
const PONG: u32 = 2;
const COPY_ASK: u32 = 3;
const COPY_PAGE: u32 = 4;
const COMPARE: u32 = 5;
const COMPARE_ASK: u32 = 6;
const COMPARE_KEYS: u32 = 7;
const REPAIR: u32 = 8;
const REPAIRED: u32 = 9;
const CROSSED: u32 = 10;
const STRUCK: u32 = 11;
const QUARANTINED: u32 = 12;
const REMOVED: u32 = 13;
const QUARANTINE_DROPPED: u32 = 14;
const SPILLED: u32 = 15;
const SPILLED_ASK: u32 = 16;
const ROWS_ASK: u32 = 17;
const ROWS_FREE: u32 = 18;
const NEWS: u32 = 19;
const VIEW_ASK: u32 = 20;
const VIEW_SAME: u32 = 21;
const SHIP: u32 = 22;
const SHIPPED: u32 = 23;

fn of_stamps(kind: u32, view: ViewNumber, calls: &[(CallKey, vocab::Stamp)]) -> PeerWord {
    PeerWord { kind, view: view.0, list: list::pack(calls), ..PeerWord::default() }
}

fn of_range(kind: u32, view: ViewNumber, range: &KeyRange) -> PeerWord {
    let KeyRange { after, to } = *range;
    let (after, to) = (after.map(Key::from), to.map(Key::from));
    PeerWord { kind, view: view.0, after, to, ..PeerWord::default() }
}

impl From<&peer::PeerWord> for PeerWord {
    fn from(word: &peer::PeerWord) -> Self {
        use peer::PeerWord as Word;
        let none = Self::default();
        match word {
            Word::Ping { number } => Self { kind: PING, number: *number, ..none },
            Word::Pong { number } => Self { kind: PONG, number: *number, ..none },
            Word::News { revision, store_revision, map } => Self {
                kind: NEWS,
                number: *revision,
                total: *store_revision,
                list: map.encode(),
                ..none
            },
            Word::CopyAsk { view, after, calls_max } => Self {
                kind: COPY_ASK,
                view: view.0,
                after: after.map(Key::from),
                calls_max: *calls_max,
                ..none
            },
            Word::CopyPage { view, after, run, next, total, floor } => Self {
                kind: COPY_PAGE,
                view: view.0,
                after: after.map(Key::from),
                to: next.map(Key::from),
                calls: run.calls.iter().map(CopiedCall::from).collect(),
                spilled: run.spilled.iter().map(SpilledCall::from).collect(),
                removals: list::pack(&run.removed),
                list: list::pack(&run.untold),
                total: *total,
                floor: Some((*floor).into()),
                ..none
            },
            Word::Compare { view, range, digest } => {
                Self { digest: *digest, ..of_range(COMPARE, *view, range) }
            }
            Word::CompareAsk { view, range } => of_range(COMPARE_ASK, *view, range),
            Word::CompareKeys { view, range, calls } => {
                Self { list: list::pack(calls), ..of_range(COMPARE_KEYS, *view, range) }
            }
            Word::Repair { view, keys } => {
                Self { kind: REPAIR, view: view.0, list: list::pack(keys), ..none }
            }
            Word::Repaired { view, calls, spilled, gone, floor } => Self {
                kind: REPAIRED,
                view: view.0,
                calls: calls.iter().map(CopiedCall::from).collect(),
                spilled: spilled.iter().map(SpilledCall::from).collect(),
                list: list::pack(gone),
                floor: Some((*floor).into()),
                ..none
            },
            Word::Crossed { site, calls } => {
                Self { kind: CROSSED, site: u32::from(site.0), list: list::pack(calls), ..none }
            }
            Word::Ship { view, site, id, calls, removals } => Self {
                site: u32::from(site.0),
                number: *id,
                removals: list::pack(removals),
                ..of_stamps(SHIP, *view, calls)
            },
            Word::Shipped { view, site, id, missing, bytes, raw_bytes } => Self {
                kind: SHIPPED,
                view: view.0,
                site: u32::from(site.0),
                number: *id,
                list: list::pack(missing),
                total: *bytes,
                raw_bytes: *raw_bytes,
                ..none
            },
            Word::Spilled { view, calls } => of_stamps(SPILLED, *view, calls),
            Word::SpilledAsk { view, calls } => of_stamps(SPILLED_ASK, *view, calls),
            Word::RowsAsk { view, calls } => of_stamps(ROWS_ASK, *view, calls),
            Word::RowsFree { view, calls } => of_stamps(ROWS_FREE, *view, calls),
            Word::ViewAsk { view, ask } => {
                Self { kind: VIEW_ASK, view: view.0, number: *ask, ..none }
            }
            Word::ViewSame { view, ask } => {
                Self { kind: VIEW_SAME, view: view.0, number: *ask, ..none }
            }
            Word::Struck { view, strikes } => {
                let strikes = strikes.iter().map(|(key, strike)| Strike::from(strike).of(*key));
                Self { kind: STRUCK, view: view.0, strikes: strikes.collect(), ..none }
            }
            Word::Quarantined { view, aside } => {
                Self { kind: QUARANTINED, view: view.0, aside: Some(aside.into()), ..none }
            }
            Word::Removed { view, tombstone } => {
                let tombstone = Some((*tombstone).into());
                Self { kind: REMOVED, view: view.0, tombstone, ..none }
            }
            Word::QuarantineDropped { view, keys } => {
                Self { kind: QUARANTINE_DROPPED, view: view.0, list: list::pack(keys), ..none }
            }
        }
    }
}

impl TryFrom<PeerWord> for peer::PeerWord {
    type Error = DecodeError;

    fn try_from(wire: PeerWord) -> Result<Self, DecodeError> {
        let view = ViewNumber(wire.view);
        let (after, to) = (wire.after.map(CallKey::from), wire.to.map(CallKey::from));
        let range = KeyRange { after, to };
        Ok(match wire.kind {
            PING => Self::Ping { number: wire.number },
            PONG => Self::Pong { number: wire.number },
            NEWS => Self::News {
                revision: wire.number,
                store_revision: wire.total,
                map: SiteMap::decode(wire.list)?,
            },
            COPY_ASK => Self::CopyAsk { view, after, calls_max: wire.calls_max },
            COPY_PAGE => {
                let (calls, spilled) = (word::all(wire.calls)?, word::all(wire.spilled)?);
                let (removed, untold) = (list::unpack(&wire.removals)?, list::unpack(&wire.list)?);
                let run = CopiedRun { calls, spilled, removed, untold };
                let (total, floor) = (wire.total, word::token(wire.floor)?);
                Self::CopyPage { view, after, run, next: to, total, floor }
            }
            COMPARE => Self::Compare { view, range, digest: wire.digest },
            COMPARE_ASK => Self::CompareAsk { view, range },
            COMPARE_KEYS => Self::CompareKeys { view, range, calls: list::unpack(&wire.list)? },
            REPAIR => Self::Repair { view, keys: list::unpack(&wire.list)? },
            REPAIRED => Self::Repaired {
                view,
                calls: word::all(wire.calls)?,
                spilled: word::all(wire.spilled)?,
                gone: list::unpack(&wire.list)?,
                floor: word::token(wire.floor)?,
            },
            CROSSED => {
                Self::Crossed { site: word::site(wire.site)?, calls: list::unpack(&wire.list)? }
            }
            SHIP => Self::Ship {
                view,
                site: word::site(wire.site)?,
                id: wire.number,
                calls: list::unpack(&wire.list)?,
                removals: list::unpack(&wire.removals)?,
            },
            SHIPPED => Self::Shipped {
                view,
                site: word::site(wire.site)?,
                id: wire.number,
                missing: list::unpack(&wire.list)?,
                bytes: wire.total,
                raw_bytes: wire.raw_bytes,
            },
            SPILLED => Self::Spilled { view, calls: list::unpack(&wire.list)? },
            SPILLED_ASK => Self::SpilledAsk { view, calls: list::unpack(&wire.list)? },
            ROWS_ASK => Self::RowsAsk { view, calls: list::unpack(&wire.list)? },
            ROWS_FREE => Self::RowsFree { view, calls: list::unpack(&wire.list)? },
            VIEW_ASK => Self::ViewAsk { view, ask: wire.number },
            VIEW_SAME => Self::ViewSame { view, ask: wire.number },
            STRUCK => {
                let keyed = |strike: Strike| Ok((word::key(strike.key)?, strike.try_into()?));
                let strikes = wire.strikes.into_iter().map(keyed);
                Self::Struck { view, strikes: strikes.collect::<Result<_, DecodeError>>()? }
            }
            QUARANTINED => {
                Self::Quarantined { view, aside: need(wire.aside, "call set aside")?.try_into()? }
            }
            REMOVED => Self::Removed { view, tombstone: tombstone(wire.tombstone)? },
            QUARANTINE_DROPPED => Self::QuarantineDropped { view, keys: list::unpack(&wire.list)? },
            value => return Err(DecodeError::Unknown { what: "replica's word", value }),
        })
    }
}
