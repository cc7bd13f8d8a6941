//! Which partition keeps a call, and what the engine believes of that partition.
//!
//! Slots are dealt to partitions in the configured order; the deal never changes while the
//! engine lives. It holds no link: up and down are told by the shell.

use tier_protocol::PartitionView;
use vocab::{CallKey, PartitionId, ViewNumber};

struct Partition {
    id: PartitionId,
    view: ViewNumber,
    up: bool,
}

pub(crate) struct PartitionMap(Vec<Partition>);

impl PartitionMap {
    pub(crate) fn new(views: &[PartitionView]) -> Self {
        let partition =
            |view: &PartitionView| Partition { id: view.partition, view: view.number, up: true };
        Self(views.iter().map(partition).collect())
    }

    /// The partition of `key` and the view that the engine believes it has.
    pub(crate) fn find(&self, key: CallKey) -> (PartitionId, ViewNumber) {
        let partition = self.of(key);
        partition.map_or((PartitionId(0), ViewNumber(0)), |found| (found.id, found.view))
    }

    /// Whether the partition of `key` can be reached.
    pub(crate) fn is_up(&self, key: CallKey) -> bool {
        self.of(key).is_some_and(|partition| partition.up)
    }

    pub(crate) fn set_up(&mut self, id: PartitionId, up: bool) {
        if let Some(partition) = self.0.iter_mut().find(|partition| partition.id == id) {
            partition.up = up;
        }
    }

    /// Notes a view; `true` when it is newer than the one believed in.
    pub(crate) fn adopt(&mut self, id: PartitionId, number: ViewNumber) -> bool {
        let partition = self.0.iter_mut().find(|partition| partition.id == id);
        match partition {
            Some(partition) if partition.view < number => {
                partition.view = number;
                true
            }
            Some(_) | None => false,
        }
    }

    fn of(&self, key: CallKey) -> Option<&Partition> {
        let slot = usize::from(key.slot().0);
        // No partition at all: `checked_rem` says so, and every call counts as out of reach.
        slot.checked_rem(self.0.len()).and_then(|index| self.0.get(index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(partition: u16, number: u64) -> PartitionView {
        PartitionView {
            partition: PartitionId(partition),
            number: ViewNumber(number),
            members: Vec::new(),
            joining: Vec::new(),
        }
    }

    #[test]
    fn slots_are_dealt_in_turn() {
        let map = PartitionMap::new(&[view(7, 1), view(9, 2)]);
        assert_eq!(map.find(CallKey([0; 16])), (PartitionId(7), ViewNumber(1)));
        let mut odd = [0; 16];
        odd[1] = 1;
        assert_eq!(map.find(CallKey(odd)), (PartitionId(9), ViewNumber(2)));
    }

    #[test]
    fn only_a_newer_view_is_adopted() {
        let mut map = PartitionMap::new(&[view(7, 5)]);
        assert!(!map.adopt(PartitionId(7), ViewNumber(5)));
        assert!(!map.adopt(PartitionId(8), ViewNumber(6)));
        assert!(map.adopt(PartitionId(7), ViewNumber(6)));
        assert_eq!(map.find(CallKey([0; 16])), (PartitionId(7), ViewNumber(6)));
    }

    #[test]
    fn without_partitions_every_call_is_out_of_reach() {
        assert!(!PartitionMap::new(&[]).is_up(CallKey([0; 16])));
    }
}
