//! Links at work: dialling, greeting, speaking, hearing, falling silent.

use std::time::Duration;

use replica::PeerNews;
use replica::gate::GateInput;
use tier_protocol::dictionary;
use vocab::{Instant, ReplicaId};

use super::event::{Event, Node, Word};
use super::links::Party;
use super::process::no_other_site;
use super::words;
use super::world::World;

/// Way of a word, microseconds.
const LAN: (u64, u64) = (30, 1_500);
const TICK: Duration = Duration::from_millis(100);
/// A link to an engine is closed after so much silence.
const ENGINE_SILENCE: Duration = Duration::from_secs(1);
/// A link between replicas; their own pings notice more, sooner.
const PEER_SILENCE: Duration = Duration::from_secs(2);
/// Time between two tries to reach somebody.
const DIAL_EVERY: Duration = Duration::from_millis(250);

impl World {
    /// Says a word at one end of a link.
    pub(crate) fn say(&mut self, link: u64, end: usize, word: Word) {
        if self.links.all.get(&link).is_none_or(|link| !link.ends[end].is_open) {
            return;
        }
        self.carry(link, 1 - end, word);
    }

    /// Brings a word to the end that it is for.
    fn carry(&mut self, link: u64, end: usize, word: Word) {
        if self.links.keep(link, end, &word) {
            return;
        }
        let Some(of) = self.links.all.get(&link) else { return };
        let (from, to) = (of.ends[1 - end].node, of.ends[end].node);
        let slow = self.links.way_us(from, to);
        let way = (LAN.0 + slow / 2, LAN.1 + slow);
        let stream = link * 2 + u64::from(end == 1);
        let at = self.outside.network.stream(u64::MAX - 1, stream, self.now, way);
        self.agenda.add(at, Event::Word { link, end, word });
    }

    pub(crate) fn heal_way(&mut self, from: Node, to: Node, cut: u64) {
        for (link, end) in self.links.heal(from, to, cut) {
            for word in self.links.take_waiting(link, end) {
                self.carry(link, end, word);
            }
        }
    }

    /// A word arrives at an end of a link.
    pub(crate) fn hear(&mut self, link: u64, end: usize, word: Word) {
        let Some(of) = self.links.all.get(&link).filter(|link| link.ends[end].is_open) else {
            return;
        };
        let (me, other) = (of.ends[end].node, of.ends[1 - end].node);
        if let Some(until) = self.paused_until(me) {
            return self.agenda.add(until, Event::Word { link, end, word });
        }
        match (me, word) {
            (_, Word::Close) => self.close(link, end),
            (Node::State(place), word) => self.state_hears(place, (link, end), other, word),
            (Node::Engine(place), word) => self.engine_hears(place, (link, end), word),
        }
    }

    fn state_hears(&mut self, place: usize, (link, end): (u64, usize), other: Node, word: Word) {
        let Some(me) = self.places[place].process.as_ref().map(|one| one.replica.id()) else {
            return;
        };
        let peer = self.links.all[&link].ends[end].peer;
        match (word, peer) {
            (Word::EngineHello(engine), _) => {
                self.close_others(link, place, other);
                self.greeted(link, end, Party::Engine(engine));
                self.say(link, end, Word::Welcome(me));
                if self.sizes.sites == 1 {
                    self.say(link, end, Word::Gate(no_other_site()));
                }
                self.say_views(place, link, end);
                self.replica(place, replica::Input::EngineUp { engine });
                let dictionary = dictionary::NEWEST;
                self.gate(place, GateInput::EngineUp { engine, dictionary });
            }
            (Word::ReplicaHello { me: replica, wanted }, _) if wanted == me => {
                self.close_others(link, place, other);
                self.greeted(link, end, Party::Replica(replica));
                self.say(link, end, Word::Welcome(me));
                self.peer_news(place, replica, PeerNews::Up);
            }
            (Word::ReplicaHello { me: replica, wanted }, _) => {
                let text = format_args!("  r{me} is not r{wanted}, whom r{replica} wants");
                self.trace.note(self.now, text);
                self.say(link, end, Word::Stranger);
            }
            (Word::Welcome(replica), _) => {
                self.greeted(link, end, Party::Replica(replica));
                self.trace.note(self.now, format_args!("  r{me} is linked to r{replica}"));
                self.peer_news(place, replica, PeerNews::Up);
            }
            (Word::Stranger, _) => {
                let wanted = self.links.all[&link].wanted;
                self.close(link, end);
                if let Some(wanted) = wanted {
                    self.tell_replaced(place, wanted);
                }
            }
            (Word::Command(command), Some(Party::Engine(engine))) => {
                self.command_arrives(place, me, engine, command);
            }
            (Word::Peer(word), Some(Party::Replica(replica))) => {
                if let Some(text) = words::peer(&word) {
                    self.trace.note(self.now, format_args!("  r{me} <- r{replica}  {text}"));
                }
                self.peer_news(place, replica, PeerNews::Said(word));
            }
            (Word::EngineGate(word), Some(Party::Engine(engine))) => {
                let text = crate::words::engine(&word);
                self.trace.note(self.now, format_args!("  gate r{me} <- e{engine}  {text}"));
                self.gate(place, GateInput::FromEngine { engine, word });
            }
            (Word::ToPartition(input), Some(Party::Replica(_))) => {
                self.take_from_gate(place, input);
            }
            (Word::ToGate { partition, word: output }, Some(Party::Replica(_))) => {
                self.gate(place, GateInput::FromReplica { partition, output });
            }
            (
                Word::Command(_)
                | Word::EngineGate(_)
                | Word::ToPartition(_)
                | Word::ToGate { .. }
                | Word::Peer(_)
                | Word::Reply(..)
                | Word::View(_)
                | Word::Gate(_)
                | Word::Close,
                _,
            ) => {}
        }
    }

    fn engine_hears(&mut self, place: usize, (link, end): (u64, usize), word: Word) {
        let Some(me) = self.engines[place].as_ref().map(|process| process.id) else { return };
        let from = match self.links.all[&link].ends[end].peer {
            Some(Party::Replica(replica)) => Some(replica),
            Some(Party::Engine(_)) | None => None,
        };
        match (word, from) {
            (Word::Welcome(replica), _) => {
                self.greeted(link, end, Party::Replica(replica));
                self.trace.note(self.now, format_args!("  e{me} is linked to r{replica}"));
                self.engine(place, engine::Input::TierUp { replica });
            }
            (Word::Reply(view, reply), Some(from)) => {
                self.watch.heard(&self.views, me, from, view, &reply);
                let text = crate::words::reply(&reply);
                let number = view.0;
                self.trace.note(self.now, format_args!("  e{me} <- r{from} [{number}]  {text}"));
                self.engine(place, engine::Input::Reply { from, view, reply });
            }
            (Word::View(view), _) => self.engine_hears_view(place, view),
            (Word::Gate(word), from) => {
                // One that keeps the gate no more may not have heard of it.
                let keeper = self.engines[place].as_ref().and_then(|process| process.keeper());
                if self.sizes.sites > 1 && (from.is_none() || keeper != from) {
                    return;
                }
                let text = crate::words::gate(&word);
                self.trace.note(self.now, format_args!("  e{me} <- gate  {text}"));
                self.watch.told(me, &word);
                self.engine(place, engine::Input::Gate(word));
            }
            (
                Word::Reply(..)
                | Word::EngineHello(_)
                | Word::ReplicaHello { .. }
                | Word::Stranger
                | Word::Command(_)
                | Word::EngineGate(_)
                | Word::ToPartition(_)
                | Word::ToGate { .. }
                | Word::Peer(_)
                | Word::Close,
                _,
            ) => {}
        }
    }

    fn greeted(&mut self, link: u64, end: usize, party: Party) {
        if let Some(link) = self.links.all.get_mut(&link) {
            link.ends[end].peer = Some(party);
        }
    }

    pub(crate) fn peer_news(&mut self, place: usize, replica: ReplicaId, news: PeerNews) {
        let to_gate = match &news {
            PeerNews::Up => Some(GateInput::ReplicaUp { replica }),
            PeerNews::Down | PeerNews::Gone { .. } => Some(GateInput::ReplicaDown { replica }),
            PeerNews::Said(_) => None,
        };
        if let Some(input) = to_gate {
            self.gate(place, input);
        }
        self.replica(place, replica::Input::Peer { replica, news });
    }

    /// The other side dialled anew: what is left of older links has broken.
    fn close_others(&mut self, link: u64, place: usize, other: Node) {
        for (old, end) in self.links.between(Node::State(place), other) {
            if old != link {
                self.close(old, end);
            }
        }
    }

    /// One end closes a link, or notices that the other did.
    pub(crate) fn close(&mut self, link: u64, end: usize) {
        let Some(of) = self.links.all.get_mut(&link).filter(|link| link.ends[end].is_open) else {
            return;
        };
        of.ends[end].is_open = false;
        let (node, peer) = (of.ends[end].node, of.ends[end].peer.take());
        if of.ends[1 - end].is_open {
            self.carry(link, 1 - end, Word::Close);
        }
        match (node, peer) {
            (Node::State(place), Some(Party::Engine(engine))) => {
                let id = self.places[place].process.as_ref().map(|one| one.replica.id());
                if let Some(id) = id {
                    self.trace.note(self.now, format_args!("  r{id} lost its link to e{engine}"));
                    self.watch.engine_gone(id, engine);
                }
                self.replica(place, replica::Input::EngineDown { engine });
                self.gate(place, GateInput::EngineDown { engine });
            }
            (Node::State(place), Some(Party::Replica(replica))) => {
                self.peer_news(place, replica, PeerNews::Down);
            }
            (Node::Engine(place), Some(Party::Replica(replica))) => {
                self.trace.note(self.now, format_args!("  engine {place} lost r{replica}"));
                let mut left = self.links.ends_of(node).into_iter();
                if left.all(|(link, end)| self.links.all[&link].ends[end].peer.is_none())
                    && let Some(process) = &self.engines[place]
                {
                    self.watch.no_tier(process.id);
                }
                self.engine(place, engine::Input::TierDown { replica });
            }
            (Node::Engine(_), Some(Party::Engine(_))) | (_, None) => {}
        }
    }

    /// The process of a node is gone, or lives on as another: nobody there is told.
    pub(crate) fn drop_links(&mut self, node: Node) {
        for (link, end) in self.links.ends_of(node) {
            let Some(of) = self.links.all.get_mut(&link) else { continue };
            of.ends[end].is_open = false;
            of.ends[end].peer = None;
            if of.ends[1 - end].is_open {
                self.carry(link, 1 - end, Word::Close);
            }
        }
    }

    /// Breaks every link between two places, at both ends at once.
    pub(crate) fn reset(&mut self, one: Node, other: Node) {
        for (link, end) in self.links.between(one, other) {
            self.close(link, end);
        }
        for (link, end) in self.links.between(other, one) {
            self.close(link, end);
        }
    }

    // ---- silence and dialling --------------------------------------------------------------

    pub(crate) fn tick(&mut self) {
        self.close_silent();
        self.links.sweep();
        self.wan_tick();
        for engine in 0..self.engines.len() {
            self.dial_for_engine(engine);
        }
        for place in 0..self.places.len() {
            self.dial_for_state(place);
        }
        self.operator();
        self.steer_sites();
        self.agenda.add(self.now + TICK, Event::Tick);
    }

    fn close_silent(&mut self) {
        let mut silent = Vec::new();
        for (id, link) in &self.links.all {
            for end in [0, 1] {
                let (me, other) = (link.ends[end], link.ends[1 - end]);
                if !me.is_open || self.paused_until(me.node).is_some() {
                    continue;
                }
                let Some(since) = self.silent_since(me.node, other.node) else { continue };
                let patience = match (me.node, other.node) {
                    (Node::State(_), Node::State(_)) => PEER_SILENCE,
                    (Node::Engine(_), _) | (_, Node::Engine(_)) => ENGINE_SILENCE,
                };
                if self.now.since(since.max(link.made_at)) >= patience {
                    silent.push((*id, end));
                }
            }
        }
        for (link, end) in silent {
            self.close(link, end);
        }
    }

    /// Since when nothing can have come from `other`.
    fn silent_since(&self, me: Node, other: Node) -> Option<Instant> {
        let cut = self.links.cut_since(other, me);
        let paused = self.running(other).filter(|run| run.is_paused(self.now));
        let since = [cut, paused.map(|run| run.paused_since)].into_iter().flatten().min()?;
        let resumed = self.running(me).map_or(Instant(0), |run| run.paused_until);
        Some(since.max(resumed))
    }

    fn dial_for_engine(&mut self, place: usize) {
        let node = Node::Engine(place);
        for target in 0..self.places.len() {
            let other = Node::State(target);
            if self.places[target].site != self.sizes.site_of_engine(place) {
                continue;
            }
            if !self.links.between(node, other).is_empty() || !self.may_dial(node, other, None) {
                continue;
            }
            let Some(engine) = self.engines[place].as_ref().map(|process| process.id) else {
                return;
            };
            if self.places[target].process.is_some() {
                let link = self.links.make(self.now, node, other, None);
                self.say(link, 0, Word::EngineHello(engine));
            }
        }
    }

    fn dial_for_state(&mut self, place: usize) {
        let node = Node::State(place);
        let Some(process) = &self.places[place].process else { return };
        let (me, life) = (process.replica.id(), process.life);
        let own = &self.places[place].address;
        let seats = process.map.seats.iter().filter(|seat| seat.address != *own);
        let wanted: Vec<(ReplicaId, Option<usize>)> = seats
            .map(|seat| {
                let at = self.places.iter().position(|other| other.address == seat.address);
                (seat.replica, at)
            })
            .collect();
        for (replica, at) in wanted {
            let Some(target) = at else { continue };
            let other = Node::State(target);
            let links = self.links.between(node, other);
            let peers: Vec<Option<Party>> =
                links.iter().map(|(id, end)| self.links.all[id].ends[*end].peer).collect();
            if peers.contains(&Some(Party::Replica(replica))) || peers.contains(&None) {
                continue;
            }
            if !peers.is_empty() {
                // A link of an earlier life that has yet to break tells nothing of this one.
                if self.place_of(replica) != Some(target) {
                    self.tell_replaced(place, replica);
                }
                continue;
            }
            // The other may have dialled: its end is open, and ours is not greeted yet.
            if !self.links.between(other, node).is_empty()
                || !self.may_dial(node, other, Some(replica))
            {
                continue;
            }
            if self.places[target].process.is_none() {
                let at = self.now + Duration::from_millis(1);
                self.agenda.add(at, Event::Refused { place, life, replica });
                continue;
            }
            let link = self.links.make(self.now, node, other, Some(replica));
            self.say(link, 0, Word::ReplicaHello { me, wanted: replica });
        }
    }

    /// Whether a process runs that may try once more to reach another.
    fn may_dial(&mut self, from: Node, to: Node, wanted: Option<ReplicaId>) -> bool {
        if self.running(from).is_none_or(|run| run.is_paused(self.now))
            || self.links.is_cut_between(from, to)
        {
            return false;
        }
        let now = self.now;
        let dialled = match from {
            Node::Engine(place) => self.engines[place].as_mut().map(|one| &mut one.dialled_at),
            Node::State(place) => {
                self.places[place].process.as_mut().map(|one| &mut one.dialled_at)
            }
        };
        let Some(dialled) = dialled else { return false };
        let last = dialled.entry((to, wanted)).or_default();
        let may = now.since(*last) >= DIAL_EVERY;
        if may {
            *last = now;
        }
        may
    }

    /// A dial found nobody.
    pub(crate) fn refused(&mut self, place: usize, life: u64, replica: ReplicaId) {
        if let Some(at) = self.paused_until(Node::State(place)) {
            return self.agenda.add(at, Event::Refused { place, life, replica });
        }
        if self.places[place].process.as_ref().is_some_and(|one| one.life == life) {
            self.peer_news(place, replica, PeerNews::Gone { is_replaced: false });
        }
    }

    /// A dial found another life of the process.
    fn tell_replaced(&mut self, place: usize, replica: ReplicaId) {
        let now = self.now;
        let Some(process) = &mut self.places[place].process else { return };
        let told = process.gone_told.entry(replica).or_default();
        if now.since(*told) >= DIAL_EVERY {
            *told = now;
            self.peer_news(place, replica, PeerNews::Gone { is_replaced: true });
        }
    }
}
