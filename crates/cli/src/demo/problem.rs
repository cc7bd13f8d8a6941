//! Why a demo could not go on. A broken promise is no problem: it is a result.

use std::fmt;

/// One sentence for the person at the terminal.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Problem(pub(super) String);

impl Problem {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// For `map_err`: what was tried, then why it failed.
    pub(super) fn during<E: fmt::Display>(what: impl fmt::Display) -> impl FnOnce(E) -> Self {
        move |error| Self(format!("{what}: {error}"))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
