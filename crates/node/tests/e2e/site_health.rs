//! Who judges a site dead, and what becomes of its calls: told by default, done by itself where the
//! operator allows it, and never for a cut link between two sites that live.

use std::process::Command;
use std::time::{Duration, Instant};

use admin_api::{HealthState, SiteHealth, SitesReply};
use sip_message::Method;

use crate::harness::judged::{DEAD_AFTER, Judged, is_healthy_to_all};
use crate::harness::many_sites::{Layout, ManySites};
use crate::harness::pair::{End, Pair};
use crate::harness::process::PROGRAM;
use crate::harness::sipp::{Load, Sipp};
use crate::harness::stage::Stage;
use crate::harness::{sized, wait_for};

const T1: Duration = Duration::from_millis(500);

fn is_missed_by_all(health: &SiteHealth) -> bool {
    let speak = health.observers.iter().filter(|one| !one.silent);
    health.state == HealthState::Dead
        && speak.clone().count() == 3
        && !speak.clone().any(|one| one.answers)
}

#[test]
fn a_dead_site_is_given_up_by_itself_where_that_is_allowed() {
    let stage = Stage::new("site_health_auto");
    let calls = 100_u32;
    let [callee_at, caller_at] = [(); 2].map(|()| stage.address());
    let mut judged = Judged::start(&stage, callee_at, true);
    let mut callee = Sipp::callee(&stage, "uas_patient", callee_at, calls);
    let load = Load { calls, per_second: 100, hold: Duration::from_secs(12) };
    let mut caller = Sipp::caller(&stage, "uac_hold_logged", caller_at, judged.sites.edge, &load);
    judged.sites.wait_crossed(u64::from(calls));

    judged.sites.one.kill();
    let killed_at = Instant::now();
    let dead = judged.wait_health("site 1 is dead to all", |health| is_missed_by_all(&health[0]));
    let dead_after = killed_at.elapsed();
    assert!(dead_after >= DEAD_AFTER, "{dead_after:?}");
    assert_eq!(dead.balancer.expect("it is one").policy_version, 2);
    let two = judged.sites.two.wait_until("woke all", Duration::from_secs(10), |status| {
        status.activated >= u64::from(calls) && status.calls_dormant.get(&1).is_none_or(|n| *n == 0)
    });
    let awake_after = killed_at.elapsed();
    let asked = caller.figures().expect("SIPp runs");
    assert_eq!(asked.successful + asked.failed, 0, "they woke by a message, not by the order");

    let heard = caller.finish(Duration::from_secs(60));
    let reached = callee.finish(Duration::from_secs(10));
    assert_eq!((heard.successful, heard.failed), (u64::from(calls), 0));
    assert_eq!((reached.successful, reached.failed), (u64::from(calls), 0));

    // It comes back: its calls, and new ones, stay away until the operator sends them home.
    judged.sites.one.start_again();
    let back =
        judged.wait_health("site 1 is healthy again", |health| is_healthy_to_all(&health[0]));
    let balancer = back.balancer.expect("it is one");
    assert_eq!(balancer.policy_version, 2);
    let commands = balancer.health[&1].commands.clone();
    assert_eq!(commands, ["rehome route set 1=1 --weights 1=1,2=0"]);
    stage.say(&format!(
        "{calls} calls held; site 1 killed, dead to all three observers after {dead_after:.1?}, {} \
         calls awake after {awake_after:.1?}, {} BYEs answered; back, and nothing sent home",
        two.activated, heard.successful,
    ));
}

/// The same of sites of many processes, where the first keeper of the gate is gone: who keeps it by
/// then is found and ordered.
#[test]
fn a_dead_site_of_many_processes_is_given_up_by_itself() {
    let stage = Stage::new("site_health_many");
    let calls = sized(100_u32, 1_000);
    let all = u64::from(calls);
    let [callee_at, caller_at] = [(); 2].map(|()| stage.address());
    let layout = Layout { auto_failover: true, ..Layout::default() };
    let mut sites = ManySites::start_on(&stage, callee_at, &layout);
    let mut callee = Sipp::callee(&stage, "uas_patient", callee_at, calls);
    let load = Load { calls, per_second: 100, hold: Duration::ZERO };
    let load = Load { hold: load.placing() + Duration::from_secs(14), ..load };
    let mut caller = Sipp::caller(&stage, "uac_hold_logged", caller_at, sites.edge, &load);
    let keeper = sites.two.primary(0);
    sites.two.kill_state(keeper);
    sites.two.primary(0);
    sites.wait_crossed(all);
    sites.balancer.wait_until("finds both healthy", Duration::from_secs(20), |status| {
        let health = status.balancer.as_ref().map(|balancer| &balancer.health);
        health.is_some_and(|all| all.values().all(|one| one.state == HealthState::Healthy))
    });

    sites.one.kill();
    let killed_at = Instant::now();
    wait_for("all calls awake", Duration::from_secs(20), || {
        (sites.two.active() == all).then_some(())
    });
    let awake_after = killed_at.elapsed();
    assert!(awake_after >= DEAD_AFTER, "{awake_after:?}");
    let asked = caller.figures().expect("SIPp runs");
    assert_eq!(asked.successful + asked.failed, 0, "they woke by a message, not by the order");
    let heard = caller.finish(load.hold + Duration::from_secs(45));
    let reached = callee.finish(Duration::from_secs(10));
    stage.say(&format!(
        "{calls} calls held; the keeper of site 2's gate killed, then every process of site 1: \
         nobody ordered anything, all awake after {awake_after:.1?}, {} BYEs answered, {} reached \
         the callee",
        heard.successful, reached.successful
    ));
    assert_eq!([heard.successful, reached.successful], [all; 2], "a call was lost");
    assert_eq!([heard.failed, reached.failed], [0; 2]);
}

/// Runs a command as it was recommended, at `admin`.
fn run(command: &str, admin: std::net::SocketAddr) -> String {
    let mut words: Vec<&str> = command.split(' ').collect();
    assert_eq!(words.remove(0), "rehome", "{command}");
    let url = format!("http://{admin}");
    words.extend(["--admin", &url]);
    let output = Command::new(PROGRAM).args(&words).output().expect("cargo built the program");
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn by_default_what_should_be_done_is_told_and_works() {
    let stage = Stage::new("site_health_told");
    let callee_at = stage.address();
    let mut judged = Judged::start(&stage, callee_at, false);
    let mut pair = Pair::new(&stage, callee_at, judged.sites.edge, T1);
    let (dialog, _) = pair.caller.invite();
    let invite = pair.request(End::Callee, &Method::Invite).expect("it is called");
    let mut talk = pair.answer(dialog, &invite).expect("it is answered");
    judged.sites.wait_crossed(1);

    judged.sites.one.kill();
    judged.wait_health("site 1 is dead to all", |health| is_missed_by_all(&health[0]));
    pair.let_work(2 * DEAD_AFTER);
    let (health, version) = judged.look();
    assert_eq!(version, 1, "nothing is changed that was not ordered");
    assert_eq!(health[1].state, HealthState::Healthy);
    let two = judged.sites.two.try_status().expect("it lives");
    assert_eq!((two.activated, two.calls_dormant.get(&1)), (0, Some(&1)));

    let balancer = judged.sites.balancer.admin().address;
    let told = run("rehome sites", balancer);
    for line in ["DEAD for ", "missed by site 2 (", "witness w1 (", "site 1 is dead\n"] {
        assert!(told.contains(line), "{line:?} is not in\n{told}");
    }
    let told = run("rehome route show", balancer);
    assert!(told.contains("recommended        rehome route set 1=2 --weights 1=0,2=1\n"), "{told}");
    let told: SitesReply =
        serde_json::from_str(&run("rehome sites --json", balancer)).expect("JSON");
    assert_eq!(told.health[&1].commands.len(), 2);
    let seen = run("rehome status", judged.witness.admin().address);
    assert!(seen.contains("MISSED for ") && seen.contains("answers in "), "{seen}");

    // What is recommended is what helps.
    let [route, activate] = &health[0].commands[..] else { panic!("{:?}", health[0]) };
    run(route, balancer);
    run(activate, judged.sites.two.admin().address);
    judged
        .sites
        .two
        .wait_until("woke the call", Duration::from_secs(10), |status| status.activated == 1);
    pair.hang_up(&mut talk, End::Caller).expect("the call lives at site 2");
    stage
        .say("one call held; site 1 killed: told, nothing changed until the two commands were run");
}

#[test]
fn a_cut_link_between_two_sites_is_no_death() {
    let stage = Stage::new("site_health_cut");
    let callee_at = stage.address();
    let mut judged = Judged::start(&stage, callee_at, true);
    let mut pair = Pair::new(&stage, callee_at, judged.sites.edge, T1);
    let (dialog, _) = pair.caller.invite();
    let invite = pair.request(End::Callee, &Method::Invite).expect("it is called");
    let mut talk = pair.answer(dialog, &invite).expect("it is answered");
    judged.sites.wait_crossed(1);

    let mut looks = 0;
    for round in 0..3 {
        judged.cut();
        judged.wait_health("each is missed by the other", |health| {
            health
                .iter()
                .all(|one| one.observers.iter().any(|one| one.kind == "peer" && !one.answers))
        });
        let until = Instant::now() + 2 * DEAD_AFTER;
        while Instant::now() < until {
            pair.let_work(Duration::from_millis(100));
            let (health, version) = judged.look();
            let is_alive = |one: &SiteHealth| {
                matches!(one.state, HealthState::Suspected | HealthState::Healthy)
                    && one.advice.is_none()
            };
            assert!(health.iter().all(is_alive), "round {round}: {health:?}");
            assert_eq!(version, 1, "round {round}: the route was changed");
            looks += 1;
        }
        judged.mend();
        if round == 1 {
            // The witness falls silent as well: the balancer hears both.
            judged.witness.kill();
        }
    }
    pair.re_invite(&mut talk, End::Callee).expect("the call lives where it lived");
    pair.hang_up(&mut talk, End::Caller).expect("it ends there");
    judged.wait_health("both are healthy again", |health| {
        health.iter().all(|one| one.state == HealthState::Healthy)
    });
    assert_eq!(judged.sites.two.try_status().expect("it lives").activated, 0);
    stage.say(&format!("link cut three times for {:?}: {looks} looks, no death", 2 * DEAD_AFTER));
}
