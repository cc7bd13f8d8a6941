//! Byte classes and the small scanners that the header and URI grammars share
//! (RFC 3261 section 25.1).
//!
//! Scanners borrow and never allocate, so that checking a message costs no more than reading it.
//! Line folding is undone before anything gets here: white space is SP and HTAB only.

use crate::header::HeaderErrorKind;
use crate::limits::PARAMS_MAX;

const TOKEN: u8 = 1;
const VALUE: u8 = 2;
const URI: u8 = 4;
const HOST: u8 = 8;

static CLASS: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0u8; 256];
    let mut index = 0usize;
    while index < 256 {
        let byte = index as u8;
        let mut class = 0;
        if byte.is_ascii_alphanumeric()
            || matches!(byte, b'-' | b'.' | b'!' | b'%' | b'*' | b'_' | b'+' | b'`' | b'\'' | b'~')
        {
            class |= TOKEN;
        }
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_') {
            class |= HOST;
        }
        if byte > b' ' && byte != 0x7f {
            if !matches!(byte, b'"' | b'<' | b'>' | b':' | b'@' | b';' | b'?' | b'%') {
                class |= URI;
            }
            if !matches!(byte, b'"' | b'<' | b'>' | b';' | b',' | b'\\') {
                class |= VALUE;
            }
        }
        table[index] = class;
        index += 1;
    }
    table
}

const fn has(byte: u8, class: u8) -> bool {
    CLASS[byte as usize] & class != 0
}

/// `token` characters.
pub(crate) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&byte| has(byte, TOKEN))
}

/// What an unquoted parameter value may hold. **Deviation**: wider than `gen-value`, because
/// `received=[2001:db8::1]` must be parsed (RFC 5118 section 4.5) and peers send `=` and UTF-8.
pub(crate) fn is_param_value(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&byte| has(byte, VALUE))
}

/// Bytes that mean nothing in a URI but themselves: no white space, controls, quotes or angle
/// brackets, and none of `:@;?%`. **Deviation**: bytes that the grammar wants escaped (`#`, `|`,
/// UTF-8) are kept as they are, as in use.
pub(crate) const fn is_plain_in_uri(byte: u8) -> bool {
    has(byte, URI)
}

/// Host name bytes. **Deviation**: `_` is accepted, as it is in use.
pub(crate) fn is_host_name(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&byte| has(byte, HOST))
}

/// SP or HTAB.
pub(crate) const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// Without the white space it starts with.
pub(crate) fn trim_start(mut bytes: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = bytes {
        if !is_space(*first) {
            break;
        }
        bytes = rest;
    }
    bytes
}

/// Without the white space around it.
pub(crate) fn trim(bytes: &[u8]) -> &[u8] {
    let mut bytes = trim_start(bytes);
    while let [rest @ .., last] = bytes {
        if !is_space(*last) {
            break;
        }
        bytes = rest;
    }
    bytes
}

/// Splits off the longest prefix of token characters; it may be empty.
pub(crate) fn take_token(bytes: &[u8]) -> (&[u8], &[u8]) {
    take_class(bytes, TOKEN)
}

/// Splits off the longest prefix of host name characters; it may be empty.
pub(crate) fn take_host_name(bytes: &[u8]) -> (&[u8], &[u8]) {
    take_class(bytes, HOST)
}

fn take_class(bytes: &[u8], class: u8) -> (&[u8], &[u8]) {
    let end = bytes.iter().position(|&byte| !has(byte, class)).unwrap_or(bytes.len());
    bytes.split_at(end)
}

/// Splits off a quoted string, quotes included. `bytes` begins with the opening quote.
///
/// Any byte may be inside except CR and LF, which could end the line for another parser.
pub(crate) fn take_quoted(bytes: &[u8]) -> Result<(&[u8], &[u8]), HeaderErrorKind> {
    let mut index = 1;
    while let Some(&byte) = bytes.get(index) {
        match byte {
            b'"' => return Ok(bytes.split_at(index + 1)),
            b'\\' => index += 2,
            b'\r' | b'\n' => return Err(HeaderErrorKind::UnterminatedQuote),
            _ => index += 1,
        }
    }
    Err(HeaderErrorKind::UnterminatedQuote)
}

/// 1*DIGIT that fits; leading zeros are allowed (RFC 4475 section 3.1.1.1).
pub(crate) fn number(bytes: &[u8]) -> Option<u64> {
    if bytes.is_empty() {
        return None;
    }
    let mut value = 0u64;
    for &byte in bytes {
        if !byte.is_ascii_digit() {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(u64::from(byte - b'0'))?;
    }
    Some(value)
}

/// `delta-seconds`. A number too large for 32 bits counts as the largest (RFC 4475 3.1.2.4).
pub(crate) fn delta_seconds(bytes: &[u8]) -> Option<u32> {
    if bytes.is_empty() || !bytes.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(number(bytes).and_then(|value| u32::try_from(value).ok()).unwrap_or(u32::MAX))
}

/// A port: 1 to 65,535.
pub(crate) fn port(bytes: &[u8]) -> Option<u16> {
    number(bytes).and_then(|value| u16::try_from(value).ok()).filter(|&port| port != 0)
}

/// Splits a header value at its top-level commas: those outside quotes and angle brackets.
///
/// Yields trimmed parts, empty ones too; an empty value yields one empty part.
pub(crate) struct CommaSplit<'a> {
    rest: Option<&'a [u8]>,
}

impl<'a> CommaSplit<'a> {
    pub(crate) fn new(value: &'a [u8]) -> Self {
        Self { rest: Some(value) }
    }
}

impl<'a> Iterator for CommaSplit<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let value = self.rest?;
        match top_level_comma(value) {
            Some(comma) => {
                self.rest = Some(&value[comma + 1..]);
                Some(trim(&value[..comma]))
            }
            None => {
                self.rest = None;
                Some(trim(value))
            }
        }
    }
}

/// Where the first comma outside quotes and angle brackets is.
pub(crate) fn top_level_comma(value: &[u8]) -> Option<usize> {
    let mut from = 0;
    loop {
        let index = from + memchr::memchr3(b',', b'"', b'<', value.get(from..)?)?;
        from = match value[index] {
            b',' => return Some(index),
            b'"' => value.len() - take_quoted(&value[index..]).ok()?.1.len(),
            _ => index + 1 + memchr::memchr(b'>', &value[index..])?,
        };
    }
}

/// One parameter as it stands: its name, and its value with quotes if it has them.
pub(crate) type RawParam<'a> = (&'a [u8], Option<&'a [u8]>);

/// Reads `*( SEMI generic-param )`, the tail of most header values.
pub(crate) struct ParamScan<'a> {
    rest: &'a [u8],
    left: usize,
}

impl<'a> ParamScan<'a> {
    pub(crate) fn new(rest: &'a [u8]) -> Self {
        Self { rest, left: PARAMS_MAX }
    }

    /// Reads the next one; `None` at the end of the value.
    pub(crate) fn read(&mut self) -> Result<Option<RawParam<'a>>, HeaderErrorKind> {
        let rest = trim_start(self.rest);
        let Some((&first, rest)) = rest.split_first() else {
            return Ok(None);
        };
        if first != b';' {
            return Err(HeaderErrorKind::Trailing);
        }
        self.left = self.left.checked_sub(1).ok_or(HeaderErrorKind::TooManyParameters)?;
        let (name, rest) = take_token(trim_start(rest));
        if name.is_empty() {
            return Err(HeaderErrorKind::Parameter);
        }
        let after = trim_start(rest);
        let (value, rest) = match after.split_first() {
            Some((b'=', after)) => {
                let (value, rest) = take_param_value(trim_start(after))?;
                (Some(value), rest)
            }
            _ => (None, rest),
        };
        self.rest = rest;
        Ok(Some((name, value)))
    }

    /// Reads to the end; the value of the first parameter of this name, if it has one.
    pub(crate) fn value(mut self, wanted: &str) -> Result<Option<&'a [u8]>, HeaderErrorKind> {
        let mut found = None;
        while let Some((name, value)) = self.read()? {
            if found.is_none() && name.eq_ignore_ascii_case(wanted.as_bytes()) {
                found = Some(value);
            }
        }
        Ok(found.flatten())
    }

    /// Reads to the end and keeps nothing.
    pub(crate) fn check(mut self) -> Result<(), HeaderErrorKind> {
        while self.read()?.is_some() {}
        Ok(())
    }
}

fn take_param_value(bytes: &[u8]) -> Result<(&[u8], &[u8]), HeaderErrorKind> {
    if bytes.first() == Some(&b'"') {
        return take_quoted(bytes);
    }
    let (value, rest) = take_class(bytes, VALUE);
    if value.is_empty() { Err(HeaderErrorKind::Parameter) } else { Ok((value, rest)) }
}

/// The byte that `%HH` at the start of `bytes` stands for.
pub(crate) fn escaped_byte(bytes: &[u8]) -> Option<u8> {
    let [b'%', high, low, ..] = bytes else { return None };
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()
}

#[cfg(test)]
mod tests;
