//! The gate of each state process, and the words between it, replicas and engines.
//!
//! As in `node`: words between a process's own replica and gate wait in a row until what is under
//! way is over; those of other processes travel on the replicas' links.

use replica::gate::{Gate, GateInput, GateOutput};
use tier_protocol::{GateBound, PartitionView, SiteInput, SiteMap};
use vocab::{PartitionId, ReplicaId};

use super::event::{Node, Sleeper, Word};
use super::links::Party;
use super::queue::QueueWork;
use super::world::World;

/// A word inside a process.
#[derive(Debug)]
pub(crate) enum Inner {
    Replica(replica::Input),
    Gate(GateInput),
}

impl World {
    pub(crate) fn replica(&mut self, place: usize, input: replica::Input) {
        self.inner(place, Inner::Replica(input));
        self.run_inner();
    }

    pub(crate) fn gate(&mut self, place: usize, input: GateInput) {
        self.inner(place, Inner::Gate(input));
        self.run_inner();
    }

    /// Puts a word in the row of its process.
    pub(crate) fn inner(&mut self, place: usize, word: Inner) {
        if let Some(process) = &self.places[place].process {
            self.inner.push_back((place, process.process, word));
        }
    }

    fn run_inner(&mut self) {
        if std::mem::replace(&mut self.runs_inner, true) {
            return;
        }
        while let Some((place, process, word)) = self.inner.pop_front() {
            if !self.has_process(place, process) {
                continue;
            }
            match word {
                Inner::Replica(input) => self.run_replica(place, input),
                Inner::Gate(input) => self.run_gate(place, input),
            }
        }
        self.runs_inner = false;
    }

    fn run_gate(&mut self, place: usize, input: GateInput) {
        let now = self.now;
        let Some(process) = self.places[place].process.as_mut() else { return };
        let (clock, life) = (process.clock, process.process);
        let Some(gate) = process.gate.as_mut() else { return };
        gate.handle_input(clock.shows(now), input);
        loop {
            let process = self.places[place].process.as_mut().filter(|one| one.process == life);
            let Some(gate) = process.and_then(|process| process.gate.as_mut()) else { return };
            match gate.poll_output() {
                GateOutput::ToSite { site, word } => self.tell_site(place, site, word),
                GateOutput::ToEngine { engine, word } => {
                    let link = self.links.to(Node::State(place), Party::Engine(engine));
                    if let Some((link, end)) = link {
                        self.say(link, end, Word::Gate(word));
                    }
                }
                GateOutput::ToReplica { partition, input } => {
                    self.tell_primary(place, partition, input);
                }
                GateOutput::ToReplicas(input) => {
                    for (link, end) in self.links.ends_of(Node::State(place)) {
                        if let Some(Party::Replica(_)) = self.links.all[&link].ends[end].peer {
                            self.say(link, end, Word::ToPartition(input.clone()));
                        }
                    }
                    self.take_from_gate(place, input);
                }
                GateOutput::Open => self.open_queue(place),
                GateOutput::Close => {
                    self.close_queue(place);
                    self.drop_wan(place);
                }
                GateOutput::QueueAppend { batch } => {
                    self.order_queue(place, QueueWork::Append(batch));
                }
                GateOutput::QueueRemove { row } => self.order_queue(place, QueueWork::Remove(row)),
                GateOutput::QueueSetAside { row } => {
                    self.set_aside += 1;
                    self.order_queue(place, QueueWork::Remove(row));
                }
                GateOutput::WakeAt(at, _) => {
                    self.agenda.wake_at(Sleeper::Gate(place), clock.moment(at));
                    return;
                }
            }
        }
    }

    /// A process dials whoever is new on its map; here the link may have stood before.
    pub(crate) fn note_seated(&mut self, place: usize, before: &SiteMap) {
        let Some(process) = &self.places[place].process else { return };
        let is_new = |replica: &ReplicaId| before.seat(*replica).is_none();
        let seats = process.map.seats.iter().map(|seat| seat.replica).filter(is_new);
        let node = Node::State(place);
        let is_up = |replica: &ReplicaId| self.links.to(node, Party::Replica(*replica)).is_some();
        for replica in seats.filter(is_up).collect::<Vec<_>>() {
            self.inner(place, Inner::Gate(GateInput::ReplicaUp { replica }));
        }
    }

    /// The replica whose process keeps the gate, as the process at a place knows it.
    fn keeper_for(&self, place: usize) -> Option<ReplicaId> {
        self.places[place].process.as_ref()?.replica.map().gatekeeper()
    }

    /// Whether the process at a place takes itself for the one that keeps its site's gate.
    pub(crate) fn keeps_gate(&self, place: usize) -> bool {
        let process = self.places[place].process.as_ref();
        process.and_then(|process| process.gate.as_ref()).is_some_and(Gate::is_open)
    }

    /// Carries a word of a replica to the gate of its site, wherever it is kept.
    pub(crate) fn tell_gate(&mut self, place: usize, output: GateBound) {
        if self.sizes.sites == 1 {
            return;
        }
        let Some(process) = &self.places[place].process else { return };
        let partition = process.replica.view().partition;
        let me = process.replica.id();
        match self.keeper_for(place) {
            Some(keeper) if keeper == me => {
                self.inner(place, Inner::Gate(GateInput::FromReplica { partition, output }));
            }
            Some(keeper) => {
                let link = self.links.to(Node::State(place), Party::Replica(keeper));
                if let Some((link, end)) = link {
                    self.say(link, end, Word::ToGate { partition, word: output });
                }
            }
            None => {}
        }
    }

    /// Carries a word of a gate to the primary of a partition.
    fn tell_primary(&mut self, place: usize, partition: PartitionId, input: SiteInput) {
        let Some(process) = &self.places[place].process else { return };
        let view = process.replica.map().view(partition);
        match view.and_then(PartitionView::primary) {
            Some(primary) if primary == process.replica.id() => self.take_from_gate(place, input),
            Some(primary) => {
                let link = self.links.to(Node::State(place), Party::Replica(primary));
                if let Some((link, end)) = link {
                    self.say(link, end, Word::ToPartition(input));
                }
            }
            None => {}
        }
    }

    /// Takes a word of the gate to the replica of a process.
    pub(crate) fn take_from_gate(&mut self, place: usize, input: SiteInput) {
        self.note_site_input(place, &input);
        if let SiteInput::Status { view, steering, .. } = &input {
            // If the gate comes to this process it goes on with that.
            let (view, steering) = (*view, steering.clone());
            self.inner(place, Inner::Gate(GateInput::Steered { view, steering }));
        }
        self.replica(place, replica::Input::Site(input));
    }

    /// What was put of the calls here before may give way to what another site says of them.
    fn note_site_input(&mut self, place: usize, input: &SiteInput) {
        let site = self.places[place].site;
        match input {
            SiteInput::Superseded(calls) => {
                calls.iter().for_each(|call| self.watch.forget(site, call.key));
            }
            SiteInput::KeysetPage { entries, .. } => {
                entries.iter().for_each(|entry| self.watch.forget(site, entry.key));
            }
            SiteInput::Pulled { key, .. } => self.watch.forget(site, *key),
            SiteInput::Status { .. }
            | SiteInput::BatchStored { .. }
            | SiteInput::BatchRefused { .. }
            | SiteInput::LinkDown { .. }
            | SiteInput::KeysetAsk { .. }
            | SiteInput::Pull { .. }
            | SiteInput::Settled { .. }
            | SiteInput::Order(_)
            | SiteInput::Sweep { .. }
            | SiteInput::KeeperAsk { .. }
            | SiteInput::ProgressAsk => {}
        }
    }
}
