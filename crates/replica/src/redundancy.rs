//! How long a view has had fewer members than it should have.

use std::time::Duration;

use vocab::Instant;

use crate::Replica;

impl Replica {
    pub(crate) fn note_redundancy(&mut self, now: Instant) {
        let wanted = self.config.shared.as_ref().map_or(1, |shared| usize::from(shared.replicas));
        let view = &self.config.view;
        // Who is in no view holds nothing that more replicas could hold.
        let is_short = view.names(self.config.replica) && view.members.len() < wanted;
        let membership = &mut self.membership;
        if is_short {
            membership.short_since.get_or_insert(now);
        } else if let Some(since) = membership.short_since.take() {
            membership.healed_after = Some(now.since(since));
        }
    }

    pub(crate) fn short_for(&self, now: Instant) -> Option<Duration> {
        self.membership.short_since.map(|since| now.since(since))
    }
}
