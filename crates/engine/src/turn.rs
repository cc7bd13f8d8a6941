//! One engine's work on one call: from asking for its lock to releasing what it decided.
//!
//! ```text
//!            ask                    Granted                  Stored
//! arrivals ───────► Lock ─────────────────────► Store ───────────────► release, unlock, done
//!                  ▲ │ │ ▲                        │  ▲                     │
//!                  │ │ │ └── Refused: step again ─┘  └ Granted (handed)    │
//!          Pulled, │ │ └ NotHere ► Pause ─ again ─┐                        │
//!          Yours   │ ▼                            │             more arrivals: ask again
//!                 Pull ◄──────────────────────────┘
//!                  └ NoSuch: 481 · Lives: forward
//! ```
//! Where several replicas serve, a turn that would end without a put first has the primary's word
//! confirmed (`Confirm`): by then a later view may have stored something newer.
//!
//! A grant that no turn asked for (due, resume, activate, hand back) makes a turn of its own. Each
//! state ends by its deadline. At most one turn per call exists in an engine; messages that come
//! meanwhile wait in it, in order.

use std::collections::BTreeSet;

use call::Call;
use tier_protocol::{Command, PullAnswer, PutFlags, Record, Tombstone};
use vocab::{CallKey, Epoch, Instant, LockToken, ReplicaId, Stamp, ViewNumber};

use crate::arrival::Arrival;
use crate::door::Reason;
use crate::held::{Grant, Held};

/// One engine's work on one call.
#[derive(Debug)]
pub(crate) struct Turn {
    /// The engine's number for the last ask.
    pub(crate) number: u64,
    pub(crate) state: State,
    /// Messages that are to be stepped, in order of arrival.
    pub(crate) arrivals: Vec<Arrival>,
    /// The last ask may begin a call.
    pub(crate) begins: bool,
    pub(crate) seek: Seek,
    /// When to look at the turn again.
    pub(crate) wake_at: Instant,
    /// When the state is given up.
    pub(crate) until: Instant,
    /// How often its put was refused.
    pub(crate) refusals: u32,
    /// The other members confirmed the view in which the primary's last word was said.
    pub(crate) is_confirmed: bool,
}

/// What the turn waits for.
#[derive(Debug)]
pub(crate) enum State {
    /// The call's lock.
    Lock,
    /// A while, before it asks again: the call may be on its way here.
    Pause,
    /// Another site's answer.
    Pull,
    /// The other members' word that the view in which the primary spoke is not over.
    Confirm(Box<Confirming>),
    /// Everybody's word that the put is stored.
    Store(Box<Storing>),
}

/// What the primary said, until it is confirmed.
#[derive(Debug)]
pub(crate) struct Confirming {
    pub(crate) believed: Believed,
    /// Members that have confirmed.
    pub(crate) by: BTreeSet<ReplicaId>,
    /// Since when the primary leads that said it: a later one may know better.
    pub(crate) led_since: ViewNumber,
}

/// The primary's word.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "kept in a box, and most are `Granted`")]
pub(crate) enum Believed {
    /// No such call.
    NotHere,
    /// The lock, and the newest record, if any.
    Granted { grant: Grant, record: Option<Record> },
    /// The lock; what this engine keeps of the call is the newest.
    Unchanged { grant: Grant },
}

impl Believed {
    pub(crate) fn token(&self) -> Option<LockToken> {
        match self {
            Self::NotHere => None,
            Self::Granted { grant, .. } | Self::Unchanged { grant } => Some(grant.token),
        }
    }
}

/// A call that is not here: what is known of where it is.
#[derive(Debug, Default)]
pub(crate) struct Seek {
    /// When the turn first missed the call.
    pub(crate) since: Option<Instant>,
    /// How often it was sought.
    pub(crate) tries: u32,
    /// The other sites' best answer, until it is acted upon.
    pub(crate) answer: Option<Box<PullAnswer>>,
    /// The record that another site gave, and when.
    pub(crate) pulled: Option<Box<(Record, Instant)>>,
    /// The other sites said that there is no such call. Meanwhile a copy may have come here: this
    /// site is asked once more before that is believed.
    pub(crate) is_denied: bool,
    /// A dormant record of it is here, given to the site that forwarded the message and still on
    /// its way: "no such call" is then not believed.
    pub(crate) is_given: bool,
    /// When the turn first found the call ringing, with newer states of its home's on the queue.
    pub(crate) early_since: Option<Instant>,
    /// No site holds it; the first arrival is a 2xx that must not be left without ACK and BYE.
    pub(crate) ghost: bool,
}

/// A put or removal on its way.
#[derive(Debug)]
pub(crate) struct Storing {
    pub(crate) held: Held,
    pub(crate) token: LockToken,
    pub(crate) what: What,
    /// The call as it will be, to be kept when it is stored.
    pub(crate) call: Option<Box<Call>>,
    pub(crate) became: Became,
    /// The engine's number for the turn, under which its lock was asked for; 0 when it was handed.
    pub(crate) number: u64,
    /// Who has it, of the view in which it was last sent.
    pub(crate) stored_by: BTreeSet<ReplicaId>,
    /// The member refused the view it was sent in: it is sent again.
    pub(crate) repeat: bool,
}

/// The put or removal itself, to be sent again in another view.
#[derive(Clone, Debug)]
pub(crate) enum What {
    Put { record: Record, base: Option<Stamp>, flags: PutFlags },
    Delete { tombstone: Tombstone, base: Stamp },
}

/// What the put makes of the call, for the counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Became {
    Begun,
    Stepped,
    Activated,
    HandedBack,
    Ended,
    /// It is in quarantine, and what is left of it lingers.
    TornDown,
    /// The same, and nothing could be said.
    Removed,
}

impl Turn {
    pub(crate) fn new(arrivals: Vec<Arrival>) -> Self {
        Self {
            number: 0,
            state: State::Lock,
            arrivals,
            begins: false,
            seek: Seek::default(),
            wake_at: Instant::NEVER,
            until: Instant::NEVER,
            refusals: 0,
            is_confirmed: false,
        }
    }

    /// Whether the same message waits here or is being worked.
    pub(crate) fn has(&self, identity: u64) -> bool {
        self.all().any(|arrival| arrival.identity == identity)
    }

    /// Every message that the turn keeps.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Arrival> {
        let held: &[Arrival] = match &self.state {
            State::Store(storing) => storing.held.arrivals(),
            State::Lock | State::Pause | State::Pull | State::Confirm(_) => &[],
        };
        held.iter().chain(&self.arrivals)
    }

    /// Why the turn is to be woken.
    pub(crate) fn reason(&self) -> Reason {
        match &self.state {
            State::Lock => Reason::Lock,
            State::Pause => Reason::Seek,
            State::Pull => Reason::Pull,
            State::Confirm(_) => Reason::Confirm,
            State::Store(_) => Reason::Store,
        }
    }
}

impl Seek {
    /// The record that another site gave, with its wait here added to its age.
    pub(crate) fn take_pulled(&mut self, now: Instant) -> Option<Record> {
        let (mut record, at) = *self.pulled.take()?;
        record.header.age = record.header.age.saturating_add(now.since(at));
        Some(record)
    }
}

impl What {
    /// The command, written for `view`.
    pub(crate) fn command(&self, view: ViewNumber) -> Command {
        match self {
            Self::Put { record, base, flags } => {
                Command::Put { view, record: record.clone(), base: *base, flags: *flags }
            }
            Self::Delete { tombstone, base } => {
                Command::Delete { view, tombstone: *tombstone, base: *base }
            }
        }
    }

    /// The home epoch under which it is decided.
    pub(crate) fn epoch(&self) -> Epoch {
        match self {
            Self::Put { record, .. } => record.header.stamp.epoch,
            Self::Delete { tombstone, .. } => tombstone.epoch(),
        }
    }

    pub(crate) fn key(&self) -> CallKey {
        match self {
            Self::Put { record, .. } => record.header.key,
            Self::Delete { tombstone, .. } => tombstone.key,
        }
    }
}
