//! The gate: one site's door to other sites.
//!
//! It keeps the order of the durable inbound queue, knows which sites answer, asks other sites for
//! calls, and passes forwarded messages on. It never decodes a record, and it holds no call.

mod door;

use std::collections::VecDeque;

use vocab::Instant;

use crate::door::Reason;

pub use door::{ActivationMode, GateConfig, GateInput, GateOutput, GateStats, QueuedBatch};

/// One site's gate.
#[derive(Debug)]
pub struct Gate {
    config: GateConfig,
    out: VecDeque<GateOutput>,
    stats: GateStats,
}

impl Gate {
    /// A gate that has heard nobody. The first input is `QueueLoaded`.
    #[must_use]
    pub fn new(now: Instant, config: GateConfig) -> Self {
        let _ = now;
        Self { config, out: VecDeque::new(), stats: GateStats::default() }
    }

    /// Takes one input; drain [`Self::poll_output`] after it.
    pub fn handle_input(&mut self, now: Instant, input: GateInput) {
        let _ = (now, input, &self.config);
    }

    /// The next output; `WakeAt` ends the drain.
    pub fn poll_output(&mut self) -> GateOutput {
        self.out.pop_front().unwrap_or(GateOutput::WakeAt(Instant::NEVER, Reason::Idle))
    }

    /// The gate's numbers.
    #[must_use]
    pub fn stats(&self, now: Instant) -> GateStats {
        let _ = now;
        self.stats.clone()
    }
}
