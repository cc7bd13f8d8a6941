//! The door through which a callback looks at its call and says what should happen.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use vocab::Instant;

use crate::container::{Action, Scene};
use crate::{Decision, Hint, Reply, SessionId, SessionView};

/// Bounds on what an application may keep in a call. What goes beyond is refused, never cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all attributes, names included.
    pub attribute_bytes_max: usize,
    /// Timers that run at once.
    pub timers_max: usize,
    /// Bytes of a timer's or an attribute's name.
    pub name_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { attribute_bytes_max: 4096, timers_max: 16, name_bytes_max: 64 }
    }
}

/// What a callback may see and do. It holds no lock and reaches no network: the container carries
/// out what was asked for after the callback returned.
#[derive(Debug)]
pub struct Cx<'a> {
    scene: &'a Scene<'a>,
    attributes: BTreeMap<String, Bytes>,
    timers: BTreeMap<String, Instant>,
    actions: Vec<Action>,
}

impl<'a> Cx<'a> {
    /// A context over `scene`; the container's and the testkit's.
    #[must_use]
    pub fn new(scene: &'a Scene<'a>) -> Self {
        let attributes = scene.attributes.clone();
        Self { scene, attributes, timers: scene.timers.clone(), actions: Vec::new() }
    }

    /// What the callback asked for, in order.
    #[must_use]
    pub fn into_actions(self) -> Vec<Action> {
        self.actions
    }

    /// The moment of this step, on a clock that means nothing elsewhere.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.scene.now
    }

    /// The sessions of the call.
    #[must_use]
    pub fn sessions(&self) -> &'a [SessionView] {
        self.scene.sessions
    }

    /// The session that the callback is about, if it is about one.
    #[must_use]
    pub fn session(&self) -> Option<SessionId> {
        self.scene.current
    }

    /// An attribute of the call: what was set last, in this callback or an earlier one.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&Bytes> {
        self.attributes.get(name)
    }

    /// Sets an attribute. `false` when the call has no room for it.
    #[must_use]
    pub fn set_attribute(&mut self, name: &str, value: impl Into<Bytes>) -> bool {
        let value = value.into();
        let others: usize = self
            .attributes
            .iter()
            .filter(|(other, _)| other.as_str() != name)
            .map(|(other, value)| other.len() + value.len())
            .sum();
        let limits = &self.scene.limits;
        if name.len() > limits.name_bytes_max
            || others + name.len() + value.len() > limits.attribute_bytes_max
        {
            return false;
        }
        self.attributes.insert(name.to_owned(), value.clone());
        self.actions.push(Action::SetAttribute { name: name.to_owned(), value: Some(value) });
        true
    }

    /// Removes an attribute.
    pub fn remove_attribute(&mut self, name: &str) {
        if self.attributes.remove(name).is_some() {
            self.actions.push(Action::SetAttribute { name: name.to_owned(), value: None });
        }
    }

    /// Calls `on_timer` with `name` after this long; a timer of that name starts anew. `false` when
    /// the call has too many.
    #[must_use]
    pub fn set_timer(&mut self, name: &str, after: Duration) -> bool {
        let limits = &self.scene.limits;
        let is_new = !self.timers.contains_key(name);
        if name.len() > limits.name_bytes_max || is_new && self.timers.len() >= limits.timers_max {
            return false;
        }
        self.timers.insert(name.to_owned(), self.scene.now + after);
        self.actions.push(Action::SetTimer { name: name.to_owned(), after });
        true
    }

    /// How long it is until the timer of that name fires: as it was set last, in this callback or
    /// an earlier one. `None` when none of that name runs.
    #[must_use]
    pub fn timer(&self, name: &str) -> Option<Duration> {
        self.timers.get(name).map(|at| at.since(self.scene.now))
    }

    /// Stops the timer of that name, if it runs.
    pub fn cancel_timer(&mut self, name: &str) {
        self.timers.remove(name);
        self.actions.push(Action::CancelTimer { name: name.to_owned() });
    }

    /// Says what is to be expected; it holds until said otherwise.
    pub fn hint(&mut self, hint: Hint) {
        self.actions.push(Action::Hint(hint));
    }

    /// Passes the message on to the linked session.
    pub fn relay(&mut self) {
        self.actions.push(Action::Relay);
    }

    /// Answers the request here; the linked session does not hear of it.
    pub fn respond(&mut self, reply: Reply) {
        self.actions.push(Action::Respond(reply));
    }

    /// Keeps a provisional response from being relayed. A final one is relayed all the same.
    pub fn absorb(&mut self) {
        self.actions.push(Action::Absorb);
    }

    /// Ends the call: BYE or a failure to whoever is in it.
    pub fn end(&mut self) {
        self.actions.push(Action::End);
    }

    /// Decides a request that was deferred.
    pub fn decide(&mut self, decision: Decision) {
        self.actions.push(Action::Decide(decision));
    }
}
