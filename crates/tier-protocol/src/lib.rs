//! The words between engine, replica and site: commands, replies, records, batches, and their frames.
//!
//! Values and encodings only: no state, no time of its own, no sockets. Replicas see calls as the
//! opaque sections of a [`Record`].

pub mod command;
pub mod record;
pub mod reply;
pub mod site;
pub mod view;

pub use command::{Command, PutFlags};
pub use record::{Hint, Record, RecordHeader, Tombstone};
pub use reply::{Cause, DormantOutcome, Refusal, Reply};
pub use site::{
    EngineWord, GateWord, KeysetEntry, KeysetKind, PullAnswer, SiteState, SiteWord, Superseded,
};
pub use view::PartitionView;

/// Version of every frame on the tier and site links; the first word of a link says it.
pub const PROTOCOL_VERSION: u32 = 1;
