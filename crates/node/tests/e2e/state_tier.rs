//! A state tier of many processes under load: two partitions of three replicas, two engines, a real
//! etcd, SIPp on both ends at 100 calls a second, and one thing after another that dies.
//!
//! Wanted in each: no answered call is lost, at most one in a hundred of the calls invited from two
//! seconds before to five seconds after a kill fails, no other call fails, and no end of a call
//! hears anything twice. Where timers are at stake, calls last until their sessions were refreshed:
//! no timer fires twice, and none is lost.

use std::time::Duration;

use admin_api::{MoveOrder, OrderReply};

use crate::harness::config;
use crate::harness::many::{Many, Shape};
use crate::harness::netns;
use crate::harness::sipp::{Load, Sipp, Steps, clock};
use crate::harness::stage::Stage;
use crate::harness::{let_pass, sized, try_wait_for, wait_for};

/// Around a kill: calls invited in this window may fail, one in a hundred at most.
const BEFORE: f64 = 2.0;
const AFTER: f64 = 5.0;
/// How long calls are held.
const HOLD: Duration = Duration::from_secs(3);
/// Half the session interval where sessions are refreshed: a third of it is left when a refresh
/// fails, longer than a partition needs to find another primary.
/// A session ends a third before its time (RFC 4028 §10), here 4 s after its refresh: longer than a
/// lock's lease, so that a refresh whose engine or grant is lost comes again in time.
const REFRESH_AFTER: Duration = Duration::from_secs(12);

/// The load of one test, and what its calls came to.
pub(crate) struct Storm {
    caller: Sipp,
    callee: Sipp,
    calls: u32,
    seconds: u32,
    kills: Vec<f64>,
    is_refreshed: bool,
}

impl Storm {
    /// Starts a site of two partitions and its load.
    pub(crate) fn start(stage: &Stage, seconds: u32) -> (Many, Self) {
        Self::start_on(stage, seconds, Shape::default())
    }

    /// The same with a site of another shape.
    pub(crate) fn start_on(stage: &Stage, seconds: u32, shape: Shape) -> (Many, Self) {
        Self::start_with(stage, seconds, shape, false)
    }

    /// Calls whose session is refreshed once at each end, `REFRESH_AFTER` after the answer. They
    /// end soon after it: an end that is asked for a second refresh fails, and so does one that is
    /// asked for none.
    fn start_refreshed(stage: &Stage, seconds: u32) -> (Many, Self) {
        let expires_s = 2 * u32::try_from(REFRESH_AFTER.as_secs()).expect("a few seconds");
        let shape = Shape { engines: config::session_timer(expires_s), ..Shape::default() };
        Self::start_with(stage, seconds, shape, true)
    }

    fn start_with(stage: &Stage, seconds: u32, shape: Shape, is_refreshed: bool) -> (Many, Self) {
        let ([called, calling], hold) = match is_refreshed {
            true => (["uas_refreshed", "uac_refreshed"], Duration::from_secs(1)),
            false => (["uas_patient", "uac_hold_logged"], HOLD),
        };
        let [callee_at, caller_at] = [(); 2].map(|()| netns::at(stage.host(), stage.address()));
        let many = Many::start(stage, callee_at, shape);
        let load = Load { calls: 100 * seconds, per_second: 100, hold };
        let callee = Sipp::callee(stage, called, callee_at, load.calls);
        let caller = Sipp::caller(stage, calling, caller_at, many.edge, &load);
        let (calls, kills) = (load.calls, Vec::new());
        let storm = Self { caller, callee, calls, seconds, kills, is_refreshed };
        (many, storm)
    }

    /// Something is about to die, or just has.
    pub(crate) fn note_kill(&mut self) {
        self.kills.push(clock());
    }

    /// Lets the load end and judges it.
    pub(crate) fn judge(mut self, stage: &Stage, many: &mut Many, what: &str) {
        let heard = self.caller.finish(Duration::from_secs(u64::from(self.seconds) + 60));
        let reached = self.callee.finish(Duration::from_secs(10));
        let steps = self.caller.steps();
        let is_near =
            |at: f64| self.kills.iter().any(|kill| (kill - BEFORE..kill + AFTER).contains(&at));
        let near: Vec<_> =
            steps.values().filter(|call| call.invited.is_some_and(is_near)).collect();
        let near_failed = near.iter().filter(|call| call.ended.is_none()).count();
        let failed = steps.values().filter(|call| call.ended.is_none()).count();
        let answered = |call: &&Steps| call.answered.is_some();
        let lost = steps.values().filter(answered).filter(|call| call.ended.is_none()).count();
        stage.say(&format!(
            "{} calls at 100/s; {what}; of {} calls invited around it {near_failed} failed; \
             answered calls lost: {lost}; others failed: {}; {} BYEs reached the callee, which saw \
             {} calls fail; {} messages repeated by SIPp; {} resumed, {} repaired",
            self.calls,
            near.len(),
            failed - near_failed,
            reached.successful,
            reached.failed,
            heard.repeated,
            many.counter("replica_resumed"),
            many.counter("replica_repaired"),
        ));
        for call in steps.values().filter(|call| call.ended.is_none()) {
            let after = call.invited.unwrap_or_default() - self.kills.first().unwrap_or(&0.0);
            println!("  failed: invited {after:+.3} s, answered: {:?}", call.answered);
        }
        assert_eq!(steps.len(), self.calls as usize, "SIPp did not place every call");
        assert_eq!(lost, 0, "an answered call was lost");
        assert!(near_failed * 100 <= near.len(), "{near_failed} of {} calls failed", near.len());
        assert_eq!(failed, near_failed, "a call failed that had nothing to do with it");
        assert!(reached.failed <= near_failed as u64, "a callee heard what its call does not have");
        if self.is_refreshed {
            self.judge_refreshes(stage, near_failed);
        }
    }

    /// Each scenario fails a call that is refreshed twice; here is who was not refreshed at all.
    fn judge_refreshes(&self, stage: &Stage, failed: usize) {
        let refreshed = [&self.caller, &self.callee]
            .map(|end| end.steps().values().filter(|call| call.refreshed.is_some()).count());
        let [callers, callees] = refreshed;
        stage.say(&format!(
            "sessions of {} calls refreshed at {callers} callers and {callees} callees, none twice",
            self.calls
        ));
        let least = self.calls as usize - failed;
        assert!(callers >= least && callees >= least, "a timer was lost");
    }
}

fn seconds() -> u32 {
    sized(14, 40)
}

/// Until calls are set up and refreshed at once, as they are from then on.
fn until_refreshes() {
    let_pass(REFRESH_AFTER + Duration::from_secs(sized(1, 10)));
}

fn half_way() {
    let_pass(Duration::from_secs(u64::from(seconds()) / 2));
}

#[test]
fn a_follower_is_killed() {
    let stage = Stage::new("follower_killed");
    let (mut many, mut storm) = Storm::start(&stage, seconds());
    half_way();
    let follower = many.follower(0);
    many.kill(follower);
    storm.note_kill();
    storm.judge(&stage, &mut many, "a follower killed");
}

#[test]
fn a_primary_is_killed() {
    let stage = Stage::new("primary_killed");
    let (mut many, mut storm) = Storm::start_refreshed(&stage, sized(12, 40));
    until_refreshes();
    let primary = many.primary(0);
    many.kill(primary);
    storm.note_kill();
    storm.judge(&stage, &mut many, "a primary killed");
}

#[test]
fn d02_an_engine_that_holds_locks_is_killed() {
    let stage = Stage::new("tier_engine_killed");
    let (mut many, mut storm) = Storm::start_refreshed(&stage, sized(12, 40));
    until_refreshes();
    storm.note_kill();
    let held = wait_for("an engine with a lock in hand", Duration::from_secs(5), || {
        many.engines[0].signal("-STOP");
        let held = lasting_locks(&mut many);
        if held == 0 {
            many.engines[0].signal("-CONT");
        }
        (held > 0).then_some(held)
    });
    let before = many.counter("replica_locks_broken");
    many.engines[0].kill();
    storm.note_kill();
    let broken = wait_for("the end of its locks", Duration::from_secs(5), || {
        let broken = many.counter("replica_locks_broken") - before;
        (broken >= held).then_some(broken)
    });
    let what = format!("one of two engines killed with {held} locks in hand, {broken} broken");
    storm.judge(&stage, &mut many, &what);
    many.wait_engines(1);
}

/// Locks of an engine that stands still: those of the other one come and go.
fn lasting_locks(many: &mut Many) -> u64 {
    let looks = (0..5).map(|_| {
        let_pass(Duration::from_millis(30));
        many.locks()
    });
    looks.min().unwrap_or_default()
}

#[test]
fn a_primary_stands_still_for_ten_seconds_and_comes_back() {
    let stage = Stage::new("primary_stopped");
    let (mut many, mut storm) = Storm::start_refreshed(&stage, sized(14, 52));
    // The first timers come due while it stands still, and are still due to it when it is back.
    let_pass(Duration::from_secs(sized(6, 10)));
    let primary = many.primary(0);
    let before = many.view(primary).expect("it answers").replica;
    many.states[primary].node.signal("-STOP");
    many.states[primary].is_up = false;
    storm.note_kill();
    let_pass(Duration::from_secs(10));
    many.states[primary].node.signal("-CONT");
    many.states[primary].is_up = true;
    // It finds out that the others went on, and joins as another replica.
    many.wait_whole(2);
    let after = many.view(primary).expect("it answers").replica;
    assert_ne!(before, after, "a process that was removed is another replica when it is back");
    storm.judge(&stage, &mut many, "a primary stopped for 10 s, back and whole again");
}

#[test]
fn an_etcd_that_is_away_loses_no_call() {
    let stage = Stage::new("etcd_away");
    let away = sized(6, 60);
    let (mut many, storm) = Storm::start(&stage, seconds() + away);
    half_way();
    many.etcds[0].kill();
    let_pass(Duration::from_secs(u64::from(away)));
    many.etcds[0].start_again();
    storm.judge(&stage, &mut many, &format!("etcd killed, away for {away} s, started again"));
    // Views change again.
    let follower = many.follower(0);
    many.kill(follower);
    many.start_again(follower);
    many.wait_whole(2);
}

#[test]
fn one_of_three_etcd_nodes_is_killed_and_nobody_notices() {
    let stage = Stage::new("etcd_node_killed");
    let shape = Shape { etcds: 3, ..Shape::default() };
    let seconds = sized(10, 40);
    let (mut many, storm) = Storm::start_on(&stage, seconds, shape);
    let_pass(Duration::from_secs(u64::from(seconds) / 2));
    let views = |many: &Many| many.partitions().iter().map(|one| one.view).collect::<Vec<_>>();
    let before = views(&many);
    // The first one that every process was told of.
    many.etcds[0].kill();
    storm.judge(&stage, &mut many, "one of three etcd nodes killed");
    assert_eq!(views(&many), before, "a view changed");
    assert!(!many.is_store_away(), "two of three nodes are a store");
    // The two others agree on views.
    let follower = many.follower(0);
    many.kill(follower);
    many.start_again(follower);
    many.wait_whole(2);
}

#[test]
fn d10_a_replica_joins_under_load() {
    let stage = Stage::new("replica_joins");
    let (mut many, mut storm) = Storm::start(&stage, seconds() + 6);
    half_way();
    let follower = many.follower(0);
    many.kill(follower);
    storm.note_kill();
    let_pass(Duration::from_secs(1));
    many.start_again(follower);
    many.wait_whole(2);
    let healed = many.primary(0);
    let healed = many.view(healed).expect("it answers").healed_after_ms;
    let copied = many.counter("replica_copied_in");
    let what = format!("a follower killed and joined again: whole after {healed} ms");
    storm.judge(&stage, &mut many, &format!("{what}, {copied} calls copied"));
    assert!(healed > 0 && copied > 0, "nothing was copied");
}

#[test]
fn two_partitions_become_four_under_load() {
    let stage = Stage::new("partitions_divided");
    let (mut many, mut storm) = Storm::start_refreshed(&stage, sized(12, 50));
    // Their timers move with them.
    let_pass(Duration::from_secs(sized(5, 20)));
    storm.note_kill();
    for (from, to) in [(0, 2), (1, 3)] {
        for replica in 0..3 {
            many.add_state(&stage, to, &format!("s{to}{replica}"));
        }
        let primary = many.primary(from);
        let order = MoveOrder { from, to, replicas: 3, ..MoveOrder::default() };
        let admin = many.states[primary].node.admin();
        let taken = try_wait_for(Duration::from_secs(20), || {
            admin.post::<OrderReply>("/v1/partitions/move", &order).ok()
        });
        assert!(taken.is_some(), "{:?}", admin.post::<OrderReply>("/v1/partitions/move", &order));
    }
    storm.note_kill();
    many.wait_whole(4);
    storm.note_kill();
    let shed = many.counter("replica_shed");
    storm.judge(&stage, &mut many, &format!("2 partitions became 4, {shed} copies given up"));
    let slots: u64 = many.partitions().iter().map(|one| one.slot_count).sum();
    assert_eq!(slots, 1_024, "{:#?}", many.partitions());
    // What lingers after a BYE goes with its timers, at whichever partition it is by then.
    wait_for("the end of every call", Duration::from_secs(60), || {
        (many.calls_active() == 0).then_some(())
    });
}
