//! Which of the demo's calls is changed, ended and held, from which end, and how fast.

use std::time::Duration;

use super::agent::Side;

/// Requests that an agent begins in one second, at least.
const PER_SECOND: u32 = 100;

/// What is done with which call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) calls: u32,
    /// Session-Expires. Placing and crossing must fit before the first refresh, at half of it.
    pub(super) session_expires: Duration,
}

impl Plan {
    pub(super) fn new(calls: u32) -> Self {
        let placing = Duration::from_secs_f64(f64::from(calls) / f64::from(Self::pace(calls)));
        let half = Duration::from_secs(3) + placing;
        Self { calls, session_expires: Duration::from_secs(2 * half.as_secs().max(5)) }
    }

    /// Requests a second: all calls within three seconds.
    pub(super) fn pace(calls: u32) -> u32 {
        PER_SECOND.max(calls / 3)
    }

    /// Time between two refreshes of a session (RFC 4028 §10: half of the interval).
    pub(super) fn refresh_after(self) -> Duration {
        self.session_expires / 2
    }

    /// Three of four are changed through site 2.
    pub(super) fn is_changed_away(call: u32) -> bool {
        call % 4 != 3
    }

    /// Half of those are ended there.
    pub(super) fn is_ended_away(call: u32) -> bool {
        Self::is_changed_away(call) && (call / 4 + call % 4).is_multiple_of(2)
    }

    /// Which end sends the re-INVITE.
    pub(super) fn changes(call: u32) -> Side {
        if (call / 2).is_multiple_of(2) { Side::Caller } else { Side::Callee }
    }

    /// Which end sends the BYE.
    pub(super) fn hangs_up(call: u32) -> Side {
        if (call / 8).is_multiple_of(2) { Side::Caller } else { Side::Callee }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_of_four_change_and_half_of_those_end_away() {
        let changed = (0..200).filter(|&call| Plan::is_changed_away(call)).count();
        let ended = (0..200).filter(|&call| Plan::is_ended_away(call)).count();
        assert_eq!((changed, ended), (150, 75));
    }

    #[test]
    fn both_ends_change_and_hang_up_calls_of_every_kind() {
        let kinds = |away: bool| {
            let mut seen: Vec<(bool, bool)> = (0..200)
                .filter(|&call| Plan::is_ended_away(call) == away)
                .map(|call| {
                    (Plan::changes(call) == Side::Caller, Plan::hangs_up(call) == Side::Caller)
                })
                .collect();
            seen.sort_unstable();
            seen.dedup();
            seen.len()
        };
        assert_eq!((kinds(true), kinds(false)), (4, 4));
    }

    #[test]
    fn placing_and_crossing_fit_before_the_first_refresh() {
        for calls in [4, 200, 1_000, 5_000] {
            let plan = Plan::new(calls);
            let placing = f64::from(calls) / f64::from(Plan::pace(calls));
            assert!(plan.refresh_after().as_secs_f64() >= placing + 2.0, "{calls}");
            assert!(plan.session_expires <= Duration::from_secs(14), "{calls}");
        }
    }
}
