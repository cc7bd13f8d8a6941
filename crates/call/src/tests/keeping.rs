//! A call without legs, which is only what an application keeps: as of one user's registrations.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use servlet::{Application, Cx, Decision, Hint, KeyView, Reply};
use sip_message::{HeaderName, Method, Request, StatusCode};

use super::{World, responses, setting};
use crate::{Changed, Input, Setting};

/// Keeps a word for a minute for who calls it by its name, and says how long it still does.
struct Keeper;

impl Application for Keeper {
    fn name(&self) -> &str {
        "keeper"
    }

    fn session_key(&self, request: &KeyView<'_>) -> Option<Bytes> {
        request.uri().user().filter(|user| &user[..] == b"keeper").cloned()
    }

    fn on_initial_request(&self, cx: &mut Cx<'_>, request: &Request) -> Decision {
        if request.method == Method::Register {
            assert!(cx.set_attribute("word", "kept") && cx.set_timer("word", MINUTE));
        }
        let left = cx.timer("word").map_or(0, |left| left.as_secs());
        let word = cx.attribute("word").cloned().unwrap_or_default();
        let reply = Reply::new(StatusCode::OK).with(HeaderName::Expires, left.to_string());
        Decision::Respond(reply.with(HeaderName::Subject, word))
    }

    fn on_timer(&self, cx: &mut Cx<'_>, name: &str) {
        cx.remove_attribute(name);
    }
}

const MINUTE: Duration = Duration::from_secs(60);

fn world() -> World {
    let mut setting: Setting = setting();
    setting.applications.push(Arc::new(Keeper));
    World::with(setting)
}

/// What the keeper says: for how long, and the word.
fn ask(world: &mut World, method: Method) -> (String, String) {
    world.cseq += 1;
    let request = world.plain(method, "sip:keeper@example.com");
    let sent = world.request(request);
    let [response] = &responses(&sent)[..] else { panic!("one answer: {sent:?}") };
    assert_eq!(response.status, StatusCode::OK);
    let text = |name| {
        let value = response.headers.get(&name).cloned().unwrap_or_default();
        String::from_utf8_lossy(&value).into_owned()
    };
    (text(HeaderName::Expires), text(HeaderName::Subject))
}

fn told(left: &str, word: &str) -> (String, String) {
    (left.to_owned(), word.to_owned())
}

#[test]
fn what_is_kept_is_steady_at_once_and_crosses() {
    let mut world = world();
    assert_eq!(ask(&mut world, Method::Register), told("60", "kept"));
    assert_eq!(world.changed, Changed::Crossing);
    assert!(world.call.at_boundary() && !world.call.has_ended());
    assert_eq!(world.call.hints(), [(1, Hint::Steady)], "who names the call takes it");
    world.after(Duration::from_secs(40));
    assert!(!world.call.is_over(), "its transactions are over, what it keeps is not");
    assert_eq!(ask(&mut world, Method::Message), told("20", "kept"));
    assert_eq!(world.changed, Changed::Local, "asking changes nothing that crosses");
}

#[test]
fn it_ends_with_the_last_timer() {
    let mut world = world();
    ask(&mut world, Method::Register);
    world.after(Duration::from_secs(50));
    ask(&mut world, Method::Register);
    world.after(Duration::from_secs(59));
    assert!(!world.call.has_ended(), "the second time counts");
    world.after(Duration::from_secs(1));
    assert!(world.call.has_ended());
    assert!(world.call.is_over());
    assert_eq!(ask(&mut world, Method::Message), told("0", ""));
}

#[test]
fn another_site_keeps_it_for_as_long() {
    let mut world = world();
    ask(&mut world, Method::Register);
    world.after(Duration::from_secs(10));
    assert_eq!(world.input(Input::Activate), []);
    assert_eq!(ask(&mut world, Method::Message), told("50", "kept"));
    // What passed while it slept is over soon after it woke, not before it was looked at.
    world.now = world.now + Duration::from_secs(100);
    assert_eq!(world.input(Input::Activate), []);
    world.after(world.setting.limits.activation_spread);
    assert_eq!(ask(&mut world, Method::Message), told("0", ""));
}
