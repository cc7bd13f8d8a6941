//! What is written down of a call that ended: one record for each INVITE of a caller, whoever sees
//! its end, and however often.
//!
//! A record is decided in the step in which the caller's leg ends, so that it is stored with that
//! step and leaves with its messages. Its id is a function of the call's state: an engine that
//! takes up what another one left, and a site that woke a copy of a call which lives on elsewhere,
//! give the same one. Deliberately absent: prices, and requests other than INVITE.

use bytes::Bytes;
use servlet::{EndReason, Side};
use vocab::{CallKey, Instant};

use crate::crossing::{Leg, LegState};
use crate::step::{Ended, Stepper};

/// An accounting record. `key`, `salt` and `leg` name it for ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The call.
    pub key: CallKey,
    /// Tells calls apart that reuse a key; 24 bits.
    pub salt: u32,
    /// The caller's leg within the call.
    pub leg: u16,
    /// The caller's address, without its tag.
    pub from: Bytes,
    /// The address that was called.
    pub to: Bytes,
    /// The caller's Call-ID.
    pub call_id: Bytes,
    /// The call began.
    pub begun_at: Instant,
    /// The INVITE was answered with a 2xx; `None` when it was not, or when an older version worked
    /// the call since.
    pub answered_at: Option<Instant>,
    /// The leg ended.
    pub ended_at: Instant,
    /// Why.
    pub why: EndReason,
}

impl Stepper<'_> {
    /// A leg ends: its application is told after the step, and a caller's is written down. To be
    /// called once for each leg, while it is there.
    pub(crate) fn note_end(&mut self, id: u16, why: EndReason) {
        let Some(leg) = self.call.crossing.leg(id) else { return };
        let application = leg.application;
        if self.setting.accounts && self.is_callers(leg) {
            let account = Account {
                key: self.call.key,
                salt: self.call.crossing.salt,
                leg: id,
                from: leg.remote.clone(),
                to: leg.local.clone(),
                call_id: leg.call_id.clone().unwrap_or_default(),
                begun_at: self.call.crossing.begun_at,
                answered_at: leg.answered_at,
                ended_at: self.now,
                why,
            };
            self.accounts.push(account);
        }
        self.ended.push(Ended { leg: id, application, why });
    }

    /// Whether a peer opened the leg by an INVITE.
    fn is_callers(&self, leg: &Leg) -> bool {
        let mut servings = self.call.local.servings.iter();
        leg.side == Side::Uas
            && (leg.state != LegState::Opening
                || servings.any(|serving| serving.leg == Some(leg.id) && serving.is_invite()))
    }
}
