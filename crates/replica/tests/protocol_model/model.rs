//! The state of the whole model, its actions, and the faults that it allows.
//!
//! What a replica answers reaches the engine at once: an answer only sets a mark there, and what
//! the engine does about its marks is an action of its own, which may come at any later time. A
//! slow answer is thus a slow engine. What an engine says waits on its link.

use stateright::{Model, Property};

use crate::engine::Engine;
use crate::member::Member;
use crate::properties;
use crate::store::{REPLICAS, View};
use crate::words::{Copied, Lineage, Place, Token, Word};

pub(crate) const ENGINES: usize = 2;

/// A rule of the protocol that a run may go without, to see that it is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    OldTokensAreRefused,
    OldViewsAreRefused,
    ErasAreChecked,
    JoinersAreComplete,
    SourcesHaveAdopted,
    ProposersAreMute,
    RestartsAreNew,
    ReadsAreConfirmed,
    JoinersConfirm,
    PutsReachAll,
    PutsReachJoiners,
    ResumesArePutAgain,
    UnreleasedIsResumed,
    RemovalsLeaveTombs,
    RemovalsAreResumed,
}

#[derive(Clone)]
pub(crate) struct Protocol {
    pub(crate) without: Option<Rule>,
    pub(crate) inputs: [u8; ENGINES],
    /// An engine may remove the record.
    pub(crate) removals: bool,
    /// A removal is never forgotten.
    pub(crate) tombs_stay: bool,
    pub(crate) first: View,
    /// The call has begun: its first version is stored.
    pub(crate) begun: bool,
    pub(crate) may: May,
}

impl Protocol {
    /// Whether a run with its engines exchanged is a run like any other: nobody begins a call.
    fn has_equal_engines(&self) -> bool {
        self.begun && !self.removals
    }

    pub(crate) fn keeps(&self, rule: Rule) -> bool {
        self.without != Some(rule)
    }
}

/// Faults and changes that may happen, and how often in a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct May {
    pub(crate) engine_die: bool,
    pub(crate) member_die: bool,
    pub(crate) restart: bool,
    pub(crate) lease_end: bool,
    /// Records that the primary finds to differ, and has put again.
    pub(crate) repairs: u8,
    pub(crate) removes: u8,
    pub(crate) joins: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) members: [Member; REPLICAS],
    pub(crate) engines: [Engine; ENGINES],
    /// The first view is number one, the last the newest.
    pub(crate) views: Vec<View>,
    /// By engine and replica.
    pub(crate) links: [[Vec<Word>; REPLICAS]; ENGINES],
    /// On its way to the joiner.
    pub(crate) copy: Option<Copied>,
    pub(crate) may: May,
    /// The longest record whose effects left an engine that was told it is stored.
    pub(crate) acknowledged: Lineage,
    pub(crate) broken: Broken,
}

/// What an action did that no state shows: each is a property's counterexample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Broken {
    pub(crate) acknowledged_forked: bool,
    pub(crate) old_read_believed: bool,
    pub(crate) base_did_not_fit: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// The first word of a link arrives.
    Deliver {
        engine: Place,
        member: Place,
    },
    /// An engine that has heard of this view gets an input and asks for the lock.
    Begin {
        engine: Place,
        view: u8,
    },
    /// An engine that was granted the lock puts a new version, which may be the removal.
    Put {
        engine: Place,
        gone: bool,
    },
    /// A replica confirms to an engine that has its answer that their view is the same.
    Confirm {
        engine: Place,
        member: Place,
    },
    /// An engine ends its turn without a put: on the record it read, or on its absence.
    End(Place),
    /// An engine acts on a put that is stored: its effects leave, its lock ends.
    Finish(Place),
    /// An engine acts on a put that was refused: it asks again.
    AskAgain(Place),
    /// An engine learns of a newer view, pushed or fetched, and repeats itself in it.
    Fetch {
        engine: Place,
        view: u8,
    },
    /// A primary notices that a lock's holder is dead; what the holder said last is lost.
    BreakLock(Place),
    /// What a dead engine said last to a replica is lost.
    EndLink {
        engine: Place,
        member: Place,
    },
    /// A primary's lease ends though the holder is at work.
    EndLease(Place),
    /// A primary's lease ends, and nobody renews it: the unlock was lost.
    LetLapse(Place),
    /// A primary hands an unreleased record that nobody asks for to an engine.
    Hand {
        member: Place,
        engine: Place,
    },
    /// A primary has a record put again at which a member's digest differs.
    Repair {
        member: Place,
        engine: Place,
    },
    /// A replica learns of a newer view.
    Learn {
        member: Place,
        view: u8,
    },
    /// A member takes another for dead, rightly or not, and removes it.
    Remove {
        by: Place,
        who: Place,
    },
    /// A process that is outside names itself as joiner.
    Join(Place),
    /// A primary sends the joiner its copy.
    Copy,
    /// It arrives.
    HearCopy,
    /// A complete joiner makes itself a member.
    Complete(Place),
    KillEngine(Place),
    KillMember(Place),
    /// A replica dies and comes back, and what it was is known only to it.
    Restart(Place),
}

impl Action {
    /// It may happen at any time and is nobody's work.
    pub(crate) fn is_fault(self) -> bool {
        match self {
            Self::EndLease(_)
            | Self::Remove { .. }
            | Self::Join(_)
            | Self::KillEngine(_)
            | Self::KillMember(_)
            | Self::Restart(_) => true,
            Self::Deliver { .. }
            | Self::Begin { .. }
            | Self::Put { .. }
            | Self::Confirm { .. }
            | Self::End(_)
            | Self::Finish(_)
            | Self::AskAgain(_)
            | Self::Fetch { .. }
            | Self::BreakLock(_)
            | Self::EndLink { .. }
            | Self::LetLapse(_)
            | Self::Hand { .. }
            | Self::Repair { .. }
            | Self::Learn { .. }
            | Self::Copy
            | Self::HearCopy
            | Self::Complete(_) => false,
        }
    }
}

impl State {
    fn first(protocol: &Protocol) -> Self {
        let begun = protocol.begun;
        let token = Token::new(1, 1);
        let record = if begun { Lineage::default().then(token) } else { Lineage::default() };
        let member = |place| {
            let view = u8::from(protocol.first.has(place));
            if begun && protocol.first.has_member(place) {
                Member { held: record, known: token, ..Member::new(view) }
            } else {
                Member::new(view)
            }
        };
        Self {
            members: [member(0), member(1), member(2)],
            engines: protocol.inputs.map(Engine::new),
            views: vec![protocol.first],
            links: Default::default(),
            copy: None,
            may: protocol.may,
            acknowledged: record,
            broken: Broken::default(),
        }
    }

    pub(crate) fn newest(&self) -> u8 {
        self.views.len() as u8
    }

    pub(crate) fn view(&self, number: u8) -> &View {
        &self.views[usize::from(number) - 1]
    }

    pub(crate) fn send(&mut self, engine: Place, member: Place, word: Word) {
        if self.members[member].is_there() {
            self.links[engine][member].push(word);
        }
    }

    pub(crate) fn lose_words_to(&mut self, member: Place) {
        for link in &mut self.links {
            link[member].clear();
        }
        if self.copy.is_some_and(|copy| usize::from(copy.to) == member) {
            self.copy = None;
        }
    }

    /// The effects that `lineage` explains leave an engine, which was told that it is stored.
    pub(crate) fn release(&mut self, lineage: Lineage) {
        if lineage.extends(self.acknowledged) {
            self.acknowledged = lineage;
        } else if !self.acknowledged.extends(lineage) {
            self.broken.acknowledged_forked = true;
        }
    }

    /// Words of a view that their receiver has left would change nothing, and it does not come
    /// back to it; without this every such word would double the states.
    fn forget_words_without_effect(&mut self, protocol: &Protocol) {
        if !protocol.keeps(Rule::OldViewsAreRefused) {
            return;
        }
        let copy_may_come = self.copy.is_some() || self.view(self.newest()).joiner().is_some();
        for link in &mut self.links {
            for (words, member) in link.iter_mut().zip(&self.members) {
                words.retain(|word| word.view() >= member.view);
                if copy_may_come {
                    continue;
                }
                // Nor does an unlock of a token that the replica has nothing of: the put would
                // have come first.
                while let Some(&Word::Unlock { token, .. }) = words.first() {
                    if member.has_to_do_with(token) {
                        break;
                    }
                    words.remove(0);
                }
            }
        }
    }

    /// Of two states that differ in the engines' names alone, the one.
    fn order_engines(&mut self) {
        if (&self.engines[0], &self.links[0]) <= (&self.engines[1], &self.links[1]) {
            return;
        }
        self.engines.swap(0, 1);
        self.links.swap(0, 1);
        for member in &mut self.members {
            member.swap_engines();
        }
    }

    fn apply(&mut self, action: Action, protocol: &Protocol) {
        match action {
            Action::Deliver { engine, member } => {
                let word = self.links[engine][member].remove(0);
                self.member_hears(member, engine, word, protocol);
            }
            Action::Begin { engine, view } => self.begin(engine, view),
            Action::Put { engine, gone } => self.put(engine, gone),
            Action::Confirm { engine, member } => self.confirm(engine, member),
            Action::End(engine) => self.end_without_put(engine),
            Action::Finish(engine) => self.finish(engine),
            Action::AskAgain(engine) => self.ask_again(engine),
            Action::Fetch { engine, view } => self.fetch(engine, view),
            Action::BreakLock(member) | Action::LetLapse(member) => {
                self.break_lock(member, protocol)
            }
            Action::EndLink { engine, member } => self.links[engine][member].clear(),
            Action::EndLease(member) => {
                self.may.lease_end = false;
                self.break_lock(member, protocol);
            }
            Action::Hand { member, engine } => self.hand(member, engine, protocol),
            Action::Repair { member, engine } => {
                self.may.repairs -= 1;
                self.hand(member, engine, protocol);
            }
            Action::Learn { member, view } => self.learn(member, view),
            Action::Remove { by, who } => {
                self.may.removes -= 1;
                let view = self.view(self.newest()).without(who, self.newest() + 1);
                self.propose(by, view, protocol);
            }
            Action::Join(member) => {
                self.may.joins -= 1;
                let view = self.view(self.newest()).with_joiner(member);
                self.propose(member, view, protocol);
            }
            Action::Copy => self.send_copy(protocol),
            Action::HearCopy => self.hear_copy(),
            Action::Complete(member) => {
                let view = self.view(self.newest()).with_member(member);
                self.propose(member, view, protocol);
            }
            Action::KillEngine(engine) => {
                self.may.engine_die = false;
                self.engines[engine].die();
            }
            Action::KillMember(member) => {
                self.may.member_die = false;
                self.members[member] = Member::dead();
                self.lose_words_to(member);
            }
            Action::Restart(member) => {
                self.may.restart = false;
                let view = self.members[member].view;
                let kept = if protocol.keeps(Rule::RestartsAreNew) { 0 } else { view };
                self.members[member] = Member { copied: kept > 0, ..Member::new(kept) };
                self.lose_words_to(member);
            }
        }
    }
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::first(self)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for place in 0..ENGINES {
            state.engine_actions(place, self, actions);
        }
        for place in 0..REPLICAS {
            state.member_actions(place, self, actions);
        }
        state.copy_actions(self, actions);
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        state.apply(action, self);
        state.forget_words_without_effect(self);
        if self.has_equal_engines() {
            state.order_engines();
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::all()
    }
}
