//! A call is checked out by one engine at a time, and a put under an older token is never stored.
//!
//! Seen at the replica's links: a second grant while the first holder neither unlocked, nor broke,
//! nor let its lease pass; a `Stored` under a token below the newest that was granted. Source:
//! glossary, "lock, token".

use super::Violation;
use crate::world::World;

pub(super) fn check(world: &World) -> Result<(), Violation> {
    if let Some((at, site, key, one, other)) = world.watch.holders.two.first() {
        return Err(Violation {
            invariant: "one_holder",
            seen: format!("site {site} gave {key} to engine {other} at {at:?}; {one} held it"),
        });
    }
    match world.watch.old_token_stored.first() {
        None => Ok(()),
        Some((at, site, key)) => Err(Violation {
            invariant: "one_holder",
            seen: format!("site {site} stored a put of {key} under an old token at {at:?}"),
        }),
    }
}
