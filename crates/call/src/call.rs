//! The call as a value: what its engine may ask of it. What happens to it is in [`crate::step`].

use bytes::Bytes;
use servlet::Hint;
use vocab::{CallKey, Instant, SiteId};

use crate::crossing::Crossing;
use crate::local::Local;
use crate::veto::Veto;

/// One call: everything under one lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    pub(crate) key: CallKey,
    pub(crate) crossing: Crossing,
    pub(crate) local: Local,
}

impl Call {
    /// A call of which nothing is known yet; its first request follows by [`Call::step`].
    ///
    /// `salt` distinguishes it from an earlier call with the same key; 24 bits of it count.
    #[must_use]
    pub fn begin(key: CallKey, salt: u32, origin_site: SiteId, now: Instant) -> Self {
        // Tokens name the site that mints them, leg by leg; the first step does so.
        let _ = origin_site;
        Self { key, crossing: Crossing::new(salt & 0x00ff_ffff, now), local: Local::default() }
    }

    /// The key that names this call everywhere.
    #[must_use]
    pub fn key(&self) -> CallKey {
        self.key
    }

    /// Nothing is left, no transaction, no dialog and no timer: the record can be deleted.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.crossing.legs.is_empty()
            && self.local.servings.is_empty()
            && self.local.askings.is_empty()
            && self.crossing.applications.iter().all(|state| state.timers.is_empty())
    }

    /// Nothing is left that another site could resume: no leg, no timer, no request that waits for
    /// its answer. Transactions may linger, to absorb what comes again.
    ///
    /// A BYE without an answer counts as something left: until then another site that still has
    /// the dialog could send it again.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.crossing.legs.is_empty()
            && self.crossing.applications.iter().all(|state| state.timers.is_empty())
            && self.local.is_quiet()
    }

    /// Whether the call is at a transaction boundary: everything is answered and acknowledged, and
    /// nothing of ours is on its way. Another site could go on with it.
    #[must_use]
    pub fn at_boundary(&self) -> bool {
        self.veto().is_none_or(Veto::is_at_boundary)
    }

    /// Why this is no good moment to copy the call elsewhere, by its own history and its
    /// applications' words; `None` when nothing speaks against it.
    #[must_use]
    pub fn veto(&self) -> Option<Veto> {
        Veto::ALL.into_iter().find(|veto| veto.holds(self))
    }

    /// What each application of the call last said to expect, by its index in the setting; the
    /// container's own rule for those that said nothing.
    #[must_use]
    pub fn hints(&self) -> Vec<(u16, Hint)> {
        let default = if self.at_boundary() { Hint::Steady } else { Hint::Busy };
        let states = self.crossing.applications.iter();
        states.map(|state| (state.index, state.hint.unwrap_or(default))).collect()
    }

    /// When the call next wants [`Input::Due`](crate::Input::Due).
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        let deadlines = [self.crossing.next_deadline(), self.local.next_deadline()];
        deadlines.into_iter().flatten().min()
    }
}

/// The To tag of a message, empty when it has none; `None` when its To does not parse.
pub(crate) fn to_tag(headers: &sip_message::Headers) -> Option<Bytes> {
    Some(headers.to_tag().ok()?.unwrap_or_default())
}

/// The From tag of a message, empty when it has none; `None` when its From does not parse.
pub(crate) fn from_tag(headers: &sip_message::Headers) -> Option<Bytes> {
    Some(headers.from_tag().ok()?.unwrap_or_default())
}
