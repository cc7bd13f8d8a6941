//! Request methods (RFC 3261 section 7.1 and the extensions that the applications speak).
//!
//! Methods are case-sensitive; an unknown one keeps its bytes.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use bytes::Bytes;

use crate::grammar;

macro_rules! methods {
    ($($variant:ident $text:literal $rfc:literal;)*) => {
        /// A request method.
        ///
        /// ```
        /// use sip_message::Method;
        /// assert_eq!(Method::parse(b"INVITE"), Method::Invite);
        /// assert_eq!(Method::parse(b"invite").as_str(), "invite");
        /// ```
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub enum Method {
            $(#[doc = $rfc] $variant,)*
            /// Any other, as written.
            Other(Bytes),
        }

        impl Method {
            fn known(bytes: &[u8]) -> Option<Method> {
                $(if bytes == $text.as_bytes() { return Some(Method::$variant); })*
                None
            }

            /// The method as it stands in a message.
            pub fn as_bytes(&self) -> &[u8] {
                match self {
                    $(Method::$variant => $text.as_bytes(),)*
                    Method::Other(bytes) => bytes,
                }
            }
        }
    };
}

methods! {
    Invite "INVITE" "RFC 3261.";
    Ack "ACK" "RFC 3261.";
    Bye "BYE" "RFC 3261.";
    Cancel "CANCEL" "RFC 3261.";
    Options "OPTIONS" "RFC 3261.";
    Register "REGISTER" "RFC 3261.";
    Prack "PRACK" "RFC 3262.";
    Subscribe "SUBSCRIBE" "RFC 6665.";
    Notify "NOTIFY" "RFC 6665.";
    Publish "PUBLISH" "RFC 3903.";
    Info "INFO" "RFC 6086.";
    Refer "REFER" "RFC 3515.";
    Message "MESSAGE" "RFC 3428.";
    Update "UPDATE" "RFC 3311.";
}

/// The text is not a `token`, so it is no method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MethodError;

impl Method {
    /// The method that these bytes spell; what is not known becomes [`Method::Other`] unchecked.
    pub fn parse(bytes: &[u8]) -> Method {
        Method::known(bytes).unwrap_or_else(|| Method::Other(Bytes::copy_from_slice(bytes)))
    }

    /// As [`Method::parse`], sharing the bytes of `parent`, which `bytes` is a part of.
    pub(crate) fn parse_in(parent: &Bytes, bytes: &[u8]) -> Method {
        Method::known(bytes).unwrap_or_else(|| Method::Other(parent.slice_ref(bytes)))
    }

    /// The method as text.
    pub fn as_str(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(self.as_bytes())
    }

    /// Whether this is a method of [`Method`]'s own list.
    pub fn is_known(&self) -> bool {
        !matches!(self, Method::Other(_))
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.as_str())
    }
}

impl FromStr for Method {
    type Err = MethodError;

    fn from_str(text: &str) -> Result<Self, MethodError> {
        if grammar::is_token(text.as_bytes()) {
            Ok(Method::parse(text.as_bytes()))
        } else {
            Err(MethodError)
        }
    }
}

impl fmt::Display for MethodError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a method is a token (RFC 3261 section 25.1)")
    }
}

impl std::error::Error for MethodError {}
