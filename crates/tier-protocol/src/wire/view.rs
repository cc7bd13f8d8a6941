//! Partition views, and the first word of a tier link.

use vocab::{ReplicaId, ViewNumber};

use super::word;
use crate::error::DecodeError;
use crate::view;

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
}

impl From<&view::PartitionView> for View {
    fn from(view: &view::PartitionView) -> Self {
        Self {
            partition: u32::from(view.partition.0),
            number: view.number.0,
            members: view.members.iter().map(|member| member.0).collect(),
            joining: view.joining.iter().map(|member| member.0).collect(),
        }
    }
}

impl TryFrom<View> for view::PartitionView {
    type Error = DecodeError;

    fn try_from(wire: View) -> Result<Self, DecodeError> {
        if wire.members.is_empty() {
            return Err(DecodeError::Missing { what: "member of a view" });
        }
        Ok(Self {
            partition: word::partition(wire.partition)?,
            number: ViewNumber(wire.number),
            members: wire.members.into_iter().map(ReplicaId).collect(),
            joining: wire.joining.into_iter().map(ReplicaId).collect(),
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
}
