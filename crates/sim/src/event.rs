//! What can happen next in the world of two sites.

use tier_protocol::{Command, EngineWord, GateWord, Reply, SiteWord};
use vocab::{EngineId, SiteId, ViewNumber};

use crate::outside::{Datagram, Outsider};

/// Who asked to be woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Sleeper {
    Outside(Outsider),
    Engine(EngineId),
    Replica(SiteId),
    Gate(SiteId),
}

/// One thing that happens.
#[derive(Debug)]
pub(crate) enum Event {
    /// A datagram arrives.
    Datagram(Datagram),
    /// An engine's words arrive at the state process that it is linked to.
    ToState { site: SiteId, life: u64, engine: EngineId, word: UpWord },
    /// The state process's words arrive at an engine.
    ToEngine { site: SiteId, engine: EngineId, word: DownWord },
    /// A site's words arrive at another, over the link of this life.
    SiteWord { from: SiteId, to: SiteId, link: u64, word: SiteWord },
    /// Both ends notice that the link broke.
    LinkBroke { link: u64 },
    /// The link between the sites is set up, if both are there.
    LinkUp,
    /// The disk has the row.
    Appended { site: SiteId, life: u64, row: u64 },
    /// The next step of the scenario.
    Step(usize),
    /// An engine process starts in the place of a dead one.
    StartEngine { site: SiteId, index: usize },
}

/// From an engine to its state process.
#[derive(Clone, Debug)]
pub(crate) enum UpWord {
    Hello,
    Command(Command),
    Gate(EngineWord),
    /// The engine's process is gone: the connection was reset.
    Gone,
}

/// From a state process to an engine.
#[derive(Clone, Debug)]
pub(crate) enum DownWord {
    Reply(ViewNumber, Reply),
    Gate(GateWord),
    /// The state process is there.
    Up,
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
