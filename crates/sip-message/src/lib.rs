//! SIP as bytes and as values: parse, print, URIs, headers (RFC 3261 sections 7, 19, 20 and 25).
//!
//! A message keeps the bytes it came with: header values are slices of the datagram, unknown
//! headers keep their order and spelling, and a typed view of a header is parsed when asked for.
//! This crate has no state and no time, knows nothing of transactions, dialogs or sockets, and
//! decides nothing that RFC 3261 leaves to a user agent or a proxy.
//!
//! ```
//! use sip_message::{Bytes, Limits, Message, Method, parse_datagram};
//!
//! let datagram = Bytes::from_static(
//!     b"OPTIONS sip:bob@example.com SIP/2.0\r\n\
//!       Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n\
//!       From: <sip:alice@example.com>;tag=a\r\n\
//!       To: <sip:bob@example.com>\r\n\
//!       Call-ID: 1@192.0.2.1\r\n\
//!       CSeq: 1 OPTIONS\r\n\
//!       \r\n",
//! );
//! let Ok(Message::Request(request)) = parse_datagram(&datagram, &Limits::default()) else {
//!     panic!("this is a request");
//! };
//! assert_eq!(request.method, Method::Options);
//! assert_eq!(request.headers.from().expect("checked by the parser").tag(), Some(&"a".into()));
//! ```

mod error;
mod grammar;
pub mod header;
mod host;
mod limits;
mod message;
mod method;
mod number;
mod parse;
mod salvage;
pub mod sdp;
mod status;
mod uri;
mod validate;

pub use bytes::Bytes;

pub use error::{ParseError, ParseErrorKind};
pub use header::{
    CSeq, HeaderError, HeaderErrorKind, HeaderName, Headers, NameAddr, Params, Refresher,
    SessionExpires, Via,
};
pub use host::Host;
pub use limits::{Limits, PARAMS_MAX};
pub use message::{Message, Request, Response};
pub use method::{Method, MethodError};
pub use parse::parse_datagram;
pub use status::StatusCode;
pub use uri::{Uri, UriError};
