//! Words of sweeps on their way between partitions of two sites, slot by slot.
//!
//! A slot is the same at both sites, whatever partition has it. Nothing is kept here: a word that
//! is lost is said again by the home. Sites of before do not know these words and are not told any.

use std::time::Duration;

use tier_protocol::{SiteWord, SweepWord};
use vocab::{Instant, SiteId};

use crate::door::SiteInput;
use crate::gate::Gate;

/// When the oldest batch has waited for longer, what is missing may lie on the queue: a sweep would
/// have it sent once more, which makes the queue longer.
const QUEUE_WAIT_MAX: Duration = Duration::from_secs(5);

impl Gate {
    /// Another site's word.
    pub(super) fn swept(&mut self, now: Instant, site: SiteId, ask: u64, word: SweepWord) {
        let is_late = || !self.is_loaded || self.inbox.oldest(now) > QUEUE_WAIT_MAX;
        if matches!(word, SweepWord::Calls { .. }) && is_late() {
            self.stats.sweep_words_dropped += 1;
            return;
        }
        let slot = word.slot();
        let input = SiteInput::Sweep { site, ask, word };
        match slot {
            Some(slot) => self.tell_replica(self.partition_of_slot(slot), input),
            None => self.tell_primaries(&input),
        }
    }

    /// A partition's word.
    pub(super) fn sweep(&mut self, site: SiteId, ask: u64, word: SweepWord) {
        if self.peers.sweeps(site) {
            self.tell_site(site, SiteWord::Sweep { ask, word });
        } else {
            self.stats.sweep_words_dropped += 1;
        }
    }

    /// What other sites sent may be lost.
    pub(super) fn want_sweeps(&mut self) {
        self.sweeps_wanted = self.config.peers.iter().copied().collect();
        self.ask_sweeps();
    }

    /// Asks the sites that answer by now.
    pub(super) fn ask_sweeps(&mut self) {
        let asked: Vec<SiteId> =
            self.sweeps_wanted.iter().copied().filter(|site| self.peers.sweeps(*site)).collect();
        for site in asked {
            self.sweeps_wanted.remove(&site);
            self.stats.sweeps_wanted += 1;
            self.tell_site(site, SiteWord::Sweep { ask: 0, word: SweepWord::Wanted });
        }
    }
}
