//! An engine in the model: one turn at a time.
//!
//! ```text
//! Idle ──begin──► Asking ──answer──► Answered ──put──► Putting ──stored──► Idle
//!  ▲                ▲                 │    ▲              │  │
//!  └──confirmed─────┼─────────────────┘    └───resumed────┘  │
//!                   └─────────────────refused────────────────┘
//! ```

use crate::model::{Action, ENGINES, Protocol, Rule, State};
use crate::store::REPLICAS;
use crate::words::{Grant, Lineage, Place, Token, Word};

/// The engine whose first input may begin the call; all others are in-dialog.
pub(crate) const BEGINNER: Place = 0;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Engine {
    pub(crate) up: bool,
    /// The view it believes in.
    pub(crate) view: u8,
    /// Inputs that it has yet to get.
    pub(crate) inputs: u8,
    /// Number of its latest ask.
    pub(crate) turn: u8,
    pub(crate) phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Phase {
    Idle,
    Asking {
        /// The longest acknowledged record when the ask was made: no older one may be believed.
        floor: u32,
    },
    Answered {
        /// Without one the record is not there.
        grant: Option<Grant>,
        floor: u32,
        /// Replicas that have confirmed the view since.
        confirmed: [bool; REPLICAS],
    },
    /// Waits for every member and joiner of its view; effects are held.
    Putting {
        lineage: Lineage,
        stored: [bool; REPLICAS],
        refused: bool,
        then: Then,
    },
}

/// What a stored put leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Then {
    Unlock,
    /// The same, of a record that it was handed: refused, it is no business of the engine's.
    HandOver,
    /// It was the resumed version; now comes the engine's own input under the same lock.
    OwnTurn {
        floor: u32,
    },
}

impl Engine {
    pub(crate) fn new(inputs: u8) -> Self {
        Self { up: true, view: 1, inputs, turn: 0, phase: Phase::Idle }
    }

    pub(crate) fn die(&mut self) {
        *self = Self { up: false, view: 0, ..Self::new(0) };
    }

    /// Whether it is at work under this lock.
    pub(crate) fn uses(&self, token: Token) -> bool {
        match self.phase {
            Phase::Idle | Phase::Asking { .. } | Phase::Answered { grant: None, .. } => false,
            Phase::Answered { grant: Some(grant), .. } => grant.token == token,
            Phase::Putting { lineage, .. } => lineage.token() == token,
        }
    }

    /// Whether it waits for the lock that it was granted for this ask.
    pub(crate) fn asks(&self, turn: u8) -> bool {
        match self.phase {
            Phase::Asking { .. } => self.turn == turn,
            Phase::Idle | Phase::Answered { .. } | Phase::Putting { .. } => false,
        }
    }
}

impl State {
    pub(crate) fn begin(&mut self, place: Place, view: u8) {
        self.engines[place].view = view;
        self.engines[place].inputs -= 1;
        self.ask(place, true);
    }

    /// Asks for a new turn, or again for the same one.
    pub(crate) fn ask(&mut self, place: Place, another: bool) {
        let floor = self.acknowledged.len();
        let engine = &mut self.engines[place];
        engine.turn += u8::from(another);
        engine.phase = Phase::Asking { floor };
        let (view, turn) = (engine.view, engine.turn);
        let primary = self.view(view).primary();
        self.send(place, primary, Word::Ask { view, turn });
    }

    /// "A refused put drops its effects and the input is stepped again on the newer state."
    pub(crate) fn ask_again(&mut self, place: Place) {
        match self.engines[place].phase {
            Phase::Putting { then: Then::HandOver, .. } => {
                self.engines[place].phase = Phase::Idle;
            }
            Phase::Putting { then: Then::Unlock | Then::OwnTurn { .. }, .. }
            | Phase::Idle
            | Phase::Asking { .. }
            | Phase::Answered { .. } => self.ask(place, true),
        }
    }

    /// A primary of `view` answers the ask of this turn.
    pub(crate) fn hear_answer(
        &mut self,
        place: Place,
        (view, turn): (u8, u8),
        grant: Option<Grant>,
        protocol: &Protocol,
    ) {
        let engine = &mut self.engines[place];
        let Phase::Asking { floor } = engine.phase else {
            return;
        };
        if !engine.up || (engine.view, engine.turn) != (view, turn) {
            return;
        }
        engine.phase = Phase::Answered { grant, floor, confirmed: [false; REPLICAS] };
        if let Some(grant) = grant
            && grant.resume
        {
            self.resume(place, grant, Then::OwnTurn { floor }, protocol);
        }
    }

    /// "It first puts the same state again under its new token to all members."
    pub(crate) fn resume(&mut self, place: Place, grant: Grant, then: Then, protocol: &Protocol) {
        if !protocol.keeps(Rule::ResumesArePutAgain) {
            self.release(grant.lineage);
        }
        let lineage = if grant.lineage.is_gone() || grant.lineage.is_empty() {
            grant.lineage.then_gone(grant.token)
        } else {
            grant.lineage.then(grant.token)
        };
        self.start_put(place, lineage, then);
    }

    pub(crate) fn put(&mut self, place: Place, gone: bool) {
        if let Phase::Answered { grant: Some(grant), .. } = self.engines[place].phase {
            let base = grant.lineage;
            let lineage = if gone { base.then_gone(grant.token) } else { base.then(grant.token) };
            self.start_put(place, lineage, Then::Unlock);
        }
    }

    fn start_put(&mut self, place: Place, lineage: Lineage, then: Then) {
        let stored = [false; REPLICAS];
        let engine = &mut self.engines[place];
        engine.phase = Phase::Putting { lineage, stored, refused: false, then };
        let view = engine.view;
        self.send_to_all(place, Word::Put { view, lineage });
    }

    fn send_to_all(&mut self, place: Place, word: Word) {
        let view = *self.view(word.view());
        for member in 0..REPLICAS {
            if view.has(member) {
                self.send(place, member, word);
            }
        }
    }

    /// A replica answers in `view` that it holds the put, or that it does not take it.
    pub(crate) fn hear_put_answer(
        &mut self,
        place: Place,
        member: Place,
        (view, put): (u8, Lineage),
        is_stored: bool,
    ) {
        let engine = &mut self.engines[place];
        if let Phase::Putting { lineage, stored, refused, .. } = &mut engine.phase
            && engine.view == view
            && *lineage == put
        {
            stored[member] |= is_stored;
            *refused |= !is_stored;
        }
    }

    pub(crate) fn confirm(&mut self, place: Place, member: Place) {
        if let Phase::Answered { confirmed, .. } = &mut self.engines[place].phase {
            confirmed[member] = true;
        }
    }

    pub(crate) fn end_without_put(&mut self, place: Place) {
        let Phase::Answered { grant, floor, .. } = self.engines[place].phase else {
            return;
        };
        let read = grant.map_or(0, |grant| grant.lineage.len());
        let gone_is_true =
            grant.is_none_or(|grant| grant.lineage.is_empty()) && self.acknowledged.is_gone();
        self.broken.old_read_believed |= read < floor && !gone_is_true;
        self.engines[place].phase = Phase::Idle;
        if let Some(grant) = grant {
            self.unlock(place, grant.token);
        }
    }

    pub(crate) fn finish(&mut self, place: Place) {
        let Phase::Putting { lineage, then, .. } = self.engines[place].phase else {
            return;
        };
        // A repair of a record that is not there takes away what nobody acknowledged.
        if !lineage.is_gone() || lineage.len() > 1 {
            self.release(lineage);
        }
        let token = lineage.token();
        match then {
            Then::Unlock | Then::HandOver => {
                self.engines[place].phase = Phase::Idle;
                self.unlock(place, token);
            }
            Then::OwnTurn { floor } => {
                let grant = Some(Grant { token, lineage, resume: false });
                let confirmed = [false; REPLICAS];
                self.engines[place].phase = Phase::Answered { grant, floor, confirmed };
            }
        }
    }

    fn unlock(&mut self, place: Place, token: Token) {
        let view = self.engines[place].view;
        self.send_to_all(place, Word::Unlock { view, token });
    }

    /// "On a newer view it repeats its ask to the new primary, its put to all members and joiners
    /// of the new view, with the same stamp."
    pub(crate) fn fetch(&mut self, place: Place, view: u8) {
        let engine = &mut self.engines[place];
        engine.view = view;
        match engine.phase {
            Phase::Idle => {}
            Phase::Asking { .. } | Phase::Answered { .. } => self.ask(place, false),
            Phase::Putting { lineage, refused, then, .. } => {
                if refused {
                    self.ask_again(place);
                } else {
                    self.start_put(place, lineage, then);
                }
            }
        }
    }

    /// Whether every member and joiner of the engine's view has the put.
    fn is_stored(&self, place: Place, stored: [bool; REPLICAS], protocol: &Protocol) -> bool {
        let view = self.view(self.engines[place].view);
        if !protocol.keeps(Rule::PutsReachAll) {
            return stored.contains(&true);
        }
        (0..REPLICAS).all(|member| {
            let counts = view.has_member(member)
                || view.is_joining(member) && protocol.keeps(Rule::PutsReachJoiners);
            stored[member] || !counts
        })
    }

    /// Who has to confirm the view before a turn without a put counts.
    fn confirms(&self, place: Place, member: Place, protocol: &Protocol) -> bool {
        let view = self.view(self.engines[place].view);
        let asked = view.has_member(member)
            || view.is_joining(member) && protocol.keeps(Rule::JoinersConfirm);
        asked && view.primary() != member && protocol.keeps(Rule::ReadsAreConfirmed)
    }

    /// Whether this turn may make a new version of what it read.
    fn may_put(&self, place: Place, lineage: Lineage) -> bool {
        if lineage.is_gone() {
            return false;
        }
        // A call does not begin twice.
        !lineage.is_empty() || place == BEGINNER && !self.acknowledged.is_gone()
    }

    pub(crate) fn engine_actions(
        &self,
        place: Place,
        protocol: &Protocol,
        actions: &mut Vec<Action>,
    ) {
        let engine = &self.engines[place];
        for member in 0..REPLICAS {
            let link = &self.links[place][member];
            let Some(word) = link.first() else {
                continue;
            };
            if word.view() <= self.members[member].view {
                actions.push(Action::Deliver { engine: place, member });
            }
            if !engine.up {
                actions.push(Action::EndLink { engine: place, member });
            }
        }
        if !engine.up {
            return;
        }
        // Had it heard of a view in between, it had as well done so before there was a newer one.
        let view = self.newest();
        if engine.view < view && engine.phase != Phase::Idle {
            actions.push(Action::Fetch { engine: place, view });
        }
        if self.may.engine_die && (0..ENGINES).all(|other| self.engines[other].up) {
            actions.push(Action::KillEngine(place));
        }
        match engine.phase {
            Phase::Idle if engine.inputs > 0 => actions
                .extend((engine.view..=view).map(|view| Action::Begin { engine: place, view })),
            Phase::Idle | Phase::Asking { .. } => {}
            Phase::Answered { grant, confirmed, .. } => {
                self.answered_actions(place, grant, confirmed, protocol, actions);
            }
            Phase::Putting { refused: true, .. } => actions.push(Action::AskAgain(place)),
            Phase::Putting { stored, refused: false, .. } => {
                if self.is_stored(place, stored, protocol) {
                    actions.push(Action::Finish(place));
                }
            }
        }
    }

    fn answered_actions(
        &self,
        place: Place,
        grant: Option<Grant>,
        confirmed: [bool; REPLICAS],
        protocol: &Protocol,
        actions: &mut Vec<Action>,
    ) {
        let engine = &self.engines[place];
        if let Some(grant) = grant
            && self.may_put(place, grant.lineage)
        {
            actions.push(Action::Put { engine: place, gone: false });
            if protocol.removals && !grant.lineage.is_empty() {
                actions.push(Action::Put { engine: place, gone: true });
            }
        }
        let mut all = true;
        for (member, &has_confirmed) in confirmed.iter().enumerate() {
            if has_confirmed || !self.confirms(place, member, protocol) {
                continue;
            }
            all = false;
            if self.members[member].answers_in(engine.view, protocol) {
                actions.push(Action::Confirm { engine: place, member });
            }
        }
        if all {
            actions.push(Action::End(place));
        }
    }
}
