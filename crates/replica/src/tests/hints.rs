//! What is told, and counted, of the hint on a call's newest put.

use tier_protocol::Veto;

use super::*;
use crate::hint::{HintCounts, HintReason};
use crate::store::Call;

fn bench() -> Bench {
    let mut bench = Bench::new();
    bench.alive(&[THERE]);
    bench
}

/// The reason told of the call, and whether it is decided again by time alone.
fn told(bench: &Bench, number: u8) -> Option<(HintReason, Option<Duration>)> {
    let story = bench.replica.get(bench.now, key(number))?;
    let [hint] = story.hints.as_slice() else { return None };
    assert_eq!(hint.site, THERE);
    Some((hint.reason, hint.again_in))
}

fn counts(bench: &Bench) -> HintCounts {
    bench.replica.stats(bench.now).counts.hints
}

fn vetoed(veto: Veto) -> PutFlags {
    let boundary = matches!(veto, Veto::Application | Veto::CloseRequests);
    PutFlags { boundary, veto: Some(veto), ..BOUNDARY }
}

#[test]
fn a_call_is_followed_from_its_lock_to_the_other_site() {
    let mut bench = bench();
    let (token, _) = bench.lock(A, key(1));
    bench.put_next(key(1), token, None, BOUNDARY, |_| {});
    assert_eq!(told(&bench, 1), Some((HintReason::CheckedOut, None)));
    bench.unlock(A, key(1), token);
    assert_eq!(told(&bench, 1), Some((HintReason::Settling, Some(ms(100)))));
    bench.pass(ms(100));
    let batch_after = Pace::default().batch_after;
    if batch_after > Duration::ZERO {
        assert_eq!(told(&bench, 1), Some((HintReason::Followed, None)));
    }
    let out = batches(&bench.pass(batch_after));
    let [(_, id, _)] = out.as_slice() else { panic!("{out:?}") };
    assert_eq!(told(&bench, 1), Some((HintReason::InFlight, None)));
    bench.site(SiteInput::BatchStored { site: THERE, id: *id });
    assert_eq!(told(&bench, 1), Some((HintReason::Crossed, None)));
    let counts = counts(&bench);
    assert_eq!((counts.settling, counts.followed, counts.crossed), (1, 1, 1));
    assert_eq!(counts.by_reason().iter().map(|(_, count)| count).sum::<u64>(), 3, "{counts:?}");
}

#[test]
fn each_veto_is_told_and_counted() {
    let mut bench = bench();
    for (at, veto) in Veto::ALL.into_iter().enumerate() {
        let number = u8::try_from(at).expect("few") + 1;
        bench.turn(key(number), vetoed(veto), |_| {});
        let again = match veto {
            Veto::Application => Some(Pace::default().disregarded_max),
            Veto::CloseRequests => Some(Pace::default().settle_for * 8),
            Veto::Undecided
            | Veto::SetUp
            | Veto::Leaving
            | Veto::NoAck
            | Veto::ReInvite
            | Veto::Transaction => None,
        };
        assert_eq!(told(&bench, number), Some((HintReason::Vetoed(veto), again)));
    }
    assert_eq!(counts(&bench).vetoed, [1; Veto::ALL.len()]);
    bench.turn(key(20), BUSY, |_| {});
    assert_eq!(told(&bench, 20), Some((HintReason::NotAtBoundary, None)));
    assert_eq!(counts(&bench).not_at_boundary, 1);
    let mut words: Vec<_> = counts(&bench).by_reason().into_iter().map(|(word, _)| word).collect();
    let all = words.len();
    words.sort_unstable();
    words.dedup();
    assert_eq!(words.len(), all, "each reason has a name of its own");
}

#[test]
fn a_busy_header_is_a_veto_whatever_the_flags_say() {
    let mut bench = bench();
    bench.turn(key(1), BOUNDARY, |record| record.header.hints = vec![(1, Hint::Busy)]);
    let (reason, again) = told(&bench, 1).expect("it is marked");
    assert_eq!(reason, HintReason::Vetoed(Veto::Application));
    assert_eq!(again, Some(Pace::default().disregarded_max));
}

#[test]
fn a_disregarded_hint_is_taken_up_at_the_bound_and_said_to_be_forced() {
    let mut bench = bench();
    bench.turn(key(1), vetoed(Veto::Application), |_| {});
    let bound = Pace::default().disregarded_max;
    assert!(batches(&bench.pass(bound - ms(1))).is_empty());
    let out = batches(&bench.pass(ms(1) + Pace::default().batch_after));
    assert_eq!(out.len(), 1);
    let story = bench.replica.get(bench.now, key(1)).expect("held");
    assert_eq!((story.hints[0].reason, story.hints[0].is_forced), (HintReason::InFlight, true));
    assert_eq!(counts(&bench).forced, 1);
}

#[test]
fn close_requests_wait_for_a_longer_quiet_and_have_a_bound_of_their_own() {
    let mut bench = bench();
    let settle = Pace::default().settle_for;
    let batch_after = Pace::default().batch_after;
    bench.turn(key(1), vetoed(Veto::CloseRequests), |_| {});
    assert!(batches(&bench.pass(settle * 8 - ms(1))).is_empty());
    assert_eq!(batches(&bench.pass(ms(1) + batch_after)).len(), 1, "left alone for long enough");
    assert_eq!(counts(&bench).followed, 1);

    bench.turn(key(2), vetoed(Veto::CloseRequests), |_| {});
    let mut waited = Duration::ZERO;
    while batches(&bench.pass(settle * 4)).is_empty() {
        waited += settle * 4;
        assert!(waited < settle * 40, "it never crosses");
        bench.turn(key(2), vetoed(Veto::CloseRequests), |_| {});
    }
    assert!(waited >= settle * 8 && waited <= settle * 16, "{waited:?}");
    // It was put once more before its batch left.
    assert_eq!(counts(&bench).forced, 2);
}

#[test]
fn a_call_checked_out_again_is_counted_once_whether_it_is_put_or_not() {
    let mut bench = bench();
    bench.turn(key(1), BOUNDARY, |_| {});
    bench.turn(key(1), BOUNDARY, |_| {});
    assert_eq!(counts(&bench).checked_out, 1, "it was put");
    let (token, _) = bench.lock(A, key(1));
    bench.pass(Pace::default().settle_for);
    assert_eq!(counts(&bench).checked_out, 2, "its time came under the lock");
    assert_eq!(told(&bench, 1), Some((HintReason::CheckedOut, None)));
    bench.unlock(A, key(1), token);
    assert!(matches!(told(&bench, 1), Some((HintReason::Settling, Some(_)))));
}

#[test]
fn what_keeps_a_ready_call_here_is_told() {
    let mut bench = Bench::new();
    bench.turn(key(1), BOUNDARY, |_| {});
    bench.pass(ms(1_000));
    assert_eq!(told(&bench, 1), Some((HintReason::LinkDown, None)));
    bench.alive(&[THERE]);
    assert_eq!(told(&bench, 1), Some((HintReason::InFlight, None)));
    let id = VIEW.0 << 32 | 1;
    bench.site(SiteInput::BatchRefused { site: THERE, id });
    assert_eq!(told(&bench, 1), Some((HintReason::Refused, None)));
    assert_eq!(counts(&bench).sent_again, 1);
    let off = crate::SiteOrder::Replication { site: THERE, on: false };
    bench.input(Input::Order(Order::Site(off)));
    assert_eq!(told(&bench, 1), Some((HintReason::Stopped, None)));
}

#[test]
fn a_put_that_leaves_the_crossing_section_as_it_is_makes_nothing_dirty() {
    let mut bench = bench();
    bench.turn(key(1), BOUNDARY, |_| {});
    let out = batches(&bench.pass(ms(1_000)));
    bench.site(SiteInput::BatchStored { site: THERE, id: out[0].1 });
    bench.turn(key(1), UNCHANGED, |_| {});
    assert_eq!(told(&bench, 1), Some((HintReason::Crossed, None)));
    assert!(batches(&bench.pass(ms(60_000))).is_empty());
}

/// What is kept of hints is two bytes, which fit into what was padding.
#[test]
fn a_call_takes_no_more_memory_for_its_hint() {
    assert_eq!((size_of::<Option<Veto>>(), size_of::<crate::hint::Decision>()), (1, 1));
    assert_eq!(size_of::<Call>(), 576);
}
