//! Strikes, and what is set aside.

use std::time::Duration;

use bytes::Bytes;
use vocab::{CallKey, EngineId};

use super::record::Record;
use super::word::{self, Key, Token, nanos};
use crate::error::DecodeError;
use crate::quarantine::{self, StrikeKind};

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Strike {
    #[prost(uint32, tag = "1")]
    kind: u32,
    #[prost(uint64, tag = "2")]
    engine: u64,
    #[prost(message, optional, tag = "3")]
    token: Option<Token>,
    #[prost(uint64, tag = "4")]
    age: u64,
    #[prost(string, tag = "5")]
    what: String,
    #[prost(bytes = "bytes", tag = "6")]
    message: Bytes,
    /// The call, where the strike stands by itself.
    #[prost(message, optional, tag = "7")]
    pub(crate) key: Option<Key>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct SetAside {
    #[prost(message, optional, tag = "1")]
    key: Option<Key>,
    #[prost(message, optional, tag = "2")]
    record: Option<Record>,
    #[prost(bool, tag = "3")]
    dormant: bool,
    #[prost(uint64, tag = "4")]
    age: u64,
    #[prost(message, repeated, tag = "5")]
    strikes: Vec<Strike>,
}

const PANICKED: u32 = 1;
const UNDECODABLE: u32 = 2;
const BROKEN: u32 = 3;
const UNREADABLE: u32 = 4;

fn number(kind: StrikeKind) -> u32 {
    match kind {
        StrikeKind::Panicked => PANICKED,
        StrikeKind::Undecodable => UNDECODABLE,
        StrikeKind::Broken => BROKEN,
        StrikeKind::Unreadable => UNREADABLE,
    }
}

fn kind(number: u32) -> Result<StrikeKind, DecodeError> {
    Ok(match number {
        PANICKED => StrikeKind::Panicked,
        UNDECODABLE => StrikeKind::Undecodable,
        BROKEN => StrikeKind::Broken,
        UNREADABLE => StrikeKind::Unreadable,
        value => return Err(DecodeError::Unknown { what: "strike", value }),
    })
}

impl From<&quarantine::Strike> for Strike {
    fn from(strike: &quarantine::Strike) -> Self {
        Self {
            kind: number(strike.kind),
            engine: strike.engine.0,
            token: Some(strike.token.into()),
            age: nanos(strike.age),
            what: strike.what.clone(),
            message: strike.message.clone(),
            key: None,
        }
    }
}

impl Strike {
    /// The same, standing by itself.
    pub(crate) fn of(self, key: CallKey) -> Self {
        Self { key: Some(key.into()), ..self }
    }
}

impl TryFrom<Strike> for quarantine::Strike {
    type Error = DecodeError;

    fn try_from(wire: Strike) -> Result<Self, DecodeError> {
        Ok(Self {
            kind: kind(wire.kind)?,
            engine: EngineId(wire.engine),
            token: word::token(wire.token)?,
            age: Duration::from_nanos(wire.age),
            what: wire.what,
            message: wire.message,
        })
    }
}

impl From<&quarantine::SetAside> for SetAside {
    fn from(aside: &quarantine::SetAside) -> Self {
        Self {
            key: Some(aside.key.into()),
            record: aside.record.as_ref().map(Record::from),
            dormant: aside.dormant,
            age: nanos(aside.age),
            strikes: aside.strikes.iter().map(Strike::from).collect(),
        }
    }
}

impl TryFrom<SetAside> for quarantine::SetAside {
    type Error = DecodeError;

    fn try_from(wire: SetAside) -> Result<Self, DecodeError> {
        Ok(Self {
            key: word::key(wire.key)?,
            record: wire.record.map(TryInto::try_into).transpose()?,
            dormant: wire.dormant,
            age: Duration::from_nanos(wire.age),
            strikes: word::all(wire.strikes)?,
        })
    }
}
