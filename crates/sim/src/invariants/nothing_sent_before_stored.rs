//! An engine sends nothing of a call while its put of that call is not stored.
//!
//! Seen at the links: between the put's leaving the engine and the answer's reaching it, no
//! message that carries a token of the call leaves. Source: the promises in README, and the flow of
//! a message in ARCHITECTURE.

use super::Violation;
use crate::world::World;

pub(super) fn check(world: &World) -> Result<(), Violation> {
    match world.watch.sent_early.first() {
        None => Ok(()),
        Some((at, engine, key)) => Err(Violation {
            invariant: "nothing_sent_before_stored",
            seen: format!("engine {engine} sent for {key} at {at:?} with its put not stored"),
        }),
    }
}
