//! The words between a site's gate and the replicas of its partitions.
//!
//! Where one process has the site's only replica they go by function call; else from the process
//! that keeps the gate to the others, and back.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use vocab::{CallKey, ReplicaId, SiteId, ViewNumber};

use crate::site::{Course, KeysetEntry, PullAnswer, SiteState, Superseded};
use crate::sweep::SweepWord;

/// What is known of one site that answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SiteStatus {
    /// The site.
    pub site: SiteId,
    /// What it says of itself.
    pub state: SiteState,
    /// Its start count: a change means that it came back empty.
    pub start: u64,
    /// The newest dictionary of batches that it reads; 0 for none.
    pub dictionary: u16,
    /// What it does with its calls.
    pub course: Course,
}

/// Whether calls go home.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Return {
    /// They do: they are given back, fetched, and asked for.
    #[default]
    Runs,
    /// Not at the moment: it goes on where it stopped.
    Paused,
    /// Not any more: what is known of the way is forgotten, and a start begins anew.
    Aborted,
}

/// How operators steer the calls of a site. The site's gate keeps it and tells every replica, so
/// that it outlives a primary, and the process that keeps the gate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Steering {
    /// Calls that live here are given to this site, each at its next boundary.
    pub evacuate_to: Option<SiteId>,
    /// Whether calls go home, from here and to here.
    pub returning: Return,
    /// The site that keeps copies of the calls that live here, in place of the configured one.
    pub backup_to: Option<SiteId>,
    /// Orders about single sites that stand until they are carried out, or ended.
    pub standing: Standing,
}

/// Orders about the calls that are kept for other sites, or sent to them, as long as they stand: a
/// primary that begins finds them here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// How many were ever given; 0 of a keeper that was given none, or of a release before.
    pub number: u64,
    /// Homes whose calls are being woken.
    pub activating: BTreeSet<SiteId>,
    /// Homes whose calls are woken although they answer, and their starts when that was ordered:
    /// one that starts anew owns its calls again.
    pub forced: BTreeMap<SiteId, u64>,
    /// Homes whose copies are being forgotten.
    pub deleting: BTreeSet<SiteId>,
    /// Sites that nothing is sent to.
    pub stopped: BTreeSet<SiteId>,
}

impl Steering {
    /// What is in force when this is heard after `before`: a keeper that knows of no standing
    /// order, as one of a release before, ends none.
    #[must_use]
    pub fn heard_after(self, before: &Self) -> Self {
        match self.standing.number {
            0 => Self { standing: before.standing.clone(), ..self },
            _ => self,
        }
    }
}

/// How much is left of what is steered, in one partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Calls that live here, those that ended a moment ago included.
    pub active: u64,
    /// Calls that live here and belong to, or were taken over from, another site.
    pub moved: Vec<(SiteId, u64)>,
    /// Own calls that are still to be fetched from another site.
    pub refills: u64,
    /// Calls that sleep here, by home.
    pub dormant: Vec<(SiteId, u64)>,
    /// Calls that an order has yet to wake or remove, by home.
    pub ordered: Vec<(SiteId, u64)>,
    /// Answered calls whose newest state a site does not have, by that site.
    pub at_risk: Vec<(SiteId, u64)>,
    /// The site of [`Steering::backup_to`], once it has every answered call that lived here when
    /// that was ordered.
    pub backed_up_at: Option<SiteId>,
    /// How the sweeps of what other sites keep are going.
    pub swept: Vec<(SiteId, Sweep)>,
    /// [`Standing::number`] as the partition knows it; `None` of a release before, which says
    /// nothing of the two below either.
    pub heard: Option<u64>,
    /// Homes whose calls are being woken by order: some may still lie on the queue, or be with an
    /// engine.
    pub activating: Vec<SiteId>,
    /// Homes whose copies are being forgotten.
    pub deleting: Vec<SiteId>,
}

/// How the sweeps of what one site keeps are going, and what they came to, in one partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sweep {
    /// Slots that the present sweep has yet to compare; 0 when none is going on.
    pub slots_left: u32,
    /// Sweeps that came to their end.
    pub done: u64,
    /// Calls that the site had older, or not at all.
    pub found: u64,
    /// Of those, calls that have crossed since, or ended.
    pub repaired: u64,
    /// Slots that the site said nothing about; the next sweep has them again.
    pub unanswered: u64,
    /// Time since the last one came to its end, milliseconds; 0 before the first.
    pub ended_ms: u64,
}

/// What an operator orders of the calls that a site holds for others, or others for it. Each order
/// may be repeated without harm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SiteOrder {
    /// Wakes every call held dormant for the site.
    ActivateAll {
        /// The home that is gone.
        site: SiteId,
        /// Although it answers: they live here then, and it yields them.
        force: bool,
    },
    /// Ends a bulk activation where it is.
    StopActivating {
        /// The home that was to be taken over.
        site: SiteId,
    },
    /// Forgets every call held dormant for the site.
    DropBackup {
        /// The home whose copies go.
        site: SiteId,
    },
    /// Starts or stops sending to the site; marks stay while it is off.
    Replication {
        /// The receiving site.
        site: SiteId,
        /// Whether to send.
        on: bool,
    },
    /// Marks every active call, so that all of them cross to the site again.
    Sweep {
        /// The receiving site.
        site: SiteId,
    },
    /// Compares what the site keeps with what lives here, at once, and has cross what differs.
    Compare {
        /// The receiving site.
        site: SiteId,
    },
}

/// What the gate tells every partition of its site, or the one that a key belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SiteInput {
    /// Which sites answer. Said at the start and at each change, to every replica.
    Status {
        /// The newest view that the gate's keeper knows of: what one says that was replaced
        /// meanwhile is not believed. 0 where nobody else can be the keeper, and of a release
        /// before.
        view: ViewNumber,
        /// This site's own state.
        here: SiteState,
        /// The other sites that answer.
        alive: Vec<SiteStatus>,
        /// Sites whose batches still wait on this site's queue: a bulk activation waits for them.
        waiting: Vec<SiteId>,
        /// What operators ordered.
        steering: Steering,
    },
    /// The batch is durable at the other site.
    BatchStored {
        /// The receiving site.
        site: SiteId,
        /// The batch's number.
        id: u64,
    },
    /// The other site had no room, or could not be reached.
    BatchRefused {
        /// The site that was to receive it.
        site: SiteId,
        /// The batch's number.
        id: u64,
    },
    /// The link is gone: what was not acknowledged is sent again when the site answers again.
    LinkDown {
        /// As of a status.
        view: ViewNumber,
        /// The other end.
        site: SiteId,
    },
    /// Calls that live elsewhere under a higher epoch: this replica yields.
    Superseded(Vec<Superseded>),
    /// A returning site asks for its calls.
    KeysetAsk {
        /// The returning site.
        site: SiteId,
        /// Last key of the page before.
        cursor: Option<CallKey>,
        /// The gate's number for the ask; comes back.
        ask: u64,
    },
    /// A site asks for one call.
    Pull {
        /// The asking site.
        site: SiteId,
        /// The call.
        key: CallKey,
        /// The asking site's number; comes back.
        ask: u64,
    },
    /// We are returning: calls of ours that another site holds.
    KeysetPage {
        /// The answering site.
        from: SiteId,
        /// Its calls, of this partition only.
        entries: Vec<KeysetEntry>,
    },
    /// Answer to our own [`GateBound::Pull`].
    Pulled {
        /// The site whose answer it is; `None` while a site that may hold it is silent.
        from: Option<SiteId>,
        /// The call.
        key: CallKey,
        /// Where it is.
        answer: PullAnswer,
    },
    /// Every other site has said what it holds of this site's calls, of all lives up to this one.
    Settled {
        /// The life, as in the site's map.
        life: u64,
    },
    /// An operator's order.
    Order(SiteOrder),
    /// How much is left of what is steered? A [`GateBound::Progress`] follows.
    ProgressAsk,
    /// Another site's word of a sweep.
    Sweep {
        /// The speaker.
        site: SiteId,
        /// The number of the site whose calls are swept.
        ask: u64,
        /// The word.
        word: SweepWord,
    },
    /// Is this replica, whose process keeps the gate, still the first primary? A
    /// [`GateBound::Keeper`] follows.
    KeeperAsk {
        /// The replica that is meant.
        keeper: ReplicaId,
        /// The gate's number for the ask; comes back.
        ask: u64,
    },
}

/// A replica's words to its site's gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GateBound {
    /// A batch for another site's queue.
    Publish {
        /// The receiving site.
        site: SiteId,
        /// The batch's number, unique over all views of the partition.
        id: u64,
        /// The sender's view.
        view: ViewNumber,
        /// The encoded batch.
        bytes: Bytes,
    },
    /// Answer to [`SiteInput::KeysetAsk`].
    KeysetPage {
        /// The returning site.
        site: SiteId,
        /// The gate's number for the ask.
        ask: u64,
        /// This partition's calls after the cursor, by rising key.
        entries: Vec<KeysetEntry>,
        /// Where the next page starts; `None` after the last.
        next: Option<CallKey>,
    },
    /// Answer to [`SiteInput::Pull`].
    PullAnswer {
        /// The asking site.
        site: SiteId,
        /// The asking site's number.
        ask: u64,
        /// The call.
        key: CallKey,
        /// Where it is.
        answer: PullAnswer,
    },
    /// Ask the other sites for this call; a [`SiteInput::Pulled`] follows.
    Pull {
        /// The call.
        key: CallKey,
    },
    /// Answer to [`SiteInput::ProgressAsk`].
    Progress(Progress),
    /// A word of a sweep, for another site.
    Sweep {
        /// The listener.
        site: SiteId,
        /// The number of the site whose calls are swept.
        ask: u64,
        /// The word.
        word: SweepWord,
    },
    /// Answer to [`SiteInput::KeeperAsk`].
    Keeper {
        /// The gate's number for the ask.
        ask: u64,
        /// All others of the view said, after the ask, that it is not over.
        is_confirmed: bool,
    },
}
