//! When the faults are over and everybody has hung up, nothing is left anywhere.
//!
//! No record, lock or turn outlives the calls, in any replica. Source: the promise that no call is
//! immortal.

use crate::agent::Standing;
use crate::invariants::Violation;
use crate::tier::world::World;

pub(super) fn check(world: &World) -> Result<(), Violation> {
    let mut agents = world.outside.agents.values();
    let stuck = agents.find(|agent| !matches!(agent.standing(), Standing::Idle | Standing::Over));
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
