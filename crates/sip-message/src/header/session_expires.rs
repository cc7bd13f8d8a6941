//! Session-Expires (RFC 4028 section 4). Decides nothing about who refreshes.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;

use super::{HeaderErrorKind, Params};
use crate::grammar;

/// Which side refreshes the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refresher {
    /// The one that sent the request.
    Uac,
    /// The one that answered it.
    Uas,
}

/// A session interval, and who is to refresh.
///
/// ```
/// use sip_message::{Refresher, SessionExpires};
/// let value: SessionExpires = "1800;refresher=uac".parse().expect("well formed");
/// assert_eq!(value, SessionExpires { seconds: 1800, refresher: Some(Refresher::Uac) });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SessionExpires {
    /// The interval.
    pub seconds: u32,
    /// The `refresher` parameter; a value that is neither uac nor uas counts as absent.
    pub refresher: Option<Refresher>,
}

impl SessionExpires {
    /// Reads a Session-Expires value.
    pub fn parse(value: &Bytes) -> Result<Self, HeaderErrorKind> {
        let end = memchr::memchr(b';', value).unwrap_or(value.len());
        let seconds =
            grammar::delta_seconds(grammar::trim(&value[..end])).ok_or(HeaderErrorKind::Number)?;
        let params = Params::read(value, &value[end..])?;
        let refresher = match params.value("refresher") {
            Some(side) if side.eq_ignore_ascii_case(b"uac") => Some(Refresher::Uac),
            Some(side) if side.eq_ignore_ascii_case(b"uas") => Some(Refresher::Uas),
            _ => None,
        };
        Ok(Self { seconds, refresher })
    }
}

impl fmt::Display for SessionExpires {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let refresher = match self.refresher {
            Some(Refresher::Uac) => ";refresher=uac",
            Some(Refresher::Uas) => ";refresher=uas",
            None => "",
        };
        write!(f, "{}{refresher}", self.seconds)
    }
}

impl FromStr for SessionExpires {
    type Err = HeaderErrorKind;

    fn from_str(text: &str) -> Result<Self, HeaderErrorKind> {
        SessionExpires::parse(&Bytes::copy_from_slice(text.as_bytes()))
    }
}
