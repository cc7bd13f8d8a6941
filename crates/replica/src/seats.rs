//! Seats on the map whose replicas serve in no view: who waits, and is listened to for that.
//!
//! A waiting process is nobody's member: nothing but its seat tells of it, and that of a dead one
//! would stay for good. The members of one view listen to it, and give its seat up after a long
//! silence. One that lives after all takes its seat again.
//!
//! A process that starts takes a seat under its own name for an earlier life of its own, and puts
//! it out of its view. Where that seat is at another address it listens first: if the other
//! lives, two processes have one name, and the one that serves must not suffer for it.

use std::time::Duration;

use tier_protocol::{PartitionView, Seat};
use vocab::{Instant, ReplicaId};

use crate::Replica;
use crate::config::Shared;

/// A waiting process keeps its seat for so long after it is taken to be dead. One that others reach
/// and the listeners do not takes its seat again each time: not more often than this.
const SEAT_KEPT: Duration = Duration::from_secs(30);

/// Two processes of a site whose configurations do not fit together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conflict {
    /// The other lives, and has the name of this process. This one waits if it serves nowhere.
    Name {
        /// The other.
        other: ReplicaId,
    },
    /// They would deal the slots of a new site to different numbers of partitions.
    Partitions {
        /// The other.
        other: ReplicaId,
        /// The number here.
        here: u16,
        /// Its number.
        there: u16,
    },
    /// They take different numbers of replicas for enough.
    Replicas {
        /// The other.
        other: ReplicaId,
        /// The number here.
        here: u16,
        /// Its number.
        there: u16,
    },
}

impl Replica {
    /// The others that are pinged from here.
    pub(crate) fn listened_to(&self) -> Vec<ReplicaId> {
        let me = self.config.replica;
        let mut all: Vec<ReplicaId> = self.namesakes().map(|seat| seat.replica).collect();
        if let Some(view) = self.acting_view() {
            all.extend(view.everybody());
            if view.members.contains(&me) {
                all.extend(self.waiting_for(view).map(|seat| seat.replica));
            }
        }
        all.retain(|replica| *replica != me);
        all.sort();
        all.dedup();
        all
    }

    /// Seats under the name of this process, at another address.
    fn namesakes(&self) -> impl Iterator<Item = &Seat> {
        let shared = self.config.shared.as_ref().filter(|shared| !shared.name.is_empty());
        let seats = self.membership.map.seats.iter();
        seats.filter(move |seat| {
            let is_other =
                |shared: &Shared| seat.name == shared.name && seat.address != shared.address;
            seat.replica != self.config.replica && shared.is_some_and(is_other)
        })
    }

    /// Whether a seat may be that of another process with the name of this one, not of an earlier
    /// life of it.
    pub(crate) fn may_have_namesake(&self, now: Instant) -> bool {
        let pace = &self.config.pace;
        self.namesakes().any(|seat| {
            let since = self.membership.dead_since(seat.replica, pace);
            self.is_linked(seat.replica) || since.is_none_or(|since| since > now)
        })
    }

    /// Whether the other said who it is, on a link that still stands.
    fn is_linked(&self, replica: ReplicaId) -> bool {
        self.membership.others.get(&replica).is_some_and(|other| other.is_up)
    }

    /// Whether another replica answers: `None` where that is not known, as this one does not listen
    /// to it and there is a link all the same.
    #[must_use]
    pub fn heard(&self, now: Instant, replica: ReplicaId) -> Option<bool> {
        if replica == self.config.replica {
            return Some(true);
        }
        let is_told = !self.is_linked(replica) || self.listened_to().contains(&replica);
        is_told.then(|| self.hears(now, replica))
    }

    /// What does not fit together in how the site's processes are configured.
    #[must_use]
    pub fn conflicts(&self) -> Vec<Conflict> {
        let Some(shared) = &self.config.shared else { return Vec::new() };
        let mut all = Vec::new();
        let linked = self.namesakes().filter(|seat| self.is_linked(seat.replica));
        all.extend(linked.map(|seat| Conflict::Name { other: seat.replica }));
        let differs = |here: u16, there: u16| there > 0 && there != here;
        for seat in &self.membership.map.seats {
            let (other, here, there) = (seat.replica, shared.partitions, seat.partitions);
            if differs(here, there) {
                all.push(Conflict::Partitions { other, here, there });
            }
            let (here, there) = (shared.replicas, seat.replicas);
            if differs(here, there) {
                all.push(Conflict::Replicas { other, here, there });
            }
        }
        all
    }

    /// Seats without a view that the members of this one listen to: those of the replicas that wait
    /// for it, or for a partition that is to be divided from it. The first view that has members
    /// listens to the replicas that wait for something else.
    fn waiting_for(&self, view: &PartitionView) -> impl Iterator<Item = &Seat> {
        let membership = &self.membership;
        let map = &membership.map;
        let first = map.partitions.iter().find(|one| !one.members.is_empty());
        let listener = move |seat: &Seat| {
            let own = map.view(membership.acting(seat.partition));
            own.filter(|one| !one.members.is_empty()).or(first).map(|one| one.partition)
        };
        let waiting = map.seats.iter().filter(move |seat| !map.names(seat.replica));
        let partition = view.partition;
        waiting.filter(move |seat| listener(seat) == Some(partition))
    }

    /// A waiting replica that has been silent for long.
    pub(crate) fn silent_seat(
        &self,
        now: Instant,
        view: &PartitionView,
        patience: Duration,
    ) -> Option<ReplicaId> {
        let waiting = self.waiting_for(view).map(|seat| seat.replica);
        waiting.into_iter().find(|replica| {
            let since = self.membership.dead_since(*replica, &self.config.pace);
            since.is_some_and(|since| since + SEAT_KEPT + patience <= now)
        })
    }
}
