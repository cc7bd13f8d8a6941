//! What a call's home takes to be kept at the other site is there: in every complete member that
//! serves, or on the queue.
//!
//! Seen in the replicas of both sites, in runs in which the other site lost nothing as a whole.
//! Source: "durable before acknowledged", and glossary, "dirty mark".

use crate::invariants::Violation;
use crate::tier::world::World;

pub(super) fn check(world: &World) -> Result<(), Violation> {
    match world.survey.sites.not_kept.first() {
        None => Ok(()),
        Some((at, site, key, stamp, why)) => Err(Violation {
            invariant: "crossed_is_kept",
            seen: format!(
                "site {site} takes {stamp:?} of {key} to be kept at the other at {at:?}: {why}"
            ),
        }),
    }
}
