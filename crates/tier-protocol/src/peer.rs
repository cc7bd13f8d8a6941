//! The words between replicas of one partition: signs of life, copies for a joiner, comparison.
//!
//! All but the signs of life and the news of a map carry the view in which they are said; a replica
//! that is in another drops them, and they are asked again.

use std::time::Duration;

use vocab::{CallKey, EngineId, Epoch, LockToken, SiteId, Stamp, ViewNumber};

use crate::command::Veto;
use crate::quarantine::{SetAside, Strike};
use crate::record::{Record, Tombstone};
use crate::view::SiteMap;
use crate::wire;

/// What a replica knows of a call beside its record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CopiedState {
    /// Its timers sleep here.
    pub is_dormant: bool,
    /// Only its place is known.
    pub is_stub: bool,
    /// This version is a hand-back on its way.
    pub is_given: bool,
    /// The effects of the newest put may not have left.
    pub unreleased: bool,
    /// The newest put was at a boundary.
    pub at_boundary: bool,
    /// It was at a boundary before.
    pub was_at_boundary: bool,
    /// Another site may know of it.
    pub known_elsewhere: bool,
    /// Its old home had ended it.
    pub ends_when_free: bool,
    /// To other sites it is over.
    pub has_ended: bool,
    /// They were told so.
    pub end_told: bool,
    /// It is set aside, and no engine has ended it yet.
    pub is_condemned: bool,
    /// It was set aside, and only what its end left lingers.
    pub is_torn_down: bool,
    /// Why the newest put should not cross, if the engine said so.
    pub veto: Option<Veto>,
}

impl CopiedState {
    /// One bit for each fact, as on the wire, the veto above them. At most 16 bits.
    #[must_use]
    pub fn bits(&self) -> u32 {
        wire::peer::bits_of(self)
    }

    /// Reads what `bits` gave; bits that this build does not know are skipped.
    #[must_use]
    pub fn of_bits(bits: u32) -> Self {
        wire::peer::state_of(bits)
    }
}

/// A call as one replica gives it to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopiedCall {
    /// The record, its age current.
    pub record: Record,
    /// What goes with it.
    pub state: CopiedState,
    /// The engine that put it and has not unlocked it, and its token.
    pub lock: Option<(EngineId, LockToken)>,
    /// Locks of this call with older tokens are over.
    pub floor: LockToken,
    /// The epoch under which it slept here before it was woken here.
    pub activated_from: Option<Epoch>,
    /// Sites that miss its newest state.
    pub marks: Vec<SiteId>,
}

/// A call whose record lies in the database that the site's replicas share, as one gives it to
/// another: what all of them keep in memory of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpilledCall {
    /// The call.
    pub key: CallKey,
    /// The stamp of the record.
    pub stamp: Stamp,
    /// Time to the next deadline that will be handed; zero when it has passed.
    pub due_in: Option<Duration>,
    /// What a comparison finds for the call: of the record, as if it were in memory.
    pub digest: u64,
    /// What goes with the record.
    pub state: CopiedState,
    /// The site that owned the call first.
    pub origin: SiteId,
    /// The epoch under which it slept here before it was woken here.
    pub activated_from: Option<Epoch>,
    /// Sites that miss its newest state.
    pub marks: Vec<SiteId>,
}

/// Everything that a replica has in a run of keys, as it gives it to a joiner.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CopiedRun {
    /// The calls that are in memory.
    pub calls: Vec<CopiedCall>,
    /// Those whose records are in the database.
    pub spilled: Vec<SpilledCall>,
    /// Removals of calls that other sites may know. What comes late of such a call is refused.
    pub removed: Vec<(CallKey, Stamp)>,
    /// Which sites have yet to acknowledge which of those removals.
    pub untold: Vec<(CallKey, SiteId)>,
}

/// A run of keys: those after `after`, up to and with `to`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyRange {
    /// From the first key when absent.
    pub after: Option<CallKey>,
    /// To the last key when absent.
    pub to: Option<CallKey>,
}

/// A replica's words to another of its partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerWord {
    /// Are you there?
    Ping {
        /// Comes back in the `Pong`.
        number: u64,
    },
    /// I am.
    Pong {
        /// The ping's.
        number: u64,
    },
    /// A map that was written: whoever cannot reach the coordination store hears of it so.
    News {
        /// The store's revision at which it was written.
        revision: u64,
        /// A revision of the store that was its present one then, or later.
        store_revision: u64,
        /// The map.
        map: SiteMap,
    },
    /// A joiner asks the primary for calls.
    CopyAsk {
        /// The view that names the joiner.
        view: ViewNumber,
        /// Calls after this key.
        after: Option<CallKey>,
        /// How many.
        calls_max: u32,
    },
    /// Answer to `CopyAsk`, by rising key.
    CopyPage {
        /// The view.
        view: ViewNumber,
        /// The key that was asked for.
        after: Option<CallKey>,
        /// What there is in the run of keys from there on.
        run: CopiedRun,
        /// Where the next page starts; `None` after the last.
        next: Option<CallKey>,
        /// Calls that the primary holds in all, for the joiner's progress.
        total: u64,
        /// Locks of calls that are in the page's run and not in the page, with older tokens, are
        /// over.
        floor: LockToken,
    },
    /// The primary says what it holds in a run of keys.
    Compare {
        /// The view.
        view: ViewNumber,
        /// The run.
        range: KeyRange,
        /// Sum over the calls of the run.
        digest: u64,
    },
    /// A member holds something else in it: which calls are there?
    CompareAsk {
        /// The view.
        view: ViewNumber,
        /// The run.
        range: KeyRange,
    },
    /// Answer to `CompareAsk`.
    CompareKeys {
        /// The view.
        view: ViewNumber,
        /// The run.
        range: KeyRange,
        /// The calls, with the digest of each.
        calls: Vec<(CallKey, u64)>,
    },
    /// A member asks for calls in which it differs.
    Repair {
        /// The view.
        view: ViewNumber,
        /// The calls.
        keys: Vec<CallKey>,
    },
    /// Answer to `Repair`.
    Repaired {
        /// The view.
        view: ViewNumber,
        /// What the primary holds.
        calls: Vec<CopiedCall>,
        /// What it holds in the database.
        spilled: Vec<SpilledCall>,
        /// What it does not hold.
        gone: Vec<CallKey>,
        /// Locks of the calls that are gone with tokens up to this are over.
        floor: LockToken,
    },
    /// Another site has acknowledged these states.
    Crossed {
        /// The site.
        site: SiteId,
        /// The calls, and what it has of each.
        calls: Vec<(CallKey, Stamp)>,
    },
    /// The primary has another member send a batch: of these states, if they are still what it
    /// holds, and of these removals.
    Ship {
        /// The view.
        view: ViewNumber,
        /// Where the batch goes.
        site: SiteId,
        /// The number of the batch.
        id: u64,
        /// The calls, and the stamp of each record.
        calls: Vec<(CallKey, Stamp)>,
        /// Calls that are over.
        removals: Vec<(CallKey, Stamp)>,
    },
    /// Answer to `Ship`: what could be sent of it is on its way.
    Shipped {
        /// The view.
        view: ViewNumber,
        /// Where the batch goes.
        site: SiteId,
        /// The number of the batch.
        id: u64,
        /// What was asked for and is not in it: another state is held.
        missing: Vec<CallKey>,
        /// Bytes of the batch, and before compression; 0 where all is missing.
        bytes: u64,
        /// The same before compression.
        raw_bytes: u64,
    },
    /// These records are in the database: whoever holds them may let go of them.
    Spilled {
        /// The view.
        view: ViewNumber,
        /// The calls, and the stamp of each record.
        calls: Vec<(CallKey, Stamp)>,
    },
    /// A member asks the primary which of these records are in the database: it may have missed
    /// that.
    SpilledAsk {
        /// The view.
        view: ViewNumber,
        /// The calls, and what the member holds of each.
        calls: Vec<(CallKey, Stamp)>,
    },
    /// The primary asks who needs rows of the database up to these stamps, of calls that are gone.
    RowsAsk {
        /// The view.
        view: ViewNumber,
        /// The calls.
        calls: Vec<(CallKey, Stamp)>,
    },
    /// Answer to `RowsAsk`: the rows that the member does not need, nor will by any word that is
    /// still on its way.
    RowsFree {
        /// The view.
        view: ViewNumber,
        /// The calls.
        calls: Vec<(CallKey, Stamp)>,
    },
    /// The primary has an answer for another site: is the view still this one?
    ViewAsk {
        /// The view.
        view: ViewNumber,
        /// The primary's number; comes back.
        ask: u64,
    },
    /// It is. A replica in another view says nothing.
    ViewSame {
        /// The view.
        view: ViewNumber,
        /// The primary's number.
        ask: u64,
    },
    /// Turns that the primary alone saw breaking, or that a joiner has not heard of.
    Struck {
        /// The view.
        view: ViewNumber,
        /// The calls, and what happened.
        strikes: Vec<(CallKey, Strike)>,
    },
    /// The primary has set a call aside.
    Quarantined {
        /// The view.
        view: ViewNumber,
        /// What is kept of it.
        aside: SetAside,
    },
    /// The primary has removed a call that no engine could end.
    Removed {
        /// The view.
        view: ViewNumber,
        /// The removal.
        tombstone: Tombstone,
    },
    /// An operator has looked at these calls, and they are kept no longer.
    QuarantineDropped {
        /// The view.
        view: ViewNumber,
        /// The calls.
        keys: Vec<CallKey>,
    },
}
