//! Views, seats and maps of a site, and the first words of a tier link.

use bytes::Bytes;
use vocab::{ReplicaId, ViewNumber};

use super::word;
use crate::error::DecodeError;
use crate::view::{self, SlotSet};

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct View {
    #[prost(uint32, tag = "1")]
    partition: u32,
    #[prost(uint64, tag = "2")]
    number: u64,
    #[prost(uint64, repeated, tag = "3")]
    members: Vec<u64>,
    #[prost(uint64, repeated, tag = "4")]
    joining: Vec<u64>,
    #[prost(uint64, tag = "5")]
    led_since: u64,
    /// Absent for all slots.
    #[prost(bytes = "bytes", optional, tag = "6")]
    slots: Option<Bytes>,
    #[prost(uint64, tag = "7")]
    life: u64,
}

impl From<&view::PartitionView> for View {
    fn from(view: &view::PartitionView) -> Self {
        Self {
            partition: u32::from(view.partition.0),
            number: view.number.0,
            members: view.members.iter().map(|member| member.0).collect(),
            joining: view.joining.iter().map(|member| member.0).collect(),
            led_since: view.led_since.0,
            slots: (view.slots != SlotSet::ALL).then(|| view.slots.to_bytes()),
            life: view.life,
        }
    }
}

impl TryFrom<View> for view::PartitionView {
    type Error = DecodeError;

    fn try_from(wire: View) -> Result<Self, DecodeError> {
        let slots = wire.slots.map(|bytes| SlotSet::from_bytes(&bytes)).transpose()?;
        Ok(Self {
            partition: word::partition(wire.partition)?,
            number: ViewNumber(wire.number),
            led_since: ViewNumber(wire.led_since),
            members: wire.members.into_iter().map(ReplicaId).collect(),
            joining: wire.joining.into_iter().map(ReplicaId).collect(),
            slots: slots.unwrap_or(SlotSet::ALL),
            life: wire.life,
        })
    }
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Seat {
    #[prost(uint64, tag = "1")]
    replica: u64,
    #[prost(uint32, tag = "2")]
    partition: u32,
    #[prost(string, tag = "3")]
    name: String,
    #[prost(string, tag = "4")]
    address: String,
    #[prost(uint32, tag = "5")]
    partitions: u32,
    #[prost(uint32, tag = "6")]
    replicas: u32,
}

impl From<&view::Seat> for Seat {
    fn from(seat: &view::Seat) -> Self {
        Self {
            replica: seat.replica.0,
            partition: u32::from(seat.partition.0),
            name: seat.name.clone(),
            address: seat.address.clone(),
            partitions: u32::from(seat.partitions),
            replicas: u32::from(seat.replicas),
        }
    }
}

impl TryFrom<Seat> for view::Seat {
    type Error = DecodeError;

    fn try_from(wire: Seat) -> Result<Self, DecodeError> {
        Ok(Self {
            replica: ReplicaId(wire.replica),
            partition: word::partition(wire.partition)?,
            name: wire.name,
            address: wire.address,
            partitions: word::small(wire.partitions, "partitions of a seat")?,
            replicas: word::small(wire.replicas, "replicas of a seat")?,
        })
    }
}

/// The seats of a site, as engines are told them.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Seats {
    #[prost(message, repeated, tag = "1")]
    pub(crate) seats: Vec<Seat>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct SlotMove {
    #[prost(uint32, tag = "1")]
    from: u32,
    #[prost(uint32, tag = "2")]
    to: u32,
    #[prost(bytes = "bytes", tag = "3")]
    slots: Bytes,
    #[prost(uint32, tag = "4")]
    replicas: u32,
}

impl From<&view::SlotMove> for SlotMove {
    fn from(of: &view::SlotMove) -> Self {
        Self {
            from: u32::from(of.from.0),
            to: u32::from(of.to.0),
            slots: of.slots.to_bytes(),
            replicas: u32::from(of.replicas),
        }
    }
}

impl TryFrom<SlotMove> for view::SlotMove {
    type Error = DecodeError;

    fn try_from(wire: SlotMove) -> Result<Self, DecodeError> {
        Ok(Self {
            from: word::partition(wire.from)?,
            to: word::partition(wire.to)?,
            slots: SlotSet::from_bytes(&wire.slots)?,
            replicas: word::small(wire.replicas, "replicas of a move")?,
        })
    }
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct SiteMap {
    #[prost(uint32, tag = "1")]
    version: u32,
    #[prost(uint64, tag = "2")]
    last: u64,
    #[prost(message, repeated, tag = "3")]
    partitions: Vec<View>,
    #[prost(message, repeated, tag = "4")]
    seats: Vec<Seat>,
    #[prost(message, repeated, tag = "5")]
    moves: Vec<SlotMove>,
    #[prost(uint64, tag = "6")]
    settled: u64,
}

impl SiteMap {
    pub(crate) fn new(map: &view::SiteMap, version: u32) -> Self {
        Self {
            version,
            last: map.last.0,
            partitions: map.partitions.iter().map(View::from).collect(),
            seats: map.seats.iter().map(Seat::from).collect(),
            moves: map.moves.iter().map(SlotMove::from).collect(),
            settled: map.settled,
        }
    }

    pub(crate) fn read(self, version: u32) -> Result<view::SiteMap, DecodeError> {
        if self.version != version {
            let what = "version of the site's map";
            return Err(DecodeError::Unknown { what, value: self.version });
        }
        Ok(view::SiteMap {
            last: ViewNumber(self.last),
            partitions: word::all(self.partitions)?,
            seats: word::all(self.seats)?,
            moves: word::all(self.moves)?,
            settled: self.settled,
        })
    }
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Hello {
    #[prost(uint64, tag = "1")]
    pub(crate) role: u64,
    #[prost(string, tag = "2")]
    pub(crate) name: String,
    #[prost(uint32, tag = "3")]
    pub(crate) version: u32,
    /// The partition of a replica that says hello.
    #[prost(uint32, optional, tag = "4")]
    pub(crate) partition: Option<u32>,
    /// Of an engine; absent from what one of before dictionaries says: it reads none.
    #[prost(uint32, tag = "5")]
    pub(crate) dictionary: u32,
}

/// A command or a reply with the partition it is for.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Addressed {
    #[prost(uint32, tag = "1")]
    pub(crate) partition: u32,
    #[prost(message, optional, tag = "2")]
    pub(crate) command: Option<super::command::Command>,
    #[prost(message, optional, tag = "3")]
    pub(crate) reply: Option<super::reply::Reply>,
    /// The view in which a reply was said.
    #[prost(uint64, tag = "4")]
    pub(crate) view: u64,
}
