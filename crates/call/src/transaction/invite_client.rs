//! INVITE client transaction: RFC 3261 §17.1.1 with the Accepted state of RFC 6026 §7.2.
//!
//! ```text
//!               A: send again
//!              ┌──┐
//!  begin ──► Calling ──1xx──► Proceeding (1xx to the call)
//!              │ │ │              │   │
//!              │ │ └─────2xx──────┼───┴─2xx──► Accepted ──M──► Terminated
//!              │ │                │              └──┘ 2xx to the call, each time
//!              │ └──300-699: ACK──┴─300-699: ACK─► Completed ──D──► Terminated
//!              │                                    └──┘ 300-699: ACK again
//!              └──B: Timeout to the call──► Terminated
//! ```
//!
//! Knows nothing of dialogs: the ACK of a 2xx is the call's own (§13.2.2.4).

use bytes::Bytes;
use sip_message::Response;
use vocab::Instant;

use super::{
    ClientKey, Event, Outcome, Packet, Reliability, Repeat, SipTimers, ack_of_failure, earlier,
};

/// An INVITE of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InviteClient {
    pub(crate) key: ClientKey,
    /// The INVITE as it was sent, and where to. The ACK of a failure and a CANCEL go there too.
    pub(crate) request: Packet,
    pub(crate) reliability: Reliability,
    pub(crate) state: State,
}

/// Where an INVITE client transaction stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Nothing was answered.
    Calling {
        /// Timer A.
        repeat: Repeat,
        /// Timer B.
        give_up_at: Instant,
    },
    /// A provisional response came; only the call limits how long it rings.
    Proceeding,
    /// A 2xx came; more of them, of this fork or another, belong to the call.
    Accepted {
        /// Timer M.
        end_at: Instant,
    },
    /// A failure came and was acknowledged.
    Completed {
        /// The ACK as it was sent; `None` if none could be built.
        ack: Option<Bytes>,
        /// Timer D.
        end_at: Instant,
    },
    /// Done: to be forgotten.
    Terminated,
}

/// What can happen to an INVITE client transaction.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Input<'a> {
    /// A response with this transaction's key.
    Response(&'a Response),
    /// Time has passed; a deadline may have too.
    Due,
}

impl InviteClient {
    /// Sends `request` for the first time.
    pub(crate) fn begin(
        key: ClientKey,
        request: Packet,
        reliability: Reliability,
        now: Instant,
        timers: &SipTimers,
    ) -> (Self, Outcome) {
        // §17.1.1.2: "the client transaction MUST start timer A with a value of T1", over an
        // unreliable transport only, and "timer B with a value of 64*T1 seconds" over any.
        let state = State::Calling {
            repeat: Repeat::first(reliability, now, timers.t1),
            give_up_at: now + timers.patience(),
        };
        let outcome = Outcome::send(&request.to, &request.bytes).and_changed();
        (Self { key, request, reliability, state }, outcome)
    }

    /// One step. Pure and total.
    pub(crate) fn step(&mut self, now: Instant, input: Input<'_>, timers: &SipTimers) -> Outcome {
        match self.state {
            State::Calling { repeat, give_up_at } => match input {
                Input::Response(response) => self.on_first_response(now, response, timers),
                Input::Due => self.on_due_in_calling(now, repeat, give_up_at),
            },
            State::Proceeding => match input {
                Input::Response(response) => self.on_first_response(now, response, timers),
                // Timers A and B are stopped; how long a callee may ring is the call's affair.
                Input::Due => Outcome::nothing(),
            },
            State::Accepted { end_at } => match input {
                Input::Response(response) => {
                    // RFC 6026 §7.2: "If a 2xx response is received while in the "Accepted" state,
                    // the 2xx MUST be passed to the TU". Others belong to forks that lost.
                    if response.status.is_success() {
                        Outcome::tell(Event::Response)
                    } else {
                        Outcome::nothing()
                    }
                }
                Input::Due => self.end_if_past(now, end_at),
            },
            State::Completed { ref ack, end_at } => match input {
                Input::Response(response) => {
                    // §17.1.1.2: "Any retransmissions of the final response that are received while
                    // in the "Completed" state MUST cause the ACK to be re-passed to the transport
                    // layer for retransmission, but the newly received response MUST NOT be passed
                    // up to the TU".
                    if response.status.code() >= 300 {
                        ack.as_ref().map_or_else(Outcome::nothing, |ack| {
                            Outcome::send(&self.request.to, ack)
                        })
                    } else {
                        Outcome::nothing()
                    }
                }
                Input::Due => self.end_if_past(now, end_at),
            },
            State::Terminated => Outcome::nothing(),
        }
    }

    /// The next instant at which [`Input::Due`] would change something.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        match self.state {
            State::Calling { repeat, give_up_at } => earlier(repeat.at, Some(give_up_at)),
            State::Accepted { end_at } | State::Completed { ack: _, end_at } => Some(end_at),
            State::Proceeding | State::Terminated => None,
        }
    }

    /// Whether a final response is still to come.
    pub(crate) fn is_pending(&self) -> bool {
        match self.state {
            State::Calling { .. } | State::Proceeding => true,
            State::Accepted { .. } | State::Completed { .. } | State::Terminated => false,
        }
    }

    /// Whether a CANCEL may be sent: "If no provisional response has been received, the CANCEL
    /// request MUST NOT be sent" (§9.1), and after a final one it has no effect.
    pub(crate) fn may_be_cancelled(&self) -> bool {
        match self.state {
            State::Proceeding => true,
            State::Calling { .. }
            | State::Accepted { .. }
            | State::Completed { .. }
            | State::Terminated => false,
        }
    }

    pub(crate) fn is_terminated(&self) -> bool {
        self.state == State::Terminated
    }

    /// A response in Calling or Proceeding.
    fn on_first_response(
        &mut self,
        now: Instant,
        response: &Response,
        timers: &SipTimers,
    ) -> Outcome {
        let status = response.status;
        if status.is_provisional() {
            // §17.1.1.2: "If the client transaction receives a provisional response while in the
            // "Calling" state, it transitions to the "Proceeding" state." Further ones pass too.
            let is_first = self.state != State::Proceeding;
            self.state = State::Proceeding;
            let outcome = Outcome::tell(Event::Response);
            return if is_first { outcome.and_changed() } else { outcome };
        }
        if status.is_success() {
            // RFC 6026 §7.2: "the client transaction MUST transition to the "Accepted" state, and
            // Timer M MUST be started with a value of 64*T1".
            self.state = State::Accepted { end_at: now + timers.patience() };
            return Outcome::tell(Event::Response).and_changed();
        }
        // §17.1.1.2: "The client transaction MUST pass the received response up to the TU, and the
        // client transaction MUST generate an ACK request". "The ACK MUST be sent to the same
        // address, port, and transport to which the original request was sent."
        let ack = ack_of_failure(&self.request.bytes, response);
        let outcome = match &ack {
            Some(ack) => Outcome::send(&self.request.to, ack),
            None => Outcome::nothing(),
        };
        // Timer D is "at least 32 seconds for unreliable transports, and zero seconds for
        // reliable".
        self.state = match self.reliability {
            Reliability::Unreliable => {
                State::Completed { ack, end_at: now + timers.absorb_responses() }
            }
            Reliability::Reliable => State::Terminated,
        };
        outcome.and_tell(Event::Response).and_changed()
    }

    fn on_due_in_calling(&mut self, now: Instant, repeat: Repeat, give_up_at: Instant) -> Outcome {
        if give_up_at <= now {
            // §17.1.1.2: "If the client transaction is still in the "Calling" state when timer B
            // fires, the client transaction SHOULD inform the TU that a timeout has occurred. The
            // client transaction MUST NOT generate an ACK."
            self.state = State::Terminated;
            return Outcome::tell(Event::Timeout).and_changed();
        }
        if !repeat.is_due(now) {
            return Outcome::nothing();
        }
        // §17.1.1.2: "When timer A fires, the client transaction MUST retransmit the request … and
        // MUST reset the timer with a value of 2*T1", and so on: it doubles without a limit.
        let repeat = repeat.next(now, repeat.interval * 2);
        self.state = State::Calling { repeat, give_up_at };
        Outcome::send(&self.request.to, &self.request.bytes).and_changed()
    }

    /// Timers D and M.
    fn end_if_past(&mut self, now: Instant, end_at: Instant) -> Outcome {
        if now < end_at {
            return Outcome::nothing();
        }
        self.state = State::Terminated;
        Outcome::changed()
    }
}
