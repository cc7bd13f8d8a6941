//! Replies.

use std::time::Duration;

use vocab::ViewNumber;

use super::record::Record;
use super::word::{self, Epoch, Key, Stamp, Token, nanos, need};
use crate::error::DecodeError;
use crate::reply::{self, DormantOutcome, Refusal};

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Reply {
    #[prost(uint32, tag = "1")]
    kind: u32,
    #[prost(message, optional, tag = "2")]
    key: Option<Key>,
    #[prost(message, optional, tag = "3")]
    token: Option<Token>,
    #[prost(message, optional, tag = "4")]
    cause: Option<Cause>,
    #[prost(message, optional, tag = "5")]
    record: Option<Record>,
    #[prost(bool, tag = "6")]
    dormant: bool,
    #[prost(bool, tag = "7")]
    resume: bool,
    #[prost(uint64, tag = "8")]
    turn: u64,
    #[prost(message, optional, tag = "9")]
    stamp: Option<Stamp>,
    #[prost(uint64, tag = "10")]
    age: u64,
    #[prost(uint64, tag = "11")]
    current: u64,
    /// Which refusal or which outcome.
    #[prost(uint32, tag = "12")]
    why: u32,
    #[prost(message, optional, tag = "13")]
    held: Option<Stamp>,
    #[prost(message, optional, tag = "14")]
    held_epoch: Option<Epoch>,
    #[prost(uint64, tag = "15")]
    batch: u64,
    #[prost(message, optional, tag = "16")]
    floor: Option<Epoch>,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(crate) struct Cause {
    #[prost(uint32, tag = "1")]
    kind: u32,
    #[prost(uint64, tag = "2")]
    turn: u64,
    #[prost(uint32, tag = "3")]
    to: u32,
}

const ASKED: u32 = 1;
const DUE: u32 = 2;
const RESUME: u32 = 3;
const ACTIVATE: u32 = 4;
const HAND_BACK: u32 = 5;
const QUARANTINED: u32 = 6;

impl From<reply::Cause> for Cause {
    fn from(cause: reply::Cause) -> Self {
        let (kind, turn, to) = match cause {
            reply::Cause::Asked { turn } => (ASKED, turn, 0),
            reply::Cause::Due => (DUE, 0, 0),
            reply::Cause::Resume => (RESUME, 0, 0),
            reply::Cause::Activate => (ACTIVATE, 0, 0),
            reply::Cause::HandBack { to } => (HAND_BACK, 0, u32::from(to.0)),
            reply::Cause::Quarantined => (QUARANTINED, 0, 0),
        };
        Self { kind, turn, to }
    }
}

impl TryFrom<Cause> for reply::Cause {
    type Error = DecodeError;

    fn try_from(wire: Cause) -> Result<Self, DecodeError> {
        Ok(match wire.kind {
            ASKED => Self::Asked { turn: wire.turn },
            DUE => Self::Due,
            RESUME => Self::Resume,
            ACTIVATE => Self::Activate,
            HAND_BACK => Self::HandBack { to: word::site(wire.to)? },
            QUARANTINED => Self::Quarantined,
            value => return Err(DecodeError::Unknown { what: "cause", value }),
        })
    }
}

const OLD_TOKEN: u32 = 1;
const NOT_THE_BASE: u32 = 2;
const REFUSED_FULL: u32 = 3;

const DORMANT_STORED: u32 = 1;
const DORMANT_STALE: u32 = 2;
const DORMANT_SUPERSEDED: u32 = 3;
const DORMANT_FULL: u32 = 4;

const GRANTED: u32 = 1;
const UNCHANGED: u32 = 2;
const QUEUED: u32 = 3;
const BUSY: u32 = 4;
const NOT_HERE: u32 = 5;
const STALE_VIEW: u32 = 6;
const GOT: u32 = 7;
const STORED: u32 = 8;
const REFUSED: u32 = 9;
const DORMANT: u32 = 10;
const CONFIRMED: u32 = 11;
const SET_ASIDE: u32 = 12;

fn refused(why: Refusal) -> Reply {
    let (why, held) = match why {
        Refusal::OldToken => (OLD_TOKEN, None),
        Refusal::NotTheBase { held } => (NOT_THE_BASE, held),
        Refusal::Full => (REFUSED_FULL, None),
    };
    Reply { kind: REFUSED, why, held: held.map(Stamp::from), ..Reply::default() }
}

fn refusal(wire: &Reply) -> Result<Refusal, DecodeError> {
    Ok(match wire.why {
        OLD_TOKEN => Refusal::OldToken,
        NOT_THE_BASE => Refusal::NotTheBase { held: wire.held.map(TryInto::try_into).transpose()? },
        REFUSED_FULL => Refusal::Full,
        value => return Err(DecodeError::Unknown { what: "refusal", value }),
    })
}

fn dormant(outcome: DormantOutcome) -> Reply {
    let (why, held) = match outcome {
        DormantOutcome::Stored => (DORMANT_STORED, None),
        DormantOutcome::Stale => (DORMANT_STALE, None),
        DormantOutcome::Superseded { held } => (DORMANT_SUPERSEDED, Some(held.into())),
        DormantOutcome::Full => (DORMANT_FULL, None),
    };
    Reply { kind: DORMANT, why, held_epoch: held, ..Reply::default() }
}

fn outcome(wire: &Reply) -> Result<DormantOutcome, DecodeError> {
    Ok(match wire.why {
        DORMANT_STORED => DormantOutcome::Stored,
        DORMANT_STALE => DormantOutcome::Stale,
        DORMANT_SUPERSEDED => {
            DormantOutcome::Superseded { held: need(wire.held_epoch, "held epoch")?.try_into()? }
        }
        DORMANT_FULL => DormantOutcome::Full,
        value => return Err(DecodeError::Unknown { what: "outcome", value }),
    })
}

impl From<&reply::Reply> for Reply {
    fn from(reply: &reply::Reply) -> Self {
        use reply::Reply as Word;
        let (key, wire) = match reply {
            Word::Granted { key, token, cause, record, dormant, resume, floor } => {
                let wire = Self {
                    kind: GRANTED,
                    token: Some((*token).into()),
                    cause: Some((*cause).into()),
                    record: record.as_ref().map(Record::from),
                    dormant: *dormant,
                    resume: *resume,
                    floor: floor.map(Epoch::from),
                    ..Self::default()
                };
                (key, wire)
            }
            Word::Unchanged { key, token, turn, stamp, age } => {
                let wire = Self {
                    kind: UNCHANGED,
                    token: Some((*token).into()),
                    turn: *turn,
                    stamp: Some((*stamp).into()),
                    age: nanos(*age),
                    ..Self::default()
                };
                (key, wire)
            }
            Word::Queued { key, turn } => {
                (key, Self { kind: QUEUED, turn: *turn, ..Self::default() })
            }
            Word::Busy { key, turn } => (key, Self { kind: BUSY, turn: *turn, ..Self::default() }),
            Word::NotHere { key, turn } => {
                (key, Self { kind: NOT_HERE, turn: *turn, ..Self::default() })
            }
            Word::Quarantined { key, turn } => {
                (key, Self { kind: SET_ASIDE, turn: *turn, ..Self::default() })
            }
            Word::StaleView { key, current } => {
                (key, Self { kind: STALE_VIEW, current: current.0, ..Self::default() })
            }
            Word::Got { key, turn, record, dormant } => {
                let record = record.as_ref().map(Record::from);
                let (turn, dormant) = (*turn, *dormant);
                (key, Self { kind: GOT, turn, record, dormant, ..Self::default() })
            }
            Word::Confirmed { key, turn } => {
                (key, Self { kind: CONFIRMED, turn: *turn, ..Self::default() })
            }
            Word::Stored { key, stamp } => {
                (key, Self { kind: STORED, stamp: Some((*stamp).into()), ..Self::default() })
            }
            Word::Refused { key, stamp, why } => {
                (key, Self { stamp: Some((*stamp).into()), ..refused(*why) })
            }
            Word::Dormant { key, batch, outcome } => {
                (key, Self { batch: *batch, ..dormant(*outcome) })
            }
        };
        Self { key: Some((*key).into()), ..wire }
    }
}

impl TryFrom<Reply> for reply::Reply {
    type Error = DecodeError;

    fn try_from(wire: Reply) -> Result<Self, DecodeError> {
        let key = word::key(wire.key)?;
        let turn = wire.turn;
        Ok(match wire.kind {
            GRANTED => Self::Granted {
                key,
                token: word::token(wire.token)?,
                cause: need(wire.cause, "cause")?.try_into()?,
                record: wire.record.map(TryInto::try_into).transpose()?,
                dormant: wire.dormant,
                resume: wire.resume,
                floor: wire.floor.map(TryInto::try_into).transpose()?,
            },
            UNCHANGED => Self::Unchanged {
                key,
                token: word::token(wire.token)?,
                turn,
                stamp: word::stamp(wire.stamp)?,
                age: Duration::from_nanos(wire.age),
            },
            QUEUED => Self::Queued { key, turn },
            BUSY => Self::Busy { key, turn },
            NOT_HERE => Self::NotHere { key, turn },
            SET_ASIDE => Self::Quarantined { key, turn },
            STALE_VIEW => Self::StaleView { key, current: ViewNumber(wire.current) },
            GOT => Self::Got {
                key,
                turn,
                record: wire.record.map(TryInto::try_into).transpose()?,
                dormant: wire.dormant,
            },
            CONFIRMED => Self::Confirmed { key, turn },
            STORED => Self::Stored { key, stamp: word::stamp(wire.stamp)? },
            REFUSED => Self::Refused { key, stamp: word::stamp(wire.stamp)?, why: refusal(&wire)? },
            DORMANT => Self::Dormant { key, batch: wire.batch, outcome: outcome(&wire)? },
            value => return Err(DecodeError::Unknown { what: "reply", value }),
        })
    }
}
