//! What the routing table decides, and what is refused.

use servlet::testkit::{self, Bench};
use servlet::{Decision, NextHop, OutboundLeg};
use sip_message::{HeaderName, Method, StatusCode};

use super::{ALLOW, B2bua, Config, Match, Route};

fn hop(port: u16) -> NextHop {
    NextHop::Addr(([192, 0, 2, 9], port).into())
}

fn check(config: Config, uri: &str, expect: Option<NextHop>) {
    let request = testkit::request(Method::Invite, uri);
    let decision = Bench::new().initial(&B2bua::new(config), &request);
    let mut leg = OutboundLeg::new(request.uri.clone());
    leg.next_hop = expect;
    assert_eq!(decision, Decision::BackToBack(leg), "{uri}");
}

#[test]
fn the_first_matching_route_decides() {
    let config = Config {
        routes: vec![
            Route { when: Match::UserPrefix("+49".into()), next_hop: hop(1) },
            Route { when: Match::Domain("Example.com".into()), next_hop: hop(2) },
        ],
        default_next_hop: Some(hop(3)),
        is_closed: true,
    };
    check(config.clone(), "sip:+4930@example.com", Some(hop(1)));
    check(config.clone(), "sip:bob@EXAMPLE.com", Some(hop(2)));
    check(config, "sip:bob@example.org", Some(hop(3)));
}

#[test]
fn without_a_route_the_target_decides_unless_closed() {
    check(Config::default(), "sip:bob@example.org", None);
    let closed = Config { is_closed: true, ..Config::default() };
    let request = testkit::request(Method::Invite, "sip:bob@example.org");
    match Bench::new().initial(&B2bua::new(closed), &request) {
        Decision::Respond(reply) => assert_eq!(reply.status, StatusCode::NOT_FOUND),
        other => panic!("{other:?}"),
    }
}

#[test]
fn methods_outside_a_dialog_get_their_answer() {
    let cases = [
        (Method::Options, StatusCode::OK),
        (Method::Register, StatusCode::METHOD_NOT_ALLOWED),
        (Method::Subscribe, StatusCode::METHOD_NOT_ALLOWED),
        (Method::Message, StatusCode::METHOD_NOT_ALLOWED),
        (Method::parse(b"NEWMETHOD"), StatusCode::NOT_IMPLEMENTED),
    ];
    for (method, status) in cases {
        let request = testkit::request(method, "sip:us@example.com");
        match Bench::new().initial(&B2bua::default(), &request) {
            Decision::Respond(reply) => {
                assert_eq!(reply.status, status);
                assert_eq!(reply.headers.get(&HeaderName::Allow), Some(&ALLOW.into()));
            }
            other => panic!("{other:?}"),
        }
    }
}
