//! Orders about where the calls of this site go, and how far they are.

use std::collections::{BTreeMap, BTreeSet};

use admin_api::{
    ActivateOrder, EvacuateOrder, Evacuation, OrderReply, Retarget, RetargetOrder, ReturnOrder,
    ReturnStatus, ReturnWord, SitesReply, SweepOrder, SweepStatus,
};
use replica::SiteOrder;
use replica::gate::{GateInput, Steer};
use tier_protocol::partition::Sweep;
use tier_protocol::{Progress, Return};
use vocab::{Instant, SiteId};

use super::answers::keeps_gate;
use super::{Site, TierSeat, Word};
use crate::admin::{Answer, Body, Refusal};

/// A whole site's progress.
#[derive(Debug, Default)]
pub(crate) struct Whole {
    pub(crate) active: u64,
    pub(crate) refills: u64,
    pub(crate) moved: BTreeMap<SiteId, u64>,
    pub(crate) dormant: BTreeMap<SiteId, u64>,
    pub(crate) ordered: BTreeMap<SiteId, u64>,
    pub(crate) at_risk: BTreeMap<SiteId, u64>,
    pub(crate) swept: BTreeMap<SiteId, SweepStatus>,
    /// Homes whose calls some partition is waking by order.
    pub(crate) activating: BTreeSet<SiteId>,
    /// Homes whose copies some partition is forgetting.
    pub(crate) deleting: BTreeSet<SiteId>,
    /// Partitions of which it is the sum.
    pub(crate) told: u64,
}

impl Whole {
    fn add(&mut self, one: Progress) {
        let Progress {
            active,
            moved,
            refills,
            dormant,
            ordered,
            at_risk,
            backed_up_at: _,
            swept,
            heard: _,
            activating,
            deleting,
        } = one;
        self.activating.extend(activating);
        self.deleting.extend(deleting);
        for (site, sweep) in swept {
            add_sweep(self.swept.entry(site).or_default(), &sweep);
        }
        self.told += 1;
        self.active += active;
        self.refills += refills;
        for (sum, counts) in [
            (&mut self.moved, moved),
            (&mut self.dormant, dormant),
            (&mut self.ordered, ordered),
            (&mut self.at_risk, at_risk),
        ] {
            for (site, calls) in counts {
                *sum.entry(site).or_default() += calls;
            }
        }
    }
}

/// Adds what one partition told. The sweep that ended first is the one that is spoken of.
fn add_sweep(sum: &mut SweepStatus, one: &Sweep) {
    let Sweep { slots_left, done, found, repaired, unanswered, ended_ms } = *one;
    sum.slots_left += u64::from(slots_left);
    sum.done += done;
    sum.found += found;
    sum.repaired += repaired;
    sum.unanswered += unanswered;
    let ended = (done > 0).then_some(ended_ms);
    sum.ended_ms_ago = sum.ended_ms_ago.max(ended);
}

/// The calls of one site among those of all.
pub(crate) fn of_site(counts: &BTreeMap<SiteId, u64>, site: SiteId) -> u64 {
    counts.get(&site).copied().unwrap_or(0)
}

pub(crate) fn state_of(returning: Return) -> &'static str {
    match returning {
        Return::Runs => "runs",
        Return::Paused => "paused",
        Return::Aborted => "aborted",
    }
}

/// Numbers by site, as the admin API has them.
pub(crate) fn by_number(counts: &BTreeMap<SiteId, u64>) -> BTreeMap<u16, u64> {
    counts.iter().map(|(site, calls)| (site.0, *calls)).collect()
}

impl TierSeat {
    /// Of all partitions of the site: of a process among several as they told its gate.
    pub(crate) fn progress(&self, now: Instant) -> Whole {
        let mut whole = Whole::default();
        if self.is_shared() {
            self.gate.stats(now).progress.into_values().for_each(|one| whole.add(one));
        } else {
            whole.add(self.replica.progress());
        }
        whole
    }
}

impl Site {
    /// The site that is to have the copies of the calls that live here.
    pub(super) fn backup_to(&self, now: Instant) -> Option<u16> {
        let ordered = self.tier.as_ref()?.gate.stats(now).steering.backup_to;
        let configured = self.config.sites.as_ref().and_then(|sites| sites.backup_to);
        ordered.map(|site| site.0).or(configured)
    }

    /// What is steered, and how far it is.
    pub(super) fn steered(&self, now: Instant) -> Result<SitesReply, Refusal> {
        let seat = self.tier()?;
        let (gate, whole) = (seat.gate.stats(now), seat.progress(now));
        let steering = gate.steering;
        let evacuation = steering.evacuate_to.map(|to| Evacuation {
            to: to.0,
            left: whole.active,
            wanted: gate.wanting.contains(&to),
        });
        let retarget = steering.backup_to.map(|to| Retarget {
            to: to.0,
            at_risk: of_site(&whole.at_risk, to),
            complete: gate.is_backed_up,
        });
        let returning = ReturnStatus {
            state: state_of(steering.returning).into(),
            keyset_awaited: gate.keyset_awaited.iter().map(|site| site.0).collect(),
            keyset_told: gate.keyset_fetched,
            refill_left: whole.refills,
            hand_back_left: by_number(&whole.moved),
        };
        let (partitions, partitions_told) = (gate.partitions, whole.told);
        let sweeps = whole.swept.iter().map(|(site, sweep)| (site.0, *sweep)).collect();
        Ok(SitesReply {
            evacuation,
            returning,
            retarget,
            sweeps,
            led_by: gate.primaries.iter().map(|replica| replica.0).collect(),
            partitions,
            partitions_told,
            ..SitesReply::default()
        })
    }

    /// Wakes the calls that are kept for a site. By force they are taken from one that answers:
    /// they would go straight back to it, so nothing goes home from then on.
    pub(super) fn activate(&mut self, now: Instant, order: ActivateOrder) -> Answer {
        let ActivateOrder { site, force } = order;
        let site = SiteId(site);
        self.may_activate(now, site, force)?;
        let is_alive = self.tier()?.gate.stats(now).alive.contains_key(&site);
        let force = force && is_alive;
        let mut what = "activation has begun";
        if force {
            what = "activation of a living site's calls has begun; nothing goes home from here \
                    until `rehome return start`";
        }
        self.order(now, site, SiteOrder::ActivateAll { site, force }, what)
    }

    pub(super) fn evacuate(&mut self, now: Instant, order: EvacuateOrder) -> Answer {
        let EvacuateOrder { from, to } = order;
        let seat = self.tier()?;
        let here = self.config.site.id;
        if from != here {
            return Err(Refusal::bad(format!("this node is of site {here}: ask site {from}")));
        }
        keeps_gate(seat)?;
        let calls = seat.progress(now).active;
        let what = match to {
            None => "the evacuation is over; its calls come home as soon as they can".to_owned(),
            Some(to) => {
                self.peer(SiteId(to))?;
                self.may_send_to(now, SiteId(to))?;
                format!("evacuation to site {to} has begun")
            }
        };
        self.steer(Steer::Evacuate(to.map(SiteId)));
        tracing::info!(?to, calls, "an evacuation was ordered, or ended");
        Body::json(&OrderReply { accepted: what, calls })
    }

    /// Refuses a site that takes no call at the moment.
    fn may_send_to(&self, now: Instant, to: SiteId) -> Result<(), Refusal> {
        let gate = self.tier()?.gate.stats(now);
        if gate.wanting.contains(&to) {
            return Ok(());
        }
        let why = if gate.evacuating.contains(&to) {
            "gives its own calls away"
        } else if gate.alive.contains_key(&to) {
            "is returning"
        } else {
            "does not answer"
        };
        Err(Refusal::conflict(format!("site {} {why}: it takes no calls", to.0)))
    }

    pub(super) fn steer_return(&mut self, now: Instant, order: ReturnOrder) -> Answer {
        let ReturnOrder { order, without_keyset } = order;
        let seat = self.tier()?;
        keeps_gate(seat)?;
        let whole = seat.progress(now);
        let (steer, what) = match (order, without_keyset) {
            (ReturnWord::Start, false) => (Steer::Return(Return::Runs), "calls go home"),
            (ReturnWord::Start, true) => {
                let what = "this site serves, and fetches the keyset beside that";
                (Steer::ServeWithoutKeyset, what)
            }
            (ReturnWord::Pause | ReturnWord::Abort, true) => {
                return Err(Refusal::bad("`without_keyset` goes with `start` alone".into()));
            }
            (ReturnWord::Pause, false) => {
                (Steer::Return(Return::Paused), "no call goes home until the start")
            }
            (ReturnWord::Abort, false) => {
                let what = "no call goes home, and the start will begin anew";
                (Steer::Return(Return::Aborted), what)
            }
        };
        let calls = whole.refills + whole.moved.values().sum::<u64>();
        self.steer(steer);
        tracing::info!(?steer, calls, "the return was steered");
        Body::json(&OrderReply { accepted: what.into(), calls })
    }

    pub(super) fn retarget(&mut self, now: Instant, order: RetargetOrder) -> Answer {
        let to = SiteId(order.to);
        let seat = self.tier()?;
        self.peer(to)?;
        keeps_gate(seat)?;
        if !seat.gate.stats(now).alive.contains_key(&to) {
            let error = format!("site {} does not answer: it can keep nothing yet", to.0);
            return Err(Refusal::conflict(error));
        }
        let calls = seat.progress(now).active;
        self.steer(Steer::BackUpTo(to));
        tracing::info!(site = to.0, calls, "another backup site was ordered");
        let accepted = format!("copies go to site {}; write it into `sites.backup_to`, too", to.0);
        Body::json(&OrderReply { accepted, calls })
    }

    /// Compares the copies at the site that keeps them, at once.
    pub(super) fn sweep(&mut self, now: Instant, order: SweepOrder) -> Answer {
        let keeper = self.backup_to(now);
        let Some(site) = order.site.or(keeper) else {
            let error = "no site keeps copies of this site's calls: set `sites.backup_to`";
            return Err(Refusal::conflict(error.into()));
        };
        let seat = self.tier()?;
        self.peer(SiteId(site))?;
        keeps_gate(seat)?;
        if keeper != Some(site) {
            let error = format!("site {site} keeps no copies of this site's calls");
            return Err(Refusal::conflict(error));
        }
        if !seat.gate.stats(now).alive.contains_key(&SiteId(site)) {
            let error = format!(
                "site {site} does not answer; its copies are compared when it does, in the \
                 ordinary way, every `crossing.sweep_every_s`"
            );
            return Err(Refusal::conflict(error));
        }
        let order = SiteOrder::Compare { site: SiteId(site) };
        self.order(now, SiteId(site), order, &format!("the copies at site {site} are compared"))
    }

    fn steer(&mut self, steer: Steer) {
        self.words.push_back(Word::Gate(GateInput::Steer(steer)));
    }
}
