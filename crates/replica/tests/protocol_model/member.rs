//! A replica in the model: its copy, its lock, and what it answers.

use crate::BEGINNER;
use crate::model::{FIRST_VIEW, Protocol, Rule, State};
use crate::words::{Grant, Held, Place, Token, Word};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Member {
    pub(crate) up: bool,
    /// It has heard that it is not in the newest view, and answers nothing any more.
    pub(crate) removed: bool,
    pub(crate) view: u8,
    pub(crate) held: Held,
    /// The greatest token it knows of.
    pub(crate) known: Token,
    pub(crate) lock: Lock,
    /// Engine and turn, first come first.
    pub(crate) waiters: Vec<(Place, u8)>,
}

/// ```text
/// Free ──ask──► Held ──unlock──► Free
///                └──link, lease──► Broken ──fence──► Fencing ──all answered──► Free or Held
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Lock {
    Free,
    Held {
        engine: Place,
        turn: Option<u8>,
        token: Token,
    },
    /// It did not end by an unlock, or this primary cannot know how it ended.
    Broken,
    Fencing {
        token: Token,
    },
}

impl Member {
    pub(crate) fn new(lock: Lock) -> Self {
        Self {
            up: true,
            removed: false,
            view: FIRST_VIEW,
            held: Held::default(),
            known: Token::default(),
            lock,
            waiters: Vec::new(),
        }
    }

    /// Becomes the only member of a new view.
    pub(crate) fn lead(&mut self, view: u8, was_primary: bool) {
        self.view = view;
        // Those who wait repeat their ask in the new view.
        self.waiters.clear();
        match self.lock {
            Lock::Free | Lock::Held { .. } if was_primary => {}
            Lock::Free | Lock::Held { .. } | Lock::Broken | Lock::Fencing { .. } => {
                self.lock = Lock::Broken;
            }
        }
    }

    /// Whether a word of `view` can still mean something to the member.
    pub(crate) fn listens(&self, view: u8) -> bool {
        !self.removed && self.view <= view
    }

    fn next_token(&mut self) -> Token {
        let counter = if self.known.view == self.view { self.known.counter + 1 } else { 1 };
        self.known = Token { view: self.view, counter };
        self.known
    }
}

impl State {
    pub(crate) fn member_hears(&mut self, place: Place, word: Word, protocol: &Protocol) {
        match word {
            Word::Ask { engine, member: _, view, turn } if self.speaks(place, view) => {
                self.hear_ask(place, engine, turn);
            }
            Word::Confirm { engine, member, view, turn }
                if self.speaks(place, view) || !protocol.keeps(Rule::OldViewsAreRefused) =>
            {
                self.send(Word::Confirmed { engine, member, view, turn });
            }
            Word::Put { engine, member, view, lineage } if self.speaks(place, view) => {
                let word = if self.store(place, &lineage, protocol) {
                    Word::Stored { engine, member, view, lineage }
                } else {
                    Word::Refused { engine, member, lineage }
                };
                self.send(word);
            }
            Word::Unlock { engine: _, member: _, view, token } if self.speaks(place, view) => {
                self.hear_unlock(place, token);
            }
            Word::Fence { from, to, view, token, held } if self.speaks(place, view) => {
                self.hold_newest(place, held);
                let member = &mut self.members[place];
                member.known = member.known.max(token);
                let held = member.held.clone();
                self.send(Word::Fenced { from: to, to: from, view, token, held });
            }
            Word::Fenced { from: _, to: _, view, token, held }
                if self.speaks(place, view)
                    && self.members[place].lock == (Lock::Fencing { token }) =>
            {
                self.hold_newest(place, held);
                self.end_fence(place, token, protocol);
            }
            // Of another view. An engine is told so and fetches the newest one; here it may do
            // that at any time.
            Word::Ask { .. }
            | Word::Confirm { .. }
            | Word::Put { .. }
            | Word::Unlock { .. }
            | Word::Fence { .. }
            | Word::Fenced { .. } => {}
            Word::Granted { .. }
            | Word::Resume { .. }
            | Word::NotHere { .. }
            | Word::Confirmed { .. }
            | Word::Stored { .. }
            | Word::Refused { .. } => unreachable!("a word for an engine"),
        }
    }

    /// Whether the member answers in `view`.
    fn speaks(&self, place: Place, view: u8) -> bool {
        !self.members[place].removed && self.members[place].view == view
    }

    fn hear_ask(&mut self, place: Place, engine: Place, turn: u8) {
        let member = &mut self.members[place];
        if let Lock::Held { engine: holder, turn: Some(of), token } = member.lock
            && (holder, of) == (engine, turn)
        {
            // The grant was lost on its way, or belongs to the view before.
            let (lineage, view) = (member.held.lineage.clone(), member.view);
            let grant = Grant { token, lineage, resume: member.held.unreleased };
            self.send(Word::Granted { engine, member: place, view, turn, grant });
            return;
        }
        member.waiters.push((engine, turn));
        self.serve_next(place);
    }

    fn hear_unlock(&mut self, place: Place, token: Token) {
        let member = &mut self.members[place];
        if token < member.known {
            return;
        }
        member.known = token;
        member.held.unreleased = false;
        match member.lock {
            Lock::Held { token: held, .. } if held == token => {
                member.lock = Lock::Free;
                self.serve_next(place);
            }
            Lock::Held { .. } | Lock::Free | Lock::Broken | Lock::Fencing { .. } => {}
        }
    }

    /// Grants a free lock to those who wait.
    fn serve_next(&mut self, place: Place) {
        while self.members[place].lock == Lock::Free && !self.members[place].waiters.is_empty() {
            let (engine, turn) = self.members[place].waiters.remove(0);
            let view = self.members[place].view;
            if self.members[place].held.lineage.is_empty() && engine != BEGINNER {
                self.send(Word::NotHere { engine, member: place, view, turn });
            } else if self.engines[engine].up {
                let token = self.members[place].next_token();
                self.grant(place, engine, turn, token, false);
            }
        }
    }

    fn grant(&mut self, place: Place, engine: Place, turn: u8, token: Token, resume: bool) {
        let member = &mut self.members[place];
        member.lock = Lock::Held { engine, turn: Some(turn), token };
        let (view, lineage) = (member.view, member.held.lineage.clone());
        let grant = Grant { token, lineage, resume };
        self.send(Word::Granted { engine, member: place, view, turn, grant });
    }

    /// Whether the member holds the put from here on.
    fn store(&mut self, place: Place, lineage: &[Token], protocol: &Protocol) -> bool {
        let member = &mut self.members[place];
        if member.held.lineage == lineage {
            return true;
        }
        let (&token, base) = lineage.split_last().expect("a put has a version");
        if token < member.known && protocol.keeps(Rule::OldTokensAreRefused) {
            return false;
        }
        if member.held.lineage != base {
            self.broken.base_did_not_fit |= token >= self.members[place].known;
            return false;
        }
        member.known = member.known.max(token);
        member.held = Held { lineage: lineage.to_vec(), unreleased: true };
        true
    }

    fn hold_newest(&mut self, place: Place, other: Held) {
        let held = self.members[place].held.clone();
        let before = held.lineage.len();
        self.members[place].held = held.newest(other);
        self.broken.version_went_back |= self.members[place].held.lineage.len() < before;
    }

    /// The lock is granted again "only after every member has the new token and the newest copy
    /// that any member holds".
    pub(crate) fn fence(&mut self, place: Place, protocol: &Protocol) {
        let token = self.members[place].next_token();
        let view = self.members[place].view;
        let others: Vec<_> =
            self.members_of(view).into_iter().filter(|&other| other != place).collect();
        if others.is_empty() || !protocol.keeps(Rule::BrokenLocksAreFenced) {
            self.end_fence(place, token, protocol);
            return;
        }
        self.members[place].lock = Lock::Fencing { token };
        for to in others {
            let held = self.members[place].held.clone();
            self.send(Word::Fence { from: place, to, view, token, held });
        }
    }

    fn end_fence(&mut self, place: Place, token: Token, protocol: &Protocol) {
        let held = self.members[place].held.clone();
        if !held.unreleased || !protocol.keeps(Rule::UnreleasedIsResumed) {
            self.members[place].lock = Lock::Free;
            self.serve_next(place);
            return;
        }
        let engines = &self.engines;
        self.members[place].waiters.retain(|(engine, _)| engines[*engine].up);
        if !self.members[place].waiters.is_empty() {
            let (engine, turn) = self.members[place].waiters.remove(0);
            self.grant(place, engine, turn, token, true);
        } else if let Some(engine) = (0..2).find(|&engine| self.engines[engine].up) {
            self.members[place].lock = Lock::Held { engine, turn: None, token };
            let grant = Grant { token, lineage: held.lineage, resume: true };
            self.send(Word::Resume { engine, member: place, grant });
        } else {
            // It waits for an engine; none comes back in the model.
            self.members[place].lock = Lock::Fencing { token };
        }
    }
}
