//! Seats on the map whose replicas serve in no view: who waits, and is listened to for that.
//!
//! A waiting process is nobody's member: nothing but its seat tells of it, and that of a dead one
//! would stay for good. The members of one view listen to it, and give its seat up after a long
//! silence. One that lives after all takes its seat again.

use std::time::Duration;

use tier_protocol::{PartitionView, Seat};
use vocab::{Instant, ReplicaId};

use crate::Replica;

/// A waiting process keeps its seat for so long after it is taken to be dead. One that others reach
/// and the listeners do not takes its seat again each time: not more often than this.
const SEAT_KEPT: Duration = Duration::from_secs(30);

impl Replica {
    /// The others that are pinged from here.
    pub(crate) fn listened_to(&self) -> Vec<ReplicaId> {
        let Some(view) = self.acting_view() else { return Vec::new() };
        let is_member = view.members.contains(&self.config.replica);
        let waiting = self.waiting_for(view).filter(|_| is_member).map(|seat| seat.replica);
        let all = view.everybody().chain(waiting);
        all.filter(|replica| *replica != self.config.replica).collect()
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
