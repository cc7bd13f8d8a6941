//! A 2xx to an INVITE that waits for its ACK: RFC 3261 §13.3.1.4.
//!
//! ```text
//!  begin ──► waiting ──ACK (the call drops this value)
//!             └──┘ send again at T1, 2*T1 … T2     └──64*T1──► NoAck to the call, ended
//! ```
//!
//! Not a transaction: the UAS core repeats a 2xx end to end, "independent of whatever transport
//! protocols are used to send the response".

use vocab::Instant;

use super::{Event, Outcome, Packet, Reliability, Repeat, SipTimers, earlier};

/// The 2xx and when it is sent again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unacknowledged {
    /// The response as it was sent, and where to.
    pub(crate) response: Packet,
    pub(crate) repeat: Repeat,
    /// When the session is ended for want of an ACK; [`Instant::NEVER`] once that was told.
    pub(crate) give_up_at: Instant,
}

impl Unacknowledged {
    /// Notes a 2xx that the server transaction has just sent: nothing is sent here.
    pub(crate) fn begin(response: Packet, now: Instant, timers: &SipTimers) -> Self {
        // "with an interval that starts at T1 seconds and doubles for each retransmission until it
        // reaches T2 seconds": over reliable transports too.
        Self {
            response,
            repeat: Repeat::first(Reliability::Unreliable, now, timers.t1),
            give_up_at: now + timers.patience(),
        }
    }

    /// Time has passed. On [`Event::NoAck`] the call drops this value and ends the session.
    pub(crate) fn step(&mut self, now: Instant, timers: &SipTimers) -> Outcome {
        if self.give_up_at <= now {
            // "If the server retransmits the 2xx response for 64*T1 seconds without receiving an
            // ACK, the dialog is confirmed, but the session SHOULD be terminated. This is
            // accomplished with a BYE".
            self.repeat.at = None;
            self.give_up_at = Instant::NEVER;
            return Outcome::tell(Event::NoAck).and_changed();
        }
        if !self.repeat.is_due(now) {
            return Outcome::nothing();
        }
        self.repeat = self.repeat.next(now, (self.repeat.interval * 2).min(timers.t2));
        Outcome::send(&self.response.to, &self.response.bytes).and_changed()
    }

    /// The next instant at which [`Self::step`] would do something.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        if self.give_up_at == Instant::NEVER {
            return None;
        }
        earlier(self.repeat.at, Some(self.give_up_at))
    }
}
