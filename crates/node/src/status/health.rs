//! How sites are judged, and what a witness sees, in the admin API's words.

use std::collections::BTreeMap;
use std::time::Duration;

use admin_api::{HealthState, Observation, ProbedSite, SiteHealth, StatusReply, WitnessStatus};
use balancer::health::{Kind, Observed, Observer, Standing};
use balancer::witness::Seen;

use super::{ms, state_word};

pub(crate) fn by_site(picture: &[balancer::SiteHealth]) -> BTreeMap<u16, SiteHealth> {
    picture.iter().map(|one| (one.site.0, of(one))).collect()
}

fn of(one: &balancer::SiteHealth) -> SiteHealth {
    let state = match one.standing {
        Standing::Healthy => HealthState::Healthy,
        Standing::Suspected => HealthState::Suspected,
        Standing::Dead => HealthState::Dead,
        Standing::Recovering => HealthState::Recovering,
    };
    SiteHealth {
        state,
        for_ms: ms(one.since),
        observers: one.observers.iter().map(observation).collect(),
        advice: one.advice.as_ref().map(|advice| advice.what.clone()),
        commands: one.advice.as_ref().map_or_else(Vec::new, |advice| advice.commands.clone()),
    }
}

fn observation(observed: &Observed) -> Observation {
    let kind = match observed.observer.kind() {
        Kind::Peer => "peer",
        Kind::Balancer => "balancer",
        Kind::Witness => "witness",
    };
    let name = match &observed.observer {
        Observer::Peer(site) => format!("site {}", site.0),
        Observer::Balancer => "balancer".into(),
        Observer::Witness(name) => name.clone(),
    };
    Observation {
        kind: kind.into(),
        name,
        answers: observed.answers,
        for_ms: ms(observed.since),
        silent: observed.is_silent,
    }
}

/// A node of role `witness`.
pub(crate) fn of_witness(name: &str, picture: &[Seen], uptime: Duration) -> StatusReply {
    let site = |seen: &Seen| ProbedSite {
        site: seen.site.0,
        answers: seen.answers,
        for_ms: ms(seen.since),
        took_ms: seen.took.map(ms),
        why: seen.why.clone(),
        probes: seen.probes,
        missed: seen.missed,
    };
    StatusReply {
        role: "witness".into(),
        version: env!("CARGO_PKG_VERSION").into(),
        state: state_word(true),
        uptime_ms: ms(uptime),
        witness: Some(WitnessStatus {
            name: name.into(),
            sites: picture.iter().map(site).collect(),
        }),
        ..StatusReply::default()
    }
}
