//! The receiving site is killed again and again while calls cross to it: what it acknowledged is
//! there when it counts.

use std::time::Duration;

use crate::harness::config::{self, Door};
use crate::harness::direct_site::wait_linked;
use crate::harness::disk::Disk;
use crate::harness::process::Node;
use crate::harness::servers::nats::Nats;
use crate::harness::sipp::{Load, Sipp};
use crate::harness::stage::Stage;
use crate::harness::two_sites::{TwoSites, whole_site};
use crate::harness::{let_pass, sized};

const SOON: Duration = Duration::from_secs(20);

#[test]
fn queue_survives_kill9() {
    let stage = Stage::new("queue_survives_kill9");
    let (calls, kills) = sized((400_u32, 5_u32), (1_000, 20));
    let [callee_at, caller_at] = [(); 2].map(|()| stage.address());
    let mut sites = TwoSites::start(&stage, callee_at);
    let mut callee = Sipp::callee(&stage, "uas_patient", callee_at, calls);
    let placing = Duration::from_secs(u64::from(calls / 50));
    let hold = placing + Duration::from_secs(15);
    let load = Load { calls, per_second: 50, hold };
    let mut caller = Sipp::caller(&stage, "uac_hold_logged", caller_at, sites.edge, &load);

    let mut batches = 0;
    for _ in 0..kills {
        let_pass(placing / (kills + 1) / 2);
        batches += sites.two.try_status().map_or(0, |status| status.crossing.batches_in);
        sites.two.kill();
        let_pass(placing / (kills + 1) / 2);
        sites.two.start_again();
        sites.two.wait_serving();
    }
    sites.wait_crossed(u64::from(calls));
    let last = sites.two.try_status().expect("it lives");
    let sent = sites.one.try_status().expect("it lives").crossing;

    // Nothing is at risk, says site 1. It is taken at its word.
    sites.one.kill();
    sites.balancer.admin().route(1, 2, &[(1, 0), (2, 1)]);
    let heard = caller.finish(hold + Duration::from_secs(45));
    let reached = callee.finish(Duration::from_secs(10));
    stage.say(&format!(
        "site 2 killed {kills} times while {calls} calls crossed ({} batches sent, {} \
         acknowledged, {batches} received in lives that ended); {} calls dormant at start {}; then \
         site 1 killed: {} BYEs answered, {} reached the callee",
        sent.batches_out,
        sent.batches_acknowledged,
        last.calls_dormant.get(&1).unwrap_or(&0),
        last.start,
        heard.successful,
        reached.successful,
    ));
    assert_eq!(last.start, u64::from(kills) + 1, "site 2 counts its starts on disk");
    assert_eq!(heard.successful, u64::from(calls), "a call that had crossed was lost");
    assert_eq!(reached.successful, u64::from(calls), "a call that had crossed was lost");
}

/// The sites lose their power: of what their disks were told, only what was synced is there.
#[test]
fn d19_queue_on_disk_outlives_both_sites() {
    outlives_both_sites(&Stage::new("queue_on_disk"), None);
}

/// The server dies with the sites. Site 2 is back before it, and serves without it.
#[test]
fn queue_on_a_server_outlives_both_sites() {
    let stage = Stage::new("queue_on_a_server");
    let nats = Nats::start(&stage.path(""));
    outlives_both_sites(&stage, Some(nats));
}

/// D28: the server of its queue is away when site 2 starts. It serves, and calls too; those of site
/// 1 are unprotected meanwhile, which site 1 says; they cross when the server is there.
#[test]
fn d28_a_queue_server_that_is_away_at_the_start_costs_no_call() {
    let stage = Stage::new("d28_no_server");
    let calls = sized(60_u32, 500);
    let [callee_at, inner, edge_2, admin_2] = [(); 4].map(|()| stage.address());
    let mut nats = Nats::start(&stage.path(""));
    nats.kill();
    let queue = format!("[queue]\nurl = \"nats://{}\"\n", nats.address());
    let mut sites =
        TwoSites::start_with(&stage, callee_at, inner, edge_2, str::to_owned, |links| {
            let door = Door::Edge { listen: edge_2, balancer: inner };
            let sip = config::sip(links.edge, &door, callee_at, 500);
            let peer = config::sites(links.two, 1, links.one) + &queue;
            whole_site(&stage, 2, admin_2, &sip, &peer)
        });
    sites.wait_ready();
    let mut callee = Sipp::callee(&stage, "uas_patient", callee_at, 2 * calls);
    let hold = Duration::from_secs(u64::from(calls / 50) + 20);
    let load = Load { calls, per_second: 100, hold };
    let place = |name| {
        let way = [stage.address(), sites.edge];
        Sipp::caller_named(&stage, name, "uac_hold_logged", way, &load)
    };
    let mut at_one = place("at_one");
    sites.one.wait_until("says that all its calls are at risk", hold, |status| {
        let at_risk = status.at_risk.get(&2).map(|risk| (risk.calls, risk.oldest_ms > 1_000));
        status.calls_active == u64::from(calls) && at_risk == Some((u64::from(calls), true))
    });
    sites.balancer.admin().route(1, 1, &[(1, 0), (2, 1)]);
    let mut at_two = place("at_two");
    let unprotected = sites.two.wait_until("has calls of its own", hold, |status| {
        status.calls_active == u64::from(calls) && status.at_risk.values().all(|r| r.calls == 0)
    });
    let why = unprotected.queue.filter(|queue| queue.away).and_then(|queue| queue.why);
    let why = why.expect("site 2 says that its queue is away");
    assert_eq!(unprotected.calls_dormant.get(&1).unwrap_or(&0), &0, "a call crossed to no disk");

    nats.start_again();
    sites.two.wait_until("has its queue", SOON, |status| {
        status.queue.as_ref().is_some_and(|queue| !queue.away)
    });
    sites.wait_crossed(u64::from(calls));
    sites.one.kill();
    sites.balancer.admin().route(1, 2, &[(1, 0), (2, 1)]);
    let heard = [&mut at_one, &mut at_two].map(|one| one.finish(hold + Duration::from_secs(45)));
    let reached = callee.finish(Duration::from_secs(10));
    stage.say(&format!(
        "site 2 started without its queue ({why}): {calls} calls at site 1, all said to be at \
         risk, and {calls} at site 2; the server came, all crossed, site 1 was killed; {} and {} \
         BYEs answered, {} reached the callee",
        heard[0].successful, heard[1].successful, reached.successful,
    ));
    let ended = heard.map(|one| (one.successful, one.failed));
    assert_eq!(ended, [(u64::from(calls), 0); 2], "a call was harmed");
    assert_eq!(reached.successful, u64::from(2 * calls), "a BYE did not reach the callee");
}

/// Site 2 has no engine yet: what crosses to it is on its queue and nowhere else. Both sites die.
fn outlives_both_sites(stage: &Stage, mut nats: Option<Nats>) {
    let calls = sized(200_u32, 1_000);
    let [callee_at, caller_at, tier, edge_2] = [(); 4].map(|()| stage.address());
    let [inner, engine_admin, state_admin] = [(); 3].map(|()| stage.address());
    let queue = nats.as_ref().map(|nats| format!("[queue]\nurl = \"nats://{}\"\n", nats.address()));
    let queue = queue.unwrap_or_default();
    let mut sites = TwoSites::start_with(stage, callee_at, inner, edge_2, str::to_owned, |links| {
        let data = stage.path("data2");
        std::fs::create_dir_all(&data).expect("the test's folder is writable");
        let text = config::head("state", 2, Some(&data), state_admin)
            + &config::tier_listen(tier)
            + &config::sites(links.two, 1, links.one)
            + &queue;
        let disk = Disk::with_power(&data, &stage.path("disk2"));
        Node::start_with(disk, stage, "site2", &text, state_admin)
    });
    sites.wait_sites();
    sites.wait_engines_of(&[1]);
    let mut callee = Sipp::callee(stage, "uas_patient", callee_at, calls);
    let hold = Duration::from_secs(u64::from(calls / 100) + 20);
    let load = Load { calls, per_second: 100, hold };
    let mut caller = Sipp::caller(stage, "uac_hold_logged", caller_at, sites.edge, &load);
    sites.one.wait_until("has nothing at risk", Duration::from_secs(30), |status| {
        status.calls_active == u64::from(calls)
            && status.at_risk.values().all(|risk| risk.calls + risk.in_set_up == 0)
    });
    let before = sites.two.try_status().expect("it lives");
    assert_eq!(before.calls_held, 0, "a call was stored without an engine");

    sites.one.kill();
    sites.two.kill();
    if let Some(nats) = &mut nats {
        nats.kill();
    }
    assert!(sites.two.disk().counts().syncs > 0, "the shim is not there");
    sites.two.disk().lose_power(|| false);
    sites.two.start_again();
    let mut read = sites.two.wait_serving();
    if let Some(nats) = &mut nats {
        let why = read.queue.filter(|queue| queue.away).and_then(|queue| queue.why);
        stage.say(&format!("site 2 serves without its queue: {}", why.expect("it is away")));
        nats.start_again();
        read = sites.two.wait_until("has its queue", Duration::from_secs(20), |status| {
            status.queue.as_ref().is_some_and(|queue| !queue.away)
        });
    }
    let text = config::head("engine", 2, None, engine_admin)
        + &config::sip(sites.edge, &Door::Edge { listen: edge_2, balancer: inner }, callee_at, 500)
        + &config::tier_connect(tier, "late");
    let mut engine = Node::start(stage, "engine2", &text, engine_admin);
    wait_linked(&mut engine);
    sites.two.wait_until("has read its queue", Duration::from_secs(10), |status| {
        status.inbox_batches == 0 && status.calls_dormant.get(&1) == Some(&u64::from(calls))
    });
    sites.balancer.admin().route(1, 2, &[(1, 0), (2, 1)]);
    let heard = caller.finish(hold + Duration::from_secs(45));
    let reached = callee.finish(Duration::from_secs(10));
    stage.say(&format!(
        "{calls} calls in {} acknowledged batches; both sites killed; site 2 found {} batches on \
         its queue; {} BYEs answered, {} reached the callee",
        before.inbox_batches, read.inbox_batches, heard.successful, reached.successful,
    ));
    assert_eq!(read.start, 2, "the start was counted on a disk that lost its power");
    assert_eq!(read.queue.map(|queue| queue.damaged), Some(0), "nothing was lost, nothing is told");
    assert_eq!(read.inbox_batches, before.inbox_batches, "an acknowledged batch was lost");
    assert_eq!(heard.successful, u64::from(calls), "a call that had crossed was lost");
    assert_eq!(reached.successful, u64::from(calls), "a call that had crossed was lost");
}

#[test]
fn d29_a_full_queue_on_disk_costs_no_call() {
    full_without_a_consumer(&Stage::new("queue_full_disk"), None);
}

#[test]
fn d29_a_full_queue_on_a_server_costs_no_call() {
    let stage = Stage::new("queue_full_server");
    let nats = Nats::start(&stage.path(""));
    full_without_a_consumer(&stage, Some(nats));
}

/// Site 2 has room for three batches, and no engine that takes them off. Calls at site 1 go on;
/// those that do not fit stay at risk, as one mark each; all cross when the engine comes.
fn full_without_a_consumer(stage: &Stage, nats: Option<Nats>) {
    const ROOM: u64 = 3;
    let calls = sized(80_u32, 1_000);
    let [callee_at, caller_at, tier, edge_2] = [(); 4].map(|()| stage.address());
    let [inner, engine_admin, state_admin] = [(); 3].map(|()| stage.address());
    let queue = nats.as_ref().map(|nats| format!("[queue]\nurl = \"nats://{}\"\n", nats.address()));
    let mut sites = TwoSites::start_with(stage, callee_at, inner, edge_2, str::to_owned, |links| {
        let data = stage.path("data2");
        std::fs::create_dir_all(&data).expect("the test's folder is writable");
        let text = config::head("state", 2, Some(&data), state_admin)
            + &config::tier_listen(tier)
            + &config::sites(links.two, 1, links.one)
            + &format!("[crossing]\nqueue_batches_max = {ROOM}\n\n")
            + &queue.unwrap_or_default();
        Node::start(stage, "site2", &text, state_admin)
    });
    sites.wait_sites();
    sites.wait_engines_of(&[1]);
    let mut callee = Sipp::callee(stage, "uas_patient", callee_at, calls);
    let hold = Duration::from_secs(u64::from(calls / 40) + 5);
    let load = Load { calls, per_second: 40, hold };
    let mut caller = Sipp::caller(stage, "uac_hold_logged", caller_at, sites.edge, &load);
    let full = sites.one.wait_until("has all calls, and most at risk", hold, |status| {
        let at_risk: u64 = status.at_risk.values().map(|risk| risk.calls).sum();
        status.calls_active == u64::from(calls) && at_risk > u64::from(calls) / 4
    });
    let at_risk: u64 = full.at_risk.values().map(|risk| risk.calls).sum();
    let held = sites.two.wait_until("has refused", Duration::from_secs(10), |status| {
        status.inbox_batches == ROOM && status.counters["gate_batches_refused"] > 0
    });

    let text = config::head("engine", 2, None, engine_admin)
        + &config::sip(sites.edge, &Door::Edge { listen: edge_2, balancer: inner }, callee_at, 500)
        + &config::tier_connect(tier, "late");
    let mut engine = Node::start(stage, "engine2", &text, engine_admin);
    wait_linked(&mut engine);
    sites.wait_crossed(u64::from(calls));
    let heard = caller.finish(hold + Duration::from_secs(30));
    let reached = callee.finish(Duration::from_secs(10));
    let sent = sites.one.try_status().expect("it lives").crossing;
    stage.say(&format!(
        "{calls} calls while the other site had room for {ROOM} batches and nobody took them: \
         {at_risk} at risk, {} batches refused; then all crossed, {} batches in all; {} calls \
         ended well",
        held.counters["gate_batches_refused"], sent.batches_out, heard.successful,
    ));
    assert_eq!(heard.successful, u64::from(calls), "a call was harmed by a full queue");
    assert_eq!(reached.successful, u64::from(calls), "a call was harmed by a full queue");
}
