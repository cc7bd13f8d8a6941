//! The key of a message's call, from the message alone.
//!
//! A response names its call by the token in our branch. A request names it by a token of ours
//! (To tag, topmost Route, Request-URI), else by the first routed application's session key, else
//! by Call-ID and From tag. Nothing here looks at a call's state.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use servlet::KeyView;
use sip_message::{Request, Response, Uri};
use vocab::token::TOKEN_CHARS;
use vocab::{CallKey, Token, TokenKind, TokenSecret};

/// What every branch of RFC 3261 begins with (§8.1.1.7).
const COOKIE: &[u8] = b"z9hG4bK";

/// The call that a request names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) key: CallKey,
    /// A token of ours names it.
    pub(crate) by_token: bool,
}

/// What a response's top Via says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Returning {
    /// It answers a request of this call.
    Call(CallKey),
    /// It passes through on its way back: the request was forwarded between sites.
    Through,
    /// It answers nothing of ours.
    Stray,
}

/// Why a request names no call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nameless {
    /// No Call-ID or From tag to go by.
    NoIdentity,
    /// An application panicked over it.
    Panicked,
}

/// Finds what a response answers. RFC 3261 §18.1.2: a response whose top Via is not ours is
/// discarded; the authenticated branch is the proof.
pub(crate) fn find_by_response(response: &Response, secret: &TokenSecret) -> Returning {
    let branch = response.headers.top_branch().ok().flatten();
    match branch.and_then(|branch| read_branch(&branch, secret)) {
        None => Returning::Stray,
        Some(token) => match token.kind {
            TokenKind::Branch => Returning::Call(token.key),
            TokenKind::Forward => Returning::Through,
            TokenKind::Tag | TokenKind::CallId | TokenKind::Route | TokenKind::Probe => {
                Returning::Stray
            }
        },
    }
}

/// Finds the call that a request names.
pub(crate) fn find_by_request(
    request: &Request,
    setting: &call::Setting,
) -> Result<Named, Nameless> {
    if let Some(token) = read_request(request, &setting.secret) {
        return Ok(Named { key: token.key, by_token: true });
    }
    let key = match session_key(request, setting)? {
        Some((name, key)) => setting.secret.call_key(&[b"session", name.as_bytes(), &key]),
        None => {
            let tag = request.headers.from_tag().map_err(|_| Nameless::NoIdentity)?;
            let call_id = request.headers.call_id().map_err(|_| Nameless::NoIdentity)?;
            // RFC 2543 peers send no From tag; the empty one names their calls.
            let tag = tag.unwrap_or_default();
            setting.secret.call_key(&[call_id, &tag])
        }
    };
    Ok(Named { key, by_token: false })
}

/// The token in a branch of ours.
pub(crate) fn read_branch(branch: &[u8], secret: &TokenSecret) -> Option<Token> {
    secret.read(branch.strip_prefix(COOKIE)?)
}

/// Whether the request is within a dialog of ours.
pub(crate) fn is_within(request: &Request, secret: &TokenSecret) -> bool {
    let tag = request.headers.to_tag().ok().flatten();
    let token = tag.and_then(|tag| secret.read(&tag));
    token.is_some_and(|token| token.kind == TokenKind::Tag)
}

fn read_request(request: &Request, secret: &TokenSecret) -> Option<Token> {
    let tag = request.headers.to_tag().ok()?;
    if let Some(token) = tag.and_then(|tag| secret.read(&tag)) {
        // Only a tag of ours is a dialog of ours: any other token in a To tag proves nothing.
        if token.kind == TokenKind::Tag {
            return Some(token);
        }
    }
    let route = request.headers.route().ok().and_then(|route| route.into_iter().next());
    route.and_then(|route| read_uri(&route.uri, secret)).or_else(|| read_uri(&request.uri, secret))
}

fn read_uri(uri: &Uri, secret: &TokenSecret) -> Option<Token> {
    if !uri.is_sip() {
        return None;
    }
    let read = |text: &Bytes| match text.len() == TOKEN_CHARS {
        true => secret.read(text).filter(|token| names_a_call(token.kind)),
        false => None,
    };
    if let Some(token) = uri.user().and_then(read) {
        return Some(token);
    }
    uri.params().iter().find_map(|(name, value)| value.and_then(read).or_else(|| read(name)))
}

fn names_a_call(kind: TokenKind) -> bool {
    match kind {
        TokenKind::Route | TokenKind::Tag | TokenKind::CallId => true,
        // A probe is a call of its own, named as any stranger's is.
        TokenKind::Branch | TokenKind::Forward | TokenKind::Probe => false,
    }
}

fn session_key<'a>(
    request: &Request,
    setting: &'a call::Setting,
) -> Result<Option<(&'a str, Bytes)>, Nameless> {
    let view = KeyView::new(request);
    for application in &setting.applications {
        // Applications are others' code: one that panics here costs this request, nothing else.
        let asked = catch_unwind(AssertUnwindSafe(|| application.session_key(&view)));
        match asked {
            Ok(Some(key)) => return Ok(Some((application.name(), key))),
            Ok(None) => {}
            Err(_) => return Err(Nameless::Panicked),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests;
