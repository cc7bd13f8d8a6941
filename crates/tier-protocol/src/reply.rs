//! What a replica says to an engine. Expected refusals are words, not errors.

use std::time::Duration;

use vocab::{CallKey, Epoch, LockToken, SiteId, Stamp, ViewNumber};

use crate::record::Record;

/// Why an engine was given a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It asked; `turn` is its own number for the ask.
    Asked {
        /// The engine's number for the turn.
        turn: u64,
    },
    /// A deadline in the record has passed.
    Due,
    /// The record was put and not unlocked: its effects go out again, byte for byte.
    Resume,
    /// A dormant call is to wake here: bulk activation, a hand-back that arrived, a refill, or a
    /// dead home's record that must end.
    Activate,
    /// The call is to go home: the engine puts it with that site as home, if it is steady.
    HandBack {
        /// The site it goes to.
        to: SiteId,
    },
    /// The call broke turn after turn and is set aside: the engine ends it, without its
    /// applications, and gives up when that breaks too. No other cause is given for it again.
    Quarantined,
}

/// Why a put, a delete or a dormant record was not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The token is not that of the current lock.
    OldToken,
    /// The record it was made from is not the newest: take the lock's newest copy and step again.
    NotTheBase {
        /// Stamp of what is held; `None` when nothing is.
        held: Option<Stamp>,
    },
    /// The partition is full (records or bytes); only calls that begin are refused.
    Full,
}

/// What became of a record or tombstone that crossed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DormantOutcome {
    /// It is held, or was held already (a repetition).
    Stored,
    /// Something newer of the same or a later home is held; nothing changed.
    Stale,
    /// The call lives under a higher epoch: the sender must yield.
    Superseded {
        /// The epoch held here.
        held: Epoch,
    },
    /// No room for more dormant records: the batch stays on the queue.
    Full,
}

impl Reply {
    /// The call that the reply is about.
    #[must_use]
    pub fn key(&self) -> CallKey {
        match self {
            Self::Granted { key, .. }
            | Self::Unchanged { key, .. }
            | Self::Queued { key, .. }
            | Self::Busy { key, .. }
            | Self::NotHere { key, .. }
            | Self::Quarantined { key, .. }
            | Self::StaleView { key, .. }
            | Self::Got { key, .. }
            | Self::Confirmed { key, .. }
            | Self::Stored { key, .. }
            | Self::Refused { key, .. }
            | Self::Dormant { key, .. } => *key,
        }
    }
}

/// A replica's words to an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The lock is the engine's.
    Granted {
        /// The call.
        key: CallKey,
        /// Proof of the lock.
        token: LockToken,
        /// Why.
        cause: Cause,
        /// The newest record; `None` for a call that begins. Its header's age is current.
        record: Option<Record>,
        /// The record is dormant: timers asleep, home elsewhere or not yet woken.
        dormant: bool,
        /// The record was put and never unlocked: its effects may not have left.
        resume: bool,
        /// Without a record: the epoch under which an earlier call of this key ended, if that is
        /// remembered. What begins below it is refused by every site that remembers it too.
        floor: Option<Epoch>,
    },
    /// The lock is the engine's, and its cached copy is the newest.
    Unchanged {
        /// The call.
        key: CallKey,
        /// Proof of the lock.
        token: LockToken,
        /// The engine's number for the turn.
        turn: u64,
        /// The stamp that both hold.
        stamp: Stamp,
        /// Time since that put.
        age: Duration,
    },
    /// Another engine holds the lock: a `Granted` follows.
    Queued {
        /// The call.
        key: CallKey,
        /// The engine's number for the turn.
        turn: u64,
    },
    /// Too many wait for this call, or the partition has no room for another call.
    Busy {
        /// The call.
        key: CallKey,
        /// The engine's number for the turn.
        turn: u64,
    },
    /// No record, and the ask could not begin one.
    NotHere {
        /// The call.
        key: CallKey,
        /// The engine's number for the turn.
        turn: u64,
    },
    /// Whatever begins a call of this key has broken engines: it is given to none for a while.
    Quarantined {
        /// The call.
        key: CallKey,
        /// The engine's number for the turn.
        turn: u64,
    },
    /// The engine's picture of the partition is old; it repeats against `current`.
    StaleView {
        /// The call the refused command was about.
        key: CallKey,
        /// The member's view.
        current: ViewNumber,
    },
    /// Answer to `Get`.
    Got {
        /// The call.
        key: CallKey,
        /// The engine's number.
        turn: u64,
        /// The newest record, if any.
        record: Option<Record>,
        /// Whether it is dormant.
        dormant: bool,
    },
    /// Answer to `Confirm`.
    Confirmed {
        /// The call.
        key: CallKey,
        /// The engine's number for the turn.
        turn: u64,
    },
    /// The put or delete with this stamp is held. A repeated stamp is answered alike.
    Stored {
        /// The call.
        key: CallKey,
        /// Stamp of the put.
        stamp: Stamp,
    },
    /// The put or delete with this stamp is not held.
    Refused {
        /// The call.
        key: CallKey,
        /// Stamp of the put.
        stamp: Stamp,
        /// Why.
        why: Refusal,
    },
    /// Answer to `StoreDormant` and `StoreTombstone`.
    Dormant {
        /// The call.
        key: CallKey,
        /// The batch it came in.
        batch: u64,
        /// What became of it.
        outcome: DormantOutcome,
    },
}
