//! No timer fires twice: no leg sees two refreshes in less than half of their pause, nor two BYEs.
//!
//! A repetition has the CSeq of the first and is no second firing. When a call's home changed in
//! between, its last refresh may not have crossed, and one more is allowed. A call that both sites
//! owned behind a cut link has two timers until the split is settled; such calls are counted, not
//! judged. Source: the promises in README.

use std::time::Duration;

use sip_message::Method;

use super::Violation;
use crate::agent::Fact;
use crate::site::SESSION;
use crate::watch::is_refresh;
use crate::world::World;

pub(super) fn check(world: &World) -> Result<(), Violation> {
    for agent in world.outside.agents.values() {
        if world.was_split(agent.addr) {
            continue;
        }
        let mut last = None;
        let mut bye = None;
        for (at, fact) in &agent.facts {
            let Fact::Asked { method, cseq, relayed: false } = fact else { continue };
            if *method == Method::Bye {
                if bye.is_some_and(|before| before != *cseq) && !world.moved_ever(agent.addr) {
                    return violation(&agent.name, format!("a second BYE at {at:?}"));
                }
                bye = Some(*cseq);
            }
            if !is_refresh(method) {
                continue;
            }
            if let Some((before_at, before_cseq)) = last
                && before_cseq != *cseq
                && at.since(before_at) < SESSION / 4 - Duration::from_millis(500)
                && !world.moved_between(agent.addr, before_at, *at)
            {
                let seen = format!("refreshes {before_cseq} at {before_at:?} and {cseq} at {at:?}");
                return violation(&agent.name, seen);
            }
            last = Some((*at, *cseq));
        }
    }
    Ok(())
}

fn violation(agent: &str, seen: String) -> Result<(), Violation> {
    Err(Violation { invariant: "no_timer_twice", seen: format!("{agent}: {seen}") })
}
