//! The words between sites, and between an engine and its own site's gate.
//!
//! The **gate** is a site's door to other sites. It keeps the inbound queue, knows which sites
//! are alive, and moves forwarded messages and pulls; it never decodes a record.

use std::net::SocketAddr;

use bytes::Bytes;
use vocab::{CallKey, Epoch, PartitionId, SiteId, ViewNumber};

use crate::record::Record;
use crate::sweep::SweepWord;

/// What a site says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SiteState {
    /// Started empty, fetching the keyset: it takes no traffic and wants no calls back yet.
    Returning,
    /// Takes traffic; its calls may come home.
    Serving,
}

/// What a site does with its calls, as other sites have to know it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Course {
    /// It gives its calls away, and wants none back.
    pub evacuates: bool,
    /// An operator chose this site to keep copies of its calls, and it has all of them: what any
    /// other keeps for it is void.
    pub backup_to: Option<SiteId>,
    /// It knows the words of a sweep; a release before does not.
    pub sweeps: bool,
}

/// Where a call of the asking site is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeysetKind {
    /// It lives at the answering site.
    Moved,
    /// The answering site holds it dormant; the asker is its home.
    Dormant,
}

/// One call of a keyset page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeysetEntry {
    /// The call.
    pub key: CallKey,
    /// Its epoch at the answering site.
    pub epoch: Epoch,
    /// Where it is.
    pub kind: KeysetKind,
}

/// Answer to a pull.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "an answer lives for one hop, and most are `Yours`")]
pub enum PullAnswer {
    /// The answering site holds it for the asker, who takes it from here. The copy stays, dormant.
    Yours(Record),
    /// It lives at the answering site, or that site knows where.
    Lives(Epoch),
    /// The answering site has never heard of it, and its inbound queue holds nothing.
    NoSuch,
    /// The answering site cannot tell at the moment.
    AskLater,
}

/// A call that a site must yield: it lives elsewhere under a higher epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Superseded {
    /// The call.
    pub key: CallKey,
    /// The higher epoch.
    pub epoch: Epoch,
}

/// A SIP message on its way to the site that owns its call (RFC 3261 §16.11, stateless).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardedMessage {
    /// The call.
    pub key: CallKey,
    /// The epoch by which the forwarder chose the receiver. The receiver never forwards again.
    pub epoch: Option<Epoch>,
    /// Where the message came from.
    pub source: SocketAddr,
    /// The message, with the forwarder's Via on top when it is a request.
    pub bytes: Bytes,
}

/// What one site's gate says to another's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SiteWord {
    /// First word of a link, and the heartbeat: repeated at least every heartbeat interval.
    Hello {
        /// The speaker.
        site: SiteId,
        /// Its start count, from its disk.
        start: u64,
        /// What it does.
        state: SiteState,
        /// The newest dictionary of batches that all its engines read, and each one before it;
        /// 0 for none.
        dictionary: u16,
        /// What it does with its calls.
        course: Course,
    },
    /// A batch for the receiver's durable queue.
    Batch {
        /// The sender's number, unique per sender start and partition.
        id: u64,
        /// The sender's partition.
        partition: PartitionId,
        /// The sender's view; receivers refuse a lower one.
        view: ViewNumber,
        /// Compressed entries, see `batch`.
        bytes: Bytes,
    },
    /// The batch is on disk at the receiver: acknowledged, never lost.
    BatchStored {
        /// The sender's number.
        id: u64,
        /// The sender's partition.
        partition: PartitionId,
    },
    /// The queue is full: the marks stay, try later.
    BatchRefused {
        /// The sender's number.
        id: u64,
        /// The sender's partition.
        partition: PartitionId,
    },
    /// Calls that the receiver of this word must yield.
    Superseded(Vec<Superseded>),
    /// Asks for the calls of the asker that the receiver holds, after `cursor`.
    KeysetAsk {
        /// Last key of the page before; `None` for the first page.
        cursor: Option<CallKey>,
    },
    /// One page of the keyset.
    KeysetPage {
        /// At most `keyset_page_max` entries, by rising key.
        entries: Vec<KeysetEntry>,
        /// Where the next page starts; `None` after the last.
        next: Option<CallKey>,
        /// The answering site cannot tell at the moment (its inbox is not drained): ask again
        /// later.
        ask_later: bool,
    },
    /// Asks for one call.
    Pull {
        /// The call.
        key: CallKey,
        /// The asker's number; comes back.
        ask: u64,
    },
    /// Answer to `Pull`.
    Pulled {
        /// The call.
        key: CallKey,
        /// The asker's number.
        ask: u64,
        /// Where it is.
        answer: PullAnswer,
    },
    /// A message for a call that lives at the receiver.
    Forward(ForwardedMessage),
    /// One word of a sweep. Not said to a site that does not know it.
    Sweep {
        /// The home's number; comes back with the answer.
        ask: u64,
        /// The word.
        word: SweepWord,
    },
}

/// What an engine says to its site's gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EngineWord {
    /// Forward this message to the site where its call lives.
    ForwardTo {
        /// The site.
        site: SiteId,
        /// The message.
        message: ForwardedMessage,
    },
    /// Ask every other site that is alive for a call. Exactly one `GateWord::Pulled` follows.
    Pull {
        /// The call.
        key: CallKey,
        /// The engine's number for the turn.
        turn: u64,
    },
    /// All entries of the batch are stored (or stale): it may leave the queue.
    BatchDone {
        /// The queue's number of the batch.
        id: u64,
        /// Calls that the batch's sender must yield.
        superseded: Vec<Superseded>,
    },
    /// The batch cannot be applied now (no room): the queue offers it again later.
    BatchDeferred {
        /// The queue's number of the batch.
        id: u64,
    },
    /// The batch, or some of it, cannot be read: it is set aside on disk for inspection, counted,
    /// never retried. What could be read is applied.
    BatchPoison {
        /// The queue's number of the batch.
        id: u64,
        /// Calls that the batch's sender must yield.
        superseded: Vec<Superseded>,
    },
}

/// What a gate says to an engine of its site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GateWord {
    /// Which other sites are alive and serving, and what this site is. Sent at once to a new engine
    /// and at each change.
    Sites {
        /// This site's own state.
        here: SiteState,
        /// This site's start count: new calls begin at `Epoch::of_start`.
        start: u64,
        /// Other sites that answer, with what they say of themselves.
        alive: Vec<(SiteId, SiteState)>,
        /// Sites whose dormant calls wake on a message (activation mode `on_message`).
        wakes_on_message: Vec<SiteId>,
        /// Batches from other sites that wait on the queue or are with an engine.
        inbox: u64,
        /// The sites that sent them. A gate of before says none.
        waiting: Vec<SiteId>,
    },
    /// Answer to `EngineWord::Pull`, after all asked sites answered or fell silent.
    Pulled {
        /// The call.
        key: CallKey,
        /// The engine's number for the turn.
        turn: u64,
        /// The best answer: the one with the higher epoch; at the same epoch `Yours` before
        /// `Lives`; then `AskLater` before `NoSuch`.
        answer: PullAnswer,
    },
    /// A message that another site forwarded here.
    Forwarded {
        /// The forwarding site.
        from: SiteId,
        /// The message.
        message: ForwardedMessage,
    },
    /// A batch to apply.
    Batch {
        /// The queue's number.
        id: u64,
        /// The sending site.
        from: SiteId,
        /// Compressed entries.
        bytes: Bytes,
        /// How long it waited on the queue, milliseconds: added to the age of each entry.
        waited_ms: u64,
    },
}
