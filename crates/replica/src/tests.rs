//! A replica on the bench: two engines, two other sites, and time that moves on word.

mod bulk;
mod confirmed;
mod crossing;
mod ended;
mod flow;
mod hints;
mod homing;
mod inbound;
mod lock;
mod many;
mod ordered;
mod quarantine;
mod random;
mod rng;
mod seats;
mod shared;
mod ship;
mod spill;
mod spill_pair;
mod spill_random;
mod steering;
mod sweep;
mod three_sites;
mod timers;

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use tier_protocol::batch::{self, Entry};
use tier_protocol::{
    Cause, Command, Course, DormantOutcome, Hint, PartitionView, PutFlags, Record, RecordHeader,
    Refusal, Reply, SiteState, Tombstone,
};
use vocab::{
    CallKey, EngineId, Epoch, Instant, LockToken, PartitionId, ReplicaId, SiteId, Stamp, Version,
    ViewNumber,
};

use crate::{
    Config, DatabaseAsk, GateBound, Input, Limits, Order, Output, Pace, Reason, Replica, SiteInput,
    SiteStatus,
};

const A: EngineId = EngineId(1);
const B: EngineId = EngineId(2);
const HERE: SiteId = SiteId(1);
const THERE: SiteId = SiteId(2);
const THIRD: SiteId = SiteId(3);
const VIEW: ViewNumber = ViewNumber(7);
const BYTES_MAX: usize = 1 << 20;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn key(number: u8) -> CallKey {
    CallKey([number; 16])
}

/// A key of its own for each number.
fn wide_key(number: u32) -> CallKey {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    CallKey(bytes)
}

/// A view of another site's, whose tokens mean nothing here.
fn stamp(n: u64, home: SiteId, version: u64) -> Stamp {
    let token = LockToken { view: ViewNumber(99), counter: 1 };
    Stamp { epoch: Epoch { n, site: home }, token, version: Version(version) }
}

fn record(key: CallKey, stamp: Stamp, origin: SiteId) -> Record {
    let header = RecordHeader {
        key,
        stamp,
        origin,
        backup: None,
        schema: 1,
        age: Duration::ZERO,
        deadline: None,
        crossing_deadline: None,
        hints: vec![(1, Hint::Steady)],
        crossed: Vec::new(),
        newer: tier_protocol::Newer::default(),
    };
    let crossing = Bytes::from(format!("dialog of {} at {:?}", key.0[0], stamp.version));
    Record { header, crossing, local: Bytes::from_static(b"transactions") }
}

fn from_there(number: u8, version: u64) -> Record {
    record(key(number), stamp(65_536, THERE, version), THERE)
}

const BOUNDARY: PutFlags = PutFlags {
    boundary: true,
    crossing_unchanged: false,
    unreleased: false,
    ended: false,
    veto: None,
};
const BUSY: PutFlags = PutFlags { boundary: false, ..BOUNDARY };
const UNRELEASED: PutFlags = PutFlags { unreleased: true, ..BOUNDARY };
const UNCHANGED: PutFlags = PutFlags { crossing_unchanged: true, ..BOUNDARY };
const ENDED: PutFlags = PutFlags { ended: true, ..BOUNDARY };

struct Bench {
    replica: Replica,
    now: Instant,
    /// Replies and words to the gate of the last input.
    said: Vec<Output>,
    wake: (Instant, Reason),
    turn: u64,
    /// What the database has yet to do.
    asks: VecDeque<DatabaseAsk>,
}

impl Bench {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Config)) -> Self {
        let view = PartitionView::alone(PartitionId(0), VIEW, ReplicaId(1));
        let mut config = Config {
            here: HERE,
            partition: PartitionId(0),
            replica: ReplicaId(1),
            view,
            shared: None,
            backup_to: Some(THERE),
            limits: Limits::default(),
            // The tests count in tens of seconds.
            pace: Pace { lock_lease: ms(10_000), ..Pace::default() },
            spill: None,
        };
        change(&mut config);
        let now = Instant(1_000_000_000);
        let replica = Replica::new(now, config);
        let wake = (Instant::NEVER, Reason::Idle);
        let (said, asks) = (Vec::new(), VecDeque::new());
        let mut bench = Self { replica, now, said, wake, turn: 0, asks };
        bench.input(Input::EngineUp { engine: A });
        bench
    }

    /// One input and a whole drain.
    fn input(&mut self, input: Input) -> &[Output] {
        self.replica.handle_input(self.now, input);
        self.said.clear();
        loop {
            match self.replica.poll_output() {
                Output::WakeAt(at, reason) => {
                    assert!(at >= self.now, "a wake in the past");
                    self.wake = (at, reason);
                    break;
                }
                other @ (Output::Reply { .. } | Output::Gate(_)) => self.said.push(other),
                Output::Database(ask) => self.asks.push_back(ask),
                other @ (Output::Peer { .. }
                | Output::Store(_)
                | Output::Map(_)
                | Output::Dropped { .. }
                | Output::Expelled) => panic!("a replica of its own said {other:?}"),
            }
        }
        &self.said
    }

    /// Lets time pass, waking the replica whenever it asked for that. All that it said meanwhile.
    fn pass(&mut self, time: Duration) -> Vec<Output> {
        let until = self.now + time;
        let mut said = Vec::new();
        let mut at_this_instant = 0;
        while self.wake.0 <= until {
            at_this_instant = if self.wake.0 > self.now { 0 } else { at_this_instant + 1 };
            assert!(at_this_instant < 100, "{:?} spins at {:?}", self.wake, self.now);
            self.now = self.wake.0;
            self.input(Input::Wake);
            said.append(&mut self.said);
        }
        self.now = until;
        self.input(Input::Wake);
        said.append(&mut self.said);
        said
    }

    fn command(&mut self, engine: EngineId, command: Command) -> Vec<Reply> {
        self.input(Input::Command { engine, command });
        self.replies()
    }

    fn replies(&self) -> Vec<Reply> {
        let replies = self.said.iter().filter_map(|output| match output {
            Output::Reply { reply, .. } => Some(reply.clone()),
            Output::Gate(_)
            | Output::WakeAt(..)
            | Output::Peer { .. }
            | Output::Store(_)
            | Output::Database(_)
            | Output::Map(_)
            | Output::Dropped { .. }
            | Output::Expelled => None,
        });
        replies.collect()
    }

    fn ask(&mut self, engine: EngineId, key: CallKey, begins: bool) -> Vec<Reply> {
        self.turn += 1;
        let (view, turn, cached) = (VIEW, self.turn, None);
        self.command(engine, Command::LockAndGet { view, key, turn, begins, cached })
    }

    /// Takes the lock; it must be free.
    fn lock(&mut self, engine: EngineId, key: CallKey) -> (LockToken, Option<Record>) {
        match self.ask(engine, key, true).as_slice() {
            [Reply::Granted { token, record, .. }] => (*token, record.clone()),
            other => panic!("{other:?}"),
        }
    }

    fn put(&mut self, engine: EngineId, record: Record, base: Option<Stamp>, flags: PutFlags) {
        let stamp = record.header.stamp;
        let key = record.header.key;
        let replies = self.command(engine, Command::Put { view: VIEW, record, base, flags });
        assert_eq!(replies, [Reply::Stored { key, stamp }]);
    }

    fn unlock(&mut self, engine: EngineId, key: CallKey, token: LockToken) -> Vec<Reply> {
        self.command(engine, Command::Unlock { view: VIEW, key, token })
    }

    /// One whole turn that puts with `flags`, after `change`. The stamp of the put.
    fn turn(&mut self, key: CallKey, flags: PutFlags, change: impl FnOnce(&mut Record)) -> Stamp {
        let (token, old) = self.lock(A, key);
        let stamp = self.put_next(key, token, old, flags, change);
        self.unlock(A, key, token);
        stamp
    }

    fn put_next(
        &mut self,
        key: CallKey,
        token: LockToken,
        old: Option<Record>,
        flags: PutFlags,
        change: impl FnOnce(&mut Record),
    ) -> Stamp {
        let base = old.as_ref().map(|record| record.header.stamp);
        let epoch = base.map_or(Epoch::of_start(HERE, 1), |base| base.epoch);
        let version = Version(base.map_or(1, |base| base.version.0 + 1));
        let next = Stamp { epoch, token, version };
        let mut record = match old {
            Some(old) => Record {
                header: RecordHeader { stamp: next, age: Duration::ZERO, ..old.header },
                crossing: Bytes::from(format!("dialog of {} at {version:?}", key.0[0])),
                local: old.local,
            },
            None => record(key, next, HERE),
        };
        change(&mut record);
        let stamp = record.header.stamp;
        self.put(A, record, base, flags);
        stamp
    }

    fn delete(&mut self, key: CallKey) -> Stamp {
        let (token, old) = self.lock(A, key);
        let base = old.expect("a call to delete").header.stamp;
        let stamp = Stamp { token, version: Version(base.version.0 + 1), ..base };
        let tombstone = Tombstone { key, stamp };
        let replies = self.command(A, Command::Delete { view: VIEW, tombstone, base });
        assert_eq!(replies, [Reply::Stored { key, stamp }]);
        stamp
    }

    fn store_dormant(&mut self, record: Record) -> DormantOutcome {
        let command = Command::StoreDormant { view: VIEW, batch: 1, record };
        let replies = self.command(A, command);
        outcome(&replies)
    }

    fn store_tombstone(&mut self, key: CallKey, stamp: Stamp) -> DormantOutcome {
        let tombstone = Tombstone { key, stamp };
        let replies = self.command(A, Command::StoreTombstone { view: VIEW, batch: 1, tombstone });
        outcome(&replies)
    }

    fn site(&mut self, input: SiteInput) -> Vec<Output> {
        self.input(Input::Site(input)).to_vec()
    }

    fn alive(&mut self, sites: &[SiteId]) -> Vec<Output> {
        self.status(sites, SiteState::Serving, 1)
    }

    fn status(&mut self, sites: &[SiteId], state: SiteState, start: u64) -> Vec<Output> {
        self.on_course(sites, state, start, Course::default())
    }

    /// The same, of sites that do something with their calls.
    fn on_course(
        &mut self,
        sites: &[SiteId],
        state: SiteState,
        start: u64,
        course: Course,
    ) -> Vec<Output> {
        let alive = sites
            .iter()
            .map(|site| SiteStatus { site: *site, state, start, dictionary: 1, course })
            .collect();
        let (here, waiting, steering) =
            (SiteState::Serving, Vec::new(), self.replica.steering.clone());
        self.site(SiteInput::Status { view: ViewNumber::default(), here, alive, waiting, steering })
    }

    fn held(&self, key: CallKey) -> Option<Stamp> {
        self.replica.get(self.now, key).and_then(|story| story.summary.stamp)
    }

    /// Activates a dormant call as an engine does: under the lock, epoch + 1, home here.
    fn activate(&mut self, key: CallKey, token: LockToken, old: Record, flags: PutFlags) -> Stamp {
        self.put_next(key, token, Some(old), flags, |record| {
            record.header.stamp.epoch = record.header.stamp.epoch.woken_at(HERE);
        })
    }
}

fn outcome(replies: &[Reply]) -> DormantOutcome {
    let outcomes = replies.iter().filter_map(|reply| match reply {
        Reply::Dormant { outcome, .. } => Some(*outcome),
        _ => None,
    });
    outcomes.last().expect("an outcome")
}

/// The batches among `said`: site, number, entries.
fn batches(said: &[Output]) -> Vec<(SiteId, u64, Vec<Entry>)> {
    let batches = said.iter().filter_map(|output| match output {
        Output::Gate(GateBound::Publish { site, id, view, bytes }) => {
            assert_eq!(*view, VIEW);
            Some((*site, *id, batch::decode(bytes, BYTES_MAX).expect("our own batch")))
        }
        _ => None,
    });
    batches.collect()
}

/// The grants among `said`: engine, call, token, cause, record, resume.
fn grants(said: &[Output]) -> Vec<(EngineId, CallKey, LockToken, Cause, Option<Record>, bool)> {
    let grants = said.iter().filter_map(|output| match output {
        Output::Reply {
            engine,
            view: _,
            reply: Reply::Granted { key, token, cause, record, dormant: _, resume, floor: _ },
        } => Some((*engine, *key, *token, *cause, record.clone(), *resume)),
        _ => None,
    });
    grants.collect()
}

fn refusal(replies: &[Reply]) -> Refusal {
    match replies {
        [Reply::Refused { why, .. }] => *why,
        other => panic!("{other:?}"),
    }
}
