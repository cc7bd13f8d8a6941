//! An application that panics on demand, around another one: to see what then happens.
//!
//! Every request and response that carries the header that it was told panics; the rest is the
//! inner application's. Not for production.

use std::sync::Arc;

use servlet::{Application, Cx, Decision, EndReason, KeyView, SessionId};
use sip_message::{Bytes, HeaderName, Headers, Request, Response};

/// The application.
pub struct Faulty {
    inner: Arc<dyn Application>,
    panic_on: HeaderName,
}

impl Faulty {
    /// Panics over messages that carry the header `panic_on`.
    #[must_use]
    pub fn new(inner: Arc<dyn Application>, panic_on: &str) -> Self {
        Self { inner, panic_on: HeaderName::parse(panic_on.as_bytes()) }
    }

    fn look_at(&self, headers: &Headers) {
        assert!(!headers.contains(&self.panic_on), "on purpose, as `panic_on` in [test] says");
    }
}

impl Application for Faulty {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn session_key(&self, request: &KeyView<'_>) -> Option<Bytes> {
        self.inner.session_key(request)
    }

    fn on_initial_request(&self, cx: &mut Cx<'_>, request: &Request) -> Decision {
        self.look_at(&request.headers);
        self.inner.on_initial_request(cx, request)
    }

    fn on_request(&self, cx: &mut Cx<'_>, request: &Request) {
        self.look_at(&request.headers);
        self.inner.on_request(cx, request);
    }

    fn on_response(&self, cx: &mut Cx<'_>, response: &Response) {
        self.look_at(&response.headers);
        self.inner.on_response(cx, response);
    }

    fn on_cancel(&self, cx: &mut Cx<'_>) {
        self.inner.on_cancel(cx);
    }

    fn on_timer(&self, cx: &mut Cx<'_>, name: &str) {
        self.inner.on_timer(cx, name);
    }

    fn on_session_ended(&self, cx: &mut Cx<'_>, session: SessionId, why: EndReason) {
        self.inner.on_session_ended(cx, session, why);
    }

    fn on_activate(&self, cx: &mut Cx<'_>) {
        self.inner.on_activate(cx);
    }
}
