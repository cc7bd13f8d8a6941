//! The container's rule for crossing: what speaks against copying a call elsewhere now, read from
//! the call's own history. A closed list; `docs/operating/hints.md` tells it to operators.

use servlet::Hint;

use crate::Call;
use crate::crossing::LegState;
use crate::local::{Asking, Serving};

/// Why a call should not cross now. They are gone through in the order in which they stand here,
/// and the first that holds is told.
///
/// All but the last two mean that the call is not at a transaction boundary: a peer waits for an
/// answer that only this site can give, as transactions do not cross.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Veto {
    /// An application has yet to decide what becomes of a request (`Decision::Defer`).
    Undecided,
    /// The first INVITE of a leg has no final response: the call is being set up, and it does not
    /// ring yet or its application lets no call cross early.
    SetUp,
    /// A leg is to end, and its BYE waits for the ACK of the INVITE (§15).
    Leaving,
    /// A 2xx to an INVITE, the peer's or ours, has no ACK yet: "the UAS core … generates a 2xx"
    /// until it comes (RFC 3261 §13.3.1.4).
    NoAck,
    /// An INVITE within a dialog has no final response: the session may be about to change.
    ReInvite,
    /// Another request of a peer's, or of ours, has no final response.
    Transaction,
    /// An application said that it is busy.
    Application,
    /// The last requests of the peers within their dialogs came close upon each other, so that
    /// another is likely, and an application left the judgement to the container.
    CloseRequests,
}

/// After this many short gaps in a row between requests of the peers, another is expected.
const CLOSE_GAPS: u8 = 2;

impl Veto {
    pub(crate) const ALL: [Self; 8] = [
        Self::Undecided,
        Self::SetUp,
        Self::Leaving,
        Self::NoAck,
        Self::ReInvite,
        Self::Transaction,
        Self::Application,
        Self::CloseRequests,
    ];

    /// Whether another site could go on with the call all the same: it is advice.
    #[must_use]
    pub fn is_at_boundary(self) -> bool {
        match self {
            Self::Application | Self::CloseRequests => true,
            Self::Undecided
            | Self::SetUp
            | Self::NoAck
            | Self::Leaving
            | Self::ReInvite
            | Self::Transaction => false,
        }
    }

    pub(crate) fn holds(self, call: &Call) -> bool {
        let legs = |state| call.crossing.legs.iter().any(|leg| leg.state == state);
        let local = &call.local;
        let serves = |of: fn(&Serving) -> bool| local.servings.iter().any(of);
        let asks = |of: fn(&Asking) -> bool| local.askings.iter().any(of);
        let pending_servings = || {
            let all = local.servings.iter().filter(|one| one.is_pending());
            all.filter(|one| !call.is_early_serving(one))
        };
        let pending_askings = || {
            let all = local.askings.iter().filter(|one| one.is_pending());
            all.filter(|one| !call.is_early_asking(one))
        };
        let hints = |is: fn(Option<Hint>) -> bool| {
            call.crossing.applications.iter().any(|state| is(state.hint))
        };
        match self {
            Self::Undecided => serves(|serving| serving.is_deferred && serving.is_pending()),
            Self::SetUp => {
                let mut legs = call.crossing.legs.iter();
                legs.any(|leg| leg.state == LegState::Opening && !call.is_early(leg))
            }
            Self::NoAck => {
                serves(|serving| serving.unacknowledged.is_some())
                    || asks(|asking| asking.is_open_invite() && !asking.is_pending())
            }
            Self::Leaving => legs(LegState::Leaving),
            Self::ReInvite => {
                pending_servings().any(Serving::is_invite)
                    || pending_askings().any(Asking::is_invite)
            }
            Self::Transaction => {
                pending_servings().next().is_some() || pending_askings().next().is_some()
            }
            Self::Application => hints(|hint| hint == Some(Hint::Busy)),
            Self::CloseRequests => {
                let is_close = local.recent.is_some_and(|recent| recent.close >= CLOSE_GAPS);
                is_close && hints(|hint| hint.is_none())
            }
        }
    }
}
