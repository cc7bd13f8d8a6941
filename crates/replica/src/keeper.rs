//! Whether the keeper of the site's gate that speaks is the newest one that spoke.
//!
//! A process that kept the gate, stood still and comes back says once more what it knew, and that
//! its links are gone, before it hears that another one keeps the gate by now. To keep the gate
//! somebody must have become primary, so that the map of the keeper of now has a newer view.

use vocab::ViewNumber;

/// The newest view that a keeper knew of when it spoke.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Heard(ViewNumber);

impl Heard {
    /// Whether what is said with this view is to be believed. One that says none is, as there is
    /// no other, or it is of a release that says none.
    pub(crate) fn believes(&mut self, view: ViewNumber) -> bool {
        let is_newest = view >= self.0 || view == ViewNumber::default();
        self.0 = self.0.max(view);
        is_newest
    }
}
