//! The stamps that a primary stores for a call only rise.
//!
//! Followers may hold what a primary refused until they are mended; a primary may not. Source:
//! glossary, "stamp": unique per put, used in every comparison.

use crate::invariants::Violation;
use crate::tier::world::World;

pub(super) fn check(world: &World) -> Result<(), Violation> {
    match world.watch.went_back.first() {
        None => Ok(()),
        Some((at, replica, key, before, after)) => Err(Violation {
            invariant: "versions_never_go_back",
            seen: format!("r{replica}, {key} at {at:?}: {after:?} was stored after {before:?}"),
        }),
    }
}
