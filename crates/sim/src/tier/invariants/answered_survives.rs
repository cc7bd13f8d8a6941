//! An answered call goes on, whichever engines and replicas die, while a complete member of its
//! partition's view lives.
//!
//! Seen by the agents: no request inside the dialog is ever refused as unknown; and once the site
//! is healed, whoever hangs up is answered 200. While the site is not, requests may go unanswered.
//! Source: the promises in README.

use std::time::Duration;

use sip_message::Method;
use vocab::Instant;

use crate::agent::Fact;
use crate::invariants::Violation;
use crate::outside::{PartyFact, caller_addr};
use crate::tier::world::World;
use crate::watch::is_refresh;

/// Refusals that say "I do not know this call".
const UNKNOWN: [u16; 2] = [404, 481];
/// Beside those, refusals that a healed site does not give. A second INVITE is refused with 500
/// while the first one's 2xx is not acknowledged (RFC 3261 §14.2), and that may have got lost.
const LOST: [u16; 3] = [408, 500, 503];

/// A request from before the site was healed may wait for its call's lock for so long.
const HEALS_WITHIN: Duration = Duration::from_secs(8);
/// A BYE that crosses a request.
const CROSSES_WITHIN: Duration = Duration::from_secs(1);
/// One that is lost comes again for so long.
const BYE_WITHIN: Duration = Duration::from_secs(33);
/// A request that was sent before the site was healed is given up within this.
const WAIT: Duration = Duration::from_secs(33);

pub(super) fn check(world: &World) -> Result<(), Violation> {
    let healed_at = world.healed_at.unwrap_or(Instant::NEVER);
    for call in 0..world.outside.calls() {
        let Some(up_since) = world.outside.up_since(call) else { continue };
        if world.is_exempt(caller_addr(call)) {
            continue;
        }
        let facts = world.outside.facts_of(call);
        let mut gone: Vec<&str> = Vec::new();
        for (at, party, fact) in &facts {
            // A BYE that finds the call over is no loss when the other party was told.
            let alone = !gone.iter().any(|one| one != party)
                && !facts.iter().any(|(_, one, fact)| one != party && *fact == Fact::Bye);
            let (is_up, is_healed) = (*at >= up_since, *at > healed_at + HEALS_WITHIN);
            let is_lost =
                |code: &u16| is_up && (UNKNOWN.contains(code) || is_healed && LOST.contains(code));
            match fact {
                Fact::Bye | Fact::HungUp | Fact::NoAck => gone.push(*party),
                // §9.1: a CANCEL "has no effect on a request to which a UAS has already given a
                // final response"; where the answered call moved meanwhile it is unknown.
                Fact::Answered(Method::Cancel, _) => {}
                Fact::Answered(method, code) if is_lost(code) => {
                    let counts = if *method == Method::Bye { alone } else { gone.is_empty() };
                    if counts && !may_have_run_out(world.sizes.session, &facts, party, *at) {
                        let seen = format!("{} was answered {code}", method.as_str());
                        return violation(call, party, &seen, *at);
                    }
                }
                Fact::Silence(Method::Bye) if at.since(healed_at) > WAIT && alone => {
                    return violation(call, party, "BYE found no answer", *at);
                }
                Fact::Up
                | Fact::Silence(_)
                | Fact::Refused(_)
                | Fact::Answered(..)
                | Fact::Asked { .. }
                | Fact::Accepted
                | Fact::ByeBeforeAck
                | Fact::CseqWentBack { .. }
                | Fact::Cancelled => {}
            }
        }
    }
    Ok(())
}

/// Whether the site may have ended the call, as a session that was not refreshed in time: its BYE
/// is on its way. A site that has forgotten the call sends none.
fn may_have_run_out(session: Duration, facts: &[PartyFact], party: &str, at: Instant) -> bool {
    let own_bye_within = |wait| {
        facts.iter().any(|(when, one, fact)| {
            let is_own = matches!(fact, Fact::Asked { method: Method::Bye, relayed: false, .. });
            *one == party && is_own && when.since(at) < wait
        })
    };
    let is_refreshed = |leg: &str| {
        let recent = facts.iter().filter(|(when, one, _)| {
            *one == leg && *when <= at && at.since(*when) < session / 2 - Duration::from_secs(1)
        });
        recent.map(|(_, _, fact)| fact).any(|fact| match fact {
            Fact::Up | Fact::Accepted => true,
            Fact::Asked { method, .. } => is_refresh(method),
            _ => false,
        })
    };
    let is_fresh = is_refreshed("caller") && is_refreshed("callee");
    own_bye_within(CROSSES_WITHIN) || !is_fresh && own_bye_within(BYE_WITHIN)
}

fn violation(call: usize, party: &str, seen: &str, at: Instant) -> Result<(), Violation> {
    let seen = format!("call {call}: {party}'s {seen} at {at:?}");
    Err(Violation { invariant: "answered_survives", seen })
}
