//! Views change no more often than there is reason to: a link that flaps does not make them flap.
//!
//! A replica that is removed and joins again makes three views, and waits twice as long after each
//! life that was cut short. Source: design, views.

use crate::invariants::Violation;
use crate::tier::scenario::Scenario;
use crate::tier::world::World;

/// Views of one replica that is removed and joins again.
const COME_BACK: u64 = 3;
/// Lives that may be cut short by one fault.
const LIVES: u64 = 6;

pub(super) fn check(world: &World, scenario: &Scenario) -> Result<(), Violation> {
    let replicas = scenario.places.len() as u64;
    let partitions = u64::from(scenario.sizes.partitions) + 1;
    let most = COME_BACK * (replicas + LIVES * scenario.faults) + 2 * partitions;
    let written: u64 = world.views.written.values().sum();
    if written <= most {
        return Ok(());
    }
    Err(Violation {
        invariant: "views_are_rare",
        seen: format!("{written} views for {} faults; {most} would be many", scenario.faults),
    })
}
