//! What the owner answers about calls in quarantine.

use admin_api::{OrderReply, QuarantineReply};
use replica::Order;
use tier_protocol::StrikeKind;
use vocab::{CallKey, Instant};

use super::{Site, Word};
use crate::admin::{Answer, Body, Refusal};
use crate::status::quarantine as told;

impl Site {
    pub(super) fn quarantine(&self, now: Instant) -> Answer {
        let asides = self.tier()?.replica.quarantined(now);
        Body::json(&QuarantineReply { calls: asides.iter().map(told::line).collect() })
    }

    pub(super) fn quarantined(&self, now: Instant, key: CallKey) -> Answer {
        let Some(aside) = self.tier()?.replica.quarantined_call(now, key) else {
            return Err(Refusal { status: 404, error: format!("{key} is not in quarantine here") });
        };
        // What lost engines must not reach the process that keeps the calls, and no state process
        // decodes any.
        let has_lost_none = aside.strikes.iter().all(|strike| strike.kind != StrikeKind::Broken);
        let decodes = self.engine.is_some() && has_lost_none;
        Body::json(&told::story(now, &aside, decodes))
    }

    pub(super) fn drop_quarantined(&mut self, now: Instant, key: Option<CallKey>) -> Answer {
        let kept = self.tier()?.replica.quarantined(now);
        let calls = kept.iter().filter(|aside| key.is_none_or(|key| key == aside.key)).count();
        if let Some(key) = key.filter(|_| calls == 0) {
            return Err(Refusal { status: 404, error: format!("{key} is not in quarantine here") });
        }
        self.words.push_back(Word::Replica(replica::Input::Order(Order::DropQuarantined(key))));
        tracing::info!(calls, "calls in quarantine were dropped");
        Body::json(&OrderReply { accepted: "forgotten".into(), calls: calls as u64 })
    }
}
