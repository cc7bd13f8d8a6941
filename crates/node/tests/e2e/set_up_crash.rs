//! An engine dies at an exact step of a call's set-up; another one goes on.
//!
//! The tap on the engine's tier link keeps one word from arriving, the engine is killed while it
//! waits, and from then on every datagram goes to the other engine. Each case ends its call, so
//! that a second leg or a ghost would be heard.

use std::time::{Duration, Instant};

use sip_message::{Method, Request};

use crate::harness::dialog::Dialog;
use crate::harness::direct_site::DirectSite;
use crate::harness::pair::{End, Pair};
use crate::harness::stage::Stage;
use crate::harness::tap::Word;

/// Shorter than RFC 3261's, for both sides alike: repetitions do not cost the test a minute.
const T1: Duration = Duration::from_millis(100);

/// A fresh site, both agents, and a call whose INVITE has not been sent.
struct Case {
    site: DirectSite,
    pair: Pair,
    began: Instant,
}

impl Case {
    fn new(stage: &Stage) -> Self {
        let callee_at = stage.address();
        let site = DirectSite::start(stage, callee_at, T1);
        let pair = Pair::new(stage, callee_at, site.front.address(), T1);
        // The first engine takes everything until it dies.
        site.front.only(0);
        Self { site, pair, began: Instant::now() }
    }

    /// Kills the first engine; the second one takes everything.
    fn kill(&mut self) {
        self.site.engines[0].kill();
        self.site.front.only(1);
        self.began = Instant::now();
    }

    /// The same, once the link has stopped where it was told to.
    fn kill_when_stopped(&mut self) {
        let began = Instant::now();
        while !self.site.tap.is_stopped() {
            self.pair.turn();
            assert!(began.elapsed() < Duration::from_secs(10), "the link did not stop");
        }
        self.kill();
    }

    fn invite(&mut self) -> (Dialog, Request) {
        self.pair.caller.invite()
    }

    fn there(&mut self) -> Request {
        self.pair.request(End::Callee, &Method::Invite).unwrap_or_else(|what| panic!("{what}"))
    }

    fn ring(&mut self, there: &Request) {
        self.pair.callee.respond(there, 180);
        let heard = self.pair.response(End::Caller, &Method::Invite, &[180]);
        heard.unwrap_or_else(|what| panic!("{what}"));
    }

    /// The call goes on to its end: 200, ACK, BYE, and the callee has seen one INVITE only.
    fn answer_and_end(mut self, caller: Dialog, there: &Request) -> Told {
        let talk = self.pair.answer(caller, there);
        let mut talk = talk.unwrap_or_else(|what| panic!("{what}"));
        let took = self.began.elapsed();
        let ended = self.pair.hang_up(&mut talk, End::Caller);
        ended.unwrap_or_else(|what| panic!("{what}"));
        self.no_second_leg();
        self.told(took)
    }

    fn no_second_leg(&mut self) {
        self.pair.let_work(4 * T1);
        let second = self.pair.callee.take(|heard| heard.request(&Method::Invite).is_some());
        assert!(second.is_none(), "a second leg rang at the callee");
    }

    fn told(&mut self, took: Duration) -> Told {
        let resumes = self.site.state.try_status().expect("it lives").resumes;
        Told { took, resumes }
    }
}

struct Told {
    took: Duration,
    resumes: u64,
}

impl Told {
    fn line(&self, case: &str) -> String {
        format!("{case}: went on after {} ms, {} resumed", self.took.as_millis(), self.resumes)
    }
}

/// The callee answers, and the first engine dies with the answer at `word`.
fn answer_lost_at(stage: &Stage, word: Word) -> Told {
    let mut case = Case::new(stage);
    let (caller, _) = case.invite();
    let there = case.there();
    case.ring(&there);
    case.site.tap.stop_at(word);
    // The callee repeats its 200 until it is acknowledged; the caller repeats nothing.
    let tag = case.pair.callee.respond(&there, 200);
    case.kill_when_stopped();
    let callee = Dialog::incoming(&there, &tag);
    let mut talk = crate::harness::pair::Talk { caller, callee };
    case.pair.acknowledge(&mut talk.caller).unwrap_or_else(|what| panic!("{what}"));
    let took = case.began.elapsed();
    case.pair.hang_up(&mut talk, End::Callee).unwrap_or_else(|what| panic!("{what}"));
    case.no_second_leg();
    case.told(took)
}

/// The caller acknowledges, and the first engine dies with the ACK at `word`.
fn ack_lost_at(stage: &Stage, word: Word) -> Told {
    let mut case = Case::new(stage);
    let (mut caller, _) = case.invite();
    let there = case.there();
    let tag = case.pair.callee.respond(&there, 200);
    let heard = case.pair.response(End::Caller, &Method::Invite, &[200]);
    let heard = heard.unwrap_or_else(|what| panic!("{what}"));
    caller.confirm(heard.response(&Method::Invite).expect("it was asked for"));
    // The turn of the 200 is over when its lock is free.
    case.site.state.wait_until("has no lock", Duration::from_secs(5), |status| status.locks == 0);
    case.site.tap.stop_at(word);
    let ack = caller.request(&mut case.pair.caller, Method::Ack);
    case.pair.caller.ask(&ack);
    case.kill_when_stopped();
    case.pair.request(End::Callee, &Method::Ack).unwrap_or_else(|what| panic!("{what}"));
    let took = case.began.elapsed();
    let callee = Dialog::incoming(&there, &tag);
    let mut talk = crate::harness::pair::Talk { caller, callee };
    case.pair.hang_up(&mut talk, End::Caller).unwrap_or_else(|what| panic!("{what}"));
    case.no_second_leg();
    case.told(took)
}

/// The caller calls, and the first engine dies with the INVITE at `word`.
fn invite_lost_at(stage: &Stage, word: Word) -> Told {
    let mut case = Case::new(stage);
    case.site.tap.stop_at(word);
    let (caller, _) = case.invite();
    case.kill_when_stopped();
    let there = case.there();
    case.ring(&there);
    case.answer_and_end(caller, &there)
}

/// The first engine dies between the INVITE and the 180, with nothing in hand; the callee is slow.
fn killed_before_180(stage: &Stage) -> Told {
    let mut case = Case::new(stage);
    let (caller, _) = case.invite();
    let there = case.there();
    case.kill();
    // RFC 3261 §17.1.1.2: the INVITE is repeated, the same bytes from another engine; the agent
    // compares them.
    case.pair.let_work(4 * T1);
    assert!(case.pair.callee.repetitions > 0, "nobody repeated the INVITE");
    case.ring(&there);
    case.answer_and_end(caller, &there)
}

/// The first engine dies after the 180; the caller changes its mind and nobody rings for ever.
fn killed_after_180_then_cancelled(stage: &Stage) -> Told {
    let mut case = Case::new(stage);
    let (_, invite) = case.invite();
    let there = case.there();
    case.ring(&there);
    case.kill();
    case.pair.caller.cancel(&invite);
    let cancel = case.pair.request(End::Callee, &Method::Cancel);
    let cancel = cancel.unwrap_or_else(|what| panic!("the callee rings for ever: {what}"));
    let took = case.began.elapsed();
    case.pair.callee.respond(&cancel, 200);
    case.pair.callee.respond(&there, 487);
    for (method, status) in [(Method::Cancel, 200), (Method::Invite, 487)] {
        let heard = case.pair.response(End::Caller, &method, &[status]);
        heard.unwrap_or_else(|what| panic!("{what}"));
    }
    case.no_second_leg();
    case.told(took)
}

/// The first engine dies after the 180 and the call is answered.
fn killed_after_180(stage: &Stage) -> Told {
    let mut case = Case::new(stage);
    let (caller, _) = case.invite();
    let there = case.there();
    case.ring(&there);
    case.kill();
    case.answer_and_end(caller, &there)
}

#[test]
fn d05_engine_crash_between_an_answer_and_its_storing() {
    let stage = Stage::new("d05");
    for word in [Word::Ask, Word::Put, Word::Stored] {
        let told = answer_lost_at(&stage, word);
        stage.say(&told.line(&format!("200 of the callee lost at {word:?}")));
        check_resumed(word, &told);
        let told = ack_lost_at(&stage, word);
        stage.say(&told.line(&format!("ACK of the caller lost at {word:?}")));
        check_resumed(word, &told);
    }
}

#[test]
fn d06_engine_crash_during_set_up() {
    let stage = Stage::new("d06");
    for word in [Word::Ask, Word::Put, Word::Stored] {
        let told = invite_lost_at(&stage, word);
        stage.say(&told.line(&format!("INVITE lost at {word:?}")));
        check_resumed(word, &told);
    }
    stage.say(&killed_before_180(&stage).line("killed before the 180"));
    stage.say(&killed_after_180(&stage).line("killed after the 180"));
    stage.say(&killed_after_180_then_cancelled(&stage).line("killed after the 180, cancelled"));
}

/// What was stored is resumed by another engine; what was not comes again from outside.
fn check_resumed(word: Word, told: &Told) {
    let expected = match word {
        Word::Ask | Word::Grant | Word::Put => 0,
        Word::Stored => 1,
    };
    assert_eq!(told.resumes, expected, "{word:?}");
}
