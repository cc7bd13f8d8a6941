//! What a step may know besides the call itself: the configuration, which all calls of an engine
//! share. Nothing here changes with a call.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use servlet::Application;
use sip_message::Host;
use vocab::{SiteId, TokenSecret};

use crate::SipTimers;

/// Configuration of an engine, as far as calls see it.
#[derive(Clone)]
pub struct Setting {
    /// The site that this engine belongs to.
    pub here: SiteId,
    /// What tokens are minted and read with.
    pub secret: TokenSecret,
    /// What minted Via and Contact headers name.
    pub edge: Edge,
    /// Timer values of RFC 3261.
    pub timers: SipTimers,
    /// Timer values of RFC 4028.
    pub session: SessionTimers,
    /// What activation adds to each local CSeq and to each SDP version: the dead site may have
    /// used the next ones.
    pub cseq_gap: u32,
    /// The applications; the first one takes the initial requests.
    pub applications: Vec<Arc<dyn Application>>,
    /// The applications, by their place among them, whose calls cross while they ring.
    pub early: BTreeSet<u16>,
    /// Calls that end are written down.
    pub accounts: bool,
    /// Bounds on one call.
    pub limits: CallLimits,
}

impl Setting {
    /// A setting with default timers and bounds.
    #[must_use]
    pub fn new(
        here: SiteId,
        secret: TokenSecret,
        edge: Edge,
        applications: Vec<Arc<dyn Application>>,
    ) -> Self {
        Self {
            here,
            secret,
            edge,
            timers: SipTimers::default(),
            session: SessionTimers::default(),
            cseq_gap: 64,
            applications,
            early: BTreeSet::new(),
            accounts: false,
            limits: CallLimits::default(),
        }
    }
}

impl fmt::Debug for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let applications: Vec<&str> = self.applications.iter().map(|a| a.name()).collect();
        f.debug_struct("Setting")
            .field("here", &self.here)
            .field("edge", &self.edge)
            .field("applications", &applications)
            .finish_non_exhaustive()
    }
}

/// A name and port that outlive the site: whoever answers there can reach an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edge {
    /// The host.
    pub host: Host,
    /// The port.
    pub port: u16,
}

/// Intervals of session timers (RFC 4028).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionTimers {
    /// The interval that we ask for and the longest that we grant.
    pub session_expires: Duration,
    /// The shortest that we accept.
    pub min_se: Duration,
}

impl Default for SessionTimers {
    fn default() -> Self {
        Self { session_expires: Duration::from_secs(1800), min_se: Duration::from_secs(90) }
    }
}

/// Bounds on one call: nothing in it grows with what a stranger sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallLimits {
    /// Legs at once; requests that would open more are refused.
    pub legs_max: usize,
    /// Early dialogs of one leg; the provisional responses of further ones share a tag.
    pub forks_max: usize,
    /// Transactions at once, those that linger included.
    pub transactions_max: usize,
    /// Entries of a dialog's route set.
    pub routes_max: usize,
    /// A session description longer than this is relayed but not kept for refreshes.
    pub sdp_bytes_max: usize,
    /// What an application may keep.
    pub application: servlet::Limits,
    /// Deadlines that passed while a call was dormant fire within this time of its activation.
    pub activation_spread: Duration,
}

impl Default for CallLimits {
    fn default() -> Self {
        Self {
            legs_max: 8,
            forks_max: 8,
            transactions_max: 64,
            routes_max: 16,
            sdp_bytes_max: 8192,
            application: servlet::Limits::default(),
            activation_spread: Duration::from_secs(10),
        }
    }
}
