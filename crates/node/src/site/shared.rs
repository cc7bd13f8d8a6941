//! What a state process among several has beside its replica: links to the others, and the way to
//! the coordination store.

use replica::{StoreAsk, StoreWord};
use tier_protocol::SiteMap;
use vocab::ReplicaId;

use super::peers::Peers;
use crate::clock;
use crate::coordination::{CasOutcome, Coordination, Current, Order, ReadOutcome, Told};

/// Links and store of one state process among several.
pub(crate) struct Shared {
    pub(crate) peers: Peers,
    coordination: Coordination,
    asks: u64,
    /// The store does not answer, as the store's own watch sees it.
    is_away: bool,
}

impl Shared {
    pub(crate) fn new(peers: Peers, coordination: Coordination) -> Self {
        Self { peers, coordination, asks: 0, is_away: false }
    }

    pub(crate) fn into_coordination(self) -> Coordination {
        self.coordination
    }

    /// Whether the store is away: found out without anything to ask, as no view changes for hours.
    pub(crate) fn is_away(&self) -> bool {
        self.is_away
    }

    /// Carries an ask to the store; the answer when it cannot be carried.
    pub(crate) fn ask(&mut self, ask: StoreAsk) -> Option<StoreWord> {
        self.asks += 1;
        let order = match ask {
            StoreAsk::Read => Order::Read { ask: self.asks },
            StoreAsk::CompareAndSet { expected, map } => {
                Order::CompareAndSet { ask: self.asks, expected, bytes: map.encode() }
            }
        };
        let refused = self.coordination.order(order).is_err();
        refused.then_some(StoreWord::Away { may_have_happened: false })
    }

    /// What the store told, in the replica's words.
    pub(crate) fn told(&mut self, told: Told) -> Vec<StoreWord> {
        match told {
            Told::Document(current) => map(current, false).into_iter().collect(),
            Told::ReadAnswer { ask, outcome } if ask == self.asks => match outcome {
                ReadOutcome::Current(current) => {
                    let word = map(current, true);
                    vec![word.unwrap_or(StoreWord::Away { may_have_happened: false })]
                }
                ReadOutcome::Away => vec![StoreWord::Away { may_have_happened: false }],
            },
            Told::CasAnswer { ask, outcome } if ask == self.asks => match outcome {
                CasOutcome::Written { revision } => vec![StoreWord::Written { revision }],
                CasOutcome::Lost(current) => {
                    map(current, false).into_iter().chain([StoreWord::Lost]).collect()
                }
                CasOutcome::Away { may_have_happened } => {
                    vec![StoreWord::Away { may_have_happened }]
                }
            },
            Told::ReadAnswer { .. } | Told::CasAnswer { .. } => Vec::new(),
            Told::Present(ids) => {
                tracing::debug!(count = ids.len(), "state processes are present");
                Vec::new()
            }
            // Both are logged where they are found out. The replica finds out when it asks.
            Told::Away { why: _ } => {
                self.is_away = true;
                Vec::new()
            }
            Told::Back => {
                self.is_away = false;
                Vec::new()
            }
        }
    }
}

/// `None` for a map that this build cannot read: then nothing may be proposed either.
fn map(current: Current, is_answer: bool) -> Option<StoreWord> {
    let Current { store_revision, stored } = current;
    let Some(stored) = stored else {
        let map = SiteMap::default();
        return Some(StoreWord::Map { is_answer, revision: 0, store_revision, map });
    };
    match SiteMap::decode(stored.bytes) {
        Ok(map) => {
            let revision = stored.revision;
            Some(StoreWord::Map { is_answer, revision, store_revision, map })
        }
        Err(error) => {
            tracing::error!(%error, "the site's map in the coordination store cannot be read");
            None
        }
    }
}

/// Unique among all lives of all replicas of the site: the moment and the process id.
pub(crate) fn new_replica_id() -> ReplicaId {
    ReplicaId(clock::wall_time().0 << 16 | u64::from(std::process::id()) & 0xffff)
}
