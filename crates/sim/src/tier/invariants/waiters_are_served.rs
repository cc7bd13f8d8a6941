//! Every turn that waits for a lock is served, once the site is healed.
//!
//! Source: design, "waiters are served in order, each in bounded time".

use std::time::Duration;

use crate::invariants::Violation;
use crate::tier::world::World;

/// Every waiter before it lets a lease pass, with room.
const SERVED_AFTER: Duration = Duration::from_secs(40);

pub(super) fn check(world: &World) -> Result<(), Violation> {
    if world.healed_for() < SERVED_AFTER {
        return Ok(());
    }
    let since = |since| world.now.since(since).min(world.healed_for());
    let mut waiting = world.survey.waiting_since.iter();
    match waiting.find(|(_, at)| since(**at) > SERVED_AFTER) {
        None => Ok(()),
        Some(((replica, key, engine, turn), since)) => Err(Violation {
            invariant: "waiters_are_served",
            seen: format!("turn {turn} of e{engine} waits at r{replica} for {key} since {since:?}"),
        }),
    }
}
