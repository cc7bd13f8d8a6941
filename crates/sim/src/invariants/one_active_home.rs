//! A call is active at one site, or a split that the sites can see is settled in bounded time.
//!
//! While the link is cut both may own a call (each was told that the other is gone). Once they can
//! talk, the higher epoch wins. Source: `vocab::Epoch`, which settles it when two copies meet.

use std::time::Duration;

use super::Violation;
use crate::world::World;

/// Detection, one batch each way, and a yield that waits for a lock, with room for retries.
const SETTLED_AFTER: Duration = Duration::from_secs(45);

pub(super) fn check(world: &World) -> Result<(), Violation> {
    let late = world
        .survey
        .double_since
        .iter()
        .find(|(_, since)| world.now.since(**since) > SETTLED_AFTER);
    match late {
        None => Ok(()),
        Some((key, since)) => Err(Violation {
            invariant: "one_active_home",
            seen: format!("{key} is active at both sites since {since:?}"),
        }),
    }
}
