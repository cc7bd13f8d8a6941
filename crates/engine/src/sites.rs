//! What the gate last said of the sites: who is alive, who may be woken for, what is on its way.
//!
//! Without a gate the engine serves alone.

use tier_protocol::{GateWord, SiteState};
use vocab::{Epoch, SiteId};

pub(crate) struct Sites {
    here: SiteId,
    state: SiteState,
    start: u64,
    alive: Vec<SiteId>,
    wakes_on_message: Vec<SiteId>,
    inbox: u64,
    waiting: Vec<SiteId>,
    has_gate: bool,
}

impl Sites {
    pub(crate) fn new(here: SiteId, start: u64) -> Self {
        let (alive, wakes_on_message) = (Vec::new(), Vec::new());
        Self {
            here,
            state: SiteState::Serving,
            start,
            alive,
            wakes_on_message,
            inbox: 0,
            waiting: Vec::new(),
            has_gate: false,
        }
    }

    /// Takes over `GateWord::Sites`; other words say nothing of the sites.
    pub(crate) fn note(&mut self, word: GateWord) {
        if let GateWord::Sites { here, start, alive, wakes_on_message, inbox, waiting } = word {
            self.state = here;
            self.start = start;
            let others = alive.into_iter().map(|(site, _)| site).filter(|site| *site != self.here);
            self.alive = others.collect();
            self.wakes_on_message = wakes_on_message;
            self.inbox = inbox;
            self.waiting = waiting;
            self.has_gate = true;
        }
    }

    pub(crate) fn here(&self) -> SiteId {
        self.here
    }

    pub(crate) fn start(&self) -> u64 {
        self.start
    }

    pub(crate) fn is_serving(&self) -> bool {
        match self.state {
            SiteState::Serving => true,
            SiteState::Returning => false,
        }
    }

    pub(crate) fn is_alive(&self, site: SiteId) -> bool {
        self.alive.contains(&site)
    }

    /// Whether there is a gate that can ask other sites.
    pub(crate) fn has_gate(&self) -> bool {
        self.has_gate
    }

    pub(crate) fn wakes_on_message(&self, site: SiteId) -> bool {
        self.wakes_on_message.contains(&site)
    }

    /// Whether batches from other sites are not applied yet.
    pub(crate) fn inbox_waits(&self) -> bool {
        self.inbox > 0
    }

    /// Whether batches of this site are not applied yet.
    pub(crate) fn waits_from(&self, site: SiteId) -> bool {
        self.waiting.contains(&site)
    }

    /// The epoch of a call that begins here.
    pub(crate) fn first_epoch(&self) -> Epoch {
        Epoch::of_start(self.here, self.start)
    }

    /// The epoch of a call that begins here on a key whose earlier call ended under `floor`: one
    /// whose stamps are above the earlier call's, or other sites would take it for an old copy.
    ///
    /// Under an epoch of our own the token of a later lock is above already.
    pub(crate) fn beginning_epoch(&self, floor: Option<Epoch>) -> Epoch {
        let first = self.first_epoch();
        match floor.filter(|floor| *floor > first) {
            None => first,
            Some(floor) if floor.site == self.here => floor,
            Some(floor) => floor.woken_at(self.here),
        }
    }

    /// The epoch of a call of `epoch` that wakes here: above it, and above all that this site gave
    /// before its last start.
    pub(crate) fn waking_epoch(&self, epoch: Epoch) -> Epoch {
        epoch.woken_at(self.here).max(self.first_epoch())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_begins_above_what_ended_before() {
        let sites = Sites::new(SiteId(2), 3);
        let first = Epoch { n: 3 * Epoch::PER_START, site: SiteId(2) };
        let at = |n, site| Epoch { n: first.n + n, site: SiteId(site) };
        assert_eq!(sites.beginning_epoch(None), first);
        let low = Epoch { n: 65_540, site: SiteId(1) };
        assert_eq!(sites.beginning_epoch(Some(low)), first);
        assert_eq!(sites.beginning_epoch(Some(first)), first);
        assert_eq!(sites.beginning_epoch(Some(at(4, 2))), at(4, 2));
        assert_eq!(sites.beginning_epoch(Some(at(4, 1))), at(6, 2));
        assert_eq!(sites.beginning_epoch(Some(at(0, 1))), at(2, 2));
    }

    #[test]
    fn a_waking_epoch_is_above_both() {
        let sites = Sites::new(SiteId(2), 3);
        let floor = 3 * Epoch::PER_START;
        let low = Epoch { n: 5, site: SiteId(1) };
        assert_eq!(sites.waking_epoch(low), Epoch { n: floor, site: SiteId(2) });
        let high = Epoch { n: floor + 9, site: SiteId(1) };
        assert_eq!(sites.waking_epoch(high), Epoch { n: floor + 10, site: SiteId(2) });
        let given = Epoch { n: floor + 10, site: SiteId(1) };
        assert_eq!(sites.waking_epoch(given), Epoch { n: floor + 12, site: SiteId(2) });
        let same = Epoch { n: floor, site: SiteId(1) };
        assert!(sites.waking_epoch(same) > same);
    }
}
