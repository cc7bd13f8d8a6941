//! The bench keeps what a container keeps, within the same bounds.

use std::time::Duration;

use sip_message::{Method, StatusCode};

use super::{Bench, request};
use crate::container::Action;
use crate::{Application, Cx, Decision, Hint, KeyView, Reply};

/// Rings once a second, three times, and then gives up.
struct Patient;

impl Application for Patient {
    fn name(&self) -> &str {
        "patient"
    }

    fn on_initial_request(&self, cx: &mut Cx<'_>, _request: &sip_message::Request) -> Decision {
        cx.hint(Hint::Busy);
        assert!(cx.set_attribute("rings", "0"));
        assert!(cx.set_timer("ring", Duration::from_secs(1)));
        Decision::Defer
    }

    fn on_timer(&self, cx: &mut Cx<'_>, name: &str) {
        assert_eq!(name, "ring");
        let rings = cx.attribute("rings").map_or(0, |rings| rings[0] - b'0') + 1;
        if rings == 3 {
            cx.remove_attribute("rings");
            cx.hint(Hint::Steady);
            cx.decide(Decision::Respond(Reply::new(StatusCode::BUSY_HERE)));
            return;
        }
        assert!(cx.set_attribute("rings", rings.to_string()));
        assert!(cx.set_timer("ring", Duration::from_secs(1)));
    }
}

#[test]
fn timers_fire_in_order_and_attributes_last() {
    let mut bench = Bench::new();
    let invite = request(Method::Invite, "sip:bob@example.com");
    assert_eq!(bench.initial(&Patient, &invite), Decision::Defer);
    assert_eq!(bench.hint, Some(Hint::Busy));
    bench.advance(&Patient, Duration::from_secs(2));
    assert_eq!(bench.actions, []);
    assert_eq!(bench.attributes.get("rings"), Some(&"2".into()));
    bench.advance(&Patient, Duration::from_secs(60));
    let busy = Decision::Respond(Reply::new(StatusCode::BUSY_HERE));
    assert_eq!(bench.actions, [Action::Decide(busy)]);
    assert!(bench.attributes.is_empty() && bench.timers.is_empty());
    assert_eq!(bench.hint, Some(Hint::Steady));
}

/// Keeps as much as it is let.
struct Greedy;

impl Application for Greedy {
    fn name(&self) -> &str {
        "greedy"
    }

    fn on_initial_request(&self, cx: &mut Cx<'_>, _request: &sip_message::Request) -> Decision {
        let names: Vec<String> = (0..100).map(|index| format!("n{index}")).collect();
        let kept = names.iter().filter(|name| cx.set_attribute(name, vec![0; 1000])).count();
        assert_eq!(kept, 4);
        assert!(cx.set_attribute("n0", "less"), "replacing frees what was there");
        let timers = names.iter().filter(|name| cx.set_timer(name, Duration::ZERO)).count();
        assert_eq!(timers, 16);
        assert!(cx.set_timer("n0", Duration::from_secs(9)), "one that runs starts anew");
        assert_eq!(cx.timer("n0"), Some(Duration::from_secs(9)));
        assert_eq!(cx.timer("n16"), None, "it was refused");
        cx.cancel_timer("n1");
        assert_eq!(cx.timer("n1"), None);
        assert!(cx.set_timer("n16", Duration::ZERO), "a stopped one makes room");
        assert!(!cx.set_attribute(&"n".repeat(65), ""));
        Decision::Defer
    }
}

#[test]
fn what_a_call_keeps_is_bounded() {
    let mut bench = Bench::new();
    let invite = request(Method::Invite, "sip:bob@example.com");
    assert_eq!(bench.initial(&Greedy, &invite), Decision::Defer);
    assert_eq!(bench.timers.len(), 16);
}

#[test]
fn a_key_view_shows_what_a_cancel_repeats() {
    let invite = request(Method::Invite, "sip:bob@example.com");
    let view = KeyView::new(&invite);
    assert_eq!(view.uri().to_string(), "sip:bob@example.com");
    assert_eq!(view.call_id(), Some(&"testkit@192.0.2.1".into()));
    assert_eq!(view.cseq_number(), Some(1));
    assert_eq!(view.from().and_then(|from| from.tag().cloned()), Some("alice".into()));
    assert_eq!(view.to().and_then(|to| to.tag().cloned()), None);
    assert_eq!(view.route(), []);
}
