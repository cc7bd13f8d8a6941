//! What a step decided, kept until the state that explains it is stored.
//!
//! [`Held::release`] is the only way effects leave an engine, and it asks for a proof. A proof is
//! made from replicas' words alone: that everybody of a view holds the put, or that the record that
//! explains the effects was stored before this turn began.

use std::collections::BTreeSet;

use call::Effect;
use tier_protocol::Cause;
use vocab::{Epoch, LockToken, ReplicaId, Stamp};

use crate::arrival::Arrival;

/// Proof that the state which explains a turn's effects is stored.
#[derive(Debug)]
pub(crate) struct Stored(());

/// A lock, and what is known of the record that came with it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grant {
    pub(crate) token: LockToken,
    pub(crate) cause: Cause,
    pub(crate) dormant: bool,
    /// The record was put and its lock never unlocked: its effects may not have left.
    pub(crate) resume: bool,
    /// Stamp of the record that is held; `None` when none is.
    pub(crate) base: Option<Stamp>,
    /// Epoch under which an earlier call of this key ended, if that is remembered.
    pub(crate) floor: Option<Epoch>,
}

/// Effects and inputs of a turn, until its put is stored.
#[derive(Debug)]
#[must_use]
pub(crate) struct Held {
    stamp: Option<Stamp>,
    effects: Vec<Effect>,
    arrivals: Vec<Arrival>,
}

impl Stored {
    /// Everybody of one view said that they hold the put.
    pub(crate) fn by_all(
        everybody: &BTreeSet<ReplicaId>,
        stored_by: &BTreeSet<ReplicaId>,
    ) -> Option<Self> {
        (!everybody.is_empty() && everybody.is_subset(stored_by)).then_some(Self(()))
    }

    /// A proof that is none: the simulator's planted bug.
    pub(crate) fn forged() -> Self {
        Self(())
    }

    /// The record that came with the grant is the state which explains the effects: the turn
    /// changed nothing.
    pub(crate) fn by_grant(_grant: &Grant) -> Self {
        Self(())
    }
}

impl Held {
    /// Keeps what a step decided until the put with `stamp` is stored.
    pub(crate) fn until(stamp: Stamp, effects: Vec<Effect>, arrivals: Vec<Arrival>) -> Self {
        Self { stamp: Some(stamp), effects, arrivals }
    }

    /// Keeps what a step decided that changed nothing.
    pub(crate) fn unchanged(effects: Vec<Effect>) -> Self {
        Self { stamp: None, effects, arrivals: Vec::new() }
    }

    /// Lets the effects out.
    pub(crate) fn release(self, _proof: &Stored) -> Vec<Effect> {
        self.effects
    }

    /// Copies the effects out with no proof at all: the simulator's planted bug.
    pub(crate) fn leak(&self) -> Vec<Effect> {
        self.effects.clone()
    }

    /// Drops the effects and gives back the inputs, to be stepped again on newer state.
    pub(crate) fn into_arrivals(self) -> Vec<Arrival> {
        self.arrivals
    }

    /// The stamp of the put that is waited for.
    pub(crate) fn stamp(&self) -> Option<Stamp> {
        self.stamp
    }

    pub(crate) fn arrivals(&self) -> &[Arrival] {
        &self.arrivals
    }
}
