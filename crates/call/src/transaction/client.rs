//! Non-INVITE client transaction: RFC 3261 §17.1.2.
//!
//! ```text
//!            E: send again              E: send again, each T2; 1xx to the call
//!            ┌──┐                       ┌──┐
//!  begin ──► Trying ──1xx──────────► Proceeding
//!            │   └──200-699 to the call──┴────► Completed ──K──► Terminated
//!            │                          │         └──┘ 200-699 absorbed
//!            └──F: Timeout to the call──┴───────────────────────► Terminated
//! ```
//!
//! A timeout is the call's to interpret; RFC 4320 forbids to turn it into a 408 towards a peer.

use sip_message::Response;
use vocab::Instant;

use super::{ClientKey, Event, Outcome, Packet, Reliability, Repeat, SipTimers, earlier};

/// A request of ours that is neither INVITE nor ACK.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Client {
    pub(crate) key: ClientKey,
    /// The request as it was sent, and where to.
    pub(crate) request: Packet,
    pub(crate) reliability: Reliability,
    pub(crate) state: State,
}

/// Where a non-INVITE client transaction stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Nothing was answered.
    Trying {
        /// Timer E.
        repeat: Repeat,
        /// Timer F.
        give_up_at: Instant,
    },
    /// A provisional response came.
    Proceeding {
        /// Timer E, at intervals of T2.
        repeat: Repeat,
        /// Timer F.
        give_up_at: Instant,
    },
    /// A final response came.
    Completed {
        /// Timer K.
        end_at: Instant,
    },
    /// Done: to be forgotten.
    Terminated,
}

/// What can happen to a non-INVITE client transaction.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Input<'a> {
    /// A response with this transaction's key.
    Response(&'a Response),
    /// Time has passed; a deadline may have too.
    Due,
}

impl Client {
    /// Sends `request` for the first time.
    pub(crate) fn begin(
        key: ClientKey,
        request: Packet,
        reliability: Reliability,
        now: Instant,
        timers: &SipTimers,
    ) -> (Self, Outcome) {
        // §17.1.2.2: "it SHOULD set timer F to fire in 64*T1 seconds. … If an unreliable transport
        // is in use, the client transaction MUST set timer E to fire in T1 seconds."
        let state = State::Trying {
            repeat: Repeat::first(reliability, now, timers.t1),
            give_up_at: now + timers.patience(),
        };
        let outcome = Outcome::send(&request.to, &request.bytes).and_changed();
        (Self { key, request, reliability, state }, outcome)
    }

    /// One step. Pure and total.
    pub(crate) fn step(&mut self, now: Instant, input: Input<'_>, timers: &SipTimers) -> Outcome {
        match self.state {
            State::Trying { repeat, give_up_at } => match input {
                Input::Response(response) => {
                    if response.status.is_provisional() {
                        // §17.1.2.2: "If a provisional response is received while in the "Trying"
                        // state, the response MUST be passed to the TU, and then the client
                        // transaction SHOULD move to the "Proceeding" state." Timer E goes on.
                        self.state = State::Proceeding { repeat, give_up_at };
                        Outcome::tell(Event::Response).and_changed()
                    } else {
                        self.complete(now, timers)
                    }
                }
                Input::Due => {
                    if give_up_at <= now {
                        self.time_out()
                    } else if repeat.is_due(now) {
                        // §17.1.2.2: "When the timer fires again, it is reset to a MIN(4*T1, T2)",
                        // and so on.
                        let repeat = repeat.next(now, (repeat.interval * 2).min(timers.t2));
                        self.state = State::Trying { repeat, give_up_at };
                        self.send_again()
                    } else {
                        Outcome::nothing()
                    }
                }
            },
            State::Proceeding { repeat, give_up_at } => match input {
                Input::Response(response) => {
                    if response.status.is_provisional() {
                        Outcome::tell(Event::Response)
                    } else {
                        self.complete(now, timers)
                    }
                }
                Input::Due => {
                    if give_up_at <= now {
                        self.time_out()
                    } else if repeat.is_due(now) {
                        // §17.1.2.2: "If Timer E fires while in the "Proceeding" state, the request
                        // MUST be passed to the transport layer for retransmission, and Timer E
                        // MUST be reset with a value of T2 seconds."
                        let repeat = repeat.next(now, timers.t2);
                        self.state = State::Proceeding { repeat, give_up_at };
                        self.send_again()
                    } else {
                        Outcome::nothing()
                    }
                }
            },
            State::Completed { end_at } => match input {
                // §17.1.2.2: "The "Completed" state exists to buffer any additional response
                // retransmissions that may be received".
                Input::Response(_) => Outcome::nothing(),
                Input::Due => {
                    if now < end_at {
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
            State::Trying { repeat, give_up_at } | State::Proceeding { repeat, give_up_at } => {
                earlier(repeat.at, Some(give_up_at))
            }
            State::Completed { end_at } => Some(end_at),
            State::Terminated => None,
        }
    }

    /// Whether a final response is still to come.
    pub(crate) fn is_pending(&self) -> bool {
        match self.state {
            State::Trying { .. } | State::Proceeding { .. } => true,
            State::Completed { .. } | State::Terminated => false,
        }
    }

    pub(crate) fn is_terminated(&self) -> bool {
        self.state == State::Terminated
    }

    /// A final response: it "MUST be passed to the TU, and the client transaction MUST transition
    /// to the "Completed" state" (§17.1.2.2), where timer K runs: "T4 seconds for unreliable
    /// transports, and zero seconds for reliable transports".
    fn complete(&mut self, now: Instant, timers: &SipTimers) -> Outcome {
        self.state = match self.reliability {
            Reliability::Unreliable => State::Completed { end_at: now + timers.t4 },
            Reliability::Reliable => State::Terminated,
        };
        Outcome::tell(Event::Response).and_changed()
    }

    /// Timer F: "the client transaction SHOULD inform the TU about the timeout, and then it SHOULD
    /// enter the "Terminated" state" (§17.1.2.2).
    fn time_out(&mut self) -> Outcome {
        self.state = State::Terminated;
        Outcome::tell(Event::Timeout).and_changed()
    }

    fn send_again(&self) -> Outcome {
        Outcome::send(&self.request.to, &self.request.bytes).and_changed()
    }
}
