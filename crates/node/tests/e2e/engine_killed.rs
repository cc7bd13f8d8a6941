//! One of two engines of a living site dies under load: calls that were answered go on, calls that
//! are set up at that moment hardly notice.

use std::time::Duration;

use crate::harness::config::{self, Door};
use crate::harness::direct_site::wait_linked;
use crate::harness::process::Node;
use crate::harness::sipp::{Load, Sipp, clock};
use crate::harness::stage::Stage;
use crate::harness::{let_pass, sized};

/// Around the kill: calls invited in this window may fail, one in a hundred at most.
const BEFORE: f64 = 2.0;
const AFTER: f64 = 5.0;

#[test]
fn engine_killed_at_100_calls_a_second() {
    let stage = Stage::new("engine_killed");
    let seconds = sized(12, 40);
    let load = Load { calls: 100 * seconds, per_second: 100, hold: Duration::from_secs(3) };
    let [callee_at, caller_at, tier, edge] = [(); 4].map(|()| stage.address());
    let (mut state, [mut one, mut two], mut balancer) = start(&stage, callee_at, tier, edge);
    let mut callee = Sipp::callee(&stage, "uas_patient", callee_at, load.calls);
    let mut caller = Sipp::caller(&stage, "uac_hold_logged", caller_at, edge, &load);

    let_pass(Duration::from_secs(u64::from(seconds) / 2));
    let turns = one.try_status().and_then(|status| status.engine).map_or(0, |engine| engine.turns);
    one.kill();
    let killed = clock();
    let heard = caller.finish(Duration::from_secs(u64::from(seconds) + 50));
    let reached = callee.finish(Duration::from_secs(10));

    let steps = caller.steps();
    let window = killed - BEFORE..killed + AFTER;
    let near: Vec<_> =
        steps.values().filter(|call| call.invited.is_some_and(|at| window.contains(&at))).collect();
    let near_failed = near.iter().filter(|call| call.ended.is_none()).count();
    let failed = steps.values().filter(|call| call.ended.is_none()).count();
    let lost =
        steps.values().filter(|call| call.answered.is_some() && call.ended.is_none()).count();
    let resumes = state.try_status().expect("it lives").resumes;
    let alive = balancer.try_status().and_then(|status| status.balancer).map_or(0, |seen| {
        seen.engines.iter().filter(|engine| engine.health == admin_api::Health::Up).count()
    });
    stage.say(&format!(
        "{} calls at 100/s; one of two engines killed after {turns} turns of its own; of {} calls \
         invited around it {near_failed} failed; answered calls lost: {lost}; {resumes} resumed; \
         {} BYEs reached the callee, {} messages repeated by SIPp",
        load.calls,
        near.len(),
        reached.successful,
        heard.repeated,
    ));
    for call in steps.values().filter(|call| call.ended.is_none()) {
        let after = call.invited.unwrap_or_default() - killed;
        println!("  failed: invited {after:+.3} s after the kill, answered: {:?}", call.answered);
    }
    assert!(turns > 0 && alive == 1, "the engine that was killed had no part in it");
    assert_eq!(steps.len(), load.calls as usize, "SIPp did not place every call");
    assert_eq!(lost, 0, "an answered call was lost");
    assert!(near_failed * 100 <= near.len(), "{near_failed} of {} calls failed", near.len());
    assert_eq!(failed, near_failed, "a call failed that had nothing to do with the kill");
    two.wait_serving();
}

fn start(
    stage: &Stage,
    callee: std::net::SocketAddr,
    tier: std::net::SocketAddr,
    edge: std::net::SocketAddr,
) -> (Node, [Node; 2], Node) {
    let [inner, front, state_admin, edge_1, edge_2] = [(); 5].map(|()| stage.address());
    let data = stage.path("data");
    std::fs::create_dir_all(&data).expect("the test's folder is writable");
    let text = config::head("state", 1, Some(&data), state_admin) + &config::tier_listen(tier);
    let mut state = Node::start(stage, "state", &text, state_admin);
    state.wait_serving();
    let engine = |name: &str, listen| {
        let admin = stage.address();
        let door = Door::Edge { listen, balancer: inner };
        let text = config::head("engine", 1, None, admin)
            + &config::sip(edge, &door, callee, 500)
            + &config::tier_connect(tier, name);
        Node::start(stage, name, &text, admin)
    };
    let mut engines = [engine("e1", edge_1), engine("e2", edge_2)];
    engines.iter_mut().for_each(wait_linked);
    let text = config::balancer(front, edge, inner, &[(1, &[edge_1, edge_2], 1)]);
    let mut balancer = Node::start(stage, "balancer", &text, front);
    balancer.wait_until("hears both engines", Duration::from_secs(10), |status| {
        status.balancer.as_ref().is_some_and(|seen| {
            seen.engines.iter().all(|engine| engine.health == admin_api::Health::Up)
        })
    });
    (state, engines, balancer)
}
