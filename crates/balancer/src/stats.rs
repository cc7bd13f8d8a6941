//! What a balancer reports of itself: counts since its start, and the health of its engines.

use std::net::SocketAddr;

use vocab::{EngineId, SiteId};

/// A picture of a balancer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stats {
    /// Version of the policy in force.
    pub policy_version: u64,
    /// Whether requests without a token are still offered to the site of the policy before.
    pub remembers_policy: bool,
    /// A site's death is acted upon.
    pub fails_over: bool,
    /// Datagrams from outside.
    pub outside_in: u64,
    /// Datagrams to outside.
    pub outside_out: u64,
    /// Requests without a token that were offered to the site of the policy before.
    pub offered: u64,
    /// Of these, given back.
    pub bounced: u64,
    /// 503 answers: no engine of any site was healthy.
    pub refused: u64,
    /// Probes of witnesses that were passed on.
    pub probes: u64,
    /// What was dropped, by cause.
    pub drops: Drops,
    /// By rising site.
    pub sites: Vec<SiteStats>,
}

/// Datagrams dropped, by cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drops {
    /// CRLF keep-alives and empty datagrams.
    pub keep_alives: u64,
    /// Responses that answer no branch of ours.
    pub strange_responses: u64,
    /// No healthy engine where it had to go.
    pub no_engine: u64,
    /// Not SIP, beyond what is passed on to be answered.
    pub not_sip: u64,
    /// Too long to be framed for an engine.
    pub too_long: u64,
    /// Probes of sites none of whose engines is healthy.
    pub probes: u64,
    /// Reports of witnesses that are not newer than one that came before, or of too many witnesses.
    pub old_reports: u64,
    /// On the inner socket: not from a configured engine, or not a frame of ours.
    pub bad_frames: u64,
}

/// Whether an engine gets traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It answers pings in time and takes traffic.
    Up,
    /// It answers, and takes no traffic.
    NotServing,
    /// It is silent, unreachable, or has not answered yet.
    Down,
}

/// One site, as a balancer sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SiteStats {
    /// The site.
    pub site: SiteId,
    /// In the configured order.
    pub engines: Vec<EngineStats>,
}

/// One engine, as a balancer sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EngineStats {
    /// Its edge port.
    pub addr: SocketAddr,
    /// What it calls itself, once it has answered.
    pub engine: Option<EngineId>,
    /// Whether it answers pings in time and takes traffic.
    pub health: Health,
    /// Datagrams sent to it.
    pub to_engine: u64,
    /// Datagrams that came from it, pongs not counted.
    pub from_engine: u64,
}
