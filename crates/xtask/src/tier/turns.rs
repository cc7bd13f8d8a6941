//! Turns as an engine takes them, many at a time: lock and get, put to everybody of the view,
//! unlock when everybody has it.
//!
//! ```text
//! ask ──Granted──► put ──Stored by all──► unlock, done
//!  ▲                │
//!  └── stale view, silence, refusal: again, with the same record
//! ```
//! A turn that is begun again asks under its old number: the replica gives it the lock that it has,
//! and the put before counts as the record to go on from.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tier_protocol::{Command, PutFlags, Record, Refusal, Reply};
use vocab::{CallKey, LockToken, ReplicaId, Stamp, Version};

use super::Client;

/// A turn that hears nothing for so long is begun again.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// A run that ends no turn for so long is given up.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often turns are looked through for those that hear nothing.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What is to be done with which calls.
pub(crate) trait Work {
    /// The next call; `None` when no more turns are to begin.
    fn next(&mut self) -> Option<CallKey>;

    /// What is put, made from what is held; its stamp is seen to. `None` puts nothing.
    fn record(&mut self, key: CallKey, held: Option<&Record>) -> Option<Record>;

    /// A turn is over.
    fn done(&mut self, took: Took);
}

/// How long the steps of a turn took, from the moment at which each was said.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Took {
    /// Lock and get.
    pub(crate) lock_get: Duration,
    /// The put, until everybody had it; `None` when nothing was put.
    pub(crate) put: Option<Duration>,
}

struct Turn {
    number: u64,
    said_at: Instant,
    took: Took,
    /// What is put, and the stamp of what it was made from; kept while the turn is begun again.
    putting: Option<(Record, Option<Stamp>)>,
    /// Who has it; `None` until it was said under the lock of the last ask.
    stored_by: Option<Vec<ReplicaId>>,
}

/// Takes turns, at most `depth` at a time, until the work has no more.
pub(crate) fn run(client: &mut Client, depth: usize, work: &mut impl Work) -> Result<(), String> {
    let mut turns = Turns { client, open: BTreeMap::new(), over: 0 };
    let mut heard = Vec::new();
    let (mut over, mut moved_at, mut looked_at) = (0, Instant::now(), Instant::now());
    loop {
        while turns.open.len() < depth
            && let Some(key) = work.next()
        {
            turns.begin(key);
        }
        if turns.open.is_empty() {
            return turns.client.flush(PATIENCE);
        }
        let is_changed = turns.client.poll(LOOK_EVERY, &mut heard)?;
        for (from, reply) in heard.drain(..) {
            turns.take(from, reply, work)?;
        }
        let now = Instant::now();
        if is_changed || now.duration_since(looked_at) >= LOOK_EVERY {
            looked_at = now;
            turns.begin_again(now, is_changed);
        }
        if turns.over > over {
            (over, moved_at) = (turns.over, now);
        } else if now.duration_since(moved_at) >= PATIENCE {
            return Err(format!("no turn ends any more: {}", turns.client.story()));
        }
    }
}

struct Turns<'a> {
    client: &'a mut Client,
    open: BTreeMap<CallKey, Turn>,
    over: u64,
}

impl Turns<'_> {
    fn begin(&mut self, key: CallKey) {
        let number = self.client.number();
        let (said_at, took) = (Instant::now(), Took::default());
        self.open.insert(key, Turn { number, said_at, took, putting: None, stored_by: None });
        self.ask(key, number);
    }

    fn ask(&mut self, key: CallKey, turn: u64) {
        let seen = self.client.view(key).map(|view| (view.partition, view.number, view.primary()));
        if let Some((partition, view, Some(primary))) = seen {
            let command = Command::LockAndGet { view, key, turn, begins: true, cached: None };
            self.client.command(primary, partition, command);
        }
    }

    fn begin_again(&mut self, now: Instant, is_changed: bool) {
        let mut late = Vec::new();
        for (key, turn) in &mut self.open {
            if is_changed || now.duration_since(turn.said_at) >= AGAIN_AFTER {
                turn.stored_by = None;
                turn.said_at = now;
                late.push((*key, turn.number));
            }
        }
        for (key, number) in late {
            self.ask(key, number);
        }
    }

    fn take(&mut self, from: ReplicaId, reply: Reply, work: &mut impl Work) -> Result<(), String> {
        match reply {
            Reply::Granted { key, token, record, resume, .. } => {
                if !self.put(key, token, record, work) {
                    self.client.give_back(from, key, token, resume);
                }
            }
            Reply::Stored { key, stamp } => self.note_stored(from, key, stamp, work),
            Reply::Refused { why: Refusal::Full, .. } | Reply::Busy { .. } => {
                return Err("the state tier is full: raise `calls_max` or `record_bytes_max` in \
                            [limits] of its processes"
                    .to_owned());
            }
            // The turn is begun again when it has heard nothing for a while, or a view comes.
            Reply::Refused { .. }
            | Reply::StaleView { .. }
            | Reply::Queued { .. }
            | Reply::Unchanged { .. }
            | Reply::NotHere { .. }
            | Reply::Got { .. }
            | Reply::Confirmed { .. }
            | Reply::Quarantined { .. }
            | Reply::Dormant { .. } => {}
        }
        Ok(())
    }

    /// Puts under the lock; `false` when there is nothing to put, and the lock is not wanted.
    fn put(
        &mut self,
        key: CallKey,
        token: LockToken,
        held: Option<Record>,
        work: &mut impl Work,
    ) -> bool {
        // A second answer to a turn that was begun again finds the put under way.
        let Some(turn) = self.open.get_mut(&key).filter(|turn| turn.stored_by.is_none()) else {
            return true;
        };
        let now = Instant::now();
        turn.took.lock_get = now.duration_since(turn.said_at);
        let stamp = held.as_ref().map(|held| held.header.stamp);
        let putting = match turn.putting.take() {
            // The primary has it; the others get the very same.
            Some(putting)
                if stamp == Some(putting.0.header.stamp)
                    && token == putting.0.header.stamp.token =>
            {
                Some(putting)
            }
            Some((record, _)) => Some(stamped(record, stamp, token)),
            None => work.record(key, held.as_ref()).map(|record| stamped(record, stamp, token)),
        };
        let Some((record, base)) = putting else {
            self.end(key, work);
            return false;
        };
        turn.said_at = now;
        turn.putting = Some((record.clone(), base));
        turn.stored_by = Some(Vec::new());
        let flags = PutFlags { boundary: true, ..PutFlags::default() };
        self.tell_everybody(key, |view| Command::Put { view, record: record.clone(), base, flags });
        true
    }

    fn note_stored(&mut self, from: ReplicaId, key: CallKey, stamp: Stamp, work: &mut impl Work) {
        let Some(turn) = self.open.get_mut(&key) else { return };
        let is_ours = turn.putting.as_ref().is_some_and(|(put, _)| put.header.stamp == stamp);
        let Some(stored_by) = turn.stored_by.as_mut().filter(|_| is_ours) else { return };
        if !stored_by.contains(&from) {
            stored_by.push(from);
        }
        let view = self.client.view(key);
        if !view.is_some_and(|view| view.everybody().all(|one| stored_by.contains(&one))) {
            return;
        }
        turn.took.put = Some(turn.said_at.elapsed());
        let token = stamp.token;
        self.tell_everybody(key, |view| Command::Unlock { view, key, token });
        self.end(key, work);
    }

    fn end(&mut self, key: CallKey, work: &mut impl Work) {
        self.over += 1;
        if let Some(turn) = self.open.remove(&key) {
            work.done(turn.took);
        }
    }

    fn tell_everybody(&mut self, key: CallKey, command: impl Fn(vocab::ViewNumber) -> Command) {
        let Some(view) = self.client.view(key) else { return };
        let (partition, number) = (view.partition, view.number);
        let everybody: Vec<ReplicaId> = view.everybody().collect();
        for replica in everybody {
            self.client.command(replica, partition, command(number));
        }
    }
}

/// The record under the lock of `token`, as the put that follows what is held.
fn stamped(mut record: Record, base: Option<Stamp>, token: LockToken) -> (Record, Option<Stamp>) {
    let version = base.map_or(Version(1), |base| Version(base.version.0 + 1));
    let epoch = base.map_or(record.header.stamp.epoch, |base| base.epoch);
    record.header.stamp = Stamp { epoch, token, version };
    (record, base)
}
