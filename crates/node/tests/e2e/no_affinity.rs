//! No message of a call needs the engine that saw the one before it: behind a plain datagram round
//! robin every one of them meets another.

use std::time::Duration;

use sip_message::Method;

use crate::harness::direct_site::DirectSite;
use crate::harness::pair::{End, Pair};
use crate::harness::sized;
use crate::harness::stage::Stage;

/// One call in so many is cancelled while it rings.
const CANCELLED: u32 = 5;
/// In one call in so many every message is sent twice: repetitions meet another engine, too.
const DOUBLED: u32 = 3;

#[test]
fn no_message_meets_the_engine_of_the_one_before() {
    let stage = Stage::new("no_affinity");
    let calls = sized(500_u32, 2_000);
    let callee_at = stage.address();
    let t1 = Duration::from_millis(500);
    let mut site = DirectSite::start(&stage, callee_at, t1);
    let mut pair = Pair::new(&stage, callee_at, site.front.address(), t1);
    let mut failures = Vec::new();
    // One after the other, so that two neighbours in the round robin are of the same call.
    for number in 0..calls {
        let doubled = number % DOUBLED == 0;
        pair.caller.set_doubled(doubled);
        pair.callee.set_doubled(doubled);
        if let Err(problem) = one_call(&mut pair, number) {
            failures.push(format!("call {number}: {problem}"));
        }
        pair.caller.leave();
        pair.callee.leave();
        assert!(failures.len() < 5, "{failures:#?}");
    }
    let sent = site.front.sent();
    let turns = site.engines.each_mut().map(|engine| {
        engine.try_status().and_then(|status| status.engine).map_or(0, |engine| engine.turns)
    });
    stage.say(&format!(
        "{calls} calls, {} of them cancelled, {} with every message twice; {} and {} datagrams in \
         turn to two engines ({} and {} turns); {} failed",
        calls / CANCELLED,
        calls.div_ceil(DOUBLED),
        sent[0],
        sent[1],
        turns[0],
        turns[1],
        failures.len(),
    ));
    assert!(failures.is_empty(), "{failures:#?}");
    assert!(sent[0].abs_diff(sent[1]) <= 1, "the datagrams did not take turns");
    assert!(turns.iter().all(|turns| *turns > u64::from(calls)), "an engine had no part in it");
}

fn one_call(pair: &mut Pair, number: u32) -> Result<(), String> {
    let (dialog, invite) = pair.caller.invite();
    let there = pair.request(End::Callee, &Method::Invite)?;
    pair.callee.respond(&there, 180);
    pair.response(End::Caller, &Method::Invite, &[180])?;
    if number % CANCELLED == CANCELLED - 1 {
        pair.caller.cancel(&invite);
        let cancel = pair.request(End::Callee, &Method::Cancel)?;
        pair.callee.respond(&cancel, 200);
        pair.callee.respond(&there, 487);
        pair.response(End::Caller, &Method::Cancel, &[200])?;
        pair.response(End::Caller, &Method::Invite, &[487])?;
        return pair.request(End::Callee, &Method::Ack).map(drop);
    }
    let mut talk = pair.answer(dialog, &there)?;
    let ends = [End::Caller, End::Callee];
    pair.re_invite(&mut talk, ends[(number % 2) as usize])?;
    pair.hang_up(&mut talk, ends[(number / 2 % 2) as usize])
}
