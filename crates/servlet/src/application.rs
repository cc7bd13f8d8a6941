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
    /// view shows only what a CANCEL repeats of the request that it cancels. Of several
    /// applications, the first that names a call takes the requests that begin something in it;
    /// the first of all, when none does.
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
    ///
    /// It runs once for each take-over, before anything else of the call is worked here: for a
    /// message, for an operator's order, and when the call comes back to the site that it left. It
    /// may do what a timer may: set timers, change attributes, hint, end the call. What it decides
    /// is stored before it leaves. Attributes and timers are those of the last state that crossed;
    /// timers that passed meanwhile fire later, once each, in their order. What the application did
    /// after that state crossed is not known here.
    ///
    /// ```
    /// use std::time::Duration;
    /// use servlet::testkit::{self, Bench};
    /// use servlet::{Application, Cx, Decision, OutboundLeg};
    /// use sip_message::{Method, Request};
    ///
    /// /// Charges each minute in advance.
    /// struct Prepaid;
    /// impl Application for Prepaid {
    ///     fn name(&self) -> &str {
    ///         "prepaid"
    ///     }
    ///     fn on_initial_request(&self, cx: &mut Cx<'_>, request: &Request) -> Decision {
    ///         let _ = cx.set_timer("minute", Duration::from_secs(60));
    ///         Decision::BackToBack(OutboundLeg::new(request.uri.clone()))
    ///     }
    ///     fn on_activate(&self, cx: &mut Cx<'_>) {
    ///         // The dead site may have charged this minute: begin a new one instead of a part.
    ///         let _ = cx.set_timer("minute", Duration::from_secs(60));
    ///         let _ = cx.set_attribute("taken-over", "yes");
    ///     }
    /// }
    ///
    /// let mut bench = Bench::new();
    /// let request = testkit::request(Method::Invite, "sip:bob@example.com");
    /// let _leg = bench.initial(&Prepaid, &request);
    /// bench.advance(&Prepaid, Duration::from_secs(50));
    /// bench.activate(&Prepaid);
    /// assert_eq!(bench.timers["minute"], bench.now + Duration::from_secs(60));
    /// assert!(bench.attributes.contains_key("taken-over"));
    /// ```
    fn on_activate(&self, cx: &mut Cx<'_>) {
        let _ = cx;
    }
}
