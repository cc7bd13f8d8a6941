//! Every view that was ever written, and what its writing tells.

use std::collections::BTreeMap;

use tier_protocol::{PartitionView, SiteMap, SlotSet};
use vocab::{CallKey, Instant, PartitionId, ReplicaId, SiteId, ViewNumber};

use super::words;
use super::world::World;

/// The history of the site's map.
#[derive(Debug, Default)]
pub(crate) struct Views {
    by_number: BTreeMap<ViewNumber, PartitionView>,
    newest: BTreeMap<SiteId, SiteMap>,
    /// Slots whose calls were lost, as every complete member of their view was: since when.
    pub(crate) lost: Vec<(Instant, SlotSet)>,
    /// What no map may do.
    pub(crate) broken: Vec<String>,
    /// Views written, by partition.
    pub(crate) written: BTreeMap<(SiteId, PartitionId), u64>,
}

impl Views {
    pub(crate) fn get(&self, number: ViewNumber) -> Option<&PartitionView> {
        self.by_number.get(&number)
    }

    /// The newest view of the partition that owns the key.
    pub(crate) fn newest(&self, site: SiteId, key: CallKey) -> Option<&PartitionView> {
        let views = &self.newest.get(&site)?.partitions;
        views.iter().find(|view| view.slots.contains(key.slot()))
    }

    pub(crate) fn all_newest(&self) -> impl Iterator<Item = (SiteId, &PartitionView)> {
        self.newest.iter().flat_map(|(site, map)| map.partitions.iter().map(|view| (*site, view)))
    }

    pub(crate) fn is_lost(&self, key: CallKey) -> bool {
        self.lost.iter().any(|(_, slots)| slots.contains(key.slot()))
    }
}

impl World {
    /// The map was written.
    pub(crate) fn note_views(&mut self, site: SiteId) {
        let map = self.store(site).map().clone();
        let before = self.views.newest.insert(site, map.clone()).unwrap_or_default();
        for view in &map.partitions {
            let old = before.view(view.partition);
            if old == Some(view) {
                continue;
            }
            self.trace.note(self.now, format_args!("site {site}: {}", words::view(view)));
            *self.views.written.entry((site, view.partition)).or_default() += 1;
            if self.views.by_number.contains_key(&view.number) {
                self.views.broken.push(format!("the number of {view:?} was given before"));
            }
            self.views.by_number.insert(view.number, view.clone());
            match old {
                Some(old) => self.note_change(site, old, view),
                // Divided off: its members were complete members of the one that had the slots.
                None if !view.members.is_empty() => self.note_divided(&before, view),
                None => {}
            }
        }
        self.note_slots(&map);
    }

    fn note_change(&mut self, site: SiteId, old: &PartitionView, new: &PartitionView) {
        let goes_on = new.members.iter().any(|member| old.members.contains(member));
        if new.number <= old.number {
            self.views.broken.push(format!("{new:?} follows {old:?}"));
        }
        let leads_on = new.primary() == old.primary();
        if !leads_on && new.led_since <= old.number {
            self.views.broken.push(format!("{new:?} has another primary than {old:?}"));
        }
        if goes_on || old.members.is_empty() {
            return;
        }
        let living: Vec<ReplicaId> =
            old.members.iter().copied().filter(|one| self.place_of(*one).is_some()).collect();
        if !living.is_empty() {
            self.views.broken.push(format!("{new:?} begins anew although {living:?} live"));
        }
        self.trace.note(self.now, format_args!("partition {} is lost", new.partition));
        self.views.lost.push((self.now, new.slots));
        self.watch.lost(site, &new.slots);
    }

    fn note_divided(&mut self, before: &SiteMap, new: &PartitionView) {
        let from = before.partitions.iter().find(|old| new.slots.without(&old.slots).is_empty());
        let is_whole =
            from.is_some_and(|old| new.members.iter().all(|member| old.members.contains(member)));
        if !is_whole && !before.partitions.is_empty() {
            self.views.broken.push(format!("{new:?} has members without its calls"));
        }
    }

    fn note_slots(&mut self, map: &SiteMap) {
        if map.partitions.is_empty() {
            return;
        }
        for slot in SlotSet::ALL.iter() {
            let owners = map.partitions.iter().filter(|view| view.slots.contains(slot)).count();
            if owners != 1 {
                self.views.broken.push(format!("slot {} has {owners} owners", slot.0));
                return;
            }
        }
    }
}
