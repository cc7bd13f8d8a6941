//! An answered call that had crossed when its site was killed goes on at the other site.
//!
//! Seen by the agents: after the kill no request inside such a dialog is refused as unknown, and none
//! goes unanswered, until one of the parties hangs up. Source: the promise of design section 1.

use sip_message::Method;

use super::Violation;
use crate::agent::Fact;
use crate::world::World;

/// Refusals that say "I do not know this call" or "I cannot".
const LOST: [u16; 4] = [404, 408, 481, 503];

pub(super) fn check(world: &World) -> Result<(), Violation> {
    for survivor in &world.survivors {
        let facts = world.facts_of(survivor.call);
        let after = facts.iter().filter(|(at, _, _)| *at > survivor.killed_at);
        for (at, party, fact) in after {
            match fact {
                Fact::Bye | Fact::Answered(Method::Bye, 200..=299) => break,
                Fact::Answered(method, code) if LOST.contains(code) => {
                    return violation(
                        survivor.call,
                        format!(
                            "{party}'s {} was answered {code} at {at:?}, after the kill at {:?}",
                            method.as_str(),
                            survivor.killed_at
                        ),
                    );
                }
                Fact::Silence(method) => {
                    return violation(
                        survivor.call,
                        format!(
                            "{party}'s {} found no answer by {at:?}, after the kill at {:?}",
                            method.as_str(),
                            survivor.killed_at
                        ),
                    );
                }
                Fact::Up
                | Fact::Refused(_)
                | Fact::Answered(..)
                | Fact::Asked { .. }
                | Fact::CseqWentBack { .. }
                | Fact::Cancelled
                | Fact::NoAck => {}
            }
        }
    }
    Ok(())
}

fn violation(call: usize, seen: String) -> Result<(), Violation> {
    Err(Violation { invariant: "crossed_survives", seen: format!("call {call}: {seen}") })
}
