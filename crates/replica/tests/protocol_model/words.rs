//! What is said in the model: tokens, copies of the record, and the words in flight.

/// An engine's or a member's place in its array.
pub(crate) type Place = usize;

/// View first, so that every token of a later view is greater.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Token {
    pub(crate) view: u8,
    pub(crate) counter: u8,
}

/// A record is the list of the tokens it was put under: its version is its length, its stamp the
/// length and the last token, and what it was made from is everything but the last.
pub(crate) type Lineage = Vec<Token>;

pub(crate) fn extends(longer: &Lineage, shorter: &Lineage) -> bool {
    longer.starts_with(shorter)
}

/// What a member holds of the call.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Held {
    pub(crate) lineage: Lineage,
    /// It was put and not unlocked.
    pub(crate) unreleased: bool,
}

impl Held {
    fn stamp(&self) -> (Option<Token>, usize) {
        (self.lineage.last().copied(), self.lineage.len())
    }

    /// The newer of two copies. An unlock that reached one of two equal ones counts for both.
    pub(crate) fn newest(self, other: Self) -> Self {
        if self.lineage == other.lineage {
            let unreleased = self.unreleased && other.unreleased;
            return Self { unreleased, ..self };
        }
        if other.stamp() > self.stamp() { other } else { self }
    }
}

/// A word in flight. The set of them is unordered: any may be the next to arrive.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Word {
    Ask { engine: Place, member: Place, view: u8, turn: u8 },
    Confirm { engine: Place, member: Place, view: u8, turn: u8 },
    Put { engine: Place, member: Place, view: u8, lineage: Lineage },
    Unlock { engine: Place, member: Place, view: u8, token: Token },
    Granted { engine: Place, member: Place, view: u8, turn: u8, grant: Grant },
    Resume { engine: Place, member: Place, grant: Grant },
    NotHere { engine: Place, member: Place, view: u8, turn: u8 },
    Confirmed { engine: Place, member: Place, view: u8, turn: u8 },
    Stored { engine: Place, member: Place, view: u8, lineage: Lineage },
    Refused { engine: Place, member: Place, lineage: Lineage },
    Fence { from: Place, to: Place, view: u8, token: Token, held: Held },
    Fenced { from: Place, to: Place, view: u8, token: Token, held: Held },
}

/// A lock, and the record that it covers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Grant {
    pub(crate) token: Token,
    pub(crate) lineage: Lineage,
    pub(crate) resume: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Party {
    Engine(Place),
    Member(Place),
}

impl Word {
    pub(crate) fn sender(&self) -> Party {
        match *self {
            Self::Ask { engine, .. }
            | Self::Confirm { engine, .. }
            | Self::Put { engine, .. }
            | Self::Unlock { engine, .. } => Party::Engine(engine),
            Self::Granted { member, .. }
            | Self::Resume { member, .. }
            | Self::NotHere { member, .. }
            | Self::Confirmed { member, .. }
            | Self::Stored { member, .. }
            | Self::Refused { member, .. } => Party::Member(member),
            Self::Fence { from, .. } | Self::Fenced { from, .. } => Party::Member(from),
        }
    }

    pub(crate) fn receiver(&self) -> Party {
        match *self {
            Self::Ask { member, .. }
            | Self::Confirm { member, .. }
            | Self::Put { member, .. }
            | Self::Unlock { member, .. } => Party::Member(member),
            Self::Granted { engine, .. }
            | Self::Resume { engine, .. }
            | Self::NotHere { engine, .. }
            | Self::Confirmed { engine, .. }
            | Self::Stored { engine, .. }
            | Self::Refused { engine, .. } => Party::Engine(engine),
            Self::Fence { to, .. } | Self::Fenced { to, .. } => Party::Member(to),
        }
    }
}
