//! What applications do when their calls wake: stored before it leaves, once for each take-over.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use engine::Limits;
use servlet::{Application, Cx, Decision, Hint, NextHop, OutboundLeg, Reply};
use sip_message::{HeaderName, Request, StatusCode};
use tier_protocol::{Command, Course, Entry, Hint as Said, Refusal, Reply as Told, SiteState};
use vocab::{EngineId, SiteId};

use crate::basic::{Answered, answered};
use crate::inbox::apply;
use crate::ua::{names, responses};
use crate::world::{ALICE, BOB, World};

/// Calls Bob, counts how often it was woken, and ends the call then if it is told to.
struct Waker {
    runs: Arc<AtomicU32>,
    ends: bool,
}

impl Application for Waker {
    fn name(&self) -> &str {
        "waker"
    }

    fn on_initial_request(&self, _cx: &mut Cx<'_>, request: &Request) -> Decision {
        Decision::BackToBack(OutboundLeg::new(request.uri.clone()).via(NextHop::Addr(BOB)))
    }

    fn on_request(&self, cx: &mut Cx<'_>, _request: &Request) {
        let woken = cx.attribute("woken").cloned().unwrap_or_default();
        cx.respond(Reply::new(StatusCode::OK).with(HeaderName::Subject, woken));
    }

    fn on_activate(&self, cx: &mut Cx<'_>) {
        self.runs.fetch_add(1, Ordering::Relaxed);
        let woken = cx.attribute("woken").map_or(0, |woken| woken.len());
        assert!(cx.set_attribute("woken", "x".repeat(woken + 1)));
        cx.hint(Hint::Steady);
        if self.ends {
            cx.end();
        }
    }
}

struct Sites {
    home: World,
    backup: World,
    call: Answered,
    runs: Arc<AtomicU32>,
}

/// An answered call of site 1, and site 2 that holds its dormant copy and finds site 1 dead.
fn crossed(call_id: &str, ends: bool) -> Sites {
    let runs = Arc::new(AtomicU32::new(0));
    let [mut home, mut backup] = [1, 2].map(|site| {
        let limits = Limits { cache_calls_max: 0, ..Limits::default() };
        let application: Arc<dyn Application> = Arc::new(Waker { runs: Arc::clone(&runs), ends });
        World::of_site(SiteId(site), limits, vec![application])
    });
    let call = answered(&mut home, call_id);
    apply(&mut backup, 1, &[Entry::Record(home.last_put().trimmed())]);
    backup.sites(&[], &[1], 0);
    Sites { home, backup, call, runs }
}

fn order_all(world: &mut World) {
    world.tell_replica(replica::Input::Order(replica::Order::Site(
        replica::SiteOrder::ActivateAll { site: SiteId(1), force: false },
    )));
    world.advance(Duration::from_secs(1));
}

/// How often the call's own state says that it was woken.
fn woken(world: &mut World, call: &mut Answered) -> usize {
    world.deliver(1, ALICE, call.alice.request("INFO"));
    let answer = responses(world.take(ALICE)).pop().expect("it is answered");
    answer.headers.get(&HeaderName::Subject).map_or(0, |woken| woken.len())
}

#[test]
fn an_order_runs_on_activate_once_however_often_it_is_given() {
    let mut sites = crossed("order", false);
    order_all(&mut sites.backup);
    order_all(&mut sites.backup);
    assert_eq!(sites.runs.load(Ordering::Relaxed), 1);
    assert_eq!(sites.backup.last_put().header.hints, [(0, Said::Steady)]);
    assert_eq!(woken(&mut sites.backup, &mut sites.call), 1);
    assert_eq!(sites.runs.load(Ordering::Relaxed), 1, "a message finds it awake");
}

#[test]
fn the_old_home_runs_on_activate_when_the_call_comes_back() {
    let mut sites = crossed("back", false);
    assert_eq!(woken(&mut sites.backup, &mut sites.call), 1, "the message woke it");
    let (site, state) = (SiteId(1), SiteState::Serving);
    let course = Course::default();
    let serving = replica::SiteStatus { site, state, start: 2, dictionary: 0, course };
    sites.backup.sites(&[1], &[1], 0);
    sites.backup.tell_replica(replica::Input::Site(replica::SiteInput::Status {
        here: SiteState::Serving,
        alive: vec![serving],
        waiting: Vec::new(),
        steering: tier_protocol::Steering::default(),
    }));
    sites.backup.advance(Duration::from_secs(5));
    assert_eq!(sites.backup.count(|stats| stats.handed_back), 1);
    assert_eq!(sites.runs.load(Ordering::Relaxed), 1, "giving a call away wakes nobody");
    let given = sites.backup.last_put().trimmed();
    sites.home.sites(&[2], &[2], 0);
    apply(&mut sites.home, 2, &[Entry::Record(given)]);
    sites.home.advance(Duration::from_secs(1));
    assert_eq!(sites.home.count(|stats| stats.activated), 1);
    assert_eq!(sites.runs.load(Ordering::Relaxed), 2);
    assert_eq!(woken(&mut sites.home, &mut sites.call), 2);
}

#[test]
fn what_on_activate_decided_leaves_once_its_state_is_stored() {
    let mut sites = crossed("stored", true);
    let backup = &mut sites.backup;
    backup.deaf = Some(EngineId(1));
    backup.deliver(1, ALICE, sites.call.alice.request("INFO"));
    assert!(backup.sent.is_empty(), "nobody has said that the put is stored");
    backup.kill(1);
    assert_eq!(names(&backup.take(BOB)), ["BYE"]);
    assert_eq!(names(&backup.take(ALICE)), ["BYE", "481"]);
    assert_eq!(sites.runs.load(Ordering::Relaxed), 1, "the stored effects leave, nothing runs");
    assert_eq!(backup.count(|stats| stats.resumed), 1);
}

#[test]
fn a_refused_activation_is_run_again_and_counts_once_in_the_call() {
    let mut sites = crossed("refused", false);
    let mut refused = 0;
    sites.backup.intercept = Some(Box::new(move |command| match command {
        Command::Put { record, .. } if refused < 2 => {
            refused += 1;
            let (key, stamp) = (record.header.key, record.header.stamp);
            Some(Told::Refused { key, stamp, why: Refusal::NotTheBase { held: None } })
        }
        _ => None,
    }));
    assert_eq!(woken(&mut sites.backup, &mut sites.call), 1);
    assert_eq!(sites.runs.load(Ordering::Relaxed), 3, "nothing of a lost run is kept");
}

/// D44: what needs a newer version is kept as it is for one, and costs no other call.
#[test]
fn d44_a_record_that_needs_a_newer_version_stays_and_is_told() {
    let mut sites = crossed("newer", false);
    let other = answered(&mut sites.home, "older");
    let mut backup = World::of_site(SiteId(2), Limits::default(), vec![crate::world::b2bua()]);
    backup.sites(&[], &[1], 0);
    let mut records: Vec<_> = sites.home.puts.iter().map(|record| record.trimmed()).collect();
    records.retain(|record| record.header.key == sites.call.key);
    let mut newer = records.pop().expect("it was put");
    newer.header.schema = call::SCHEMA + 1;
    let older = sites.home.last_put().trimmed();
    apply(&mut backup, 1, &[Entry::Record(newer), Entry::Record(older)]);
    assert_eq!(backup.count(|stats| stats.batches_done), 1, "the queue goes on");
    let mut alice = sites.call.alice;
    for engine in [1, 2, 1] {
        backup.deliver(engine, ALICE, alice.request("INFO"));
        assert_eq!(names(&backup.take(ALICE)), ["500"]);
    }
    order_all(&mut backup);
    assert!(backup.holds(sites.call.key), "it is there for a newer engine");
    assert_eq!(backup.quarantined().len(), 0, "and not taken for broken");
    assert!(backup.count(|stats| stats.needs_newer) >= 3);
    assert_eq!(backup.count(|stats| stats.undecodable), 0);
    let mut alice = other.alice;
    backup.deliver(1, ALICE, alice.request("BYE"));
    assert_eq!(names(&backup.take(ALICE)), ["200"], "the other call is served");
}
