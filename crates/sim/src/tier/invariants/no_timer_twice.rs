//! No timer fires twice: no leg sees two refreshes in less than half of their pause, nor two BYEs.
//!
//! As in the world of two sites; of one site no home changes. Source: the promises in README.

use crate::invariants::Violation;
use crate::invariants::fires_twice;
use crate::tier::world::World;

pub(super) fn check(world: &World) -> Result<(), Violation> {
    for agent in world.outside.agents.values() {
        if world.is_exempt(agent.addr) {
            continue;
        }
        let moved = |from, to| world.moved_between(agent.addr, from, to);
        fires_twice(agent, world.sizes.session, moved)?;
    }
    Ok(())
}
