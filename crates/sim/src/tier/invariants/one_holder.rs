//! A primary gives a call to one engine at a time.
//!
//! Seen at the replica's links: a second grant while the first holder neither unlocked, nor broke,
//! nor let its lease pass. That no two puts of one record are both acknowledged, whoever gave the
//! locks, is `acknowledged_is_held`. Source: glossary, "lock, token".

use crate::invariants::Violation;
use crate::tier::world::World;

pub(super) fn check(world: &World) -> Result<(), Violation> {
    match world.watch.holders.two.first() {
        None => Ok(()),
        Some((at, replica, key, one, other)) => Err(Violation {
            invariant: "one_holder",
            seen: format!("r{replica} gave {key} to engine {other} at {at:?}; {one} held it"),
        }),
    }
}
