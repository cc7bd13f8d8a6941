//! What is done to the site: triggers at puts, cuts, slow ways, flapping links, operators.

use std::time::Duration;

use replica::Order;
use tier_protocol::Command;
use vocab::{EngineId, PartitionId, ReplicaId};

use super::coordination::Coordination;
use super::event::{Event, Node};
use super::scenario::{AtPut, Role, Shard};
use super::words;
use super::world::World;
use crate::rng::Rng;

/// Faults that wait for a put.
#[derive(Debug, Default)]
pub(crate) struct Triggers {
    /// The n-th put from now on, and what then.
    at_puts: Vec<(u64, AtPut)>,
    /// Puts that engines send, one by one to each replica, until one of them dies in the midst.
    engine_in: Option<u64>,
}

impl Triggers {
    pub(crate) fn set(&mut self, puts: u64, at: AtPut) {
        match at {
            AtPut::EngineSends => self.engine_in = Some(puts),
            AtPut::Before(_) | AtPut::After(_) | AtPut::EngineBefore | AtPut::EngineAfter => {
                self.at_puts.push((puts, at));
            }
        }
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// An engine has sent one word of a put; whether it dies with the others unsent.
    pub(crate) fn engine_dies(&mut self, rng: &mut Rng) -> bool {
        self.engine_in = self.engine_in.map(|left| left.saturating_sub(1));
        let dies = self.engine_in == Some(0) && rng.chance(600);
        if dies {
            self.engine_in = None;
        }
        dies
    }

    /// A put arrives at a replica of this role: the faults that are due.
    fn arrives(&mut self, role: Role) -> Vec<AtPut> {
        let mut due = Vec::new();
        self.at_puts.retain_mut(|(left, at)| {
            let counts = match at {
                AtPut::Before(of) | AtPut::After(of) => *of == Role::Any || *of == role,
                AtPut::EngineBefore | AtPut::EngineAfter => true,
                AtPut::EngineSends => false,
            };
            if !counts {
                return true;
            }
            *left = left.saturating_sub(1);
            if *left == 0 {
                due.push(*at);
            }
            *left > 0
        });
        due
    }
}

impl World {
    /// An engine's command arrives at a replica, which may die of it.
    pub(crate) fn command_arrives(
        &mut self,
        place: usize,
        me: ReplicaId,
        engine: EngineId,
        command: Command,
    ) {
        let site = self.places[place].site;
        self.watch.delivered(self.now, (site, me), &command);
        self.homes.delivered(site, &command);
        let text = crate::words::command(&command);
        let view = command.view().0;
        self.trace.note(self.now, format_args!("  r{me} <- e{engine} [{view}]  {text}"));
        let due = match (words::is_put(&command), self.role_of(place)) {
            (true, Some(role)) => self.triggers.arrives(role),
            (_, _) => Vec::new(),
        };
        let before = due.iter().filter(|at| matches!(at, AtPut::Before(_) | AtPut::EngineBefore));
        for at in before.copied().collect::<Vec<_>>() {
            self.at_put(place, engine, at);
        }
        self.replica(place, replica::Input::Command { engine, command });
        let after = due.iter().filter(|at| matches!(at, AtPut::After(_) | AtPut::EngineAfter));
        for at in after.copied().collect::<Vec<_>>() {
            self.at_put(place, engine, at);
        }
    }

    fn at_put(&mut self, place: usize, engine: EngineId, at: AtPut) {
        let again = self.now + self.rng.between_us(200_000, 6_000_000);
        match at {
            AtPut::Before(_) | AtPut::After(_) => {
                self.kill_state(place);
                self.agenda.add(again, Event::Start(Node::State(place)));
            }
            AtPut::EngineBefore | AtPut::EngineAfter | AtPut::EngineSends => {
                let is_it = |one: &Option<super::process::EngineProcess>| {
                    one.as_ref().is_some_and(|process| process.id == engine)
                };
                if let Some(index) = self.engines.iter().position(is_it) {
                    self.kill_engine(index);
                    self.agenda.add(again, Event::Start(Node::Engine(index)));
                }
            }
        }
    }

    fn role_of(&self, place: usize) -> Option<Role> {
        let replica = &self.places[place].process.as_ref()?.replica;
        Some(match replica.leads() {
            true => Role::Primary,
            false if replica.view().joining.contains(&replica.id()) => Role::Joiner,
            false => Role::Follower,
        })
    }

    /// The place of the primary of the newest view.
    pub(crate) fn primary_place(&self, (site, partition): Shard) -> Option<usize> {
        let view = self.store(site).map().view(PartitionId(partition))?;
        self.place_of(view.primary()?)
    }

    pub(crate) fn cut(&mut self, from: Node, to: Node, for_: Duration) {
        self.trace.note(self.now, format_args!("{from:?} -> {to:?} is cut for {for_:?}"));
        let cut = self.links.cut(self.now, from, to);
        self.agenda.add(self.now + for_, Event::Heal { from, to, cut });
    }

    /// Cuts all ways to and from a node.
    pub(crate) fn isolate(&mut self, node: Node, for_: Duration) {
        for other in self.others(node) {
            self.cut(node, other, for_);
            self.cut(other, node, for_);
        }
    }

    /// The other processes of the same site.
    pub(crate) fn others(&self, node: Node) -> Vec<Node> {
        let others = (0..self.engines.len()).map(Node::Engine);
        let others = others.chain((0..self.places.len()).map(Node::State));
        let site = self.site_of(node);
        others.filter(|other| *other != node && self.site_of(*other) == site).collect()
    }

    pub(crate) fn slow_down(&mut self, from: Node, to: Node, way: Duration, for_: Duration) {
        self.trace.note(self.now, format_args!("{from:?} -> {to:?} is slow: {way:?}"));
        let way_us = u64::try_from(way.as_micros()).unwrap_or(u64::MAX);
        self.links.slow_down(from, to, way_us);
        self.agenda.add(self.now + for_, Event::SpeedUp { from, to });
    }

    /// An operator repeats an order until it is carried out.
    pub(crate) fn operator(&mut self) {
        let Some(wanted) = self.wanted_move else { return };
        let map = self.store(super::process::HERE).map().clone();
        if map.view(wanted.to).is_some() {
            self.wanted_move = None;
            return;
        }
        let is_planned = map.moves.iter().any(|of| of.to == wanted.to);
        // The order is given about once in two seconds.
        if is_planned || !self.rng.chance(50) {
            return;
        }
        let Some(view) = map.view(wanted.from) else { return };
        let members: Vec<usize> =
            view.members.iter().filter_map(|member| self.place_of(*member)).collect();
        let index = usize::try_from(self.rng.below(members.len() as u64)).unwrap_or(0);
        if let Some(place) = members.get(index).copied()
            && self.paused_until(Node::State(place)).is_none()
        {
            self.trace.note(self.now, format_args!("an operator orders slots to move"));
            self.order(place, Order::MoveSlots(wanted));
        }
    }

    /// Removes every fault, and starts what is dead.
    pub(crate) fn heal(&mut self) {
        self.trace.note(self.now, format_args!("all faults are removed"));
        self.outside.network.weather = crate::network::Weather::FAIR;
        self.triggers.clear();
        self.stores.values_mut().for_each(Coordination::be_there);
        self.heal_database();
        self.links.speed_up_all();
        for (from, to, cut) in self.links.cut_ways() {
            self.heal_way(from, to, cut);
        }
        self.heal_sites();
        for place in 0..self.places.len() {
            self.start_state(place);
        }
        for engine in 0..self.engines.len() {
            self.start_engine(engine);
        }
        self.healed_at = Some(self.now);
    }
}
