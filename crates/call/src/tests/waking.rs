//! What applications may do when their call wakes elsewhere, and what becomes of deadlines that
//! passed meanwhile (D33).

use servlet::Hint;
use sip_message::Method;
use vocab::SiteId;

use super::*;

/// Does what its attribute `wakes` says when it wakes, and tells what it was told.
struct Waker(&'static str);

impl Application for Waker {
    fn name(&self) -> &str {
        self.0
    }

    fn on_initial_request(&self, _cx: &mut Cx<'_>, _request: &Request) -> Decision {
        Decision::BackToBack(
            OutboundLeg::new("sip:bob@192.0.2.2".parse().expect("a URI"))
                .via(NextHop::Addr(BOB.parse().expect("an address"))),
        )
    }

    fn on_request(&self, cx: &mut Cx<'_>, _request: &Request) {
        for (name, after) in [("c", 10), ("a", 20), ("b", 30), ("late", 100_000)] {
            assert!(cx.set_timer(name, secs(after)));
        }
    }

    fn on_timer(&self, cx: &mut Cx<'_>, name: &str) {
        tell(cx, name);
    }

    fn on_activate(&self, cx: &mut Cx<'_>) {
        tell(cx, "woken");
        match cx.attribute("wakes").map(|word| &word[..]) {
            Some(b"end") => cx.end(),
            Some(b"hint") => cx.hint(Hint::Busy),
            Some(b"timer") => assert!(cx.set_timer("after", secs(5))),
            Some(_) | None => {}
        }
    }

    fn on_session_ended(&self, cx: &mut Cx<'_>, session: SessionId, why: EndReason) {
        tell(cx, &format!("{}:{why:?}", session.0));
    }
}

fn tell(cx: &mut Cx<'_>, what: &str) {
    let told = cx.attribute("told").map(|told| format!("{} ", String::from_utf8_lossy(told)));
    assert!(cx.set_attribute("told", told.unwrap_or_default() + what));
}

/// An answered call at another site, `age` after it crossed, with two applications; the first does
/// `wakes`.
fn woken(wakes: &'static str, age: Duration) -> World {
    let applications: Vec<Arc<dyn Application>> =
        vec![Arc::new(Waker("first")), Arc::new(Waker("second"))];
    let mut world = World::with(Setting { applications, ..setting() });
    let (ok, _) = world.answered();
    for index in [0, 1] {
        let _ = world.call.crossing.application_mut(index);
    }
    let first = world.call.crossing.application_mut(0);
    first.attributes.insert("wakes".into(), wakes.into());
    let info = world.within(Method::Info, &ok);
    let to_bob = requests(&world.request(info)).remove(0);
    let _ = world.response(answer(&to_bob, 200));
    let encoded = world.call.encode(world.now, &[]);
    world.now = Instant(7_000_000_000_000);
    let (schema, local) = (encoded.schema, Bytes::new());
    world.call = Call::decode(key(), schema, &encoded.crossing, &local, age, world.now)
        .expect("it crossed whole")
        .0;
    world.setting.here = SiteId(2);
    world
}

fn was_told(world: &World, index: u16) -> String {
    let mut states = world.call.crossing.applications.iter();
    let state = states.find(|state| state.index == index).expect("it takes part");
    String::from_utf8_lossy(&state.attributes["told"]).into_owned()
}

#[test]
fn on_activate_runs_once_for_each_application() {
    let mut world = woken("", secs(1));
    assert_eq!(told(&world.input(Input::Activate)), "");
    assert_eq!(world.changed, Changed::Crossing, "what it did is stored");
    assert_eq!((was_told(&world, 0), was_told(&world, 1)), ("woken".into(), "woken".into()));
    assert!(world.call.at_boundary(), "it may cross again at once");
    let _ = world.input(Input::Due);
    assert_eq!(was_told(&world, 0), "woken");
}

#[test]
fn on_activate_may_set_a_timer_and_hint() {
    let mut world = woken("timer", secs(1));
    let _ = world.input(Input::Activate);
    let _ = world.after(secs(4));
    assert_eq!(was_told(&world, 0), "woken");
    let _ = world.after(secs(1));
    assert_eq!(was_told(&world, 0), "woken after");

    let mut world = woken("hint", secs(1));
    let _ = world.input(Input::Activate);
    assert_eq!(world.call.hints(), [(0, Hint::Busy), (1, Hint::Steady)]);
}

#[test]
fn on_activate_may_end_the_call() {
    let mut world = woken("end", secs(1));
    let sent = world.input(Input::Activate);
    assert_eq!(told(&sent), "BYE>alice BYE>bob");
    assert_eq!(was_told(&world, 0), "woken 2:Ended 3:Ended");
    assert!(world.call.crossing.legs.is_empty());
}

#[test]
fn d33_timers_that_passed_fire_once_late_and_in_order() {
    let mut world = woken("", secs(1_000));
    let at = world.now;
    assert_eq!(told(&world.input(Input::Activate)), "");
    assert_eq!(told(&world.input(Input::Due)), "", "none at once");
    let mut firings = Vec::new();
    while let Some(next) = world.call.next_deadline().filter(|next| *next <= at + secs(10)) {
        world.now = next;
        let _ = world.input(Input::Due);
        firings.push(was_told(&world, 0));
    }
    assert_eq!(was_told(&world, 0), "woken c a b", "in the order in which they had been due");
    firings.dedup();
    assert_eq!(firings, ["woken c", "woken c a", "woken c a b"], "each at a time of its own");
    world.now = at + secs(100_000 - 1_000);
    let _ = world.input(Input::Due);
    assert_eq!(was_told(&world, 0).matches("late").count(), 1, "what had not passed is kept");
}

/// The same call under many keys: the work of a take-over is not done at one moment.
#[test]
fn d33_deadlines_of_many_calls_are_spread_over_the_window() {
    let world = woken("", secs(100_000));
    let spread = world.setting.limits.activation_spread;
    let mut tenths = [0_u32; 10];
    for number in 0..1_000_u32 {
        let mut call = world.call.clone();
        call.key = world.setting.secret.call_key(&[&number.to_be_bytes()]);
        let _ = call.step(world.now, Input::Activate, &world.setting);
        let legs = call.crossing.legs.iter().filter_map(|leg| leg.timer);
        let sessions = legs.map(|timer| timer.refresh_at.unwrap_or(timer.expire_at));
        for at in call.crossing.applications[0].timers.values().copied().chain(sessions) {
            let late = at.since(world.now);
            assert!(late > Duration::ZERO && late <= spread + Duration::from_millis(1));
            let tenth = late.as_nanos() * 10 / (spread.as_nanos() + 1_000_000);
            tenths[usize::try_from(tenth).expect("a digit")] += 1;
        }
    }
    assert_eq!(tenths.iter().sum::<u32>(), 6_000, "four timers and two sessions of each");
    assert!(tenths.iter().all(|deadlines| (450..750).contains(deadlines)), "{tenths:?}");
}

#[test]
fn d33_a_session_that_expired_says_bye_once_whoever_woke_it() {
    let mut world = woken("", secs(100_000));
    let _ = world.input(Input::Activate);
    let sent = world.after(secs(120));
    let byes = requests(&sent).into_iter().filter(|request| request.method == Method::Bye);
    let branches: std::collections::BTreeSet<_> =
        byes.map(|bye| bye.headers.get(&HeaderName::Via).expect("a Via").clone()).collect();
    assert_eq!(branches.len(), 2, "one on each leg: {}", told(&sent));
    assert_eq!(was_told(&world, 0).matches("Expired").count(), 1 + 1, "each session is told once");
}
