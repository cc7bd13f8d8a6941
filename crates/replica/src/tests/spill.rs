//! Records that leave memory, and come back.

mod away;
mod crosses;

use std::collections::BTreeMap;

use super::*;
use crate::{DatabaseWord, FoundRow, Refused, Spill, SpillAfter};

/// A database as the shell shows it: one row a key, the newer stamp wins.
#[derive(Default)]
pub(super) struct Disk {
    pub(super) rows: BTreeMap<CallKey, DiskRow>,
}

#[derive(Clone)]
pub(super) struct DiskRow {
    pub(super) stamp: Stamp,
    pub(super) record: Bytes,
    /// By its own clock.
    pub(super) put_at: Instant,
    pub(super) view: ViewNumber,
}

impl Disk {
    /// Does what is asked, and says so.
    pub(super) fn carry_out(&mut self, now: Instant, ask: DatabaseAsk) -> Option<DatabaseWord> {
        match ask {
            DatabaseAsk::Store { view, rows } => {
                let names = rows.iter().map(|row| (row.key, row.stamp)).collect();
                for row in rows {
                    let (stamp, put_at) = (row.stamp, now - row.age);
                    let new = DiskRow { stamp, record: row.record, put_at, view };
                    let held = self.rows.entry(row.key).or_insert_with(|| new.clone());
                    if new.stamp >= held.stamp {
                        *held = DiskRow { view: view.max(held.view), ..new };
                    }
                }
                Some(DatabaseWord::Stored { rows: names })
            }
            DatabaseAsk::Fetch { key, stamp: asked } => {
                let row = self.rows.get(&key).map(|row| FoundRow {
                    stamp: row.stamp,
                    record: row.record.clone(),
                    age: now.since(row.put_at),
                });
                Some(DatabaseWord::Fetched { key, asked, row })
            }
            DatabaseAsk::Remove { view, rows } => {
                for (key, stamp) in rows {
                    self.rows.retain(|of, row| *of != key || row.stamp > stamp || row.view > view);
                }
                None
            }
            DatabaseAsk::Clear { slots, view } => {
                self.rows.retain(|key, row| !slots.contains(key.slot()) || row.view >= view);
                Some(DatabaseWord::Cleared { view })
            }
        }
    }
}

/// What a database that does nothing says to an ask.
pub(super) fn refused(ask: &DatabaseAsk) -> DatabaseWord {
    DatabaseWord::Refused(match ask {
        DatabaseAsk::Store { rows, .. } => {
            Refused::Store { keys: rows.iter().map(|row| row.key).collect() }
        }
        DatabaseAsk::Fetch { key, .. } => Refused::Fetch { key: *key },
        DatabaseAsk::Remove { .. } => Refused::Remove,
        DatabaseAsk::Clear { .. } => Refused::Clear,
    })
}

impl Bench {
    pub(super) fn spilling(change: impl FnOnce(&mut Config)) -> Self {
        Self::with(|config| {
            config.spill = Some(Spill::default());
            config.backup_to = None;
            change(config);
        })
    }

    pub(super) fn word(&mut self, word: DatabaseWord) -> Vec<Output> {
        self.input(Input::Database(word)).to_vec()
    }

    /// The database does all that was asked, at once. What the replica said to that.
    pub(super) fn serve(&mut self, disk: &mut Disk) -> Vec<Output> {
        let mut said = Vec::new();
        while let Some(ask) = self.asks.pop_front() {
            if let Some(word) = disk.carry_out(self.now, ask) {
                said.extend(self.word(word));
            }
        }
        said
    }

    /// Lets time pass, with a database that does at each wake-up what was asked.
    pub(super) fn pass_with(&mut self, disk: &mut Disk, time: Duration) -> Vec<Output> {
        let until = self.now + time;
        let mut said = self.serve(disk);
        while self.wake.0 <= until {
            let step = self.wake.0.since(self.now);
            said.extend(self.pass(step));
            said.extend(self.serve(disk));
        }
        said.extend(self.pass(until.since(self.now)));
        said.extend(self.serve(disk));
        said
    }

    pub(super) fn spilled(&self) -> u64 {
        self.replica.stats(self.now).spill.calls
    }

    fn is_spilled(&self, key: CallKey) -> bool {
        self.replica.get(self.now, key).is_some_and(|story| story.summary.is_spilled)
    }

    /// A call that has left memory.
    pub(super) fn settled(&mut self, disk: &mut Disk, key: CallKey) -> Stamp {
        let stamp = self.turn(key, BOUNDARY, |_| {});
        self.pass_with(disk, ms(60_000));
        assert!(self.is_spilled(key));
        stamp
    }

    /// The grant of a lock that waited for its row.
    pub(super) fn lock_spilled(
        &mut self,
        disk: &mut Disk,
        key: CallKey,
    ) -> (LockToken, Option<Record>) {
        let turn = self.turn + 1;
        assert_eq!(self.ask(A, key, false), [Reply::Queued { key, turn }]);
        let said = self.serve(disk);
        match grants(&said).as_slice() {
            [(A, of, token, Cause::Asked { .. }, record, false)] if *of == key => {
                (*token, record.clone())
            }
            other => panic!("{other:?}"),
        }
    }
}

fn steady_for(seconds: u64) -> SpillAfter {
    SpillAfter::Steady(Duration::from_secs(seconds))
}

#[test]
fn a_call_that_is_left_alone_leaves_memory_when_its_row_is_durable() {
    let (mut bench, mut disk) = (Bench::spilling(|_| {}), Disk::default());
    bench.serve(&mut disk);
    let stamp = bench.turn(key(1), BOUNDARY, |record| record.header.deadline = Some(ms(900_000)));
    let before = bench.replica.digest();
    bench.pass(ms(59_999));
    assert_eq!(bench.asks, []);
    bench.pass(ms(1));
    let Some(DatabaseAsk::Store { view: VIEW, rows }) = bench.asks.front() else {
        panic!("{:?}", bench.asks);
    };
    let row = &rows[0];
    assert_eq!((rows.len(), row.key, row.stamp, row.age), (1, key(1), stamp, ms(60_000)));
    assert_eq!(row.deadline, Some(ms(900_000)));
    assert!(!bench.is_spilled(key(1)), "it may not be durable");
    assert_eq!(bench.serve(&mut disk), []);
    let stats = bench.replica.stats(bench.now);
    assert_eq!((stats.active, stats.bytes, stats.spill.calls), (1, 0, 1));
    assert_eq!((stats.counts.spilled, stats.counts.rows_stored), (1, 1));
    assert_eq!(bench.held(key(1)), Some(stamp));
    assert_eq!(bench.replica.digest(), before, "a comparison finds no difference");
    let story = bench.replica.get(bench.now, key(1)).expect("known");
    assert_eq!((story.due_in, story.header, story.at_boundary), (Some(ms(840_000)), None, true));
    assert_eq!(bench.replica.calls(None, 9), [story.summary]);
}

#[test]
fn it_comes_back_for_a_message_as_it_was() {
    let (mut bench, mut disk) = (Bench::spilling(|_| {}), Disk::default());
    bench.turn(key(1), BOUNDARY, |_| {});
    let (token, record) = bench.lock(A, key(1));
    bench.unlock(A, key(1), token);
    bench.pass_with(&mut disk, ms(60_000));
    assert!(bench.is_spilled(key(1)));
    bench.pass(ms(40_000));
    let (token, back) = bench.lock_spilled(&mut disk, key(1));
    let (mut back, record) = (back.expect("a record"), record.expect("a record"));
    assert_eq!(back.header.age, ms(100_000));
    back.header.age = record.header.age;
    assert_eq!(back, record);
    assert_eq!(bench.spilled(), 0);
    let next = bench.put_next(key(1), token, Some(back), BOUNDARY, |_| {});
    bench.unlock(A, key(1), token);
    bench.pass_with(&mut disk, ms(60_000));
    assert_eq!(disk.rows[&key(1)].stamp, next);
    assert_eq!(bench.replica.stats(bench.now).counts.rows_removed, 0, "it was replaced");
}

#[test]
fn what_was_fetched_and_not_put_leaves_without_a_row() {
    let (mut bench, mut disk) = (Bench::spilling(|_| {}), Disk::default());
    bench.settled(&mut disk, key(1));
    let (token, _) = bench.lock_spilled(&mut disk, key(1));
    bench.unlock(A, key(1), token);
    bench.pass(ms(59_999));
    assert_eq!(bench.spilled(), 0);
    bench.pass(ms(1));
    assert_eq!((bench.spilled(), bench.asks.len()), (1, 0));
    bench.lock_spilled(&mut disk, key(1));
}

#[test]
fn only_calls_that_rest_leave() {
    let (mut bench, mut disk) = (Bench::spilling(|_| {}), Disk::default());
    bench.turn(key(1), BUSY, |_| {});
    bench.turn(key(2), BOUNDARY, |record| record.header.hints = vec![(1, Hint::Busy)]);
    bench.turn(key(3), ENDED, |_| {});
    bench.turn(key(4), BOUNDARY, |_| {});
    bench.turn(key(4), BUSY, |_| {});
    bench.lock(A, key(5));
    bench.site(SiteInput::Superseded(vec![tier_protocol::Superseded {
        key: key(6),
        epoch: Epoch::of_start(THERE, 4),
    }]));
    bench.turn(key(7), BOUNDARY, |record| record.header.deadline = Some(ms(65_000)));
    for _ in 0..8 {
        bench.pass_with(&mut disk, ms(8_000));
        let lock = bench.replica.get(bench.now, key(5)).and_then(|story| story.lock);
        let token = lock.expect("held").token;
        bench.command(A, Command::Renew { view: VIEW, key: key(5), token });
    }
    assert!(disk.rows.is_empty());
    assert_eq!(bench.spilled(), 0);
}

#[test]
fn a_record_whose_effects_may_not_have_left_stays() {
    let (mut bench, mut disk) = (Bench::spilling(|_| {}), Disk::default());
    let (token, old) = bench.lock(A, key(1));
    bench.put_next(key(1), token, old, UNRELEASED, |_| {});
    bench.input(Input::EngineDown { engine: A });
    bench.pass_with(&mut disk, ms(600_000));
    assert!(disk.rows.is_empty());
}

#[test]
fn a_put_that_comes_while_the_row_is_written_counts() {
    let (mut bench, mut disk) = (Bench::spilling(|_| {}), Disk::default());
    bench.serve(&mut disk);
    let first = bench.turn(key(1), BOUNDARY, |_| {});
    bench.pass(ms(60_000));
    let second = bench.turn(key(1), BOUNDARY, |_| {});
    bench.serve(&mut disk);
    assert_eq!((bench.spilled(), bench.held(key(1))), (0, Some(second)));
    assert_eq!(disk.rows[&key(1)].stamp, first);
    bench.pass_with(&mut disk, ms(59_999));
    assert_eq!(bench.spilled(), 0);
    bench.pass_with(&mut disk, ms(1));
    assert_eq!((bench.spilled(), disk.rows[&key(1)].stamp), (1, second));
}

#[test]
fn a_lock_that_is_taken_while_the_row_is_written_counts() {
    let (mut bench, mut disk) = (Bench::spilling(|_| {}), Disk::default());
    bench.serve(&mut disk);
    bench.turn(key(1), BOUNDARY, |_| {});
    bench.pass(ms(60_000));
    let (token, _) = bench.lock(A, key(1));
    bench.serve(&mut disk);
    assert_eq!(bench.spilled(), 0);
    bench.unlock(A, key(1), token);
    bench.pass(ms(60_000));
    assert_eq!((bench.spilled(), bench.asks.len()), (1, 0), "its row is there");
}

#[test]
fn the_application_that_waits_longest_decides() {
    let (mut bench, mut disk) = (
        Bench::spilling(|config| {
            let spill = config.spill.as_mut().expect("set");
            spill.after = steady_for(10);
            let afters = [(2, steady_for(20)), (3, steady_for(5)), (4, SpillAfter::Never)];
            spill.after_by_application = BTreeMap::from(afters);
        }),
        Disk::default(),
    );
    let of = |applications: &'static [u16]| {
        move |record: &mut Record| {
            record.header.hints = applications.iter().map(|a| (*a, Hint::Steady)).collect();
        }
    };
    bench.turn(key(1), BOUNDARY, of(&[3]));
    bench.turn(key(2), BOUNDARY, of(&[1, 3]));
    bench.turn(key(3), BOUNDARY, of(&[3, 2, 1]));
    bench.turn(key(4), BOUNDARY, of(&[1, 4]));
    let mut gone = Vec::new();
    for _ in 0..30 {
        bench.pass_with(&mut disk, ms(5_000));
        gone.push(bench.spilled());
    }
    assert_eq!(gone[..4], [1, 2, 2, 3]);
    assert_eq!(gone.last(), Some(&3));
}

#[test]
fn a_wall_clock_that_is_set_anew_moves_no_deadline() {
    for (name, moved) in [("back", -3_600_i64), ("forth", 3_600)] {
        let (mut bench, mut disk) = (Bench::spilling(|_| {}), Disk::default());
        bench.turn(key(1), BOUNDARY, |record| record.header.deadline = Some(ms(900_000)));
        bench.pass_with(&mut disk, ms(300_000));
        assert!(bench.is_spilled(key(1)));
        let row = disk.rows.get_mut(&key(1)).unwrap();
        let by = Duration::from_secs(moved.unsigned_abs());
        row.put_at = if moved < 0 { row.put_at + by } else { row.put_at - by };
        let record = bench.lock_spilled(&mut disk, key(1)).1.expect("it has a row");
        assert_eq!(record.header.age, ms(300_000), "set {name}");
    }
}

#[test]
fn a_deadline_of_a_spilled_call_is_handed_once() {
    let (mut bench, mut disk) = (Bench::spilling(|_| {}), Disk::default());
    bench.turn(key(1), BOUNDARY, |record| record.header.deadline = Some(ms(300_000)));
    let said = bench.pass_with(&mut disk, ms(299_999));
    assert_eq!((grants(&said).len(), bench.spilled()), (0, 1));
    bench.pass(ms(1));
    assert_eq!(bench.asks.len(), 1);
    let said = bench.serve(&mut disk);
    let granted = grants(&said);
    let [(A, _, token, Cause::Due, record, false)] = granted.as_slice() else {
        panic!("{said:?}");
    };
    let token = *token;
    assert_eq!(record.as_ref().expect("back").header.age, ms(300_000));
    bench.put_next(key(1), token, record.clone(), BOUNDARY, |record| record.header.deadline = None);
    bench.unlock(A, key(1), token);
    let said = bench.pass_with(&mut disk, ms(900_000));
    assert_eq!((grants(&said).len(), bench.spilled()), (0, 1));
}

#[test]
fn a_call_is_torn_down_from_its_row_and_the_row_goes() {
    let (mut bench, mut disk) = (Bench::spilling(|_| {}), Disk::default());
    let base = bench.settled(&mut disk, key(1));
    let (token, _) = bench.lock_spilled(&mut disk, key(1));
    let stamp = Stamp { token, version: Version(base.version.0 + 1), ..base };
    let tombstone = Tombstone { key: key(1), stamp };
    bench.command(A, Command::Delete { view: VIEW, tombstone, base });
    assert_eq!(bench.held(key(1)), None);
    bench.serve(&mut disk);
    assert!(disk.rows.is_empty());
    let stats = bench.replica.stats(bench.now);
    assert_eq!((stats.active, stats.spill.calls, stats.counts.rows_removed), (0, 0, 1));
}

#[test]
fn a_row_that_is_lost_ends_the_call_and_no_turn_hangs() {
    let (mut bench, mut disk) = (Bench::spilling(|_| {}), Disk::default());
    bench.settled(&mut disk, key(1));
    bench.settled(&mut disk, key(2));
    disk.rows.clear();
    let turn = bench.turn + 1;
    bench.ask(A, key(1), false);
    bench.ask(A, key(2), true);
    let said = bench.serve(&mut disk);
    let refused: Vec<_> = bench.said.clone();
    let not_here = Reply::NotHere { key: key(1), turn };
    assert!(said.iter().any(|o| matches!(o, Output::Reply { reply, .. } if *reply == not_here)));
    let granted = grants(&said);
    assert_eq!((granted.len(), granted[0].1, granted[0].4.is_none()), (1, key(2), true));
    let stats = bench.replica.stats(bench.now);
    assert_eq!((stats.counts.rows_lost, stats.spill.lost_last), (2, Some(key(2))), "{refused:?}");
    assert_eq!((stats.active, stats.spill.calls), (0, 0));
}

#[test]
fn a_row_that_is_older_or_broken_is_lost_and_a_newer_one_counts() {
    let (mut bench, mut disk) = (Bench::spilling(|_| {}), Disk::default());
    let stamps: Vec<_> = (1..=4).map(|number| bench.settled(&mut disk, key(number))).collect();
    let mut old = stamps[0];
    old.token.counter -= 1;
    disk.rows.get_mut(&key(1)).expect("a row").stamp = old;
    disk.rows.get_mut(&key(2)).expect("a row").record = Bytes::from_static(b"\xff");
    let mut other = Record::decode(disk.rows[&key(3)].record.clone()).expect("ours");
    other.crossing = Bytes::from_static(b"something else");
    let mut bytes = bytes::BytesMut::new();
    other.encode(&mut bytes);
    disk.rows.get_mut(&key(3)).expect("a row").record = bytes.split().freeze();
    let mut newer = Record::decode(disk.rows[&key(4)].record.clone()).expect("ours");
    newer.header.stamp.version = Version(9);
    newer.encode(&mut bytes);
    let row = disk.rows.get_mut(&key(4)).expect("a row");
    (row.stamp, row.record) = (newer.header.stamp, bytes.freeze());
    for number in 1..=3 {
        bench.ask(A, key(number), false);
    }
    bench.serve(&mut disk);
    assert_eq!(bench.replica.stats(bench.now).counts.rows_lost, 3);
    let (_, record) = bench.lock_spilled(&mut disk, key(4));
    assert_eq!(record.expect("newer").header.stamp, newer.header.stamp);
}

#[test]
fn an_answer_to_a_fetch_that_was_given_up_counts_no_more() {
    let (mut bench, mut disk) = (Bench::spilling(|_| {}), Disk::default());
    let first = bench.settled(&mut disk, key(1));
    bench.ask(A, key(1), false);
    let ask = bench.asks.pop_front().expect("asked");
    let late = disk.carry_out(bench.now, ask).expect("answered");
    // Asked for again meanwhile, put, and gone once more.
    bench.pass_with(&mut disk, ms(15_000));
    let (token, _) = bench.lock_spilled(&mut disk, key(1));
    bench.unlock(A, key(1), token);
    let second = bench.settled(&mut disk, key(1));
    assert!(second > first);
    let turn = bench.turn + 1;
    assert_eq!(bench.ask(A, key(1), false), [Reply::Queued { key: key(1), turn }]);
    assert!(grants(&bench.word(late)).is_empty());
    let said = bench.serve(&mut disk);
    let record = grants(&said)[0].4.clone().expect("it is there");
    assert_eq!(record.header.stamp, second);
    assert_eq!(bench.replica.stats(bench.now).counts.rows_lost, 0);
}

#[test]
fn turns_that_wait_for_a_row_are_served_in_order() {
    let (mut bench, mut disk) = (Bench::spilling(|_| {}), Disk::default());
    bench.input(Input::EngineUp { engine: B });
    bench.settled(&mut disk, key(1));
    bench.ask(B, key(1), false);
    bench.ask(A, key(1), false);
    assert_eq!(bench.asks.len(), 1, "one fetch serves both");
    assert_eq!(bench.replica.stats(bench.now).waiters, 2);
    let said = bench.serve(&mut disk);
    let granted = grants(&said);
    let [(B, _, token, ..)] = granted.as_slice() else { panic!("{said:?}") };
    assert_eq!(bench.replica.stats(bench.now).waiters, 1);
    bench.unlock(B, key(1), *token);
    assert_eq!(grants(&bench.said)[0].0, A);
}

#[test]
fn a_reader_hears_of_the_record_and_takes_no_lock() {
    let (mut bench, mut disk) = (Bench::spilling(|_| {}), Disk::default());
    let stamp = bench.settled(&mut disk, key(1));
    let get = Command::Get { view: VIEW, key: key(1), turn: 5 };
    assert_eq!(bench.command(A, get), []);
    let said = bench.serve(&mut disk);
    let got = said.iter().find_map(|output| match output {
        Output::Reply { reply: Reply::Got { turn: 5, record, .. }, .. } => record.clone(),
        _ => None,
    });
    assert_eq!(got.expect("read").header.stamp, stamp);
    assert_eq!(bench.replica.stats(bench.now).locks, 0);
}

#[test]
fn an_engine_that_is_gone_waits_no_more() {
    let (mut bench, mut disk) = (Bench::spilling(|_| {}), Disk::default());
    bench.input(Input::EngineUp { engine: B });
    bench.settled(&mut disk, key(1));
    bench.ask(A, key(1), false);
    bench.input(Input::EngineDown { engine: A });
    assert_eq!(bench.replica.stats(bench.now).waiters, 0);
    assert!(grants(&bench.serve(&mut disk)).is_empty());
}

#[test]
fn the_first_row_waits_until_those_of_an_earlier_life_are_gone() {
    let (mut bench, mut disk) = (Bench::spilling(|_| {}), Disk::default());
    let (stamp, record) = (stamp(1, HERE, 1), Bytes::new());
    let row = DiskRow { stamp, record, put_at: Instant(0), view: ViewNumber(VIEW.0 - 1) };
    disk.rows.insert(key(9), row);
    let Some(DatabaseAsk::Clear { view: VIEW, .. }) = bench.asks.front() else {
        panic!("{:?}", bench.asks);
    };
    bench.turn(key(1), BOUNDARY, |_| {});
    bench.pass(ms(65_000));
    let ask = bench.asks.pop_back().expect("asked");
    assert_eq!(bench.asks.iter().filter(|ask| matches!(ask, DatabaseAsk::Store { .. })).count(), 0);
    bench.word(refused(&ask));
    // Of an earlier life in the same process.
    bench.word(DatabaseWord::Cleared { view: ViewNumber(VIEW.0 - 1) });
    bench.pass(ms(2_000));
    assert_eq!(bench.asks.iter().filter(|ask| matches!(ask, DatabaseAsk::Store { .. })).count(), 0);
    bench.pass_with(&mut disk, ms(2_000));
    assert_eq!((disk.rows.len(), bench.spilled()), (1, 1));
}

#[test]
fn a_put_that_is_repeated_after_its_record_left_is_stored() {
    let (mut bench, mut disk) = (Bench::spilling(|_| {}), Disk::default());
    let stamp = bench.settled(&mut disk, key(1));
    let (view, record) = (VIEW, record(key(1), stamp, HERE));
    let put = Command::Put { view, record, base: None, flags: BOUNDARY };
    assert_eq!(bench.command(A, put), [Reply::Stored { key: key(1), stamp }]);
    assert_eq!(bench.spilled(), 1);
}

#[test]
fn without_a_database_nothing_leaves() {
    let mut bench = Bench::new();
    bench.turn(key(1), BOUNDARY, |_| {});
    bench.pass(ms(600_000));
    assert_eq!((bench.asks.len(), bench.spilled()), (0, 0));
}

#[test]
fn rows_are_written_in_batches_and_paced() {
    let (mut bench, mut disk) = (
        Bench::spilling(|config| {
            let spill = config.spill.as_mut().expect("set");
            (spill.per_s, spill.batch_max, spill.stores_in_flight_max) = (100, 4, 10);
        }),
        Disk::default(),
    );
    bench.serve(&mut disk);
    for number in 0..100 {
        bench.turn(wide_key(number), BOUNDARY, |_| {});
    }
    bench.pass(ms(61_000));
    let stats = bench.replica.stats(bench.now).spill;
    assert_eq!((stats.storing, stats.ripe), (10, 90), "not more than may be in flight");
    for ask in &bench.asks {
        assert!(matches!(ask, DatabaseAsk::Store { rows, .. } if rows.len() <= 4), "{ask:?}");
    }
    bench.pass_with(&mut disk, ms(500));
    assert!((55..=70).contains(&bench.spilled()), "100 a second: {}", bench.spilled());
    bench.pass_with(&mut disk, ms(500));
    assert_eq!(bench.spilled(), 100);
}
