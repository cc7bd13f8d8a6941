//! Processes start, die, stand still and are born again.

use std::time::Duration;

use replica::gate::GateInput;
use vocab::{EngineId, Instant, ReplicaId};

use super::event::{Event, Node, Sleeper};
use super::gates::Inner;
use super::process::{EngineProcess, StateProcess, plant};
use super::world::World;
use crate::planted::Planted;

/// Links that break before anything is read, when a process goes on after a pause, of 1,000.
const BREAKS_FIRST: u64 = 250;

impl World {
    /// Starts a process in the place of a replica, empty and under an id that none had before.
    pub(crate) fn start_state(&mut self, place: usize) {
        if self.places[place].process.is_some() {
            return;
        }
        self.lives += 1;
        let life = self.lives;
        let replica = match (self.planted, self.places[place].last) {
            (Some(Planted::RestartedAsOldSelf), Some(last)) => last,
            (_, _) => ReplicaId(life),
        };
        let clock = (self.now, self.new_clock(Node::State(place)));
        let of = &self.places[place];
        let process = StateProcess::new(clock, of, replica, life, &self.sizes, self.planted);
        let name = &self.places[place].name;
        self.trace.note(self.now, format_args!("{name} starts as r{replica}"));
        self.places[place].process = Some(process);
        self.places[place].last = Some(replica);
        self.tell_database_away(place);
        self.replica(place, replica::Input::Wake);
    }

    /// Kills a replica's process, unless the calls of its partition would be lost with it.
    pub(crate) fn kill_state(&mut self, place: usize) -> bool {
        let Some(replica) = self.places[place].process.as_ref().map(|one| one.replica.id()) else {
            return false;
        };
        if self.is_last_copy(replica) && !self.may_lose {
            let name = &self.places[place].name;
            self.trace.note(self.now, format_args!("{name} has the last copy, and lives on"));
            return false;
        }
        self.keep_counts(place);
        self.places[place].process = None;
        self.agenda.forget(Sleeper::State(place));
        self.agenda.forget(Sleeper::Gate(place));
        self.watch.replica_died(replica);
        self.drop_wan(place);
        let name = &self.places[place].name;
        self.trace.note(self.now, format_args!("{name} is killed (r{replica})"));
        self.drop_links(Node::State(place));
        true
    }

    /// Whether no other complete member of a view that names the replica as one is alive.
    fn is_last_copy(&self, replica: ReplicaId) -> bool {
        let Some(place) = self.place_of(replica) else { return false };
        let views = self.store(self.places[place].site).map().partitions.iter();
        let mut views = views.filter(|view| view.members.contains(&replica));
        views.any(|view| {
            let mut others = view.members.iter().filter(|other| **other != replica);
            others.all(|other| self.place_of(*other).is_none())
        })
    }

    /// The others went on without it: the process lives on with a replica that is empty.
    pub(crate) fn reborn(&mut self, place: usize) {
        self.lives += 1;
        let (now, life, id) = (self.now, self.lives, ReplicaId(self.lives));
        self.keep_counts(place);
        let Some(process) = self.places[place].process.take() else { return };
        let old = process.replica.id();
        let replica = plant(process.replica.reborn(process.clock.shows(now), id), self.planted);
        let name = &self.places[place].name;
        self.trace.note(now, format_args!("{name} is expelled (r{old}) and reborn as r{id}"));
        self.watch.replica_died(old);
        let engines: Vec<EngineId> = self.links.engines_of(Node::State(place));
        let process = StateProcess {
            run: process.run,
            process: process.process,
            gate: process.gate,
            queue: process.queue,
            wan_to: process.wan_to,
            clock: process.clock,
            ..StateProcess::of(life, replica)
        };
        self.places[place].process = Some(process);
        self.places[place].last = Some(id);
        self.agenda.forget(Sleeper::State(place));
        self.drop_links(Node::State(place));
        for engine in engines {
            self.inner(place, Inner::Gate(GateInput::EngineDown { engine }));
        }
        self.replica(place, replica::Input::Wake);
    }

    pub(crate) fn start_engine(&mut self, place: usize) {
        if self.engines[place].is_some() {
            return;
        }
        self.lives += 1;
        let id = EngineId(self.lives);
        let clock = (self.now, self.new_clock(Node::Engine(place)));
        let site = self.sizes.site_of_engine(place);
        self.engines[place] = Some(EngineProcess::new(clock, site, id, &self.sizes, self.planted));
        self.trace.note(self.now, format_args!("engine {place} starts as e{id}"));
        self.engine(place, engine::Input::Wake);
    }

    pub(crate) fn kill_engine(&mut self, place: usize) {
        let Some(process) = self.engines[place].take() else { return };
        let id = process.id;
        self.agenda.forget(Sleeper::Engine(place));
        self.watch.engine_died(id);
        self.trace.note(self.now, format_args!("engine {place} is killed (e{id})"));
        self.drop_links(Node::Engine(place));
    }

    /// Stops a process for a while, as SIGSTOP does: what arrives waits.
    pub(crate) fn pause(&mut self, node: Node, for_: Duration) {
        let (now, until) = (self.now, self.now + for_);
        let stop = |run: &mut super::process::Running| {
            if !run.is_paused(now) {
                run.paused_since = now;
            }
            run.paused_until = run.paused_until.max(until);
            run.paused_until
        };
        let (life, until) = match node {
            Node::Engine(place) => {
                let Some(process) = &mut self.engines[place] else { return };
                (process.id.0, stop(&mut process.run))
            }
            Node::State(place) => {
                let Some(process) = &mut self.places[place].process else { return };
                (process.life, stop(&mut process.run))
            }
        };
        self.trace.note(now, format_args!("{node:?} stands still for {for_:?}"));
        self.agenda.add(until, Event::Resume { node, life });
    }

    fn life_of(&self, node: Node) -> Option<u64> {
        match node {
            Node::Engine(place) => self.engines[place].as_ref().map(|process| process.id.0),
            Node::State(place) => self.places[place].process.as_ref().map(|one| one.life),
        }
    }

    /// A process goes on. Its timers may fire before it reads what has come.
    pub(crate) fn resumed(&mut self, node: Node, life: u64) {
        if self.life_of(node) != Some(life) || self.paused_until(node).is_some() {
            return;
        }
        self.trace.note(self.now, format_args!("{node:?} goes on"));
        for (link, end) in self.links.ends_of(node) {
            if self.rng.chance(BREAKS_FIRST) {
                self.close(link, end);
            }
        }
    }

    /// When the last pause ends.
    pub(crate) fn pauses_end(&self) -> Instant {
        let nodes = (0..self.engines.len()).map(Node::Engine);
        let nodes = nodes.chain((0..self.places.len()).map(Node::State));
        nodes.filter_map(|node| self.paused_until(node)).max().unwrap_or(self.now)
    }
}
