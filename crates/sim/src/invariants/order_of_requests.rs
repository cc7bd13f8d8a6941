//! The peers see CSeq numbers that only rise, whichever site they came from.
//!
//! Source: RFC 3261 §12.2.2, and the gap that activation adds (ARCHITECTURE): the dead site may
//! have used the next numbers. Reordered datagrams are the agents' network, not ours: a lower
//! number counts only in fair weather. With the link between the sites cut both may own a call,
//! and their requests cannot be ordered: such runs are left to `one_active_home`.

use std::time::Duration;

use super::Violation;
use crate::agent::{Agent, Fact};
use crate::world::World;

/// Two requests of one turn leave together, and even a fair network may swap them.
const OVERTAKEN_WITHIN: Duration = Duration::from_millis(10);

pub(super) fn check(world: &World) -> Result<(), Violation> {
    if !world.fair_weather || world.watch.links_cut > 0 {
        return Ok(());
    }
    let agents = world.outside.agents.values();
    agents.filter(|agent| !world.was_split(agent.addr)).try_for_each(goes_back)
}

/// Whether a request reached the agent with a number that is not higher than the one before.
pub(crate) fn goes_back(agent: &Agent) -> Result<(), Violation> {
    for (at, fact) in &agent.facts {
        if let Fact::CseqWentBack { last, this, after } = fact
            && *after >= OVERTAKEN_WITHIN
        {
            return Err(Violation {
                invariant: "order_of_requests",
                seen: format!("{}: CSeq {this} after {last} at {at:?}", agent.name),
            });
        }
    }
    Ok(())
}
