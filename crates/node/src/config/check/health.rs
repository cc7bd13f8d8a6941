//! How a balancer judges sites, and what it may do about a death.

use super::super::file::{Balancer, Config, Role};
use super::Findings;

pub(super) fn check(config: &Config, findings: &mut Findings<'_>) {
    let Some(balancer) = config.balancer.as_ref().filter(|_| config.role == Role::Balancer) else {
        return;
    };
    if balancer.dead_after_ms <= balancer.down_after_ms {
        findings.mistake(
            &["balancer", "dead_after_ms"],
            format!(
                "a site would be dead after {} ms, and a silent engine down after {} ms",
                balancer.dead_after_ms, balancer.down_after_ms
            ),
            "make `dead_after_ms` several times `down_after_ms`; 5000 is the default",
        );
    }
    if balancer.healthy_after_ms < balancer.dead_after_ms {
        findings.mistake(
            &["balancer", "healthy_after_ms"],
            format!("a site would be healthy after {} ms", balancer.healthy_after_ms),
            "make it at least `dead_after_ms`; 30000 is the default",
        );
    }
    backups(balancer, findings);
    if balancer.auto_failover {
        failing_over(balancer, findings);
    }
}

fn backups(balancer: &Balancer, findings: &mut Findings<'_>) {
    for (index, site) in balancer.site.iter().enumerate() {
        let index = index.to_string();
        let Some(backup) = site.backup else { continue };
        if backup == site.id || balancer.site.iter().all(|other| other.id != backup) {
            findings.mistake(
                &["balancer", "site", index.as_str(), "backup"],
                format!("`backup = {backup}` is not another site that is listed"),
                "name the site that `sites.backup_to` of this one names",
            );
        }
    }
}

fn failing_over(balancer: &Balancer, findings: &mut Findings<'_>) {
    for (index, site) in balancer.site.iter().enumerate() {
        let index = index.to_string();
        let path = ["balancer", "site", index.as_str()];
        let Some(backup) = balancer.backup_of(site) else {
            findings.mistake(
                &path,
                format!(
                    "`auto_failover` knows of no site that would serve the calls of site {}",
                    site.id
                ),
                "add `backup = ...` to this [[balancer.site]], or take `auto_failover` out",
            );
            continue;
        };
        if site.engines.is_empty() {
            findings.warning(&path, "no engine of this site is known: it is never judged dead");
        }
        let mut others = balancer.site.iter().filter(|other| other.id == backup);
        if others.next().is_some_and(|other| other.admin.0.is_empty()) {
            findings.warning(
                &path,
                "`auto_failover` will send its calls to its backup, and wake none there by order: \
                 the backup's [[balancer.site]] has no `admin`",
            );
        }
    }
}
