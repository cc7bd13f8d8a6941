//! Calls that break their turns: counted, set aside, ended once, never crossed; of one replica and
//! of three.

mod members;

use tier_protocol::{PullAnswer, SetAside, Strike, StrikeKind};

use super::*;

fn strike(token: LockToken) -> Strike {
    Strike {
        kind: StrikeKind::Panicked,
        engine: EngineId(0),
        token,
        age: Duration::ZERO,
        what: "on purpose".into(),
        message: Bytes::from_static(b"INFO sip:b@example.net SIP/2.0\r\n"),
    }
}

fn poisoned(key: CallKey, token: LockToken) -> Command {
    Command::Poisoned { view: VIEW, key, strike: strike(token) }
}

impl Bench {
    /// A turn that panics: its engine says so and unlocks.
    fn panic(&mut self, engine: EngineId, key: CallKey) -> Vec<Output> {
        let (token, _) = self.lock(engine, key);
        self.command(engine, poisoned(key, token));
        self.unlock(engine, key, token);
        self.said.clone()
    }

    /// What a condemned call is handed with: the engine, the token, the record.
    fn handed(said: &[Output]) -> (EngineId, LockToken, Record) {
        match &grants(said)[..] {
            [(engine, _, token, Cause::Quarantined, Some(record), _)] => {
                (*engine, *token, record.clone())
            }
            other => panic!("{other:?}"),
        }
    }

    fn aside(&self, key: CallKey) -> SetAside {
        self.replica.quarantined_call(self.now, key).expect("it is set aside")
    }

    /// A call that the other site has, and that panics twice. The last words.
    fn condemned(&mut self, key: CallKey) -> Vec<Output> {
        self.alive(&[THERE]);
        self.turn(key, BOUNDARY, |_| {});
        let sent = self.pass(ms(1_000));
        let (site, id, _) = batches(&sent).remove(0);
        self.site(SiteInput::BatchStored { site, id });
        assert!(grants(&self.panic(A, key)).is_empty(), "one is none");
        self.panic(A, key)
    }
}

#[test]
fn a_call_that_panics_twice_is_set_aside_and_handed_once() {
    let mut bench = Bench::new();
    bench.input(Input::EngineUp { engine: B });
    let said = bench.condemned(key(1));
    let (engine, token, record) = Bench::handed(&said);
    let aside = bench.aside(key(1));
    let kept = aside.record.clone().expect("a record");
    assert_eq!((kept.crossing, kept.local), (record.crossing, record.local));
    assert_eq!(aside.strikes.len(), 2);
    assert_eq!(aside.strikes[0].engine, A, "the replica knows whose words these are");
    assert!(aside.strikes[1].message.starts_with(b"INFO"));
    // Nobody else gets it meanwhile.
    assert!(matches!(bench.ask(B, key(1), false)[..], [Reply::Queued { .. }]));
    // It says nothing under the lock: it could not.
    bench.unlock(engine, key(1), token);
    assert!(bench.held(key(1)).is_none());
    assert!(bench.replies().iter().any(|reply| matches!(reply, Reply::NotHere { .. })));
    let counts = bench.replica.stats(bench.now).counts;
    assert_eq!((counts.quarantined_panicked, counts.condemned_removed), (1, 1));
    let said = bench.pass(ms(60_000));
    assert!(grants(&said).is_empty());
    let removals: Vec<_> = batches(&said).into_iter().flat_map(|(_, _, all)| all).collect();
    let is_removal = |entry: &Entry| matches!(entry, Entry::Tombstone(_));
    assert!(!removals.is_empty() && removals.iter().all(is_removal), "{removals:?}");
}

#[test]
fn what_its_end_leaves_lingers_and_its_end_crosses() {
    let mut bench = Bench::new();
    let said = bench.condemned(key(1));
    let (_, token, record) = Bench::handed(&said);
    let ended = PutFlags { boundary: false, unreleased: true, ended: true, ..BOUNDARY };
    bench.put_next(key(1), token, Some(record), ended, |_| {});
    bench.unlock(A, key(1), token);
    // Its BYE has no answer yet: it is stepped like any call, and stays over for other sites.
    bench.turn(key(1), BUSY, |_| {});
    bench.turn(key(1), BOUNDARY, |_| {});
    let said = bench.pass(ms(60_000));
    for (_, _, entries) in batches(&said) {
        assert!(entries.iter().all(|entry| matches!(entry, Entry::Tombstone(_))), "{entries:?}");
    }
    assert_eq!(batches(&said).len(), 4, "one removal, repeated until it is acknowledged");
    bench.turn(key(1), ENDED, |_| {});
    assert!(!bench.replica.get(bench.now, key(1)).expect("held").is_set_aside);
    bench.delete(key(1));
    assert_eq!(bench.aside(key(1)).strikes.len(), 2, "it is kept for whoever wants to look");
}

#[test]
fn what_lingers_and_breaks_again_is_removed() {
    let mut bench = Bench::new();
    let said = bench.condemned(key(1));
    let (_, token, record) = Bench::handed(&said);
    bench.put_next(key(1), token, Some(record), ENDED, |_| {});
    bench.unlock(A, key(1), token);
    bench.panic(A, key(1));
    bench.panic(A, key(1));
    assert!(bench.held(key(1)).is_none());
    assert!(grants(&bench.pass(ms(60_000))).is_empty());
}

#[test]
fn a_healthy_put_ends_the_suspicion() {
    let mut bench = Bench::new();
    bench.turn(key(1), BOUNDARY, |_| {});
    for _ in 0..5 {
        bench.panic(A, key(1));
        assert_eq!(bench.replica.get(bench.now, key(1)).expect("held").strikes, 1);
        bench.turn(key(1), BOUNDARY, |_| {});
        assert_eq!(bench.replica.get(bench.now, key(1)).expect("held").strikes, 0);
    }
    assert_eq!(bench.replica.stats(bench.now).quarantined, 0);
}

#[test]
fn the_rest_of_a_turn_that_panicked_is_no_healthy_turn() {
    let mut bench = Bench::new();
    bench.turn(key(1), BOUNDARY, |_| {});
    for _ in 0..2 {
        let (token, old) = bench.lock(A, key(1));
        // Twice in one turn is once.
        bench.command(A, poisoned(key(1), token));
        bench.command(A, poisoned(key(1), token));
        bench.put_next(key(1), token, old, BOUNDARY, |_| {});
        bench.unlock(A, key(1), token);
    }
    assert_eq!(bench.aside(key(1)).strikes.len(), 2);
}

#[test]
fn an_unlock_alone_ends_no_suspicion() {
    let mut bench = Bench::new();
    bench.turn(key(1), BOUNDARY, |_| {});
    bench.panic(A, key(1));
    let (token, _) = bench.lock(A, key(1));
    bench.unlock(A, key(1), token);
    let said = bench.panic(A, key(1));
    Bench::handed(&said);
}

#[test]
fn locks_that_break_twice_without_a_put_condemn() {
    let mut bench = Bench::new();
    bench.turn(key(1), BOUNDARY, |_| {});
    bench.lock(A, key(1));
    bench.input(Input::EngineDown { engine: A });
    bench.input(Input::EngineUp { engine: B });
    assert!(bench.replica.quarantined(bench.now).is_empty());
    bench.lock(B, key(1));
    bench.input(Input::EngineDown { engine: B });
    assert!(bench.replica.quarantined(bench.now).is_empty(), "their links may be back soon");
    bench.pass(ms(1_000));
    bench.input(Input::EngineUp { engine: EngineId(3) });
    let replies = bench.ask(EngineId(3), key(1), false);
    let [Reply::Granted { cause: Cause::Quarantined, .. }] = replies[..] else {
        panic!("{replies:?}")
    };
    assert_eq!(bench.aside(key(1)).kind(), StrikeKind::Broken);
    // When that breaks the one that is to end it too, nobody does.
    bench.input(Input::EngineDown { engine: EngineId(3) });
    bench.pass(ms(1_000));
    bench.input(Input::EngineUp { engine: EngineId(5) });
    bench.ask(EngineId(5), key(1), false);
    assert!(bench.held(key(1)).is_none());
    let said = bench.input(Input::EngineUp { engine: EngineId(4) }).to_vec();
    assert!(grants(&said).is_empty());
}

#[test]
fn a_lock_that_broke_after_a_put_is_no_strike() {
    let mut bench = Bench::new();
    let (token, _) = bench.lock(A, key(1));
    bench.put_next(key(1), token, None, UNRELEASED, |_| {});
    bench.input(Input::EngineDown { engine: A });
    assert_eq!(bench.replica.stats(bench.now).counts.strikes, 0);
}

#[test]
fn what_breaks_engines_before_it_begins_is_refused_for_a_while() {
    let mut bench = Bench::new();
    bench.input(Input::EngineUp { engine: B });
    for engine in [A, B] {
        bench.lock(engine, key(1));
        bench.input(Input::EngineDown { engine });
    }
    bench.input(Input::EngineUp { engine: EngineId(3) });
    let (a, key_1) = (EngineId(3), key(1));
    assert!(matches!(bench.ask(a, key_1, true)[..], [Reply::Quarantined { .. }]));
    assert!(matches!(bench.ask(a, key_1, false)[..], [Reply::NotHere { .. }]));
    assert!(bench.replica.quarantined(bench.now).is_empty(), "there is nothing to look at");
    bench.pass(ms(300_000));
    bench.lock(a, key(1));
}

#[test]
fn a_link_that_is_back_acquits_its_call() {
    let mut bench = Bench::new();
    bench.turn(key(1), BOUNDARY, |_| {});
    bench.input(Input::EngineUp { engine: B });
    for engine in [A, B] {
        bench.lock(engine, key(1));
        bench.input(Input::EngineDown { engine });
    }
    for engine in [A, B] {
        bench.input(Input::EngineUp { engine });
    }
    bench.pass(ms(1_000));
    bench.lock(A, key(1));
    assert!(bench.replica.quarantined(bench.now).is_empty());
}

#[test]
fn whoever_asks_for_a_condemned_call_ends_it() {
    let mut bench = Bench::with(|config| config.limits.handed_max = 0);
    let said = bench.condemned(key(1));
    assert!(grants(&said).is_empty(), "there is no room to hand it");
    let replies = bench.ask(A, key(1), false);
    let [Reply::Granted { cause: Cause::Quarantined, .. }] = replies[..] else {
        panic!("{replies:?}")
    };
}

#[test]
fn a_condemned_call_neither_crosses_nor_is_told_of() {
    let mut bench = Bench::new();
    bench.input(Input::EngineUp { engine: B });
    bench.turn(key(1), BOUNDARY, |_| {});
    // Its newest state is ready to cross when it breaks.
    bench.panic(A, key(1));
    bench.panic(A, key(1));
    let mut said = bench.alive(&[THERE]);
    bench.input(Input::Order(Order::Site(crate::SiteOrder::Sweep { site: THERE })));
    said.extend(bench.pass(ms(5_000)));
    assert_eq!(batches(&said), [], "nothing of it goes");
    let said = bench.site(SiteInput::Pull { site: THERE, key: key(1), ask: 1 });
    assert!(said.iter().any(|output| matches!(
        output,
        Output::Gate(GateBound::PullAnswer { answer: PullAnswer::NoSuch, .. })
    )));
    let said = bench.site(SiteInput::KeysetAsk { site: THERE, cursor: None, ask: 2 });
    let [Output::Gate(GateBound::KeysetPage { entries, .. })] = &said[..] else {
        panic!("{said:?}")
    };
    assert_eq!(entries[..], []);
}

#[test]
fn a_sleeping_call_that_cannot_be_woken_goes_and_a_better_version_lifts_it() {
    let mut bench = Bench::new();
    bench.store_dormant(from_there(1, 3));
    bench.input(Input::Order(Order::Site(crate::SiteOrder::ActivateAll {
        site: THERE,
        force: false,
    })));
    for _ in 0..2 {
        let mut said = bench.said.clone();
        while grants(&said).is_empty() {
            said = bench.pass(ms(500));
        }
        let (engine, _, token, cause, _, _) = grants(&said).remove(0);
        assert_eq!(cause, Cause::Activate);
        bench.command(engine, poisoned(key(1), token));
        bench.unlock(engine, key(1), token);
    }
    assert!(bench.held(key(1)).is_none());
    assert!(bench.aside(key(1)).dormant);
    // The same again is not better.
    assert_eq!(bench.store_dormant(from_there(1, 3)), DormantOutcome::Stale);
    assert!(bench.held(key(1)).is_none());
    assert_eq!(bench.store_dormant(from_there(1, 4)), DormantOutcome::Stored);
    let stats = bench.replica.stats(bench.now);
    assert_eq!((stats.quarantined, stats.counts.quarantine_lifted), (0, 1));
    let said = bench.pass(ms(60_000));
    assert_eq!(batches(&said), [], "its home hears of no removal");
}

#[test]
fn d21_an_entry_that_cannot_be_read_is_kept_with_its_key_until_a_good_one_comes() {
    let mut bench = Bench::new();
    bench.store_dormant(from_there(1, 3));
    let kind = StrikeKind::Unreadable;
    let strike = Strike { kind, ..strike(LockToken::default()) };
    bench.command(A, Command::Poisoned { view: VIEW, key: key(1), strike });
    assert_eq!(bench.held(key(1)), Some(stamp(65_536, THERE, 3)), "what was held stays");
    assert_eq!(bench.aside(key(1)).record, None);
    assert_eq!(bench.store_dormant(from_there(1, 4)), DormantOutcome::Stored);
    assert_eq!(bench.replica.stats(bench.now).counts.quarantine_lifted, 1);
}

#[test]
fn the_quarantine_is_bounded_and_an_operator_empties_it() {
    let mut bench = Bench::with(|config| config.limits.quarantine_calls_max = 3);
    for number in 1..=5 {
        bench.turn(key(number), BOUNDARY, |_| {});
        bench.panic(A, key(number));
        bench.panic(A, key(number));
        bench.pass(ms(10));
    }
    let keys = |bench: &Bench| -> Vec<u8> {
        bench.replica.quarantined(bench.now).iter().map(|aside| aside.key.0[0]).collect()
    };
    assert_eq!(keys(&bench), [3, 4, 5], "the oldest went");
    assert_eq!(bench.replica.stats(bench.now).counts.quarantine_lost, 2);
    assert_eq!(bench.aside(key(3)).age, ms(30));
    bench.input(Input::Order(Order::DropQuarantined(Some(key(4)))));
    assert_eq!(keys(&bench), [3, 5]);
    bench.input(Input::Order(Order::DropQuarantined(None)));
    assert!(keys(&bench).is_empty());
    let stats = bench.replica.stats(bench.now);
    assert_eq!((stats.quarantined_bytes, stats.counts.quarantine_dropped), (0, 3));
}

#[test]
fn suspects_are_bounded() {
    let mut bench = Bench::with(|config| config.limits.suspects_max = 2);
    for number in 1..=3 {
        bench.turn(key(number), BOUNDARY, |_| {});
        bench.panic(A, key(number));
    }
    let strikes = |number| bench.replica.get(bench.now, key(number)).expect("held").strikes;
    assert_eq!([1, 2, 3].map(strikes), [0, 1, 1]);
}
