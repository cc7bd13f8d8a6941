//! A call that no site holds any more: a 2xx to an INVITE of ours still finds its way here.

use sip_message::{HeaderName, Method, Response};
use vocab::{CallKey, Instant, TokenKind};

use crate::compose::MAGIC;
use crate::step::Stepper;
use crate::{Call, Setting, Source, Step};

/// Ordinals that the lost call surely did not use.
const ORDINALS_AHEAD: u16 = 0x4000;
/// A fork's share of the ordinals beyond: an even number, as each needs two.
const FORKS: u16 = 0x1ffe;

impl Call {
    /// ACK and BYE for a 2xx to an INVITE of ours whose call no site holds: nobody is left talking
    /// to a ghost. The call lives until its BYE transaction ends. `None` when `response` is no
    /// such.
    #[must_use]
    pub fn ghost(
        key: CallKey,
        response: &Response,
        source: Source,
        now: Instant,
        setting: &Setting,
    ) -> Option<(Self, Step)> {
        // The dialog's Contact and route set say where requests go, not where this came from.
        let _ = source;
        // §8.1.3.3: "If more than one Via header field value is present in a response, the UAC
        // SHOULD discard the message."
        if response.headers.values(&HeaderName::Via).count() != 1 {
            return None;
        }
        let via = response.headers.via_top().ok()??;
        let token = setting.secret.read(via.branch()?.strip_prefix(MAGIC.as_bytes())?)?;
        let is_answer = response.status.is_success()
            && response.headers.cseq().ok()?.method == Method::Invite
            && token.kind == TokenKind::Branch
            && token.key == key;
        if !is_answer {
            return None;
        }
        let mut call = Self::begin(key, token.salt, token.site, now);
        // Forks that answered alike get branches of their own, their repetitions the same again.
        let tag = crate::call::to_tag(&response.headers)?;
        let fork = tag.iter().fold(0_u16, |sum, byte| sum.rotate_left(5) ^ u16::from(*byte));
        let ahead = ORDINALS_AHEAD + (fork & FORKS);
        call.crossing.next_ordinal = token.ordinal.wrapping_add(ahead).max(1);
        let before = call.clone();
        let end = |stepper: &mut Stepper<'_>| stepper.on_unwanted_2xx(None, response);
        let step = call.stepped(&before, now, setting, end);
        (!step.effects.is_empty()).then_some((call, step))
    }
}
