//! What is told of a call that was set aside.

use std::time::Duration;

use vocab::{CallKey, EngineId, LockToken};

use super::*;

#[test]
fn a_record_that_could_not_be_read_is_told_without_one() {
    let strike = Strike {
        kind: StrikeKind::Unreadable,
        engine: EngineId(4),
        token: LockToken::default(),
        age: Duration::from_millis(20),
        what: "entry 3 of a batch".into(),
        message: bytes::Bytes::from_static(b"\xffSIP"),
    };
    let (key, age) = (CallKey([7; 16]), Duration::from_secs(2));
    let aside = SetAside { key, record: None, dormant: true, age, strikes: vec![strike] };
    let story = story(Instant(0), &aside, true);
    assert_eq!((story.call.cause.as_str(), story.call.home), ("unreadable", 0));
    assert_eq!((story.call.age_ms, story.call.bytes), (2_000, 22));
    assert_eq!(story.strikes[0].message, "\u{fffd}SIP");
    assert!(story.summary.is_empty() && story.crossing_hex.is_empty());
}

#[test]
fn every_cause_is_counted() {
    let counts = Counts { quarantined_broken: 2, ..Counts::default() };
    let by_cause = by_cause(&counts);
    assert_eq!(by_cause.len(), StrikeKind::ALL.len());
    assert_eq!(by_cause["broken"], 2);
}
