//! The state of the whole model, its actions, and the faults that it allows.

use std::collections::BTreeSet;

use stateright::{Model, Property};

use crate::engine::{Engine, Phase};
use crate::member::{Lock, Member};
use crate::properties;
use crate::words::{Lineage, Party, Place, Token, Word, extends};

/// A rule of the protocol that a run may go without, to see that it is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    OldTokensAreRefused,
    OldViewsAreRefused,
    BrokenLocksAreFenced,
    ReadsAreConfirmed,
    PutsReachAll,
    UnreleasedIsResumed,
    GrantsTellTheirView,
}

pub(crate) struct Protocol {
    without: Option<Rule>,
    inputs: [u8; 2],
    may: May,
}

impl Protocol {
    pub(crate) fn sound(inputs: [u8; 2], may: May) -> Self {
        Self { without: None, inputs, may }
    }

    pub(crate) fn without(self, rule: Rule) -> Self {
        Self { without: Some(rule), ..self }
    }

    pub(crate) fn keeps(&self, rule: Rule) -> bool {
        self.without != Some(rule)
    }
}

pub(crate) const FIRST_VIEW: u8 = 1;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) members: [Member; 2],
    pub(crate) engines: [Engine; 2],
    /// The coordination store: number and members of the newest view.
    pub(crate) view: u8,
    pub(crate) in_view: [bool; 2],
    pub(crate) words: BTreeSet<Word>,
    /// Faults that may still happen.
    pub(crate) may: May,
    /// The longest record that an engine was told is stored.
    pub(crate) acknowledged: Lineage,
    pub(crate) broken: Broken,
}

/// Faults that may happen, each at most once in a run.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct May {
    pub(crate) engine_die: bool,
    pub(crate) member_die: bool,
    pub(crate) lease_end: bool,
    pub(crate) remove: bool,
}

/// What an action did that no state shows: each is a property's counterexample.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Broken {
    pub(crate) acknowledged_forked: bool,
    pub(crate) released_before_stored: bool,
    pub(crate) version_went_back: bool,
    pub(crate) old_read_believed: bool,
    pub(crate) base_did_not_fit: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Deliver(Word),
    /// An engine gets an input and asks for the lock.
    Begin(Place),
    /// An engine that was granted the lock puts a new version.
    Put(Place),
    /// An engine ends its turn without a put: on the record it read, or on its absence.
    End(Place),
    /// An engine sends a resumed record's effects.
    Resume(Place),
    /// An engine that waits fetches the newest view and repeats itself in it.
    FetchView(Place),
    /// A primary notices that a lock's holder is dead.
    BreakLock(Place),
    /// A primary's lease ends though the holder is at work.
    EndLease(Place),
    /// A primary's lease ends, and nobody renews it: the unlock was of a view that is gone.
    LetLapse(Place),
    /// A primary brings every member to one token and one copy.
    Fence(Place),
    /// A member takes the other for dead, rightly or not, and removes it.
    Remove {
        by: Place,
    },
    /// A member hears that it was removed.
    Hear(Place),
    /// An engine dies; what it sent last may be lost with it.
    KillEngine {
        engine: Place,
        words_lost: bool,
    },
    /// A member dies; what it sent last may be lost with it.
    KillMember {
        member: Place,
        words_lost: bool,
    },
}

impl Action {
    /// It may happen at any time and is nobody's work.
    pub(crate) fn is_fault(&self) -> bool {
        match self {
            Self::EndLease(_)
            | Self::Remove { .. }
            | Self::KillEngine { .. }
            | Self::KillMember { .. } => true,
            Self::Deliver(_)
            | Self::Begin(_)
            | Self::Put(_)
            | Self::End(_)
            | Self::Resume(_)
            | Self::FetchView(_)
            | Self::BreakLock(_)
            | Self::LetLapse(_)
            | Self::Fence(_)
            | Self::Hear(_) => false,
        }
    }
}

impl State {
    fn first(inputs: [u8; 2], may: May) -> Self {
        Self {
            members: [Member::new(Lock::Free), Member::new(Lock::Free)],
            // The first engine's input may begin the call, the second's cannot.
            engines: [Engine::new(inputs[0]), Engine::new(inputs[1])],
            view: FIRST_VIEW,
            in_view: [true, true],
            words: BTreeSet::new(),
            may,
            acknowledged: Lineage::new(),
            broken: Broken::default(),
        }
    }

    /// Members of a view, the primary first.
    pub(crate) fn members_of(&self, view: u8) -> Vec<Place> {
        (0..2).filter(|&place| view == FIRST_VIEW || self.in_view[place]).collect()
    }

    pub(crate) fn send(&mut self, word: Word) {
        let hears = match word.receiver() {
            Party::Engine(place) => self.engines[place].up,
            Party::Member(place) => self.members[place].up,
        };
        if hears {
            self.words.insert(word);
        }
    }

    /// An engine has it from every member of one view that `lineage` is stored.
    pub(crate) fn note_acknowledged(&mut self, lineage: &Lineage) {
        if extends(lineage, &self.acknowledged) {
            self.acknowledged.clone_from(lineage);
        } else if !extends(&self.acknowledged, lineage) {
            self.broken.acknowledged_forked = true;
        }
    }

    /// The effects that `lineage` explains leave an engine.
    pub(crate) fn release(&mut self, lineage: &Lineage) {
        let holds = |place: &Place| extends(&self.members[*place].held.lineage, lineage);
        let stored = (FIRST_VIEW..=self.view).any(|view| self.members_of(view).iter().all(holds));
        self.broken.released_before_stored |= !stored;
    }

    /// Words that would change nothing wherever and whenever they arrive. Views, tokens and turns
    /// only grow, so what is too old for its receiver stays so; without this every such word
    /// would double the states.
    fn forget_words_without_effect(&mut self, protocol: &Protocol) {
        let (members, engines) = (&self.members, &self.engines);
        self.words.retain(|word| match word {
            Word::Ask { member, view, .. }
            | Word::Put { member, view, .. }
            | Word::Fence { to: member, view, .. }
            | Word::Fenced { to: member, view, .. } => members[*member].listens(*view),
            Word::Confirm { member, view, .. } => {
                members[*member].listens(*view) || !protocol.keeps(Rule::OldViewsAreRefused)
            }
            Word::Unlock { member, view, token, .. } => {
                members[*member].listens(*view) && *token >= members[*member].known
            }
            Word::Granted { engine, view, turn, .. } | Word::NotHere { engine, view, turn, .. } => {
                engines[*engine].awaits(*view, *turn)
            }
            Word::Confirmed { engine, view, turn, .. } => {
                engines[*engine].awaits_confirmation(*view, *turn)
            }
            Word::Stored { engine, view, lineage, .. } => {
                engines[*engine].view <= *view && engines[*engine].puts(lineage)
            }
            Word::Refused { engine, lineage, .. } => engines[*engine].puts(lineage),
            Word::Resume { .. } => true,
        });
    }

    fn remove(&mut self, by: Place) {
        let was_primary = self.members_of(self.view).first() == Some(&by);
        self.view += 1;
        self.in_view = [by == 0, by == 1];
        self.members[by].lead(self.view, was_primary);
    }

    fn kill(&mut self, party: Party, words_lost: bool) {
        match party {
            Party::Engine(place) => self.engines[place].die(),
            Party::Member(place) => self.members[place].up = false,
        }
        self.words
            .retain(|word| word.receiver() != party && !(words_lost && word.sender() == party));
    }

    /// Neither the engine nor any word in flight has to do with the lock any more.
    fn nobody_uses(&self, engine: Place, turn: Option<u8>, token: Token) -> bool {
        let holder = &self.engines[engine];
        let resumes = holder.resume.as_ref().is_some_and(|grant| grant.token == token);
        // An engine that asks gets the grant again when it repeats itself in the newest view.
        let asks = match &holder.phase {
            Phase::Asking(asking) => !asking.granted() && turn == Some(holder.turn),
            Phase::Idle | Phase::Putting { .. } => false,
        };
        let speaks_of_it = |word: &Word| match word {
            Word::Granted { grant, .. } | Word::Resume { grant, .. } => grant.token == token,
            Word::Unlock { token: of, .. } => *of == token,
            Word::Ask { .. }
            | Word::Confirm { .. }
            | Word::Put { .. }
            | Word::NotHere { .. }
            | Word::Confirmed { .. }
            | Word::Stored { .. }
            | Word::Refused { .. }
            | Word::Fence { .. }
            | Word::Fenced { .. } => false,
        };
        holder.token() != Some(token) && !resumes && !asks && !self.words.iter().any(speaks_of_it)
    }

    fn engine_actions(&self, place: Place, protocol: &Protocol, actions: &mut Vec<Action>) {
        let engine = &self.engines[place];
        if !engine.up {
            return;
        }
        match &engine.phase {
            Phase::Idle if engine.inputs > 0 => actions.push(Action::Begin(place)),
            Phase::Idle => {}
            Phase::Asking(asking) => {
                if asking.granted() {
                    actions.push(Action::Put(place));
                }
                if asking.may_end(protocol) {
                    actions.push(Action::End(place));
                }
            }
            Phase::Putting { .. } => {}
        }
        if engine.resume.is_some() {
            actions.push(Action::Resume(place));
        }
        if engine.view < self.view && engine.phase != Phase::Idle {
            actions.push(Action::FetchView(place));
        }
        if self.may.engine_die {
            for words_lost in [false, true] {
                actions.push(Action::KillEngine { engine: place, words_lost });
            }
        }
    }

    fn member_actions(&self, place: Place, actions: &mut Vec<Action>) {
        let member = &self.members[place];
        if !member.up {
            return;
        }
        if member.view < self.view {
            actions.push(Action::Hear(place));
        }
        if member.removed {
            return;
        }
        match &member.lock {
            Lock::Held { engine, .. } if !self.engines[*engine].up => {
                actions.push(Action::BreakLock(place));
            }
            Lock::Held { engine, turn, token } if self.nobody_uses(*engine, *turn, *token) => {
                actions.push(Action::LetLapse(place));
            }
            Lock::Held { .. } if self.may.lease_end => actions.push(Action::EndLease(place)),
            Lock::Held { .. } | Lock::Free | Lock::Fencing { .. } => {}
            Lock::Broken => actions.push(Action::Fence(place)),
        }
        if self.in_view == [true, true] {
            if self.may.remove {
                actions.push(Action::Remove { by: place });
            }
            // The last member of a view is not lost: with it the promise ends, not the protocol.
            if self.may.member_die && self.members[1 - place].up {
                for words_lost in [false, true] {
                    actions.push(Action::KillMember { member: place, words_lost });
                }
            }
        }
    }
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::first(self.inputs, self.may.clone())]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        actions.extend(
            state.words.iter().filter(|word| state.can_hear(word)).cloned().map(Action::Deliver),
        );
        for place in 0..2 {
            state.engine_actions(place, self, actions);
            state.member_actions(place, actions);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Deliver(word) => {
                state.words.remove(&word);
                match word.receiver() {
                    Party::Engine(place) => state.engine_hears(place, word, self),
                    Party::Member(place) => state.member_hears(place, word, self),
                }
            }
            Action::Begin(place) => state.begin(place),
            Action::Put(place) => state.put(place),
            Action::End(place) => state.end_without_put(place),
            Action::Resume(place) => state.resume(place),
            Action::FetchView(place) => state.fetch_view(place),
            Action::BreakLock(place) | Action::LetLapse(place) => {
                state.members[place].lock = Lock::Broken;
            }
            Action::EndLease(place) => {
                state.may.lease_end = false;
                state.members[place].lock = Lock::Broken;
            }
            Action::Fence(place) => state.fence(place, self),
            Action::Remove { by } => state.remove(by),
            Action::Hear(place) => {
                state.members[place].view = state.view;
                state.members[place].removed = true;
            }
            Action::KillEngine { engine, words_lost } => {
                state.may.engine_die = false;
                state.kill(Party::Engine(engine), words_lost);
            }
            Action::KillMember { member, words_lost } => {
                state.may.member_die = false;
                state.kill(Party::Member(member), words_lost);
            }
        }
        state.forget_words_without_effect(self);
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::all()
    }
}
