//! Non-INVITE server transaction: RFC 3261 §17.2.2 under the rules of RFC 4320 §4.
//!
//! ```text
//!  begin ──► Trying ──100 is due: sent──► Proceeding
//!            │  └──┘ request absorbed     │  └──┘ request: 100 again
//!            └──200-699: sent─────────────┴────► Completed ──J──► Terminated
//!            │                            │       └──┘ request: final again
//!            └──408, or 64*T1: nothing────┴───────────────────────► Terminated
//! ```
//!
//! RFC 3261 lets an unanswered transaction live for ever; here it ends when its client has given
//! up.

use bytes::Bytes;
use sip_message::StatusCode;
use vocab::Instant;

use super::{Outcome, Reliability, ServerKey, SipTimers};
use crate::Destination;

/// A request of a peer that is neither INVITE nor ACK.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Server {
    pub(crate) key: ServerKey,
    /// Where its responses go (§18.2.2).
    pub(crate) to: Destination,
    pub(crate) reliability: Reliability,
    pub(crate) state: State,
}

/// Where a non-INVITE server transaction stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Nothing was answered.
    Trying {
        /// A `100 Trying` ready to be sent, should no answer be known in time.
        trying: Bytes,
        /// When it is sent.
        trying_at: Instant,
        /// When the client has given up, and no answer is worth sending.
        end_at: Instant,
    },
    /// A provisional response was given.
    Proceeding {
        /// The latest provisional response, as sent.
        last: Bytes,
        /// When the client has given up, and no answer is worth sending.
        end_at: Instant,
    },
    /// A final response was given.
    Completed {
        /// The response as sent.
        last: Bytes,
        /// Timer J.
        end_at: Instant,
    },
    /// Done: to be forgotten.
    Terminated,
}

/// What can happen to a non-INVITE server transaction.
#[derive(Clone, Debug)]
pub(crate) enum Input {
    /// The same request again.
    Request,
    /// The call answers.
    Respond { status: StatusCode, bytes: Bytes },
    /// Time has passed; a deadline may have too.
    Due,
}

impl Server {
    /// A new request came. `trying` is a `100 Trying` to it, sent only if no answer is known when
    /// RFC 4320 allows (and demands) one.
    pub(crate) fn begin(
        key: ServerKey,
        to: Destination,
        reliability: Reliability,
        trying: Bytes,
        now: Instant,
        timers: &SipTimers,
    ) -> Self {
        let state = State::Trying {
            trying,
            trying_at: now + timers.before_trying(),
            end_at: now + timers.patience(),
        };
        Self { key, to, reliability, state }
    }

    /// One step. Pure and total.
    pub(crate) fn step(&mut self, now: Instant, input: Input, timers: &SipTimers) -> Outcome {
        match &self.state {
            State::Trying { trying, trying_at, end_at } => match input {
                // §17.2.2: "Once in the "Trying" state, any further request retransmissions are
                // discarded."
                Input::Request => Outcome::nothing(),
                Input::Respond { status, bytes } => {
                    let end_at = *end_at;
                    self.on_respond(now, status, bytes, end_at, timers)
                }
                Input::Due => {
                    let (trying_at, end_at) = (*trying_at, *end_at);
                    if end_at <= now {
                        self.abandon()
                    } else if trying_at <= now {
                        // RFC 4320 §4.1: "Without regard to transport, a SIP element MUST respond
                        // to a non-INVITE request with a Status-Code of 100 if it has not otherwise
                        // responded after the amount of time it takes a client transaction's Timer
                        // E to be reset to T2."
                        let outcome = Outcome::send(&self.to, trying).and_changed();
                        self.state = State::Proceeding { last: trying.clone(), end_at };
                        outcome
                    } else {
                        Outcome::nothing()
                    }
                }
            },
            State::Proceeding { last, end_at } => match input {
                // §17.2.2: "If a retransmission of the request is received while in the
                // "Proceeding" state, the most recently sent provisional response MUST be passed to
                // the transport layer for retransmission."
                Input::Request => Outcome::send(&self.to, last),
                Input::Respond { status, bytes } => {
                    let end_at = *end_at;
                    self.on_respond(now, status, bytes, end_at, timers)
                }
                Input::Due => {
                    if *end_at <= now {
                        self.abandon()
                    } else {
                        Outcome::nothing()
                    }
                }
            },
            State::Completed { last, end_at } => match input {
                // §17.2.2: "While in the "Completed" state, the server transaction MUST pass the
                // final response to the transport layer for retransmission whenever a
                // retransmission of the request is received."
                Input::Request => Outcome::send(&self.to, last),
                // "Any other final responses passed by the TU to the server transaction MUST be
                // discarded while in the "Completed" state."
                Input::Respond { .. } => Outcome::nothing(),
                Input::Due => {
                    if now < *end_at {
                        return Outcome::nothing();
                    }
                    self.state = State::Terminated;
                    Outcome::changed()
                }
            },
            State::Terminated => Outcome::nothing(),
        }
    }

    /// The next instant at which [`Input::Due`] would change something.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        match self.state {
            State::Trying { trying: _, trying_at, end_at } => Some(trying_at.min(end_at)),
            State::Proceeding { last: _, end_at } | State::Completed { last: _, end_at } => {
                Some(end_at)
            }
            State::Terminated => None,
        }
    }

    /// Whether the call still owes a final response.
    pub(crate) fn is_pending(&self) -> bool {
        match self.state {
            State::Trying { .. } | State::Proceeding { .. } => true,
            State::Completed { .. } | State::Terminated => false,
        }
    }

    pub(crate) fn is_terminated(&self) -> bool {
        self.state == State::Terminated
    }

    /// The call answers in Trying or Proceeding.
    fn on_respond(
        &mut self,
        now: Instant,
        status: StatusCode,
        bytes: Bytes,
        end_at: Instant,
        timers: &SipTimers,
    ) -> Outcome {
        if status.is_provisional() {
            // RFC 4320 §4.1: "A SIP element MUST NOT send any provisional response with a
            // Status-Code other than 100 to a non-INVITE request", and over an unreliable transport
            // not that one either before its time, at which this machine sends its own.
            return Outcome::nothing();
        }
        if status == StatusCode::REQUEST_TIMEOUT {
            // RFC 4320 §4.2: "A transaction-stateful SIP element MUST NOT send a response with
            // Status-Code of 408 to a non-INVITE request. As a consequence, an element that cannot
            // respond before the transaction expires will not send a final response at all."
            return self.abandon();
        }
        if end_at <= now {
            return self.abandon();
        }
        let outcome = Outcome::send(&self.to, &bytes).and_changed();
        // §17.2.2: "it MUST set Timer J to fire in 64*T1 seconds for unreliable transports, and
        // zero seconds for reliable transports".
        self.state = match self.reliability {
            Reliability::Unreliable => {
                State::Completed { last: bytes, end_at: now + timers.patience() }
            }
            Reliability::Reliable => State::Terminated,
        };
        outcome
    }

    /// The client has given up: no answer is worth sending, and nobody is told.
    fn abandon(&mut self) -> Outcome {
        self.state = State::Terminated;
        Outcome::changed()
    }
}
