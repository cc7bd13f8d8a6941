//! The part of a request that may name its call.

use bytes::Bytes;
use sip_message::{NameAddr, Request, Uri};

/// What a CANCEL repeats of the request that it cancels (RFC 3261 §9.1): nothing else may name a
/// call, or the two would be looked for in different places.
#[derive(Clone, Copy, Debug)]
pub struct KeyView<'a> {
    request: &'a Request,
}

impl<'a> KeyView<'a> {
    /// Looks at `request`.
    #[must_use]
    pub fn new(request: &'a Request) -> Self {
        Self { request }
    }

    /// The Request-URI.
    #[must_use]
    pub fn uri(&self) -> &'a Uri {
        &self.request.uri
    }

    /// The From header, if it is well formed.
    #[must_use]
    pub fn from(&self) -> Option<NameAddr> {
        self.request.headers.from().ok()
    }

    /// The To header, if it is well formed.
    #[must_use]
    pub fn to(&self) -> Option<NameAddr> {
        self.request.headers.to().ok()
    }

    /// The Call-ID.
    #[must_use]
    pub fn call_id(&self) -> Option<&'a Bytes> {
        self.request.headers.call_id().ok()
    }

    /// The number of the CSeq; its method differs in a CANCEL.
    #[must_use]
    pub fn cseq_number(&self) -> Option<u32> {
        self.request.headers.cseq().ok().map(|cseq| cseq.number)
    }

    /// The Route headers, if they are well formed.
    #[must_use]
    pub fn route(&self) -> Vec<NameAddr> {
        self.request.headers.route().unwrap_or_default()
    }
}
