//! An engine in the model: one turn at a time, and beside it a record that it was given to resume.

use crate::model::{FIRST_VIEW, Protocol, Rule, State};
use crate::words::{Grant, Lineage, Place, Token, Word};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Engine {
    pub(crate) up: bool,
    /// The view it believes in.
    pub(crate) view: u8,
    /// Inputs that it has yet to get.
    pub(crate) inputs: u8,
    /// Number of its latest ask.
    pub(crate) turn: u8,
    pub(crate) phase: Phase,
    pub(crate) resume: Option<Grant>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Phase {
    Idle,
    Asking(Asking),
    /// Waits for every member of its view; effects are held.
    Putting {
        lineage: Lineage,
        stored_by: [bool; 2],
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Asking {
    pub(crate) answer: Option<Answer>,
    /// The other members of its view have confirmed that view.
    pub(crate) confirmed: bool,
    /// Length of the longest acknowledged record when the ask was made: no older one may be
    /// believed.
    floor: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Answer {
    Granted(Grant),
    NotHere,
}

impl Asking {
    pub(crate) fn granted(&self) -> bool {
        match &self.answer {
            Some(Answer::Granted(_)) => true,
            Some(Answer::NotHere) | None => false,
        }
    }

    /// "`NotHere`, and any turn that ends without a put, counts only when every other member has
    /// confirmed the same view."
    pub(crate) fn may_end(&self, protocol: &Protocol) -> bool {
        self.answer.is_some() && (self.confirmed || !protocol.keeps(Rule::ReadsAreConfirmed))
    }
}

impl Engine {
    pub(crate) fn new(inputs: u8) -> Self {
        Self { up: true, view: FIRST_VIEW, inputs, turn: 0, phase: Phase::Idle, resume: None }
    }

    pub(crate) fn die(&mut self) {
        *self = Self { up: false, ..Self::new(0) };
    }

    /// Whether an answer to this ask can still mean something to the engine.
    pub(crate) fn awaits(&self, view: u8, turn: u8) -> bool {
        match &self.phase {
            Phase::Asking(asking) => {
                self.view <= view && self.turn == turn && asking.answer.is_none()
            }
            Phase::Idle | Phase::Putting { .. } => false,
        }
    }

    /// Whether a confirmation of `view` can.
    pub(crate) fn awaits_confirmation(&self, view: u8, turn: u8) -> bool {
        match &self.phase {
            Phase::Asking(asking) => self.view <= view && self.turn == turn && !asking.confirmed,
            Phase::Idle | Phase::Putting { .. } => false,
        }
    }

    /// Whether the engine waits for this put.
    pub(crate) fn puts(&self, put: &Lineage) -> bool {
        match &self.phase {
            Phase::Putting { lineage, .. } => lineage == put,
            Phase::Idle | Phase::Asking(_) => false,
        }
    }

    /// The lock that the engine believes to hold in its turn.
    pub(crate) fn token(&self) -> Option<Token> {
        match &self.phase {
            Phase::Idle => None,
            Phase::Asking(asking) => match &asking.answer {
                Some(Answer::Granted(grant)) => Some(grant.token),
                Some(Answer::NotHere) | None => None,
            },
            Phase::Putting { lineage, .. } => lineage.last().copied(),
        }
    }
}

impl State {
    /// Whether the receiver has room for the word.
    pub(crate) fn can_hear(&self, word: &Word) -> bool {
        match word {
            Word::Resume { engine, .. } => self.engines[*engine].resume.is_none(),
            Word::Ask { .. }
            | Word::Confirm { .. }
            | Word::Put { .. }
            | Word::Unlock { .. }
            | Word::Granted { .. }
            | Word::NotHere { .. }
            | Word::Confirmed { .. }
            | Word::Stored { .. }
            | Word::Refused { .. }
            | Word::Fence { .. }
            | Word::Fenced { .. } => true,
        }
    }

    pub(crate) fn begin(&mut self, place: Place) {
        self.engines[place].inputs -= 1;
        self.ask(place, true);
    }

    fn ask(&mut self, place: Place, another: bool) {
        let floor = self.acknowledged.len();
        let engine = &mut self.engines[place];
        engine.turn += u8::from(another);
        let (view, turn) = (engine.view, engine.turn);
        let members = self.members_of(view);
        let (&primary, others) = members.split_first().expect("a view has a member");
        let confirmed = others.is_empty();
        self.engines[place].phase = Phase::Asking(Asking { answer: None, confirmed, floor });
        self.send(Word::Ask { engine: place, member: primary, view, turn });
        for &member in others {
            self.send(Word::Confirm { engine: place, member, view, turn });
        }
    }

    pub(crate) fn put(&mut self, place: Place) {
        let Phase::Asking(Asking { answer: Some(Answer::Granted(grant)), .. }) =
            &self.engines[place].phase
        else {
            return;
        };
        let mut lineage = grant.lineage.clone();
        lineage.push(grant.token);
        self.engines[place].phase = Phase::Putting { lineage, stored_by: [false; 2] };
        self.send_puts(place);
    }

    fn send_puts(&mut self, place: Place) {
        let view = self.engines[place].view;
        let Phase::Putting { lineage, stored_by } = &mut self.engines[place].phase else {
            return;
        };
        *stored_by = [false; 2];
        let lineage = lineage.clone();
        for member in self.members_of(view) {
            self.send(Word::Put { engine: place, member, view, lineage: lineage.clone() });
        }
    }

    pub(crate) fn end_without_put(&mut self, place: Place) {
        let Phase::Asking(asking) = &self.engines[place].phase else {
            return;
        };
        let (read, token) = match &asking.answer {
            Some(Answer::Granted(grant)) => (grant.lineage.len(), Some(grant.token)),
            Some(Answer::NotHere) | None => (0, None),
        };
        self.broken.old_read_believed |= read < asking.floor;
        self.engines[place].phase = Phase::Idle;
        if let Some(token) = token {
            self.unlock(place, token);
        }
    }

    fn unlock(&mut self, place: Place, token: Token) {
        let view = self.engines[place].view;
        for member in self.members_of(view) {
            self.send(Word::Unlock { engine: place, member, view, token });
        }
    }

    pub(crate) fn resume(&mut self, place: Place) {
        if let Some(grant) = self.engines[place].resume.take() {
            self.release(&grant.lineage);
            self.unlock(place, grant.token);
        }
    }

    /// "The engine fetches the view and retries with the same stamp."
    pub(crate) fn fetch_view(&mut self, place: Place) {
        self.engines[place].view = self.view;
        match self.engines[place].phase {
            Phase::Idle => {}
            Phase::Asking(_) => self.ask(place, false),
            Phase::Putting { .. } => self.send_puts(place),
        }
    }

    pub(crate) fn engine_hears(&mut self, place: Place, word: Word, protocol: &Protocol) {
        match word {
            Word::Granted { engine: _, member: _, view, turn, grant } => {
                let resumed = grant.resume.then(|| grant.lineage.clone());
                if self.answer(place, view, turn, Answer::Granted(grant))
                    && let Some(lineage) = resumed
                {
                    self.release(&lineage);
                }
            }
            Word::NotHere { engine: _, member: _, view, turn } => {
                self.answer(place, view, turn, Answer::NotHere);
            }
            Word::Resume { engine: _, member: _, grant } => {
                // A grant of a later view is how an engine may first hear of that view. Were it
                // to unlock in its own, a removed member would learn a token of the view that it
                // is not in, and grant that token again.
                if grant.token.view > self.engines[place].view
                    && protocol.keeps(Rule::GrantsTellTheirView)
                {
                    self.fetch_view(place);
                }
                self.engines[place].resume = Some(grant);
            }
            Word::Confirmed { engine: _, member: _, view, turn } => {
                let engine = &mut self.engines[place];
                if (engine.view, engine.turn) == (view, turn)
                    && let Phase::Asking(asking) = &mut engine.phase
                {
                    asking.confirmed = true;
                }
            }
            Word::Stored { engine: _, member, view, lineage } => {
                self.hear_stored(place, member, view, lineage, protocol);
            }
            Word::Refused { engine: _, member: _, lineage } => {
                if self.engines[place].puts(&lineage) {
                    // "A refused put drops them and the input is stepped again on the newer state."
                    self.ask(place, true);
                }
            }
            Word::Ask { .. }
            | Word::Confirm { .. }
            | Word::Put { .. }
            | Word::Unlock { .. }
            | Word::Fence { .. }
            | Word::Fenced { .. } => unreachable!("a word for a member"),
        }
    }

    /// Whether the answer was one that the engine waits for.
    fn answer(&mut self, place: Place, view: u8, turn: u8, answer: Answer) -> bool {
        let engine = &mut self.engines[place];
        let Phase::Asking(asking) = &mut engine.phase else {
            return false;
        };
        if (engine.view, engine.turn) != (view, turn) || asking.answer.is_some() {
            return false;
        }
        asking.answer = Some(answer);
        true
    }

    fn hear_stored(
        &mut self,
        place: Place,
        member: Place,
        view: u8,
        stored: Lineage,
        protocol: &Protocol,
    ) {
        let members = self.members_of(view);
        let engine = &mut self.engines[place];
        let Phase::Putting { lineage, stored_by } = &mut engine.phase else {
            return;
        };
        // "A put is stored when every member and joiner of one view has it."
        if *lineage != stored || engine.view != view {
            return;
        }
        stored_by[member] = true;
        let all = members.iter().all(|&member| stored_by[member]);
        if all || !protocol.keeps(Rule::PutsReachAll) {
            engine.phase = Phase::Idle;
            self.note_acknowledged(&stored);
            self.release(&stored);
            let token = *stored.last().expect("a put has a version");
            self.unlock(place, token);
        }
    }
}
