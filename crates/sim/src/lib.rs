//! Whole sites on one thread, in virtual time, from a seed.
//!
//! There are three worlds: [`world`] has two sites with one replica each, and the link between
//! them; [`tier`] has one site with several replicas and a coordination store, or two such sites.
//! In all of them the cores of production (engines, replicas, gates, the balancer) run in a
//! simulated network with callers and callees; processes, sites and links die and come back at any
//! step. The invariants say what must be true of every run. Two runs of one seed are the same,
//! event by event.
//!
//! Deliberately absent: `node`. What it does is done by the worlds, as simply as it can be.

mod agenda;
pub mod agent;
pub mod deliveries;
mod event;
pub mod holders;
mod invariants;
mod network;
mod outside;
pub mod ownership;
mod planted;
mod rng;
mod run;
mod scenario;
mod site;
pub mod survey;
pub mod tier;
mod trace;
mod watch;
mod words;
pub mod world;

pub use planted::{Planted, World};
pub use run::{Outcome, Survivor, run};
pub use trace::Trace;

#[cfg(test)]
mod tests;
