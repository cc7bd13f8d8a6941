//! The coordination store of a site's state tier: one document, and who is present.
//!
//! The document is opaque bytes under one key; it changes by compare-and-set on its revision alone.
//! Each state process is present for as long as its lease is kept alive. This room only carries:
//! who is in a view, and what the document says, is decided elsewhere.
//!
//! ```text
//! owner ── Order ──► answer ──┐
//!                    poll ────┼── Finding ──► teller ── Told ──► owner
//!                    watch ───┘
//!                    presence ── lease, kept alive whether or not the owner listens
//! ```
//!
//! Every [`Told`] goes through one task, so that no document is ever told after a newer one. The
//! watch is for speed; the poll, a linearizable read of everything after each timeout, is for
//! truth: it finds what a watch missed, and whether the store is away.

mod etcd;
mod fixed;
mod teller;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::config::Config;
use crate::config::file::Secret;
use teller::{Finding, Teller};

/// Orders that may wait. An owner has one of each sort under way, so that more are a mistake.
const ORDERS_MAX: usize = 64;
/// Findings that may wait for the owner to listen; the watch and the poll stop at it.
const FINDINGS_MAX: usize = 64;

/// What the owner wants of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Reads the document, linearizably. `ask` comes back with the answer.
    Read { ask: u64 },
    /// Writes `bytes` if the document's revision is `expected`; 0 stands for "there is none".
    CompareAndSet { ask: u64, expected: u64, bytes: Bytes },
}

/// What the store says. An answer comes after the document that it knows of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// The document changed, by whomever; the first one is told at the start, present or not.
    /// Versions between two that are told may be left out; none comes after a newer one.
    Document(Current),
    /// Answers [`Order::Read`].
    ReadAnswer { ask: u64, outcome: ReadOutcome },
    /// Answers [`Order::CompareAndSet`].
    CasAnswer { ask: u64, outcome: CasOutcome },
    /// Who is present, with what each says of itself; told at the start and when it changes.
    Present(BTreeMap<String, Bytes>),
    /// The store stopped answering, or did not from the start. Told once, until `Back`.
    Away { why: String },
    /// The store answers. Told once, until `Away`.
    Back,
}

/// The document at a moment of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Current {
    /// The revision of the whole store at which the document was so. It never falls.
    pub(crate) store_revision: u64,
    /// Absent until somebody writes it.
    pub(crate) stored: Option<Stored>,
}

/// A document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    /// The revision of the store that this document was written at.
    pub(crate) revision: u64,
    pub(crate) bytes: Bytes,
}

/// What became of a read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ReadOutcome {
    /// At least as new as the document was when the read was ordered.
    Current(Current),
    /// No endpoint answered in time.
    Away,
}

/// What became of a compare-and-set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CasOutcome {
    /// The document is ours, at this revision.
    Written { revision: u64 },
    /// The document had another revision: nothing was written.
    Lost(Current),
    /// No answer. With `may_have_happened` it may be written, even after this is told: a later
    /// document or read says whether.
    Away { may_have_happened: bool },
}

/// What to start with.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    pub(crate) store: Store,
    /// Absent: this process reads and is not present itself.
    pub(crate) presence: Option<Presence>,
}

/// Where the document is kept.
#[derive(Clone, Debug)]
pub(crate) enum Store {
    /// In this process, which is alone; gone when it ends. Revisions go on from `revision`, which
    /// is to be above those of earlier lives.
    Fixed { revision: u64 },
    /// In etcd.
    Etcd(EtcdSetting),
}

/// How etcd is reached.
#[derive(Clone, Debug)]
pub(crate) struct EtcdSetting {
    /// `http://host:port`, tried in turn.
    pub(crate) endpoints: Vec<String>,
    /// Keys are `<prefix>/map` and `<prefix>/present/<id>`.
    pub(crate) prefix: String,
    /// Life of the lease without a sign of life; whole seconds.
    pub(crate) ttl: Duration,
    /// For one request to one endpoint, connecting included.
    pub(crate) timeout: Duration,
    /// User and password.
    pub(crate) credentials: Option<(String, Secret)>,
}

/// How this process is known.
#[derive(Clone, Debug)]
pub(crate) struct Presence {
    /// Unique among the site's processes.
    pub(crate) id: String,
    /// What it says of itself.
    pub(crate) bytes: Bytes,
}

impl Store {
    /// What `[coordination]` says; a process without the section is alone. `revision` is where a
    /// lone process's revisions begin.
    pub(crate) fn of(config: &Config, revision: u64) -> Self {
        let Some(section) = &config.coordination else { return Self::Fixed { revision } };
        let password = section.password.clone();
        Self::Etcd(EtcdSetting {
            endpoints: section.endpoints.clone(),
            prefix: section.prefix_of(config.site.id),
            ttl: Duration::from_millis(section.ttl_ms),
            timeout: Duration::from_millis(section.timeout_ms),
            credentials: section.user.clone().zip(password),
        })
    }
}

/// The way to the store. When it is dropped, the lease is left to lapse, as after a kill.
#[derive(Debug)]
pub(crate) struct Coordination {
    orders: mpsc::Sender<Order>,
    /// Ends with this.
    _tasks: JoinSet<()>,
    /// Says that the process ends, to the one that can take its presence back.
    leave: Option<oneshot::Sender<oneshot::Sender<()>>>,
    /// For the presence to be taken back.
    leave_within: Duration,
}

impl Coordination {
    /// Starts to watch, and to be present. What the store says goes to `events`; while that is
    /// full, nothing more is read, and the lease is kept all the same.
    pub(crate) fn start<E: From<Told> + Send + 'static>(
        setting: Setting,
        events: mpsc::Sender<E>,
    ) -> Self {
        let (orders, inbox) = mpsc::channel(ORDERS_MAX);
        let (findings, found) = mpsc::channel(FINDINGS_MAX);
        let mut tasks = JoinSet::new();
        let own = setting.presence.as_ref().map(|presence| presence.id.clone());
        let (mut leave, mut leave_within) = (None, Duration::ZERO);
        let signs = match setting.store {
            Store::Fixed { revision } => {
                tasks.spawn(fixed::serve(revision, setting.presence, inbox, findings));
                teller::Signs::default()
            }
            Store::Etcd(etcd) => {
                let endpoints = u32::try_from(etcd.endpoints.len()).unwrap_or(u32::MAX);
                leave_within = etcd.timeout.saturating_mul(endpoints);
                let (sender, left) = oneshot::channel();
                leave = Some(sender);
                etcd::start(&mut tasks, etcd, setting.presence, inbox, findings, left)
            }
        };
        tasks.spawn(tell(Teller::new(own, signs), found, events));
        Self { orders, _tasks: tasks, leave, leave_within }
    }

    /// Gives an order; gives it back when too many wait. It is answered unless this is dropped.
    pub(crate) fn order(&self, order: Order) -> Result<(), Order> {
        self.orders.try_send(order).map_err(|error| match error {
            mpsc::error::TrySendError::Full(order) | mpsc::error::TrySendError::Closed(order) => {
                order
            }
        })
    }

    /// Ends and takes the presence back, so that others need not wait for the lease to lapse.
    /// Waits for no longer than one request to each endpoint.
    pub(crate) async fn end(mut self) {
        let (done, is_done) = oneshot::channel();
        let told = self.leave.take().is_some_and(|leave| leave.send(done).is_ok());
        if told && tokio::time::timeout(self.leave_within, is_done).await.is_err() {
            tracing::warn!("the presence could not be taken back; its lease will lapse");
        }
    }
}

async fn tell<E: From<Told>>(
    mut teller: Teller,
    mut found: mpsc::Receiver<Finding>,
    events: mpsc::Sender<E>,
) {
    while let Some(finding) = found.recv().await {
        for told in teller.take(finding) {
            if events.send(told.into()).await.is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests;
