//! Calls that are steady for long, in a real PostgreSQL: away for a while, and the primary lost.

use std::time::Duration;

use admin_api::DatabaseStatus;

use crate::harness::many::{Many, Shape};
use crate::harness::servers::postgres::Postgres;
use crate::harness::sipp::{Load, Sipp};
use crate::harness::stage::Stage;
use crate::harness::{let_pass, sized, wait_for};

const SOON: Duration = Duration::from_secs(20);

/// How each state process that is up sees the database.
fn databases(many: &mut Many) -> Vec<DatabaseStatus> {
    let up = many.states.iter_mut().filter(|state| state.is_up);
    up.filter_map(|state| state.node.try_status()?.database).collect()
}

/// All calls leave the RAM of all three replicas. Their primary dies; then each gets its BYE, and
/// is ended from its row. While the database was away, calls were set up all the same.
#[test]
fn calls_in_the_database_outlive_their_primary() {
    let stage = Stage::new("spill");
    let calls = sized(200_u32, 2_000);
    let [callee_at, caller_at] = [(); 2].map(|()| stage.address());
    let mut postgres = Postgres::start(stage.folder());
    let says = format!("[database]\nurl = \"{}\"\n[spill]\nafter_s = 1\n", postgres.url());
    let shape = Shape { partitions: 1, states: says, ..Shape::default() };
    let mut many = Many::start(&stage, callee_at, shape);
    // All have left before the first one is looked at again: 32 s after its answer, when the last
    // transaction of its set-up is over.
    let per_second = sized(50, 200);
    let hold = Duration::from_secs(u64::from(calls / per_second) + 12);
    let load = Load { calls, per_second, hold };
    let mut callee = Sipp::callee(&stage, "uas_patient", callee_at, calls);
    let mut caller = Sipp::caller(&stage, "uac_hold_logged", caller_at, many.edge, &load);
    wait_for("the first calls to leave RAM", SOON, || {
        databases(&mut many).iter().any(|database| database.calls > 0).then_some(())
    });
    postgres.kill();
    let leader = many.primary(0);
    many.states[leader].node.wait_until("sees that it is away", SOON, |status| {
        status.database.as_ref().is_some_and(|database| database.away)
    });
    let before = many.calls_active();
    // Set-ups go on meanwhile.
    let_pass(Duration::from_secs(2));
    let meanwhile = many.calls_active() - before;
    postgres.start_again();
    let wanted = u64::from(calls);
    wait_for("all calls to leave the RAM of all", hold, || {
        let databases = databases(&mut many);
        let gone = databases.iter().filter(|database| !database.away && database.calls == wanted);
        (gone.count() == 3).then_some(())
    });
    let ram = databases(&mut many)[0].ram_bytes;
    let rows = postgres.query("SELECT count(*) FROM rehome_site1.record").expect("it is back");
    let leader = many.primary(0);
    many.kill(leader);
    let heard = caller.finish(hold + Duration::from_secs(45));
    let reached = callee.finish(Duration::from_secs(10));
    stage.say(&format!(
        "{calls} calls left the RAM of 3 replicas for PostgreSQL ({rows} rows, {ram} bytes stay); \
         it was away for a while, {meanwhile} calls set up meanwhile; primary killed: {} BYEs \
         answered, {} reached the callee, {} messages repeated by SIPp, {} rows fetched, {} lost",
        heard.successful,
        reached.successful,
        heard.repeated,
        many.counter("replica_fetched"),
        many.counter("replica_rows_lost"),
    ));
    assert!(meanwhile > 0, "no call was set up while the database was away");
    assert_eq!(rows, calls.to_string());
    assert_eq!(heard.successful, wanted, "an answered call was lost");
    assert_eq!(reached.successful, wanted, "an answered call was lost");
    assert!(many.counter("replica_fetched") >= wanted, "they were ended from their rows");
    assert_eq!(many.counter("replica_rows_lost"), 0);
}
