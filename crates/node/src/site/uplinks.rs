//! An engine's links to the state processes of its site, where those are other processes.
//!
//! Each configured address is dialled, and each that the state tier names. A link counts once its
//! replica has said who it is. One that is silent for a second is given up, whatever its socket
//! says: the process at its other end may stand still. Who serves what is not decided here.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use tier_protocol::frame::TierFrame;
use tier_protocol::{PROTOCOL_VERSION, PartitionView, Seat, dictionary};
use vocab::{EngineId, Instant, PartitionId, ReplicaId};

use crate::link::{Dialling, LinkId, LinkWord, Links, Outbox};

/// Time between two signs of life.
const PING_EVERY: Duration = Duration::from_millis(250);
/// A link on which nothing came for so long is given up.
const SILENT_AFTER: Duration = Duration::from_secs(1);
/// Addresses that are dialled, configured ones and those that the state tier names.
const ADDRESSES_MAX: usize = 256;

/// What a link's word means for the engine.
#[expect(clippy::large_enum_variant, reason = "moved once, and most are the large one")]
pub(crate) enum News {
    /// A replica can be reached.
    Up(ReplicaId),
    /// A replica cannot be reached.
    Down(ReplicaId),
    /// A replica says something.
    Said(ReplicaId, TierFrame),
}

struct Uplink {
    outbox: Outbox,
    /// Known once it said who it is.
    replica: Option<ReplicaId>,
    heard_at: Instant,
    /// Where replicas are, as it last told.
    seats: BTreeSet<SocketAddr>,
}

/// All links of one engine process to its state tier.
pub(crate) struct Uplinks {
    links: Links,
    engine: EngineId,
    name: String,
    /// Those that are dialled whatever the map says.
    configured: BTreeSet<SocketAddr>,
    dialled: BTreeMap<SocketAddr, (u64, Dialling)>,
    up: BTreeMap<u64, Uplink>,
    by_replica: BTreeMap<ReplicaId, u64>,
    pinged_at: Instant,
    numbers: u64,
    /// The newest view of each partition, as far as it has a member.
    views: BTreeMap<PartitionId, PartitionView>,
}

impl Uplinks {
    pub(crate) fn new(
        now: Instant,
        links: Links,
        engine: EngineId,
        name: String,
        addresses: &[SocketAddr],
    ) -> Self {
        let mut uplinks = Self {
            links,
            engine,
            name,
            configured: addresses.iter().copied().collect(),
            dialled: BTreeMap::new(),
            up: BTreeMap::new(),
            by_replica: BTreeMap::new(),
            pinged_at: now,
            numbers: 0,
            views: BTreeMap::new(),
        };
        addresses.iter().for_each(|address| uplinks.dial(*address));
        uplinks
    }

    fn dial(&mut self, address: SocketAddr) {
        if self.dialled.contains_key(&address) || self.dialled.len() >= ADDRESSES_MAX {
            return;
        }
        self.numbers += 1;
        let dialling = self.links.dial::<TierFrame>(address, LinkId::State(self.numbers));
        self.dialled.insert(address, (self.numbers, dialling));
    }

    /// Dials the replicas that one of them names, and gives up the addresses that none names any
    /// more. One of them may know an older map than the others do.
    pub(crate) fn note_seats(&mut self, from: ReplicaId, seats: &[Seat]) -> Vec<News> {
        let mut named = BTreeSet::new();
        for seat in seats {
            match seat.address.parse() {
                Ok(address) => {
                    named.insert(address);
                }
                Err(_) => tracing::warn!(address = seat.address, "a replica names no address"),
            }
        }
        let link = self.by_replica.get(&from).and_then(|link| self.up.get_mut(link));
        if let Some(uplink) = link {
            uplink.seats.clone_from(&named);
        }
        let is_named = |address: &SocketAddr| {
            self.configured.contains(address)
                || named.contains(address)
                || self.up.values().any(|uplink| uplink.seats.contains(address))
        };
        let all = self.dialled.keys().copied();
        let left: Vec<SocketAddr> = all.filter(|address| !is_named(address)).collect();
        let lost = left.into_iter().filter_map(|address| self.forget(address)).collect();
        named.into_iter().for_each(|address| self.dial(address));
        lost
    }

    fn forget(&mut self, address: SocketAddr) -> Option<News> {
        let (link, dialling) = self.dialled.remove(&address)?;
        drop(dialling);
        self.lose(link)
    }

    /// Whether a replica can be reached at all.
    pub(crate) fn any_up(&self) -> bool {
        !self.by_replica.is_empty()
    }

    /// Takes a word of a link.
    pub(crate) fn take(
        &mut self,
        now: Instant,
        link: u64,
        word: LinkWord<TierFrame>,
    ) -> Option<News> {
        match word {
            LinkWord::Up(mut outbox) => {
                let (role, name) = (self.engine, self.name.clone());
                let (version, dictionary) = (PROTOCOL_VERSION, dictionary::NEWEST);
                let hello = TierFrame::Hello { role, name, version, dictionary };
                hello.encode_into(outbox.buffer());
                // A link that stood up just as its address was given up is one too many.
                if self.dialled.values().any(|(number, _)| *number == link) {
                    let (replica, seats) = (None, BTreeSet::new());
                    self.up.insert(link, Uplink { outbox, replica, heard_at: now, seats });
                }
                None
            }
            LinkWord::Frame(frame) => self.take_frame(now, link, frame),
            LinkWord::Writable => {
                if let Some(uplink) = self.up.get_mut(&link) {
                    uplink.outbox.note_writable();
                }
                None
            }
            LinkWord::Down => self.lose(link),
            LinkWord::Refused => None,
        }
    }

    fn take_frame(&mut self, now: Instant, link: u64, frame: TierFrame) -> Option<News> {
        let uplink = self.up.get_mut(&link)?;
        uplink.heard_at = now;
        match (uplink.replica, frame) {
            (None, TierFrame::Replica { replica, version, name, .. })
                if version == PROTOCOL_VERSION =>
            {
                uplink.replica = Some(replica);
                self.by_replica.insert(replica, link);
                tracing::info!(%replica, name, "linked to the state tier");
                Some(News::Up(replica))
            }
            (None, TierFrame::Replica { version, .. }) => {
                tracing::warn!(version, "the state tier speaks another version of the protocol");
                self.lose(link)
            }
            (Some(_), TierFrame::Pong) => None,
            (Some(replica), frame) => Some(News::Said(replica, frame)),
            (None, _) => {
                tracing::warn!("the state tier sent a word before it said who it is");
                self.lose(link)
            }
        }
    }

    fn lose(&mut self, link: u64) -> Option<News> {
        let replica = self.up.remove(&link)?.replica?;
        if self.by_replica.get(&replica) == Some(&link) {
            self.by_replica.remove(&replica);
        }
        tracing::warn!(%replica, "the link to a replica is lost");
        Some(News::Down(replica))
    }

    /// Says something to one replica; nothing while it cannot be reached.
    pub(crate) fn tell(&mut self, replica: ReplicaId, frame: &TierFrame) {
        let link = self.by_replica.get(&replica).and_then(|link| self.up.get_mut(link));
        if let Some(uplink) = link {
            frame.encode_into(uplink.outbox.buffer());
        }
    }

    /// A replica tells who serves a partition.
    pub(crate) fn note_view(&mut self, view: &PartitionView) {
        let known = self.views.get(&view.partition).map(|known| known.number);
        if known < Some(view.number) {
            self.views.insert(view.partition, view.clone());
        }
    }

    /// The replica whose process keeps the site's gate, as on the site's map.
    pub(crate) fn gatekeeper(&self) -> Option<ReplicaId> {
        self.views.values().find_map(PartitionView::primary)
    }

    /// Says something to the site's gate.
    pub(crate) fn tell_gate(&mut self, frame: &TierFrame) {
        if let Some(replica) = self.gatekeeper() {
            self.tell(replica, frame);
        }
    }

    /// Asks for signs of life, and gives up the links that show none.
    pub(crate) fn ping(&mut self, now: Instant) -> Vec<News> {
        let passed = now.since(self.pinged_at);
        if passed < PING_EVERY {
            return Vec::new();
        }
        self.pinged_at = now;
        // This process stood still itself: what it should have heard may still lie in its sockets.
        let stood_still = passed > 3 * PING_EVERY;
        let mut silent = Vec::new();
        for (link, uplink) in &mut self.up {
            if stood_still {
                uplink.heard_at = now;
            }
            if now.since(uplink.heard_at) >= SILENT_AFTER {
                silent.push(*link);
            } else if uplink.replica.is_some() {
                TierFrame::Ping.encode_into(uplink.outbox.buffer());
            }
        }
        silent.into_iter().filter_map(|link| self.lose(link)).collect()
    }

    pub(crate) fn wake_at(&self) -> Instant {
        self.pinged_at + PING_EVERY
    }

    /// Writes what waits.
    pub(crate) fn flush(&mut self) -> Vec<News> {
        let flushed = self.up.iter_mut().map(|(link, up)| (*link, up.outbox.flush().is_err()));
        let broken: Vec<u64> =
            flushed.filter(|(_, broken)| *broken).map(|(link, _)| link).collect();
        broken.into_iter().filter_map(|link| self.lose(link)).collect()
    }
}

#[cfg(test)]
mod tests;
