//! The routing policy of a balancer: `/v1/route`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::health::SiteHealth;

/// Whether an engine answers a balancer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// It answers and takes traffic.
    Up,
    /// It answers, and wants nothing new yet.
    NotServing,
    /// It does not answer.
    #[default]
    Down,
}

/// Answer to `GET /v1/route` and `POST /v1/route`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteReply {
    /// Grows with each change.
    pub version: u64,
    /// Home of a call -> the site that serves it.
    pub serves: BTreeMap<u16, u16>,
    /// Share of each site in the requests that belong to no call yet.
    pub weights: BTreeMap<u16, u32>,
    /// Each site as this balancer judges it.
    #[serde(default)]
    pub health: BTreeMap<u16, SiteHealth>,
}

/// Body of `POST /v1/route`. What is absent stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RouteOrder {
    /// The version of the new policy; one more than the present when absent. A lower one is
    /// refused.
    pub version: Option<u64>,
    /// Home of a call -> the site that serves it; only the homes named change.
    pub serves: BTreeMap<u16, u16>,
    /// Share of each site in new calls; replaces all shares when given.
    pub weights: Option<BTreeMap<u16, u32>>,
}
