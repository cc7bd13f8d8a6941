//! No two replicas lead in the newest view of a partition.
//!
//! Source: design, "a member is an incarnation": a restarted process is nobody's old self.

use crate::invariants::Violation;
use crate::tier::world::World;

pub(super) fn check(world: &World) -> Result<(), Violation> {
    match world.survey.two_primaries.first() {
        None => Ok(()),
        Some((at, site, partition)) => Err(Violation {
            invariant: "one_primary",
            seen: format!("two replicas lead partition {partition} of site {site} at {at:?}"),
        }),
    }
}
