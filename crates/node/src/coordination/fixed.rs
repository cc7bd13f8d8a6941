//! The store of a lone process: a document in memory, and nobody else.
//!
//! Nothing is kept on the disk: with the process, the calls that the document speaks of are gone.

use std::collections::BTreeMap;

use tokio::sync::mpsc;

use super::teller::{Finding, Snapshot};
use super::{CasOutcome, Current, Order, Presence, Stored};

/// Answers orders until the owner is gone. It is never away.
pub(super) async fn serve(
    revision: u64,
    presence: Option<Presence>,
    mut orders: mpsc::Receiver<Order>,
    findings: mpsc::Sender<Finding>,
) {
    let mut current = Current { store_revision: revision.max(1), stored: None };
    let present: BTreeMap<_, _> = presence.into_iter().map(|one| (one.id, one.bytes)).collect();
    let mut finding = Finding::Polled(Snapshot { document: current.clone(), present });
    while findings.send(finding).await.is_ok() {
        let Some(order) = orders.recv().await else { return };
        finding = match order {
            Order::Read { ask } => Finding::Read { ask, read: Some(current.clone()) },
            Order::CompareAndSet { ask, expected, bytes } => {
                let found = current.stored.as_ref().map_or(0, |stored| stored.revision);
                let outcome = if found == expected {
                    let revision = current.store_revision + 1;
                    let stored = Some(Stored { revision, bytes: bytes.clone() });
                    current = Current { store_revision: revision, stored };
                    CasOutcome::Written { revision }
                } else {
                    CasOutcome::Lost(current.clone())
                };
                Finding::Cas { ask, outcome, bytes }
            }
        };
    }
}
