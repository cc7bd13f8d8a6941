//! A call is active at one site, or a split is settled once the sites are healed.
//!
//! While they do not see each other both may own a call (each was told that the other is gone).
//! Once they can talk, the higher epoch wins. Source: `vocab::Epoch`.

use std::time::Duration;

use crate::invariants::Violation;
use crate::tier::world::World;

/// Views that change, a link, one batch each way, and a yield that waits for a lock, with room.
const SETTLED_AFTER: Duration = Duration::from_secs(90);

pub(super) fn check(world: &World) -> Result<(), Violation> {
    let since = |since| world.now.since(since).min(world.healed_for());
    let mut double = world.survey.sites.double_since.iter();
    match double.find(|(_, at)| since(**at) > SETTLED_AFTER) {
        None => Ok(()),
        Some((key, since)) => Err(Violation {
            invariant: "one_active_home",
            seen: format!("{key} is active at both sites since {since:?}"),
        }),
    }
}
