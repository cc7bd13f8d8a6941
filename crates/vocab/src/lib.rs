//! The words every room shares: ids, stamps, clocks and the tokens that carry a call's key.
//!
//! This room holds names, their order and their printed forms. It decides nothing.

pub mod id;
pub mod stamp;
pub mod time;
pub mod token;

pub use id::{CallKey, EngineId, PartitionId, ReplicaId, SLOTS, SiteId, Slot};
pub use stamp::{Epoch, LockToken, Stamp, Version, ViewNumber};
pub use time::{Instant, WallTime};
pub use token::{Token, TokenKind, TokenSecret};
