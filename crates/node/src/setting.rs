//! From the file's words to the cores' configuration.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use applications::b2bua::{B2bua, Match, Route};
use applications::faulty::Faulty;
use applications::registrar::Registrar;
use bytes::Bytes;
use call::{Edge, SessionTimers, Setting, SipTimers};
use replica::SpillAfter;
use replica::gate::{ActivationMode, GateConfig};
use servlet::{Application, NextHop};
use sip_message::Host;
use tier_protocol::PartitionView;
use vocab::{EngineId, PartitionId, ReplicaId, SiteId, TokenSecret, ViewNumber};

use crate::config::Config;
use crate::config::check::split_host_port;
use crate::config::file::{self, Activation, Balancer, BalancerSite, Crossing, Limits, Sender};
use crate::config::spill::{Never, Rest, application_number};
use crate::config::witness::{Target, Witness};

/// The one partition of a site.
pub(crate) const PARTITION: PartitionId = PartitionId(0);

pub(crate) fn secret(config: &Config) -> TokenSecret {
    TokenSecret::new(config.secret_bytes().expect("a checked configuration has a secret"))
}

pub(crate) fn here(config: &Config) -> SiteId {
    SiteId(config.site.id)
}

/// The fixed view of a partition that one process serves; the site's start count numbers it.
pub(crate) fn view(config: &Config, start: u64) -> PartitionView {
    let replica = ReplicaId(start << 16 | u64::from(config.site.id));
    PartitionView::alone(PARTITION, ViewNumber(start), replica)
}

fn backup_to(config: &Config) -> Option<SiteId> {
    config.sites.as_ref().and_then(|sites| sites.backup_to).map(SiteId)
}

fn host(text: &str) -> Host {
    let name = || Host::Name(Bytes::copy_from_slice(text.as_bytes()));
    text.parse().map_or_else(|_| name(), Host::Ip)
}

fn set<T>(field: &mut T, configured: Option<T>) {
    if let Some(value) = configured {
        *field = value;
    }
}

/// The partition that a state process among several serves.
pub(crate) fn partition(config: &Config) -> PartitionId {
    config.tier.as_ref().map_or(PARTITION, |tier| PartitionId(tier.partition))
}

/// Where other processes reach this one's `tier.listen`.
pub(crate) fn advertised(config: &Config) -> Option<SocketAddr> {
    let tier = config.tier.as_ref()?;
    tier.advertise.or(tier.listen)
}

/// The name of a state process, which it keeps when it starts again.
pub(crate) fn name(config: &Config) -> String {
    let told = config.tier.as_ref().map(|tier| tier.name.clone()).filter(|name| !name.is_empty());
    let address = advertised(config).map(|address| address.to_string());
    told.or(address).unwrap_or_default()
}

/// `among`: the id of a replica that shares the site with others; its view is told it later.
pub(crate) fn replica(config: &Config, start: u64, among: Option<ReplicaId>) -> replica::Config {
    let view = match among {
        Some(_) => replica::outside(partition(config)),
        None => view(config, start),
    };
    let replica = among.unwrap_or_else(|| view.members[0]);
    let shared = config.tier.as_ref().filter(|_| among.is_some()).map(|tier| replica::Shared {
        name: name(config),
        address: advertised(config).map(|address| address.to_string()).unwrap_or_default(),
        partitions: tier.partitions,
        replicas: tier.replicas,
        join_after: Duration::ZERO,
        sender: match config.crossing.sender {
            Sender::Primary => replica::Sender::Primary,
            Sender::Youngest => replica::Sender::Youngest,
        },
    });
    let mut limits = replica::Limits::default();
    let Limits { calls_max, record_bytes_max, waiters_per_call_max, .. } = config.limits;
    set(&mut limits.calls_max, calls_max);
    set(&mut limits.bytes_max, record_bytes_max);
    set(&mut limits.waiters_per_call_max, waiters_per_call_max);
    let mut pace = replica::Pace::default();
    let Crossing { settle_ms, batch_ms, batch_bytes_max, disregarded_max_ms, .. } = config.crossing;
    set(&mut limits.batch_bytes_max, batch_bytes_max);
    set(&mut pace.settle_for, settle_ms.map(Duration::from_millis));
    set(&mut pace.batch_after, batch_ms.map(Duration::from_millis));
    set(&mut pace.disregarded_max, disregarded_max_ms.map(Duration::from_millis));
    let Crossing { activate_per_s, refill_per_s, hand_back_per_s, .. } = config.crossing;
    set(&mut pace.activate_per_s, activate_per_s);
    set(&mut pace.refill_per_s, refill_per_s);
    set(&mut pace.hand_back_per_s, hand_back_per_s);
    let Crossing { sweep_every_s, sweep_per_s, .. } = config.crossing;
    set(&mut pace.sweep_every, sweep_every_s.map(Duration::from_secs));
    set(&mut pace.sweep_per_s, sweep_per_s);
    replica::Config {
        here: here(config),
        partition: partition(config),
        replica,
        view,
        shared,
        backup_to: backup_to(config),
        limits,
        pace,
        spill: spill(config),
    }
}

/// `None` without a database.
fn spill(config: &Config) -> Option<replica::Spill> {
    config.database.as_ref()?;
    let mut spill = replica::Spill::default();
    let Some(told) = &config.spill else { return Some(spill) };
    let after = |rest| match rest {
        Rest::Seconds(rest) => SpillAfter::Steady(Duration::from_secs(rest)),
        Rest::Word(Never::Never) => SpillAfter::Never,
    };
    set(&mut spill.after, told.after_s.map(after));
    set(&mut spill.dormant_after, told.dormant_after_s.map(after));
    set(&mut spill.per_s, told.per_s);
    set(&mut spill.calls_max, told.calls_max);
    set(&mut spill.wait_max, told.wait_ms.map(Duration::from_millis));
    let by_application = told.application.iter();
    spill.after_by_application = by_application
        .filter_map(|(name, rest)| Some((application_number(name)?, after(*rest))))
        .collect();
    Some(spill)
}

pub(crate) fn gate(config: &Config, start: u64) -> GateConfig {
    let peers = config.sites.iter().flat_map(|sites| &sites.peer);
    let ids = peers.clone().map(|peer| SiteId(peer.id)).collect();
    // Where several processes share the site its map tells the start.
    let is_shared = config.coordination.is_some();
    let start = if is_shared { 1 } else { start };
    let mut gate = GateConfig::new(here(config), start, vec![PARTITION], ids);
    gate.is_shared = is_shared;
    gate.activation = peers
        .map(|peer| {
            let mode = match peer.activation {
                Activation::OnMessage => ActivationMode::OnMessage,
                Activation::Operator => ActivationMode::Operator,
                Activation::Refuse => ActivationMode::Refuse,
            };
            (SiteId(peer.id), mode)
        })
        .collect();
    if let Some(sites) = &config.sites {
        gate.return_wait = Duration::from_secs(sites.return_wait_s);
        gate.heartbeat_every = Duration::from_millis(sites.heartbeat_ms);
        gate.silent_after = Duration::from_millis(sites.silent_after_ms);
    }
    let fitted = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    set(&mut gate.inbox_bytes_max, config.crossing.queue_bytes_max.map(fitted));
    set(&mut gate.inbox_batches_max, config.crossing.queue_batches_max.map(fitted));
    gate
}

/// `view` is the state tier's, or a guess that the tier's own word replaces.
pub(crate) fn engine(
    config: &Config,
    id: EngineId,
    start: u64,
    view: PartitionView,
) -> engine::Config {
    let advertise = config.sip.as_ref().map_or("", |sip| sip.advertise.as_str());
    let (name, port) = split_host_port(advertise).unwrap_or(("localhost", 5060));
    let edge = Edge { host: host(name), port };
    let mut setting = Setting::new(here(config), secret(config), edge, applications(config));
    // The first application.
    let is_early = config.b2bua.as_ref().is_some_and(|b2bua| b2bua.early);
    setting.early = is_early.then_some(0).into_iter().collect();
    setting.accounts = config.accounting.is_some();
    let timers = &config.timers;
    setting.timers = SipTimers {
        t1: Duration::from_millis(timers.t1_ms),
        t2: Duration::from_millis(timers.t2_ms),
        t4: Duration::from_millis(timers.t4_ms),
        ring_max: Duration::from_secs(timers.ring_max_s),
    };
    setting.session = SessionTimers {
        session_expires: Duration::from_secs(config.session_timer.expires_s.into()),
        min_se: Duration::from_secs(config.session_timer.min_se_s.into()),
    };
    let spread = config.crossing.activation_spread_s.map(Duration::from_secs);
    set(&mut setting.limits.activation_spread, spread);
    let mut limits = engine::Limits::default();
    set(&mut limits.turns_max, config.limits.turns_max);
    set(&mut limits.registrations_per_s, config.limits.registrations_per_s);
    set(&mut limits.registrations_max, config.limits.registrations_max);
    set(&mut limits.message.message_bytes_max, config.limits.message_bytes_max);
    set(&mut limits.message.headers_max, config.limits.headers_max);
    engine::Config {
        here: here(config),
        engine: id,
        start,
        backup: backup_to(config),
        // An engine of its own process is told the views of its state tier.
        views: if config.role.has_tier() { vec![view] } else { Vec::new() },
        setting,
        redirects: redirects(config),
        limits,
    }
}

fn redirects(config: &Config) -> BTreeMap<SiteId, Edge> {
    let peers = config.sites.iter().flat_map(|sites| &sites.peer);
    let redirect = |peer: &file::Peer| {
        let (name, port) = split_host_port(peer.redirect.as_deref()?)?;
        Some((SiteId(peer.id), Edge { host: host(name), port }))
    };
    peers.filter_map(redirect).collect()
}

/// Each has its place among them as its number in every record (`config::spill`).
fn applications(config: &Config) -> Vec<Arc<dyn Application>> {
    let registrar = config.registrar.as_ref();
    let b2bua = config.b2bua.as_ref().map(b2bua_config);
    // Where there is only a registrar, calls to others are refused.
    let closed = || applications::b2bua::Config { is_closed: true, ..Default::default() };
    let Some(b2bua) = b2bua.or(registrar.map(|_| closed())) else { return Vec::new() };
    let mut all: Vec<Arc<dyn Application>> = vec![Arc::new(B2bua::new(b2bua))];
    all.extend(
        registrar.map(|section| -> Arc<dyn Application> {
            Arc::new(Registrar::new(section.resolved()))
        }),
    );
    let Some(header) = config.test.panic_on.as_deref().filter(|_| config.test.allow_faults) else {
        return all;
    };
    let faulty = |inner| -> Arc<dyn Application> { Arc::new(Faulty::new(inner, header)) };
    all.into_iter().map(faulty).collect()
}

fn b2bua_config(b2bua: &file::B2bua) -> applications::b2bua::Config {
    let route = |route: &file::Route| {
        let prefix = route.user_prefix.clone().map(Match::UserPrefix);
        let when = prefix.or_else(|| route.domain.clone().map(Match::Domain))?;
        Some(Route { when, next_hop: next_hop(&route.next_hop)? })
    };
    let default_next_hop = b2bua.next_hop.as_deref().and_then(next_hop);
    applications::b2bua::Config {
        routes: b2bua.routes.iter().filter_map(route).collect(),
        // Without a way to go on a call is refused: this is no open relay.
        is_closed: true,
        default_next_hop,
    }
}

fn next_hop(text: &str) -> Option<NextHop> {
    let (name, port) = split_host_port(text)?;
    Some(match host(name) {
        Host::Ip(ip) => NextHop::Addr(SocketAddr::new(ip, port)),
        host @ Host::Name(_) => NextHop::Host { host, port },
    })
}

/// The policy at the start: as configured, version 1.
pub(crate) fn policy(balancer: &Balancer) -> balancer::Policy {
    let sites = balancer.site.iter().map(|site| SiteId(site.id));
    let mut policy = balancer::Policy::own_calls(sites);
    policy.weights = balancer.site.iter().map(|site| (SiteId(site.id), site.weight)).collect();
    for (home, by) in &balancer.serves {
        if let Ok(home) = home.parse() {
            policy.serves.insert(SiteId(home), SiteId(*by));
        }
    }
    policy
}

pub(crate) fn balancer(config: &Config, balancer: &Balancer) -> balancer::Config {
    let sites: BTreeMap<SiteId, Vec<SocketAddr>> =
        balancer.site.iter().map(|site| (SiteId(site.id), site.engines.clone())).collect();
    let mut core = balancer::Config::new(sites, secret(config), policy(balancer));
    core.ping_every = Duration::from_millis(balancer.ping_ms);
    core.down_after = Duration::from_millis(balancer.down_after_ms);
    core.route_memory = Duration::from_millis(64 * config.timers.t1_ms);
    let backup = |site: &BalancerSite| Some((SiteId(site.id), SiteId(balancer.backup_of(site)?)));
    let orderable = balancer.site.iter().filter(|site| !site.admin.0.is_empty());
    core.health = balancer::health::Config {
        backups: balancer.site.iter().filter_map(backup).collect(),
        orderable: orderable.map(|site| SiteId(site.id)).collect(),
        dead_after: Duration::from_millis(balancer.dead_after_ms),
        healthy_after: Duration::from_millis(balancer.healthy_after_ms),
        auto_failover: balancer.auto_failover,
    };
    core
}

/// `life`: grows with each start.
pub(crate) fn witness(config: &Config, witness: &Witness, life: u64) -> balancer::witness::Config {
    let target = |target: &Target| (SiteId(target.site), target.address.0.clone());
    balancer::witness::Config {
        name: witness.name.clone(),
        life,
        listen: witness.listen,
        targets: witness.target.iter().map(target).collect(),
        report_to: witness.report_to.0.clone(),
        interval: Duration::from_millis(witness.interval_ms),
        timeout: Duration::from_millis(witness.timeout_ms),
        secret: secret(config),
    }
}
