//! Messages for calls that live at another site: passed on, never kept.
//!
//! A message that cannot be passed on is dropped and counted: SIP over UDP repeats it, and to keep
//! it would be to queue what a stranger sent.

use tier_protocol::site::ForwardedMessage;
use tier_protocol::{GateWord, SiteWord};
use vocab::{Instant, SiteId};

use crate::gate::Gate;

impl Gate {
    pub(super) fn forward(&mut self, now: Instant, site: SiteId, message: ForwardedMessage) {
        if self.peers.is_alive(now, self.config.silent_after, site) {
            self.stats.forwarded_out += 1;
            self.tell_site(site, SiteWord::Forward(message));
        } else {
            self.stats.forwards_dropped += 1;
        }
    }

    pub(super) fn forwarded(&mut self, from: SiteId, message: ForwardedMessage) {
        match self.engines.next(0, |_| true) {
            Some(engine) => {
                self.stats.forwarded_in += 1;
                self.tell_engine(engine, GateWord::Forwarded { from, message });
            }
            None => self.stats.forwards_dropped += 1,
        }
    }
}
