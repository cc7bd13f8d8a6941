//! How a message reads in a flow: one line, with our tokens as short names.
//!
//! A token prints as its kind and ordinal: `T1` a tag, `B3` a branch, `C1` a Call-ID; `@2` follows
//! when it was minted at another site than 1.

use bytes::Bytes;
use call::Destination;
use sip_message::{HeaderName, Headers, Message, Method};
use vocab::token::TOKEN_CHARS;
use vocab::{TokenKind, TokenSecret};

use crate::deskset::name_of;

/// Headers that are shown when they are there, and how they are called.
const SHOWN: [(HeaderName, &str); 13] = [
    (HeaderName::Route, "route"),
    (HeaderName::RecordRoute, "record-route"),
    (HeaderName::SessionExpires, "se"),
    (HeaderName::MinSe, "min-se"),
    (HeaderName::Require, "require"),
    (HeaderName::ProxyRequire, "proxy-require"),
    (HeaderName::Unsupported, "unsupported"),
    (HeaderName::RetryAfter, "retry-after"),
    (HeaderName::Reason, "reason"),
    (HeaderName::Warning, "warning"),
    (HeaderName::ReferTo, "refer-to"),
    (HeaderName::Subject, "subject"),
    (HeaderName::Event, "event"),
];

/// Whoever `to` is.
pub(crate) fn whom(to: &Destination) -> String {
    match to {
        Destination::Addr(addr) => name_of(*addr),
        Destination::Host { name, port } => format!("{}:{port}", String::from_utf8_lossy(name)),
    }
}

/// Writes short names for the tokens in `text`.
pub(crate) fn named(text: &str, secret: &TokenSecret) -> String {
    let is_token = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let mut out = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        let run = rest.find(|c| !is_token(c)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(run);
        out.push_str(&name_in(word, secret));
        let mut chars = after.chars();
        out.extend(chars.next());
        rest = chars.as_str();
    }
    out
}

/// `word` with a token at its end, if it has one, under its short name.
fn name_in(word: &str, secret: &TokenSecret) -> String {
    let Some(split) = word.len().checked_sub(TOKEN_CHARS) else { return word.to_owned() };
    let (before, token) = word.split_at(split);
    let Some(token) = secret.read(token.as_bytes()) else { return word.to_owned() };
    let letter = match token.kind {
        TokenKind::Tag => 'T',
        TokenKind::Branch => 'B',
        TokenKind::CallId => 'C',
        TokenKind::Route => 'R',
        TokenKind::Forward => 'F',
        TokenKind::Probe => 'P',
    };
    let before = before.strip_prefix("z9hG4bK").unwrap_or(before);
    let site = if token.site.0 == 1 { String::new() } else { format!("@{}", token.site) };
    format!("{before}{letter}{}{site}", token.ordinal)
}

/// One line for `message`.
pub(crate) fn line(message: &Message, secret: &TokenSecret) -> (String, String) {
    let headers = message.headers();
    let cseq = headers.cseq().expect("what the call prints has a CSeq");
    let from = tag(headers, &HeaderName::From);
    let to = tag(headers, &HeaderName::To);
    let (what, mut facts) = match message {
        Message::Request(request) => {
            let via = headers.via_top().expect("a Via that parses").expect("a Via");
            let branch = via.branch().map(string).unwrap_or_default();
            let call_id = headers.call_id().map(string).unwrap_or_default();
            let uri = string(request.uri.as_bytes());
            let facts =
                format!("call={call_id} from={from}{to} branch={branch} ", to = spaced(&to));
            let hops = match (&request.method, headers.max_forwards()) {
                (Method::Invite, Ok(Some(hops))) if to.is_empty() => format!("mf={hops} "),
                (_, Ok(Some(_))) => String::new(),
                (_, Ok(None) | Err(_)) => "mf=missing ".to_owned(),
            };
            let number = cseq.number;
            (format!("{} {uri}", request.method), format!("{facts}cseq={number} {hops}"))
        }
        Message::Response(response) => {
            let reason = string(&response.reason);
            let what = format!("{} {reason} to {}", response.status.code(), cseq.method);
            (what, format!("cseq={}{} ", cseq.number, spaced(&to)))
        }
    };
    for (name, short) in &SHOWN {
        for value in headers.get_all(name) {
            facts.push_str(&format!("{short}={} ", string(value).replace(' ', "")));
        }
    }
    if let Some(sdp) = sdp(message.body()) {
        facts.push_str(&format!("sdp={sdp}"));
    } else if !message.body().is_empty() {
        facts.push_str(&format!("body={}", message.body().len()));
    }
    (named(&what, secret), named(facts.trim_end(), secret))
}

fn string(bytes: &Bytes) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn tag(headers: &Headers, name: &HeaderName) -> String {
    let address = if *name == HeaderName::From { headers.from() } else { headers.to() };
    address.ok().and_then(|address| address.tag().map(string)).unwrap_or_default()
}

fn spaced(to: &str) -> String {
    if to.is_empty() { String::new() } else { format!(" to={to}") }
}

/// Whose session description it is and its version: the first and third words of its `o=` line.
fn sdp(body: &Bytes) -> Option<String> {
    let body = std::str::from_utf8(body).ok()?;
    let origin = body.lines().find_map(|line| line.strip_prefix("o="))?;
    let mut words = origin.split(' ');
    let (name, version) = (words.next()?, words.nth(1)?);
    Some(format!("{name}/{version}"))
}
