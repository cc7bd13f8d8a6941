//! The store in etcd, by its JSON gateway (`/v3/...`, etcd 3.4 and newer), so that the build needs
//! no `protoc`. Without TLS: like the links, it belongs on a private network.
//!
//! Four tasks: `answer` for the owner's orders, `poll` reads everything again and again, `watch`
//! hears of changes at once, `presence` keeps the lease. Each begins again by itself, with a pause
//! of 50 ms that doubles up to 1 s.

mod client;
mod http;
mod json;
mod presence;

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::teller::{Finding, Signs};
use super::{CasOutcome, EtcdSetting, Order, Presence};
use client::Client;
use http::Failure;

const BACK_OFF_MIN: Duration = Duration::from_millis(50);
const BACK_OFF_MAX: Duration = Duration::from_secs(1);

/// Somebody waits for the presence to be taken back.
pub(super) type Left = oneshot::Receiver<oneshot::Sender<()>>;

/// Starts the tasks.
pub(super) fn start(
    tasks: &mut JoinSet<()>,
    setting: EtcdSetting,
    presence: Option<Presence>,
    inbox: mpsc::Receiver<Order>,
    findings: mpsc::Sender<Finding>,
    left: Left,
) -> Signs {
    let signs = Signs::default();
    let (ttl, every) = (setting.ttl, setting.timeout);
    let client = Client::new(setting);
    tasks.spawn(answer(client.clone(), inbox, findings.clone()));
    tasks.spawn(poll(client.clone(), every, findings.clone()));
    tasks.spawn(watch(client.clone(), signs.clone(), findings));
    if let Some(presence) = presence {
        tasks.spawn(presence::keep(client, presence, ttl, signs.clone(), left));
    }
    signs
}

/// The pause before the next try.
struct BackOff(Duration);

impl BackOff {
    fn new() -> Self {
        Self(BACK_OFF_MIN)
    }

    async fn pause(&mut self) {
        tokio::time::sleep(self.0).await;
        self.0 = (self.0 * 2).min(BACK_OFF_MAX);
    }
}

/// One order after the other, in the order in which they were given.
async fn answer(client: Client, mut inbox: mpsc::Receiver<Order>, findings: mpsc::Sender<Finding>) {
    while let Some(order) = inbox.recv().await {
        let finding = match order {
            Order::Read { ask } => {
                let read = client.document().await;
                note_failure("read", read.as_ref().err());
                Finding::Read { ask, read: read.ok() }
            }
            Order::CompareAndSet { ask, expected, bytes } => {
                let outcome = client.compare_and_set(expected, &bytes).await;
                note_failure("written", outcome.as_ref().err());
                let outcome = outcome.unwrap_or_else(|failure| CasOutcome::Away {
                    may_have_happened: failure.may_have_happened(),
                });
                Finding::Cas { ask, outcome, bytes }
            }
        };
        if findings.send(finding).await.is_err() {
            return;
        }
    }
}

fn note_failure(what: &str, failure: Option<&Failure>) {
    if let Some(failure) = failure {
        tracing::warn!(%failure, "the coordination document cannot be {what}");
    }
}

/// Reads everything again and again.
async fn poll(client: Client, every: Duration, findings: mpsc::Sender<Finding>) {
    let mut back_off = BackOff::new();
    loop {
        match client.snapshot().await {
            Ok(snapshot) => {
                back_off = BackOff::new();
                if findings.send(Finding::Polled(snapshot)).await.is_err() {
                    return;
                }
                tokio::time::sleep(every).await;
            }
            Err(failure) => {
                if findings.send(Finding::Away { why: failure.to_string() }).await.is_err() {
                    return;
                }
                back_off.pause().await;
            }
        }
    }
}

/// Watches for ever.
async fn watch(client: Client, signs: Signs, findings: mpsc::Sender<Finding>) {
    let mut back_off = BackOff::new();
    loop {
        let began_at = Instant::now();
        match watch_once(&client, &signs, &findings).await {
            Ok(Gone) => return,
            Err(failure) => tracing::debug!(%failure, "the coordination store is watched anew"),
        }
        if began_at.elapsed() > BACK_OFF_MAX {
            back_off = BackOff::new();
        }
        back_off.pause().await;
    }
}

/// The owner is.
struct Gone;

/// Reads everything and hears of what follows, until the watch breaks. What was compacted away
/// before the watch began is in the read.
async fn watch_once(
    client: &Client,
    signs: &Signs,
    findings: &mpsc::Sender<Finding>,
) -> Result<Gone, Failure> {
    let snapshot = client.snapshot().await?;
    let from = snapshot.document.store_revision + 1;
    let mut watching = client.watch(from).await?;
    if findings.send(Finding::Begun(snapshot)).await.is_err() {
        return Ok(Gone);
    }
    loop {
        let changes = tokio::select! {
            changes = watching.next() => changes?,
            () = signs.is_lagging.notified() => {
                client.prefer_another();
                return Err(Failure::Unanswered("the watch missed a change".into()));
            }
        };
        if !changes.is_empty() && findings.send(Finding::Changed(changes)).await.is_err() {
            return Ok(Gone);
        }
    }
}

#[cfg(test)]
mod tests;
