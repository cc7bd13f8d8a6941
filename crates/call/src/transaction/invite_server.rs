//! INVITE server transaction: RFC 3261 §17.2.1 with the Accepted state of RFC 6026 §7.1.
//!
//! ```text
//!              1xx from the call: sent
//!              ┌──┐
//!  begin ──► Proceeding ──2xx from the call: sent──► Accepted ──L──► Terminated
//!              │  └──┘ INVITE: last 1xx again          └──┘ ACK to the call, each time;
//!              │                                            INVITE absorbed
//!              └──300-699 from the call: sent──► Completed ──ACK──► Confirmed ──I──► Terminated
//!                                                 │ └──┘ G, INVITE: sent again
//!                                                 └──H: NoAck to the call──► Terminated
//! ```
//!
//! Knows nothing of the dialog: the repetition of a 2xx until its ACK is [`super::Unacknowledged`].

use bytes::Bytes;
use sip_message::StatusCode;
use vocab::Instant;

use super::{Event, Outcome, Reliability, Repeat, ServerKey, SipTimers, earlier};
use crate::Destination;

/// An INVITE of a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InviteServer {
    pub(crate) key: ServerKey,
    /// Where its responses go (§18.2.2).
    pub(crate) to: Destination,
    pub(crate) reliability: Reliability,
    pub(crate) state: State,
}

/// Where an INVITE server transaction stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// No final response was given.
    Proceeding {
        /// The latest provisional response, as sent.
        last: Option<Bytes>,
    },
    /// A 2xx was given. The call repeats it and hears its ACK.
    Accepted {
        /// Timer L.
        end_at: Instant,
    },
    /// A failure was given and its ACK is awaited.
    Completed {
        /// The response as sent.
        last: Bytes,
        /// Timer G.
        repeat: Repeat,
        /// Timer H.
        give_up_at: Instant,
    },
    /// The ACK of a failure came.
    Confirmed {
        /// Timer I.
        end_at: Instant,
    },
    /// Done: to be forgotten.
    Terminated,
}

/// What can happen to an INVITE server transaction.
#[derive(Clone, Debug)]
pub(crate) enum Input {
    /// The same INVITE again.
    Request,
    /// An ACK that matches.
    Ack,
    /// The call answers.
    Respond { status: StatusCode, bytes: Bytes },
    /// Time has passed; a deadline may have too.
    Due,
}

impl InviteServer {
    /// A new INVITE came. The call answers next: "The server transaction MUST generate a 100
    /// (Trying) response unless it knows that the TU will generate a provisional or final response
    /// within 200 ms" (§17.2.1), which is one more [`Input::Respond`] here.
    pub(crate) fn begin(key: ServerKey, to: Destination, reliability: Reliability) -> Self {
        Self { key, to, reliability, state: State::Proceeding { last: None } }
    }

    /// One step. Pure and total.
    pub(crate) fn step(&mut self, now: Instant, input: Input, timers: &SipTimers) -> Outcome {
        match &self.state {
            State::Proceeding { last } => match input {
                // §17.2.1: "If a request retransmission is received while in the "Proceeding"
                // state, the most recent provisional response that was received from the TU MUST be
                // passed to the transport layer for retransmission."
                Input::Request => self.send_again(last.as_ref()),
                Input::Respond { status, bytes } => self.on_respond(now, status, bytes, timers),
                // An ACK before a final response acknowledges nothing.
                Input::Ack | Input::Due => Outcome::nothing(),
            },
            State::Accepted { end_at } => match input {
                // RFC 6026 §7.1: "any retransmissions of the INVITE received will match this
                // transaction state machine and will be absorbed by the machine without changing
                // its state. These retransmissions are not passed onto the TU."
                Input::Request => Outcome::nothing(),
                // RFC 6026 §7.1: "any ACKs received … MUST be passed directly to the TU".
                Input::Ack => Outcome::tell(Event::Ack),
                // RFC 6026 §7.1: a 2xx from the TU is passed to the transport; the TU repeats it.
                Input::Respond { status, bytes } => {
                    if status.is_success() {
                        Outcome::send(&self.to, &bytes)
                    } else {
                        Outcome::nothing()
                    }
                }
                Input::Due => self.end_if_past(now, *end_at),
            },
            State::Completed { last, repeat, give_up_at } => match input {
                // §17.2.1: "while in the "Completed" state, if a request retransmission is
                // received, the server SHOULD pass the response to the transport".
                Input::Request => self.send_again(Some(last)),
                Input::Ack => self.on_ack_of_failure(now, timers),
                // "Any other final responses passed by the TU … MUST be discarded" (§17.2.2 says
                // it; here it follows from there being one final response to a request).
                Input::Respond { .. } => Outcome::nothing(),
                Input::Due => {
                    let (last, repeat, give_up_at) = (last.clone(), *repeat, *give_up_at);
                    self.on_due_in_completed(now, last, repeat, give_up_at, timers)
                }
            },
            State::Confirmed { end_at } => match input {
                // §17.2.1: "The purpose of the "Confirmed" state is to absorb any additional ACK
                // messages that arrive, triggered from retransmissions of the final response." A
                // late copy of the INVITE goes the same way.
                Input::Request | Input::Ack | Input::Respond { .. } => Outcome::nothing(),
                Input::Due => self.end_if_past(now, *end_at),
            },
            State::Terminated => Outcome::nothing(),
        }
    }

    /// The next instant at which [`Input::Due`] would change something.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        match self.state {
            State::Completed { last: _, repeat, give_up_at } => {
                earlier(repeat.at, Some(give_up_at))
            }
            State::Accepted { end_at } | State::Confirmed { end_at } => Some(end_at),
            State::Proceeding { .. } | State::Terminated => None,
        }
    }

    /// Whether the call still owes a final response.
    pub(crate) fn is_pending(&self) -> bool {
        match self.state {
            State::Proceeding { .. } => true,
            State::Accepted { .. }
            | State::Completed { .. }
            | State::Confirmed { .. }
            | State::Terminated => false,
        }
    }

    pub(crate) fn is_terminated(&self) -> bool {
        self.state == State::Terminated
    }

    fn send_again(&self, last: Option<&Bytes>) -> Outcome {
        last.map_or_else(Outcome::nothing, |last| Outcome::send(&self.to, last))
    }

    /// The call answers in Proceeding.
    fn on_respond(
        &mut self,
        now: Instant,
        status: StatusCode,
        bytes: Bytes,
        timers: &SipTimers,
    ) -> Outcome {
        let outcome = Outcome::send(&self.to, &bytes).and_changed();
        self.state = if status.is_provisional() {
            State::Proceeding { last: Some(bytes) }
        } else if status.is_success() {
            // RFC 6026 §7.1: the transaction "MUST transition to the "Accepted" state", where
            // Timer L of 64*T1 runs: "the amount of time that the UAS core will wait for an ACK".
            State::Accepted { end_at: now + timers.patience() }
        } else {
            // §17.2.1: "For unreliable transports, timer G is set to fire in T1 seconds". "When the
            // "Completed" state is entered, timer H MUST be set to fire in 64*T1 seconds for all
            // transports."
            State::Completed {
                last: bytes,
                repeat: Repeat::first(self.reliability, now, timers.t1),
                give_up_at: now + timers.patience(),
            }
        };
        outcome
    }

    fn on_ack_of_failure(&mut self, now: Instant, timers: &SipTimers) -> Outcome {
        // §17.2.1: "If an ACK is received while the server transaction is in the "Completed" state,
        // the server transaction MUST transition to the "Confirmed" state." Timer I is "T4 seconds
        // for unreliable transports, and zero seconds for reliable transports".
        self.state = match self.reliability {
            Reliability::Unreliable => State::Confirmed { end_at: now + timers.t4 },
            Reliability::Reliable => State::Terminated,
        };
        Outcome::changed()
    }

    fn on_due_in_completed(
        &mut self,
        now: Instant,
        last: Bytes,
        repeat: Repeat,
        give_up_at: Instant,
        timers: &SipTimers,
    ) -> Outcome {
        if give_up_at <= now {
            // §17.2.1: "If timer H fires while in the "Completed" state, it implies that the ACK
            // was never received. In this case, the server transaction MUST transition to the
            // "Terminated" state, and MUST indicate to the TU that a transaction failure has
            // occurred."
            self.state = State::Terminated;
            return Outcome::tell(Event::NoAck).and_changed();
        }
        if !repeat.is_due(now) {
            return Outcome::nothing();
        }
        // §17.2.1: "If timer G fires, the response is passed to the transport layer once more for
        // retransmission, and timer G is set to fire in MIN(2*T1, T2) seconds", and so on.
        let outcome = Outcome::send(&self.to, &last).and_changed();
        let repeat = repeat.next(now, (repeat.interval * 2).min(timers.t2));
        self.state = State::Completed { last, repeat, give_up_at };
        outcome
    }

    /// Timers I and L.
    fn end_if_past(&mut self, now: Instant, end_at: Instant) -> Outcome {
        if now < end_at {
            return Outcome::nothing();
        }
        self.state = State::Terminated;
        Outcome::changed()
    }
}
