//! One step.

use vocab::Instant;

use crate::{Call, Changed, Input, Setting, Step};

impl Call {
    /// One step: pure and total, no input panics.
    pub fn step(&mut self, now: Instant, input: Input, setting: &Setting) -> Step {
        let _ = (now, input, setting);
        Step { effects: Vec::new(), changed: Changed::Nothing }
    }
}
