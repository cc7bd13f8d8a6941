//! Sweeps: the copies at the backup site are compared, and what is missing crosses again.

use tier_protocol::sweep::{SweepWord, digest_of};

use super::*;
use crate::planted::Planted;
use crate::{Order, SiteOrder};

/// The home of calls, and the site that keeps copies of them.
struct Pair {
    home: Bench,
    backup: Bench,
    /// Words of sweeps on their way, in both directions.
    words: Vec<SweepWord>,
}

const SWEEPS: Course = Course { evacuates: false, backup_to: None, sweeps: true };

impl Pair {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Config)) -> Self {
        let home = Bench::with(change);
        let backup = Bench::with(|config| {
            config.here = THERE;
            config.backup_to = None;
        });
        let mut pair = Self { home, backup, words: Vec::new() };
        pair.link();
        pair
    }

    fn link(&mut self) {
        let (state, start) = (SiteState::Serving, 1);
        self.home.on_course(&[THERE], state, start, SWEEPS);
        self.backup.on_course(&[HERE], state, start, SWEEPS);
        self.carry();
    }

    /// Calls that have crossed.
    fn crossed(keys: impl IntoIterator<Item = CallKey>) -> Self {
        let mut pair = Self::new();
        pair.call_all(keys);
        pair
    }

    fn call_all(&mut self, keys: impl IntoIterator<Item = CallKey>) {
        for key in keys {
            self.home.turn(key, BOUNDARY, |_| {});
        }
        self.pass(ms(15_000));
    }

    /// Carries what either says to the other.
    fn carry(&mut self) {
        let mut said = std::mem::take(&mut self.home.said);
        let mut back = std::mem::take(&mut self.backup.said);
        while !said.is_empty() || !back.is_empty() {
            let mut next = Vec::new();
            for output in std::mem::take(&mut back) {
                if let Output::Gate(GateBound::Sweep { site: HERE, ask, word }) = output {
                    self.words.push(word.clone());
                    next.extend(self.home.site(SiteInput::Sweep { site: THERE, ask, word }));
                }
            }
            for output in std::mem::replace(&mut said, next) {
                match output {
                    Output::Gate(GateBound::Sweep { site: THERE, ask, word }) => {
                        self.words.push(word.clone());
                        back.extend(self.backup.site(SiteInput::Sweep { site: HERE, ask, word }));
                    }
                    Output::Gate(GateBound::Publish { site: THERE, id, bytes, .. }) => {
                        self.apply(&bytes);
                        said.extend(self.home.site(SiteInput::BatchStored { site: THERE, id }));
                    }
                    _ => {}
                }
            }
        }
        // What each said last has been carried.
        self.home.said.clear();
        self.backup.said.clear();
    }

    fn apply(&mut self, bytes: &Bytes) {
        for entry in batch::decode(bytes, BYTES_MAX).expect("a batch") {
            match entry {
                Entry::Record(record) => {
                    self.backup.store_dormant(record);
                }
                Entry::Tombstone(Tombstone { key, stamp }) => {
                    self.backup.store_tombstone(key, stamp);
                }
            }
        }
    }

    /// Lets time pass at both, in small steps.
    fn pass(&mut self, time: Duration) {
        let until = self.home.now + time;
        while self.home.now < until {
            let step = ms(50).min(until.since(self.home.now));
            let mut said = self.home.pass(step);
            let mut back = self.backup.pass(step);
            self.home.said.append(&mut said);
            self.backup.said.append(&mut back);
            self.carry();
        }
    }

    fn sweep(&mut self) {
        self.words.clear();
        let order = Order::Site(SiteOrder::Compare { site: THERE });
        self.home.input(Input::Order(order));
        self.carry();
        self.pass(ms(3_000));
        assert_eq!(self.told().slots_left, 0, "it comes to its end");
    }

    fn told(&self) -> tier_protocol::partition::Sweep {
        let swept = self.home.replica.progress().swept;
        swept.iter().find(|(site, _)| *site == THERE).map(|(_, told)| *told).unwrap_or_default()
    }

    /// The copy goes, behind the protocol's back.
    fn lose(&mut self, key: CallKey) {
        self.backup.replica.forget(key);
        assert_eq!(self.backup.held(key), None);
    }

    fn is_same(&self, key: CallKey) -> bool {
        self.home.held(key).is_some() && self.home.held(key) == self.backup.held(key)
    }

    fn at_risk(&self) -> u64 {
        self.home.replica.stats(self.home.now).outbound[&THERE].at_risk
    }
}

#[test]
fn copies_that_are_the_same_cost_one_word_a_slot() {
    let mut pair = Pair::crossed([key(1), key(2)]);
    assert!(pair.is_same(key(1)) && pair.is_same(key(2)));
    pair.sweep();
    let asked = |word: &&SweepWord| matches!(word, SweepWord::Digest { .. });
    assert_eq!(pair.words.iter().filter(asked).count(), 2, "slots without calls are not asked");
    assert_eq!(pair.words.len(), 4);
    assert_eq!((pair.told().done, pair.told().found), (1, 0));
}

#[test]
fn a_copy_that_is_lost_is_there_again() {
    let mut pair = Pair::crossed([key(1), key(2)]);
    pair.lose(key(1));
    pair.pass(ms(60_000));
    assert_eq!(pair.backup.held(key(1)), None, "no mark says so");
    pair.sweep();
    assert!(pair.is_same(key(1)));
    assert_eq!(pair.at_risk(), 0);
    let told = pair.told();
    assert_eq!((told.done, told.found, told.repaired, told.unanswered), (1, 1, 1, 0));
    assert!(told.ended_ms > 0);
    pair.sweep();
    assert_eq!((pair.told().done, pair.told().found), (2, 1));
}

#[test]
fn a_copy_that_is_older_is_renewed() {
    let mut pair = Pair::crossed([key(1)]);
    let old = pair.home.held(key(1)).expect("it is held");
    pair.home.turn(key(1), BOUNDARY, |_| {});
    let said = pair.home.pass(ms(150));
    let id = batches(&said)[0].1;
    // The batch was acknowledged and lost with the queue.
    pair.home.site(SiteInput::BatchStored { site: THERE, id });
    assert_eq!(pair.backup.held(key(1)), Some(old));
    pair.pass(ms(11_000));
    pair.sweep();
    assert!(pair.is_same(key(1)));
    assert_eq!(pair.told().repaired, 1);
}

#[test]
fn a_put_that_the_other_site_need_not_hear_of_is_nothing_to_a_sweep() {
    let mut pair = Pair::crossed([key(1)]);
    let crossed = pair.home.held(key(1)).expect("it is held");
    let held = pair.home.turn(key(1), UNCHANGED, |_| {});
    assert!(held > crossed);
    pair.pass(ms(11_000));
    pair.sweep();
    assert_eq!(pair.told().found, 0, "the copy is all that it should be");
    assert_eq!(pair.backup.held(key(1)), Some(crossed), "it made nothing dirty");
    pair.lose(key(1));
    pair.sweep();
    assert_eq!((pair.told().found, pair.backup.held(key(1))), (1, Some(held)));
}

/// Such puts every few seconds, as of OPTIONS within a dialog, kept a lost copy from being found.
#[test]
fn a_call_that_is_put_all_the_time_is_swept_by_what_crossed() {
    let mut pair = Pair::crossed([key(1)]);
    pair.home.turn(key(1), UNCHANGED, |_| {});
    pair.lose(key(1));
    pair.sweep();
    assert_eq!(pair.told().found, 1, "its last put is younger than what is spoken of");
}

#[test]
fn a_put_that_need_not_cross_while_a_batch_is_on_its_way_is_not_taken_for_what_crossed() {
    let mut pair = Pair::new();
    let sent = pair.home.turn(key(1), BOUNDARY, |_| {});
    let said = pair.home.pass(ms(1_000));
    let is_sent = |said: &Output| matches!(said, Output::Gate(GateBound::Publish { .. }));
    assert!(said.iter().any(is_sent), "its batch is on the way");
    let held = pair.home.turn(key(1), UNCHANGED, |_| {});
    pair.home.said.extend(said);
    pair.carry();
    assert!(held > sent && pair.at_risk() == 0);
    pair.pass(ms(15_000));
    assert_eq!(pair.backup.held(key(1)), Some(sent));
    pair.sweep();
    assert_eq!(pair.told().found, 0, "the copy is all that it should be");
}

#[test]
fn it_begins_by_itself_and_by_the_other_site_s_word() {
    let mut pair = Pair::crossed([key(1)]);
    pair.lose(key(1));
    pair.pass(ms(590_000));
    assert!(pair.is_same(key(1)), "600 s after the start");
    pair.lose(key(1));
    pair.home.site(SiteInput::Sweep { site: THERE, ask: 0, word: SweepWord::Wanted });
    pair.carry();
    pair.pass(ms(1_000));
    assert!(pair.is_same(key(1)), "its queue may have lost something");
}

#[test]
fn absence_removes_nothing_and_removals_stay() {
    let mut pair = Pair::crossed([key(1), key(2)]);
    // The home has forgotten it, without a tombstone.
    pair.home.replica.forget(key(1));
    // This one has ended, and the other site knows.
    let ended = pair.backup.held(key(2)).expect("a copy");
    pair.backup.store_tombstone(key(2), Stamp { version: Version(9), ..ended });
    pair.sweep();
    assert!(pair.backup.held(key(1)).is_some());
    assert_eq!(pair.backup.held(key(2)), None);
    assert_eq!(pair.told().found, 0);
}

#[test]
fn what_is_on_its_way_is_left_alone() {
    let mut pair = Pair::crossed([key(1)]);
    let first = pair.home.turn(key(2), BOUNDARY, |_| {});
    // It has crossed a moment ago; the queue there may not be drained.
    let said = pair.home.pass(ms(150));
    let id = batches(&said)[0].1;
    pair.home.site(SiteInput::BatchStored { site: THERE, id });
    pair.sweep();
    assert_eq!(pair.backup.held(key(2)), None);
    assert_eq!(pair.told().found, 0, "too young to be missed");
    pair.pass(ms(10_000));
    pair.sweep();
    assert_eq!(pair.backup.held(key(2)), Some(first));
}

#[test]
fn many_calls_of_a_slot_go_run_by_run() {
    let of_slot = |number: u32| {
        let mut bytes = [0; 16];
        bytes[2..6].copy_from_slice(&number.to_be_bytes());
        CallKey(bytes)
    };
    let mut pair = Pair::crossed((0..1_200).map(of_slot));
    for number in [3, 600, 1_199] {
        pair.lose(of_slot(number));
    }
    pair.sweep();
    let runs = |word: &&SweepWord| matches!(word, SweepWord::Calls { .. });
    assert_eq!(pair.words.iter().filter(runs).count(), 3);
    assert!([3, 600, 1_199].into_iter().all(|number| pair.is_same(of_slot(number))));
    assert_eq!(pair.told().repaired, 3);
}

#[test]
fn it_is_paced_and_goes_on_after_a_broken_link() {
    let mut pair = Pair::with(|config| config.pace.sweep_per_s = 100);
    pair.call_all((0..400_u32).map(|number| wide_key(number << 16)));
    let order = Order::Site(SiteOrder::Compare { site: THERE });
    pair.home.input(Input::Order(order));
    pair.carry();
    pair.pass(ms(2_000));
    let half = pair.told().slots_left;
    assert!((150..250).contains(&half), "{half} of 400 slots after half of the time");
    pair.home.site(SiteInput::LinkDown { view: ViewNumber::default(), site: THERE });
    pair.home.pass(ms(60_000));
    assert!(pair.told().slots_left > 0);
    pair.backup.pass(ms(60_000));
    pair.link();
    pair.pass(ms(3_000));
    assert_eq!((pair.told().slots_left, pair.told().done), (0, 1));
}

#[test]
fn a_site_that_does_not_answer_costs_the_slot_and_no_more() {
    let mut pair = Pair::crossed([key(1)]);
    pair.home.input(Input::Order(Order::Site(SiteOrder::Compare { site: THERE })));
    pair.home.pass(ms(16_000));
    let told = pair.told();
    assert_eq!((told.done, told.unanswered), (1, 1));
}

#[test]
fn a_site_of_before_is_not_swept() {
    let mut pair = Pair::crossed([key(1)]);
    pair.home.on_course(&[THERE], SiteState::Serving, 1, Course::default());
    pair.home.input(Input::Order(Order::Site(SiteOrder::Compare { site: THERE })));
    let said = pair.home.pass(ms(700_000));
    assert!(!said.iter().any(|it| matches!(it, Output::Gate(GateBound::Sweep { .. }))));
}

#[test]
fn a_home_that_does_not_know_that_its_call_moved_hears_of_it() {
    let mut pair = Pair::crossed([key(1)]);
    let held = pair.home.held(key(1)).expect("it is held");
    let epoch = held.epoch.woken_at(THERE);
    let moved = record(key(1), Stamp { epoch, ..held }, HERE);
    let (token, old) = pair.backup.lock(A, key(1));
    let base = old.map(|old| old.header.stamp);
    let header = RecordHeader { stamp: Stamp { token, ..moved.header.stamp }, ..moved.header };
    pair.backup.put(A, Record { header, ..moved }, base, BOUNDARY);
    pair.backup.unlock(A, key(1), token);
    pair.sweep();
    assert_eq!(pair.told().found, 1, "it crosses, and is refused for its epoch");
}

#[test]
fn the_planted_bug_misses_what_is_absent() {
    let mut pair = Pair::crossed([key(1)]);
    pair.backup.replica.plant(Planted::SweepSkipsAbsent);
    pair.lose(key(1));
    pair.sweep();
    assert_eq!(pair.backup.held(key(1)), None);
}

#[test]
fn the_digest_says_count_and_sum() {
    let mut pair = Pair::crossed([key(1)]);
    pair.sweep();
    let stamp = pair.home.held(key(1)).expect("it is held");
    let digest = digest_of(key(1), stamp);
    let word = SweepWord::Digest { slot: key(1).slot(), calls: 1, digest };
    assert_eq!(pair.words[0], word);
}
