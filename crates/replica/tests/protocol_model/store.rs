//! The coordination store: views, changed by compare-and-set alone.

use crate::words::Place;

pub(crate) const REPLICAS: usize = 3;
const NOBODY: u8 = 9;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct View {
    /// In order of joining; the first is the primary.
    order: [u8; REPLICAS],
    joining: u8,
    /// Number of the view in which the primary became it.
    pub(crate) led_since: u8,
}

impl View {
    pub(crate) fn first(members: &[u8], joining: Option<u8>) -> Self {
        let mut order = [NOBODY; REPLICAS];
        order[..members.len()].copy_from_slice(members);
        Self { order, joining: joining.unwrap_or(NOBODY), led_since: 1 }
    }

    pub(crate) fn primary(&self) -> Place {
        usize::from(self.order[0])
    }

    pub(crate) fn has_member(&self, place: Place) -> bool {
        self.order.iter().any(|&member| usize::from(member) == place)
    }

    pub(crate) fn is_joining(&self, place: Place) -> bool {
        usize::from(self.joining) == place
    }

    pub(crate) fn has(&self, place: Place) -> bool {
        self.has_member(place) || self.is_joining(place)
    }

    pub(crate) fn joiner(&self) -> Option<Place> {
        (self.joining != NOBODY).then_some(usize::from(self.joining))
    }

    /// The next view, of this `number`, without `place`. Somebody is left in it.
    pub(crate) fn without(&self, place: Place, number: u8) -> Self {
        let mut left = [NOBODY; REPLICAS];
        let mut count = 0;
        for member in self.order {
            if usize::from(member) != place {
                left[count] = member;
                count = (count + 1).min(REPLICAS - 1);
            }
        }
        let joining = if self.is_joining(place) { NOBODY } else { self.joining };
        let led_since = if left[0] == self.order[0] { self.led_since } else { number };
        Self { order: left, joining, led_since }
    }

    pub(crate) fn with_joiner(&self, place: Place) -> Self {
        Self { joining: place as u8, ..*self }
    }

    pub(crate) fn with_member(&self, place: Place) -> Self {
        let mut view = Self { joining: NOBODY, ..*self };
        let free = view.order.iter_mut().find(|member| **member == NOBODY);
        *free.expect("there are as many places as replicas") = place as u8;
        view
    }
}
