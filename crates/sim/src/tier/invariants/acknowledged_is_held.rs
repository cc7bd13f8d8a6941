//! No acknowledged put is lost while a complete member lives.
//!
//! Seen twice: at the links, every put that everybody of one view stored was made, directly or not,
//! from the one acknowledged before it; and every complete member that serves in the newest view
//! holds it, or something newer. Source: design, "each view keeps a complete member of the one
//! before".

use crate::invariants::Violation;
use crate::tier::world::World;

const NAME: &str = "acknowledged_is_held";

pub(super) fn check(world: &World) -> Result<(), Violation> {
    if let Some((at, key, old, new)) = world.watch.passed_over.first() {
        return Err(Violation {
            invariant: NAME,
            seen: format!("{key} at {at:?}: {new:?} was acknowledged, not made from {old:?}"),
        });
    }
    match world.survey.lacking.first() {
        None => Ok(()),
        Some((at, replica, key, stamp)) => Err(Violation {
            invariant: NAME,
            seen: format!("r{replica} lacks {stamp:?} of {key} at {at:?}"),
        }),
    }
}
