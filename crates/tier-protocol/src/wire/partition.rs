//! The words between a site's gate and the replicas of its partitions.

use std::collections::BTreeSet;

use bytes::Bytes;
use vocab::{ReplicaId, SiteId, ViewNumber};

use super::list;
use super::site::{PullAnswer, state_from_wire, state_to_wire};
use super::sweep::SweepWord;
use super::word::{self, Key, need};
use crate::error::DecodeError;
use crate::partition::{self, Return, SiteOrder, SiteStatus, Standing, Steering};
use crate::site::Course;

#[derive(Clone, Copy, PartialEq, prost::Message)]
struct Status {
    #[prost(uint32, tag = "1")]
    site: u32,
    #[prost(uint32, tag = "2")]
    state: u32,
    #[prost(uint64, tag = "3")]
    start: u64,
    #[prost(uint32, tag = "4")]
    dictionary: u32,
    #[prost(bool, tag = "5")]
    evacuates: bool,
    /// 0 for none.
    #[prost(uint32, tag = "6")]
    backup_to: u32,
    #[prost(bool, tag = "7")]
    sweeps: bool,
}

impl From<&SiteStatus> for Status {
    fn from(status: &SiteStatus) -> Self {
        let SiteStatus { site, state, start, dictionary, course } = *status;
        let Course { evacuates, backup_to, sweeps } = course;
        let (site, dictionary) = (u32::from(site.0), u32::from(dictionary));
        let backup_to = word::no_site(backup_to);
        let state = state_to_wire(state);
        Self { site, state, start, dictionary, evacuates, backup_to, sweeps }
    }
}

impl TryFrom<Status> for SiteStatus {
    type Error = DecodeError;

    fn try_from(wire: Status) -> Result<Self, DecodeError> {
        let (site, state) = (word::site(wire.site)?, state_from_wire(wire.state)?);
        let dictionary = word::small(wire.dictionary, "dictionary")?;
        let (evacuates, backup_to) = (wire.evacuates, word::some_site(wire.backup_to)?);
        let course = Course { evacuates, backup_to, sweeps: wire.sweeps };
        Ok(Self { site, state, start: wire.start, dictionary, course })
    }
}

/// Absent when nothing is ordered.
#[derive(Clone, PartialEq, prost::Message)]
struct Steer {
    /// 0 for no site, as below.
    #[prost(uint32, tag = "1")]
    evacuate_to: u32,
    #[prost(uint32, tag = "2")]
    returning: u32,
    #[prost(uint32, tag = "3")]
    backup_to: u32,
    /// How many standing orders were given.
    #[prost(uint64, tag = "4")]
    orders: u64,
    #[prost(bytes = "bytes", tag = "5")]
    activating: Bytes,
    #[prost(bytes = "bytes", tag = "6")]
    forced: Bytes,
    #[prost(bytes = "bytes", tag = "7")]
    deleting: Bytes,
    #[prost(bytes = "bytes", tag = "8")]
    stopped: Bytes,
}

fn pack_sites<'a>(sites: impl IntoIterator<Item = &'a SiteId>) -> Bytes {
    list::pack(&sites.into_iter().copied().collect::<Vec<_>>())
}

const RUNS: u32 = 0;
const PAUSED: u32 = 1;
const ABORTED: u32 = 2;

impl From<&Steering> for Steer {
    fn from(steering: &Steering) -> Self {
        let Steering { evacuate_to, returning, backup_to, standing } = steering;
        let Standing { number, activating, forced, deleting, stopped } = standing;
        let forced: Vec<_> = forced.iter().map(|(site, start)| (*site, *start)).collect();
        Self {
            evacuate_to: word::no_site(*evacuate_to),
            returning: match returning {
                Return::Runs => RUNS,
                Return::Paused => PAUSED,
                Return::Aborted => ABORTED,
            },
            backup_to: word::no_site(*backup_to),
            orders: *number,
            activating: pack_sites(activating),
            forced: list::pack(&forced),
            deleting: pack_sites(deleting),
            stopped: pack_sites(stopped),
        }
    }
}

impl TryFrom<Steer> for Steering {
    type Error = DecodeError;

    fn try_from(wire: Steer) -> Result<Self, DecodeError> {
        let sites = |bytes: &Bytes| -> Result<BTreeSet<SiteId>, DecodeError> {
            Ok(list::unpack(bytes)?.into_iter().collect())
        };
        let standing = Standing {
            number: wire.orders,
            activating: sites(&wire.activating)?,
            forced: list::unpack(&wire.forced)?.into_iter().collect(),
            deleting: sites(&wire.deleting)?,
            stopped: sites(&wire.stopped)?,
        };
        Ok(Self {
            standing,
            evacuate_to: word::some_site(wire.evacuate_to)?,
            returning: match wire.returning {
                RUNS => Return::Runs,
                PAUSED => Return::Paused,
                ABORTED => Return::Aborted,
                value => return Err(DecodeError::Unknown { what: "state of a return", value }),
            },
            backup_to: word::some_site(wire.backup_to)?,
        })
    }
}

#[derive(Clone, PartialEq, prost::Message)]
struct Progress {
    #[prost(uint64, tag = "1")]
    active: u64,
    #[prost(uint64, tag = "2")]
    refills: u64,
    #[prost(bytes = "bytes", tag = "3")]
    moved: Bytes,
    #[prost(bytes = "bytes", tag = "4")]
    dormant: Bytes,
    #[prost(bytes = "bytes", tag = "5")]
    ordered: Bytes,
    #[prost(bytes = "bytes", tag = "6")]
    at_risk: Bytes,
    /// 0 for none.
    #[prost(uint32, tag = "7")]
    backed_up_at: u32,
    #[prost(bytes = "bytes", tag = "8")]
    swept: Bytes,
    /// One more than the number; 0 of a release before.
    #[prost(uint64, tag = "9")]
    heard: u64,
    #[prost(bytes = "bytes", tag = "10")]
    activating: Bytes,
    #[prost(bytes = "bytes", tag = "11")]
    deleting: Bytes,
}

impl From<&partition::Progress> for Progress {
    fn from(progress: &partition::Progress) -> Self {
        use partition::Progress as Told;
        let Told {
            active,
            moved,
            refills,
            dormant,
            ordered,
            at_risk,
            backed_up_at,
            swept,
            heard,
            activating,
            deleting,
        } = progress;
        Self {
            active: *active,
            refills: *refills,
            moved: list::pack(moved),
            dormant: list::pack(dormant),
            ordered: list::pack(ordered),
            at_risk: list::pack(at_risk),
            backed_up_at: word::no_site(*backed_up_at),
            swept: list::pack(swept),
            heard: heard.map_or(0, |number| number.saturating_add(1)),
            activating: list::pack(activating),
            deleting: list::pack(deleting),
        }
    }
}

impl TryFrom<Progress> for partition::Progress {
    type Error = DecodeError;

    fn try_from(wire: Progress) -> Result<Self, DecodeError> {
        Ok(Self {
            active: wire.active,
            refills: wire.refills,
            moved: list::unpack(&wire.moved)?,
            dormant: list::unpack(&wire.dormant)?,
            ordered: list::unpack(&wire.ordered)?,
            at_risk: list::unpack(&wire.at_risk)?,
            backed_up_at: word::some_site(wire.backed_up_at)?,
            swept: list::unpack(&wire.swept)?,
            heard: wire.heard.checked_sub(1),
            activating: list::unpack(&wire.activating)?,
            deleting: list::unpack(&wire.deleting)?,
        })
    }
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct SiteInput {
    #[prost(uint32, tag = "1")]
    kind: u32,
    /// Of this site itself.
    #[prost(uint32, tag = "2")]
    here: u32,
    #[prost(message, repeated, tag = "3")]
    alive: Vec<Status>,
    #[prost(uint32, repeated, tag = "4")]
    waiting: Vec<u32>,
    /// The site that a word is about; 0 for none.
    #[prost(uint32, tag = "5")]
    site: u32,
    /// Number of a batch, of an ask, or of a life.
    #[prost(uint64, tag = "6")]
    id: u64,
    #[prost(bytes = "bytes", tag = "7")]
    superseded: Bytes,
    /// A call, or the cursor of an ask.
    #[prost(message, optional, tag = "8")]
    key: Option<Key>,
    #[prost(bytes = "bytes", tag = "9")]
    entries: Bytes,
    #[prost(message, optional, tag = "10")]
    answer: Option<PullAnswer>,
    /// What is ordered to begin, or to end.
    #[prost(bool, tag = "11")]
    on: bool,
    #[prost(message, optional, tag = "12")]
    steering: Option<Steer>,
    /// The newest view that the keeper of the gate knows of.
    #[prost(uint64, tag = "13")]
    view: u64,
    #[prost(uint64, tag = "14")]
    replica: u64,
    #[prost(message, optional, tag = "15")]
    sweep: Option<SweepWord>,
}

const STATUS: u32 = 1;
const BATCH_STORED: u32 = 2;
const BATCH_REFUSED: u32 = 3;
const LINK_DOWN: u32 = 4;
const SUPERSEDED: u32 = 5;
const KEYSET_ASK: u32 = 6;
const PULL: u32 = 7;
const KEYSET_PAGE: u32 = 8;
const PULLED: u32 = 9;
const SETTLED: u32 = 10;
const PROGRESS_ASK: u32 = 11;
const KEEPER_ASK: u32 = 12;
const SWEEP_WORD: u32 = 13;
const ACTIVATE_ALL: u32 = 20;
const STOP_ACTIVATING: u32 = 21;
const DROP_BACKUP: u32 = 22;
const REPLICATION: u32 = 23;
// 24 and 26 were orders that steering has taken the place of.
const SWEEP: u32 = 25;
const COMPARE: u32 = 27;

impl From<&partition::SiteInput> for SiteInput {
    fn from(word: &partition::SiteInput) -> Self {
        use partition::SiteInput as Word;
        let of = |kind, site: SiteId| Self { kind, site: u32::from(site.0), ..Self::default() };
        let none = Self::default();
        match word {
            Word::Status { view, here, alive, waiting, steering } => Self {
                kind: STATUS,
                view: view.0,
                here: state_to_wire(*here),
                alive: alive.iter().map(Status::from).collect(),
                waiting: waiting.iter().map(|site| u32::from(site.0)).collect(),
                steering: (*steering != Steering::default()).then(|| steering.into()),
                ..none
            },
            Word::BatchStored { site, id } => Self { id: *id, ..of(BATCH_STORED, *site) },
            Word::BatchRefused { site, id } => Self { id: *id, ..of(BATCH_REFUSED, *site) },
            Word::LinkDown { view, site } => Self { view: view.0, ..of(LINK_DOWN, *site) },
            Word::Superseded(calls) => {
                Self { kind: SUPERSEDED, superseded: list::pack(calls), ..none }
            }
            Word::KeysetAsk { site, cursor, ask } => {
                Self { key: cursor.map(Key::from), id: *ask, ..of(KEYSET_ASK, *site) }
            }
            Word::Pull { site, key, ask } => {
                Self { key: Some((*key).into()), id: *ask, ..of(PULL, *site) }
            }
            Word::KeysetPage { from, entries } => {
                Self { entries: list::pack(entries), ..of(KEYSET_PAGE, *from) }
            }
            Word::Pulled { from, key, answer } => Self {
                kind: PULLED,
                site: from.map_or(0, |site| u32::from(site.0)),
                key: Some((*key).into()),
                answer: Some(answer.into()),
                ..none
            },
            Word::Settled { life } => Self { kind: SETTLED, id: *life, ..none },
            Word::ProgressAsk => Self { kind: PROGRESS_ASK, ..none },
            Word::KeeperAsk { keeper, ask } => {
                Self { kind: KEEPER_ASK, id: *ask, replica: keeper.0, ..none }
            }
            Word::Sweep { site, ask, word } => {
                Self { id: *ask, sweep: Some(word.into()), ..of(SWEEP_WORD, *site) }
            }
            Word::Order(order) => match *order {
                SiteOrder::ActivateAll { site, force } => {
                    Self { on: force, ..of(ACTIVATE_ALL, site) }
                }
                SiteOrder::StopActivating { site } => of(STOP_ACTIVATING, site),
                SiteOrder::DropBackup { site } => of(DROP_BACKUP, site),
                SiteOrder::Replication { site, on } => Self { on, ..of(REPLICATION, site) },
                SiteOrder::Sweep { site } => of(SWEEP, site),
                SiteOrder::Compare { site } => of(COMPARE, site),
            },
        }
    }
}

impl TryFrom<SiteInput> for partition::SiteInput {
    type Error = DecodeError;

    fn try_from(wire: SiteInput) -> Result<Self, DecodeError> {
        let (id, view, site) = (wire.id, ViewNumber(wire.view), || word::site(wire.site));
        Ok(match wire.kind {
            STATUS => Self::Status {
                view,
                here: state_from_wire(wire.here)?,
                alive: word::all(wire.alive)?,
                waiting: wire.waiting.into_iter().map(word::site).collect::<Result<_, _>>()?,
                steering: wire.steering.map(TryInto::try_into).transpose()?.unwrap_or_default(),
            },
            BATCH_STORED => Self::BatchStored { site: site()?, id },
            BATCH_REFUSED => Self::BatchRefused { site: site()?, id },
            LINK_DOWN => Self::LinkDown { view, site: site()? },
            SUPERSEDED => Self::Superseded(list::unpack(&wire.superseded)?),
            KEYSET_ASK => {
                Self::KeysetAsk { site: site()?, cursor: wire.key.map(Into::into), ask: id }
            }
            PULL => Self::Pull { site: site()?, key: word::key(wire.key)?, ask: id },
            KEYSET_PAGE => {
                Self::KeysetPage { from: site()?, entries: list::unpack(&wire.entries)? }
            }
            PULLED => Self::Pulled {
                from: word::some_site(wire.site)?,
                key: word::key(wire.key)?,
                answer: need(wire.answer, "answer")?.try_into()?,
            },
            SETTLED => Self::Settled { life: id },
            PROGRESS_ASK => Self::ProgressAsk,
            KEEPER_ASK => Self::KeeperAsk { keeper: ReplicaId(wire.replica), ask: id },
            ACTIVATE_ALL => Self::Order(SiteOrder::ActivateAll { site: site()?, force: wire.on }),
            STOP_ACTIVATING => Self::Order(SiteOrder::StopActivating { site: site()? }),
            DROP_BACKUP => Self::Order(SiteOrder::DropBackup { site: site()? }),
            REPLICATION => Self::Order(SiteOrder::Replication { site: site()?, on: wire.on }),
            SWEEP => Self::Order(SiteOrder::Sweep { site: site()? }),
            COMPARE => Self::Order(SiteOrder::Compare { site: site()? }),
            SWEEP_WORD => {
                let word = need(wire.sweep, "sweep")?.try_into()?;
                Self::Sweep { site: site()?, ask: id, word }
            }
            value => return Err(DecodeError::Unknown { what: "word of the gate", value }),
        })
    }
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct GateBound {
    #[prost(uint32, tag = "1")]
    kind: u32,
    #[prost(uint32, tag = "2")]
    site: u32,
    /// Number of a batch, or of an ask.
    #[prost(uint64, tag = "3")]
    id: u64,
    #[prost(uint64, tag = "4")]
    view: u64,
    #[prost(bytes = "bytes", tag = "5")]
    bytes: Bytes,
    #[prost(bytes = "bytes", tag = "6")]
    entries: Bytes,
    /// A call, or where the next page starts.
    #[prost(message, optional, tag = "7")]
    key: Option<Key>,
    #[prost(message, optional, tag = "8")]
    answer: Option<PullAnswer>,
    #[prost(message, optional, tag = "9")]
    progress: Option<Progress>,
    /// Whether it is as was asked.
    #[prost(bool, tag = "10")]
    yes: bool,
    #[prost(message, optional, tag = "11")]
    sweep: Option<SweepWord>,
}

const PUBLISH: u32 = 1;
const PAGE: u32 = 2;
const PULL_ANSWER: u32 = 3;
const ASK: u32 = 4;
const PROGRESS: u32 = 5;
const KEEPER: u32 = 6;
const SAID: u32 = 7;

impl From<&partition::GateBound> for GateBound {
    fn from(word: &partition::GateBound) -> Self {
        use partition::GateBound as Word;
        let none = Self::default();
        match word {
            Word::Publish { site, id, view, bytes } => Self {
                kind: PUBLISH,
                site: u32::from(site.0),
                id: *id,
                view: view.0,
                bytes: bytes.clone(),
                ..none
            },
            Word::KeysetPage { site, ask, entries, next } => Self {
                kind: PAGE,
                site: u32::from(site.0),
                id: *ask,
                entries: list::pack(entries),
                key: next.map(Key::from),
                ..none
            },
            Word::PullAnswer { site, ask, key, answer } => Self {
                kind: PULL_ANSWER,
                site: u32::from(site.0),
                id: *ask,
                key: Some((*key).into()),
                answer: Some(answer.into()),
                ..none
            },
            Word::Pull { key } => Self { kind: ASK, key: Some((*key).into()), ..none },
            Word::Progress(progress) => {
                Self { kind: PROGRESS, progress: Some(progress.into()), ..none }
            }
            Word::Sweep { site, ask, word } => Self {
                kind: SAID,
                site: u32::from(site.0),
                id: *ask,
                sweep: Some(word.into()),
                ..none
            },
            Word::Keeper { ask, is_confirmed } => {
                Self { kind: KEEPER, id: *ask, yes: *is_confirmed, ..none }
            }
        }
    }
}

impl TryFrom<GateBound> for partition::GateBound {
    type Error = DecodeError;

    fn try_from(wire: GateBound) -> Result<Self, DecodeError> {
        let site = || word::site(wire.site);
        Ok(match wire.kind {
            PUBLISH => Self::Publish {
                site: site()?,
                id: wire.id,
                view: ViewNumber(wire.view),
                bytes: wire.bytes,
            },
            PAGE => Self::KeysetPage {
                site: site()?,
                ask: wire.id,
                entries: list::unpack(&wire.entries)?,
                next: wire.key.map(Into::into),
            },
            PULL_ANSWER => Self::PullAnswer {
                site: site()?,
                ask: wire.id,
                key: word::key(wire.key)?,
                answer: need(wire.answer, "answer")?.try_into()?,
            },
            ASK => Self::Pull { key: word::key(wire.key)? },
            PROGRESS => Self::Progress(need(wire.progress, "progress")?.try_into()?),
            KEEPER => Self::Keeper { ask: wire.id, is_confirmed: wire.yes },
            SAID => {
                let word = need(wire.sweep, "sweep")?.try_into()?;
                Self::Sweep { site: site()?, ask: wire.id, word }
            }
            value => return Err(DecodeError::Unknown { what: "word to the gate", value }),
        })
    }
}

/// A word to the gate, with the partition that speaks.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ToGate {
    #[prost(uint32, tag = "1")]
    pub(crate) partition: u32,
    #[prost(message, optional, tag = "2")]
    pub(crate) word: Option<GateBound>,
}
