//! The process around the cores: sockets, links, disk, configuration, clocks, the admin server.
//!
//! The only async crate. Everything that decides something about a call is in a core; here, inputs
//! are carried to cores and outputs to the world, on one thread, by one owner ([`serve()`]).
//!
//! ```text
//! udp ─┐                 ┌─ engine ─┐
//! links├─► one turn of ──┼─ replica ┼──► words between them, until all are quiet
//! queue│   the owner     └─ gate ───┘        └─► udp, links, queue: once, at the end of the turn
//! admin┘
//! ```

mod admin;
mod balancer_shell;
#[cfg(test)]
#[path = "../tests/e2e/harness/certificates.rs"]
mod certificates;
mod clock;
pub mod config;
mod coordination;
mod database;
mod edge;
mod event;
mod link;
mod names;
mod queue;
#[cfg(test)]
mod scratch;
pub mod serve;
#[cfg(test)]
#[path = "../tests/e2e/harness/servers.rs"]
mod servers;
mod setting;
mod site;
mod start_count;
mod status;
mod tls;
mod udp;

pub use serve::serve;
