//! No timer fires twice: no leg sees two refreshes in less than half of their pause, nor two BYEs.
//!
//! A repetition has the CSeq of the first and is no second firing. When a call's home changed in
//! between, its last refresh may not have crossed, and one more is allowed. A call that both sites
//! owned behind a cut link has two timers until the split is settled; such calls are counted, not
//! judged. Source: the promises in README.

use std::time::Duration;

use sip_message::Method;
use vocab::Instant;

use super::Violation;
use crate::agent::{Agent, Fact};
use crate::watch::is_refresh;
use crate::world::World;

/// A 2xx that comes again when its call is over is acknowledged, and ended, as a ghost's (RFC 3261
/// §13.2.2.4). No timer sent that BYE: its CSeq is far beyond what the dialog may have seen.
const GHOST_CSEQ_AHEAD: u32 = 1 << 20;

pub(super) fn check(world: &World) -> Result<(), Violation> {
    for agent in world.outside.agents.values() {
        if !world.was_split(agent.addr) {
            fires_twice(agent, world.session, |from, to| {
                world.moved_between(agent.addr, from, to)
            })?;
        }
    }
    Ok(())
}

/// Whether a timer of the agent's call fired twice, although nothing within that time excuses it.
pub(crate) fn fires_twice(
    agent: &Agent,
    session: Duration,
    is_excused: impl Fn(Instant, Instant) -> bool,
) -> Result<(), Violation> {
    let mut last = None;
    let mut bye = None;
    // The answer to a refresh that crossed the BYE, or came late, is acknowledged and ended anew.
    let mut facts = agent.facts.iter().map(|(_, fact)| fact);
    let crossed = facts.any(|fact| matches!(fact, Fact::ByeBeforeAck | Fact::NoAck));
    for (at, fact) in &agent.facts {
        let Fact::Asked { method, cseq, relayed: false } = fact else { continue };
        if *method == Method::Bye {
            if bye.is_some_and(|before| before != *cseq)
                && *cseq < GHOST_CSEQ_AHEAD
                && !crossed
                && !is_excused(Instant(0), Instant::NEVER)
            {
                return violation(&agent.name, format!("a second BYE at {at:?}"));
            }
            bye = Some(*cseq);
        }
        if !is_refresh(method) {
            continue;
        }
        if let Some((before_at, before_cseq)) = last
            && before_cseq != *cseq
            && at.since(before_at) < session / 4 - Duration::from_millis(500)
            && !is_excused(before_at, *at)
        {
            let seen = format!("refreshes {before_cseq} at {before_at:?} and {cseq} at {at:?}");
            return violation(&agent.name, seen);
        }
        last = Some((*at, *cseq));
    }
    Ok(())
}

fn violation(agent: &str, seen: String) -> Result<(), Violation> {
    Err(Violation { invariant: "no_timer_twice", seen: format!("{agent}: {seen}") })
}
