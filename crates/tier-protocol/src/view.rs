//! Who serves what: the view of a partition, the seats of replicas, and the map of a whole site.
//!
//! A view changes only under a new number, by compare-and-set of the site's map in a coordination
//! store. The map is one document, so that a change of two partitions (slots that move) is one
//! change.

use std::fmt;

use bytes::{Bytes, BytesMut};
use prost::Message;
use vocab::{PartitionId, ReplicaId, SLOTS, Slot, ViewNumber};

use crate::error::DecodeError;
use crate::wire;

const WORDS: usize = SLOTS as usize / 64;

/// A set of hash slots.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SlotSet([u64; WORDS]);

impl SlotSet {
    /// No slot.
    pub const NONE: Self = Self([0; WORDS]);
    /// Every slot of a site.
    pub const ALL: Self = Self([u64::MAX; WORDS]);

    /// The share of partition `index` of `count`, when slots are dealt in equal runs.
    #[must_use]
    pub fn share(index: u16, count: u16) -> Self {
        let (index, count) = (u32::from(index), u32::from(count.max(1)));
        let bound = |index: u32| u16::try_from(index * u32::from(SLOTS) / count).unwrap_or(SLOTS);
        let mut set = Self::NONE;
        (bound(index)..bound(index + 1)).for_each(|slot| set.insert(Slot(slot)));
        set
    }

    /// Adds a slot.
    pub fn insert(&mut self, slot: Slot) {
        let slot = usize::from(slot.0 % SLOTS);
        self.0[slot / 64] |= 1 << (slot % 64);
    }

    /// Whether the slot is in the set.
    #[must_use]
    pub fn contains(&self, slot: Slot) -> bool {
        let slot = usize::from(slot.0 % SLOTS);
        self.0[slot / 64] & 1 << (slot % 64) != 0
    }

    /// How many slots are in the set.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Whether no slot is in the set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::NONE
    }

    /// The slots of this set that are not in `other`.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        let mut set = *self;
        set.0.iter_mut().zip(other.0).for_each(|(word, other)| *word &= !other);
        set
    }

    /// The slots, rising.
    pub fn iter(&self) -> impl Iterator<Item = Slot> + '_ {
        (0..SLOTS).map(Slot).filter(|slot| self.contains(*slot))
    }

    /// The upper half of the slots: what a partition that is divided gives away.
    #[must_use]
    pub fn upper_half(&self) -> Self {
        let mut set = Self::NONE;
        self.iter().skip(self.len().div_ceil(2)).for_each(|slot| set.insert(slot));
        set
    }

    pub(crate) fn to_bytes(self) -> Bytes {
        self.0.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() != WORDS * 8 {
            let value = bytes.len() as u64;
            return Err(DecodeError::OutOfRange { what: "length of a slot set", value });
        }
        let mut set = Self::NONE;
        for (word, chunk) in set.0.iter_mut().zip(bytes.chunks_exact(8)) {
            *word = chunk.iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
        }
        Ok(set)
    }
}

impl fmt::Debug for SlotSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Runs of slots, as `0-511` or `0-255,512-767`.
impl fmt::Display for SlotSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut runs: Vec<(u16, u16)> = Vec::new();
        for Slot(slot) in self.iter() {
            match runs.last_mut() {
                Some((_, end)) if *end + 1 == slot => *end = slot,
                Some(_) | None => runs.push((slot, slot)),
            }
        }
        if runs.is_empty() {
            return f.write_str("none");
        }
        for (index, (first, last)) in runs.into_iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            write!(f, "{comma}{first}-{last}")?;
        }
        Ok(())
    }
}

/// One partition's members in order of joining; the first is the primary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionView {
    /// The partition.
    pub partition: PartitionId,
    /// Grows with each change.
    pub number: ViewNumber,
    /// The view in which the present primary became primary, of these slots. A lock that was
    /// granted in an earlier view is void: a put under it is refused.
    pub led_since: ViewNumber,
    /// Complete members, oldest first.
    pub members: Vec<ReplicaId>,
    /// Members that are being copied to: they take puts, and do not count yet.
    pub joining: Vec<ReplicaId>,
    /// The slots that the partition owns.
    pub slots: SlotSet,
    /// Which of the site's lives the partition began in: 0 for the first, and one more than any
    /// before whenever a partition of the site begins anew, without calls.
    pub life: u64,
}

impl PartitionView {
    /// The view of a partition that one replica serves, and always will.
    #[must_use]
    pub fn alone(partition: PartitionId, number: ViewNumber, replica: ReplicaId) -> Self {
        let (members, joining) = (vec![replica], Vec::new());
        let slots = SlotSet::ALL;
        Self { partition, number, led_since: number, members, joining, slots, life: 0 }
    }

    /// The member that answers reads and keeps the locks.
    #[must_use]
    pub fn primary(&self) -> Option<ReplicaId> {
        self.members.first().copied()
    }

    /// Everybody who takes puts: members, then joiners.
    pub fn everybody(&self) -> impl Iterator<Item = ReplicaId> + '_ {
        self.members.iter().chain(&self.joining).copied()
    }

    /// Those that confirm what the primary says: all that take puts beside it. A joiner may be a
    /// member, and the primary none, in a view of which the primary has not heard.
    pub fn witnesses(&self) -> impl Iterator<Item = ReplicaId> + '_ {
        let primary = self.primary();
        self.everybody().filter(move |replica| Some(*replica) != primary)
    }

    /// The complete members beside the primary.
    #[must_use]
    pub fn others(&self) -> &[ReplicaId] {
        self.members.get(1..).unwrap_or_default()
    }

    /// Whether the replica is a member or joins.
    #[must_use]
    pub fn names(&self, replica: ReplicaId) -> bool {
        self.everybody().any(|other| other == replica)
    }
}

/// Where a replica is reached, and for which partition it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seat {
    /// The replica: one life of one process.
    pub replica: ReplicaId,
    /// The partition that it serves, or waits to serve.
    pub partition: PartitionId,
    /// Its name, for people; a process keeps it when it starts again.
    pub name: String,
    /// `host:port` at which engines and other replicas reach it.
    pub address: String,
    /// Among how many partitions its process would deal the slots; 0 where it does not say.
    pub partitions: u16,
    /// How many members a full view has, as its process was told; 0 where it does not say.
    pub replicas: u16,
}

/// Slots that are to move: the replicas of `to` join `from`, and take the slots with them when all
/// of them are complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotMove {
    /// The partition that owns the slots until then.
    pub from: PartitionId,
    /// The partition that is to own them; it owns none before.
    pub to: PartitionId,
    /// What moves.
    pub slots: SlotSet,
    /// Replicas of `to` that take part; the move waits until so many are complete.
    pub replicas: u16,
}

/// Everything that the coordination store keeps of a site.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SiteMap {
    /// The highest view number ever given.
    pub last: ViewNumber,
    /// Views, by rising partition.
    pub partitions: Vec<PartitionView>,
    /// Replicas that are named in a view, and those that wait to be.
    pub seats: Vec<Seat>,
    /// Slots on the move.
    pub moves: Vec<SlotMove>,
    /// The newest life of which other sites have said all that they hold for this one.
    pub settled: u64,
}

/// Version of the map's encoding.
const MAP_VERSION: u32 = 1;

impl SiteMap {
    /// The view of a partition.
    #[must_use]
    pub fn view(&self, partition: PartitionId) -> Option<&PartitionView> {
        self.partitions.iter().find(|view| view.partition == partition)
    }

    /// The view of a partition, to be changed.
    pub fn view_mut(&mut self, partition: PartitionId) -> Option<&mut PartitionView> {
        self.partitions.iter_mut().find(|view| view.partition == partition)
    }

    /// The replica whose process keeps the site's gate: the first primary.
    #[must_use]
    pub fn gatekeeper(&self) -> Option<ReplicaId> {
        self.partitions.iter().find_map(PartitionView::primary)
    }

    /// The newest of the site's lives; see [`PartitionView::life`].
    #[must_use]
    pub fn life(&self) -> u64 {
        self.partitions.iter().map(|view| view.life).max().unwrap_or_default()
    }

    /// The newest view that it has, or had: it grows whenever another replica becomes primary.
    #[must_use]
    pub fn newest_view(&self) -> ViewNumber {
        let views = self.partitions.iter().map(|view| view.number);
        views.max().unwrap_or_default().max(self.last)
    }

    /// The seat of a replica.
    #[must_use]
    pub fn seat(&self, replica: ReplicaId) -> Option<&Seat> {
        self.seats.iter().find(|seat| seat.replica == replica)
    }

    /// Whether the replica is in a view.
    #[must_use]
    pub fn names(&self, replica: ReplicaId) -> bool {
        self.partitions.iter().any(|view| view.names(replica))
    }

    /// The map as the coordination store keeps it.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        let message = wire::view::SiteMap::new(self, MAP_VERSION);
        message.encode(&mut out).expect("BytesMut grows as needed");
        out.freeze()
    }

    /// Reads what `encode` wrote.
    ///
    /// # Errors
    /// When the bytes are no map, or one of a later build.
    pub fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        wire::view::SiteMap::decode(bytes)?.read(MAP_VERSION)
    }
}

#[cfg(test)]
mod tests;
