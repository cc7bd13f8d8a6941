//! How sites are judged, and what a witness sees.

use std::collections::BTreeMap;

use admin_api::{HealthState, Observation, ProbedSite, SiteHealth, WitnessStatus};

use super::{Lines, joined, span};

/// One line for each site, and one for what should be done about it.
pub(super) fn add(lines: &mut Lines, health: &BTreeMap<u16, SiteHealth>) {
    for (site, health) in health {
        lines.add(&format!("site {site}"), judged(health));
        if let Some(advice) = &health.advice {
            lines.add("", advice);
        }
        for command in &health.commands {
            lines.add("recommended", command);
        }
    }
}

fn judged(health: &SiteHealth) -> String {
    let state = match health.state {
        HealthState::Healthy => "healthy",
        HealthState::Suspected => "SUSPECTED",
        HealthState::Dead => "DEAD",
        HealthState::Recovering => "RECOVERING",
    };
    let mut words = vec![format!("{state} for {}", span(health.for_ms))];
    let who = |is: fn(&Observation) -> bool, since: bool| {
        let mut names = health.observers.iter().filter(|one| is(one)).peekable();
        names.peek()?;
        Some(joined(names.map(|one| match since {
            true => format!("{} ({})", name(one), span(one.for_ms)),
            false => name(one),
        })))
    };
    let missed = who(|one| !one.silent && !one.answers, true);
    words.extend(missed.map(|names| format!("missed by {names}")));
    let heard = who(|one| !one.silent && one.answers, false);
    words.extend(heard.map(|names| format!("heard by {names}")));
    let silent = who(|one| one.silent, false);
    words.extend(silent.map(|names| format!("nothing new from {names}")));
    words.join("; ")
}

fn name(one: &Observation) -> String {
    match one.kind.as_str() {
        "witness" => format!("witness {}", one.name),
        "balancer" => "this balancer".into(),
        _ => one.name.clone(),
    }
}

pub(super) fn witness(lines: &mut Lines, witness: &WitnessStatus) {
    lines.add("witness", &witness.name);
    for site in &witness.sites {
        lines.add(&format!("site {}", site.site), probed(site));
    }
}

fn probed(site: &ProbedSite) -> String {
    let ProbedSite { probes, missed, .. } = site;
    let now = match site.answers {
        None => "not known yet".to_owned(),
        Some(true) => {
            let took = site.took_ms.map_or_else(String::new, |took| format!(" in {}", span(took)));
            format!("answers{took}, for {}", span(site.for_ms))
        }
        Some(false) => {
            let why = site.why.as_deref().unwrap_or("no answer");
            format!("MISSED for {}: {why}", span(site.for_ms))
        }
    };
    format!("{now}; {missed} of {probes} probes missed")
}

#[cfg(test)]
mod tests;
