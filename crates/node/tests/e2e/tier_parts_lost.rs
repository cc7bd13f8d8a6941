//! A part of a site is lost as a whole while calls are held: one of two engines, all engines, all
//! replicas of one partition. D07, D08 and D09 of the fault list.

use std::collections::BTreeMap;
use std::time::Duration;

use sip_message::{Message, Method, Request};

use crate::harness::config;
use crate::harness::many::{Many, Shape};
use crate::harness::pair::{End, Pair, Talk};
use crate::harness::sipp::{Load, Sipp, Steps, clock};
use crate::harness::stage::Stage;
use crate::harness::{let_pass, sized, try_wait_for, wait_for};

const SOON: Duration = Duration::from_secs(10);

/// The times of one step, over all calls that reached it.
fn times(steps: &BTreeMap<u32, Steps>, of: impl Fn(&Steps) -> Option<f64>) -> Vec<f64> {
    let mut times: Vec<f64> = steps.values().filter_map(of).collect();
    times.sort_by(f64::total_cmp);
    times
}

/// All are placed within `placing`.
fn wait_answered(caller: &Sipp, calls: u32, placing: Duration) -> Vec<f64> {
    wait_for("every answer", placing + SOON + SOON, || {
        let answered = times(&caller.steps(), |step| step.answered);
        (answered.len() == calls as usize).then_some(answered)
    })
}

fn pass_until(time: f64) {
    let_pass(Duration::from_secs_f64((time - clock()).max(0.0)));
}

#[test]
fn d07_one_of_two_engines_is_killed_with_a_thousand_calls_held() {
    let stage = Stage::new("d07");
    let [callee_at, caller_at] = [(); 2].map(|()| stage.address());
    let mut many = Many::start(&stage, callee_at, Shape::default());
    let calls = sized(1_000, 5_000);
    let placing = Duration::from_secs(u64::from(calls) / 200);
    let load = Load { calls, per_second: 200, hold: placing + Duration::from_secs(3) };
    let mut callee = Sipp::callee(&stage, "uas_change", callee_at, calls);
    let mut caller = Sipp::caller(&stage, "uac_hold_change", caller_at, many.edge, &load);
    wait_answered(&caller, calls, placing);
    let held = many.calls_active();
    many.engines[0].kill();
    let killed = clock();
    let heard = caller.finish(placing + load.hold + SOON);
    let reached = callee.finish(SOON);
    let steps = caller.steps();
    let [changed, ended] = [times(&steps, |step| step.changed), times(&steps, |step| step.ended)];
    stage.say(&format!(
        "one of two engines killed with {held} calls held; {} of {calls} re-INVITEs and {} of \
         {calls} BYEs succeeded; the callee saw {} calls through, {} failed; {} messages repeated \
         by SIPp",
        changed.len(),
        ended.len(),
        reached.successful,
        reached.failed,
        heard.repeated,
    ));
    assert_eq!(held, u64::from(calls), "not every call was held");
    assert!(changed.first().is_some_and(|first| *first > killed), "a call changed before the kill");
    assert_eq!([changed.len(), ended.len()], [calls as usize; 2]);
    assert_eq!([reached.successful, reached.failed], [u64::from(calls), 0]);
}

/// Half the session interval: when both ends of a call are refreshed.
const REFRESH_AFTER: f64 = 9.0;

#[test]
fn d08_all_engines_die_and_their_timers_catch_up() {
    let stage = Stage::new("d08");
    let [callee_at, caller_at] = [(); 2].map(|()| stage.address());
    let engines = config::session_timer(2 * REFRESH_AFTER as u32);
    let mut many = Many::start(&stage, callee_at, Shape { engines, ..Shape::default() });
    let calls = sized(200, 400);
    let load = Load { calls, per_second: 200, hold: Duration::from_secs(1) };
    // Either end fails a call that is refreshed twice, or not at all.
    let mut callee = Sipp::callee(&stage, "uas_refreshed", callee_at, calls);
    let mut caller = Sipp::caller(&stage, "uac_refreshed", caller_at, many.edge, &load);
    let answered = wait_answered(&caller, calls, Duration::from_secs(u64::from(calls) / 200));
    let (first, last) = (answered[0], answered[answered.len() - 1]);
    pass_until(first + REFRESH_AFTER - 0.5);
    many.engines.iter_mut().for_each(|engine| engine.kill());
    // Every timer comes due while nobody is there to hear it.
    pass_until(last + REFRESH_AFTER + 0.2);
    let early = [&caller, &callee].map(|end| times(&end.steps(), |step| step.refreshed).len());
    let again = clock();
    many.engines.iter_mut().for_each(|engine| engine.start_again());
    let heard = caller.finish(SOON + SOON);
    let reached = callee.finish(SOON);
    let late = [&caller, &callee].map(|end| times(&end.steps(), |step| step.refreshed));
    let slowest = late.iter().flatten().fold(0.0, |most: f64, at| most.max(at - again));
    stage.say(&format!(
        "both engines dead for {:.1} s as the session timers of {calls} calls came due; {} callers \
         and {} callees refreshed, the last {:.0} ms after the engines were started again; none \
         twice; {} calls ended by BYE",
        again - (first + REFRESH_AFTER - 0.5),
        late[0].len(),
        late[1].len(),
        slowest * 1_000.0,
        heard.successful,
    ));
    assert_eq!(early, [0, 0], "a timer fired with no engine there");
    assert_eq!(late.map(|end| end.len()), [calls as usize; 2], "a timer was lost");
    assert_eq!([heard.successful, reached.successful], [u64::from(calls); 2]);
}

/// Calls of the partition that is lost have no copy anywhere: what a site of several state
/// processes holds does not cross to another site.
#[test]
fn d09_all_replicas_of_one_partition_die() {
    let stage = Stage::new("d09");
    let calls = sized(40, 200);
    let callee_at = stage.address();
    let mut many = Many::start(&stage, callee_at, Shape::default());
    let mut pair = Pair::new(&stage, callee_at, many.edge, Duration::from_millis(500));
    let mut talks: Vec<Talk> = (0..calls).map(|_| set_up(&mut pair)).collect();
    pair.caller.leave();
    let held = [0, 1].map(|partition| {
        let primary = many.primary(partition);
        many.states[primary].node.try_status().expect("it lives").calls_active as usize
    });
    assert!(held[0] > 0 && held[0] + held[1] == calls, "calls are held as {held:?} of {calls}");

    Many::replicas(0).for_each(|index| many.kill(index));
    let began = clock();
    for talk in &mut talks {
        let bye = talk.caller.request(&mut pair.caller, Method::Bye);
        pair.caller.ask(&bye);
    }
    let answers = answers(&mut pair, held[1]);
    let unharmed = clock() - began;
    assert_eq!(answers, BTreeMap::from([(200, held[1])]), "calls of the other partition");
    Many::replicas(0).for_each(|index| many.start_again(index));
    let restarted = clock();
    let answers = self::answers(&mut pair, held[0]);
    let ended = clock() - restarted;
    assert_eq!(answers, BTreeMap::from([(481, held[0])]), "calls of the lost partition");

    many.wait_whole(2);
    let whole = clock() - restarted;
    let talks: Vec<Talk> = (0..calls).map(|_| set_up(&mut pair)).collect();
    let anew = [0, 1].map(|partition| {
        let primary = many.primary(partition);
        many.states[primary].node.try_status().expect("it lives").calls_active as usize
    });
    for mut talk in talks {
        pair.hang_up(&mut talk, End::Caller).unwrap_or_else(|what| panic!("{what}"));
    }
    stage.say(&format!(
        "all replicas of a partition with {} calls killed: {} of {} BYEs of the other partition \
         answered within {:.0} ms; started anew: {} BYEs answered 481 within {ended:.1} s, whole \
         after {whole:.1} s, {calls} new calls set up and ended, {} of them there",
        held[0],
        held[1],
        held[1],
        unharmed * 1_000.0,
        held[0],
        anew[0],
    ));
    assert!(unharmed < 1.0, "the other partition waited for the lost one");
    assert!(anew[0] > 0, "the partition takes no calls");
}

fn set_up(pair: &mut Pair) -> Talk {
    let mut begin = || -> Result<Talk, String> {
        let (caller, _) = pair.caller.invite();
        let there: Request = pair.request(End::Callee, &Method::Invite)?;
        pair.answer(caller, &there)
    };
    begin().unwrap_or_else(|what| panic!("{what}"))
}

/// The final answers to the caller's BYEs, until there are `wanted`; the callee agrees to each that
/// reaches it.
fn answers(pair: &mut Pair, wanted: usize) -> BTreeMap<u16, usize> {
    let mut answers: BTreeMap<u16, usize> = BTreeMap::new();
    let all = try_wait_for(2 * SOON, || {
        for _ in 0..20 {
            pair.turn();
        }
        while let Some(bye) = pair.callee.take(|heard| heard.request(&Method::Bye).is_some()) {
            pair.callee.respond(bye.request(&Method::Bye).expect("it was asked for"), 200);
        }
        while let Some(heard) = pair.caller.take(|heard| heard.response(&Method::Bye).is_some()) {
            let Message::Response(response) = heard.message else { continue };
            *answers.entry(response.status.code()).or_default() += 1;
        }
        (answers.values().sum::<usize>() >= wanted).then_some(())
    });
    assert!(all.is_some(), "{wanted} answers wanted: {answers:?}");
    answers
}
