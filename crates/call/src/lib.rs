//! One call: transactions, dialogs, back-to-back legs, session timers, activation, codec.
//!
//! Everything that one lock covers is one value, [`Call`], and everything that can happen to it is
//! one pure function, [`Call::step`]: `(state, input, now) -> effects` (RFC 3261, 6026, 4028, 4320,
//! 7332). Nothing here knows a socket, a lock, a replica or another call. Nothing is random: every
//! tag, branch and Call-ID is a token, a function of the call's key and a counter in its state.
//!
//! The state has two sections: `crossing` is what another site needs to resume the call,
//! `local` is what only this site needs (transactions and the bytes they may send again).
//!
//! Deliberately absent: forking and record-routing proxies, PRACK towards either leg, TCP and TLS.

#![deny(clippy::wildcard_enum_match_arm)]

mod account;
mod activate;
mod application;
mod b2bua;
mod call;
mod codec;
mod compose;
mod crossing;
mod door;
mod early;
mod ending;
mod ghost;
mod in_dialog;
mod initial;
mod invite;
mod local;
mod response;
mod session_timer;
mod setting;
mod step;
mod summary;
mod tear_down;
#[cfg(test)]
mod tests;
mod transaction;
mod veto;

pub use account::Account;
pub use call::Call;
pub use codec::{DecodeError, Encoded, SCHEMA};
pub use door::{Changed, Destination, Effect, Input, Source, Step, Transport};
pub use setting::{CallLimits, Edge, SessionTimers, Setting};
pub use summary::{LegSummary, Summary};
pub use transaction::SipTimers;
pub use veto::Veto;
