//! A deadline that passed is handed to an engine, once the site is healed.
//!
//! Seen in the primaries: an unlocked call whose deadline passed long ago. Source: the promises in
//! README.

use std::time::Duration;

use crate::invariants::Violation;
use crate::tier::world::World;

/// A lease that had to end, a view that had to change, and a pause after both, with room.
const HANDED_AFTER: Duration = Duration::from_secs(20);

pub(super) fn check(world: &World) -> Result<(), Violation> {
    if world.healed_for() < HANDED_AFTER {
        return Ok(());
    }
    let since = |since| world.now.since(since).min(world.healed_for());
    let mut overdue = world.survey.overdue_since.iter();
    match overdue.find(|(_, at)| since(**at) > HANDED_AFTER) {
        None => Ok(()),
        Some(((site, partition, key), since)) => Err(Violation {
            invariant: "no_timer_lost",
            seen: format!(
                "{key} of site {site}, partition {partition}, is overdue since {since:?}"
            ),
        }),
    }
}
