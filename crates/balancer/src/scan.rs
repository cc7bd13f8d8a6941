//! What a balancer reads of a SIP message: the start line's kind, and the few lines that can name
//! the call.
//!
//! One pass over the line ends, bounded by [`LINES_MAX`], nothing allocated. Deliberately not a
//! parser: a broken message is passed on to an engine, which answers it as RFC 3261 says. Folded
//! lines (§7.3.1) are seen whole, compact names (§7.3.3) are known.

use vocab::token::TOKEN_CHARS;
use vocab::{Token, TokenSecret};

/// Lines that are looked at; the engines refuse longer messages.
const LINES_MAX: usize = 256;
/// Candidates of one line that are checked against the secret.
const CANDIDATES_MAX: usize = 4;
/// RFC 3261 §8.1.1.7: the magic cookie of a branch.
const COOKIE: &[u8] = b"z9hG4bK";

/// The start line says what the rest is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind<'a> {
    /// Empty, or nothing but line ends: a keep-alive (RFC 5626 §3.5.1).
    KeepAlive,
    Request {
        method: &'a [u8],
        uri: &'a [u8],
    },
    Response,
    NotSip,
}

/// The lines that matter, as they stand in the datagram: value only, folding included.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scan<'a> {
    pub(crate) kind: Kind<'a>,
    /// The first Via line.
    pub(crate) via: Option<&'a [u8]>,
    pub(crate) to: Option<&'a [u8]>,
    pub(crate) from: Option<&'a [u8]>,
    pub(crate) call_id: Option<&'a [u8]>,
    pub(crate) cseq: Option<&'a [u8]>,
    /// The first Route line.
    pub(crate) route: Option<&'a [u8]>,
}

impl<'a> Scan<'a> {
    pub(crate) fn of(datagram: &'a [u8]) -> Self {
        let mut scan = Self {
            kind: Kind::KeepAlive,
            via: None,
            to: None,
            from: None,
            call_id: None,
            cseq: None,
            route: None,
        };
        let mut lines = Lines(datagram).take(LINES_MAX);
        // §7.5: "Implementations processing SIP messages over stream-oriented transports MUST
        // ignore any CRLF appearing before the start-line"; harmless here, too.
        let Some(start) = lines.by_ref().find(|line| !line.is_empty()) else { return scan };
        scan.kind = kind_of(start);
        for line in lines {
            if line.is_empty() {
                break;
            }
            let Some((name, value)) = split_header(line) else { continue };
            let slot = match name {
                b"v" | b"V" => &mut scan.via,
                b"t" | b"T" => &mut scan.to,
                b"f" | b"F" => &mut scan.from,
                b"i" | b"I" => &mut scan.call_id,
                _ if name.eq_ignore_ascii_case(b"via") => &mut scan.via,
                _ if name.eq_ignore_ascii_case(b"to") => &mut scan.to,
                _ if name.eq_ignore_ascii_case(b"from") => &mut scan.from,
                _ if name.eq_ignore_ascii_case(b"call-id") => &mut scan.call_id,
                _ if name.eq_ignore_ascii_case(b"cseq") => &mut scan.cseq,
                _ if name.eq_ignore_ascii_case(b"route") => &mut scan.route,
                _ => continue,
            };
            slot.get_or_insert(value);
        }
        scan
    }

    /// The token of ours that this message carries: in its top branch when it is a response, else
    /// in its To tag, its topmost Route or its request-URI.
    pub(crate) fn token(&self, secret: &TokenSecret) -> Option<Token> {
        match self.kind {
            Kind::Response => {
                let top = self.via.map(first_value)?;
                token_in(secret, parameter(top, b"branch")?.strip_prefix(COOKIE)?)
            }
            Kind::Request { uri, .. } => {
                let to_tag = self.to.and_then(|to| parameter(to, b"tag"));
                to_tag
                    .and_then(|tag| token_in(secret, tag))
                    .or_else(|| token_in(secret, first_value(self.route?)))
                    .or_else(|| token_in(secret, uri))
            }
            Kind::KeepAlive | Kind::NotSip => None,
        }
    }
}

/// Every value of the lines called `long` or `compact`, in order.
pub(crate) fn lines_called<'a>(
    datagram: &'a [u8],
    long: &'a [u8],
    compact: &'a [u8],
) -> impl Iterator<Item = &'a [u8]> {
    Lines(datagram)
        .take(LINES_MAX)
        .skip_while(|line| line.is_empty())
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(split_header)
        .filter(move |(name, _)| {
            name.eq_ignore_ascii_case(long) || name.eq_ignore_ascii_case(compact)
        })
        .map(|(_, value)| value)
}

/// The lines of a header section, continuation lines with the line they continue.
struct Lines<'a>(&'a [u8]);

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.0.is_empty() {
            return None;
        }
        let mut from = 0;
        let end = loop {
            let Some(at) = memchr::memchr(b'\n', &self.0[from..]) else { break self.0.len() };
            let after = from + at + 1;
            let blank = trim(&self.0[..after]).is_empty();
            match self.0.get(after) {
                Some(b' ' | b'\t') if !blank => from = after,
                Some(_) | None => break after,
            }
        };
        let (line, rest) = self.0.split_at(end);
        self.0 = rest;
        Some(trim(line))
    }
}

fn kind_of(start: &[u8]) -> Kind<'_> {
    if start.len() >= 4 && start[..4].eq_ignore_ascii_case(b"SIP/") {
        return Kind::Response;
    }
    let mut words = start.split(|&c| c == b' ').filter(|word| !word.is_empty());
    let (Some(method), Some(uri)) = (words.next(), words.next()) else { return Kind::NotSip };
    let is_sip = words
        .next_back()
        .is_some_and(|version| version.len() >= 4 && version[..4].eq_ignore_ascii_case(b"SIP/"));
    if is_sip { Kind::Request { method, uri } } else { Kind::NotSip }
}

fn split_header(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = memchr::memchr(b':', line)?;
    Some((trim(&line[..colon]), trim(&line[colon + 1..])))
}

/// The first of several comma-separated values; commas in quotes and angle brackets do not count.
pub(crate) fn first_value(line: &[u8]) -> &[u8] {
    let (mut quoted, mut angle, mut escaped) = (false, false, false);
    for (at, c) in line.iter().enumerate() {
        match c {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'<' if !quoted => angle = true,
            b'>' if !quoted => angle = false,
            b',' if !quoted && !angle => return &line[..at],
            _ => {}
        }
    }
    line
}

/// A parameter of a header value: what stands after `;name=` outside quotes and angle brackets.
pub(crate) fn parameter<'a>(value: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let at = parameter_at(value, name)?;
    let rest = trim(&value[at..]).strip_prefix(b"=")?;
    let rest = trim(rest);
    let end = rest.iter().position(|c| b"; \t\r\n,?\"".contains(c)).unwrap_or(rest.len());
    Some(&rest[..end])
}

/// Where the parameter called `name` of a header value ends, its own value not counted.
pub(crate) fn parameter_at(value: &[u8], name: &[u8]) -> Option<usize> {
    let (mut quoted, mut angle, mut escaped) = (false, false, false);
    for (at, c) in value.iter().enumerate() {
        match c {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'<' if !quoted => angle = true,
            b'>' if !quoted => angle = false,
            b';' if !quoted && !angle => {
                let blanks = value[at + 1..].iter().take_while(|c| c.is_ascii_whitespace()).count();
                let start = at + 1 + blanks;
                let end = start + name.len();
                let found = value.get(start..end)?.eq_ignore_ascii_case(name);
                let ends = value.get(end).is_none_or(|c| b"=; \t\r\n,".contains(c));
                if found && ends {
                    return Some(end);
                }
            }
            _ => {}
        }
    }
    None
}

/// The first token of ours in `text`: a run of a token's length and alphabet.
fn token_in(secret: &TokenSecret, text: &[u8]) -> Option<Token> {
    text.split(|c| !(c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_')))
        .filter(|run| run.len() == TOKEN_CHARS)
        .take(CANDIDATES_MAX)
        .find_map(|run| secret.read(run))
}

fn trim(line: &[u8]) -> &[u8] {
    line.trim_ascii()
}

#[cfg(test)]
mod tests;
