//! Who keeps the gate of a site of several processes, and what its map says of the site's lives.
//!
//! ```text
//!            the map names this process's replica
//!   Closed ───────────────────────────────────────► Open
//!          ◄───────────────────────────────────────
//!            it names another, or none
//! ```
//! Two processes may take themselves for the keeper for a moment, as maps travel. That is
//! harmless: a batch may be stored or applied twice, a question asked twice. What could lose a
//! call, the word that it is nowhere, or that a batch is safe, waits until the replicas have
//! confirmed it (`gate::confirm`, `confirmed`).
//!
//! The site starts anew, for other sites, with each partition that begins without calls: its start
//! is one more than its newest life. A gate that opens before the other sites have said what they
//! hold of that life is returning; one that is open already goes on serving, and tells nobody
//! meanwhile that a call does not exist.

use std::collections::BTreeSet;

use tier_protocol::{PartitionView, SiteMap, SiteState, SlotSet};
use vocab::{Instant, PartitionId, ReplicaId};

use crate::door::SiteInput;
use crate::gate::confirm::Confirming;
use crate::gate::inbox::Inbox;
use crate::gate::keyset::Keyset;
use crate::gate::peers::Peers;
use crate::gate::pulls::Pulls;
use crate::gate::{Gate, GateInput, GateOutput, Told};

impl Gate {
    /// What a closed gate hears. Whether it is open by now.
    pub(super) fn hear_closed(&mut self, now: Instant, input: &GateInput) -> bool {
        if let GateInput::Map { map, .. } = input {
            self.forget_unseated(map);
        }
        match input {
            GateInput::Map { replica, map } if map.gatekeeper() == Some(*replica) => {
                self.open(now, map);
                true
            }
            GateInput::EngineUp { engine, dictionary } => {
                self.engines.add(*engine, *dictionary);
                false
            }
            GateInput::EngineDown { engine } => {
                self.engines.remove(*engine);
                false
            }
            GateInput::ReplicaUp { replica } => {
                self.reachable.insert(*replica);
                false
            }
            GateInput::ReplicaDown { replica } => {
                self.reachable.remove(replica);
                false
            }
            GateInput::Steered { view, steering } => {
                if self.heard.believes(*view) {
                    self.steering = steering.clone().heard_after(&self.steering);
                }
                false
            }
            GateInput::Map { .. }
            | GateInput::LinkUp { .. }
            | GateInput::LinkDown { .. }
            | GateInput::FromSite { .. }
            | GateInput::FromEngine { .. }
            | GateInput::FromReplica { .. }
            | GateInput::Order(_)
            | GateInput::Steer(_)
            | GateInput::QueueLoaded(_)
            | GateInput::QueueMayHaveLost
            | GateInput::QueueAppended { .. }
            | GateInput::QueueRefused { .. }
            | GateInput::Wake => false,
        }
    }

    fn open(&mut self, now: Instant, map: &SiteMap) {
        let life = map.life();
        self.config.start = life + 1;
        let knows = life <= map.settled;
        let returns = !knows && self.config.with_keyset && !self.config.peers.is_empty();
        self.state = if returns { SiteState::Returning } else { SiteState::Serving };
        self.is_open = true;
        self.is_loaded = false;
        self.peers = Peers::new(now, &self.config);
        self.inbox = Inbox::new(&self.config);
        self.pulls = Pulls::default();
        self.confirming = Confirming::default();
        // The keeper before may have acknowledged what its queue has lost since.
        self.sweeps_wanted = self.config.peers.iter().copied().collect();
        self.keyset = Keyset::new(now, &self.config, knows);
        self.progress.clear();
        self.is_backed_up = false;
        self.told = Told::default();
        self.note_dictionary();
        self.out.push_back(GateOutput::Open);
    }

    fn close(&mut self) {
        self.is_open = false;
        // What was said to those who have another keeper by now is not said any more.
        self.out.clear();
        self.out.push_back(GateOutput::Close);
    }

    pub(super) fn map(&mut self, now: Instant, replica: ReplicaId, map: &SiteMap) {
        self.forget_unseated(map);
        if map.gatekeeper() != Some(replica) {
            return self.close();
        }
        let views = map.partitions.iter().filter(|view| !view.members.is_empty());
        let partitions: Vec<_> = views.map(|view| (view.partition, view.slots)).collect();
        let before = std::mem::replace(&mut self.partitions, partitions);
        // What was told of other slots says nothing of those that came.
        let is_same = |one: &(PartitionId, SlotSet)| before.contains(one);
        let same: BTreeSet<PartitionId> =
            self.partitions.iter().filter(|one| is_same(one)).map(|one| one.0).collect();
        self.progress.retain(|partition, _| same.contains(partition));
        self.settled = map.settled;
        self.view = map.newest_view();
        let primaries: Vec<ReplicaId> =
            map.partitions.iter().filter_map(PartitionView::primary).collect();
        let has_changed = primaries != self.primaries;
        self.primaries = primaries;
        self.me = Some(replica);
        let start = map.life() + 1;
        if start > self.config.start {
            self.config.start = start;
            self.keyset = Keyset::new(now, &self.config, false);
            self.greet_all();
        } else if has_changed && !self.keyset.is_known() {
            // What the primary before was told of the keyset may have been told to nobody else.
            self.keyset = Keyset::new(now, &self.config, false);
        }
        // A partition may have a primary that was told nothing yet.
        self.told = Told::default();
    }

    /// A process that has left the map is not dialled any more, and nobody says that its link is
    /// gone.
    fn forget_unseated(&mut self, map: &SiteMap) {
        self.reachable.retain(|replica| map.seat(*replica).is_some());
    }

    /// What was on its way to it is lost: a page of the keyset, perhaps.
    pub(super) fn replica_down(&mut self, now: Instant, replica: ReplicaId) {
        self.reachable.remove(&replica);
        if self.primaries.contains(&replica) && !self.keyset.is_known() {
            self.keyset = Keyset::new(now, &self.config, false);
        }
    }

    /// Whether every primary can be told something. One that is alone needs no link.
    pub(super) fn hears_primaries(&self) -> bool {
        let is_heard = |one: &ReplicaId| self.me == Some(*one) || self.reachable.contains(one);
        self.primaries.iter().all(is_heard)
    }

    /// Has the map say that nothing of this site's calls is unknown any more.
    pub(super) fn tell_settled(&mut self) {
        let life = self.config.start.saturating_sub(1);
        let is_due = self.config.is_shared && life > self.settled && self.keyset.is_known();
        if is_due && let Some((partition, _)) = self.partitions.first().copied() {
            self.settled = life;
            self.tell_replica(partition, SiteInput::Settled { life });
        }
    }
}
