//! What an engine asks of a replica.
//!
//! Every command carries the view number the engine believes in; a member refuses one that is not
//! its own view with `StaleView`, and the engine repeats it with the same stamp.

use vocab::{CallKey, LockToken, Stamp, ViewNumber};

use crate::quarantine::Strike;
use crate::record::{Record, Tombstone};

/// Why a call should not cross now: what the engine read in its state. A closed list, in the order
/// in which it is gone through: a put names the first that holds.
///
/// With all but the last two the call is not at a boundary: something is open between it and a
/// peer, which another site could not go on with. The last two are advice about a call that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Veto {
    /// An application has yet to decide what becomes of a request.
    Undecided,
    /// The first INVITE of a leg has no final response: the call is being set up.
    SetUp,
    /// A leg is to end, and its BYE waits.
    Leaving,
    /// A 2xx to an INVITE, the peer's or ours, has no ACK yet.
    NoAck,
    /// An INVITE within a dialog has no final response: the session may be about to change.
    ReInvite,
    /// Another request, of the peer's or of ours, has no final response.
    Transaction,
    /// An application said that it is busy, or none takes part in the call.
    Application,
    /// The last requests of the peers came close upon each other, and no application said that the
    /// call is steady: another is likely.
    CloseRequests,
}

impl Veto {
    /// All of them, in order.
    pub const ALL: [Self; 8] = [
        Self::Undecided,
        Self::SetUp,
        Self::Leaving,
        Self::NoAck,
        Self::ReInvite,
        Self::Transaction,
        Self::Application,
        Self::CloseRequests,
    ];
}

/// What a put says about itself, for the replica that cannot decode it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PutFlags {
    /// The call is at a transaction boundary: a hint that it may cross.
    pub boundary: bool,
    /// Why it should wait all the same, or is not at a boundary. `None` without a boundary: an
    /// engine of a release that did not say, or one whose word is unknown here.
    pub veto: Option<Veto>,
    /// The crossing section is the same as in the record before: nothing becomes dirty.
    pub crossing_unchanged: bool,
    /// The local section holds effects that have not left: a broken lock leads to `Resume`.
    pub unreleased: bool,
    /// Nothing is left that another site could resume, only transactions that linger: to other
    /// sites the call is over.
    pub ended: bool,
}

/// An engine's words to a replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Asks for the call's lock and its record.
    LockAndGet {
        /// View the engine believes in.
        view: ViewNumber,
        /// The call.
        key: CallKey,
        /// The engine's own number for this turn; comes back in the reply.
        turn: u64,
        /// The input may begin a call: a missing record is granted as an empty lock, else
        /// `NotHere`.
        begins: bool,
        /// The engine holds a decoded copy of this stamp; `Unchanged` saves sending it again.
        cached: Option<Stamp>,
    },
    /// Reads a record without its lock (operators, tests).
    Get {
        /// View the engine believes in.
        view: ViewNumber,
        /// The call.
        key: CallKey,
        /// Comes back in the reply.
        turn: u64,
    },
    /// Asks a member that is not the primary whether it serves this view: then what the primary
    /// said before is true.
    Confirm {
        /// View the engine believes in.
        view: ViewNumber,
        /// The call.
        key: CallKey,
        /// Comes back in the reply.
        turn: u64,
    },
    /// Stores a record under its lock; the lock stays.
    Put {
        /// View the engine believes in.
        view: ViewNumber,
        /// The new record. `record.header.stamp.token` is the lock's token.
        record: Record,
        /// The stamp of the record it was made from; `None` when there was none. A mismatch is
        /// refused.
        base: Option<Stamp>,
        /// What the replica may know of it.
        flags: PutFlags,
    },
    /// Ends the lock after the effects have left. No reply. It holds in any view: what has left has
    /// left.
    Unlock {
        /// View the engine believes in.
        view: ViewNumber,
        /// The call.
        key: CallKey,
        /// The lock's token.
        token: LockToken,
    },
    /// Prolongs the lock's lease while a put waits. No reply.
    Renew {
        /// View the engine believes in.
        view: ViewNumber,
        /// The call.
        key: CallKey,
        /// The lock's token.
        token: LockToken,
    },
    /// Removes a call under its lock, leaves a tombstone that crosses, and ends the lock. Answered
    /// `Stored`.
    Delete {
        /// View the engine believes in.
        view: ViewNumber,
        /// The call, and the stamp of the removal (with the lock's token).
        tombstone: Tombstone,
        /// The stamp of the record that is removed.
        base: Stamp,
    },
    /// Stores a record that crossed from another site. No lock; only a newer stamp replaces.
    StoreDormant {
        /// View the engine believes in.
        view: ViewNumber,
        /// The batch it came in; comes back in the reply.
        batch: u64,
        /// The record, trimmed. Its age includes the way here.
        record: Record,
    },
    /// Applies a removal that crossed from another site.
    StoreTombstone {
        /// View the engine believes in.
        view: ViewNumber,
        /// The batch it came in; comes back in the reply.
        batch: u64,
        /// The removal.
        tombstone: Tombstone,
    },
    /// A turn over the call broke, or an entry of a batch could not be read. Said to everybody of
    /// the view, so that no change of primary forgets it. No reply. It holds in any view: what
    /// happened has happened.
    Poisoned {
        /// View the engine believes in.
        view: ViewNumber,
        /// The call.
        key: CallKey,
        /// What happened.
        strike: Strike,
    },
}

impl Command {
    /// The call that the command is about.
    #[must_use]
    pub fn key(&self) -> CallKey {
        match self {
            Self::LockAndGet { key, .. }
            | Self::Get { key, .. }
            | Self::Confirm { key, .. }
            | Self::Unlock { key, .. }
            | Self::Renew { key, .. }
            | Self::Poisoned { key, .. } => *key,
            Self::Put { record, .. } | Self::StoreDormant { record, .. } => record.header.key,
            Self::Delete { tombstone, .. } | Self::StoreTombstone { tombstone, .. } => {
                tombstone.key
            }
        }
    }

    /// The view that the command was written for.
    #[must_use]
    pub fn view(&self) -> ViewNumber {
        match self {
            Self::LockAndGet { view, .. }
            | Self::Get { view, .. }
            | Self::Confirm { view, .. }
            | Self::Put { view, .. }
            | Self::Unlock { view, .. }
            | Self::Renew { view, .. }
            | Self::Delete { view, .. }
            | Self::StoreDormant { view, .. }
            | Self::StoreTombstone { view, .. }
            | Self::Poisoned { view, .. } => *view,
        }
    }
}
