//! Which partition keeps a call, who serves it, and which of those can be reached.
//!
//! Views are told by the replicas, links by the shell. A replica counts as reachable until its
//! link is said to be down.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tier_protocol::PartitionView;
use vocab::{CallKey, Instant, PartitionId, ReplicaId, ViewNumber};

/// The site's partitions as the engine believes them to be.
pub(crate) struct PartitionMap {
    views: Vec<PartitionView>,
    /// Replicas whose links are down, and since when.
    down: BTreeMap<ReplicaId, Instant>,
    /// A replica of several may be out of reach for so long: another view is on its way.
    patience: Duration,
}

impl PartitionMap {
    pub(crate) fn new(views: &[PartitionView], patience: Duration) -> Self {
        Self { views: views.to_vec(), down: BTreeMap::new(), patience }
    }

    /// The view of the partition that owns the call's slot.
    pub(crate) fn view(&self, key: CallKey) -> Option<&PartitionView> {
        let slot = key.slot();
        self.views.iter().find(|view| view.slots.contains(slot))
    }

    /// The partition of `key` and the view that the engine believes it has.
    pub(crate) fn find(&self, key: CallKey) -> (PartitionId, ViewNumber) {
        let view = self.view(key);
        view.map_or((PartitionId(0), ViewNumber(0)), |view| (view.partition, view.number))
    }

    /// Who takes the puts of a call.
    pub(crate) fn everybody(&self, key: CallKey) -> BTreeSet<ReplicaId> {
        self.view(key).into_iter().flat_map(PartitionView::everybody).collect()
    }

    /// Whether one replica alone serves the call: what it says needs nobody's confirmation.
    pub(crate) fn is_alone(&self, key: CallKey) -> bool {
        self.view(key).is_none_or(is_alone)
    }

    /// Whether the partition of `key` can be reached, or is likely to be soon.
    pub(crate) fn is_up(&self, key: CallKey, now: Instant) -> bool {
        let Some(view) = self.view(key).filter(|view| !view.members.is_empty()) else {
            return false;
        };
        let patience = if is_alone(view) { Duration::ZERO } else { self.patience };
        let down_for = |replica| self.down.get(&replica).map(|since| now.since(*since));
        !view.everybody().any(|replica| down_for(replica).is_some_and(|down| down >= patience))
    }

    /// Whether every replica that takes the call's puts has a link.
    pub(crate) fn is_within_reach(&self, key: CallKey) -> bool {
        let everybody = self.everybody(key);
        !everybody.is_empty() && !everybody.iter().any(|replica| self.down.contains_key(replica))
    }

    /// Notes a link; the partitions that its replica serves.
    pub(crate) fn set_up(
        &mut self,
        now: Instant,
        replica: ReplicaId,
        up: bool,
    ) -> Vec<PartitionId> {
        if up {
            self.down.remove(&replica);
        } else {
            self.down.entry(replica).or_insert(now);
        }
        self.served_by(replica)
    }

    fn served_by(&self, replica: ReplicaId) -> Vec<PartitionId> {
        let views = self.views.iter().filter(|view| view.names(replica));
        views.map(|view| view.partition).collect()
    }

    /// Whether the replica, alone, serves the partition.
    pub(crate) fn is_only(&self, partition: PartitionId, replica: ReplicaId) -> bool {
        let view = self.views.iter().find(|view| view.partition == partition);
        view.is_some_and(|view| is_alone(view) && view.names(replica))
    }

    /// Notes a view; `true` when it is newer than the one believed in.
    pub(crate) fn adopt(&mut self, new: PartitionView) -> bool {
        let known = self.views.iter_mut().find(|view| view.partition == new.partition);
        match known {
            Some(view) if view.number < new.number => *view = new,
            Some(_) => return false,
            None => self.views.push(new),
        }
        let named: BTreeSet<_> = self.views.iter().flat_map(PartitionView::everybody).collect();
        self.down.retain(|replica, _| named.contains(replica));
        true
    }

    /// A replica that serves alone, and always will, says that its view has another number: it
    /// started again. `true` when that is news. What others say of theirs means nothing here: they
    /// may have had the call before its slot moved.
    pub(crate) fn adopt_number(
        &mut self,
        key: CallKey,
        from: ReplicaId,
        number: ViewNumber,
    ) -> bool {
        let slot = key.slot();
        let view = self.views.iter_mut().find(|view| view.slots.contains(slot));
        match view {
            Some(view) if is_alone(view) && view.names(from) && view.number < number => {
                view.number = number;
                view.led_since = number;
                true
            }
            Some(_) | None => false,
        }
    }
}

fn is_alone(view: &PartitionView) -> bool {
    view.members.len() + view.joining.len() <= 1
}

#[cfg(test)]
mod tests {
    use tier_protocol::SlotSet;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(1);

    fn half(partition: u16, number: u64, members: &[u64]) -> PartitionView {
        PartitionView {
            members: members.iter().copied().map(ReplicaId).collect(),
            slots: SlotSet::share(partition, 2),
            ..PartitionView::alone(PartitionId(partition), ViewNumber(number), ReplicaId(0))
        }
    }

    fn low() -> CallKey {
        CallKey([0; 16])
    }

    fn high() -> CallKey {
        let mut key = [0; 16];
        key[0] = 2;
        CallKey(key)
    }

    #[test]
    fn each_slot_has_its_partition() {
        let map = PartitionMap::new(&[half(0, 1, &[1]), half(1, 2, &[2])], PATIENCE);
        assert_eq!(map.find(low()), (PartitionId(0), ViewNumber(1)));
        assert_eq!(map.find(high()), (PartitionId(1), ViewNumber(2)));
    }

    #[test]
    fn only_a_newer_view_is_adopted() {
        let mut map = PartitionMap::new(&[half(0, 5, &[1])], PATIENCE);
        assert!(!map.adopt(half(0, 5, &[1, 2])));
        assert!(map.adopt(half(0, 6, &[1, 2])));
        assert_eq!(map.everybody(low()).len(), 2);
        assert!(map.adopt(half(1, 2, &[3])), "a partition that was divided off");
    }

    #[test]
    fn one_of_several_may_be_away_for_a_while() {
        let mut map = PartitionMap::new(&[half(0, 1, &[1, 2]), half(1, 1, &[3])], PATIENCE);
        let now = Instant(0);
        assert_eq!(map.set_up(now, ReplicaId(2), false), [PartitionId(0)]);
        map.set_up(now, ReplicaId(3), false);
        assert!(map.is_up(low(), now) && !map.is_up(high(), now));
        assert!(!map.is_up(low(), now + PATIENCE));
        map.adopt(half(0, 2, &[1]));
        assert!(map.is_up(low(), now + PATIENCE), "the view does not name it any more");
    }

    #[test]
    fn only_the_one_that_serves_says_that_its_number_changed() {
        let mut map = PartitionMap::new(&[half(0, 5, &[1]), half(1, 6, &[2])], PATIENCE);
        assert!(!map.adopt_number(high(), ReplicaId(1), ViewNumber(9)), "it had the call before");
        assert_eq!(map.find(high()), (PartitionId(1), ViewNumber(6)));
        assert!(map.adopt_number(high(), ReplicaId(2), ViewNumber(9)));
        assert_eq!(map.find(high()), (PartitionId(1), ViewNumber(9)));
    }

    #[test]
    fn without_partitions_every_call_is_out_of_reach() {
        assert!(!PartitionMap::new(&[], PATIENCE).is_up(low(), Instant(0)));
    }
}
