//! Which message belongs to which transaction: RFC 3261 §17.1.3 and §17.2.3.
//!
//! Server transactions are found by what the peer chose; client transactions by the branch that we
//! minted, whose ordinal is all that differs between those of one call.

use bytes::{Bytes, BytesMut};
use sip_message::{HeaderName, Method, Request, Via};

/// "The branch parameter MUST always begin with the characters z9hG4bK" (§8.1.1.7).
const MAGIC: &[u8] = b"z9hG4bK";

/// Names a client transaction of this call: "the response has the same value of the branch
/// parameter in the top Via header field" and "the method parameter in the CSeq header field
/// matches the method of the request", as a CANCEL shares its INVITE's branch (§17.1.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClientKey {
    /// Ordinal in the token of the branch.
    pub(crate) branch: u16,
    /// Method of the request.
    pub(crate) method: Method,
}

/// Names a server transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerKey {
    /// Method of the request that began the transaction; never ACK.
    pub(crate) method: Method,
    pub(crate) id: ServerId,
}

/// What besides the method names a server transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ServerId {
    /// The top Via's branch and sent-by, when the branch begins with the magic cookie.
    Branch {
        branch: Bytes,
        /// `host:port` in lower case, the port always written.
        sent_by: Bytes,
    },
    /// The matching of RFC 2543, for a branch without the cookie.
    Rfc2543 {
        uri: Bytes,
        /// Absent in a request that begins a dialog.
        to_tag: Option<Bytes>,
        from_tag: Option<Bytes>,
        call_id: Bytes,
        cseq: u32,
        /// The top Via as it was written.
        via: Bytes,
    },
}

impl ServerKey {
    /// The key of the transaction that `request` begins or repeats; `None` when its headers do not
    /// parse. For an ACK or a CANCEL see [`Self::acknowledged_by`] and [`Self::cancelled_by`].
    pub(crate) fn of(request: &Request) -> Option<Self> {
        let via = request.headers.via_top().ok()??;
        let id = match via.branch() {
            Some(branch) if branch.starts_with(MAGIC) => {
                ServerId::Branch { branch: branch.clone(), sent_by: sent_by(&via) }
            }
            Some(_) | None => ServerId::Rfc2543 {
                uri: Bytes::copy_from_slice(request.uri.as_bytes()),
                to_tag: request.headers.to_tag().ok()?,
                from_tag: request.headers.from_tag().ok()?,
                call_id: request.headers.call_id().ok()?.clone(),
                cseq: request.headers.cseq().ok()?.number,
                via: request.headers.values(&HeaderName::Via).next()?,
            },
        };
        Some(Self { method: request.method.clone(), id })
    }

    /// Whether `ack` acknowledges a failure response of this INVITE transaction: "the method of the
    /// request matches the one that created the transaction, except for ACK, where the method of
    /// the request that created the transaction is INVITE" (§17.2.3).
    pub(crate) fn acknowledged_by(&self, ack: &Request) -> bool {
        self.method == Method::Invite
            && Self::of(ack).is_some_and(|other| self.id.same_but_to_tag(&other.id))
    }

    /// Whether `cancel` is for this transaction: "the CANCEL request is constructed by the client …
    /// as if the request being cancelled had the same top Via" (§9.1, §9.2).
    pub(crate) fn cancelled_by(&self, cancel: &Request) -> bool {
        self.method != Method::Cancel
            && Self::of(cancel).is_some_and(|other| self.id.same_but_to_tag(&other.id))
    }
}

impl ServerId {
    /// **Deviation** from §17.2.3: for RFC 2543 peers the To tag of an ACK is not compared with the
    /// tag of the response. Request-URI, From tag, Call-ID, CSeq and Via name one request of one
    /// client already, and all of its answers came from us.
    fn same_but_to_tag(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::Rfc2543 { uri, to_tag: _, from_tag, call_id, cseq, via },
                Self::Rfc2543 {
                    uri: other_uri,
                    to_tag: _,
                    from_tag: other_from_tag,
                    call_id: other_call_id,
                    cseq: other_cseq,
                    via: other_via,
                },
            ) => {
                uri == other_uri
                    && from_tag == other_from_tag
                    && call_id == other_call_id
                    && cseq == other_cseq
                    && via == other_via
            }
            (Self::Branch { .. }, _) | (_, Self::Branch { .. }) => self == other,
        }
    }
}

/// "The sent-by value is used as part of the matching process because there could be accidental or
/// malicious duplication of branch parameters from different clients" (§17.2.3).
fn sent_by(via: &Via) -> Bytes {
    let mut text = BytesMut::with_capacity(64);
    via.host.print_with_port(Some(via.port.unwrap_or(5060)), &mut text);
    text.make_ascii_lowercase();
    text.freeze()
}
