//! The call's home becomes this site: what the old home may have done is stepped over, what it can
//! no longer do is done here.
//!
//! Transactions did not cross, so neither did anything that was not answered; but for calls that
//! ring and cross early (`early`).

use std::time::Duration;

use servlet::EndReason;
use vocab::{CallKey, Instant};

use crate::b2bua::CSEQ_MAX;
use crate::crossing::LegState;
use crate::session_timer::Refresher;
use crate::step::Stepper;

/// Ordinals that the old home may have used after the state that crossed.
pub(crate) const ORDINAL_GAP: u16 = 256;

impl Stepper<'_> {
    pub(crate) fn on_activate(&mut self) {
        self.call.local = self.call.early_transactions().unwrap_or_default();
        self.step_over();
        self.spread_deadlines();
        self.end_unanswered();
        let states = &self.call.crossing.applications;
        let applications: Vec<u16> = states.iter().map(|state| state.index).collect();
        for index in applications {
            self.consult_and_follow(index, None, |application, cx| application.on_activate(cx));
        }
    }

    /// The dead site may have used the next numbers: "a UAS … MUST be prepared to receive and
    /// process requests with CSeq values more than one higher than the previous" (RFC 3261
    /// §12.2.2).
    fn step_over(&mut self) {
        let gap = self.setting.cseq_gap;
        let crossing = &mut self.call.crossing;
        crossing.next_ordinal = crossing.next_ordinal.wrapping_add(ORDINAL_GAP).max(1);
        for leg in &mut crossing.legs {
            leg.sdp_offset = leg.sdp_offset.saturating_add(gap.into());
            for dialog in &mut leg.dialogs {
                dialog.local_cseq = dialog.local_cseq.saturating_add(gap).min(CSEQ_MAX);
            }
        }
    }

    /// Deadlines that passed while the call slept fire once each, late, in their order, and not all
    /// calls' at once.
    fn spread_deadlines(&mut self) {
        let (now, key) = (self.now, self.call.key);
        let spread = self.setting.limits.activation_spread;
        let mut passed: Vec<&mut Instant> = Vec::new();
        let crossing = &mut self.call.crossing;
        for timer in crossing.legs.iter_mut().filter_map(|leg| leg.timer.as_mut()) {
            match timer.refresher {
                // A refresh that was on its way when the old home died has no answer to wait for.
                Refresher::Us => passed.push(timer.refresh_at.get_or_insert(now)),
                Refresher::Peer => passed.push(&mut timer.expire_at),
            }
        }
        passed.extend(crossing.applications.iter_mut().flat_map(|state| state.timers.values_mut()));
        passed.retain(|at| **at <= now);
        passed.sort_by_key(|at| **at);
        let offsets = offsets(key, spread, passed.len());
        for (at, later) in passed.into_iter().zip(offsets) {
            *at = now + later;
        }
        // Whoever wakes late gives its own refresh time to be answered.
        for timer in crossing.legs.iter_mut().filter_map(|leg| leg.timer.as_mut()) {
            if let Some(refresh_at) = timer.refresh_at {
                timer.expire_at = timer.expire_at.max(refresh_at + spread);
            }
        }
    }

    /// What was not answered when it crossed has lost its transactions, and what was linked with it
    /// has lost its other side.
    fn end_unanswered(&mut self) {
        let legs = self.call.crossing.legs.iter();
        let unanswered: Vec<_> = legs
            .filter(|leg| leg.state != LegState::Confirmed && !self.call.is_early(leg))
            .map(|leg| (leg.id, leg.state, leg.peer))
            .collect();
        for (id, state, peer) in unanswered {
            match state {
                LegState::Leaving => self.say_bye(id, None),
                LegState::Opening | LegState::Confirmed => self.forget_leg(id, EndReason::Lost),
            }
            if let Some(peer) = peer {
                self.end_leg(peer, EndReason::Lost, None);
            }
        }
    }
}

/// `count` moments within `spread`, in order and apart; the same for the same call, and of many
/// calls all over it.
fn offsets(key: CallKey, spread: Duration, count: usize) -> Vec<Duration> {
    let nanos = u64::try_from(spread.as_nanos()).unwrap_or(u64::MAX).max(1);
    let mut seed = u64::from_be_bytes(*key.0.last_chunk().expect("a key has 16 bytes"));
    let mut drawn: Vec<u64> = (0..count)
        .map(|_| {
            seed = seed.rotate_left(7).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            seed % nanos
        })
        .collect();
    drawn.sort_unstable();
    let mut last = 0;
    let apart = drawn.into_iter().map(|nanos| {
        last = nanos.max(last) + 1;
        Duration::from_nanos(last)
    });
    apart.collect()
}
