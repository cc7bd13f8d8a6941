//! What can happen next in the simulated world, ordered by time and then by order of making.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use sip_message::Bytes;
use tier_protocol::{Command, EngineWord, GateWord, Reply, SiteWord};
use vocab::{EngineId, Instant, SiteId, ViewNumber};

/// Who asked to be woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Sleeper {
    Balancer,
    Engine(EngineId),
    Replica(SiteId),
    Gate(SiteId),
    Agent(SocketAddr),
}

/// One thing that happens.
#[derive(Debug)]
pub(crate) enum Event {
    /// A datagram arrives.
    Datagram { from: SocketAddr, to: SocketAddr, bytes: Bytes },
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
    /// A core wants to be woken.
    Wake(Sleeper),
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

/// Events by time; among those of one instant, by order of making.
#[derive(Debug, Default)]
pub(crate) struct Agenda {
    events: BTreeMap<(Instant, u64), Event>,
    made: u64,
    wakes: BTreeMap<Sleeper, Instant>,
}

impl Agenda {
    pub(crate) fn add(&mut self, at: Instant, event: Event) {
        self.made += 1;
        self.events.insert((at, self.made), event);
    }

    /// The sleeper wants to be woken at `at`, whatever it wanted before.
    pub(crate) fn wake_at(&mut self, sleeper: Sleeper, at: Instant) {
        if at == Instant::NEVER {
            self.wakes.remove(&sleeper);
        } else if self.wakes.insert(sleeper, at) != Some(at) {
            self.add(at, Event::Wake(sleeper));
        }
    }

    pub(crate) fn forget(&mut self, sleeper: Sleeper) {
        self.wakes.remove(&sleeper);
    }

    /// The next event that comes at or before `until`; wakes that were moved or taken back are
    /// passed over.
    pub(crate) fn next(&mut self, until: Instant) -> Option<(Instant, Event)> {
        while self.events.first_key_value().is_some_and(|((at, _), _)| *at <= until) {
            let ((at, _), event) = self.events.pop_first()?;
            if let Event::Wake(sleeper) = event {
                if self.wakes.get(&sleeper) != Some(&at) {
                    continue;
                }
                self.wakes.remove(&sleeper);
            }
            return Some((at, event));
        }
        None
    }
}
