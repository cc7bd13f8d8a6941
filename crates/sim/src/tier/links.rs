//! Links between processes: in order, each way by itself; cut, slow, half closed.
//!
//! A cut way keeps what is said on it, as TCP does, and gives it when it heals, if the end that it
//! is for still listens.

use std::collections::{BTreeMap, VecDeque};

use vocab::{EngineId, Instant, ReplicaId};

use super::event::{Node, Word};

/// Who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Party {
    Engine(EngineId),
    Replica(ReplicaId),
}

/// One end of a link.
#[derive(Clone, Copy, Debug)]
pub(crate) struct End {
    pub(crate) node: Node,
    pub(crate) is_open: bool,
    /// Known once both have greeted.
    pub(crate) peer: Option<Party>,
}

/// One link.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) ends: [End; 2],
    /// What waits on a way that is cut, by the end that it is for.
    waiting: [VecDeque<Word>; 2],
    pub(crate) made_at: Instant,
    /// The replica that was dialled.
    pub(crate) wanted: Option<ReplicaId>,
}

/// All links, and the ways that are cut or slow.
#[derive(Debug, Default)]
pub(crate) struct Links {
    pub(crate) all: BTreeMap<u64, Link>,
    made: u64,
    /// Since when nothing passes, and the cut's number.
    cut: BTreeMap<(Node, Node), (Instant, u64)>,
    cuts: u64,
    /// Longest way of a word, microseconds.
    slow: BTreeMap<(Node, Node), u64>,
}

impl Links {
    pub(crate) fn make(
        &mut self,
        now: Instant,
        from: Node,
        to: Node,
        wanted: Option<ReplicaId>,
    ) -> u64 {
        self.made += 1;
        let end = |node| End { node, is_open: true, peer: None };
        let ends = [end(from), end(to)];
        let waiting = [VecDeque::new(), VecDeque::new()];
        self.all.insert(self.made, Link { ends, waiting, made_at: now, wanted });
        self.made
    }

    /// Cuts a way; the number by which it is healed.
    pub(crate) fn cut(&mut self, now: Instant, from: Node, to: Node) -> u64 {
        self.cuts += 1;
        let cut = self.cut.entry((from, to)).or_insert((now, 0));
        cut.1 = self.cuts;
        self.cuts
    }

    /// Heals a way, unless it was cut again since. The links whose words go on, and for which end.
    pub(crate) fn heal(&mut self, from: Node, to: Node, cut: u64) -> Vec<(u64, usize)> {
        if self.cut.get(&(from, to)).is_none_or(|(_, number)| *number != cut) {
            return Vec::new();
        }
        self.cut.remove(&(from, to));
        let ways = self.all.iter().flat_map(|(id, link)| [(*id, link, 0), (*id, link, 1)]);
        let is_way = |(_, link, end): &(u64, &Link, usize)| {
            link.ends[*end].node == to && link.ends[1 - *end].node == from
        };
        ways.filter(is_way).map(|(id, _, end)| (id, end)).collect()
    }

    pub(crate) fn cut_ways(&self) -> Vec<(Node, Node, u64)> {
        self.cut.iter().map(|((from, to), (_, number))| (*from, *to, *number)).collect()
    }

    pub(crate) fn take_waiting(&mut self, link: u64, end: usize) -> VecDeque<Word> {
        let link = self.all.get_mut(&link);
        link.map(|link| std::mem::take(&mut link.waiting[end])).unwrap_or_default()
    }

    pub(crate) fn cut_since(&self, from: Node, to: Node) -> Option<Instant> {
        self.cut.get(&(from, to)).map(|(since, _)| *since)
    }

    pub(crate) fn is_cut_between(&self, one: Node, other: Node) -> bool {
        self.cut.contains_key(&(one, other)) || self.cut.contains_key(&(other, one))
    }

    pub(crate) fn slow_down(&mut self, from: Node, to: Node, way_us: u64) {
        self.slow.insert((from, to), way_us);
    }

    pub(crate) fn speed_up(&mut self, from: Node, to: Node) {
        self.slow.remove(&(from, to));
    }

    pub(crate) fn speed_up_all(&mut self) {
        self.slow.clear();
    }

    pub(crate) fn way_us(&self, from: Node, to: Node) -> u64 {
        self.slow.get(&(from, to)).copied().unwrap_or(0)
    }

    /// Keeps a word on a way that is cut; `false` when it is not.
    pub(crate) fn keep(&mut self, link: u64, end: usize, word: &Word) -> bool {
        let Some(link) = self.all.get_mut(&link) else { return true };
        let way = (link.ends[1 - end].node, link.ends[end].node);
        if !self.cut.contains_key(&way) {
            return false;
        }
        link.waiting[end].push_back(word.clone());
        true
    }

    /// The open ends of a node: link and end.
    pub(crate) fn ends_of(&self, node: Node) -> Vec<(u64, usize)> {
        let ends = self.all.iter().flat_map(|(id, link)| {
            let is_ours =
                move |end: &usize| link.ends[*end].node == node && link.ends[*end].is_open;
            [0, 1].into_iter().filter(is_ours).map(|end| (*id, end))
        });
        ends.collect()
    }

    /// The engines that are linked to a node.
    pub(crate) fn engines_of(&self, node: Node) -> Vec<EngineId> {
        let ends = self.ends_of(node).into_iter();
        let parties = ends.filter_map(|(id, end)| match self.all[&id].ends[end].peer? {
            Party::Engine(engine) => Some(engine),
            Party::Replica(_) => None,
        });
        parties.collect()
    }

    /// The link by which a node reaches another party.
    pub(crate) fn to(&self, node: Node, party: Party) -> Option<(u64, usize)> {
        let ends = self.ends_of(node).into_iter();
        let mut ends = ends.filter(|(id, end)| self.all[id].ends[*end].peer == Some(party));
        ends.next()
    }

    /// The open ends of a node whose links lead to a place.
    pub(crate) fn between(&self, node: Node, other: Node) -> Vec<(u64, usize)> {
        let ends = self.ends_of(node).into_iter();
        ends.filter(|(id, end)| self.all[id].ends[1 - *end].node == other).collect()
    }

    /// Forgets links that both ends have closed.
    pub(crate) fn sweep(&mut self) {
        self.all.retain(|_, link| link.ends.iter().any(|end| end.is_open));
    }
}
