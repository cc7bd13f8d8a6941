//! How a balancer judges the sites, and what a witness sees of them.

use serde::{Deserialize, Serialize};

/// How a site is judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HealthState {
    /// All that observe it hear it.
    Healthy,
    /// Somebody misses it, or nobody has told of it yet.
    #[default]
    Suspected,
    /// All that observe it have missed it for long enough.
    Dead,
    /// It was dead, and is heard again, by all or by some.
    Recovering,
}

/// A site as a balancer judges it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SiteHealth {
    /// The judgement.
    pub state: HealthState,
    /// For how long it has stood.
    pub for_ms: u64,
    /// Who says what of the site.
    pub observers: Vec<Observation>,
    /// What was done about it, or should be; absent when there is nothing to do.
    pub advice: Option<String>,
    /// The commands that do it, in their order.
    pub commands: Vec<String>,
}

/// What one observer says of a site.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Observation {
    /// `peer`, `balancer` or `witness`.
    pub kind: String,
    /// `site 2`, `balancer`, or the witness's name.
    pub name: String,
    /// Whether the site answers it.
    pub answers: bool,
    /// For how long it has said the same.
    pub for_ms: u64,
    /// It has not said it again for too long: it does not count.
    pub silent: bool,
}

/// A witness.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WitnessStatus {
    /// Its name on the balancers' consoles.
    pub name: String,
    /// The sites that it probes.
    pub sites: Vec<ProbedSite>,
}

/// A site as a witness sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProbedSite {
    /// Its number.
    pub site: u16,
    /// Whether it answered the last probe; absent before the first one is over.
    pub answers: Option<bool>,
    /// For how long probes have come to the same.
    pub for_ms: u64,
    /// How long the last answer took.
    pub took_ms: Option<u64>,
    /// Why the last probe was missed.
    pub why: Option<String>,
    /// Probes that are over.
    pub probes: u64,
    /// Of these, missed.
    pub missed: u64,
}
