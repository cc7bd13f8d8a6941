//! What a site takes to have crossed is at the other site, or a sweep has it cross again in time.
//!
//! Copies that were lost without a word are among the faults. Source: the sweeps of
//! `replica::sweep`.

use std::time::Duration;

use super::Violation;
use crate::world::World;

/// A pause between two sweeps, the age at which a call is spoken of, and a batch, with room for
/// questions that were lost.
const REPAIRED_WITHIN: Duration = Duration::from_secs(40);

pub(super) fn check(world: &World) -> Result<(), Violation> {
    let late = world
        .survey
        .missing_since
        .iter()
        .find(|(_, since)| world.now.since(**since) > REPAIRED_WITHIN);
    match late {
        None => Ok(()),
        Some(((site, key), since)) => Err(Violation {
            invariant: "copies_are_there",
            seen: format!("{key} of site {site} has had no copy since {since:?}"),
        }),
    }
}
