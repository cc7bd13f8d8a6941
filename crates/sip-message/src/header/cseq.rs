//! CSeq (RFC 3261 sections 8.1.1.5 and 20.16).

use std::fmt;
use std::str::FromStr;

use bytes::{BufMut, Bytes, BytesMut};

use super::HeaderErrorKind;
use crate::grammar;
use crate::method::Method;
use crate::number::print_number;

/// A sequence number and the method it counts.
///
/// ```
/// use sip_message::{CSeq, Method};
/// let cseq: CSeq = "0009 INVITE".parse().expect("well formed");
/// assert_eq!(cseq, CSeq { number: 9, method: Method::Invite });
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CSeq {
    /// Below 2^31.
    pub number: u32,
    /// The method of the request.
    pub method: Method,
}

impl CSeq {
    /// A CSeq of these parts.
    pub fn new(number: u32, method: Method) -> Self {
        Self { number, method }
    }

    /// Reads a CSeq value.
    pub fn parse(value: &Bytes) -> Result<CSeq, HeaderErrorKind> {
        let scan = CSeqScan::new(value)?;
        Ok(CSeq { number: scan.number, method: Method::parse_in(value, scan.method) })
    }

    /// The CSeq as a header value.
    pub fn print(&self) -> Bytes {
        let method = self.method.as_bytes();
        let mut out = BytesMut::with_capacity(method.len() + 11);
        print_number(self.number.into(), &mut out);
        out.put_u8(b' ');
        out.extend_from_slice(method);
        out.freeze()
    }
}

/// A CSeq that is still part of the bytes it was found in.
pub(crate) struct CSeqScan<'a> {
    pub(crate) number: u32,
    pub(crate) method: &'a [u8],
}

impl<'a> CSeqScan<'a> {
    pub(crate) fn new(value: &'a [u8]) -> Result<Self, HeaderErrorKind> {
        let value = grammar::trim(value);
        let end = value.iter().position(|&byte| grammar::is_space(byte));
        let (number, method) = value.split_at(end.ok_or(HeaderErrorKind::Empty)?);
        // "The sequence number MUST be expressible as a 32-bit unsigned integer and MUST be less
        // than 2**31."
        let number = grammar::number(number)
            .and_then(|number| u32::try_from(number).ok())
            .filter(|&number| number < 1 << 31)
            .ok_or(HeaderErrorKind::Number)?;
        let method = grammar::trim_start(method);
        if !grammar::is_token(method) {
            return Err(HeaderErrorKind::Token);
        }
        Ok(Self { number, method })
    }
}

impl fmt::Display for CSeq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.number, self.method)
    }
}

impl FromStr for CSeq {
    type Err = HeaderErrorKind;

    fn from_str(text: &str) -> Result<Self, HeaderErrorKind> {
        CSeq::parse(&Bytes::copy_from_slice(text.as_bytes()))
    }
}
