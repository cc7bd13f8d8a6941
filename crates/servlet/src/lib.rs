//! What an application author sees: requests, sessions, decisions, timers, hints, and a testkit.
//!
//! The nouns are those of JSR 289 (application session, SIP session, `INITIAL` to `TERMINATED`,
//! activation). An application is a value without mutable state of its own: what a call must
//! remember lives in the call's attributes, which survive an engine and a site. There are no
//! threads, no clocks and no sockets here, and nothing blocks: a callback returns at once, and an
//! application that must wait sets a timer or defers its decision.
//!
//! Containers drive applications through [`container`]; authors never need that module.
//!
//! ```
//! use servlet::{Application, Cx, Decision, Reply};
//! use sip_message::{Request, StatusCode};
//!
//! struct Busy;
//!
//! impl Application for Busy {
//!     fn name(&self) -> &str {
//!         "busy"
//!     }
//!
//!     fn on_initial_request(&self, _cx: &mut Cx<'_>, _request: &Request) -> Decision {
//!         Decision::Respond(Reply::new(StatusCode::BUSY_HERE))
//!     }
//! }
//! ```

mod application;
pub mod container;
mod cx;
mod decision;
mod key_view;
mod session;
pub mod testkit;

pub use application::Application;
pub use cx::{Cx, Limits};
pub use decision::{Decision, HeaderEdits, Hint, NextHop, OutboundLeg, Reply};
pub use key_view::KeyView;
pub use session::{EndReason, SessionId, SessionState, SessionView, Side};
