//! Which site backs up which, other than two each other: a ring, several onto one, one way; and
//! evacuation where a third site keeps copies.

use std::time::Duration;

use admin_api::{EvacuateOrder, OrderReply};

use crate::harness::mesh::{Links, Mesh};
use crate::harness::sipp::{Load, Sipp};
use crate::harness::stage::Stage;
use crate::harness::{sized, wait_for};

/// Sites, and callers that hang up when all is done.
struct Held {
    mesh: Mesh,
    caller: Sipp,
    callee: Sipp,
    calls: u32,
    hold: Duration,
}

fn held(stage: &Stage, backups: &[(Option<u16>, u32)], hold_s: u64) -> Held {
    let calls = sized(100, 1_000);
    let [callee_at, caller_at] = [(); 2].map(|()| stage.address());
    let mesh = Mesh::start(stage, callee_at, Links::Plain, backups);
    let callee = Sipp::callee(stage, "uas_patient", callee_at, calls);
    let hold = Duration::from_secs(u64::from(calls / 100) + hold_s);
    let load = Load { calls, per_second: 100, hold };
    let caller = Sipp::caller(stage, "uac_hold_logged", caller_at, mesh.edge, &load);
    Held { mesh, caller, callee, calls, hold }
}

impl Held {
    fn all(&self) -> u64 {
        u64::from(self.calls)
    }

    /// All hang up, and all are heard.
    fn finish(mut self, stage: &Stage, what: &str) {
        let asked = self.caller.figures().expect("SIPp runs");
        assert_eq!(asked.successful + asked.failed, 0, "a call ended before all was done");
        let heard = self.caller.finish(self.hold + Duration::from_secs(40));
        let reached = self.callee.finish(Duration::from_secs(10));
        stage.say(&format!(
            "{} calls; {what}; {} BYEs answered, {} reached the callee",
            self.calls, heard.successful, reached.successful
        ));
        assert_eq!(heard.successful, self.all(), "a BYE of the caller was not answered");
        assert_eq!(reached.successful, self.all(), "a BYE did not reach the callee");
        assert_eq!(heard.failed + reached.failed, 0);
    }
}

/// 1 -> 2 -> 3 -> 1: after a take-over the new home's own setting applies.
#[test]
fn ring_of_three_loses_two() {
    let stage = Stage::new("ring_of_three");
    let mut held = held(&stage, &[(Some(2), 1), (Some(3), 0), (Some(1), 0)], 9);
    let all = held.all();
    held.mesh.wait_settled(1, all);
    held.mesh.wait_asleep(2, &[(1, all)]);
    held.mesh.wait_asleep(3, &[]);
    held.mesh.lose(1, &[(1, 2)], &[(1, 0), (2, 1), (3, 0)]);
    held.mesh.activate(2, 1);
    held.mesh.wait_settled(2, all);
    held.mesh.wait_asleep(3, &[(2, all)]);
    held.mesh.lose(2, &[(1, 3), (2, 3)], &[(1, 0), (2, 0), (3, 1)]);
    held.finish(&stage, "site 1 killed, woken at 2 and crossed to 3, site 2 killed");
}

#[test]
fn two_sites_onto_one() {
    let stage = Stage::new("two_sites_onto_one");
    let mut held = held(&stage, &[(Some(3), 1), (Some(3), 1), (None, 0)], 6);
    let all = held.all();
    let placed = Duration::from_secs(10 + all / 100);
    let of_two = wait_for("calls at both sites", placed, || {
        let [one, two] = [1, 2].map(|id| held.mesh.site(id).try_status());
        let (one, two) = (one?.calls_active, two?.calls_active);
        (one + two == all && one > 0 && two > 0).then_some(two)
    });
    held.mesh.wait_settled(1, all - of_two);
    held.mesh.wait_settled(2, of_two);
    held.mesh.wait_asleep(3, &[(1, all - of_two), (2, of_two)]);
    held.mesh.lose(1, &[(1, 3)], &[(1, 0), (2, 0), (3, 1)]);
    held.mesh.lose(2, &[(1, 3), (2, 3)], &[(1, 0), (2, 0), (3, 1)]);
    held.finish(&stage, "both sites killed, the third keeps the calls of both");
}

/// 1 -> 2, and site 2 has no backup site: its calls, those it woke too, cross nowhere.
#[test]
fn one_way_and_home_again() {
    let stage = Stage::new("one_way");
    let mut held = held(&stage, &[(Some(2), 1), (None, 0)], 13);
    let all = held.all();
    held.mesh.wait_settled(1, all);
    held.mesh.wait_asleep(2, &[(1, all)]);
    held.mesh.lose(1, &[(1, 2)], &[(1, 0), (2, 1)]);
    held.mesh.activate(2, 1);
    held.mesh.wait_settled(2, all);
    held.mesh.site(1).start_again();
    held.mesh
        .site(1)
        .wait_until("is home again", Duration::from_secs(20), |status| status.calls_active == all);
    held.mesh.wait_asleep(2, &[(1, all)]);
    held.mesh.balancer.admin().routes(&[(1, 1)], &[(1, 1), (2, 0)]);
    held.finish(&stage, "site 1 killed, woken at 2, home again and backed up again");
}

/// Site 1 is backed up by 2, and gives its calls to 3, whose backup is 1: the copies at 2 go.
#[test]
fn evacuated_past_the_backup_site() {
    let stage = Stage::new("evacuated_past");
    let mut held = held(&stage, &[(Some(2), 1), (Some(3), 0), (Some(2), 0)], 9);
    let all = held.all();
    held.mesh.wait_settled(1, all);
    held.mesh.wait_asleep(2, &[(1, all)]);
    let order = EvacuateOrder { from: 1, to: Some(3) };
    let admin = held.mesh.site(1).admin();
    admin.post::<OrderReply>("/v1/evacuate", &order).expect("site 3 takes calls");
    held.mesh
        .site(1)
        .wait_until("has given all", Duration::from_secs(15), |status| status.calls_active == 0);
    held.mesh.wait_settled(3, all);
    // The copies of site 1 gave way to those of the new home.
    held.mesh.wait_asleep(2, &[(3, all)]);
    held.mesh.lose(1, &[(1, 3)], &[(1, 0), (2, 0), (3, 1)]);
    held.finish(&stage, "site 1 evacuated to 3, which 2 backs up too, and killed");
}
