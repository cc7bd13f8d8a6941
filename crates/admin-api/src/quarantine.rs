//! Calls that broke whoever worked them: `/v1/quarantine` and `/v1/quarantine/{key}`.

use serde::{Deserialize, Serialize};

/// One line of the list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct QuarantineLine {
    /// 32 hexadecimal digits.
    pub key: String,
    /// What the last broken turn came to: `panicked`, `undecodable`, `broken` (its engine was
    /// lost) or `unreadable` (an entry of another site's batch).
    pub cause: String,
    /// What the panic said, or what could not be read.
    pub what: String,
    /// Time since it was set aside.
    pub age_ms: u64,
    /// Turns that broke.
    pub strikes: u64,
    /// It slept here for another site.
    pub dormant: bool,
    /// The site that owned the call; 0 when its record could not be read.
    pub home: u16,
    /// Bytes kept of it.
    pub bytes: u64,
}

/// Answer to `GET /v1/quarantine`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuarantineReply {
    /// By rising key; what is kept is bounded, and so is this list.
    pub calls: Vec<QuarantineLine>,
}

/// One turn that a call broke.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StrikeLine {
    /// As in the list.
    pub cause: String,
    /// The engine whose turn it was.
    pub engine: u64,
    /// Time since.
    pub age_ms: u64,
    /// What the panic said, or what could not be read.
    pub what: String,
    /// The beginning of the offending message; bytes that are no text are replaced.
    pub message: String,
}

/// Answer to `GET /v1/quarantine/{key}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct QuarantineStory {
    /// The line of the list.
    pub call: QuarantineLine,
    /// The site that owned the call first.
    pub origin: u16,
    /// The stamp of the state: epoch, lock token, version.
    pub stamp: String,
    /// Version of the encoding.
    pub schema: u32,
    /// What led to it, oldest first.
    pub strikes: Vec<StrikeLine>,
    /// Both legs, in words; empty where the state is not decoded: in a process of role `state`, and
    /// where engines were lost over it.
    pub summary: Vec<String>,
    /// The section that crosses, in hexadecimal digits.
    pub crossing_hex: String,
    /// The section that stays, in hexadecimal digits.
    pub local_hex: String,
}
