//! Calls that cross while they ring: the other site goes on with what was begun at the dead one.

use std::time::Duration;

use sip_message::Request;
use tier_protocol::{Entry, GateWord, Hint, PutFlags, Record, SiteState};
use vocab::{CallKey, SiteId};

use crate::inbox::apply;
use crate::ua::{Ua, names, requests, responses};
use crate::world::{ALICE, BOB, World, sites};

/// A call that rings, at the site that takes it over.
struct Ringing {
    home: World,
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
    Ringing { home, backup, alice, bob, invite, key }
}

impl Ringing {
    /// The call is answered at its home; what would cross of it then.
    fn answered_at_home(&mut self) -> Record {
        self.home.deliver(1, BOB, self.bob.answer(&self.invite, 200));
        let answer = responses(self.home.take(ALICE)).pop().expect("Alice has Bob's answer");
        self.alice.learn(&answer);
        self.home.deliver(2, ALICE, self.alice.ack());
        assert_eq!(names(&self.home.take(BOB)), ["ACK"]);
        assert!(self.home.flags.boundary);
        self.home.last_put().trimmed()
    }

    /// The dead home's last words wait on the queue.
    fn home_waits_on_queue(&mut self, waits: bool) {
        let waiting: Vec<SiteId> = waits.then_some(SiteId(1)).into_iter().collect();
        for engine in [1, 2] {
            let mut word = sites(SiteState::Serving, &[], &[1], waiting.len() as u64);
            if let GateWord::Sites { waiting: told, .. } = &mut word {
                told.clone_from(&waiting);
            }
            self.backup.gate(engine, word);
        }
    }
}

#[test]
fn a_ringing_copy_does_not_wake_while_the_answered_call_waits_on_the_queue() {
    let mut call = ringing("answered-elsewhere");
    let answered = call.answered_at_home();
    call.home_waits_on_queue(true);
    let bye = call.alice.request("BYE");
    call.backup.deliver(2, ALICE, bye.clone());
    call.backup.deliver(2, ALICE, bye);
    call.backup.advance(Duration::from_secs(5));
    assert!(call.backup.take(ALICE).is_empty(), "nobody knows yet");
    assert!(call.backup.take(BOB).is_empty());
    // An engine that stood still had the batch; another one has it now.
    apply(&mut call.backup, 2, &[Entry::Record(answered)]);
    call.home_waits_on_queue(false);
    call.backup.advance(Duration::from_secs(1));
    let bye = requests(call.backup.take(BOB)).pop().expect("Bob hears of it");
    assert_eq!(bye.method.as_str(), "BYE");
    call.backup.deliver(1, BOB, call.bob.answer(&bye, 200));
    assert_eq!(names(&call.backup.take(ALICE)), ["200"]);
    assert_eq!(call.backup.count(|stats| stats.early_put_off), 1);
    assert_eq!(call.backup.count(|stats| stats.early_in_doubt), 0);
}

#[test]
fn a_queue_that_does_not_drain_keeps_nobody_for_ever() {
    let mut call = ringing("not-for-ever");
    call.home_waits_on_queue(true);
    call.backup.deliver(1, BOB, call.bob.answer(&call.invite, 200));
    call.backup.advance(Duration::from_secs(11));
    assert!(call.backup.take(ALICE).is_empty());
    call.backup.advance(Duration::from_secs(2));
    assert_eq!(names(&call.backup.take(ALICE))[0], "200");
    assert_eq!(call.backup.count(|stats| stats.early_in_doubt), 1);
}

#[test]
fn the_callees_answer_reaches_the_caller_and_the_ack_the_callee() {
    let Ringing { mut backup, mut alice, mut bob, invite, key, .. } = ringing("answered");
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
    let Ringing { mut backup, alice, bob, invite, key, .. } = ringing("cancelled");
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
