//! Calls that cross while they ring: the other site goes on with what was begun at the dead one.

use std::time::Duration;

use sip_message::Request;
use tier_protocol::{Entry, Hint, PutFlags};
use vocab::{CallKey, SiteId};

use crate::inbox::apply;
use crate::ua::{Ua, names, requests, responses};
use crate::world::{ALICE, BOB, World};

/// A call that rings, at the site that takes it over.
struct Ringing {
    backup: World,
    alice: Ua,
    bob: Ua,
    /// As Bob got it.
    invite: Request,
    key: CallKey,
}

fn ringing(call_id: &str) -> Ringing {
    let mut home = World::early(SiteId(1));
    let mut alice = Ua::caller("alice", ALICE, call_id);
    home.deliver(1, ALICE, alice.request("INVITE"));
    let invite = requests(home.take(BOB)).pop().expect("Bob is called");
    let bob = Ua::callee("bob", BOB, &invite);
    assert!(!home.flags.boundary, "it does not ring yet");
    home.deliver(2, BOB, bob.answer(&invite, 180));
    let PutFlags { boundary, crossing_unchanged, veto, .. } = home.flags;
    assert_eq!((boundary, crossing_unchanged, veto), (true, false, None));
    let record = home.last_put().trimmed();
    assert_eq!(record.header.hints, [(0, Hint::Steady)]);
    let key = record.header.key;
    let mut backup = World::early(SiteId(2));
    apply(&mut backup, 1, &[Entry::Record(record)]);
    backup.sites(&[], &[1], 0);
    Ringing { backup, alice, bob, invite, key }
}

#[test]
fn the_callees_answer_reaches_the_caller_and_the_ack_the_callee() {
    let Ringing { mut backup, mut alice, mut bob, invite, key } = ringing("answered");
    backup.deliver(1, BOB, bob.answer(&invite, 200));
    let answer = responses(backup.take(ALICE)).pop().expect("Bob's answer is relayed");
    assert_eq!(answer.status.code(), 200);
    assert_eq!(answer.headers.cseq().expect("a CSeq").number, 1, "it answers her INVITE");
    alice.learn(&answer);
    backup.deliver(2, ALICE, alice.ack());
    assert_eq!(names(&backup.take(BOB)), ["ACK"]);
    assert_eq!((backup.flags.boundary, backup.flags.veto), (true, None));
    backup.deliver(1, BOB, bob.request("BYE"));
    assert_eq!(names(&backup.take(ALICE)), ["BYE"]);
    assert!(backup.holds(key));
    assert_eq!(backup.count(|stats| stats.activated), 1);
}

#[test]
fn the_callers_cancel_is_answered_and_the_callee_cancelled() {
    let Ringing { mut backup, alice, bob, invite, key } = ringing("cancelled");
    backup.deliver(1, ALICE, alice.cancel());
    assert_eq!(names(&backup.take(ALICE)), ["200", "487"]);
    let cancel = requests(backup.take(BOB)).pop().expect("Bob hears of it");
    assert_eq!(cancel.method.as_str(), "CANCEL");
    assert_eq!(cancel.headers.top_branch(), invite.headers.top_branch(), "RFC 3261 9.1");
    backup.deliver(2, BOB, bob.answer(&cancel, 200));
    backup.deliver(1, BOB, bob.answer(&invite, 487));
    assert_eq!(names(&backup.take(BOB)), ["ACK"]);
    backup.advance(Duration::from_secs(60));
    assert!(!backup.holds(key));
}
