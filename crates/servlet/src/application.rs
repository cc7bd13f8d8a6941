//! The trait that an application implements. Every callback but two has a sane default.

use bytes::Bytes;
use sip_message::{Request, Response};

use crate::{Cx, Decision, EndReason, KeyView, SessionId};

/// An application: one value per container, shared by all calls.
///
/// Callbacks are pure: they look at the call through [`Cx`] and say what should happen through it.
/// They may be run again for the same event, when an engine dies before its decision was stored;
/// nothing of the lost run was sent.
pub trait Application: Send + Sync {
    /// The name that configuration, logs and metrics use.
    fn name(&self) -> &str;

    /// Names the call that a request belongs to, when Call-ID and From tag are not what names it.
    ///
    /// It must depend on nothing but its argument: every engine of every site asks it, and the
    /// view shows only what a CANCEL repeats of the request that it cancels.
    fn session_key(&self, request: &KeyView<'_>) -> Option<Bytes> {
        let _ = request;
        None
    }

    /// A request that belongs to no session: decide what becomes of it.
    fn on_initial_request(&self, cx: &mut Cx<'_>, request: &Request) -> Decision;

    /// A request within a session, ACK and CANCEL excepted. Left alone, it is relayed.
    ///
    /// A BYE has been answered by the container already; it is shown, and always passed on.
    fn on_request(&self, cx: &mut Cx<'_>, request: &Request) {
        let _ = request;
        cx.relay();
    }

    /// A response to something that was relayed. Left alone, it is relayed.
    fn on_response(&self, cx: &mut Cx<'_>, response: &Response) {
        let _ = response;
        cx.relay();
    }

    /// The caller gave up. The container has answered and will end the other leg.
    fn on_cancel(&self, cx: &mut Cx<'_>) {
        let _ = cx;
    }

    /// A timer set by [`Cx::set_timer`] fired.
    fn on_timer(&self, cx: &mut Cx<'_>, name: &str) {
        let _ = (cx, name);
    }

    /// A session ended, for whatever reason.
    fn on_session_ended(&self, cx: &mut Cx<'_>, session: SessionId, why: EndReason) {
        let _ = (cx, session, why);
    }

    /// The call was taken over from another site, which may have died in the middle of something.
    fn on_activate(&self, cx: &mut Cx<'_>) {
        let _ = cx;
    }
}
