//! A status as metrics: OpenMetrics text, every name `rehome_*`, made fresh for each scrape.

use std::collections::BTreeMap;
use std::fmt::Write;

use admin_api::{
    BalancerStatus, CrossingLag, HealthState, Outbound, StatisticsReply, StatusReply, ViewStatus,
    WitnessStatus, route::Health,
};

pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

struct Page(String);

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "# TYPE rehome_{name} {kind}\n# HELP rehome_{name} {help}");
    }

    fn sample(&mut self, name: &str, labels: &str, value: u64) {
        let _ = writeln!(self.0, "rehome_{name}{labels} {value}");
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) {
        self.family(name, "gauge", help);
        self.sample(name, "", value);
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.family(name, "counter", help);
        self.sample(&format!("{name}_total"), "", value);
    }
}

/// `crossing`: of a process that keeps calls.
pub(crate) fn print(status: &StatusReply, crossing: Option<&StatisticsReply>) -> String {
    let mut page = Page(String::new());
    page.family("build_info", "gauge", "What runs here.");
    let labels = format!(r#"{{version="{}",role="{}"}}"#, status.version, status.role);
    page.sample("build_info", &labels, 1);
    page.gauge("uptime_milliseconds", "Time since the process started.", status.uptime_ms);
    if status.site > 0 {
        let is_member = |view: &ViewStatus| matches!(view.role.as_str(), "primary" | "member");
        let is_serving = status.state == "serving" && status.view.as_ref().is_none_or(is_member);
        page.gauge("serving", "Whether the site takes traffic.", u64::from(is_serving));
    }
    // An engine's zeros would be mistaken for those of the site's state process.
    if matches!(status.role.as_str(), "all" | "state") {
        tier(&mut page, status);
    }
    if let Some(statistics) = crossing {
        self::crossing(&mut page, statistics);
    }
    if let Some(balancer) = &status.balancer {
        page.gauge("policy_version", "Version of the routing policy.", balancer.policy_version);
        page.family("edge_engine_up", "gauge", "Whether an engine answers and takes traffic.");
        for engine in &balancer.engines {
            let labels = format!(r#"{{site="{}",engine="{}"}}"#, engine.site, engine.address);
            page.sample("edge_engine_up", &labels, u64::from(engine.health == Health::Up));
        }
        health(&mut page, balancer);
    }
    if let Some(witness) = &status.witness {
        self::witness(&mut page, witness);
    }
    page.family("events", "counter", "What happened, by name.");
    for (name, value) in &status.counters {
        page.sample("events_total", &format!(r#"{{name="{name}"}}"#), *value);
    }
    page.0.push_str("# EOF\n");
    page.0
}

/// One sample for each state that a site may be in; that which it is in is 1.
fn health(page: &mut Page, balancer: &BalancerStatus) {
    page.family("site_health", "gauge", "How a site is judged, by site and state.");
    for (site, health) in &balancer.health {
        for (state, name) in [
            (HealthState::Healthy, "healthy"),
            (HealthState::Suspected, "suspected"),
            (HealthState::Dead, "dead"),
            (HealthState::Recovering, "recovering"),
        ] {
            let labels = format!(r#"{{site="{site}",state="{name}"}}"#);
            page.sample("site_health", &labels, u64::from(health.state == state));
        }
    }
    page.family("site_answers", "gauge", "Whether a site answers an observer that speaks.");
    for (site, health) in &balancer.health {
        for one in health.observers.iter().filter(|one| !one.silent) {
            let (kind, name) = (&one.kind, &one.name);
            let labels = format!(r#"{{site="{site}",kind="{kind}",observer="{name}"}}"#);
            page.sample("site_answers", &labels, u64::from(one.answers));
        }
    }
    let acts = u64::from(balancer.auto_failover);
    page.gauge("auto_failover", "Whether a site's death is acted upon.", acts);
}

fn witness(page: &mut Page, witness: &WitnessStatus) {
    page.family("probe_answered", "gauge", "Whether a site answered the last probe.");
    for site in witness.sites.iter().filter(|site| site.answers.is_some()) {
        let labels = format!(r#"{{site="{}"}}"#, site.site);
        page.sample("probe_answered", &labels, u64::from(site.answers == Some(true)));
    }
    page.family("probe_milliseconds", "gauge", "How long the last answer of a site took.");
    for site in &witness.sites {
        let labels = format!(r#"{{site="{}"}}"#, site.site);
        if let Some(took) = site.took_ms {
            page.sample("probe_milliseconds", &labels, took);
        }
    }
    page.family("probes", "counter", "Probes that are over, by site and outcome.");
    for site in &witness.sites {
        let with = |outcome: &str| format!(r#"{{site="{}",outcome="{outcome}"}}"#, site.site);
        page.sample("probes_total", &with("answered"), site.probes - site.missed);
        page.sample("probes_total", &with("missed"), site.missed);
    }
}

fn view(page: &mut Page, view: &ViewStatus) {
    page.gauge("view_number", "Number of the partition's view.", view.number);
    let is_primary = u64::from(view.role == "primary");
    page.gauge("view_primary", "Whether this replica is primary.", is_primary);
    page.gauge("view_members", "Complete members of the view.", view.members);
    page.gauge("view_joining", "Members that are being copied to.", view.joining);
    let away = u64::from(view.store_away);
    page.gauge(
        "coordination_away",
        "Whether the coordination store stays silent, or takes no write.",
        away,
    );
    let conflicts = u64::try_from(view.conflicts.len()).unwrap_or(u64::MAX);
    page.gauge("tier_conflicts", "Configurations that do not fit together.", conflicts);
    let what = "For how long there have been fewer replicas than there should be.";
    page.gauge("redundancy_short_milliseconds", what, view.short_for_ms);
    let what = "How long it took the last time to have all replicas again.";
    page.gauge("redundancy_healed_milliseconds", what, view.healed_after_ms);
}

/// Counts of a histogram include those of the ranges below.
fn crossing_lag(page: &mut Page, lags: &BTreeMap<u16, CrossingLag>) {
    let help = "From the put at a steady moment to the acknowledgement of the site.";
    page.family("crossing_lag_milliseconds", "histogram", help);
    for (site, lag) in lags {
        let mut calls = 0;
        for range in &lag.ranges {
            calls += range.calls;
            let end = range.up_to_ms.map_or_else(|| "+Inf".to_owned(), |ms| ms.to_string());
            let labels = format!(r#"{{site="{site}",le="{end}"}}"#);
            page.sample("crossing_lag_milliseconds_bucket", &labels, calls);
        }
        let labels = format!(r#"{{site="{site}"}}"#);
        page.sample("crossing_lag_milliseconds_count", &labels, calls);
        page.sample("crossing_lag_milliseconds_sum", &labels, lag.sum_ms);
    }
}

fn database(page: &mut Page, database: &admin_api::DatabaseStatus) {
    page.gauge("database_away", "Whether the database cannot be used.", database.away.into());
    page.gauge("database_calls", "Calls whose records are in the database.", database.calls);
    let what = "What these calls take in RAM all the same, at most.";
    page.gauge("database_calls_ram_bytes", what, database.ram_bytes);
    let what = "Calls that have rested for long enough and are still in RAM.";
    page.gauge("database_ripe_calls", what, database.ripe);
    page.gauge("database_storing", "Rows that are not known to be durable yet.", database.storing);
    page.gauge("database_fetching", "Rows that were asked for.", database.fetching);
    let what = "Calls that wait to be asked for.";
    page.gauge("database_fetches_waiting", what, database.fetches_waiting);
    let what = "Rows of calls that are gone, yet to be removed.";
    page.gauge("database_removes_waiting", what, database.removes_waiting);
}

/// By site. Only the primary of a partition tells what the partition holds, and only who keeps the
/// site's gate tells of batches that come in: sums over a site's processes are right.
fn crossing(page: &mut Page, statistics: &StatisticsReply) {
    let of = |site: &u16| format!(r#"{{site="{site}"}}"#);
    let with = |site: &u16, outcome: &str| format!(r#"{{site="{site}",outcome="{outcome}"}}"#);
    sent(page, statistics);
    page.family("outbound_queued_calls", "gauge", "Calls that wait for a batch, by site.");
    for (site, out) in &statistics.outbound {
        page.sample("outbound_queued_calls", &of(site), out.queued);
    }
    let what = "Batches that another site has not acknowledged, by site.";
    page.family("outbound_batches_in_flight", "gauge", what);
    for (site, out) in &statistics.outbound {
        page.sample("outbound_batches_in_flight", &of(site), out.in_flight);
    }
    let what = "Batches sent that were acknowledged, or refused and lost, by site.";
    page.family("outbound_batches", "counter", what);
    for (site, out) in &statistics.outbound {
        page.sample("outbound_batches_total", &with(site, "acknowledged"), out.acknowledged);
        page.sample("outbound_batches_total", &with(site, "refused"), out.refused);
    }
    sweeps(page, statistics);
    page.family("inbound_calls", "counter", "Call states and removals received, by home.");
    for (site, came) in &statistics.inbound {
        page.sample("inbound_calls_total", &with(site, "stored"), came.stored);
        page.sample("inbound_calls_total", &with(site, "stale"), came.stale);
        page.sample("inbound_calls_total", &with(site, "superseded"), came.superseded);
        page.sample("inbound_calls_total", &with(site, "no_room"), came.no_room);
    }
    page.family("inbound_batches", "counter", "Batches received, by the site that sent them.");
    for (site, came) in &statistics.inbound {
        page.sample("inbound_batches_total", &with(site, "stored"), came.batches);
        page.sample("inbound_batches_total", &with(site, "refused"), came.batches_refused);
        page.sample("inbound_batches_total", &with(site, "set_aside"), came.batches_set_aside);
    }
    page.family("inbound_batches_waiting", "gauge", "Batches on this site's queue, by sender.");
    for (site, came) in &statistics.inbound {
        page.sample("inbound_batches_waiting", &of(site), came.batches_waiting);
    }
}

fn sent(page: &mut Page, statistics: &StatisticsReply) {
    type Count = fn(&Outbound) -> u64;
    let families: [(&str, &str, Count); 4] = [
        ("batches_out", "Batches sent, by receiving site.", |out| out.batches),
        ("calls_out", "Call states sent, by receiving site.", |out| out.calls),
        ("bytes_out", "Bytes sent, compressed, by receiving site.", |out| out.bytes),
        ("raw_bytes_out", "The same before compression.", |out| out.raw_bytes),
    ];
    for (name, what, count) in families {
        page.family(name, "counter", what);
        for (site, out) in &statistics.outbound {
            page.sample(&format!("{name}_total"), &format!(r#"{{site="{site}"}}"#), count(out));
        }
    }
}

fn sweeps(page: &mut Page, statistics: &StatisticsReply) {
    page.family("sweeps", "counter", "Sweeps of the copies at another site that ended, by site.");
    for (site, out) in &statistics.outbound {
        page.sample("sweeps_total", &format!(r#"{{site="{site}"}}"#), out.sweeps);
    }
    let what =
        "Calls that a sweep found older there, or absent, and those repaired since, by site.";
    page.family("sweep_calls", "counter", what);
    for (site, out) in &statistics.outbound {
        for (outcome, calls) in [("found", out.sweep_found), ("repaired", out.sweep_repaired)] {
            let labels = format!(r#"{{site="{site}",outcome="{outcome}"}}"#);
            page.sample("sweep_calls_total", &labels, calls);
        }
    }
}

fn steered(page: &mut Page, status: &StatusReply) {
    page.family("calls_moved_here", "gauge", "Calls that live here and go to another site, by it.");
    for (site, calls) in &status.calls_moved_here {
        page.sample("calls_moved_here", &format!(r#"{{site="{site}"}}"#), *calls);
    }
    let evacuates = u64::from(status.evacuating_to.is_some());
    page.gauge("evacuating", "Whether calls go to another site by order.", evacuates);
    let is_stopped = matches!(status.return_state.as_str(), "paused" | "aborted");
    let what = "Whether an operator stopped the ways home of calls.";
    page.gauge("return_stopped", what, u64::from(is_stopped));
}

fn at_risk(page: &mut Page, status: &StatusReply) {
    let what = "Answered calls whose newest state has not crossed, by site.";
    page.family("calls_at_risk", "gauge", what);
    for (site, risk) in &status.at_risk {
        page.sample("calls_at_risk", &format!(r#"{{site="{site}"}}"#), risk.calls);
    }
    page.family("calls_in_set_up", "gauge", "Calls that no other site could resume, by site.");
    for (site, risk) in &status.at_risk {
        page.sample("calls_in_set_up", &format!(r#"{{site="{site}"}}"#), risk.in_set_up);
    }
    page.family("calls_to_refill", "gauge", "Of those at risk, calls that the site has lost.");
    for (site, risk) in &status.at_risk {
        page.sample("calls_to_refill", &format!(r#"{{site="{site}"}}"#), risk.to_refill);
    }
    page.family("at_risk_oldest_milliseconds", "gauge", "Age of the oldest call at risk.");
    for (site, risk) in &status.at_risk {
        let labels = format!(r#"{{site="{site}"}}"#);
        page.sample("at_risk_oldest_milliseconds", &labels, risk.oldest_ms);
    }
}

fn tier(page: &mut Page, status: &StatusReply) {
    page.gauge("start_count", "Starts of this site.", status.start);
    page.gauge("calls_active", "Calls whose home is here.", status.calls_active);
    page.family("calls_dormant", "gauge", "Calls kept here for another site, by home.");
    for (site, calls) in &status.calls_dormant {
        page.sample("calls_dormant", &format!(r#"{{home="{site}"}}"#), *calls);
    }
    at_risk(page, status);
    page.family(
        "replication_stopped",
        "gauge",
        "Whether an operator stopped the sending, by site.",
    );
    for (site, risk) in &status.at_risk {
        let labels = format!(r#"{{site="{site}"}}"#);
        page.sample("replication_stopped", &labels, u64::from(risk.stopped));
    }
    crossing_lag(page, &status.crossing_lag);
    steered(page, status);
    page.family("peer_alive", "gauge", "Whether another site answers.");
    for (site, peer) in &status.peers {
        page.sample("peer_alive", &format!(r#"{{site="{site}"}}"#), u64::from(peer.alive));
    }
    if let Some(view) = &status.view {
        self::view(page, view);
    }
    if let Some(left) = status.certificate_ends_in_s {
        let what = "Time until the certificate of the links to other sites ends.";
        page.gauge("certificate_ends_in_seconds", what, left);
    }
    if let Some(queue) = &status.queue {
        let help = "Whether the server or the file of other sites' batches cannot be used.";
        page.gauge("queue_away", help, u64::from(queue.away));
        let help = "How often the file of other sites' batches was damaged, and begun anew.";
        page.counter("queue_damaged", help, queue.damaged);
        let help = "Batches of other sites that are known to be lost with it.";
        page.counter("queue_lost_batches", help, queue.lost_batches);
    }
    if let Some(database) = &status.database {
        self::database(page, database);
    }
    page.gauge("held_bytes", "Bytes of all records.", status.held_bytes);
    page.gauge("inbox_batches", "Batches of other sites that wait here.", status.inbox_batches);
    page.gauge("inbox_bytes", "Bytes of those batches.", status.inbox_bytes);
    page.gauge("engines_alive", "Engines linked to the state tier.", status.engines_alive);
    page.gauge("quarantined_calls", "Calls set aside, to be looked at.", status.quarantined);
    page.family("quarantine", "counter", "Calls set aside, by cause.");
    for (cause, calls) in &status.quarantined_by_cause {
        page.sample("quarantine_total", &format!(r#"{{cause="{cause}"}}"#), *calls);
    }
    page.family("hints", "counter", "Decisions about hints, by reason.");
    for (reason, count) in &status.hints {
        page.sample("hints_total", &format!(r#"{{reason="{reason}"}}"#), *count);
    }
    page.gauge("refill_pending", "Own calls still to be fetched.", status.refill_pending);
    let crossing = &status.crossing;
    page.counter("batches_in", "Batches received from other sites.", crossing.batches_in);
    page.counter("calls_in", "Call states of other sites stored.", crossing.calls_in);
    page.counter("activated", "Calls of other homes that woke here.", status.activated);
    page.counter("handed_back", "Calls given back to their homes.", status.handed_back);
    page.counter("evacuated", "Calls given to another site by order.", status.evacuated);
    page.counter("resumes", "Calls handed on with unreleased effects.", status.resumes);
    page.counter("timers_handed", "Due timers handed to engines.", status.timers_handed);
}
