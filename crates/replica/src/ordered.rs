//! What an operator ordered of the site's map, and what ends an order before it is carried out.
//!
//! An order waits while the coordination store is away, and what it was given for may change
//! meanwhile. To begin a partition anew loses its calls: that order ends with the view that it was
//! given for, and with the first sign of life of a member of it.

use vocab::{Instant, ReplicaId, ViewNumber};

use crate::Replica;
use crate::change::Change;
use crate::door::{Lapse, Order, Output};

/// An order that has yet to be carried out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ordered {
    pub(crate) order: Order,
    pub(crate) change: Change,
    /// The view for which it was given.
    view: Option<ViewNumber>,
}

impl Replica {
    pub(crate) fn order_change(&mut self, now: Instant, order: Order, change: Change) {
        let view = self.acting_view();
        let members = view.iter().flat_map(|view| &view.members);
        let heard = members.copied().find(|member| self.hears(now, *member));
        let view = view.map(|view| view.number);
        self.membership.ordered = Some(Ordered { order, change, view });
        match heard {
            Some(member) => self.note_life(member),
            None => self.note_view(),
        }
    }

    /// A sign of life of another replica.
    pub(crate) fn note_life(&mut self, replica: ReplicaId) {
        if self.is_refounding()
            && self.acting_view().is_some_and(|view| view.members.contains(&replica))
        {
            self.drop_order(Lapse::Heard(replica));
        }
    }

    /// The view may be another one than before.
    pub(crate) fn note_view(&mut self) {
        if !self.is_refounding() {
            return;
        }
        let given_for = self.membership.ordered.and_then(|ordered| ordered.view);
        match self.acting_view() {
            // It was carried out, although the store did not say so.
            Some(view) if view.names(self.config.replica) => self.membership.ordered = None,
            Some(view) if Some(view.number) == given_for => {}
            Some(_) | None => self.drop_order(Lapse::Overtaken),
        }
    }

    fn is_refounding(&self) -> bool {
        self.membership.ordered.is_some_and(|ordered| ordered.change == Change::Refound)
    }

    /// The change was made.
    pub(crate) fn forget_order(&mut self, change: Change) {
        self.membership.ordered.take_if(|ordered| ordered.change == change);
    }

    /// The change makes no sense on the newest map, on which it may be made already.
    pub(crate) fn give_order_up(&mut self, change: Change) {
        let moves = &self.membership.map.moves;
        let is_made = match change {
            Change::Plan(of) => moves.contains(&of),
            Change::Cancel { from, to } => !moves.iter().any(|of| (of.from, of.to) == (from, to)),
            Change::Settle(life) => self.membership.map.settled >= life,
            Change::Sit
            | Change::Found
            | Change::Refound
            | Change::Join
            | Change::Complete
            | Change::Remove(_)
            | Change::Divide
            | Change::Unseat(_) => false,
        };
        if is_made {
            self.forget_order(change);
        } else if self.membership.ordered.is_some_and(|ordered| ordered.change == change) {
            self.drop_order(Lapse::Overtaken);
        }
    }

    fn drop_order(&mut self, why: Lapse) {
        if let Some(Ordered { order, .. }) = self.membership.ordered.take() {
            self.out.push_back(Output::Dropped { order, why });
        }
    }
}
