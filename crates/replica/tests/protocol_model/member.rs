//! A replica in the model: its copy, its lock, and what it answers.

use crate::engine::Phase;
use crate::engine::{BEGINNER, Then};
use crate::model::{Action, ENGINES, Protocol, Rule, State};
use crate::store::{REPLICAS, View};
use crate::words::{Copied, Grant, Lineage, Place, Token, Word};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Member {
    pub(crate) up: bool,
    /// The view it has adopted; none while it is outside.
    pub(crate) view: u8,
    /// As a joiner, it has got its copy.
    pub(crate) copied: bool,
    pub(crate) held: Lineage,
    /// It was put and not unlocked.
    pub(crate) unreleased: bool,
    /// The greatest token it knows of.
    pub(crate) known: Token,
    pub(crate) lock: Lock,
    /// Engine and turn, first come first.
    pub(crate) waiters: [Option<(u8, u8)>; ENGINES],
}

/// The primary's lock, or the shadow that a put leaves at every other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Lock {
    Free,
    Held { engine: u8, turn: Option<u8>, token: Token },
}

impl Member {
    pub(crate) fn new(view: u8) -> Self {
        Self {
            up: true,
            view,
            copied: false,
            held: Lineage::default(),
            unreleased: false,
            known: Token::default(),
            lock: Lock::Free,
            waiters: [None; ENGINES],
        }
    }

    pub(crate) fn dead() -> Self {
        Self { up: false, ..Self::new(0) }
    }

    pub(crate) fn is_there(&self) -> bool {
        self.up && self.view > 0
    }

    /// Whether it answers a word of `view`.
    pub(crate) fn answers_in(&self, view: u8, protocol: &Protocol) -> bool {
        let is_old = self.view > view && !protocol.keeps(Rule::OldViewsAreRefused);
        self.is_there() && (self.view == view || is_old)
    }

    fn wait(&mut self, engine: Place, turn: u8) {
        let waiter = (engine as u8, turn);
        let same = |slot: &&mut Option<(u8, u8)>| slot.is_some_and(|(who, _)| who == waiter.0);
        if let Some(slot) = self.waiters.iter_mut().find(same) {
            *slot = Some(waiter);
        } else if let Some(slot) = self.waiters.iter_mut().find(|slot| slot.is_none()) {
            *slot = Some(waiter);
        }
    }

    fn next_waiter(&mut self) -> Option<(Place, u8)> {
        let first = self.waiters[0].take();
        self.waiters.rotate_left(1);
        first.map(|(engine, turn)| (usize::from(engine), turn))
    }

    fn take(&mut self, engine: Place, put: Lineage) {
        self.held = put;
        self.unreleased = true;
        self.known = put.token();
        let of_turn = match self.lock {
            Lock::Held { turn, token, .. } if token == put.token() => turn,
            Lock::Held { .. } | Lock::Free => None,
        };
        self.lock = Lock::Held { engine: engine as u8, turn: of_turn, token: put.token() };
    }

    pub(crate) fn swap_engines(&mut self) {
        if let Lock::Held { engine, .. } = &mut self.lock {
            *engine = 1 - *engine;
        }
        for (engine, _) in self.waiters.iter_mut().flatten() {
            *engine = 1 - *engine;
        }
    }

    /// Whether an unlock of this token would change anything.
    pub(crate) fn has_to_do_with(&self, token: Token) -> bool {
        let locks = match self.lock {
            Lock::Held { token: held, .. } => held == token,
            Lock::Free => false,
        };
        locks || self.held.token() == token && (self.unreleased || self.held.is_gone())
    }

    fn forget(&mut self) {
        self.held = Lineage::default();
        self.known = Token::default();
    }
}

impl State {
    pub(crate) fn member_hears(
        &mut self,
        place: Place,
        engine: Place,
        word: Word,
        protocol: &Protocol,
    ) {
        if !self.members[place].answers_in(word.view(), protocol) {
            return;
        }
        match word {
            Word::Ask { view, turn } => self.hear_ask(place, engine, (view, turn), protocol),
            Word::Put { view, lineage } => {
                let is_stored = self.store(place, engine, lineage, protocol);
                self.hear_put_answer(engine, place, (view, lineage), is_stored);
            }
            Word::Unlock { view: _, token } => self.hear_unlock(place, token, protocol),
        }
    }

    fn own_view(&self, place: Place) -> &View {
        self.view(self.members[place].view)
    }

    fn leads(&self, place: Place) -> bool {
        self.members[place].is_there() && self.own_view(place).primary() == place
    }

    fn hear_ask(
        &mut self,
        place: Place,
        engine: Place,
        (view, turn): (u8, u8),
        protocol: &Protocol,
    ) {
        if !self.leads(place) {
            return;
        }
        let member = &mut self.members[place];
        if let Lock::Held { engine: holder, turn: Some(of), token } = member.lock
            && (usize::from(holder), of) == (engine, turn)
        {
            // The grant was of the view before.
            let resume = member.unreleased && protocol.keeps(Rule::UnreleasedIsResumed);
            let grant = Grant { token, lineage: member.held, resume };
            self.hear_answer(engine, (view, turn), Some(grant), protocol);
            return;
        }
        member.wait(engine, turn);
        self.serve_next(place, protocol);
    }

    /// Grants a free lock to those who wait.
    fn serve_next(&mut self, place: Place, protocol: &Protocol) {
        while self.members[place].lock == Lock::Free {
            let member = &mut self.members[place];
            let Some((engine, turn)) = member.next_waiter() else {
                return;
            };
            let view = member.view;
            if !self.engines[engine].up {
                continue;
            }
            // A removal that is not released is resumed like any put.
            let is_away = if protocol.keeps(Rule::RemovalsAreResumed) {
                member.held.live().is_empty() && !member.unreleased
            } else {
                member.held.live().is_empty()
            };
            if is_away && engine != BEGINNER {
                self.hear_answer(engine, (view, turn), None, protocol);
                continue;
            }
            let grant = self.grant(place, engine, Some(turn), protocol);
            self.hear_answer(engine, (view, turn), Some(grant), protocol);
        }
    }

    fn grant(
        &mut self,
        place: Place,
        engine: Place,
        turn: Option<u8>,
        protocol: &Protocol,
    ) -> Grant {
        let member = &mut self.members[place];
        let token = member.known.next(member.view);
        member.known = token;
        member.lock = Lock::Held { engine: engine as u8, turn, token };
        let resume = member.unreleased && protocol.keeps(Rule::UnreleasedIsResumed);
        Grant { token, lineage: member.held, resume }
    }

    /// Whether the member holds the put from here on.
    fn store(&mut self, place: Place, engine: Place, put: Lineage, protocol: &Protocol) -> bool {
        let (led_since, leads) = (self.own_view(place).led_since, self.leads(place));
        let member = &mut self.members[place];
        if member.held == put {
            return true;
        }
        if put.token() < member.known && protocol.keeps(Rule::OldTokensAreRefused) {
            return false;
        }
        if put.token().view() < led_since && protocol.keeps(Rule::ErasAreChecked) {
            return false;
        }
        let fits = if leads {
            let fits = put.base() == member.held;
            let current = put.token() >= member.known && put.token().view() >= led_since;
            self.broken.base_did_not_fit |= !fits && current;
            fits
        } else {
            put.stamp() > member.held.stamp()
        };
        if fits {
            self.members[place].take(engine, put);
        }
        fits
    }

    fn hear_unlock(&mut self, place: Place, token: Token, protocol: &Protocol) {
        let no_join = self.own_view(place).joiner().is_none();
        let member = &mut self.members[place];
        if member.held.token() == token {
            member.unreleased = false;
        }
        let forgets = no_join && !protocol.tombs_stay || !protocol.keeps(Rule::RemovalsLeaveTombs);
        if member.held.is_gone() && member.held.token() == token && forgets {
            member.forget();
        }
        match member.lock {
            Lock::Held { token: held, .. } if held == token => {
                member.lock = Lock::Free;
                if self.leads(place) {
                    self.serve_next(place, protocol);
                }
            }
            Lock::Held { .. } | Lock::Free => {}
        }
    }

    pub(crate) fn break_lock(&mut self, place: Place, protocol: &Protocol) {
        if let Lock::Held { engine, .. } = self.members[place].lock {
            let engine = usize::from(engine);
            if !self.engines[engine].up {
                self.links[engine][place].clear();
            }
            self.members[place].lock = Lock::Free;
            self.serve_next(place, protocol);
        }
    }

    /// The engine is told in the primary's view, and so learns of that.
    pub(crate) fn hand(&mut self, place: Place, engine: Place, protocol: &Protocol) {
        let grant = self.grant(place, engine, None, protocol);
        self.engines[engine].view = self.members[place].view;
        self.resume(engine, grant, Then::HandOver, protocol);
    }

    /// The store's compare-and-set, and the proposer's adoption of what it proposed. In between
    /// it would be mute, which is no different from words that come late.
    pub(crate) fn propose(&mut self, by: Place, view: View, protocol: &Protocol) {
        self.views.push(view);
        if protocol.keeps(Rule::ProposersAreMute) || self.members[by].view == 0 {
            self.learn(by, self.newest());
        }
    }

    pub(crate) fn learn(&mut self, place: Place, number: u8) {
        let view = *self.view(number);
        let member = &mut self.members[place];
        if view.has(place) {
            member.view = number;
            // Those who wait repeat their ask in the new view.
            member.waiters = [None; ENGINES];
            if member.lock != Lock::Free && view.primary() != place {
                // Only its token matters.
                if let Lock::Held { turn, .. } = &mut member.lock {
                    *turn = None;
                }
            }
        } else {
            // "Becomes a new incarnation: empty, outside."
            *member = Member::new(0);
            self.lose_words_to(place);
        }
    }

    fn joiner(&self) -> Option<Place> {
        self.view(self.newest()).joiner()
    }

    /// Who may send the joiner its copy, if there is one to send.
    fn source(&self, protocol: &Protocol) -> Option<(Place, Place)> {
        let joiner = self.joiner()?;
        let member = &self.members[joiner];
        if !member.is_there() || member.copied || self.copy.is_some() {
            return None;
        }
        let source = self.view(self.newest()).primary();
        let has_adopted = self.leads(source) && self.own_view(source).is_joining(joiner);
        let unchecked =
            self.members[source].is_there() && !protocol.keeps(Rule::SourcesHaveAdopted);
        (has_adopted || unchecked).then_some((source, joiner))
    }

    pub(crate) fn send_copy(&mut self, protocol: &Protocol) {
        if let Some((source, joiner)) = self.source(protocol) {
            let Member { view, held, unreleased, .. } = self.members[source];
            let to = joiner as u8;
            self.copy = Some(Copied { to, view, lineage: held, unreleased });
        }
    }

    /// "Merges, newest stamp wins." An unlock that reached one of two equal ones counts for both.
    pub(crate) fn hear_copy(&mut self) {
        let Some(copy) = self.copy.take() else {
            return;
        };
        let member = &mut self.members[usize::from(copy.to)];
        member.copied = true;
        if copy.lineage == member.held {
            member.unreleased &= copy.unreleased;
        } else if copy.lineage.stamp() > member.held.stamp() {
            member.held = copy.lineage;
            member.unreleased = copy.unreleased;
            member.known = member.known.max(copy.lineage.token());
        }
    }

    pub(crate) fn copy_actions(&self, protocol: &Protocol, actions: &mut Vec<Action>) {
        // As with any word of a newer view, the joiner learns of that first.
        let hears = |copy: Copied| self.members[usize::from(copy.to)].view >= copy.view;
        if self.copy.is_some_and(hears) {
            actions.push(Action::HearCopy);
        }
        let Some(joiner) = self.joiner() else {
            return;
        };
        if self.source(protocol).is_some() {
            actions.push(Action::Copy);
        }
        let member = &self.members[joiner];
        let complete = member.copied || !protocol.keeps(Rule::JoinersAreComplete);
        if member.is_there() && member.view == self.newest() && complete {
            actions.push(Action::Complete(joiner));
        }
    }

    /// Neither the engine nor any word on its way has to do with the lock any more.
    fn nobody_uses(&self, place: Place, engine: Place, turn: Option<u8>, token: Token) -> bool {
        let holder = &self.engines[engine];
        let asks = turn.is_some_and(|turn| holder.asks(turn));
        let speaks_of_it = |word: &Word| match word {
            Word::Ask { .. } => false,
            Word::Put { lineage, .. } => lineage.token() == token,
            Word::Unlock { token: of, .. } => *of == token,
        };
        !holder.uses(token) && !asks && !self.links[engine][place].iter().any(speaks_of_it)
    }

    pub(crate) fn member_actions(
        &self,
        place: Place,
        protocol: &Protocol,
        actions: &mut Vec<Action>,
    ) {
        let member = &self.members[place];
        if !member.up {
            return;
        }
        if member.view == 0 {
            self.outside_actions(place, actions);
            return;
        }
        let view = self.newest();
        if member.view < view {
            actions.push(Action::Learn { member: place, view });
        }
        if self.leads(place) {
            self.lock_actions(place, protocol, actions);
        }
        let newest = self.view(self.newest());
        let knows = member.view == self.newest() || !protocol.keeps(Rule::ProposersAreMute);
        if newest.has_member(place) && knows && self.may.removes > 0 {
            actions.extend(
                (0..REPLICAS)
                    .filter(|&who| who != place && newest.has(who))
                    .map(|who| Action::Remove { by: place, who }),
            );
        }
        // The last member that lives is not lost: with it the promise ends, not the protocol.
        let others = |other| other != place && newest.has_member(other) && self.members[other].up;
        let is_left = (0..REPLICAS).any(others);
        if self.may.member_die && is_left {
            actions.push(Action::KillMember(place));
        }
        if self.may.restart && is_left {
            actions.push(Action::Restart(place));
        }
    }

    fn outside_actions(&self, place: Place, actions: &mut Vec<Action>) {
        let newest = self.view(self.newest());
        if self.may.joins > 0 && !newest.has(place) && newest.joiner().is_none() {
            actions.push(Action::Join(place));
        }
    }

    fn lock_actions(&self, place: Place, protocol: &Protocol, actions: &mut Vec<Action>) {
        let member = &self.members[place];
        match member.lock {
            Lock::Held { engine, turn, token } => {
                let engine = usize::from(engine);
                if !self.engines[engine].up {
                    actions.push(Action::BreakLock(place));
                } else if self.nobody_uses(place, engine, turn, token) {
                    actions.push(Action::LetLapse(place));
                } else if self.may.lease_end {
                    actions.push(Action::EndLease(place));
                }
            }
            Lock::Free => self.hand_actions(place, protocol, actions),
        }
    }

    fn hand_actions(&self, place: Place, protocol: &Protocol, actions: &mut Vec<Action>) {
        let member = &self.members[place];
        let idle = |engine: &Place| {
            let engine = &self.engines[*engine];
            engine.up && engine.phase == Phase::Idle && engine.view <= member.view
        };
        let Some(engine) = (0..ENGINES).find(idle) else {
            return;
        };
        if member.unreleased {
            if protocol.keeps(Rule::UnreleasedIsResumed) {
                actions.push(Action::Hand { member: place, engine });
            }
        } else if self.may.repairs > 0 && self.differs(place) {
            actions.push(Action::Repair { member: place, engine });
        }
    }

    /// Whether a member's digest is not the primary's.
    fn differs(&self, primary: Place) -> bool {
        let Member { view, held, .. } = self.members[primary];
        (0..REPLICAS).any(|place| {
            let member = &self.members[place];
            let counts = member.view == view && self.view(view).has_member(place);
            counts && member.is_there() && member.held.live() != held.live()
        })
    }
}
