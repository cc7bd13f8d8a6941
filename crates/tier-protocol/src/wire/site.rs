//! The words between sites.

use bytes::Bytes;
use vocab::ViewNumber;

use super::list;
use super::record::{Record, record};
use super::sweep::SweepWord;
use super::word::{self, Address, Epoch, Key, need};
use crate::error::DecodeError;
use crate::site::{self, SiteState};

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct SiteWord {
    #[prost(uint32, tag = "1")]
    kind: u32,
    #[prost(uint32, tag = "2")]
    site: u32,
    #[prost(uint64, tag = "3")]
    start: u64,
    #[prost(uint32, tag = "4")]
    state: u32,
    /// Number of a batch, or of an ask.
    #[prost(uint64, tag = "5")]
    id: u64,
    #[prost(uint32, tag = "6")]
    partition: u32,
    #[prost(uint64, tag = "7")]
    view: u64,
    #[prost(bytes = "bytes", tag = "8")]
    bytes: Bytes,
    #[prost(bytes = "bytes", tag = "9")]
    superseded: Bytes,
    /// A call, or the cursor of an ask, or the start of the next page.
    #[prost(message, optional, tag = "10")]
    key: Option<Key>,
    #[prost(bytes = "bytes", tag = "11")]
    entries: Bytes,
    #[prost(bool, tag = "12")]
    ask_later: bool,
    #[prost(message, optional, tag = "13")]
    answer: Option<PullAnswer>,
    #[prost(message, optional, tag = "14")]
    message: Option<ForwardedMessage>,
    /// Absent from what a site of before dictionaries says: it reads none.
    #[prost(uint32, tag = "15")]
    dictionary: u32,
    /// Absent from what a site of before evacuations says, as the next.
    #[prost(bool, tag = "16")]
    evacuates: bool,
    /// 0 for none.
    #[prost(uint32, tag = "17")]
    backup_to: u32,
    /// Absent from what a site of before sweeps says.
    #[prost(bool, tag = "18")]
    sweeps: bool,
    #[prost(message, optional, tag = "19")]
    sweep: Option<SweepWord>,
}

const HELLO: u32 = 1;
const BATCH: u32 = 2;
const BATCH_STORED: u32 = 3;
const BATCH_REFUSED: u32 = 4;
const SUPERSEDED: u32 = 5;
const KEYSET_ASK: u32 = 6;
const KEYSET_PAGE: u32 = 7;
const PULL: u32 = 8;
const PULLED: u32 = 9;
const FORWARD: u32 = 10;
const SWEEP: u32 = 11;

impl From<&site::SiteWord> for SiteWord {
    fn from(word: &site::SiteWord) -> Self {
        use site::SiteWord as Word;
        let none = Self::default();
        match word {
            Word::Hello { site, start, state, dictionary, course } => Self {
                kind: HELLO,
                site: u32::from(site.0),
                start: *start,
                state: state_to_wire(*state),
                dictionary: u32::from(*dictionary),
                evacuates: course.evacuates,
                backup_to: word::no_site(course.backup_to),
                sweeps: course.sweeps,
                ..none
            },
            Word::Batch { id, partition, view, bytes } => Self {
                kind: BATCH,
                id: *id,
                partition: u32::from(partition.0),
                view: view.0,
                bytes: bytes.clone(),
                ..none
            },
            Word::BatchStored { id, partition } => {
                Self { kind: BATCH_STORED, id: *id, partition: u32::from(partition.0), ..none }
            }
            Word::BatchRefused { id, partition } => {
                Self { kind: BATCH_REFUSED, id: *id, partition: u32::from(partition.0), ..none }
            }
            Word::Superseded(calls) => {
                let superseded = list::pack(calls);
                Self { kind: SUPERSEDED, superseded, ..none }
            }
            Word::KeysetAsk { cursor } => {
                Self { kind: KEYSET_ASK, key: cursor.map(Key::from), ..none }
            }
            Word::KeysetPage { entries, next, ask_later } => Self {
                kind: KEYSET_PAGE,
                entries: list::pack(entries),
                key: next.map(Key::from),
                ask_later: *ask_later,
                ..none
            },
            Word::Pull { key, ask } => {
                Self { kind: PULL, key: Some((*key).into()), id: *ask, ..none }
            }
            Word::Pulled { key, ask, answer } => Self {
                kind: PULLED,
                key: Some((*key).into()),
                id: *ask,
                answer: Some(answer.into()),
                ..none
            },
            Word::Forward(message) => Self { kind: FORWARD, message: Some(message.into()), ..none },
            Word::Sweep { ask, word } => {
                Self { kind: SWEEP, id: *ask, sweep: Some(word.into()), ..none }
            }
        }
    }
}

impl TryFrom<SiteWord> for site::SiteWord {
    type Error = DecodeError;

    fn try_from(wire: SiteWord) -> Result<Self, DecodeError> {
        Ok(match wire.kind {
            HELLO => Self::Hello {
                site: word::site(wire.site)?,
                start: wire.start,
                state: state_from_wire(wire.state)?,
                dictionary: word::dictionary(wire.dictionary),
                course: site::Course {
                    evacuates: wire.evacuates,
                    backup_to: word::some_site(wire.backup_to)?,
                    sweeps: wire.sweeps,
                },
            },
            BATCH => Self::Batch {
                id: wire.id,
                partition: word::partition(wire.partition)?,
                view: ViewNumber(wire.view),
                bytes: wire.bytes,
            },
            BATCH_STORED => {
                Self::BatchStored { id: wire.id, partition: word::partition(wire.partition)? }
            }
            BATCH_REFUSED => {
                Self::BatchRefused { id: wire.id, partition: word::partition(wire.partition)? }
            }
            SUPERSEDED => Self::Superseded(list::unpack(&wire.superseded)?),
            KEYSET_ASK => Self::KeysetAsk { cursor: wire.key.map(Into::into) },
            KEYSET_PAGE => Self::KeysetPage {
                entries: list::unpack(&wire.entries)?,
                next: wire.key.map(Into::into),
                ask_later: wire.ask_later,
            },
            PULL => Self::Pull { key: word::key(wire.key)?, ask: wire.id },
            PULLED => Self::Pulled {
                key: word::key(wire.key)?,
                ask: wire.id,
                answer: need(wire.answer, "answer")?.try_into()?,
            },
            FORWARD => Self::Forward(need(wire.message, "message")?.try_into()?),
            SWEEP => Self::Sweep { ask: wire.id, word: need(wire.sweep, "sweep")?.try_into()? },
            value => return Err(DecodeError::Unknown { what: "site word", value }),
        })
    }
}

const RETURNING: u32 = 1;
const SERVING: u32 = 2;

pub(crate) fn state_to_wire(state: SiteState) -> u32 {
    match state {
        SiteState::Returning => RETURNING,
        SiteState::Serving => SERVING,
    }
}

pub(crate) fn state_from_wire(value: u32) -> Result<SiteState, DecodeError> {
    match value {
        RETURNING => Ok(SiteState::Returning),
        SERVING => Ok(SiteState::Serving),
        value => Err(DecodeError::Unknown { what: "site state", value }),
    }
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct PullAnswer {
    #[prost(uint32, tag = "1")]
    kind: u32,
    #[prost(message, optional, tag = "2")]
    record: Option<Record>,
    #[prost(message, optional, tag = "3")]
    epoch: Option<Epoch>,
}

const YOURS: u32 = 1;
const LIVES: u32 = 2;
const NO_SUCH: u32 = 3;
const ASK_LATER: u32 = 4;

impl From<&site::PullAnswer> for PullAnswer {
    fn from(answer: &site::PullAnswer) -> Self {
        let (kind, record, epoch) = match answer {
            site::PullAnswer::Yours(record) => (YOURS, Some(record.into()), None),
            site::PullAnswer::Lives(epoch) => (LIVES, None, Some((*epoch).into())),
            site::PullAnswer::NoSuch => (NO_SUCH, None, None),
            site::PullAnswer::AskLater => (ASK_LATER, None, None),
        };
        Self { kind, record, epoch }
    }
}

impl TryFrom<PullAnswer> for site::PullAnswer {
    type Error = DecodeError;

    fn try_from(wire: PullAnswer) -> Result<Self, DecodeError> {
        Ok(match wire.kind {
            YOURS => Self::Yours(record(wire.record)?),
            LIVES => Self::Lives(need(wire.epoch, "epoch")?.try_into()?),
            NO_SUCH => Self::NoSuch,
            ASK_LATER => Self::AskLater,
            value => return Err(DecodeError::Unknown { what: "answer", value }),
        })
    }
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ForwardedMessage {
    #[prost(message, optional, tag = "1")]
    key: Option<Key>,
    #[prost(message, optional, tag = "2")]
    epoch: Option<Epoch>,
    #[prost(message, optional, tag = "3")]
    source: Option<Address>,
    #[prost(bytes = "bytes", tag = "4")]
    bytes: Bytes,
}

impl From<&site::ForwardedMessage> for ForwardedMessage {
    fn from(message: &site::ForwardedMessage) -> Self {
        Self {
            key: Some(message.key.into()),
            epoch: message.epoch.map(Epoch::from),
            source: Some(message.source.into()),
            bytes: message.bytes.clone(),
        }
    }
}

impl TryFrom<ForwardedMessage> for site::ForwardedMessage {
    type Error = DecodeError;

    fn try_from(wire: ForwardedMessage) -> Result<Self, DecodeError> {
        Ok(Self {
            key: word::key(wire.key)?,
            epoch: wire.epoch.map(TryInto::try_into).transpose()?,
            source: need(wire.source, "source")?.try_into()?,
            bytes: wire.bytes,
        })
    }
}
