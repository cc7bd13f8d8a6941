//! Batches that the youngest member builds, on the primary's word.
//!
//! The primary alone decides what goes: it knows the locks, the marks and what is in doubt. With
//! `Sender::Youngest` it leaves the reading, the compression and the way to the gate to the
//! member that joined last, which works for nobody else.
//!
//! ```text
//! primary                         youngest                     gate, other site
//!   Ship{batch, keys, stamps} ─────► what is held of just
//!                                    these stamps ─────────────► Publish
//!   Shipped{batch, missing} ◄────────
//!   BatchStored ◄───────────────────────────────────────────────
//! ```
//!
//! A stamp that the primary found unlocked is safe to send wherever it is held: every member has
//! it, and its effects have left. What is held of another stamp is not sent: it may be in doubt.
//! An acknowledgement counts once it is known what was in the batch. A youngest that is silent, or
//! lacks what it is asked for, costs a delay: the primary builds the batches itself for a while.

use std::time::Duration;

use tier_protocol::batch::Entry;
use tier_protocol::{PeerWord, Tombstone};
use vocab::{CallKey, Instant, ReplicaId, SiteId, Stamp};

use crate::Replica;
use crate::config::Sender;
use crate::outbound::Stage;

/// The youngest says so soon what it has sent.
pub(crate) const SHIPPED_WITHIN: Duration = Duration::from_secs(1);
/// One that was silent is not asked for so long.
pub(crate) const SHIPPER_PAUSE: Duration = Duration::from_secs(30);
/// The same of one that lacked something: a comparison mends it, or the next word does.
const LACKING_PAUSE: Duration = Duration::from_secs(1);

impl Replica {
    /// The other member that is to build the next batch, if any is.
    pub(crate) fn shipper(&self, now: Instant) -> Option<ReplicaId> {
        let shared = self.config.shared.as_ref()?;
        let may_ask = shared.sender == Sender::Youngest && self.ships_again_at <= now;
        let youngest = self.config.view.members.last().copied().filter(|_| may_ask)?;
        (youngest != self.config.replica && self.hears(now, youngest)).then_some(youngest)
    }

    pub(crate) fn ship(&mut self, to: ReplicaId, site: SiteId, id: u64, entries: &[Entry]) {
        let (mut calls, mut removals) = (Vec::new(), Vec::new());
        for entry in entries {
            match entry {
                Entry::Record(record) => calls.push((record.header.key, record.header.stamp)),
                Entry::Tombstone(Tombstone { key, stamp }) => removals.push((*key, *stamp)),
            }
        }
        let view = self.config.view.number;
        self.tell_peer(to, PeerWord::Ship { view, site, id, calls, removals });
    }

    /// The primary has this member send a batch.
    pub(crate) fn ship_asked(
        &mut self,
        now: Instant,
        primary: ReplicaId,
        (site, id): (SiteId, u64),
        calls: &[(CallKey, Stamp)],
        removals: &[(CallKey, Stamp)],
    ) {
        let (mut entries, mut missing) = (Vec::new(), Vec::new());
        for (key, stamp) in calls {
            let call = self.store.get(*key).filter(|call| !call.is_stub && !call.is_set_aside());
            let held = call.and_then(|call| Some((call, call.record.as_ref()?)));
            match held.filter(|(_, record)| record.header.stamp == *stamp) {
                Some((call, record)) => {
                    entries.push(Entry::Record(self.outgoing(record, call, now)));
                }
                None => missing.push(*key),
            }
        }
        for (key, stamp) in removals {
            entries.push(Entry::Tombstone(Tombstone { key: *key, stamp: *stamp }));
        }
        let (bytes, raw_bytes) = match entries.is_empty() {
            true => (0, 0),
            false => self.publish(site, id, &entries),
        };
        self.counts.shipped += u64::from(bytes > 0);
        let view = self.config.view.number;
        let word = PeerWord::Shipped { view, site, id, missing, bytes, raw_bytes };
        self.tell_peer(primary, word);
    }

    /// The youngest has sent what it had of a batch.
    pub(crate) fn shipped(
        &mut self,
        now: Instant,
        from: ReplicaId,
        (site, id): (SiteId, u64),
        missing: &[CallKey],
        (bytes, raw_bytes): (u64, u64),
    ) {
        let ack_wait = self.config.pace.batch_ack_wait;
        let outbound = self.outbound_mut(site);
        let Some(flight) = outbound.flights.get_mut(&id) else { return };
        let Some(shipping) = flight.shipping.take_if(|it| it.shipper == from) else { return };
        flight.due_at = flight.sent_at + ack_wait;
        if !missing.is_empty() {
            flight.entries.retain(|(key, _)| !missing.contains(key));
            // It is not known whose they are.
            flight.boundaries.clear();
            for key in missing {
                if outbound.is_in_flight(*key, id) {
                    outbound.set_stage(*key, Stage::Ready { at: now, bytes: 0 });
                }
            }
            self.ships_again_at = self.ships_again_at.max(now + LACKING_PAUSE);
        }
        self.outbound_mut(site).note_bytes(bytes, raw_bytes);
        if bytes == 0 {
            self.outbound_mut(site).flights.remove(&id);
        } else if shipping.is_stored {
            self.batch_stored(now, site, id);
        }
    }
}
