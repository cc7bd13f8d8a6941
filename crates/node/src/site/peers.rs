//! The links between the replicas of a site: each dials every other and sends on what it dialled.
//!
//! A dial that is refused, or answered by another life of the process, tells that the replica is
//! gone; the core decides what follows.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use replica::PeerNews;
use tier_protocol::frame::TierFrame;
use tier_protocol::{PROTOCOL_VERSION, PeerWord, Seat};
use vocab::{PartitionId, ReplicaId};

use crate::link::{Dialling, LinkId, LinkWord, Links, Outbox};

/// Who this process is among the replicas.
#[derive(Clone, Debug)]
pub(crate) struct Myself {
    pub(crate) replica: ReplicaId,
    pub(crate) partition: PartitionId,
    pub(crate) name: String,
}

impl Myself {
    pub(crate) fn hello(&self) -> TierFrame {
        TierFrame::Replica {
            replica: self.replica,
            partition: self.partition,
            name: self.name.clone(),
            version: PROTOCOL_VERSION,
        }
    }
}

struct Peer {
    address: String,
    _dialling: Option<Dialling>,
    outbox: Option<Outbox>,
    /// It said that it is who was dialled.
    is_up: bool,
}

/// The links that this process dialled to other replicas.
pub(crate) struct Peers {
    links: Links,
    myself: Myself,
    peers: BTreeMap<ReplicaId, Peer>,
}

impl Peers {
    pub(crate) fn new(links: Links, myself: Myself) -> Self {
        Self { links, myself, peers: BTreeMap::new() }
    }

    pub(crate) fn myself(&self) -> &Myself {
        &self.myself
    }

    /// This process goes on as another replica: every link is made anew.
    pub(crate) fn begin_again(&mut self, replica: ReplicaId) {
        self.myself.replica = replica;
        self.peers.clear();
    }

    /// Dials who is new on the site's map, and nobody who has left it.
    pub(crate) fn note_seats(&mut self, seats: &[Seat]) {
        let is_seated = |replica: &ReplicaId, peer: &Peer| {
            seats.iter().any(|seat| seat.replica == *replica && seat.address == peer.address)
        };
        self.peers.retain(|replica, peer| is_seated(replica, peer));
        for seat in seats {
            if seat.replica == self.myself.replica || self.peers.contains_key(&seat.replica) {
                continue;
            }
            let link = LinkId::Peer(seat.replica);
            let dialling = match seat.address.parse::<SocketAddr>() {
                Ok(address) => Some(self.links.dial::<TierFrame>(address, link)),
                Err(_) => {
                    tracing::warn!(address = seat.address, "a replica names no address");
                    None
                }
            };
            let address = seat.address.clone();
            let peer = Peer { address, _dialling: dialling, outbox: None, is_up: false };
            self.peers.insert(seat.replica, peer);
        }
    }

    /// Takes a word of a link that was dialled.
    pub(crate) fn take(
        &mut self,
        replica: ReplicaId,
        word: LinkWord<TierFrame>,
    ) -> Option<PeerNews> {
        let peer = self.peers.get_mut(&replica)?;
        match word {
            LinkWord::Up(mut outbox) => {
                self.myself.hello().encode_into(outbox.buffer());
                peer.outbox = Some(outbox);
                None
            }
            LinkWord::Frame(TierFrame::Replica { replica: other, version, .. }) => {
                if other == replica && version == PROTOCOL_VERSION {
                    peer.is_up = true;
                    return Some(PeerNews::Up);
                }
                peer.outbox = None;
                Some(PeerNews::Gone { is_replaced: other != replica })
            }
            LinkWord::Frame(_) => {
                tracing::warn!(%replica, "a replica speaks on a link that others dialled");
                self.lose(replica)
            }
            LinkWord::Writable => {
                if let Some(outbox) = &mut peer.outbox {
                    outbox.note_writable();
                }
                None
            }
            LinkWord::Down => self.lose(replica),
            LinkWord::Refused => Some(PeerNews::Gone { is_replaced: false }),
        }
    }

    fn lose(&mut self, replica: ReplicaId) -> Option<PeerNews> {
        let peer = self.peers.get_mut(&replica)?;
        peer.outbox = None;
        std::mem::take(&mut peer.is_up).then_some(PeerNews::Down)
    }

    pub(crate) fn tell(&mut self, replica: ReplicaId, word: PeerWord) {
        self.send(replica, &TierFrame::Peer(word));
    }

    /// Sends a frame to the process of a replica; nothing while it cannot be reached.
    pub(crate) fn send(&mut self, replica: ReplicaId, frame: &TierFrame) {
        let peer = self.peers.get_mut(&replica).filter(|peer| peer.is_up);
        if let Some(outbox) = peer.and_then(|peer| peer.outbox.as_mut()) {
            frame.encode_into(outbox.buffer());
        }
    }

    /// Sends a frame to the processes of all other replicas.
    pub(crate) fn send_all(&mut self, frame: &TierFrame) {
        for peer in self.peers.values_mut().filter(|peer| peer.is_up) {
            if let Some(outbox) = peer.outbox.as_mut() {
                frame.encode_into(outbox.buffer());
            }
        }
    }

    /// Writes what waits; the replicas whose links broke over it.
    pub(crate) fn flush(&mut self) -> Vec<(ReplicaId, PeerNews)> {
        let mut broken = Vec::new();
        for (replica, peer) in &mut self.peers {
            if peer.outbox.as_mut().is_some_and(|outbox| outbox.flush().is_err()) {
                broken.push(*replica);
            }
        }
        let lost = broken.into_iter().filter_map(|replica| Some((replica, self.lose(replica)?)));
        lost.collect()
    }
}
