//! Calls that cross while they ring: what of their transactions goes with them (decision 11).
//!
//! An INVITE that rings has one server transaction in Proceeding and one client transaction in
//! Proceeding (RFC 3261 §17.2.1, §17.1.1.2): neither repeats anything by itself, so that a copy of
//! them is as good as they are. The caller's CANCEL finds the one by its branch (§9.2), the
//! callee's 2xx the other (§17.1.3), whichever site they reach. Once it is cancelled or answered
//! a call waits for its boundary like any other.

use bytes::Bytes;
use vocab::Instant;

use crate::Call;
use crate::crossing::{Leg, LegState};
use crate::local::{Asking, Cancel, Local, Serving};

impl Call {
    /// Whether the leg rings and another site could go on with it.
    pub(crate) fn is_early(&self, leg: &Leg) -> bool {
        let is_of = |id: Option<u16>| id == Some(leg.id);
        leg.state == LegState::Opening
            && leg.is_early
            && (self.local.servings.iter().any(|one| is_of(one.leg) && rings_at_us(one))
                || self.local.askings.iter().any(|one| is_of(Some(one.leg)) && rings_at_peer(one)))
    }

    pub(crate) fn is_early_serving(&self, serving: &Serving) -> bool {
        let leg = serving.leg.and_then(|leg| self.crossing.leg(leg));
        rings_at_us(serving) && leg.is_some_and(|leg| self.is_early(leg))
    }

    pub(crate) fn is_early_asking(&self, asking: &Asking) -> bool {
        let leg = self.crossing.leg(asking.leg);
        rings_at_peer(asking) && leg.is_some_and(|leg| self.is_early(leg))
    }

    /// The transactions that cross; `None` when there are none, as of every answered call.
    pub(crate) fn early_transactions(&self) -> Option<Local> {
        let servings = self.local.servings.iter().filter(|one| self.is_early_serving(one));
        let askings = self.local.askings.iter().filter(|one| self.is_early_asking(one));
        let local = Local {
            next_serving: self.local.next_serving,
            servings: servings.cloned().collect(),
            askings: askings.cloned().collect(),
            recent: None,
            newer: Bytes::new(),
        };
        (local.transactions() > 0).then_some(local)
    }

    /// Whether it rings as another site could go on with it: its next boundary makes another call
    /// of it.
    #[must_use]
    pub fn rings(&self) -> bool {
        self.early_transactions().is_some()
    }

    /// The next deadline that another site would have to keep.
    pub(crate) fn crossing_deadline(&self) -> Option<Instant> {
        let askings = self.local.askings.iter().filter(|one| self.is_early_asking(one));
        let rings_until = askings.filter_map(|asking| asking.give_up_at).min();
        self.crossing.next_deadline().into_iter().chain(rings_until).min()
    }
}

fn rings_at_us(serving: &Serving) -> bool {
    serving.is_initial && serving.is_invite() && serving.is_pending() && !serving.is_deferred
}

fn rings_at_peer(asking: &Asking) -> bool {
    asking.is_invite() && !asking.is_in_dialog && asking.is_pending() && asking.cancel == Cancel::No
}
