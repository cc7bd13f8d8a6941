//! What a person sees while a command takes its time: a live bar in a terminal, plain lines
//! otherwise.
//!
//! It goes to standard error, so that the result stands alone on standard output.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// The steps of a command as they go by.
pub(crate) struct Progress {
    started_at: Instant,
    /// None where nobody watches.
    bar: Option<ProgressBar>,
    text: String,
    /// What was said last of the step.
    noted: String,
}

impl Progress {
    pub(crate) fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style =
                ProgressStyle::with_template("{prefix:>7} {spinner} {msg} {bar:24} {pos}/{len}")
                    .unwrap_or_else(|_| ProgressStyle::default_bar());
            let bar = ProgressBar::new(1).with_style(style);
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        Self { started_at: Instant::now(), bar, text: String::new(), noted: String::new() }
    }

    /// Begins a step; the one before must be done.
    pub(crate) fn begin(&mut self, text: impl Into<String>) {
        self.text = text.into();
        self.noted = String::new();
        match &self.bar {
            Some(bar) => {
                bar.set_prefix(self.clock());
                bar.set_message(self.text.clone());
                bar.set_length(1);
                bar.set_position(0);
            }
            None => eprintln!("{:>7}  {} ...", self.clock(), self.text),
        }
    }

    /// Says how far the step has come.
    pub(crate) fn count(&self, done: usize, total: usize) {
        if let Some(bar) = &self.bar {
            bar.set_prefix(self.clock());
            bar.set_length(total as u64);
            bar.set_position(done as u64);
        }
    }

    /// Says where the step is; the same thing twice in a row is said once.
    pub(crate) fn note(&mut self, text: impl Into<String>) {
        let text = text.into();
        if text == self.noted {
            return;
        }
        match &self.bar {
            Some(bar) => bar.set_message(format!("{}: {text}", self.text)),
            None => eprintln!("{:>7}  {text}", self.clock()),
        }
        self.noted = text;
    }

    /// Ends a step, with what came of it.
    pub(crate) fn done(&mut self, result: impl AsRef<str>) {
        let clock = self.clock();
        let (text, result) = (std::mem::take(&mut self.text), result.as_ref());
        match &self.bar {
            Some(bar) => bar.println(format!("{clock:>7}  {text}: {result}")),
            None => eprintln!("{clock:>7}  {result}"),
        }
    }

    /// Seconds since the command began.
    pub(crate) fn seconds(&self) -> f64 {
        (self.started_at.elapsed().as_secs_f64() * 10.0).round() / 10.0
    }

    fn clock(&self) -> String {
        format!("{:.1} s", self.seconds())
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
