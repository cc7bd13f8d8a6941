//! The section that another site needs to resume the call: legs, dialogs, session timers, and what
//! applications keep. Transactions are deliberately absent: they do not outlive a site, but for
//! those of calls that cross while they ring (`early`).
//!
//! Tags and Call-IDs of ours are not kept as text: a leg remembers the site and the ordinal that
//! their tokens were minted with.

use std::collections::BTreeMap;

use bytes::Bytes;
use servlet::{Hint, SessionState, SessionView, Side};
use vocab::{Instant, SiteId};

use crate::session_timer::SessionTimer;

/// Everything about a call that crosses to another site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Crossing {
    /// Distinguishes this call from an earlier one with the same key; 24 bits.
    pub(crate) salt: u32,
    /// The next ordinal for a tag, a leg or a branch. 0 is never given: it marks stateless answers.
    pub(crate) next_ordinal: u16,
    pub(crate) begun_at: Instant,
    /// In the order in which they were opened. At most `CallLimits::legs_max`.
    pub(crate) legs: Vec<Leg>,
    /// One for each application that takes part.
    pub(crate) applications: Vec<ApplicationState>,
    /// Fields of a newer version, here and in the parts of the call: written again as they came.
    pub(crate) newer: Bytes,
}

/// One side of a back-to-back user agent: the dialogs that one INVITE made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Leg {
    /// Its name within the call, and the ordinal of its Call-ID if that is ours.
    pub(crate) id: u16,
    /// The site that minted its tags and its Call-ID.
    pub(crate) site: SiteId,
    pub(crate) side: Side,
    pub(crate) state: LegState,
    /// The leg that it is linked with.
    pub(crate) peer: Option<u16>,
    /// Index of the application that it belongs to.
    pub(crate) application: u16,
    /// The peer's Call-ID; `None` when it is ours and can be minted again.
    pub(crate) call_id: Option<Bytes>,
    /// Our address, without a tag.
    pub(crate) local: Bytes,
    /// The peer's address, without a tag.
    pub(crate) remote: Bytes,
    /// The dialogs: several while the INVITE forks, one once it is answered. Never empty, and at
    /// most `CallLimits::forks_max`.
    pub(crate) dialogs: Vec<Dialog>,
    /// The session description that we sent last, as it came from the other leg.
    pub(crate) sdp: Bytes,
    /// Added to the version of each session description that we send.
    pub(crate) sdp_offset: u64,
    /// The peer's Allow lists UPDATE.
    pub(crate) is_update_allowed: bool,
    /// The shortest session interval that the peer was seen to accept, in seconds; 0: none known.
    pub(crate) min_se_s: u32,
    /// It rings, and another site may go on with it: its INVITE's transaction crosses.
    pub(crate) is_early: bool,
    /// Runs once the leg is answered.
    pub(crate) timer: Option<SessionTimer>,
    /// Of a caller's leg: when it was answered. An older version forgets it.
    pub(crate) answered_at: Option<Instant>,
    pub(crate) newer: Bytes,
}

/// Where a leg stands.
///
/// ```text
/// Opening ──2xx──► Confirmed ──BYE──► (forgotten)
///    │                  └──must end, but its 2xx has no ACK yet──► Leaving ──BYE──► (forgotten)
///    └──failure──► (forgotten)
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LegState {
    /// Its first INVITE has no final response.
    Opening,
    /// Answered.
    Confirmed,
    /// Over for the other leg. "The callee's UA MUST NOT send a BYE on a confirmed dialog until it
    /// has received an ACK for its 2xx response or until the server transaction times out" (§15).
    Leaving,
}

/// A dialog of RFC 3261 §12, early or confirmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Dialog {
    /// Which fork of the INVITE it is; the same number on both legs.
    pub(crate) fork: u16,
    /// Ordinal of our tag.
    pub(crate) local_tag: u16,
    /// The peer's tag: empty if it sent none, `None` before it sent anything.
    pub(crate) remote_tag: Option<Bytes>,
    /// CSeq of our last request, ACK and CANCEL excepted.
    pub(crate) local_cseq: u32,
    /// CSeq of the peer's last request.
    pub(crate) remote_cseq: Option<u32>,
    /// The peer's Contact: a URI.
    pub(crate) target: Bytes,
    /// The route set: addresses in the order in which requests of ours visit them. At most
    /// `CallLimits::routes_max`.
    pub(crate) routes: Vec<Bytes>,
    pub(crate) newer: Bytes,
}

/// What one application keeps in the call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ApplicationState {
    /// Which of the setting's applications.
    pub(crate) index: u16,
    /// What it last said to expect.
    pub(crate) hint: Option<Hint>,
    /// Bounded by `servlet::Limits`.
    pub(crate) attributes: BTreeMap<String, Bytes>,
    /// Bounded by `servlet::Limits`.
    pub(crate) timers: BTreeMap<String, Instant>,
    pub(crate) newer: Bytes,
}

impl Crossing {
    pub(crate) fn new(salt: u32, now: Instant) -> Self {
        let (legs, applications) = (Vec::new(), Vec::new());
        Self { salt, next_ordinal: 1, begun_at: now, legs, applications, newer: Bytes::new() }
    }

    pub(crate) fn leg(&self, id: u16) -> Option<&Leg> {
        self.legs.iter().find(|leg| leg.id == id)
    }

    pub(crate) fn leg_mut(&mut self, id: u16) -> Option<&mut Leg> {
        self.legs.iter_mut().find(|leg| leg.id == id)
    }

    pub(crate) fn dialog(&self, leg: u16, fork: u16) -> Option<&Dialog> {
        self.leg(leg)?.dialog(fork)
    }

    pub(crate) fn dialog_mut(&mut self, leg: u16, fork: u16) -> Option<&mut Dialog> {
        self.leg_mut(leg)?.dialogs.iter_mut().find(|dialog| dialog.fork == fork)
    }

    /// Forgets a leg; the one that was linked with it stands alone then.
    pub(crate) fn remove_leg(&mut self, id: u16) {
        self.legs.retain(|leg| leg.id != id);
        for leg in &mut self.legs {
            if leg.peer == Some(id) {
                leg.peer = None;
            }
        }
    }

    /// An ordinal that no leg or tag of the call has.
    pub(crate) fn fresh_ordinal(&mut self) -> u16 {
        loop {
            let ordinal = self.next_ordinal;
            self.next_ordinal = self.next_ordinal.wrapping_add(1).max(1);
            let is_used = self.legs.iter().any(|leg| {
                leg.id == ordinal || leg.dialogs.iter().any(|dialog| dialog.local_tag == ordinal)
            });
            if !is_used {
                return ordinal;
            }
        }
    }

    /// What the application of this index keeps, from its first part in the call on.
    pub(crate) fn application_mut(&mut self, index: u16) -> &mut ApplicationState {
        let at = match self.applications.iter().position(|state| state.index == index) {
            Some(at) => at,
            None => {
                self.applications.push(ApplicationState {
                    index,
                    hint: None,
                    attributes: BTreeMap::new(),
                    timers: BTreeMap::new(),
                    newer: Bytes::new(),
                });
                self.applications.len() - 1
            }
        };
        &mut self.applications[at]
    }

    /// Whether a site that has `before` misses nothing: only numbers were used since, and not so
    /// many that activation, which steps over `cseq_gap` of them, could meet one of these again.
    /// Numbers are told in steps of half of what is stepped over; the other half is for those that
    /// are used while a state is on its way.
    pub(crate) fn is_told_by(&self, before: &Self, cseq_gap: u32) -> bool {
        let cseq_step = (cseq_gap / 2).max(1);
        let ordinal_step = crate::activate::ORDINAL_GAP / 2;
        if self.legs.len() != before.legs.len()
            || self.next_ordinal / ordinal_step != before.next_ordinal / ordinal_step
        {
            return false;
        }
        let mut told = before.clone();
        told.next_ordinal = self.next_ordinal;
        for (leg, newer) in told.legs.iter_mut().zip(&self.legs) {
            for (dialog, newer) in leg.dialogs.iter_mut().zip(&newer.dialogs) {
                if dialog.local_cseq / cseq_step == newer.local_cseq / cseq_step {
                    dialog.local_cseq = newer.local_cseq;
                }
                // A peer counts up in any case; what it repeats finds no transaction there.
                dialog.remote_cseq = newer.remote_cseq;
            }
        }
        told == *self
    }

    /// The next deadline that another site would have to keep.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let sessions = self.legs.iter().filter_map(|leg| leg.timer?.next_deadline());
        let timers = self.applications.iter().flat_map(|state| state.timers.values().copied());
        sessions.chain(timers).min()
    }

    pub(crate) fn session_views(&self) -> Vec<SessionView> {
        self.legs.iter().map(|leg| self.view(leg)).collect()
    }

    fn view(&self, leg: &Leg) -> SessionView {
        // What the other leg has heard is what this one was told.
        let callee = match leg.side {
            Side::Uac => Some(leg),
            Side::Uas => leg.peer.and_then(|peer| self.leg(peer)),
        };
        let is_early =
            callee.is_some_and(|leg| leg.dialogs.iter().any(|dialog| dialog.remote_tag.is_some()));
        let state = match leg.state {
            LegState::Opening if is_early => SessionState::Early,
            LegState::Opening => SessionState::Initial,
            LegState::Confirmed => SessionState::Confirmed,
            LegState::Leaving => SessionState::Terminated,
        };
        SessionView {
            id: servlet::SessionId(leg.id),
            side: leg.side,
            state,
            peer: leg.peer.map(servlet::SessionId),
        }
    }
}

impl Leg {
    pub(crate) fn dialog(&self, fork: u16) -> Option<&Dialog> {
        self.dialogs.iter().find(|dialog| dialog.fork == fork)
    }

    /// Whether it is a callee that has not answered.
    pub(crate) fn is_opening_callee(&self) -> bool {
        self.side == Side::Uac && self.state == LegState::Opening
    }
}
