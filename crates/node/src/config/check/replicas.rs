//! A state process among several of its site, or alone: `[coordination]` makes the difference, and
//! `[tier]` says which partition it serves and how it is called.

use vocab::SLOTS;

use super::{Config, Findings, Role};
use crate::config::file::Tier;

pub(super) fn check(config: &Config, findings: &mut Findings<'_>) {
    let tier = config.tier.as_ref();
    match (config.role, &config.coordination) {
        (Role::State, Some(_)) => among_several(config, findings),
        (Role::State, None) => alone(tier, findings),
        (Role::All, Some(_)) => findings.mistake(
            &["coordination"],
            "role `all` is alone with its calls: it cannot share them through [coordination]"
                .into(),
            "write `role = \"state\"` and run the engines in processes of their own, with \
             `tier.connect`; or remove [coordination]",
        ),
        (Role::Engine | Role::Balancer | Role::Witness, Some(_)) => {
            let role = config.role.as_str();
            let what = format!("role `{role}` does not use [coordination]: state processes do");
            findings.warning(&["coordination"], &what);
        }
        (Role::All | Role::Engine | Role::Balancer | Role::Witness, None) => {}
    }
}

/// It has the whole site to itself, whatever it is told of others.
fn alone(tier: Option<&Tier>, findings: &mut Findings<'_>) {
    let Some(Tier { partition, partitions, replicas, .. }) = tier else { return };
    let words =
        [("partition", partition, 0), ("partitions", partitions, 1), ("replicas", replicas, 1)];
    for (word, value, alone) in words {
        if *value != alone {
            findings.mistake(
                &["tier", word],
                format!("`{word} = {value}` without [coordination]: this state process is alone"),
                "add [coordination] with the `endpoints` of etcd, or remove the word",
            );
        }
    }
}

fn among_several(config: &Config, findings: &mut Findings<'_>) {
    if config.sites.is_some() && config.queue.is_none() {
        findings.mistake(
            &["sites"],
            "the queue of other sites' calls is a file of one process of several".into(),
            "add [queue] with the `url` of a NATS server that all state processes reach",
        );
    }
    // That there is none is told by its role.
    let Some(tier) = &config.tier else { return };
    if tier.name.is_empty() {
        findings.mistake(
            &["tier"],
            "the replica has no name".into(),
            "add `name = \"s1\"` to [tier]: another one in each state process of the site, kept \
             when it starts again",
        );
    }
    numbers(tier, findings);
    address(tier, findings);
}

fn numbers(tier: &Tier, findings: &mut Findings<'_>) {
    let Tier { partition, partitions, replicas, .. } = *tier;
    for (word, count) in [("partitions", partitions), ("replicas", replicas)] {
        if count == 0 {
            findings.mistake(
                &["tier", word],
                format!("`{word} = 0`: nobody would keep a call"),
                "write 1 or more, the same in each state process of the site",
            );
        }
    }
    for (word, number, most) in
        [("partition", partition, SLOTS - 1), ("partitions", partitions, SLOTS)]
    {
        if number > most {
            findings.mistake(
                &["tier", word],
                format!("`{word} = {number}` is more than {SLOTS} slots can be dealt to"),
                "partitions are numbered from 0 up; begin with as many as there are machines, or \
                 fewer, and divide them later",
            );
        }
    }
    if replicas == 1 {
        findings.warning(
            &["tier"],
            "`replicas = 1`: no redundancy, each call dies with the process that keeps it",
        );
    }
}

/// The others are told this address, and dial it.
fn address(tier: &Tier, findings: &mut Findings<'_>) {
    let (word, address) = match (tier.advertise, tier.listen) {
        (Some(advertise), _) => ("advertise", advertise),
        (None, Some(listen)) => ("listen", listen),
        (None, None) => return,
    };
    if address.ip().is_unspecified() || address.port() == 0 {
        findings.mistake(
            &["tier", word],
            format!("engines and other replicas cannot be told to dial {address}"),
            "give `tier.advertise` the address and port at which they reach this process, for \
             example \"10.0.0.1:9000\"",
        );
    }
}
