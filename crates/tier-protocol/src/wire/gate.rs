//! The words between an engine and its site's gate.

use bytes::Bytes;

use super::list;
use super::site::{ForwardedMessage, PullAnswer, state_from_wire, state_to_wire};
use super::word::{self, Key, need};
use crate::error::DecodeError;
use crate::site::{self, SiteState};

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct EngineWord {
    #[prost(uint32, tag = "1")]
    kind: u32,
    #[prost(uint32, tag = "2")]
    site: u32,
    #[prost(message, optional, tag = "3")]
    message: Option<ForwardedMessage>,
    #[prost(message, optional, tag = "4")]
    key: Option<Key>,
    #[prost(uint64, tag = "5")]
    turn: u64,
    #[prost(uint64, tag = "6")]
    id: u64,
    #[prost(bytes = "bytes", tag = "7")]
    superseded: Bytes,
}

const FORWARD_TO: u32 = 1;
const PULL: u32 = 2;
const BATCH_DONE: u32 = 3;
const BATCH_DEFERRED: u32 = 4;
const BATCH_POISON: u32 = 5;

impl From<&site::EngineWord> for EngineWord {
    fn from(word: &site::EngineWord) -> Self {
        use site::EngineWord as Word;
        let none = Self::default();
        match word {
            Word::ForwardTo { site, message } => Self {
                kind: FORWARD_TO,
                site: u32::from(site.0),
                message: Some(message.into()),
                ..none
            },
            Word::Pull { key, turn } => {
                Self { kind: PULL, key: Some((*key).into()), turn: *turn, ..none }
            }
            Word::BatchDone { id, superseded } => {
                let superseded = list::pack(superseded);
                Self { kind: BATCH_DONE, id: *id, superseded, ..none }
            }
            Word::BatchDeferred { id } => Self { kind: BATCH_DEFERRED, id: *id, ..none },
            Word::BatchPoison { id, superseded } => {
                let superseded = list::pack(superseded);
                Self { kind: BATCH_POISON, id: *id, superseded, ..none }
            }
        }
    }
}

impl TryFrom<EngineWord> for site::EngineWord {
    type Error = DecodeError;

    fn try_from(wire: EngineWord) -> Result<Self, DecodeError> {
        Ok(match wire.kind {
            FORWARD_TO => Self::ForwardTo {
                site: word::site(wire.site)?,
                message: need(wire.message, "message")?.try_into()?,
            },
            PULL => Self::Pull { key: word::key(wire.key)?, turn: wire.turn },
            BATCH_DONE => {
                Self::BatchDone { id: wire.id, superseded: list::unpack(&wire.superseded)? }
            }
            BATCH_DEFERRED => Self::BatchDeferred { id: wire.id },
            BATCH_POISON => {
                Self::BatchPoison { id: wire.id, superseded: list::unpack(&wire.superseded)? }
            }
            value => return Err(DecodeError::Unknown { what: "engine word", value }),
        })
    }
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct GateWord {
    #[prost(uint32, tag = "1")]
    kind: u32,
    #[prost(uint32, tag = "2")]
    here: u32,
    #[prost(uint64, tag = "3")]
    start: u64,
    #[prost(message, repeated, tag = "4")]
    alive: Vec<Alive>,
    #[prost(uint32, repeated, tag = "5")]
    wakes_on_message: Vec<u32>,
    #[prost(uint64, tag = "6")]
    inbox: u64,
    #[prost(message, optional, tag = "7")]
    key: Option<Key>,
    #[prost(uint64, tag = "8")]
    turn: u64,
    #[prost(message, optional, tag = "9")]
    answer: Option<PullAnswer>,
    #[prost(uint32, tag = "10")]
    from: u32,
    #[prost(message, optional, tag = "11")]
    message: Option<ForwardedMessage>,
    #[prost(uint64, tag = "12")]
    id: u64,
    #[prost(bytes = "bytes", tag = "13")]
    bytes: Bytes,
    #[prost(uint64, tag = "14")]
    waited_ms: u64,
    #[prost(uint32, repeated, tag = "15")]
    waiting: Vec<u32>,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(crate) struct Alive {
    #[prost(uint32, tag = "1")]
    site: u32,
    #[prost(uint32, tag = "2")]
    state: u32,
}

impl TryFrom<Alive> for (vocab::SiteId, SiteState) {
    type Error = DecodeError;

    fn try_from(wire: Alive) -> Result<Self, DecodeError> {
        Ok((word::site(wire.site)?, state_from_wire(wire.state)?))
    }
}

const SITES: u32 = 1;
const PULLED: u32 = 2;
const FORWARDED: u32 = 3;
const BATCH: u32 = 4;

impl From<&site::GateWord> for GateWord {
    fn from(word: &site::GateWord) -> Self {
        use site::GateWord as Word;
        let none = Self::default();
        match word {
            Word::Sites { here, start, alive, wakes_on_message, inbox, waiting } => Self {
                kind: SITES,
                here: state_to_wire(*here),
                start: *start,
                alive: alive
                    .iter()
                    .map(|(site, state)| Alive {
                        site: u32::from(site.0),
                        state: state_to_wire(*state),
                    })
                    .collect(),
                wakes_on_message: wakes_on_message.iter().map(|site| u32::from(site.0)).collect(),
                inbox: *inbox,
                waiting: waiting.iter().map(|site| u32::from(site.0)).collect(),
                ..none
            },
            Word::Pulled { key, turn, answer } => Self {
                kind: PULLED,
                key: Some((*key).into()),
                turn: *turn,
                answer: Some(answer.into()),
                ..none
            },
            Word::Forwarded { from, message } => Self {
                kind: FORWARDED,
                from: u32::from(from.0),
                message: Some(message.into()),
                ..none
            },
            Word::Batch { id, from, bytes, waited_ms } => Self {
                kind: BATCH,
                id: *id,
                from: u32::from(from.0),
                bytes: bytes.clone(),
                waited_ms: *waited_ms,
                ..none
            },
        }
    }
}

impl TryFrom<GateWord> for site::GateWord {
    type Error = DecodeError;

    fn try_from(wire: GateWord) -> Result<Self, DecodeError> {
        Ok(match wire.kind {
            SITES => Self::Sites {
                here: state_from_wire(wire.here)?,
                start: wire.start,
                alive: word::all(wire.alive)?,
                wakes_on_message: wire
                    .wakes_on_message
                    .into_iter()
                    .map(word::site)
                    .collect::<Result<_, _>>()?,
                inbox: wire.inbox,
                waiting: wire.waiting.into_iter().map(word::site).collect::<Result<_, _>>()?,
            },
            PULLED => Self::Pulled {
                key: word::key(wire.key)?,
                turn: wire.turn,
                answer: need(wire.answer, "answer")?.try_into()?,
            },
            FORWARDED => Self::Forwarded {
                from: word::site(wire.from)?,
                message: need(wire.message, "message")?.try_into()?,
            },
            BATCH => Self::Batch {
                id: wire.id,
                from: word::site(wire.from)?,
                bytes: wire.bytes,
                waited_ms: wire.waited_ms,
            },
            value => return Err(DecodeError::Unknown { what: "gate word", value }),
        })
    }
}
