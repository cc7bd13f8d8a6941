//! Lets an author test an application without a container.
//!
//! ```
//! use servlet::testkit::{self, Bench};
//! use servlet::{Application, Cx, Decision, Reply};
//! use sip_message::{Method, Request, StatusCode};
//!
//! struct Busy;
//! impl Application for Busy {
//!     fn name(&self) -> &str {
//!         "busy"
//!     }
//!     fn on_initial_request(&self, _cx: &mut Cx<'_>, _request: &Request) -> Decision {
//!         Decision::Respond(Reply::new(StatusCode::BUSY_HERE))
//!     }
//! }
//!
//! let mut bench = Bench::new();
//! let request = testkit::request(Method::Invite, "sip:bob@example.com");
//! let decision = bench.initial(&Busy, &request);
//! assert_eq!(decision, Decision::Respond(Reply::new(StatusCode::BUSY_HERE)));
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use sip_message::{HeaderName, Method, Request, Response, Uri};
use vocab::Instant;

use crate::container::{Action, Scene};
use crate::{Application, Cx, Decision, EndReason, Hint, Limits, SessionId, SessionView};

/// A call as far as one application can tell: it keeps attributes, timers and the hint as a
/// container would, and records every other action.
#[derive(Debug, Default)]
pub struct Bench {
    /// The moment that callbacks see.
    pub now: Instant,
    /// The sessions that callbacks see; the author sets the scene.
    pub sessions: Vec<SessionView>,
    /// The session that the next callback is about.
    pub current: Option<SessionId>,
    /// The attributes.
    pub attributes: BTreeMap<String, Bytes>,
    /// The timers and when they fire.
    pub timers: BTreeMap<String, Instant>,
    /// The last hint.
    pub hint: Option<Hint>,
    /// Every other action, in order.
    pub actions: Vec<Action>,
}

impl Bench {
    /// An empty call at the beginning of time.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs `on_initial_request`.
    pub fn initial(&mut self, application: &dyn Application, request: &Request) -> Decision {
        self.with(|cx| application.on_initial_request(cx, request))
    }

    /// Runs `on_request`.
    pub fn request(&mut self, application: &dyn Application, request: &Request) {
        self.with(|cx| application.on_request(cx, request));
    }

    /// Runs `on_response`.
    pub fn response(&mut self, application: &dyn Application, response: &Response) {
        self.with(|cx| application.on_response(cx, response));
    }

    /// Runs `on_cancel`.
    pub fn cancel(&mut self, application: &dyn Application) {
        self.with(|cx| application.on_cancel(cx));
    }

    /// Runs `on_session_ended`.
    pub fn ended(&mut self, application: &dyn Application, session: SessionId, why: EndReason) {
        self.with(|cx| application.on_session_ended(cx, session, why));
    }

    /// Runs `on_activate`.
    pub fn activate(&mut self, application: &dyn Application) {
        self.with(|cx| application.on_activate(cx));
    }

    /// Lets time pass and fires the timers that become due, in order.
    pub fn advance(&mut self, application: &dyn Application, by: Duration) {
        let until = self.now + by;
        while let Some((name, at)) = self.next_timer().filter(|(_, at)| *at <= until) {
            self.timers.remove(&name);
            self.now = self.now.max(at);
            self.with(|cx| application.on_timer(cx, &name));
        }
        self.now = until;
    }

    fn next_timer(&self) -> Option<(String, Instant)> {
        let (name, at) = self.timers.iter().min_by_key(|(_, at)| **at)?;
        Some((name.clone(), *at))
    }

    fn with<T>(&mut self, run: impl FnOnce(&mut Cx<'_>) -> T) -> T {
        let scene = Scene {
            now: self.now,
            sessions: &self.sessions,
            current: self.current,
            attributes: &self.attributes,
            timers: &self.timers,
            limits: Limits::default(),
        };
        let mut cx = Cx::new(&scene);
        let result = run(&mut cx);
        let actions = cx.into_actions();
        for action in actions {
            self.carry_out(action);
        }
        result
    }

    fn carry_out(&mut self, action: Action) {
        match action {
            Action::SetTimer { name, after } => {
                self.timers.insert(name, self.now + after);
            }
            Action::CancelTimer { name } => {
                self.timers.remove(&name);
            }
            Action::SetAttribute { name, value: Some(value) } => {
                self.attributes.insert(name, value);
            }
            Action::SetAttribute { name, value: None } => {
                self.attributes.remove(&name);
            }
            Action::Hint(hint) => self.hint = Some(hint),
            Action::Relay
            | Action::Respond(_)
            | Action::Absorb
            | Action::End
            | Action::Decide(_) => self.actions.push(action),
        }
    }
}

/// A plain request as a caller's phone would send it.
///
/// # Panics
///
/// When `uri` is not a URI: this is for tests.
#[must_use]
pub fn request(method: Method, uri: &str) -> Request {
    let uri: Uri = uri.parse().expect("the test's own URI is well formed");
    let cseq = format!("1 {method}");
    let to = format!("<{uri}>");
    let mut request = Request::new(method, uri);
    let headers = &mut request.headers;
    headers.push(HeaderName::Via, "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKtestkit");
    headers.push(HeaderName::MaxForwards, "70");
    headers.push(HeaderName::From, "<sip:alice@example.com>;tag=alice");
    headers.push(HeaderName::To, to);
    headers.push(HeaderName::CallId, "testkit@192.0.2.1");
    headers.push(HeaderName::CSeq, cseq);
    headers.push(HeaderName::Contact, "<sip:alice@192.0.2.1:5060>");
    request
}

#[cfg(test)]
mod tests;
