//! SQLite: one file of this process alone, one thread.
//!
//! A batch is committed with `synchronous = FULL` before it is answered. Orders that wait together
//! are committed together. What the file is to hold is in memory too, as it is in the gate's.
//!
//! ```text
//! open ──read, writable──► in use ──no room, not ours to write──► away ──written──► in use
//!   └─damaged─┐              │ read or written wrongly: not trusted again   │
//!             ▼              ▼                                              │
//!        begin again: a new file from what is known to be good, the old one kept aside ◄─┘
//! ```
//!
//! - **A write that failed for another reason than room is never repeated on the same file**: after
//!   a failed sync nobody knows what of it is on the disk, and the next sync may succeed without
//!   it. The file is written anew, from memory.
//! - **A file that holds something else than what was written** is told by the checksum of each
//!   row, by the tally of all rows, by SQLite's own check of its structure, and by the mark beside
//!   it, which knows how many commits there were ([`mod@file`], [`mark`]).

mod file;
mod mark;
mod read;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use replica::gate::QueuedBatch;
use rusqlite::ErrorCode;

use self::file::{Change, Held, QueueFile};
use self::read::{Found, Opened};
use super::{Answer, Answers, Damage, Order, Told};
use crate::clock::wall_time;

/// Orders in one commit.
const GROUP_MAX: usize = 256;
/// How often a file that cannot be written is tried again.
const RETRY_EVERY: Duration = Duration::from_secs(1);
/// A file that the disk does not give so often in a row is a damaged one.
const READ_TRIES: u32 = 5;

pub(super) fn open<E>(file: &Path, answers: Answers<E>) -> io::Result<mpsc::Sender<Order>>
where
    E: From<Told> + Send + 'static,
{
    let (orders, inbox) = mpsc::channel::<Order>();
    let worker = Worker {
        path: file.into(),
        answers,
        inbox,
        file: None,
        held: BTreeMap::new(),
        late: Vec::new(),
        is_loaded: false,
        tries: 0,
        damage: None,
        away: None,
        tried_at: Instant::now(),
        refused: 0,
    };
    thread::Builder::new().name("queue".into()).spawn(move || worker.run())?;
    Ok(orders)
}

struct Worker<E> {
    /// The file in use; none while there is none that can be trusted. It is closed before the
    /// owner hears that this has ended.
    file: Option<QueueFile>,
    path: PathBuf,
    answers: Answers<E>,
    inbox: mpsc::Receiver<Order>,
    /// What it holds, or is to hold.
    held: BTreeMap<u64, Held>,
    /// Removals that are not carried out yet.
    late: Vec<Change>,
    is_loaded: bool,
    /// Attempts to read it.
    tries: u32,
    /// What befell the file before, told when the next one is in use.
    damage: Option<Damage>,
    /// Why it is away, as it was told.
    away: Option<String>,
    tried_at: Instant,
    /// Batches that were refused since it is away.
    refused: u64,
}

impl<E: From<Told>> Worker<E> {
    fn run(mut self) {
        self.open();
        while let Some(group) = self.next_group() {
            if self.away.is_some() && self.tried_at.elapsed() >= RETRY_EVERY {
                self.try_again();
            }
            self.work(group);
        }
    }

    /// The owner is gone only when the process ends.
    fn tell(&self, answer: Answer) {
        drop(self.answers.owner.blocking_send(self.answers.told(answer)));
    }

    /// Orders that wait together; none when it is time to try again. `None` at the end.
    fn next_group(&self) -> Option<Vec<Order>> {
        let first = if self.away.is_some() {
            let patience = RETRY_EVERY.saturating_sub(self.tried_at.elapsed());
            match self.inbox.recv_timeout(patience) {
                Ok(order) => order,
                Err(RecvTimeoutError::Timeout) => return Some(Vec::new()),
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        } else {
            self.inbox.recv().ok()?
        };
        let mut group = vec![first];
        group.extend(self.inbox.try_iter().take(GROUP_MAX - 1));
        Some(group)
    }

    /// Reads the newest file, and puts a new one in its place when that is damaged.
    fn open(&mut self) {
        self.tried_at = Instant::now();
        self.tries += 1;
        let is_last_try = self.tries >= READ_TRIES;
        let Opened { held, mut file } = match read::open(&self.path, is_last_try) {
            Ok(opened) => opened,
            Err(why) => return self.be_away(&why),
        };
        if let Found::Unread(damage) = file {
            // What it holds may yet be read, unless another one takes its place.
            match file::begin_again(&self.path, &held, &[]) {
                Ok(fresh) => file = Found::InUse(fresh),
                Err(why) => return self.be_away(&format!("{}; {why}", damage.why)),
            }
            self.damage = Some(damage);
        }
        self.held = held;
        self.is_loaded = true;
        let batches: Vec<QueuedBatch> = self.held.values().map(|held| held.batch.clone()).collect();
        self.tell(Answer::Loaded(batches));
        match file {
            Found::InUse(file) => self.be_back(file),
            Found::Away(file, why) => {
                self.file = Some(file);
                self.be_away(&why);
            }
            Found::Damaged(damage) | Found::Unread(damage) => {
                self.damage = Some(damage);
                self.begin_again();
            }
        }
    }

    /// A new file from what is held.
    fn begin_again(&mut self) {
        self.tried_at = Instant::now();
        match file::begin_again(&self.path, &self.held, &self.late) {
            Ok(file) => {
                self.late.clear();
                self.be_back(file);
            }
            Err(error) => {
                let before =
                    self.damage.as_ref().map(|damage| format!("; before that: {}", damage.why));
                let before = before.unwrap_or_default();
                self.be_away(&format!("a new file cannot be written: {error}{before}"));
            }
        }
    }

    fn try_again(&mut self) {
        match &mut self.file {
            None if self.is_loaded => self.begin_again(),
            None => self.open(),
            Some(file) => {
                self.tried_at = Instant::now();
                match file.commit(&self.late) {
                    Ok(()) => {
                        self.late.clear();
                        let file = self.file.take().expect("it was just written");
                        self.be_back(file);
                    }
                    Err(error) => self.fail(&error),
                }
            }
        }
    }

    fn be_back(&mut self, file: QueueFile) {
        self.file = Some(file);
        if let Some(damage) = self.damage.take() {
            let Damage { why, lost, kept } = &damage;
            let lost = lost.map_or("an unknown number of".to_owned(), |lost| lost.to_string());
            let kept = kept.as_ref().map(|kept| kept.display().to_string()).unwrap_or_default();
            let held = self.held.len();
            tracing::error!(why, lost, kept, held, "the queue's file was damaged: it begins anew");
            self.tell(Answer::Damaged(damage));
        }
        if self.away.take().is_some() {
            let refused = std::mem::take(&mut self.refused);
            tracing::info!(refused, "the queue is back; what was refused is sent again");
            self.tell(Answer::Back);
        }
    }

    fn be_away(&mut self, why: &str) {
        let why = format!("{}: {why}", self.path.display());
        if self.away.as_ref() != Some(&why) {
            tracing::error!(why, "the queue is away: batches of other sites are not taken");
            self.away = Some(why.clone());
            self.tell(Answer::Away { why });
        }
    }

    /// One transaction for all; a disk that fails refuses every batch of the group.
    fn work(&mut self, group: Vec<Order>) {
        let changes: Vec<Change> =
            group.into_iter().filter_map(|order| self.change_of(order)).collect();
        if changes.is_empty() {
            return;
        }
        if self.away.is_some() {
            return self.refuse(changes);
        }
        let file = self.file.as_mut().expect("it is not away");
        match file.commit(&changes) {
            Ok(()) => {
                let appended: Vec<u64> = changes.iter().filter_map(Change::appended).collect();
                changes.into_iter().for_each(|change| self.note(change));
                appended.into_iter().for_each(|row| self.tell(Answer::Appended(row)));
                let file = self.file.as_mut().expect("it was just written");
                if let Err(error) = file.checkpoint() {
                    self.fail(&error);
                }
            }
            Err(error) => {
                self.refuse(changes);
                self.fail(&error);
            }
        }
    }

    fn change_of(&self, order: Order) -> Option<Change> {
        match order {
            Order::Append(batch) => Some(Change::Put(Held { batch, written_ms: wall_time().0 })),
            Order::Remove(row) => Some(Change::Remove(row)),
            Order::SetAside(row) => self.held.get(&row).cloned().map(Change::Aside),
        }
    }

    /// Batches are refused, removals kept.
    fn refuse(&mut self, changes: Vec<Change>) {
        for change in changes {
            match change.appended() {
                Some(row) => {
                    self.refused += 1;
                    self.tell(Answer::Refused(row));
                }
                None => {
                    self.late.push(change.clone());
                    self.note(change);
                }
            }
        }
    }

    fn note(&mut self, change: Change) {
        match change {
            Change::Put(held) => drop(self.held.insert(held.batch.row, held)),
            Change::Remove(row) => drop(self.held.remove(&row)),
            Change::Aside(held) => drop(self.held.remove(&held.batch.row)),
        }
    }

    fn fail(&mut self, error: &rusqlite::Error) {
        if is_to_be_tried_again(error) {
            return self.be_away(&error.to_string());
        }
        if let Some(file) = self.file.take() {
            file.abandon();
        }
        let kept = file::newest(&self.path).map(|(_, path)| path);
        self.damage = Some(Damage { why: error.to_string(), lost: Some(0), kept });
        self.begin_again();
    }
}

/// Whether nothing was written, and the file is as good as it was.
fn is_to_be_tried_again(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(
            ErrorCode::DiskFull
                | ErrorCode::CannotOpen
                | ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::OutOfMemory
                | ErrorCode::PermissionDenied
        )
    )
}
