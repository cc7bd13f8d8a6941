//! The SIP-aware edge: spreads datagrams over engines and routes by home site. It keeps no call.
//!
//! One value, [`Balancer`], with one door in and one door out; sockets and the clock are the
//! shell's. Tables are as long as the configured list of engines and never grow with traffic, so
//! a balancer can be restarted, or doubled, at any moment. Beside it: what judges whether a site is
//! dead ([`health`]), and the witness that probes sites from outside ([`Witness`]).
//!
//! Deliberately absent: transactions, dialogs, TCP and TLS flows, and any opinion about a message
//! beyond where it goes. A balancer adds no Via: engines name the edge in what they mint.

mod balancer;
mod choice;
pub mod edge_frame;
mod engines;
pub mod health;
mod policy;
mod probe;
mod refusal;
mod scan;
mod stats;
pub mod witness;

pub use balancer::{Balancer, Config, Input, Output, Reason};
pub use edge_frame::{EdgeFrame, FrameError, Report};
pub use health::SiteHealth;
pub use policy::Policy;
pub use stats::{Drops, EngineStats, Health, SiteStats, Stats};
pub use witness::Witness;
