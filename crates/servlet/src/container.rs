//! What a container needs to drive applications: the scene it shows and the actions it carries out.

use std::collections::BTreeMap;

use bytes::Bytes;
use vocab::Instant;

use crate::{Decision, Hint, Limits, Reply, SessionId, SessionView};

/// What a callback may see of its call.
#[derive(Clone, Debug)]
pub struct Scene<'a> {
    /// The moment of this step.
    pub now: Instant,
    /// The sessions of the call.
    pub sessions: &'a [SessionView],
    /// The session that the callback is about.
    pub current: Option<SessionId>,
    /// The application's attributes.
    pub attributes: &'a BTreeMap<String, Bytes>,
    /// The application's timers that run, and when they fire.
    pub timers: &'a BTreeMap<String, Instant>,
    /// Bounds.
    pub limits: Limits,
}

/// One thing that a callback asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Start or restart a timer.
    SetTimer {
        /// Its name.
        name: String,
        /// From the step's moment on.
        after: std::time::Duration,
    },
    /// Stop a timer.
    CancelTimer {
        /// Its name.
        name: String,
    },
    /// Set or remove an attribute.
    SetAttribute {
        /// Its name.
        name: String,
        /// `None` removes it.
        value: Option<Bytes>,
    },
    /// Keep this hint.
    Hint(Hint),
    /// Pass the message on.
    Relay,
    /// Answer the request.
    Respond(Reply),
    /// Do not pass on a provisional response.
    Absorb,
    /// End the call.
    End,
    /// Decide a deferred request.
    Decide(Decision),
}
