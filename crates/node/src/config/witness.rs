//! `[witness]`: which sites are probed from outside, how, and who is told.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use balancer::edge_frame::WITNESS_NAME_MAX;
use serde::Deserialize;

use super::check::Findings;
use super::file::{Addresses, Config, Role};

/// The longest pause between two probes, and the longest wait for an answer.
const SPAN_MAX_MS: u64 = 10_000;
/// Sites that a witness probes.
const TARGETS_MAX: usize = 64;

/// `[witness]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Witness {
    /// Its name on the balancers' consoles: each witness of a deployment has its own.
    pub name: String,
    /// Probes leave from here, and answers come here (UDP).
    pub listen: SocketAddr,
    /// Time between two probes of a site.
    #[serde(default = "interval_ms")]
    pub interval_ms: u64,
    /// A probe that is not answered for so long is missed.
    #[serde(default = "timeout_ms")]
    pub timeout_ms: u64,
    /// The `balancer.inner` addresses of the balancers that are told.
    pub report_to: Addresses,
    /// The sites.
    #[serde(default)]
    pub target: Vec<Target>,
}

fn interval_ms() -> u64 {
    1_000
}

fn timeout_ms() -> u64 {
    2_000
}

/// One of `[[witness.target]]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// Its number.
    pub site: u16,
    /// Where it is reached with SIP: balancers in front of it, or its engines' `sip.listen`. The
    /// repetitions of a probe go to each in turn.
    pub address: Addresses,
}

pub(super) fn check(config: &Config, findings: &mut Findings<'_>) {
    if config.role != Role::Witness {
        return;
    }
    let Some(witness) = &config.witness else {
        return findings.mistake(
            &["role"],
            "role `witness` has no [witness] section".into(),
            "add [witness] with `name`, `listen`, `report_to` and [[witness.target]]",
        );
    };
    name(&witness.name, findings);
    for (word, span) in [("interval_ms", witness.interval_ms), ("timeout_ms", witness.timeout_ms)] {
        if !(100..=SPAN_MAX_MS).contains(&span) {
            findings.mistake(
                &["witness", word],
                format!("`{word} = {span}` is no pace for probes"),
                "write 100 to 10000; 1000 and 2000 are the defaults",
            );
        }
    }
    if witness.listen.port() == 0 || witness.listen.ip().is_unspecified() {
        findings.mistake(
            &["witness", "listen"],
            format!("answers cannot come to {}", witness.listen),
            "write the address and the port that balancers answer to, \
             for example \"192.0.2.5:5070\"",
        );
    }
    if witness.report_to.0.is_empty() {
        findings.mistake(
            &["witness", "report_to"],
            "nobody is told what the probes come to".into(),
            "list the `balancer.inner` address of each balancer",
        );
    }
    targets(witness, findings);
}

fn name(name: &str, findings: &mut Findings<'_>) {
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    if name.is_empty() || name.len() > WITNESS_NAME_MAX || !name.bytes().all(is_fit) {
        findings.mistake(
            &["witness", "name"],
            format!("`{name}` is not a name for a witness"),
            "write up to 32 letters, digits, `-` and `.`, another one for each witness",
        );
    }
}

fn targets(witness: &Witness, findings: &mut Findings<'_>) {
    if witness.target.is_empty() || witness.target.len() > TARGETS_MAX {
        findings.mistake(
            &["witness"],
            format!("the witness probes {} sites", witness.target.len()),
            "add [[witness.target]] with `site` and `address`, 64 of them at most",
        );
    }
    let mut seen = BTreeSet::new();
    for (index, target) in witness.target.iter().enumerate() {
        let index = index.to_string();
        if target.site == 0 || !seen.insert(target.site) {
            findings.mistake(
                &["witness", "target", index.as_str(), "site"],
                format!("target {} is no site, or is listed twice", target.site),
                "list each site once; they are numbered from 1 up",
            );
        }
        if target.address.0.is_empty() {
            findings.mistake(
                &["witness", "target", index.as_str(), "address"],
                format!("site {} has no address to probe", target.site),
                "write the `balancer.listen` of the balancers in front of it",
            );
        }
    }
}
