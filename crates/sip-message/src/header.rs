//! Header lines and their typed views (RFC 3261 sections 7.3 and 20).
//!
//! [`Headers`] keeps lines as bytes; the typed values here are parsed on demand and printed in
//! one canonical form. A value that is not touched is never rewritten.

mod cseq;
mod error;
mod lines;
mod name;
mod name_addr;
mod params;
mod session_expires;
mod typed;
mod via;

pub use cseq::CSeq;
pub use error::{HeaderError, HeaderErrorKind};
pub use lines::Headers;
pub use name::HeaderName;
pub use name_addr::NameAddr;
pub use params::Params;
pub use session_expires::{Refresher, SessionExpires};
pub use via::Via;

pub(crate) use cseq::CSeqScan;
pub(crate) use name_addr::NameAddrScan;
pub(crate) use typed::content_length;
pub(crate) use via::ViaScan;
