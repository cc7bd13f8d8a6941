//! A dormant record's timers sleep: no deadline of it is ever handed to an engine.
//!
//! Source: glossary, "dormant": timers asleep; a dormant call wakes by activation alone.

use crate::invariants::Violation;
use crate::tier::world::World;

pub(super) fn check(world: &World) -> Result<(), Violation> {
    match world.homes.dormant_due.first() {
        None => Ok(()),
        Some((at, replica, key)) => Err(Violation {
            invariant: "dormant_fires_no_timer",
            seen: format!("r{replica} handed the dormant call {key} as due at {at:?}"),
        }),
    }
}
