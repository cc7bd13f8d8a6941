//! A coordination store that does not answer stops changes of views, never calls.
//!
//! Seen in runs in which nothing else fails: no put waits for longer than a client of the store
//! waits for its answer, and a view that was written is told to those who missed the news of it.
//! Source: design, "a coordination store that is away stops view changes, never calls".

use std::time::Duration;

use crate::invariants::Violation;
use crate::tier::world::World;

/// An answer of the store that does not come, and late news, with room.
const STORED_WITHIN: Duration = Duration::from_secs(5);

pub(super) fn check(world: &World) -> Result<(), Violation> {
    if !world.only_store_fails {
        return Ok(());
    }
    match world.watch.oldest_put() {
        Some((engine, key, since)) if world.now.since(since) > STORED_WITHIN => Err(Violation {
            invariant: "store_stops_no_call",
            seen: format!("e{engine}'s put of {key} waits since {since:?}"),
        }),
        Some(_) | None => Ok(()),
    }
}
