//! Two sites of many processes: partitions of several replicas, etcd and NATS, all real.

use std::net::SocketAddr;
use std::time::Duration;

use admin_api::{EvacuateOrder, OrderReply};

use crate::harness::certificates::Authority;
use crate::harness::many_sites::{Layout, ManySite, ManySites};
use crate::harness::sipp::{Load, Sipp};
use crate::harness::stage::Stage;
use crate::harness::{let_pass, sized, wait_for};

struct Held {
    sites: ManySites,
    caller: Sipp,
    callee: Sipp,
    calls: u32,
    hold: Duration,
}

/// Two sites, and callers that hang up after `hold`.
fn held(stage: &Stage, calls: u32, hold: Duration) -> Held {
    let callee_at = stage.address();
    held_by(stage, ManySites::start(stage, callee_at), callee_at, calls, hold)
}

fn held_by(
    stage: &Stage,
    sites: ManySites,
    callee_at: SocketAddr,
    calls: u32,
    hold: Duration,
) -> Held {
    let caller_at = stage.address();
    let callee = Sipp::callee(stage, "uas_patient", callee_at, calls);
    let load = Load { calls, per_second: 100, hold };
    let caller = Sipp::caller(stage, "uac_hold_logged", caller_at, sites.edge, &load);
    Held { sites, caller, callee, calls, hold }
}

impl Held {
    /// Every process of site 1 is killed, and its calls are routed to site 2.
    fn lose_site_1(&mut self) {
        self.sites.one.kill();
        self.sites.balancer.admin().route(1, 2, &[(1, 0), (2, 1)]);
    }

    /// All hang up, and all are heard.
    fn finish(self, stage: &Stage, what: &str) {
        let Self { mut sites, mut caller, mut callee, calls, hold } = self;
        let heard = caller.finish(hold + Duration::from_secs(45));
        let reached = callee.finish(Duration::from_secs(10));
        let activated: u64 = sites.two.led().iter().map(|status| status.activated).sum();
        stage.say(&format!(
            "{calls} calls at 100/s; {what}; {} BYEs answered, {} reached the callee, {activated} \
             calls activated at site 2, {} messages repeated by SIPp",
            heard.successful,
            reached.successful,
            heard.repeated + reached.repeated,
        ));
        assert_eq!(heard.successful, u64::from(calls), "a BYE of the caller was not answered");
        assert_eq!(reached.successful, u64::from(calls), "a BYE did not reach the callee");
        assert_eq!(heard.failed + reached.failed, 0);
    }
}

#[test]
fn many_site_killed() {
    let stage = Stage::new("many_site_killed");
    let calls = sized(400, 1_000);
    let mut held = held(&stage, calls, Duration::from_secs(u64::from(calls / 100) + 12));
    held.sites.wait_crossed(u64::from(calls));
    held.lose_site_1();
    held.finish(&stage, "every process of site 1 killed, its etcd and NATS too");
}

/// The youngest replica of each partition builds the batches; in the middle of it one dies.
#[test]
fn many_site_killed_whose_youngest_replicas_send() {
    let stage = Stage::new("youngest_send");
    let calls = sized(300, 1_000);
    let hold = Duration::from_secs(u64::from(calls / 100) + 16);
    let states = "[crossing]\nsender = \"youngest\"\n\n";
    let layout = Layout { states, ..Layout::default() };
    let callee_at = stage.address();
    let sites = ManySites::start_on(&stage, callee_at, &layout);
    let mut held = held_by(&stage, sites, callee_at, calls, hold);
    let_pass(Duration::from_secs(2));
    let shipped = held.sites.one.counter("replica_shipped");
    assert!(shipped > 0, "no batch was built by a youngest replica");
    let primary = held.sites.one.primary(1);
    let youngest = ManySite::replicas(1).find(|index| *index != primary).expect("two replicas");
    held.sites.one.kill_state(youngest);
    held.sites.wait_crossed(u64::from(calls));
    held.lose_site_1();
    let what = format!("{shipped} batches built by the youngest replicas, one of which died; ");
    held.finish(&stage, &(what + "then site 1 killed"));
}

#[test]
fn gatekeepers_killed() {
    let stage = Stage::new("gatekeepers_killed");
    let calls = sized(600, 2_000);
    let mut held = held(&stage, calls, Duration::from_secs(u64::from(calls / 100) + 20));
    // The first primary of a site keeps its gate.
    let_pass(Duration::from_secs(2));
    let receiver = held.sites.two.primary(0);
    held.sites.two.kill_state(receiver);
    let_pass(Duration::from_secs(2));
    let sender = held.sites.one.primary(0);
    held.sites.one.kill_state(sender);
    held.sites.wait_crossed(u64::from(calls));
    held.lose_site_1();
    held.finish(&stage, "the keeper of each gate killed while they crossed, then site 1");
}

/// Inside TLS: all that crosses, and all that a returning site asks for.
#[test]
fn many_site_returns() {
    let stage = Stage::new("many_site_returns");
    let calls = sized(300, 1_000);
    let hold = Duration::from_secs(u64::from(calls / 100) + 45);
    let authority = Authority::new("sites");
    let certificates =
        [1, 2].map(|id| authority.issue(stage.folder(), &format!("site{id}.rehome")));
    let layout = Layout { certificates: Some(certificates), ..Layout::default() };
    let callee_at = stage.address();
    let sites = ManySites::start_on(&stage, callee_at, &layout);
    let mut held = held_by(&stage, sites, callee_at, calls, hold);
    let all = u64::from(calls);
    held.sites.wait_crossed(all);
    let is_encrypted = held.sites.one.link_is_encrypted(2) && held.sites.two.link_is_encrypted(1);
    assert!(is_encrypted, "something crossed in the clear");
    held.lose_site_1();
    held.sites.one.start_again();
    held.sites.wait_engines_of(&[1]);
    wait_for("all calls at home", Duration::from_secs(40), || {
        (held.sites.one.active() == all).then_some(())
    });
    assert!(held.sites.one.link_is_encrypted(2), "it came home in the clear");
    held.sites.balancer.admin().route(1, 1, &[(1, 1), (2, 0)]);
    held.finish(&stage, "inside TLS; every process of site 1 killed, and back with all calls");
}

/// The calls of a living site go to the other one while more are placed; then the site may die.
#[test]
fn many_site_evacuated() {
    let stage = Stage::new("many_site_evacuated");
    let calls = sized(400, 2_000);
    let mut held = held(&stage, calls, Duration::from_secs(u64::from(calls / 100) + 14));
    let all = u64::from(calls);
    let_pass(Duration::from_secs(1));
    let keeper = held.sites.one.primary(0);
    let order = EvacuateOrder { from: 1, to: Some(2) };
    let admin = held.sites.one.states[keeper].0.admin();
    admin.post::<OrderReply>("/v1/evacuate", &order).expect("site 2 takes calls");
    wait_for("all calls at site 2", Duration::from_secs(30), || {
        (held.sites.two.active() == all && held.sites.one.active() == 0).then_some(())
    });
    assert!(held.sites.one.counter("replica_evacuated") >= all, "they went by order");
    held.lose_site_1();
    held.finish(&stage, "site 1 evacuated as they were placed, and killed after that");
}

/// D09, where the calls have crossed: they are taken from the other site. The second partition that
/// is lost is the one whose primary keeps the gate.
#[test]
fn d09_calls_of_a_lost_partition_come_from_the_other_site() {
    let stage = Stage::new("d09_from_the_other_site");
    let calls = sized(200, 1_000);
    let mut held = held(&stage, calls, Duration::from_secs(u64::from(calls / 100) + 40));
    let all = u64::from(calls);
    held.sites.wait_crossed(all);
    for partition in [1, 0] {
        let replicas = ManySite::replicas(partition);
        replicas.clone().for_each(|index| held.sites.one.kill_state(index));
        replicas.for_each(|index| held.sites.one.start_state(index));
        wait_for("all calls of the partition", Duration::from_secs(20), || {
            (held.sites.one.active() == all).then_some(())
        });
    }
    held.finish(&stage, "both replicas of one partition killed, and then those of the other");
}
