//! What is said in the model: tokens, copies of the record, and the words on their way.
//!
//! Everything is a small number: a run of the checker keeps millions of these.

use std::fmt;

/// An engine's or a replica's place in its array.
pub(crate) type Place = usize;

/// View in the upper half, counter in the lower: every token of a later view is greater. The first
/// bit marks, in a lineage, a version that is the record's removal.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Token(u8);

const GONE: u8 = 0x80;

impl Token {
    pub(crate) fn new(view: u8, counter: u8) -> Self {
        assert!(view < 8 && counter < 16, "the model has no such token");
        Self(view << 4 | counter)
    }

    pub(crate) fn view(self) -> u8 {
        self.0 >> 4 & 7
    }

    fn counter(self) -> u8 {
        self.0 & 15
    }

    /// The next token of a primary that knows of this one.
    pub(crate) fn next(self, view: u8) -> Self {
        let counter = if self.view() == view { self.counter() + 1 } else { 1 };
        Self::new(view, counter)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gone = if self.0 & GONE == 0 { "" } else { " gone" };
        write!(f, "{}.{}{gone}", self.view(), self.counter())
    }
}

/// A record is the list of the tokens it was put under, sixteen at most: its version is its length,
/// its stamp the last token and the length, and what it was made from is everything but the last.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Lineage(u128);

impl Lineage {
    pub(crate) fn len(self) -> u32 {
        16 - self.0.leading_zeros() / 8
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    fn last_byte(self) -> u8 {
        if self.0 == 0 { 0 } else { (self.0 >> (8 * (self.len() - 1))) as u8 }
    }

    pub(crate) fn token(self) -> Token {
        Token(self.last_byte() & !GONE)
    }

    /// Whether the newest version is the removal.
    pub(crate) fn is_gone(self) -> bool {
        self.last_byte() & GONE != 0
    }

    pub(crate) fn base(self) -> Self {
        let above = 8 * (self.len() - 1);
        Self(self.0 & ((1 << above) - 1))
    }

    pub(crate) fn then(self, token: Token) -> Self {
        assert!(self.len() < 16, "the model has no longer record");
        Self(self.0 | u128::from(token.0) << (8 * self.len()))
    }

    pub(crate) fn then_gone(self, token: Token) -> Self {
        self.then(Token(token.0 | GONE))
    }

    pub(crate) fn extends(self, shorter: Self) -> bool {
        let bits = 8 * shorter.len();
        let mask = if bits == 128 { u128::MAX } else { (1 << bits) - 1 };
        self.0 & mask == shorter.0
    }

    /// The record, or nothing once it was removed.
    pub(crate) fn live(self) -> Self {
        if self.is_gone() { Self::default() } else { self }
    }

    pub(crate) fn stamp(self) -> (Token, u32) {
        (self.token(), self.len())
    }
}

impl fmt::Debug for Lineage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tokens = (0..self.len()).map(|at| Token((self.0 >> (8 * at)) as u8));
        f.debug_list().entries(tokens).finish()
    }
}

/// What an engine says to a replica. Words on one link arrive in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Word {
    Ask { view: u8, turn: u8 },
    Put { view: u8, lineage: Lineage },
    Unlock { view: u8, token: Token },
}

impl Word {
    pub(crate) fn view(self) -> u8 {
        match self {
            Self::Ask { view, .. } | Self::Put { view, .. } | Self::Unlock { view, .. } => view,
        }
    }
}

/// A lock, and the record that it covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Grant {
    pub(crate) token: Token,
    pub(crate) lineage: Lineage,
    /// The version was put and not unlocked: it is put again before anything else.
    pub(crate) resume: bool,
}

/// What a joiner is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Copied {
    pub(crate) to: u8,
    pub(crate) view: u8,
    pub(crate) lineage: Lineage,
    pub(crate) unreleased: bool,
}
