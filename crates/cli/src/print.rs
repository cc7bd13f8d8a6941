//! Answers as people read them.

mod health;
pub(crate) mod partitions;
pub(crate) mod statistics;

use std::collections::BTreeMap;
use std::fmt::{Display, Write};

use admin_api::{
    AtRisk, BackupReply, CallStory, CallsReply, CrossingLag, DatabaseStatus, DormantOfSite,
    OrderReply, Peer, QueueStatus, ReturnStatus, RouteReply, SitesReply, StatusReply, SweepStatus,
    route::Health,
};

/// Lines of `word   value`.
pub(crate) struct Lines(pub(crate) String);

impl Lines {
    pub(crate) fn add(&mut self, word: &str, value: impl Display) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "{word:<18} {value}");
    }
}

pub(crate) fn span(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..120_000 => format!("{}.{} s", ms / 1_000, ms % 1_000 / 100),
        120_000..7_200_000 => format!("{} min", ms / 60_000),
        _ => format!("{} h", ms / 3_600_000),
    }
}

fn joined(parts: impl Iterator<Item = String>) -> String {
    let parts: Vec<String> = parts.collect();
    if parts.is_empty() { "-".into() } else { parts.join(", ") }
}

fn at_risk(risks: &BTreeMap<u16, AtRisk>) -> String {
    joined(risks.iter().map(|(site, risk)| {
        let answered = match risk.calls {
            0 => format!("none to site {site}"),
            calls => format!("{calls} to site {site}, oldest {}", span(risk.oldest_ms)),
        };
        let in_set_up = (risk.in_set_up > 0).then(|| format!("{} in set-up", risk.in_set_up));
        let stopped = risk.stopped.then(|| "sending is OFF".to_owned());
        let refill = (risk.to_refill > 0).then(|| format!("{} to refill it", risk.to_refill));
        let more: Vec<String> = refill.into_iter().chain(in_set_up).chain(stopped).collect();
        if more.is_empty() { answered } else { format!("{answered} ({})", more.join("; ")) }
    }))
}

fn peer((site, peer): (&u16, &Peer)) -> String {
    let state = match (peer.alive, peer.state.as_str()) {
        (false, _) => "silent",
        (true, _) if peer.evacuating => "evacuating",
        (true, "") => "alive",
        (true, state) => state,
    };
    format!("site {site} {state}")
}

pub(crate) fn status(status: &StatusReply) -> String {
    let mut lines = Lines(String::new());
    lines.add("role", &status.role);
    let has_tier = matches!(status.role.as_str(), "all" | "state");
    if status.site > 0 {
        // Starts are counted on the disk of who keeps the calls.
        let start = if has_tier { format!(", start {}", status.start) } else { String::new() };
        lines.add("site", format!("{} ({}){start}", status.site, status.state));
    }
    lines.add("up for", span(status.uptime_ms));
    if has_tier {
        tier(&mut lines, status);
    }
    if let Some(engine) = &status.engine {
        let tier = if engine.tier_up { "tier up" } else { "tier DOWN" };
        lines.add("engine", format!("{}, {tier}", engine.id));
        let (all, open) = (engine.turns, engine.turns_open);
        lines.add("turns", format!("{all}, {open} open, {} panicked", engine.panics));
        lines.add("datagrams", format!("{} in, {} out", engine.datagrams_in, engine.datagrams_out));
        lines.add("refused, dropped", format!("{}, {}", engine.refused, engine.dropped));
        lines.add("forwarded", engine.forwarded);
    }
    if let Some(balancer) = &status.balancer {
        lines.add("policy version", balancer.policy_version);
        for engine in &balancer.engines {
            let health = match engine.health {
                Health::Up => "up",
                Health::NotServing => "not serving",
                Health::Down => "DOWN",
            };
            let (to, from) = (engine.datagrams_to, engine.datagrams_from);
            let engine = format!("{} {health}, {to} out, {from} back", engine.address);
            lines.add("engine of a site", engine);
        }
        lines.add("without engine", balancer.dropped);
        health::add(&mut lines, &balancer.health);
        let acts = if balancer.auto_failover { "acted upon, once" } else { "only told" };
        lines.add("a site's death is", acts);
    }
    if let Some(witness) = &status.witness {
        health::witness(&mut lines, witness);
    }
    lines.0
}

fn tier(lines: &mut Lines, status: &StatusReply) {
    lines.add("calls active", status.calls_active);
    let dormant = status.calls_dormant.iter().map(|(site, n)| format!("{n} of site {site}"));
    lines.add("calls dormant", joined(dormant));
    lines.add("calls moved away", status.calls_moved_away);
    lines.add("at risk", at_risk(&status.at_risk));
    lines.add("peers", joined(status.peers.iter().map(peer)));
    // The view of a process that is alone by its nature says nothing.
    if let Some(view) = status.view.as_ref().filter(|_| status.role == "state") {
        partitions::view(lines, view);
    }
    if let Some(database) = &status.database {
        lines.add("database", self::database(database));
    }
    lines.add("engines", status.engines_alive);
    lines.add("inbox", format!("{} batches", status.inbox_batches));
    if let Some(queue) = &status.queue {
        lines.add("queue", self::queue(queue));
    }
    let crossing = &status.crossing;
    let (calls, batches) = (crossing.calls_out, crossing.batches_out);
    let (bytes, raw) = (crossing.bytes_out, crossing.raw_bytes_out);
    let text = format!("{calls} in {batches} batches, {bytes} bytes of {raw} before compression");
    lines.add("crossed out", text);
    for (site, lag) in &status.crossing_lag {
        lag_line(lines, *site, lag);
    }
    let (calls, batches) = (crossing.calls_in, crossing.batches_in);
    lines.add("crossed in", format!("{calls} in {batches} batches"));
    let decided = status.hints.iter().filter(|(_, count)| **count > 0);
    lines.add("hints", joined(decided.map(|(reason, count)| format!("{reason} {count}"))));
    let (activated, back) = (status.activated, status.handed_back);
    lines.add("activated", format!("{activated}, handed back {back}"));
    if status.quarantined > 0 {
        lines.add("in quarantine", format!("{}: see `rehome quarantine list`", status.quarantined));
    }
    if status.refill_pending > 0 {
        lines.add("to be refilled", status.refill_pending);
    }
}

/// Nothing while nothing has crossed. Each time is the end of a range.
fn lag_line(lines: &mut Lines, site: u16, lag: &CrossingLag) {
    if lag.ranges.iter().all(|range| range.calls == 0) {
        return;
    }
    let [half, most] = [500, 990].map(|per_mille| match lag.quantile_ms(per_mille) {
        Some(ms) => format!("within {}", span(ms)),
        None => "in longer than is counted".to_owned(),
    });
    lines.add("crossing lag", format!("to site {site}: half {half}, 99 of 100 {most}"));
}

fn queue(queue: &QueueStatus) -> String {
    let mut words = match &queue.why {
        Some(why) => format!("AWAY: calls of other sites are not protected here: {why}"),
        None if queue.away => "AWAY: calls of other sites are not protected here".to_owned(),
        None => "there".to_owned(),
    };
    if let Some(damage) = &queue.damage {
        let times = match queue.damaged {
            1 => String::new(),
            times => format!(" {times} times, last"),
        };
        words = format!("{words}; DAMAGED{times}: {damage}");
    }
    words
}

fn database(database: &DatabaseStatus) -> String {
    let DatabaseStatus { calls, ripe, fetches_waiting, .. } = database;
    let mut words = vec![format!("{calls} calls in it")];
    if database.away {
        words.insert(0, "AWAY: those in RAM go on".to_owned());
    }
    if *ripe > 0 {
        words.push(format!("{ripe} ready to leave RAM"));
    }
    if *fetches_waiting > 0 {
        words.push(format!("{fetches_waiting} wait to come back"));
    }
    if let Some(key) = &database.lost_last {
        words.push(format!("a row was LOST, last of call {key}"));
    }
    words.join(", ")
}

pub(crate) fn sites(sites: &SitesReply) -> String {
    let mut lines = Lines(String::new());
    if sites.here == 0 {
        // A balancer judges the sites, and is of none.
        health::add(&mut lines, &sites.health);
        return lines.0;
    }
    lines.add("this site", format!("{} ({})", sites.here, sites.state));
    lines.add("backed up at", sites.backup_to.map_or("-".into(), |site| format!("site {site}")));
    lines.add("at risk", at_risk(&sites.at_risk));
    for (site, seen) in &sites.peers {
        let (state, wakes) = (peer((site, seen)), &seen.activation);
        let encrypted = match seen.encrypted {
            Some(true) => "yes",
            Some(false) => "no",
            None => "not linked",
        };
        let text =
            format!("{state}, {}, encrypted: {encrypted}, its calls wake: {wakes}", seen.address);
        lines.add("peer", text);
    }
    if let Some(on) = &sites.evacuation {
        let silent = if on.wanted { "" } else { "; it takes NO CALLS at the moment" };
        lines.add("evacuation", format!("to site {}, {} calls left{silent}", on.to, on.left));
    }
    if let Some(on) = &sites.retarget {
        let how_far = match on.complete {
            true => "it has every call".to_owned(),
            false => format!("{} calls not there yet", on.at_risk),
        };
        lines.add("copies by order", format!("to site {}: {how_far}", on.to));
    }
    for (site, sweep) in &sites.sweeps {
        lines.add(&format!("sweep of site {site}"), swept(sweep));
    }
    lines.add("return", returning(&sites.returning));
    if sites.partitions_told < sites.partitions {
        let (told, all) = (sites.partitions_told, sites.partitions);
        lines.add("partitions", format!("these numbers are of {told} of {all}"));
    }
    lines.0
}

/// How a sweep is going, or what the last ones came to.
fn swept(sweep: &SweepStatus) -> String {
    let SweepStatus { slots_left, done, found, repaired, unanswered, ended_ms_ago } = *sweep;
    let now = match (slots_left, ended_ms_ago) {
        (0, None) => "none so far".to_owned(),
        (0, Some(ago)) => format!("{done} done, the last {} ago", span(ago)),
        (left, _) => format!("{left} hash slots left"),
    };
    let silent = match unanswered {
        0 => String::new(),
        slots => format!(", {slots} slots not answered"),
    };
    format!("{now}; {found} calls found missing, {repaired} repaired{silent}")
}

/// How far the ways home are.
pub(crate) fn returning(returning: &ReturnStatus) -> String {
    let mut words = Vec::new();
    match returning.state.as_str() {
        "paused" => words.push("PAUSED".to_owned()),
        "aborted" => words.push("ABORTED".to_owned()),
        _ => {}
    }
    let awaited = &returning.keyset_awaited;
    words.extend(awaited.iter().map(|site| {
        format!("keyset of site {site} not complete ({} calls told)", returning.keyset_told)
    }));
    if returning.refill_left > 0 {
        words.push(format!("{} calls to be fetched", returning.refill_left));
    }
    let back = returning.hand_back_left.iter();
    words.extend(back.map(|(site, calls)| format!("{calls} calls to go to site {site}")));
    if words.is_empty() { "nothing to do".into() } else { words.join(", ") }
}

pub(crate) fn calls(calls: &CallsReply) -> String {
    let mut text = String::new();
    for call in &calls.calls {
        let mut words = vec![if call.dormant { "dormant" } else { "active" }];
        if call.locked {
            words.push("locked");
        }
        if call.at_risk {
            words.push("at risk");
        }
        if call.in_set_up {
            words.push("in set-up");
        }
        if call.in_database {
            words.push("in the database");
        }
        let _ = writeln!(
            text,
            "{}  home {} origin {}  version {:<5} {:>7} bytes  {:>8} old  {}",
            call.key,
            call.home,
            call.origin,
            call.version,
            call.record_bytes,
            span(call.age_ms),
            words.join(", "),
        );
    }
    if calls.calls.is_empty() {
        text.push_str("no calls\n");
    }
    if let Some(next) = &calls.next {
        let _ = writeln!(text, "more: --cursor {next}");
    }
    text
}

pub(crate) fn call(story: &CallStory) -> String {
    let mut lines = Lines(String::new());
    let call = &story.call;
    lines.add("call", &call.key);
    let state = if call.dormant { "dormant" } else { "active" };
    lines.add("home", format!("site {}, began at site {}, {state}", call.home, call.origin));
    lines.add("stamp", &story.stamp);
    lines.add("last put", format!("{} ago, {} bytes", span(call.age_ms), call.record_bytes));
    if let Some(deadline) = story.deadline_ms {
        lines.add("next deadline", format!("in {}", span(deadline)));
    }
    lines.add("hints", joined(story.hints.iter().map(|h| format!("{} {}", h.application, h.hint))));
    for mark in &story.crossed {
        let newest = if mark.newest { "newest" } else { "older" };
        lines.add("crossed", format!("site {} has {} ({newest})", mark.site, mark.stamp));
    }
    for decision in &story.decisions {
        lines.add("hint", format!("to site {}: {}", decision.site, decision.words));
    }
    lines.add("waits to cross", if story.mark.is_empty() { "no" } else { &story.mark });
    if let Some(engine) = story.locked_by {
        lines.add("locked by", format!("engine {engine}, {} wait", story.waiters));
    }
    for line in &story.summary {
        lines.add("", line);
    }
    for note in &story.notes {
        lines.add("note", note);
    }
    lines.0
}

pub(crate) fn backup(backup: &BackupReply) -> String {
    let mut lines = Lines(String::new());
    lines.add("this site", backup.here);
    lines.add("backed up at", backup.backup_to.map_or("-".into(), |site| format!("site {site}")));
    for (site, kept) in &backup.kept {
        let alive = if kept.alive { "alive" } else { "silent" };
        let pending = match kept.order_pending {
            0 => String::new(),
            pending => format!(", {pending} of an order to go"),
        };
        let ordered = match (kept.activating, kept.deleting) {
            (false, false) => "",
            (true, false) => ", being WOKEN by order",
            (false, true) => ", being REMOVED by order",
            (true, true) => ", being WOKEN and REMOVED by order",
        };
        let DormantOfSite { calls, activation, .. } = kept;
        let what = format!("{calls} calls, {alive}, wake: {activation}{pending}{ordered}");
        lines.add(&format!("kept for site {site}"), what);
    }
    lines.add("inbox", format!("{} batches", backup.inbox_batches));
    lines.0
}

pub(crate) fn order(order: &OrderReply) -> String {
    format!("{} ({} calls)\n", order.accepted, order.calls)
}

pub(crate) fn route(route: &RouteReply) -> String {
    let mut lines = Lines(String::new());
    lines.add("version", route.version);
    for (home, by) in &route.serves {
        lines.add(&format!("calls of site {home}"), format!("served by site {by}"));
    }
    let shares = route.weights.iter().map(|(site, share)| format!("site {site}: {share}"));
    lines.add("new calls", joined(shares));
    health::add(&mut lines, &route.health);
    lines.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_readable() {
        let mut reply = StatusReply {
            role: "all".into(),
            site: 1,
            state: "serving".into(),
            start: 3,
            uptime_ms: 65_432,
            calls_active: 7,
            ..StatusReply::default()
        };
        reply.at_risk.insert(2, AtRisk { calls: 1, oldest_ms: 40, ..AtRisk::default() });
        reply.peers.insert(2, Peer { alive: true, state: "serving".into(), ..Peer::default() });
        let text = status(&reply);
        for line in [
            "site               1 (serving), start 3\n",
            "up for             65.4 s\n",
            "calls active       7\n",
            "at risk            1 to site 2, oldest 40 ms\n",
            "peers              site 2 serving\n",
        ] {
            assert!(text.contains(line), "{line:?} is not in\n{text}");
        }
    }

    #[test]
    fn calls_in_set_up_and_a_stopped_sending_are_told() {
        let mut reply = SitesReply { here: 1, state: "serving".into(), ..Default::default() };
        for (risk, told) in [
            (AtRisk { in_set_up: 3, ..AtRisk::default() }, "none to site 2 (3 in set-up)\n"),
            (
                AtRisk { calls: 5, oldest_ms: 1_900, stopped: true, ..AtRisk::default() },
                "5 to site 2, oldest 1.9 s (sending is OFF)\n",
            ),
            (
                AtRisk { in_set_up: 1, stopped: true, ..AtRisk::default() },
                "none to site 2 (1 in set-up; sending is OFF)\n",
            ),
        ] {
            reply.at_risk.insert(2, risk);
            assert!(sites(&reply).contains(told), "{told:?} is not in\n{}", sites(&reply));
            let at_risk = reply.at_risk.clone();
            let whole = status(&StatusReply { role: "all".into(), at_risk, ..Default::default() });
            assert!(whole.contains(told), "{told:?} is not in\n{whole}");
        }
    }

    #[test]
    fn a_queue_that_is_away_or_was_damaged_is_told() {
        let told = |queue: QueueStatus| {
            let (role, queue) = ("all".into(), Some(queue));
            status(&StatusReply { role, queue, ..StatusReply::default() })
        };
        let sound = QueueStatus::default();
        assert!(told(sound.clone()).contains("queue              there\n"));
        let why = Some("the disk is full".into());
        let away = told(QueueStatus { away: true, why, ..sound.clone() });
        assert!(away.contains("AWAY: calls of other sites are not protected here: the disk is"));
        for (damaged, words) in [(1, "there; DAMAGED: cut\n"), (3, "DAMAGED 3 times, last: cut\n")]
        {
            let damage = Some("cut".into());
            let text = told(QueueStatus { damaged, damage, ..sound.clone() });
            assert!(text.contains(words), "{text}");
        }
    }

    #[test]
    fn a_lag_is_told_once_something_has_crossed() {
        let range = |up_to_ms, calls| admin_api::LagRange { up_to_ms, calls };
        let lag = |calls| CrossingLag {
            ranges: vec![range(Some(200), calls), range(Some(300), 2 * calls), range(None, 0)],
            sum_ms: 0,
        };
        let told = |calls| {
            let (role, crossing_lag) = ("state".into(), [(2, lag(calls))].into());
            status(&StatusReply { role, crossing_lag, ..StatusReply::default() })
        };
        let line = "crossing lag       to site 2: half within 300 ms, 99 of 100 within 300 ms\n";
        assert!(told(5).contains(line), "{}", told(5));
        assert!(!told(0).contains("lag"), "{}", told(0));
    }

    #[test]
    fn what_became_of_a_hint_is_told() {
        let words = "vetoed: it is being set up; does not cross like this".to_owned();
        let decision = admin_api::HintDecision { site: 2, words, ..Default::default() };
        let text = call(&CallStory { decisions: vec![decision], ..Default::default() });
        let line = "hint               to site 2: vetoed: it is being set up; does not cross like";
        assert!(text.contains(line), "{text}");
        let hints = [("followed".to_owned(), 7), ("forced".to_owned(), 0)].into();
        let text = status(&StatusReply { role: "all".into(), hints, ..Default::default() });
        assert!(text.contains("hints              followed 7\n"), "{text}");
    }

    #[test]
    fn an_engine_tells_nothing_of_a_tier() {
        let reply = StatusReply {
            role: "engine".into(),
            site: 1,
            state: "serving".into(),
            engine: Some(admin_api::EngineStatus { tier_up: true, ..Default::default() }),
            ..StatusReply::default()
        };
        let text = status(&reply);
        assert!(text.contains("site               1 (serving)\n"), "{text}");
        for word in ["start", "calls", "at risk", "inbox"] {
            assert!(!text.contains(word), "{word:?} is in\n{text}");
        }
    }
}
