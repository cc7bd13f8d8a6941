//! Steering: an operator's word about where the site's calls go.
//!
//! It is kept here and told to every replica with the status of the sites, so that a new primary
//! goes on with it. Closed gates of the site's other processes take note of what their replicas
//! were told: one that opens goes on with that. A site that starts anew has forgotten it.
//!
//! ```text
//!                       pause                         abort
//!   Runs ─────────────────────────────► Paused ────────────────► Aborted: what is known of the way
//!    ▲ ◄──────────────start──────────────┘                          │     home is forgotten
//!    └──────────────start: the keyset is fetched anew───────────────┘
//! ```

use tier_protocol::{Course, Progress, Return, SiteState, Steering};
use vocab::{Instant, PartitionId};

use crate::door::SiteInput;
use crate::gate::Gate;
use crate::gate::door::Steer;
use crate::gate::keyset::Keyset;

impl Gate {
    /// Whether calls go home.
    pub(super) fn returns(&self) -> bool {
        self.steering.returning == Return::Runs
    }

    /// What other sites have to know of the orders.
    pub(super) fn course(&self) -> Course {
        let Steering { evacuate_to, returning: _, backup_to, standing: _ } = self.steering;
        Course {
            evacuates: evacuate_to.is_some(),
            backup_to: backup_to.filter(|_| self.is_backed_up),
            sweeps: true,
        }
    }

    pub(super) fn steer(&mut self, now: Instant, steer: Steer) {
        match steer {
            Steer::Evacuate(to) => self.steering.evacuate_to = to,
            Steer::Return(returning) => self.steer_return(now, returning),
            Steer::ServeWithoutKeyset => {
                self.steer_return(now, Return::Runs);
                self.state = SiteState::Serving;
            }
            Steer::BackUpTo(site) if self.steering.backup_to == Some(site) => {}
            Steer::BackUpTo(site) => {
                self.steering.backup_to = Some(site);
                self.is_backed_up = false;
                // What was said before was of the site before.
                self.progress.clear();
            }
        }
        self.greet_all();
    }

    fn steer_return(&mut self, now: Instant, returning: Return) {
        let before = std::mem::replace(&mut self.steering.returning, returning);
        match (before, returning) {
            (Return::Aborted, Return::Runs) => {
                self.keyset = Keyset::new(now, &self.config, false);
            }
            (Return::Paused, Return::Runs) => self.keyset.go_on(now),
            (Return::Runs, Return::Runs) | (_, Return::Paused | Return::Aborted) => {}
        }
    }

    /// Asks the partitions how far they are: those of other processes always, as operators look at
    /// this gate.
    pub(super) fn ask_progress(&mut self) {
        if self.asks_progress() {
            self.tell_primaries(&SiteInput::ProgressAsk);
        }
    }

    /// Whether it does so from time to time, although no other site may be linked.
    pub(super) fn asks_progress(&self) -> bool {
        let awaits_backup = self.steering.backup_to.is_some() && !self.is_backed_up;
        self.config.is_shared || awaits_backup || self.awaits_orders()
    }

    pub(super) fn progressed(&mut self, partition: PartitionId, progress: Progress) {
        self.progress.insert(partition, progress);
        self.end_finished();
        let ordered = self.steering.backup_to;
        let has_all = |partition: &PartitionId| {
            self.progress.get(partition).is_some_and(|it| it.backed_up_at == ordered)
        };
        let is_whole = ordered.is_some() && self.partition_ids().iter().all(has_all);
        if is_whole && self.keyset.is_known() && !self.is_backed_up {
            self.is_backed_up = true;
            self.greet_all();
        }
    }
}
