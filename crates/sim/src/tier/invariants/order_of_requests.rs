//! The peers see CSeq numbers that only rise, whichever engine they came from.
//!
//! Source: RFC 3261 §12.2.2. Reordered datagrams are the agents' network, not ours: a lower number
//! counts only in fair weather.

use crate::invariants::Violation;
use crate::invariants::goes_back;
use crate::tier::world::World;

pub(super) fn check(world: &World) -> Result<(), Violation> {
    // With the sites cut apart both may own a call, and their requests cannot be ordered.
    if !world.fair_weather || world.wan.cuts > 0 {
        return Ok(());
    }
    for agent in world.outside.agents.values() {
        if !world.is_exempt(agent.addr) {
            goes_back(agent)?;
        }
    }
    Ok(())
}
