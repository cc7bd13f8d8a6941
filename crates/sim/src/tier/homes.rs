//! What was seen of calls that change their site: evidence for the invariants of two sites.

use std::collections::BTreeMap;

use tier_protocol::{Cause, Command, Reply};
use vocab::{CallKey, Instant, ReplicaId, SiteId, Stamp};

use crate::ownership::Ownership;

/// Evidence.
#[derive(Debug, Default)]
pub(crate) struct Homes {
    /// Whose the calls are.
    pub(crate) owned: Ownership,
    /// When sites, or partitions, were lost with all that they held.
    pub(crate) lost_at: Vec<(Instant, SiteId)>,
    /// A dormant record, or one that lives elsewhere, was handed because a deadline passed.
    pub(crate) dormant_due: Vec<(Instant, ReplicaId, CallKey)>,
    /// Grants: woken, and to be handed back.
    pub(crate) woken: u64,
    pub(crate) handed_back: u64,
    /// The first put of each whose crossing section says the same: those after it need not cross.
    firsts: BTreeMap<(CallKey, Stamp), Stamp>,
}

impl Homes {
    /// An engine gives a command to its links.
    pub(crate) fn commanded(&mut self, command: &Command) {
        if let Command::Put { record, base: Some(base), flags, .. } = command
            && flags.crossing_unchanged
        {
            let (key, stamp) = (record.header.key, record.header.stamp);
            let first = self.firsts.get(&(key, *base)).copied().unwrap_or(*base);
            self.firsts.insert((key, stamp), first);
        }
    }

    /// Whether a copy of one stamp is as good at another site as one of another.
    pub(crate) fn is_as_new(&self, key: CallKey, held: Stamp, wanted: Stamp) -> bool {
        let first = |stamp| self.firsts.get(&(key, stamp)).copied().unwrap_or(stamp);
        held >= first(wanted)
    }

    /// A command reaches a replica.
    pub(crate) fn delivered(&mut self, site: SiteId, command: &Command) {
        match command {
            Command::Delete { .. }
            | Command::StoreDormant { .. }
            | Command::StoreTombstone { .. } => {
                self.owned.given_up(site, command.key());
            }
            Command::Put { .. }
            | Command::Unlock { .. }
            | Command::Renew { .. }
            | Command::LockAndGet { .. }
            | Command::Get { .. }
            | Command::Confirm { .. }
            | Command::Poisoned { .. } => {}
        }
    }

    /// A replica gives a reply to its link.
    pub(crate) fn replied(
        &mut self,
        now: Instant,
        (site, replica, leads): (SiteId, ReplicaId, bool),
        reply: &Reply,
    ) {
        match reply {
            Reply::Granted { key, cause, record, dormant, .. } => match cause {
                Cause::Due => {
                    let elsewhere =
                        record.as_ref().is_some_and(|record| record.header.home() != site);
                    if *dormant || elsewhere {
                        self.dormant_due.push((now, replica, *key));
                    }
                }
                Cause::Activate => self.woken += 1,
                Cause::HandBack { .. } => self.handed_back += 1,
                Cause::Asked { .. } | Cause::Resume | Cause::Quarantined => {}
            },
            Reply::Stored { key, stamp } if leads => self.owned.stored(now, site, *key, *stamp),
            Reply::Stored { .. }
            | Reply::Unchanged { .. }
            | Reply::Refused { .. }
            | Reply::Queued { .. }
            | Reply::Busy { .. }
            | Reply::NotHere { .. }
            | Reply::Quarantined { .. }
            | Reply::StaleView { .. }
            | Reply::Got { .. }
            | Reply::Confirmed { .. }
            | Reply::Dormant { .. } => {}
        }
    }

    /// A site, or a partition of it, is lost with all that it held.
    pub(crate) fn lost(&mut self, now: Instant, site: SiteId) {
        self.lost_at.push((now, site));
        self.owned.lost(site);
    }
}
