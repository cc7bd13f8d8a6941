//! One turn on a state tier of three replicas, cut or slowed at an exact word of its links: D01,
//! D03 and D04 of the fault list.
//!
//! A script plays caller and callee. Wanted in each: the call goes on, and the callee hears nothing
//! twice: a second leg, or a second change of the first one, would be a new transaction to it.

use std::time::{Duration, Instant};

use sip_message::{Method, Request};
use vocab::LockToken;

use crate::harness::dialog::Dialog;
use crate::harness::many::{Many, Shape};
use crate::harness::pair::{End, Pair, Talk};
use crate::harness::stage::Stage;
use crate::harness::tap::Word;
use crate::harness::{try_wait_for, wait_for};

const T1: Duration = Duration::from_millis(500);
/// Longer than the lease of a lock, 3 s, which an engine renews each second.
const SLOW: Duration = Duration::from_secs(4);
/// How long an engine stands still.
const STOPPED: Duration = Duration::from_secs(10);
const SOON: Duration = Duration::from_secs(10);

/// One partition, two engines, a tap in front of every state process, and both agents.
struct Case {
    many: Many,
    pair: Pair,
}

impl Case {
    fn new(stage: &Stage) -> Self {
        let callee_at = stage.address();
        let shape = Shape { partitions: 1, is_tapped: true, ..Shape::default() };
        let many = Many::start(stage, callee_at, shape);
        let pair = Pair::new(stage, callee_at, many.edge, T1);
        Self { many, pair }
    }

    /// Both agents work until `wanted` holds.
    fn work_until(&mut self, what: &str, wanted: impl Fn(&Many) -> bool) {
        let began = Instant::now();
        while !wanted(&self.many) {
            self.pair.turn();
            assert!(began.elapsed() < SOON, "waited {SOON:?} in vain for {what}");
        }
    }

    /// Both agents work until this long after `began`.
    fn work_to(&mut self, began: Instant, time: Duration) {
        self.pair.let_work(time.saturating_sub(began.elapsed()));
    }

    fn heard(&mut self, method: &Method) -> Request {
        self.pair.request(End::Callee, method).unwrap_or_else(|what| panic!("{what}"))
    }

    /// Whether the callee has heard something that it has not been asked about.
    fn callee_heard(&self, method: &Method) -> bool {
        self.pair.callee.heard().iter().any(|heard| heard.request(method).is_some())
    }

    fn set_up(&mut self) -> Talk {
        let (caller, _) = self.pair.caller.invite();
        let there = self.heard(&Method::Invite);
        self.answer(caller, &there)
    }

    fn answer(&mut self, caller: Dialog, there: &Request) -> Talk {
        self.pair.callee.respond(there, 180);
        let talk = self.pair.answer(caller, there);
        talk.unwrap_or_else(|what| panic!("{what}"))
    }

    /// The call ends, and the callee has heard nothing that was not wanted.
    fn end(&mut self, mut talk: Talk) {
        let ended = self.pair.hang_up(&mut talk, End::Caller);
        ended.unwrap_or_else(|what| panic!("{what}"));
        self.pair.let_work(2 * T1);
        let rest: Vec<_> =
            self.pair.callee.heard().iter().map(crate::harness::pair::first_line).collect();
        assert!(rest.is_empty(), "the callee heard more than the call has: {rest:?}");
        self.pair.caller.leave();
    }

    /// The callee's half of a re-INVITE of the caller.
    fn agree(&mut self, talk: &mut Talk, there: &Request) {
        self.pair.callee.respond(there, 200);
        let heard = self.pair.response(End::Caller, &Method::Invite, &[200]);
        heard.unwrap_or_else(|what| panic!("{what}"));
        let ack = talk.caller.request(&mut self.pair.caller, Method::Ack);
        self.pair.caller.ask(&ack);
        self.heard(&Method::Ack);
    }

    fn keep(&self, word: Word, of: Option<&str>) {
        self.many.states.iter().for_each(|state| state.tap().keep(word, of));
    }

    fn let_go(&self) -> usize {
        self.many.states.iter().map(|state| state.tap().let_go()).sum()
    }

    /// The engine whose word a tap has caught.
    fn caught(many: &Many) -> Option<String> {
        many.states.iter().find_map(|state| state.tap().caught())
    }

    /// The engine that was given the lock and does not know it yet.
    fn holder(&mut self) -> (usize, String) {
        self.work_until("a lock that is given", |many| Self::caught(many).is_some());
        let name = Self::caught(&self.many).expect("it was seen");
        (if name == "e1" { 0 } else { 1 }, name)
    }

    /// Tokens of the puts that this engine said, or the other one, since `begun` of them.
    fn tokens(&self, begun: usize, name: &str, is_own: bool) -> Vec<LockToken> {
        let puts = self.many.states[0].tap().puts();
        let wanted = puts[begun..].iter().filter(|put| (put.engine == name) == is_own);
        wanted.map(|put| put.token).collect()
    }

    fn puts(&self) -> usize {
        self.many.states[0].tap().puts().len()
    }
}

#[test]
fn d01_a_replica_is_killed_in_the_middle_of_a_put() {
    let stage = Stage::new("d01");
    let mut case = Case::new(&stage);
    let mut told = Vec::new();
    // The put reaches the others only; or it is applied by the one that dies, and never
    // acknowledged.
    for word in [Word::Put, Word::Stored] {
        let primary = case.many.primary(0);
        told.push(killed_at(&mut case, primary, word, "primary"));
        let follower = case.many.follower(0);
        told.push(killed_at(&mut case, follower, word, "follower"));
    }
    stage.say(&format!(
        "the replica died and the call went on: {}; the live replicas held the same each time",
        told.join("; ")
    ));
}

/// A call whose INVITE meets a replica that dies at `word`.
fn killed_at(case: &mut Case, victim: usize, word: Word, role: &str) -> String {
    case.many.states[victim].tap().stop_at(word);
    let (caller, _) = case.pair.caller.invite();
    case.work_until("the word", |many| many.states[victim].tap().is_stopped());
    case.many.kill(victim);
    let began = Instant::now();
    let there = case.heard(&Method::Invite);
    let took = began.elapsed();
    // What has left is stored by every member that is left.
    let same = try_wait_for(Duration::from_secs(1), || {
        let live = Many::replicas(0).filter(|index| *index != victim);
        let held: Vec<_> = live.map(|index| case.many.stamps(index)).collect();
        (held[0] == held[1] && !held[0].is_empty()).then_some(())
    });
    assert!(same.is_some(), "{role} at {word:?}: the live replicas differ");
    let talk = case.answer(caller, &there);
    case.end(talk);
    case.many.states[victim].tap().pass_all();
    case.many.start_again(victim);
    case.many.wait_whole(1);
    format!("{role} at {word:?} after {} ms", took.as_millis())
}

#[test]
fn d03_an_engine_stands_still_with_a_lock_and_comes_back() {
    let stage = Stage::new("d03");
    let mut case = Case::new(&stage);
    // In the middle of its write: the put has been said, and arrives when the engine is back.
    let mut talk = case.set_up();
    case.pair.let_work(T1);
    let begun = case.puts();
    case.keep(Word::Grant, None);
    let invite = talk.caller.request(&mut case.pair.caller, Method::Invite);
    case.pair.caller.ask(&invite);
    let (engine, name) = case.holder();
    case.keep(Word::Put, Some(&name));
    case.let_go_of_grants();
    case.work_until("the put", |many| many.states.iter().all(|s| s.tap().caught().is_some()));
    case.many.engines[engine].signal("-STOP");
    let stopped = Instant::now();
    let there = case.heard(&Method::Invite);
    let took = stopped.elapsed();
    case.agree(&mut talk, &there);
    case.work_to(stopped, STOPPED);
    let refused = case.many.counter("replica_refused");
    let late = case.let_go();
    case.come_back(engine, refused);
    let (old, new) = (case.tokens(begun, &name, true), case.tokens(begun, &name, false));
    assert!(new[0] > old[0], "the next holder's token {:?} is not above {:?}", new[0], old[0]);
    case.end(talk);
    stage.say(&format!(
        "an engine stopped for {} s as it wrote; the repeated re-INVITE went on with the other one \
         after {} ms, under token {} after token {}; {late} late puts refused; nothing twice",
        STOPPED.as_secs(),
        took.as_millis(),
        told(new[0]),
        told(old[0]),
    ));
    granted_and_unread(&stage, &mut case);
}

fn told(token: LockToken) -> String {
    format!("{}.{}", token.view.0, token.counter)
}

/// Before its write: the lock is given to an engine that stands still, and begins its turn when the
/// lock has long been another's.
fn granted_and_unread(stage: &Stage, case: &mut Case) {
    let begun = case.puts();
    case.keep(Word::Grant, None);
    let (caller, _) = case.pair.caller.invite();
    let (engine, name) = case.holder();
    case.many.engines[engine].signal("-STOP");
    let stopped = Instant::now();
    case.let_go();
    let there = case.heard(&Method::Invite);
    let took = stopped.elapsed();
    let talk = case.answer(caller, &there);
    let refused = case.many.counter("replica_refused");
    case.come_back(engine, refused);
    let (old, new) = (case.tokens(begun, &name, true), case.tokens(begun, &name, false));
    assert!(new[0] > old[0], "the next holder's token {:?} is not above {:?}", new[0], old[0]);
    case.end(talk);
    stage.say(&format!(
        "an engine stopped as it was given a lock; the repeated INVITE went on with the other one \
         after {} ms; its own puts, later, were refused; nothing twice",
        took.as_millis(),
    ));
}

impl Case {
    /// Lets go of grants while puts are being kept: the word that is kept is another by now.
    fn let_go_of_grants(&self) {
        self.many.states.iter().for_each(|state| {
            state.tap().flush();
        });
    }

    /// The engine goes on, and what it says under its old lock is refused.
    fn come_back(&mut self, engine: usize, refused: u64) {
        self.many.engines[engine].signal("-CONT");
        let began = Instant::now();
        while self.many.counter("replica_refused") == refused {
            self.pair.let_work(T1 / 10);
            assert!(began.elapsed() < SOON, "its late put was not refused");
        }
        self.many.wait_engines(2);
    }
}

#[test]
fn d04_a_turn_is_longer_than_the_lease_of_its_lock() {
    let stage = Stage::new("d04");
    let mut case = Case::new(&stage);
    for word in [Word::Put, Word::Stored] {
        let before = ["replica_leases_over", "replica_resumed", "replica_refused"]
            .map(|name| case.many.counter(name));
        let mut talk = case.set_up();
        case.pair.let_work(T1);
        case.keep(word, None);
        let invite = talk.caller.request(&mut case.pair.caller, Method::Invite);
        case.pair.caller.ask(&invite);
        case.work_until("the word", |many| Case::caught(many).is_some());
        let began = Instant::now();
        case.work_to(began, SLOW);
        // Repetitions have reached both engines: one waits for the lock.
        let waiters = case.many.waiters();
        assert!(!case.callee_heard(&Method::Invite), "its turn is not over, and it has effects");
        let kept = case.let_go();
        let there = case.heard(&Method::Invite);
        case.agree(&mut talk, &there);
        case.end(talk);
        let after = ["replica_leases_over", "replica_resumed", "replica_refused"]
            .map(|name| case.many.counter(name));
        stage.say(&format!(
            "a turn of {} s, {word:?} kept back ({kept} words), {waiters} waited for its lock: \
             leases over {}, resumed {}, refused {}; the callee heard it once",
            SLOW.as_secs(),
            after[0] - before[0],
            after[1] - before[1],
            after[2] - before[2],
        ));
        assert!(waiters > 0, "the other engine had no part in it");
        assert_eq!(after, before, "the lock did not last as long as its turn");
    }
    wait_for("the end of every lock", SOON, || (case.many.locks() == 0).then_some(()));
}
