//! Which part of a message names its call.

use std::sync::Arc;

use bytes::Bytes;
use call::{Edge, Setting};
use servlet::{Application, Cx, Decision, KeyView, Reply};
use sip_message::{Host, Limits, Message, Request, Response, StatusCode, parse_datagram};
use vocab::{CallKey, SiteId, Token, TokenKind, TokenSecret};

use super::{Nameless, Returning, find_by_request, find_by_response};

const KEY: CallKey = CallKey([9; 16]);

#[test]
fn call_id_and_from_tag_name_a_call_without_a_token() {
    let plain = request("", "sip:bob@example.com", "");
    let named = find_by_request(&plain, &setting(None)).expect("it has both");
    assert!(!named.by_token);
    assert_eq!(named.key, secret().call_key(&[b"c1", b"a"]));
}

#[test]
fn a_missing_from_tag_is_an_empty_one() {
    let old = Bytes::from_static(
        b"OPTIONS sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/UDP h\r\nFrom: <sip:a@h>\r\n\
          To: <sip:b@h>\r\nCall-ID: c1\r\nCSeq: 1 OPTIONS\r\n\r\n",
    );
    let old = parse_request(&old);
    let named = find_by_request(&old, &setting(None)).expect("it has a Call-ID");
    assert_eq!(named.key, secret().call_key(&[b"c1", b""]));
}

#[test]
fn a_to_tag_of_ours_names_the_call() {
    check(&request(&token(TokenKind::Tag), "sip:bob@example.com", ""), Some(KEY));
}

#[test]
fn another_token_in_a_to_tag_proves_nothing() {
    check(&request(&token(TokenKind::Branch), "sip:bob@example.com", ""), None);
    check(&request(&token(TokenKind::Forward), "sip:bob@example.com", ""), None);
}

#[test]
fn the_topmost_route_names_the_call() {
    let route = format!("<sip:{}@edge.example;lr>", token(TokenKind::Route));
    check(&request("", "sip:bob@example.com", &route), Some(KEY));
    let route = format!("<sip:edge.example;lr;rehome={}>", token(TokenKind::Route));
    check(&request("", "sip:bob@example.com", &route), Some(KEY));
    let second = format!("<sip:other.example;lr>, {route}");
    check(&request("", "sip:bob@example.com", &second), None);
}

#[test]
fn the_request_uri_names_the_call() {
    let uri = format!("sip:{}@edge.example", token(TokenKind::Route));
    check(&request("", &uri, ""), Some(KEY));
    let uri = format!("sip:edge.example;{}", token(TokenKind::Route));
    check(&request("", &uri, ""), Some(KEY));
    let uri = format!("sip:{}@edge.example", token(TokenKind::Branch));
    check(&request("", &uri, ""), None);
}

#[test]
fn a_probe_is_a_call_of_its_own() {
    let uri = format!("sip:{}@edge.example", token(TokenKind::Probe));
    let named = find_by_request(&request("", &uri, ""), &setting(None)).expect("it has both");
    assert!(!named.by_token, "it begins a call, and so takes its lock and puts it");
    assert_eq!(named.key, secret().call_key(&[b"c1", b"a"]));
}

#[test]
fn a_forged_token_names_nothing() {
    let mut forged = token(TokenKind::Tag);
    let last = if forged.pop() == Some('A') { 'E' } else { 'A' };
    forged.push(last);
    check(&request(&forged, "sip:bob@example.com", ""), None);
}

#[test]
fn an_application_may_name_the_call() {
    let setting = setting(Some(Arc::new(ByUser { panics: false })));
    let plain = request("", "sip:bob@example.com", "");
    let named = find_by_request(&plain, &setting).expect("the application names it");
    assert_eq!(named.key, secret().call_key(&[b"session", b"by-user", b"bob"]));
    let within = request(&token(TokenKind::Tag), "sip:bob@example.com", "");
    let named = find_by_request(&within, &setting).expect("the token names it");
    assert_eq!(named.key, KEY);
}

#[test]
fn an_application_that_panics_costs_its_request_only() {
    let setting = setting(Some(Arc::new(ByUser { panics: true })));
    let plain = request("", "sip:bob@example.com", "");
    assert_eq!(find_by_request(&plain, &setting), Err(Nameless::Panicked));
}

#[test]
fn a_response_is_found_by_our_branch() {
    let branch = |kind| format!("z9hG4bK{}", token(kind));
    check_response(&branch(TokenKind::Branch), Returning::Call(KEY));
    check_response(&branch(TokenKind::Forward), Returning::Through);
    check_response(&branch(TokenKind::Tag), Returning::Stray);
    check_response("z9hG4bKnot-ours", Returning::Stray);
    check_response(&token(TokenKind::Branch), Returning::Stray);
}

fn check(request: &Request, by_token: Option<CallKey>) {
    let named = find_by_request(request, &setting(None)).expect("it has a Call-ID and a tag");
    match by_token {
        Some(key) => assert_eq!((named.key, named.by_token), (key, true)),
        None => assert!(!named.by_token),
    }
}

fn check_response(branch: &str, expect: Returning) {
    let mut request = request("", "sip:bob@example.com", "");
    request.headers.set(
        sip_message::HeaderName::Via,
        format!("SIP/2.0/UDP edge.example:5060;branch={branch}"),
    );
    let response = Response::to_request(&request, StatusCode::OK);
    assert_eq!(find_by_response(&response, &secret()), expect);
}

fn request(to_tag: &str, uri: &str, route: &str) -> Request {
    let to_tag = if to_tag.is_empty() { String::new() } else { format!(";tag={to_tag}") };
    let route = if route.is_empty() { String::new() } else { format!("Route: {route}\r\n") };
    let text = format!(
        "INFO {uri} SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n{route}\
         From: <sip:alice@example.com>;tag=a\r\nTo: <sip:bob@example.com>{to_tag}\r\n\
         Call-ID: c1\r\nCSeq: 1 INFO\r\nMax-Forwards: 70\r\n\r\n"
    );
    parse_request(&Bytes::from(text))
}

fn parse_request(bytes: &Bytes) -> Request {
    match parse_datagram(bytes, &Limits::default()) {
        Ok(Message::Request(request)) => request,
        other => panic!("not a request: {other:?}"),
    }
}

fn token(kind: TokenKind) -> String {
    secret().mint(&Token { key: KEY, site: SiteId(1), kind, salt: 7, ordinal: 1 })
}

fn secret() -> TokenSecret {
    TokenSecret::new([3; 32])
}

fn setting(application: Option<Arc<dyn Application>>) -> Setting {
    let edge = Edge { host: Host::Name(Bytes::from_static(b"edge.example")), port: 5060 };
    Setting::new(SiteId(1), secret(), edge, application.into_iter().collect())
}

struct ByUser {
    panics: bool,
}

impl Application for ByUser {
    fn name(&self) -> &str {
        "by-user"
    }

    fn session_key(&self, request: &KeyView<'_>) -> Option<Bytes> {
        assert!(!self.panics, "asked to panic");
        request.uri().user().cloned()
    }

    fn on_initial_request(&self, _cx: &mut Cx<'_>, _request: &Request) -> Decision {
        Decision::Respond(Reply::new(StatusCode::BUSY_HERE))
    }
}
