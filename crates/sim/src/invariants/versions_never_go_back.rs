//! Within the life of a site's state process, the stamps stored for a call only rise.
//!
//! Source: glossary, "stamp": unique per put, used in every comparison; TigerBeetle's
//! checkers look for the same.

use super::Violation;
use crate::world::World;

pub(super) fn check(world: &World) -> Result<(), Violation> {
    match world.watch.went_back.first() {
        None => Ok(()),
        Some((at, site, key, before, after)) => Err(Violation {
            invariant: "versions_never_go_back",
            seen: format!("site {site}, {key} at {at:?}: {after:?} was stored after {before:?}"),
        }),
    }
}
