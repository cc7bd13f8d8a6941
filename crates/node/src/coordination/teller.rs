//! What is told to the owner, out of what the tasks find: each thing once, nothing after a newer.
//!
//! Pure: findings in, words out. Documents and presence are each known at a revision of the whole
//! store, and a finding of an older moment, however late it comes, changes nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::Notify;

use super::{CasOutcome, Current, ReadOutcome, Stored, Told};

/// What a task found out.
#[derive(Debug)]
pub(super) enum Finding {
    /// A linearizable read of everything, by the poll: the store answers.
    Polled(Snapshot),
    /// The same, by the watch before it begins.
    Begun(Snapshot),
    /// Events of the watch, all those of each revision together.
    Changed(Vec<Change>),
    /// An answer to a read.
    Read { ask: u64, read: Option<Current> },
    /// An answer to a compare-and-set; `Lost` and `Written` say what the document is.
    Cas { ask: u64, outcome: CasOutcome, bytes: Bytes },
    /// The poll had no answer from any endpoint.
    Away { why: String },
}

/// Everything below the prefix, at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Snapshot {
    pub(super) document: Current,
    pub(super) present: BTreeMap<String, Bytes>,
}

/// One key changed.
#[derive(Debug)]
pub(super) struct Change {
    /// The revision of the store at which it did.
    pub(super) at: u64,
    pub(super) what: What,
}

/// Which key, and to what.
#[derive(Debug)]
pub(super) enum What {
    /// `None`: it was removed.
    Document(Option<Bytes>),
    /// `None`: the process is gone.
    Present(String, Option<Bytes>),
}

/// How the teller wakes other tasks.
#[derive(Clone, Debug, Default)]
pub(super) struct Signs {
    /// The watch missed something that the poll found, and did not tell it by the next poll.
    pub(super) is_lagging: Arc<Notify>,
    /// This process's presence is not in the store.
    pub(super) is_absent: Arc<Notify>,
}

/// ```text
/// Unknown ──Away──► Away ◄──Away── Back
///    └─────Polled────┴──Polled──────►┘   (each arrow is told)
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    Unknown,
    Away,
    Back,
}

#[derive(Debug)]
pub(super) struct Teller {
    /// This process's own id, if it is to be present.
    own: Option<String>,
    signs: Signs,
    health: Health,
    /// The newest that is known, which is told already. `None` until something is.
    document: Option<Current>,
    /// The same of the presence, and the revision of the store at which it was so.
    present: Option<(u64, BTreeMap<String, Bytes>)>,
    /// A poll told what the watch had not.
    is_watch_behind: bool,
}

impl Teller {
    pub(super) fn new(own: Option<String>, signs: Signs) -> Self {
        Self {
            own,
            signs,
            health: Health::Unknown,
            document: None,
            present: None,
            is_watch_behind: false,
        }
    }

    pub(super) fn take(&mut self, finding: Finding) -> Vec<Told> {
        let mut told = Vec::new();
        match finding {
            Finding::Polled(snapshot) => {
                self.note_health(Health::Back, String::new(), &mut told);
                let before = told.len();
                self.note_snapshot(snapshot, &mut told);
                if self.is_watch_behind {
                    self.signs.is_lagging.notify_one();
                }
                self.is_watch_behind = !self.is_watch_behind && told.len() > before;
            }
            Finding::Begun(snapshot) => {
                self.is_watch_behind = false;
                self.note_snapshot(snapshot, &mut told);
            }
            Finding::Changed(changes) => {
                self.is_watch_behind = false;
                self.note_changes(changes, &mut told);
            }
            Finding::Read { ask, read } => {
                let outcome = match read {
                    Some(current) => ReadOutcome::Current(self.note(current, &mut told)),
                    None => ReadOutcome::Away,
                };
                told.push(Told::ReadAnswer { ask, outcome });
            }
            Finding::Cas { ask, outcome, bytes } => {
                let outcome = self.note_cas(outcome, bytes, &mut told);
                told.push(Told::CasAnswer { ask, outcome });
            }
            Finding::Away { why } => self.note_health(Health::Away, why, &mut told),
        }
        told
    }

    fn note_health(&mut self, health: Health, why: String, told: &mut Vec<Told>) {
        if self.health == health {
            return;
        }
        self.health = health;
        if health == Health::Back {
            tracing::info!("the coordination store answers");
            told.push(Told::Back);
        } else {
            tracing::warn!(%why, "the coordination store is away");
            told.push(Told::Away { why });
        }
    }

    fn note_cas(&mut self, outcome: CasOutcome, bytes: Bytes, told: &mut Vec<Told>) -> CasOutcome {
        match outcome {
            CasOutcome::Written { revision } => {
                let stored = Some(Stored { revision, bytes });
                self.note(Current { store_revision: revision, stored }, told);
                CasOutcome::Written { revision }
            }
            CasOutcome::Lost(current) => CasOutcome::Lost(self.note(current, told)),
            CasOutcome::Away { may_have_happened } => CasOutcome::Away { may_have_happened },
        }
    }

    /// Takes `current` if it is newer, tells it if it differs, and gives the newest that is known.
    fn note(&mut self, current: Current, told: &mut Vec<Told>) -> Current {
        match &mut self.document {
            Some(known) if known.store_revision >= current.store_revision => known.clone(),
            Some(known) if known.stored == current.stored => {
                known.store_revision = current.store_revision;
                current
            }
            Some(_) | None => {
                self.document = Some(current.clone());
                told.push(Told::Document(current.clone()));
                current
            }
        }
    }

    fn note_snapshot(&mut self, snapshot: Snapshot, told: &mut Vec<Told>) {
        let at = snapshot.document.store_revision;
        self.note(snapshot.document, told);
        match &mut self.present {
            Some((known_at, _)) if *known_at >= at => {}
            Some((known_at, known)) if *known == snapshot.present => *known_at = at,
            Some(_) | None => {
                self.present = Some((at, snapshot.present.clone()));
                told.push(Told::Present(snapshot.present));
            }
        }
        self.miss_own();
    }

    fn note_changes(&mut self, changes: Vec<Change>, told: &mut Vec<Told>) {
        // The watch begins after a snapshot is noted, so that there is one to change.
        let Some((known_at, mut present)) = self.present.clone() else { return };
        let mut at = known_at;
        for change in changes {
            match change.what {
                What::Document(bytes) => {
                    let stored = bytes.map(|bytes| Stored { revision: change.at, bytes });
                    self.note(Current { store_revision: change.at, stored }, told);
                }
                // Compared with what was known before all of them, as several keys may change in
                // one revision.
                What::Present(id, bytes) if change.at > known_at => {
                    at = at.max(change.at);
                    match bytes {
                        Some(bytes) => present.insert(id, bytes),
                        None => present.remove(&id),
                    };
                }
                What::Present(..) => {}
            }
        }
        if self.present.as_ref().is_some_and(|(_, known)| *known != present) {
            told.push(Told::Present(present.clone()));
        }
        self.present = Some((at, present));
        self.miss_own();
    }

    fn miss_own(&self) {
        let Some(own) = &self.own else { return };
        if self.present.as_ref().is_some_and(|(_, present)| !present.contains_key(own)) {
            self.signs.is_absent.notify_one();
        }
    }
}

#[cfg(test)]
mod tests;
