//! Standing orders: what an operator orders of the calls that are kept for one other site, or sent
//! to it.
//!
//! Each goes to the primaries at once, as before there was any other way, and is part of the
//! steering as long as it stands: a primary that begins, and a new keeper of the gate, find it
//! there. It is dropped from there when every partition has told that it has carried it out.
//!
//! ```text
//!            ordered                   told by every partition, of this very order
//!   none ──────────────► it stands ───────────────────────────────────────────────► done
//!                            └──► void: ended by order, or the home answers and was not forced
//! ```

use std::collections::BTreeSet;

use tier_protocol::{Progress, Return, SiteOrder};
use vocab::{Instant, SiteId};

use crate::door::SiteInput;
use crate::gate::Gate;
use crate::gate::door::Steer;

/// Sites about which an order was carried out, of those that this gate was given.
#[derive(Debug, Default)]
pub(super) struct Finished {
    pub(super) activated: BTreeSet<SiteId>,
    pub(super) deleted: BTreeSet<SiteId>,
}

impl Gate {
    pub(super) fn order(&mut self, now: Instant, order: SiteOrder) {
        self.stand(order);
        self.end_void_orders();
        if let SiteOrder::ActivateAll { force: true, .. } = order {
            // They would go straight back to the site that they were taken from.
            self.steer(now, Steer::Return(Return::Paused));
        }
        self.tell_changes();
        self.tell_primaries(&SiteInput::Order(order));
    }

    fn stand(&mut self, order: SiteOrder) {
        let standing = &mut self.steering.standing;
        match order {
            SiteOrder::ActivateAll { site, force } => {
                standing.activating.insert(site);
                standing.forced.remove(&site);
                if force {
                    let start = self.peers.start_of(site).unwrap_or(0);
                    standing.forced.insert(site, start);
                }
                self.finished.activated.remove(&site);
            }
            SiteOrder::StopActivating { site } => {
                standing.activating.remove(&site);
                standing.forced.remove(&site);
                self.finished.activated.remove(&site);
            }
            SiteOrder::DropBackup { site } => {
                standing.deleting.insert(site);
                self.finished.deleted.remove(&site);
            }
            SiteOrder::Replication { site, on: false } => {
                standing.stopped.insert(site);
            }
            SiteOrder::Replication { site, on: true } => {
                standing.stopped.remove(&site);
            }
            // They are over in a moment, and are asked for again.
            SiteOrder::Sweep { .. } | SiteOrder::Compare { .. } => return,
        }
        standing.number += 1;
        // What was told before was not of this order.
        self.progress.clear();
    }

    /// Whether an order stands that the partitions are asked about.
    pub(super) fn awaits_orders(&self) -> bool {
        let standing = &self.steering.standing;
        !standing.activating.is_empty() || !standing.deleting.is_empty()
    }

    /// A site that answers owns its calls, unless they were to be taken by force; and one that
    /// came back empty owns them in any case.
    pub(super) fn end_void_orders(&mut self) {
        let standing = &mut self.steering.standing;
        if standing.activating.is_empty() && standing.forced.is_empty() {
            return;
        }
        for status in self.peers.alive(self.now, self.config.silent_after) {
            let site = status.site;
            if standing.forced.get(&site).is_some_and(|start| *start != status.start) {
                standing.forced.remove(&site);
            }
            if !standing.forced.contains_key(&site) {
                standing.activating.remove(&site);
            }
        }
    }

    /// Ends the orders that every partition has carried out.
    pub(super) fn end_finished(&mut self) {
        let standing = &self.steering.standing;
        let number = standing.number;
        let partitions = self.partition_ids();
        let is_through = |site: &SiteId, going: fn(&Progress) -> &[SiteId]| {
            let told = |of: &_| self.progress.get(of).map(|it| is_told(it, number, *site, going));
            partitions.iter().all(|partition| told(partition) == Some(true))
        };
        let activated = standing.activating.iter().filter(|site| is_through(site, activating));
        let deleted = standing.deleting.iter().filter(|site| is_through(site, deleting));
        let (activated, deleted): (Vec<SiteId>, Vec<SiteId>) =
            (activated.copied().collect(), deleted.copied().collect());
        let standing = &mut self.steering.standing;
        for site in activated {
            standing.activating.remove(&site);
            self.finished.activated.insert(site);
        }
        for site in deleted {
            standing.deleting.remove(&site);
            self.finished.deleted.insert(site);
        }
    }
}

fn activating(progress: &Progress) -> &[SiteId] {
    &progress.activating
}

fn deleting(progress: &Progress) -> &[SiteId] {
    &progress.deleting
}

/// Whether a partition says that it has carried an order out. One of a release before says only
/// how many calls are left.
fn is_told(
    progress: &Progress,
    number: u64,
    site: SiteId,
    going: fn(&Progress) -> &[SiteId],
) -> bool {
    match progress.heard {
        Some(heard) => heard == number && !going(progress).contains(&site),
        None => progress.ordered.iter().all(|(of, calls)| *of != site || *calls == 0),
    }
}
