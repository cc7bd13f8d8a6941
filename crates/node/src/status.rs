//! From the cores' numbers to the admin API's words.

pub(crate) mod health;
mod hint;
pub(crate) mod quarantine;
mod statistics;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::time::Duration;

use admin_api::{
    AtRisk, BalancerStatus, CallLine, CallStory, CrossedMark, Crossing, CrossingLag,
    DatabaseStatus, EdgeEngine, EngineStatus, HintLine, LagRange, Peer, QueueStatus, StatusReply,
    route::Health,
};
use call::Call;
use replica::lag::{LAG_BOUNDS_MS, Lags};
use tier_protocol::{Hint, Record, SiteState};
use vocab::{Instant, Stamp};

use crate::config::Config;
use crate::site::{EngineSeat, Site, TierSeat, Uplinks};
use crate::site::{partitions, steer};

pub(crate) use health::of_witness;
pub(crate) use statistics::of as statistics;

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn state_word(is_serving: bool) -> String {
    if is_serving { "serving" } else { "returning" }.into()
}

/// A node of role `all`, `state` or `engine`.
pub(crate) fn of_site(site: &Site, now: Instant) -> StatusReply {
    let mut status = StatusReply {
        role: site.config.role.as_str().into(),
        version: env!("CARGO_PKG_VERSION").into(),
        site: site.config.site.id,
        start: site.start,
        uptime_ms: ms(site.clock.uptime()),
        ..StatusReply::default()
    };
    if let Some(seat) = &site.engine {
        status.state = state_word(seat.is_serving);
        status.engine = Some(engine(
            seat,
            site.tier.is_some() || site.uplinks.as_ref().is_some_and(Uplinks::any_up),
        ));
        engine_counters(seat, &mut status.counters);
    }
    if let Some(seat) = &site.tier {
        tier(&site.config, seat, now, &mut status);
    }
    status
}

fn engine(seat: &EngineSeat, tier_up: bool) -> EngineStatus {
    let stats = seat.core.stats();
    EngineStatus {
        id: seat.id.0,
        tier_up,
        datagrams_in: stats.datagrams,
        datagrams_out: seat.transmitted,
        turns: stats.stored + stats.unchanged,
        turns_open: stats.turns,
        dropped: stats.dropped_overload
            + stats.dropped_tier
            + stats.dropped_late
            + stats.dropped_homeless,
        refused: stats.refused_overload + stats.refused_closed,
        forwarded: stats.forwarded_out,
        panics: stats.panics,
    }
}

fn tier(config: &Config, seat: &TierSeat, now: Instant, status: &mut StatusReply) {
    let stats = seat.replica.stats(now);
    let gate = seat.gate.stats(now);
    let counts = &stats.counts;
    status.state = state_word(gate.is_serving);
    status.calls_active = stats.active;
    status.calls_dormant = stats.dormant.iter().map(|(site, calls)| (site.0, *calls)).collect();
    status.calls_moved_away = stats.stubs;
    status.calls_held = stats.active + stats.dormant.values().sum::<u64>() + stats.stubs;
    status.held_bytes = stats.bytes;
    status.locks = stats.locks;
    status.waiters = stats.waiters;
    status.inbox_batches = gate.inbox_waiting + gate.inbox_offered;
    status.inbox_bytes = gate.inbox_bytes;
    status.engines_alive = stats.engines;
    status.activated = counts.activated;
    status.handed_back = counts.handed_back;
    status.evacuated = counts.evacuated;
    status.calls_moved_here =
        steer::by_number(&seat.replica.progress().moved.into_iter().collect());
    status.quarantined = stats.quarantined;
    status.quarantined_by_cause = quarantine::by_cause(counts);
    status.refill_pending = stats.refills_left;
    status.timers_handed = counts.due;
    status.resumes = counts.resumed;
    status.tombstones = stats.tombstones;
    status.view = Some(partitions::view_status(seat, now));
    status.database = database(&stats.spill);
    status.queue = queue(config, seat);
    let mut crossing = Crossing {
        batches_in: gate.batches_stored,
        calls_in: counts.in_stored,
        stale_in: counts.in_stale,
        superseded: counts.yielded,
        hints_followed: counts.hints.followed,
        hints_delayed: counts.hints.delayed(),
        ..Crossing::default()
    };
    for (site, out) in &stats.outbound {
        let (calls, in_set_up) = (out.at_risk, out.in_set_up);
        let (oldest_ms, stopped) = (ms(out.oldest), out.is_stopped);
        let risk = AtRisk { calls, in_set_up, oldest_ms, stopped, to_refill: out.behind };
        status.at_risk.insert(site.0, risk);
        status.crossing_lag.insert(site.0, crossing_lag(&out.lags));
        crossing.batches_out += out.batches;
        crossing.calls_out += out.entries;
        crossing.bytes_out += out.bytes;
        crossing.raw_bytes_out += out.raw_bytes;
        crossing.batches_acknowledged += out.stored;
        crossing.batches_refused += out.refused;
    }
    status.crossing = crossing;
    let reasons = counts.hints.by_reason().into_iter();
    status.hints = reasons.map(|(reason, count)| (reason.to_owned(), count)).collect();
    if seat.keeps_gate() {
        status.evacuating_to = gate.steering.evacuate_to.map(|site| site.0);
        status.return_state = steer::state_of(gate.steering.returning).into();
        status.peers = peers(config, seat, &gate);
    }
    status.certificate_ends_in_s = seat.sites.certificate_ends_in().map(|left| left.as_secs());
    tier_counters(&stats, &gate, &mut status.counters);
    let of_links = seat.sites.counters().into_iter();
    status.counters.extend(of_links.map(|(name, count)| (name.to_owned(), count)));
}

fn queue(config: &Config, seat: &TierSeat) -> Option<QueueStatus> {
    let damage = seat.queue_damage();
    (config.queue.is_some() || config.sites.is_some()).then(|| QueueStatus {
        away: seat.queue_away().is_some(),
        why: seat.queue_away().map(str::to_owned),
        damaged: damage.times,
        lost_batches: damage.lost,
        damage: damage.last.clone(),
    })
}

fn crossing_lag(lags: &Lags) -> CrossingLag {
    let ends = LAG_BOUNDS_MS.into_iter().map(Some).chain([None]);
    let ranges = ends.zip(lags.counts).map(|(up_to_ms, calls)| LagRange { up_to_ms, calls });
    CrossingLag { ranges: ranges.collect(), sum_ms: ms(lags.sum) }
}

fn database(spill: &replica::stats::SpillStats) -> Option<DatabaseStatus> {
    spill.is_on.then(|| DatabaseStatus {
        away: spill.is_away,
        calls: spill.calls,
        ram_bytes: spill.ram_bytes,
        ripe: spill.ripe,
        storing: spill.storing,
        fetching: spill.fetching,
        fetches_waiting: spill.fetches_waiting,
        removes_waiting: spill.removes_waiting,
        lost_last: spill.lost_last.map(|key| key.to_string()),
    })
}

/// One address, or several with a comma between them.
fn addresses(addresses: &[std::net::SocketAddr]) -> String {
    let all: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    all.join(", ")
}

fn peers(config: &Config, seat: &TierSeat, gate: &replica::gate::GateStats) -> BTreeMap<u16, Peer> {
    let configured = config.sites.iter().flat_map(|sites| &sites.peer);
    configured
        .map(|peer| {
            let site = vocab::SiteId(peer.id);
            let state = seat.state_of(site).map(|state| state == SiteState::Serving);
            let seen = Peer {
                alive: gate.alive.contains_key(&site),
                state: state.map_or_else(String::new, state_word),
                address: addresses(&peer.address.0),
                activation: peer.activation.as_str().into(),
                evacuating: gate.evacuating.contains(&site),
                encrypted: seat.sites.is_encrypted(site),
            };
            (peer.id, seen)
        })
        .collect()
}

/// Puts fields into a map under `prefix_field`.
macro_rules! counters {
    ($map:expr, $prefix:literal, $from:expr, $($field:ident),+ $(,)?) => {
        $($map.insert(concat!($prefix, "_", stringify!($field)).to_owned(), $from.$field);)+
    };
}

fn engine_counters(seat: &EngineSeat, map: &mut BTreeMap<String, u64>) {
    let stats = seat.core.stats();
    counters!(
        map,
        "engine",
        stats,
        datagrams,
        malformed,
        strays,
        repeated,
        refused_overload,
        refused_registrations,
        refused_closed,
        dropped_overload,
        dropped_tier,
        dropped_late,
        dropped_homeless,
        no_such_call,
        begun,
        ended,
        stored,
        refused_puts,
        unchanged,
        released,
        accounts,
        due,
        resumed,
        activated,
        early_put_off,
        early_in_doubt,
        handed_back,
        hand_back_later,
        forwarded_out,
        forwarded_in,
        forwarded_responses,
        redirected,
        pulls,
        pulled,
        ghosts,
        bounced,
        panics,
        undecodable,
        needs_newer,
        torn_down,
        not_torn_down,
        refused_poison,
        orphan_grants,
        batches_done,
        batches_deferred,
        batches_yielded,
        batches_poison,
        entries_poison,
        entries_stored,
        entries_stale,
        entries_superseded,
        other_view,
        confirmed,
        cache_hits,
    );
    map.insert("udp_send_dropped".into(), seat.door.dropped());
    map.insert("edge_bad_frames".into(), seat.door.bad_frames());
    map.insert("names_dropped".into(), seat.names.dropped());
    accounting_counters(seat, map);
}

fn accounting_counters(seat: &EngineSeat, map: &mut BTreeMap<String, u64>) {
    let Some(ledger) = &seat.ledger else { return };
    let counts = ledger.counts();
    for (name, count) in [
        ("accounting_written", &counts.written),
        ("accounting_dropped", &counts.dropped),
        ("accounting_failures", &counts.failures),
    ] {
        map.insert(name.into(), count.load(Ordering::Relaxed));
    }
}

fn tier_counters(
    stats: &replica::Stats,
    gate: &replica::gate::GateStats,
    map: &mut BTreeMap<String, u64>,
) {
    let counts = &stats.counts;
    counters!(
        map,
        "replica",
        counts,
        grants,
        unchanged,
        busy,
        stale_view,
        unknown_engine,
        puts,
        refused,
        deletes,
        begun_below_tombstone,
        locks_broken,
        leases_over,
        due,
        resumed,
        activate_handed,
        activated,
        hand_back_handed,
        handed_back,
        evacuated,
        copies_voided,
        shipped,
        in_stored,
        in_stale,
        in_superseded,
        in_full,
        in_removed,
        yielded,
        ended_by_old_home,
        pulls,
        refilled,
        refill_missed,
        old_keeper,
        unconfirmed,
        tombstones_lost,
        strikes,
        quarantine_lost,
        quarantine_lifted,
        quarantine_dropped,
        condemned_removed,
        begins_refused,
        views,
        views_proposed,
        promoted,
        shed,
        muted_lost,
        peer_stale,
        copied_out,
        copied_in,
        copies_restarted,
        compared,
        runs_differing,
        repaired,
    );
    spill_counters(counts, map);
    gate_counters(gate, map);
}

fn gate_counters(gate: &replica::gate::GateStats, map: &mut BTreeMap<String, u64>) {
    counters!(
        map,
        "gate",
        gate,
        batches_stored,
        batches_refused,
        batches_damaged,
        batches_done,
        batches_again,
        batches_poison,
        forwarded_out,
        forwarded_in,
        forwards_dropped,
        pulls,
        pulls_timed_out,
        pulls_put_off,
        keyset_fetched,
        keyset_pages_given,
        unconfirmed,
        sweeps_wanted,
        sweep_words_dropped,
        words_dropped,
    );
}

fn spill_counters(counts: &replica::stats::Counts, map: &mut BTreeMap<String, u64>) {
    counters!(
        map,
        "replica",
        counts,
        spilled,
        fetched,
        rows_stored,
        rows_removed,
        rows_refused,
        rows_lost,
        removes_lost,
        fetch_busy,
    );
}

/// A node of role `balancer`.
pub(crate) fn of_balancer(
    stats: &balancer::Stats,
    picture: &[balancer::SiteHealth],
    uptime: Duration,
) -> StatusReply {
    let engines = stats.sites.iter().flat_map(|site| {
        site.engines.iter().map(|engine| EdgeEngine {
            site: site.site.0,
            address: engine.addr.to_string(),
            health: match engine.health {
                balancer::Health::Up => Health::Up,
                balancer::Health::NotServing => Health::NotServing,
                balancer::Health::Down => Health::Down,
            },
            datagrams_to: engine.to_engine,
            datagrams_from: engine.from_engine,
        })
    });
    let mut status = StatusReply {
        role: "balancer".into(),
        version: env!("CARGO_PKG_VERSION").into(),
        state: state_word(true),
        uptime_ms: ms(uptime),
        balancer: Some(BalancerStatus {
            policy_version: stats.policy_version,
            engines: engines.collect(),
            dropped: stats.drops.no_engine,
            health: health::by_site(picture),
            auto_failover: stats.fails_over,
        }),
        ..StatusReply::default()
    };
    let map = &mut status.counters;
    counters!(map, "balancer", stats, outside_in, outside_out, offered, bounced, refused, probes);
    counters!(
        map,
        "balancer",
        stats.drops,
        keep_alives,
        strange_responses,
        no_engine,
        not_sip,
        too_long,
        bad_frames,
        old_reports,
    );
    map.insert("balancer_probes_dropped".into(), stats.drops.probes);
    status
}

/// One line of the list of calls.
pub(crate) fn call_line(story: &replica::CallStory) -> CallLine {
    let (summary, header) = (&story.summary, story.header.as_ref());
    CallLine {
        key: summary.key.to_string(),
        home: summary.stamp.map_or(0, |stamp| stamp.epoch.site.0),
        origin: summary.origin.map_or(0, |site| site.0),
        dormant: summary.is_dormant,
        locked: summary.locked_by.is_some(),
        version: summary.stamp.map_or(0, |stamp| stamp.version.0),
        age_ms: header.map_or(0, |header| ms(header.age)),
        record_bytes: summary.bytes,
        at_risk: story.marks.iter().any(|mark| mark.is_at_risk),
        in_set_up: story.marks.iter().any(|mark| mark.is_in_set_up),
        in_database: summary.is_spilled,
    }
}

fn stamp_words(stamp: &Stamp) -> String {
    format!(
        "epoch {:?}, lock {}.{}, version {}",
        stamp.epoch, stamp.token.view.0, stamp.token.counter, stamp.version.0
    )
}

/// All that is known of one call; with what is inside when `decodes`.
pub(crate) fn call_story(
    now: Instant,
    story: &replica::CallStory,
    record: Option<&Record>,
    decodes: bool,
) -> CallStory {
    let header = story.header.as_ref();
    let held = story.summary.stamp;
    let marks = story
        .marks
        .iter()
        .map(|mark| format!("to site {}: {:?} for {} ms", mark.site.0, mark.stage, ms(mark.age)));
    CallStory {
        call: call_line(story),
        stamp: held.as_ref().map_or_else(String::new, stamp_words),
        schema: header.map_or(0, |header| header.schema),
        crossing_bytes: record.map_or(0, |record| record.crossing.len() as u64),
        local_bytes: record.map_or(0, |record| record.local.len() as u64),
        deadline_ms: story.due_in.map(ms),
        hints: header.iter().flat_map(|header| &header.hints).map(hint_line).collect(),
        crossed: header
            .iter()
            .flat_map(|header| &header.crossed)
            .map(|(site, stamp)| CrossedMark {
                site: site.0,
                stamp: stamp_words(stamp),
                // Puts that need not cross leave the stamp behind.
                newest: held.is_some_and(|held| held.epoch == stamp.epoch)
                    && !story.marks.iter().any(|mark| mark.site == *site),
            })
            .collect(),
        mark: marks.collect::<Vec<_>>().join("; "),
        decisions: story.hints.iter().map(hint::decision).collect(),
        locked_by: story.lock.as_ref().map(|lock| lock.engine.0),
        waiters: story.waiters.len() as u64,
        summary: record.filter(|_| decodes).map_or_else(Vec::new, |record| decoded(now, record)),
        notes: notes(story),
    }
}

fn hint_line((application, hint): &(u16, Hint)) -> HintLine {
    let hint = match hint {
        Hint::Steady => "steady",
        Hint::Busy => "busy",
    };
    HintLine { application: *application, hint: hint.into() }
}

fn notes(story: &replica::CallStory) -> Vec<String> {
    let mut notes = Vec::new();
    if story.summary.is_spilled {
        notes
            .push("its record is in the database; its next message or timer brings it back".into());
    }
    if story.summary.is_stub {
        notes.push("only its place is known here".into());
    }
    if story.at_boundary {
        notes.push("the last put was at a transaction boundary".into());
    }
    if story.unreleased {
        notes.push("it was put and not unlocked: its effects may not have left".into());
    }
    if story.broken_locks > 0 {
        notes.push(format!("{} locks in a row broke without a put", story.broken_locks));
    }
    if story.strikes > 0 {
        notes.push(format!("{} turns in a row broke", story.strikes));
    }
    if story.is_set_aside {
        notes.push("it is in quarantine: its end alone is worked here".into());
    }
    if let Some(lock) = &story.lock {
        let lease = ms(lock.lease_left);
        notes.push(format!("lock granted for {:?}, {lease} ms of its lease left", lock.cause));
    }
    if let Some(epoch) = story.activated_from {
        notes.push(format!("activated from epoch {epoch:?}"));
    }
    notes
}

/// What is inside; a state that cannot be read says so.
fn decoded(now: Instant, record: &Record) -> Vec<String> {
    let header = &record.header;
    let read = catch_unwind(AssertUnwindSafe(|| {
        Call::decode(header.key, header.schema, &record.crossing, &record.local, header.age, now)
            .map(|(call, _)| call.summary(now))
    }));
    let summary = match read {
        Ok(Ok(summary)) => summary,
        Ok(Err(error)) => return vec![format!("the state cannot be decoded: {error:?}")],
        Err(_) => return vec!["the state cannot be decoded: decoding it panicked".into()],
    };
    let mut lines: Vec<String> = summary
        .legs
        .iter()
        .map(|leg| {
            format!(
                "{} leg: {}, {} <-> {}, target {}, CSeq {}/{}, {} s old{}{}",
                leg.side,
                leg.state,
                leg.local,
                leg.remote,
                leg.remote_target,
                leg.local_cseq,
                leg.remote_cseq,
                leg.age_s,
                if leg.session_timer.is_empty() { "" } else { ", session timer " },
                leg.session_timer,
            )
        })
        .collect();
    lines.extend(summary.transactions.into_iter().map(|line| format!("transaction: {line}")));
    lines.extend(summary.deadlines.into_iter().map(|line| format!("deadline: {line}")));
    lines.extend(summary.applications.into_iter().map(|line| format!("application: {line}")));
    lines
}

#[cfg(test)]
mod tests;
