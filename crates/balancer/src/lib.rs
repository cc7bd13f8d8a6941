//! The SIP-aware edge: spreads datagrams over engines and routes by home site. It keeps no call.
//!
//! One value, [`Balancer`], with one door in and one door out; sockets and the clock are the
//! shell's. Tables are as long as the configured list of engines and never grow with traffic, so
//! a balancer can be restarted, or doubled, at any moment.
//!
//! Deliberately absent: transactions, dialogs, TCP and TLS flows, and any opinion about a message
//! beyond where it goes. A balancer adds no Via: engines name the edge in what they mint.

mod balancer;
mod choice;
pub mod edge_frame;
mod engines;
mod policy;
mod refusal;
mod scan;
mod stats;

pub use balancer::{Balancer, Config, Input, Output, Reason};
pub use edge_frame::{EdgeFrame, FrameError};
pub use policy::Policy;
pub use stats::{Drops, EngineStats, Health, SiteStats, Stats};
