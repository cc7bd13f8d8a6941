//! Header names: case-insensitive, with compact forms (RFC 3261 sections 7.3.1 and 7.3.3).
//!
//! Knows no grammar of values.

use std::fmt;
use std::hash::{Hash, Hasher};

use bytes::Bytes;

macro_rules! names {
    ($($variant:ident $text:literal $(($compact:literal))?;)*) => {
        /// A header name. Compact forms are the same name; printed is always the long form.
        ///
        /// ```
        /// use sip_message::HeaderName;
        /// assert_eq!(HeaderName::parse(b"v"), HeaderName::Via);
        /// assert_eq!(HeaderName::parse(b"call-id").as_bytes(), b"Call-ID");
        /// assert_eq!(HeaderName::parse(b"X-Mine"), HeaderName::parse(b"x-mine"));
        /// ```
        #[derive(Clone, Debug)]
        pub enum HeaderName {
            $(#[doc = concat!("`", $text, "`.")] $variant,)*
            /// Any other, spelled as written; compares without case.
            Other(Bytes),
        }

        impl HeaderName {
            fn known(bytes: &[u8]) -> Option<HeaderName> {
                if let [letter] = bytes {
                    return match letter.to_ascii_lowercase() {
                        $($($compact => Some(HeaderName::$variant),)?)*
                        _ => None,
                    };
                }
                $(
                    if bytes.len() == $text.len() && bytes.eq_ignore_ascii_case($text.as_bytes()) {
                        return Some(HeaderName::$variant);
                    }
                )*
                None
            }

            /// The canonical long form, or the spelling of an unknown one.
            pub fn as_bytes(&self) -> &[u8] {
                match self {
                    $(HeaderName::$variant => $text.as_bytes(),)*
                    HeaderName::Other(bytes) => bytes,
                }
            }
        }
    };
}

// In order of frequency: `known` compares from the top.
names! {
    Via "Via" (b'v');
    From "From" (b'f');
    To "To" (b't');
    CallId "Call-ID" (b'i');
    CSeq "CSeq";
    Contact "Contact" (b'm');
    MaxForwards "Max-Forwards";
    ContentLength "Content-Length" (b'l');
    ContentType "Content-Type" (b'c');
    Route "Route";
    RecordRoute "Record-Route";
    UserAgent "User-Agent";
    Supported "Supported" (b'k');
    Allow "Allow";
    Expires "Expires";
    Require "Require";
    ProxyRequire "Proxy-Require";
    Unsupported "Unsupported";
    SessionExpires "Session-Expires" (b'x');
    MinSe "Min-SE";
    RetryAfter "Retry-After";
    Warning "Warning";
    Authorization "Authorization";
    ProxyAuthorization "Proxy-Authorization";
    WwwAuthenticate "WWW-Authenticate";
    ProxyAuthenticate "Proxy-Authenticate";
    AuthenticationInfo "Authentication-Info";
    Server "Server";
    Subject "Subject" (b's');
    Date "Date";
    Event "Event" (b'o');
    SubscriptionState "Subscription-State";
    ReferTo "Refer-To" (b'r');
    ReferredBy "Referred-By" (b'b');
    Replaces "Replaces";
    Join "Join";
    TargetDialog "Target-Dialog";
    RAck "RAck";
    RSeq "RSeq";
    Reason "Reason";
    Accept "Accept";
    AcceptContact "Accept-Contact" (b'a');
    AcceptEncoding "Accept-Encoding";
    AcceptLanguage "Accept-Language";
    AlertInfo "Alert-Info";
    AllowEvents "Allow-Events" (b'u');
    CallInfo "Call-Info";
    ContentDisposition "Content-Disposition";
    ContentEncoding "Content-Encoding" (b'e');
    ContentLanguage "Content-Language";
    Diversion "Diversion";
    ErrorInfo "Error-Info";
    FlowTimer "Flow-Timer";
    HistoryInfo "History-Info";
    Identity "Identity" (b'y');
    IdentityInfo "Identity-Info" (b'n');
    InReplyTo "In-Reply-To";
    MimeVersion "MIME-Version";
    MinExpires "Min-Expires";
    Organization "Organization";
    PAssertedIdentity "P-Asserted-Identity";
    PPreferredIdentity "P-Preferred-Identity";
    Path "Path";
    Priority "Priority";
    Privacy "Privacy";
    RejectContact "Reject-Contact" (b'j');
    ReplyTo "Reply-To";
    RequestDisposition "Request-Disposition" (b'd');
    ServiceRoute "Service-Route";
    SipETag "SIP-ETag";
    SipIfMatch "SIP-If-Match";
    Timestamp "Timestamp";
}

impl HeaderName {
    /// The name that these bytes spell, in any case or compact form.
    pub fn parse(bytes: &[u8]) -> HeaderName {
        HeaderName::known(bytes).unwrap_or_else(|| HeaderName::Other(Bytes::copy_from_slice(bytes)))
    }

    /// As [`HeaderName::parse`], sharing the bytes of `parent`, which `bytes` is a part of.
    pub(crate) fn parse_in(parent: &Bytes, bytes: &[u8]) -> HeaderName {
        HeaderName::known(bytes).unwrap_or_else(|| HeaderName::Other(parent.slice_ref(bytes)))
    }
}

impl PartialEq for HeaderName {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (HeaderName::Other(one), HeaderName::Other(two)) => one.eq_ignore_ascii_case(two),
            (one, two) => std::mem::discriminant(one) == std::mem::discriminant(two),
        }
    }
}

impl Eq for HeaderName {}

impl Hash for HeaderName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for byte in self.as_bytes() {
            state.write_u8(byte.to_ascii_lowercase());
        }
    }
}

impl fmt::Display for HeaderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(self.as_bytes()))
    }
}

impl From<&str> for HeaderName {
    fn from(text: &str) -> Self {
        HeaderName::parse(text.as_bytes())
    }
}
