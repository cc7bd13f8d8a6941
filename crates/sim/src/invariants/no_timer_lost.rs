//! A deadline that passed is handed to an engine, and to another when that one dies.
//!
//! Seen in the replicas: an active, unlocked call whose deadline passed long ago although an engine
//! is there to work. Source: the promises in README.

use std::time::Duration;

use super::Violation;
use crate::world::World;

/// A lease that had to end, and its engine's pause, with room.
const HANDED_AFTER: Duration = Duration::from_secs(20);

pub(super) fn check(world: &World) -> Result<(), Violation> {
    let lost = world
        .survey
        .overdue_since
        .iter()
        .find(|(_, since)| world.now.since(**since) > HANDED_AFTER);
    match lost {
        None => Ok(()),
        Some(((site, key), since)) => Err(Violation {
            invariant: "no_timer_lost",
            seen: format!("{key} at site {site} is overdue since {since:?}"),
        }),
    }
}
