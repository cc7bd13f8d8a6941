//! A session as an application sees it: one leg of the call (JSR 289 `SipSession`).

use sip_message::StatusCode;

/// Names a session within its call, for the call's lifetime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u16);

/// Which side of a session we are, from its first request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The peer opened it.
    Uas,
    /// We opened it.
    Uac,
}

/// Where a session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionState {
    /// Nothing but the request and perhaps `100 Trying` was seen.
    Initial,
    /// A provisional response formed an early dialog.
    Early,
    /// It is answered.
    Confirmed,
    /// It is over.
    Terminated,
}

/// A session, at the moment of the callback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionView {
    /// Its name.
    pub id: SessionId,
    /// Which side we are.
    pub side: Side,
    /// Where it stands.
    pub state: SessionState,
    /// The session that it is linked with.
    pub peer: Option<SessionId>,
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// A BYE from either side.
    Bye,
    /// The caller gave up before the answer.
    Cancelled,
    /// It was never answered: the final failure.
    Failed(StatusCode),
    /// The session timer ran out (RFC 4028).
    Expired,
    /// A 2xx was never acknowledged, or the peer does not know the dialog.
    Lost,
    /// The application ended it.
    Ended,
}
