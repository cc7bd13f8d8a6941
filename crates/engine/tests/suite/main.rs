//! Engines with a replica behind them, joined by function calls, and scripted user agents.
//!
//! One file per subject; `world` moves words and time, `ua` speaks SIP.

mod accounting;
mod away;
mod basic;
mod cached;
mod early;
mod inbox;
mod limits;
mod missing;
mod poison;
mod quarantine;
mod registrations;
mod resume;
mod shared;
mod storm;
mod torture;
mod ua;
mod waking;
mod world;
