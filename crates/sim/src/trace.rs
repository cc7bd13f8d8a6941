//! What happened, as text that reads like a ladder diagram, and as a hash that proves that two runs
//! of one seed were the same.

use std::fmt;

use vocab::Instant;

/// The record of a run.
#[derive(Debug)]
pub struct Trace {
    hash: u64,
    lines: Option<Vec<String>>,
}

impl Trace {
    /// A trace; lines are kept only when somebody will read them.
    #[must_use]
    pub fn new(keep_lines: bool) -> Self {
        Self { hash: 0xcbf2_9ce4_8422_2325, lines: keep_lines.then(Vec::new) }
    }

    /// Notes what happened at `now`.
    pub fn note(&mut self, now: Instant, line: fmt::Arguments<'_>) {
        let text = format!("{:>12.6}  {line}", now.0 as f64 / 1e9);
        for byte in text.bytes() {
            // FNV-1a: order matters, chance does not.
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        if let Some(lines) = &mut self.lines {
            lines.push(text);
        }
    }

    /// Equal for equal runs.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// The kept lines.
    #[must_use]
    pub fn lines(&self) -> &[String] {
        self.lines.as_deref().unwrap_or_default()
    }
}
