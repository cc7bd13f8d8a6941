//! Ctrl-C and SIGTERM: the demo ends its processes before it ends itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::signal::unix::{SignalKind, signal};

use super::problem::Problem;

/// Time between two looks at something that is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Whether somebody asked the demo to stop.
#[derive(Clone, Debug, Default)]
pub(super) struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Listens for signals in a thread of its own, which lives as long as the process.
    pub(super) fn on_signals() -> Result<Self, Problem> {
        let stop = Self::default();
        let asked = stop.0.clone();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(Problem::during("cannot listen for signals"))?;
        std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    let interrupt = signal(SignalKind::interrupt());
                    let terminate = signal(SignalKind::terminate());
                    let (Ok(mut interrupt), Ok(mut terminate)) = (interrupt, terminate) else {
                        return;
                    };
                    tokio::select! {
                        _ = interrupt.recv() => {}
                        _ = terminate.recv() => {}
                    }
                    asked.store(true, Ordering::Relaxed);
                });
            })
            .map_err(Problem::during("cannot start a thread"))?;
        Ok(stop)
    }

    /// An error once somebody asked.
    pub(super) fn check(&self) -> Result<(), Problem> {
        if self.0.load(Ordering::Relaxed) {
            return Err(Problem::new("stopped by a signal"));
        }
        Ok(())
    }

    /// Waits.
    pub(super) fn pause(&self, duration: Duration) -> Result<(), Problem> {
        let until = Instant::now() + duration;
        loop {
            self.check()?;
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(LOOK_EVERY));
        }
    }

    /// Looks until `look` finds something; `None` when it did not within `patience`.
    pub(super) fn wait_for<T>(
        &self,
        patience: Duration,
        mut look: impl FnMut() -> Result<Option<T>, Problem>,
    ) -> Result<Option<T>, Problem> {
        let until = Instant::now() + patience;
        loop {
            self.check()?;
            if let Some(found) = look()? {
                return Ok(Some(found));
            }
            if Instant::now() >= until {
                return Ok(None);
            }
            self.pause(LOOK_EVERY)?;
        }
    }
}
