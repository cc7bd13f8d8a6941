//! Links whose peer has not proven itself yet: few, and the oldest goes first.

use std::collections::VecDeque;

use tokio::sync::oneshot;

/// Who has not proven itself, for each listener.
pub(super) const HALF_OPEN_MAX: usize = 64;

/// One end of each is with its link: it is closed when the peer has proven itself or gone.
#[derive(Debug, Default)]
pub(super) struct HalfOpen(VecDeque<oneshot::Sender<()>>);

impl HalfOpen {
    /// Another one: what it returns completes when it has to give way. Dropped, it counts no more.
    pub(super) fn admit(&mut self) -> impl Future<Output = ()> + Send + use<> {
        self.0.retain(|one| !one.is_closed());
        if self.0.len() >= HALF_OPEN_MAX {
            self.0.pop_front();
        }
        let (held, given_up) = oneshot::channel();
        self.0.push_back(held);
        async move {
            // Nothing is ever sent: it ends when the other end is dropped.
            drop(given_up.await);
        }
    }
}
