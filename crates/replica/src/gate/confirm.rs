//! What a keeper of a shared gate says only when it is certain that it still is the keeper.
//!
//! Whoever keeps the gate hears late that another one does by now, and what is on the queue then is
//! known to the other one only in a while. A batch that is acknowledged in between is no longer
//! marked at its home, and should that die, an older copy could wake here. So could one of a call
//! that is denied meanwhile. Therefore the keeper has its replica ask the others of its view
//! first: nobody else keeps the gate as long as the view is theirs.
//!
//! ```text
//!   said ─► Waiting ──nothing is asked──► Asked ──confirmed──► told
//!              ▲                             │
//!              └──── not confirmed: again ───┴── for too long: refused, or to be asked later
//! ```
//! One question is open at a time, and its answer covers all that was said before it was asked: a
//! gate under load asks no more often than one that is not. A site of one process asks nobody.

use std::time::Duration;

use tier_protocol::{GateWord, KeysetEntry, PullAnswer, SiteWord};
use vocab::{CallKey, EngineId, Instant, PartitionId, SiteId};

use crate::door::SiteInput;
use crate::gate::Gate;

/// Words that wait at a time.
const HELD_MAX: usize = 16_384;
/// How long one waits: a view that loses a member changes sooner.
const WAIT: Duration = Duration::from_secs(4);
/// The replica answers sooner, unless its process has begun anew.
const ANSWER_WAIT: Duration = Duration::from_secs(2);

/// What is said to another site if this process is still the keeper.
#[derive(Debug)]
pub(super) enum Held {
    /// A batch is on the queue.
    Stored { id: u64, partition: PartitionId },
    /// What the inbox had to say about a partition's answer was true.
    Pulled { key: CallKey, ask: u64, answer: Box<PullAnswer> },
    /// The same of a page of the keyset.
    Page { entries: Vec<KeysetEntry>, next: Option<CallKey> },
}

/// Who is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum To {
    Site(SiteId),
    /// An engine of this site, for its turn: what other sites hold.
    Engine(EngineId, u64),
}

#[derive(Debug)]
struct Word {
    to: To,
    until: Instant,
    held: Held,
}

/// The words that wait.
#[derive(Debug, Default)]
pub(super) struct Confirming {
    waiting: Vec<Word>,
    /// Those that the open question is about.
    asked: Vec<Word>,
    /// The open question, and when its answer is lost.
    open: Option<(u64, Instant)>,
    asks: u64,
}

impl Confirming {
    /// The link broke: the site asks again, and sends again.
    pub(super) fn forget(&mut self, site: SiteId) {
        self.waiting.retain(|word| word.to != To::Site(site));
        self.asked.retain(|word| word.to != To::Site(site));
    }

    pub(super) fn wake_at(&self) -> Option<Instant> {
        self.open.map(|(_, until)| until)
    }
}

impl Gate {
    /// Says it to the site once it is certain that this process keeps the gate.
    pub(super) fn say_as_keeper(&mut self, to: To, held: Held) {
        if !self.config.is_shared {
            return self.say(to, held);
        }
        if self.confirming.waiting.len() + self.confirming.asked.len() >= HELD_MAX {
            return self.take_back(to, held);
        }
        let until = self.now + WAIT;
        self.confirming.waiting.push(Word { to, until, held });
        self.ask_replica();
    }

    fn ask_replica(&mut self) {
        let confirming = &mut self.confirming;
        let (Some(keeper), true, None) = (self.me, !confirming.waiting.is_empty(), confirming.open)
        else {
            return;
        };
        confirming.asks += 1;
        let ask = confirming.asks;
        confirming.open = Some((ask, self.now + ANSWER_WAIT));
        confirming.asked = std::mem::take(&mut confirming.waiting);
        // The keeper's replica is the primary of the first partition.
        if let Some((partition, _)) = self.partitions.first().copied() {
            self.tell_replica(partition, SiteInput::KeeperAsk { keeper, ask });
        }
    }

    /// Whether the others of the view have confirmed it.
    pub(super) fn keeper_told(&mut self, now: Instant, ask: u64, is_confirmed: bool) {
        if self.confirming.open.is_none_or(|(open, _)| open != ask) {
            return;
        }
        self.confirming.open = None;
        let mut again = Vec::new();
        for word in std::mem::take(&mut self.confirming.asked) {
            if is_confirmed {
                self.say(word.to, word.held);
            } else if word.until > now {
                again.push(word);
            } else {
                self.take_back(word.to, word.held);
            }
        }
        again.append(&mut self.confirming.waiting);
        self.confirming.waiting = again;
        self.ask_replica();
    }

    /// Goes on when the replica's answer is lost.
    pub(super) fn end_confirming(&mut self, now: Instant) {
        if let Some((ask, until)) = self.confirming.open
            && until <= now
        {
            self.keeper_told(now, ask, false);
        }
    }

    fn say(&mut self, to: To, held: Held) {
        let word = match held {
            Held::Stored { id, partition } => SiteWord::BatchStored { id, partition },
            Held::Pulled { key, ask, answer } => SiteWord::Pulled { key, ask, answer: *answer },
            Held::Page { entries, next } => {
                self.stats.keyset_pages_given += 1;
                SiteWord::KeysetPage { entries, next, ask_later: false }
            }
        };
        self.tell(to, word);
    }

    fn take_back(&mut self, to: To, held: Held) {
        self.stats.unconfirmed += 1;
        let word = match held {
            Held::Stored { id, partition } => SiteWord::BatchRefused { id, partition },
            Held::Pulled { key, ask, answer: _ } => {
                SiteWord::Pulled { key, ask, answer: PullAnswer::AskLater }
            }
            Held::Page { .. } => {
                let (entries, next) = (Vec::new(), None);
                SiteWord::KeysetPage { entries, next, ask_later: true }
            }
        };
        self.tell(to, word);
    }

    fn tell(&mut self, to: To, word: SiteWord) {
        match (to, word) {
            (To::Engine(engine, turn), SiteWord::Pulled { key, ask: _, answer }) => {
                self.tell_engine(engine, GateWord::Pulled { key, turn, answer });
            }
            (To::Site(site), word) if self.peers.is_linked(site) => self.tell_site(site, word),
            (To::Site(_) | To::Engine(..), _) => {}
        }
    }
}
