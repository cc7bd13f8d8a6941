//! What became of the hint on a call's newest put, and why: one byte a call, one number a reason.
//!
//! ```text
//!  put ──► CheckedOut ──lock ends──► Vetoed ──┐ the bound is reached ──► Forced ──┐
//!              ▲                     Settling ┤ nobody took it ────────► Followed ┤
//!              └──── checked out again ───────┘                                   ▼
//!                                                     InFlight ──► Crossed, or sent again
//! ```
//!
//! Only the primary decides. What a mark waits for beside the decision (a link, an acknowledgement)
//! is read from the mark when somebody asks.

use tier_protocol::Veto;
use vocab::{CallKey, Instant, SiteId};

use crate::Replica;
use crate::outbound::{Mark, Outbound, Stage, What};
use crate::store::Call;

/// What the primary last decided about a call's hint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Nothing yet: it was not looked at here.
    #[default]
    None,
    /// Somebody had it.
    CheckedOut,
    /// Its effects may not have left.
    InDoubt,
    /// What the put named spoke against it.
    Vetoed,
    /// It was touched too lately.
    Settling,
    /// It goes: it was left alone for the settle time.
    Followed,
    /// It goes: the bound was reached.
    Forced,
}

/// Where the newest state of a call stands on its way to a site, and why. A closed list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HintReason {
    /// The partition's primary decides, and this replica is another member.
    NotPrimary,
    /// An engine has the call; it is looked at when the lock ends.
    CheckedOut,
    /// The effects of the newest put may not have left; an engine is to send them again.
    InDoubt,
    /// The put named what spoke against crossing.
    Vetoed(Veto),
    /// The put was not at a boundary; its engine is of a release that does not say why.
    NotAtBoundary,
    /// It crosses when nobody takes it for the settle time.
    Settling,
    /// The hint was followed: it waits for company in its batch.
    Followed,
    /// It was disregarded until the bound: it crosses as it is.
    Forced,
    /// It would go, and the site does not answer.
    LinkDown,
    /// It would go, and an operator stopped the sending.
    Stopped,
    /// It would go, and the site refused a batch or has too many on their way.
    Refused,
    /// It left, and the site has not acknowledged it.
    InFlight,
    /// The site has it.
    Crossed,
    /// Its record is in the database, and is fetched when its turn comes.
    InDatabase,
    /// The site has lost it, with all others, and it waits for its turn.
    Refill,
}

/// How often each decision was taken, since the process started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HintCounts {
    /// Hints followed: the call had been left alone for the settle time.
    pub followed: u64,
    /// Calls that crossed because the bound was reached.
    pub forced: u64,
    /// Looks that found a call touched within the settle time.
    pub settling: u64,
    /// Calls that were settling or ready and were checked out again.
    pub checked_out: u64,
    /// Looks that found effects which may not have left.
    pub in_doubt: u64,
    /// Looks that found a put which was not at a boundary and does not say why.
    pub not_at_boundary: u64,
    /// Looks that found a veto, in the order of `Veto::ALL`.
    pub vetoed: [u64; Veto::ALL.len()],
    /// Entries of batches that were refused or not acknowledged in time, and go again.
    pub sent_again: u64,
    /// States of calls, removals excepted, that their site acknowledged.
    pub crossed: u64,
}

impl HintReason {
    /// Its name in metrics and in JSON.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::NotPrimary => "not_primary",
            Self::CheckedOut => "checked_out",
            Self::InDoubt => "in_doubt",
            Self::Vetoed(veto) => veto_word(veto),
            Self::NotAtBoundary => "not_at_boundary",
            Self::Settling => "settling",
            Self::Followed => "followed",
            Self::Forced => "forced",
            Self::LinkDown => "link_down",
            Self::Stopped => "stopped",
            Self::Refused => "refused",
            Self::InFlight => "in_flight",
            Self::Crossed => "crossed",
            Self::InDatabase => "in_database",
            Self::Refill => "refill",
        }
    }
}

fn veto_word(veto: Veto) -> &'static str {
    match veto {
        Veto::Undecided => "vetoed_undecided",
        Veto::SetUp => "vetoed_set_up",
        Veto::NoAck => "vetoed_no_ack",
        Veto::Leaving => "vetoed_leaving",
        Veto::ReInvite => "vetoed_re_invite",
        Veto::Transaction => "vetoed_transaction",
        Veto::Application => "vetoed_application",
        Veto::CloseRequests => "vetoed_close_requests",
    }
}

impl HintCounts {
    pub(crate) fn note(&mut self, decision: Decision, veto: Option<Veto>) {
        match decision {
            Decision::None => {}
            Decision::CheckedOut => self.checked_out += 1,
            Decision::InDoubt => self.in_doubt += 1,
            Decision::Vetoed => {
                let at = veto.and_then(|veto| Veto::ALL.iter().position(|known| *known == veto));
                match at.and_then(|at| self.vetoed.get_mut(at)) {
                    Some(count) => *count += 1,
                    None => self.not_at_boundary += 1,
                }
            }
            Decision::Settling => self.settling += 1,
            Decision::Followed => self.followed += 1,
            Decision::Forced => self.forced += 1,
        }
    }

    /// Every reason by the name that metrics and stories use.
    #[must_use]
    pub fn by_reason(&self) -> Vec<(&'static str, u64)> {
        let mut all = vec![
            ("followed", self.followed),
            ("forced", self.forced),
            ("settling", self.settling),
            ("checked_out", self.checked_out),
            ("in_doubt", self.in_doubt),
            ("not_at_boundary", self.not_at_boundary),
            ("sent_again", self.sent_again),
            ("crossed", self.crossed),
        ];
        all.extend(Veto::ALL.map(veto_word).into_iter().zip(self.vetoed));
        all
    }

    /// Looks that put a hint off, of whatever reason.
    #[must_use]
    pub fn delayed(&self) -> u64 {
        let vetoed: u64 = self.vetoed.iter().sum();
        self.settling + self.checked_out + self.in_doubt + self.not_at_boundary + vetoed
    }
}

impl Replica {
    /// Keeps what was decided, and counts it.
    pub(crate) fn decide(&mut self, key: CallKey, decision: Decision) {
        if let Some(call) = self.store.get_mut(key) {
            call.decided = decision;
            self.counts.hints.note(decision, call.veto);
        }
    }

    /// Where the call stands on its way to `site`, and how long it waits there at the longest.
    pub(crate) fn hint_reason(
        &self,
        now: Instant,
        site: SiteId,
        call: &Call,
        key: CallKey,
    ) -> Option<(HintReason, Option<Instant>)> {
        let outbound = self.outbound.get(&site);
        let mark = outbound.and_then(|outbound| Some((outbound, outbound.mark(key)?)));
        let Some((outbound, mark)) = mark else {
            let header = call.record.as_ref().map(|record| &record.header);
            let has_it = header.and_then(|header| header.crossed_to(site)).is_some();
            return has_it.then_some((HintReason::Crossed, None));
        };
        match mark.what {
            What::Record => Some(self.mark_reason(now, outbound, mark, call)),
            What::Removal(_) => None,
        }
    }

    fn mark_reason(
        &self,
        now: Instant,
        outbound: &Outbound,
        mark: &Mark,
        call: &Call,
    ) -> (HintReason, Option<Instant>) {
        if !self.leads() {
            return (HintReason::NotPrimary, None);
        }
        let until = match mark.stage {
            Stage::InFlight { .. } => return (HintReason::InFlight, None),
            Stage::Away => return (HintReason::InDatabase, None),
            Stage::Behind => return (HintReason::Refill, None),
            Stage::Busy | Stage::Ready { .. } => None,
            Stage::Settling { at } => Some(at),
        };
        if call.lock.is_some() {
            return (HintReason::CheckedOut, None);
        }
        if call.unreleased {
            return (HintReason::InDoubt, None);
        }
        match mark.stage {
            Stage::Ready { .. } => {
                let limits = &self.config.limits;
                let reason = if outbound.is_stopped {
                    HintReason::Stopped
                } else if !outbound.is_alive {
                    HintReason::LinkDown
                } else if outbound.not_before > now
                    || outbound.flights.len() >= limits.batches_in_flight_max
                {
                    HintReason::Refused
                } else if call.decided == Decision::Forced {
                    HintReason::Forced
                } else {
                    HintReason::Followed
                };
                (reason, None)
            }
            Stage::Busy
            | Stage::Settling { .. }
            | Stage::InFlight { .. }
            | Stage::Away
            | Stage::Behind => {
                let reason = match (call.veto, call.at_boundary) {
                    (Some(veto), _) => HintReason::Vetoed(veto),
                    (None, true) => HintReason::Settling,
                    (None, false) => HintReason::NotAtBoundary,
                };
                (reason, until)
            }
        }
    }
}
