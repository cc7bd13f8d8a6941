//! An answered call that had crossed when its site was killed goes on at the other site.
//!
//! Seen by the agents: after the kill no request inside such a dialog is refused as unknown, and
//! none that an engine was given goes unanswered, until one of the parties hangs up. Calls that
//! both sites owned behind a cut link are left to `one_active_home`. Source: the promises in
//! README.

use std::time::Duration;

use sip_message::Method;
use vocab::Instant;

use super::Violation;
use crate::agent::Fact;
use crate::outside::callee_addr;
use crate::run::Survivor;
use crate::world::World;

/// Refusals that say "I do not know this call" or "I cannot".
const LOST: [u16; 4] = [404, 408, 481, 503];
/// A request is repeated for so long (RFC 3261 §17.1, 64*T1).
const TRIED_FOR: Duration = Duration::from_secs(32);
/// An answer that is not lost comes within this.
const ANSWERED_IN: Duration = Duration::from_secs(4);

pub(super) fn check(world: &World) -> Result<(), Violation> {
    for survivor in &world.survivors {
        if world.was_split(survivor.caller) {
            continue;
        }
        let facts = world.outside.facts_of(survivor.call);
        let after = facts.iter().filter(|(at, _, _)| *at > survivor.killed_at);
        let mut gone = Vec::new();
        for (at, party, fact) in after {
            // A BYE that finds the call over is no loss when the other party was told.
            let alone = !gone.iter().any(|one| one != party)
                && !facts.iter().any(|(_, one, fact)| one != party && *fact == Fact::Bye);
            match fact {
                Fact::Bye | Fact::HungUp => gone.push(*party),
                Fact::Answered(Method::Bye, code) if LOST.contains(code) && alone => {
                    let seen = format!("{party}'s BYE was answered {code} at {at:?}");
                    return violation(survivor, &seen);
                }
                Fact::Silence(Method::Bye) if alone => {
                    let seen = format!("{party}'s BYE found no answer by {at:?}");
                    return violation(survivor, &seen);
                }
                Fact::Answered(method, code) if LOST.contains(code) && gone.is_empty() => {
                    let seen =
                        format!("{party}'s {} was answered {code} at {at:?}", method.as_str());
                    return violation(survivor, &seen);
                }
                Fact::Silence(method)
                    if gone.is_empty() && was_heard(world, survivor, party, *at) =>
                {
                    let seen = format!("{party}'s {} found no answer by {at:?}", method.as_str());
                    return violation(survivor, &seen);
                }
                Fact::Up
                | Fact::Silence(_)
                | Fact::Refused(_)
                | Fact::Answered(..)
                | Fact::Asked { .. }
                | Fact::Accepted
                | Fact::ByeBeforeAck
                | Fact::CseqWentBack { .. }
                | Fact::Cancelled
                | Fact::NoAck => {}
            }
        }
    }
    Ok(())
}

/// Whether any copy of a request that found no answer came to an engine in time for one: each may
/// have met a site that is dead, one whose engines are, or bad weather.
fn was_heard(world: &World, survivor: &Survivor, party: &str, at: Instant) -> bool {
    let agent = if party == "caller" { survivor.caller } else { callee_addr(survivor.call) };
    let (from, to) =
        (at.0.saturating_sub(nanos(TRIED_FOR)), at.0.saturating_sub(nanos(ANSWERED_IN)));
    world.outside.was_heard(agent, Instant(from), Instant(to))
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn violation(survivor: &Survivor, seen: &str) -> Result<(), Violation> {
    let Survivor { call, killed_at, caller: _ } = survivor;
    let seen = format!("call {call}, whose site was killed at {killed_at:?}: {seen}");
    Err(Violation { invariant: "crossed_survives", seen })
}
