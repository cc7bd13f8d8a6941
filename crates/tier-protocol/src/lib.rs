//! The words between engine, replica and site: commands, replies, records, batches, and their
//! frames.
//!
//! Values and encodings only: no state, no time of its own, no sockets. Replicas see calls as the
//! opaque sections of a [`Record`].

pub mod batch;
pub mod command;
pub mod dictionary;
pub mod error;
pub mod frame;
pub mod partition;
pub mod peer;
pub mod quarantine;
pub mod record;
pub mod reply;
pub mod site;
pub mod sweep;
pub mod view;
mod wire;

pub use batch::{BatchError, Entry};
pub use command::{Command, PutFlags, Veto};
pub use error::DecodeError;
pub use frame::{Decoder, Frame, FrameError, SiteFrame, TierFrame};
pub use partition::{
    GateBound, Progress, Return, SiteInput, SiteOrder, SiteStatus, Standing, Steering,
};
pub use peer::{CopiedCall, CopiedRun, CopiedState, KeyRange, PeerWord, SpilledCall};
pub use quarantine::{SetAside, Strike, StrikeKind};
pub use record::{Hint, Newer, Record, RecordHeader, Tombstone};
pub use reply::{Cause, DormantOutcome, Refusal, Reply};
pub use site::{
    Course, EngineWord, ForwardedMessage, GateWord, KeysetEntry, KeysetKind, PullAnswer, SiteState,
    SiteWord, Superseded,
};
pub use sweep::SweepWord;
pub use view::{PartitionView, Seat, SiteMap, SlotMove, SlotSet};

/// Version of every frame on the tier and site links; the first word of a link says it.
pub const PROTOCOL_VERSION: u32 = 1;
