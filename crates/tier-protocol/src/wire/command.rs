//! Commands.

use vocab::ViewNumber;

use super::quarantine::Strike;
use super::record::{Record, Tombstone, record, tombstone};
use super::word::{self, Key, Stamp, Token, need};
use crate::command::{self, PutFlags, Veto};
use crate::error::DecodeError;

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Command {
    #[prost(uint32, tag = "1")]
    kind: u32,
    #[prost(uint64, tag = "2")]
    view: u64,
    #[prost(message, optional, tag = "3")]
    key: Option<Key>,
    #[prost(uint64, tag = "4")]
    turn: u64,
    #[prost(bool, tag = "5")]
    begins: bool,
    #[prost(message, optional, tag = "6")]
    cached: Option<Stamp>,
    #[prost(message, optional, tag = "7")]
    record: Option<Record>,
    #[prost(message, optional, tag = "8")]
    base: Option<Stamp>,
    #[prost(bool, tag = "9")]
    boundary: bool,
    #[prost(bool, tag = "10")]
    crossing_unchanged: bool,
    #[prost(bool, tag = "11")]
    unreleased: bool,
    #[prost(message, optional, tag = "12")]
    token: Option<Token>,
    #[prost(message, optional, tag = "13")]
    tombstone: Option<Tombstone>,
    #[prost(uint64, tag = "14")]
    batch: u64,
    #[prost(bool, tag = "15")]
    ended: bool,
    #[prost(message, optional, tag = "16")]
    strike: Option<Strike>,
    /// 0: none was said.
    #[prost(uint32, tag = "17")]
    veto: u32,
}

/// A veto as a number from 1 to 15, fixed for ever; 0 is none.
pub(crate) fn veto_to_wire(veto: Option<Veto>) -> u32 {
    match veto {
        None => 0,
        Some(Veto::Undecided) => 1,
        Some(Veto::SetUp) => 2,
        Some(Veto::Leaving) => 3,
        Some(Veto::NoAck) => 4,
        Some(Veto::ReInvite) => 5,
        Some(Veto::Transaction) => 6,
        Some(Veto::Application) => 7,
        Some(Veto::CloseRequests) => 8,
    }
}

/// Advice of a later release, of which nothing is known here, is none.
pub(crate) fn veto_from_wire(number: u32) -> Option<Veto> {
    Veto::ALL.into_iter().find(|veto| veto_to_wire(Some(*veto)) == number)
}

const LOCK_AND_GET: u32 = 1;
const GET: u32 = 2;
const PUT: u32 = 3;
const UNLOCK: u32 = 4;
const RENEW: u32 = 5;
const DELETE: u32 = 6;
const STORE_DORMANT: u32 = 7;
const STORE_TOMBSTONE: u32 = 8;
const CONFIRM: u32 = 9;
const POISONED: u32 = 10;

impl From<&command::Command> for Command {
    fn from(command: &command::Command) -> Self {
        let view = command.view().0;
        match command {
            command::Command::LockAndGet { view: _, key, turn, begins, cached } => Self {
                kind: LOCK_AND_GET,
                view,
                key: Some((*key).into()),
                turn: *turn,
                begins: *begins,
                cached: cached.map(Stamp::from),
                ..Self::default()
            },
            command::Command::Get { view: _, key, turn } => {
                Self { kind: GET, view, key: Some((*key).into()), turn: *turn, ..Self::default() }
            }
            command::Command::Confirm { view: _, key, turn } => Self {
                kind: CONFIRM,
                view,
                key: Some((*key).into()),
                turn: *turn,
                ..Self::default()
            },
            command::Command::Put { view: _, record, base, flags } => Self {
                kind: PUT,
                view,
                record: Some(record.into()),
                base: base.map(Stamp::from),
                boundary: flags.boundary,
                crossing_unchanged: flags.crossing_unchanged,
                unreleased: flags.unreleased,
                ended: flags.ended,
                veto: veto_to_wire(flags.veto),
                ..Self::default()
            },
            command::Command::Unlock { view: _, key, token } => Self {
                kind: UNLOCK,
                view,
                key: Some((*key).into()),
                token: Some((*token).into()),
                ..Self::default()
            },
            command::Command::Renew { view: _, key, token } => Self {
                kind: RENEW,
                view,
                key: Some((*key).into()),
                token: Some((*token).into()),
                ..Self::default()
            },
            command::Command::Delete { view: _, tombstone, base } => Self {
                kind: DELETE,
                view,
                tombstone: Some((*tombstone).into()),
                base: Some((*base).into()),
                ..Self::default()
            },
            command::Command::StoreDormant { view: _, batch, record } => Self {
                kind: STORE_DORMANT,
                view,
                batch: *batch,
                record: Some(record.into()),
                ..Self::default()
            },
            command::Command::StoreTombstone { view: _, batch, tombstone } => Self {
                kind: STORE_TOMBSTONE,
                view,
                batch: *batch,
                tombstone: Some((*tombstone).into()),
                ..Self::default()
            },
            command::Command::Poisoned { view: _, key, strike } => Self {
                kind: POISONED,
                view,
                key: Some((*key).into()),
                strike: Some(strike.into()),
                ..Self::default()
            },
        }
    }
}

impl TryFrom<Command> for command::Command {
    type Error = DecodeError;

    fn try_from(wire: Command) -> Result<Self, DecodeError> {
        let view = ViewNumber(wire.view);
        let turn = wire.turn;
        Ok(match wire.kind {
            LOCK_AND_GET => Self::LockAndGet {
                view,
                key: word::key(wire.key)?,
                turn,
                begins: wire.begins,
                cached: wire.cached.map(TryInto::try_into).transpose()?,
            },
            GET => Self::Get { view, key: word::key(wire.key)?, turn },
            CONFIRM => Self::Confirm { view, key: word::key(wire.key)?, turn },
            PUT => Self::Put {
                view,
                record: record(wire.record)?,
                base: wire.base.map(TryInto::try_into).transpose()?,
                flags: PutFlags {
                    boundary: wire.boundary,
                    crossing_unchanged: wire.crossing_unchanged,
                    unreleased: wire.unreleased,
                    ended: wire.ended,
                    veto: veto_from_wire(wire.veto),
                },
            },
            UNLOCK => {
                Self::Unlock { view, key: word::key(wire.key)?, token: word::token(wire.token)? }
            }
            RENEW => {
                Self::Renew { view, key: word::key(wire.key)?, token: word::token(wire.token)? }
            }
            DELETE => Self::Delete {
                view,
                tombstone: tombstone(wire.tombstone)?,
                base: word::stamp(wire.base)?,
            },
            STORE_DORMANT => {
                Self::StoreDormant { view, batch: wire.batch, record: record(wire.record)? }
            }
            STORE_TOMBSTONE => Self::StoreTombstone {
                view,
                batch: wire.batch,
                tombstone: tombstone(wire.tombstone)?,
            },
            POISONED => Self::Poisoned {
                view,
                key: word::key(wire.key)?,
                strike: need(wire.strike, "strike")?.try_into()?,
            },
            value => return Err(DecodeError::Unknown { what: "command", value }),
        })
    }
}
