//! What operators ordered of the calls that live here, and what this partition makes of it.
//!
//! The gate keeps the orders and tells them with each status, to every replica. So a new primary
//! goes on with them, and the one that was told of a change begins the work over many calls that
//! it asks for. A call moves by the same step, whether it goes home or is sent away: it is
//! handed to an engine at a boundary, put with the other site's epoch, and kept asleep here.
//!
//! ```text
//!             wanted, at a boundary      put with its epoch        acknowledged
//!   active ─────────────────────────► given, asleep here ───────► lives there; the copy that a
//!      ▲                                     │                    third site kept is void
//!      └────── its new home died, woken ─────┘
//! ```

use std::collections::BTreeSet;

use tier_protocol::{Progress, Return, SiteState, Standing, Steering, Tombstone};
use vocab::{CallKey, Instant, SiteId, Stamp};

use crate::Replica;
use crate::agenda::Kind;
use crate::door::SiteStatus;
use crate::put::REMOVAL_BYTES;
use crate::stats::BulkKind;

/// Whether a site that answers takes calls.
pub(crate) fn wants_calls(status: &SiteStatus) -> bool {
    status.state == SiteState::Serving && !status.course.evacuates
}

impl Replica {
    pub(crate) fn wants_calls(&self, site: SiteId) -> bool {
        self.sites.get(&site).is_some_and(wants_calls)
    }

    /// Whether the calls that sleep here for the site are its own to work.
    pub(crate) fn owns_its_calls(&self, site: SiteId) -> bool {
        self.sites.contains_key(&site) && !self.forced.contains(&site)
    }

    /// Whether the site has said that what is kept here for it is void.
    pub(crate) fn is_void_here(&self, status: &SiteStatus) -> bool {
        let keeper = status.course.backup_to;
        status.state == SiteState::Serving && keeper.is_some_and(|site| site != self.config.here)
    }

    pub(crate) fn steer(&mut self, steering: Steering) {
        let steering = steering.heard_after(&self.steering);
        let before = std::mem::replace(&mut self.steering, steering);
        let Steering { evacuate_to, returning, backup_to, standing: _ } = self.steering;
        if evacuate_to != before.evacuate_to {
            if let Some(site) = before.evacuate_to {
                self.end_bulk(BulkKind::Evacuate, site);
            }
            if let Some(site) = evacuate_to.filter(|site| self.wants_calls(*site)) {
                self.begin_bulk(BulkKind::Evacuate, site);
            }
        }
        if returning != before.returning {
            self.steer_return(returning);
        }
        if backup_to != before.backup_to {
            self.back_up_to(backup_to.or(self.configured_backup));
        }
        if self.steering.standing != before.standing {
            self.hear_standing(&before.standing);
        }
    }

    /// Orders stand that did not before, or stand no longer. The work is the primary's.
    fn hear_standing(&mut self, before: &Standing) {
        let Standing { number: _, activating, forced, deleting, stopped } =
            self.steering.standing.clone();
        for site in before.forced.keys().filter(|site| !forced.contains_key(site)) {
            self.forced.remove(site);
        }
        self.forced.extend(forced.keys().filter(|site| !before.forced.contains_key(site)));
        for site in before.stopped.difference(&stopped) {
            self.outbound_mut(*site).is_stopped = false;
        }
        for site in stopped.difference(&before.stopped) {
            self.outbound_mut(*site).is_stopped = true;
        }
        let kinds = [
            (BulkKind::Activate, &before.activating, &activating),
            (BulkKind::Drop, &before.deleting, &deleting),
        ];
        for (kind, before, after) in kinds {
            for site in before.difference(after) {
                self.end_bulk(kind, *site);
            }
            for site in after.difference(before).filter(|_| self.leads()).collect::<Vec<_>>() {
                self.begin_bulk(kind, *site);
            }
        }
    }

    /// Begins what stands, as a primary that knows not how far the one before came, or that has
    /// more slots than it had.
    pub(crate) fn take_up_orders(&mut self) {
        let Standing { activating, deleting, .. } = self.steering.standing.clone();
        for (kind, sites) in [(BulkKind::Activate, activating), (BulkKind::Drop, deleting)] {
            for site in sites {
                self.end_bulk(kind, site);
                self.begin_bulk(kind, site);
            }
        }
    }

    /// Sites about which an order of this kind is not carried out yet.
    fn going(&self, kind: BulkKind, ordered: &BTreeSet<SiteId>) -> Vec<SiteId> {
        // Whoever does not lead has begun nothing. A call that an engine is waking would be
        // forgotten with this replica.
        let is_open = !self.leads() || (kind == BulkKind::Activate && self.is_waking());
        let mut going = if is_open { ordered.clone() } else { BTreeSet::new() };
        let running = self.bulks.iter().filter(|((of, _), bulk)| *of == kind && bulk.is_running);
        going.extend(running.map(|((_, site), _)| *site));
        going.into_iter().collect()
    }

    fn is_waking(&self) -> bool {
        let is_ahead = self.agenda.len(Kind::Activate) > 0 || self.handed.waking > 0;
        is_ahead || self.spilling.fetches.is_any_to_wake()
    }

    fn steer_return(&mut self, returning: Return) {
        match returning {
            Return::Paused => {}
            Return::Aborted => self.refill.forget_all(),
            Return::Runs => {
                let wanting = self.sites.values().filter(|status| wants_calls(status));
                let sites: Vec<SiteId> = wanting.map(|status| status.site).collect();
                for site in sites {
                    self.offer_calls(site);
                }
            }
        }
    }

    /// A site begins to want calls.
    pub(crate) fn offer_calls(&mut self, site: SiteId) {
        if self.store.moved_len(site) > 0 {
            self.begin_bulk(BulkKind::HandBack, site);
        }
        if self.steering.evacuate_to == Some(site) {
            self.begin_bulk(BulkKind::Evacuate, site);
        }
    }

    /// The site has the call that was given to it. What the backup site of before keeps of it is
    /// void from here on: woken there, it would stand beside the call.
    ///
    /// The tombstone is of an epoch that no call has, above all that the backup site can have been
    /// sent and below the one that was given. So it ends no call that was woken there meanwhile.
    pub(crate) fn void_old_copy(&mut self, key: CallKey, site: SiteId) {
        let Some(keeper) = self.config.backup_to.filter(|keeper| *keeper != site) else {
            return;
        };
        let call = self.store.get(key).filter(|call| call.is_given);
        let Some(stamp) = call.and_then(|call| call.stamp()).filter(|it| it.epoch.site == site)
        else {
            return;
        };
        let stamp = Stamp { epoch: stamp.epoch.below(), ..stamp };
        let now = self.now;
        self.counts.copies_voided += 1;
        self.outbound_mut(keeper).note_removal(now, Tombstone { key, stamp }, REMOVAL_BYTES);
    }

    /// A call arrives, given to this site. `keeper` keeps the copies of its giver: this site, too,
    /// says that they are void, as the giver may die before its own word is heard.
    pub(crate) fn void_copy_of_giver(
        &mut self,
        now: Instant,
        given: Tombstone,
        keeper: Option<SiteId>,
    ) {
        let Tombstone { key, stamp } = given;
        let here = self.config.here;
        if stamp.epoch.site != here || !stamp.epoch.is_given() {
            return;
        }
        // The one that keeps this site's copies is about to have this very call. One that was never
        // heard may be no peer at all: its mark would stay for ever.
        let is_another = |site: &SiteId| *site != here && self.config.backup_to != Some(*site);
        let keeper = keeper.filter(is_another).filter(|site| self.starts.contains_key(site));
        if let Some(keeper) = keeper {
            let stamp = Stamp { epoch: stamp.epoch.below(), ..stamp };
            self.counts.copies_voided += 1;
            self.outbound_mut(keeper).note_removal(now, Tombstone { key, stamp }, REMOVAL_BYTES);
        }
    }

    /// How much is left of what is steered.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let count = |site: SiteId, calls: usize| (site, calls as u64);
        let sites = || self.starts.keys().copied();
        let moved = sites().map(|site| count(site, self.store.moved_len(site)));
        let dormant = self.store.dormant_by_home().into_iter();
        let orders = self.bulks.iter().filter(|((kind, _), bulk)| {
            bulk.is_running && matches!(kind, BulkKind::Activate | BulkKind::Drop)
        });
        let at_risk = self.outbound.iter().map(|(site, outbound)| (*site, outbound.at_risk()));
        let some = |counts: &mut dyn Iterator<Item = (SiteId, u64)>| -> Vec<(SiteId, u64)> {
            counts.filter(|(_, calls)| *calls > 0).collect()
        };
        Progress {
            active: self.store.active_len() as u64,
            moved: some(&mut { moved }),
            refills: self.refill.len() as u64,
            dormant: some(&mut { dormant }.map(|(site, calls)| count(site, calls))),
            ordered: some(&mut { orders }.map(|((_, site), bulk)| (*site, bulk.left()))),
            at_risk: some(&mut { at_risk }),
            backed_up_at: self.backed_up_at(),
            swept: self.sweeps(),
            heard: Some(self.steering.standing.number),
            activating: self.going(BulkKind::Activate, &self.steering.standing.activating),
            deleting: self.going(BulkKind::Drop, &self.steering.standing.deleting),
        }
    }

    /// The site that was ordered to keep copies, once it has every answered call of that moment.
    fn backed_up_at(&self) -> Option<SiteId> {
        let site = self.steering.backup_to?;
        let (_, swept_at) = self.swept.filter(|(swept, _)| *swept == site)?;
        let is_going = self.bulks.get(&(BulkKind::Sweep, site)).is_some_and(|it| it.is_running);
        let waits = self.outbound.get(&site).is_some_and(|it| it.waits_since(swept_at));
        (!is_going && !waits && self.refill.len() == 0).then_some(site)
    }
}
