//! What can happen next in the worlds of many machines, and the words on their links.

use replica::{DatabaseAsk, DatabaseWord, StoreAsk, StoreWord};
use tier_protocol::{
    Command, EngineWord, GateBound, GateWord, PartitionView, PeerWord, Reply, SiteInput,
};
use vocab::{EngineId, PartitionId, ReplicaId, SiteId, ViewNumber};

use super::queue::{QueueTold, QueueWork};
use super::wan::WanWord;
use crate::outside::{Datagram, Outsider};

/// Where a process runs: its place in the list of its kind. Processes come and go, places stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Node {
    Engine(usize),
    State(usize),
}

/// Who asked to be woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Sleeper {
    Outside(Outsider),
    Engine(usize),
    State(usize),
    /// The gate of a state process.
    Gate(usize),
}

/// One thing that happens.
#[derive(Debug)]
pub(crate) enum Event {
    /// A datagram arrives.
    Datagram(Datagram),
    /// A word arrives at one end of a link.
    Word { link: u64, end: usize, word: Word },
    /// Nobody listens where a replica dialled.
    Refused { place: usize, life: u64, replica: ReplicaId },
    /// An ask arrives at the coordination store.
    StoreAsk { place: usize, life: u64, replica: ReplicaId, ask: StoreAsk },
    /// The coordination store carries out what it was asked long ago; nobody waits for it any more.
    StoreLate { site: SiteId, ask: StoreAsk },
    /// The coordination store's words arrive.
    StoreWords { place: usize, life: u64, replica: ReplicaId, words: Vec<StoreWord> },
    /// An ask of a process arrives at the database.
    DatabaseAsk { place: usize, process: u64, ask: DatabaseAsk },
    /// The database's word arrives at a process.
    DatabaseWord { place: usize, process: u64, word: DatabaseWord },
    /// The database can be used again by whatever runs here, unless it is away for longer.
    DatabaseBack { place: usize },
    /// The engine is told that no other site has the call.
    Pulled { place: usize, engine: EngineId, word: GateWord },
    /// A word between sites arrives at one end of its link.
    Wan { link: u64, to_dialler: bool, word: WanWord },
    /// Nothing of one site passes to another until now.
    WanHeal { from: SiteId, to: SiteId, cut: u64 },
    /// What a process wants of its site's queue arrives there.
    Queue { place: usize, process: u64, opening: u64, work: QueueWork },
    /// The queue's word arrives at a process.
    QueueTold { place: usize, process: u64, opening: u64, told: QueueTold },
    /// A process goes on after a pause.
    Resume { node: Node, life: u64 },
    /// Links are looked at: who is silent, who is to be dialled.
    Tick,
    /// The next step of the scenario.
    Step(usize),
    /// A process starts in the place of a dead one.
    Start(Node),
    /// A way is free again.
    Heal { from: Node, to: Node, cut: u64 },
    /// A way is as fast as others again.
    SpeedUp { from: Node, to: Node },
}

/// What is said on a link.
#[derive(Clone, Debug)]
pub(crate) enum Word {
    /// First word of an engine that dialled.
    EngineHello(EngineId),
    /// First word of a replica that dialled, and whom it wants.
    ReplicaHello {
        me: ReplicaId,
        wanted: ReplicaId,
    },
    /// Who answers.
    Welcome(ReplicaId),
    /// The one that is wanted does not live here any more.
    Stranger,
    Command(Command),
    Reply(ViewNumber, Reply),
    View(PartitionView),
    Gate(GateWord),
    Peer(PeerWord),
    /// An engine's word to the gate.
    EngineGate(EngineWord),
    /// The gate's word to a replica of another process.
    ToPartition(SiteInput),
    /// A replica's word to the gate of another process.
    ToGate {
        partition: PartitionId,
        word: GateBound,
    },
    /// The other end closed the link.
    Close,
}

impl From<Datagram> for Event {
    fn from(datagram: Datagram) -> Self {
        Self::Datagram(datagram)
    }
}

impl From<Outsider> for Sleeper {
    fn from(outsider: Outsider) -> Self {
        Self::Outside(outsider)
    }
}
