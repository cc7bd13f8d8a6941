//! Pulls: one question to every site that answers, the best of their answers back.
//!
//! The answer with the higher epoch is the better one, as when two copies meet; at the same epoch
//! a record is better than a place. A silent site counts as "no such call", which is only believed
//! once this site has every keyset and what lay on its queue is applied. One that is merely slow,
//! or whose link has just broken, does not count: the question is asked again.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use tier_protocol::{GateWord, PullAnswer, SiteWord};
use vocab::{CallKey, EngineId, Instant, PartitionId, SiteId};

use crate::door::SiteInput;
use crate::gate::confirm::{Held, To};
use crate::gate::{Gate, SiteState};

/// Who asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asker {
    Engine { engine: EngineId, turn: u64 },
    Partition(PartitionId),
}

#[derive(Debug)]
struct Pull {
    asker: Asker,
    key: CallKey,
    until: Instant,
    waiting: BTreeSet<SiteId>,
    /// Some site that may hold the call did not answer.
    is_partial: bool,
    best: Option<(SiteId, PullAnswer)>,
    /// The newest row of the queue at the time of the question.
    inbox_row: Option<u64>,
}

/// The questions that are open.
#[derive(Debug, Default)]
pub(super) struct Pulls {
    open: BTreeMap<u64, Pull>,
    asked: u64,
}

impl Pulls {
    pub(super) fn first_end(&self) -> Option<Instant> {
        // All wait equally long, so the first asked ends first.
        self.open.values().next().map(|pull| pull.until)
    }

    pub(super) fn forget_engine(&mut self, engine: EngineId) {
        self.open.retain(|_, pull| match pull.asker {
            Asker::Engine { engine: asker, .. } => asker != engine,
            Asker::Partition(_) => true,
        });
    }
}

impl Gate {
    pub(super) fn ask_sites(&mut self, now: Instant, asker: Asker, key: CallKey) {
        self.stats.pulls += 1;
        if self.pulls.open.len() >= self.config.pulls_open_max {
            self.stats.pulls_put_off += 1;
            return self.answer(asker, None, key, PullAnswer::AskLater);
        }
        let alive = self.peers.alive(now, self.config.silent_after);
        let waiting: BTreeSet<SiteId> = alive.iter().map(|status| status.site).collect();
        let pull = Pull {
            asker,
            key,
            until: now + self.config.pull_wait,
            is_partial: waiting.len() < self.config.peers.len(),
            waiting: waiting.clone(),
            best: None,
            inbox_row: self.inbox.last_row(),
        };
        if waiting.is_empty() {
            return self.finish(pull);
        }
        self.pulls.asked += 1;
        let ask = self.config.start << 32 | self.pulls.asked;
        self.pulls.open.insert(ask, pull);
        for site in waiting {
            self.tell_site(site, SiteWord::Pull { key, ask });
        }
    }

    pub(super) fn pulled(&mut self, site: SiteId, key: CallKey, ask: u64, answer: PullAnswer) {
        let Some(pull) = self.pulls.open.get_mut(&ask) else {
            return;
        };
        if pull.key != key || !pull.waiting.remove(&site) {
            return;
        }
        let is_better = match &pull.best {
            None => true,
            Some((_, best)) => compare(&answer, best) == Ordering::Greater,
        };
        if is_better {
            pull.best = Some((site, answer));
        }
        if pull.waiting.is_empty()
            && let Some(pull) = self.pulls.open.remove(&ask)
        {
            self.finish(pull);
        }
    }

    pub(super) fn end_pulls(&mut self, now: Instant) {
        while let Some(entry) = self.pulls.open.first_entry() {
            if entry.get().until > now {
                break;
            }
            let mut pull = entry.remove();
            pull.is_partial = true;
            self.stats.pulls_timed_out += 1;
            self.finish(pull);
        }
    }

    pub(super) fn pull_link_down(&mut self, site: SiteId) {
        let mut ended = Vec::new();
        for (ask, pull) in &mut self.pulls.open {
            if pull.waiting.remove(&site) {
                pull.is_partial = true;
                if pull.waiting.is_empty() {
                    ended.push(*ask);
                }
            }
        }
        for ask in ended {
            if let Some(pull) = self.pulls.open.remove(&ask) {
                self.finish(pull);
            }
        }
    }

    fn finish(&mut self, pull: Pull) {
        let Pull { asker, key, until: _, waiting, is_partial, best, inbox_row } = pull;
        let (from, mut answer) = match best {
            Some((site, answer)) => (Some(site), answer),
            None => (None, PullAnswer::NoSuch),
        };
        // What was on the queue when the question was asked may hold the call.
        let may_be_on_queue =
            !self.is_loaded || inbox_row.is_some_and(|row| self.inbox.has_up_to(row));
        // A silent site may hold what we lost when we fell; one that owes its answer, or whose link
        // has just broken, lives.
        let (now, silent_after) = (self.now, self.config.silent_after);
        let is_owed = waiting.iter().any(|site| self.peers.is_alive(now, silent_after, *site));
        let may_live = is_owed || self.peers.may_be_back(now, silent_after);
        let may_be_elsewhere = is_partial && (!self.keyset.is_known() || may_live);
        let is_returning = self.state == SiteState::Returning;
        if answer == PullAnswer::NoSuch && (may_be_on_queue || is_returning || may_be_elsewhere) {
            self.stats.pulls_put_off += 1;
            answer = PullAnswer::AskLater;
        }
        let from = from.filter(|_| answer != PullAnswer::NoSuch || !is_partial);
        self.answer(asker, from, key, answer);
    }

    fn answer(&mut self, asker: Asker, from: Option<SiteId>, key: CallKey, answer: PullAnswer) {
        match asker {
            Asker::Engine { engine, turn } if answer == PullAnswer::NoSuch => {
                let held = Held::Pulled { key, ask: 0, answer: Box::new(answer) };
                self.say_as_keeper(To::Engine(engine, turn), held);
            }
            Asker::Engine { engine, turn } => {
                self.tell_engine(engine, GateWord::Pulled { key, turn, answer });
            }
            Asker::Partition(partition) => {
                self.tell_replica(partition, SiteInput::Pulled { from, key, answer });
            }
        }
    }

    /// Passes a partition's answer on to the site that asked.
    pub(super) fn answer_site(&mut self, site: SiteId, ask: u64, key: CallKey, answer: PullAnswer) {
        if !self.peers.is_linked(site) {
            return;
        }
        // A newer copy, or the only one, may still lie on the queue here.
        let is_settled = match &answer {
            PullAnswer::Yours(_) => !self.inbox.has_from(site),
            PullAnswer::NoSuch => !self.has_inbox(),
            PullAnswer::Lives(_) | PullAnswer::AskLater => true,
        };
        let answer = if is_settled { answer } else { PullAnswer::AskLater };
        match answer {
            PullAnswer::Yours(_) | PullAnswer::NoSuch => {
                let answer = Box::new(answer);
                self.say_as_keeper(To::Site(site), Held::Pulled { key, ask, answer });
            }
            PullAnswer::Lives(_) | PullAnswer::AskLater => {
                self.tell_site(site, SiteWord::Pulled { key, ask, answer });
            }
        }
    }
}

/// Which answer is the better one.
fn compare(a: &PullAnswer, b: &PullAnswer) -> Ordering {
    let rank = |answer: &PullAnswer| match answer {
        PullAnswer::Yours(record) => (2, Some((record.header.stamp.epoch, 1))),
        PullAnswer::Lives(epoch) => (2, Some((*epoch, 0))),
        PullAnswer::AskLater => (1, None),
        PullAnswer::NoSuch => (0, None),
    };
    let stamp = |answer: &PullAnswer| match answer {
        PullAnswer::Yours(record) => Some(record.header.stamp),
        PullAnswer::Lives(_) | PullAnswer::AskLater | PullAnswer::NoSuch => None,
    };
    rank(a).cmp(&rank(b)).then_with(|| stamp(a).cmp(&stamp(b)))
}
