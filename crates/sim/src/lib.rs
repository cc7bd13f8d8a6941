//! Two whole sites on one thread, in virtual time, from a seed.
//!
//! The cores of production (engines, replicas, gates, the balancer) run in a simulated network
//! with callers and callees; processes, sites and links die and come back at any step.
//! [`invariants`] says what must be true of every run. Two runs of one seed are the same, event by
//! event.
//!
//! Deliberately absent: `node`. What it does is done by [`world`], as simply as it can be.

mod agenda;
pub mod agent;
mod event;
pub mod invariants;
mod network;
mod outside;
mod planted;
mod rng;
mod run;
mod scenario;
mod site;
pub mod survey;
mod trace;
mod watch;
mod words;
pub mod world;

pub use planted::Planted;
pub use run::{Outcome, Survivor, run};
pub use trace::Trace;

#[cfg(test)]
mod tests;
