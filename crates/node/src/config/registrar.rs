//! The `[registrar]` section: whose users are registered here, and for how long.

use applications::registrar::{self, CONTACTS_MAX};
use serde::Deserialize;

use super::check::Findings;
use super::file::Config;

/// RFC 3261 §10.3: what is an hour or more may not be refused as too brief.
const EXPIRES_MIN_MAX: u32 = 3_600;

/// `[registrar]`. What is absent is the application's default.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registrar {
    /// Hosts of the addresses of record.
    pub domains: Vec<String>,
    /// Granted to who names no expiry.
    pub expires_default_s: Option<u32>,
    /// What is shorter is refused.
    pub expires_min_s: Option<u32>,
    /// What is longer is shortened.
    pub expires_max_s: Option<u32>,
    /// Bindings of one user.
    pub contacts_max: Option<usize>,
}

impl Registrar {
    /// What the application is told.
    #[must_use]
    pub fn resolved(&self) -> registrar::Config {
        let default = registrar::Config::default();
        registrar::Config {
            domains: self.domains.clone(),
            expires_default: self.expires_default_s.unwrap_or(default.expires_default),
            expires_min: self.expires_min_s.unwrap_or(default.expires_min),
            expires_max: self.expires_max_s.unwrap_or(default.expires_max),
            contacts_max: self.contacts_max.unwrap_or(default.contacts_max),
        }
    }
}

pub(super) fn check(config: &Config, findings: &mut Findings<'_>) {
    let Some(section) = &config.registrar else { return };
    let registrar = section.resolved();
    if registrar.domains.is_empty() {
        findings.mistake(
            &["registrar", "domains"],
            "the registrar has no domain".into(),
            "write for example `domains = [\"example.com\"]`",
        );
    }
    for domain in registrar.domains.iter().filter(|domain| !is_host(domain)) {
        findings.mistake(
            &["registrar", "domains"],
            format!("`{domain}` is no host of an address of record"),
            "write the host alone, like \"example.com\": no `sip:`, user or port",
        );
    }
    let registrar::Config { expires_default, expires_min, expires_max, contacts_max, .. } =
        registrar;
    if expires_min == 0 || expires_min > EXPIRES_MIN_MAX {
        findings.mistake(
            &["registrar", "expires_min_s"],
            format!("expires_min_s = {expires_min} is not from 1 to {EXPIRES_MIN_MAX}"),
            "60 is the default; RFC 3261 lets nobody refuse an hour",
        );
    }
    if expires_default < expires_min || expires_max < expires_default {
        findings.mistake(
            &["registrar"],
            format!(
                "the expiries {expires_min} (least), {expires_default} (default) and \
                 {expires_max} (most) are not in order"
            ),
            "60, 3600 and 7200 are the defaults of `expires_min_s`, `expires_default_s` and \
             `expires_max_s`",
        );
    }
    if !(1..=CONTACTS_MAX).contains(&contacts_max) {
        findings.mistake(
            &["registrar", "contacts_max"],
            format!("contacts_max = {contacts_max} is not from 1 to {CONTACTS_MAX}"),
            "8 is the default",
        );
    }
    findings.warning(
        &["registrar"],
        "the registrar asks nobody for a password: whoever reaches it may register any user",
    );
    unreached(config, &registrar.domains, findings);
}

fn unreached(config: &Config, domains: &[String], findings: &mut Findings<'_>) {
    let routes = config.b2bua.iter().flat_map(|b2bua| &b2bua.routes);
    for (index, route) in routes.enumerate() {
        let is_taken = |ours: &String| {
            route.domain.as_ref().is_some_and(|domain| domain.eq_ignore_ascii_case(ours))
        };
        if domains.iter().any(is_taken) {
            let index = index.to_string();
            findings.warning(
                &["b2bua", "routes", index.as_str()],
                "no call takes this route: the registrar answers for its domain",
            );
        }
    }
}

fn is_host(text: &str) -> bool {
    let uri = format!("sip:{text}").parse::<sip_message::Uri>();
    uri.is_ok_and(|uri| uri.host().is_some_and(|host| host.to_string().eq_ignore_ascii_case(text)))
}
