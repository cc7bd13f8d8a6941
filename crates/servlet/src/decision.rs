//! What an application decides: answers, outbound legs, hints.

use std::net::SocketAddr;

use bytes::Bytes;
use sip_message::{HeaderName, Headers, Host, StatusCode, Uri};

/// What becomes of an initial request. Forgetting to decide does not compile.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Decision {
    /// Answer it here.
    Respond(Reply),
    /// Open a leg of our own and relay between the two (a back-to-back user agent).
    BackToBack(OutboundLeg),
    /// Keep the transaction open: a timer will decide, by [`Cx::decide`](crate::Cx::decide).
    Defer,
}

/// A response that the application makes.
///
/// ```
/// use servlet::Reply;
/// use sip_message::{HeaderName, StatusCode};
/// let reply = Reply::new(StatusCode::METHOD_NOT_ALLOWED).with(HeaderName::Allow, "INVITE");
/// assert_eq!(reply.headers.get(&HeaderName::Allow).map(|value| &value[..]), Some(&b"INVITE"[..]));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The status code.
    pub status: StatusCode,
    /// A reason phrase other than the usual one.
    pub reason: Option<Bytes>,
    /// Headers besides those that the container writes (Via, From, To, Call-ID, CSeq, Contact).
    pub headers: Headers,
    /// The body; its `Content-Type` is among `headers`.
    pub body: Bytes,
}

impl Reply {
    /// A response with this status and nothing else.
    #[must_use]
    pub fn new(status: StatusCode) -> Self {
        Self { status, reason: None, headers: Headers::default(), body: Bytes::new() }
    }

    /// Adds a header line.
    #[must_use]
    pub fn with(mut self, name: HeaderName, value: impl Into<Bytes>) -> Self {
        self.headers.push(name, value);
        self
    }
}

/// The leg that a back-to-back user agent opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboundLeg {
    /// Request-URI of the new request.
    pub target: Uri,
    /// Where it is sent; the target itself when absent.
    pub next_hop: Option<NextHop>,
    /// Changes to the end-to-end headers, which are otherwise copied.
    pub edits: HeaderEdits,
}

impl OutboundLeg {
    /// A leg to `target` with nothing changed.
    #[must_use]
    pub fn new(target: Uri) -> Self {
        Self { target, next_hop: None, edits: HeaderEdits::default() }
    }

    /// Sends the request to `next_hop` whatever the target says.
    #[must_use]
    pub fn via(mut self, next_hop: NextHop) -> Self {
        self.next_hop = Some(next_hop);
        self
    }
}

/// Where a request is sent when its target does not decide it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NextHop {
    /// An address.
    Addr(SocketAddr),
    /// A name, which the container resolves.
    Host {
        /// The host.
        host: Host,
        /// The port.
        port: u16,
    },
}

/// Changes to headers that are copied from one leg to the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderEdits {
    /// Removed first.
    pub remove: Vec<HeaderName>,
    /// Added then. Headers that name a dialog or a hop are not the application's to set.
    pub add: Headers,
}

/// Advice about what comes next for a call: the first of two levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hint {
    /// Nothing is expected soon: this is a good state to keep elsewhere.
    Steady,
    /// More is about to happen.
    Busy,
}
