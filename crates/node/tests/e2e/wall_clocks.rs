//! The wall clock of one engine and of a partition's primary is set anew under load: an hour on,
//! two hours back, and smeared (D40). Everybody else's is right.
//!
//! No call may notice: timers, leases and heartbeats go by another clock, stamps and views by none.
//! Between set-up and refresh calls are in PostgreSQL, whose rows have moments of the wall clock:
//! they are written by one clock and read by another.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use admin_api::{Partition, StatusReply};

use crate::harness::config;
use crate::harness::many::{Many, Shape};
use crate::harness::process::Node;
use crate::harness::servers::postgres::Postgres;
use crate::harness::sipp::{Load, Sipp, Steps, clock};
use crate::harness::stage::Stage;
use crate::harness::wall_clock::{WallClock, smear};
use crate::harness::{let_pass, sized, wait_for};

const SOON: Duration = Duration::from_secs(30);
/// Half the session interval. A call whose deadline is nearer than 10 s does not leave RAM.
const REFRESH_AFTER: Duration = Duration::from_secs(15);
const HOUR_S: f64 = 3_600.0;

/// What tells of a lock, a lease or a view that was lost: none of it happens.
const LOSSES: [&str; 6] = [
    "replica_locks_broken",
    "replica_leases_over",
    "replica_resumed",
    "replica_repaired",
    "replica_rows_lost",
    "replica_strikes",
];

/// A site of one partition, whose calls leave RAM.
struct Site {
    many: Many,
    primary: usize,
    postgres: Postgres,
}

/// What must not change: counts of what is lost, the view and its members.
type Standing = ([u64; LOSSES.len()], Vec<String>);

impl Site {
    fn start(stage: &Stage, callee: SocketAddr) -> Self {
        let postgres = Postgres::start(stage.folder());
        let expires_s = 2 * u32::try_from(REFRESH_AFTER.as_secs()).expect("a few seconds");
        let shape = Shape {
            partitions: 1,
            engines: config::session_timer(expires_s),
            states: format!("[database]\nurl = \"{}\"\n[spill]\nafter_s = 1\n", postgres.url()),
            ..Shape::default()
        };
        let mut many = Many::start(stage, callee, shape);
        let primary = many.primary(0);
        Self { many, primary, postgres }
    }

    /// The clocks that are set: of one engine, and of the partition's primary.
    fn clocks(&self) -> [&WallClock; 2] {
        [self.many.engines[0].clock(), self.many.states[self.primary].node.clock()]
    }

    /// Sets them; says when.
    fn set(&self, offset_s: f64) -> f64 {
        self.clocks().iter().for_each(|clock| clock.set(offset_s));
        clock()
    }

    /// Waits for a row that was written by such a clock.
    fn wait_row(&self, offset_s: f64) {
        let now = "extract(epoch FROM clock_timestamp()) * 1000";
        let ask = format!(
            "SELECT count(*) FROM rehome_site1.record \
             WHERE abs(put_at - {now} - {offset_s} * 1000) < 60000"
        );
        wait_for(&format!("a row that is {offset_s} s off"), SOON, || {
            let told = self.postgres.query(&ask)?;
            (told.parse::<u64>().ok()? > 0).then_some(())
        });
    }

    fn standing(&mut self) -> Standing {
        let view = |one: &Partition| format!("{} {:?}", one.view, one.members);
        let views = self.many.partitions().iter().map(view).collect();
        (LOSSES.map(|name| self.many.counter(name)), views)
    }

    fn statuses(&mut self) -> Vec<StatusReply> {
        let up = self.many.states.iter_mut().filter(|state| state.is_up);
        let nodes = up.map(|state| &mut state.node).chain(&mut self.many.engines);
        nodes.filter_map(Node::try_status).collect()
    }

    /// Calls that are in the database now.
    fn spilled(&mut self) -> u64 {
        let statuses = self.statuses().into_iter();
        let calls = statuses.filter_map(|status| Some(status.database?.calls));
        calls.max().unwrap_or_default()
    }

    /// The clocks are an hour on, two hours back, and smeared, for `phase` each: nothing changes.
    /// Says when each began, and when all was over.
    fn set_anew(&mut self, phase: Duration, smeared: Duration) -> [f64; 4] {
        wait_for("calls in the database", SOON, || (self.spilled() > 0).then_some(()));
        let before = self.standing();
        let on = self.set(HOUR_S);
        self.wait_row(HOUR_S);
        let_pass(phase);
        assert_eq!(self.standing(), before, "{LOSSES:?} after the clock went an hour on");
        let back = self.set(-HOUR_S);
        self.wait_row(-HOUR_S);
        let_pass(phase);
        assert_eq!(self.standing(), before, "{LOSSES:?} after the clock went two hours back");
        let smears = clock();
        smear(&self.clocks(), -HOUR_S, 1.0 - HOUR_S, smeared);
        assert_eq!(self.standing(), before, "{LOSSES:?} after the clock was smeared");
        assert!(self.clocks().iter().all(|clock| clock.reads() > 0), "the shim is not there");
        let lived = self.statuses().into_iter().map(|status| status.uptime_ms).max();
        assert!(
            lived.is_some_and(|ms| ms < 3_000_000),
            "somebody has lived for an hour: {lived:?}"
        );
        [on, back, smears, clock()]
    }
}

#[test]
fn d40_a_wall_clock_that_is_set_anew_harms_no_call() {
    let mut stage = Stage::new("d40");
    stage.give_clocks(&["e1", "s"]);
    let per_second = sized(20_u32, 100);
    // Calls that were set up before a step are refreshed after it.
    let phase = REFRESH_AFTER + Duration::from_secs(sized(2, 18));
    let smeared = Duration::from_secs(sized(4, 20));
    let placing = Duration::from_secs(sized(10, 20)) + 2 * phase + smeared;
    let calls = per_second * u32::try_from(placing.as_secs()).expect("a minute or two");
    let [callee_at, caller_at] = [(); 2].map(|()| stage.address());
    let mut site = Site::start(&stage, callee_at);
    let load = Load { calls, per_second, hold: Duration::from_secs(1) };
    let mut callee = Sipp::callee(&stage, "uas_refreshed", callee_at, calls);
    let mut caller = Sipp::caller(&stage, "uac_refreshed", caller_at, site.many.edge, &load);
    let moments = site.set_anew(phase, smeared);
    wait_for("the last answer", SOON, || {
        let answered = caller.steps().values().filter(|call| call.answered.is_some()).count();
        (answered == calls as usize).then_some(())
    });
    // Whoever leads next reads the rows by a clock that is an hour ahead of theirs.
    let fetched = site.many.counter("replica_fetched");
    let left =
        wait_for("calls in the database", SOON, || Some(site.spilled()).filter(|it| *it > 0));
    site.many.kill(site.primary);
    let heard = caller.finish(REFRESH_AFTER + Duration::from_secs(60));
    let reached = callee.finish(Duration::from_secs(10));
    let fetched_after = site.many.counter("replica_fetched");
    stage.say(&format!(
        "{calls} calls at {per_second}/s; the wall clock of an engine and of the primary an hour \
         ahead, an hour behind, smeared by 1 s: no view changed, no lock was lost, {fetched} \
         records fetched; then the primary killed with {left} calls in the database, \
         {fetched_after} fetched; {} BYEs answered, {} reached the callee, {} messages repeated by \
         SIPp",
        heard.successful, reached.successful, heard.repeated,
    ));
    judge_refreshes(&stage, &caller.steps(), moments);
    assert_eq!([heard.successful, reached.successful], [u64::from(calls); 2], "a call was harmed");
    assert_eq!([heard.failed, reached.failed], [0; 2], "a call was harmed");
    assert!(fetched > 0 && fetched_after > 0, "no call came from its row");
}

/// A second refresh fails its call, and so does none; here is when they came.
fn judge_refreshes(stage: &Stage, calls: &BTreeMap<u32, Steps>, moments: [f64; 4]) {
    let waited = |call: &Steps| Some(call.refreshed? - call.answered?);
    let mut waits: Vec<f64> = calls.values().filter_map(waited).collect();
    waits.sort_by(f64::total_cmp);
    let within = |span: &[f64]| {
        let at = calls.values().filter_map(|call| call.refreshed);
        at.filter(|at| (span[0]..span[1]).contains(at)).count()
    };
    let counts: Vec<usize> = moments.windows(2).map(within).collect();
    let [least, most] = [waits.first(), waits.last()].map(|one| *one.expect("calls are refreshed"));
    stage.say(&format!(
        "refreshed {least:.2} s to {most:.2} s after the answer: {} by a clock an hour ahead, {} \
         an hour behind, {} while it was smeared",
        counts[0], counts[1], counts[2],
    ));
    assert!(least > REFRESH_AFTER.as_secs_f64() - 1.0, "a session was refreshed early");
    assert!(counts.iter().all(|count| *count > 0), "nothing was due while a clock was off");
}
