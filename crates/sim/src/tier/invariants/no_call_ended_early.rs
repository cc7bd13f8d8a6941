//! The site ends no call by itself that was just answered and that nobody gave up.
//!
//! An engine that believes that a call does not exist ends it at whoever answers: RFC 3261
//! §13.2.2.4. Seen by the agents: a BYE that was not relayed, sooner after the answer than any
//! session could run out. Source: design, "`NotHere` counts only when every other member has
//! confirmed the same view".

use std::time::Duration;

use sip_message::Method;

use crate::agent::Fact;
use crate::invariants::Violation;
use crate::outside::{callee_addr, caller_addr};
use crate::tier::world::World;

pub(super) fn check(world: &World) -> Result<(), Violation> {
    let agents = &world.outside.agents;
    for call in 0..world.outside.calls() {
        let gave_up = agents.get(&caller_addr(call)).is_none_or(|agent| agent.gave_up());
        let is_plain = agents.get(&callee_addr(call)).is_some_and(|agent| agent.answers_plainly());
        if gave_up
            || !is_plain
            || world.is_exempt(caller_addr(call))
            || world.is_exempt(callee_addr(call))
        {
            continue;
        }
        let facts = world.outside.facts_of(call);
        for (at, party, fact) in &facts {
            let Fact::Asked { method: Method::Bye, relayed: false, .. } = fact else { continue };
            let before = facts.iter().take_while(|(when, _, _)| when <= at);
            let ended = before.clone().any(|(_, _, fact)| ends(fact));
            let answered = before.clone().find(|(_, _, fact)| *fact == Fact::Accepted);
            if let Some((since, _, _)) = answered
                && at.since(*since) < world.sizes.session / 2 - Duration::from_secs(1)
                && !ended
            {
                return Err(Violation {
                    invariant: "no_call_ended_early",
                    seen: format!(
                        "call {call}, answered at {since:?}: {party} got a BYE at {at:?}"
                    ),
                });
            }
        }
    }
    Ok(())
}

/// Whether somebody but the site has ended the call, or had reason to think that it is over.
fn ends(fact: &Fact) -> bool {
    match fact {
        Fact::HungUp | Fact::Refused(_) | Fact::Silence(_) | Fact::Cancelled | Fact::NoAck => true,
        Fact::Answered(_, code) => *code == 481 || *code == 408,
        Fact::Accepted
        | Fact::Up
        | Fact::Asked { .. }
        | Fact::CseqWentBack { .. }
        | Fact::Bye
        | Fact::ByeBeforeAck => false,
    }
}
