//! The `[spill]` section: when a call that nobody touches leaves RAM for the database.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::check::Findings;
use super::file::{Config, Role};

const REST_S_MAX: u64 = 30 * 86_400;
const WAIT_MS_MIN: u64 = 100;
/// A transaction without an answer ends after 32 s (RFC 3261 §17.1.1.2, Timer B).
const WAIT_MS_MAX: u64 = 30_000;
/// Applications by name; each has its place in this list as its number in every record.
const APPLICATIONS: [&str; 2] = ["b2bua", "registrar"];

/// `[spill]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Spill {
    /// For a call that lives here.
    pub after_s: Option<Rest>,
    /// For one that is kept for another site.
    pub dormant_after_s: Option<Rest>,
    /// Calls that leave each second.
    pub per_s: Option<u32>,
    /// Calls in the database at most.
    pub calls_max: Option<usize>,
    /// A turn waits so long for a call to come back.
    pub wait_ms: Option<u64>,
    /// For calls of one application, by its name.
    pub application: BTreeMap<String, Rest>,
}

/// How long a call is left alone before it leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged, expecting = "a number of seconds, or \"never\"")]
pub enum Rest {
    /// In seconds.
    Seconds(u64),
    /// It stays.
    Word(Never),
}

/// `"never"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Never {
    /// The word.
    Never,
}

/// The application's number in records.
pub(crate) fn application_number(name: &str) -> Option<u16> {
    let place = APPLICATIONS.iter().position(|known| *known == name)?;
    u16::try_from(place).ok()
}

pub(super) fn check(config: &Config, findings: &mut Findings<'_>) {
    let Some(spill) = config.spill.as_ref() else { return };
    if config.role.has_tier() && config.database.is_none() {
        findings.mistake(
            &["spill"],
            "calls have nowhere to go: there is no [database]".into(),
            "add a [database] section, or remove [spill]",
        );
    }
    if matches!(config.role, Role::Engine | Role::Balancer | Role::Witness) {
        let role = config.role.as_str();
        let what = format!("role `{role}` does not use [spill]: what keeps the calls does");
        findings.warning(&["spill"], &what);
    }
    let named = [("after_s", spill.after_s), ("dormant_after_s", spill.dormant_after_s)];
    let named = named.into_iter().filter_map(|(word, rest)| Some((vec!["spill", word], rest?)));
    let applications = spill.application.iter();
    let applications = applications.map(|(name, rest)| (vec!["spill", "application", name], *rest));
    for (path, rest) in named.chain(applications) {
        if let Rest::Seconds(rest @ (0 | REST_S_MAX..)) = rest {
            findings.mistake(
                &path,
                format!("{rest} s is no time that a call may be left alone before it leaves"),
                "write 1 to 2591999 seconds, or \"never\"; 60 is the default",
            );
        }
    }
    for name in spill.application.keys().filter(|name| application_number(name).is_none()) {
        findings.mistake(
            &["spill", "application", name],
            format!("there is no application `{name}`"),
            &format!("write one of: {}", APPLICATIONS.join(", ")),
        );
    }
    let wait = spill.wait_ms.filter(|wait| !(WAIT_MS_MIN..=WAIT_MS_MAX).contains(wait));
    if let Some(wait) = wait {
        findings.mistake(
            &["spill", "wait_ms"],
            format!("wait_ms = {wait} is too short or too long"),
            "write 100 to 30000; 2000 is the default",
        );
    }
}
