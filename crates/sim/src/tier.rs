//! One site of several replicas on one thread, in virtual time, from a seed.
//!
//! The cores of production again, this time with every replica in a process of its own, a
//! coordination store and a database between them, and links that are cut, slow, flapping and
//! one-sided. Other sites are absent: the world of two sites has those.

mod coordination;
mod database;
mod event;
mod faults;
mod invariants;
mod life;
mod links;
mod process;
mod run;
mod scenario;
mod survey;
mod views;
mod watch;
mod wire;
mod words;
mod world;

pub use run::{Outcome, run};
