//! An engine sends nothing of a call while its put of that call is not stored by every member and
//! joiner of one view.
//!
//! Seen at the links: between the put's leaving the engine and the answers' reaching it, no message
//! that carries a token of the call leaves. Source: design, "a put is stored when every member and
//! joiner of one view has it".

use crate::invariants::Violation;
use crate::tier::world::World;

pub(super) fn check(world: &World) -> Result<(), Violation> {
    match world.watch.sent_early.first() {
        None => Ok(()),
        Some((at, engine, key)) => Err(Violation {
            invariant: "nothing_sent_before_stored",
            seen: format!("engine {engine} sent for {key} at {at:?} with its put not stored"),
        }),
    }
}
