//! Sites of several replicas on one thread, in virtual time, from a seed.
//!
//! The cores of production again, this time with every replica in a process of its own, a
//! coordination store and a database between them, and links that are cut, slow, flapping and
//! one-sided. One site makes the world `tier`; two, each with a coordination store and a queue of
//! its own and a gate in each state process, make the world `wide`.

mod clock;
mod coordination;
mod database;
mod event;
mod faults;
mod gates;
mod homes;
mod invariants;
mod life;
mod links;
mod operator;
mod process;
mod queue;
mod run;
mod scenario;
mod survey;
mod views;
mod wan;
mod watch;
mod wide;
mod wire;
mod words;
mod world;

pub use run::{Outcome, run};
pub use wide::{Outcome as WideOutcome, SCENES, Scene, run as run_wide};
