//! When the faults are over and everybody has hung up, nothing is left anywhere.
//!
//! No record, dormant copy, stub, lock, turn or batch outlives the calls. Source: the
//! promise that no call is immortal.

use super::Violation;
use crate::agent::Standing;
use crate::world::World;

pub(super) fn check(world: &World) -> Result<(), Violation> {
    let stuck = world
        .outside
        .agents
        .values()
        .find(|agent| !matches!(agent.standing(), Standing::Idle | Standing::Over));
    if let Some(agent) = stuck {
        return Err(Violation {
            invariant: "every_call_ends",
            seen: format!("{} is still {:?}", agent.name, agent.standing()),
        });
    }
    let left = world.leftovers();
    if left.is_empty() {
        return Ok(());
    }
    Err(Violation { invariant: "every_call_ends", seen: left.join("; ") })
}
