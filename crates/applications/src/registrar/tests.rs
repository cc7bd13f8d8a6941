//! The steps of RFC 3261 §10.3, and what a caller hears of what is registered.

use std::time::Duration;

use servlet::testkit::{self, Bench};
use servlet::{Application, Decision, KeyView, Reply};
use sip_message::{HeaderName, Method, Request, StatusCode};

use super::{Config, Registrar};

/// What a REGISTER says besides who it is for.
#[derive(Clone, Copy)]
struct Said<'a> {
    call_id: &'a str,
    cseq: u32,
    contacts: &'a [&'a str],
    expires: Option<&'a str>,
}

const FIRST: Said<'static> =
    Said { call_id: "phone-1", cseq: 1, contacts: &["<sip:alice@192.0.2.1>"], expires: None };

fn registrar() -> Registrar {
    let domains = vec!["home.test".to_owned(), "Other.Test".to_owned()];
    Registrar::new(Config { domains, ..Config::default() })
}

fn register(said: &Said<'_>) -> Request {
    let mut request = testkit::request(Method::Register, "sip:home.test");
    let headers = &mut request.headers;
    headers.set(HeaderName::To, "<sip:alice@home.test>");
    headers.set(HeaderName::CallId, said.call_id.to_owned());
    headers.set(HeaderName::CSeq, format!("{} REGISTER", said.cseq));
    headers.remove(&HeaderName::Contact);
    for contact in said.contacts {
        headers.push(HeaderName::Contact, (*contact).to_owned());
    }
    if let Some(expires) = said.expires {
        headers.push(HeaderName::Expires, expires.to_owned());
    }
    request
}

fn reply(bench: &mut Bench, request: &Request) -> Reply {
    match bench.initial(&registrar(), request) {
        Decision::Respond(reply) => reply,
        other => panic!("{other:?}"),
    }
}

fn contacts_of(reply: &Reply) -> Vec<String> {
    let values = reply.headers.get_all(&HeaderName::Contact);
    values.map(|value| String::from_utf8_lossy(value).into_owned()).collect()
}

/// The status and the Contacts of what `said` is answered with.
fn say(bench: &mut Bench, said: &Said<'_>) -> (u16, Vec<String>) {
    let reply = reply(bench, &register(said));
    (reply.status.code(), contacts_of(&reply))
}

fn call(bench: &mut Bench, uri: &str) -> (u16, Vec<String>) {
    let reply = reply(bench, &testkit::request(Method::Invite, uri));
    (reply.status.code(), contacts_of(&reply))
}

#[test]
fn what_is_registered_is_where_a_caller_is_sent_until_it_is_over() {
    let mut bench = Bench::new();
    assert_eq!(call(&mut bench, "sip:alice@home.test"), (404, vec![]));
    let granted = say(&mut bench, &Said { expires: Some("120"), ..FIRST });
    assert_eq!(granted, (200, vec!["<sip:alice@192.0.2.1>;expires=120".to_owned()]));

    bench.advance(&registrar(), Duration::from_millis(20_500));
    let fetched = say(&mut bench, &Said { contacts: &[], cseq: 2, ..FIRST });
    assert_eq!(fetched, (200, vec!["<sip:alice@192.0.2.1>;expires=100".to_owned()]));
    let sent_to = call(&mut bench, "sip:alice@home.test");
    assert_eq!(sent_to, (302, vec!["<sip:alice@192.0.2.1>".to_owned()]));

    bench.advance(&registrar(), Duration::from_secs(100));
    assert_eq!(call(&mut bench, "sip:alice@home.test"), (404, vec![]));
    assert!(bench.attributes.is_empty() && bench.timers.is_empty(), "nothing is left of the call");
}

#[test]
fn callers_hear_of_the_preferred_contact_first() {
    let mut bench = Bench::new();
    let phones =
        ["<sip:a@192.0.2.1>;q=0.5", "<sip:a@192.0.2.2>;q=0.75;expires=90", "<sip:a@192.0.2.3>"];
    let (status, granted) = say(&mut bench, &Said { contacts: &phones, ..FIRST });
    assert_eq!(status, 200);
    assert_eq!(granted.len(), 3);
    assert!(granted.contains(&"<sip:a@192.0.2.2>;q=0.75;expires=90".to_owned()), "{granted:?}");
    let (status, sent_to) = call(&mut bench, "sip:alice@home.test");
    assert_eq!(status, 302);
    let wanted = ["<sip:a@192.0.2.3>", "<sip:a@192.0.2.2>;q=0.75", "<sip:a@192.0.2.1>;q=0.5"];
    assert_eq!(sent_to, wanted);
}

/// §8.3: a caller who called the contact itself is not sent in a circle.
#[test]
fn nobody_is_sent_to_where_they_called() {
    let mut bench = Bench::new();
    let own = ["<sip:alice@home.test>"];
    assert_eq!(say(&mut bench, &Said { contacts: &own, ..FIRST }).0, 200);
    assert_eq!(call(&mut bench, "sip:alice@HOME.test").0, 404);
}

#[test]
fn a_refresh_needs_a_higher_cseq_of_the_same_client() {
    let mut bench = Bench::new();
    assert_eq!(say(&mut bench, &Said { cseq: 5, ..FIRST }).0, 200);
    let before = kept(&bench);
    for cseq in [4, 5] {
        assert_eq!(say(&mut bench, &Said { cseq, ..FIRST }).0, 500, "CSeq {cseq}");
        let removal = Said { cseq, contacts: &["*"], expires: Some("0"), ..FIRST };
        assert_eq!(say(&mut bench, &removal).0, 500, "CSeq {cseq}");
        // Another contact beside it changes nothing either: all or none.
        let both = ["<sip:alice@192.0.2.7>", "<sip:alice@192.0.2.1>"];
        assert_eq!(say(&mut bench, &Said { cseq, contacts: &both, ..FIRST }).0, 500);
        assert_eq!(kept(&bench), before);
    }
    let (status, granted) = say(&mut bench, &Said { cseq: 6, expires: Some("60"), ..FIRST });
    assert_eq!((status, granted), (200, vec!["<sip:alice@192.0.2.1>;expires=60".to_owned()]));
    // Another client counts by itself, and takes the binding over.
    assert_eq!(say(&mut bench, &Said { call_id: "phone-2", ..FIRST }).0, 200);
    assert_eq!(say(&mut bench, &Said { cseq: 2, ..FIRST }).0, 200);
    assert_eq!(bench.attributes.len(), 1);
}

#[test]
fn bindings_are_removed_one_by_one_or_all_at_once() {
    let mut bench = Bench::new();
    let two = ["<sip:alice@192.0.2.1>, <sip:alice@192.0.2.2>"];
    assert_eq!(say(&mut bench, &Said { contacts: &two, ..FIRST }).1.len(), 2);
    let one = ["<sip:alice@192.0.2.1>;expires=0"];
    let (status, left) = say(&mut bench, &Said { cseq: 2, contacts: &one, ..FIRST });
    assert_eq!((status, left), (200, vec!["<sip:alice@192.0.2.2>;expires=3600".to_owned()]));

    for expires in [None, Some("1")] {
        let star = Said { cseq: 3, contacts: &["*"], expires, ..FIRST };
        assert_eq!(say(&mut bench, &star).0, 400, "{expires:?}");
    }
    let with_more = Said { cseq: 3, contacts: &["*", two[0]], expires: Some("0"), ..FIRST };
    assert_eq!(say(&mut bench, &with_more).0, 400);
    let star = Said { cseq: 3, contacts: &["*"], expires: Some("0"), ..FIRST };
    assert_eq!(say(&mut bench, &star), (200, vec![]));
    assert!(bench.attributes.is_empty() && bench.timers.is_empty(), "nothing is left of the call");
}

#[test]
fn intervals_stay_within_their_bounds() {
    let cases = [
        (None, "<sip:a@192.0.2.1>", 200, "3600"),
        (Some("600"), "<sip:a@192.0.2.1>", 200, "600"),
        (Some("600"), "<sip:a@192.0.2.1>;expires=90", 200, "90"),
        (Some("600"), "<sip:a@192.0.2.1>;expires=soon", 200, "3600"),
        (None, "<sip:a@192.0.2.1>;expires=99999999999", 200, "7200"),
        (Some("59"), "<sip:a@192.0.2.1>", 423, "60"),
        (None, "<sip:a@192.0.2.1>;expires=1", 423, "60"),
    ];
    for (expires, contact, status, granted) in cases {
        let mut bench = Bench::new();
        let contacts = [contact];
        let said = Said { contacts: &contacts, expires, ..FIRST };
        let reply = reply(&mut bench, &register(&said));
        assert_eq!(reply.status.code(), status, "{contact}");
        let least = reply.headers.get(&HeaderName::MinExpires).cloned();
        match status {
            423 => assert_eq!(least, Some(granted.into())),
            _ => assert_eq!(contacts_of(&reply), [format!("<sip:a@192.0.2.1>;expires={granted}")]),
        }
    }
}

#[test]
fn one_contact_too_many_changes_nothing() {
    let mut bench = Bench::new();
    let contacts: Vec<String> = (1..=9).map(|n| format!("<sip:alice@192.0.2.{n}>")).collect();
    let all: Vec<&str> = contacts.iter().map(String::as_str).collect();
    assert_eq!(say(&mut bench, &Said { contacts: &all[..8], ..FIRST }).0, 200);
    let before = kept(&bench);
    assert_eq!(say(&mut bench, &Said { cseq: 2, contacts: &all[8..], ..FIRST }).0, 403);
    assert_eq!(kept(&bench), before);
    // Refreshing what is there needs no room.
    assert_eq!(say(&mut bench, &Said { cseq: 2, contacts: &all[..8], ..FIRST }).0, 200);
}

#[test]
fn contacts_beyond_a_calls_room_change_nothing() {
    let mut bench = Bench::new();
    assert_eq!(say(&mut bench, &FIRST).0, 200);
    let before = kept(&bench);
    let long = |n: usize| format!("<sip:{}@192.0.2.{n}>", "a".repeat(1_500));
    let contacts = [long(1), long(2), long(3)];
    let contacts = [&*contacts[0], &*contacts[1], &*contacts[2]];
    assert_eq!(say(&mut bench, &Said { cseq: 2, contacts: &contacts, ..FIRST }).0, 403);
    assert_eq!(kept(&bench), before);
}

#[test]
fn a_register_must_be_for_a_user_of_the_domain_it_is_sent_to() {
    let cases = [
        ("sip:home.test", "<sip:alice@other.test>", 404),
        ("sip:home.test", "<sip:home.test>", 404),
        ("sip:home.test", "<sip:alice@elsewhere.test>", 404),
        ("sip:alice@home.test", "<sip:alice@home.test>", 400),
        ("sip:OTHER.test", "<sip:alice@other.TEST>", 200),
        ("sips:home.test", "<sips:alice@home.test>", 200),
    ];
    for (uri, to, status) in cases {
        let mut request = register(&FIRST);
        request.uri = uri.parse().expect("a URI");
        request.headers.set(HeaderName::To, to);
        let mut bench = Bench::new();
        assert_eq!(reply(&mut bench, &request).status.code(), status, "{uri} {to}");
        assert_eq!(bench.attributes.is_empty(), status != 200, "{uri} {to}");
    }
}

#[test]
fn requests_about_one_user_meet_and_others_do_not() {
    let key = |method: Method, uri: &str, to: &str| {
        let mut request = testkit::request(method, uri);
        request.headers.set(HeaderName::To, to.to_owned());
        registrar().session_key(&KeyView::new(&request))
    };
    let registers = |to: &str| key(Method::Register, "sip:home.test", to);
    let alice = registers("<sip:alice@home.test>");
    assert!(alice.is_some());
    let same = [
        registers("\"A\" <sips:alice@HOME.test;user=phone>;x=y"),
        registers("<sip:%61lice@home.test:5060>"),
        key(Method::Invite, "sip:alice@home.test;transport=udp", "<sip:whoever@x.test>"),
        key(Method::Cancel, "sip:alice@home.test", "<sip:whoever@x.test>"),
    ];
    for (index, other) in same.into_iter().enumerate() {
        assert_eq!(other, alice, "{index}");
    }
    let others = [
        registers("<sip:Alice@home.test>"),
        registers("<sip:bob@home.test>"),
        registers("<sip:home.test>"),
        key(Method::Invite, "sip:alice@other.test", "<sip:alice@home.test>"),
        // Questions to the domain do not meet in one call.
        key(Method::Options, "sip:home.test", "<sip:home.test>"),
        key(Method::Invite, "sip:alice@elsewhere.test", "<sip:alice@home.test>"),
    ];
    for (index, other) in others.into_iter().enumerate() {
        assert_ne!(other, alice, "{index}");
    }
    assert_eq!(key(Method::Invite, "sip:alice@elsewhere.test", "<sip:alice@home.test>"), None);
}

#[test]
fn the_domain_itself_answers_options() {
    let mut bench = Bench::new();
    let answer = reply(&mut bench, &testkit::request(Method::Options, "sip:home.test"));
    assert_eq!(answer.status, StatusCode::OK);
    assert!(answer.headers.contains(&HeaderName::Allow));
}

/// What a refused request must not change: attributes and timers.
fn kept(bench: &Bench) -> String {
    format!("{:?} {:?}", bench.attributes, bench.timers)
}
