//! One engine: finds the call of a message, takes its lock, steps it, stores it, and releases what
//! the step decided.
//!
//! An [`Engine`] holds no call between turns. It is a value with one door in
//! ([`Engine::handle_input`]) and one door out ([`Engine::poll_output`]): after each input the
//! outputs are drained until [`Output::WakeAt`]. It has no socket, clock or thread, and knows
//! neither names nor links: the shell moves datagrams, commands and words.
//!
//! ```text
//! datagram ─ ingress ─ find_call ─ turn ───────────────────────────────► effects
//!              │                    │  lock, homing, step, put, release
//!              └ stateless answer   └ seek (other sites), forward
//! gate ────── site_inbox ─────────────────────────────────► dormant records
//! ```

#![deny(clippy::wildcard_enum_match_arm)]

mod arrival;
mod cache;
mod config;
mod confirm;
mod door;
mod engine;
mod find_call;
mod forward;
mod held;
mod homing;
mod ingress;
mod partition_map;
mod planted;
mod quarantine;
mod registrations;
mod seek;
mod site_inbox;
mod sites;
mod stateless;
mod stats;
mod step;
mod store;
mod turn;
mod work;

pub use config::{Config, Limits};
pub use door::{Input, Output, Reason};
pub use engine::Engine;
#[doc(hidden)]
pub use planted::Planted;
pub use stats::Stats;
