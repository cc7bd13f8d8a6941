//! A dormant record's timers sleep: no deadline of it is ever handed to an engine.
//!
//! Source: glossary, "dormant": timers asleep; a dormant call wakes by activation alone.

use super::Violation;
use crate::world::World;

pub(super) fn check(world: &World) -> Result<(), Violation> {
    match world.watch.dormant_due.first() {
        None => Ok(()),
        Some((at, site, key)) => Err(Violation {
            invariant: "dormant_fires_no_timer",
            seen: format!("site {site} handed the dormant call {key} as due at {at:?}"),
        }),
    }
}
