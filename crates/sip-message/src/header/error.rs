//! What can be wrong with a header value. Says which header and which rule, never who is to blame:
//! the parser decides that for requests and responses.

use std::fmt;

use super::HeaderName;
use crate::uri::UriError;

/// A header that is missing or broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderError {
    /// Which header.
    pub name: HeaderName,
    /// Which rule it breaks.
    pub kind: HeaderErrorKind,
}

/// Which rule of the header grammar was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderErrorKind {
    /// The header is mandatory (RFC 3261 section 8.1.1) and absent.
    Missing,
    /// A value is expected and there is none.
    Empty,
    /// A quoted string without its end, or with a line end inside.
    UnterminatedQuote,
    /// `<` without `>`, or the other way round.
    Brackets,
    /// An unquoted display name of something else than tokens.
    DisplayName,
    /// The URI inside is broken.
    Uri(UriError),
    /// A URI with `?` outside angle brackets (RFC 3261 section 20.10).
    BareUriHeaders,
    /// A parameter without a name, or with `=` and no value.
    Parameter,
    /// More than [`PARAMS_MAX`](crate::PARAMS_MAX).
    TooManyParameters,
    /// Not a number, or out of range.
    Number,
    /// A word that is no `token`.
    Token,
    /// A Via that is not `SIP/2.0/transport`.
    Protocol,
    /// A Via without a good `host [ ":" port ]`.
    SentBy,
    /// Something after the end of the value.
    Trailing,
    /// `*` where an address is asked for, or beside other Contacts.
    Star,
}

impl HeaderErrorKind {
    /// With the header it was found in.
    pub(crate) fn of(self, name: HeaderName) -> HeaderError {
        HeaderError { name, kind: self }
    }
}

impl From<UriError> for HeaderErrorKind {
    fn from(error: UriError) -> Self {
        HeaderErrorKind::Uri(error)
    }
}

impl fmt::Display for HeaderErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            HeaderErrorKind::Missing => "missing",
            HeaderErrorKind::Empty => "empty",
            HeaderErrorKind::UnterminatedQuote => "unterminated quoted string",
            HeaderErrorKind::Brackets => "unbalanced angle brackets",
            HeaderErrorKind::DisplayName => "bad display name",
            HeaderErrorKind::Uri(error) => return error.fmt(f),
            HeaderErrorKind::BareUriHeaders => "URI headers outside angle brackets",
            HeaderErrorKind::Parameter => "bad parameter",
            HeaderErrorKind::TooManyParameters => "too many parameters",
            HeaderErrorKind::Number => "bad number",
            HeaderErrorKind::Token => "not a token",
            HeaderErrorKind::Protocol => "protocol is not SIP/2.0",
            HeaderErrorKind::SentBy => "bad sent-by",
            HeaderErrorKind::Trailing => "unexpected text after the value",
            HeaderErrorKind::Star => "misplaced *",
        })
    }
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.kind)
    }
}

impl std::error::Error for HeaderError {}
impl std::error::Error for HeaderErrorKind {}
