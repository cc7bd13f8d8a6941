//! The replica's one door: what goes in, what comes out.
//!
//! After each `handle_input` the caller drains `poll_output` until it returns
//! [`Output::WakeAt`], and gives [`Input::Wake`] at that instant at the latest. Sockets, disks and
//! clocks are on the other side of this door.

use tier_protocol::{Command, PeerWord, Reply, SiteMap, SlotMove};
pub use tier_protocol::{GateBound, Progress, SiteInput, SiteOrder, SiteStatus, Steering};
use vocab::{CallKey, EngineId, Instant, PartitionId, ReplicaId, ViewNumber};

use crate::database::{DatabaseAsk, DatabaseWord};

/// What happens to a replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// An engine's link is up: it may be handed calls. Its commands count only after this.
    EngineUp {
        /// The engine.
        engine: EngineId,
    },
    /// An engine's link broke: its locks end, its waits are forgotten.
    EngineDown {
        /// The engine.
        engine: EngineId,
    },
    /// An engine's words.
    Command {
        /// The speaker.
        engine: EngineId,
        /// What it wants.
        command: Command,
    },
    /// The site's gate says something of other sites.
    Site(SiteInput),
    /// Something of another replica of the site.
    Peer {
        /// The other.
        replica: ReplicaId,
        /// What.
        news: PeerNews,
    },
    /// The coordination store's word.
    Store(StoreWord),
    /// The database's word.
    Database(DatabaseWord),
    /// An operator's word.
    Order(Order),
    /// The instant of the last [`Output::WakeAt`] has come.
    Wake,
}

/// What is heard of another replica.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "moved once; links come and go rarely")]
pub enum PeerNews {
    /// The link to it is up.
    Up,
    /// The link to it broke.
    Down,
    /// Its address refuses connections, or another life of its process answers there: it is gone.
    Gone {
        /// Another life of its process answered.
        is_replaced: bool,
    },
    /// It says something.
    Said(PeerWord),
}

/// The coordination store's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreWord {
    /// The site's map as of a revision: an answer to [`StoreAsk::Read`], or news.
    Map {
        /// Whether it is the answer to the last [`StoreAsk::Read`].
        is_answer: bool,
        /// The revision at which the map was written; 0 when there is none.
        revision: u64,
        /// The store's present revision.
        store_revision: u64,
        /// The map.
        map: SiteMap,
    },
    /// The map of the last [`StoreAsk::CompareAndSet`] was written at this revision.
    Written {
        /// The revision.
        revision: u64,
    },
    /// It was not written, as another one was before. A `Map` follows.
    Lost,
    /// The store did not answer the last ask.
    Away {
        /// A compare-and-set may have been carried out all the same.
        may_have_happened: bool,
    },
}

/// What a replica asks of the coordination store, one thing at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreAsk {
    /// The newest map.
    Read,
    /// Writes the map if the newest one is that of the revision.
    CompareAndSet {
        /// The revision; 0 for no map at all.
        expected: u64,
        /// The map.
        map: SiteMap,
    },
}

/// What an operator orders. Each order may be repeated without harm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// About calls that this site holds for others, or others for it.
    Site(SiteOrder),
    /// Forgets what is kept of a call in quarantine; of all when none is named.
    DropQuarantined(Option<CallKey>),
    /// Slots of this partition go to one that is to be made, by replicas that wait for it.
    MoveSlots(SlotMove),
    /// A move that was ordered and is not done is taken back: the replicas that wait for `to` leave
    /// the view of `from`, and wait again. Dropped when no other complete member would be left.
    CancelMove {
        /// The partition that was to be divided.
        from: PartitionId,
        /// The one that was to be made.
        to: PartitionId,
    },
    /// Every member of the view is lost: this replica begins the partition anew, without calls.
    /// Dropped at the first sign of life of a member, and when the view changes.
    Refound,
}

/// Why an order about the site's map is not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lapse {
    /// This member of the view answers: it has the calls that were taken to be lost.
    Heard(ReplicaId),
    /// The map is another one by now, on which the order makes no sense.
    Overtaken,
}

/// What a replica wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Words to an engine.
    Reply {
        /// The engine.
        engine: EngineId,
        /// The view in which it is said.
        view: ViewNumber,
        /// The words.
        reply: Reply,
    },
    /// Words to the site's gate.
    Gate(GateBound),
    /// Words to another replica.
    Peer {
        /// The other.
        replica: ReplicaId,
        /// The words.
        word: PeerWord,
    },
    /// An ask of the coordination store.
    Store(StoreAsk),
    /// An ask of the database.
    Database(DatabaseAsk),
    /// The site's map changed: engines are told it before anything else that follows.
    Map(SiteMap),
    /// An order about the map that waited is not going to be carried out.
    Dropped {
        /// The order.
        order: Order,
        /// Why not.
        why: Lapse,
    },
    /// The others went on without this replica: it ends here, and [`crate::Replica::reborn`] gives
    /// its next life. Nothing else comes out.
    Expelled,
    /// Nothing more to say before this instant; [`Instant::NEVER`] when only an input can help.
    WakeAt(Instant, Reason),
}

/// Why a core wants to be woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// Nothing is due.
    Idle,
    /// A lock's lease ends.
    Lease,
    /// A call is to be handed to an engine: due, broken, waking or going home.
    Hand,
    /// A call may have settled.
    Settle,
    /// A batch is old enough, or may be tried again.
    Batch,
    /// Paced work goes on: an activation, a sweep, a refill.
    Pace,
    /// A site is to be greeted, or has been silent for too long.
    Heartbeat,
    /// A question to another site, or a batch with an engine, takes too long.
    Wait,
    /// Another replica is to be asked for a sign of life, or a change of the view is due.
    Membership,
    /// The next page of a copy, or the next run of a comparison.
    Copy,
    /// A record may leave memory, or is due to come back, or the database takes too long.
    Spill,
}
