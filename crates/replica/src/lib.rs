//! One replica of one partition of a site's state tier, and the site's gate to other sites.
//!
//! A replica holds calls as opaque records: it locks them, hands them to engines when they are due
//! or broken, and lets them cross to other sites. It never decodes a call, and it has no clock, no
//! socket and no disk: see [`Replica::handle_input`] and [`gate::Gate::handle_input`].

use std::collections::VecDeque;

use vocab::{CallKey, Instant};

pub mod config;
pub mod door;
pub mod gate;
pub mod stats;

pub use config::{Config, Limits, Pace};
pub use door::{GateBound, Input, Order, Output, Reason, SiteInput, SiteStatus};
pub use stats::{CallStory, CallSummary, Stats};

/// One replica of one partition.
#[derive(Debug)]
pub struct Replica {
    config: Config,
    out: VecDeque<Output>,
}

impl Replica {
    /// An empty replica.
    #[must_use]
    pub fn new(now: Instant, config: Config) -> Self {
        let _ = now;
        Self { config, out: VecDeque::new() }
    }

    /// Takes one input; drain [`Self::poll_output`] after it.
    pub fn handle_input(&mut self, now: Instant, input: Input) {
        let _ = (now, input, &self.config);
    }

    /// The next output; [`Output::WakeAt`] ends the drain.
    pub fn poll_output(&mut self) -> Output {
        self.out.pop_front().unwrap_or(Output::WakeAt(Instant::NEVER, Reason::Idle))
    }

    /// The numbers.
    #[must_use]
    pub fn stats(&self, now: Instant) -> Stats {
        let _ = now;
        Stats::default()
    }

    /// A page of the calls held, by rising key, after `cursor`.
    #[must_use]
    pub fn calls(&self, cursor: Option<CallKey>, limit: usize) -> Vec<CallSummary> {
        let _ = (cursor, limit);
        Vec::new()
    }

    /// All that is known of one call.
    #[must_use]
    pub fn get(&self, now: Instant, key: CallKey) -> Option<CallStory> {
        let _ = (now, key);
        None
    }

    /// A digest of every record held, for the comparison of copies. Locks and waits do not count.
    #[must_use]
    pub fn digest(&self) -> u64 {
        0
    }
}
